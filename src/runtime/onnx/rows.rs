//! The rows of a graph: what its inputs take, what its outputs stand for, and the trial run that tells.
//!
//! Knows arrays and the file's messages, not who works the graph out. Next: `mod.rs`, which makes a model of them.

use smallvec::SmallVec;

use super::graph::Slot;
use super::meter::{Meter, STEPS_PER_NANO};
use super::value::{self, Data, Shape, Value, View, fault};
use super::{Engine, Head, proto};
use crate::error::{Error, Kind, Result};
use crate::names::{counted, shown};
use crate::runtime::pipeline::CELLS_MAX;
use crate::tensor::{Block, Part, Tensor, ValueKind};

/// The most inputs and outputs of a graph.
const PARTS_MAX: usize = 4096;

/// An input of the graph.
#[derive(Debug)]
pub(super) struct Input {
    /// Axes behind the rows.
    tail: Shape,
    /// Its first column among those of all inputs.
    start: usize,
    /// Whether whole numbers are 32 bits wide in the graph.
    narrow: bool,
    kind: ValueKind,
}

/// What an output is answered as.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Role {
    Labels,
    Scores { list: bool },
    Extra(Box<str>),
}

pub(super) fn kind_of(element: i32) -> Option<ValueKind> {
    Some(match element {
        1 => ValueKind::F32,
        11 => ValueKind::F64,
        6 | 7 => ValueKind::I64,
        9 => ValueKind::Bool,
        8 => ValueKind::Text,
        _ => return None,
    })
}

/// The inputs that requests fill, and whether any is made for a single row.
pub(super) fn inputs(graph: &proto::Graph) -> Result<(Vec<Input>, Vec<Part>, bool)> {
    let (mut inputs, mut parts, mut single) = (Vec::new(), Vec::new(), false);
    let mut start = 0usize;
    let constant: std::collections::HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    for info in graph.input.iter().filter(|info| !constant.contains(info.name.as_str())) {
        let refuse = |why: &str| Error::invalid(format!("input `{}` {why}", shown(&info.name)));
        let Some(tensor) = info.r#type.as_ref().and_then(|r#type| r#type.tensor.as_ref()) else {
            return Err(refuse("is a map, a sequence or of no type; rows of numbers or text are taken"));
        };
        let kind = kind_of(tensor.element).ok_or_else(|| {
            refuse(&format!("is of {}; float, double, int64, int32, bool and string are taken", value::word(tensor.element)))
        })?;
        let shape = tensor.shape.as_ref().ok_or_else(|| refuse("has no shape; export the model with one"))?;
        let Some((rows, tail)) = shape.dim.split_first() else { return Err(refuse("is a single value, not rows")) };
        match rows.value {
            None | Some(-1 | 0) => {}
            Some(1) if !tail.is_empty() => single = true,
            Some(count) => return Err(refuse(&format!("is made for {count} rows at once; export the model with a free first dimension"))),
        }
        let mut sides = Shape::new();
        let mut columns = 1usize;
        for dim in tail {
            let side = dim.value.and_then(|side| usize::try_from(side).ok()).filter(|&side| side > 0).ok_or_else(|| {
                let name = dim.param.as_deref().map_or_else(|| "?".to_owned(), shown);
                refuse(&format!("has the free dimension `{name}` beside its rows; export the model with it fixed"))
            })?;
            columns = columns.checked_mul(side).filter(|&columns| columns <= CELLS_MAX).ok_or_else(|| refuse("is too large"))?;
            sides.push(side);
        }
        if inputs.len() == PARTS_MAX || sides.len() + 1 > value::RANK_MAX {
            return Err(refuse("is one too many or has too many dimensions"));
        }
        inputs.push(Input { tail: sides, start, narrow: tensor.element == 6, kind });
        start = start.saturating_add(columns);
        parts.push(Part { name: info.name.as_str().into(), kind, columns });
    }
    if parts.is_empty() {
        return Err(Error::invalid("the graph has no input"));
    }
    if graph.output.is_empty() || graph.output.len() > PARTS_MAX {
        return Err(Error::invalid(format!("the graph has {} outputs; 1 to {PARTS_MAX} can be served", graph.output.len())));
    }
    Ok((inputs, parts, single))
}

/// Rows of nothing in particular: small numbers, the empty text.
fn nothing(kind: ValueKind, count: usize) -> Data {
    match kind {
        ValueKind::F32 => Data::F32(vec![0.5; count]),
        ValueKind::F64 => Data::F64(vec![0.5; count]),
        ValueKind::I64 => Data::I64(vec![0; count]),
        ValueKind::Bool => Data::Bool(vec![false; count]),
        ValueKind::Text => Data::Text(vec!["".into(); count]),
    }
}

