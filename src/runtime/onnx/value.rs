//! Typed arrays of any rank, and how shapes go together as NumPy has it.
//!
//! A [`Value`] owns its numbers, an [`Arg`] borrows them; both are one of six types. Neither can be cloned without
//! asking `meter.rs`, and values of any type are picked through [`same!`], which asks for texts before it copies them.
//! Knows no operator. Next: `meter.rs`.

use smallvec::SmallVec;

use super::meter::Meter;
use super::proto;
use crate::error::{Error, Kind, Result};
use crate::tensor::ValueKind;

/// Lengths of the axes, outermost first.
pub(crate) type Shape = SmallVec<[usize; 4]>;
/// Whole numbers from attributes: axes, pads, permutations.
pub(crate) type Ints = SmallVec<[i64; 6]>;

/// The most axes an array may have.
pub(crate) const RANK_MAX: usize = 8;

/// Numbers or text, owned.
#[derive(Debug, PartialEq)]
pub(crate) enum Data {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I64(Vec<i64>),
    I32(Vec<i32>),
    Bool(Vec<bool>),
    Text(Vec<Box<str>>),
}

/// Numbers or text, borrowed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum View<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
    I64(&'a [i64]),
    I32(&'a [i32]),
    Bool(&'a [bool]),
    Text(&'a [Box<str>]),
}

/// An array that owns its values.
#[derive(Debug, PartialEq)]
pub(crate) struct Value {
    pub(crate) shape: Shape,
    pub(crate) data: Data,
}

/// An array that borrows its values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arg<'a> {
    pub(crate) shape: &'a [usize],
    pub(crate) data: View<'a>,
}

/// Runs one expression on whichever list a view or data holds.
macro_rules! each {
    ($kind:ident, $data:expr, $list:ident => $work:expr) => {
        match $data {
            $crate::runtime::onnx::value::$kind::F32($list) => $work,
            $crate::runtime::onnx::value::$kind::F64($list) => $work,
            $crate::runtime::onnx::value::$kind::I64($list) => $work,
            $crate::runtime::onnx::value::$kind::I32($list) => $work,
            $crate::runtime::onnx::value::$kind::Bool($list) => $work,
            $crate::runtime::onnx::value::$kind::Text($list) => $work,
        }
    };
}
pub(crate) use each;

/// Runs one expression that makes a list out of clones and wraps it as the same type.
///
/// A short text may be asked for a million times, so for text the expression runs on the lengths first: the meter
/// learns to the byte what the copies take before any is made.
macro_rules! same {
    ($meter:expr, $data:expr, $list:ident => $work:expr) => {{
        use $crate::runtime::onnx::value::{Data, View};
        match $data {
            View::F32($list) => $crate::error::Result::Ok(Data::F32($work)),
            View::F64($list) => Ok(Data::F64($work)),
            View::I64($list) => Ok(Data::I64($work)),
            View::I32($list) => Ok(Data::I32($work)),
            View::Bool($list) => Ok(Data::Bool($work)),
            View::Text(texts) => $meter
                .lengths(texts)
                .and_then(|lengths| {
                    let $list = lengths.as_slice();
                    let made: Vec<u32> = $work;
                    $meter.texts(&made)
                })
                .map(|()| {
                    let $list = texts;
                    Data::Text($work)
                }),
        }
    }};
}
pub(crate) use same;

/// A type that arrays hold.
pub(crate) trait Element: Clone + Send + Sync + 'static {
    fn wrap(list: Vec<Self>) -> Data;
    fn list<'a>(view: View<'a>) -> Option<&'a [Self]>;
}

macro_rules! element {
    ($type:ty, $variant:ident) => {
        impl Element for $type {
            fn wrap(list: Vec<Self>) -> Data {
                Data::$variant(list)
            }
            fn list<'a>(view: View<'a>) -> Option<&'a [Self]> {
                if let View::$variant(list) = view { Some(list) } else { None }
            }
        }
    };
}
element!(f32, F32);
element!(f64, F64);
element!(i64, I64);
element!(i32, I32);
element!(bool, Bool);
element!(Box<str>, Text);

