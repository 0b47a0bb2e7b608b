//! The XGBoost model document, from whichever reader, into plain arrays.
//!
//! Keys may come in any order; those that do not change an answer are skipped unread. Differences between versions
//! 1.0 to 3.x that are absorbed here: a base score as a number or a list, bare `NaN` thresholds at categorical
//! nodes, vector leaves in `base_weights` or `leaf_weights`, `iteration_indptr` present or not, dart weights in three
//! places, a model inside what `Booster.serialize` and pickles hold. The layout is the library's own (its repository,
//! `doc/model.schema`). Next: `legacy.rs`, the binary form of old; `mod.rs`, which checks and builds.

use super::categories::{Lists, read_categories};
use crate::codec::number::read_f32;
use crate::codec::pull::Pull;
use crate::error::{Error, Result};
use crate::names::{counted, shown};

/// The most feature names; each takes several times its bytes in the file.
const NAMES_MAX: usize = 1 << 24;

/// The first versions whose sums start from the base margin.
const TREES_BASE_FIRST: (i32, i32) = (1, 3);
const DART_BASE_FIRST: (i32, i32) = (1, 4);

/// The parts of a model file that decide its answers.
#[derive(Debug)]
pub(super) struct Document {
    /// The library's major, minor and patch number.
    pub(super) version: Vec<i32>,
    pub(super) objective: String,
    pub(super) booster_name: String,
    pub(super) features: usize,
    pub(super) names: Vec<Box<str>>,
    pub(super) categories: Lists,
    pub(super) booster: Booster,
    base_scores: Vec<f32>,
    /// The base scores are margins already, as files before 1.0 hold them.
    margin_base: bool,
    /// Nothing was boosted and no base score set: since 3.1 such a model answers a margin of 0.5.
    untrained: bool,
    classes: usize,
    targets: usize,
}

#[derive(Debug)]
pub(super) enum Booster {
    Trees(Trees),
    Linear(Vec<f32>),
}

/// All trees with what says which of them count and how much.
#[derive(Debug, Default)]
pub(super) struct Trees {
    trees: Vec<RawTree>,
    groups: Vec<i32>,
    parallel: usize,
    iterations: Vec<i32>,
    /// A weight per tree, where trees were dropped in training; else empty.
    weights: Vec<f32>,
    kept: usize,
}

/// One tree as the file has it.
#[derive(Debug, Default)]
pub(super) struct RawTree {
    /// The sum of hessians of the rows that came to each node in training: its cover.
    pub(super) covers: Vec<f32>,
    /// The right child may be anywhere, as files before 2.0 may have it; else it follows the left one.
    pub(super) apart: bool,
    pub(super) left: Vec<i32>,
    pub(super) right: Vec<i32>,
    pub(super) features: Vec<i32>,
    pub(super) conditions: Vec<f32>,
    pub(super) default_left: Vec<i32>,
    /// Width of a leaf; above 1 the leaves are rows of `vectors`.
    pub(super) vector_width: usize,
    /// Whether a leaf's right child is its row (3.1 and later) or its node number is.
    pub(super) leaf_rows: bool,
    pub(super) vectors: Vec<f32>,
    pub(super) split_type: Vec<i32>,
    pub(super) categories: Vec<i32>,
    pub(super) category_nodes: Vec<i32>,
    pub(super) category_starts: Vec<i32>,
    pub(super) category_sizes: Vec<i32>,
}

/// What a reader found, before it is known to be whole.
#[derive(Default)]
pub(super) struct Learner {
    pub(super) version: Vec<i32>,
    pub(super) objective: Option<String>,
    pub(super) base_scores: Option<Vec<f32>>,
    pub(super) margin_base: bool,
    pub(super) classes: usize,
    pub(super) targets: usize,
    pub(super) features: usize,
    pub(super) names: Vec<Box<str>>,
    pub(super) categories: Lists,
    pub(super) best: Best,
    pub(super) booster_name: Option<String>,
    pub(super) trees: Option<Trees>,
    pub(super) linear: Option<Vec<f32>>,
    pub(super) rounds: usize,
    pub(super) fixed_base: bool,
    pub(super) weights: Option<Vec<f32>>,
}

