//! Text patterns with `*`, `?`, literals and policy variables, compiled once and matched in one pass.
//!
//! `*` is any run of characters, empty and `/` included, `?` one character, the whole text must match. Matching
//! keeps one point of return (the latest `*`), so its time is bounded by text × `?` and, for the usual pattern of
//! literals, variables and stars, by text + pattern; `document.rs` bounds the `?` of a document, and who fills a context
//! its texts. A variable's value is literal text: its `*` is no wildcard. Next: `condition.rs` and `statement.rs`, which
//! compare with these.

use std::borrow::Cow;

use super::context::{Context, Key, TAG};
use crate::error::{Error, Result};
use crate::names::shown;

/// How the pattern's letters compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    Exact,
    /// ASCII letters without case: the caller hands over text already lowered; the pattern is when compiled.
    Lowered,
    /// As lowered, for all of Unicode.
    Folded,
}

/// What the syntax of a value allows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Syntax {
    pub(super) wildcards: bool,
    /// `${…}` is read; in documents of version 2008-10-17 it is plain text.
    pub(super) variables: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Literal(Box<str>),
    One,
    Many,
    Variable { key: Key, default: Option<Box<str>> },
}

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pattern {
    shape: Shape,
    case: Case,
}

/// The common shapes apart, because a principal may carry a thousand of them.
#[derive(Debug, Clone, PartialEq)]
enum Shape {
    Any,
    Exact(Box<str>),
    /// A literal, then one `*`.
    Prefix(Box<str>),
    Glob(Box<[Token]>),
    /// Has variables; they are put in at each match.
    Template(Box<[Token]>),
}

impl Case {
    fn apply(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::Exact => Cow::Borrowed(text),
            Self::Lowered => Cow::Owned(text.to_ascii_lowercase()),
            Self::Folded => Cow::Owned(text.to_lowercase()),
        }
    }
}

impl Pattern {
    /// Compiles `text`.
    ///
    /// # Errors
    /// When a `${` is not closed or names nothing.
    pub(super) fn compile(text: &str, syntax: Syntax, case: Case) -> Result<Self> {
        let tokens = tokens(&case.apply(text), syntax)?;
        let shape = match tokens.as_slice() {
            [] => Shape::Exact("".into()),
            [Token::Many] => Shape::Any,
            [Token::Literal(literal)] => Shape::Exact(literal.clone()),
            [Token::Literal(literal), Token::Many] => Shape::Prefix(literal.clone()),
            _ if tokens.iter().any(|token| matches!(token, Token::Variable { .. })) => Shape::Template(tokens.into()),
            _ => Shape::Glob(tokens.into()),
        };
        Ok(Self { shape, case })
    }

    /// Whether `text` matches. A variable without a single value makes it match nothing.
    pub(super) fn matches(&self, text: &str, context: &Context<'_>) -> bool {
        match &self.shape {
            Shape::Any => true,
            Shape::Exact(literal) => literal.as_ref() == text,
            Shape::Prefix(literal) => text.as_bytes().starts_with(literal.as_bytes()),
            Shape::Glob(tokens) => matches(tokens, text),
            Shape::Template(tokens) => self.filled(tokens, context, text.len()).is_some_and(|tokens| matches(&tokens, text)),
        }
    }

    /// The literal every match begins with; empty when there is none.
    pub(super) fn head(&self) -> &str {
        match &self.shape {
            Shape::Any => "",
            Shape::Exact(literal) | Shape::Prefix(literal) => literal,
            Shape::Glob(tokens) | Shape::Template(tokens) => match tokens.first() {
                Some(Token::Literal(literal)) => literal,
                _ => "",
            },
        }
    }

    /// `tokens` with values for the variables, and literals that touch made one: each would be a step back to the star.
    /// `None` when a variable has no single value, or when what is literal is already longer than the `most` bytes of
    /// the text.
    fn filled(&self, tokens: &[Token], context: &Context<'_>, most: usize) -> Option<Vec<Token>> {
        let (mut out, mut literal, mut length) = (Vec::with_capacity(tokens.len().min(16)), String::new(), 0);
        for token in tokens {
            match token {
                Token::Literal(text) => literal.push_str(text),
                Token::Variable { key, default } => literal.push_str(&self.case.apply(&value(key, default.as_deref(), context)?)),
                Token::One | Token::Many => {
                    length += literal.len();
                    flush(&mut literal, &mut out);
                    out.push(token.clone());
                }
            }
            if length + literal.len() > most {
                return None;
            }
        }
        flush(&mut literal, &mut out);
        Some(out)
    }

