//! Live counters and histograms under SageMaker's names and units, and their Prometheus text.
//!
//! Whoever counts holds a handle resolved beforehand (an endpoint's variant, a model, a principal), so counting is a few
//! atomic additions and never a lookup. Models and principals beyond a bound share one series. Knows nothing of what
//! it counts. Next: `service/invoke.rs` counts, `http/ops.rs` serves the text.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Series of models and of principals that are told apart; later ones are counted as `other`.
const SERIES_MAX: usize = 10_000;
/// Upper bounds of the histograms' buckets, in microseconds.
const BOUNDS: [u64; 14] = [20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 50_000, 100_000, 500_000, 1_000_000, 10_000_000];

/// A counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Microseconds in buckets.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum: AtomicU64,
}

impl Histogram {
    /// Counts one time.
    pub fn observe(&self, micros: u64) {
        let at = BOUNDS.iter().position(|&bound| micros <= bound).unwrap_or(BOUNDS.len());
        if let Some(bucket) = self.buckets.get(at) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(micros, Ordering::Relaxed);
    }
}

/// Counters of which each thread writes its own copy, so that threads do not pass cache lines to and fro; read as a sum.
#[derive(Debug, Default)]
pub struct Lanes<T>([Lane<T>; LANES]);

const LANES: usize = 8;

#[derive(Debug, Default)]
#[repr(align(128))]
struct Lane<T>(T);

impl<T> Lanes<T> {
    /// This thread's copy.
    pub fn here(&self) -> &T {
        thread_local! {
            static LANE: usize = NEXT_LANE.fetch_add(1, Ordering::Relaxed) % LANES;
        }
        static NEXT_LANE: AtomicUsize = AtomicUsize::new(0);
        let [first, ..] = &self.0;
        LANE.with(|&lane| &self.0.get(lane).unwrap_or(first).0)
    }

    fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|lane| &lane.0)
    }
}

/// What is counted of a variant.
#[derive(Debug, Default)]
pub struct VariantMetrics {
    /// Requests that were allowed and named the variant.
    pub invocations: Counter,
    /// Answers 4xx.
    pub errors_4xx: Counter,
    /// Answers 5xx.
    pub errors_5xx: Counter,
    /// A model could not answer.
    pub model_errors: Counter,
    /// Requests whose models were all loaded.
    pub cache_hits: Counter,
    /// Decode, predict, encode.
    pub model_latency: Histogram,
    /// The rest of the request.
    pub overhead_latency: Histogram,
    /// What requests waited for loads.
    pub loading_wait: Histogram,
    /// Reading a prepared form's bytes from the store.
    pub downloading: Histogram,
    /// Building the model of them.
    pub loading: Histogram,
}

/// What is counted of a target model or a principal.
#[derive(Debug, Default)]
pub struct SeriesMetrics {
    /// Requests.
    pub invocations: Counter,
    /// Answers that were errors; of a principal, denials too.
    pub errors: Counter,
}

/// By endpoint and variant.
pub type Variants = HashMap<(String, String), Arc<Lanes<VariantMetrics>>>;

/// All handles.
#[derive(Debug, Default)]
pub struct Metrics {
    variants: RwLock<Variants>,
    models: RwLock<HashMap<String, Arc<SeriesMetrics>>>,
    principals: RwLock<HashMap<String, Arc<SeriesMetrics>>>,
    unloading: Arc<Histogram>,
}

/// Numbers read at the moment of a scrape.
#[derive(Debug, Clone, Copy, Default)]
pub struct Gauges {
    /// Models in memory.
    pub loaded: usize,
    /// Bytes they take.
    pub memory: u64,
    /// Bytes they may take.
    pub budget: u64,
    /// Loads since the start.
    pub loads: u64,
    /// Evictions since the start.
    pub evictions: u64,
    /// Predictions under way.
    pub in_flight: usize,
    /// Seconds of CPU the process has used.
    pub cpu_seconds: f64,
    /// Bytes of the database file.
    pub disk: u64,
    /// How full its file system is, in percent.
    pub disk_utilization: f64,
    /// Requests refused because the server was full.
    pub refused: u64,
}

