//! What a run of a graph takes: values and bytes of text held at once, and steps. Asked before anything is made.
//!
//! A small file can ask for an array of a billion values, copy one long text a million times or go round for hours;
//! each is refused here, before it happens. Values and texts count while an array lies in a graph's slots. Texts count
//! from the moment they are asked for: an operator that makes text without asking is refused by `graph.rs`, so none can
//! forget. Knows no operator. Next: `graph.rs`.

use std::cell::Cell;
#[cfg(feature = "onnxruntime")]
use std::time::Duration;

use super::value::{Data, RANK_MAX, Value, View, fault};
use crate::error::{Error, Kind, Result};
use crate::runtime::pipeline::CELLS_MAX;

/// The most steps one request may take, at worst about a minute, and those of a graph's trial rows, for which all other
/// uploads wait.
const WORK_MAX: u64 = 1 << 36;
const TRIAL_MAX: u64 = 1 << 32;
/// About how many steps a nanosecond has room for.
pub(crate) const STEPS_PER_NANO: u64 = 2;
/// The most values that arrays on the way hold together.
const LIVE_MAX: usize = 2 * CELLS_MAX;
/// The most bytes that texts on the way hold together, as much as the values may take.
const TEXT_MAX: usize = LIVE_MAX * 8;
/// What a text takes beside its own bytes: place, length and the allocator's share.
const TEXT: usize = 32;

/// The most values, and bytes of text, that working out one node on constants may make, and all of them.
const FOLD_MAX: usize = 1 << 20;
const FOLDS_MAX: usize = 1 << 23;
/// The most steps that working out constants may take altogether: part of every load, so far less than a second.
const FOLD_WORK: u64 = 1 << 28;

/// What a run has taken.
#[derive(Debug)]
pub(crate) struct Meter {
    /// Whether it is the trial run of a graph, where a category that is not known is no fault.
    pub(crate) trial: bool,
    /// Values held at once at most, and now.
    peak: Cell<usize>,
    live: Cell<usize>,
    /// Bytes of the texts that arrays hold, and of those the running operator asked for or took over.
    text: Cell<usize>,
    asked: Cell<usize>,
    work: Cell<u64>,
    /// The most of them.
    most: u64,
}

impl Default for Meter {
    /// For a request that may take its time.
    fn default() -> Self {
        Self {
            trial: false,
            peak: Cell::default(),
            live: Cell::default(),
            text: Cell::default(),
            asked: Cell::default(),
            work: Cell::default(),
            most: WORK_MAX,
        }
    }
}

/// Where a meter stood before a step, or before a graph ran inside another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    live: usize,
    text: usize,
    asked: usize,
}

impl Meter {
    /// For one of a graph's trial rows, after others that took `spent` steps.
    pub(crate) fn trial(spent: u64) -> Self {
        Self { trial: true, most: TRIAL_MAX.saturating_sub(spent), ..Self::default() }
    }

    /// For a request that is to be short: about `nanos` long at most.
    pub(crate) fn short(nanos: u64) -> Self {
        Self { most: nanos.saturating_mul(STEPS_PER_NANO).min(WORK_MAX), ..Self::default() }
    }

    /// Whether it was asked for more steps than it allows.
    pub(crate) fn ran_out(&self) -> bool {
        self.work.get() > self.most
    }

    /// The number of values in `shape`.
    ///
    /// # Errors
    /// [`Kind::TooLarge`] when a request may not take as many.
    pub(crate) fn size(&self, shape: &[usize]) -> Result<usize> {
        if shape.len() > RANK_MAX {
            return Err(fault(format!("an array of {} dimensions was asked for; at most {RANK_MAX} are taken", shape.len())));
        }
        let (mut size, mut bound) = (1usize, 1usize);
        for &side in shape {
            // An empty axis must not hide huge ones beside it, nor the steps over them.
            bound = bound.checked_mul(side.max(1)).filter(|&bound| bound <= CELLS_MAX).ok_or_else(too_large)?;
            size *= side;
        }
        self.work(bound as u64)?;
        if self.live.get() + size > LIVE_MAX {
            return Err(too_large());
        }
        self.peak.set(self.peak.get().max(self.live.get() + size));
        Ok(size)
    }