/// Refuses an output that is declared as something else than what the graph makes: of a label declared as text and made as a
/// number, say, a place would be answered where the label is meant.
fn declared(info: &proto::ValueInfo, made: View<'_>) -> Result<()> {
    let told = info.r#type.as_ref().and_then(|r#type| r#type.tensor.as_ref()).map_or(0, |tensor| tensor.element);
    let (family, word) = match told {
        1 => (ValueKind::F64, "float"),
        11 => (ValueKind::F64, "double"),
        6 => (ValueKind::I64, "int32"),
        7 => (ValueKind::I64, "int64"),
        2..=5 | 12 | 13 => (ValueKind::I64, "a whole number"),
        8 => (ValueKind::Text, "string"),
        9 => (ValueKind::Bool, "bool"),
        // Maps and sequences, which become the arrays inside them, and what is not said.
        _ => return Ok(()),
    };
    let found = match made {
        View::F32(_) | View::F64(_) => ValueKind::F64,
        View::I64(_) | View::I32(_) => ValueKind::I64,
        View::Bool(_) => ValueKind::Bool,
        View::Text(_) => ValueKind::Text,
    };
    if found == family {
        return Ok(());
    }
    let (name, made) = (shown(&info.name), made.word());
    Err(Error::invalid(format!("output `{name}` is declared as {word}, and the graph makes {made}; it must make what it declares")))
}

/// Refuses scores by label that are not as many as the labels.
fn mapped(graph: &proto::Graph, info: &proto::ValueInfo, scores: usize) -> Result<()> {
    let makes = |node: &&proto::Node| node.op_type == "ZipMap" && node.output.contains(&info.name);
    let Some(node) = graph.node.iter().find(makes) else { return Ok(()) };
    let lists = node.attribute.iter().filter(|attribute| attribute.name.starts_with("classlabels_"));
    let labels: usize = lists.map(|list| list.strings.len() + list.ints.len()).sum();
    if labels == scores {
        return Ok(());
    }
    let text = format!("it has {}, and its input has {} for a row", counted(labels, "class label"), counted(scores, "score"));
    Err(Error::invalid(text).within(super::graph::place(node)))
}

/// Runs the graph on one row and on two, to see what its outputs look like and what a row costs.
pub(super) fn trial(engine: &Engine, inputs: &[Input], parts: &[Part], graph: &proto::Graph, single: bool) -> Result<Head> {
    let run = |rows: usize, spent: u64| {
        let meter = Meter::trial(spent);
        let data: Vec<Data> = parts
            .iter()
            .zip(inputs)
            .map(|(part, input)| match nothing(part.kind, rows * part.columns) {
                Data::I64(list) if input.narrow => Data::I32(list.iter().map(|&x| x as i32).collect()),
                data => data,
            })
            .collect();
        let slots = data.iter().zip(inputs).map(|(data, input)| Slot::Lent(input.shape(rows), data.view()));
        engine.run(slots.collect(), &meter).map(|values| (values, meter))
    };
    // A fault may be of a type that is not had here: who prepares asks another runtime then.
    let refused = |error: Error| {
        let kind = if error.kind() == Kind::Model { Kind::Model } else { Kind::Validation };
        error.as_kind(kind).within("a trial row could not be answered")
    };
    let (one, first) = run(1, 0).map_err(refused)?;
    let mut columns = Vec::with_capacity(one.len());
    for (value, info) in one.iter().zip(&graph.output) {
        let count = value.data.len();
        if count == 0 || value.shape.first().is_some_and(|&rows| rows != 1) {
            let text = format!(
                "output `{}` has shape {:?} for one row; its first dimension must be the rows, so that each row has its own \
                 answer: export the model without it, or each of its estimators by itself",
                shown(&info.name),
                value.shape.as_slice()
            );
            return Err(Error::invalid(text));
        }
        declared(info, value.data.view())?;
        mapped(graph, info, count)?;
        columns.push(count);
    }
    let second = if single { None } else { run(2, first.steps()).ok() };
    let second = second.filter(|(two, _)| {
        two.iter().zip(&columns).all(|(value, &columns)| value.shape.first() == Some(&2) && value.data.len() == 2 * columns)
    });
    let work = Meter::steps;
    let (each, spread) = match &second {
        Some((_, meter)) => (work(meter).saturating_sub(work(&first)), meter.peak().saturating_sub(first.peak())),
        None => (work(&first) + 50 * engine.steps() as u64, first.peak()),
    };
    let total: usize = columns.iter().sum();
    Ok(Head {
        together: second.is_some(),
        spread: spread.max(total).max(1),
        columns,
        fixed: 500 + 100 * engine.steps() as u64 + work(&first).saturating_sub(each) / STEPS_PER_NANO,
        each: each.div_ceil(STEPS_PER_NANO).max(1),
        words: Vec::new(),
        ensembles: Vec::new(),
        kinds: one.iter().map(|value| value.data.kind()).collect(),
    })
}

impl Input {
    pub(super) fn shape(&self, rows: usize) -> Shape {
        let mut shape: Shape = SmallVec::new();
        shape.push(rows);
        shape.extend_from_slice(&self.tail);
        shape
    }

