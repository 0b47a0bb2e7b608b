//! The picture in memory that requests read, and how a write replaces it before it is acknowledged.
//!
//! A write to principals, policies, keys or endpoints makes the next picture inside its own transaction, checks on it
//! that an administrator remains, commits, and swaps it in; only then does the caller hear of success. Another process's
//! writes are noticed by a thread that does nothing else. Next: `catalog.rs`, the same for model pointers.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::Duration;

use foldhash::HashMap;

use super::endpoints::Endpoint;
use super::{PageOf, Service};
use crate::authn::directory::{Directory, Key, Principal};
use crate::authn::{Caller, Credential, Evidence, Transport, ended, identify};
use crate::error::{Error, Kind, Result};
use crate::metrics::{Gauges, Metrics};
use crate::names::{Noun, shown};
use crate::policy::{Context, Outcome, Permit, Request};
use crate::store::{Epochs, Read, Tx, Watch, audit, blobs, endpoints, loaded, now, sessions};

/// How often the file is asked whether another process wrote to it.
const WATCH: Duration = Duration::from_millis(250);
/// How often dead uploads are swept and the hot set is kept.
const CHORES: Duration = Duration::from_secs(60);

/// One immutable picture, with the counts of the writes it contains.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) directory: Directory,
    endpoints: HashMap<String, Arc<Endpoint>>,
    pub(super) epochs: Epochs,
}

impl Snapshot {
    pub(super) fn load(read: &Read<'_>, last: Option<&Self>, metrics: &Metrics) -> Result<Self> {
        let mut map = HashMap::default();
        for kept in endpoints::all(read)? {
            let key = kept.name.to_ascii_lowercase();
            // One that did not change is taken over, and with it whose turn it is among its variants.
            let same = last.and_then(|last| last.endpoints.get(&key)).filter(|endpoint| endpoint.is(&kept));
            let endpoint = match same {
                Some(endpoint) => endpoint.clone(),
                None => Arc::new(Endpoint::from_kept(kept, metrics)?),
            };
            map.insert(key, endpoint);
        }
        let directory = Directory::load(read, last.map(|last| &last.directory), metrics)?;
        Ok(Self { directory, endpoints: map, epochs: read.epochs()? })
    }

    /// An endpoint by its name in any case.
    pub(super) fn endpoint(&self, name: &str) -> Option<&Arc<Endpoint>> {
        if let Some(found) = self.endpoints.get(name) {
            return Some(found);
        }
        self.endpoints.get(&name.to_ascii_lowercase())
    }

    pub(super) fn endpoints(&self) -> Vec<&Arc<Endpoint>> {
        self.endpoints.values().collect()
    }

    /// Whether some user who can sign in may hand out any permission.
    fn has_administrator(&self, now: i64) -> bool {
        let usable = |key: &Key| {
            let record = &key.record;
            Directory::is_bearer(key) && !record.disabled && record.document.is_none() && record.expires_at.is_none_or(|end| end > now)
        };
        // Someone bounded can hand out no more than the boundary, so they are not the one who remains.
        let signs_in = |user: &Principal| {
            let keyed = self.directory.keys(Some(user.row)).iter().any(|key| usable(key));
            !user.disabled && user.boundary.is_none() && (user.password_hash.is_some() || keyed)
        };
        self.directory.all(Noun::User).into_iter().any(|user| {
            let mut context = Context::new();
            context.principal(Some(&user.name), &user.unique_id, &user.arn, &user.tags);
            let resource = Noun::User.arn("*");
            let request = Request { principal: &user.arn, action: "iam:PutUserPolicy", resource: &resource, context: &context };
            signs_in(user) && user.grants.explain(&request).outcome == Outcome::Allowed
        })
    }
}

impl Service {
    /// Identifies the sender of a request.
    ///
    /// # Errors
    /// [`Kind::Unauthenticated`].
    pub fn identify(&self, evidence: &Evidence<'_>, transport: Transport) -> Result<Caller> {
        identify(&self.tokens, &self.snapshot.load().directory, evidence, transport, now())
    }

    /// The caller as they are now: the same credential, if it still holds, with the grants of this moment.
    ///
    /// # Errors
    /// [`Kind::Unauthenticated`] when it does not hold any more.
    pub fn renew(&self, caller: &Caller) -> Result<Caller> {
        // Tokens and keys that ended are in the picture, sessions in the file alone.
        if let Credential::Session { hash, .. } = caller.credential()
            && self.store.snapshot(|read| sessions::find(read, *hash))?.is_none()
        {
            return Err(ended());
        }
        caller.renewed(&self.snapshot.load().directory, now())
    }

