//! Categories to numbers and back: one-hot rows, labels by key.
//!
//! Keys are hashed; numbers by their bits with all NaN alike. Next: `tree.rs`.

use std::collections::HashMap;

use super::super::graph::Inputs;
use super::super::meter::Meter;
use super::super::node::Node;
use super::super::ops::cast::Cut;
use super::super::ops::{Op, Values, boxed, one};
use super::super::value::{Data, Shape, Value, View, fault, same, wrong_type};
use crate::error::{Error, Result};
use crate::names::shown;

type Table<K> = HashMap<K, u32, foldhash::fast::RandomState>;

/// Where a value stands among the keys.
#[derive(Debug)]
enum Keys {
    Texts(Table<Box<str>>),
    Ints(Table<i64>),
    Floats(Table<u32>),
    Doubles(Table<u64>),
}

fn bits32(x: f32) -> u32 {
    if x.is_nan() { f32::NAN.to_bits() } else { (x + 0.0).to_bits() }
}

fn bits64(x: f64) -> u64 {
    if x.is_nan() { f64::NAN.to_bits() } else { (x + 0.0).to_bits() }
}

fn table<K: std::hash::Hash + Eq>(keys: impl IntoIterator<Item = K>) -> Table<K> {
    let mut table = Table::default();
    for (at, key) in keys.into_iter().enumerate() {
        // Of equal keys the first counts.
        table.entry(key).or_insert_with(|| u32::try_from(at).unwrap_or(u32::MAX));
    }
    table
}

impl Keys {
    /// `nan` says whether what is no number is a key like any other, instead of one that nothing equals.
    fn of(data: &Data, nan: bool) -> Result<Self> {
        let mut keys = match data {
            Data::Text(list) => Self::Texts(table(list.iter().cloned())),
            Data::I64(list) => Self::Ints(table(list.iter().copied())),
            Data::I32(list) => Self::Ints(table(list.iter().map(|&x| i64::from(x)))),
            Data::F32(list) => Self::Floats(table(list.iter().map(|&x| bits32(x)))),
            Data::F64(list) => Self::Doubles(table(list.iter().map(|&x| bits64(x)))),
            Data::Bool(list) => return Err(wrong_type(View::Bool(list))),
        };
        match &mut keys {
            Self::Floats(keys) if !nan => _ = keys.remove(&bits32(f32::NAN)),
            Self::Doubles(keys) if !nan => _ = keys.remove(&bits64(f64::NAN)),
            _ => {}
        }
        Ok(keys)
    }

    /// The place of each value; `None` for what is not a key.
    fn places(&self, view: View<'_>, meter: &Meter) -> Result<Vec<Option<u32>>> {
        meter.reads(view)?;
        Ok(match (self, view) {
            (Self::Texts(keys), View::Text(list)) => list.iter().map(|x| keys.get(x).copied()).collect(),
            (Self::Ints(keys), View::I64(list)) => list.iter().map(|x| keys.get(x).copied()).collect(),
            (Self::Ints(keys), View::I32(list)) => list.iter().map(|&x| keys.get(&i64::from(x)).copied()).collect(),
            (Self::Ints(keys), View::F32(list)) => list.iter().map(|x| keys.get(&x.long()).copied()).collect(),
            (Self::Ints(keys), View::F64(list)) => list.iter().map(|x| keys.get(&x.long()).copied()).collect(),
            (Self::Floats(keys), View::F32(list)) => list.iter().map(|&x| keys.get(&bits32(x)).copied()).collect(),
            (Self::Doubles(keys), View::F64(list)) => list.iter().map(|&x| keys.get(&bits64(x)).copied()).collect(),
            (_, other) => return Err(wrong_type(other)),
        })
    }

    fn weight(&self) -> usize {
        match self {
            Self::Texts(keys) => keys.capacity() * 25 + keys.keys().map(|key| key.len()).sum::<usize>(),
            Self::Ints(keys) => keys.capacity() * 17,
            Self::Floats(keys) => keys.capacity() * 9,
            Self::Doubles(keys) => keys.capacity() * 17,
        }
    }
}

