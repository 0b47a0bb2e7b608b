//! How long a graph takes inside one process, without a server: `onnx MODEL.onnx ROWS.csv`.
//!
//! Prints nanoseconds for loading the prepared form, for the first row and for all rows, each the median of many. The
//! script `onnx.py` beside it makes the models and measures onnxruntime the same way.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a measuring tool ends with a panic when something is not as expected"
)]

use std::time::Instant;

use rookery::artifact::{Artifact, Limits};
use rookery::codec::payload::decode;
use rookery::runtime::{self, Model};

/// The allocator that the server has.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn median(mut work: impl FnMut()) -> u128 {
    let mut times = Vec::new();
    let begin = Instant::now();
    while times.len() < 20 || (begin.elapsed().as_secs_f64() < 0.3 && times.len() < 20_000) {
        let start = Instant::now();
        work();
        times.push(start.elapsed().as_nanos());
    }
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let model = std::fs::File::open(arguments.next().expect("MODEL.onnx")).unwrap();
    let rows = std::fs::read(arguments.next().expect("ROWS.csv")).unwrap();
    let prepared = runtime::prepare(Artifact::read(model, Limits::default()).unwrap()).unwrap();
    let load = || runtime::load(&prepared.summary.format, &mut prepared.bytes.as_slice(), prepared.bytes.len() as u64).unwrap();
    let model: Box<dyn Model> = load();
    let first = rows.split_inclusive(|&b| b == b'\n').next().unwrap();
    let read = |body: &[u8]| decode(Some("text/csv"), body, &model.schema().expect(1 << 24)).unwrap();
    let (one, all) = (read(first), read(&rows));
    let load_time = median(|| drop(load()));
    let one_time = median(|| drop(model.predict(&one).unwrap()));
    let all_time = median(|| drop(model.predict(&all).unwrap()));
    println!("{load_time} {one_time} {all_time} {} {}", model.cost(1), model.cost(all.first().map_or(0, rookery::tensor::Block::rows)));
}
