//! A cache bounded in bytes: never over its budget, one load per key however many wait, a scan does not empty it.
//!
//! Room is reserved before a load begins and given back when the last holder lets go, so memory in use counts even
//! after eviction. Which entry goes is decided as S3-FIFO does (Yang et al., SOSP 2023): newcomers wait in a small
//! queue and reach the main one only if asked for again, so a pass over many keys evicts itself. A hit takes a shared
//! lock and sets a counter; nothing is held during work. A failed load is remembered briefly. Generic: knows neither
//! models nor the store. Next: `inspect.rs` (what
//! can be seen of it), `service/invoke.rs`, which uses it.

mod inspect;

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, Hash};
use std::ops::Deref;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;

pub use self::inspect::{Evicted, Inspected, Why};
use crate::error::{Error, Kind, Result};

const SHARDS: usize = 16;
/// A key asked for this often while in the small queue has shown itself worth keeping.
const FREQUENT: u8 = 1;
/// Uses are counted no further.
pub const FREQUENCY_MAX: u8 = 3;
/// How long a failed load answers for the next ones.
const FAILURE_MEMORY: Duration = Duration::from_secs(2);
/// How long a load waits for room that predictions in flight still hold.
const ROOM_PATIENCE: Duration = Duration::from_secs(2);
const EVICTIONS_KEPT: usize = 100;

/// Bytes promised out. Given back by the last holder of a value, wherever that is.
#[derive(Debug)]
struct Ledger {
    used: Mutex<u64>,
    freed: Condvar,
}

#[derive(Debug)]
struct Charge {
    weight: u64,
    ledger: Arc<Ledger>,
}

impl Drop for Charge {
    fn drop(&mut self) {
        *lock(&self.ledger.used) -= self.weight;
        self.ledger.freed.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing here panics with a lock held in a state that others could not go on from.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A value with the room it takes. The room is free again when the last clone is dropped.
pub struct Lease<V>(Arc<(V, Charge)>);

impl<V> Clone for Lease<V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<V> Deref for Lease<V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.0.0
    }
}

impl<V: fmt::Debug> fmt::Debug for Lease<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.0.fmt(f)
    }
}

struct Entry<V> {
    lease: Lease<V>,
    frequency: AtomicU8,
    hits: AtomicU64,
    /// Milliseconds since the cache was made.
    last_used: AtomicU64,
    pinned: AtomicBool,
}

/// What came of a load, and who waits for it.
type Landing<V> = (Option<Result<Lease<V>>>, Vec<Waker>);

/// One load that several wait for.
struct Flight<V> {
    state: Mutex<Landing<V>>,
}

impl<V> Flight<V> {
    fn land(&self, result: Result<Lease<V>>) {
        let mut state = lock(&self.state);
        state.0 = Some(result);
        for waker in state.1.drain(..) {
            waker.wake();
        }
    }
}

/// Waits for a load that someone else does.
pub struct Waiting<V>(Arc<Flight<V>>);

