//! The policy language a second time: slow, and meant to be read beside the IAM User Guide.
//!
//! It answers one question, on the JSON as written: what do these documents say about this request?
//! Nothing is compiled, cached or ordered; every text is compared as characters, every pattern by trying
//! all the ways it could fit. A fuzz test compares the answers with those of the engine that serves.
//!
//! It must not know that engine: nothing of `rookery` is imported here, and dates, base64 and patterns are
//! done by hand so that a mistake in a shared helper cannot hide in both. It takes documents that were
//! accepted when written; it is no validator, and stops the test at an operator it has never heard of.
//! Documents and requests to try come from `generate.rs`; hand-written answers are in `tests/policy/`.

use serde_json::Value;
use std::net::IpAddr;

/// What the policies say: `allowed`, `explicitDeny` or `implicitDeny`.
///
/// The request is `{"principal", "action", "resource", "context": {key: value or [values]}}`. The principal
/// plays no part: whatever a policy may ask about it is in the context.
pub(crate) fn decide(identity: &[Value], boundary: Option<&[Value]>, session: Option<&[Value]>, request: &Value) -> &'static str {
    let mut sets = vec![identity];
    sets.extend(boundary);
    sets.extend(session);
    if sets.iter().any(|set| says(set, "Deny", request)) {
        "explicitDeny"
    } else if sets.iter().all(|set| says(set, "Allow", request)) {
        "allowed"
    } else {
        "implicitDeny"
    }
}

/// Does any statement of any of these documents have this effect on the request?
fn says(documents: &[Value], effect: &str, request: &Value) -> bool {
    documents.iter().any(|document| {
        // Without a Version, a document is of the first one, in which `${…}` means nothing special.
        let variables = document["Version"] == "2012-10-17";
        listed(&document["Statement"]).into_iter().any(|statement| {
            statement["Effect"] == effect
                && action_fits(statement, request)
                && resource_fits(statement, request, variables)
                && condition_holds(&statement["Condition"], request, variables)
        })
    })
}

// ---- Action and Resource -------------------------------------------------------------------------------

fn action_fits(statement: &Value, request: &Value) -> bool {
    let action = text(&request["action"]).to_ascii_lowercase();
    let fits = |pattern: &Value| {
        let pattern = text(pattern).to_ascii_lowercase();
        matches(&wildcards(&pattern), &characters(&action))
    };
    match statement.get("NotAction") {
        Some(patterns) => !listed(patterns).into_iter().any(fits),
        None => listed(&statement["Action"]).into_iter().any(fits),
    }
}

fn resource_fits(statement: &Value, request: &Value, variables: bool) -> bool {
    let resource = text(&request["resource"]);
    let fits = |pattern: &Value| {
        // A variable without a value: this pattern names no resource at all.
        let Some(mut pattern) = substitute(&completed(text(pattern)), request, variables) else {
            return false;
        };
        let mut resource = characters(&resource);
        if names_an_endpoint(&resource) {
            pattern = lower_the_name(&pattern, Piece::is_colon, Piece::to_lower);
            resource = lower_the_name(&resource, |c| *c == ':', char::to_ascii_lowercase);
        }
        matches(&pattern, &resource)
    };
    match statement.get("NotResource") {
        Some(patterns) => !listed(patterns).into_iter().any(fits),
        None => listed(&statement["Resource"]).into_iter().any(fits),
    }
}

/// The fields that an ARN leaves out at its end are any. A star or a variable may stand for several, so with one it is as written.
fn completed(mut pattern: String) -> String {
    if pattern.starts_with("arn:") && !pattern.contains('*') && !pattern.contains('$') {
        while pattern.matches(':').count() < 5 {
            pattern += ":*";
        }
    }
    pattern
}

/// SageMaker lower-cases the names of endpoints, so their case is not compared.
fn names_an_endpoint(resource: &[char]) -> bool {
    let resource: String = resource.iter().collect();
    resource.starts_with("arn:aws:sagemaker:") && resource.splitn(6, ':').nth(5).is_some_and(|name| name.starts_with("endpoint/"))
}

