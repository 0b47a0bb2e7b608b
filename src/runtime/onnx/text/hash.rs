//! `MurmurHash3`: texts and whole numbers to 32 bits, what feature hashing becomes.
//!
//! The published algorithm, its form of 32 bits. Next: `strings.rs`.

use super::super::graph::Inputs;
use super::super::node::Node;
use super::super::ops::{Op, Values, boxed, one};
use super::super::value::{Value, View, wrong_type};
use crate::error::Result;

#[derive(Debug)]
struct MurmurHash3 {
    seed: u32,
    /// Whether the bits are a number without a sign, which needs 64 bits here.
    positive: bool,
}

/// Murmur hash 3, x86, 32 bits.
fn murmur(bytes: &[u8], seed: u32) -> u32 {
    let scramble = |block: u32| block.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let blocks = bytes.chunks_exact(4);
    let rest = blocks.remainder().iter().rev().fold(0u32, |sum, &byte| sum << 8 | u32::from(byte));
    let mut hash = seed;
    for block in blocks {
        let block = block.try_into().map(u32::from_le_bytes).unwrap_or_default();
        hash = (hash ^ scramble(block)).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    hash ^= scramble(rest);
    hash ^= bytes.len() as u32;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

impl Op for MurmurHash3 {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let x = inputs.get(0)?;
        inputs.meter.size(x.shape)?;
        let hashes: Vec<u32> = match x.data {
            View::Text(list) => {
                inputs.meter.work(list.iter().map(|text| text.len() as u64).sum())?;
                list.iter().map(|text| murmur(text.as_bytes(), self.seed)).collect()
            }
            View::I32(list) => list.iter().map(|x| murmur(&x.to_le_bytes(), self.seed)).collect(),
            View::I64(list) => list.iter().map(|x| murmur(&x.to_le_bytes(), self.seed)).collect(),
            View::F32(list) => list.iter().map(|x| murmur(&x.to_le_bytes(), self.seed)).collect(),
            View::F64(list) => list.iter().map(|x| murmur(&x.to_le_bytes(), self.seed)).collect(),
            other => return Err(wrong_type(other)),
        };
        one(if self.positive {
            Value::new(x.shape, hashes.into_iter().map(i64::from).collect::<Vec<_>>())
        } else {
            Value::new(x.shape, hashes.into_iter().map(|x| x as i32).collect::<Vec<_>>())
        })
    }
}

pub(super) fn parse(name: &str, node: &Node<'_>) -> Result<Option<Box<dyn Op>>> {
    if name != "MurmurHash3" {
        return Ok(None);
    }
    boxed(MurmurHash3 { seed: node.int("seed", 0) as u32, positive: node.int("positive", 1) != 0 }).map(Some)
}

#[cfg(test)]
mod tests {
    use super::murmur;

    #[test]
    fn hashes_are_those_that_are_published() {
        for (text, seed, hash) in [
            ("", 0, 0),
            ("", 1, 0x514e_28b7),
            ("test", 0, 0xba6b_d213),
            ("Hello, world!", 0, 0xc036_3e43),
            ("The quick brown fox jumps over the lazy dog", 0x9747_b28c, 0x2fa8_26cd),
        ] {
            assert_eq!(murmur(text.as_bytes(), seed), hash, "{text}");
        }
    }
}
