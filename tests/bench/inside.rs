//! What is measured inside one process: the tree walk, memory, policies, a file of many models. One JSON line each.
//!
//! `inside walk MODEL ROWS` times predictions of the rows, all together and one after the other (raw little-endian numbers
//! of the model's own kind: f32, or f64 for LightGBM), `inside shap MODEL ROWS` their explanation, for `tests/bench/run`
//! to compare with the libraries on the same; `inside policy`, `inside memory`, `inside many COUNT` need nothing. Without
//! arguments it runs the three.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    reason = "a measuring tool, started by a script"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use rookery::artifact::{Artifact, Limits};
use rookery::cli::demo::city;
use rookery::policy::{Attached, Context, Grants, Kind, Policy, Request};
use rookery::runtime::{self, Model};
use rookery::service::{Options, Service};
use rookery::store::models::Precondition;
use rookery::tensor::{Block, Tensor, ValueKind};
use serde_json::json;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The middle of many timings of `work`, in microseconds.
fn median(times: usize, mut work: impl FnMut()) -> f64 {
    let mut taken: Vec<f64> = (0..times)
        .map(|_| {
            let started = Instant::now();
            work();
            started.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    taken.sort_by(f64::total_cmp);
    taken[times / 2]
}

fn load(bytes: &[u8]) -> (runtime::Summary, Box<dyn Model>) {
    let prepared = runtime::prepare(Artifact::read(bytes, Limits::default()).unwrap()).unwrap();
    let length = prepared.bytes.len() as u64;
    let model = runtime::load(&prepared.summary.format, &mut prepared.bytes.as_slice(), length).unwrap();
    (prepared.summary, model)
}

/// A model from a file, and rows from another: all as one matrix, and each as its own.
fn read(model: &str, rows: &str) -> (runtime::Summary, Box<dyn Model>, [Block; 1], Vec<[Block; 1]>) {
    let (summary, model) = load(&std::fs::read(model).unwrap());
    let columns = summary.features;
    let bytes = std::fs::read(rows).unwrap();
    let (all, ones) = if model.schema().parts[0].kind == ValueKind::F64 {
        blocks(columns, bytes.chunks_exact(8).map(|word| f64::from_le_bytes(word.try_into().unwrap())).collect())
    } else {
        blocks(columns, bytes.chunks_exact(4).map(|word| f32::from_le_bytes(word.try_into().unwrap())).collect())
    };
    (summary, model, all, ones)
}

fn walk(model: &str, rows: &str) {
    let (summary, model, all, ones) = read(model, rows);
    let mut at = 0;
    let batch = median(200, || drop(black_box(model.predict(black_box(&all)).unwrap())));
    let single = median(20_000, || {
        at = (at + 1) % ones.len();
        drop(black_box(model.predict(black_box(&ones[at])).unwrap()));
    });
    let numbers = json!({ "rows": all[0].rows(), "batch_us": batch, "single_us": single, "node_bytes": summary.core, "memory_bytes": model.weight() });
    println!("{numbers}");
}

fn shap(model: &str, rows: &str) {
    let (_, model, all, _) = read(model, rows);
    let explain = median(5, || drop(black_box(model.explain(black_box(&all)).unwrap())));
    println!("{}", json!({ "rows": all[0].rows(), "explain_us": explain }));
}

/// All rows as one matrix, and each as its own.
fn blocks<T: Clone>(columns: usize, values: Vec<T>) -> ([Block; 1], Vec<[Block; 1]>)
where
    Block: From<Tensor<T>>,
{
    let matrix = |values: &[T]| [Block::from(Tensor::new(columns, values.to_vec()).unwrap())];
    (matrix(&values), values.chunks_exact(columns).map(matrix).collect())
}

fn policy() {
    for count in [1, 100, 1000] {
        let statements: Vec<_> = (0..count)
            .map(|at| {
                json!({ "Effect": "Allow", "Action": "sagemaker:InvokeEndpoint", "Resource": "arn:aws:sagemaker:*:*:endpoint/housing",
                    "Condition": { "StringLike": { "sagemaker:TargetModel": format!("city-{at:04}/*") } } })
            })
            .collect();
        let text = json!({ "Version": "2012-10-17", "Statement": statements }).to_string();
        // A thousand statements are more than one document's limit of bytes allows, so they are spread as an operator would.
        let documents: Vec<Arc<Policy>> = match Policy::parse(&text, Kind::Identity) {
            Ok(policy) => vec![Arc::new(policy)],
            Err(_) => statements
                .chunks(100)
                .map(|some| json!({ "Version": "2012-10-17", "Statement": some }).to_string())
                .map(|text| Arc::new(Policy::parse(&text, Kind::Identity).unwrap()))
                .collect(),
        };
        let identity = documents.into_iter().map(|policy| Attached { name: "p".into(), policy }).collect();
        let grants = Grants { identity, ..Grants::default() };
        let target = format!("city-{:04}/model.json", count - 1);
        let decide = |target: &str| {
            let mut context = Context::new();
            context.principal(Some("ana"), "AIDA", "arn:aws:iam::000000000000:user/ana", &[]);
            context.moment(1_800_000_000, None);
            context.target_model(target);
            let request = Request {
                principal: "arn:aws:iam::000000000000:user/ana",
                action: "sagemaker:InvokeEndpoint",
                resource: "arn:aws:sagemaker:us-east-1:000000000000:endpoint/housing",
                context: &context,
            };
            black_box(&grants).authorise(&request).is_ok()
        };
        assert!(decide(&target) && !decide("elsewhere/model.json"));
        let last = median(5000, || assert!(decide(&target)));
        println!("{}", json!({ "statements": count, "last_matches_us": last }));
    }
}

fn memory() {
    for (trees, depth) in [(10, 4), (100, 6), (500, 8)] {
        let (summary, model) = load(city::model(1, 1.0, trees, depth).as_bytes());
        let over = model.weight() as f64 - summary.core as f64;
        println!("{}", json!({ "trees": trees, "depth": depth, "node_bytes": summary.core, "memory_bytes": model.weight(), "over": over }));
    }
}

fn many(count: usize) {
    let folder = std::env::temp_dir().join(format!("rookery-many-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let database = folder.join("many.db");
    let open = || Service::open(Options::new(database.clone(), 1 << 30)).unwrap();
    let service = open();
    let caller = service.file_caller();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut artifact_bytes = 0u64;
    let started = Instant::now();
    for at in 0..count {
        let model = city::model(at as u64, 100_000.0, 2, 3);
        artifact_bytes += model.len() as u64;
        let path = rookery::names::ModelPath::parse(&format!("many/{at:07}.json")).unwrap();
        let mut upload = service.upload(&caller, path, Precondition::None).unwrap();
        upload.push(model.as_bytes()).unwrap();
        runtime.block_on(upload.finish()).unwrap();
    }
    let per_upload = started.elapsed().as_secs_f64() * 1e6 / count as f64;
    drop(service);
    let started = Instant::now();
    let service = open();
    let open_ms = started.elapsed().as_secs_f64() * 1e3;
    let mut after = String::from("many/0050000.json");
    let page = median(50, || {
        let page = service.models(&caller, "many/", &after, 100).unwrap();
        after = page.next.unwrap_or_default();
    });
    let (mut at, runtime) = (0, tokio::runtime::Builder::new_current_thread().build().unwrap());
    let cold = median(500, || {
        at = (at + 7919) % count;
        let path = rookery::names::ModelPath::parse(&format!("many/{at:07}.json")).unwrap();
        runtime.block_on(service.load_model(&caller, &path)).unwrap();
    });
    let file = std::fs::metadata(&database).unwrap().len();
    println!(
        "{}",
        json!({ "models": count, "upload_us": per_upload, "open_ms": open_ms, "page_of_100_us": page, "cold_load_us": cold,
            "file_bytes": file, "artifact_bytes": artifact_bytes, "file_bytes_per_model": file / count as u64 })
    );
    drop(service);
    std::fs::remove_dir_all(&folder).unwrap();
}

fn main() {
    // `cargo bench` adds a flag of its own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["walk", model, rows] => walk(model, rows),
        ["shap", model, rows] => shap(model, rows),
        ["policy"] => policy(),
        ["memory"] => memory(),
        ["many", count] => many(count.parse().unwrap()),
        _ => {
            policy();
            memory();
            many(2000);
        }
    }
}