    /// Counts steps.
    ///
    /// # Errors
    /// [`Kind::TooLarge`] when a request may not take as many.
    pub(crate) fn work(&self, steps: u64) -> Result<()> {
        self.work.set(self.work.get().saturating_add(steps));
        if self.ran_out() { Err(too_much()) } else { Ok(()) }
    }

    /// Asks for `count` texts of `bytes` bytes together.
    ///
    /// # Errors
    /// [`Kind::TooLarge`] when a request may not take as much.
    pub(crate) fn text(&self, count: usize, bytes: usize) -> Result<()> {
        let bytes = count.saturating_mul(TEXT).saturating_add(bytes);
        self.work(bytes as u64 / 8)?;
        let asked = self.asked.get().saturating_add(bytes);
        if self.text.get().saturating_add(asked) > TEXT_MAX {
            return Err(Error::new(Kind::TooLarge, "the texts on the way would take too much memory; send fewer rows or shorter texts"));
        }
        self.asked.set(asked);
        Ok(())
    }

    /// Asks for texts of these lengths.
    ///
    /// # Errors
    /// As [`Meter::text`].
    pub(crate) fn texts(&self, lengths: &[u32]) -> Result<()> {
        self.text(lengths.len(), lengths.iter().map(|&length| length as usize).sum())
    }

    /// The bytes of each text, for what will be copied.
    ///
    /// # Errors
    /// As [`Meter::work`].
    pub(crate) fn lengths(&self, list: &[Box<str>]) -> Result<Vec<u32>> {
        self.work(list.len() as u64)?;
        Ok(list.iter().map(|text| u32::try_from(text.len()).unwrap_or(u32::MAX)).collect())
    }

    /// Copies of the texts at some places of a list; the empty text where there is none.
    ///
    /// # Errors
    /// As [`Meter::text`].
    pub(crate) fn picked(&self, list: &[Box<str>], places: impl ExactSizeIterator<Item = usize> + Clone) -> Result<Vec<Box<str>>> {
        self.text(places.len(), places.clone().filter_map(|at| list.get(at)).map(|text| text.len()).sum())?;
        Ok(places.map(|at| list.get(at).cloned().unwrap_or_default()).collect())
    }

    /// Counts the steps of reading all of an array's text, to hash or compare it.
    ///
    /// # Errors
    /// As [`Meter::work`].
    pub(crate) fn reads(&self, view: View<'_>) -> Result<()> {
        let View::Text(list) = view else { return Ok(()) };
        self.work(list.iter().map(|text| text.len() as u64).sum::<u64>() / 8)
    }

    /// How long what does not count its own steps may take: as long as the steps that are left, at a nanosecond each.
    #[cfg(feature = "onnxruntime")]
    pub(crate) fn left(&self) -> Duration {
        Duration::from_nanos(self.most.saturating_sub(self.work.get()))
    }

    /// Counts what took `time` as so many steps. Not in a trial run, whose count becomes part of the prepared form, which
    /// is the same whenever it is made.
    ///
    /// # Errors
    /// As [`Meter::work`].
    #[cfg(feature = "onnxruntime")]
    pub(crate) fn took(&self, time: Duration) -> Result<()> {
        let steps = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.work(if self.trial { 0 } else { steps })
    }

    /// Steps taken.
    pub(crate) fn steps(&self) -> u64 {
        self.work.get()
    }

    /// Values held at once at most.
    pub(crate) fn peak(&self) -> usize {
        self.peak.get()
    }

    /// Where it stands.
    pub(crate) fn mark(&self) -> Mark {
        Mark { live: self.live.get(), text: self.text.get(), asked: self.asked.get() }
    }

    /// Counts values that no slot holds, until [`Meter::unhold`].
    ///
    /// # Errors
    /// As [`Meter::size`].
    pub(crate) fn hold(&self, count: usize) -> Result<()> {
        self.size(&[count])?;
        self.live.set(self.live.get() + count);
        Ok(())
    }

