//! Rows × columns of values: what a payload becomes and what passes between the stages of a pipeline.
//!
//! A [`Tensor`] holds values of one type; a [`Block`] is one of the five types that models take and give. Knows neither
//! payload formats (`codec/`) nor models (`runtime/`).

/// A dense row-major matrix. A missing number is NaN.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tensor<T = f32> {
    columns: usize,
    rows: usize,
    values: Vec<T>,
}

impl<T> Tensor<T> {
    /// A matrix of `columns` wide rows; `None` when the values do not fill whole rows.
    pub fn new(columns: usize, values: Vec<T>) -> Option<Self> {
        let rows = values.len().checked_div(columns)?;
        (rows * columns == values.len()).then_some(Self { columns, rows, values })
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns; every row has as many.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// All values, row after row.
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// All values, to be changed in place.
    pub fn values_mut(&mut self) -> &mut [T] {
        &mut self.values
    }

    /// All values, taken out.
    pub fn into_values(self) -> Vec<T> {
        self.values
    }

    /// The rows in order.
    pub fn iter(&self) -> std::slice::ChunksExact<'_, T> {
        self.values.chunks_exact(self.columns.max(1))
    }

    /// The values of one row; none when there is no such row.
    pub fn row(&self, row: usize) -> &[T] {
        self.values.get(row * self.columns..(row + 1) * self.columns).unwrap_or_default()
    }

    /// The same shape with every value put through `change`.
    pub fn map<U>(&self, change: impl FnMut(&T) -> U) -> Tensor<U> {
        Tensor { columns: self.columns, rows: self.rows, values: self.values.iter().map(change).collect() }
    }
}

impl<T: Clone> Tensor<T> {
    /// The columns from `start`, `count` of them; `None` when there are not as many.
    pub fn slice(&self, start: usize, count: usize) -> Option<Self> {
        let mut values = Vec::with_capacity(self.rows * count);
        for row in self.iter() {
            values.extend_from_slice(row.get(start..start.checked_add(count)?)?);
        }
        (count > 0).then_some(Self { columns: count, rows: self.rows, values })
    }

    /// The rows from `start`, `count` of them; `None` when there are not as many.
    pub fn slice_rows(&self, start: usize, count: usize) -> Option<Self> {
        let values = self.values.get(start * self.columns..start.checked_add(count)? * self.columns)?;
        Some(Self { columns: self.columns, rows: count, values: values.to_vec() })
    }

    /// All rows, `times` over.
    pub fn repeat(&self, times: usize) -> Self {
        let count = self.values.len() * times;
        Self { columns: self.columns, rows: self.rows * times, values: self.values.iter().cloned().cycle().take(count).collect() }
    }
}

/// The type of a block's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueKind {
    /// 32-bit numbers.
    F32,
    /// 64-bit numbers.
    F64,
    /// Whole numbers.
    I64,
    /// True or false.
    Bool,
    /// Text.
    Text,
}

impl ValueKind {
    /// As it is shown to people who ask what a model is: with the width of numbers.
    pub fn exact(self) -> &'static str {
        match self {
            Self::F32 => "32-bit number",
            Self::F64 => "64-bit number",
            _ => self.word(),
        }
    }

    /// As it is shown to people.
    pub fn word(self) -> &'static str {
        match self {
            Self::F32 | Self::F64 => "number",
            Self::I64 => "whole number",
            Self::Bool => "true or false",
            Self::Text => "text",
        }
    }
}

/// A block of columns that a model takes.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Part {
    /// What the model calls it; empty where it takes one matrix.
    pub name: Box<str>,
    /// The type of its values.
    pub kind: ValueKind,
    /// How many columns.
    pub columns: usize,
}

/// A tensor of one of the types.
#[derive(Debug, Clone, PartialEq)]
pub enum Block {
    /// 32-bit numbers.
    F32(Tensor<f32>),
    /// 64-bit numbers.
    F64(Tensor<f64>),
    /// Whole numbers.
    I64(Tensor<i64>),
    /// True or false.
    Bool(Tensor<bool>),
    /// Text.
    Text(Tensor<Box<str>>),
}

/// Runs the same expression on whichever tensor a block holds.
macro_rules! on_tensor {
    ($block:expr, $tensor:ident => $work:expr) => {
        match $block {
            Block::F32($tensor) => $work,
            Block::F64($tensor) => $work,
            Block::I64($tensor) => $work,
            Block::Bool($tensor) => $work,
            Block::Text($tensor) => $work,
        }
    };
}

impl Block {
    /// The type of its values.
    pub fn kind(&self) -> ValueKind {
        match self {
            Self::F32(_) => ValueKind::F32,
            Self::F64(_) => ValueKind::F64,
            Self::I64(_) => ValueKind::I64,
            Self::Bool(_) => ValueKind::Bool,
            Self::Text(_) => ValueKind::Text,
        }
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        on_tensor!(self, tensor => tensor.rows())
    }

    /// Columns.
    pub fn columns(&self) -> usize {
        on_tensor!(self, tensor => tensor.columns())
    }

    /// The 32-bit numbers, if it holds those.
    pub fn f32s(&self) -> Option<&Tensor> {
        if let Self::F32(tensor) = self { Some(tensor) } else { None }
    }

    /// The 64-bit numbers, if it holds those.
    pub fn f64s(&self) -> Option<&Tensor<f64>> {
        if let Self::F64(tensor) = self { Some(tensor) } else { None }
    }