/// Where training was best, by the notes that the library leaves.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Best {
    /// The best iteration, from 0.
    pub(super) iteration: Option<usize>,
    /// The trees per output up to it, which before 1.6 alone says how many trees an iteration has.
    pub(super) trees: Option<usize>,
}

impl Best {
    /// Takes note of an attribute; others are passed over.
    pub(super) fn note(&mut self, key: &str, text: &str) -> Result<()> {
        let place = match key {
            "best_iteration" => &mut self.iteration,
            "best_ntree_limit" => &mut self.trees,
            _ => return Ok(()),
        };
        let number: i64 = text.parse().map_err(|_| Error::invalid(format!("{key} is `{}`, no count", shown(text))))?;
        // -1 is what 1.7 notes when there was no round at all.
        *place = usize::try_from(number).ok();
        Ok(())
    }
}

impl Document {
    /// The document of what a reader found.
    pub(super) fn assemble(learner: Learner) -> Result<Self> {
        let missing = |what: &str| Error::invalid(format!("the XGBoost model has no `{what}`"));
        let Learner { version, classes, targets, .. } = learner;
        let booster_name = learner.booster_name.ok_or_else(|| missing("learner.gradient_booster.name"))?;
        let untrained = !learner.fixed_base
            && (version.first(), version.get(1)) >= (Some(&3), Some(&1))
            && match &learner.trees {
                Some(trees) => trees.trees.is_empty(),
                None => learner.rounds == 0,
            };
        let booster = match booster_name.as_str() {
            "gblinear" => Booster::Linear(learner.linear.ok_or_else(|| missing("learner.gradient_booster.model.weights"))?),
            "gbtree" | "dart" => {
                let mut trees = learner.trees.ok_or_else(|| missing("learner.gradient_booster.model.trees"))?;
                trees.weights = learner.weights.unwrap_or_default();
                trees.keep(learner.best, classes.max(targets).max(1))?;
                Booster::Trees(trees)
            }
            other => return Err(Error::invalid(format!("the XGBoost booster `{}` is not known", shown(other)))),
        };
        Ok(Self {
            version,
            untrained,
            objective: learner.objective.ok_or_else(|| missing("learner.objective.name"))?,
            booster_name,
            features: learner.features,
            names: learner.names,
            categories: learner.categories,
            booster,
            base_scores: learner.base_scores.unwrap_or_else(|| vec![0.5]),
            margin_base: learner.margin_base,
            classes,
            targets,
        })
    }

    /// Outputs per row before the objective's transform.
    pub(super) fn groups(&self) -> usize {
        self.classes.max(self.targets).max(1)
    }

    /// Whether the library that wrote the model adds up the trees before it adds the base margin.
    pub(super) fn adds_base_last(&self) -> bool {
        self.release() < if self.booster_name == "dart" { DART_BASE_FIRST } else { TREES_BASE_FIRST }
    }

    /// Major and minor version; 0.0 for files that do not say, which are from before 1.0.
    pub(super) fn release(&self) -> (i32, i32) {
        (self.version.first().copied().unwrap_or_default(), self.version.get(1).copied().unwrap_or_default())
    }

    /// The margin each of `groups` sums starts from; `link` turns scores into margins.
    pub(super) fn base_margins(&self, groups: usize, link: impl Fn(&mut [f32])) -> Result<Vec<f32>> {
        if self.untrained {
            return Ok(vec![0.5; groups]);
        }
        let mut margins: Vec<f32> = match self.base_scores.as_slice() {
            [one] => vec![*one; groups],
            many if many.len() == groups => many.to_vec(),
            many => {
                return Err(Error::invalid(format!(
                    "the model has {} for {}",
                    counted(many.len(), "base score"),
                    counted(groups, "output")
                )));
            }
        };
        if !self.margin_base {
            link(&mut margins);
        }
        if let (Booster::Linear(_), Some(&first)) = (&self.booster, margins.first()) {
            // The linear booster adds the first margin to every output, whatever the file holds for the others.
            margins.fill(first);
        }
        if margins.iter().any(|margin| !margin.is_finite()) {
            return Err(Error::invalid(format!("the base score {:?} has no finite margin", self.base_scores)));
        }
        Ok(margins)
    }
}