/// Lower case after the fifth colon; all of it if there are fewer.
fn lower_the_name<T: Clone>(of: &[T], is_colon: impl Fn(&T) -> bool, lower: impl Fn(&T) -> T) -> Vec<T> {
    let colons = of.iter().filter(|item| is_colon(item)).count();
    let mut passed = 0;
    let mut lowered = Vec::new();
    for item in of {
        if colons < 5 || passed >= 5 {
            lowered.push(lower(item));
        } else {
            lowered.push(item.clone());
        }
        if is_colon(item) {
            passed += 1;
        }
    }
    lowered
}

// ---- Condition -----------------------------------------------------------------------------------------

/// Every operator, and under it every key, must hold.
fn condition_holds(condition: &Value, request: &Value, variables: bool) -> bool {
    let Some(operators) = condition.as_object() else {
        return true; // No Condition.
    };
    operators.iter().all(|(operator, keys)| {
        keys.as_object().into_iter().flatten().all(|(key, values)| {
            let wanted = listed(values).into_iter().map(text).collect::<Vec<_>>();
            let present = context(request, key);
            test_holds(operator, &wanted, &present, request, variables)
        })
    })
}

/// One operator on one key: `wanted` are the policy's values, `present` the request's (none: key absent).
fn test_holds(operator: &str, wanted: &[String], present: &[String], request: &Value, variables: bool) -> bool {
    if operator == "Null" {
        return wanted.iter().any(|asked| asked.eq_ignore_ascii_case("true") == present.is_empty());
    }

    let (prefix, operator) = match operator.split_once(':') {
        Some((prefix, operator)) => (prefix, operator),
        None => ("", operator),
    };
    let (operator, if_exists) = match operator.strip_suffix("IfExists") {
        Some(operator) => (operator, true),
        None => (operator, false),
    };
    let (operator, negated) = without_the_not(operator);

    if present.is_empty() {
        return if_exists
            || match prefix {
                "ForAllValues" => true,
                "ForAnyValue" => false,
                _ => negated,
            };
    }

    // What the operator says of one value of the request: it is like one of the policy's values, or,
    // negated, like none of them.
    let mut verdicts = present.iter().map(|value| {
        let like_one = wanted.iter().any(|wanted| compare(operator, wanted, value, request, variables));
        like_one != negated
    });
    match prefix {
        "ForAllValues" => verdicts.all(|verdict| verdict),
        "ForAnyValue" => verdicts.any(|verdict| verdict),
        // Without a prefix "equals" is content with one value that does, "not equals" wants none that does.
        _ if negated => verdicts.all(|verdict| verdict),
        _ => verdicts.any(|verdict| verdict),
    }
}

/// The comparison an operator makes, and whether it wants it to fail.
fn without_the_not(operator: &str) -> (&str, bool) {
    match operator {
        "StringNotEquals" => ("StringEquals", true),
        "StringNotEqualsIgnoreCase" => ("StringEqualsIgnoreCase", true),
        "StringNotLike" => ("StringLike", true),
        "NumericNotEquals" => ("NumericEquals", true),
        "DateNotEquals" => ("DateEquals", true),
        "NotIpAddress" => ("IpAddress", true),
        "ArnNotEquals" | "ArnNotLike" => ("ArnLike", true),
        "ArnEquals" => ("ArnLike", false),
        positive => (positive, false),
    }
}

