//! Operators that say which places hold what: triangles, diagonals, depth to space and back.
//!
//! Next: `shape.rs` for the plain moves.

use super::super::graph::Inputs;
use super::super::node::Node;
use super::super::value::{Arg, Shape, Value, View, each, fault, unserved, wrong_type};
use super::cast::{To, cast, word_of};
use super::shape::transpose;
use super::{Op, Values, boxed, one};
use crate::error::Result;
use crate::names::shown;

/// The largest block of a picture.
const BLOCK_MAX: i64 = 1 << 12;

/// Keeps one side of a diagonal of each matrix.
#[derive(Debug)]
struct Trilu {
    upper: bool,
}

impl Op for Trilu {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let diagonal = match inputs.optional(1) {
            Some(k) => k.ints()?.first().copied().unwrap_or(0),
            None => 0,
        };
        let mut value = inputs.take(0)?;
        let &[.., rows, columns] = value.shape.as_slice() else {
            return Err(fault(format!("it was handed an array of shape {:?}", value.shape.as_slice())));
        };
        inputs.meter.size(&value.shape)?;
        let goes = |at: usize| {
            let (row, column) = (at / columns % rows.max(1), at % columns);
            let off = (column as i64).saturating_sub(row as i64);
            if self.upper { off < diagonal } else { off > diagonal }
        };
        each!(Data, &mut value.data, list => list.iter_mut().enumerate().filter(|(at, _)| goes(*at)).for_each(|(_, x)| *x = Default::default()));
        one(value)
    }
}

/// Ones on a diagonal of a matrix as large as the input.
#[derive(Debug)]
struct EyeLike {
    diagonal: i64,
    to: Option<To>,
}

impl Op for EyeLike {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let x = inputs.get(0)?;
        let &[_, columns] = x.shape else { return Err(fault(format!("it was handed an array of shape {:?}", x.shape))) };
        let size = inputs.meter.size(x.shape)?;
        let ones = (0..size).map(|at| i64::from((at % columns) as i64 - (at / columns) as i64 == self.diagonal)).collect::<Vec<_>>();
        let to = match (self.to, x.data) {
            (Some(to), _) => to,
            (None, View::F32(_)) => To::F32,
            (None, View::F64(_)) => To::F64,
            (None, View::I64(_)) => To::I64,
            (None, View::I32(_)) => To::I32,
            (None, View::Bool(_)) => To::Bool,
            (None, other) => return Err(wrong_type(other)),
        };
        one(cast(Value::new(x.shape, ones), to, false, inputs.meter)?)
    }
}

/// Blocks of a picture to channels, or back.
#[derive(Debug)]
struct Blocks {
    side: usize,
    to_depth: bool,
    /// Whether what one channel becomes, or came from, lies together (`CRD`); else what one place of the blocks does.
    columns_first: bool,
}

impl Op for Blocks {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let x = inputs.get(0)?;
        let (&[n, c, h, w], b) = (x.shape, self.side) else {
            return Err(fault(format!("it was handed an array of shape {:?}", x.shape)));
        };
        inputs.meter.size(x.shape)?;
        let (six, order, shape): ([usize; 6], [usize; 6], [usize; 4]) = if self.to_depth {
            let order = if self.columns_first { [0, 1, 3, 5, 2, 4] } else { [0, 3, 5, 1, 2, 4] };
            ([n, c, h / b, b, w / b, b], order, [n, c * b * b, h / b, w / b])
        } else if self.columns_first {
            ([n, c / (b * b), b, b, h, w], [0, 1, 4, 2, 5, 3], [n, c / (b * b), h * b, w * b])
        } else {
            ([n, b, b, c / (b * b), h, w], [0, 3, 4, 1, 5, 2], [n, c / (b * b), h * b, w * b])
        };
        if six.iter().product::<usize>() != x.data.len() {
            return Err(fault(format!("blocks of {b} do not fit an array of shape {:?}", x.shape)));
        }
        let mut value = transpose(Arg { shape: &six, data: x.data }, &order, inputs.meter)?;
        value.shape = Shape::from_slice(&shape);
        one(value)
    }
}

pub(super) fn parse(name: &str, node: &Node<'_>) -> Result<Option<Box<dyn Op>>> {
    let block = || {
        let side = node.int("blocksize", 0);
        let fits = usize::try_from(side).ok().filter(|_| (1..=BLOCK_MAX).contains(&side));
        fits.ok_or_else(|| node.refuse("blocksize", format_args!("is {side}; 1 to {BLOCK_MAX} can be served")))
    };
    let columns_first = || match node.text("mode", "DCR")? {
        "DCR" => Ok(false),
        "CRD" => Ok(true),
        other => Err(node.refuse("mode", format_args!("is `{}`; DCR and CRD are known", shown(other)))),
    };
    match name {
        "Trilu" => boxed(Trilu { upper: node.int("upper", 1) != 0 }),
        "EyeLike" => {
            let number = node.attribute("dtype").map(|dtype| dtype.i);
            let to = number.map(|number| {
                To::numbered(number).ok_or_else(|| unserved(format!("attribute `dtype` asks for {}, which is not held", word_of(number))))
            });
            boxed(EyeLike { diagonal: node.int("k", 0), to: to.transpose()? })
        }
        "SpaceToDepth" => boxed(Blocks { side: block()?, to_depth: true, columns_first: columns_first()? }),
        "DepthToSpace" => boxed(Blocks { side: block()?, to_depth: false, columns_first: columns_first()? }),
        _ => return Ok(None),
    }
    .map(Some)
}
