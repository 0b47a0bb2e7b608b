//! What model paths point at, remembered as asked for, and forgotten before a write is acknowledged.
//!
//! A million paths need not be in memory; those in use are. A reader notes the generation before it asks the store and
//! may only remember its answer if no write came between, so an old pointer never outlives the write that moved it.
//! Beside it stands whether an endpoint's maker may read the path, as of which access write: no policy is asked while
//! that is the current one. Next: `invoke.rs`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use crate::metrics::SeriesMetrics;
use crate::names::ModelPath;
use crate::store::models::Pointer;

/// Paths remembered; when full, all are forgotten and asked for again.
const REMEMBERED: usize = 200_000;

/// How long the answer of a policy holds that may depend on the time.
const ASKED_AGAIN: u64 = 60;

/// What a path points at for the endpoints of one maker, with what is counted of it.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) path: ModelPath,
    /// Whose right to read it was asked; `None` where nobody's is.
    maker: Option<Arc<str>>,
    pub(super) pointer: Pointer,
    /// The version as answers name it.
    pub(super) version: Arc<str>,
    pub(super) metrics: Arc<SeriesMetrics>,
    born: Instant,
    /// The count of access writes under which the maker was last allowed to read it.
    allowed: AtomicI64,
    /// When that was, in seconds since `born`.
    asked: AtomicU64,
}

impl Target {
    pub(super) fn new(path: ModelPath, maker: Option<Arc<str>>, pointer: Pointer, metrics: Arc<SeriesMetrics>) -> Self {
        let version = pointer.version.to_string().into();
        let (allowed, asked) = (AtomicI64::new(-1), AtomicU64::new(0));
        Self { path, maker, pointer, version, metrics, born: Instant::now(), allowed, asked }
    }

    fn age(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.born).as_secs()
    }

    /// Notes that its maker was allowed to read it `now`, as of access write `epoch`.
    pub(super) fn allow(&self, epoch: i64, now: Instant) {
        self.asked.store(self.age(now), Ordering::Relaxed);
        self.allowed.store(epoch, Ordering::Relaxed);
    }

    /// Whether that still holds.
    pub(super) fn is_allowed(&self, epoch: i64, now: Instant) -> bool {
        self.maker.is_none()
            || (self.allowed.load(Ordering::Relaxed) == epoch && self.age(now) < self.asked.load(Ordering::Relaxed) + ASKED_AGAIN)
    }
}

/// One for each maker of an endpoint over the path; nearly always one.
type Targets = SmallVec<[Arc<Target>; 1]>;

#[derive(Debug)]
pub(super) struct Catalog {
    targets: RwLock<HashMap<ModelPath, Targets, RandomState>>,
    /// Counts writes; read before asking the store.
    generation: AtomicU64,
    /// The store's own count that is contained here.
    epoch: AtomicI64,
}

impl Catalog {
    pub(super) fn new(epoch: i64) -> Self {
        Self { targets: RwLock::new(HashMap::default()), generation: AtomicU64::new(0), epoch: AtomicI64::new(epoch) }
    }

    pub(super) fn get(&self, path: &ModelPath, maker: Option<&str>) -> Option<Arc<Target>> {
        let targets = self.targets.read().unwrap_or_else(PoisonError::into_inner);
        targets.get(path)?.iter().find(|target| target.maker.as_deref() == maker).cloned()
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
        let known = targets.entry(target.path.clone()).or_default();
        known.retain(|known| known.maker != target.maker);
        known.push(target.clone());
    }

    /// Forgets `path` after this process wrote it as write `epoch`, which is the known count itself if nothing came of
    /// the write. A gap in the count is another's write that was not noticed yet; then everything is forgotten.
    pub(super) fn forget(&self, path: &ModelPath, epoch: i64) {
        self.wrote(Some(path), epoch);
    }

    /// Takes notice of this process's write `epoch` to something no remembered pointer holds.
    pub(super) fn contains(&self, epoch: i64) {
        self.wrote(None, epoch);
    }

    fn wrote(&self, path: Option<&ModelPath>, epoch: i64) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        let mut targets = self.targets.write().unwrap_or_else(PoisonError::into_inner);
        if self.epoch.fetch_max(epoch, Ordering::SeqCst) + 1 < epoch {
            targets.clear();
        } else if let Some(path) = path {
            targets.remove(path);
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
