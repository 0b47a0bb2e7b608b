//! The hot path: authorise, admit, find the models, decode, run the stages, encode, observe.
//!
//! Warm and small, all of it happens on the thread that took the request: no SQL, no lock held, no thread changed. A
//! cold model or long work goes to the blocking pool. Every dialect calls [`Service::invoke`]; there is no second way to
//! a model. Next: `catalog.rs` (paths to versions), `../cache/mod.rs` (versions to models), `../runtime/pipeline.rs`.

use std::io::{self, Read};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use smallvec::SmallVec;

use super::Service;
use super::catalog::Target;
use super::endpoints::{Endpoint, Source, Stage, Variant};
use crate::authn::Caller;
use crate::cache::{Join, Lease};
use crate::codec::answer::Accept;
use crate::codec::payload::{Expect, decode};
use crate::error::{Error, Kind, Result};
use crate::metrics::VariantMetrics;
use crate::names::{ACCOUNT, EndpointName, ModelPath, shown};
use crate::policy::Permit;
use crate::runtime::pipeline::{self, Blocks, Step};
use crate::runtime::{self, Model};
use crate::store::blobs::BlobReader;
use crate::store::models::Pointer;
use crate::tensor::Block;

/// Work estimated above this leaves the thread that takes requests.
const LONG_NANOS: u64 = 200_000;
/// What was judged shorter may take so many times as long before it leaves all the same.
const GIVE_UP: u64 = 4;
/// An explained answer takes about so many times as long.
const EXPLAINED: u64 = 50;
/// How often a path that is being replaced is looked up for one request.
const TRIES: usize = 5;

/// A model in memory.
#[derive(Debug)]
pub struct Loaded(Box<dyn Model>);

impl Deref for Loaded {
    type Target = dyn Model;

    fn deref(&self) -> &Self::Target {
        self.0.as_ref()
    }
}

/// A request for predictions.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The endpoint's name.
    pub endpoint: &'a str,
    /// The model under the multi-model stage's prefix.
    pub target_model: Option<&'a str>,
    /// The variant, instead of one by weight.
    pub target_variant: Option<&'a str>,
    /// What the body is.
    pub content_type: Option<&'a str>,
    /// What the answer is to be.
    pub accept: Option<&'a str>,
    /// Whether each answer is explained by what every column adds to it.
    pub explain: bool,
    /// The rows.
    pub body: &'a Bytes,
    /// When all of it was there.
    pub arrived: Instant,
}

/// Predictions.
#[derive(Debug)]
pub struct Answered<B = Vec<u8>> {
    /// The encoded answer, or what was made of it.
    pub body: B,
    /// What it is.
    pub content_type: &'static str,
    /// Waited for models.
    pub load: Duration,
    /// Decode, predict and encode.
    pub predict: Duration,
    /// When it was done.
    pub done: Instant,
    variant: Arc<str>,
    targets: Stages<Arc<Target>>,
}

impl<B> Answered<B> {
    /// The variant that answered.
    pub fn variant(&self) -> &str {
        &self.variant
    }

    fn kept<T>(self, keep: impl FnOnce(B) -> Result<T>) -> Result<Answered<T>> {
        let Self { body, content_type, load, predict, done, variant, targets } = self;
        Ok(Answered { body: keep(body)?, content_type, load, predict, done, variant, targets })
    }

    /// The version of each stage's model, in order.
    pub fn versions(&self) -> impl ExactSizeIterator<Item = &str> {
        self.targets.iter().map(|target| target.version.as_ref())
    }
}

/// One for each stage; nearly every endpoint has one or two.
type Stages<T> = SmallVec<[T; 2]>;

/// A stage with its model in hand.
type Ready = (Arc<Target>, Lease<Loaded>);

/// The endpoint that answers, and the count of access writes it was found under.
#[derive(Debug, Clone, Copy)]
struct Served<'a> {
    endpoint: &'a Endpoint,
    epoch: i64,
}

