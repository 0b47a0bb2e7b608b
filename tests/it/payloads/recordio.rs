//! `application/x-recordio-protobuf` in and out through the door, the bytes put together and taken apart here.

use serde_json::{Value, json};

use super::{all_answer, all_refused, ask, ask_as, house, serving};
use crate::support::HOUSE;
use crate::xgboost::fixture_folder;

const MEDIA: &str = "application/x-recordio-protobuf";

/// A record's numbers, in the type they travel as.
#[derive(Clone, Copy)]
pub(crate) enum Numbers<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
    I32(&'a [i32]),
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn member(out: &mut Vec<u8>, field: u64, inner: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, inner.len() as u64);
    out.extend_from_slice(inner);
}

/// A frame around `payload`.
fn framed(payload: &[u8]) -> Vec<u8> {
    let mut out = 0xCED7_230Au32.to_le_bytes().to_vec();
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(payload);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// A row: `keys` and `shape` may be empty.
pub(crate) fn record(numbers: Numbers<'_>, keys: &[u64], shape: &[u64]) -> Vec<u8> {
    let packed = |list: &[u64]| {
        let mut out = Vec::new();
        list.iter().for_each(|&value| varint(&mut out, value));
        out
    };
    let (field, values): (u64, Vec<u8>) = match numbers {
        Numbers::F32(list) => (2, list.iter().flat_map(|value| value.to_le_bytes()).collect()),
        Numbers::F64(list) => (3, list.iter().flat_map(|value| value.to_le_bytes()).collect()),
        Numbers::I32(list) => (7, packed(&list.iter().map(|&value| i64::from(value) as u64).collect::<Vec<_>>())),
    };
    let mut tensor = Vec::new();
    member(&mut tensor, 1, &values);
    for (field, list) in [(2, keys), (3, shape)] {
        if !list.is_empty() {
            member(&mut tensor, field, &packed(list));
        }
    }
    let (mut value, mut entry, mut record) = (Vec::new(), Vec::new(), Vec::new());
    member(&mut value, field, &tensor);
    member(&mut entry, 1, b"values");
    member(&mut entry, 2, &value);
    member(&mut record, 1, &entry);
    framed(&record)
}

/// The members of a message that have a length.
fn members(mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for at in 0.. {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                break;
            }
        }
        value
    }
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        assert_eq!(key & 7, 2, "all members of an answer have a length");
        let length = varint(&mut bytes) as usize;
        let (inner, rest) = bytes.split_at(length);
        found.push((key >> 3, inner));
        bytes = rest;
    }
    found
}

/// Each record of an answer: its labels by name, in order of the names.
fn labels(mut body: &[u8]) -> Vec<Vec<(String, Vec<f32>)>> {
    let mut rows = Vec::new();
    while !body.is_empty() {
        assert_eq!(body[..4], 0xCED7_230Au32.to_le_bytes());
        let length = u32::from_le_bytes(body[4..8].try_into().unwrap()) as usize;
        let mut row = Vec::new();
        for (field, entry) in members(&body[8..8 + length]) {
            assert_eq!(field, 2, "an answer holds labels alone");
            let entry = members(entry);
            let (name, value) = (String::from_utf8(entry[0].1.to_vec()).unwrap(), members(entry[1].1));
            assert_eq!(value[0].0, 2, "a label is a float32_tensor");
            let tensor = members(value[0].1);
            row.push((name, tensor[0].1.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()));
        }
        row.sort_by(|a: &(String, _), b| a.0.cmp(&b.0));
        rows.push(row);
        body = &body[(8 + length).next_multiple_of(4)..];
    }
    rows
}

