//! The text that LightGBM writes: a head of `key=value` lines, trees of such lines, a tail.
//!
//! Reads one tree at a time and checks that every list is as long as it must be; what a split or an objective means is
//! for `mod.rs` and `objective.rs`. Refusals name the tree and the line. Layouts of versions 2 to 4 are the same but
//! for fields that came later.

use std::str::FromStr;

use crate::error::{Error, Result};
use crate::names::{counted, shown};
use crate::runtime::trees::wide::FEATURES_MAX;

/// What the lines before the trees say.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// `v2` to `v4`.
    pub(super) version: Option<String>,
    /// Outputs.
    pub(super) groups: usize,
    pub(super) features: usize,
    /// The objective and its parameters; none when the trainer brought its own.
    pub(super) objective: Option<String>,
    /// Whether the answer is the mean of the iterations: random forests.
    pub(super) average: bool,
    pub(super) names: Vec<Box<str>>,
    /// The bytes of each tree, where the file says.
    sizes: Option<Vec<usize>>,
}

/// One tree's lists as they are written. Inner lists hold `leaves - 1` values, those of leaves `leaves`.
#[derive(Debug, Default)]
pub(super) struct RawTree {
    pub(super) leaves: usize,
    pub(super) features: Vec<u32>,
    pub(super) thresholds: Vec<f64>,
    /// Bit 0: categorical. Bit 1: missing goes left. Bits 2 and 3: what is missing (nothing, zero, NaN).
    pub(super) decisions: Vec<u8>,
    /// An inner node, or the complement of a leaf.
    pub(super) left: Vec<i32>,
    pub(super) right: Vec<i32>,
    pub(super) leaf_values: Vec<f64>,
    /// Training rows; empty when not written.
    pub(super) leaf_counts: Vec<u32>,
    pub(super) inner_counts: Vec<u32>,
    /// Where each category set begins among the words, and last where they end.
    pub(super) set_starts: Vec<usize>,
    pub(super) set_words: Vec<u32>,
    pub(super) linear: Option<RawLinear>,
}

/// The linear functions of a tree's leaves.
#[derive(Debug)]
pub(super) struct RawLinear {
    pub(super) constants: Vec<f64>,
    /// Where each leaf's terms begin, and last where they end.
    pub(super) starts: Vec<usize>,
    pub(super) features: Vec<u32>,
    pub(super) coefficients: Vec<f64>,
}

/// A place in the file.
#[derive(Debug)]
pub(super) struct Document<'a> {
    bytes: &'a [u8],
    /// The first byte not yet read, and its line from 1.
    at: usize,
    line: usize,
    trees: usize,
    /// Where the next tree begins, by the sizes that the head gives.
    expected: usize,
}

/// A `key=value` line.
#[derive(Debug, Clone, Copy)]
struct Field<'a> {
    line: usize,
    key: &'a str,
    value: &'a str,
}

impl Field<'_> {
    fn refuse(&self, why: impl std::fmt::Display) -> Error {
        Error::invalid(format!("line {} (`{}`) {why}", self.line, shown(self.key)))
    }

    fn one<T: FromStr>(&self) -> Result<T> {
        self.value.trim().parse().map_err(|_| self.refuse(format_args!("is `{}`, which is no such number", shown(clip(self.value)))))
    }

    fn list<T: FromStr>(&self) -> Result<Vec<T>> {
        let mut values = Vec::new();
        for text in self.value.split_ascii_whitespace() {
            values.push(text.parse().map_err(|_| self.refuse(format_args!("holds `{}`, which is no such number", shown(clip(text)))))?);
        }
        values.shrink_to_fit();
        Ok(values)
    }

    /// The list, which must hold `count` values.
    fn exactly<T: FromStr>(&self, count: usize) -> Result<Vec<T>> {
        let values = self.list()?;
        if values.len() != count {
            return Err(
                self.refuse(format_args!("holds {} where {count} belong; the file was cut or changed", counted(values.len(), "value")))
            );
        }
        Ok(values)
    }
}