/// One of the predictions at once; gives its place back when the last piece of its work ends, also work on another
/// thread whose caller went away.
struct Slot(Arc<AtomicUsize>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Service {
    /// Answers a request for predictions. `keep` takes the encoded answer until it is sent; what it refuses counts as
    /// refused.
    ///
    /// # Errors
    /// Denied; [`Kind::Validation`] for a missing endpoint, model or malformed rows, as AWS has it; [`Kind::Model`];
    /// [`Kind::Unavailable`] when full; what `keep` returns.
    pub async fn invoke<B>(
        self: &Arc<Self>,
        caller: &Caller,
        call: Call<'_>,
        keep: impl FnOnce(Vec<u8>) -> Result<B>,
    ) -> Result<Answered<B>> {
        let (permit, endpoint, epoch) = self.permitted(caller, call.endpoint, call.target_model)?;
        let Some(endpoint) = endpoint else {
            return Err(Error::invalid(format!("Endpoint {} of account {ACCOUNT} not found.", call.endpoint)));
        };
        let variant = endpoint.pick(call.target_variant)?;
        let metrics = variant.metrics.here();
        metrics.invocations.add();
        caller.principal().metrics.invocations.add();
        let answered = self.answer(&permit, Served { endpoint: &endpoint, epoch }, variant, call).await;
        let result = answered.and_then(|answered| answered.kept(keep));
        match &result {
            Ok(answered) => {
                let overhead = answered.done.duration_since(call.arrived).saturating_sub(answered.predict);
                metrics.model_latency.observe(micros(answered.predict));
                metrics.overhead_latency.observe(micros(overhead));
            }
            Err(error) => {
                caller.principal().metrics.errors.add();
                match error.kind() {
                    Kind::Internal | Kind::Unavailable => metrics.errors_5xx.add(),
                    Kind::Model => {
                        metrics.model_errors.add();
                        metrics.errors_4xx.add();
                    }
                    _ => metrics.errors_4xx.add(),
                }
            }
        }
        result
    }

    /// Whether `caller` may invoke `endpoint` with this target model; [`Service::invoke`] asks again when it has the rows.
    ///
    /// # Errors
    /// Denied.
    pub fn may_invoke(&self, caller: &Caller, endpoint: &str, target_model: Option<&str>) -> Result<()> {
        self.permitted(caller, endpoint, target_model).map(drop)
    }

    /// Asks the policies, and then whether there is such an endpoint. Also tells of which picture both are.
    fn permitted(&self, caller: &Caller, name: &str, target_model: Option<&str>) -> Result<(Permit, Option<Arc<Endpoint>>, i64)> {
        let snapshot = self.snapshot.load();
        let found = snapshot.endpoint(name);
        let unknown_arn;
        let arn = match found {
            Some(endpoint) => endpoint.arn.as_str(),
            // Asked before it is said whether the endpoint exists.
            None => {
                unknown_arn = EndpointName::parse(name)?.arn();
                unknown_arn.as_str()
            }
        };
        let permit = self.authorise(caller, "sagemaker:InvokeEndpoint", arn, |context| {
            if let Some(target) = target_model {
                context.target_model(target);
            }
        })?;
        Ok((permit, found.cloned(), snapshot.epochs.access))
    }

    async fn answer(self: &Arc<Self>, permit: &Permit, served: Served<'_>, variant: &Variant, call: Call<'_>) -> Result<Answered> {
        let accept = Accept::parse(call.accept.filter(|asked| asked.trim() != "*/*").or(variant.accept.as_deref()))?;
        let slot = self.admit()?;
        let places = places(served.endpoint.name.as_str(), variant, call.target_model)?;
        let mut started = Instant::now();
        let mut load = Duration::ZERO;
        let ready = match self.warm(&places, served, started) {
            Some(ready) => {
                variant.metrics.here().cache_hits.add();
                ready
            }
            None => {
                let ready = self.cold(permit, &places, served, variant, &slot).await.map_err(missing_model)?;
                load = started.elapsed();
                started += load;
                variant.metrics.here().loading_wait.observe(micros(load));
                ready
            }
        };
        for (target, _) in &ready {
            target.metrics.invocations.add();
        }
        let result = self.work(&ready, &variant.stages, slot, call, accept).await;
        if result.is_err() {
            for (target, _) in &ready {
                target.metrics.errors.add();
            }
        }
        let done = Instant::now();
        Ok(Answered {
            body: result?,
            content_type: accept.content_type(),
            load,
            predict: done.duration_since(started),
            done,
            variant: variant.name.clone(),
            targets: ready.into_iter().map(|(target, _)| target).collect(),
        })
    }

    /// Decode, predict and encode: here if that is short, else where it may take its time.
    async fn work(&self, ready: &Stages<Ready>, stages: &Arc<[Stage]>, slot: Arc<Slot>, call: Call<'_>, accept: Accept) -> Result<Vec<u8>> {
        let wanted = Wanted { accept, explain: call.explain, verbose: Accept::verbose(call.accept) };
        let (explained, depth) = (if call.explain { EXPLAINED } else { 1 }, self.options.json_depth);
        if estimate(ready, call.content_type, call.body).saturating_mul(explained) <= LONG_NANOS {
            let input = read(ready, call.content_type, call.body, depth)?;
            // Rows may be written shorter than was guessed; now they are counted. What a model takes for them may hang on
            // their values too, so it gives up in time.
            if models_cost(ready, input.first().map_or(0, Block::rows)).saturating_mul(explained) <= LONG_NANOS
                && let Some(answer) = predict(ready, stages, input, wanted, Some(GIVE_UP * LONG_NANOS))?
            {
                return Ok(answer);
            }
        }
        let (ready, stages, body) = (ready.clone(), stages.clone(), call.body.clone());
        let content_type = call.content_type.map(str::to_owned);
        let long = move || {
            let _slot = slot;
            let input = read(&ready, content_type.as_deref(), &body, depth)?;
            predict(&ready, &stages, input, wanted, None)?.ok_or_else(|| Error::new(Kind::Internal, "long work gave up"))
        };
        self.long(long).await
    }

    /// Runs long `work` on the blocking pool, no more of it at once than there are cores: the pool's other threads are
    /// for sign-ins, uploads and cold models, however many long predictions wait. Who goes away while waiting is left out.
    async fn long<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let turn = self.long.clone().acquire_owned().await.map_err(Error::internal)?;
        blocking(move || {
            let _turn = turn;
            work()
        })
        .await
    }

    /// A place among the predictions at once, or a refusal: nothing queues without bound.
    fn admit(&self) -> Result<Arc<Slot>> {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let slot = Arc::new(Slot(self.in_flight.clone()));
        if before >= self.options.concurrency {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Error::new(Kind::Unavailable, "the server is at its limit of concurrent predictions; try again in a second"));
        }
        Ok(slot)
    }

    /// Every stage's model, if all are in memory.
    fn warm(&self, places: &[Place], served: Served<'_>, now: Instant) -> Option<Stages<Ready>> {
        let one = |place: &Place| {
            let target = self.catalog.get(&place.path, served.endpoint.maker.as_deref())?;
            if !target.is_allowed(served.epoch, now) {
                return None;
            }
            let lease = self.cache.get(&target.pointer.version, now)?;
            Some((target, lease))
        };
        places.iter().map(one).collect()
    }

    async fn cold(
        self: &Arc<Self>,
        permit: &Permit,
        places: &[Place],
        served: Served<'_>,
        variant: &Variant,
        slot: &Arc<Slot>,
    ) -> Result<Stages<Ready>> {
        let mut ready = Stages::with_capacity(places.len());
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
                        ready.push(other?);
                        break;
                    }
                }
            }
        }
        Ok(ready)
    }

    async fn model(
        self: &Arc<Self>,
        _permit: &Permit,
        place: &Place,
        target: Arc<Target>,
        variant: &Variant,
        slot: &Arc<Slot>,
    ) -> Result<Ready> {
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
            let lease = blocking(load).await;
            return Ok((target, lease.map_err(named)?));
        }
        let lease = match self.cache.join(&target.pointer.version).map_err(named)? {
            Join::Hit(lease) => Ok(lease),
            Join::Wait(waiting) => waiting.await,
            Join::Load(ticket) => {
                let (service, metrics) = (self.clone(), variant.metrics.clone());
                blocking(move || {
                    let _slot = slot;
                    ticket.load(pointer.weight as u64, || service.read_model(&pointer, Some(metrics.here())))
                })
                .await
            }
        };
        Ok((target, lease.map_err(named)?))
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

