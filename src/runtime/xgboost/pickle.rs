//! Python pickles of a Booster, as SageMaker's containers and `pickle.dump` make them, read without running anything.
//!
//! A pickle is a program. This reader knows the opcodes that describe data, and turns "call this" into a value for the
//! few names a Booster's pickle holds; every other name and opcode is refused by its name. All values lie in one list
//! and refer to each other by place, so nothing here recurses, and the number of steps bounds all that is kept. Texts
//! stay where they are in the input until the one that holds the model is decoded. Next: `pickle/machine.rs`, the opcodes;
//! `pickle/globals.rs`, the names.

mod globals;
mod machine;
mod values;

use self::globals::TAKES;
use self::values::{Place, Value, Values};
use super::document::{Best, Learner};
use super::read_learner;
use crate::error::{Error, Result};

/// Whether the bytes begin like a pickle: the mark of protocol 2 and later, or a global's name as protocol 0 and 1 write
/// it.
pub(super) fn recognises(bytes: &[u8]) -> bool {
    match bytes {
        [0x80, 2..=5, ..] => true,
        [b'c', rest @ ..] => {
            let mut lines = rest.get(..256).unwrap_or(rest).split(|&byte| byte == b'\n');
            let name = |line: Option<&[u8]>| {
                line.is_some_and(|line| {
                    !line.is_empty() && line.iter().all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_'))
                })
            };
            name(lines.next())
                && name(lines.next())
                && lines.next().and_then(<[u8]>::first).is_some_and(|opcode| b"pqr()NSUVXK}]".contains(opcode))
        }
        _ => false,
    }
}

/// Whether a pickle mentions a Booster or one of its wrappers, wherever it does.
pub(super) fn names_booster(bytes: &[u8]) -> bool {
    bytes.windows(12).any(|word| word == b"xgboost.core") || bytes.windows(15).any(|word| word == b"xgboost.sklearn")
}

/// Reads the Booster that a pickle holds.
pub(super) fn read(bytes: &[u8]) -> Result<Learner> {
    let (values, top) = machine::run(bytes)?;
    let booster = if values.is_booster(top) {
        top
    } else if let Some(class) = values.wrapper(top) {
        let booster = values.member(top, "_Booster").filter(|&place| values.is_booster(place));
        let booster = booster.ok_or_else(|| Error::invalid(format!("the pickled `{class}` holds no trained Booster")))?;
        check_wrapper(&values, top)?;
        booster
    } else {
        return Err(Error::invalid(format!("the pickle holds {}; {}", values.word(top), TAKES)));
    };
    let handle = values.member(booster, "handle").ok_or_else(|| Error::invalid("the pickled Booster holds no model (`handle`)"))?;
    let handle = values.bytes(handle)?;
    let mut learner = from_handle(&handle).map_err(|error| error.within("in the pickled Booster"))?;
    let whole = |key| values.member(booster, key).and_then(|place| values.whole(place)).and_then(|number| usize::try_from(number).ok());
    let Best { iteration, trees } = learner.best;
    // Python notes both, the model itself the first at most.
    learner.best = Best { iteration: iteration.or_else(|| whole("best_iteration")), trees: trees.or_else(|| whole("best_ntree_limit")) };
    if learner.names.is_empty() {
        // Before 1.4 the names were Python's alone. They help to find columns and change no answer.
        learner.names = values.member(booster, "feature_names").and_then(|place| values.texts(place)).unwrap_or_default();
        if learner.names.len() != learner.features {
            learner.names.clear();
        }
    }
    Ok(learner)
}

/// A wrapper may say that another number than NaN stands for a missing value; the Booster alone would not know.
fn check_wrapper(values: &Values<'_>, wrapper: Place) -> Result<()> {
    let missing = values.member(wrapper, "missing").map(|place| values.get(place));
    match missing {
        None | Some(Value::None) => Ok(()),
        Some(Value::Float(number)) if number.is_nan() => Ok(()),
        Some(other) => {
            let other = match other {
                Value::Float(number) => number.to_string(),
                Value::Whole(number) => number.to_string(),
                _ => "something else than a number".to_owned(),
            };
            Err(Error::invalid(format!("the pickled wrapper takes `{other}` for missing; save its Booster, and send missing values empty")))
        }
    }
}

/// What a Booster's handle became: the model alone (before 1.0), the model with its settings in JSON behind it, or a
/// JSON or UBJSON snapshot of both.
fn from_handle(handle: &[u8]) -> Result<Learner> {
    let Some(rest) = handle.strip_prefix(b"CONFIG-offset:") else { return read_learner(handle) };
    let bad = || Error::invalid("its settings do not start where `CONFIG-offset` says");
    let (length, rest) = rest.split_first_chunk::<8>().ok_or_else(bad)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| bad())?;
    let (model, settings) = rest.split_at_checked(length).ok_or_else(bad)?;
    if !(settings.starts_with(b"{") && settings.trim_ascii_end().ends_with(b"}")) {
        return Err(bad());
    }
    read_learner(model)
}

/// Latin-1 text as the bytes it stands for.
fn latin1(text: &str) -> Result<Vec<u8>> {
    text.chars()
        .map(|character| u8::try_from(u32::from(character)))
        .collect::<std::result::Result<_, _>>()
        .map_err(|_| Error::invalid("the pickle writes bytes as text that is not Latin-1"))
}