impl Data {
    pub(crate) fn view(&self) -> View<'_> {
        match self {
            Self::F32(list) => View::F32(list),
            Self::F64(list) => View::F64(list),
            Self::I64(list) => View::I64(list),
            Self::I32(list) => View::I32(list),
            Self::Bool(list) => View::Bool(list),
            Self::Text(list) => View::Text(list),
        }
    }

    pub(crate) fn len(&self) -> usize {
        each!(Data, self, list => list.len())
    }

    /// The type it is answered as.
    pub(crate) fn kind(&self) -> ValueKind {
        match self {
            Self::F32(_) => ValueKind::F32,
            Self::F64(_) => ValueKind::F64,
            Self::I64(_) | Self::I32(_) => ValueKind::I64,
            Self::Bool(_) => ValueKind::Bool,
            Self::Text(_) => ValueKind::Text,
        }
    }

    /// Bytes in memory.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::F32(list) => list.capacity() * 4,
            Self::F64(list) => list.capacity() * 8,
            Self::I64(list) => list.capacity() * 8,
            Self::I32(list) => list.capacity() * 4,
            Self::Bool(list) => list.capacity(),
            Self::Text(list) => list.capacity() * 16 + list.iter().map(|text| text.len()).sum::<usize>(),
        }
    }
}

impl<'a> View<'a> {
    pub(crate) fn len(self) -> usize {
        each!(View, self, list => list.len())
    }

    /// The type as people know it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::F32(_) => "float",
            Self::F64(_) => "double",
            Self::I64(_) => "int64",
            Self::I32(_) => "int32",
            Self::Bool(_) => "bool",
            Self::Text(_) => "string",
        }
    }
}

impl Value {
    /// An array of `shape`; the caller made as many values.
    pub(crate) fn new<T: Element>(shape: impl Into<Shape>, list: Vec<T>) -> Self {
        let value = Self { shape: shape.into(), data: T::wrap(list) };
        debug_assert_eq!(value.shape.iter().product::<usize>(), value.data.len());
        value
    }

    pub(crate) fn arg(&self) -> Arg<'_> {
        Arg { shape: &self.shape, data: self.data.view() }
    }

    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>() + self.data.weight()
    }

    /// Reads a tensor of a file.
    ///
    /// # Errors
    /// Naming it: data outside the file, negative or huge dimensions, a type that is not held, a length that does not
    /// fit, a text that is no UTF-8.
    pub(crate) fn read(tensor: &proto::Tensor) -> Result<Self> {
        Self::read_unnamed(tensor).map_err(|error| error.within(format_args!("tensor `{}`", crate::names::shown(&tensor.name))))
    }

    fn read_unnamed(tensor: &proto::Tensor) -> Result<Self> {
        if tensor.data_location != 0 || !tensor.external_data.is_empty() {
            return Err(Error::invalid("its data lies outside the file; save the model with all data inside"));
        }
        if tensor.dims.len() > RANK_MAX {
            return Err(Error::invalid(format!("it has {} dimensions; at most {RANK_MAX} are taken", tensor.dims.len())));
        }
        let mut shape = Shape::new();
        let (mut size, mut bound) = (1usize, 1usize);
        for &side in &tensor.dims {
            let side = usize::try_from(side).map_err(|_| Error::invalid(format!("it has a dimension of {side}")))?;
            // An empty axis must not hide huge ones beside it.
            bound = bound
                .checked_mul(side.max(1))
                .filter(|&bound| bound <= 1 << 30)
                .ok_or_else(|| Error::invalid("its dimensions are too large"))?;
            size *= side;
            shape.push(side);
        }
        let raw = (!tensor.raw_data.is_empty()).then_some(&*tensor.raw_data);
        let fits = |found: usize| {
            if found == size { Ok(()) } else { Err(Error::invalid(format!("it holds {found} values where its shape says {size}"))) }
        };
        macro_rules! numbers {
            ($type:ty, $field:expr, $one:expr) => {{
                let list: Vec<_> = match raw {
                    Some(raw) => {
                        if raw.len() % size_of::<$type>() != 0 {
                            return Err(Error::invalid("its data is cut off"));
                        }
                        fits(raw.len() / size_of::<$type>())?;
                        raw.chunks_exact(size_of::<$type>())
                            .map(|bytes| bytes.try_into().map(<$type>::from_le_bytes).unwrap_or_default())
                            .map($one)
                            .collect()
                    }
                    None => {
                        fits($field.len())?;
                        $field.iter().map(|&value| value as $type).map($one).collect()
                    }
                };
                list
            }};
        }
        let data = match tensor.data_type {
            1 => Data::F32(numbers!(f32, tensor.float_data, |value| value)),
            11 => Data::F64(numbers!(f64, tensor.double_data, |value| value)),
            7 => Data::I64(numbers!(i64, tensor.int64_data, |value| value)),
            6 => Data::I32(numbers!(i32, tensor.int32_data, |value| value)),
            // Small whole numbers are held as 32 bits: the values are the same.
            2 => Data::I32(numbers!(u8, tensor.int32_data, i32::from)),
            3 => Data::I32(numbers!(i8, tensor.int32_data, i32::from)),
            4 => Data::I32(numbers!(u16, tensor.int32_data, i32::from)),
            5 => Data::I32(numbers!(i16, tensor.int32_data, i32::from)),
            9 => Data::Bool(numbers!(u8, tensor.int32_data, |value| value != 0)),
            8 => {
                fits(tensor.string_data.len())?;
                let text = |bytes: &bytes::Bytes| {
                    std::str::from_utf8(bytes).map(Box::from).map_err(|_| Error::invalid("a text in it is not UTF-8"))
                };
                Data::Text(tensor.string_data.iter().map(text).collect::<Result<_>>()?)
            }
            other => {
                let text =
                    format!("it holds values of {}; float, double, int8 to int64, uint8, uint16, bool and string are taken", word(other));
                return Err(unserved(text));
            }
        };
        Ok(Self { shape, data })
    }
}

