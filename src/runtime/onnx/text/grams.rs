//! `TfIdfVectorizer`: how often each n-gram of a pool occurs in a row, weighed or not.
//!
//! Words of the pool get numbers, so a row is looked up word by word once and its n-grams as short lists of numbers.
//! Next: `hash.rs`.

use std::collections::HashMap;

use smallvec::SmallVec;

use super::super::graph::Inputs;
use super::super::node::Node;
use super::super::ops::{Op, Values, boxed, one};
use super::super::value::{Shape, Value, View, fault, wrong_type};
use crate::error::{Error, Result};
use crate::names::shown;
use crate::runtime::pipeline::CELLS_MAX;

type Table<K> = HashMap<K, u32, foldhash::fast::RandomState>;
/// A word that is in no n-gram.
const UNKNOWN: u32 = u32::MAX;
/// The longest n-gram, and the farthest its words may lie apart.
const LENGTH_MAX: usize = 1 << 10;
const SKIP_MAX: usize = 1 << 16;

/// The numbers of the pool's words.
#[derive(Debug)]
enum Words {
    Texts(Table<Box<str>>),
    Ints(Table<i64>),
}

/// What of the counts is answered.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Weigh {
    /// How often.
    Count,
    /// Its weight, where it is there at all.
    Presence,
    /// How often, times its weight.
    Both,
}

#[derive(Debug)]
struct TfIdf {
    words: Words,
    /// The n-gram of each single word, `UNKNOWN` where it is none.
    single: Vec<u32>,
    /// Longer n-grams by their words.
    longer: Table<Box<[u32]>>,
    /// Of each n-gram the column and the weight.
    columns: Vec<(u32, f32)>,
    width: usize,
    shortest: usize,
    longest: usize,
    skips: usize,
    weigh: Weigh,
}

impl TfIdf {
    fn words(&self, data: View<'_>) -> Result<Vec<u32>> {
        let number = |found: Option<&u32>| found.copied().unwrap_or(UNKNOWN);
        Ok(match (&self.words, data) {
            (Words::Texts(table), View::Text(list)) => list.iter().map(|word| number(table.get(word))).collect(),
            (Words::Ints(table), View::I64(list)) => list.iter().map(|word| number(table.get(word))).collect(),
            (Words::Ints(table), View::I32(list)) => list.iter().map(|&word| number(table.get(&i64::from(word)))).collect(),
            (_, other) => return Err(wrong_type(other)),
        })
    }

    fn hit(&self, gram: Option<u32>, out: &mut [f32]) {
        let Some(&(column, weight)) = gram.and_then(|gram| self.columns.get(gram as usize)) else { return };
        let Some(x) = out.get_mut(column as usize) else { return };
        match self.weigh {
            Weigh::Count => *x += 1.0,
            Weigh::Presence => *x = weight,
            Weigh::Both => *x += weight,
        }
    }

    fn row(&self, words: &[u32], out: &mut [f32]) {
        let mut shortest = self.shortest;
        if shortest == 1 {
            for &word in words {
                self.hit(self.single.get(word as usize).copied(), out);
            }
            shortest = 2;
        }
        if self.longest < shortest || self.longer.is_empty() {
            return;
        }
        let mut gram: SmallVec<[u32; 8]> = SmallVec::new();
        for distance in 1..=self.skips + 1 {
            if distance.saturating_mul(shortest - 1) >= words.len() {
                break;
            }
            for start in 0..words.len() {
                gram.clear();
                for &word in words.iter().skip(start).step_by(distance).take(self.longest) {
                    if word == UNKNOWN {
                        break;
                    }
                    gram.push(word);
                    if gram.len() >= shortest {
                        self.hit(self.longer.get(gram.as_slice()).copied(), out);
                    }
                }
            }
        }
    }
}

impl Op for TfIdf {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let x = inputs.get(0)?;
        let (rows, columns) = match *x.shape {
            [] => (1, 1),
            [columns] => (1, columns),
            [rows, columns] => (rows, columns),
            _ => return Err(fault(format!("it was handed an array of shape {:?} where it takes a matrix", x.shape))),
        };
        let mut shape: Shape = x.shape.iter().take(x.shape.len().saturating_sub(1)).copied().collect();
        shape.push(self.width);
        let size = inputs.meter.size(&shape)?;
        inputs.meter.size(x.shape)?;
        let walks = (self.longest as u64).saturating_mul((self.skips + 1).min(columns.max(1)) as u64);
        inputs.meter.work((x.data.len() as u64).saturating_mul(walks))?;
        let mut out = vec![0.0f32; size];
        let words = self.words(x.data)?;
        if columns > 0 {
            for (words, out) in words.chunks_exact(columns).zip(out.chunks_exact_mut(self.width)).take(rows) {
                self.row(words, out);
            }
        }
        one(Value::new(shape, out))
    }

    fn weight(&self) -> usize {
        let words = match &self.words {
            Words::Texts(table) => table.capacity() * 25 + table.keys().map(|word| word.len()).sum::<usize>(),
            Words::Ints(table) => table.capacity() * 17,
        };
        let longer = self.longer.capacity() * 25 + self.longer.keys().map(|gram| gram.len() * 4).sum::<usize>();
        size_of::<Self>() + words + longer + self.single.capacity() * 4 + self.columns.capacity() * 8
    }
}

