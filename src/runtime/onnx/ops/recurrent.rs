//! Placeholder.
use super::super::node::Node;
use super::Op;
use crate::error::Result;
pub(super) fn parse(_: &str, _: &Node<'_>) -> Result<Option<Box<dyn Op>>> {
    Ok(None)
}
