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
use serde::{Deserialize, Serialize};

use self::check::Checked;
pub(super) use self::session::Session;
pub use self::session::start;
use super::rows::{inputs, trial};
use super::{Engine, HANDED_OVER, Head, Onnx, Told, classes, graph_of, proto};
use crate::error::{Error, Kind, Result};
use crate::runtime::prepared::{Reader, Writer};
use crate::runtime::{Model, Prepared};

/// Whether this build may hand graphs over.
pub(super) const IS_BUILT: bool = true;

/// A prediction is never taken for shorter: runs of one session wait for each other, which must not hold a thread that
/// accepts requests.
const FIXED_NANOS: u64 = 500_000;

/// What the prepared form says before the file.
#[derive(Debug, Serialize, Deserialize)]
struct Form {
    head: Head,
    /// Nodes and bytes of the file when the calls of its functions are written out.
    nodes: usize,
    bytes: usize,
}

/// Prepares a file that was refused here for onnxruntime.
///
/// # Errors
/// The refusal, with what would help when onnxruntime was not started, else with why it is not, or cannot be, served by
/// that either.
pub(super) fn prepare(bytes: &[u8], refusal: Error) -> Result<Prepared> {
    let checked = check::check(bytes);
    if !session::is_started() {
        let hint = "; onnxruntime may have it: ask for the server to be started with --onnxruntime and the path of its library";
        return Err(match checked {
            Ok(_) => Error::invalid(format!("{}{hint}", refusal.message())).because(refusal),
            Err(_) => refusal.as_kind(Kind::Validation),
        });
    }
    let both =
        |why: &str, error: &Error| Error::invalid(format!("{}; {why}: {}", refusal.message(), error.message())).because(error.clone());
    let checked = checked.map_err(|error| both("nor is it given to onnxruntime", &error))?;
    make(bytes, &checked).map_err(|error| both("onnxruntime does not serve it either", &error))
}

fn make(bytes: &[u8], checked: &Checked) -> Result<Prepared> {
    let graph = graph_of(&checked.file)?;
    let (inputs, parts, single) = inputs(graph)?;
    let session = Session::new(bytes, (checked.nodes, checked.bytes), &parts, classes::orders(graph))?;
    let engine = Engine::Foreign(session);
    let mut head = trial(&engine, &inputs, &parts, graph, single)?;
    head.fixed = head.fixed.max(FIXED_NANOS);
    let form = Form { head, nodes: checked.nodes, bytes: checked.bytes };
    let mut writer = Writer::new(&form)?;
    writer.array(bytes);
    let made = Onnx::new(engine, inputs, parts, graph, form.head)?;
    Ok(Prepared { summary: Told::of(&checked.file).summary(&HANDED_OVER, &made), bytes: writer.finish() })
}

pub(super) fn load(source: &mut dyn Read, length: u64) -> Result<Box<dyn Model>> {
    if !session::is_started() {
        return Err(Error::new(
            Kind::Unavailable,
            "the model was prepared for onnxruntime, which this server was started without; start it with --onnxruntime and the path of the library",
        ));
    }
    let (form, mut reader) = Reader::new::<Form>(source, length)?;
    let bytes: Bytes = reader.array::<u8>()?.into();
    let file = proto::read(bytes.clone())?;
    let graph = graph_of(&file)?;
    let (inputs, parts, _) = inputs(graph)?;
    // It was read once, so what fails is for want of room or by another library: no fault of the bytes or the caller.
    let session = Session::new(&bytes, (form.nodes, form.bytes), &parts, classes::orders(graph))
        .map_err(|error| error.as_kind(Kind::Unavailable).within("onnxruntime did not read the model this time"))?;
    Ok(Box::new(Onnx::new(Engine::Foreign(session), inputs, parts, graph, form.head)?))
}
