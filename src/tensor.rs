//! Rows × columns of numbers: what a payload becomes and what passes between the stages of a pipeline.
//!
//! Knows neither payload formats (`codec/`) nor models (`runtime/`).

/// A dense row-major matrix of `f32`. A missing value is NaN.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tensor {
    columns: usize,
    rows: usize,
    values: Vec<f32>,
}

impl Tensor {
    /// A matrix of `columns` wide rows; `None` when the values do not fill whole rows.
    pub fn new(columns: usize, values: Vec<f32>) -> Option<Self> {
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
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// All values, to be changed in place.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// The rows in order.
    pub fn iter(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact(self.columns.max(1))
    }
}