impl<'a> Arg<'a> {
    /// The values as a list of one type.
    ///
    /// # Errors
    /// When they are of another type.
    pub(crate) fn list<T: Element>(self) -> Result<&'a [T]> {
        T::list(self.data).ok_or_else(|| wrong_type(self.data))
    }

    /// A copy.
    ///
    /// # Errors
    /// [`Kind::TooLarge`] when a request may not take as much.
    pub(crate) fn to_value(self, meter: &Meter) -> Result<Value> {
        meter.size(self.shape)?;
        Ok(Value { shape: self.shape.into(), data: same!(meter, self.data, list => list.to_vec())? })
    }

    /// The values as 32-bit numbers, converted where they are other numbers.
    ///
    /// # Errors
    /// When they are text.
    pub(crate) fn f32s(self) -> Result<std::borrow::Cow<'a, [f32]>> {
        use std::borrow::Cow;
        Ok(match self.data {
            View::F32(list) => Cow::Borrowed(list),
            View::F64(list) => Cow::Owned(list.iter().map(|&value| value as f32).collect()),
            View::I64(list) => Cow::Owned(list.iter().map(|&value| value as f32).collect()),
            View::I32(list) => Cow::Owned(list.iter().map(|&value| value as f32).collect()),
            View::Bool(list) => Cow::Owned(list.iter().map(|&value| f32::from(u8::from(value))).collect()),
            View::Text(_) => return Err(wrong_type(self.data)),
        })
    }

    /// The values as 64-bit numbers, converted where they are other numbers.
    ///
    /// # Errors
    /// When they are text.
    pub(crate) fn f64s(self) -> Result<std::borrow::Cow<'a, [f64]>> {
        use std::borrow::Cow;
        Ok(match self.data {
            View::F64(list) => Cow::Borrowed(list),
            View::F32(list) => Cow::Owned(list.iter().map(|&value| f64::from(value)).collect()),
            View::I64(list) => Cow::Owned(list.iter().map(|&value| value as f64).collect()),
            View::I32(list) => Cow::Owned(list.iter().map(|&value| f64::from(value)).collect()),
            View::Bool(list) => Cow::Owned(list.iter().map(|&value| f64::from(u8::from(value))).collect()),
            View::Text(_) => return Err(wrong_type(self.data)),
        })
    }

    /// The values as whole numbers.
    ///
    /// # Errors
    /// When they are of another type.
    pub(crate) fn ints(self) -> Result<Ints> {
        match self.data {
            View::I64(list) => Ok(list.into()),
            View::I32(list) => Ok(list.iter().map(|&value| i64::from(value)).collect()),
            other => Err(wrong_type(other)),
        }
    }

    /// Rows and columns as the classical operators see them: one axis is a single row.
    pub(crate) fn matrix(self) -> Result<(usize, usize)> {
        match *self.shape {
            [columns] => Ok((1, columns)),
            [rows, columns] => Ok((rows, columns)),
            _ => Err(Error::new(Kind::Model, format!("it was handed an array of shape {:?} where it takes a matrix", self.shape))),
        }
    }
}

