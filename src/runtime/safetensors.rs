//! The safetensors container, read under limits and written: named arrays behind a JSON header.
//!
//! Layout: the header's length as a little-endian u64, the header, the data. The header maps each array's name to
//! `{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}`, offsets counted from the end of the header, and
//! `__metadata__` to an object of strings. Arrays fill the data without a gap and without overlap. Knows no model:
//! `knn.rs` and `random_cut_forest.rs` say which arrays and metadata theirs have.

use crate::codec::pull::{Json, Pull};
use crate::error::{Error, Result};
use crate::names::{counted, shown};

/// The longest header; feature names are the bulk of it.
const HEADER_MAX: usize = 16 << 20;
/// The most arrays and the most metadata.
const ENTRIES_MAX: usize = 64;
const DIMENSIONS_MAX: usize = 4;

/// A file whose header was checked: every array lies inside the data and is as long as its shape.
#[derive(Debug)]
pub(super) struct File<'a> {
    metadata: Vec<(String, String)>,
    arrays: Vec<Array<'a>>,
}

/// One array, not yet turned into numbers.
#[derive(Debug)]
struct Array<'a> {
    name: String,
    dtype: String,
    shape: Vec<usize>,
    span: (usize, usize),
    data: &'a [u8],
}

/// An array to write.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Numbers<'a> {
    /// 32-bit numbers.
    F32(&'a [f32]),
    /// Whole numbers.
    I32(&'a [i32]),
    /// Wide whole numbers.
    I64(&'a [i64]),
}

/// The header's text: `None` when the bytes do not begin like a header or it is cut off.
fn header(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok().filter(|&length| length <= HEADER_MAX)?;
    rest.get(..length)
}

/// Whether a longer file that begins so may be such a one.
pub(super) fn may_begin(head: &[u8]) -> bool {
    head.first_chunk::<8>().is_some_and(|length| u64::from_le_bytes(*length) <= HEADER_MAX as u64) && head.get(8) == Some(&b'{')
}

/// Whether the bytes are such a file of `format`: its header begins like one and names it.
pub(super) fn names_format(bytes: &[u8], format: &str) -> bool {
    // A file cut inside its header is still known for what it is, so that the refusal can say so.
    let long = bytes.first_chunk::<8>().is_some_and(|length| u64::from_le_bytes(*length) <= HEADER_MAX as u64);
    let head = header(bytes).or(bytes.get(8..)).unwrap_or_default();
    let quoted = format!("\"{format}\"");
    long && head.first() == Some(&b'{') && head.windows(quoted.len()).any(|window| window == quoted.as_bytes())
}

impl<'a> File<'a> {
    /// Reads a file whose metadata says that it is `format` of `version`.
    ///
    /// # Errors
    /// As [`File::read`], and when it says otherwise.
    pub(super) fn of(bytes: &'a [u8], format: &str, version: &str) -> Result<Self> {
        let file = Self::read(bytes)?;
        let said = file.text("format")?;
        if said != format {
            return Err(Error::invalid(format!("metadata `format` is `{}`; it takes `{format}`", shown(said))));
        }
        file.version(version)?;
        Ok(file)
    }

    /// Reads the header and checks that it fits the data.
    ///
    /// # Errors
    /// Naming the array and the reason.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self> {
        let text = header(bytes).ok_or_else(|| Error::invalid("the safetensors header is cut off"))?;
        let data = bytes.get(8 + text.len()..).unwrap_or_default();
        let mut file = Self { metadata: Vec::new(), arrays: Vec::new() };
        let mut json = Json::new(text);
        let mut told = false;
        json.object(|json, key| {
            if key == "__metadata__" {
                if std::mem::replace(&mut told, true) {
                    return Err(json.fail("`__metadata__` is there twice"));
                }
                return json.object(|json, key| file.entry(json, key));
            }
            if file.arrays.len() == ENTRIES_MAX {
                return Err(json.fail(format_args!("there are more than {ENTRIES_MAX} arrays")));
            }
            if file.arrays.iter().any(|array| array.name == key) {
                return Err(json.fail(format_args!("array `{}` is there twice", shown(key))));
            }
            file.arrays.push(Array::read(json, key, data)?);
            Ok(())
        })
        .and_then(|()| json.end())
        .map_err(|error| error.within("the safetensors header"))?;
        let mut spans: Vec<(usize, usize)> = file.arrays.iter().map(|array| array.span).collect();
        spans.sort_unstable();
        let mut end = 0;
        for (from, to) in spans {
            if from != end {
                return Err(Error::invalid("the safetensors arrays overlap or leave a gap"));
            }
            end = to;
        }
        if end != data.len() {
            return Err(Error::invalid(format!("the safetensors arrays take {}; {} follow the header", counted(end, "byte"), data.len())));
        }
        Ok(file)
    }

    fn entry(&mut self, json: &mut Json<'_>, key: &str) -> Result<()> {
        if self.metadata.len() == ENTRIES_MAX {
            return Err(json.fail(format_args!("there are more than {ENTRIES_MAX} metadata")));
        }
        if self.metadata.iter().any(|(other, _)| other == key) {
            return Err(json.fail(format_args!("metadata `{}` is there twice", shown(key))));
        }
        let value = json.string().map_err(|error| error.within(format_args!("metadata `{}`", shown(key))))?.into_owned();
        self.metadata.push((key.to_owned(), value));
        Ok(())
    }

    /// What the metadata say of `key`, where they do.
    pub(super) fn told(&self, key: &str) -> Option<&str> {
        self.metadata.iter().find(|(other, _)| other == key).map(|(_, value)| value.as_str())
    }

    /// What the metadata have to say of `key`.
    ///
    /// # Errors
    /// When they do not.
    pub(super) fn text(&self, key: &str) -> Result<&str> {
        self.told(key).ok_or_else(|| Error::invalid(format!("`__metadata__` has no `{key}`")))
    }

    /// The `version` of the layout, which has to be `known`.
    ///
    /// # Errors
    /// When it is another.
    pub(super) fn version(&self, known: &str) -> Result<()> {
        match self.text("version")? {
            version if version == known => Ok(()),
            other => Err(Error::invalid(format!("version `{}` of the format is not known; this build reads {known}", shown(other)))),
        }
    }

    /// Column names, from metadata `feature_names`: a JSON list of `features` strings, all different.
    ///
    /// # Errors
    /// When they are something else.
    pub(super) fn names(&self, features: usize) -> Result<Vec<Box<str>>> {
        let Some(text) = self.told("feature_names") else { return Ok(Vec::new()) };
        let names: Vec<Box<str>> = serde_json::from_str(text)
            .map_err(|error| Error::invalid("metadata `feature_names` is no JSON list of strings").because(error))?;
        let different: std::collections::HashSet<&str> = names.iter().map(AsRef::as_ref).collect();
        if names.len() != features || different.len() != features {
            return Err(Error::invalid(format!("metadata `feature_names` does not hold {features} different names")));
        }
        Ok(names)
    }

    /// Refuses arrays that are not among `known`.
    ///
    /// # Errors
    /// Naming the first.
    pub(super) fn only(&self, known: &[&str]) -> Result<()> {
        match self.arrays.iter().find(|array| !known.contains(&array.name.as_str())) {
            Some(other) => Err(Error::invalid(format!("array `{}` is not part of the format", shown(&other.name)))),
            None => Ok(()),
        }
    }

    fn array(&self, name: &str) -> Result<&Array<'a>> {
        self.arrays.iter().find(|array| array.name == name).ok_or_else(|| Error::invalid(format!("there is no array `{name}`")))
    }

    /// The shape of an array, which has to have `N` dimensions, none of them empty.
    ///
    /// # Errors
    /// When there is no such array or it has another shape.
    pub(super) fn shape<const N: usize>(&self, name: &str) -> Result<[usize; N]> {
        let array = self.array(name)?;
        let shape = array.shape.as_slice().try_into().ok().filter(|shape: &[usize; N]| !shape.contains(&0));
        shape.ok_or_else(|| Error::invalid(format!("array `{name}` has shape {:?}; it takes {N} dimensions, none empty", array.shape)))
    }

    /// Whether an array holds `dtype`.
    ///
    /// # Errors
    /// When there is no such array.
    pub(super) fn holds(&self, name: &str, dtype: &str) -> Result<bool> {
        Ok(self.array(name)?.dtype == dtype)
    }

    fn words<const N: usize, T>(&self, name: &str, dtype: &str, count: usize, read: impl Fn([u8; N]) -> T) -> Result<Vec<T>> {
        let array = self.array(name)?;
        if array.dtype != dtype {
            return Err(Error::invalid(format!("array `{name}` holds `{}`; it takes {dtype}", shown(&array.dtype))));
        }
        if array.data.len() != count * N {
            return Err(Error::invalid(format!("array `{name}` has shape {:?}; it takes {}", array.shape, counted(count, "value"))));
        }
        Ok(array.data.as_chunks::<N>().0.iter().map(|word| read(*word)).collect())
    }

    /// The `count` 32-bit numbers of an array, all finite.
    ///
    /// # Errors
    /// When it holds something else or another count, or a number is not finite.
    pub(super) fn f32s(&self, name: &str, count: usize) -> Result<Vec<f32>> {
        let values = self.words(name, "F32", count, f32::from_le_bytes)?;
        match values.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(Error::invalid(format!("value {at} of array `{name}` is no finite number"))),
            None => Ok(values),
        }
    }

    /// The `count` whole numbers of an array.
    ///
    /// # Errors
    /// When it holds something else or another count.
    pub(super) fn i32s(&self, name: &str, count: usize) -> Result<Vec<i32>> {
        self.words(name, "I32", count, i32::from_le_bytes)
    }

    /// The `count` wide whole numbers of an array.
    ///
    /// # Errors
    /// When it holds something else or another count.
    pub(super) fn i64s(&self, name: &str, count: usize) -> Result<Vec<i64>> {
        self.words(name, "I64", count, i64::from_le_bytes)
    }
}

