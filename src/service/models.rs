//! Models: upload, list, show, history, rollback, delete.
//!
//! An upload streams into staged pieces, is prepared (which is where everything wrong with it is found), and becomes
//! visible by one small transaction; refused or abandoned, nothing of it stays. Next: `invoke.rs`, which serves them.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};
use tokio::sync::OwnedSemaphorePermit;

use super::Service;
use super::endpoints::Endpoint;
use super::invoke::blocking;
use crate::artifact::Artifact;
use crate::authn::Caller;
use crate::error::{Error, Kind, Result};
use crate::names::{EndpointName, MODEL_PATH_MAX, ModelPath, Version};
use crate::policy::Permit;
use crate::runtime::{self, Prepared, Summary, prepared};
use crate::store::blobs::{self, BlobId, BlobReader, CHUNK};
use crate::store::models::{self, Entry, NewVersion, Precondition};
use crate::store::{Tx, audit, endpoints};

/// Bytes gathered before they are written out; a smaller artifact is written once, with its pointer.
pub const BATCH: usize = 4 * CHUNK;
/// The most bytes one transaction writes.
pub(super) const TRANSACTION: usize = 16 * CHUNK;
/// The longest page of a list.
pub const PAGE_MAX: usize = 1000;
/// The character after `/`: a collection's name and this stand behind all paths in it, and before all others behind those.
const BEHIND: char = '0';

/// A model as it is listed.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Its path.
    pub path: String,
    /// The current version.
    pub version: Version,
    /// The artifact's bytes.
    pub bytes: u64,
    /// What it is.
    pub summary: Summary,
    /// Whether it is in memory now.
    pub loaded: bool,
    /// When the path first was published.
    pub created_at: i64,
    /// When it last was.
    pub updated_at: i64,
}

/// A page of a list.
#[derive(Debug, Clone)]
pub struct Page {
    /// In path order.
    pub models: Vec<Shown>,
    /// Where the next page begins after; `None` at the end.
    pub next: Option<String>,
}

/// What an upload or rollback came to.
#[derive(Debug, Clone)]
pub struct Published {
    /// Where.
    pub path: ModelPath,
    /// What.
    pub version: Version,
    /// Whether the path is new.
    pub created: bool,
    /// What it is.
    pub summary: Summary,
}

/// What uploads under way have staged: it is not for the sweep, however slowly they come or long they wait.
#[derive(Debug, Default)]
pub(super) struct Live(Mutex<HashSet<BlobId>>);

impl Live {
    fn set(&self) -> MutexGuard<'_, HashSet<BlobId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn all(&self) -> Vec<BlobId> {
        self.set().iter().copied().collect()
    }
}

/// The pieces of an upload that are in the store already.
#[derive(Debug)]
struct Staged {
    live: Arc<Live>,
    blob: BlobId,
}

impl Staged {
    fn new(live: &Arc<Live>, blob: BlobId) -> Self {
        live.set().insert(blob);
        Self { live: live.clone(), blob }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        self.live.set().remove(&self.blob);
    }
}

/// An upload under way. Dropped unfinished, it leaves nothing.
#[derive(Debug)]
pub struct Upload {
    service: Arc<Service>,
    permit: Arc<Permit>,
    caller: Caller,
    by: String,
    path: ModelPath,
    precondition: Precondition,
    buffer: Vec<u8>,
    staged: Option<Staged>,
    pieces: usize,
    hash: Sha256,
    total: u64,
}

impl Upload {
    /// Takes the next bytes. Returns whether [`Upload::flush`] is due.
    ///
    /// # Errors
    /// [`Kind::TooLarge`] past the limit.
    pub fn push(&mut self, bytes: &[u8]) -> Result<bool> {
        self.total += bytes.len() as u64;
        let limit = self.service.options.upload;
        if self.total > limit {
            return Err(Error::new(Kind::TooLarge, format!("the artifact is larger than {limit} bytes, the most that can be uploaded")));
        }
        self.hash.update(bytes);
        self.buffer.extend_from_slice(bytes);
        Ok(self.buffer.len() >= BATCH)
    }

