//! Endpoints: a name, its production variants by weight, each a pipeline of stages.
//!
//! Making one asks for the right to read every model it would serve too: otherwise an endpoint of one's own over another
//! one's prefix would be a way around their policies. Next: `makers.rs`, which asks again for each model; `invoke.rs`,
//! which runs them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::{PageOf, Service};
use crate::authn::Caller;
use crate::codec::answer::Accept;
use crate::error::{Error, Kind, Result};
use crate::metrics::{Lanes, Metrics, VariantMetrics};
use crate::names::{EndpointName, ModelPath, Prefix};
use crate::runtime::Summary;
use crate::runtime::pipeline::ahead::{self, Told};
use crate::runtime::postprocess::Postprocess;
use crate::runtime::select::Selected;
use crate::store::{endpoints as kept, models};

const STAGES_MAX: usize = 15;
const VARIANTS_MAX: usize = 10;
/// Variables of AWS's containers that mean something here.
const INFERENCE_OUTPUT: &str = "SAGEMAKER_INFERENCE_OUTPUT";
const DEFAULT_ACCEPT: &str = "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT";
/// A container's environment holds at most so many variables of so many bytes, as AWS has it.
const VARIABLES_MAX: usize = 100;
const VARIABLE_MAX: usize = 1024;
/// The variant of an endpoint that names none.
const ONLY_VARIANT: &str = "AllTraffic";

/// A stage as written: a fixed model, a prefix whose models the caller names, or a postprocessor.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageConfig {
    /// The path of a fixed model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The prefix of a multi-model stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Whether a multi-model stage's models stay in memory after a call.
    #[serde(default, rename = "modelCacheSetting", skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheSetting>,
    /// What is done to the scores of the stage before, instead of a model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postprocess: Option<Postprocess>,
    /// What of the model's answer is shown, such as `["predicted_label","probability"]`; before the last stage, the one
    /// thing that is handed on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<String>,
    /// A container's environment. `SAGEMAKER_INFERENCE_OUTPUT` is `output` by another name, and
    /// `SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT` of the last stage says how answers are written when nobody asks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
}

/// AWS's `ModelCacheSetting`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CacheSetting {
    /// Models stay until the room is needed.
    Enabled,
    /// Each call loads its model and lets it go: for many models called rarely.
    Disabled,
}

/// A variant as written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VariantConfig {
    /// Its name.
    pub name: String,
    /// Its share of the traffic, relative to the others.
    #[serde(default = "one")]
    pub weight: f64,
    /// Its pipeline.
    pub stages: Vec<StageConfig>,
}

fn one() -> f64 {
    1.0
}

/// An endpoint as written: `stages` for one variant, or `variants`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointConfig {
    /// Its name.
    pub name: String,
    /// The pipeline of its only variant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageConfig>,
    /// Its variants.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<VariantConfig>,
}

/// A stage ready to be run.
#[derive(Debug, Clone, PartialEq)]
pub enum Stage {
    /// A model.
    Model {
        /// Which.
        source: Source,
        /// What of its answer is shown or handed on; all of it when empty.
        selected: Vec<Selected>,
    },
    /// What is done to the scores of the stage before.
    Postprocess(Postprocess),
}

/// Where a stage's model comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Always the same model.
    Fixed(ModelPath),
    /// The model the caller names under the prefix.
    Multi {
        /// Where the models are.
        prefix: Prefix,
        /// Whether they stay in memory.
        cached: bool,
    },
}

impl Stage {
    /// Where its model comes from; a postprocessor has none.
    pub fn source(&self) -> Option<&Source> {
        match self {
            Self::Model { source, .. } => Some(source),
            Self::Postprocess(_) => None,
        }
    }
}

/// A variant ready to be run.
#[derive(Debug)]
pub struct Variant {
    /// Its name.
    pub name: Arc<str>,
    /// Its share.
    pub weight: f64,
    /// Its pipeline.
    pub stages: Arc<[Stage]>,
    /// How answers are written when nobody asks.
    pub accept: Option<String>,
    /// What is counted of it.
    pub metrics: Arc<Lanes<VariantMetrics>>,
}