    pub(crate) fn unhold(&self, count: usize) {
        self.live.set(self.live.get().saturating_sub(count));
    }

    /// An array goes into a slot.
    pub(super) fn enters(&self, value: &Value) {
        self.live.set(self.live.get() + value.data.len());
        self.text.set(self.text.get() + text_of(&value.data));
    }

    /// An array leaves its slot for good.
    pub(super) fn leaves(&self, value: &Value) {
        self.unhold(value.data.len());
        self.text.set(self.text.get().saturating_sub(text_of(&value.data)));
    }

    /// An array moves from its slot to the running operator.
    pub(super) fn takes(&self, value: &Value) -> Result<()> {
        self.leaves(value);
        self.asked.set(self.asked.get() + text_of(&value.data));
        // What changes in place is walked all the same.
        self.work(value.data.len() as u64)
    }

    /// An array moves from the running operator to the first slots of a graph inside it.
    pub(super) fn hands(&self, value: &Value) {
        self.asked.set(self.asked.get().saturating_sub(text_of(&value.data)));
        self.enters(value);
    }

    /// A step ends: what it asked for is counted in the arrays it gave.
    ///
    /// # Errors
    /// When it gave more text than it asked for: a mistake of this crate.
    pub(super) fn ends_step(&self, mark: Mark, values: &[Value]) -> Result<()> {
        let made: usize = values.iter().map(|value| text_of(&value.data)).sum();
        if made > self.asked.get().saturating_sub(mark.asked) {
            return Err(Error::new(Kind::Internal, format!("it made {made} bytes of text without asking for them")));
        }
        self.asked.set(mark.asked);
        Ok(())
    }

    /// A graph ends: what lay in its slots is gone, its texts are whoever ran it's.
    pub(super) fn ends_run(&self, mark: Mark, values: &[Value]) {
        self.live.set(mark.live);
        self.text.set(mark.text);
        self.asked.set(self.asked.get() + values.iter().map(|value| text_of(&value.data)).sum::<usize>());
    }
}

/// The bytes that an array's texts count as.
fn text_of(data: &Data) -> usize {
    let Data::Text(list) = data else { return 0 };
    list.len() * TEXT + list.iter().map(|text| text.len()).sum::<usize>()
}

/// What working out constants has taken while a graph is planned.
#[derive(Debug, Default)]
pub(super) struct Folds {
    size: usize,
    work: u64,
}

impl Folds {
    /// A meter that is nearly full, so that a node which repeats a value a million times is not worked out now.
    pub(super) fn meter(&self) -> Meter {
        let meter = Meter::default();
        meter.live.set(LIVE_MAX - FOLD_MAX);
        meter.text.set(TEXT_MAX - FOLD_MAX * 8);
        meter.work.set(WORK_MAX - FOLD_WORK.saturating_sub(self.work));
        meter
    }

    /// Counts the steps that were taken, whatever came of them.
    pub(super) fn spent(&mut self, meter: &Meter) {
        self.work = FOLD_WORK.saturating_sub(WORK_MAX.saturating_sub(meter.work.get()));
    }

    /// Whether what was worked out is small enough to keep.
    pub(super) fn keep(&mut self, values: &[Value]) -> bool {
        let count: usize = values.iter().map(|value| value.data.len()).sum();
        let size = self.size + count + values.iter().map(|value| text_of(&value.data)).sum::<usize>() / 8;
        let kept = count <= FOLD_MAX && size <= FOLDS_MAX;
        if kept {
            self.size = size;
        }
        kept
    }
}

fn too_large() -> Error {
    Error::new(Kind::TooLarge, "an array on the way would hold too many values; send fewer rows")
}