    /// Bytes that it holds.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Writes whole pieces out. Blocks.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn flush(&mut self) -> Result<()> {
        let whole = self.buffer.len() / CHUNK * CHUNK;
        self.write_out(whole)
    }

    fn write_out(&mut self, count: usize) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        let (staged, pieces) = (self.staged.as_ref().map(|staged| staged.blob), self.pieces);
        let bytes = self.buffer.get(..count).unwrap_or_default();
        let blob = self.service.store.write(&self.permit, |tx| {
            let blob = staged.map_or_else(|| blobs::begin(tx), Ok)?;
            blobs::append(tx, blob, pieces, bytes)?;
            Ok(blob)
        })?;
        if staged.is_none() {
            self.staged = Some(Staged::new(&self.service.live, blob));
        }
        self.pieces += count.div_ceil(CHUNK);
        self.buffer.drain(..count);
        Ok(())
    }

    /// Prepares and publishes what was uploaded. When this returns `Ok`, the model is on disk and every later request is
    /// answered by it. Its turn is waited for before a thread is taken.
    ///
    /// # Errors
    /// The refusal, naming the member and the reason; [`Kind::Precondition`]; [`Kind::Unavailable`] when too many wait.
    pub async fn finish(mut self) -> Result<Published> {
        let turn = self.service.preparing.turn().await?;
        blocking(move || {
            let published = self.check_and_publish(turn);
            // Here it may block, so that nothing is left when the refusal is read.
            let staged = self.staged.take();
            self.discard(staged.as_ref().map(|staged| staged.blob));
            published
        })
        .await
    }

    fn check_and_publish(&mut self, turn: OwnedSemaphorePermit) -> Result<Published> {
        // The body may have taken long; whoever sent it must still be allowed to.
        let caller = self.service.renew(&self.caller)?;
        self.permit = Arc::new(self.service.authorise(&caller, "s3:PutObject", &self.path.arn(), |_| ())?);
        if self.total == 0 {
            return Err(Error::invalid("the body is empty; send the model file's bytes"));
        }
        if self.staged.is_some() {
            self.write_out(self.buffer.len())?;
        }
        let version = Version(std::mem::take(&mut self.hash).finalize().into());
        let made = self.prepare()?;
        drop(turn);
        let (weight, budget) = (made.summary.weight, self.service.cache.budget());
        if weight as u64 > budget {
            return Err(Error::new(
                Kind::TooLarge,
                format!("loaded, `{}` takes {weight} bytes and the server has {budget} for all models; raise --memory", self.path),
            ));
        }
        let prepared = self.stage_large(&made.bytes)?;
        let published = self.publish(version, &made, prepared);
        match published {
            // What was staged is pointed at now, or dropped as a duplicate.
            Ok(_) => self.staged = None,
            Err(_) => self.discard(prepared),
        }
        let created = published?;
        Ok(Published { path: self.path.clone(), version, created, summary: made.summary })
    }

    fn prepare(&self) -> Result<Prepared> {
        let service = &self.service;
        let limits = service.options.archive;
        let artifact = match self.staged.as_ref().map(|staged| staged.blob) {
            None => Artifact::read_if(self.buffer.as_slice(), self.total, limits, runtime::may_be_known)?,
            Some(blob) => service.store.read(&self.permit, |read| {
                // Nothing but the sweep removes what is staged for an upload under way.
                let reader = BlobReader::open(read, blob).map_err(|error| match error.kind() {
                    Kind::NotFound => blobs::swept(),
                    _ => error,
                })?;
                Artifact::read_if(reader, self.total, limits, runtime::may_be_known)
            })?,
        };
        runtime::prepare(artifact)
    }

    /// Stages a prepared form too large for one transaction; a small one is written with the pointer.
    fn stage_large(&self, bytes: &[u8]) -> Result<Option<BlobId>> {
        if bytes.len() <= TRANSACTION {
            return Ok(None);
        }
        let store = &self.service.store;
        let blob = store.write(&self.permit, blobs::begin)?;
        for (index, slice) in bytes.chunks(TRANSACTION).enumerate() {
            let appended = store.write(&self.permit, |tx| blobs::append(tx, blob, index * (TRANSACTION / CHUNK), slice));
            if appended.is_err() {
                self.discard(Some(blob));
            }
            appended?;
        }
        Ok(Some(blob))
    }

    fn publish(&self, version: Version, made: &Prepared, prepared: Option<BlobId>) -> Result<bool> {
        let summary = serde_json::to_string(&made.summary).map_err(Error::internal)?;
        let whole = |tx: &Tx<'_>, bytes: &[u8]| {
            let blob = blobs::begin(tx)?;
            blobs::append(tx, blob, 0, bytes)?;
            Ok(blob)
        };
        let work = |tx: &Tx<'_>| {
            let artifact = self.staged.as_ref().map_or_else(|| whole(tx, &self.buffer), |staged| Ok(staged.blob))?;
            let prepared = prepared.map_or_else(|| whole(tx, &made.bytes), Ok)?;
            models::create_version(
                tx,
                &NewVersion {
                    version,
                    artifact,
                    prepared,
                    prepared_format: prepared::FORMAT,
                    format: &made.summary.format,
                    summary: &summary,
                    weight: made.summary.weight,
                },
            )?;
            models::publish(tx, &self.path, version, &self.by, self.precondition, self.service.options.keep_versions)
        };
        self.service.change_model(&self.permit, &self.by, "s3:PutObject", &self.path, work)
    }

    fn discard(&self, blob: Option<BlobId>) {
        if let Some(blob) = blob {
            discard(&self.service, &self.permit, blob);
        }
    }
}

