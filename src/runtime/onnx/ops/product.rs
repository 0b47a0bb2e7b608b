//! Products of matrices: of two that come with a request, and of one with weights that were packed beforehand.
//!
//! Here lengths are checked once and matrices cut so that what is read again stays in a near cache; `kernel.rs` does the
//! arithmetic. Few rows against a matrix that is not packed go through loops that read each of its numbers once. Whichever
//! way is taken, and however many rows come together, the products of a sum are added in the same order: a row's answer
//! is the same to the bit alone and among others. Must not know arrays or operators. Next: `kernel.rs`; `gemm.rs` and `dense.rs` for the operators.
#![expect(
    unsafe_code,
    reason = "the kernel takes pointers and newer instructions must be asked for; every call checks lengths or the processor first"
)]
#![expect(clippy::indexing_slicing, reason = "offsets follow from shapes that were checked against the lists' lengths")]

use smallvec::SmallVec;

use super::kernel::{Area, Number, taken, width};

/// Where the values of a matrix lie: from row to row, from column to column.
pub(crate) type Steps = (usize, usize);

/// Products of a sum before sums are written and taken up again, so that a panel stays in a near cache.
const DEPTH: usize = 1024;
/// Rows that are multiplied with all panels in turn.
const ROWS: usize = 48;
/// The same and the columns beside it for a matrix that is packed on the way, which bounds the room it takes.
const LOOSE: usize = 256;

/// Whether a matrix of this size lies inside a list of this length.
fn inside((rows, columns): (usize, usize), steps: Steps, length: usize) -> bool {
    let last = (rows - 1).saturating_mul(steps.0).saturating_add((columns - 1).saturating_mul(steps.1));
    last < length
}

/// The panels of a matrix, of numbers from `at`, which gives that of a row and a column.
fn pack<T: Number>((rows, columns): (usize, usize), panels: &mut Vec<T>, at: impl Fn(usize, usize) -> T) {
    for first in (0..columns).step_by(width::<T>()) {
        let used = (columns - first).min(width::<T>());
        let padding = taken::<T>(used) - used;
        for row in 0..rows {
            panels.extend((first..first + used).map(|column| at(row, column)));
            panels.extend(std::iter::repeat_n(T::default(), padding));
        }
    }
}

/// How many numbers panels hold.
fn packed<T: Number>((rows, columns): (usize, usize)) -> usize {
    let tail = columns % width::<T>();
    rows * (columns - tail + if tail == 0 { 0 } else { taken::<T>(tail) })
}

/// Constant weights in panels, with what is done to each product on its way out.
#[derive(Debug)]
pub(crate) struct Weights<T> {
    depth: usize,
    columns: usize,
    /// As long as `packed` says of the two, which only [`Weights::new`] writes.
    panels: Vec<T>,
    /// Empty, or one for each column.
    bias: Vec<T>,
    floor: bool,
}

impl<T: Number> Weights<T> {
    /// `factor` times the matrix; `None` when it is empty or not inside the list.
    pub(crate) fn new(size: (usize, usize), list: &[T], steps: Steps, factor: T) -> Option<Self> {
        if size.0 == 0 || size.1 == 0 || !inside(size, steps, list.len()) {
            return None;
        }
        let mut panels = Vec::with_capacity(packed::<T>(size));
        if steps.1 == 1 && factor == T::from(1) {
            pack_rows(size, &mut panels, list, steps.0);
        } else {
            pack(size, &mut panels, |row, column| list[row * steps.0 + column * steps.1] * factor);
        }
        Some(Self { depth: size.0, columns: size.1, panels, bias: Vec::new(), floor: false })
    }

    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// Bytes in memory, beside those of the struct.
    pub(crate) fn weight(&self) -> usize {
        (self.panels.capacity() + self.bias.capacity()) * size_of::<T>()
    }

    /// Adds `bias`, one number or one for each column, to each row from now on; whether that is possible.
    pub(crate) fn add(&mut self, bias: &[T]) -> bool {
        if self.floor || !self.bias.is_empty() {
            return false;
        }
        self.bias = match bias {
            [one] => vec![*one; self.columns],
            list if list.len() == self.columns => list.to_vec(),
            _ => return false,
        };
        true
    }

    /// Makes zero of what is below it from now on.
    pub(crate) fn floor(&mut self) {
        self.floor = true;
    }