/// Does one value of the policy fit one value of the request?
///
/// A value that cannot be read as what the operator compares fits nothing.
fn compare(operator: &str, wanted: &str, value: &str, request: &Value, variables: bool) -> bool {
    let pattern = || substitute(wanted, request, variables);
    match operator {
        "StringEquals" => pattern().is_some_and(|pattern| literally(&pattern) == value),
        "StringEqualsIgnoreCase" => pattern().is_some_and(|pattern| literally(&pattern).to_lowercase() == value.to_lowercase()),
        "StringLike" => pattern().is_some_and(|pattern| matches(&pattern, &characters(value))),
        "ArnLike" => pattern().is_some_and(|pattern| arn_matches(&pattern, value)),
        "Bool" => (wanted.eq_ignore_ascii_case("true") || wanted.eq_ignore_ascii_case("false")) && wanted.eq_ignore_ascii_case(value),
        "BinaryEquals" => both(base64(wanted), base64(value), |wanted, value| wanted == value),
        "IpAddress" => both(network(wanted), address_bits(value), |network, address| {
            network.0.len() == address.len() && network.0.chars().zip(address.chars()).take(network.1).all(|(n, a)| n == a)
        }),
        "NumericEquals" => both(number(wanted), number(value), |wanted, value| value == wanted),
        "NumericLessThan" => both(number(wanted), number(value), |wanted, value| value < wanted),
        "NumericLessThanEquals" => both(number(wanted), number(value), |wanted, value| value <= wanted),
        "NumericGreaterThan" => both(number(wanted), number(value), |wanted, value| value > wanted),
        "NumericGreaterThanEquals" => both(number(wanted), number(value), |wanted, value| value >= wanted),
        "DateEquals" => both(date(wanted), date(value), |wanted, value| value == wanted),
        "DateLessThan" => both(date(wanted), date(value), |wanted, value| value < wanted),
        "DateLessThanEquals" => both(date(wanted), date(value), |wanted, value| value <= wanted),
        "DateGreaterThan" => both(date(wanted), date(value), |wanted, value| value > wanted),
        "DateGreaterThanEquals" => both(date(wanted), date(value), |wanted, value| value >= wanted),
        unknown => unreachable!("an accepted document holds the operator `{unknown}`"),
    }
}

fn both<A, B>(wanted: Option<A>, value: Option<B>, compare: impl Fn(A, B) -> bool) -> bool {
    match (wanted, value) {
        (Some(wanted), Some(value)) => compare(wanted, value),
        _ => false,
    }
}

// ---- The request ---------------------------------------------------------------------------------------

/// The values of a context key, whose name has no case. An absent key and an empty list are both "none".
fn context(request: &Value, key: &str) -> Vec<String> {
    let entries = request["context"].as_object().into_iter().flatten();
    let named = entries.filter(|(name, _)| name.eq_ignore_ascii_case(key));
    named.flat_map(|(_, value)| listed(value)).map(text).collect()
}

// ---- Texts and patterns --------------------------------------------------------------------------------

/// One place of a pattern. A `*` that came out of a variable is a `Char`: it stands for itself.
#[derive(Clone, PartialEq)]
enum Piece {
    Char(char),
    AnyRun,
    AnyOne,
}

impl Piece {
    fn is_colon(&self) -> bool {
        *self == Piece::Char(':')
    }

    fn to_lower(&self) -> Piece {
        match self {
            Piece::Char(c) => Piece::Char(c.to_ascii_lowercase()),
            wildcard => wildcard.clone(),
        }
    }
}

/// Does the whole text fit the whole pattern?
fn matches(pattern: &[Piece], text: &[char]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        // A run is empty, or takes one character and may take more.
        ([Piece::AnyRun, after @ ..], []) => matches(after, &[]),
        ([Piece::AnyRun, after @ ..], [_, rest @ ..]) => matches(after, text) || matches(pattern, rest),
        ([Piece::AnyOne, after @ ..], [_, rest @ ..]) => matches(after, rest),
        ([Piece::Char(wanted), after @ ..], [found, rest @ ..]) => wanted == found && matches(after, rest),
        _ => false,
    }
}

