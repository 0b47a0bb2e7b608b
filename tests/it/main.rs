//! Tests through the door: the real binary, a temporary database, a free port. One module per subject.

#![expect(
    clippy::float_cmp,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests compare exact values and count small things, and end with a panic when something is not as expected"
)]

mod bodies;
mod cli;
mod concurrency;
mod console;
mod durability;
mod goldens;
mod identity;
mod layers;
mod lightgbm;
mod metrics;
mod onnx;
mod onnxruntime;
mod payloads;
mod pipelines;
mod policy;
mod reference;
mod senders;
mod shap;
mod support;
mod train;
mod uploads;
mod walk;
mod xgboost;
mod xgboost_old;
