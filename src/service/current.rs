//! Pointers that can be loaded by: whoever needs one gets it here, its prepared form of this build's format.
//!
//! A build that writes another format than the last makes a version's form again from its artifact when it is first
//! needed: one form at a time, in turn with uploads that are checked, and each one once however many wait for it. Next:
//! `catalog.rs`, which remembers pointers; `invoke.rs` and `memory.rs`, which load by them.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Service;
use super::catalog::Target;
use super::invoke::blocking;
use super::models::TRANSACTION;
use crate::artifact::Artifact;
use crate::error::{Error, Kind, Result};
use crate::names::{ModelPath, Version};
use crate::runtime::{self, Prepared, prepared};
use crate::store::blobs::{self, BlobId, BlobReader, CHUNK};
use crate::store::models::{self, NewVersion, Pointer};

/// Uploads that wait to be prepared, each with at most 4 MiB in memory; more are answered 503.
const WAITING_MAX: usize = 64;
/// How long a form that could not be made answers for the next who need it.
const FAILURE_MEMORY: Duration = Duration::from_secs(2);

/// Forms that could not be made a moment ago.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<HashMap<Version, (Error, Instant)>>);

impl Failures {
    fn check(&self, version: Version) -> Result<()> {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failures.retain(|_, (_, at)| at.elapsed() < FAILURE_MEMORY);
        failures.get(&version).map_or(Ok(()), |(error, _)| Err(error.clone()))
    }

    fn note(&self, version: Version, error: &Error) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failures.insert(version, (error.clone(), Instant::now()));
    }
}

/// Who prepares: one at a time, since a small artifact may unpack to a large one and takes several times that in memory.
#[derive(Debug)]
pub(super) struct Preparing {
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
    failures: Failures,
}

impl Default for Preparing {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(1)), waiting: AtomicUsize::new(0), failures: Failures::default() }
    }
}

impl Preparing {
    /// A turn for an upload, when not too many wait already.
    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit> {
        /// Gives the place back also when the sender goes away.
        struct Place<'a>(&'a AtomicUsize);
        impl Drop for Place<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let before = self.waiting.fetch_add(1, Ordering::SeqCst);
        let _place = Place(&self.waiting);
        if before >= WAITING_MAX {
            return Err(Error::new(Kind::Unavailable, "too many uploads wait to be checked; send this one again in a second"));
        }
        self.next().await
    }

    /// As [`Preparing::turn`], for a prediction whose model is to be made ready again; how many there are is bounded.
    async fn next(&self) -> Result<OwnedSemaphorePermit> {
        self.turns.clone().acquire_owned().await.map_err(Error::internal)
    }

    /// As [`Preparing::next`], for a thread of one's own: it waits here. On a thread of the pool, whoever has the turn and
    /// needs one too could wait for ever.
    fn wait(&self) -> Result<OwnedSemaphorePermit> {
        struct Unpark(Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        let mut turn = pin!(self.next());
        loop {
            match turn.as_mut().poll(&mut context) {
                Poll::Ready(turn) => return turn,
                Poll::Pending => thread::park(),
            }
        }
    }
}

impl Service {
    /// Asks the store what a path points at, and remembers it for endpoints of `maker`. Waits for a turn where the form
    /// is to be made again, on no thread; `held` is let go when the last work for it ends.
    pub(super) async fn find(
        self: &Arc<Self>,
        path: &ModelPath,
        maker: Option<&Arc<str>>,
        held: impl Clone + Send + 'static,
    ) -> Result<Arc<Target>> {
        let look = |turn: Option<OwnedSemaphorePermit>| {
            let (service, path, maker, held) = (self.clone(), path.clone(), maker.cloned(), held.clone());
            blocking(move || {
                let _held = held;
                service.look_up(&path, maker, turn.as_ref())
            })
        };
        if let Some(target) = look(None).await? {
            return Ok(target);
        }
        let turn = self.preparing.next().await?;
        look(Some(turn)).await?.ok_or_else(changing)
    }

    /// As [`Service::find`]; `None` when the form is to be made again and there is no turn to do it in.
    fn look_up(&self, path: &ModelPath, maker: Option<Arc<str>>, turn: Option<&OwnedSemaphorePermit>) -> Result<Option<Arc<Target>>> {
        // A form made here is looked up once more: what is remembered was read after the write.
        for _ in 0..2 {
            let generation = self.catalog.generation();
            let pointer = self.store.snapshot(|read| models::pointer(read, path))?;
            let pointer = pointer.ok_or_else(|| Error::not_found(format!("there is no model `{path}`")))?;
            if pointer.prepared_format == prepared::FORMAT {
                let target = Arc::new(Target::new(path.clone(), maker, pointer, self.metrics.model(path.as_str())));
                self.catalog.remember(&target, generation);
                return Ok(Some(target));
            }
            let Some(turn) = turn else { return Ok(None) };
            self.prepare_again(&pointer, turn)?;
        }
        Err(changing())
    }

