//! Condition operators: compiled from their written form, then true or false of a context.
//!
//! Every operator is one [`Test`] that says whether a context value meets any of the policy's values; negation, set
//! prefixes and `…IfExists` are applied around it in one place, `Condition::holds`. A missing key makes positive
//! operators false, negated ones, `…IfExists` and `ForAllValues` true, `ForAnyValue` false, as AWS documents
//! (IAM user guide, "Policy elements: condition operators"). Next: `evaluate.rs`.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use time::{Date, Month, OffsetDateTime, Time, UtcOffset};

use super::context::{Context, Key, Value};
use super::heads::{Heads, Look, common};
use super::pattern::{Case, Pattern, Syntax};
use crate::error::{Error, Result};
use crate::names::shown;

/// One operator applied to one key.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    key: Key,
    quantifier: Quantifier,
    if_exists: bool,
    negated: bool,
    test: Test,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Quantifier {
    Plain,
    All,
    Any,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    fn holds<T: PartialOrd>(self, value: &T, bound: &T) -> bool {
        match self {
            Self::Equal => value == bound,
            Self::Less => value < bound,
            Self::LessOrEqual => value <= bound,
            Self::Greater => value > bound,
            Self::GreaterOrEqual => value >= bound,
        }
    }
}

#[derive(Debug, Clone)]
enum Test {
    /// Equality and likeness, exact.
    Text(Texts),
    /// Equality without case.
    Folded(Box<[Pattern]>),
    Arn(Box<[Pattern]>),
    Number(Order, Box<[f64]>),
    /// Nanoseconds since 1970.
    Date(Order, Box<[i128]>),
    Bool(Box<[bool]>),
    Binary(Box<[Vec<u8>]>),
    Ip(Box<[Block]>),
    /// Whether the key is absent.
    Null(Box<[bool]>),
}

/// Patterns of which any may match, with a first look over them.
#[derive(Debug, Clone)]
struct Texts {
    patterns: Box<[Pattern]>,
    heads: Heads,
}

impl Texts {
    fn new(patterns: Box<[Pattern]>) -> Self {
        let heads = Heads::new(patterns.iter().map(Pattern::head));
        Self { patterns, heads }
    }

    fn any(&self, text: &str, context: &Context<'_>) -> bool {
        if !self.heads.worth() {
            return self.patterns.iter().any(|pattern| pattern.matches(text, context));
        }
        let look = Look::new(text);
        self.patterns.iter().enumerate().any(|(index, pattern)| self.heads.could(index, &look) && pattern.matches(text, context))
    }
}

/// A CIDR block of one family; IPv4-mapped IPv6 addresses and blocks count as IPv4.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block {
    v4: bool,
    network: u128,
    mask: u128,
}

impl Condition {
    /// Compiles `operator` on `key` with its written `values`; `variables` tells whether the document's version has them.
    ///
    /// # Errors
    /// An unknown operator, and a value that the operator cannot read.
    pub(super) fn compile(operator: &str, key: &str, values: &[String], variables: bool) -> Result<Self> {
        let (quantifier, rest) = match operator.split_once(':') {
            Some(("ForAllValues", rest)) => (Quantifier::All, rest),
            Some(("ForAnyValue", rest)) => (Quantifier::Any, rest),
            Some(_) => return Err(unknown(operator)),
            None => (Quantifier::Plain, operator),
        };
        let (base, if_exists) = match rest.strip_suffix("IfExists") {
            Some(base) => (base, true),
            None => (rest, false),
        };
        if base == "Null" && (if_exists || quantifier != Quantifier::Plain) {
            return Err(Error::invalid(format!("`{}` is no operator; `Null` takes neither a set prefix nor `IfExists`", shown(operator))));
        }
        let (negated, test) = test(base, values, variables).transpose().ok_or_else(|| unknown(operator))??;
        Ok(Self { key: Key::new(key), quantifier, if_exists, negated, test })
    }

    /// What `sagemaker:TargetModel` must begin with for the condition to hold; empty when it may be anything.
    pub(super) fn target_head(&self) -> &str {
        match &self.test {
            Test::Text(texts) if self.key.is_target_model() && !self.negated && !self.if_exists && self.quantifier != Quantifier::All => {
                common(texts.patterns.iter().map(Pattern::head))
            }
            _ => "",
        }
    }

