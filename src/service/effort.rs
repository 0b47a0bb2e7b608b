//! Whether a prediction is short enough for the thread that takes requests.
//!
//! It is guessed from what is known before anything is read, then from the count of rows. Knows no access and no cache.
//! Next: `invoke.rs`, which asks; `turns.rs`, where what is long waits.

use super::invoke::Ready;
use crate::runtime::pipeline;

/// Work estimated above this leaves the thread, in nanoseconds.
const LONG: u64 = 200_000;
/// What was judged shorter and takes longer than this leaves it all the same.
pub(super) const GIVE_UP: u64 = 4 * LONG;
/// An explained answer takes about so many times as long.
const EXPLAINED: u64 = 50;

/// What a request asks of its models.
#[derive(Clone, Copy)]
pub(super) struct Effort<'a> {
    pub(super) ready: &'a [Ready],
    pub(super) explain: bool,
}

impl Effort<'_> {
    /// Whether a body seems short work.
    pub(super) fn seems_short(self, content_type: Option<&str>, body: &[u8]) -> bool {
        self.fits(self.estimate(content_type, body))
    }

    /// Whether `rows` rows are short work for the models.
    pub(super) fn is_short(self, rows: usize) -> bool {
        self.fits(self.models(rows))
    }

    fn fits(self, nanos: u64) -> bool {
        nanos.saturating_mul(if self.explain { EXPLAINED } else { 1 }) <= LONG
    }

    /// About how long decode, predict and encode take, in nanoseconds.
    fn estimate(self, content_type: Option<&str>, body: &[u8]) -> u64 {
        let columns = self.ready.first().map_or(1, |(_, model)| model.schema().features.max(1));
        // A value takes two bytes at least, and about six as written.
        let rows = (body.len() / (columns * 4)).max(1);
        let dense = body.len() as u64 * 10 + columns as u64 * 2 + self.models(rows);
        // A sparse row spreads over all columns however short it is written.
        let cells = (body.len() / 2).min(pipeline::CELLS_MAX / columns) * columns;
        if cells as u64 > LONG && dense <= LONG && may_be_sparse(content_type, body) { cells as u64 } else { dense }
    }

    /// About how long models and encoder take for `rows`, in nanoseconds.
    fn models(self, rows: usize) -> u64 {
        self.ready.iter().map(|(_, model)| model.cost(rows)).sum::<u64>() + rows as u64 * 20
    }
}

/// Whether rows may leave columns out: libsvm's always, records' often, JSON's only with `keys`, which may be written
/// with escapes.
fn may_be_sparse(content_type: Option<&str>, body: &[u8]) -> bool {
    let is = |word: &str| content_type.is_some_and(|content_type| content_type.to_ascii_lowercase().contains(word));
    is("libsvm") || is("recordio") || (is("json") && (body.contains(&b'\\') || body.windows(4).any(|four| four == b"keys")))
}