/// `5E-1`, or since 3.1 `[5E-1,2.5E-1]`.
fn base_scores(text: &str) -> Result<Vec<f32>> {
    let bad = || Error::invalid(format!("the base score `{}` is no number", shown(text)));
    let inner = text.trim().strip_prefix('[').map_or(Some(text.trim()), |rest| rest.strip_suffix(']')).ok_or_else(bad)?;
    inner
        .split(',')
        .map(|one| match read_f32(one.trim().as_bytes()) {
            Some((value, length)) if length == one.trim().len() => Ok(value),
            _ => Err(bad()),
        })
        .collect()
}

fn parameter<'a, P: Pull<'a>>(document: &mut P, key: &str) -> Result<usize> {
    let text = document.string()?;
    text.parse().map_err(|_| document.fail(format_args!("`{key}` is `{}`, no count", shown(&text))))
}

/// Reads a whole file: a model, or the snapshot of a booster, `{"Config": …, "Model": …}`.
pub(super) fn read_model_file<'a, P: Pull<'a>>(document: &mut P) -> Result<Learner> {
    let (mut learner, mut version) = (None, None);
    let mut member = |document: &mut P, key: &str| {
        match key {
            "learner" => learner = Some(read_learner(document)?),
            "version" => version = Some(document.integers()?),
            _ => document.skip()?,
        }
        Ok(())
    };
    document.object(|document, key| if key == "Model" { document.object(&mut member) } else { member(document, key) })?;
    document.end()?;
    let mut learner: Learner = learner.ok_or_else(|| Error::invalid("the XGBoost model has no `learner`"))?;
    learner.version = version.unwrap_or_default();
    Ok(learner)
}

fn read_learner<'a, P: Pull<'a>>(document: &mut P) -> Result<Learner> {
    let mut learner = Learner::default();
    document.object(|document, key| match key {
        "attributes" => document.object(|document, key| {
            if matches!(key, "best_iteration" | "best_ntree_limit") {
                let text = document.string()?;
                return learner.best.note(key, &text);
            }
            document.skip()
        }),
        "feature_names" => document.array(|document, _| {
            if learner.names.len() >= NAMES_MAX {
                return Err(document.fail(format_args!("the model names more than {NAMES_MAX} features")));
            }
            learner.names.push(document.string()?.into());
            Ok(())
        }),
        "gradient_booster" => read_booster(document, &mut learner),
        "learner_model_param" => document.object(|document, key| {
            match key {
                "base_score" => learner.base_scores = Some(base_scores(&document.string()?)?),
                "boost_from_average" => learner.fixed_base = document.string()? == "0",
                "num_class" => learner.classes = parameter(document, key)?,
                "num_target" => learner.targets = parameter(document, key)?,
                "num_feature" => learner.features = parameter(document, key)?,
                _ => document.skip()?,
            }
            Ok(())
        }),
        "objective" => document.object(|document, key| {
            if key == "name" {
                learner.objective = Some(document.string()?.into_owned());
                return Ok(());
            }
            document.skip()
        }),
        _ => document.skip(),
    })?;
    Ok(learner)
}

fn read_booster<'a, P: Pull<'a>>(document: &mut P, learner: &mut Learner) -> Result<()> {
    document.object(|document, key| match key {
        "name" => {
            learner.booster_name = Some(document.string()?.into_owned());
            Ok(())
        }
        "model" => read_model(document, learner),
        // Dart wraps the trees one level deeper.
        "gbtree" => document.object(|document, key| if key == "model" { read_model(document, learner) } else { document.skip() }),
        "weight_drop" => {
            learner.weights = Some(document.numbers()?);
            Ok(())
        }
        _ => document.skip(),
    })
}

