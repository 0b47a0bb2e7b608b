//! The IAM policy language: documents in, decisions with reasons out. Pure: no clock, no I/O, no records.
//!
//! A document is parsed once, when it is written, straight into the form that is evaluated (`document.rs`); patterns
//! (`pattern.rs`), conditions (`condition.rs`) and statements (`statement.rs`) are compiled there. A request is a principal's grants, an action, a
//! resource and a `Context` (`context.rs`); `evaluate.rs` decides it and is the only maker of a [`Permit`], which
//! everything that touches data asks for. It must not know users, endpoints or HTTP: `service/` fills the context.
//! A second, obvious implementation lives in `tests/it/policy/` and is compared with this one on random input.

mod condition;
mod context;
mod document;
mod evaluate;
mod heads;
mod pattern;
mod statement;

pub use condition::Block;
pub use context::{Context, Key, Value};
pub use document::{DOCUMENT_MAX, Kind, Policy};
pub use evaluate::{Attached, Decision, Denial, Grants, Outcome, Permit, Reason, Request, Set};
