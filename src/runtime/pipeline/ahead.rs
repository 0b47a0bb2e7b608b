//! What can be told of a pipeline before its first call: that a stage can never take what the one before it hands on, or
//! never gives what is chosen of its answer.
//!
//! Models are known by their [`Summary`] alone; none is loaded. What a summary leaves open (whether a graph's scores are
//! probabilities, which model a caller will name) is not judged here but by the call, and nothing that some call could
//! have answered is refused. Next: `../select.rs`, whose rules these are; `../pipeline.rs`, which runs what passes.

use crate::error::{Error, Result};
use crate::names::{counted, shown};
use crate::runtime::postprocess::Postprocess;
use crate::runtime::select::Selected;
use crate::runtime::{Output, Summary, knn, lightgbm, linear_learner, onnx, random_cut_forest, xgboost};
use crate::tensor::ValueKind;

/// A stage as far as it is known before a call.
#[derive(Debug, Clone, Copy)]
pub enum Told<'a> {
    /// A model of which nothing is known, since the caller names it.
    Unknown,
    /// A model.
    Model {
        /// What refusals call it.
        name: &'a str,
        /// What is known of it.
        summary: &'a Summary,
        /// What of its answer is shown or handed on; all of it when empty.
        selected: &'a [Selected],
    },
    /// What is done to the scores of the stage before.
    Postprocess(&'a Postprocess),
}

/// What is known of a model's answers; `None` is what its summary leaves open.
#[derive(Debug, Clone, Copy)]
struct Sketch {
    width: usize,
    text: Option<bool>,
    list: bool,
    /// Whether there is a label beside the scores, and whether that is text.
    classifier: bool,
    label_text: Option<bool>,
    /// Whether the scores are labels and nothing else, as nearest neighbours have it.
    labels_alone: bool,
    probabilities: Option<bool>,
    /// Whether the labels there are can be listed.
    listed: Option<bool>,
}

/// What a stage hands on.
#[derive(Debug)]
struct Handed {
    /// The model it comes from, by its stage.
    from: String,
    /// That model's stage, and what is known of its answer.
    stage: usize,
    sketch: Sketch,
    selected: Option<Selected>,
    /// The latest stage that postprocesses it.
    through: Option<usize>,
    width: Option<usize>,
    text: Option<bool>,
}

