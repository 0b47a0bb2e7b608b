//! From one type to another, as C++ converts numbers and prints them.
//!
//! Next: `../value.rs` for the types.

use super::super::graph::Inputs;
use super::super::meter::Meter;
use super::super::node::Node;
use super::super::value::{Data, Value, View, fault, unserved, word};
use super::{Op, Values, boxed, one};
use crate::error::Result;
use crate::names::shown;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) enum To {
    F32,
    F64,
    I64,
    I32,
    /// Held as 32 bits, cut to fewer: the bits and whether they carry a sign.
    Small(u32, bool),
    Bool,
    Text,
}

impl To {
    /// By the number that ONNX gives a type.
    pub(in super::super) fn numbered(number: i64) -> Option<Self> {
        Some(match number {
            1 => Self::F32,
            11 => Self::F64,
            7 => Self::I64,
            6 => Self::I32,
            2 => Self::Small(8, false),
            3 => Self::Small(8, true),
            4 => Self::Small(16, false),
            5 => Self::Small(16, true),
            9 => Self::Bool,
            8 => Self::Text,
            _ => return None,
        })
    }
}

/// What ONNX calls the type of an attribute.
pub(in super::super) fn word_of(number: i64) -> String {
    i32::try_from(number).map_or_else(|_| format!("ONNX type {number}"), word)
}

/// A number cut to a whole one as processors do it, and so onnxruntime: what is no number, or does not fit, becomes the
/// smallest. Rust's own casts make 0, which is a category like any other, of a missing number.
pub(in super::super) trait Cut: Copy {
    fn long(self) -> i64;
    fn int(self) -> i32;
}

macro_rules! cut {
    ($float:ty) => {
        impl Cut for $float {
            fn long(self) -> i64 {
                // What the ends of the types become as floats is a power of two exactly.
                if (i64::MIN as $float..-(i64::MIN as $float)).contains(&self) { self as i64 } else { i64::MIN }
            }

            fn int(self) -> i32 {
                if (i32::MIN as $float..-(i32::MIN as $float)).contains(&self) { self as i32 } else { i32::MIN }
            }
        }
    };
}
cut!(f32);
cut!(f64);

impl Cut for i64 {
    fn long(self) -> i64 {
        self
    }

    fn int(self) -> i32 {
        self as i32
    }
}

impl Cut for i32 {
    fn long(self) -> i64 {
        i64::from(self)
    }

    fn int(self) -> i32 {
        self
    }
}

/// The most bytes of a number that is printed.
const PRINTED: usize = 24;

/// The value as another type. Text that is no number is 0 where that is `forgiven`.
pub(in super::super) fn cast(value: Value, to: To, forgiven: bool, meter: &Meter) -> Result<Value> {
    let Value { shape, data } = value;
    match (&data, to) {
        // Kept as they are, or read.
        (Data::Text(_), _) => meter.reads(data.view())?,
        (_, To::Text) => meter.text(data.len(), data.len() * PRINTED)?,
        _ => {}
    }
    macro_rules! numbers {
        ($list:expr, $zero:expr) => {
            match to {
                To::F32 => Data::F32($list.iter().map(|&x| x as f32).collect()),
                To::F64 => Data::F64($list.iter().map(|&x| x as f64).collect()),
                To::I64 => Data::I64($list.iter().map(|&x| x.long()).collect()),
                To::I32 => Data::I32($list.iter().map(|&x| x.int()).collect()),
                To::Small(bits, sign) => Data::I32($list.iter().map(|&x| small(x.int(), bits, sign)).collect()),
                To::Bool => Data::Bool($list.iter().map(|&x| x != $zero).collect()),
                To::Text => Data::Text($list.iter().map(|&x| x.print().into()).collect()),
            }
        };
    }
    let data = match (data, to) {
        (data @ Data::F32(_), To::F32)
        | (data @ Data::F64(_), To::F64)
        | (data @ Data::I64(_), To::I64)
        | (data @ Data::I32(_), To::I32)
        | (data @ Data::Bool(_), To::Bool)
        | (data @ Data::Text(_), To::Text) => data,
        (Data::F32(list), _) => numbers!(list, 0.0),
        (Data::F64(list), _) => numbers!(list, 0.0),
        (Data::I64(list), _) => numbers!(list, 0),
        (Data::I32(list), _) => numbers!(list, 0),
        (Data::Bool(list), To::Text) => Data::Text(list.iter().map(|&x| if x { "1" } else { "0" }.into()).collect()),
        (Data::Bool(list), _) => {
            let list: Vec<i32> = list.into_iter().map(i32::from).collect();
            numbers!(list, 0)
        }
        (Data::Text(list), _) => texts(&list, to, forgiven)?,
    };
    Ok(Value { shape, data })
}

fn small(x: i32, bits: u32, sign: bool) -> i32 {
    match (bits, sign) {
        (8, false) => i32::from(x as u8),
        (8, true) => i32::from(x as i8),
        (16, false) => i32::from(x as u16),
        _ => i32::from(x as i16),
    }
}

