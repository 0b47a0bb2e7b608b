//! The operators on text: normal case, tokens, counted n-grams, hashes, expressions.
//!
//! What scikit-learn's vectorisers become. Answers are those of onnxruntime, whose expressions are RE2's
//! (`expression.rs`). Next: `tokens.rs`, then `grams.rs`.

mod expression;
mod grams;
mod hash;
mod normal;
mod strings;
mod tokens;

use super::node::Node;
use super::ops::Op;
use crate::error::Result;

/// The operator of a name.
pub(super) fn parse(name: &str, node: &Node<'_>) -> Result<Option<Box<dyn Op>>> {
    type Family = fn(&str, &Node<'_>) -> Result<Option<Box<dyn Op>>>;
    const FAMILIES: [Family; 5] = [normal::parse, tokens::parse, grams::parse, hash::parse, strings::parse];
    for family in FAMILIES {
        if let Some(op) = family(name, node)? {
            return Ok(Some(op));
        }
    }
    Ok(None)
}