    /// The columns from `start`, `count` of them.
    pub fn slice(&self, start: usize, count: usize) -> Option<Self> {
        Some(match self {
            Self::F32(tensor) => Self::F32(tensor.slice(start, count)?),
            Self::F64(tensor) => Self::F64(tensor.slice(start, count)?),
            Self::I64(tensor) => Self::I64(tensor.slice(start, count)?),
            Self::Bool(tensor) => Self::Bool(tensor.slice(start, count)?),
            Self::Text(tensor) => Self::Text(tensor.slice(start, count)?),
        })
    }

    /// The rows from `start`, `count` of them.
    pub fn slice_rows(&self, start: usize, count: usize) -> Option<Self> {
        Some(match self {
            Self::F32(tensor) => Self::F32(tensor.slice_rows(start, count)?),
            Self::F64(tensor) => Self::F64(tensor.slice_rows(start, count)?),
            Self::I64(tensor) => Self::I64(tensor.slice_rows(start, count)?),
            Self::Bool(tensor) => Self::Bool(tensor.slice_rows(start, count)?),
            Self::Text(tensor) => Self::Text(tensor.slice_rows(start, count)?),
        })
    }

    /// Bytes its values take in memory.
    pub fn weight(&self) -> usize {
        match self {
            Self::F32(tensor) => size_of_val(tensor.values()),
            Self::F64(tensor) => size_of_val(tensor.values()),
            Self::I64(tensor) => size_of_val(tensor.values()),
            Self::Bool(tensor) => size_of_val(tensor.values()),
            Self::Text(tensor) => size_of_val(tensor.values()) + tensor.values().iter().map(|text| text.len()).sum::<usize>(),
        }
    }

    /// All rows, `times` over.
    pub fn repeat(&self, times: usize) -> Self {
        match self {
            Self::F32(tensor) => Self::F32(tensor.repeat(times)),
            Self::F64(tensor) => Self::F64(tensor.repeat(times)),
            Self::I64(tensor) => Self::I64(tensor.repeat(times)),
            Self::Bool(tensor) => Self::Bool(tensor.repeat(times)),
            Self::Text(tensor) => Self::Text(tensor.repeat(times)),
        }
    }

    /// The first value that is no finite number, as its place among all values.
    pub fn not_finite(&self) -> Option<usize> {
        match self {
            Self::F32(tensor) => tensor.values.iter().position(|value| !value.is_finite()),
            Self::F64(tensor) => tensor.values.iter().position(|value| !value.is_finite()),
            _ => None,
        }
    }

    /// The first number that `is` holds of, as its place among all values.
    pub fn find(&self, is: impl Fn(f64) -> bool) -> Option<usize> {
        match self {
            Self::F32(tensor) => tensor.values.iter().position(|&value| is(value.into())),
            Self::F64(tensor) => tensor.values.iter().position(|&value| is(value)),
            _ => None,
        }
    }

    /// The values at `places`, in rows of `columns`; `None` where one is not there.
    pub fn pick(&self, columns: usize, places: &[usize]) -> Option<Self> {
        fn of<T: Clone>(tensor: &Tensor<T>, columns: usize, places: &[usize]) -> Option<Tensor<T>> {
            Tensor::new(columns, places.iter().map(|&place| tensor.values.get(place).cloned()).collect::<Option<_>>()?)
        }
        Some(match self {
            Self::F32(tensor) => Self::F32(of(tensor, columns, places)?),
            Self::F64(tensor) => Self::F64(of(tensor, columns, places)?),
            Self::I64(tensor) => Self::I64(of(tensor, columns, places)?),
            Self::Bool(tensor) => Self::Bool(of(tensor, columns, places)?),
            Self::Text(tensor) => Self::Text(of(tensor, columns, places)?),
        })
    }

    /// The same values as `kind`; `None` where numbers and text would have to become each other, or a number is not whole.
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "numbers become narrower ones as models have it")]
    pub fn to(&self, kind: ValueKind) -> Option<Self> {
        if self.kind() == kind {
            return Some(self.clone());
        }
        let wide: Tensor<f64> = match self {
            Self::F32(tensor) => tensor.map(|&value| f64::from(value)),
            Self::F64(tensor) => tensor.clone(),
            Self::I64(tensor) => tensor.map(|&value| value as f64),
            Self::Bool(tensor) => tensor.map(|&value| f64::from(u8::from(value))),
            Self::Text(_) => return None,
        };
        Some(match kind {
            ValueKind::F32 => Self::F32(wide.map(|&value| value as f32)),
            ValueKind::F64 => Self::F64(wide),
            ValueKind::I64 if wide.values.iter().all(|value| value.fract() == 0.0 && value.abs() < 9e15) => {
                Self::I64(wide.map(|&value| value as i64))
            }
            ValueKind::Bool if wide.values.iter().all(|&value| value == 0.0 || value == 1.0) => Self::Bool(wide.map(|&value| value == 1.0)),
            _ => return None,
        })
    }
}

impl From<Tensor> for Block {
    fn from(tensor: Tensor) -> Self {
        Self::F32(tensor)
    }
}

impl From<Tensor<f64>> for Block {
    fn from(tensor: Tensor<f64>) -> Self {
        Self::F64(tensor)
    }
}

impl From<Tensor<i64>> for Block {
    fn from(tensor: Tensor<i64>) -> Self {
        Self::I64(tensor)
    }
}

impl From<Tensor<bool>> for Block {
    fn from(tensor: Tensor<bool>) -> Self {
        Self::Bool(tensor)
    }
}

impl From<Tensor<Box<str>>> for Block {
    fn from(tensor: Tensor<Box<str>>) -> Self {
        Self::Text(tensor)
    }
}
