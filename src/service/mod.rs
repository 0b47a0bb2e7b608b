//! Every verb a user can do, whatever dialect it came in. The first line of each asks for permission.
//!
//! `invoke.rs` is the hot path; `access.rs` holds the picture it reads. Verbs are grouped by noun in the other files. It
//! must not know HTTP or the terminal, nor SQL. Next: `invoke.rs`.

mod access;
mod catalog;
mod cold;
mod current;
mod effort;
pub mod endpoints;
pub mod invoke;
pub mod keys;
mod login;
mod makers;
pub mod memory;
pub mod models;
pub mod policies;
pub mod principals;
pub mod simulate;
mod turns;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;

use self::access::Snapshot;
use self::catalog::Catalog;
use self::current::Preparing;
use self::invoke::{Loaded, micros};
use self::models::Live;
use self::turns::Turns;
use crate::artifact::Limits;
use crate::authn::{Caller, MasterKey, Passwords, Throttle, Tokens};
use crate::cache::Cache;
use crate::codec::pull::DEPTH_MAX;
use crate::error::{Error, Kind, Result};
use crate::metrics::Metrics;
use crate::names::Version;
use crate::policy::{Context, Permit, Request};
use crate::store::{Store, now};

pub use self::login::SignedIn;

/// The deepest nesting that may be allowed: each level takes some of a thread's stack.
pub const JSON_DEPTH_MAX: usize = 512;

/// Models that are loaded at once: a quarter of the threads that may block.
const LOADS: usize = 128;

/// What the service is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The database file.
    pub database: PathBuf,
    /// Bytes for loaded models.
    pub memory: u64,
    /// Predictions at once.
    pub concurrency: usize,
    /// Bytes of an upload.
    pub upload: u64,
    /// How deep the JSON of a request for predictions may nest, at most [`JSON_DEPTH_MAX`].
    pub json_depth: usize,
    /// What an archive may hold.
    pub archive: Limits,
    /// Versions kept per path for rollback.
    pub keep_versions: usize,
    /// Seconds a token lives.
    pub token_seconds: i64,
    /// Failed sign-ins a minute, per user and per address.
    pub guesses: u32,
}

impl Options {
    /// The documented defaults for `database`, with `memory` bytes for models.
    pub fn new(database: PathBuf, memory: u64) -> Self {
        Self {
            database,
            memory,
            concurrency: 1024,
            upload: 512 << 20,
            json_depth: DEPTH_MAX,
            archive: Limits::default(),
            keep_versions: 10,
            token_seconds: 3600,
            guesses: 10,
        }
    }
}

/// A page of a list.
#[derive(Debug, Clone)]
pub struct PageOf<T> {
    /// In the order of their keys.
    pub items: Vec<T>,
    /// The key the next page begins after; `None` at the end.
    pub next: Option<String>,
}

impl<T> PageOf<Arc<T>> {
    /// The first `count` of `items` whose key comes after `after`.
    fn cut(mut items: Vec<&Arc<T>>, key: impl Fn(&T) -> &str, after: &str, count: usize) -> Self {
        items.retain(|item| after.is_empty() || key(item) > after);
        items.sort_by(|a, b| key(a).cmp(key(b)));
        let more = items.len() > count;
        items.truncate(count);
        let next = items.last().filter(|_| more).map(|last| key(last).to_owned());
        Self { items: items.into_iter().cloned().collect(), next }
    }
}

/// The service.
#[derive(Debug)]
pub struct Service {
    store: Store,
    options: Options,
    snapshot: ArcSwap<Snapshot>,
    /// Held while a write and the picture it makes are put in place, so that pictures follow each other in order.
    changing: Mutex<()>,
    /// Held while the cache is told what is pinned.
    pinning: Mutex<()>,
    /// Held while the first administrator is made.
    claiming: Mutex<()>,
    /// Set once what was hot before the last stop is loaded again; until then the kept list is not replaced.
    restored: AtomicBool,
    catalog: Catalog,
    cache: Arc<Cache<Version, Loaded>>,
    metrics: Metrics,
    master: MasterKey,
    tokens: Tokens,
    passwords: Passwords,
    throttle: Throttle,
    in_flight: Arc<AtomicUsize>,
    refused: AtomicU64,
    /// Of long predictions.
    turns: Turns,
    /// Loads at once.
    loads: Arc<Semaphore>,
    preparing: Preparing,
    live: Arc<Live>,
}