    /// A block's values as the graph takes them: lent, or made narrow.
    pub(super) fn slot<'a>(&self, block: &'a Block, first: usize, rows: usize) -> Result<Slot<'a>> {
        fn cut<T>(tensor: &Tensor<T>, first: usize, rows: usize) -> &[T] {
            let columns = tensor.columns();
            tensor.values().get(first * columns..(first + rows) * columns).unwrap_or_default()
        }
        let other = || Error::new(Kind::Internal, "a graph was handed a block of another type");
        let view = match block {
            _ if block.kind() != self.kind => return Err(other()),
            Block::F32(tensor) => View::F32(cut(tensor, first, rows)),
            Block::F64(tensor) => View::F64(cut(tensor, first, rows)),
            Block::I64(tensor) if self.narrow => {
                let narrow = |(at, &x): (usize, &i64)| {
                    let (row, column) = (first + at / tensor.columns().max(1) + 1, self.start + at % tensor.columns().max(1) + 1);
                    let text = || format!("row {row}, column {column} is {x}, which does not fit the model's 32-bit whole numbers");
                    i32::try_from(x).map_err(|_| Error::invalid(text()))
                };
                let list = cut(tensor, first, rows).iter().enumerate().map(narrow).collect::<Result<Vec<i32>>>()?;
                return Ok(Slot::Owned(Value::new(self.shape(rows), list)));
            }
            Block::I64(tensor) => View::I64(cut(tensor, first, rows)),
            Block::Bool(tensor) => View::Bool(cut(tensor, first, rows)),
            Block::Text(tensor) => View::Text(cut(tensor, first, rows)),
        };
        Ok(Slot::Lent(self.shape(rows), view))
    }
}

/// The columns' names: an input's own where it is one column, else with a number behind it; none for one matrix.
pub(super) fn names(parts: &[Part]) -> Vec<Box<str>> {
    match parts {
        [part] if part.columns > 1 => Vec::new(),
        parts if parts.iter().map(|part| part.columns).sum::<usize>() > 1 << 16 => Vec::new(),
        parts => parts
            .iter()
            .flat_map(|part| {
                (0..part.columns).map(|at| if part.columns == 1 { part.name.clone() } else { format!("{}_{at}", part.name).into() })
            })
            .collect(),
    }
}

/// Labels are whole numbers or text of one column before scores of numbers; what is left goes by its name.
pub(super) fn roles(graph: &proto::Graph, elements: &[Option<i32>], columns: &[usize]) -> Vec<Role> {
    // A map or sequence, which has no element type, is what scores by label become.
    let is_label = |at: usize| matches!(elements.get(at), Some(Some(6..=9))) && columns.get(at) == Some(&1);
    let is_number = |at: usize| matches!(elements.get(at), Some(None | Some(1 | 11 | 0)));
    let scores = (0..columns.len()).find(|&at| is_number(at));
    let labels = scores.and_then(|_| (0..columns.len()).find(|&at| is_label(at)));
    let scores = scores.unwrap_or(0);
    graph
        .output
        .iter()
        .enumerate()
        .map(|(at, info)| {
            if Some(at) == labels {
                Role::Labels
            } else if at == scores {
                Role::Scores { list: labels.is_some() || columns.get(at) != Some(&1) }
            } else {
                Role::Extra(info.name.as_str().into())
            }
        })
        .collect()
}

pub(super) fn block(columns: usize, data: Data) -> Result<Block> {
    let whole = || Error::new(Kind::Internal, "a graph's output is no whole rows");
    Ok(match data {
        Data::F32(list) => Tensor::new(columns, list).ok_or_else(whole)?.into(),
        Data::F64(list) => Tensor::new(columns, list).ok_or_else(whole)?.into(),
        Data::I64(list) => Tensor::new(columns, list).ok_or_else(whole)?.into(),
        Data::I32(list) => Tensor::new(columns, list.into_iter().map(i64::from).collect::<Vec<i64>>()).ok_or_else(whole)?.into(),
        Data::Bool(list) => Tensor::new(columns, list).ok_or_else(whole)?.into(),
        Data::Text(list) => Tensor::new(columns, list).ok_or_else(whole)?.into(),
    })
}

/// Whether every number could be a probability.
pub(super) fn are_shares(scores: &Tensor) -> bool {
    scores.values().iter().all(|score| (-1e-6..=1.0 + 1e-6).contains(score))
}

pub(super) fn append(all: &mut Data, more: Data) -> Result<()> {
    match (all, more) {
        (Data::F32(all), Data::F32(more)) => all.extend(more),
        (Data::F64(all), Data::F64(more)) => all.extend(more),
        (Data::I64(all), Data::I64(more)) => all.extend(more),
        (Data::I32(all), Data::I32(more)) => all.extend(more),
        (Data::Bool(all), Data::Bool(more)) => all.extend(more),
        (Data::Text(all), Data::Text(more)) => all.extend(more),
        _ => return Err(fault("the graph gives other types for other rows")),
    }
    Ok(())
}