fn texts(list: &[Box<str>], to: To, forgiven: bool) -> Result<Data> {
    fn read<T: std::str::FromStr + Default>(list: &[Box<str>], forgiven: bool) -> Result<Vec<T>> {
        let one = |text: &str| match text.trim().parse() {
            Ok(number) => Ok(number),
            Err(_) if forgiven => Ok(T::default()),
            Err(_) => Err(fault(format!("`{}` is not a number", shown(text)))),
        };
        list.iter().map(|text| one(text)).collect()
    }
    Ok(match to {
        To::F32 => Data::F32(read(list, forgiven)?),
        To::F64 => Data::F64(read(list, forgiven)?),
        To::I64 => Data::I64(read(list, forgiven)?),
        To::I32 => Data::I32(read(list, forgiven)?),
        _ => return Err(fault("text can be cast to numbers only")),
    })
}

/// Numbers as onnxruntime prints them: `%.8g`, for 64 bits too.
pub(in super::super) trait Print: Copy {
    fn print(self) -> String;
}

impl Print for i64 {
    fn print(self) -> String {
        self.to_string()
    }
}

impl Print for i32 {
    fn print(self) -> String {
        self.to_string()
    }
}

impl Print for f32 {
    fn print(self) -> String {
        general(f64::from(self), 8)
    }
}

impl Print for f64 {
    fn print(self) -> String {
        general(self, 8)
    }
}

/// C's `%.{digits}g`.
fn general(x: f64, digits: usize) -> String {
    if x.is_nan() {
        return "NaN".to_owned();
    }
    if x.is_infinite() {
        return if x > 0.0 { "INF" } else { "-INF" }.to_owned();
    }
    if x == 0.0 {
        return if x.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    let science = format!("{x:.*e}", digits - 1);
    let (mantissa, exponent) = science.split_once('e').unwrap_or((&science, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let trim = |text: &str| if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text.to_owned() };
    if exponent < -4 || exponent >= digits as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trim(mantissa), exponent.abs());
    }
    trim(&format!("{x:.*}", usize::try_from(digits as i32 - 1 - exponent).unwrap_or_default()))
}

#[derive(Debug)]
struct Cast(To);

impl Op for Cast {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        // What a trial row holds means nothing.
        let forgiven = inputs.forgives(0);
        one(cast(inputs.take(0)?, self.0, forgiven, inputs.meter)?)
    }

    fn passes(&self, input: View<'_>) -> bool {
        matches!(
            (input, self.0),
            (View::F32(_), To::F32)
                | (View::F64(_), To::F64)
                | (View::I64(_), To::I64)
                | (View::I32(_), To::I32)
                | (View::Bool(_), To::Bool)
        )
    }
}

/// To the type of the second input.
#[derive(Debug)]
struct CastLike;

impl Op for CastLike {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let to = match inputs.get(1)?.data {
            View::F32(_) => To::F32,
            View::F64(_) => To::F64,
            View::I64(_) => To::I64,
            View::I32(_) => To::I32,
            View::Bool(_) => To::Bool,
            View::Text(_) => To::Text,
        };
        let forgiven = inputs.forgives(0);
        one(cast(inputs.take(0)?, to, forgiven, inputs.meter)?)
    }
}

pub(super) fn parse(name: &str, node: &Node<'_>) -> Result<Option<Box<dyn Op>>> {
    match name {
        "Cast" => {
            let number = node.int("to", 0);
            let to =
                To::numbered(number).ok_or_else(|| unserved(format!("attribute `to` asks for {}, which is not held", word_of(number))))?;
            boxed(Cast(to)).map(Some)
        }
        "CastLike" => boxed(CastLike).map(Some),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_whole_number_becomes_the_smallest() {
        for x in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e20, -1e20] {
            assert_eq!((x.long(), x.int(), (x as f32).long(), (x as f32).int()), (i64::MIN, i32::MIN, i64::MIN, i32::MIN), "{x}");
        }
        assert_eq!((3e9f64.long(), 3e9f64.int(), (-2.9f64).long(), (-2.9f32).int()), (3_000_000_000, i32::MIN, -2, -2));
        assert_eq!((2_147_483_647.9f64.int(), 2_147_483_648f64.int(), (-2_147_483_648.5f64).int()), (i32::MAX, i32::MIN, i32::MIN));
        assert_eq!(((-9_223_372_036_854_775_808f64).long(), 9_223_372_036_854_774_784f64.long()), (i64::MIN, 9_223_372_036_854_774_784));
        // Narrower types take the low bits of 32.
        assert_eq!((small(3e9f32.int(), 16, false), small(f32::NAN.int(), 8, true), small((-1i64).int(), 8, false)), (0, 0, 255));
    }

    #[test]
    fn numbers_print_as_c_prints_them() {
        let cases = [(1.0, "1"), (0.1, "0.1"), (1e-5, "9.9999997e-06"), (123_456_789.0, "1.2345679e+08"), (-2.5, "-2.5"), (1e20, "1e+20")];
        for (x, text) in cases {
            assert_eq!((x as f32).print(), text);
        }
        assert_eq!((0.1f64.print(), 1e-5f64.print(), 123_456_789f64.print()), ("0.1".into(), "1e-05".into(), "1.2345679e+08".into()));
    }
}
