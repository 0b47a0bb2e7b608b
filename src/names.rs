//! The words users type, parsed once at the door: model paths, prefixes, names, ARNs.
//!
//! A value of one of these types is well-formed for good; nothing is ever normalised, because two spellings of one
//! thing is how a policy gets bypassed. Knows nothing of what exists. Next: `policy/`, which compares these words.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Result};

/// The account number that stands in every ARN; there is one tenant in a file.
pub const ACCOUNT: &str = "000000000000";
/// The region that stands in every ARN.
pub const REGION: &str = "us-east-1";
/// The longest model path, in bytes.
pub const MODEL_PATH_MAX: usize = 1024;

/// `collection/key/…`: where a model lives. At most 1,024 bytes of printable ASCII, case-sensitive, at least two segments.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelPath(Arc<str>);

impl ModelPath {
    /// Takes `text` as it is, or refuses it saying why. Nothing is trimmed, decoded or folded.
    ///
    /// # Errors
    /// [`Kind::Validation`](crate::error::Kind::Validation) naming the rule that does not hold.
    pub fn parse(text: &str) -> Result<Self> {
        check_path(text, "model path")?;
        if !text.contains('/') {
            return Err(Error::invalid(format!(
                "model path `{}` has one segment; write `collection/key`, such as `housing/NewYork_NY.tar.gz`",
                shown(text)
            )));
        }
        Ok(Self(text.into()))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first segment, which is the bucket where a client speaks of buckets.
    pub fn collection(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }

    /// The ARN a policy names: `arn:aws:s3:::collection/key`.
    pub fn arn(&self) -> String {
        format!("arn:aws:s3:::{}", self.0)
    }
}

impl fmt::Display for ModelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `collection/…/`: the beginning of model paths that a multi-model stage serves. Ends with a slash.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Prefix(Arc<str>);

impl Prefix {
    /// # Errors
    /// [`Kind::Validation`](crate::error::Kind::Validation) naming the rule that does not hold.
    pub fn parse(text: &str) -> Result<Self> {
        let Some(inner) = text.strip_suffix('/') else {
            return Err(Error::invalid(format!("prefix `{}` does not end with `/`; write `collection/` or deeper", shown(text))));
        };
        check_path(inner, "prefix")?;
        Ok(Self(text.into()))
    }