impl<'a> Array<'a> {
    fn read(json: &mut Json<'_>, name: &str, data: &'a [u8]) -> Result<Self> {
        let (mut dtype, mut shape, mut span) = (None, None, None);
        let whole = |json: &mut Json<'_>| {
            let value = json.integer()?;
            usize::try_from(value).map_err(|_| json.fail(format_args!("array `{}` has a length of {value}", shown(name))))
        };
        let list = |json: &mut Json<'_>| {
            let mut values = Vec::new();
            json.array(|json, _| {
                if values.len() == DIMENSIONS_MAX {
                    return Err(json.fail(format_args!("array `{}` has more than {DIMENSIONS_MAX} dimensions", shown(name))));
                }
                values.push(whole(json)?);
                Ok(())
            })?;
            Ok(values)
        };
        json.object(|json, key| {
            match key {
                "dtype" => dtype = Some(json.string()?.into_owned()),
                "shape" => shape = Some(list(json)?),
                "data_offsets" => span = Some(list(json)?),
                _ => return Err(json.fail(format_args!("array `{}` has a member `{}`", shown(name), shown(key)))),
            }
            Ok(())
        })?;
        let (Some(dtype), Some(shape), Some(&[from, to])) = (dtype, shape, span.as_deref()) else {
            return Err(json.fail(format_args!("array `{}` lacks `dtype`, `shape` or two `data_offsets`", shown(name))));
        };
        let width = match dtype.as_str() {
            "F32" | "I32" => 4,
            "I64" | "F64" => 8,
            other => return Err(json.fail(format_args!("array `{}` holds `{}`; F32, I32 and I64 can be read", shown(name), shown(other)))),
        };
        let length = shape.iter().try_fold(width, |length: usize, &side| length.checked_mul(side));
        let data = data.get(from..to).filter(|data| Some(data.len()) == length);
        let data = data.ok_or_else(|| json.fail(format_args!("array `{}` is cut off or not as long as its shape", shown(name))))?;
        Ok(Self { name: name.to_owned(), dtype, shape, span: (from, to), data })
    }
}

