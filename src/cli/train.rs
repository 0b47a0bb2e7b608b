//! `rookery train …`: a model file from a table, without a server and without Python.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::output;
use crate::artifact::{Artifact, Limits};
use crate::error::{Error, Result};
use crate::names::counted;
use crate::runtime;
use crate::runtime::knn::named;
use crate::train::loss::Loss;
use crate::train::table::{Reading, Table};
use crate::train::{knn, linear_learner, random_cut_forest};

/// Train a small model from a CSV file, to be uploaded with `rookery model put`.
#[derive(Debug, Subcommand)]
pub(super) enum TrainVerb {
    /// Nearest neighbours: keeps the rows and answers with the labels of the nearest.
    Knn(Knn),
    /// Random cut forest: scores how unlike the rows a new row is.
    RandomCutForest(RandomCutForest),
    /// Linear learner: a weighted sum of the columns, in SageMaker's own artifact.
    LinearLearner(LinearLearner),
}

/// What is read and where the model goes.
#[derive(Debug, Args)]
struct Files {
    /// The table: CSV of numbers. Its first line is a header if it holds something that is no number.
    data: PathBuf,
    /// The model file to write.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// The first line is a header even if it holds only numbers.
    #[arg(long, value_parser = FalseyValueParser::new())]
    header: bool,
}

/// `train knn`.
#[derive(Debug, Args)]
pub(super) struct Knn {
    #[command(flatten)]
    files: Files,
    /// The column of labels: its name or its number from 1.
    #[arg(long, value_name = "COLUMN", default_value = "1")]
    label: String,
    /// How many neighbours are asked.
    #[arg(long, default_value_t = 5)]
    k: usize,
    /// How near is measured.
    #[arg(long, default_value = "L2", value_parser = ["L2", "COSINE", "INNER_PRODUCT"])]
    metric: String,
    /// Whether neighbours vote (classifier) or are averaged (regressor).
    #[arg(long = "type", default_value = "classifier", value_parser = ["classifier", "regressor"])]
    kind: String,
    /// Keep this many rows, drawn at random, instead of all.
    #[arg(long, value_name = "ROWS")]
    sample: Option<usize>,
    /// Where the random numbers start.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// `train random-cut-forest`.
#[derive(Debug, Args)]
pub(super) struct RandomCutForest {
    #[command(flatten)]
    files: Files,
    /// A column to leave out: its name or its number from 1.
    #[arg(long, value_name = "COLUMN")]
    label: Option<String>,
    /// How many trees.
    #[arg(long, default_value_t = 100)]
    trees: usize,
    /// How many rows each tree draws.
    #[arg(long, default_value_t = 256)]
    samples: usize,
    /// Where the random numbers start.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// `train linear-learner`.
#[derive(Debug, Args)]
pub(super) struct LinearLearner {
    #[command(flatten)]
    files: Files,
    /// The column of labels: its name or its number from 1. Classes are 0, 1, 2, …
    #[arg(long, value_name = "COLUMN", default_value = "1")]
    label: String,
    /// What is predicted.
    #[arg(long = "type", default_value = "regressor", value_parser = ["regressor", "binary_classifier", "multiclass_classifier"])]
    kind: String,
    /// What is minimised; squared, logistic or softmax by type if not given.
    #[arg(long, value_parser = ["squared", "absolute", "huber", "quantile", "logistic", "softmax"])]
    loss: Option<String>,
    /// Which quantile the quantile loss aims at.
    #[arg(long, default_value_t = 0.5)]
    quantile: f64,
    /// From how many deviations of the target on the huber loss is straight.
    #[arg(long, default_value_t = 1.0)]
    huber_delta: f64,
    /// How much the weights' absolute values cost, on columns of deviation 1.
    #[arg(long, default_value_t = 0.0)]
    l1: f64,
    /// How much half the weights' squares cost, on columns of deviation 1.
    #[arg(long, default_value_t = 0.0)]
    l2: f64,
    /// The most passes over the table; it ends sooner when nothing improves.
    #[arg(long, default_value_t = 1000)]
    epochs: usize,
    /// Taken as the other verbs take it; nothing here is random.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl Files {
    fn table(&self, label: Option<&str>) -> Result<Table> {
        let unreadable = |error: std::io::Error| Error::invalid(format!("cannot read `{}`: {error}", self.data.display())).because(error);
        let file = File::open(&self.data).map_err(unreadable)?;
        let bar = output::progress(file.metadata().map_err(unreadable)?.len(), "reading");
        let table = Table::read(BufReader::new(bar.wrap_read(file)), Reading { header: self.header, label });
        bar.finish_and_clear();
        table.map_err(|error| error.within(format_args!("`{}`", self.data.display())))
    }