/// The beginning of a text that may be long.
fn clip(text: &str) -> &str {
    text.char_indices().nth(40).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

impl<'a> Document<'a> {
    /// Reads up to the first tree.
    ///
    /// # Errors
    /// Naming the line.
    pub(super) fn open(bytes: &'a [u8]) -> Result<(Head, Self)> {
        let skipped = bytes.len() - bytes.trim_ascii_start().len();
        let mut document = Self { bytes, at: skipped, line: 1, trees: 0, expected: 0 };
        let (mut head, mut groups, mut features) = (Head::default(), None, None);
        let mut trees_each: Option<usize> = None;
        let mut names: Option<Field<'_>> = None;
        let mut infos: Option<Field<'_>> = None;
        loop {
            let before = (document.at, document.line);
            let Some((line, text)) = document.next()? else { break };
            if text.starts_with("Tree=") || is_tail(text) {
                (document.at, document.line) = before;
                break;
            }
            let (key, value) = text.split_once('=').unwrap_or((text, ""));
            let field = Field { line, key, value };
            match key {
                "version" => head.version = Some(clip(value).to_owned()),
                "num_class" => groups = Some(field.one()?),
                "num_tree_per_iteration" => trees_each = Some(field.one()?),
                "max_feature_idx" => features = Some(field.one::<usize>()?.saturating_add(1)),
                "objective" => head.objective = Some(value.to_owned()),
                "average_output" => head.average = true,
                "feature_names" => names = Some(field),
                "feature_infos" => infos = Some(field),
                "tree_sizes" => head.sizes = Some(field.list()?),
                _ => {}
            }
        }
        let absent = |key: &str| Error::invalid(format!("the head has no line `{key}=`; the file was cut or changed"));
        head.groups = groups.ok_or_else(|| absent("num_class"))?;
        head.features = features.ok_or_else(|| absent("max_feature_idx"))?;
        if let Some(each) = trees_each
            && each != head.groups
        {
            return Err(Error::invalid(format!(
                "the model has {} but {} an iteration",
                counted(head.groups, "class"),
                counted(each, "tree")
            )));
        }
        let (names, infos) = (names.ok_or_else(|| absent("feature_names"))?, infos.ok_or_else(|| absent("feature_infos"))?);
        if head.features > FEATURES_MAX {
            return Err(Error::invalid(format!("the model has {} features; at most {FEATURES_MAX} can be served", head.features)));
        }
        // Counted before they are kept: a name takes many times its bytes in the file.
        for field in [names, infos] {
            let count = field.value.split_ascii_whitespace().count();
            if count != head.features {
                return Err(field.refuse(format_args!("is of {} where the model has {}", counted(count, "feature"), head.features)));
            }
        }
        head.names = names.value.split_ascii_whitespace().map(Box::from).collect();
        document.expected = document.at;
        Ok((head, document))
    }

    /// The next line and its number from 1, without its end.
    fn next(&mut self) -> Result<Option<(usize, &'a str)>> {
        let Some(rest) = self.bytes.get(self.at..).filter(|rest| !rest.is_empty()) else { return Ok(None) };
        let end = rest.iter().position(|&byte| byte == b'\n');
        let text = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        let line = self.line;
        self.at += end.map_or(rest.len(), |end| end + 1);
        self.line += 1;
        let text = std::str::from_utf8(text).map_err(|_| Error::invalid(format!("line {line} is no text; the file was changed")))?;
        Ok(Some((line, text.trim_end_matches('\r'))))
    }

    /// The next tree, or none at their end; reads what follows the last one to its end.
    ///
    /// # Errors
    /// Naming the tree and the line: a field that is not there or no list of the right length, a tree that is not as
    /// long as the head says, a file that ends too soon.
    pub(super) fn tree(&mut self, head: &Head) -> Result<Option<RawTree>> {
        let (mut before, mut number) = (self.at, self.line);
        let text = loop {
            match self.next()? {
                Some((_, "")) => (before, number) = (self.at, self.line),
                Some((_, text)) => break text,
                None => return Err(Error::invalid(format!("the file ends after tree {}, before `end of trees`; it was cut", self.trees))),
            }
        };
        if let Some(sizes) = &head.sizes {
            if before != self.expected || (is_tail(text) && self.trees != sizes.len()) {
                let why = if self.bytes.windows(2).take(before).any(|two| two == b"\r\n") {
                    "its lines end in CR LF, which LightGBM itself does not read: write them with LF"
                } else {
                    "the file was cut or changed"
                };
                return Err(Error::invalid(format!(
                    "tree {} ends on line {number}, not where the head's `tree_sizes` says; {why}",
                    self.trees.saturating_sub(1)
                )));
            }
            self.expected = self.expected.saturating_add(sizes.get(self.trees).copied().unwrap_or_default());
        }
        if is_tail(text) {
            self.tail(text)?;
            return Ok(None);
        }
        if !text.starts_with("Tree=") {
            return Err(Error::invalid(format!("line {number} is `{}` where a tree or `end of trees` belongs", shown(clip(text)))));
        }
        let index = self.trees;
        let tree = self.fields().and_then(|fields| RawTree::read(&fields)).map_err(|error| error.within(format_args!("tree {index}")))?;
        self.trees += 1;
        Ok(Some(tree))
    }

    /// The lines of a tree up to the empty one.
    fn fields(&mut self) -> Result<Vec<Field<'a>>> {
        let mut fields = Vec::with_capacity(24);
        loop {
            match self.next()? {
                Some((_, "")) => return Ok(fields),
                Some((line, text)) => {
                    let Some((key, value)) = text.split_once('=') else {
                        return Err(Error::invalid(format!("line {line} is `{}`, not `key=value`", shown(clip(text)))));
                    };
                    // The library reads no more than 22 either.
                    if fields.len() == 64 {
                        return Err(Error::invalid(format!("line {line} is one of too many")));
                    }
                    fields.push(Field { line, key, value });
                }
                None => {
                    return Err(Error::invalid(format!("the file ends on line {} in the middle of the tree; it was cut", self.line - 1)));
                }
            }
        }
    }

    /// Checks what follows the trees: parameters that are begun are ended, categories are JSON.
    fn tail(&mut self, first: &str) -> Result<()> {
        let mut open = None;
        let mut next = Some((self.line, first));
        while let Some((line, text)) = next {
            match text {
                "parameters:" => open = Some(line),
                "end of parameters" => open = None,
                _ => {
                    if let Some(categories) = text.strip_prefix("pandas_categorical:")
                        && serde_json::from_str::<serde::de::IgnoredAny>(categories).is_err()
                    {
                        return Err(Error::invalid(format!("line {line} (`pandas_categorical`) is not JSON; the file was cut or changed")));
                    }
                }
            }
            next = self.next()?;
        }
        match open {
            Some(line) => Err(Error::invalid(format!("the parameters that begin on line {line} do not end; the file was cut"))),
            None => Ok(()),
        }
    }
}