/// The refusal of a type.
pub(crate) fn wrong_type(found: View<'_>) -> Error {
    Error::new(Kind::Model, format!("it was handed values of type {}, which it does not take", found.word()))
}

/// The refusal of shapes that do not go together.
pub(crate) fn wrong_shapes(a: &[usize], b: &[usize]) -> Error {
    Error::new(Kind::Model, format!("shapes {a:?} and {b:?} do not fit"))
}

/// What ONNX calls a type that it numbers.
pub(crate) fn word(number: i32) -> String {
    const WORDS: [&str; 27] = [
        "no type",
        "float",
        "uint8",
        "int8",
        "uint16",
        "int16",
        "int32",
        "int64",
        "string",
        "bool",
        "float16",
        "double",
        "uint32",
        "uint64",
        "complex64",
        "complex128",
        "bfloat16",
        "float8e4m3fn",
        "float8e4m3fnuz",
        "float8e5m2",
        "float8e5m2fnuz",
        "uint4",
        "int4",
        "float4e2m1",
        "float8e8m0",
        "uint2",
        "int2",
    ];
    let known = usize::try_from(number).ok().and_then(|number| WORDS.get(number));
    known.map_or_else(|| format!("ONNX type {number}"), |word| (*word).to_owned())
}

/// The refusal of what is well-formed and not had here: another runtime may have it. While a graph is prepared it is
/// told from other refusals by its kind, which becomes [`Kind::Validation`] at the end.
pub(crate) fn unserved(text: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(Kind::Unsupported, text)
}

/// A mistake of the graph, told to whoever asked.
pub(crate) fn fault(text: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(Kind::Model, text)
}

/// How far apart neighbours along each axis lie in row-major order.
pub(crate) fn strides(shape: &[usize]) -> Shape {
    let mut strides: Shape = smallvec::smallvec![1; shape.len()];
    let mut step = 1;
    for (stride, &side) in strides.iter_mut().zip(shape).rev() {
        *stride = step;
        step = step.saturating_mul(side);
    }
    strides
}

/// The shape of two arrays together.
///
/// # Errors
/// When an axis is neither equal nor 1.
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Result<Shape> {
    let rank = a.len().max(b.len());
    let side = |shape: &[usize], axis: usize| {
        let missing = rank - shape.len();
        if axis < missing { 1 } else { shape.get(axis - missing).copied().unwrap_or(1) }
    };
    (0..rank)
        .map(|axis| match (side(a, axis), side(b, axis)) {
            (a, b) if a == b => Ok(a),
            (1, b) => Ok(b),
            (a, 1) => Ok(a),
            _ => Err(wrong_shapes(a, b)),
        })
        .collect()
}

/// Strides of `shape` seen as the larger `out`: 0 along axes that repeat.
pub(crate) fn stretched(shape: &[usize], out: &[usize]) -> Shape {
    let own = strides(shape);
    let missing = out.len().saturating_sub(shape.len());
    (0..out.len())
        .map(|axis| match axis.checked_sub(missing).and_then(|axis| Some((*shape.get(axis)?, *own.get(axis)?))) {
            Some((side, stride)) if side > 1 => stride,
            _ => 0,
        })
        .collect()
}

/// A negative axis counts from the end.
///
/// # Errors
/// When there is no such axis.
pub(crate) fn axis(axis: i64, rank: usize) -> Result<usize> {
    let found = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(found)
        .ok()
        .filter(|&found| found < rank)
        .ok_or_else(|| fault(format!("axis {axis} is outside an array of {rank} dimensions")))
}

/// The shape before, at and behind an axis, each as one length.
pub(crate) fn around(shape: &[usize], axis: usize) -> (usize, usize, usize) {
    let (before, rest) = shape.split_at(axis.min(shape.len()));
    let middle = rest.first().copied().unwrap_or(1);
    (before.iter().product(), middle, rest.iter().skip(1).product())
}
