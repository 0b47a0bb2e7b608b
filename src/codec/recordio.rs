//! `application/x-recordio-protobuf`: rows and answers as AWS's `Record` messages in RecordIO frames.
//!
//! A frame is the magic `0xCED7230A`, a length (low 29 bits; the upper three say whether a record is cut into several
//! frames) and the payload, padded to four bytes, all little-endian. A row is the feature `values` of a record: a dense
//! or sparse `float32_tensor`, `float64_tensor` or `int32_tensor`. Answers are records with the labels `score` and, for
//! classifiers, `predicted_label`: 32-bit numbers as AWS's own containers write them where those hold every value, else
//! 64-bit ones, and text as bytes. Next: `payload.rs`.

use std::collections::HashMap;

use prost::Message;

use super::answer::{Answer, Form};
use super::payload::{Cell, Rows};
use crate::error::{Error, Result};
use crate::names::counted;
use crate::tensor::{Block, ValueKind};

const MAGIC: u32 = 0xCED7_230A;
const LENGTH: u32 = (1 << 29) - 1;

/// AWS's `Record`, as far as predictions use it.
#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(map = "string, message", tag = "1")]
    features: HashMap<String, Value>,
    #[prost(map = "string, message", tag = "2")]
    label: HashMap<String, Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(oneof = "Values", tags = "2, 3, 7, 9")]
    values: Option<Values>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Values {
    #[prost(message, tag = "2")]
    Float32(Float32),
    #[prost(message, tag = "3")]
    Float64(Float64),
    #[prost(message, tag = "7")]
    Int32(Int32),
    /// Text or images; rows hold none, answers may.
    #[prost(message, tag = "9")]
    Bytes(Bytes),
}