    /// The pattern cut at its first `count - 1` colons after variables are put in, each piece matched against its piece
    /// of `parts`; how ARNs compare.
    pub(super) fn matches_parts(&self, parts: &[&str; 6], context: &Context<'_>) -> bool {
        let tokens: Vec<Token> = match &self.shape {
            Shape::Any => return true,
            Shape::Exact(literal) => vec![Token::Literal(literal.clone())],
            Shape::Prefix(literal) => vec![Token::Literal(literal.clone()), Token::Many],
            Shape::Glob(tokens) => tokens.to_vec(),
            Shape::Template(tokens) => match self.filled(tokens, context, parts.iter().map(|part| part.len() + 1).sum()) {
                Some(tokens) => tokens,
                None => return false,
            },
        };
        let mut pieces: Vec<Vec<Token>> = vec![Vec::new()];
        for token in tokens {
            let Token::Literal(literal) = token else {
                if let Some(last) = pieces.last_mut() {
                    last.push(token);
                }
                continue;
            };
            let mut rest = literal.as_ref();
            while pieces.len() < parts.len() {
                let Some((piece, tail)) = rest.split_once(':') else { break };
                if let Some(last) = pieces.last_mut() {
                    last.push(Token::Literal(piece.into()));
                }
                pieces.push(Vec::new());
                rest = tail;
            }
            if let Some(last) = pieces.last_mut() {
                last.push(Token::Literal(rest.into()));
            }
        }
        pieces.len() == parts.len() && pieces.iter().zip(parts).all(|(piece, part)| matches(piece, part))
    }
}

/// A variable's value.
fn value<'a>(key: &Key, default: Option<&'a str>, context: &'a Context<'_>) -> Option<Cow<'a, str>> {
    match (context.values(key), default) {
        ([value], _) => Some(value.text()),
        (_, Some(default)) => Some(Cow::Borrowed(default)),
        _ => None,
    }
}

/// Ends a literal that was gathered.
fn flush(literal: &mut String, out: &mut Vec<Token>) {
    if !literal.is_empty() {
        out.push(Token::Literal(std::mem::take(literal).into()));
    }
}

fn tokens(text: &str, syntax: Syntax) -> Result<Vec<Token>> {
    let mut out = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        if syntax.variables && rest.starts_with("${") {
            let inner = rest.get(2..).unwrap_or_default();
            let (token, used) = variable(inner)?;
            match token {
                Token::Literal(plain) => literal.push_str(&plain),
                token => {
                    flush(&mut literal, &mut out);
                    out.push(token);
                }
            }
            rest = inner.get(used..).unwrap_or_default();
            continue;
        }
        match character {
            '*' if syntax.wildcards => {
                flush(&mut literal, &mut out);
                out.push(Token::Many);
            }
            '?' if syntax.wildcards => {
                flush(&mut literal, &mut out);
                out.push(Token::One);
            }
            plain => literal.push(plain),
        }
        rest = rest.get(character.len_utf8()..).unwrap_or_default();
    }
    flush(&mut literal, &mut out);
    Ok(out)
}

/// Reads what follows `${`: one of the three escapes, or a key with an optional `, 'default'`. Returns the bytes used.
fn variable(inner: &str) -> Result<(Token, usize)> {
    for escape in ["*", "?", "$"] {
        if inner.strip_prefix(escape).is_some_and(|rest| rest.starts_with('}')) {
            return Ok((Token::Literal(escape.into()), 2));
        }
    }
    let unclosed =
        || Error::invalid(format!("`${{{}` is not closed; a policy variable reads `${{key}}` or `${{key, 'default'}}`", shown(inner)));
    let end = inner.find(['}', ',']).ok_or_else(unclosed)?;
    let name = inner.get(..end).unwrap_or_default().trim();
    // Tags may be named in any script, with blanks between words.
    let is_tag = name.get(..TAG.len()).is_some_and(|head| head.eq_ignore_ascii_case(TAG));
    let may_be = |c: char| c.is_ascii_graphic() || (is_tag && (c == ' ' || c.is_alphanumeric()));
    let valid = !name.is_empty() && name.chars().all(|c| may_be(c) && !"*?${'\"".contains(c));
    if !valid {
        return Err(Error::invalid(format!("`${{{}` names no condition key", shown(name))));
    }
    let key = Key::new(name);
    let tail = inner.get(end..).unwrap_or_default();
    if tail.starts_with('}') {
        return Ok((Token::Variable { key, default: None }, end + 1));
    }
    let quoted = tail.strip_prefix(',').unwrap_or_default();
    let skipped = quoted.len() - quoted.trim_start_matches(' ').len();
    let body = quoted.trim_start_matches(' ').strip_prefix('\'').ok_or_else(unclosed)?;
    let close = body.find('\'').ok_or_else(unclosed)?;
    let default = body.get(..close).unwrap_or_default();
    let after = body.get(close + 1..).unwrap_or_default();
    let spaces = after.len() - after.trim_start_matches(' ').len();
    if !after.trim_start_matches(' ').starts_with('}') {
        return Err(unclosed());
    }
    let used = end + 1 + skipped + 1 + close + 1 + spaces + 1;
    Ok((Token::Variable { key, default: Some(default.into()) }, used))
}

