//! x
pub mod error;
pub mod names;
pub mod tensor;
pub mod artifact;
pub mod codec;
pub mod policy;
pub mod runtime;
pub mod store;