/// Refuses stages of which every call would fail, whatever is sent.
///
/// # Errors
/// [`Kind::Validation`](crate::error::Kind::Validation) naming the stages, their models, the numbers and a way out.
pub fn check(stages: &[Told<'_>]) -> Result<()> {
    let mut before: Option<Handed> = None;
    for (at, stage) in (1..).zip(stages) {
        before = match *stage {
            Told::Unknown => None,
            Told::Model { name, summary, selected } => {
                let named = format!("stage {at} (`{name}`)");
                if let Some(before) = &before {
                    before.fits(&named, summary)?;
                }
                let sketch = Sketch::of(summary);
                if let Some(sketch) = &sketch {
                    selected.iter().try_for_each(|&one| sketch.must_give(one, &named, summary))?;
                }
                // The last stage may show several; what that hands on, nobody takes.
                sketch.map(|sketch| Handed::new(named, at, sketch, selected.first().copied()))
            }
            Told::Postprocess(postprocess) => match before {
                Some(before) => Some(before.postprocessed(at, postprocess)?),
                None => None,
            },
        };
    }
    Ok(())
}

impl Sketch {
    fn of(summary: &Summary) -> Option<Self> {
        let format = summary.format.as_str();
        let is = |formats: &[&str]| formats.contains(&format);
        // One number a row that is no label.
        let plain = Self {
            width: summary.outputs,
            text: Some(false),
            list: summary.outputs > 1,
            classifier: false,
            label_text: Some(false),
            labels_alone: false,
            probabilities: Some(false),
            listed: Some(false),
        };
        if is(&[xgboost::FORMAT.name, xgboost::average::FORMAT.name]) {
            xgboost::sample(summary).map(|output| Self::from(&output))
        } else if is(&[lightgbm::FORMAT.name]) {
            lightgbm::sample(summary).map(|output| Self::from(&output))
        } else if is(&[linear_learner::FORMAT.name]) {
            let classifier = summary.kind != "regressor";
            // A classifier trained on the hinge loss answers margins.
            Some(Self { classifier, probabilities: (!classifier).then_some(false), listed: Some(classifier), ..plain })
        } else if is(&[knn::FORMAT.name]) {
            Some(Self { classifier: summary.kind.starts_with("classifier"), labels_alone: true, ..plain })
        } else if is(&[random_cut_forest::FORMAT.name]) {
            Some(plain)
        } else if is(&[onnx::FORMAT.name, onnx::HANDED_OVER.name]) && !summary.answers.is_empty() {
            let classifier = summary.kind == "classifier";
            let open = (!classifier).then_some(false);
            let (text, label_text) = (answers_text(summary, "score"), answers_text(summary, "predicted_label"));
            let list = classifier || summary.outputs != 1;
            Some(Self { text, list, classifier, label_text, probabilities: open, listed: open, ..plain })
        } else {
            None
        }
    }

    /// Whether `selected` is there in every answer, or in none.
    fn gives(&self, selected: Selected) -> Option<bool> {
        match selected {
            Selected::Score => Some(true),
            Selected::PredictedScore => Some(!self.classifier && !self.list),
            Selected::PredictedLabel => Some(self.classifier || self.labels_alone),
            Selected::Probability | Selected::Probabilities => self.probabilities,
            Selected::RawScore | Selected::RawScores => Some(self.classifier && !self.labels_alone),
            Selected::Labels => self.listed,
        }
    }

    /// The values per row, and whether they are text, that `selected` hands on.
    fn hands_on(&self, selected: Option<Selected>) -> (Option<usize>, Option<bool>) {
        match selected {
            None | Some(Selected::Score | Selected::PredictedScore) => (Some(self.width), self.text),
            Some(Selected::PredictedLabel) => (Some(1), if self.labels_alone { self.text } else { self.label_text }),
            Some(Selected::Labels) => (None, self.label_text),
            Some(Selected::Probability | Selected::RawScore) => (Some(1), Some(false)),
            Some(Selected::Probabilities | Selected::RawScores) => (Some(self.width.max(2)), Some(false)),
        }
    }

    fn must_give(&self, selected: Selected, named: &str, summary: &Summary) -> Result<()> {
        if self.gives(selected) != Some(false) {
            return Ok(());
        }
        let others: Vec<String> =
            Selected::all().filter(|&one| self.gives(one) != Some(false)).map(|one| format!("`{}`", one.word())).collect();
        Err(Error::invalid(format!(
            "{named} answers no `{}`: it is a model of {} {} with {}; choose its `output` of {}",
            selected.word(),
            summary.format,
            shown(&summary.kind),
            counted(summary.outputs, "output"),
            others.join(", ")
        )))
    }
}

impl From<&Output> for Sketch {
    fn from(output: &Output) -> Self {
        Self {
            width: output.scores.columns(),
            text: Some(output.scores.kind() == ValueKind::Text),
            list: output.list,
            classifier: output.labels.is_some(),
            label_text: Some(output.labels.as_ref().is_some_and(|labels| labels.kind() == ValueKind::Text)),
            labels_alone: false,
            probabilities: Some(output.probabilities),
            listed: Some(output.labels.is_some() && output.classes.is_some()),
        }
    }
}

/// Whether the answer that goes by `word` is text. Of two that do, one is a graph's own word: it is not told which.
fn answers_text(summary: &Summary, word: &str) -> Option<bool> {
    let mut found = summary.answers.iter().filter(|answer| *answer.answered == *word);
    let first = found.next()?;
    found.next().is_none().then_some(first.kind == ValueKind::Text)
}

impl Handed {
    fn new(from: String, stage: usize, sketch: Sketch, selected: Option<Selected>) -> Self {
        let (width, text) = sketch.hands_on(selected);
        Self { from, stage, sketch, selected, through: None, width, text }
    }

    /// "stage 1 (`m`) hands on 3 values per row".
    fn said(&self, what: &str) -> String {
        let through = self.through.map(|at| format!(", through the postprocessor of stage {at},")).unwrap_or_default();
        let selected = self.selected.filter(|_| self.through.is_none());
        let selected = selected.map(|selected| format!(", its `{}`", selected.word())).unwrap_or_default();
        format!("{}{through} hands on {what}{selected}", self.from)
    }

    /// What to choose of the model's answer instead: `width` values per row that are text or not.
    fn instead(&self, width: usize, text: bool) -> String {
        let fits = |&one: &Selected| self.sketch.gives(one) == Some(true) && self.sketch.hands_on(Some(one)) == (Some(width), Some(text));
        match Selected::all().find(fits).filter(|_| self.through.is_none()) {
            Some(one) => format!("choose `{}` as the `output` of stage {}", one.word(), self.stage),
            None => "choose models that fit each other".to_owned(),
        }
    }

    fn fits(&self, named: &str, next: &Summary) -> Result<()> {
        let text = |kind: ValueKind| kind == ValueKind::Text;
        let first_text = next.inputs.first().is_some_and(|part| text(part.kind));
        if let Some(width) = self.width.filter(|&width| width != next.features) {
            let (takes, gives) = (counted(next.features, "column"), self.said(&format!("{} per row", counted(width, "value"))));
            return Err(Error::invalid(format!("{named} takes {takes}, and {gives}; {}", self.instead(next.features, first_text))));
        }
        let Some(given) = self.text else { return Ok(()) };
        let word = |text: bool| if text { "text" } else { "numbers" };
        let wrong = next.inputs.iter().find(|part| text(part.kind) != given);
        let own = match wrong {
            Some(part) if !part.name.is_empty() => format!(" for `{}`", shown(&part.name)),
            _ => String::new(),
        };
        // A graph of which it is not kept what it takes may take anything.
        let open = next.inputs.is_empty() && [onnx::FORMAT.name, onnx::HANDED_OVER.name].contains(&next.format.as_str());
        if open || (wrong.is_none() && !(next.inputs.is_empty() && given)) {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "{named} takes {}{own}, and {}; {}",
            word(!given),
            self.said(word(given)),
            self.instead(next.features, !given)
        )))
    }

    /// As [`Postprocess::apply`] has it.
    fn postprocessed(mut self, at: usize, postprocess: &Postprocess) -> Result<Self> {
        if self.text == Some(true) {
            return Err(Error::invalid(format!(
                "stage {at} (postprocess) takes numbers, and {}; choose another `output` for stage {}",
                self.said("text"),
                self.stage
            )));
        }
        if let Some(width) = self.width {
            let expected = if width == 1 { 2 } else { width };
            if !postprocess.labels.is_empty() && postprocess.labels.len() != expected {
                let (why, what) = if width == 1 {
                    ("which takes 2", "name two, for what is not above the threshold and what is".to_owned())
                } else {
                    ("each of which takes one", format!("name {width}, in the order of the values"))
                };
                return Err(Error::invalid(format!(
                    "stage {at} (postprocess) has {} in `labels`, and {}, {why}; {what}",
                    counted(postprocess.labels.len(), "name"),
                    self.said(&format!("{} per row", counted(width, "value")))
                )));
            }
            if let Some(count) = postprocess.top_k.filter(|_| width > 1) {
                self.width = Some(count.min(width));
            }
        }
        self.text = Some(false);
        self.through = Some(at);
        Ok(self)
    }
}
