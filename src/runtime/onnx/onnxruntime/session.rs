//! onnxruntime itself: its library, its environment, its sessions. The one file that names it.
//!
//! onnxruntime is one per process by its own design: a library that is loaded once and one environment that every
//! session needs. So both are global here, set by [`start`] before the first model and never taken back. Its memory is
//! its own: [`bound`] says what is held of it and what is not. Next: `watch.rs`, which ends what takes too long.

use std::borrow::Cow;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use ort::environment::Environment;
use ort::ep::CPU;
use ort::logging::LogLevel;
use ort::session::builder::SessionBuilder;
use ort::session::{RunOptions, SessionInputValue};
use ort::value::{DynMapValueType, DynValue, Tensor, TensorElementType, TensorRef, ValueType};
use ort::{AsPointer as _, LoadDynamicError, sys};
use smallvec::SmallVec;

use super::super::graph::Slot;
use super::super::meter::Meter;
use super::super::value::{Data, Shape, Value, View, fault};
use super::watch::{self, Stop};
use crate::error::{Error, Kind, Result};
use crate::names::shown;
use crate::tensor::Part;

static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();

/// How long loading may take; what a run may, its meter says.
const LOAD: Duration = Duration::from_secs(30);

/// What a session is taken to hold: for itself, for each node, and how often its file with functions written out. Measured with 1.32, what is in use
/// comes to 75 KiB, 5 KiB and once; what the process holds comes to at most 2.9 times the file, as what loading freed is
/// kept by the C library, more or less of it.
const SESSION_BYTES: usize = 128 << 10;
const NODE_BYTES: usize = 8 << 10;
const FILE_TIMES: usize = 3;

/// Loads onnxruntime's shared library, whose tensors may take `memory` bytes together.
///
/// # Errors
/// Naming the file: when it is none, no library, another library, or too old a version.
pub fn start(library: &Path, memory: u64) -> Result<()> {
    let unusable = |why: String| Error::invalid(format!("cannot use `{}` as onnxruntime's library: {why}", library.display()));
    if ENVIRONMENT.get().is_some() {
        return Ok(());
    }
    // Whole paths only: the loader would search its own folders for a bare name, and wait for a pipe to be written to.
    let path = library.canonicalize().map_err(|error| unusable(error.to_string()))?;
    if !path.is_file() {
        return Err(unusable("it is not a file".to_owned()));
    }
    let builder = ort::init_from(&path).map_err(|error| {
        let why = match &error {
            // What the system said is one further in.
            LoadDynamicError::Dlopen { error, .. } => match std::error::Error::source(error) {
                Some(source) => format!("it cannot be loaded ({source})"),
                None => format!("it cannot be loaded ({error})"),
            },
            LoadDynamicError::BadVersion { version_str, .. } => {
                format!("it is version {}, at least 1.{}.0 is needed", shown(version_str), ort::MINOR_VERSION)
            }
            _ => "it is another library".to_owned(),
        };
        unusable(why).because(error)
    })?;
    let log = |level: LogLevel, _: &str, _: &str, place: &str, text: &str| {
        tracing::debug!(target: "rookery::onnxruntime", ?level, place, "{text}");
    };
    let refused = |error: ort::Error| unusable(said(&error)).because(error);
    let builder = builder.with_name("rookery").with_telemetry(false).with_logger(Arc::new(log));
    let environment = builder.build().map_err(refused)?;
    environment.set_log_level(LogLevel::Error);
    bound(&environment, memory).map_err(refused)?;
    watch::start()?;
    // Whoever was faster started the same.
    let _ = ENVIRONMENT.set(environment);
    Ok(())
}

pub(super) fn is_started() -> bool {
    ENVIRONMENT.get().is_some()
}

