//! One target for every reader: the environment variable `READER` says which. Started by `tests/fuzz/run`.
//!
//! A model that is taken is loaded from its prepared form and asked two rows, one of them all missing: whatever the
//! bytes were, it answers finite numbers or refuses.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rookery::artifact::{Artifact, Limits};
use rookery::codec::columns::Columns;
use rookery::codec::payload::{Expect, decode};
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
    let Ok(artifact) = Artifact::read(bytes, limits) else { return };
    let Ok(prepared) = runtime::prepare(&artifact) else { return };
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
    let part = |name: &str, kind, columns| Part { name: name.into(), kind, columns };
    let matrix = [part("", ValueKind::F32, 3)];
    let mixed = [part("a", ValueKind::F64, 1), part("b", ValueKind::I64, 1), part("c", ValueKind::Text, 1)];
    let names = Columns::from(vec!["a".into(), "b".into(), "c".into()]);
    for parts in [&matrix[..], &mixed[..]] {
        let expect = Expect { parts, features: 3, names: &names, absent: f32::NAN, missing: true, cells: 1 << 16 };
        if let Ok(blocks) = decode(Some(media), bytes, &expect) {
            assert!(blocks.len() == parts.len() && blocks.iter().all(|block| block.rows() == blocks[0].rows()));
        }
    }
}