fn discard(service: &Service, permit: &Permit, blob: BlobId) {
    if let Err(error) = service.store.write(permit, |tx| blobs::discard(tx, blob)) {
        tracing::warn!(?error, "what a refused upload staged is left for the sweep");
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(staged) = self.staged.take() else { return };
        let (service, permit) = (self.service.clone(), self.permit.clone());
        let work = move || discard(&service, &permit, staged.blob);
        // A sender that broke off is noticed on the thread that takes requests, which must not wait for the file. A
        // runtime that is stopping drops the work; then the sweep does it.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(work)),
            Err(_) => work(),
        }
    }
}

impl Service {
    /// A write that moves a model pointer: nothing remembered about the path outlives it.
    fn change_model<T>(
        &self,
        permit: &Permit,
        by: &str,
        action: &str,
        path: &ModelPath,
        work: impl FnOnce(&Tx<'_>) -> Result<T>,
    ) -> Result<T> {
        let (done, epoch) = self.store.write(permit, |tx| {
            let done = work(tx)?;
            self.pins_fit(tx)?;
            audit::record(tx, by, action, &path.arn())?;
            Ok((done, tx.epochs()?.models))
        })?;
        self.catalog.forget(path, epoch);
        tracing::info!(target: "rookery::audit", principal = by, action, resource = path.arn(), "changed");
        self.refresh_pins()?;
        self.load_pinned(path);
        Ok(done)
    }

    /// Begins an upload to `path`.
    ///
    /// # Errors
    /// Denied.
    pub fn upload(self: &Arc<Self>, caller: &Caller, path: ModelPath, precondition: Precondition) -> Result<Upload> {
        let permit = self.authorise(caller, "s3:PutObject", &path.arn(), |_| ())?;
        Ok(Upload {
            service: self.clone(),
            permit: Arc::new(permit),
            caller: caller.clone(),
            by: caller.principal().arn.clone(),
            path,
            precondition,
            buffer: Vec::new(),
            staged: None,
            pieces: 0,
            hash: Sha256::new(),
            total: 0,
        })
    }

    fn shown(&self, listed: models::Listed) -> Result<Shown> {
        Ok(Shown {
            loaded: self.cache.contains(&listed.version),
            summary: serde_json::from_str(&listed.summary).map_err(Error::internal)?,
            path: listed.path,
            version: listed.version,
            bytes: listed.bytes,
            created_at: listed.created_at,
            updated_at: listed.updated_at,
        })
    }

    /// Up to `count` models under `prefix` after the path `after`, in path order.
    ///
    /// # Errors
    /// Denied; a prefix longer than any path.
    pub fn models(&self, caller: &Caller, prefix: &str, after: &str, count: usize) -> Result<Page> {
        // Policies are asked about it, at a time that its length says.
        if prefix.len() > MODEL_PATH_MAX {
            return Err(Error::invalid(format!("the prefix is {} bytes long; paths are at most {MODEL_PATH_MAX}", prefix.len())));
        }
        let collection = prefix.split('/').next().filter(|first| !first.is_empty() && prefix.contains('/')).unwrap_or("*");
        let permit = self.authorise(caller, "s3:ListBucket", &format!("arn:aws:s3:::{collection}"), |context| {
            context.set("s3:prefix", vec![prefix.split_once('/').map_or(prefix, |(_, rest)| rest).to_owned().into()]);
        })?;
        let count = count.min(PAGE_MAX);
        let mut listed = Vec::new();
        let (mut from, mut seen) = (after.to_owned(), HashMap::new());
        loop {
            let asked = count - listed.len();
            let page = self.store.read(&permit, |read| models::list(read, prefix, &from, asked))?;
            let is_last = page.len() < asked;
            for one in page {
                // The whole list was asked for: collections that are denied one by one are left out of it, unread. Where the
                // next page begins must not name what is in them either.
                let of = one.path.split('/').next().unwrap_or_default();
                let shown = collection != "*"
                    || *seen.entry(of.to_owned()).or_insert_with(|| self.may(caller, "s3:ListBucket", &format!("arn:aws:s3:::{of}")));
                if shown {
                    from.clone_from(&one.path);
                    listed.push(one);
                } else {
                    from = format!("{of}{BEHIND}");
                }
            }
            if is_last || listed.len() == count {
                break;
            }
        }
        let next = (listed.len() == count).then(|| listed.last().map(|last| last.path.clone())).flatten();
        let models = listed.into_iter().map(|one| self.shown(one)).collect::<Result<_>>()?;
        Ok(Page { models, next })
    }

    /// One model.
    ///
    /// # Errors
    /// Denied, not there.
    pub fn model_shown(&self, caller: &Caller, path: &ModelPath) -> Result<Shown> {
        let permit = self.authorise(caller, "s3:GetObject", &path.arn(), |_| ())?;
        let found = self.store.read(&permit, |read| models::show(read, path))?;
        self.shown(found.ok_or_else(|| no_model(path))?)
    }

    /// What a path has pointed at, latest first.
    ///
    /// # Errors
    /// Denied, not there.
    pub fn model_history(&self, caller: &Caller, path: &ModelPath) -> Result<Vec<Entry>> {
        let permit = self.authorise(caller, "s3:GetObject", &path.arn(), |_| ())?;
        let entries = self.store.read(&permit, |read| models::history(read, path))?;
        if entries.is_empty() { Err(no_model(path)) } else { Ok(entries) }
    }

    /// Points a path back at `version`, or at the one before the current.
    ///
    /// # Errors
    /// Denied, not there, nothing earlier kept.
    pub fn roll_back(&self, caller: &Caller, path: &ModelPath, version: Option<Version>, precondition: Precondition) -> Result<Published> {
        let permit = self.authorise(caller, "s3:PutObject", &path.arn(), |_| ())?;
        let keep = self.options.keep_versions;
        let by = caller.principal().arn.clone();
        let version = self.change_model(&permit, &by, "s3:PutObject", path, |tx| {
            let entries = models::history(tx, path)?;
            let current = entries.iter().find(|entry| entry.current).ok_or_else(|| no_model(path))?;
            let wanted = match version {
                Some(wanted) => entries.iter().find(|entry| entry.version == wanted),
                None => entries.iter().find(|entry| entry.seq < current.seq && entry.version != current.version),
            };
            let wanted = wanted.ok_or_else(|| {
                let which = version.map_or_else(|| "no earlier version".to_owned(), |version| format!("no version `{version}`"));
                let list = format!("`rookery model show {path}` and GET /api/v1/versions/{path} list those that are");
                Error::not_found(format!("{which} of `{path}` is kept; {list}"))
            });
            let wanted = wanted?.version;
            models::publish(tx, path, wanted, &by, precondition, keep)?;
            Ok(wanted)
        })?;
        let summary = self.model_shown_unasked(&permit, path)?;
        Ok(Published { path: path.clone(), version, created: false, summary })
    }

    fn model_shown_unasked(&self, permit: &Permit, path: &ModelPath) -> Result<Summary> {
        let found = self.store.read(permit, |read| models::show(read, path))?.ok_or_else(|| no_model(path))?;
        serde_json::from_str(&found.summary).map_err(Error::internal)
    }

    /// Removes a path and the versions only it had.
    ///
    /// # Errors
    /// Denied, not there; [`Kind::Conflict`] while an endpoint always runs it.
    pub fn delete_model(&self, caller: &Caller, path: &ModelPath, precondition: Precondition) -> Result<()> {
        let permit = self.authorise(caller, "s3:DeleteObject", &path.arn(), |_| ())?;
        let by = caller.principal().arn.clone();
        self.change_model(&permit, &by, "s3:DeleteObject", path, |tx| {
            for kept in endpoints::all(tx)? {
                if Endpoint::kept_needs(&kept, path)? {
                    // Its name only to those who may see it.
                    let arn = EndpointName::parse(&kept.name)?.arn();
                    let seen = self.may(caller, "sagemaker:DescribeEndpoint", &arn);
                    let name = if seen { format!("endpoint `{}`", kept.name) } else { "an endpoint".to_owned() };
                    return Err(Error::conflict(format!("{name} runs `{path}`; delete the endpoint first")));
                }
            }
            models::delete(tx, path, precondition)
        })
    }
}

fn no_model(path: &ModelPath) -> Error {
    Error::not_found(format!("there is no model `{path}`"))
}
