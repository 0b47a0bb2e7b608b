//! A first look over a long list of patterns: which of them could match a text at all, by the literal they begin with.
//!
//! A principal may carry a thousand statements that differ in the target model alone. Each list keeps the hash of every
//! pattern's literal beginning side by side; one running hash of the text then passes over all but a few without
//! touching them. It only ever leaves out what cannot match; the full comparison decides. Next: `document.rs` and
//! `condition.rs`, whose lists use it.

/// Beginnings are told apart by this many bytes.
const LONGEST: usize = 64;
/// A shorter list is walked as it is.
const WORTH: usize = 8;

/// The beginnings of a list's patterns, in its order; nothing for a list too short to be worth it.
#[derive(Debug, Clone)]
pub(super) struct Heads(Box<[Head]>);

/// `length` 0 is the beginning of every text.
#[derive(Debug, Clone, Copy)]
struct Head {
    length: usize,
    hash: u32,
}

/// A text, seen through the hashes of all its beginnings.
#[derive(Debug)]
pub(super) struct Look([u32; LONGEST + 1]);

/// FNV-1a (Fowler, Noll, Vo), whose value after each byte is the hash of the text so far. A collision costs a comparison.
const BASIS: u32 = 0x811c_9dc5;

fn step(hash: u32, byte: u8) -> u32 {
    (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
}

impl Heads {
    /// Of the literals that the list's patterns begin with; empty where one begins with something else.
    pub(super) fn new<'a>(literals: impl ExactSizeIterator<Item = &'a str>) -> Self {
        if literals.len() < WORTH {
            return Self(Box::default());
        }
        let head = |literal: &str| {
            let length = literal.len().min(LONGEST);
            Head { length, hash: literal.bytes().take(length).fold(BASIS, step) }
        };
        Self(literals.map(head).collect())
    }

    /// Whether there is anything to look at.
    pub(super) fn worth(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether the pattern at `index` could match the text of `look`.
    #[inline]
    pub(super) fn could(&self, index: usize, look: &Look) -> bool {
        self.0.get(index).is_none_or(|head| look.0.get(head.length) == Some(&head.hash))
    }
}

impl Look {
    pub(super) fn new(text: &str) -> Self {
        // Beyond the text's end any value does: a pattern that long fails the full comparison.
        let (mut hashes, mut hash) = ([0; LONGEST + 1], BASIS);
        let (first, rest) = hashes.split_first_mut().map_or((None, [].as_mut_slice()), |(first, rest)| (Some(first), rest));
        if let Some(first) = first {
            *first = BASIS;
        }
        for (place, byte) in rest.iter_mut().zip(text.bytes()) {
            hash = step(hash, byte);
            *place = hash;
        }
        Self(hashes)
    }
}

/// What all of `texts` begin with.
pub(super) fn common<'a>(mut texts: impl Iterator<Item = &'a str>) -> &'a str {
    let first = texts.next().unwrap_or_default();
    let shared = texts.fold(first.len(), |shared, text| {
        let same = first.bytes().zip(text.bytes()).take_while(|(a, b)| a == b).count();
        shared.min(same)
    });
    // A cut inside a character goes back to its start.
    first.get(..first.floor_char_boundary(shared)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_out_only_what_cannot_match() {
        let long = "x".repeat(200);
        let literals = ["", "a", "ab", "abc", "b", "ac", &long, "\u{e9}"];
        let heads = Heads::new(literals.iter().copied());
        for text in ["", "a", "abc", "abcd", "ax", &long, "xx", "\u{e9}t\u{e9}"] {
            let look = Look::new(text);
            for (index, literal) in literals.iter().enumerate() {
                if text.starts_with(literal) {
                    assert!(heads.could(index, &look), "{literal} of {text}");
                }
            }
        }
        let left = (0..literals.len()).filter(|&index| heads.could(index, &Look::new("abx"))).count();
        assert_eq!(left, 3, "of `abx` only ``, `a` and `ab` are beginnings");
        assert!(!Heads::new(literals.iter().copied().take(7)).worth());
    }

    #[test]
    fn common_beginnings() {
        for (texts, expected) in
            [(&["abc", "abd"] as &[&str], "ab"), (&["abc"], "abc"), (&[], ""), (&["\u{e9}", "\u{e8}"], ""), (&["a", ""], "")]
        {
            assert_eq!(common(texts.iter().copied()), expected);
        }
    }
}