/// Gives all sessions one allocator that hands out no more than `memory` bytes: weights and arrays of all models and
/// requests together. Outside of it are a session's own structures, text, and what few operators take for themselves.
#[expect(unsafe_code, reason = "ort has no words for shared allocators")]
fn bound(environment: &Environment, memory: u64) -> ort::Result<()> {
    let keys = [c"max_mem".as_ptr(), c"arena_extend_strategy".as_ptr()];
    // 1 asks the system for as much as is needed, not for the next power of two.
    let values = [usize::try_from(memory).unwrap_or(usize::MAX), 1];
    let (mut info, mut arena) = (std::ptr::null_mut(), std::ptr::null_mut());
    let api = ort::api();
    // SAFETY: the functions are those of the loaded library's own table, of at least the version asked for. Keys are two
    // texts that end in 0 beside two values; `info` and `arena` are written by the functions before they are read, copied
    // by the registration, and given back once, null or not; the environment is alive.
    unsafe {
        let made = ort::Error::result_from_status((api.CreateCpuMemoryInfo)(
            sys::OrtAllocatorType::OrtArenaAllocator,
            sys::OrtMemType::OrtMemTypeDefault,
            &raw mut info,
        ))
        .and_then(|()| ort::Error::result_from_status((api.CreateArenaCfgV2)(keys.as_ptr(), values.as_ptr(), keys.len(), &raw mut arena)))
        .and_then(|()| ort::Error::result_from_status((api.CreateAndRegisterAllocator)(environment.ptr().cast_mut(), info, arena)));
        (api.ReleaseArenaCfg)(arena);
        (api.ReleaseMemoryInfo)(info);
        made
    }
}

/// The first line of what onnxruntime says, without the places of its source.
fn said(error: &ort::Error) -> String {
    let line = error.message().lines().find(|line| !line.trim().is_empty()).unwrap_or("it does not say why");
    let words = line.split_whitespace().filter(|word| !word.starts_with('/'));
    let text: String = words.collect::<Vec<_>>().join(" ").chars().take(300).collect();
    shown(&text)
}

/// A graph that onnxruntime works out.
#[derive(Debug)]
pub(in super::super) struct Session {
    /// Two runs at once are not safe, whatever its documentation says: see `ort::session::Session`.
    session: Mutex<ort::session::Session>,
    names: Vec<Box<str>>,
    /// For outputs that are maps by label, the graph's own order of them.
    orders: Vec<Option<Vec<usize>>>,
    weight: usize,
}

impl Session {
    /// Reads a checked file of so many nodes and bytes, functions written out, whose inputs are `parts`.
    ///
    /// # Errors
    /// What onnxruntime says against it.
    pub(super) fn new(file: &[u8], (nodes, bytes): (usize, usize), parts: &[Part], orders: Vec<Option<Vec<usize>>>) -> Result<Self> {
        let environment = ENVIRONMENT.get().ok_or_else(|| Error::new(Kind::Internal, "onnxruntime was not started"))?;
        let refused = |error: ort::Error| Error::invalid(said(&error)).because(error);
        let mut builder = options(environment).map_err(refused)?;
        let watched = watch::until(LOAD, Stop::Load(builder.canceler()));
        let session = builder.commit_from_memory(file).map_err(|error| {
            if watched.is_over() { Error::invalid(format!("it was not read within {} s", LOAD.as_secs())) } else { refused(error) }
        })?;
        let names: Vec<Box<str>> = parts.iter().map(|part| part.name.clone()).collect();
        if let Some(unknown) = session.inputs().iter().find(|input| !names.iter().any(|name| **name == *input.name())) {
            return Err(Error::invalid(format!("it wants an input `{}` beside the graph's", shown(unknown.name()))));
        }
        // One that may be left out is no value at all when it is.
        if let Some(other) = session.outputs().iter().find(|output| !is_answered(output.dtype())) {
            let text = format!("output `{}` is {}; tensors and scores by label are answered", shown(other.name()), other.dtype());
            return Err(Error::invalid(text));
        }
        if session.outputs().len() != orders.len() {
            return Err(Error::invalid("it has other outputs than the graph"));
        }
        let own: usize = names.iter().map(|name| name.len() + size_of::<Box<str>>()).sum();
        let order = orders.iter().map(|order| size_of_val(order) + order.as_ref().map_or(0, Vec::len) * size_of::<usize>());
        let own = own + order.sum::<usize>();
        let weight = SESSION_BYTES + NODE_BYTES.saturating_mul(nodes) + FILE_TIMES.saturating_mul(bytes) + own;
        Ok(Self { session: Mutex::new(session), names, orders, weight })
    }