impl<V> Future for Waiting<V> {
    type Output = Result<Lease<V>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = lock(&self.0.state);
        match &state.0 {
            Some(result) => Poll::Ready(result.clone()),
            None => {
                state.1.push(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// What the next step for a key is.
pub enum Join<K: Clone + Eq + Hash, V> {
    /// It is loaded.
    Hit(Lease<V>),
    /// The caller loads it, for everyone.
    Load(Ticket<K, V>),
    /// Someone loads it.
    Wait(Waiting<V>),
}

/// The right and duty to load a key. Dropped without loading, it fails for all who wait.
pub struct Ticket<K: Clone + Eq + Hash, V> {
    cache: Arc<Cache<K, V>>,
    key: K,
    flight: Arc<Flight<V>>,
    landed: bool,
    /// How often it was used before.
    times: u8,
}

struct State<K, V> {
    small: VecDeque<K>,
    small_bytes: u64,
    main: VecDeque<K>,
    /// Keys that left the small queue unused; back again, they go to the main one.
    ghost: VecDeque<K>,
    ghosts: HashSet<K>,
    flights: HashMap<K, Arc<Flight<V>>>,
    failures: HashMap<K, (Error, Instant)>,
    pins: HashSet<K>,
    evictions: VecDeque<(K, u64, Why, Instant)>,
    evicted: u64,
    loads: u64,
}

type Shard<K, V> = RwLock<HashMap<K, Arc<Entry<V>>, RandomState>>;

/// Is told how long it took to let go of an evicted value.
type Unloaded = Box<dyn Fn(Duration) + Send + Sync>;

/// The cache.
pub struct Cache<K, V> {
    budget: u64,
    unloaded: Unloaded,
    born: Instant,
    ledger: Arc<Ledger>,
    hasher: RandomState,
    shards: [Shard<K, V>; SHARDS],
    state: Mutex<State<K, V>>,
}

impl<K, V> fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cache({} bytes at most)", self.budget)
    }
}

impl<K: Clone + Eq + Hash, V> Cache<K, V> {
    /// An empty cache of `budget` bytes. `unloaded` is told how long each evicted value took to let go.
    pub fn new(budget: u64, unloaded: impl Fn(Duration) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            budget,
            unloaded: Box::new(unloaded),
            born: Instant::now(),
            ledger: Arc::new(Ledger { used: Mutex::new(0), freed: Condvar::new() }),
            hasher: RandomState::default(),
            shards: std::array::from_fn(|_| RwLock::new(HashMap::default())),
            state: Mutex::new(State {
                small: VecDeque::new(),
                small_bytes: 0,
                main: VecDeque::new(),
                ghost: VecDeque::new(),
                ghosts: HashSet::new(),
                flights: HashMap::new(),
                failures: HashMap::new(),
                pins: HashSet::new(),
                evictions: VecDeque::new(),
                evicted: 0,
                loads: 0,
            }),
        })
    }

    /// The most bytes it holds.
    pub fn budget(&self) -> u64 {
        self.budget
    }

    /// The bytes held now, by entries, by loads under way and by evicted values still in use.
    pub fn used(&self) -> u64 {
        *lock(&self.ledger.used)
    }

    fn shard(&self, key: &K) -> &Shard<K, V> {
        #[expect(clippy::cast_possible_truncation, reason = "only the low bits count")]
        let at = self.hasher.hash_one(key) as usize % SHARDS;
        // SHARDS is the array's length.
        #[expect(clippy::indexing_slicing, reason = "the remainder is below the length")]
        &self.shards[at]
    }

