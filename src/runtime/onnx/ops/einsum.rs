//! `Einsum`: sums of products by letters for axes.
//!
//! Letters of the answer are walked in front, those summed away behind; each operand says how far one step of a letter
//! goes, which is nothing for letters it lacks. Steps are counted before the walk. Next: `gemm.rs` for plain products.
#![expect(clippy::indexing_slicing, reason = "counters, sides and steps have one entry a letter")]

use smallvec::SmallVec;

use super::super::graph::Inputs;
use super::super::node::Node;
use super::super::value::{Arg, Data, Shape, Value, View, fault, strides, wrong_type};
use super::{Op, Values, boxed, one};
use crate::error::{Error, Result};
use crate::names::shown;

/// The most operands, and letters of one of them.
const OPERANDS_MAX: usize = 16;
const LETTERS_MAX: usize = 32;

type Letters = SmallVec<[char; 8]>;

/// One operand's letters; those in front of and behind `...`, where it is there.
#[derive(Debug, Clone, Default, PartialEq)]
struct Term {
    front: Letters,
    behind: Letters,
    dots: bool,
}

#[derive(Debug)]
struct Einsum {
    operands: Vec<Term>,
    /// Without one: letters that occur once, in alphabetical order, behind the dots.
    answer: Option<Term>,
}

impl Term {
    fn read(text: &str) -> Option<Self> {
        let mut term = Self::default();
        let mut rest = text;
        while let Some(letter) = rest.chars().next() {
            if let Some(behind) = rest.strip_prefix("...") {
                if term.dots {
                    return None;
                }
                (term.dots, rest) = (true, behind);
                continue;
            }
            if !letter.is_ascii_alphabetic() || term.front.len() + term.behind.len() == LETTERS_MAX {
                return None;
            }
            if term.dots {
                term.behind.push(letter)
            } else {
                term.front.push(letter)
            }
            rest = rest.get(1..)?;
        }
        Some(term)
    }
}

/// A letter, or an axis that dots stand for, counted from the last.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Axis {
    Letter(char),
    Dot(usize),
}

type Axes = SmallVec<[Axis; 8]>;

/// A term's axes for an array of `rank`.
fn axes(term: &Term, rank: usize) -> Result<Axes> {
    let named = term.front.len() + term.behind.len();
    let dots = rank.checked_sub(named).filter(|&dots| dots == 0 || term.dots);
    let dots = dots.ok_or_else(|| fault(format!("an array of {rank} dimensions has {named} letters")))?;
    let front = term.front.iter().map(|&letter| Axis::Letter(letter));
    Ok(front.chain((0..dots).rev().map(Axis::Dot)).chain(term.behind.iter().map(|&letter| Axis::Letter(letter))).collect())
}

/// How the operands are walked.
struct Walk {
    /// Letters of the answer, then those summed away.
    sides: SmallVec<[usize; 8]>,
    kept: usize,
    /// For each operand, how far a step of each letter goes.
    steps: SmallVec<[SmallVec<[usize; 8]>; 2]>,
}

