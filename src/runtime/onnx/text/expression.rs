//! Regular expressions as RE2 has them, whose longest of the leftmost matches counts.
//!
//! An expression of RE2 is written anew in the syntax that `regex-automata` reads: there `\w`, `\d`, `\s` and `\b` know
//! more than ASCII and a class may hold classes. Two automata are worked out whole when a model is uploaded, within a
//! size: one goes backwards over a text and marks where matches begin, the other forwards to the last place where the
//! one at hand ends. Nothing ever goes back and tries again; steps are counted. Next: `tokens.rs`.

use std::iter::Peekable;
use std::str::Chars;

use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, MatchKind};

use super::super::meter::Meter;
use super::super::value::fault;
use crate::error::{Error, Result};
use crate::names::shown;

/// Bytes of an expression, and of its automata while they are worked out and after.
const LENGTH_MAX: usize = 4096;
const STATES_MAX: usize = 1 << 20;
const TABLE_MAX: usize = 4 << 20;
/// The most times RE2 repeats by number.
const REPEAT_MAX: u32 = 1000;

/// An expression, ready to be found.
#[derive(Debug)]
pub(super) struct Expression {
    starts: dense::DFA<Vec<u32>>,
    ends: dense::DFA<Vec<u32>>,
    /// Whether a match may hold nothing.
    nothing: bool,
}

/// Where matches may begin in one text.
pub(super) struct Search<'e, 't> {
    expression: &'e Expression,
    text: &'t str,
    starts: Vec<bool>,
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// Naming it: what RE2 does not take either, or too large a one.
    pub(super) fn new(pattern: &str) -> Result<Self> {
        let refuse = |why: &str| Error::invalid(format!("its expression `{}` {why}", shown(pattern)));
        if pattern.len() > LENGTH_MAX {
            return Err(refuse(&format!("is longer than {LENGTH_MAX} bytes")));
        }
        let translated = translate(pattern).map_err(|why| refuse(&why))?;
        let config = syntax::Config::new().nest_limit(64);
        let parsed = syntax::parse_with(&translated, &config).map_err(|error| refuse("is none of RE2").because(error))?;
        let nothing = parsed.properties().minimum_len() == Some(0);
        let build = |reverse: bool| {
            dense::Builder::new()
                .configure(
                    dense::Config::new()
                        .match_kind(MatchKind::All)
                        .start_kind(if reverse { StartKind::Unanchored } else { StartKind::Anchored })
                        .accelerate(false)
                        .dfa_size_limit(Some(TABLE_MAX))
                        .determinize_size_limit(Some(2 * TABLE_MAX)),
                )
                .syntax(config)
                .thompson(
                    thompson::Config::new().reverse(reverse).nfa_size_limit(Some(STATES_MAX)).which_captures(thompson::WhichCaptures::None),
                )
                .build(&translated)
                .map_err(|error| refuse("is too large to be served").because(error))
        };
        Ok(Self { starts: build(true)?, ends: build(false)?, nothing })
    }

    /// Whether a match may hold nothing.
    pub(super) fn may_be_nothing(&self) -> bool {
        self.nothing
    }

    /// Bytes in memory.
    pub(super) fn weight(&self) -> usize {
        self.starts.memory_usage() + self.ends.memory_usage()
    }

    /// Marks where matches begin.
    ///
    /// # Errors
    /// When the text is too long for one request.
    pub(super) fn search<'t>(&self, text: &'t str, meter: &Meter) -> Result<Search<'_, 't>> {
        meter.work(text.len() as u64)?;
        let dfa = &self.starts;
        let mut starts = vec![false; text.len() + 1];
        let mut state = dfa.start_state_reverse(&Input::new(text)).map_err(|error| fault("its expression failed").because(error))?;
        // A state tells of a match one step late.
        for (&byte, start) in text.as_bytes().iter().rev().zip(starts.iter_mut().rev()) {
            state = dfa.next_state(state, byte);
            *start = dfa.is_match_state(state);
        }
        if let Some(first) = starts.first_mut() {
            *first = dfa.is_match_state(dfa.next_eoi_state(state));
        }
        Ok(Search { expression: self, text, starts })
    }

    /// Where the longest match that begins at a place ends.
    fn end(&self, text: &str, start: usize, meter: &Meter) -> Result<Option<usize>> {
        let dfa = &self.ends;
        let input = Input::new(text).range(start..).anchored(Anchored::Yes);
        let mut state = dfa.start_state_forward(&input).map_err(|error| fault("its expression failed").because(error))?;
        let mut found = None;
        for (at, &byte) in text.as_bytes().iter().enumerate().skip(start) {
            state = dfa.next_state(state, byte);
            if dfa.is_match_state(state) {
                found = Some(at);
            } else if dfa.is_dead_state(state) {
                meter.work((at - start) as u64)?;
                return Ok(found);
            }
        }
        meter.work((text.len() - start) as u64)?;
        Ok(if dfa.is_match_state(dfa.next_eoi_state(state)) { Some(text.len()) } else { found })
    }

    /// Whether the whole text is a match.
    ///
    /// # Errors
    /// When the text is too long for one request.
    pub(super) fn is_whole(&self, text: &str, meter: &Meter) -> Result<bool> {
        Ok(self.end(text, 0, meter)? == Some(text.len()))
    }
}