impl Service {
    /// Opens the database and reads what is kept in memory.
    ///
    /// # Errors
    /// A sentence for the operator: see [`Store::open`] and [`MasterKey::open`].
    pub fn open(options: Options) -> Result<Arc<Self>> {
        let store = Store::open(&options.database)?;
        let master = MasterKey::open(&store)?;
        let metrics = Metrics::default();
        let snapshot = store.snapshot(|read| Snapshot::load(read, None, &metrics))?;
        let catalog = Catalog::new(snapshot.epochs.models);
        let unloading = metrics.unloading();
        let service = Self {
            cache: Cache::new(options.memory, move |time| unloading.observe(micros(time))),
            tokens: Tokens::new(&master),
            passwords: Passwords::new()?,
            throttle: Throttle::new(options.guesses),
            snapshot: ArcSwap::from_pointee(snapshot),
            changing: Mutex::new(()),
            pinning: Mutex::new(()),
            claiming: Mutex::new(()),
            restored: AtomicBool::new(false),
            catalog,
            metrics,
            master,
            in_flight: Arc::new(AtomicUsize::new(0)),
            refused: AtomicU64::new(0),
            turns: Turns::new(std::thread::available_parallelism().map_or(1, usize::from)),
            loads: Arc::new(Semaphore::new(LOADS)),
            preparing: Preparing::default(),
            live: Arc::default(),
            store,
            options,
        };
        Ok(Arc::new(service))
    }

    /// Puts all that was written into the database file itself, once nothing is served any more.
    pub fn fold(&self) {
        if let Err(error) = self.store.fold() {
            tracing::warn!(?error, "the newest writes stay in the log beside the database; whoever copies the file copies both");
        }
    }

    /// What it was started with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The caller that whoever opened the file is.
    pub fn file_caller(&self) -> Caller {
        Caller::file(&self.snapshot.load().directory)
    }

    /// Asks whether `caller` may do `action` to `resource`; `fill` adds condition keys of this request.
    ///
    /// # Errors
    /// [`Kind::Denied`] naming principal, action and resource, and the deciding statement for those who may simulate.
    fn authorise<'a>(&self, caller: &'a Caller, action: &str, resource: &str, fill: impl FnOnce(&mut Context<'a>)) -> Result<Permit> {
        let decided = self.decide(caller, action, resource, fill);
        let principal = caller.principal();
        match &decided {
            Ok(_) => tracing::debug!(target: "rookery::audit", principal = principal.arn, action, resource, "allowed"),
            Err(_) => {
                principal.metrics.errors.add();
                tracing::info!(target: "rookery::audit", principal = principal.arn, action, resource, "denied");
            }
        }
        decided
    }

    /// Whether `caller` may do what they did not ask for: it decides what they are told, so it is no denial of theirs.
    fn may(&self, caller: &Caller, action: &str, resource: &str) -> bool {
        self.decide(caller, action, resource, |_| ()).is_ok()
    }

    /// As [`Service::authorise`], counted and logged nowhere.
    fn decide<'a>(&self, caller: &'a Caller, action: &str, resource: &str, fill: impl FnOnce(&mut Context<'a>)) -> Result<Permit> {
        let mut context = Context::new();
        caller.fill(&mut context, now());
        fill(&mut context);
        let principal = caller.principal();
        let request = Request { principal: &principal.arn, action, resource, context: &context };
        match caller.grants().authorise(&request) {
            Ok(permit) => Ok(permit),
            Err(denial) => {
                let mut message = denial.to_string();
                let simulate = Request { action: "iam:SimulatePrincipalPolicy", resource: &principal.arn, ..request };
                if let Some(reason) = denial.decision.reasons.first()
                    && caller.grants().authorise(&simulate).is_ok()
                {
                    let sid = reason.sid.as_ref().map(|sid| format!(", Sid {sid}")).unwrap_or_default();
                    message.push_str(&format!(" (statement {} of {}{sid})", reason.statement, reason.policy));
                }
                Err(Error::new(Kind::Denied, message))
            }
        }
    }

    /// The counters, for whoever renders them.
    ///
    /// # Errors
    /// [`Kind::Denied`].
    pub fn metrics_text(&self, caller: &Caller) -> Result<String> {
        let _permit = self.authorise(caller, "cloudwatch:GetMetricData", "*", |_| ())?;
        Ok(self.metrics.render(&self.gauges()))
    }

    /// What the service knows of a user's tags as given: at most 50, as AWS has it.
    fn tags_json(tags: &HashMap<String, String>) -> Result<String> {
        if tags.len() > 50 || tags.iter().any(|(name, value)| name.is_empty() || name.len() > 128 || value.len() > 256) {
            return Err(Error::invalid("at most 50 tags, names of 1 to 128 and values of at most 256 bytes"));
        }
        let mut names: Vec<String> = tags.keys().map(|name| name.to_ascii_lowercase()).collect();
        names.sort();
        if names.array_windows().any(|[a, b]| a == b) {
            return Err(Error::invalid("two tag names differ by case alone"));
        }
        serde_json::to_string(tags).map_err(Error::internal)
    }
}
