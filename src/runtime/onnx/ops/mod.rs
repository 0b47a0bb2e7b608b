//! The operators: one trait, one table of names, a file per family.
//!
//! [`parse`] turns a node into a typed operator and refuses what is not known by name. An operator checks types and
//! shapes each time it runs, because both come with the values. Must not know how a graph is planned. Next:
//! `elementwise.rs` for the plainest family, `../ml/mod.rs` for the classical ones.

pub(crate) mod cast;
mod control;
mod dense;
mod einsum;
mod elementwise;
pub(crate) mod gather;
mod gemm;
mod kernel;
mod layout;
mod logic;
mod neural;
mod norm;
pub(crate) mod product;
mod recurrent;
mod reduce;
mod select;
mod shape;
mod solve;
mod unique;
pub(crate) mod vector;

use smallvec::SmallVec;

use super::graph::{Inputs, Plan};
use super::ml;
use super::node::Node;
use super::text;
use super::value::{Value, View, fault, unserved};
use crate::error::Result;
use crate::names::shown;
use crate::runtime::trees::Ensemble;

/// What an operator gives.
pub(crate) type Values = SmallVec<[Value; 1]>;

/// The attribute by which a prepared graph says that a node's trees lie beside it: `i` is their place.
pub(crate) const FLAT: &str = "rookery_flat_trees";

/// What is done to each value of an array.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Tail {
    /// A constant is added.
    Add,
    /// What is below zero becomes zero.
    Floor,
}

/// A typed operator.
pub(crate) trait Op: Send + Sync + std::fmt::Debug {
    /// Works on one step's arrays.
    ///
    /// # Errors
    /// When types or shapes do not fit, or the request would take too much.
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values>;

    /// Bytes in memory.
    fn weight(&self) -> usize {
        size_of_val(self)
    }

    /// Whether it would give its first input, if of this type, unchanged and nothing else.
    fn passes(&self, _input: View<'_>) -> bool {
        false
    }

    /// Whether it keeps a constant input in a form of its own, so that the plan need not.
    fn keeps(&self, _input: usize) -> bool {
        false
    }

    /// What it does to each value, where that is so plain that the step before can do it on the way.
    fn tail(&self) -> Option<Tail> {
        None
    }

    /// Takes over what the step behind it does with its array and a constant; whether it can.
    fn fuse(&mut self, _tail: Tail, _constant: Option<&Value>) -> bool {
        false
    }

    /// Its trees and what else a prepared form must keep of them.
    fn ensemble(&self) -> Option<(&Ensemble, Vec<i64>)> {
        None
    }
}

/// Stands in a plan that is only checked for an operator that is not had here.
#[derive(Debug)]
pub(crate) struct Assumed;

impl Op for Assumed {
    fn run(&self, _: &mut Inputs<'_, '_>) -> Result<Values> {
        Err(fault("it is not served"))
    }
}

/// An operator as its trait.
pub(crate) fn boxed(op: impl Op + 'static) -> Result<Box<dyn Op>> {
    Ok(Box::new(op))
}

/// One array as an operator's result.
pub(crate) fn one(value: Value) -> Result<Values> {
    Ok(smallvec::smallvec![value])
}

/// The operator of a node.
///
/// # Errors
/// When it is not known or its attributes do not fit.
pub(crate) fn parse(node: &Node<'_>, bodies: Vec<(&str, Plan)>) -> Result<Box<dyn Op>> {
    let name = node.proto.op_type.as_str();
    let found = match node.proto.domain.as_str() {
        "ai.onnx.ml" => ml::parse(name, node)?,
        "" | "ai.onnx" | "com.microsoft" => match name {
            "Scan" | "Loop" | "If" => return control::parse(name, node, bodies),
            _ => core(name, node)?,
        },
        _ => None,
    };
    found.ok_or_else(|| {
        // Whoever reports this says which operator and node it is.
        let domain = if node.proto.domain.is_empty() { "ai.onnx" } else { &node.proto.domain };
        unserved(format!("it is not served (domain `{}`)", shown(domain)))
    })
}

fn core(name: &str, node: &Node<'_>) -> Result<Option<Box<dyn Op>>> {
    type Family = fn(&str, &Node<'_>) -> Result<Option<Box<dyn Op>>>;
    const FAMILIES: [Family; 16] = [
        elementwise::parse,
        cast::parse,
        logic::parse,
        shape::parse,
        gather::parse,
        reduce::parse,
        select::parse,
        gemm::parse,
        neural::parse,
        norm::parse,
        recurrent::parse,
        einsum::parse,
        solve::parse,
        unique::parse,
        layout::parse,
        text::parse,
    ];
    for family in FAMILIES {
        if let Some(op) = family(name, node)? {
            return Ok(Some(op));
        }
    }
    Ok(None)
}