#[derive(Debug)]
struct OneHotEncoder {
    keys: Keys,
    count: usize,
    /// Whether what is no key becomes zeros, instead of being refused.
    zeros: bool,
}

impl Op for OneHotEncoder {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let x = inputs.get(0)?;
        let mut shape: Shape = x.shape.into();
        shape.push(self.count);
        let mut out = vec![0.0f32; inputs.meter.size(&shape)?];
        for (at, (row, place)) in out.chunks_exact_mut(self.count).zip(self.keys.places(x.data, inputs.meter)?).enumerate() {
            match place.and_then(|place| row.get_mut(place as usize)) {
                Some(hot) => *hot = 1.0,
                None if self.zeros || inputs.meter.trial => {}
                None => {
                    let found = match x.data {
                        View::Text(list) => list.get(at).map_or_else(String::new, |text| shown(text)),
                        _ => "a number".to_owned(),
                    };
                    return Err(fault(format!(
                        "`{found}` is none of its {} categories; the model was trained to refuse unknown ones",
                        self.count
                    )));
                }
            }
        }
        one(Value::new(shape, out))
    }

    fn weight(&self) -> usize {
        size_of::<Self>() + self.keys.weight()
    }
}

/// The value beside each key.
#[derive(Debug)]
struct LabelEncoder {
    keys: Keys,
    /// As many as keys, then the one for everything else.
    values: Data,
    count: usize,
}

impl Op for LabelEncoder {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let x = inputs.get(0)?;
        inputs.meter.size(x.shape)?;
        let places = self.keys.places(x.data, inputs.meter)?;
        let at = |place: &Option<u32>| place.map_or(self.count, |place| place as usize);
        let data = match self.values.view() {
            View::Text(list) => Data::Text(inputs.meter.picked(list, places.iter().map(at))?),
            other => same!(inputs.meter, other, list => places.iter().filter_map(|place| list.get(at(place)).cloned()).collect())?,
        };
        one(Value { shape: x.shape.into(), data })
    }

    fn weight(&self) -> usize {
        size_of::<Self>() + self.keys.weight() + self.values.weight()
    }
}

/// Keys and values with the default behind them.
fn label_encoder(keys: &Data, nan: bool, values: Data, default: Data) -> Result<Box<dyn Op>> {
    let count = keys.len();
    if count != values.len() || count == 0 {
        return Err(Error::invalid(format!("it has {count} keys for {} values", values.len())));
    }
    let values = match (values, default) {
        (Data::F32(mut list), Data::F32(default)) => {
            list.extend(default);
            Data::F32(list)
        }
        (Data::F64(mut list), Data::F64(default)) => {
            list.extend(default);
            Data::F64(list)
        }
        (Data::I64(mut list), Data::I64(default)) => {
            list.extend(default);
            Data::I64(list)
        }
        (Data::I32(mut list), Data::I32(default)) => {
            list.extend(default);
            Data::I32(list)
        }
        (Data::Text(mut list), Data::Text(default)) => {
            list.extend(default);
            Data::Text(list)
        }
        _ => return Err(Error::invalid("its default is of another type than its values")),
    };
    boxed(LabelEncoder { keys: Keys::of(keys, nan)?, values, count })
}

fn list(node: &Node<'_>, prefix: &str) -> Result<Option<Data>> {
    if let Some(tensor) = node.tensor(&format!("{prefix}_tensor"))? {
        return Ok(Some(tensor.data));
    }
    let name = |kind: &str| format!("{prefix}_{kind}");
    Ok(if node.attribute(&name("strings")).is_some() {
        Some(Data::Text(node.texts(&name("strings"))?))
    } else if node.attribute(&name("int64s")).is_some() {
        Some(Data::I64(node.ints(&name("int64s")).to_vec()))
    } else if node.attribute(&name("floats")).is_some() {
        Some(Data::F32(node.floats(&name("floats")).to_vec()))
    } else {
        None
    })
}

