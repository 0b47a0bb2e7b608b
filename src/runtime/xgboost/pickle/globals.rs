//! The names that a pickle may mention, and what each is good for; every other name is refused as it is met.
//!
//! Nothing is imported or looked up: a name is compared with this table, byte by byte, and forgotten. Whoever adds a row
//! adds what calling it makes in `machine.rs`. Must not know opcodes or values. Next: `machine.rs`.

use std::fmt;

use crate::error::{Error, Result};
use crate::names::shown;

/// The longest module or class name that is shown in a refusal; none that is known is longer.
const NAME_MAX: usize = 256;

/// What pickles are read for, said in refusals.
pub(super) const TAKES: &str = "of pickles only XGBoost's Booster and its scikit-learn wrappers are read, and nothing in them is run; save the Booster with `save_model`";

/// What a known name makes when called.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Known {
    /// `copyreg._reconstructor(class, object, None)`, `copyreg.__newobj__(class)`.
    Reconstructor,
    NewObject,
    /// `bytearray(text, "latin-1")`, `bytearray(bytes)`, `bytes()`.
    ByteArray,
    /// `_codecs.encode(text, "latin1")`.
    Encode,
    /// `object`.
    Object,
    /// The class that holds a model, and those that hold one of it.
    Booster,
    Wrapper,
    /// A class beside the Booster in a wrapper: what it makes is passed over.
    Aside,
}

/// A name that a pickle may mention. A value points at its row, so no pickle makes one hold text.
#[derive(Debug, PartialEq)]
pub(super) struct Global {
    module: &'static str,
    name: &'static str,
    pub(super) known: Known,
}

impl fmt::Display for Global {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.module, self.name)
    }
}

/// All of them, by what they make: modules, then names.
const GLOBALS: &[Global] = &[
    // A Booster, as every Python and version writes it.
    global("xgboost.core", "Booster", Known::Booster),
    global("copy_reg", "_reconstructor", Known::Reconstructor),
    global("copyreg", "_reconstructor", Known::Reconstructor),
    global("copy_reg", "__newobj__", Known::NewObject),
    global("copyreg", "__newobj__", Known::NewObject),
    global("__builtin__", "bytearray", Known::ByteArray),
    global("builtins", "bytearray", Known::ByteArray),
    global("__builtin__", "bytes", Known::ByteArray),
    global("builtins", "bytes", Known::ByteArray),
    global("_codecs", "encode", Known::Encode),
    global("__builtin__", "object", Known::Object),
    global("builtins", "object", Known::Object),
    // The wrappers that hold one.
    global("xgboost.sklearn", "XGBModel", Known::Wrapper),
    global("xgboost.sklearn", "XGBRegressor", Known::Wrapper),
    global("xgboost.sklearn", "XGBClassifier", Known::Wrapper),
    global("xgboost.sklearn", "XGBRFRegressor", Known::Wrapper),
    global("xgboost.sklearn", "XGBRFClassifier", Known::Wrapper),
    global("xgboost.sklearn", "XGBRanker", Known::Wrapper),
    // What a wrapper holds beside its Booster: labels, scores, names of columns.
    global("xgboost.compat", "XGBoostLabelEncoder", Known::Aside),
    global("sklearn.preprocessing.label", "LabelEncoder", Known::Aside),
    global("sklearn.preprocessing._label", "LabelEncoder", Known::Aside),
    global("numpy", "ndarray", Known::Aside),
    global("numpy", "dtype", Known::Aside),
    global("numpy", "float32", Known::Aside),
    global("numpy", "float64", Known::Aside),
    global("numpy", "int64", Known::Aside),
    global("numpy.core.multiarray", "_reconstruct", Known::Aside),
    global("numpy._core.multiarray", "_reconstruct", Known::Aside),
    global("numpy.core.multiarray", "scalar", Known::Aside),
    global("numpy._core.multiarray", "scalar", Known::Aside),
    global("numpy.core.numeric", "_frombuffer", Known::Aside),
    global("numpy._core.numeric", "_frombuffer", Known::Aside),
    global("collections", "OrderedDict", Known::Aside),
    global("collections", "defaultdict", Known::Aside),
    global("__builtin__", "list", Known::Aside),
    global("builtins", "list", Known::Aside),
    global("__builtin__", "dict", Known::Aside),
    global("builtins", "dict", Known::Aside),
    global("__builtin__", "tuple", Known::Aside),
    global("builtins", "tuple", Known::Aside),
    global("__builtin__", "set", Known::Aside),
    global("builtins", "set", Known::Aside),
];

const fn global(module: &'static str, name: &'static str, known: Known) -> Global {
    Global { module, name, known }
}

/// The row of a mentioned name; refused when there is none. Compared as written: no Python escapes these names.
pub(super) fn find(module: &[u8], name: &[u8]) -> Result<&'static Global> {
    let is = |global: &&Global| global.name.as_bytes() == name && global.module.as_bytes() == module;
    GLOBALS.iter().find(is).ok_or_else(|| refused(module, name))
}

pub(super) fn refused(module: &[u8], name: &[u8]) -> Error {
    let show = |text: &[u8]| shown(&String::from_utf8_lossy(text.get(..NAME_MAX).unwrap_or(text)));
    Error::invalid(format!("the pickle names `{}.{}`; {TAKES}", show(module), show(name)))
}