impl Einsum {
    fn lay(&self, args: &[Arg<'_>]) -> Result<Walk> {
        let terms: Vec<Axes> = self.operands.iter().zip(args).map(|(term, arg)| axes(term, arg.shape.len())).collect::<Result<_>>()?;
        let dots = terms.iter().map(|term| term.iter().filter(|axis| matches!(axis, Axis::Dot(_))).count()).max().unwrap_or(0);
        let mut order: Axes = match &self.answer {
            Some(term) => axes(term, term.front.len() + term.behind.len() + if term.dots { dots } else { 0 })?,
            None => {
                let mut once: Vec<char> = self.operands.iter().flat_map(|term| term.front.iter().chain(&term.behind)).copied().collect();
                once.sort_unstable();
                let alone = |letter: &char| once.iter().filter(|&other| other == letter).count() == 1;
                let letters: Vec<Axis> = once.iter().filter(|letter| alone(letter)).map(|&letter| Axis::Letter(letter)).collect();
                (0..dots).rev().map(Axis::Dot).chain(letters).collect()
            }
        };
        let kept = order.len();
        for axis in terms.iter().flatten() {
            if !order.contains(axis) {
                order.push(*axis);
            }
        }
        let mut sides: SmallVec<[usize; 8]> = order.iter().map(|_| 1).collect();
        let mut steps = SmallVec::new();
        for (term, arg) in terms.iter().zip(args) {
            for (axis, &side) in term.iter().zip(arg.shape) {
                let at = order.iter().position(|other| other == axis).unwrap_or(0);
                if side != 1 && sides[at] != 1 && sides[at] != side {
                    return Err(fault(format!("a letter stands for {} and for {side} values", sides[at])));
                }
                if side != 1 {
                    sides[at] = side;
                }
            }
        }
        for (term, arg) in terms.iter().zip(args) {
            let mut own: SmallVec<[usize; 8]> = order.iter().map(|_| 0).collect();
            for ((axis, &side), &step) in term.iter().zip(arg.shape).zip(&strides(arg.shape)) {
                if side != 1 {
                    own[order.iter().position(|other| other == axis).unwrap_or(0)] += step;
                }
            }
            steps.push(own);
        }
        Ok(Walk { sides, kept, steps })
    }
}

impl Walk {
    /// Calls `product` with every operand's place for each term of each sum, `done` behind each sum.
    fn run<S>(&self, state: &mut S, mut product: impl FnMut(&mut S, &[usize]), mut done: impl FnMut(&mut S)) {
        if self.sides[..self.kept].contains(&0) {
            return;
        }
        let summed = self.sides[self.kept..].iter().fold(1usize, |product, &side| product.saturating_mul(side));
        let mut at: SmallVec<[usize; 8]> = self.sides.iter().map(|_| 0).collect();
        let mut places: SmallVec<[usize; 4]> = self.steps.iter().map(|_| 0).collect();
        loop {
            if summed > 0 {
                product(state, &places);
            }
            let mut axis = self.sides.len();
            loop {
                // A sum is done when only letters of the answer are left to move.
                if axis == self.kept {
                    done(state);
                }
                let Some(next) = axis.checked_sub(1) else { return };
                axis = next;
                if axis >= self.kept && summed == 0 {
                    continue;
                }
                at[axis] += 1;
                for (place, steps) in places.iter_mut().zip(&self.steps) {
                    *place += steps[axis];
                }
                if at[axis] < self.sides[axis] {
                    break;
                }
                for (place, steps) in places.iter_mut().zip(&self.steps) {
                    *place -= steps[axis] * at[axis];
                }
                at[axis] = 0;
            }
        }
    }
}

impl Op for Einsum {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let args = (0..self.operands.len()).map(|at| inputs.get(at)).collect::<Result<SmallVec<[Arg<'_>; 4]>>>()?;
        let walk = self.lay(&args)?;
        let shape: Shape = walk.sides[..walk.kept].into();
        let size = inputs.meter.size(&shape)?;
        let terms = walk.sides.iter().fold(args.len() as u64, |product, &side| product.saturating_mul(side as u64));
        inputs.meter.work(terms.saturating_mul(2))?;
        macro_rules! sums {
            ($type:ty, $sum:ty, $variant:ident, $product:expr, $add:expr) => {{
                let lists = args.iter().map(|arg| arg.list::<$type>()).collect::<Result<SmallVec<[&[$type]; 4]>>>()?;
                let mut state = (<$sum>::default(), Vec::with_capacity(size));
                walk.run(
                    &mut state,
                    |(sum, _), places| {
                        let factors = lists.iter().zip(places).map(|(list, &place)| list[place] as $sum);
                        *sum = $add(*sum, factors.fold(1 as $sum, $product));
                    },
                    |(sum, out)| out.push(std::mem::take(sum) as $type),
                );
                Data::$variant(state.1)
            }};
        }
        let data = match args.first().map(|arg| arg.data) {
            Some(View::F32(_)) => sums!(f32, f64, F32, |a, b| a * b, |a: f64, b| a + b),
            Some(View::F64(_)) => sums!(f64, f64, F64, |a, b| a * b, |a: f64, b| a + b),
            Some(View::I64(_)) => sums!(i64, i64, I64, i64::wrapping_mul, i64::wrapping_add),
            Some(View::I32(_)) => sums!(i32, i32, I32, i32::wrapping_mul, i32::wrapping_add),
            Some(other) => return Err(wrong_type(other)),
            None => return Err(fault("it has no input")),
        };
        one(Value { shape, data })
    }
}

pub(super) fn parse(name: &str, node: &Node<'_>) -> Result<Option<Box<dyn Op>>> {
    if name != "Einsum" {
        return Ok(None);
    }
    let equation = node.text("equation", "")?;
    let refuse = |why: &str| node.refuse("equation", format_args!("is `{}`, {why}", shown(equation)));
    let plain: String = equation.chars().filter(|c| *c != ' ').collect();
    let (left, right) = plain.split_once("->").map_or((plain.as_str(), None), |(left, right)| (left, Some(right)));
    let read = |text: &str| Term::read(text).ok_or_else(|| refuse("which is no list of letters"));
    let operands: Vec<Term> = left.split(',').take(OPERANDS_MAX + 1).map(read).collect::<Result<_>>()?;
    if operands.len() != node.proto.input.len() || operands.len() > OPERANDS_MAX {
        return Err(Error::invalid(format!("equation `{}` does not fit its {} inputs", shown(equation), node.proto.input.len())));
    }
    let answer = right.map(read).transpose()?;
    if let Some(answer) = &answer {
        let letters: Vec<char> = answer.front.iter().chain(&answer.behind).copied().collect();
        let known = |letter: &char| operands.iter().any(|term| term.front.contains(letter) || term.behind.contains(letter));
        if !letters.iter().all(known) || letters.iter().enumerate().any(|(at, letter)| letters[..at].contains(letter)) {
            return Err(refuse("whose answer has a letter twice or one that no input has"));
        }
    }
    boxed(Einsum { operands, answer }).map(Some)
}