/// An endpoint ready to be invoked.
#[derive(Debug)]
pub struct Endpoint {
    /// Its name as created.
    pub name: EndpointName,
    /// What policies name.
    pub arn: String,
    /// At least one.
    pub variants: Vec<Variant>,
    /// When it was made.
    pub created_at: i64,
    /// By whose rights it reads models: a principal's unique id. `None` for one made before makers were kept.
    pub(super) maker: Option<Arc<str>>,
    /// As written, with its variants spelled out.
    config: EndpointConfig,
    total_weight: f64,
    turn: AtomicU64,
    /// As it is kept, to tell whether it changed.
    kept: Option<kept::Kept>,
}

impl Endpoint {
    pub(super) fn from_kept(kept: kept::Kept, metrics: &Metrics) -> Result<Self> {
        let config: EndpointConfig = serde_json::from_str(&kept.config).map_err(Error::internal)?;
        let mut endpoint = Self::build(&config, kept.created_at, |endpoint, variant| metrics.variant(endpoint, variant))?;
        endpoint.maker = kept.maker.as_deref().map(Arc::from);
        endpoint.kept = Some(kept);
        Ok(endpoint)
    }

    /// Whether it is what is kept.
    pub(super) fn is(&self, kept: &kept::Kept) -> bool {
        self.kept.as_ref() == Some(kept)
    }

    /// Whether what is kept always runs the model at `path`.
    pub(super) fn kept_needs(kept: &kept::Kept, path: &ModelPath) -> Result<bool> {
        let config: EndpointConfig = serde_json::from_str(&kept.config).map_err(Error::internal)?;
        let mut stages = config.variants.iter().flat_map(|variant| variant.stages.iter());
        Ok(stages.any(|stage| stage.model.as_deref() == Some(path.as_str())))
    }

    fn build(config: &EndpointConfig, created_at: i64, metrics: impl Fn(&str, &str) -> Arc<Lanes<VariantMetrics>>) -> Result<Self> {
        let name = EndpointName::parse(&config.name)?;
        let only = [VariantConfig { name: ONLY_VARIANT.to_owned(), weight: 1.0, stages: config.stages.clone() }];
        let written = match (config.stages.is_empty(), config.variants.is_empty()) {
            (false, true) => &only[..],
            (true, false) => &config.variants,
            _ => return Err(Error::invalid("an endpoint has either `stages` or `variants`, not both and not neither")),
        };
        if written.len() > VARIANTS_MAX {
            return Err(Error::invalid(format!("an endpoint has at most {VARIANTS_MAX} variants")));
        }
        let mut variants: Vec<Variant> = Vec::new();
        for variant in written {
            let variant_name = EndpointName::parse(&variant.name)?;
            if variants.iter().any(|other| *other.name == *variant_name.as_str()) {
                return Err(Error::invalid(format!("variant `{variant_name}` is there twice")));
            }
            if !(variant.weight.is_finite() && variant.weight >= 0.0) {
                return Err(Error::invalid(format!("variant `{variant_name}` has weight {}; weights are 0 or more", variant.weight)));
            }
            variants.push(Variant {
                name: variant_name.as_str().into(),
                weight: variant.weight,
                stages: stages(&variant.stages).map_err(|error| error.within(format_args!("variant `{variant_name}`")))?.into(),
                accept: default_accept(&variant.stages).cloned(),
                metrics: metrics(name.as_str(), variant_name.as_str()),
            });
        }
        let total_weight: f64 = variants.iter().map(|variant| variant.weight).sum();
        if total_weight <= 0.0 {
            return Err(Error::invalid("the weights of all variants are 0; give at least one a share"));
        }
        let config = EndpointConfig { name: name.to_string(), stages: Vec::new(), variants: written.to_vec() };
        Ok(Self { arn: name.arn(), name, variants, created_at, maker: None, config, total_weight, turn: AtomicU64::new(0), kept: None })
    }

    /// The variant that answers next: the one asked for, or one by weight. Multiples of the golden ratio spread turns
    /// evenly, so even short runs keep the shares.
    pub(super) fn pick(&self, asked: Option<&str>) -> Result<&Variant> {
        if let Some(asked) = asked {
            let found = self.variants.iter().find(|variant| *variant.name == *asked);
            return found.ok_or_else(|| Error::invalid(format!("endpoint {} has no variant `{}`", self.name, crate::names::shown(asked))));
        }
        let mut left = 0.0;
        if self.variants.len() > 1 {
            #[expect(clippy::cast_precision_loss, reason = "53 bits are enough for a share")]
            let share = (self.turn.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11) as f64 / (1u64 << 53) as f64;
            left = share * self.total_weight;
        }
        let by_weight = self.variants.iter().find(|variant| {
            left -= variant.weight;
            left < 0.0
        });
        by_weight.or(self.variants.first()).ok_or_else(|| Error::invalid(format!("endpoint {} has no variant", self.name)))
    }