fn handle<K: std::hash::Hash + Eq + Clone, V: Default>(map: &RwLock<HashMap<K, Arc<V>>>, key: &K, other: Option<K>) -> Arc<V> {
    if let Some(found) = map.read().unwrap_or_else(PoisonError::into_inner).get(key) {
        return found.clone();
    }
    let mut map = map.write().unwrap_or_else(PoisonError::into_inner);
    let full = map.len() >= SERIES_MAX;
    match other {
        Some(other) if full && !map.contains_key(key) => map.entry(other).or_default().clone(),
        _ => map.entry(key.clone()).or_default().clone(),
    }
}

impl Metrics {
    /// The handle of a variant.
    pub fn variant(&self, endpoint: &str, variant: &str) -> Arc<Lanes<VariantMetrics>> {
        handle(&self.variants, &(endpoint.to_owned(), variant.to_owned()), None)
    }

    /// Has the variants that `there` tells and no others. It is asked while nobody else changes them, so that who looks
    /// last is right.
    pub fn keep_variants(&self, there: impl FnOnce() -> Variants) {
        let mut variants = self.variants.write().unwrap_or_else(PoisonError::into_inner);
        *variants = there();
    }

    /// The handle of a model path.
    pub fn model(&self, path: &str) -> Arc<SeriesMetrics> {
        handle(&self.models, &path.to_owned(), Some("other".to_owned()))
    }

    /// The handle of a principal's ARN.
    pub fn principal(&self, arn: &str) -> Arc<SeriesMetrics> {
        handle(&self.principals, &arn.to_owned(), Some("other".to_owned()))
    }

    /// The histogram of evictions' times.
    pub fn unloading(&self) -> Arc<Histogram> {
        self.unloading.clone()
    }

    /// The Prometheus exposition text (version 0.0.4).
    pub fn render(&self, gauges: &Gauges) -> String {
        let mut out = String::with_capacity(8192);
        let variants = self.variants.read().unwrap_or_else(PoisonError::into_inner);
        let mut variants: Vec<_> =
            variants.iter().map(|(key, value)| (format!("endpoint=\"{}\",variant=\"{}\"", key.0, key.1), value)).collect();
        variants.sort_by(|a, b| a.0.cmp(&b.0));
        let counters: [Line<u64>; 5] = [
            ("rookery_invocations_total", "Invocations: requests allowed", |v| v.invocations.get()),
            ("rookery_invocation_4xx_errors_total", "Invocation4XXErrors", |v| v.errors_4xx.get()),
            ("rookery_invocation_5xx_errors_total", "Invocation5XXErrors", |v| v.errors_5xx.get()),
            ("rookery_invocation_model_errors_total", "InvocationModelErrors", |v| v.model_errors.get()),
            ("rookery_model_cache_hits_total", "ModelCacheHit: requests whose models were all loaded", |v| v.cache_hits.get()),
        ];
        for (name, help, read) in counters {
            head(&mut out, name, help, "counter");
            for (labels, variant) in &variants {
                let _ = writeln!(out, "{name}{{{labels}}} {}", variant.all().map(read).sum::<u64>());
            }
        }
        let histograms: [Family; 5] = [
            ("rookery_model_latency_microseconds", "ModelLatency: decode, predict, encode", |v| &v.model_latency),
            ("rookery_overhead_latency_microseconds", "OverheadLatency: the rest of the request", |v| &v.overhead_latency),
            ("rookery_model_loading_wait_microseconds", "ModelLoadingWaitTime: what requests waited for loads", |v| &v.loading_wait),
            ("rookery_model_downloading_microseconds", "ModelDownloadingTime: reading a model's bytes from the store", |v| &v.downloading),
            ("rookery_model_loading_microseconds", "ModelLoadingTime: building a model of its bytes", |v| &v.loading),
        ];
        for (name, help, read) in histograms {
            head(&mut out, name, help, "histogram");
            for (labels, variant) in &variants {
                histogram(&mut out, name, labels, &variant.all().map(read).collect::<Vec<_>>());
            }
        }
        let name = "rookery_model_unloading_microseconds";
        head(&mut out, name, "ModelUnloadingTime: letting go of an evicted model, whichever endpoint it was for", "histogram");
        histogram(&mut out, name, "", &[&self.unloading]);
        series(&mut out, &self.models, "rookery_target_model", "model", "per model path");
        series(&mut out, &self.principals, "rookery_principal", "principal", "per principal");
        gauge(&mut out, "rookery_loaded_models", "LoadedModelCount", gauges.loaded);
        gauge(&mut out, "rookery_model_memory_bytes", "Bytes of loaded models", gauges.memory);
        gauge(&mut out, "rookery_model_memory_budget_bytes", "The most bytes loaded models may take", gauges.budget);
        #[expect(clippy::cast_precision_loss, reason = "a percentage")]
        let share = if gauges.budget == 0 { 0.0 } else { gauges.memory as f64 * 100.0 / gauges.budget as f64 };
        gauge(&mut out, "rookery_memory_utilization_percent", "MemoryUtilization of the budget", format_args!("{share:.3}"));
        gauge(&mut out, "rookery_invocations_in_flight", "Predictions under way", gauges.in_flight);
        gauge(&mut out, "rookery_database_bytes", "Bytes of the database file", gauges.disk);
        let share = gauges.disk_utilization;
        let what = "DiskUtilization of the file system the database is on";
        gauge(&mut out, "rookery_disk_utilization_percent", what, format_args!("{share:.3}"));
        for (name, help, value) in [
            ("rookery_model_loads_total", "Models loaded", gauges.loads),
            ("rookery_model_unloads_total", "Models evicted", gauges.evictions),
            ("rookery_refused_full_total", "Requests refused because the server was full", gauges.refused),
        ] {
            head(&mut out, name, help, "counter");
            let _ = writeln!(out, "{name} {value}");
        }
        head(&mut out, "process_cpu_seconds_total", "CPUUtilization as the rate of this", "counter");
        let _ = writeln!(out, "process_cpu_seconds_total {:.2}", gauges.cpu_seconds);
        out
    }
}