    /// Whether the condition is true of `context`.
    pub(super) fn holds(&self, context: &Context<'_>) -> bool {
        let values = context.values(&self.key);
        if let Test::Null(expected) = &self.test {
            return expected.contains(&values.is_empty());
        }
        if values.is_empty() {
            return match self.quantifier {
                Quantifier::Plain => self.if_exists || self.negated,
                Quantifier::All => true,
                Quantifier::Any => self.if_exists,
            };
        }
        let meets = |value: &Value<'_>| self.test.meets(value, context);
        match (self.quantifier, self.negated) {
            (Quantifier::Plain | Quantifier::Any, false) => values.iter().any(meets),
            (Quantifier::Plain | Quantifier::All, true) => !values.iter().any(meets),
            (Quantifier::All, false) => values.iter().all(meets),
            (Quantifier::Any, true) => !values.iter().all(meets),
        }
    }
}

fn unknown(operator: &str) -> Error {
    Error::invalid(format!("`{}` is no condition operator", shown(operator)))
}

/// The test behind an operator's base name and whether it is negated; `None` for an unknown name.
fn test(base: &str, values: &[String], variables: bool) -> Result<Option<(bool, Test)>> {
    let text = |wildcards: bool, case: Case| -> Result<Box<[Pattern]>> {
        values.iter().map(|value| Pattern::compile(value, Syntax { wildcards, variables }, case)).collect()
    };
    let order = |name: &str| {
        Some(match name {
            "Equals" => (false, Order::Equal),
            "NotEquals" => (true, Order::Equal),
            "LessThan" => (false, Order::Less),
            "LessThanEquals" => (false, Order::LessOrEqual),
            "GreaterThan" => (false, Order::Greater),
            "GreaterThanEquals" => (false, Order::GreaterOrEqual),
            _ => return None,
        })
    };
    let plain = || values.iter().try_for_each(|value| refuse_variable(value, variables));
    let found = match base {
        "StringEquals" => (false, Test::Text(Texts::new(text(false, Case::Exact)?))),
        "StringNotEquals" => (true, Test::Text(Texts::new(text(false, Case::Exact)?))),
        "StringLike" => (false, Test::Text(Texts::new(text(true, Case::Exact)?))),
        "StringNotLike" => (true, Test::Text(Texts::new(text(true, Case::Exact)?))),
        "StringEqualsIgnoreCase" => (false, Test::Folded(text(false, Case::Folded)?)),
        "StringNotEqualsIgnoreCase" => (true, Test::Folded(text(false, Case::Folded)?)),
        "ArnEquals" | "ArnLike" => (false, Test::Arn(text(true, Case::Exact)?)),
        "ArnNotEquals" | "ArnNotLike" => (true, Test::Arn(text(true, Case::Exact)?)),
        "Bool" => {
            plain()?;
            let read = |value: &String| truth(value).ok_or_else(|| bad(value, "neither `true` nor `false`"));
            (false, Test::Bool(values.iter().map(read).collect::<Result<_>>()?))
        }
        "Null" => {
            plain()?;
            let read = |value: &String| truth(value).ok_or_else(|| bad(value, "neither `true` nor `false`"));
            (false, Test::Null(values.iter().map(read).collect::<Result<_>>()?))
        }
        "BinaryEquals" => {
            plain()?;
            let read = |value: &String| STANDARD.decode(value).map_err(|_| bad(value, "not base64"));
            (false, Test::Binary(values.iter().map(read).collect::<Result<_>>()?))
        }
        "IpAddress" | "NotIpAddress" => {
            plain()?;
            let read = |value: &String| Block::parse(value).ok_or_else(|| bad(value, "neither an address nor a CIDR block"));
            (base == "NotIpAddress", Test::Ip(values.iter().map(read).collect::<Result<_>>()?))
        }
        _ => {
            if let Some((negated, order)) = base.strip_prefix("Numeric").and_then(order) {
                plain()?;
                let read = |value: &String| number(value).ok_or_else(|| bad(value, "no number"));
                (negated, Test::Number(order, values.iter().map(read).collect::<Result<_>>()?))
            } else if let Some((negated, order)) = base.strip_prefix("Date").and_then(order) {
                plain()?;
                let read = |value: &String| date(value).ok_or_else(|| bad(value, "no ISO 8601 date and no count of seconds since 1970"));
                (negated, Test::Date(order, values.iter().map(read).collect::<Result<_>>()?))
            } else {
                return Ok(None);
            }
        }
    };
    Ok(Some(found))
}

fn bad(value: &str, why: &str) -> Error {
    Error::invalid(format!("`{}` is {why}", shown(value)))
}