    /// What is counted of its variants.
    pub(super) fn counted(&self) -> impl Iterator<Item = ((String, String), Arc<Lanes<VariantMetrics>>)> {
        self.variants.iter().map(|variant| ((self.name.to_string(), variant.name.to_string()), variant.metrics.clone()))
    }

    /// Where the models of all variants come from.
    pub(super) fn sources(&self) -> impl Iterator<Item = &Source> {
        self.variants.iter().flat_map(|variant| variant.stages.iter()).filter_map(Stage::source)
    }

    /// The endpoint as written, `variants` spelled out.
    pub fn config(&self) -> &EndpointConfig {
        &self.config
    }
}

/// How the answer is written when the caller does not say: as the last model's stage has it, or one after it.
fn default_accept(stages: &[StageConfig]) -> Option<&String> {
    let says = stages.iter().rfind(|stage| stage.postprocess.is_none() || stage.environment.contains_key(DEFAULT_ACCEPT))?;
    says.environment.get(DEFAULT_ACCEPT)
}

fn stages(written: &[StageConfig]) -> Result<Vec<Stage>> {
    if written.is_empty() || written.len() > STAGES_MAX {
        return Err(Error::invalid(format!("a pipeline has 1 to {STAGES_MAX} stages, this one {}", written.len())));
    }
    let mut stages = Vec::new();
    for (index, config) in written.iter().enumerate() {
        let last = index + 1 == written.len();
        let stage = stage(config, last).map_err(|error| error.within(format_args!("stage {}", index + 1)))?;
        if index == 0 && stage.source().is_none() {
            return Err(Error::invalid("stage 1: a pipeline begins with a model; `postprocess` comes after one"));
        }
        stages.push(stage);
    }
    if stages.iter().filter(|stage| matches!(stage.source(), Some(Source::Multi { .. }))).count() > 1 {
        return Err(Error::invalid("more than one multi-model stage in a pipeline; only one can take the caller's target model"));
    }
    Ok(stages)
}

fn stage(written: &StageConfig, last: bool) -> Result<Stage> {
    let environment = &written.environment;
    if environment.len() > VARIABLES_MAX || environment.iter().any(|(name, value)| name.len() > VARIABLE_MAX || value.len() > VARIABLE_MAX)
    {
        return Err(Error::invalid(format!("`environment` takes at most {VARIABLES_MAX} variables of {VARIABLE_MAX} bytes")));
    }
    if let Some(accept) = environment.get(DEFAULT_ACCEPT) {
        Accept::parse(Some(accept)).map_err(|error| error.as_kind(Kind::Validation).within(DEFAULT_ACCEPT))?;
    }
    let selected = match (written.output.is_empty(), environment.get(INFERENCE_OUTPUT)) {
        (true, None) => Vec::new(),
        (false, None) => Selected::parse_list(written.output.iter().map(String::as_str))?,
        (true, Some(words)) => Selected::parse_list(words.split(',')).map_err(|error| error.within(INFERENCE_OUTPUT))?,
        (false, Some(_)) => return Err(Error::invalid(format!("`output` and {INFERENCE_OUTPUT} say the same thing; leave one out"))),
    };
    if !last && selected.len() > 1 {
        return Err(Error::invalid("only the last stage shows several outputs; a stage before it hands on one"));
    }
    let source = match (&written.model, &written.prefix, &written.postprocess) {
        (Some(_), None, None) if written.cache.is_some() => {
            return Err(Error::invalid("`modelCacheSetting` belongs to a stage with a `prefix`"));
        }
        (Some(model), None, None) => Source::Fixed(ModelPath::parse(model)?),
        (None, Some(prefix), None) => {
            Source::Multi { prefix: Prefix::parse(prefix)?, cached: written.cache != Some(CacheSetting::Disabled) }
        }
        (None, None, Some(postprocess)) => {
            if !selected.is_empty() || written.cache.is_some() {
                return Err(Error::invalid("`output` and `modelCacheSetting` belong to a stage with a model"));
            }
            postprocess.check()?;
            return Ok(Stage::Postprocess(postprocess.clone()));
        }
        _ => return Err(Error::invalid("a stage has one of `model`, `prefix` and `postprocess`")),
    };
    Ok(Stage::Model { source, selected })
}

