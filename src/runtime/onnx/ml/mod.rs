//! The classical operators of domain `ai.onnx.ml`, and what they share: labels and post-transforms.
//!
//! Where the specification is silent the answers are those of onnxruntime. Next: `linear.rs` for the simplest model.

mod encode;
mod linear;
mod scale;
mod svm;
mod tree;
mod tree_newest;
mod tree_raw;
mod tree_wide;

pub(super) use self::tree::{is_idle, is_of_trees};

use super::meter::Meter;
use super::node::Node;
use super::ops::{Op, vector};
use super::value::{Shape, Value};
use crate::error::{Error, Result};

/// The operator of a name.
pub(super) fn parse(name: &str, node: &Node<'_>) -> Result<Option<Box<dyn Op>>> {
    type Family = fn(&str, &Node<'_>) -> Result<Option<Box<dyn Op>>>;
    const FAMILIES: [Family; 5] = [linear::parse, scale::parse, encode::parse, tree::parse, svm::parse];
    for family in FAMILIES {
        if let Some(op) = family(name, node)? {
            return Ok(Some(op));
        }
    }
    Ok(None)
}

/// The classes of a classifier.
#[derive(Debug)]
enum Labels {
    Ints(Vec<i64>),
    Texts(Vec<Box<str>>),
}

impl Labels {
    /// From a classifier's attributes.
    ///
    /// # Errors
    /// When there are none.
    fn new(node: &Node<'_>) -> Result<Self> {
        let texts = node.texts("classlabels_strings")?;
        if !texts.is_empty() {
            return Ok(Self::Texts(texts));
        }
        let ints = [node.ints("classlabels_ints"), node.ints("classlabels_int64s")].concat();
        if ints.is_empty() { Err(Error::invalid("it has no class labels")) } else { Ok(Self::Ints(ints)) }
    }

    fn len(&self) -> usize {
        match self {
            Self::Ints(list) => list.len(),
            Self::Texts(list) => list.len(),
        }
    }

    /// The labels of places among the classes.
    ///
    /// # Errors
    /// When their texts are more than a request may take.
    fn of(&self, places: &[usize], meter: &Meter) -> Result<Value> {
        let shape: Shape = [places.len()].as_slice().into();
        Ok(match self {
            Self::Ints(list) => Value::new(shape, places.iter().map(|&at| list.get(at).copied().unwrap_or_default()).collect::<Vec<_>>()),
            Self::Texts(list) => Value::new(shape, meter.picked(list, places.iter().copied())?),
        })
    }

    fn weight(&self) -> usize {
        match self {
            Self::Ints(list) => list.len() * 8,
            Self::Texts(list) => list.iter().map(|text| text.len() + 16).sum(),
        }
    }
}

/// What happens to scores at the end.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Post {
    None,
    Logistic,
    Softmax,
    SoftmaxZero,
    Probit,
}

impl Post {
    fn new(node: &Node<'_>) -> Result<Self> {
        Ok(match node.text("post_transform", "NONE")? {
            "NONE" => Self::None,
            "LOGISTIC" => Self::Logistic,
            "SOFTMAX" => Self::Softmax,
            "SOFTMAX_ZERO" => Self::SoftmaxZero,
            "PROBIT" => Self::Probit,
            other => return Err(node.refuse("post_transform", format_args!("is `{}`, which is not known", crate::names::shown(other)))),
        })
    }

    /// By the number that the newest tree operator uses.
    fn numbered(number: i64) -> Option<Self> {
        [Self::None, Self::Softmax, Self::Logistic, Self::SoftmaxZero, Self::Probit].get(usize::try_from(number).ok()?).copied()
    }

    /// Changes one row of several scores.
    fn apply(self, row: &mut [f32]) {
        match self {
            Self::None => {}
            Self::Logistic => row.iter_mut().for_each(|x| *x = logistic(*x)),
            Self::Softmax => vector::softmax(row, row.len().max(1)),
            Self::SoftmaxZero => softmax_zero(row),
            Self::Probit => row.iter_mut().for_each(|x| *x = probit(*x)),
        }
    }
}

fn logistic(x: f32) -> f32 {
    let above = 1.0 / (1.0 + vector::exp(-x.abs()));
    if x < 0.0 { 1.0 - above } else { above }
}

/// Softmax of the scores that are not 0; zeros stay next to nothing.
fn softmax_zero(row: &mut [f32]) {
    let largest = row.iter().copied().fold(f32::MIN, |a, b| if b > a { b } else { a });
    let mut sum = 0.0;
    for x in row.iter_mut() {
        if x.abs() > 1e-7 {
            *x = vector::exp(*x - largest);
            sum += *x;
        } else {
            *x *= vector::exp(-largest);
        }
    }
    row.iter_mut().for_each(|x| *x /= sum);
}

/// The normal distribution's quantile by Winitzki's approximation, the one onnxruntime uses.
fn probit(x: f32) -> f32 {
    let y = 2.0 * x - 1.0;
    let log = ((1.0 - y) * (1.0 + y)).ln();
    let half = 2.0 / (std::f32::consts::PI * 0.147) + 0.5 * log;
    let root = (half * half - log / 0.147).sqrt();
    std::f32::consts::SQRT_2 * (root - half).sqrt() * if y < 0.0 { -1.0 } else { 1.0 }
}

/// How the one score of a two-class model becomes two, by how onnxruntime numbers the cases.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Second {
    /// The other class is what is left to 1.
    Complement,
    /// The other class is the opposite.
    Opposite,
    /// Left as it is.
    Untouched,
}

/// Two scores from one.
fn pair(score: f32, second: Second, post: Post) -> [f32; 2] {
    match (post, second) {
        (Post::Probit, _) => [probit(score), 0.0],
        (Post::Logistic, Second::Complement | Second::Opposite) => [logistic(-score), logistic(score)],
        (_, Second::Complement) => [1.0 - score, score],
        (_, Second::Opposite) => [-score, score],
        (_, Second::Untouched) => [score, 0.0],
    }
}