    /// Works out the graph, which waits for other runs of it.
    ///
    /// # Errors
    /// What onnxruntime says, and [`Kind::TooLarge`] when the answer holds or takes too much.
    pub(in super::super) fn run<'a>(&self, slots: impl IntoIterator<Item = Slot<'a>>, meter: &Meter) -> Result<SmallVec<[Value; 2]>> {
        let slots: SmallVec<[Slot<'a>; 8]> = slots.into_iter().collect();
        let refused = |error: ort::Error| fault(format!("onnxruntime: {}", said(&error))).because(error);
        let mut held = 0;
        for arg in slots.iter().filter_map(Slot::arg) {
            hold(meter, arg.data.len(), &mut held)?;
        }
        let pairs = self.names.iter().zip(&slots).map(|(name, slot)| Ok((Cow::Borrowed(&**name), given(slot, meter)?)));
        let inputs = pairs.collect::<Result<Vec<(Cow<'_, str>, SessionInputValue<'_>)>>>()?;
        let mut options = RunOptions::new().map_err(refused)?;
        // What a run took of the shared allocator goes back to the system.
        options.set("memory.enable_memory_arena_shrinkage", "cpu:0").map_err(refused)?;
        let options = Arc::new(options);
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let began = Instant::now();
        let watched = watch::until(meter.left(), Stop::Run(options.clone()));
        let result = session.run_with_options(inputs, &options);
        meter.took(began.elapsed())?;
        let outputs = result.map_err(|error| {
            let long = || Error::new(Kind::TooLarge, "the graph takes too long for one answer; send fewer rows");
            if watched.is_over() { long() } else { refused(error) }
        })?;
        let mut values = SmallVec::<[Value; 2]>::new();
        for (value, order) in outputs.values().zip(&self.orders) {
            let value = taken(&value, order.as_deref(), meter)?;
            // All of them together are bounded, not each alone.
            hold(meter, value.data.len(), &mut held)?;
            values.push(value);
        }
        meter.unhold(held);
        Ok(values)
    }

    /// Bytes it is taken to hold. A session cannot be asked: what it keeps are its weights, often once more in the order
    /// its kernels like, and its own structures.
    pub(in super::super) fn weight(&self) -> usize {
        size_of::<Self>() + self.weight
    }
}

fn options(environment: &Environment) -> ort::Result<SessionBuilder> {
    let builder = SessionBuilder::new(environment)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .with_execution_providers([CPU::default().with_arena_allocator(true).build()])?
        .with_env_allocators()?
        // Plans are remembered for every number of rows that was ever asked for.
        .with_memory_pattern(false)?
        // What is worked out while loading could be far larger than the file.
        .with_disabled_optimizers("ConstantFolding")?
        // Never its own format, whatever the bytes look like.
        .with_config_entry("session.load_model_format", "ONNX")?;
    Ok(builder)
}

fn hold(meter: &Meter, count: usize, held: &mut usize) -> Result<()> {
    meter.hold(count)?;
    *held += count;
    Ok(())
}

/// Whether an output of this type can be answered.
fn is_answered(output: &ValueType) -> bool {
    match output {
        ValueType::Tensor { .. } => true,
        ValueType::Sequence(inner) => matches!(**inner, ValueType::Map { .. }),
        _ => false,
    }
}

/// An array as onnxruntime takes it: lent, but for text.
fn given<'s>(slot: &'s Slot<'_>, meter: &Meter) -> Result<SessionInputValue<'s>> {
    let arg = slot.arg().ok_or_else(|| Error::new(Kind::Internal, "an input is missing"))?;
    let shape = arg.shape;
    if let View::Text(list) = arg.data {
        if list.iter().any(|text| text.contains('\0')) {
            return Err(fault("a text holds the character NUL, which onnxruntime does not take"));
        }
        meter.texts(&meter.lengths(list)?)?;
    }
    let lent = || -> ort::Result<SessionInputValue<'s>> {
        Ok(match arg.data {
            View::F32(list) => TensorRef::from_array_view((shape, list))?.into(),
            View::F64(list) => TensorRef::from_array_view((shape, list))?.into(),
            View::I64(list) => TensorRef::from_array_view((shape, list))?.into(),
            View::I32(list) => TensorRef::from_array_view((shape, list))?.into(),
            View::Bool(list) => TensorRef::from_array_view((shape, list))?.into(),
            View::Text(list) => {
                let list: Vec<String> = list.iter().map(|text| String::from(&**text)).collect();
                Tensor::from_string_array((shape, list.as_slice()))?.into()
            }
        })
    };
    lent().map_err(|error| fault(format!("onnxruntime: {}", said(&error))).because(error))
}

