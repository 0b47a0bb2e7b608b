//! Arithmetic on each value: functions of one array, and of two or more that are stretched to one shape.
//!
//! [`zip`] walks two arrays of any shapes by merged axes; where the second repeats along the first, the first is
//! changed in place. Next: `logic.rs` for comparisons, which use the same walk.

use smallvec::SmallVec;

use super::super::graph::Inputs;
use super::super::node::Node;
use super::super::value::{Arg, Data, Shape, Value, View, broadcast, fault, stretched, wrong_type};
use super::cast::Cut;
use super::vector;
use super::{Op, Tail, Values, boxed, one};
use crate::error::{Error, Result};

/// `f` of each pair of values, both arrays stretched to `out`.
pub(crate) fn zip<'x, A, B, R>(
    a: &'x [A],
    a_shape: &[usize],
    b: &'x [B],
    b_shape: &[usize],
    out: &[usize],
    f: impl Fn(&'x A, &'x B) -> R,
) -> Vec<R> {
    let size: usize = out.iter().product();
    let mut made = Vec::with_capacity(size);
    if size == 0 || a.is_empty() || b.is_empty() {
        return made;
    }
    // Axes as (length, step in a, step in b), outermost first, neighbours merged where one step covers both.
    let mut axes: SmallVec<[(usize, usize, usize); 6]> = SmallVec::new();
    for ((&side, a_step), b_step) in out.iter().zip(stretched(a_shape, out)).zip(stretched(b_shape, out)) {
        if side == 1 {
            continue;
        }
        match axes.last_mut() {
            Some(last) if last.1 == a_step * side && last.2 == b_step * side => *last = (last.0 * side, a_step, b_step),
            _ => axes.push((side, a_step, b_step)),
        }
    }
    let (side, a_step, b_step) = axes.pop().unwrap_or((1, 0, 0));
    let mut at: SmallVec<[usize; 6]> = smallvec::smallvec![0; axes.len()];
    let (mut a_at, mut b_at) = (0, 0);
    loop {
        let (a, b) = (a.get(a_at..).unwrap_or_default(), b.get(b_at..).unwrap_or_default());
        match (a_step, b_step, a, b) {
            (1, 1, a, b) => made.extend(a.iter().zip(b).take(side).map(|(a, b)| f(a, b))),
            (1, 0, a, [b, ..]) => made.extend(a.iter().take(side).map(|a| f(a, b))),
            (0, 1, [a, ..], b) => made.extend(b.iter().take(side).map(|b| f(a, b))),
            _ => made.extend((0..side).filter_map(|step| Some(f(a.get(step * a_step)?, b.get(step * b_step)?)))),
        }
        // Like a clock: the innermost axis that is not at its end moves on.
        let mut axis = axes.len();
        loop {
            let Some(inner) = axis.checked_sub(1) else { return made };
            axis = inner;
            let (Some(at), Some(&(side, a_step, b_step))) = (at.get_mut(axis), axes.get(axis)) else { return made };
            *at += 1;
            a_at += a_step;
            b_at += b_step;
            if *at < side {
                break;
            }
            a_at -= a_step * side;
            b_at -= b_step * side;
            *at = 0;
        }
    }
}

/// Whether `small` repeats along the leading axes of `large`.
fn repeats(large: &[usize], small: &[usize]) -> bool {
    let lead = small.iter().take_while(|&&side| side == 1).count();
    let small = small.get(lead..).unwrap_or_default();
    large.ends_with(small) && large.len() >= small.len()
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Min,
    Max,
    /// Remainder with the divisor's sign, or the dividend's.
    Mod,
    Fmod,
}

macro_rules! float_binary {
    ($op:expr, $run:ident) => {
        match $op {
            Binary::Add => $run!(|a, b| a + b),
            Binary::Sub => $run!(|a, b| a - b),
            Binary::Mul => $run!(|a, b| a * b),
            Binary::Div => $run!(|a, b| a / b),
            Binary::Pow => $run!(|a, b| if b == 2.0 { a * a } else { a.powf(b) }),
            Binary::Min => $run!(|a, b| if a.is_nan() || a < b { a } else { b }),
            Binary::Max => $run!(|a, b| if a.is_nan() || a > b { a } else { b }),
            Binary::Mod => $run!(|a, b| {
                let rest = a % b;
                if rest != 0.0 && (rest < 0.0) != (b < 0.0) { rest + b } else { rest }
            }),
            Binary::Fmod => $run!(|a, b| a % b),
        }
    };
}

