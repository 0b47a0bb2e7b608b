//! One target for every reader: the environment variable `READER` says which. Started by `tests/fuzz/run`.
//!
//! A model that is taken is loaded from its prepared form and asked two rows, one of them all missing: whatever the
//! bytes were, it answers finite numbers or refuses.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rookery::artifact::{Artifact, Limits};
use rookery::codec::payload::decode;
use rookery::policy::{Kind, Policy};
use rookery::runtime::pipeline::{Blocks, Step, run};
use rookery::runtime::{self, Schema};
use rookery::tensor::{Block, Part, Tensor, ValueKind};

static READER: LazyLock<String> = LazyLock::new(|| std::env::var("READER").unwrap_or_default());

fuzz_target!(|bytes: &[u8]| {
    match READER.as_str() {
        "model" => model(bytes),
        "policy" => policy(bytes),
        media => payload(media, bytes),
    }
});

fn model(bytes: &[u8]) {
    let limits = Limits { unpacked: 1 << 24, ..Limits::default() };
    let mended = mended(bytes);
    let Ok(artifact) = Artifact::read(mended.as_slice(), limits) else { return };
    let Ok(prepared) = runtime::prepare(artifact) else { return };
    let length = prepared.bytes.len() as u64;
    let model = runtime::load(&prepared.summary.format, &mut prepared.bytes.as_slice(), length).expect("what was prepared loads");
    let schema = model.schema();
    if schema.features > 4096 || schema.spread > 1 << 16 || model.cost(2) > 1_000_000_000 {
        return;
    }
    for explain in [false, true] {
        if let Ok(output) = run(&[Step::model("fuzzed", model.as_ref())], rows(schema), explain) {
            assert!(output.scores.not_finite().is_none());
        }
    }
}

/// A ZIP with the checksums its members have now: otherwise every change to one ends there, and what they hold is never
/// read.
fn mended(bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let number = |at: usize, width: usize| -> Option<usize> {
        Some(bytes.get(at..at.checked_add(width)?)?.iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    };
    for at in (0..bytes.len()).filter(|&at| bytes[at..].starts_with(b"PK\x01\x02")) {
        let member = || {
            let (size, local) = (number(at + 24, 4)?, number(at + 42, 4)?);
            let start = local + 30 + number(local + 26, 2)? + number(local + 28, 2)?;
            bytes.get(start..start + size)
        };
        if let (Some(member), Some(place)) = (member(), out.get_mut(at + 16..at + 20)) {
            place.copy_from_slice(&crc(member).to_le_bytes());
        }
    }
    out
}

/// ZIP's checksum.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |sum, &byte| (0..8).fold(sum ^ u32::from(byte), |sum, _| sum >> 1 ^ (0xedb8_8320 & (sum & 1).wrapping_neg())))
}

/// Two rows: zeros (or empty text), and missing values where they are taken.
fn rows(schema: &Schema) -> Blocks {
    let one = |part: &Part| -> Block {
        let missing = if schema.missing { f64::NAN } else { 1.0 };
        let numbers: Vec<f64> = [vec![0.0; part.columns], vec![missing; part.columns]].concat();
        let block = match part.kind {
            ValueKind::F32 => Tensor::new(part.columns, numbers.iter().map(|&value| value as f32).collect()).map(Block::F32),
            ValueKind::F64 => Tensor::new(part.columns, numbers).map(Block::F64),
            ValueKind::I64 => Tensor::new(part.columns, vec![1; part.columns * 2]).map(Block::I64),
            ValueKind::Bool => Tensor::new(part.columns, vec![true; part.columns * 2]).map(Block::Bool),
            ValueKind::Text => Tensor::new(part.columns, vec!["y".into(); part.columns * 2]).map(Block::Text),
        };
        block.expect("whole rows")
    };
    schema.parts.iter().map(one).collect()
}

fn policy(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Policy::parse(text, Kind::Identity);
        let _ = Policy::parse(text, Kind::Trust);
    }
}

fn payload(media: &str, bytes: &[u8]) {
    // Made as models make theirs, so that a field more is not missing here.
    let matrix = Schema::matrix(ValueKind::F32, 3, 1);
    let part = |name: &str, kind| {
        let mut part = Schema::matrix(kind, 1, 1).parts.remove(0);
        part.name = name.into();
        part
    };
    let mut mixed = matrix.clone();
    mixed.parts = [part("a", ValueKind::F64), part("b", ValueKind::I64), part("c", ValueKind::Text)].into_iter().collect();
    mixed.names = vec!["a".into(), "b".into(), "c".into()].into();
    for schema in [&matrix, &mixed] {
        if let Ok(blocks) = decode(Some(media), bytes, &schema.expect(1 << 16)) {
            assert!(blocks.len() == schema.parts.len() && blocks.iter().all(|block| block.rows() == blocks[0].rows()));
        }
    }
}