/// Greedy match with one point of return. After a `*`, a literal is searched for rather than tried at every place.
fn matches(tokens: &[Token], text: &str) -> bool {
    let mut token = 0;
    let mut rest = text;
    let mut resume: Option<(usize, &str)> = None;
    loop {
        let advanced = match tokens.get(token) {
            None if rest.is_empty() => return true,
            None => None,
            Some(Token::Many) => {
                if token + 1 == tokens.len() {
                    return true;
                }
                resume = Some((token + 1, rest));
                Some(rest)
            }
            Some(Token::One) => rest.chars().next().and_then(|character| rest.get(character.len_utf8()..)),
            Some(Token::Literal(literal)) => match resume {
                // Right after the star: go to the first place the literal stands at, or nowhere.
                Some((after, from)) if after == token => match find(from, literal) {
                    Some(at) => {
                        resume = Some((after, from.get(at..).unwrap_or_default()));
                        from.get(at + literal.len()..)
                    }
                    None => return false,
                },
                _ => rest.strip_prefix(literal.as_ref()),
            },
            Some(Token::Variable { .. }) => return false,
        };
        if let Some(after) = advanced {
            rest = after;
            token += 1;
            continue;
        }
        let Some((after, from)) = resume else { return false };
        let Some(next) = from.chars().next().and_then(|character| from.get(character.len_utf8()..)) else { return false };
        resume = Some((after, next));
        token = after;
        rest = next;
    }
}

/// Where `needle` first stands, in time by their lengths whatever they are.
fn find(text: &str, needle: &str) -> Option<usize> {
    memchr::memmem::find(text.as_bytes(), needle.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn like(pattern: &str, text: &str) -> bool {
        let syntax = Syntax { wildcards: true, variables: true };
        Pattern::compile(pattern, syntax, Case::Exact).unwrap().matches(text, &Context::new())
    }

    #[test]
    fn wildcards_match_whole_texts() {
        for (pattern, text) in [
            ("*", ""),
            ("a*", "a"),
            ("a*c", "abbc"),
            ("*a*b*", "xxaxxbxx"),
            ("a?c", "a\u{e9}c"),
            ("a${*}b", "a*b"),
            ("*?x", "abx"),
            ("*ab?d*ef", "ababcdef"),
            ("*aab", "aaab"),
        ] {
            assert!(like(pattern, text), "{pattern} should match {text}");
        }
        assert_eq!((find("abc", ""), find("aab", "ab"), find("a", "b")), (Some(0), Some(1), None));
        for (pattern, text) in [("", "a"), ("a", "A"), ("a?", "a"), ("a${*}b", "axb"), ("*a", "ab"), ("a*b", "ab/c"), ("*ab", "aba")] {
            assert!(!like(pattern, text), "{pattern} should not match {text}");
        }
    }

    #[test]
    fn a_nasty_pattern_is_not_exponential() {
        let text = "a".repeat(2000);
        assert!(!like(&format!("{}b", "a*".repeat(200)), &text));
        assert!(!like(&format!("{}b", "*?a".repeat(200)), &text));
    }

    #[test]
    fn variables_that_touch_are_one_literal_and_no_longer_than_the_text() {
        let syntax = Syntax { wildcards: true, variables: true };
        let pattern = Pattern::compile(&format!("*{}?${{k}}", "a${k}${none, ''}".repeat(1000)), syntax, Case::Exact).unwrap();
        let Shape::Template(tokens) = &pattern.shape else { panic!("{pattern:?}") };
        let mut context = Context::new();
        context.set("k", vec!["b".into()]);
        let filled = [Token::Many, Token::Literal("ab".repeat(1000).into()), Token::One, Token::Literal("b".into())];
        assert_eq!(pattern.filled(tokens, &context, 2001).unwrap(), filled);
        assert_eq!(pattern.filled(tokens, &context, 2000), None);
        assert!(pattern.matches(&format!("x{}?b", "ab".repeat(1000)), &context));
        context.set("k", vec!["b".repeat(2000).into()]);
        assert_eq!(pattern.filled(tokens, &context, 2000), None);
    }

    #[test]
    fn variables_are_literal_text() {
        let syntax = Syntax { wildcards: true, variables: true };
        let pattern = Pattern::compile("home/${aws:username, 'no one'}/*", syntax, Case::Exact).unwrap();
        let mut context = Context::new();
        assert!(pattern.matches("home/no one/x", &context));
        context.set("aws:username", vec!["a*".into()]);
        assert!(pattern.matches("home/a*/x", &context));
        assert!(!pattern.matches("home/abc/x", &context));
        for bad in ["${", "${}", "${a", "${a, b}", "${a, 'b}", "${a*}"] {
            assert!(Pattern::compile(bad, syntax, Case::Exact).is_err(), "{bad}");
        }
    }
}