macro_rules! whole_binary {
    ($op:expr, $run:ident, $type:ty) => {
        match $op {
            Binary::Add => $run!(|a: $type, b: $type| a.wrapping_add(b)),
            Binary::Sub => $run!(|a: $type, b: $type| a.wrapping_sub(b)),
            Binary::Mul => $run!(|a: $type, b: $type| a.wrapping_mul(b)),
            // Division by zero is refused before.
            Binary::Div => $run!(|a: $type, b: $type| a.checked_div(b).unwrap_or(a)),
            Binary::Pow => $run!(|a: $type, b: $type| (a as f64).powf(b as f64) as $type),
            Binary::Min => $run!(|a: $type, b: $type| a.min(b)),
            Binary::Max => $run!(|a: $type, b: $type| a.max(b)),
            Binary::Mod => $run!(|a: $type, b: $type| {
                let rest = a.wrapping_rem(if b == 0 { 1 } else { b });
                if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest }
            }),
            Binary::Fmod => $run!(|a: $type, b: $type| a.wrapping_rem(if b == 0 { 1 } else { b })),
        }
    };
}

/// One operation on two arrays, changing the first where it can.
fn combine(op: Binary, a: Value, b: Arg<'_>, inputs: &Inputs<'_, '_>) -> Result<Value> {
    let out = if *a.shape == *b.shape { a.shape.clone() } else { broadcast(&a.shape, b.shape)? };
    if matches!(op, Binary::Pow | Binary::Mod | Binary::Fmod) {
        inputs.meter.work(out.iter().fold(16, |steps, &side| steps.saturating_mul(side as u64)))?;
    }
    if matches!(op, Binary::Div | Binary::Mod | Binary::Fmod) {
        let zero = match b.data {
            View::I64(list) => list.contains(&0),
            View::I32(list) => list.contains(&0),
            _ => false,
        };
        if zero {
            return Err(fault("it divides a whole number by 0"));
        }
    }
    if out == a.shape && repeats(&a.shape, b.shape) {
        inputs.meter.work(a.data.len() as u64)?;
        let Value { shape, mut data } = a;
        macro_rules! in_place {
            ($a:expr, $b:expr, $f:expr) => {{
                let (a, b) = ($a, $b);
                let f = $f;
                if let [b] = b {
                    let b = *b;
                    a.iter_mut().for_each(|a| *a = f(*a, b));
                } else if !b.is_empty() {
                    a.chunks_mut(b.len()).for_each(|a| a.iter_mut().zip(b).for_each(|(a, &b)| *a = f(*a, b)));
                }
            }};
        }
        match (&mut data, b.data) {
            (Data::F32(a), View::F32(b)) => {
                macro_rules! run {
                    ($f:expr) => {
                        in_place!(a, b, |a: f32, b: f32| -> f32 {
                            let f: fn(f32, f32) -> f32 = $f;
                            f(a, b)
                        })
                    };
                }
                float_binary!(op, run);
            }
            (Data::F64(a), View::F64(b)) => {
                macro_rules! run {
                    ($f:expr) => {
                        in_place!(a, b, |a: f64, b: f64| -> f64 {
                            let f: fn(f64, f64) -> f64 = $f;
                            f(a, b)
                        })
                    };
                }
                float_binary!(op, run);
            }
            (Data::I64(a), View::I64(b)) => {
                macro_rules! run {
                    ($f:expr) => {
                        in_place!(a, b, $f)
                    };
                }
                whole_binary!(op, run, i64);
            }
            (Data::I32(a), View::I32(b)) => {
                macro_rules! run {
                    ($f:expr) => {
                        in_place!(a, b, $f)
                    };
                }
                whole_binary!(op, run, i32);
            }
            (_, b) => return Err(wrong_type(b)),
        }
        return Ok(Value { shape, data });
    }
    inputs.meter.size(&out)?;
    let arg = a.arg();
    let data = match (arg.data, b.data) {
        (View::F32(x), View::F32(y)) => {
            macro_rules! run {
                ($f:expr) => {{
                    let f: fn(f32, f32) -> f32 = $f;
                    zip(x, arg.shape, y, b.shape, &out, |&a, &b| f(a, b))
                }};
            }
            Data::F32(float_binary!(op, run))
        }
        (View::F64(x), View::F64(y)) => {
            macro_rules! run {
                ($f:expr) => {{
                    let f: fn(f64, f64) -> f64 = $f;
                    zip(x, arg.shape, y, b.shape, &out, |&a, &b| f(a, b))
                }};
            }
            Data::F64(float_binary!(op, run))
        }
        (View::I64(x), View::I64(y)) => {
            macro_rules! run {
                ($f:expr) => {{
                    let f = $f;
                    zip(x, arg.shape, y, b.shape, &out, |&a, &b| f(a, b))
                }};
            }
            Data::I64(whole_binary!(op, run, i64))
        }
        (View::I32(x), View::I32(y)) => {
            macro_rules! run {
                ($f:expr) => {{
                    let f = $f;
                    zip(x, arg.shape, y, b.shape, &out, |&a, &b| f(a, b))
                }};
            }
            Data::I32(whole_binary!(op, run, i32))
        }
        (_, other) => return Err(wrong_type(other)),
    };
    Ok(Value { shape: out, data })
}

