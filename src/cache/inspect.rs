//! What can be seen of the cache: what is loaded, how it was used, what went and why.
//!
//! Looking counts as no use and holds no lock for longer than one shard takes to read. Next: `service/memory.rs`, which
//! names what it shows.

use std::hash::Hash;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::{Cache, lock};

/// Why an entry went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Never asked for again after its load, and the room was needed.
    NotUsedAgain,
    /// Least asked for of late, and the room was needed.
    LeastUsed,
}

impl Why {
    /// In words.
    pub fn word(self) -> &'static str {
        match self {
            Self::NotUsedAgain => "room was needed and it was not used again after its load",
            Self::LeastUsed => "room was needed and others were used more of late",
        }
    }
}

/// An entry as it is inspected.
#[derive(Debug, Clone)]
pub struct Inspected<K> {
    /// Its key.
    pub key: K,
    /// Its bytes.
    pub weight: u64,
    /// How often it answered.
    pub hits: u64,
    /// How long ago it last did.
    pub idle: Duration,
    /// Whether it stays whatever else needs the room.
    pub pinned: bool,
    /// Whether someone holds it right now.
    pub in_use: bool,
}

/// An eviction.
#[derive(Debug, Clone)]
pub struct Evicted<K> {
    /// What went.
    pub key: K,
    /// Its bytes.
    pub weight: u64,
    /// Why.
    pub why: Why,
    /// How long ago.
    pub ago: Duration,
}

impl<K: Clone + Eq + Hash, V> Cache<K, V> {
    /// Every entry, most hits first.
    pub fn inspect(&self) -> Vec<Inspected<K>> {
        let now = self.millis(Instant::now());
        let mut entries = Vec::new();
        for shard in &self.shards {
            for (key, entry) in shard.read().unwrap_or_else(PoisonError::into_inner).iter() {
                entries.push(Inspected {
                    key: key.clone(),
                    weight: entry.lease.0.1.weight,
                    hits: entry.hits.load(Ordering::Relaxed),
                    idle: Duration::from_millis(now.saturating_sub(entry.last_used.load(Ordering::Relaxed))),
                    pinned: entry.pinned.load(Ordering::Relaxed),
                    in_use: Arc::strong_count(&entry.lease.0) > 1,
                });
            }
        }
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.hits));
        entries
    }

    /// Whether `key` is loaded, without counting as a use.
    pub fn contains(&self, key: &K) -> bool {
        self.shard(key).read().unwrap_or_else(PoisonError::into_inner).contains_key(key)
    }

    /// Entries loaded.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    /// Whether nothing is loaded.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The latest evictions, latest first.
    pub fn evictions(&self) -> Vec<Evicted<K>> {
        let state = lock(&self.state);
        let one =
            |(key, weight, why, at): &(K, u64, Why, Instant)| Evicted { key: key.clone(), weight: *weight, why: *why, ago: at.elapsed() };
        state.evictions.iter().rev().map(one).collect()
    }

    /// Loads and evictions since the start.
    pub fn counts(&self) -> (u64, u64) {
        let state = lock(&self.state);
        (state.loads, state.evicted)
    }
}