impl<'t> Search<'_, 't> {
    /// The first match at or behind a place: where it begins, and its text.
    ///
    /// # Errors
    /// When the request takes too many steps.
    pub(super) fn next(&self, from: usize, meter: &Meter) -> Result<Option<(usize, &'t str)>> {
        let marked = self.starts.iter().enumerate().skip(from);
        for (start, _) in marked.filter(|(start, marked)| **marked && self.text.is_char_boundary(*start)) {
            if let Some(end) = self.expression.end(self.text, start, meter)?
                && let Some(found) = self.text.get(start..end)
            {
                return Ok(Some((start, found)));
            }
        }
        Ok(None)
    }
}

/// A word for why an expression is refused.
type Translated<T> = std::result::Result<T, String>;

/// RE2's syntax in that of `regex-syntax`.
fn translate(pattern: &str) -> Translated<String> {
    let mut chars = pattern.chars().peekable();
    let mut out = String::with_capacity(pattern.len() * 2);
    while let Some(c) = chars.next() {
        match c {
            '\\' => escape(&mut chars, &mut out)?,
            '[' => class(&mut chars, &mut out)?,
            '(' => group(&mut chars, &mut out)?,
            '{' => match repetition(chars.clone())? {
                Some(length) => {
                    out.push('{');
                    out.extend(chars.by_ref().take(length));
                }
                None => out.push_str("\\{"),
            },
            '}' | ']' => literal(c, &mut out),
            _ => out.push(c),
        }
    }
    Ok(out)
}

/// A character that stands for itself.
fn literal(c: char, out: &mut String) {
    if c.is_alphanumeric() {
        out.push(c);
    } else {
        out.push_str(&format!("\\x{{{:x}}}", u32::from(c)));
    }
}

/// How many characters behind `{` say how often; `None` when it is a brace like any other.
fn repetition(mut rest: Peekable<Chars<'_>>) -> Translated<Option<usize>> {
    let (mut length, mut digits, mut comma) = (0, String::new(), false);
    let fits = |digits: &str| match digits.parse::<u32>() {
        Ok(count) if count <= REPEAT_MAX => Ok(()),
        _ => Err(format!("repeats more than {REPEAT_MAX} times")),
    };
    loop {
        length += 1;
        match rest.next() {
            Some(digit) if digit.is_ascii_digit() => digits.push(digit),
            Some(',') if !comma && !digits.is_empty() => {
                fits(&digits)?;
                comma = true;
                digits.clear();
            }
            Some('}') if !digits.is_empty() || comma => {
                if !digits.is_empty() {
                    fits(&digits)?;
                }
                return Ok(Some(length));
            }
            _ => return Ok(None),
        }
    }
}

/// What stands behind `(`: nothing, a name, or flags that RE2 knows.
fn group(chars: &mut Peekable<Chars<'_>>, out: &mut String) -> Translated<()> {
    out.push('(');
    if chars.next_if_eq(&'?').is_none() {
        return Ok(());
    }
    out.push('?');
    if chars.peek() == Some(&'P') || chars.peek() == Some(&'<') {
        // A name; `(?<=` and `(?P=` look back and are refused by the reader.
        return Ok(());
    }
    for flag in chars.by_ref() {
        match flag {
            'i' | 'm' | 's' | 'U' | '-' => out.push(flag),
            ':' | ')' => {
                out.push(flag);
                return Ok(());
            }
            _ => return Err(format!("has `(?{}`, which RE2 does not take", shown(&flag.to_string()))),
        }
    }
    Err("ends within a group".to_owned())
}