    /// Writes the artifact after the reader that will serve it took it, and tells what it is.
    fn write(&self, table: &Table, artifact: &[u8], more: Value, as_json: bool) -> Result<()> {
        let summary = runtime::prepare(Artifact::read(artifact, Limits::default())?)?.summary;
        let unwritable =
            |error: std::io::Error| Error::invalid(format!("cannot write `{}`: {error}", self.output.display())).because(error);
        std::fs::write(&self.output, artifact).map_err(unwritable)?;
        if as_json {
            let mut told = json!({
                "output": self.output.display().to_string(),
                "format": summary.format,
                "kind": summary.kind,
                "rows": table.rows(),
                "features": summary.features,
                "bytes": artifact.len(),
                "memoryBytes": summary.weight,
            });
            if let (Some(told), Value::Object(more)) = (told.as_object_mut(), more) {
                told.extend(more);
            }
            output::value(&told);
            return Ok(());
        }
        let more: Vec<String> = more.as_object().into_iter().flatten().map(|(name, value)| format!(", {name} {value}")).collect();
        output::line(format_args!(
            "{}: {} {} of {}, {}, {} bytes{}",
            self.output.display(),
            summary.format,
            summary.kind,
            counted(table.rows(), "row"),
            counted(summary.features, "feature"),
            artifact.len(),
            more.concat()
        ));
        Ok(())
    }
}

impl TrainVerb {
    pub(super) fn run(self, as_json: bool) -> Result<()> {
        match self {
            Self::Knn(verb) => verb.run(as_json),
            Self::RandomCutForest(verb) => verb.run(as_json),
            Self::LinearLearner(verb) => verb.run(as_json),
        }
    }
}

impl Knn {
    fn run(self, as_json: bool) -> Result<()> {
        let predictor = named("type", &self.kind, &runtime::knn::Predictor::WORDS)?;
        let metric = named("metric", &self.metric, &runtime::knn::Metric::WORDS)?;
        let table = self.files.table(Some(&self.label))?;
        let settings = knn::Settings { predictor, metric, k: self.k, sample: self.sample, seed: self.seed };
        let artifact = knn::train(&table, settings)?;
        self.files.write(&table, &artifact, json!({}), as_json)
    }
}

impl RandomCutForest {
    fn run(self, as_json: bool) -> Result<()> {
        let table = self.files.table(self.label.as_deref())?;
        let bar = output::steps(self.trees as u64, "growing trees");
        let settings = random_cut_forest::Settings { trees: self.trees, samples: self.samples, seed: self.seed };
        let artifact = random_cut_forest::train(&table, settings, &|grown| bar.set_position(grown as u64));
        bar.finish_and_clear();
        self.files.write(&table, &artifact?, json!({ "trees": self.trees }), as_json)
    }
}

impl LinearLearner {
    fn run(self, as_json: bool) -> Result<()> {
        let predictor = named("type", &self.kind, &linear_learner::Predictor::WORDS)?;
        let loss = match (self.loss.as_deref(), predictor) {
            (Some("absolute"), _) => Loss::Absolute,
            (Some("huber"), _) => Loss::Huber(self.huber_delta),
            (Some("quantile"), _) => Loss::Quantile(self.quantile),
            (Some("squared"), _) | (None, linear_learner::Predictor::Regressor) => Loss::Squared,
            (Some("logistic"), _) | (None, linear_learner::Predictor::Binary) => Loss::Logistic,
            (Some(_), _) | (None, linear_learner::Predictor::Multiclass) => Loss::Softmax,
        };
        let table = self.files.table(Some(&self.label))?;
        let bar = output::steps(self.epochs as u64, "passing over the table");
        let settings = linear_learner::Settings { predictor, loss, l1: self.l1, l2: self.l2, passes: self.epochs };
        let trained = linear_learner::train(&table, settings, &|| bar.inc(1));
        bar.finish_and_clear();
        let linear_learner::Trained { artifact, loss, passes, converged } = trained?;
        if !converged {
            output::note(format_args!("it still improved after {passes} passes; raise --epochs or --l2"));
        }
        self.files.write(&table, &artifact, json!({ "loss": loss, "passes": passes, "converged": converged }), as_json)
    }
}