/// A counter's name, its meaning, and where it is read.
type Line<T> = (&'static str, &'static str, fn(&VariantMetrics) -> T);
/// The same of a histogram.
type Family = (&'static str, &'static str, fn(&VariantMetrics) -> &Histogram);

fn head(out: &mut String, name: &str, help: &str, kind: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn gauge(out: &mut String, name: &str, help: &str, value: impl std::fmt::Display) {
    head(out, name, help, "gauge");
    let _ = writeln!(out, "{name} {value}");
}

fn histogram(out: &mut String, name: &str, labels: &str, lanes: &[&Histogram]) {
    let mut total = 0;
    let (open, close, comma) = if labels.is_empty() { ("", "", "") } else { ("{", "}", ",") };
    for (at, bound) in BOUNDS.iter().map(Some).chain([None]).enumerate() {
        total += lanes.iter().filter_map(|lane| lane.buckets.get(at)).map(|bucket| bucket.load(Ordering::Relaxed)).sum::<u64>();
        match bound {
            Some(bound) => drop(writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {total}")),
            None => drop(writeln!(out, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {total}")),
        }
    }
    let sum: u64 = lanes.iter().map(|lane| lane.sum.load(Ordering::Relaxed)).sum();
    let _ = writeln!(out, "{name}_sum{open}{labels}{close} {sum}\n{name}_count{open}{labels}{close} {total}");
}

fn series(out: &mut String, map: &RwLock<HashMap<String, Arc<SeriesMetrics>>>, name: &str, label: &str, help: &str) {
    let map = map.read().unwrap_or_else(PoisonError::into_inner);
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by_key(|(key, _)| key.as_str());
    for (what, read) in [("invocations", (|s| s.invocations.get()) as fn(&SeriesMetrics) -> u64), ("errors", |s| s.errors.get())] {
        let name = format!("{name}_{what}_total");
        head(out, &name, &format!("{what} {help}"), "counter");
        for (key, metrics) in &entries {
            let key = key.replace('\\', "\\\\").replace('"', "\\\"");
            let _ = writeln!(out, "{name}{{{label}=\"{key}\"}} {}", read(metrics));
        }
    }
}