fn read_model<'a, P: Pull<'a>>(document: &mut P, learner: &mut Learner) -> Result<()> {
    let mut model = Trees::default();
    let mut is_tree = false;
    document.object(|document, key| {
        match key {
            "weights" => learner.linear = Some(document.numbers()?),
            "weight_drop" => learner.weights = Some(document.numbers()?),
            "boosted_rounds" => learner.rounds = usize::try_from(document.integer()?).unwrap_or_default(),
            "trees" => {
                is_tree = true;
                document.array(|document, index| {
                    model.trees.push(read_tree(document, index)?);
                    Ok(())
                })?;
            }
            "cats" => learner.categories = read_categories(document)?,
            "tree_info" => model.groups = document.integers()?,
            "iteration_indptr" => model.iterations = document.integers()?,
            "gbtree_model_param" => document.object(|document, key| {
                if key == "num_parallel_tree" {
                    model.parallel = parameter(document, key)?;
                    return Ok(());
                }
                document.skip()
            })?,
            _ => document.skip()?,
        }
        Ok(())
    })?;
    if is_tree {
        learner.trees = Some(model);
    }
    Ok(())
}

fn read_tree<'a, P: Pull<'a>>(document: &mut P, index: usize) -> Result<RawTree> {
    let mut tree = RawTree { vector_width: 1, ..RawTree::default() };
    let mut weights: Option<P> = None;
    let mut leaf_weights = None;
    document.object(|document, key| {
        match key {
            // The library places trees by their id, and writes them in that order.
            "id" if usize::try_from(document.integer()?) != Ok(index) => {
                return Err(document.fail(format_args!("tree {index} has another id")));
            }
            "id" => {}
            "left_children" => tree.left = document.integers()?,
            "right_children" => tree.right = document.integers()?,
            "split_indices" => tree.features = document.integers()?,
            "split_conditions" => tree.conditions = document.numbers()?,
            "default_left" => tree.default_left = document.integers()?,
            "sum_hessian" => tree.covers = document.numbers()?,
            "split_type" => tree.split_type = document.integers()?,
            "categories" => tree.categories = document.integers()?,
            "categories_nodes" => tree.category_nodes = document.integers()?,
            "categories_segments" => tree.category_starts = document.integers()?,
            "categories_sizes" => tree.category_sizes = document.integers()?,
            "leaf_weights" => leaf_weights = Some(document.numbers()?),
            "tree_param" => document.object(|document, key| {
                if key == "size_leaf_vector" {
                    tree.vector_width = parameter(document, key)?.max(1);
                    return Ok(());
                }
                document.skip()
            })?,
            // Read only if the leaves turn out to be vectors.
            "base_weights" => {
                weights = Some(document.clone());
                document.skip()?;
            }
            _ => document.skip()?,
        }
        Ok(())
    })?;
    // Refused here, before the next tree is read: a list of trees that are hardly written, or not to the end, would take
    // many times its bytes. One whose arrays are all there takes a few times its own.
    if let Err(why) = tree.check() {
        return Err(document.fail(format_args!("tree {index}: {why}")));
    }
    if tree.vector_width > 1 {
        tree.leaf_rows = leaf_weights.as_ref().is_some_and(|weights| !weights.is_empty());
        tree.vectors = match (leaf_weights, weights) {
            (Some(weights), _) if tree.leaf_rows => weights,
            (_, Some(mut weights)) => weights.numbers()?,
            _ => return Err(document.fail("a tree with vector leaves holds no weights")),
        };
    }
    Ok(tree)
}

impl Trees {
    /// Trees and the output each adds to; `parallel` trees of each output make an iteration.
    pub(super) fn new(trees: Vec<RawTree>, groups: Vec<i32>, parallel: usize) -> Self {
        Self { trees, groups, parallel, ..Self::default() }
    }