/// An ARN is compared part by part, so that no `*` reaches over a colon. The sixth part keeps its colons.
fn arn_matches(pattern: &[Piece], arn: &str) -> bool {
    let arn = arn.splitn(6, ':').collect::<Vec<_>>();
    if arn.len() < 6 || arn.first() != Some(&"arn") {
        return false;
    }
    if pattern == [Piece::AnyRun] {
        return true;
    }
    let pattern = pattern.splitn(6, Piece::is_colon).collect::<Vec<_>>();
    pattern.len() == 6 && pattern.iter().zip(arn).all(|(pattern, part)| matches(pattern, &characters(part)))
}

fn wildcards(text: &str) -> Vec<Piece> {
    text.chars()
        .map(|c| match c {
            '*' => Piece::AnyRun,
            '?' => Piece::AnyOne,
            c => Piece::Char(c),
        })
        .collect()
}

/// The same pieces as plain text, for the operators to which `*` and `?` are ordinary characters.
fn literally(pattern: &[Piece]) -> String {
    pattern
        .iter()
        .map(|piece| match piece {
            Piece::Char(c) => *c,
            Piece::AnyRun => '*',
            Piece::AnyOne => '?',
        })
        .collect()
}

/// The pattern with its variables filled in; none if one of them has neither a value nor a default.
fn substitute(text: &str, request: &Value, variables: bool) -> Option<Vec<Piece>> {
    let Some((before, from)) = text.split_once("${").filter(|_| variables) else {
        return Some(wildcards(text));
    };
    // `key}` or `key, 'default'}`; the default ends at `'}`, so it may hold a brace of its own.
    let key_ends = from.find([',', '}'])?;
    let (key, tail) = from.split_at_checked(key_ends)?;
    let (value, after) = if let Some(tail) = tail.strip_prefix(", '") {
        let (default, after) = tail.split_once("'}")?;
        (variable(key, request).unwrap_or_else(|| default.to_owned()), after)
    } else {
        (variable(key, request)?, tail.strip_prefix('}')?)
    };

    let mut pieces = wildcards(before);
    pieces.extend(value.chars().map(Piece::Char));
    pieces.extend(substitute(after, request, variables)?);
    Some(pieces)
}

/// `${*}`, `${?}` and `${$}` are those characters; a key resolves when it has exactly one value.
fn variable(key: &str, request: &Value) -> Option<String> {
    if ["*", "?", "$"].contains(&key) {
        return Some(key.to_owned());
    }
    match context(request, key).as_slice() {
        [only] => Some(only.clone()),
        _ => None,
    }
}

fn characters(text: &str) -> Vec<char> {
    text.chars().collect()
}

/// A scalar where a list may stand is a list of one.
fn listed(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(values) => values.iter().collect(),
        Value::Null => Vec::new(),
        one => vec![one],
    }
}

/// Numbers and booleans need no quotes.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

// ---- Numbers, dates, bytes and addresses ---------------------------------------------------------------

/// Sign, digits, fraction, exponent; only the digits must be there.
fn number(text: &str) -> Option<f64> {
    let rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (rest, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let well_formed = digits(whole) && fraction.is_none_or(digits) && exponent.is_none_or(digits);
    if well_formed { text.parse().ok() } else { None }
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_digit())
}