    /// The value, if it is loaded. The warm path: whoever asks has read the clock already.
    pub fn get(&self, key: &K, now: Instant) -> Option<Lease<V>> {
        let shard = self.shard(key).read().unwrap_or_else(PoisonError::into_inner);
        let entry = shard.get(key)?;
        let frequency = entry.frequency.load(Ordering::Relaxed);
        if frequency < FREQUENCY_MAX {
            entry.frequency.store(frequency + 1, Ordering::Relaxed);
        }
        entry.hits.fetch_add(1, Ordering::Relaxed);
        entry.last_used.store(self.millis(now), Ordering::Relaxed);
        Some(entry.lease.clone())
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.born).as_millis()).unwrap_or(u64::MAX)
    }

    /// What to do for `key`: take it, load it, or wait.
    ///
    /// # Errors
    /// The error of a load that failed a moment ago.
    pub fn join(self: &Arc<Self>, key: &K) -> Result<Join<K, V>> {
        let now = Instant::now();
        if let Some(lease) = self.get(key, now) {
            return Ok(Join::Hit(lease));
        }
        let mut state = lock(&self.state);
        // It may have landed between the look and the lock.
        if let Some(lease) = self.get(key, now) {
            return Ok(Join::Hit(lease));
        }
        if let Some(flight) = state.flights.get(key) {
            return Ok(Join::Wait(Waiting(flight.clone())));
        }
        if let Some((error, at)) = state.failures.get(key) {
            if at.elapsed() < FAILURE_MEMORY {
                return Err(error.clone());
            }
            state.failures.remove(key);
        }
        let flight = Arc::new(Flight { state: Mutex::new((None, Vec::new())) });
        state.flights.insert(key.clone(), flight.clone());
        Ok(Join::Load(Ticket { cache: self.clone(), key: key.clone(), flight, landed: false, times: 0 }))
    }

    /// Loads a value that is not kept: room is made and counted, the entry is not.
    ///
    /// # Errors
    /// As [`Ticket::load`].
    pub fn pass_through(&self, weight: u64, load: impl FnOnce() -> Result<V>) -> Result<Lease<V>> {
        let charge = self.reserve(weight)?;
        Ok(Lease(Arc::new((load()?, charge))))
    }

    /// Makes and takes room.
    fn reserve(&self, weight: u64) -> Result<Charge> {
        if weight > self.budget {
            return Err(Error::new(
                Kind::TooLarge,
                format!("it takes {weight} bytes in memory and the whole cache has {}; raise --memory", self.budget),
            ));
        }
        let deadline = Instant::now() + ROOM_PATIENCE;
        loop {
            {
                let mut used = lock(&self.ledger.used);
                if *used + weight <= self.budget {
                    *used += weight;
                    return Ok(Charge { weight, ledger: self.ledger.clone() });
                }
            }
            if let Some(evicted) = self.evict_one() {
                // Outside of all locks: a large value takes its time.
                let started = Instant::now();
                drop(evicted);
                (self.unloaded)(started.elapsed());
                continue;
            }
            // All that is left is pinned or in use; predictions in flight give back soon.
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::new(
                    Kind::Unavailable,
                    "the models in memory are all pinned or in use; try again, unpin some or raise --memory",
                ));
            }
            let used = lock(&self.ledger.used);
            drop(self.ledger.freed.wait_timeout(used, left.min(Duration::from_millis(5))));
        }
    }

    /// Takes out the one entry S3-FIFO would, passing over pinned ones and ones in use. Its room is free once it is dropped.
    fn evict_one(&self) -> Option<Arc<Entry<V>>> {
        let mut state = lock(&self.state);
        // Entries of the main queue in a row that are held: once around, there is nothing in it.
        let mut held_in_row = 0;
        let rounds = (state.small.len() + state.main.len()) * (usize::from(FREQUENCY_MAX) + 2);
        for _ in 0..rounds {
            let all_held = held_in_row >= state.main.len();
            let from_small = !state.small.is_empty() && (state.small_bytes > self.budget / 10 || all_held);
            if !from_small && all_held {
                return None;
            }
            let key = if from_small { state.small.pop_front() } else { state.main.pop_front() }?;
            let mut shard = self.shard(&key).write().unwrap_or_else(PoisonError::into_inner);
            let Some(entry) = shard.get(&key) else { continue };
            let weight = entry.lease.0.1.weight;
            if from_small {
                state.small_bytes -= weight;
            }
            let frequency = entry.frequency.load(Ordering::Relaxed);
            let held = entry.pinned.load(Ordering::Relaxed) || Arc::strong_count(&entry.lease.0) > 1;
            let keep = held || if from_small { frequency > FREQUENT } else { frequency > 0 };
            if !from_small {
                held_in_row = if held { held_in_row + 1 } else { 0 };
            }
            if keep {
                let left = if from_small { 0 } else { frequency.saturating_sub(1) };
                entry.frequency.store(left, Ordering::Relaxed);
                drop(shard);
                state.main.push_back(key);
                continue;
            }
            let evicted = shard.remove(&key);
            drop(shard);
            let why = if from_small { Why::NotUsedAgain } else { Why::LeastUsed };
            state.note_eviction(key, weight, why);
            return evicted;
        }
        None
    }

    /// Sets which keys stay whatever else needs the room; those loaded later count too.
    pub fn set_pins(&self, pins: HashSet<K>) {
        let mut state = lock(&self.state);
        for shard in &self.shards {
            for (key, entry) in shard.read().unwrap_or_else(PoisonError::into_inner).iter() {
                entry.pinned.store(pins.contains(key), Ordering::Relaxed);
            }
        }
        state.pins = pins;
    }
}