    /// The prefix as text, slash included.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The model path of `target` under this prefix. The joined path is parsed like any other, so a target model with
    /// `..`, an empty segment or a control character never reaches the store.
    ///
    /// # Errors
    /// As [`ModelPath::parse`], naming the target model.
    pub fn join(&self, target: &str) -> Result<ModelPath> {
        check_path(target, "target model")?;
        let mut joined = String::with_capacity(self.0.len() + target.len());
        joined.push_str(&self.0);
        joined.push_str(target);
        if joined.len() > MODEL_PATH_MAX {
            return Err(Error::invalid(format!("the target model makes a path of {} bytes; at most {MODEL_PATH_MAX} fit", joined.len())));
        }
        Ok(ModelPath(joined.into()))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check_path(text: &str, what: &str) -> Result<()> {
    let refuse = |why: &str| Err(Error::invalid(format!("{what} `{}` {why}", shown(text))));
    if text.is_empty() {
        return Err(Error::invalid(format!("the {what} is empty")));
    }
    if text.len() > MODEL_PATH_MAX {
        return Err(Error::invalid(format!("the {what} is {} bytes long; at most {MODEL_PATH_MAX} fit", text.len())));
    }
    let mut segment = 0;
    let bytes = text.as_bytes();
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            b'/' => {
                if at == segment {
                    return refuse(if at == 0 { "starts with `/`" } else { "has an empty segment" });
                }
                segment = at + 1;
            }
            b'\\' => return refuse("has a backslash"),
            b'.' if at == segment => {
                let rest = bytes.get(at..).unwrap_or_default();
                let end = rest.iter().position(|&b| b == b'/').unwrap_or(rest.len());
                if matches!(rest.get(..end), Some(b"." | b"..")) {
                    return refuse("has a segment `.` or `..`");
                }
            }
            b' '..=b'~' => {}
            _ => return refuse("has a character that is not printable ASCII"),
        }
    }
    if segment == bytes.len() {
        return refuse("ends with `/`");
    }
    if text.starts_with(' ') || text.ends_with(' ') {
        return refuse("starts or ends with a space");
    }
    Ok(())
}

/// `text` for a message: control characters escaped, cut after 80 characters.
pub fn shown(text: &str) -> String {
    let mut out: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().nth(80).is_some() {
        out.push('…');
    }
    out
}

/// `count` of what one of is called `one`, for a message: `1 value`, `3 values`, `2 classes`.
pub fn counted(count: usize, one: &str) -> String {
    match one {
        _ if count == 1 => format!("1 {one}"),
        _ if one.ends_with('s') => format!("{count} {one}es"),
        _ => format!("{count} {}s", one.strip_suffix("ry").map_or_else(|| one.to_owned(), |stem| format!("{stem}rie"))),
    }
}

/// The beginning of "1 byte follows …" or "3 bytes follow …".
pub fn following(bytes: usize) -> String {
    format!("{} follow{}", counted(bytes, "byte"), if bytes == 1 { "s" } else { "" })
}

/// The name of an endpoint or variant: 1–63 letters, digits and hyphens, a letter or digit first.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointName(Arc<str>);

impl EndpointName {
    /// # Errors
    /// [`Kind::Validation`](crate::error::Kind::Validation) naming the rule that does not hold.
    pub fn parse(text: &str) -> Result<Self> {
        let ok = text.len() <= 63
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if !ok {
            return Err(Error::invalid(format!(
                "`{}` is no endpoint or variant name; use 1 to 63 letters, digits and hyphens, not starting with a hyphen",
                shown(text)
            )));
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The endpoint's ARN. The name is lower-cased, as AWS does; the policy engine ignores its case anyway.
    pub fn arn(&self) -> String {
        format!("arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint/{}", self.0.to_ascii_lowercase())
    }
}

impl fmt::Display for EndpointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a user, group, role or policy: 1–64 letters, digits and `+=,.@_-`. Two names never differ by case alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

impl Name {
    /// # Errors
    /// [`Kind::Validation`](crate::error::Kind::Validation) naming the rule that does not hold.
    pub fn parse(text: &str) -> Result<Self> {
        let ok = !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+=,.@_-".contains(&b));
        if !ok {
            return Err(Error::invalid(format!("`{}` is no name; use 1 to 64 letters, digits and `+=,.@_-`", shown(text))));
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an identity record is. Each has its own ARN shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Noun {
    /// Signs in, holds keys.
    User,
    /// A set of users that share policies.
    Group,
    /// Assumed for a session.
    Role,
    /// A managed policy.
    Policy,
}

impl Noun {
    /// The word in ARNs, routes and the store.
    pub fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
            Self::Role => "role",
            Self::Policy => "policy",
        }
    }

    /// The ARN of the one called `name`; `*` stands for all of them.
    pub fn arn(self, name: &str) -> String {
        format!("arn:aws:iam::{ACCOUNT}:{}/{name}", self.word())
    }
}

/// Lower-case hexadecimal, as versions and key ids are written.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|&byte| hex_digits(byte)).map(char::from).collect()
}

/// A byte as two hexadecimal digits.
pub fn hex_digits(byte: u8) -> [u8; 2] {
    [byte >> 4, byte & 15].map(|nibble| nibble + if nibble < 10 { b'0' } else { b'a' - 10 })
}

/// A version: the SHA-256 of an artifact's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(pub [u8; 32]);

impl Version {
    /// Reads 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`Kind::Validation`](crate::error::Kind::Validation) when it is anything else.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = || Error::invalid(format!("`{}` is no version; a version is 64 hexadecimal digits", shown(text)));
        let mut out = [0u8; 32];
        // Signs would be read as part of a number.
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(bad());
        }
        for (slot, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| bad())?;
            *slot = u8::from_str_radix(pair, 16).map_err(|_| bad())?;
        }
        Ok(Self(out))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_hexadecimal_digits_and_nothing_else() {
        assert_eq!(Version::parse(&"0A".repeat(32)).unwrap().to_string(), "0a".repeat(32));
        for bad in ["+1".repeat(32), "0a".repeat(31), "0g".repeat(32), "é".repeat(32)] {
            assert!(Version::parse(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn model_paths_are_taken_as_they_are_or_refused() {
        for good in ["a/b", "housing/cities/New York.tar.gz", "a/...", "a/.b", "a/b..c", "A/~"] {
            assert_eq!(ModelPath::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "a", "/a/b", "a/b/", "a//b", "a/./b", "a/../b", "a/..", "..", "a\\b/c", "a/b\n", "a/\u{e9}", " a/b", "a/b ", "a/\0"]
        {
            assert!(ModelPath::parse(bad).is_err(), "{bad:?} was taken");
        }
        assert!(ModelPath::parse(&format!("a/{}", "b".repeat(1023))).is_err());
        assert!(ModelPath::parse(&format!("a/{}", "b".repeat(1022))).is_ok());
    }

    #[test]
    fn a_target_model_cannot_leave_its_prefix() {
        let prefix = Prefix::parse("housing/cities/").unwrap();
        assert_eq!(prefix.join("a.json").unwrap().as_str(), "housing/cities/a.json");
        for bad in ["../secret", "a/../../x", "/x", "x/", "", "./x", "%2e%2e\u{7f}"] {
            assert!(prefix.join(bad).is_err(), "{bad:?} was taken");
        }
        assert!(Prefix::parse("housing").is_err());
        assert!(Prefix::parse("/").is_err());
    }

    #[test]
    fn one_is_told_from_many() {
        let all = [(0, "value"), (1, "class"), (2, "class"), (1, "entry"), (3, "category")].map(|(count, one)| counted(count, one));
        assert_eq!([following(1), following(2)], ["1 byte follows", "2 bytes follow"]);
        assert_eq!(all, ["0 values", "1 class", "2 classes", "1 entry", "3 categories"]);
    }

    #[test]
    fn versions_round_trip() {
        let text = "00ff".repeat(16);
        assert_eq!(Version::parse(&text).unwrap().to_string(), text);
        assert!(Version::parse("zz").is_err());
    }
}