    /// The pointer of a version, if it is kept. Blocks, also for a turn; so only for a thread of one's own.
    pub(super) fn current(&self, version: Version) -> Result<Option<Pointer>> {
        let ask = || self.store.snapshot(|read| models::version_pointer(read, version));
        let is_old = |pointer: &Pointer| pointer.prepared_format != prepared::FORMAT;
        if !ask()?.as_ref().is_some_and(is_old) {
            return ask();
        }
        let turn = self.preparing.wait()?;
        // Asked again, since another may have had the turn for it.
        if let Some(old) = ask()?.filter(is_old) {
            self.prepare_again(&old, &turn)?;
        }
        ask()
    }

    /// Makes a version's prepared form anew, for this build's format. The pointer was read in this turn, so that of many
    /// who wait the first alone gets here.
    fn prepare_again(&self, pointer: &Pointer, _turn: &OwnedSemaphorePermit) -> Result<()> {
        self.preparing.failures.check(pointer.version)?;
        let made = self.make_form(pointer).and_then(|made| self.put_form(pointer, &made));
        if let Err(error) = &made
            && !matches!(error.kind(), Kind::NotFound | Kind::Unavailable)
        {
            tracing::error!(version = %pointer.version, ?error, "a prepared form could not be made again");
            self.preparing.failures.note(pointer.version, error);
        }
        made
    }

    fn make_form(&self, pointer: &Pointer) -> Result<Prepared> {
        let artifact = self.store.snapshot(|read| {
            let reader = BlobReader::open(read, pointer.artifact)?;
            let length = reader.length();
            Artifact::read_if(reader, length, self.options.archive, runtime::may_be_known)
        })?;
        // It was taken once, so it is no fault of whoever asks now.
        runtime::prepare(artifact).map_err(|error| match error.kind() {
            Kind::Validation => error.as_kind(Kind::Model).within("this release cannot serve the model any more"),
            _ => error,
        })
    }

    fn put_form(&self, pointer: &Pointer, made: &Prepared) -> Result<()> {
        let version = pointer.version;
        let summary = serde_json::to_string(&made.summary).map_err(Error::internal)?;
        let staged = self.stage_form(&made.bytes)?;
        let put = self.store.housekeeping(|tx| {
            let blob = match staged {
                Some(blob) => blob,
                None => {
                    let blob = blobs::begin(tx)?;
                    blobs::append(tx, blob, 0, &made.bytes)?;
                    blob
                }
            };
            let new = NewVersion {
                version,
                artifact: pointer.artifact,
                prepared: blob,
                prepared_format: prepared::FORMAT,
                format: &made.summary.format,
                summary: &summary,
                weight: made.summary.weight,
            };
            models::replace_prepared(tx, &new)?;
            Ok(tx.epochs()?.models)
        });
        match (put, staged) {
            (Ok(epoch), _) => {
                // Pointers to the form that is gone are remembered by nobody.
                self.catalog.contains(epoch);
                tracing::info!(%version, "made a prepared form again for this release");
                Ok(())
            }
            (Err(error), Some(blob)) => {
                self.drop_form(blob);
                Err(error)
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Stages a form too large for one transaction.
    fn stage_form(&self, bytes: &[u8]) -> Result<Option<BlobId>> {
        if bytes.len() <= TRANSACTION {
            return Ok(None);
        }
        let blob = self.store.housekeeping(blobs::begin)?;
        for (index, slice) in bytes.chunks(TRANSACTION).enumerate() {
            let appended = self.store.housekeeping(|tx| blobs::append(tx, blob, index * (TRANSACTION / CHUNK), slice));
            if appended.is_err() {
                self.drop_form(blob);
            }
            appended?;
        }
        Ok(Some(blob))
    }

    fn drop_form(&self, blob: BlobId) {
        if let Err(error) = self.store.housekeeping(|tx| blobs::discard(tx, blob)) {
            tracing::warn!(?error, "what was staged of a prepared form is left for the sweep");
        }
    }
}

fn changing() -> Error {
    Error::new(Kind::Unavailable, "the model is being replaced; send the request again")
}