    /// Carries out a write of `caller` that the picture depends on.
    ///
    /// # Errors
    /// What `work` returns, and [`Kind::Conflict`] when nobody would be left to administer.
    pub(super) fn change<T>(
        &self,
        permit: &Permit,
        caller: &Caller,
        action: &str,
        resource: &str,
        work: impl FnOnce(&Tx<'_>) -> Result<T>,
    ) -> Result<T> {
        let _order = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let (done, next) = self.store.write(permit, |tx| {
            let mut last = self.snapshot.load_full();
            // Another process's write that was not noticed yet: what the work looks up must contain it.
            if tx.epochs()?.access != last.epochs.access {
                last = Arc::new(Snapshot::load(tx, Some(&last), &self.metrics)?);
                self.show(&last);
            }
            let done = work(tx)?;
            audit::record(tx, &caller.principal().arn, action, resource)?;
            let next = Snapshot::load(tx, Some(&last), &self.metrics)?;
            if last.has_administrator(tx.now) && !next.has_administrator(tx.now) {
                return Err(Error::new(
                    Kind::Conflict,
                    "this would leave no user who can sign in and administer; give another user AdministratorAccess first",
                ));
            }
            Ok((done, next))
        })?;
        tracing::info!(target: "rookery::audit", principal = caller.principal().arn, action, resource, "changed");
        self.show(&Arc::new(next));
        Ok(done)
    }

    /// Puts a picture in place, unless one of a later write is there already: the file has one writer at a time, so of
    /// two pictures the one with more writes contains the other.
    fn show(&self, next: &Arc<Snapshot>) {
        self.snapshot.rcu(|current| if current.epochs.access < next.epochs.access { next.clone() } else { current.clone() });
        self.metrics.keep_variants(|| self.snapshot.load().endpoints.values().flat_map(|endpoint| endpoint.counted()).collect());
    }

    /// Reads again what another process's write made old. Waits for no write of this one: a user that was disabled
    /// elsewhere is out however busy uploads keep the file.
    fn refresh(&self, watch: &Watch) -> Result<()> {
        let last = self.snapshot.load_full();
        let epochs = watch.snapshot(|read| read.epochs())?;
        if epochs.access != last.epochs.access {
            let next = watch.snapshot(|read| Snapshot::load(read, Some(&last), &self.metrics))?;
            self.show(&Arc::new(next));
        }
        if self.catalog.notice(epochs.models) {
            self.read_pins(|| watch.snapshot(loaded::pins))?;
        }
        Ok(())
    }

    /// Starts the thread that notices other processes' writes, and the one that sweeps dead uploads and keeps the hot
    /// set. They end with the service.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start_housekeeping(self: &Arc<Self>) -> Result<()> {
        let (service, watch) = (Arc::downgrade(self), self.store.watch()?);
        let run = move || {
            let mut failing = false;
            while let Some(service) = service.upgrade() {
                let seen = service.refresh(&watch);
                drop(service);
                if let Err(error) = &seen
                    && !failing
                {
                    tracing::error!(?error, "what other processes wrote cannot be read");
                }
                failing = seen.is_err();
                thread::sleep(WATCH);
            }
        };
        thread::Builder::new().name("watch".to_owned()).spawn(run).map_err(Error::internal)?;
        let service = Arc::downgrade(self);
        let run = move || {
            loop {
                thread::sleep(CHORES);
                let Some(service) = service.upgrade() else { return };
                service.chores();
            }
        };
        thread::Builder::new().name("housekeeping".to_owned()).spawn(run).map_err(Error::internal)?;
        Ok(())
    }

    fn chores(&self) {
        match self.sweep() {
            Ok(0) => {}
            Ok(swept) => tracing::info!(swept, "removed the remains of dead uploads"),
            Err(error) => tracing::error!(?error, "dead uploads could not be swept"),
        }
        self.remember_hot();
    }

    /// Removes the remains of dead uploads now, not those of this process that are under way, and returns how many there were.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn sweep(&self) -> Result<usize> {
        let live = self.live.all();
        self.store.housekeeping(|tx| blobs::sweep(tx, &live))
    }

    /// The numbers of this moment.
    pub(super) fn gauges(&self) -> Gauges {
        let (loads, evictions) = self.cache.counts();
        Gauges {
            loaded: self.cache.len(),
            memory: self.cache.used(),
            budget: self.cache.budget(),
            loads,
            evictions,
            in_flight: self.in_flight.load(Ordering::Relaxed),
            cpu_seconds: cpu_seconds().unwrap_or_default(),
            disk_utilization: disk_utilization(self.store.path()).unwrap_or_default(),
            disk: std::fs::metadata(self.store.path()).map_or(0, |file| file.len()),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    /// Whether requests can be answered: the file can be read.
    ///
    /// # Errors
    /// When it cannot.
    pub fn ready(&self) -> Result<()> {
        self.store.snapshot(|read| read.epochs()).map(drop)
    }

    /// Whether nobody can sign in yet, so that the first administrator is to be made.
    pub fn is_unclaimed(&self) -> bool {
        self.snapshot.load().directory.all(Noun::User).is_empty()
    }

    /// Up to `count` changes, latest first, from after entry `after` on: older ones than it.
    ///
    /// # Errors
    /// [`Kind::Denied`]; [`Kind::Validation`] when `after` is no entry's number.
    pub fn audit(&self, caller: &Caller, after: &str, count: usize) -> Result<PageOf<audit::Change>> {
        let permit = self.authorise(caller, "cloudtrail:LookupEvents", "*", |_| ())?;
        let bad = |error| Error::invalid(format!("`{}` is no entry's number; take `next` of the page before", shown(after))).because(error);
        let before = if after.is_empty() { i64::MAX } else { after.parse().map_err(bad)? };
        let mut items = self.store.read(&permit, |read| audit::list(read, before, count.saturating_add(1)))?;
        let more = items.len() > count;
        items.truncate(count);
        let next = items.last().filter(|_| more).map(|last| last.id.to_string());
        Ok(PageOf { items, next })
    }
}

/// How full the file system of `path` is for who runs this process, in percent, as `df` counts.
fn disk_utilization(path: &Path) -> Option<f64> {
    let told = rustix::fs::statvfs(path).ok()?;
    let used = told.f_blocks.saturating_sub(told.f_bfree);
    #[expect(clippy::cast_precision_loss, reason = "a percentage")]
    let (used, all) = (used as f64, (used + told.f_bavail) as f64);
    (all > 0.0).then(|| used * 100.0 / all)
}

/// User and system time of this process: fields 14 and 15 of `/proc/self/stat`, in hundredths of a second.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let fields: Vec<f64> = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
    Some(fields.iter().sum::<f64>() / 100.0)
}
