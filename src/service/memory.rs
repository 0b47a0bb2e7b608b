//! What is in memory: inspection, pins, and the hot set that outlives a restart.
//!
//! Next: `../cache/mod.rs`, which decides what goes.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread;

use super::Service;
use super::invoke::{Loaded, blocking};
use crate::authn::Caller;
use crate::cache::{Evicted, FREQUENCY_MAX, Inspected, Join, Lease};
use crate::error::{Error, Kind, Result};
use crate::names::{ModelPath, Version};
use crate::store::models::Pointer;
use crate::store::{Read, audit, loaded, models};

/// Versions remembered as hot.
const HOT: usize = 10_000;

/// The cache as it is shown.
#[derive(Debug)]
pub struct Memory {
    /// The most bytes.
    pub budget: u64,
    /// The bytes now.
    pub used: u64,
    /// Loads since the start.
    pub loads: u64,
    /// Evictions since the start.
    pub evictions: u64,
    /// What is loaded, most hits first, with the paths in use that point at it.
    pub entries: Vec<(Inspected<Version>, Vec<String>)>,
    /// The latest evictions, latest first.
    pub evicted: Vec<Evicted<Version>>,
    /// The pinned paths.
    pub pins: Vec<String>,
}

impl Service {
    /// What is in memory and what went.
    ///
    /// # Errors
    /// Denied.
    pub fn memory(&self, caller: &Caller) -> Result<Memory> {
        let permit = self.authorise(caller, "rookery:DescribeCache", "*", |_| ())?;
        let pins = self.store.read(&permit, loaded::pins)?;
        let entries = self.cache.inspect();
        let versions: Vec<Version> = entries.iter().map(|entry| entry.key).collect();
        let paths = self.store.read(&permit, |read| models::paths_of(read, &versions))?;
        let (loads, evictions) = self.cache.counts();
        Ok(Memory {
            budget: self.cache.budget(),
            used: self.cache.used(),
            loads,
            evictions,
            entries: entries.into_iter().map(|entry| (entry.clone(), paths.get(&entry.key).cloned().unwrap_or_default())).collect(),
            evicted: self.cache.evictions(),
            pins: pins.into_iter().map(|(path, _)| path).collect(),
        })
    }

    /// Keeps a path's current version in memory whatever else needs the room, and loads it.
    ///
    /// # Errors
    /// Denied, not there; [`Kind::TooLarge`] when all pins together do not fit, [`Kind::Unavailable`] when there is no
    /// room for it now. Refused, it is not pinned.
    pub async fn pin(self: &Arc<Self>, caller: &Caller, path: &ModelPath) -> Result<()> {
        let permit = Arc::new(self.authorise(caller, "rookery:PinModel", &path.arn(), |_| ())?);
        let target = self.find(path, None, ()).await?;
        let version = target.pointer.version;
        let (service, asked) = (self.clone(), permit.clone());
        blocking(move || service.store.read(&asked, |read| service.would_fit(read, Some(version)))).await?;
        // Loaded before it is pinned and held until it is, so that what is pinned is in memory.
        let (held, _) = self.hold(&target.pointer).await?;
        let (service, path, by) = (self.clone(), path.clone(), caller.principal().arn.clone());
        blocking(move || {
            let epoch = service.store.write(&permit, |tx| {
                loaded::pin(tx, &path)?;
                if models::pointer(tx, &path)?.is_none_or(|pointer| pointer.version != version) {
                    return Err(Error::conflict(format!("model `{path}` was replaced a moment ago; send the request again")));
                }
                service.pins_fit(tx)?;
                audit::record(tx, &by, "rookery:PinModel", &path.arn())?;
                Ok(tx.epochs()?.models)
            })?;
            service.catalog.forget(&path, epoch);
            service.refresh_pins()?;
            drop(held);
            Ok(())
        })
        .await
    }

    /// Loads what a path points at, ahead of its first call. Returns whether it was loaded already.
    ///
    /// # Errors
    /// Denied, not there, no room.
    pub async fn load_model(self: &Arc<Self>, caller: &Caller, path: &ModelPath) -> Result<bool> {
        let _permit = self.authorise(caller, "rookery:LoadModel", &path.arn(), |_| ())?;
        let target = self.find(path, None, ()).await?;
        let (_held, already) = self.hold(&target.pointer).await?;
        Ok(already)
    }

    /// The model behind `pointer`, loaded if it is not, and whether it was.
    async fn hold(self: &Arc<Self>, pointer: &Pointer) -> Result<(Lease<Loaded>, bool)> {
        match self.cache.join(&pointer.version)? {
            Join::Hit(lease) => Ok((lease, true)),
            Join::Wait(waiting) => Ok((waiting.await?, true)),
            Join::Load(ticket) => {
                let (service, pointer) = (self.clone(), pointer.clone());
                let load = move || ticket.load(pointer.weight as u64, || service.read_model(&pointer, None));
                Ok((blocking(load).await?, false))
            }
        }
    }

    /// Loads what was in use before, `times` out of [`FREQUENCY_MAX`].
    fn load_again(&self, pointer: &Pointer, times: u8) -> Result<bool> {
        match self.cache.join(&pointer.version)? {
            Join::Load(ticket) => ticket.load_used(times, pointer.weight as u64, || self.read_model(pointer, None)).map(|_| false),
            _ => Ok(true),
        }
    }