/// Gives each word a number; the pool as numbers.
fn number<K: std::hash::Hash + Eq>(pool: impl IntoIterator<Item = K>) -> (Table<K>, Vec<u32>) {
    let mut table = Table::default();
    let numbers = pool
        .into_iter()
        .map(|word| {
            let next = u32::try_from(table.len()).unwrap_or(UNKNOWN);
            *table.entry(word).or_insert(next)
        })
        .collect();
    (table, numbers)
}

fn tf_idf(node: &Node<'_>) -> Result<TfIdf> {
    let weigh = match node.text("mode", "")? {
        "TF" => Weigh::Count,
        "IDF" => Weigh::Presence,
        "TFIDF" => Weigh::Both,
        other => return Err(node.refuse("mode", format_args!("is `{}`; TF, IDF and TFIDF are known", shown(other)))),
    };
    let count = |name: &str, most: usize| {
        let value = node.attribute(name).ok_or_else(|| node.refuse(name, "is missing"))?.i;
        let fits = usize::try_from(value).ok().filter(|&value| value <= most);
        fits.ok_or_else(|| node.refuse(name, format_args!("is {value}; 0 to {most} can be served")))
    };
    let (shortest, longest) = (count("min_gram_length", LENGTH_MAX)?, count("max_gram_length", LENGTH_MAX)?);
    let skips = count("max_skip_count", SKIP_MAX)?;
    let (counts, indexes, weights) = (node.ints("ngram_counts"), node.ints("ngram_indexes"), node.floats("weights"));
    if shortest == 0 || shortest > longest || longest > counts.len() {
        return Err(node.refuse("max_gram_length", "does not fit `min_gram_length` and `ngram_counts`"));
    }
    if !weights.is_empty() && weights.len() != indexes.len() {
        return Err(node.refuse("weights", "is not as long as `ngram_indexes`"));
    }
    super::super::node::finite("weights", weights)?;
    let column = |&index: &i64| {
        let fits = usize::try_from(index).ok().filter(|&index| index < CELLS_MAX);
        fits.ok_or_else(|| node.refuse("ngram_indexes", format_args!("names column {index}; 0 to {CELLS_MAX} can be served")))
    };
    let indexes: Vec<usize> = indexes.iter().map(column).collect::<Result<_>>()?;
    let width = indexes.iter().max().map(|&last| last + 1).ok_or_else(|| node.refuse("ngram_indexes", "is missing"))?;
    let texts = node.texts("pool_strings")?;
    let (words, pool) = if texts.is_empty() {
        let (table, pool) = number(node.ints("pool_int64s").iter().copied());
        (Words::Ints(table), pool)
    } else {
        let (table, pool) = number(texts);
        (Words::Texts(table), pool)
    };
    if pool.is_empty() {
        return Err(Error::invalid("its pool of n-grams is empty"));
    }
    let known = match &words {
        Words::Texts(table) => table.len(),
        Words::Ints(table) => table.len(),
    };
    let (mut single, mut longer, mut gram) = (vec![UNKNOWN; known], Table::<Box<[u32]>>::default(), 0u32);
    for (at, &start) in counts.iter().enumerate() {
        let refuse = || node.refuse("ngram_counts", "does not cut the pool into whole n-grams");
        let start = usize::try_from(start).map_err(|_| refuse())?;
        let end = counts.get(at + 1).map_or(Ok(pool.len()), |&end| usize::try_from(end)).map_err(|_| refuse())?;
        let part = pool.get(start..end).ok_or_else(refuse)?;
        let length = at + 1;
        if part.len() % length != 0 {
            return Err(refuse());
        }
        for words in part.chunks_exact(length) {
            let twice = match words {
                _ if length < shortest || length > longest => false,
                [word] => single.get_mut(*word as usize).is_some_and(|single| std::mem::replace(single, gram) != UNKNOWN),
                words => longer.insert(words.into(), gram).is_some(),
            };
            if twice {
                return Err(Error::invalid(format!("an n-gram of {length} is twice in its pool")));
            }
            gram += 1;
        }
    }
    if (gram as usize) > indexes.len() {
        return Err(node.refuse("ngram_indexes", format_args!("names {} columns for {gram} n-grams", indexes.len())));
    }
    // Longer ones than any in the pool are never looked for.
    let longest = longer.keys().map(|gram| gram.len()).max().unwrap_or(1);
    let weight = |at: usize| weights.get(at).copied().unwrap_or(1.0);
    let columns = indexes.iter().enumerate().map(|(at, &index)| (u32::try_from(index).unwrap_or(u32::MAX), weight(at))).collect();
    Ok(TfIdf { words, single, longer, columns, width, shortest, longest, skips, weigh })
}

pub(super) fn parse(name: &str, node: &Node<'_>) -> Result<Option<Box<dyn Op>>> {
    if name == "TfIdfVectorizer" { boxed(tf_idf(node)?).map(Some) } else { Ok(None) }
}