    /// Drops what comes after the best iteration. `groups` trees make an iteration, times the parallel ones.
    fn keep(&mut self, best: Best, groups: usize) -> Result<()> {
        self.kept = self.trees.len();
        let Some(iteration) = best.iteration else { return Ok(()) };
        if self.parallel == 0 {
            // Files of old do not say how many; the library notes the product as soon as there is a best iteration.
            // Without that note, several outputs tell: the trees of one stand together.
            let together = || self.groups.iter().take_while(|&&group| Some(&group) == self.groups.first()).count();
            self.parallel = match best.trees {
                Some(trees) => trees / iteration.saturating_add(1),
                None if groups > 1 => together(),
                None => 1,
            };
            self.parallel = self.parallel.max(1);
        }
        let end = if self.iterations.is_empty() {
            iteration.checked_add(1).and_then(|rounds| rounds.checked_mul(self.parallel)).and_then(|trees| trees.checked_mul(groups))
        } else {
            iteration.checked_add(1).and_then(|at| self.iterations.get(at)).and_then(|&end| usize::try_from(end).ok())
        };
        match end {
            Some(end) if end <= self.trees.len() => {
                self.kept = end;
                Ok(())
            }
            _ => Err(Error::invalid(format!("best_iteration is {iteration}; the model has {}", counted(self.trees.len(), "tree")))),
        }
    }

    pub(super) fn kept(&self) -> &[RawTree] {
        self.trees.get(..self.kept).unwrap_or_default()
    }

    pub(super) fn weight(&self, tree: usize) -> Result<f32> {
        if self.weights.is_empty() {
            return Ok(1.0);
        }
        let weight = self.weights.get(tree).copied().filter(|weight| weight.is_finite());
        weight.ok_or_else(|| Error::invalid(format!("tree {tree} has no finite weight in `weight_drop`")))
    }

    pub(super) fn group(&self, tree: usize) -> Result<usize> {
        let group = self.groups.get(tree).copied();
        group
            .and_then(|group| usize::try_from(group).ok())
            .ok_or_else(|| Error::invalid(format!("tree {tree} has no output in `tree_info`")))
    }
}

impl RawTree {
    /// Nodes.
    pub(super) fn len(&self) -> usize {
        self.left.len()
    }

    /// Whether its arrays can belong together.
    fn check(&self) -> std::result::Result<(), &'static str> {
        let count = self.len();
        if count == 0 {
            return Err("it has no node");
        }
        if [self.right.len(), self.features.len(), self.conditions.len(), self.default_left.len()].iter().any(|&other| other != count) {
            return Err("a tree's arrays differ in length");
        }
        Ok(())
    }

    /// Vector leaves times the dart weight.
    pub(super) fn scaled_vectors(&self, groups: usize, weight: f32) -> Result<Vec<f32>> {
        if self.vector_width > 1 && self.vector_width != groups {
            return Err(Error::invalid(format!(
                "a tree's leaves are {} wide; the model has {}",
                self.vector_width,
                counted(groups, "output")
            )));
        }
        Ok(self.vectors.iter().map(|value| if weight == 1.0 { *value } else { value * weight }).collect())
    }

    /// The categories that go right at node `number`, when it splits on categories. The library writes the nodes' sets one
    /// behind the other; `left` is how many of the tree's categories are not yet in one, for if sets could overlap, a short
    /// file could ask for the square of its length.
    pub(super) fn categories_of(&self, number: usize, left: &mut usize) -> Result<Option<&[i32]>> {
        if self.split_type.get(number).copied().unwrap_or_default() != 1 {
            return Ok(None);
        }
        let bad = || Error::invalid(format!("node {number} splits on categories that are not in the file"));
        let node = i32::try_from(number).map_err(|_| bad())?;
        // The library writes them in ascending order; a file with another order was not written by it.
        let at = self.category_nodes.binary_search(&node).map_err(|_| bad())?;
        let whole = |values: &[i32]| values.get(at).and_then(|&value| usize::try_from(value).ok());
        let start = whole(&self.category_starts).ok_or_else(bad)?;
        let size = whole(&self.category_sizes).ok_or_else(bad)?;
        let set = self.categories.get(start..start.checked_add(size).ok_or_else(bad)?).ok_or_else(bad)?;
        let shared =
            || Error::invalid(format!("node {number} splits on categories that other nodes have; each node's stand by themselves"));
        *left = left.checked_sub(size).ok_or_else(shared)?;
        Ok(Some(set))
    }
}