    /// Loads what a pinned path points at since it was written to, so that the next call does not wait for it.
    pub(super) fn load_pinned(&self, path: &ModelPath) {
        let found = self.store.snapshot(|read| {
            let pinned = loaded::pins(read)?.iter().any(|(pinned, _)| pinned == path.as_str());
            if pinned { models::pointer(read, path) } else { Ok(None) }
        });
        let loaded = found.and_then(|found| found.map_or(Ok(true), |pointer| self.load_again(&pointer, FREQUENCY_MAX)));
        if let Err(error) = loaded {
            tracing::warn!(%path, ?error, "the new version of a pinned model could not be loaded yet");
        }
    }

    /// Refuses a write after which all pinned models together would not fit.
    pub(super) fn pins_fit(&self, read: &Read<'_>) -> Result<()> {
        self.would_fit(read, None)
    }

    /// Refuses when all pinned models and `more` together do not fit.
    fn would_fit(&self, read: &Read<'_>, more: Option<Version>) -> Result<()> {
        let (mut total, budget) = (0, self.cache.budget());
        let versions: HashSet<Version> = loaded::pins(read)?.into_iter().map(|(_, version)| version).chain(more).collect();
        for version in versions {
            total += models::version_pointer(read, version)?.map_or(0, |pointer| pointer.weight as u64);
        }
        if total > budget && budget > 0 {
            return Err(Error::new(
                Kind::TooLarge,
                format!("all pinned models together would take {total} bytes, the cache has {budget}; unpin one or raise --memory"),
            ));
        }
        Ok(())
    }

    /// Lets a path's version be evicted again.
    ///
    /// # Errors
    /// Denied, not pinned.
    pub fn unpin(&self, caller: &Caller, path: &ModelPath) -> Result<()> {
        let permit = self.authorise(caller, "rookery:PinModel", &path.arn(), |_| ())?;
        let epoch = self.store.write(&permit, |tx| {
            loaded::unpin(tx, path)?;
            audit::record(tx, &caller.principal().arn, "rookery:UnpinModel", &path.arn())?;
            Ok(tx.epochs()?.models)
        })?;
        self.catalog.forget(path, epoch);
        self.refresh_pins()
    }

    /// Tells the cache which versions are pinned now.
    pub(super) fn refresh_pins(&self) -> Result<()> {
        self.read_pins(|| self.store.snapshot(loaded::pins))
    }

    /// Tells the cache what `read` finds pinned: one at a time, so that what was read last is told last.
    pub(super) fn read_pins(&self, read: impl FnOnce() -> Result<Vec<(String, Version)>>) -> Result<()> {
        let _order = self.pinning.lock().unwrap_or_else(PoisonError::into_inner);
        self.cache.set_pins(read()?.into_iter().map(|(_, version)| version).collect());
        Ok(())
    }

    /// Loads in the background what is pinned and what was hot before the last stop, until the room is used.
    ///
    /// # Errors
    /// When the file cannot be read or the system gives no thread.
    pub fn restore_hot(self: &Arc<Self>) -> Result<()> {
        self.refresh_pins()?;
        let (pins, hot) = self.store.snapshot(|read| Ok((loaded::pins(read)?, loaded::hot(read)?)))?;
        let service = self.clone();
        let run = move || {
            let wanted: Vec<Version> = pins.into_iter().map(|(_, version)| version).chain(hot).collect();
            let mut count = 0;
            for (at, &version) in wanted.iter().enumerate() {
                // One that is too large for what is left leaves it to smaller ones.
                let full = |pointer: Pointer| service.cache.used() + pointer.weight as u64 > service.cache.budget();
                let known = service.store.snapshot(|read| models::version_pointer(read, version));
                if known.is_ok_and(|known| known.is_some_and(full)) {
                    continue;
                }
                // Also what an earlier release prepared comes back, made anew.
                let pointer = match service.current(version) {
                    Ok(Some(pointer)) => pointer,
                    Ok(None) => continue,
                    Err(error) => {
                        tracing::warn!(%version, ?error, "a model that was hot could not be loaded again");
                        continue;
                    }
                };
                // The hottest first, and the last to go.
                let coldness = at * usize::from(FREQUENCY_MAX) / wanted.len();
                let times = FREQUENCY_MAX.saturating_sub(u8::try_from(coldness).unwrap_or(FREQUENCY_MAX));
                match service.load_again(&pointer, times) {
                    Ok(_) => count += 1,
                    Err(error) => tracing::warn!(%version, ?error, "a model that was hot could not be loaded again"),
                }
            }
            service.restored.store(true, Ordering::SeqCst);
            if count > 0 {
                tracing::info!(count, "loaded again what was in use before the stop");
            }
        };
        thread::Builder::new().name("restore-hot".to_owned()).spawn(run).map_err(Error::internal)?;
        Ok(())
    }

    /// Keeps what is hot now for the next start.
    pub fn remember_hot(&self) {
        if !self.restored.load(Ordering::SeqCst) {
            return;
        }
        let kept = self.store.snapshot(loaded::hot).unwrap_or_default();
        let places: HashMap<Version, usize> = kept.iter().enumerate().map(|(place, version)| (*version, place)).collect();
        let mut entries = self.cache.inspect();
        // Of those used alike since the start, which may be never, whichever was hotter before it.
        entries.sort_by_key(|entry| (Reverse(entry.hits), places.get(&entry.key).copied().unwrap_or(usize::MAX)));
        entries.truncate(HOT);
        let versions: Vec<Version> = entries.into_iter().map(|entry| entry.key).collect();
        if kept == versions {
            return;
        }
        if let Err(error) = self.store.housekeeping(|tx| loaded::set_hot(tx, &versions)) {
            tracing::error!(?error, "the hot set could not be kept");
        }
    }
}
