//! Tests through the door. One binary, one module per subject.

#![expect(clippy::float_cmp, clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "tests compare exact values and count small things")]

mod policy;
mod xgboost;