fn refuse_variable(value: &str, variables: bool) -> Result<()> {
    if variables && value.contains("${") {
        return Err(bad(value, "a policy variable, which only String and Arn operators and Resource take"));
    }
    Ok(())
}

impl Test {
    /// Whether `value` meets any of the policy's values.
    fn meets(&self, value: &Value<'_>, context: &Context<'_>) -> bool {
        match self {
            Self::Text(texts) => {
                let text = value.text();
                texts.any(&text, context)
            }
            Self::Folded(patterns) => {
                let text = value.text().to_lowercase();
                patterns.iter().any(|pattern| pattern.matches(&text, context))
            }
            Self::Arn(patterns) => {
                let text = value.text();
                arn_parts(&text).is_some_and(|parts| patterns.iter().any(|pattern| pattern.matches_parts(&parts, context)))
            }
            Self::Number(order, bounds) => {
                number(&value.text()).is_some_and(|number| bounds.iter().any(|bound| order.holds(&number, bound)))
            }
            Self::Date(order, bounds) => {
                let moment = match value {
                    Value::Time(seconds) => Some(i128::from(*seconds) * 1_000_000_000),
                    other => date(&other.text()),
                };
                moment.is_some_and(|moment| bounds.iter().any(|bound| order.holds(&moment, bound)))
            }
            Self::Bool(expected) => truth(&value.text()).is_some_and(|value| expected.contains(&value)),
            Self::Binary(expected) => STANDARD.decode(value.text().as_bytes()).is_ok_and(|bytes| expected.contains(&bytes)),
            Self::Ip(blocks) => {
                let address = match value {
                    Value::Ip(address) => Some(*address),
                    other => other.text().parse().ok(),
                };
                address.is_some_and(|address| blocks.iter().any(|block| block.holds(address)))
            }
            Self::Null(_) => false,
        }
    }
}

/// The six parts of an ARN; the sixth takes the rest, colons included.
pub(super) fn arn_parts(text: &str) -> Option<[&str; 6]> {
    let mut parts = text.splitn(6, ':');
    let parts: [&str; 6] = std::array::from_fn(|_| parts.next()).map(|part: Option<&str>| part.unwrap_or("\0"));
    (parts[0] == "arn" && parts[5] != "\0").then_some(parts)
}

fn truth(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// A decimal: sign, digits, fraction, exponent; no words, no hexadecimal, no space, no bare point.
fn number(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let plain = digits(whole) && digits(fraction) && digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent));
    plain.then(|| text.parse().ok()).flatten()
}

/// An ISO 8601 date or moment (`2026-01-31`, `2026-01-31T08:00Z`, `…T08:00:00.5+02:00`) or seconds since 1970, in
/// nanoseconds since 1970.
fn date(text: &str) -> Option<i128> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    if !unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse::<i64>().ok().map(|seconds| i128::from(seconds) * 1_000_000_000);
    }
    let (day, clock) = match text.split_once('T') {
        Some((day, clock)) => (day, Some(clock)),
        None => (text, None),
    };
    let mut fields = day.split('-');
    let year = digits(fields.next()?, 4)?;
    let month = Month::try_from(u8::try_from(digits(fields.next()?, 2)?).ok()?).ok()?;
    let day = u8::try_from(digits(fields.next()?, 2)?).ok()?;
    if fields.next().is_some() {
        return None;
    }
    let day = Date::from_calendar_date(i32::try_from(year).ok()?, month, day).ok()?;
    let (clock, offset) = match clock {
        None => return Some(day.midnight().assume_utc().unix_timestamp_nanos()),
        Some(clock) => zone(clock)?,
    };
    Some(OffsetDateTime::new_in_offset(day, time_of_day(clock)?, offset).unix_timestamp_nanos())
}