#[test]
fn records_are_read_dense_and_sparse_in_every_number_type() {
    let server = house();
    let dense: Vec<f32> = HOUSE.split(',').map(|cell| cell.parse().unwrap()).collect();
    // As the text has it in each type: CSV of the same numbers is answered with the same bytes.
    let wide: Vec<f64> = dense.iter().map(|&value| f64::from(value)).collect();
    let one = ask_as(&server, "house", "text/csv", HOUSE).expect(200).body;
    all_answer(
        &server,
        "house",
        MEDIA,
        &one,
        &[
            record(Numbers::F32(&dense), &[], &[]),
            record(Numbers::F32(&dense), &[], &[8]),
            record(Numbers::F64(&wide), &[], &[1, 8]),
            record(Numbers::F64(&wide), &[0, 1, 2, 3, 4, 5, 6, 7], &[8]),
        ],
    );
    let missing = ask_as(&server, "house", "text/csv", "1992,,,,,,-3,1").expect(200).body;
    all_answer(
        &server,
        "house",
        MEDIA,
        &missing,
        &[
            record(Numbers::I32(&[1992, 1, -3]), &[0, 7, 6], &[8]),
            record(Numbers::F32(&[1992.0, -3.0, 1.0, f32::NAN]), &[0, 6, 7, 2], &[8]),
            record(Numbers::F64(&[1992.0, f64::NAN, f64::NAN, f64::NAN, f64::NAN, f64::NAN, -3.0, 1.0]), &[], &[]),
        ],
    );
    let both = [record(Numbers::F32(&dense), &[], &[]), record(Numbers::I32(&[1992]), &[0], &[8])].concat();
    assert_eq!(ask_as(&server, "house", MEDIA, &both).expect(200).json()["predictions"].as_array().unwrap().len(), 2);
    let good = record(Numbers::F32(&dense), &[], &[]);
    all_refused(
        &server,
        "house",
        MEDIA,
        &[
            (good[..good.len() - 1].to_vec(), "record 1: its frame is cut off"),
            ([&good[..], b"12345678"].concat(), "record 2: it does not begin with RecordIO's magic number"),
            (record(Numbers::F32(&dense[1..]), &[], &[]), "record 1: row 1 has 7 values; the model takes 8"),
            ([&good[..], &record(Numbers::I32(&[1]), &[8], &[8])].concat(), "record 2: row 2 sets feature 8"),
            (record(Numbers::I32(&[1]), &[1], &[9]), "record 1: its `shape` is 9; the model takes 8 features"),
            (record(Numbers::F64(&[1e39]), &[1], &[8]), "record 1: row 1, feature 1 (`SQUARE_FEET`) is too large"),
            (framed(b""), "record 1: it has no feature `values`"),
            (Vec::new(), "the body holds no row"),
        ],
    );
}

#[test]
fn answers_are_records_of_scores_and_labels() {
    let server = serving(&[]);
    let file = |name: &str| std::fs::read(fixture_folder().join(name)).unwrap();
    server.put_model("p/classes", &file("v3_2_0-multi_softprob.json")).expect(201);
    let expected: Value = serde_json::from_slice(&file("v3_2_0-multi_softprob.expected.json")).unwrap();
    let flat = |value: &Value| -> Vec<f32> {
        value.as_array().unwrap().iter().map(|value| value.as_f64().map_or(f32::NAN, |value| value as f32)).collect()
    };
    let rows: Vec<Vec<f32>> = expected["rows"].as_array().unwrap().iter().map(flat).collect();
    let body: Vec<u8> = rows.iter().flat_map(|row| record(Numbers::F32(row), &[], &[])).collect();
    let reply = ask(&server, "classes", &[("content-type", MEDIA), ("accept", MEDIA)], &body).expect(200);
    assert_eq!(reply.header("content-type"), Some(MEDIA));
    let found = labels(&reply.body);
    assert_eq!(found.len(), rows.len());
    for (row, wanted) in found.iter().zip(expected["predict"].as_array().unwrap()) {
        let wanted = flat(wanted);
        let label = (0..wanted.len()).rev().max_by(|&a, &b| wanted[a].total_cmp(&wanted[b])).unwrap();
        assert_eq!(row, &[("predicted_label".to_owned(), vec![label as f32]), ("score".to_owned(), wanted)]);
    }
    // What a stage shows goes by its own words.
    server.put_endpoint("chosen", &json!([{ "model": "p/classes", "output": ["labels", "probability"] }]));
    let headers = [("content-type", MEDIA), ("accept", MEDIA)];
    let reply = server.send("POST", "/endpoints/chosen/invocations", &server.admin, &headers, &body).expect(200);
    let best = found[0][1].1.iter().copied().fold(0.0, f32::max);
    assert_eq!(labels(&reply.body)[0], [("labels".to_owned(), vec![0.0, 1.0, 2.0]), ("probability".to_owned(), vec![best])]);
}
