//! The hot path: authorise, admit, find the models, decode, run the stages, encode, observe.
//!
//! Warm and small, all of it happens on the thread that took the request: no SQL, no lock held, no thread changed. A
//! cold model or long work goes to the blocking pool. Every dialect calls [`Service::invoke`]; there is no second way to
//! a model. Next: `cold.rs` (what is not in memory), `catalog.rs` (paths to versions), `../runtime/pipeline.rs`.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use smallvec::SmallVec;

use super::Service;
use super::catalog::Target;
use super::effort::{Effort, GIVE_UP};
use super::endpoints::{Endpoint, Source, Stage, Variant};
use crate::authn::Caller;
use crate::cache::Lease;
use crate::codec::answer::Accept;
use crate::codec::payload::{Expect, decode};
use crate::error::{Error, Kind, Result};
use crate::names::{ACCOUNT, EndpointName, ModelPath, shown};
use crate::policy::Permit;
use crate::runtime::Model;
use crate::runtime::pipeline::{self, Blocks, Step};
use crate::tensor::Block;

/// A model in memory.
#[derive(Debug)]
pub struct Loaded(pub(super) Box<dyn Model>);

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
pub(super) type Stages<T> = SmallVec<[T; 2]>;

/// A stage with its model in hand.
pub(super) type Ready = (Arc<Target>, Lease<Loaded>);

/// The endpoint that answers, the count of access writes it was found under, and whom it answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Served<'a> {
    pub(super) endpoint: &'a Endpoint,
    epoch: i64,
    /// Whom it answers.
    arn: &'a str,
}

/// One of the predictions at once; gives its place back when the last piece of its work ends, also work on another
/// thread whose caller went away.
pub(super) struct Slot(Arc<AtomicUsize>);

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
        let arn = caller.principal().arn.as_str();
        let Some(endpoint) = endpoint else {
            return Err(Error::invalid(format!("Endpoint {} of account {ACCOUNT} not found.", call.endpoint)));
        };
        let variant = endpoint.pick(call.target_variant)?;
        let metrics = variant.metrics.here();
        metrics.invocations.add();
        caller.principal().metrics.invocations.add();
        let answered = self.answer(&permit, Served { endpoint: &endpoint, epoch, arn }, variant, call).await;
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
                let (ready, loaded) = self.cold(permit, &places, served, variant, &slot).await.map_err(missing_model)?;
                load = started.elapsed();
                started += load;
                // Also whoever had all in memory comes here, when it has to be asked again who may have it.
                if loaded {
                    variant.metrics.here().loading_wait.observe(micros(load));
                } else {
                    variant.metrics.here().cache_hits.add();
                }
                ready
            }
        };
        for (target, _) in &ready {
            target.metrics.invocations.add();
        }
        let result = self.work(&ready, &variant.stages, slot, served.arn, call, accept).await;
        if result.is_err() {
            for (target, _) in &ready {
                target.metrics.errors.add();
            }
        }
        let done = Instant::now();
        let (body, waited) = result?;
        Ok(Answered {
            body,
            content_type: accept.content_type(),
            load,
            predict: done.duration_since(started).saturating_sub(waited),
            done,
            variant: variant.name.clone(),
            targets: ready.into_iter().map(|(target, _)| target).collect(),
        })
    }

    /// Decode, predict and encode: here if that is short, else where it may take its time. Also tells how long it waited
    /// for a turn.
    async fn work(
        &self,
        ready: &Stages<Ready>,
        stages: &Arc<[Stage]>,
        slot: Arc<Slot>,
        arn: &str,
        call: Call<'_>,
        accept: Accept,
    ) -> Result<(Vec<u8>, Duration)> {
        let wanted = Wanted { accept, explain: call.explain, verbose: Accept::verbose(call.accept) };
        let (effort, depth) = (Effort { ready, explain: call.explain }, self.options.json_depth);
        if effort.seems_short(call.content_type, call.body) {
            let input = read(ready, call.content_type, call.body, depth)?;
            // Rows may be written shorter than was guessed; now they are counted. What a model takes for them may hang on
            // their values too, so it gives up in time.
            if effort.is_short(input.first().map_or(0, Block::rows))
                && let Some(answer) = predict(ready, stages, input, wanted, Some(GIVE_UP))?
            {
                return Ok((answer, Duration::ZERO));
            }
        }
        let (ready, stages, body) = (ready.clone(), stages.clone(), call.body.clone());
        let content_type = call.content_type.map(str::to_owned);
        let long = move || {
            let _slot = slot;
            let input = read(&ready, content_type.as_deref(), &body, depth)?;
            predict(&ready, &stages, input, wanted, None)?.ok_or_else(|| Error::new(Kind::Internal, "long work gave up"))
        };
        self.long(arn, long).await
    }

    /// Runs long `work` on the blocking pool in a turn of the principal: the pool's other threads are for sign-ins, uploads
    /// and cold models, however many long predictions wait. Who goes away while waiting is left out. Also tells how long
    /// it waited.
    async fn long<T: Send + 'static>(&self, arn: &str, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<(T, Duration)> {
        let began = Instant::now();
        let turn = self.turns.turn(arn).await?;
        let waited = began.elapsed();
        let done = blocking(move || {
            let _turn = turn;
            work()
        });
        Ok((done.await?, waited))
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
}

/// Where a stage's model is.
pub(super) struct Place {
    pub(super) path: ModelPath,
    pub(super) cached: bool,
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
