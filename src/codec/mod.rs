//! Bytes of the outside world to rows, and answers to bytes. One file per payload format.
//!
//! `pull.rs` and `ubjson.rs` are the document readers below them, `number.rs` the decimal reader below all. Must not
//! know models: what a payload has to look like comes in as [`Expect`](payload::Expect). Next: `payload.rs`, which
//! picks the format by content type, and `answer.rs`, by Accept.

pub mod answer;
mod cells;
pub mod columns;
mod csv;
mod json;
pub mod jsonlines;
mod libsvm;
mod named;
pub mod number;
mod parts;
pub mod payload;
pub mod pull;
mod recordio;
pub mod ubjson;