    /// The product of rows, one behind the other, with these weights; what is no whole row is left out.
    pub(crate) fn times(&self, list: &[T]) -> Vec<T> {
        let Self { depth, columns, .. } = *self;
        let rows = list.len() / depth;
        let mut out: Vec<T> = Vec::with_capacity(rows * columns);
        let place = out.spare_capacity_mut().as_mut_ptr().cast::<T>();
        for first in (0..depth).step_by(DEPTH) {
            let some = (depth - first).min(DEPTH);
            let bias = if self.bias.is_empty() || first > 0 { std::ptr::null() } else { self.bias.as_ptr() };
            for row in (0..rows).step_by(ROWS) {
                // SAFETY: `rows` whole rows lie in `list`, room for as many of `columns` was made in `out`, `panels` and
                // `bias` are as long as this type says of them, and the cuts stay below `depth` and `rows`. Sums are
                // added onto those that the first cut wrote.
                unsafe {
                    T::fill(&Area {
                        rows: (rows - row).min(ROWS),
                        columns,
                        depth: some,
                        a: list.as_ptr().add(row * depth + first),
                        a_step: depth,
                        b: self.panels.as_ptr(),
                        b_depth: depth,
                        b_first: first,
                        bias,
                        onto: first > 0,
                        floor: self.floor && first + some == depth,
                        out: place.add(row * columns),
                        out_step: columns,
                    });
                }
            }
        }
        // SAFETY: all rows and columns were written by the first cut; there is one, as `depth` is not 0.
        unsafe { out.set_len(rows * columns) };
        out
    }
}

/// `out += a · b`, `out` row after row of `n`.
pub(crate) fn multiply<T: Number>(size: (usize, usize, usize), a: &[T], a_steps: Steps, b: &[T], b_steps: Steps, out: &mut [T]) {
    let (m, k, n) = size;
    if m == 0 || k == 0 || n == 0 {
        return;
    }
    if n == 1 && b_steps.0 == 1 && a_steps.1 == 1 {
        for (row, out) in out.iter_mut().take(m).enumerate() {
            let mut sums = [T::default(); 8];
            let (a, b) = (&a[row * a_steps.0..row * a_steps.0 + k], &b[..k]);
            let (heads, rest) = (a.chunks_exact(8).zip(b.chunks_exact(8)), a.len() / 8 * 8);
            for (a, b) in heads {
                for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
                    *sum += a * b;
                }
            }
            for (&a, &b) in a[rest..].iter().zip(&b[rest..]) {
                sums[0] += a * b;
            }
            for sum in sums {
                *out += sum;
            }
        }
    } else if m <= 3 && b_steps == (n, 1) && a_steps.1 == 1 {
        // Of a stack of matrices the next one lies behind: its numbers belong to none of these factors.
        let Some(b) = b.get(..k.saturating_mul(n)) else { return };
        // Cut where `many` cuts, so that sums are the same.
        let mut sums: SmallVec<[T; 64]> = smallvec::smallvec![T::default(); n];
        for (row, out) in out.chunks_exact_mut(n).take(m).enumerate() {
            let a = &a[row * a_steps.0..row * a_steps.0 + k];
            for (factors, list) in a.chunks(LOOSE).zip(b.chunks(LOOSE * n)) {
                sums.fill(T::default());
                T::rows(factors, list, &mut sums);
                out.iter_mut().zip(&sums).for_each(|(out, &sum)| *out += sum);
            }
        }
    } else {
        many(size, a, a_steps, b, b_steps, out);
    }
}

/// `out += a · b` for more than a few rows, `b` packed a part at a time.
fn many<T: Number>((m, k, n): (usize, usize, usize), a: &[T], a_steps: Steps, b: &[T], b_steps: Steps, out: &mut [T]) {
    if !inside((m, k), a_steps, a.len()) || !inside((k, n), b_steps, b.len()) || out.len() < m.saturating_mul(n) {
        return;
    }
    let (mut panels, mut turned) = (Vec::new(), Vec::new());
    for column in (0..n).step_by(LOOSE) {
        let columns = (n - column).min(LOOSE);
        for first in (0..k).step_by(LOOSE) {
            let depth = (k - first).min(LOOSE);
            panels.clear();
            panels.reserve_exact(packed::<T>((depth, columns)));
            let b = &b[first * b_steps.0 + column * b_steps.1..];
            if b_steps.1 == 1 {
                pack_rows((depth, columns), &mut panels, b, b_steps.0);
            } else {
                pack((depth, columns), &mut panels, |row, column| b[row * b_steps.0 + column * b_steps.1]);
            }
            for row in (0..m).step_by(ROWS) {
                let rows = (m - row).min(ROWS);
                let a = &a[row * a_steps.0 + first * a_steps.1..];
                let (a, a_step) = if a_steps.1 == 1 {
                    (a, a_steps.0)
                } else {
                    turned.clear();
                    turned.extend((0..rows).flat_map(|row| (0..depth).map(move |at| a[row * a_steps.0 + at * a_steps.1])));
                    (turned.as_slice(), depth)
                };
                let out = &mut out[row * n + column..];
                // SAFETY: the farthest places that the three matrices reach were checked to be inside each list, parts of
                // them are too; `panels` holds `depth` rows for `columns`, and `out` is borrowed alone.
                unsafe {
                    T::fill(&Area {
                        rows,
                        columns,
                        depth,
                        a: a.as_ptr(),
                        a_step,
                        b: panels.as_ptr(),
                        b_depth: depth,
                        b_first: 0,
                        bias: std::ptr::null(),
                        onto: true,
                        floor: false,
                        out: out.as_mut_ptr(),
                        out_step: n,
                    });
                }
            }
        }
    }
}

