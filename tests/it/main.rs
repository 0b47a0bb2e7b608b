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

mod concurrency;
mod console;
mod durability;
mod goldens;
mod identity;
mod layers;
mod onnx;
mod payloads;
mod policy;
mod support;
mod uploads;
mod walk;
mod xgboost;
