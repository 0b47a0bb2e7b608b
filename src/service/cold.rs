//! Models that are not in memory: looked up, read from their prepared forms, put into the cache.
//!
//! What waits here is counted and timed; what is warm never comes here but to be asked again who may have it. Next:
//! `catalog.rs`, `../cache/mod.rs`, `../runtime/prepared.rs`.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Service;
use super::catalog::Target;
use super::endpoints::Variant;
use super::invoke::{Loaded, Place, Ready, Served, Slot, Stages, blocking, micros};
use crate::cache::Join;
use crate::error::{Error, Kind, Result};
use crate::metrics::VariantMetrics;
use crate::policy::Permit;
use crate::runtime;
use crate::store::blobs::BlobReader;
use crate::store::models::Pointer;

/// How often a path that is being replaced is looked up for one request.
const TRIES: usize = 5;

impl Service {
    /// Every stage's model, and whether one of them had to be loaded.
    pub(super) async fn cold(
        self: &Arc<Self>,
        permit: &Permit,
        places: &[Place],
        served: Served<'_>,
        variant: &Variant,
        slot: &Arc<Slot>,
    ) -> Result<(Stages<Ready>, bool)> {
        let (mut ready, mut loaded) = (Stages::with_capacity(places.len()), false);
        for place in places {
            let now = Instant::now();
            let asked = self.may_serve(served.endpoint, &place.path)?;
            let mut target = self.catalog.get(&place.path, served.endpoint.maker.as_deref());
            let mut tries = 0;
            loop {
                let found = match target.take() {
                    Some(found) => found,
                    None => self.find(&place.path, served.endpoint.maker.as_ref(), slot.clone()).await?,
                };
                found.allow(asked, now);
                tries += 1;
                match self.model(permit, place, found, variant, slot).await {
                    // Replaced between looking and loading: the store is asked again, not the memory of it. A path that
                    // is gone ends above.
                    Err(error) if error.kind() == Kind::NotFound && tries < TRIES => {}
                    Err(error) if error.kind() == Kind::NotFound => return Err(error.as_kind(Kind::Unavailable)),
                    other => {
                        let (one, was_loaded) = other?;
                        ready.push(one);
                        loaded |= was_loaded;
                        break;
                    }
                }
            }
        }
        Ok((ready, loaded))
    }

    /// A stage's model, and whether it had to be loaded.
    async fn model(
        self: &Arc<Self>,
        _permit: &Permit,
        place: &Place,
        target: Arc<Target>,
        variant: &Variant,
        slot: &Arc<Slot>,
    ) -> Result<(Ready, bool)> {
        let slot = slot.clone();
        let named = |error: Error| {
            if matches!(error.kind(), Kind::TooLarge | Kind::Internal) {
                error.within(format_args!("model `{}`", place.path))
            } else {
                error
            }
        };
        let pointer = target.pointer.clone();
        if !place.cached {
            let (service, metrics) = (self.clone(), variant.metrics.clone());
            let load = move || {
                let _slot = slot;
                service.cache.pass_through(pointer.weight as u64, || service.read_model(&pointer, Some(metrics.here())))
            };
            let lease = self.loading(load).await;
            return Ok(((target, lease.map_err(named)?), true));
        }
        let lease = match self.cache.join(&target.pointer.version).map_err(named)? {
            Join::Hit(lease) => return Ok(((target, lease), false)),
            Join::Wait(waiting) => waiting.await,
            Join::Load(ticket) => {
                let (service, metrics) = (self.clone(), variant.metrics.clone());
                let load = move || {
                    let _slot = slot;
                    ticket.load(pointer.weight as u64, || service.read_model(&pointer, Some(metrics.here())))
                };
                self.loading(load).await
            }
        };
        Ok(((target, lease.map_err(named)?), true))
    }

    /// Runs a load on the blocking pool, of which loads that wait for room must not take all: what would make room needs
    /// it too. It goes on when its caller goes away, for those who wait for the same model.
    async fn loading<T: Send + 'static>(&self, load: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let loads = self.loads.clone();
        let run = async move {
            let turn = loads.acquire_owned().await.map_err(Error::internal)?;
            blocking(move || {
                let _turn = turn;
                load()
            })
            .await
        };
        tokio::spawn(run).await.map_err(Error::internal)?
    }

    /// Reads a prepared form into a model, and counts the time of either half.
    pub(super) fn read_model(&self, pointer: &Pointer, metrics: Option<&VariantMetrics>) -> Result<Loaded> {
        let started = Instant::now();
        let build = |source: &mut dyn Read, length: u64| {
            runtime::load(&pointer.format, source, length).map_err(|error| match error.kind() {
                Kind::Unavailable => error,
                // What was checked when it was prepared is wrong only if the stored bytes are.
                _ => error.as_kind(Kind::Internal),
            })
        };
        let (model, download) = if runtime::loads_slowly(&pointer.format) {
            // No reader of the file is held meanwhile: there are few, and all else that is cold needs one.
            let mut bytes = Vec::new();
            self.store.snapshot(|read| {
                BlobReader::open(read, pointer.prepared)?.read_to_end(&mut bytes).map_err(Error::internal)?;
                Ok(())
            })?;
            let download = started.elapsed();
            (build(&mut bytes.as_slice(), bytes.len() as u64)?, download)
        } else {
            self.store.snapshot(|read| {
                let reader = BlobReader::open(read, pointer.prepared)?;
                let length = reader.length();
                let mut reader = Timed { reader, spent: started.elapsed() };
                Ok((build(&mut reader, length)?, reader.spent))
            })?
        };
        let model = Loaded(model);
        if let Some(metrics) = metrics {
            metrics.downloading.observe(micros(download));
            metrics.loading.observe(micros(started.elapsed().saturating_sub(download)));
        }
        Ok(model)
    }
}

/// A reader that knows how long it was read from.
struct Timed<R> {
    reader: R,
    spent: Duration,
}

impl<R: Read> Read for Timed<R> {
    fn read(&mut self, place: &mut [u8]) -> io::Result<usize> {
        // A few bytes take less time than the clock.
        if place.len() < 512 {
            return self.reader.read(place);
        }
        let started = Instant::now();
        let read = self.reader.read(place);
        self.spent += started.elapsed();
        read
    }
}
