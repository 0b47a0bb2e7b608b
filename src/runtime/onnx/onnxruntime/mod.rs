//! Graphs with what this interpreter does not have, handed over to onnxruntime where the operator brought its library.
//!
//! Only what is refused here for want of an operator or a type comes this far, and only after `check.rs` found nothing
//! else wrong with it; schema, roles and rows are those of every graph. The prepared form is the file as it came, since
//! onnxruntime reads what is skipped here. Next: `check.rs`, `session.rs`, `watch.rs`; `absent.rs` for builds without the feature.

mod check;
mod session;
mod watch;

use std::io::Read;

use bytes::Bytes;

pub(super) use self::session::Session;
pub use self::session::start;
use super::rows::{inputs, trial};
use super::{Engine, HANDED_OVER, Head, Onnx, proto, summary};
use crate::error::{Error, Kind, Result};
use crate::runtime::prepared::{Reader, Writer};
use crate::runtime::{Model, Prepared};

/// A prediction is never taken for shorter: runs of one session wait for each other, which must not hold a thread that
/// accepts requests.
const FIXED_NANOS: u64 = 500_000;

/// Prepares a file that was refused here for onnxruntime.
///
/// # Errors
/// The refusal as it was when onnxruntime was not started, else with why it is not, or cannot be, served by that either.
pub(super) fn prepare(bytes: &[u8], refusal: Error) -> Result<Prepared> {
    if !session::is_started() {
        return Err(refusal.as_kind(Kind::Validation));
    }
    let both =
        |why: &str, error: &Error| Error::invalid(format!("{}; {why}: {}", refusal.message(), error.message())).because(error.clone());
    let (file, nodes) = check::check(bytes).map_err(|error| both("nor is it given to onnxruntime", &error))?;
    make(bytes, &file, nodes).map_err(|error| both("onnxruntime does not serve it either", &error))
}

fn make(bytes: &[u8], file: &proto::Model, nodes: usize) -> Result<Prepared> {
    let graph = file.graph.as_ref().ok_or_else(|| Error::invalid("the ONNX file holds no graph"))?;
    let (inputs, parts, single) = inputs(graph)?;
    let engine = Engine::Foreign(Session::new(bytes, nodes, &parts)?);
    let mut head = trial(&engine, &inputs, &parts, graph, single)?;
    head.fixed = head.fixed.max(FIXED_NANOS);
    let mut writer = Writer::new(&(&head, nodes))?;
    writer.array(bytes);
    let made = Onnx::new(engine, inputs, parts, graph, head)?;
    Ok(Prepared { summary: summary(&HANDED_OVER, file, &made), bytes: writer.finish() })
}

pub(super) fn load(source: &mut dyn Read, length: u64) -> Result<Box<dyn Model>> {
    if !session::is_started() {
        return Err(Error::new(
            Kind::Unavailable,
            "the model was prepared for onnxruntime, which this server was started without; start it with --onnxruntime and the path of the library",
        ));
    }
    let ((head, nodes), mut reader) = Reader::new::<(Head, usize)>(source, length)?;
    let bytes: Bytes = reader.array::<u8>()?.into();
    let file = proto::read(bytes.clone())?;
    let graph = file.graph.as_ref().ok_or_else(|| Error::invalid("the ONNX file holds no graph"))?;
    let (inputs, parts, _) = inputs(graph)?;
    let engine = Engine::Foreign(Session::new(&bytes, nodes, &parts)?);
    Ok(Box::new(Onnx::new(engine, inputs, parts, graph, head)?))
}