impl<K: Clone + Eq + Hash, V> State<K, V> {
    fn note_eviction(&mut self, key: K, weight: u64, why: Why) {
        if why == Why::NotUsedAgain && self.ghosts.insert(key.clone()) {
            self.ghost.push_back(key.clone());
            // As many ghosts as entries, which is what the paper's ghost queue comes to.
            if self.ghost.len() > (self.small.len() + self.main.len()).max(1024)
                && let Some(old) = self.ghost.pop_front()
            {
                self.ghosts.remove(&old);
            }
        }
        self.evicted += 1;
        self.evictions.push_back((key, weight, why, Instant::now()));
        if self.evictions.len() > EVICTIONS_KEPT {
            self.evictions.pop_front();
        }
    }
}

impl<K: Clone + Eq + Hash, V> Ticket<K, V> {
    /// Makes room for `weight` bytes, then loads and publishes the value to all who wait. Blocks.
    ///
    /// # Errors
    /// [`Kind::TooLarge`] when it could never fit, [`Kind::Unavailable`] when all room is held, and what `load` returns;
    /// all who wait get the same.
    pub fn load(self, weight: u64, load: impl FnOnce() -> Result<V>) -> Result<Lease<V>> {
        self.load_used(0, weight, load)
    }

    /// As [`Ticket::load`], of a value that was used `times` before it was last in memory: it goes after those that were
    /// used less, where one that is new has to show first that it is used again.
    ///
    /// # Errors
    /// As [`Ticket::load`].
    pub fn load_used(mut self, times: u8, weight: u64, load: impl FnOnce() -> Result<V>) -> Result<Lease<V>> {
        self.times = times.min(FREQUENCY_MAX);
        let result = self.cache.reserve(weight).and_then(|charge| Ok(Lease(Arc::new((load()?, charge)))));
        self.land(result.clone());
        result
    }

    fn land(&mut self, result: Result<Lease<V>>) {
        self.landed = true;
        let cache = &self.cache;
        let mut state = lock(&cache.state);
        state.flights.remove(&self.key);
        match &result {
            Ok(lease) => {
                let entry = Entry {
                    lease: lease.clone(),
                    frequency: AtomicU8::new(self.times),
                    hits: AtomicU64::new(0),
                    last_used: AtomicU64::new(cache.millis(Instant::now())),
                    pinned: AtomicBool::new(state.pins.contains(&self.key)),
                };
                let was_ghost = state.ghosts.remove(&self.key);
                if was_ghost {
                    state.ghost.retain(|key| *key != self.key);
                }
                if was_ghost || self.times > 0 {
                    state.main.push_back(self.key.clone());
                } else {
                    state.small_bytes += lease.0.1.weight;
                    state.small.push_back(self.key.clone());
                }
                state.loads += 1;
                cache.shard(&self.key).write().unwrap_or_else(PoisonError::into_inner).insert(self.key.clone(), Arc::new(entry));
            }
            // A full cache is not the key's fault, and what was deleted may be there again at once.
            Err(error) if !matches!(error.kind(), Kind::Unavailable | Kind::NotFound) => {
                state.failures.retain(|_, (_, at)| at.elapsed() < FAILURE_MEMORY);
                state.failures.insert(self.key.clone(), (error.clone(), Instant::now()));
            }
            Err(_) => {}
        }
        drop(state);
        self.flight.land(result);
    }
}

impl<K: Clone + Eq + Hash, V> Drop for Ticket<K, V> {
    fn drop(&mut self) {
        if !self.landed {
            self.land(Err(Error::new(Kind::Unavailable, "the load was given up; send the request again")));
        }
    }
}

#[cfg(test)]
mod tests;