fn default_for(node: &Node<'_>, values: &Data) -> Result<Data> {
    if let Some(tensor) = node.tensor("default_tensor")? {
        if tensor.data.len() != 1 {
            return Err(node.refuse("default_tensor", "holds other than one value"));
        }
        return Ok(tensor.data);
    }
    Ok(match values {
        Data::Text(_) => Data::Text(vec![node.text("default_string", "_Unused")?.into()]),
        Data::I64(_) => Data::I64(vec![node.int("default_int64", -1)]),
        Data::I32(_) => Data::I32(vec![-1]),
        Data::F64(_) => Data::F64(vec![0.0]),
        // Negative zero, as the specification has it.
        _ => Data::F32(vec![node.float("default_float", -0.0)]),
    })
}

/// Of the first version, and of `CategoryMapper`: texts to their numbers, or back, by the type that comes.
#[derive(Debug)]
struct BothWays {
    texts: Box<dyn Op>,
    numbers: Box<dyn Op>,
}

impl Op for BothWays {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        match inputs.get(0)?.data {
            View::Text(_) => self.texts.run(inputs),
            _ => self.numbers.run(inputs),
        }
    }

    fn weight(&self) -> usize {
        self.texts.weight() + self.numbers.weight()
    }
}

pub(super) fn parse(name: &str, node: &Node<'_>) -> Result<Option<Box<dyn Op>>> {
    match name {
        "OneHotEncoder" => {
            let (ints, texts) = (node.ints("cats_int64s"), node.texts("cats_strings")?);
            let zeros = node.int("zeros", 1) != 0;
            let count = ints.len() + texts.len();
            if count == 0 || (!ints.is_empty() && !texts.is_empty()) {
                return Err(Error::invalid("it has no categories, or both text and numbers"));
            }
            let keys = if texts.is_empty() { Keys::Ints(table(ints.iter().copied())) } else { Keys::Texts(table(texts)) };
            boxed(OneHotEncoder { keys, count, zeros }).map(Some)
        }
        "LabelEncoder" if node.attribute("classes_strings").is_some() => {
            let texts = node.texts("classes_strings")?;
            let places = (0..texts.len() as i64).collect();
            both_ways(node, texts, places).map(Some)
        }
        "CategoryMapper" => both_ways(node, node.texts("cats_strings")?, node.ints("cats_int64s").to_vec()).map(Some),
        "LabelEncoder" => {
            let missing = |what: &str| Error::invalid(format!("it has no {what}"));
            let (keys, values) =
                (list(node, "keys")?.ok_or_else(|| missing("keys"))?, list(node, "values")?.ok_or_else(|| missing("values"))?);
            let default = default_for(node, &values)?;
            // Operator set 4 made NaN equal to itself; before, keys are compared plainly.
            label_encoder(&keys, node.opset >= 4, values, default).map(Some)
        }
        "DictVectorizer" => Err(Error::invalid(
            "it takes a map that is the graph's only input, and that nothing else reads; leave it out and send its columns",
        )),
        "CastMap" => Err(Error::invalid("it takes a map from outside, which no request can carry")),
        _ => Ok(None),
    }
}

fn both_ways(node: &Node<'_>, texts: Vec<Box<str>>, ints: Vec<i64>) -> Result<Box<dyn Op>> {
    let (no_int, no_text) =
        (Data::I64(vec![node.int("default_int64", -1)]), Data::Text(vec![node.text("default_string", "_Unused")?.into()]));
    let (keys, numbers) = (Data::Text(texts.clone()), Data::I64(ints.clone()));
    boxed(BothWays {
        texts: label_encoder(&keys, false, numbers, no_int)?,
        numbers: label_encoder(&Data::I64(ints), false, Data::Text(texts), no_text)?,
    })
}
