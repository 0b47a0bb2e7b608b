//! Rookery: thousands of small models behind one endpoint, from one SQLite file, with access per model.
//!
//! # One request
//! `POST /endpoints/housing/invocations` meets the route table ([`http::routes`]; plainly spelled, it is let past the
//! router by `http/front.rs`, to the same handler), which hands it to the SageMaker dialect; that identifies the sender
//! ([`authn`] turns credentials into a `Caller`), reads the body under its cap and calls [`service::Service::invoke`], the
//! one way to a model. There the caller's compiled policies are asked ([`policy`] answers with a `Permit` or a denial that
//! says why), a place among the concurrent predictions is taken, and each stage's model is found: path to version in the
//! catalog, version to model in the [`cache`]. A miss goes to the [`store`], once for all who wait. Rows are decoded
//! ([`codec`]), run through the stages ([`runtime`]) and encoded. Warm, none of it touches SQL or leaves its thread.
//!
//! # One write
//! An upload streams into staged pieces, is prepared (parsed, checked, laid out flat) and becomes visible by one small
//! transaction that moves a pointer; what is remembered about the path is forgotten before the write is acknowledged.
//! Writes to principals, policies and endpoints make the next picture in memory inside their own transaction and swap it
//! in after the commit ([`service`]).
//!
//! # Layers
//! A module imports from lower layers or its own folder; a test reads the groups below and fails on an upward import.
//! Layers 0 to 3 name neither the web framework nor the database nor the async runtime.

// Layer 0: what can go wrong.
pub mod error;

// Layer 1: parsed words, rows of numbers.
pub mod names;
pub mod tensor;

// Layer 2: outside bytes under limits, payload formats, the policy language.
pub mod artifact;
pub mod codec;
pub mod policy;

// Layer 3: models, and making small ones.
pub mod runtime;
pub mod train;

// Layer 4: what is kept, what is in memory, what is counted.
pub mod cache;
pub mod metrics;
pub mod store;

// Layer 5: who is asking.
pub mod authn;

// Layer 6: every verb a user can do.
pub mod service;

// Layer 7: what was configured, what comes over HTTP.
pub mod config;
pub mod http;

// Layer 8: the command line.
pub mod cli;