/// Nanoseconds since 1970, from seconds since then or from ISO 8601.
fn date(text: &str) -> Option<i128> {
    const SECOND: i128 = 1_000_000_000;
    if digits(text.strip_prefix('-').unwrap_or(text)) {
        return Some(text.parse::<i128>().ok()? * SECOND);
    }

    let (day, clock) = match text.split_once('T') {
        Some((day, clock)) => (day, clock),
        None => (text, "00:00:00Z"),
    };
    let [year, month, day] = numbers(day, '-', [4, 2, 2])?;
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    let mut days = day - 1;
    days += (1..month).map(|month| days_in(year, month)).sum::<i128>();
    days += (1970..year).map(days_of_year).sum::<i128>();
    days -= (year..1970).map(days_of_year).sum::<i128>();

    // The zone: `Z`, or how far ahead of it the clock runs.
    let zone_at = clock.find(['Z', '+', '-'])?;
    let (clock, zone) = clock.split_at_checked(zone_at)?;
    let ahead = if zone == "Z" {
        0
    } else {
        let [hours, minutes] = numbers(zone.get(1..)?, ':', [2, 2])?;
        if hours > 23 || minutes > 59 {
            return None;
        }
        let ahead = hours * 3600 + minutes * 60;
        if zone.starts_with('-') { -ahead } else { ahead }
    };

    // The clock: `hh:mm`, `hh:mm:ss` or `hh:mm:ss.f`.
    let (clock, fraction) = match clock.split_once('.') {
        Some((clock, fraction)) => (clock, Some(fraction)),
        None => (clock, None),
    };
    let nanoseconds = match fraction {
        Some(fraction) if digits(fraction) && fraction.len() <= 9 => format!("{fraction:0<9}").parse().ok()?,
        Some(_) => return None,
        None => 0,
    };
    let [hours, minutes, seconds] = match (numbers(clock, ':', [2, 2, 2]), numbers(clock, ':', [2, 2])) {
        (Some(clock), _) => clock,
        (None, Some([hours, minutes])) if fraction.is_none() => [hours, minutes, 0],
        _ => return None,
    };
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    Some((days * 86_400 + hours * 3600 + minutes * 60 + seconds - ahead) * SECOND + nanoseconds)
}

/// Numbers of the given widths between separators, and nothing else.
fn numbers<const N: usize>(text: &str, separator: char, widths: [usize; N]) -> Option<[i128; N]> {
    let parts = text.split(separator).collect::<Vec<_>>();
    let right = parts.len() == N && parts.iter().zip(widths).all(|(part, width)| digits(part) && part.len() == width);
    if !right {
        return None;
    }
    let parsed = parts.iter().filter_map(|part| part.parse().ok()).collect::<Vec<i128>>();
    parsed.try_into().ok()
}

fn days_of_year(year: i128) -> i128 {
    (1..=12).map(|month| days_in(year, month)).sum()
}

fn days_in(year: i128, month: i128) -> i128 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The bytes of standard base64 with its padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let body = text.trim_end_matches('=');
    let padding = text.len() - body.len();
    if !text.len().is_multiple_of(4) || padding > 2 {
        return None;
    }
    let mut bits = String::new();
    for c in body.chars() {
        bits += &format!("{:06b}", ALPHABET.find(c)?);
    }
    // What does not fill a byte belongs to the padding, and is zero.
    let mut bytes = Vec::new();
    while bits.len() >= 8 {
        let rest = bits.split_off(8);
        bytes.push(u8::from_str_radix(&bits, 2).ok()?);
        bits = rest;
    }
    if bits.contains('1') { None } else { Some(bytes) }
}

/// An address as 32 or 128 binary digits. One of version 4 inside one of version 6 is of version 4.
fn address_bits(text: &str) -> Option<String> {
    Some(match text.parse::<IpAddr>().ok()?.to_canonical() {
        IpAddr::V4(address) => format!("{:032b}", u32::from(address)),
        IpAddr::V6(address) => format!("{:0128b}", u128::from(address)),
    })
}

/// `address` or `address/length`: the digits of the address, and how many of them count.
fn network(text: &str) -> Option<(String, usize)> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length.parse::<usize>().ok()?)),
        None => (text, None),
    };
    let bits = address_bits(address)?;
    let written = if address.contains(':') { 128 } else { 32 };
    let length = length.unwrap_or(written);
    if length > written {
        return None;
    }
    // A mapped network keeps what its length says beyond the 96 digits that only mark it as mapped.
    // One so short that it is not within the marked range is a network of version 6.
    match (written, bits.len()) {
        (128, 32) if length >= 96 => Some((bits, length - 96)),
        (128, 32) => Some((format!("{:0128b}", u128::from(address.parse::<std::net::Ipv6Addr>().ok()?)), length)),
        _ => Some((bits, length)),
    }
}