/// An operation on two arrays, or folded over many; `mean` divides by their count at the end.
#[derive(Debug)]
struct Arithmetic {
    op: Binary,
    mean: bool,
}

impl Op for Arithmetic {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        // A power's exponent may be of another type than its base.
        if self.op == Binary::Pow && std::mem::discriminant(&inputs.get(0)?.data) != std::mem::discriminant(&inputs.get(1)?.data) {
            return power(inputs);
        }
        let mut sum = inputs.take(0)?;
        for at in 1..inputs.len() {
            sum = combine(self.op, sum, inputs.get(at)?, inputs)?;
        }
        if self.mean {
            let count = inputs.len();
            match &mut sum.data {
                Data::F32(list) => list.iter_mut().for_each(|value| *value /= count as f32),
                Data::F64(list) => list.iter_mut().for_each(|value| *value /= count as f64),
                other => return Err(wrong_type(other.view())),
            }
        }
        one(sum)
    }

    fn tail(&self) -> Option<Tail> {
        (self.op == Binary::Add && !self.mean).then_some(Tail::Add)
    }
}

fn power(inputs: &Inputs<'_, '_>) -> Result<Values> {
    let (base, exponent) = (inputs.get(0)?, inputs.get(1)?);
    let out = broadcast(base.shape, exponent.shape)?;
    inputs.meter.size(&out)?;
    let (x, y) = (base.f64s()?, exponent.f64s()?);
    let wide = zip(&x, base.shape, &y, exponent.shape, &out, |&a, &b| if b == 2.0 { a * a } else { a.powf(b) });
    let data = match base.data {
        View::F32(_) => Data::F32(wide.iter().map(|&value| value as f32).collect()),
        View::F64(_) => Data::F64(wide),
        View::I64(_) => Data::I64(wide.iter().map(|value| value.long()).collect()),
        View::I32(_) => Data::I32(wide.iter().map(|value| value.int()).collect()),
        other => return Err(wrong_type(other)),
    };
    one(Value { shape: out, data })
}

#[derive(Debug, Clone, Copy)]
enum Unary {
    Abs,
    Neg,
    Sign,
    Floor,
    Ceil,
    Round,
    Sqrt,
    Exp,
    Log,
    Erf,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Asinh,
    Acosh,
    Atanh,
    Tanh,
    Sigmoid,
    Relu,
    Softplus,
    Softsign,
    Reciprocal,
    LeakyRelu(f32),
    ThresholdedRelu(f32),
    Elu(f32),
    Celu(f32),
    Selu(f32, f32),
    HardSigmoid(f32, f32),
    HardSwish,
    Gelu,
    GeluTanh,
    /// `x · sigmoid(ax)`.
    Swish(f32),
    Mish,
    /// Nothing between `-λ` and `λ`; what is outside comes nearer by the second number.
    Shrink(f32, f32),
}

