//! `MatMul` and `Gemm` with constant weights: packed once when the graph is planned, bias and `Relu` done on the way out.
//!
//! Weights that other nodes read too are left alone, since each packed copy takes their room again, and so is a single
//! column, which needs no packing. Next: `product.rs` for the arithmetic, `gemm.rs` for matrices that come with a request.

use super::super::graph::Inputs;
use super::super::node::Node;
use super::super::value::{Element, Shape, Value, View, wrong_shapes};
use super::kernel::Number;
use super::product::Weights;
use super::{Op, Tail, Values, boxed, one};
use crate::error::Result;

#[derive(Debug)]
struct Dense<T> {
    weights: Weights<T>,
    /// Dimensions of the bias, which the product's shape is filled up to.
    rank: usize,
    /// `Gemm` takes matrices only.
    matrix: bool,
}

impl<T: Number + Element> Dense<T> {
    fn add(&mut self, constant: &Value, factor: T) -> bool {
        let Some(list) = T::list(constant.data.view()) else { return false };
        let columns = constant.shape.iter().rev().skip(1).all(|&side| side == 1);
        let scaled: Vec<T> =
            if columns && list.len() <= self.weights.columns() { list.iter().map(|&x| x * factor).collect() } else { Vec::new() };
        let added = self.weights.add(&scaled);
        if added {
            self.rank = constant.shape.len();
        }
        added
    }
}

impl<T: Number + Element> Op for Dense<T> {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let a = inputs.get(0)?;
        let (depth, columns) = (self.weights.depth(), self.weights.columns());
        let Some((&last, lead)) = a.shape.split_last() else { return Err(wrong_shapes(a.shape, &[depth, columns])) };
        if last != depth || (self.matrix && lead.len() != 1) {
            return Err(wrong_shapes(a.shape, &[depth, columns]));
        }
        let mut shape: Shape = std::iter::repeat_n(1, self.rank.saturating_sub(a.shape.len())).chain(lead.iter().copied()).collect();
        shape.push(columns);
        let size = inputs.meter.size(&shape)?;
        inputs.meter.work((size as u64).saturating_mul(depth as u64))?;
        one(Value::new(shape, self.weights.times(a.list::<T>()?)))
    }

    fn weight(&self) -> usize {
        size_of::<Self>() + self.weights.weight()
    }

    fn keeps(&self, input: usize) -> bool {
        input == 1 || (input == 2 && self.matrix)
    }

    fn fuse(&mut self, tail: Tail, constant: Option<&Value>) -> bool {
        match (tail, constant) {
            (Tail::Add, Some(constant)) => self.add(constant, T::from(1i8)),
            (Tail::Floor, None) => {
                self.weights.floor();
                true
            }
            _ => false,
        }
    }
}

/// The operator for weights that are known and read by this node alone; `None` for others.
pub(super) fn parse(name: &str, node: &Node<'_>) -> Result<Option<Box<dyn Op>>> {
    if !matches!(name, "MatMul" | "Gemm") {
        return Ok(None);
    }
    match node.own(1).map(|value| value.data.view()) {
        Some(View::F32(_)) => made::<f32>(name, node),
        Some(View::F64(_)) => made::<f64>(name, node),
        _ => Ok(None),
    }
}

fn made<T: Number + Element + From<f32>>(name: &str, node: &Node<'_>) -> Result<Option<Box<dyn Op>>> {
    let Some(value) = node.own(1) else { return Ok(None) };
    let (&[rows, columns], Some(list)) = (value.shape.as_slice(), T::list(value.data.view())) else { return Ok(None) };
    let matrix = name == "Gemm";
    let turned = matrix && node.int("transB", 0) != 0;
    let (size, steps) = if turned { ((columns, rows), (1, columns)) } else { ((rows, columns), (columns, 1)) };
    if size.1 == 1 || (matrix && node.int("transA", 0) != 0) {
        return Ok(None);
    }
    let factor = <T as From<f32>>::from(if matrix { node.float("alpha", 1.0) } else { 1.0 });
    let Some(weights) = Weights::new(size, list, steps, factor) else { return Ok(None) };
    let mut dense = Dense { weights, rank: 0, matrix };
    if matrix && node.has_input(2) {
        let factor = <T as From<f32>>::from(node.float("beta", 1.0));
        let bias = node.constants.get(2).copied().flatten();
        if !bias.is_some_and(|bias| bias.shape.len() <= 2 && dense.add(bias, factor)) {
            return Ok(None);
        }
    }
    boxed(dense).map(Some)
}