/// The classes that have a letter, within brackets; and whether they are turned round.
fn named(letter: char) -> Option<(&'static str, bool)> {
    Some(match letter {
        'd' | 'D' => ("0-9", letter == 'D'),
        'w' | 'W' => ("0-9A-Za-z_", letter == 'W'),
        's' | 'S' => ("\\t\\n\\x0c\\r\\x20", letter == 'S'),
        _ => return None,
    })
}

/// What stands behind `\` outside of a class.
fn escape(chars: &mut Peekable<Chars<'_>>, out: &mut String) -> Translated<()> {
    let &letter = chars.peek().ok_or("ends in a backslash")?;
    if let Some((inner, turned)) = named(letter) {
        chars.next();
        out.push_str(if turned { "[^" } else { "[" });
        out.push_str(inner);
        out.push(']');
        return Ok(());
    }
    match letter {
        'b' | 'B' => out.push_str(if letter == 'b' { "(?-u:\\b)" } else { "(?-u:\\B)" }),
        'A' | 'z' => {
            out.push('\\');
            out.push(letter);
        }
        'p' | 'P' => return property(chars, out),
        'Q' => {
            chars.next();
            while let Some(c) = chars.next() {
                if c == '\\' && chars.next_if_eq(&'E').is_some() {
                    return Ok(());
                }
                literal(c, out);
            }
            return Ok(());
        }
        _ => {
            literal(character(chars)?, out);
            return Ok(());
        }
    }
    chars.next();
    Ok(())
}

/// A Unicode property, `\pL` or `\p{Greek}` or `\p{^Greek}`.
fn property(chars: &mut Peekable<Chars<'_>>, out: &mut String) -> Translated<()> {
    let mut turned = chars.next() == Some('P');
    let mut name = String::new();
    match chars.next() {
        Some('{') => {
            turned ^= chars.next_if_eq(&'^').is_some();
            loop {
                match chars.next() {
                    Some('}') => break,
                    Some(c) if c.is_ascii_alphanumeric() || c == '_' => name.push(c),
                    _ => return Err("has a property without a name".to_owned()),
                }
            }
        }
        Some(letter) if letter.is_ascii_alphabetic() => name.push(letter),
        _ => return Err("has a property without a name".to_owned()),
    }
    out.push_str(if turned { "\\P{" } else { "\\p{" });
    out.push_str(&name);
    out.push('}');
    Ok(())
}

/// The one character that an escape stands for.
fn character(chars: &mut Peekable<Chars<'_>>) -> Translated<char> {
    let letter = chars.next().ok_or("ends in a backslash")?;
    let code = |code: u32| char::from_u32(code).ok_or_else(|| "names a character that is none".to_owned());
    match letter {
        'a' => Ok('\x07'),
        'f' => Ok('\x0c'),
        't' => Ok('\t'),
        'n' => Ok('\n'),
        'r' => Ok('\r'),
        'v' => Ok('\x0b'),
        'x' => {
            let mut digits = String::new();
            if chars.next_if_eq(&'{').is_some() {
                while let Some(digit) = chars.next_if(char::is_ascii_hexdigit) {
                    digits.push(digit);
                }
                if chars.next() != Some('}') {
                    return Err("has `\\x{` without an end".to_owned());
                }
            } else {
                digits.extend(chars.by_ref().take(2));
            }
            u32::from_str_radix(&digits, 16).map_err(|_| "has `\\x` without a number".to_owned()).and_then(code)
        }
        // One digit but 0 would be what a group found.
        '1'..='7' if !matches!(chars.peek(), Some('0'..='7')) => Err(format!("has `\\{letter}`, which RE2 does not take")),
        '0'..='7' => {
            let mut value = letter.to_digit(8).unwrap_or(0);
            for _ in 0..2 {
                let Some(digit) = chars.next_if(|c| matches!(c, '0'..='7')) else { break };
                value = value * 8 + digit.to_digit(8).unwrap_or(0);
            }
            code(value)
        }
        _ if letter.is_ascii_punctuation() || letter == ' ' => Ok(letter),
        _ => Err(format!("has `\\{}`, which RE2 does not take", shown(&letter.to_string()))),
    }
}

