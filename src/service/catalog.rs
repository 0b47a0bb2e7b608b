//! What model paths point at, remembered as asked for, and forgotten before a write is acknowledged.
//!
//! A million paths need not be in memory; those in use are. A reader notes the generation before it asks the store and
//! may only remember its answer if no write came between, so an old pointer never outlives the write that moved it.
//! Next: `invoke.rs`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use foldhash::fast::RandomState;

use crate::metrics::SeriesMetrics;
use crate::names::ModelPath;
use crate::store::models::Pointer;

/// Paths remembered; when full, all are forgotten and asked for again.
const REMEMBERED: usize = 200_000;

/// What a path points at, with what is counted of it.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) path: ModelPath,
    pub(super) pointer: Pointer,
    /// The version as answers name it.
    pub(super) version: Arc<str>,
    pub(super) metrics: Arc<SeriesMetrics>,
}

#[derive(Debug)]
pub(super) struct Catalog {
    targets: RwLock<HashMap<ModelPath, Arc<Target>, RandomState>>,
    /// Counts writes; read before asking the store.
    generation: AtomicU64,
    /// The store's own count that is contained here.
    epoch: AtomicI64,
}

impl Catalog {
    pub(super) fn new(epoch: i64) -> Self {
        Self { targets: RwLock::new(HashMap::default()), generation: AtomicU64::new(0), epoch: AtomicI64::new(epoch) }
    }

    pub(super) fn get(&self, path: &ModelPath) -> Option<Arc<Target>> {
        self.targets.read().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Remembers `target`, unless a write came since `generation` was read.
    pub(super) fn remember(&self, target: &Arc<Target>, generation: u64) {
        let mut targets = self.targets.write().unwrap_or_else(PoisonError::into_inner);
        if self.generation() != generation {
            return;
        }
        if targets.len() >= REMEMBERED {
            targets.clear();
        }
        targets.insert(target.path.clone(), target.clone());
    }

    /// Forgets `path` after this process wrote it as write `epoch`. A gap in the count is another process's write that
    /// was not noticed yet; then everything is forgotten.
    pub(super) fn forget(&self, path: &ModelPath, epoch: i64) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        let mut targets = self.targets.write().unwrap_or_else(PoisonError::into_inner);
        if self.epoch.swap(epoch, Ordering::SeqCst) + 1 == epoch {
            targets.remove(path);
        } else {
            targets.clear();
        }
    }

    /// Forgets everything if the store's count is another than known. Returns whether it was.
    pub(super) fn notice(&self, epoch: i64) -> bool {
        if self.epoch.load(Ordering::SeqCst) >= epoch {
            return false;
        }
        self.generation.fetch_add(1, Ordering::SeqCst);
        let mut targets = self.targets.write().unwrap_or_else(PoisonError::into_inner);
        self.epoch.fetch_max(epoch, Ordering::SeqCst);
        targets.clear();
        true
    }
}
