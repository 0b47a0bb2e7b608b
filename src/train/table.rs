//! A CSV file as a table of numbers, with the column of labels taken out.
//!
//! Features become `f32`, as they will when rows are sent to the model; labels keep their `f64`. A header is told from
//! data by its first row holding something that is no number and no word for a missing or infinite one. Knows no trainer. Next: `knn.rs`.

use std::collections::HashSet;
use std::io::Read;

use csv::{ByteRecord, ReaderBuilder};

use crate::codec::number::read_f64;
use crate::error::{Error, Result};
use crate::names::{counted, shown};

/// The most values of a table, 4 GiB of them.
const CELLS_MAX: usize = 1 << 30;

/// Rows of numbers and their labels.
#[derive(Debug)]
pub(crate) struct Table {
    /// The features' names; empty without a header.
    pub(crate) names: Vec<String>,
    /// Features, at least one.
    pub(crate) columns: usize,
    /// Row after row, all finite.
    pub(crate) values: Vec<f32>,
    /// One finite label a row; empty when no column holds labels.
    pub(crate) labels: Vec<f64>,
}

/// How to read a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading<'a> {
    /// The first row names the columns even if all its cells are numbers.
    pub(crate) header: bool,
    /// The column of labels: its name or its number from 1.
    pub(crate) label: Option<&'a str>,
}

fn broken(error: csv::Error) -> Error {
    Error::invalid(format!("the table cannot be read: {error}")).because(error)
}

/// The cells of a row as text.
fn cells(record: &ByteRecord) -> impl Iterator<Item = &str> {
    // What is not UTF-8 is no number either.
    record.iter().map(|cell| std::str::from_utf8(cell.trim_ascii()).unwrap_or("\u{fffd}"))
}

fn number(text: &str) -> Option<f64> {
    read_f64(text.as_bytes()).filter(|(value, used)| *used == text.len() && value.is_finite()).map(|(value, _)| value)
}

/// Whether a cell of the first row makes it a header. An empty one does not, nor what stands for a number that is missing
/// or infinite or is too large: these are refused as data.
fn is_name(cell: &str) -> bool {
    let word = cell.strip_prefix(['-', '+']).unwrap_or(cell);
    let stands_for_number = ["nan", "inf", "infinity", "na", "n/a", "null"].iter().any(|known| word.eq_ignore_ascii_case(known));
    let is_number = read_f64(cell.as_bytes()).is_some_and(|(_, used)| used == cell.len());
    !(cell.is_empty() || stands_for_number || is_number)
}

impl Table {
    /// Reads a whole file.
    ///
    /// # Errors
    /// Naming line and column: a cell that is empty or no number, a row of another width, a label column that is not
    /// there.
    pub(crate) fn read(source: impl Read, reading: Reading<'_>) -> Result<Self> {
        let mut rows = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(source);
        let mut record = ByteRecord::new();
        if !rows.read_byte_record(&mut record).map_err(broken)? {
            return Err(Error::invalid("the table holds no row"));
        }
        let width = record.len();
        let first: Vec<String> = cells(&record).map(|cell| cell.trim_start_matches('\u{feff}').to_owned()).collect();
        let header = reading.header || first.iter().any(|cell| is_name(cell));
        let label = reading.label.map(|label| column(label, if header { &first } else { &[] }, width)).transpose()?;
        let columns = width - usize::from(label.is_some());
        if columns == 0 {
            return Err(Error::invalid("the table has no column besides the label's; it takes at least one"));
        }
        let mut names = Vec::new();
        let mut more = true;
        if header {
            let mut seen = HashSet::new();
            if let Some(name) = first.iter().find(|name| !seen.insert(name.as_str())) {
                return Err(Error::invalid(format!("the header names column `{}` twice", shown(name))));
            }
            names = first.iter().enumerate().filter(|(at, _)| Some(*at) != label).map(|(_, name)| name.clone()).collect();
            more = rows.read_byte_record(&mut record).map_err(broken)?;
        }
        let mut table = Self { names, columns, values: Vec::new(), labels: Vec::new() };
        while more {
            let line = record.position().map_or(0, csv::Position::line);
            if record.len() != width {
                return Err(Error::invalid(format!("line {line} has {}; the first has {width}", counted(record.len(), "cell"))));
            }
            if table.values.len() + columns > CELLS_MAX {
                return Err(Error::invalid(format!("the table holds more than {CELLS_MAX} values; train on fewer rows")));
            }
            for (at, cell) in cells(&record).enumerate() {
                let cell = cell.trim_start_matches('\u{feff}');
                let narrow = |value: f64| Some(at) == label || (value as f32).is_finite();
                match number(cell).filter(|value| narrow(*value)) {
                    Some(value) if Some(at) == label => table.labels.push(value),
                    Some(value) => table.values.push(value as f32),
                    None => return Err(refuse(line, at, if header { first.get(at) } else { None }, cell)),
                }
            }
            more = rows.read_byte_record(&mut record).map_err(broken)?;
        }
        if table.values.is_empty() {
            return Err(Error::invalid("the table holds no row besides its header"));
        }
        Ok(table)
    }