#[derive(Clone, PartialEq, Message)]
struct Float32 {
    #[prost(float, repeated, tag = "1")]
    values: Vec<f32>,
    #[prost(uint64, repeated, tag = "2")]
    keys: Vec<u64>,
    #[prost(uint64, repeated, tag = "3")]
    shape: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct Float64 {
    #[prost(double, repeated, tag = "1")]
    values: Vec<f64>,
    #[prost(uint64, repeated, tag = "2")]
    keys: Vec<u64>,
    #[prost(uint64, repeated, tag = "3")]
    shape: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct Int32 {
    #[prost(int32, repeated, tag = "1")]
    values: Vec<i32>,
    #[prost(uint64, repeated, tag = "2")]
    keys: Vec<u64>,
    #[prost(uint64, repeated, tag = "3")]
    shape: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct Bytes {
    #[prost(bytes = "vec", repeated, tag = "1")]
    value: Vec<Vec<u8>>,
}

/// Reads every frame of `body`.
///
/// # Errors
/// Naming the record and what is wrong with it.
pub(super) fn read(body: &[u8], rows: &mut Rows<'_>) -> Result<()> {
    let mut rest = body;
    let mut count = 0;
    while !rest.is_empty() {
        count += 1;
        let (payload, after) = frame(rest).map_err(|error| error.within(format_args!("record {count}")))?;
        rest = after;
        let record = Record::decode(payload)
            .map_err(|error| Error::invalid(format!("record {count} is no `Record` message of protobuf")).because(error))?;
        row(record, rows).map_err(|error| error.within(format_args!("record {count}")))?;
    }
    Ok(())
}

/// The first frame's payload and what follows it.
fn frame(bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    let cut = || Error::invalid("its frame is cut off");
    let (magic, rest) = bytes.split_first_chunk().ok_or_else(cut)?;
    let (length, rest) = rest.split_first_chunk().ok_or_else(cut)?;
    if u32::from_le_bytes(*magic) != MAGIC {
        return Err(Error::invalid("it does not begin with RecordIO's magic number"));
    }
    let length = u32::from_le_bytes(*length);
    if length & !LENGTH != 0 {
        return Err(Error::invalid("it is cut into several frames; send each row in one"));
    }
    let (payload, rest) = rest.split_at_checked(length as usize).ok_or_else(cut)?;
    Ok((payload, rest.get((4 - payload.len() % 4) % 4..).ok_or_else(cut)?))
}

/// A tensor's values, the columns they belong to (none for all in order) and how many there are.
type Parts = (Vec<f64>, Vec<u64>, Vec<u64>);

fn row(mut record: Record, rows: &mut Rows<'_>) -> Result<()> {
    let value = record.features.remove("values").and_then(|value| value.values);
    let (values, keys, shape): Parts = match value {
        Some(Values::Float32(tensor)) => (tensor.values.into_iter().map(f64::from).collect(), tensor.keys, tensor.shape),
        Some(Values::Float64(tensor)) => (tensor.values, tensor.keys, tensor.shape),
        Some(Values::Int32(tensor)) => (tensor.values.into_iter().map(f64::from).collect(), tensor.keys, tensor.shape),
        Some(Values::Bytes(_)) => return Err(Error::invalid("its feature `values` holds bytes; send numbers")),
        None => return Err(Error::invalid("it has no feature `values`")),
    };
    if keys.is_empty() && (shape.is_empty() || !values.is_empty()) {
        for value in values {
            rows.push_cell(Cell::F64(value))?;
        }
        return rows.end_row();
    }
    if let Some(width) = shape.last()
        && usize::try_from(*width) != Ok(rows.features())
    {
        return Err(Error::invalid(format!("its `shape` is {width}; the model takes {}", counted(rows.features(), "feature"))));
    }
    if keys.len() != values.len() {
        return Err(Error::invalid(format!("it has {} `keys` for {} `values`", keys.len(), values.len())));
    }
    rows.sparse_row()?;
    for (key, value) in keys.into_iter().zip(values) {
        rows.set(usize::try_from(key).unwrap_or(usize::MAX), Cell::F64(value))?;
    }
    Ok(())
}

/// One record per row.
pub(super) fn write(answer: &Answer<'_>) -> Vec<u8> {
    let mut blocks: Vec<(&str, &Block, usize)> = Vec::new();
    if answer.form != Form::Selected {
        blocks.push((if answer.form == Form::Labels { "predicted_label" } else { "score" }, answer.scores, 0));
        blocks.extend(answer.labels.map(|labels| ("predicted_label", labels, 0)));
    }
    blocks.extend(answer.extras.iter().map(|extra| (&*extra.name, &extra.block, extra.inner)));
    let blocks: Vec<_> = blocks.into_iter().map(|(name, block, inner)| (name, block, inner, is_narrow(block))).collect();
    let mut out = Vec::new();
    for row in 0..answer.scores.rows() {
        let one = |&(name, block, inner, narrow): &(&str, &Block, usize, bool)| {
            values(block, row, inner, narrow).map(|values| (name.to_owned(), Value { values: Some(values) }))
        };
        let label = blocks.iter().filter_map(one).collect();
        let payload = Record { features: HashMap::new(), label }.encode_to_vec();
        out.extend_from_slice(&MAGIC.to_le_bytes());
        out.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(&payload);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    out
}

/// Whether 32-bit numbers hold every value of a block: all of one column are written alike.
fn is_narrow(block: &Block) -> bool {
    match block {
        Block::F64(_) => false,
        Block::I64(tensor) => tensor.values().iter().all(|value| value.unsigned_abs() <= 1 << f32::MANTISSA_DIGITS),
        _ => true,
    }
}

/// One row of a block, or one of lists that are each `inner` long.
fn values(block: &Block, row: usize, inner: usize, narrow: bool) -> Option<Values> {
    let columns = block.columns();
    let shape = match columns.checked_div(inner) {
        Some(lists) => vec![lists as u64, inner as u64],
        None if columns == 1 => Vec::new(),
        None => vec![columns as u64],
    };
    let keys = Vec::new();
    let one = block.slice_rows(row, 1)?;
    Some(match &one {
        Block::Text(texts) => Values::Bytes(Bytes { value: texts.values().iter().map(|text| text.as_bytes().to_vec()).collect() }),
        numbers if narrow => Values::Float32(Float32 { values: numbers.to(ValueKind::F32)?.f32s()?.values().to_vec(), keys, shape }),
        numbers => Values::Float64(Float64 { values: numbers.to(ValueKind::F64)?.f64s()?.values().to_vec(), keys, shape }),
    })
}

#[cfg(test)]
mod tests {
    use super::super::answer::Accept;
    use super::super::columns::Columns;
    use super::super::payload::{Expect, decode};
    use super::*;
    use crate::tensor::{Part, Tensor};

    fn framed(payload: &[u8]) -> Vec<u8> {
        let mut out = MAGIC.to_le_bytes().to_vec();
        out.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
        out.extend_from_slice(payload);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    fn record(values: Values) -> Vec<u8> {
        let features = HashMap::from([("values".to_owned(), Value { values: Some(values) })]);
        framed(&Record { features, label: HashMap::new() }.encode_to_vec())
    }

    fn rows(body: &[u8]) -> Result<Vec<f32>> {
        let parts = [Part { name: "".into(), kind: ValueKind::F32, columns: 3 }];
        let expect = Expect {
            parts: &parts,
            features: 3,
            names: &Columns::default(),
            absent: 0.0,
            missing: false,
            optional: false,
            cells: 30,
            depth: 8,
        };
        decode(Some("application/x-recordio-protobuf"), body, &expect).map(|blocks| blocks[0].f32s().unwrap().values().to_vec())
    }

    #[test]
    fn dense_and_sparse_rows_of_every_number_type_are_read() {
        let body = [
            record(Values::Float32(Float32 { values: vec![1.0, 2.5, -3.0], ..Default::default() })),
            record(Values::Float64(Float64 { values: vec![0.1, 0.2], keys: vec![0, 2], shape: vec![3] })),
            record(Values::Int32(Int32 { values: vec![7], keys: vec![1], shape: vec![1, 3] })),
            record(Values::Float32(Float32 { values: vec![], keys: vec![], shape: vec![3] })),
        ];
        assert_eq!(rows(&body.concat()).unwrap(), [1.0, 2.5, -3.0, 0.1, 0.0, 0.2, 0.0, 7.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn what_is_no_row_is_refused_by_its_record() {
        let good = record(Values::Float32(Float32 { values: vec![1.0, 2.0, 3.0], ..Default::default() }));
        for (body, why) in [
            (good[..good.len() - 1].to_vec(), "cut off"),
            ([&good[..], b"abcdefgh"].concat(), "record 2: it does not begin with"),
            (framed(&[0xff; 9]), "no `Record` message"),
            (record(Values::Float32(Float32 { values: vec![1.0], ..Default::default() })), "has 1 value; the model takes 3"),
            (record(Values::Float32(Float32 { values: vec![1.0], keys: vec![9], shape: vec![3] })), "feature 9"),
            (record(Values::Float32(Float32 { values: vec![1.0], keys: vec![1], shape: vec![4] })), "`shape` is 4"),
            (record(Values::Float32(Float32 { values: vec![1.0], keys: vec![1, 2], shape: vec![3] })), "2 `keys` for 1"),
            (record(Values::Float32(Float32 { values: vec![f32::INFINITY, 0.0, 0.0], ..Default::default() })), "is `infinity`"),
            (record(Values::Bytes(Bytes::default())), "holds bytes"),
            (framed(&[]), "no feature `values`"),
            ([MAGIC.to_le_bytes(), (1u32 << 29 | 4).to_le_bytes(), [0; 4]].concat(), "several frames"),
        ] {
            let error = rows(&body).unwrap_err();
            assert!(error.message().contains(why), "{} for {why}", error.message());
        }
        for cut in 1..good.len() {
            assert!(rows(&good[..cut]).is_err(), "{cut} bytes of a record are a row");
        }
    }

    #[test]
    fn answers_are_records_of_labels() {
        let scores = Tensor::new(2, vec![0.25f32, 0.75]).unwrap().into();
        let labels = Tensor::new(1, vec![1i64]).unwrap().into();
        let contributions = Tensor::new(6, vec![1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap().into();
        let extras = [super::super::answer::Extra { name: "contributions".into(), block: contributions, list: true, inner: 3 }];
        let answer = Answer { scores: &scores, list: true, labels: Some(&labels), extras: &extras, form: Form::Predictions };
        let written = Accept::parse(Some("application/x-recordio-protobuf")).unwrap().encode(&answer);
        let (payload, rest) = frame(&written).unwrap();
        assert!(rest.is_empty());
        let record = Record::decode(payload).unwrap();
        let of = |name: &str| match record.label[name].values.clone() {
            Some(Values::Float32(tensor)) => (tensor.values, tensor.shape),
            other => panic!("{other:?}"),
        };
        assert_eq!((of("score"), of("predicted_label")), ((vec![0.25, 0.75], vec![2]), (vec![1.0], vec![])));
        assert_eq!(of("contributions"), (vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], vec![2, 3]));
    }

    #[test]
    fn what_32_bits_do_not_hold_is_written_wider_and_text_as_bytes() {
        let (large, wide) = (16_777_217i64, 0.1f64);
        let scores: Block = Tensor::new(1, vec![wide, 0.5]).unwrap().into();
        let labels: Block = Tensor::new(1, vec![1, large]).unwrap().into();
        let words: Block = Tensor::new(1, vec![Box::<str>::from("yes"), "né".into()]).unwrap().into();
        let extras = [super::super::answer::Extra { name: "word".into(), block: words, list: false, inner: 0 }];
        let answer = Answer { scores: &scores, list: false, labels: Some(&labels), extras: &extras, form: Form::Predictions };
        let mut rest = write(&answer);
        for (score, label, word) in [(wide, 1.0, "yes"), (0.5, large as f64, "né")] {
            let (payload, after) = frame(&rest).unwrap();
            let record = Record::decode(payload).unwrap();
            let of = |name: &str| record.label[name].values.clone().unwrap();
            let double = |value: f64| Values::Float64(Float64 { values: vec![value], ..Default::default() });
            assert_eq!((of("score"), of("predicted_label")), (double(score), double(label)));
            assert_eq!(of("word"), Values::Bytes(Bytes { value: vec![word.as_bytes().to_vec()] }));
            rest = after.to_vec();
        }
    }
}