macro_rules! float_unary {
    ($op:expr, $list:expr, $type:ty, $exp:expr, $sigmoid:expr, $tanh:expr) => {{
        let list: &mut [$type] = $list;
        macro_rules! map {
            ($f:expr) => {{
                let f = $f;
                for x in list.iter_mut() {
                    *x = f(*x);
                }
            }};
        }
        let (exp, sigmoid, tanh) = ($exp, $sigmoid, $tanh);
        match $op {
            Unary::Abs => map!(|x: $type| x.abs()),
            Unary::Neg => map!(|x: $type| -x),
            Unary::Sign => map!(|x: $type| if x > 0.0 {
                1.0
            } else if x < 0.0 {
                -1.0
            } else {
                x
            }),
            Unary::Floor => map!(|x: $type| x.floor()),
            Unary::Ceil => map!(|x: $type| x.ceil()),
            Unary::Round => map!(|x: $type| x.round_ties_even()),
            Unary::Sqrt => map!(|x: $type| x.sqrt()),
            Unary::Exp => map!(|x: $type| exp(x)),
            Unary::Log => map!(|x: $type| x.ln()),
            Unary::Erf => map!(|x: $type| vector::erf(f64::from(x)) as $type),
            Unary::Sin => map!(|x: $type| x.sin()),
            Unary::Cos => map!(|x: $type| x.cos()),
            Unary::Tan => map!(|x: $type| x.tan()),
            Unary::Asin => map!(|x: $type| x.asin()),
            Unary::Acos => map!(|x: $type| x.acos()),
            Unary::Atan => map!(|x: $type| x.atan()),
            Unary::Sinh => map!(|x: $type| x.sinh()),
            Unary::Cosh => map!(|x: $type| x.cosh()),
            Unary::Asinh => map!(|x: $type| x.asinh()),
            Unary::Acosh => map!(|x: $type| x.acosh()),
            Unary::Atanh => map!(|x: $type| x.atanh()),
            Unary::Tanh => map!(|x: $type| tanh(x)),
            Unary::Sigmoid => map!(|x: $type| sigmoid(x)),
            Unary::Relu => map!(|x: $type| if x < 0.0 { 0.0 } else { x }),
            Unary::Softplus => map!(|x: $type| if x > 0.0 { x + (-x).exp().ln_1p() } else { x.exp().ln_1p() }),
            Unary::Softsign => map!(|x: $type| x / (1.0 + x.abs())),
            Unary::Reciprocal => map!(|x: $type| 1.0 / x),
            Unary::LeakyRelu(alpha) => map!(|x: $type| if x < 0.0 { x * <$type>::from(alpha) } else { x }),
            Unary::ThresholdedRelu(alpha) => map!(|x: $type| if x > <$type>::from(alpha) { x } else { 0.0 }),
            Unary::Elu(alpha) => map!(|x: $type| if x < 0.0 { <$type>::from(alpha) * x.exp_m1() } else { x }),
            Unary::Celu(alpha) => map!(|x: $type| if x < 0.0 { <$type>::from(alpha) * (x / <$type>::from(alpha)).exp_m1() } else { x }),
            Unary::Selu(alpha, gamma) => {
                map!(|x: $type| <$type>::from(gamma) * if x > 0.0 { x } else { <$type>::from(alpha) * x.exp_m1() })
            }
            Unary::HardSigmoid(alpha, beta) => map!(|x: $type| (<$type>::from(alpha) * x + <$type>::from(beta)).clamp(0.0, 1.0)),
            Unary::HardSwish => map!(|x: $type| x * (x / 6.0 + 0.5).clamp(0.0, 1.0)),
            Unary::Gelu => map!(|x: $type| 0.5 * x * (1.0 + vector::erf(f64::from(x) * std::f64::consts::FRAC_1_SQRT_2) as $type)),
            Unary::GeluTanh => map!(|x: $type| 0.5 * x * (1.0 + tanh(0.797_884_6 * (x + 0.044_715 * x * x * x)))),
            Unary::Swish(alpha) => map!(|x: $type| x * sigmoid(<$type>::from(alpha) * x)),
            Unary::Shrink(lambda, bias) => {
                let (lambda, bias) = (<$type>::from(lambda), <$type>::from(bias));
                map!(|x: $type| if x < -lambda {
                    x + bias
                } else if x > lambda {
                    x - bias
                } else {
                    0.0
                });
            }
            Unary::Mish => map!(|x: $type| x * tanh(if x > 0.0 { x + (-x).exp().ln_1p() } else { x.exp().ln_1p() })),
        }
    }};
}

