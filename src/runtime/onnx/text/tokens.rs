//! `Tokenizer`: texts to equally long lists of tokens.
//!
//! Tokens are characters, or what an expression finds, or what lies between separators, each an expression applied to
//! what the one before left. Short lists are filled up. Next: `grams.rs`.

use super::super::graph::Inputs;
use super::super::meter::Meter;
use super::super::node::Node;
use super::super::ops::{Op, Values, boxed, one};
use super::super::value::{Shape, Value, fault};
use super::expression::Expression;
use crate::error::{Error, Result};

/// What stands before and behind the tokens of a marked text.
const START: &str = "\u{2}";
const END: &str = "\u{3}";
/// The longest text to fill up with, and the most separators.
const PAD_MAX: usize = 1024;
const SEPARATORS_MAX: usize = 256;

#[derive(Debug)]
enum Cut {
    Characters,
    Found(Box<Expression>),
    Between(Vec<Expression>),
}

#[derive(Debug)]
struct Tokenizer {
    cut: Cut,
    mark: bool,
    pad: Box<str>,
    /// The least characters of a token.
    least: usize,
}

fn next_character(text: &str, at: usize) -> usize {
    at + text.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8)
}

impl Tokenizer {
    fn is_long(&self, text: &str) -> bool {
        !text.is_empty() && (text.len() >= self.least && (self.least == 1 || text.chars().take(self.least).count() == self.least))
    }

    fn tokens<'t>(&self, text: &'t str, meter: &Meter) -> Result<Vec<&'t str>> {
        match &self.cut {
            Cut::Characters => {
                meter.work(text.len() as u64)?;
                Ok(text.char_indices().filter_map(|(at, c)| text.get(at..at + c.len_utf8())).collect())
            }
            Cut::Found(_) if !self.is_long(text) => Ok(Vec::new()),
            Cut::Found(expression) => {
                let search = expression.search(text, meter)?;
                let (mut tokens, mut from) = (Vec::new(), 0);
                while let Some((start, found)) = search.next(from, meter)? {
                    if self.is_long(found) {
                        tokens.push(found);
                        from = start + found.len();
                    } else {
                        from = next_character(text, start);
                    }
                }
                Ok(tokens)
            }
            Cut::Between(separators) => {
                let mut tokens = vec![text];
                for separator in separators {
                    let mut parts = Vec::new();
                    for text in tokens {
                        let search = separator.search(text, meter)?;
                        let mut from = 0;
                        while let Some((start, found)) = search.next(from, meter)? {
                            parts.push(text.get(from..start).unwrap_or_default());
                            from = start + found.len();
                        }
                        parts.push(text.get(from..).unwrap_or_default());
                    }
                    parts.retain(|part| self.is_long(part));
                    tokens = parts;
                }
                Ok(tokens)
            }
        }
    }
}

impl Op for Tokenizer {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let (x, meter) = (inputs.get(0)?, inputs.meter);
        let texts = x.list::<Box<str>>()?;
        if !matches!(x.shape, [_] | [_, _]) {
            return Err(fault(format!("it was handed an array of shape {:?} where it takes a list or matrix of texts", x.shape)));
        }
        let mut shape: Shape = if texts.is_empty() { x.shape.iter().take(x.shape.len() - 1).copied().collect() } else { x.shape.into() };
        let (mut rows, mut total) = (Vec::with_capacity(texts.len()), 0usize);
        for text in texts {
            let tokens = self.tokens(text, meter)?;
            total += tokens.len();
            meter.size(&[total])?;
            rows.push(tokens);
        }
        let most = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = if most == 0 { 0 } else { most + 2 * usize::from(self.mark) };
        shape.push(width);
        let size = meter.size(&shape)?;
        meter.text(size, texts.iter().map(|text| text.len()).sum::<usize>().saturating_add(size.saturating_mul(self.pad.len().max(1))))?;
        let mut made: Vec<Box<str>> = Vec::with_capacity(size);
        for (row, tokens) in rows.into_iter().enumerate().filter(|_| width > 0) {
            if self.mark {
                made.push(START.into());
            }
            made.extend(tokens.into_iter().map(Box::<str>::from));
            if self.mark {
                made.push(END.into());
            }
            made.resize((row + 1) * width, self.pad.clone());
        }
        one(Value::new(shape, made))
    }

    fn weight(&self) -> usize {
        let cut = match &self.cut {
            Cut::Characters => 0,
            Cut::Found(expression) => size_of::<Expression>() + expression.weight(),
            Cut::Between(list) => list.iter().map(|expression| size_of::<Expression>() + expression.weight()).sum(),
        };
        size_of::<Self>() + self.pad.len() + cut
    }
}

pub(super) fn parse(name: &str, node: &Node<'_>) -> Result<Option<Box<dyn Op>>> {
    if name != "Tokenizer" {
        return Ok(None);
    }
    let required = |name: &str| node.attribute(name).map(|_| ()).ok_or_else(|| node.refuse(name, "is missing"));
    required("mark")?;
    required("pad_value")?;
    let least = usize::try_from(node.int("mincharnum", 0)).ok().filter(|&least| least > 0);
    let least = least.ok_or_else(|| node.refuse("mincharnum", "is missing or not positive"))?;
    let pad: Box<str> = node.text("pad_value", "")?.into();
    if pad.len() > PAD_MAX {
        return Err(node.refuse("pad_value", format_args!("is longer than {PAD_MAX} bytes")));
    }
    let separators = node.texts("separators")?;
    let cut = match (separators.as_slice(), node.text("tokenexp", "")?) {
        ([], "") => return Err(Error::invalid("it has neither `separators` nor `tokenexp`")),
        ([], ".") => Cut::Characters,
        ([], expression) => Cut::Found(Expression::new(expression).map_err(|error| error.within("attribute `tokenexp`"))?.into()),
        ([one], _) if one.is_empty() => Cut::Characters,
        (list, _) if list.len() > SEPARATORS_MAX => {
            return Err(node.refuse("separators", format_args!("are more than {SEPARATORS_MAX}")));
        }
        (list, _) => {
            let one = |text: &str| {
                let expression = Expression::new(text)?;
                // What comes of a separator of no length is not defined; onnxruntime loses letters.
                if expression.may_be_nothing() {
                    return Err(Error::invalid(format!("`{}` separates where nothing stands", crate::names::shown(text))));
                }
                Ok(expression)
            };
            let list = list.iter().map(|text| one(text)).collect::<Result<_>>();
            Cut::Between(list.map_err(|error: Error| error.within("attribute `separators`"))?)
        }
    };
    if matches!(cut, Cut::Characters) && least > 1 {
        return Err(node.refuse("mincharnum", "is above 1 where each character is a token"));
    }
    boxed(Tokenizer { cut, mark: node.int("mark", 0) != 0, pad, least }).map(Some)
}