/// Where a stage's model is.
struct Place {
    path: ModelPath,
    cached: bool,
}

fn places(endpoint: &str, variant: &Variant, target: Option<&str>) -> Result<Stages<Place>> {
    let sources = || variant.stages.iter().filter_map(Stage::source);
    let multi = sources().any(|source| matches!(source, Source::Multi { .. }));
    if let Some(target) = target
        && !multi
    {
        tracing::trace!(target, "a target model was named where none is taken");
        return Err(Error::invalid(format!("Endpoint {endpoint} is not a multi-model endpoint and does not support target model header."))
            .with_code("TARGET_MODEL_HEADER_NOT_SUPPORTED"));
    }
    let one = |source: &Source| match (source, target) {
        (Source::Fixed(path), _) => Ok(Place { path: path.clone(), cached: true }),
        (Source::Multi { prefix, cached }, Some(target)) => Ok(Place { path: prefix.join(target)?, cached: *cached }),
        (Source::Multi { .. }, None) => Err(Error::invalid(format!(
            "The request is missing a target model header; name the model of endpoint {endpoint} in X-Amzn-SageMaker-Target-Model."
        ))),
    };
    sources().map(one).collect()
}

/// At the runtime a missing model is the request's fault, as AWS has it.
fn missing_model(error: Error) -> Error {
    if error.kind() == Kind::NotFound { error.as_kind(Kind::Validation) } else { error }
}