/// An array that onnxruntime gave, copied.
fn taken(value: &DynValue, order: Option<&[usize]>, meter: &Meter) -> Result<Value> {
    let refused = |error: ort::Error| fault(format!("onnxruntime: {}", said(&error))).because(error);
    let (element, shape) = match value.dtype() {
        ValueType::Tensor { ty, shape, .. } => (*ty, shape),
        ValueType::Sequence(inner) if matches!(**inner, ValueType::Map { .. }) => return scores(value, order, meter),
        other => return Err(fault(format!("an output is {other}; tensors and scores by label are answered"))),
    };
    let shape: Shape = shape.iter().map(|&side| usize::try_from(side).unwrap_or(0)).collect();
    meter.size(&shape)?;
    macro_rules! numbers {
        ($type:ty) => {
            value.try_extract_tensor::<$type>().map_err(refused)?.1
        };
    }
    let data = match element {
        TensorElementType::Float32 => Data::F32(numbers!(f32).to_vec()),
        TensorElementType::Float64 => Data::F64(numbers!(f64).to_vec()),
        TensorElementType::Int64 => Data::I64(numbers!(i64).to_vec()),
        TensorElementType::Int32 => Data::I32(numbers!(i32).to_vec()),
        TensorElementType::Uint8 => Data::I32(numbers!(u8).iter().map(|&x| x.into()).collect()),
        TensorElementType::Int8 => Data::I32(numbers!(i8).iter().map(|&x| x.into()).collect()),
        TensorElementType::Uint16 => Data::I32(numbers!(u16).iter().map(|&x| x.into()).collect()),
        TensorElementType::Int16 => Data::I32(numbers!(i16).iter().map(|&x| x.into()).collect()),
        TensorElementType::Uint32 => Data::I64(numbers!(u32).iter().map(|&x| x.into()).collect()),
        TensorElementType::Bool => Data::Bool(truths(value, shape.iter().product())),
        TensorElementType::String => {
            meter.text(shape.iter().product(), text_bytes(value).map_err(refused)?)?;
            Data::Text(value.try_extract_strings().map_err(refused)?.1.into_iter().map(String::into_boxed_str).collect())
        }
        other => return Err(fault(format!("an output is of type {other}; have the graph cast it to float, double or int64"))),
    };
    Ok(Value { shape, data })
}

/// The bytes that an array's texts take together, asked before they are copied.
#[expect(unsafe_code, reason = "ort tells it only together with the texts")]
fn text_bytes(value: &DynValue) -> ort::Result<usize> {
    let mut bytes = 0;
    // SAFETY: the function is that of the loaded library's own table; the value is alive, is of text or refused, and is
    // only read; the number is written before it is read.
    unsafe { ort::Error::result_from_status((ort::api().GetStringTensorDataLength)(value.ptr(), &raw mut bytes)) }?;
    Ok(bytes)
}

/// The values of an array of `count` truths. A byte of it may be neither 0 nor 1, as weights of a file are kept as they
/// were, so they are not read as `bool`.
#[expect(unsafe_code, reason = "ort reads such arrays as `bool` alone, which other bytes must never be")]
fn truths(value: &DynValue, count: usize) -> Vec<bool> {
    let Ok(tensor) = value.view().downcast::<ort::value::DynTensorValueType>() else { return Vec::new() };
    let bytes = tensor.data_ptr().cast::<u8>();
    if bytes.is_null() || count == 0 {
        return Vec::new();
    }
    // SAFETY: the array is of type bool, one byte each, holds as many as its shape says, lies in this process's memory as
    // only the CPU provider is there, and lives as long as `value`.
    unsafe { std::slice::from_raw_parts(bytes, count) }.iter().map(|&byte| byte != 0).collect()
}

/// The scores of maps by label, a row each, in the graph's own order of labels where that is known.
fn scores(value: &DynValue, order: Option<&[usize]>, meter: &Meter) -> Result<Value> {
    let refused = |error: ort::Error| fault(format!("onnxruntime: {}", said(&error))).because(error);
    let rows = value.try_extract_sequence::<DynMapValueType>().map_err(refused)?;
    let (count, mut list) = (rows.len(), Vec::new());
    for row in &rows {
        let found: Vec<f32> = match row.dtype() {
            ValueType::Map { key: TensorElementType::String, .. } => only(row.try_extract_key_values::<String, f32>().map_err(refused)?),
            _ => only(row.try_extract_key_values::<i64, f32>().map_err(refused)?),
        };
        meter.size(&[list.len() + found.len()])?;
        match order.filter(|order| order.len() == found.len()) {
            Some(order) => list.extend(order.iter().filter_map(|&at| found.get(at))),
            None => list.extend(found),
        }
    }
    if count == 0 || list.len() % count != 0 {
        return Err(fault("its rows have scores of different labels"));
    }
    let shape: Shape = [count, list.len() / count].as_slice().into();
    Ok(Value { shape, data: Data::F32(list) })
}

fn only<K>(pairs: Vec<(K, f32)>) -> Vec<f32> {
    pairs.into_iter().map(|(_, score)| score).collect()
}
