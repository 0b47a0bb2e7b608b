//! What `mod.rs` offers, in a build without the feature `onnxruntime`: sentences that say how to get it.

use std::io::Read;
use std::path::Path;

use crate::error::{Error, Kind, Result};
use crate::runtime::{Model, Prepared};

/// Whether this build may hand graphs over.
pub(super) const IS_BUILT: bool = false;

/// Refuses: there is no onnxruntime to start.
///
/// # Errors
/// Always.
pub fn start(_: &Path, _: u64) -> Result<()> {
    Err(Error::invalid("this build of Rookery cannot use onnxruntime; build it with `cargo build --release --features onnxruntime`"))
}

/// The refusal as it is: nobody else is asked.
pub(super) fn prepare(_: &[u8], refusal: Error) -> Result<Prepared> {
    Err(refusal.as_kind(Kind::Validation))
}

pub(super) fn load(_: &mut dyn Read, _: u64) -> Result<Box<dyn Model>> {
    Err(Error::new(
        Kind::Unavailable,
        "the model was prepared for onnxruntime, which this build of Rookery cannot use; serve it with one built with `--features onnxruntime` and started with --onnxruntime",
    ))
}