/// What is to come out.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    accept: Accept,
    explain: bool,
    verbose: bool,
}

/// About how long decode, predict and encode take, in nanoseconds.
fn estimate(ready: &[Ready], content_type: Option<&str>, body: &[u8]) -> u64 {
    let columns = ready.first().map_or(1, |(_, model)| model.schema().features.max(1));
    // A value takes two bytes at least, and about six as written.
    let rows = (body.len() / (columns * 4)).max(1);
    let dense = body.len() as u64 * 10 + columns as u64 * 2 + models_cost(ready, rows);
    // A sparse row spreads over all columns however short it is written.
    let cells = (body.len() / 2).min(pipeline::CELLS_MAX / columns) * columns;
    if cells as u64 > LONG_NANOS && dense <= LONG_NANOS && may_be_sparse(content_type, body) { cells as u64 } else { dense }
}

/// About how long models and encoder take for `rows`, in nanoseconds.
fn models_cost(ready: &[Ready], rows: usize) -> u64 {
    ready.iter().map(|(_, model)| model.cost(rows)).sum::<u64>() + rows as u64 * 20
}

/// Whether rows may leave columns out: libsvm's always, records' often, JSON's only with `keys`, which may be written
/// with escapes.
fn may_be_sparse(content_type: Option<&str>, body: &[u8]) -> bool {
    let is = |word: &str| content_type.is_some_and(|content_type| content_type.to_ascii_lowercase().contains(word));
    is("libsvm") || is("recordio") || (is("json") && (body.contains(&b'\\') || body.windows(4).any(|four| four == b"keys")))
}

fn read(ready: &[Ready], content_type: Option<&str>, body: &[u8], depth: usize) -> Result<Blocks> {
    let Some((_, first)) = ready.first() else { return Err(Error::new(Kind::Internal, "a pipeline has no stage")) };
    decode(content_type, body, &Expect { depth, ..first.schema().expect(pipeline::CELLS_MAX) })
}

/// The encoded answer; `None` when a model took longer than `nanos`, if that is said.
fn predict(ready: &[Ready], stages: &[Stage], input: Blocks, wanted: Wanted, nanos: Option<u64>) -> Result<Option<Vec<u8>>> {
    let mut models = ready.iter();
    let mut steps: Stages<Step<'_>> = Stages::new();
    for stage in stages {
        match stage {
            Stage::Postprocess(postprocess) => steps.push(Step::Postprocess(postprocess)),
            Stage::Model { selected, .. } => {
                let Some((target, model)) = models.next() else { return Err(Error::new(Kind::Internal, "a stage has no model")) };
                steps.push(Step::Model { name: target.path.as_str(), model: &***model, selected });
            }
        }
    }
    let output = pipeline::run_within(&steps, input, wanted.explain, nanos)?;
    Ok(output.map(|output| wanted.accept.encode(&if wanted.verbose { output.verbose() } else { output.answer() })))
}

/// Runs `work` on the blocking pool.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::internal(error)),
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&shown(self.path.as_str()))
    }
}