/// As [`pack`], of a matrix whose rows lie together: those parts are copied whole.
fn pack_rows<T: Number>((rows, columns): (usize, usize), panels: &mut Vec<T>, list: &[T], step: usize) {
    for first in (0..columns).step_by(width::<T>()) {
        let used = (columns - first).min(width::<T>());
        let padding = taken::<T>(used) - used;
        for row in 0..rows {
            panels.extend_from_slice(&list[row * step + first..][..used]);
            panels.extend(std::iter::repeat_n(T::default(), padding));
        }
    }
}

#[inline(always)]
fn distances_plain(row: &[f32], columns: &[f32], out: &mut [f32]) {
    let count = out.len();
    for (&x, column) in row.iter().zip(columns.chunks_exact(count)) {
        for (out, y) in out.iter_mut().zip(column) {
            let apart = x - y;
            *out += apart * apart;
        }
    }
}

/// Adds to `out` the squared distance of `row` to each of as many points as `out` is long; `columns` holds the points'
/// values column after column.
pub(crate) fn distances(row: &[f32], columns: &[f32], out: &mut [f32]) {
    if out.is_empty() {
        return;
    }
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,fma")]
        fn wide(row: &[f32], columns: &[f32], out: &mut [f32]) {
            distances_plain(row, columns, out);
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor was asked for both features the line before.
            return unsafe { wide(row, columns, out) };
        }
    }
    distances_plain(row, columns, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small whole numbers, whose sums are exact in any order.
    fn numbers<T: Number>(count: usize, seed: usize) -> Vec<T> {
        (0..count).map(|at| T::from(((at * 7919 + seed * 104_729) % 17) as i8 - 8)).collect()
    }

    fn plain<T: Number>((m, k, n): (usize, usize, usize), a: &[T], a_steps: Steps, b: &[T], b_steps: Steps, out: &mut [T]) {
        for row in 0..m {
            for column in 0..n {
                for at in 0..k {
                    out[row * n + column] += a[row * a_steps.0 + at * a_steps.1] * b[at * b_steps.0 + column * b_steps.1];
                }
            }
        }
    }

    fn compare<T: Number>() {
        let sides = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 17, 24, 31, 33, 50];
        let sizes = sides.iter().flat_map(|&m| sides.iter().map(move |&n| (m, (m * 5 + n * 3) % 40 + 1, n)));
        for (m, k, n) in sizes.chain([(7, 1030, 5), (50, 2100, 18), (5, 300, 300), (100, 1, 1)]) {
            let (a, b): (Vec<T>, Vec<T>) = (numbers(m * k, 1), numbers(k * n, 2));
            for (a_steps, b_steps) in [((k, 1), (n, 1)), ((1, m), (n, 1)), ((k, 1), (1, k)), ((1, m), (1, k))] {
                let start: Vec<T> = numbers(m * n, 3);
                let (mut found, mut wanted) = (start.clone(), start);
                multiply((m, k, n), &a, a_steps, &b, b_steps, &mut found);
                plain((m, k, n), &a, a_steps, &b, b_steps, &mut wanted);
                assert_eq!(found, wanted, "{m} {k} {n} {a_steps:?} {b_steps:?}");
                // As in a stack, where other matrices lie behind both.
                let (a, b) = ([&a[..], &numbers(m * k, 5)].concat(), [&b[..], &numbers(3 * k * n + 5, 6)].concat());
                let mut found: Vec<T> = numbers(m * n, 3);
                multiply((m, k, n), &a, a_steps, &b, b_steps, &mut found);
                assert_eq!(found, wanted, "{m} {k} {n} {a_steps:?} {b_steps:?} of a stack");
            }
            for (bias, floor) in [(0, false), (1, true), (n, false), (n, true), (0, true)] {
                for b_steps in [(n, 1), (1, k)] {
                    let mut weights = Weights::new((k, n), &b, b_steps, T::from(2)).unwrap();
                    let bias: Vec<T> = numbers(bias, 4);
                    assert!(bias.is_empty() || weights.add(&bias));
                    if floor {
                        weights.floor();
                        assert!(!weights.add(&[T::from(1)]));
                    }
                    assert_eq!(weights.panels.len(), packed::<T>((k, n)));
                    let mut wanted = vec![T::default(); m * n];
                    plain((m, k, n), &a, (k, 1), &b, b_steps, &mut wanted);
                    for (at, x) in wanted.iter_mut().enumerate() {
                        *x = *x * T::from(2);
                        if let Some(&bias) = if bias.len() == 1 { bias.first() } else { bias.get(at % n) } {
                            *x += bias;
                        }
                        if floor && *x < T::default() {
                            *x = T::default();
                        }
                    }
                    assert_eq!(weights.times(&a), wanted, "{m} {k} {n} bias {} floor {floor}", bias.len());
                }
            }
        }
    }

    #[test]
    fn products_are_those_of_the_plain_sum() {
        compare::<f32>();
        compare::<f64>();
    }

    /// Numbers whose sums depend on their order.
    fn uneven<T: Number + From<f32>>(count: usize, seed: f32) -> Vec<T> {
        (0..count).map(|at| <T as From<f32>>::from((at as f32 * 1.7 + seed).sin() * 10f32.powi((at % 5) as i32))).collect()
    }

    /// Bit for bit: a row's product alone and among others.
    fn alone_and_among_others<T: Number + From<f32>>() {
        for (k, n) in [(1, 1), (7, 1), (30, 3), (300, 1), (300, 8), (300, 9), (2100, 17), (128, 256), (256, 10), (600, 70), (40, 150)] {
            let (a, b): (Vec<T>, Vec<T>) = (uneven(50 * k, 0.3), uneven(k * n, 0.7));
            let mut weights = Weights::new((k, n), &b, (n, 1), <T as From<f32>>::from(1.0)).unwrap();
            assert!(weights.add(&uneven::<T>(n, 0.1)));
            let packed = weights.times(&a);
            for b_steps in [(n, 1), (1, k)] {
                let mut all = uneven::<T>(n, 0.2).repeat(50);
                multiply((50, k, n), &a, (k, 1), &b, b_steps, &mut all);
                for count in [1, 2, 3, 4, 5, 6, 7, 8, 13, 49] {
                    let some = &a[k..(count + 1) * k];
                    assert_eq!(weights.times(some), packed[n..(count + 1) * n], "{count} rows of {k} with packed {n}");
                    let mut own = uneven::<T>(n, 0.2).repeat(count);
                    multiply((count, k, n), some, (k, 1), &b, b_steps, &mut own);
                    assert_eq!(own, all[n..(count + 1) * n], "{count} rows of {k} with {n} at {b_steps:?}");
                }
            }
        }
    }

    #[test]
    fn a_row_alone_is_what_it_is_among_others() {
        alone_and_among_others::<f32>();
        alone_and_among_others::<f64>();
    }

    #[test]
    fn what_is_no_number_stays_so() {
        let mut weights = Weights::new((1, 20), &[1.0f32; 20], (20, 1), 1.0).unwrap();
        weights.floor();
        assert!(weights.times(&[f32::NAN]).iter().all(|x| x.is_nan()));
        assert_eq!(weights.times(&[f32::NEG_INFINITY]), [0.0; 20]);
        assert!(weights.times(&[]).is_empty());
    }

    #[test]
    fn weights_outside_their_list_are_refused() {
        assert!(Weights::new((3, 2), &[1.0f32; 5], (2, 1), 1.0).is_none());
        assert!(Weights::new((0, 2), &[1.0f32; 5], (2, 1), 1.0).is_none());
        assert!(Weights::new((usize::MAX, 2), &[1.0f32; 5], (2, 1), 1.0).is_none());
        let mut out = [0.0f32; 3];
        multiply((4, 4, 4), &[1.0; 16], (4, 1), &[1.0; 16], (4, 1), &mut out);
        assert_eq!(out, [0.0; 3]);
    }
}