/// Whether a line is the first behind the trees. Version 2 began without `end of trees`.
fn is_tail(text: &str) -> bool {
    matches!(text, "end of trees" | "feature importances:" | "feature_importances:")
}

impl RawTree {
    fn read(fields: &[Field<'_>]) -> Result<Self> {
        let find = |key: &str| fields.iter().find(|field| field.key == key);
        let need = |key: &str| find(key).ok_or_else(|| Error::invalid(format!("it has no line `{key}=`; the file was cut or changed")));
        let leaves: usize = need("num_leaves")?.one()?;
        if leaves == 0 {
            return Err(need("num_leaves")?.refuse("is 0; a tree has at least one leaf"));
        }
        let inner = leaves - 1;
        let mut tree = Self { leaves, leaf_values: need("leaf_value")?.exactly(leaves)?, ..Self::default() };
        let sets: usize = need("num_cat")?.one()?;
        if find("is_linear").map(Field::one::<u8>).transpose()?.is_some_and(|linear| linear != 0) {
            tree.linear = Some(RawLinear::read(&find, leaves)?);
        }
        if inner == 0 {
            return Ok(tree);
        }
        tree.features = need("split_feature")?.exactly(inner)?;
        tree.thresholds = need("threshold")?.exactly(inner)?;
        tree.left = need("left_child")?.exactly(inner)?;
        tree.right = need("right_child")?.exactly(inner)?;
        tree.decisions = find("decision_type").map_or_else(|| Ok(vec![0; inner]), |field| field.exactly(inner))?;
        tree.leaf_counts = find("leaf_count").map_or(Ok(Vec::new()), |field| field.exactly(leaves))?;
        tree.inner_counts = find("internal_count").map_or(Ok(Vec::new()), |field| field.exactly(inner))?;
        if sets > 0 {
            let starts = need("cat_boundaries")?;
            tree.set_starts = starts.exactly(sets.saturating_add(1))?;
            let end = tree.set_starts.last().copied().unwrap_or_default();
            if !tree.set_starts.is_sorted() {
                return Err(starts.refuse("does not rise"));
            }
            tree.set_words = need("cat_threshold")?.exactly(end)?;
        }
        Ok(tree)
    }
}

impl RawLinear {
    fn read<'a, 'b: 'a>(find: &impl Fn(&str) -> Option<&'a Field<'b>>, leaves: usize) -> Result<Self> {
        let absent = |key: &str| Error::invalid(format!("it is linear and has no line `{key}=`; the file was cut or changed"));
        let need = |key: &str| find(key).ok_or_else(|| absent(key));
        let mut starts = Vec::with_capacity(leaves + 1);
        let mut end = 0usize;
        starts.push(end);
        for terms in need("num_features")?.exactly::<u32>(leaves)? {
            end += terms as usize;
            starts.push(end);
        }
        Ok(Self {
            constants: need("leaf_const")?.exactly(leaves)?,
            starts,
            features: need("leaf_features")?.exactly(end)?,
            coefficients: need("leaf_coeff")?.exactly(end)?,
        })
    }
}