fn too_much() -> Error {
    Error::new(Kind::TooLarge, "the graph takes too many steps for one answer; send fewer rows")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(count: usize) -> Value {
        Value::new([count].as_slice(), vec![Box::<str>::from("word"); count])
    }

    #[test]
    fn texts_are_held_until_they_are_given_up() {
        let meter = Meter::default();
        let half = TEXT_MAX / 2;
        let mark = meter.mark();
        meter.text(1, half).unwrap();
        assert_eq!(meter.text(1, half).unwrap_err().kind(), Kind::TooLarge);
        // Nothing of it was kept.
        meter.ends_step(mark, &[]).unwrap();
        meter.text(1, half).unwrap();
        meter.ends_step(mark, &[]).unwrap();
        let values = [words(100)];
        meter.text(100, 400).unwrap();
        meter.ends_step(mark, &values).unwrap();
        meter.enters(&values[0]);
        assert_eq!((meter.live.get(), meter.text.get(), meter.asked.get()), (100, 3600, 0));
        // Moved into an operator and on into another graph, back out and into a slot again.
        meter.takes(&values[0]).unwrap();
        assert_eq!((meter.live.get(), meter.text.get(), meter.asked.get()), (0, 0, 3600));
        let inner = meter.mark();
        meter.hands(&values[0]);
        assert_eq!((meter.live.get(), meter.text.get(), meter.asked.get()), (100, 3600, 0));
        meter.ends_run(inner, &values);
        assert_eq!((meter.live.get(), meter.text.get(), meter.asked.get()), (0, 0, 3600));
        meter.ends_step(mark, &values).unwrap();
        assert_eq!(meter.asked.get(), 0);
    }

    #[test]
    fn an_operator_that_makes_text_without_asking_is_told() {
        let meter = Meter::default();
        let mark = meter.mark();
        assert_eq!(meter.ends_step(mark, &[words(1)]).unwrap_err().kind(), Kind::Internal);
        meter.text(1, 4).unwrap();
        assert!(meter.ends_step(mark, &[words(2)]).is_err());
        assert!(meter.ends_step(mark, &[words(1)]).is_ok());
    }

    #[test]
    fn constants_share_what_working_them_out_may_take() {
        let mut folds = Folds::default();
        let one = folds.meter();
        one.work(FOLD_WORK / 4 * 3).unwrap();
        folds.spent(&one);
        let next = folds.meter();
        next.work(FOLD_WORK / 4).unwrap();
        assert!(next.work(1).is_err());
        folds.spent(&next);
        assert!(folds.meter().work(1).is_err());
        assert!(one.text(1, FOLD_MAX * 8).is_err() && one.size(&[FOLD_MAX + 1]).is_err());
        let large = Value::new([FOLD_MAX].as_slice(), vec![0i64; FOLD_MAX]);
        assert_eq!((0..9).filter(|_| folds.keep(std::slice::from_ref(&large))).count(), FOLDS_MAX / FOLD_MAX);
    }

    #[test]
    fn empty_axes_hide_neither_huge_ones_nor_their_steps() {
        let meter = Meter::default();
        assert!(meter.size(&[0, CELLS_MAX + 1]).is_err());
        assert_eq!(meter.size(&[0, CELLS_MAX]).unwrap(), 0);
        assert_eq!(meter.steps(), CELLS_MAX as u64);
        assert!(meter.size(&[1; RANK_MAX + 1]).is_err());
        meter.hold(CELLS_MAX).unwrap();
        meter.hold(CELLS_MAX).unwrap();
        assert!(meter.hold(1).is_err());
        meter.unhold(1);
        assert!(meter.hold(1).is_ok());
    }

    #[cfg(feature = "onnxruntime")]
    #[test]
    fn the_time_of_all_runs_for_one_request_is_bounded_together() {
        let meter = Meter::default();
        let whole = meter.left();
        assert!((30..120).contains(&whole.as_secs()), "{whole:?}");
        meter.took(whole / 2).unwrap();
        assert!(meter.left() <= whole / 2);
        assert_eq!(meter.took(whole).unwrap_err().kind(), Kind::TooLarge);
        assert_eq!(meter.left(), Duration::ZERO);
        let trial = Meter::trial(0);
        trial.took(whole).unwrap();
        assert_eq!(trial.steps(), 0);
    }
}