impl Unary {
    /// Whether it takes about one step a value; the others take a series or a library's function.
    fn is_cheap(self) -> bool {
        use Unary as U;
        matches!(self, U::Abs | U::Neg | U::Sign | U::Floor | U::Ceil | U::Round | U::Sqrt | U::Relu | U::Reciprocal | U::LeakyRelu(_))
    }
}

impl Op for Unary {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let mut value = inputs.take(0)?;
        if !self.is_cheap() {
            inputs.meter.work(16 * value.data.len() as u64)?;
        }
        match &mut value.data {
            Data::F32(list) => float_unary!(*self, list, f32, vector::exp, vector::sigmoid, vector::tanh),
            Data::F64(list) => {
                let sigmoid = |x: f64| {
                    let small = (-x.abs()).exp();
                    if x < 0.0 { small / (1.0 + small) } else { 1.0 / (1.0 + small) }
                };
                float_unary!(*self, list, f64, f64::exp, sigmoid, f64::tanh);
            }
            Data::I64(list) => match self {
                Self::Abs => list.iter_mut().for_each(|x| *x = x.wrapping_abs()),
                Self::Neg => list.iter_mut().for_each(|x| *x = x.wrapping_neg()),
                Self::Sign => list.iter_mut().for_each(|x| *x = x.signum()),
                Self::Relu => list.iter_mut().for_each(|x| *x = (*x).max(0)),
                _ => return Err(wrong_type(View::I64(list))),
            },
            Data::I32(list) => match self {
                Self::Abs => list.iter_mut().for_each(|x| *x = x.wrapping_abs()),
                Self::Neg => list.iter_mut().for_each(|x| *x = x.wrapping_neg()),
                Self::Sign => list.iter_mut().for_each(|x| *x = x.signum()),
                Self::Relu => list.iter_mut().for_each(|x| *x = (*x).max(0)),
                _ => return Err(wrong_type(View::I32(list))),
            },
            other => return Err(wrong_type(other.view())),
        }
        one(value)
    }

    fn tail(&self) -> Option<Tail> {
        matches!(self, Self::Relu).then_some(Tail::Floor)
    }
}

/// The array unchanged: `Identity`, `Dropout` outside training.
#[derive(Debug)]
struct Same {
    /// Whether a mask of ones follows.
    mask: bool,
}

impl Op for Same {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let value = inputs.take(0)?;
        let mut values: Values = SmallVec::new();
        let mask = if self.mask { Some(Value::new(value.shape.clone(), vec![true; inputs.meter.size(&value.shape)?])) } else { None };
        values.push(value);
        values.extend(mask);
        Ok(values)
    }

    fn passes(&self, _: View<'_>) -> bool {
        !self.mask
    }
}

/// Bounds from attributes or from inputs 1 and 2.
#[derive(Debug)]
struct Clip {
    low: Option<f32>,
    high: Option<f32>,
}

impl Op for Clip {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let mut value = inputs.take(0)?;
        macro_rules! clip {
            ($list:expr, $type:ty, $view:ident) => {{
                let bound = |at: usize, own: Option<f32>| -> Result<Option<$type>> {
                    match inputs.optional(at) {
                        Some(arg) => Ok(arg.list::<$type>()?.first().copied()),
                        None => Ok(own.map(|own| own as $type)),
                    }
                };
                let (low, high) = (bound(1, self.low)?, bound(2, self.high)?);
                for x in $list.iter_mut() {
                    if let Some(low) = low
                        && *x < low
                    {
                        *x = low;
                    }
                    if let Some(high) = high
                        && *x > high
                    {
                        *x = high;
                    }
                }
            }};
        }
        match &mut value.data {
            Data::F32(list) => clip!(list, f32, F32),
            Data::F64(list) => clip!(list, f64, F64),
            Data::I64(list) => clip!(list, i64, I64),
            Data::I32(list) => clip!(list, i32, I32),
            other => return Err(wrong_type(other.view())),
        }
        one(value)
    }
}

/// `x` where positive, else `x · slope`, the slopes stretched.
#[derive(Debug)]
struct PRelu;