/// Writes a file. The same arguments give the same bytes.
///
/// # Errors
/// When the header would be too long to be read again.
pub(crate) fn write(metadata: &[(&str, String)], arrays: &[(&str, &[usize], Numbers<'_>)]) -> Result<Vec<u8>> {
    let mut header = serde_json::Map::new();
    let told = metadata.iter().map(|(key, value)| ((*key).to_owned(), value.as_str().into())).collect::<serde_json::Map<_, _>>();
    header.insert("__metadata__".to_owned(), told.into());
    let mut data = Vec::new();
    for (name, shape, numbers) in arrays {
        let start = data.len();
        let dtype = match numbers {
            Numbers::F32(values) => {
                data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
                "F32"
            }
            Numbers::I32(values) => {
                data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
                "I32"
            }
            Numbers::I64(values) => {
                data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
                "I64"
            }
        };
        let entry = serde_json::json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, data.len()] });
        header.insert((*name).to_owned(), entry);
    }
    let mut text = serde_json::to_vec(&header).map_err(Error::internal)?;
    // Other readers like the data aligned.
    text.resize(text.len().next_multiple_of(8), b' ');
    if text.len() > HEADER_MAX {
        return Err(Error::invalid(format!("the names of its columns take more than {} MiB", HEADER_MAX >> 20)));
    }
    Ok([&(text.len() as u64).to_le_bytes()[..], &text, &data].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: usize) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; data]].concat()
    }

    #[test]
    fn what_is_written_is_read() {
        let metadata = [("format", "x".to_owned()), ("feature_names", r#"["a","b"]"#.to_owned())];
        let bytes = write(&metadata, &[("p", &[2, 1], Numbers::F32(&[1.5, -0.0])), ("q", &[1], Numbers::I64(&[-7]))]).unwrap();
        let file = File::read(&bytes).unwrap();
        assert_eq!(file.text("format").unwrap(), "x");
        assert_eq!(file.names(2).unwrap(), ["a".into(), "b".into()]);
        assert_eq!(file.shape::<2>("p").unwrap(), [2, 1]);
        assert_eq!(file.f32s("p", 2).unwrap(), [1.5, -0.0]);
        assert_eq!(file.i64s("q", 1).unwrap(), [-7]);
        assert!(names_format(&bytes, "x") && !names_format(&bytes, "y"));
    }

    #[test]
    fn headers_that_do_not_fit_are_refused_with_the_reason() {
        let one = |entry: &str| format!(r#"{{"p":{entry}}}"#);
        let cases = [
            (r#"{"p":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#.to_owned(), 8, "not as long as its shape"),
            (one(r#"{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#), 4, "cut off"),
            (one(r#"{"dtype":"F32","shape":[2],"data_offsets":[8,0]}"#), 8, "cut off"),
            (one(r#"{"dtype":"F32","shape":[2],"data_offsets":[4,12]}"#), 12, "gap"),
            (one(r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#), 8, "follow the header"),
            (one(r#"{"dtype":"F16","shape":[2],"data_offsets":[0,4]}"#), 4, "`F16`"),
            (one(r#"{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}"#), 4, "length of -1"),
            (one(r#"{"dtype":"F32","shape":[4503599627370496,4503599627370496],"data_offsets":[0,0]}"#), 0, "not as long"),
            (one(r#"{"dtype":"F32","shape":[1,1,1,1,1],"data_offsets":[0,4]}"#), 4, "dimensions"),
            (one(r#"{"dtype":"F32","shape":[1]}"#), 4, "lacks"),
            (one(r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}"#), 4, "member `x`"),
            (
                r#"{"p":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"q":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#.to_owned(),
                8,
                "overlap",
            ),
            (
                r#"{"p":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"p":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#.to_owned(),
                8,
                "twice",
            ),
            (r#"{"__metadata__":{"a":1}}"#.to_owned(), 0, "metadata `a`"),
            (r#"{"__metadata__":{"a":"1","a":"2"}}"#.to_owned(), 0, "twice"),
            ("[]".to_owned(), 0, "header"),
            ("{} x".to_owned(), 0, "header"),
        ];
        for (header, data, reason) in cases {
            let refused = File::read(&file(&header, data)).unwrap_err();
            assert!(refused.message().contains(reason), "{header}: {refused}");
        }
        for length in [u64::MAX, 1 << 40, (HEADER_MAX as u64) + 1, 100] {
            assert!(File::read(&[&length.to_le_bytes()[..], b"{}"].concat()).is_err(), "{length}");
        }
        assert!(File::read(b"").is_err());
    }
}