/// A stage as far as it is known before a call: a model that the caller names is not.
fn told<'a>(stage: &'a Stage, known: &'a HashMap<&ModelPath, Summary>) -> Told<'a> {
    match stage {
        Stage::Postprocess(postprocess) => Told::Postprocess(postprocess),
        Stage::Model { source: Source::Fixed(path), selected } => {
            known.get(path).map_or(Told::Unknown, |summary| Told::Model { name: path.as_str(), summary, selected })
        }
        Stage::Model { source: Source::Multi { .. }, .. } => Told::Unknown,
    }
}

impl Service {
    /// Makes an endpoint. One that is there already with the same configuration and another maker is taken over: from then
    /// on it reads its models by the rights of `caller`.
    ///
    /// # Errors
    /// Denied, malformed, a fixed model missing, fixed models that can never answer one after the other, the name taken.
    pub fn create_endpoint(&self, caller: &Caller, config: &EndpointConfig) -> Result<Arc<Endpoint>> {
        let name = EndpointName::parse(&config.name)?;
        let permit = self.authorise(caller, "sagemaker:CreateEndpoint", &name.arn(), |_| ())?;
        let endpoint = Endpoint::build(config, 0, |_, _| Arc::default())?;
        self.may_make(caller, &endpoint)?;
        let json = serde_json::to_string(endpoint.config()).map_err(Error::internal)?;
        let maker = caller.principal().unique_id.as_str();
        self.change(&permit, caller, "sagemaker:CreateEndpoint", &endpoint.arn, |tx| {
            let mut known = HashMap::new();
            for source in endpoint.sources() {
                match source {
                    Source::Fixed(path) => {
                        let found = models::show(tx, path)?;
                        let found = found.ok_or_else(|| Error::invalid(format!("there is no model `{path}`; upload it first")))?;
                        known.insert(path, serde_json::from_str(&found.summary).map_err(Error::internal)?);
                    }
                    Source::Multi { prefix, .. } => self.may_read_all(caller, tx, prefix)?,
                }
            }
            // Only now: what is told of models here, their maker may read.
            for variant in &endpoint.variants {
                let stages: Vec<Told<'_>> = variant.stages.iter().map(|stage| told(stage, &known)).collect();
                ahead::check(&stages).map_err(|error| error.within(format_args!("variant `{}`", variant.name)))?;
            }
            // Who could delete it and make it again need not leave callers without it in between.
            let may_replace = self.may(caller, "sagemaker:DeleteEndpoint", &endpoint.arn);
            if may_replace && kept::take_over(tx, &endpoint.name, &json, maker)? {
                return Ok(());
            }
            kept::create(tx, &endpoint.name, &json, maker)
        })?;
        self.snapshot.load().endpoint(name.as_str()).cloned().ok_or_else(|| Error::not_found(format!("endpoint `{name}` was deleted")))
    }

    /// One endpoint.
    ///
    /// # Errors
    /// Denied, not there.
    pub fn endpoint(&self, caller: &Caller, name: &str) -> Result<Arc<Endpoint>> {
        let name = EndpointName::parse(name)?;
        let _permit = self.authorise(caller, "sagemaker:DescribeEndpoint", &name.arn(), |_| ())?;
        let found = self.snapshot.load().endpoint(name.as_str()).cloned();
        found.ok_or_else(|| Error::not_found(format!("there is no endpoint `{name}`")))
    }

    /// Up to `count` endpoints after the name `after`, by name.
    ///
    /// # Errors
    /// Denied.
    pub fn endpoints(&self, caller: &Caller, after: &str, count: usize) -> Result<PageOf<Arc<Endpoint>>> {
        let _permit = self.authorise(caller, "sagemaker:ListEndpoints", "*", |_| ())?;
        Ok(PageOf::cut(self.snapshot.load().endpoints(), |endpoint| endpoint.name.as_str(), after, count))
    }

    /// Removes an endpoint. Its models stay.
    ///
    /// # Errors
    /// Denied, not there.
    pub fn delete_endpoint(&self, caller: &Caller, name: &str) -> Result<()> {
        let name = EndpointName::parse(name)?;
        let permit = self.authorise(caller, "sagemaker:DeleteEndpoint", &name.arn(), |_| ())?;
        self.change(&permit, caller, "sagemaker:DeleteEndpoint", &name.arn(), |tx| kept::delete(tx, &name))
    }
}