impl Op for PRelu {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let (x, slope) = (inputs.get(0)?, inputs.get(1)?);
        let out: Shape = broadcast(x.shape, slope.shape)?;
        inputs.meter.size(&out)?;
        let list =
            zip(x.list::<f32>()?, x.shape, slope.list::<f32>()?, slope.shape, &out, |&x, &slope| if x < 0.0 { x * slope } else { x });
        one(Value::new(out, list))
    }
}

pub(super) fn parse(name: &str, node: &Node<'_>) -> Result<Option<Box<dyn Op>>> {
    let binary = |op, mean| boxed(Arithmetic { op, mean }).map(Some);
    let alpha = |default| node.float("alpha", default);
    let unary = match name {
        "Add" | "Sum" => return binary(Binary::Add, false),
        "Mean" => return binary(Binary::Add, true),
        "Sub" => return binary(Binary::Sub, false),
        "Mul" => return binary(Binary::Mul, false),
        "Div" => return binary(Binary::Div, false),
        "Pow" => return binary(Binary::Pow, false),
        "Min" => return binary(Binary::Min, false),
        "Max" => return binary(Binary::Max, false),
        "Mod" => return binary(if node.int("fmod", 0) == 0 { Binary::Mod } else { Binary::Fmod }, false),
        "Identity" => return boxed(Same { mask: false }).map(Some),
        "Dropout" => {
            let inference = |value: &Value| matches!(&value.data, Data::Bool(list) if !list.contains(&true));
            if node.has_input(2) && !node.constants.get(2).copied().flatten().is_some_and(inference) {
                return Err(Error::invalid("input `training_mode` is set; export the model for inference"));
            }
            return boxed(Same { mask: node.proto.output.len() > 1 }).map(Some);
        }
        "Clip" => {
            let bound = |name| node.attribute(name).map(|attribute| attribute.f);
            return boxed(Clip { low: bound("min"), high: bound("max") }).map(Some);
        }
        "PRelu" => return boxed(PRelu).map(Some),
        "Abs" => Unary::Abs,
        "Neg" => Unary::Neg,
        "Sign" => Unary::Sign,
        "Floor" => Unary::Floor,
        "Ceil" => Unary::Ceil,
        "Round" => Unary::Round,
        "Sqrt" => Unary::Sqrt,
        "Exp" => Unary::Exp,
        "Log" => Unary::Log,
        "Erf" => Unary::Erf,
        "Sin" => Unary::Sin,
        "Cos" => Unary::Cos,
        "Tan" => Unary::Tan,
        "Asin" => Unary::Asin,
        "Acos" => Unary::Acos,
        "Atan" => Unary::Atan,
        "Sinh" => Unary::Sinh,
        "Cosh" => Unary::Cosh,
        "Asinh" => Unary::Asinh,
        "Acosh" => Unary::Acosh,
        "Atanh" => Unary::Atanh,
        "Tanh" => Unary::Tanh,
        "Sigmoid" => Unary::Sigmoid,
        "Relu" => Unary::Relu,
        "Softplus" => Unary::Softplus,
        "Softsign" => Unary::Softsign,
        "Reciprocal" => Unary::Reciprocal,
        "LeakyRelu" => Unary::LeakyRelu(alpha(0.01)),
        "ThresholdedRelu" => Unary::ThresholdedRelu(alpha(1.0)),
        "Elu" => Unary::Elu(alpha(1.0)),
        "Celu" => Unary::Celu(alpha(1.0)),
        "Selu" => Unary::Selu(alpha(1.673_263_2), node.float("gamma", 1.050_701)),
        "HardSigmoid" => Unary::HardSigmoid(alpha(0.2), node.float("beta", 0.5)),
        "HardSwish" => Unary::HardSwish,
        "Gelu" if node.text("approximate", "none")? == "tanh" => Unary::GeluTanh,
        "Gelu" => Unary::Gelu,
        "FastGelu" if node.proto.input.len() == 1 => Unary::GeluTanh,
        "QuickGelu" => Unary::Swish(alpha(1.702)),
        "Swish" => Unary::Swish(alpha(1.0)),
        "Mish" => Unary::Mish,
        "Shrink" => Unary::Shrink(node.float("lambd", 0.5), node.float("bias", 0.0)),
        _ => return Ok(None),
    };
    boxed(unary).map(Some)
}