/// What stands between brackets, written without anything that could be read as a class in a class.
fn class(chars: &mut Peekable<Chars<'_>>, out: &mut String) -> Translated<()> {
    let end = || "ends within brackets".to_owned();
    out.push('[');
    if chars.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    let mut first = true;
    loop {
        let &c = chars.peek().ok_or_else(end)?;
        if c == ']' && !first {
            chars.next();
            out.push(']');
            return Ok(());
        }
        first = false;
        let mut rest = chars.clone();
        rest.next();
        let behind = rest.peek().copied();
        match (c, behind) {
            ('[', Some(':')) => {
                let name: String = rest.skip(1).take_while(|&c| c != ':').collect();
                chars.by_ref().take(name.chars().count() + 3).for_each(drop);
                if chars.next() != Some(']') || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'^') {
                    return Err("has `[:` without a name and `:]`".to_owned());
                }
                out.push_str(&format!("[:{name}:]"));
                continue;
            }
            ('\\', Some('p' | 'P')) => {
                chars.next();
                property(chars, out)?;
                continue;
            }
            ('\\', Some(letter)) => {
                if let Some((inner, turned)) = named(letter) {
                    chars.by_ref().take(2).for_each(drop);
                    out.push_str(&if turned { format!("[^{inner}]") } else { inner.to_owned() });
                    continue;
                }
            }
            _ => {}
        }
        let one = |chars: &mut Peekable<Chars<'_>>| match chars.next() {
            Some('\\') => character(chars),
            Some(c) => Ok(c),
            None => Err(end()),
        };
        literal(one(chars)?, out);
        let mut rest = chars.clone();
        if rest.next() == Some('-') && rest.next().is_some_and(|c| c != ']') {
            chars.next();
            out.push('-');
            literal(one(chars)?, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all<'t>(pattern: &str, text: &'t str) -> Vec<&'t str> {
        let (expression, meter) = (Expression::new(pattern).unwrap(), Meter::default());
        let search = expression.search(text, &meter).unwrap();
        let (mut found, mut from) = (Vec::new(), 0);
        while let Some((start, text)) = search.next(from, &meter).unwrap() {
            found.push(text);
            from = start + text.len().max(1);
        }
        found
    }

    #[test]
    fn the_longest_of_the_leftmost_counts() {
        assert_eq!(all("a|ab|abc", "xabcaby"), ["abc", "ab"]);
        assert_eq!(all("(?:a|ab)(?:c|bcd)", "abcd"), ["abcd"]);
        assert_eq!(all("a+?", "aaa"), ["aaa"]);
        assert_eq!(all(r"\b\w\w+\b", "ab, c éa def"), ["ab", "def"]);
        assert_eq!(all("^a|b$", "abab"), ["a", "b"]);
        assert_eq!(all(".", "aé\nb"), ["a", "é", "b"]);
        assert_eq!(all("b*", "abb"), ["", "bb", ""]);
    }

    #[test]
    fn letters_of_classes_are_ascii_and_brackets_hold_no_brackets() {
        assert_eq!(all(r"\w+", "naïve ünder_9"), ["na", "ve", "nder_9"]);
        assert_eq!(all(r"[\W]+", "aé b"), ["é "]);
        assert_eq!(all(r"\s", "a\u{a0}\u{b} b"), [" "]);
        assert_eq!(all(r"[[.&&~~-]+", "a[.&&~--b"), ["[.&&~--"]);
        assert_eq!(all(r"[]a]+", "x]a"), ["]a"]);
        assert_eq!(all(r"[^\]a]+", "x]a"), ["x"]);
        assert_eq!(all(r"[[:alpha:]_]+", "ab_1é"), ["ab_"]);
        assert_eq!(all(r"\p{Greek}+|\pN", "αβ2x"), ["αβ", "2"]);
        assert_eq!(all(r"a{,2}", "a{,2}"), ["a{,2}"]);
        assert_eq!(all(r"a{2}|\x41|\x{42}|\103|\Qa.\E", "aaABCa."), ["aa", "A", "B", "C", "a."]);
        assert_eq!(all("(?i)straße", "STRASSE STRAßE"), ["STRAßE"]);
    }

    #[test]
    fn what_re2_does_not_take_and_what_is_huge_is_refused() {
        for (pattern, words) in [
            (r"(?u)\b\w\w+\b", "`(?u`"),
            (r"(?=a)", "RE2"),
            (r"(?<=a)b", "RE2"),
            (r"(a)\1", r"`\1`"),
            ("a{1001}", "1000 times"),
            ("(((a{1000}){1000}){1000}){1000}", "too large"),
            (r"(?:[ab]{0,20}a[ab]{20}){20}", "too large"),
            (&"(".repeat(1000), "RE2"),
            (&"a".repeat(5000), "longer"),
            ("[~--]", "RE2"),
            ("[a", "brackets"),
            ("a\\", "backslash"),
            ("*", "RE2"),
        ] {
            let error = Expression::new(pattern).unwrap_err();
            assert!(error.message().contains(words), "{} does not say {words}", error.message());
        }
    }
}