    /// Rows.
    pub(crate) fn rows(&self) -> usize {
        self.values.len().checked_div(self.columns).unwrap_or_default()
    }

    /// The rows in order.
    pub(crate) fn iter(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact(self.columns.max(1))
    }

    /// The features' names as the models' metadata have them; nothing without a header.
    pub(super) fn names_as_json(&self) -> Result<Option<String>> {
        if self.names.is_empty() {
            return Ok(None);
        }
        serde_json::to_string(&self.names).map(Some).map_err(Error::internal)
    }
}

/// Where the label column is, from 0.
fn column(label: &str, names: &[String], width: usize) -> Result<usize> {
    let named = names.iter().position(|name| name == label);
    let numbered = || label.parse().ok().filter(|number| (1..=width).contains(number)).map(|number: usize| number - 1);
    named.or_else(numbered).ok_or_else(|| {
        let known = if names.is_empty() { "it has no header".to_owned() } else { format!("its header is `{}`", shown(&names.join(","))) };
        Error::invalid(format!("the table has no column `{}`: {known}; give a name or a number from 1 to {width}", shown(label)))
    })
}

fn refuse(line: u64, at: usize, name: Option<&String>, cell: &str) -> Error {
    let name = name.map(|name| format!(" (`{}`)", shown(name))).unwrap_or_default();
    let what = match cell {
        "" => "is empty; fill it in or leave the row out".to_owned(),
        _ if number(cell).is_some() => format!("is `{}`, too large for the model's 32-bit numbers", shown(cell)),
        _ => format!("is `{}`, no number", shown(cell)),
    };
    Error::invalid(format!("line {line}, column {}{name} {what}", at + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, header: bool, label: Option<&str>) -> Result<Table> {
        Table::read(text.as_bytes(), Reading { header, label })
    }

    #[test]
    fn headers_are_told_and_labels_taken_out_by_name_and_number() {
        for (text, header, label, names, labels, values) in [
            ("1,2,3\n4,5,6\n", false, Some("1"), vec![], vec![1.0, 4.0], vec![2.0, 3.0, 5.0, 6.0]),
            ("1,2,3\n4,5,6", true, Some("3"), vec!["1", "2"], vec![6.0], vec![4.0, 5.0]),
            ("\u{feff}a,y,b\r\n1, 2 ,3e0\r\n", false, Some("y"), vec!["a", "b"], vec![2.0], vec![1.0, 3.0]),
            ("\"a\",\"b\"\n\"1\",-2.5\n\n", false, None, vec!["a", "b"], vec![], vec![1.0, -2.5]),
        ] {
            let table = read(text, header, label).unwrap();
            assert_eq!(
                (table.names, table.labels, table.values),
                (names.into_iter().map(str::to_owned).collect(), labels, values),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_table_of_numbers_is_refused_with_its_place() {
        for (text, label, reason) in [
            ("", None, "no row"),
            ("a,b\n", None, "no row besides"),
            ("1,2\n3\n", None, "line 2 has 1 cell; the first has 2"),
            ("a,b\n1,x\n", None, "line 2, column 2 (`b`) is `x`, no number"),
            ("a,b\n1,\n", None, "line 2, column 2 (`b`) is empty"),
            ("1,\n", None, "line 1, column 2 is empty"),
            ("1,nan\n2,3\n", None, "line 1, column 2 is `nan`, no number"),
            ("1,-Inf\n2,3\n", None, "line 1, column 2 is `-Inf`, no number"),
            ("NA,2\n2,3\n", None, "line 1, column 1 is `NA`, no number"),
            ("1,NULL\n2,3\n", None, "line 1, column 2 is `NULL`, no number"),
            ("1,1e999\n2,3\n", None, "line 1, column 2 is `1e999`"),
            ("Na,K\n1,inf\n", None, "line 2, column 2 (`K`) is `inf`, no number"),
            ("1,1e39\n", None, "too large"),
            ("1,2\n", Some("3"), "no column `3`"),
            ("1,2\n", Some("0"), "no column `0`"),
            ("a,b\n1,2\n", Some("c"), "no column `c`"),
            ("a,a\n1,2\n", None, "`a` twice"),
            ("y\n1\n", Some("y"), "no column besides"),
        ] {
            let refused = read(text, false, label).unwrap_err();
            assert!(refused.message().contains(reason), "{text:?}: {refused}");
        }
    }
}
