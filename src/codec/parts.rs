//! The values of rows that several blocks, or one of another type than 32-bit numbers, are made of.
//!
//! A value goes to the part its column belongs to: along a row the part is carried on, a sparse row's is looked up. Knows
//! neither formats nor what a cell says; [`Rows`](super::payload::Rows) has checked both. Next: `payload.rs`.

use smallvec::SmallVec;

use crate::error::{Error, Kind, Result};
use crate::names::shown;
use crate::tensor::{Block, Part, Tensor, ValueKind};

/// A value on its way to its part.
#[derive(Debug)]
pub(super) enum One {
    F32(f32),
    F64(f64),
    I64(i64),
    Bool(bool),
    Text(Box<str>),
}

/// What fills one part, row after row.
#[derive(Debug)]
enum Values {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I64(Vec<i64>),
    Bool(Vec<bool>),
    Text(Vec<Box<str>>),
}

#[derive(Debug)]
struct Filled {
    values: Values,
    columns: usize,
    /// The column of a row behind this part's last.
    end: usize,
}

/// A list of values for each part.
#[derive(Debug)]
pub(super) struct Parts {
    all: Vec<Filled>,
    /// The part that the next value of the row goes to.
    at: usize,
}

impl Values {
    fn kind(&self) -> ValueKind {
        match self {
            Self::F32(_) => ValueKind::F32,
            Self::F64(_) => ValueKind::F64,
            Self::I64(_) => ValueKind::I64,
            Self::Bool(_) => ValueKind::Bool,
            Self::Text(_) => ValueKind::Text,
        }
    }
}

impl Parts {
    pub(super) fn new(parts: &[Part]) -> Self {
        let mut end = 0;
        let one = |part: &Part| {
            end += part.columns;
            let values = match part.kind {
                ValueKind::F32 => Values::F32(Vec::new()),
                ValueKind::F64 => Values::F64(Vec::new()),
                ValueKind::I64 => Values::I64(Vec::new()),
                ValueKind::Bool => Values::Bool(Vec::new()),
                ValueKind::Text => Values::Text(Vec::new()),
            };
            Filled { values, columns: part.columns, end }
        };
        Self { all: parts.iter().map(one).collect(), at: 0 }
    }

    /// What the next value of the row must be.
    pub(super) fn kind(&self) -> Option<ValueKind> {
        self.all.get(self.at).map(|part| part.values.kind())
    }

    /// What a value of `column` must be.
    pub(super) fn kind_of(&self, column: usize) -> Option<ValueKind> {
        self.all.get(self.of(column)).map(|part| part.values.kind())
    }

    fn of(&self, column: usize) -> usize {
        self.all.partition_point(|part| part.end <= column)
    }

    /// Adds the next value of the row, which is that of `column`.
    pub(super) fn push(&mut self, value: One, column: usize) -> Result<()> {
        let part = self.all.get_mut(self.at).ok_or_else(Self::other)?;
        match (&mut part.values, value) {
            (Values::F32(values), One::F32(value)) => values.push(value),
            (Values::F64(values), One::F64(value)) => values.push(value),
            (Values::I64(values), One::I64(value)) => values.push(value),
            (Values::Bool(values), One::Bool(value)) => values.push(value),
            (Values::Text(values), One::Text(value)) => values.push(value),
            _ => return Err(Self::other()),
        }
        // The last part stays: what a row has too many of is named at its end.
        if column + 1 >= part.end && self.at + 1 < self.all.len() {
            self.at += 1;
        }
        Ok(())
    }

    /// Begins the next row.
    pub(super) fn rewind(&mut self) {
        self.at = 0;
    }

    /// Adds a row of which nothing is said.
    pub(super) fn absent_row(&mut self, parts: &[Part], absent: f32) -> Result<()> {
        let left_out = |kind| match kind {
            ValueKind::F32 | ValueKind::F64 => true,
            ValueKind::I64 | ValueKind::Bool => absent == 0.0,
            ValueKind::Text => false,
        };
        if let Some(part) = parts.iter().find(|part| !left_out(part.kind)) {
            let (name, word) = (shown(&part.name), part.kind.word());
            let text = format!("input `{name}` takes {word}, which a sparse row cannot leave out; send every value of a row");
            return Err(Error::invalid(text));
        }
        for part in &mut self.all {
            match &mut part.values {
                Values::F32(values) => values.resize(values.len() + part.columns, absent),
                Values::F64(values) => values.resize(values.len() + part.columns, f64::from(absent)),
                Values::I64(values) => values.resize(values.len() + part.columns, 0),
                Values::Bool(values) => values.resize(values.len() + part.columns, false),
                Values::Text(_) => return Err(Self::other()),
            }
        }
        Ok(())
    }

    /// Sets a value of a row that is there.
    pub(super) fn set(&mut self, row: usize, column: usize, value: One) -> Result<()> {
        fn put<T>(values: &mut [T], at: usize, value: T) -> Option<()> {
            values.get_mut(at).map(|place| *place = value)
        }
        let at = self.of(column);
        let part = self.all.get_mut(at).ok_or_else(Self::other)?;
        let at = row * part.columns + column + part.columns - part.end;
        let done = match (&mut part.values, value) {
            (Values::F32(values), One::F32(value)) => put(values, at, value),
            (Values::F64(values), One::F64(value)) => put(values, at, value),
            (Values::I64(values), One::I64(value)) => put(values, at, value),
            (Values::Bool(values), One::Bool(value)) => put(values, at, value),
            (Values::Text(values), One::Text(value)) => put(values, at, value),
            _ => None,
        };
        done.ok_or_else(Self::other)
    }

    /// The blocks; `None` when one holds no whole rows.
    pub(super) fn finish(self) -> Option<SmallVec<[Block; 1]>> {
        let one = |Filled { values, columns, .. }: Filled| {
            Some(match values {
                Values::F32(values) => Tensor::new(columns, values)?.into(),
                Values::F64(values) => Tensor::new(columns, values)?.into(),
                Values::I64(values) => Tensor::new(columns, values)?.into(),
                Values::Bool(values) => Tensor::new(columns, values)?.into(),
                Values::Text(values) => Tensor::new(columns, values)?.into(),
            })
        };
        self.all.into_iter().map(one).collect()
    }

    /// A mistake of this crate.
    pub(super) fn other() -> Error {
        Error::new(Kind::Internal, "a value is of another type than its part")
    }
}
