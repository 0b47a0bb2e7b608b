//! `StringConcat`, `StringSplit`, `RegexFullMatch`: the small operators on texts.
//!
//! Next: `../ops/elementwise.rs` for how shapes go together.

use super::super::graph::Inputs;
use super::super::node::Node;
use super::super::ops::{Op, Values, boxed, one};
use super::super::value::{Shape, Value, broadcast, stretched, strides};
use super::expression::Expression;
use crate::error::Result;

#[derive(Debug)]
struct StringConcat;

impl Op for StringConcat {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let (a, b) = (inputs.get(0)?, inputs.get(1)?);
        let (left, right) = (a.list::<Box<str>>()?, b.list::<Box<str>>()?);
        let shape = broadcast(a.shape, b.shape)?;
        let size = inputs.meter.size(&shape)?;
        let longest = |list: &[Box<str>]| list.iter().map(|text| text.len()).max().unwrap_or(0);
        inputs.meter.text(size, size.saturating_mul(longest(left).saturating_add(longest(right))))?;
        let (own, from_left, from_right) = (strides(&shape), stretched(a.shape, &shape), stretched(b.shape, &shape));
        let place = |at: usize, steps: &Shape| -> usize {
            own.iter().zip(&shape).zip(steps).map(|((&own, &side), &step)| at / own.max(1) % side.max(1) * step).sum()
        };
        let text = |list: &[Box<str>], at: usize| list.get(at).cloned().unwrap_or_default();
        let made = (0..size).map(|at| (String::from(text(left, place(at, &from_left))) + &text(right, place(at, &from_right))).into());
        one(Value::new(shape.clone(), made.collect::<Vec<Box<str>>>()))
    }
}

#[derive(Debug)]
struct StringSplit {
    /// Between the parts; any run of white space when empty.
    delimiter: Box<str>,
    /// The most cuts.
    most: usize,
}

impl StringSplit {
    fn parts<'t>(&self, text: &'t str) -> Vec<&'t str> {
        if text.is_empty() {
            return Vec::new();
        }
        if !self.delimiter.is_empty() {
            return text.splitn(self.most.saturating_add(1), &*self.delimiter).collect();
        }
        let (mut parts, mut rest) = (Vec::new(), text.trim_ascii_start());
        while !rest.is_empty() {
            let end = rest.find(|c: char| c.is_ascii_whitespace()).filter(|_| parts.len() < self.most);
            let (part, behind) = end.and_then(|end| rest.split_at_checked(end)).unwrap_or((rest, ""));
            parts.push(part);
            rest = behind.trim_ascii_start();
        }
        parts
    }
}

impl Op for StringSplit {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let x = inputs.get(0)?;
        let texts = x.list::<Box<str>>()?;
        let (mut rows, mut total) = (Vec::with_capacity(texts.len()), 0usize);
        for text in texts {
            inputs.meter.work(text.len() as u64)?;
            let parts = self.parts(text);
            total += parts.len();
            inputs.meter.size(&[total])?;
            rows.push(parts);
        }
        let width = rows.iter().map(Vec::len).max().unwrap_or(0);
        let mut shape: Shape = x.shape.into();
        shape.push(width);
        let size = inputs.meter.size(&shape)?;
        inputs.meter.text(size, texts.iter().map(|text| text.len()).sum())?;
        let counts: Vec<i64> = rows.iter().map(|parts| parts.len() as i64).collect();
        let mut made: Vec<Box<str>> = Vec::with_capacity(size);
        for (row, parts) in rows.into_iter().enumerate() {
            made.extend(parts.into_iter().map(Box::<str>::from));
            made.resize((row + 1) * width, Box::default());
        }
        Ok([Value::new(shape, made), Value::new(x.shape, counts)].into_iter().collect())
    }
}

#[derive(Debug)]
struct RegexFullMatch(Expression);

impl Op for RegexFullMatch {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let x = inputs.get(0)?;
        inputs.meter.size(x.shape)?;
        let whole = x.list::<Box<str>>()?.iter().map(|text| self.0.is_whole(text, inputs.meter));
        one(Value::new(x.shape, whole.collect::<Result<Vec<bool>>>()?))
    }

    fn weight(&self) -> usize {
        size_of::<Self>() + self.0.weight()
    }
}

pub(super) fn parse(name: &str, node: &Node<'_>) -> Result<Option<Box<dyn Op>>> {
    match name {
        "StringConcat" => boxed(StringConcat),
        "StringSplit" => {
            let most = node.attribute("maxsplit").map_or(usize::MAX, |most| usize::try_from(most.i).unwrap_or(usize::MAX));
            boxed(StringSplit { delimiter: node.text("delimiter", "")?.into(), most })
        }
        "RegexFullMatch" => boxed(RegexFullMatch(Expression::new(node.text("pattern", "")?)?)),
        _ => return Ok(None),
    }
    .map(Some)
}