fn digits(text: &str, width: usize) -> Option<u32> {
    (text.len() == width && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

fn zone(clock: &str) -> Option<(&str, UtcOffset)> {
    if let Some(clock) = clock.strip_suffix('Z') {
        return Some((clock, UtcOffset::UTC));
    }
    let at = clock.rfind(['+', '-'])?;
    let (clock, offset) = clock.split_at_checked(at)?;
    let (sign, offset) = offset.split_at_checked(1)?;
    let (hours, minutes) = offset.split_once(':')?;
    let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let seconds = i32::try_from(hours * 3600 + minutes * 60).ok()?;
    Some((clock, UtcOffset::from_whole_seconds(if sign == "-" { -seconds } else { seconds }).ok()?))
}

fn time_of_day(clock: &str) -> Option<Time> {
    let mut fields = clock.split(':');
    let hour = u8::try_from(digits(fields.next()?, 2)?).ok()?;
    let minute = u8::try_from(digits(fields.next()?, 2)?).ok()?;
    let (mut second, mut nanos) = (0, 0);
    if let Some(field) = fields.next() {
        let (whole, fraction) = match field.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (field, None),
        };
        second = u8::try_from(digits(whole, 2)?).ok()?;
        if let Some(fraction) = fraction {
            if fraction.is_empty() || fraction.len() > 9 {
                return None;
            }
            nanos = digits(fraction, fraction.len())? * 10u32.pow(9 - u32::try_from(fraction.len()).ok()?);
        }
    }
    if fields.next().is_some() {
        return None;
    }
    Time::from_hms_nano(hour, minute, second, nanos).ok()
}

impl Block {
    /// Reads `10.0.0.0/8`, `::1`; `None` when it is neither an address nor a block.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, width) = match text.split_once('/') {
            Some((address, width)) => (address, Some(width)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let full = if address.is_ipv4() { 32 } else { 128 };
        let width = match width {
            Some(width) if !width.is_empty() && width.len() <= 3 && width.bytes().all(|b| b.is_ascii_digit()) => width.parse().ok()?,
            Some(_) => return None,
            None => full,
        };
        if width > full {
            return None;
        }
        let (address, width) = match address {
            IpAddr::V6(v6) if width >= 96 => match v6.to_ipv4_mapped() {
                Some(v4) => (IpAddr::V4(v4), width - 96),
                None => (address, width),
            },
            other => (other, width),
        };
        let (v4, bits, full) = bits(address);
        let mask = u128::MAX.checked_shl(full - width).unwrap_or(0);
        Some(Self { v4, network: bits & mask, mask })
    }

    /// Whether `address` is in it.
    pub fn holds(self, address: IpAddr) -> bool {
        let (v4, bits, _) = bits(address.to_canonical());
        v4 == self.v4 && bits & self.mask == self.network
    }
}

/// Family, bits and how many there are.
fn bits(address: IpAddr) -> (bool, u128, u32) {
    match address {
        IpAddr::V4(v4) => (true, u128::from(v4.to_bits()), 32),
        IpAddr::V6(v6) => (false, v6.to_bits(), 128),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_in_every_written_form_are_the_same_moment() {
        let expected = 1_769_846_400_000_000_000;
        for text in ["2026-01-31T08:00:00Z", "2026-01-31T08:00Z", "2026-01-31T10:00:00+02:00", "2026-01-31T08:00:00.000Z", "1769846400"] {
            assert_eq!(date(text), Some(expected), "{text}");
        }
        assert_eq!(date("2026-01-31"), Some(1_769_817_600_000_000_000));
        for text in ["", "2026", "2026-13-01x", "2026-02-30", "2026-01-31T", "2026-01-31T25:00Z", "2026-01-31T08:00:00", "12:00", "1e9"] {
            assert_eq!(date(text), if text == "2026" { Some(2026 * 1_000_000_000) } else { None }, "{text}");
        }
    }

    #[test]
    fn blocks_hold_their_addresses_in_both_families() {
        let block = Block::parse("10.1.0.0/16").unwrap();
        assert!(block.holds("10.1.2.3".parse().unwrap()) && block.holds("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!block.holds("10.2.0.0".parse().unwrap()));
        assert!(Block::parse("2001:db8::/32").unwrap().holds("2001:db8:1::1".parse().unwrap()));
        assert!(Block::parse("0.0.0.0/0").unwrap().holds("1.2.3.4".parse().unwrap()));
        assert!(!Block::parse("0.0.0.0/0").unwrap().holds("2001::1".parse().unwrap()));
        assert!(Block::parse("::/0").unwrap().holds("2001::1".parse().unwrap()));
        assert!(!Block::parse("::/0").unwrap().holds("10.1.1.1".parse().unwrap()));
        assert!(Block::parse("::ffff:10.0.0.0/104").unwrap().holds("10.1.1.1".parse().unwrap()));
        for text in ["10.0.0.0/33", "10.0.0/8", "x", "::/129", "1.2.3.4/", "1.2.3.4/+8"] {
            assert!(Block::parse(text).is_none(), "{text}");
        }
    }
}
