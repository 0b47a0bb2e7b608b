//! The inner loop of products of matrices: a few rows on the left times one panel on the right, sums in registers.
//!
//! The right side lies in panels two vectors wide, row after row, the last one padded; `product.rs` packs them. Six rows
//! of it are worked on together, which fills the processor's registers with sums; each sum is written once, with what is
//! added to it and cut off on the way out. A single row takes up to four panels at once instead, so that one addition
//! need not wait for the last. Each sum takes its products in order, whichever way, so how many rows come does not show.
//! What a vector is comes from [`Lanes`]: the processor's own where it has AVX2 and FMA, else arrays that the compiler
//! makes the best of. Must not check anything: whoever makes an [`Area`] did. Next: `product.rs`.
#![expect(unsafe_code, reason = "sums stay in registers only where no place is checked in the loop; an Area's maker checked all of them")]
#![expect(clippy::indexing_slicing, clippy::needless_range_loop, reason = "arrays of a fixed size indexed by their own counter")]

/// Vectors side by side in a panel.
const VECTORS: usize = 2;

/// Products of each sum between two looks at whether there are more.
const UNROLL: usize = 4;

/// Columns of a panel.
pub(super) const fn width<T: Number>() -> usize {
    VECTORS * T::LANES
}

/// Columns that a panel takes in memory for those that are used: the last one may be half as wide.
pub(super) const fn taken<T: Number>(used: usize) -> usize {
    if used > T::LANES { width::<T>() } else { T::LANES }
}

/// A number that matrices hold.
pub(crate) trait Number:
    Copy + Default + From<i8> + PartialOrd + std::fmt::Debug + std::ops::AddAssign + std::ops::Mul<Output = Self> + Send + Sync + 'static
{
    /// How many are in a vector.
    const LANES: usize;

    /// Fills an area of the product.
    ///
    /// # Safety
    /// As [`Area`] says of its fields.
    unsafe fn fill(area: &Area<Self>);

    /// `out += Σ factors[i] · rows[i]`, rows lying one behind the other.
    fn rows(factors: &[Self], rows: &[Self], out: &mut [Self]);
}

/// An area of the product: so many of its rows and columns, summed over so many products, and where all that lies.
///
/// Whoever makes one vouches that each place named here is inside its list, and that `out` is borrowed alone.
#[derive(Clone, Copy)]
pub(crate) struct Area<T> {
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Products that each sum is of.
    pub(super) depth: usize,
    /// `rows` times `depth` numbers, the latter side by side.
    pub(super) a: *const T,
    pub(super) a_step: usize,
    /// Panels of `b_depth` rows for all of `columns`, of which those from `b_first` on are meant.
    pub(super) b: *const T,
    pub(super) b_depth: usize,
    pub(super) b_first: usize,
    /// Null, or one for each column, added to each row.
    pub(super) bias: *const T,
    /// Whether sums are added to what `out` holds; else it may hold nothing yet.
    pub(super) onto: bool,
    /// Whether what is below zero becomes zero.
    pub(super) floor: bool,
    /// `rows` times `columns` numbers, the latter side by side.
    pub(super) out: *mut T,
    pub(super) out_step: usize,
}

/// Several numbers that are worked on at once.
///
/// # Safety
/// Functions may use instructions that the processor must have been asked for, and pointers reach as many numbers as
/// there are lanes.
trait Lanes: Copy {
    type One: Number;
    /// Rows worked on together.
    const ROWS: usize;
    unsafe fn all(x: Self::One) -> Self;
    unsafe fn load(from: *const Self::One) -> Self;
    unsafe fn store(self, to: *mut Self::One);
    unsafe fn plus(self, other: Self) -> Self;
    /// Zero instead of what is below it; NaN stays.
    unsafe fn floor(self) -> Self;
    /// `self + a · b`.
    unsafe fn more(self, a: Self, b: Self) -> Self;
    /// [`several`] in a function of its own: among the code around it, places of rows would not stay in registers.
    unsafe fn part<const ROWS: usize, const VECTORS: usize>(part: &Area<Self::One>);
}

/// `out += Σ factors[i] · rows[i]` product after product, as a panel's sums are taken, each row read once.
#[inline(always)]
fn rows<T: Number>(factors: &[T], rows: &[T], out: &mut [T], more: impl Fn(T, T, T) -> T) {
    let width = out.len();
    let (mut factors, mut rows) = (factors.chunks_exact(4), rows.chunks_exact(width * 4));
    for (f, r) in factors.by_ref().zip(rows.by_ref()) {
        let (a, r) = r.split_at(width);
        let (b, r) = r.split_at(width);
        let (c, d) = r.split_at(width);
        for ((((out, &a), &b), &c), &d) in out.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            *out = more(more(more(more(*out, f[0], a), f[1], b), f[2], c), f[3], d);
        }
    }
    for (&f, r) in factors.remainder().iter().zip(rows.remainder().chunks_exact(width)) {
        for (out, &r) in out.iter_mut().zip(r) {
            *out = more(*out, f, r);
        }
    }
}

macro_rules! number {
    ($type:ty, $count:literal, $vector:ident, $all:ident, $load:ident, $store:ident, $plus:ident, $max:ident, $more:ident) => {
        impl Lanes for [$type; $count] {
            type One = $type;
            const ROWS: usize = 3;
            #[inline(always)]
            unsafe fn all(x: $type) -> Self {
                [x; $count]
            }
            #[inline(always)]
            unsafe fn load(from: *const $type) -> Self {
                // SAFETY: the caller vouches for as many numbers.
                unsafe { from.cast::<Self>().read_unaligned() }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $type) {
                // SAFETY: as above.
                unsafe { to.cast::<Self>().write_unaligned(self) }
            }
            #[inline(always)]
            unsafe fn plus(mut self, other: Self) -> Self {
                self.iter_mut().zip(other).for_each(|(a, b)| *a += b);
                self
            }
            #[inline(always)]
            unsafe fn floor(self) -> Self {
                self.map(|x| if x < 0.0 { 0.0 } else { x })
            }
            #[inline(always)]
            unsafe fn more(mut self, a: Self, b: Self) -> Self {
                self.iter_mut().zip(a).zip(b).for_each(|((sum, a), b)| *sum += a * b);
                self
            }
            #[inline(never)]
            unsafe fn part<const ROWS: usize, const VECTORS: usize>(part: &Area<$type>) {
                // SAFETY: the caller vouches for the area.
                unsafe { several::<Self, ROWS, VECTORS>(part) };
            }
        }

        #[cfg(target_arch = "x86_64")]
        impl Lanes for std::arch::x86_64::$vector {
            type One = $type;
            const ROWS: usize = 6;
            #[inline(always)]
            unsafe fn all(x: $type) -> Self {
                // SAFETY: this type is only used where the processor was asked for its instructions; so below.
                unsafe { std::arch::x86_64::$all(x) }
            }
            #[inline(always)]
            unsafe fn load(from: *const $type) -> Self {
                // SAFETY: and the caller vouches for as many numbers.
                unsafe { std::arch::x86_64::$load(from) }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $type) {
                // SAFETY: as above.
                unsafe { std::arch::x86_64::$store(to, self) }
            }
            #[inline(always)]
            unsafe fn plus(self, other: Self) -> Self {
                // SAFETY: as above.
                unsafe { std::arch::x86_64::$plus(self, other) }
            }
            #[inline(always)]
            unsafe fn floor(self) -> Self {
                // SAFETY: as above. Where one is NaN the instruction gives the second.
                unsafe { std::arch::x86_64::$max(Self::all(0.0), self) }
            }
            #[inline(always)]
            unsafe fn more(self, a: Self, b: Self) -> Self {
                // SAFETY: as above.
                unsafe { std::arch::x86_64::$more(a, b, self) }
            }
            #[inline(never)]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn part<const ROWS: usize, const VECTORS: usize>(part: &Area<$type>) {
                // SAFETY: the caller vouches for the area, and asked the processor.
                unsafe { several::<Self, ROWS, VECTORS>(part) };
            }
        }

        impl Number for $type {
            const LANES: usize = $count;

            unsafe fn fill(area: &Area<Self>) {
                #[cfg(target_arch = "x86_64")]
                {
                    #[target_feature(enable = "avx2,fma")]
                    unsafe fn lone(area: &Area<$type>) {
                        // SAFETY: the caller vouches for the area, and asked the processor.
                        unsafe { alone::<std::arch::x86_64::$vector>(area) };
                    }
                    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                        // SAFETY: the processor was asked for both features the line before; the caller vouches for the area.
                        return unsafe { if area.rows == 1 { lone(area) } else { fill::<std::arch::x86_64::$vector>(area) } };
                    }
                }
                // SAFETY: the caller vouches for the area; arrays need no instructions of their own.
                unsafe { any::<[$type; $count]>(area) };
            }

            fn rows(factors: &[Self], list: &[Self], out: &mut [Self]) {
                if out.is_empty() {
                    return;
                }
                #[cfg(target_arch = "x86_64")]
                {
                    #[target_feature(enable = "avx2,fma")]
                    fn wide(factors: &[$type], list: &[$type], out: &mut [$type]) {
                        // One rounding for a product and its addition, as in the vectors' own.
                        rows(factors, list, out, |sum: $type, a: $type, b: $type| a.mul_add(b, sum));
                    }
                    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                        // SAFETY: the processor was asked for both features the line before.
                        return unsafe { wide(factors, list, out) };
                    }
                }
                rows(factors, list, out, |sum, a, b| sum + a * b);
            }
        }
    };
}

number!(f32, 8, __m256, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_add_ps, _mm256_max_ps, _mm256_fmadd_ps);
number!(f64, 4, __m256d, _mm256_set1_pd, _mm256_loadu_pd, _mm256_storeu_pd, _mm256_add_pd, _mm256_max_pd, _mm256_fmadd_pd);

/// Fills with vectors that need no instructions of their own.
///
/// # Safety
/// As [`Area`] says.
unsafe fn any<L: Lanes>(area: &Area<L::One>) {
    // SAFETY: the caller vouches for the area.
    unsafe { if area.rows == 1 { alone::<L>(area) } else { fill::<L>(area) } }
}

/// Two rows or more: panel by panel, and in each a few rows at once. Handles no vectors itself, see [`Lanes::part`].
///
/// # Safety
/// As [`Area`] says, and the processor knows the instructions of `L`.
unsafe fn fill<L: Lanes>(area: &Area<L::One>) {
    let width = width::<L::One>();
    let mut first = 0;
    while first < area.columns {
        let used = (area.columns - first).min(width);
        let narrow = used <= L::One::LANES;
        // SAFETY: panels lie one behind the other, `width × b_depth` numbers each but for the last one, and columns of
        // the bias and of the result side by side; `first` is below their count.
        let panel = unsafe {
            let b = area.b.add(first * area.b_depth + area.b_first * taken::<L::One>(used));
            let bias = if area.bias.is_null() { area.bias } else { area.bias.add(first) };
            Area { columns: used, b, bias, out: area.out.add(first), ..*area }
        };
        let mut row = 0;
        while row < area.rows {
            let rows = match area.rows - row {
                // None is left alone, where it would wait for each addition.
                left if left == L::ROWS + 1 => left.div_ceil(2),
                left => left.min(L::ROWS),
            };
            // SAFETY: these rows are among the area's.
            unsafe {
                let part = Area { a: panel.a.add(row * panel.a_step), out: panel.out.add(row * panel.out_step), ..panel };
                match (rows, narrow) {
                    (2, false) => L::part::<2, 2>(&part),
                    (3, false) => L::part::<3, 2>(&part),
                    (4, false) => L::part::<4, 2>(&part),
                    (5, false) => L::part::<5, 2>(&part),
                    (_, false) => L::part::<6, 2>(&part),
                    (2, true) => L::part::<2, 1>(&part),
                    (3, true) => L::part::<3, 1>(&part),
                    (4, true) => L::part::<4, 1>(&part),
                    (5, true) => L::part::<5, 1>(&part),
                    (_, true) => L::part::<6, 1>(&part),
                }
            }
            row += rows;
        }
        first += width;
    }
}

/// One row, over a few panels at once. Called beside `fill`, not from it: in one function sums no longer stay in registers.
///
/// # Safety
/// As [`fill`].
#[inline(always)]
unsafe fn alone<L: Lanes>(area: &Area<L::One>) {
    let width = width::<L::One>();
    let mut first = 0;
    while first < area.columns {
        let left = area.columns - first;
        // SAFETY: as in `fill`; as many whole panels as are told lie from `first` on, or one that is not.
        unsafe {
            let b = area.b.add(first * area.b_depth + area.b_first * taken::<L::One>(left.min(width)));
            let bias = if area.bias.is_null() { area.bias } else { area.bias.add(first) };
            let panel = Area { columns: left.min(width), b, bias, out: area.out.add(first), ..*area };
            match left / width {
                0 if left <= L::One::LANES => several::<L, 1, 1>(&panel),
                0 | 1 => several::<L, 1, 2>(&panel),
                2 => beside::<L, 2>(&panel),
                3 => beside::<L, 3>(&panel),
                _ => beside::<L, 4>(&panel),
            }
            first += width * (left / width).clamp(1, 4);
        }
    }
}

/// `ROWS` rows of one panel of `VECTORS` vectors.
///
/// # Safety
/// As [`fill`]; `part` is as many rows, `part.b` where the panel's rows begin.
#[inline(always)]
unsafe fn several<L: Lanes, const ROWS: usize, const VECTORS: usize>(part: &Area<L::One>) {
    // SAFETY: `a` moves through `depth` numbers of each row and `b` through as many rows of the panel.
    unsafe {
        let mut sums = [[L::all(L::One::default()); VECTORS]; ROWS];
        let (mut a, mut b) = (part.a, part.b);
        for _ in 0..part.depth / UNROLL {
            for now in 0..UNROLL {
                products(&mut sums, a.add(now), part.a_step, b.add(now * VECTORS * L::One::LANES));
            }
            b = b.add(UNROLL * VECTORS * L::One::LANES);
            a = a.add(UNROLL);
        }
        for _ in 0..part.depth % UNROLL {
            products(&mut sums, a, part.a_step, b);
            b = b.add(VECTORS * L::One::LANES);
            a = a.add(1);
        }
        for at in 0..ROWS {
            finish(part, sums[at], part.out.add(at * part.out_step));
        }
    }
}

/// Adds to each sum its next product, of a column on the left and a row of the panel.
///
/// # Safety
/// As [`several`]; `a` and `b` are where the column and the row begin.
#[inline(always)]
unsafe fn products<L: Lanes, const ROWS: usize, const VECTORS: usize>(
    sums: &mut [[L; VECTORS]; ROWS],
    a: *const L::One,
    a_step: usize,
    b: *const L::One,
) {
    // SAFETY: the column has `ROWS` numbers, the row `VECTORS` vectors.
    unsafe {
        let mut row = [L::all(L::One::default()); VECTORS];
        for vector in 0..VECTORS {
            row[vector] = L::load(b.add(vector * L::One::LANES));
        }
        for at in 0..ROWS {
            let factor = L::all(*a.add(at * a_step));
            for vector in 0..VECTORS {
                sums[at][vector] = sums[at][vector].more(factor, row[vector]);
            }
        }
    }
}

/// One row of `PANELS` whole panels, the first of which is `part`'s.
///
/// # Safety
/// As [`several`]; as many whole panels lie behind each other.
#[inline(always)]
unsafe fn beside<L: Lanes, const PANELS: usize>(part: &Area<L::One>) {
    let width = width::<L::One>();
    // SAFETY: as in `several`; from a panel to the next it is `width` times `b_depth`.
    unsafe {
        let mut sums = [[L::all(L::One::default()); VECTORS]; PANELS];
        let (mut a, mut b) = (part.a, part.b);
        for _ in 0..part.depth {
            let factor = L::all(*a);
            for panel in 0..PANELS {
                for vector in 0..VECTORS {
                    let row = L::load(b.add(panel * width * part.b_depth + vector * L::One::LANES));
                    sums[panel][vector] = sums[panel][vector].more(factor, row);
                }
            }
            b = b.add(width);
            a = a.add(1);
        }
        for panel in 0..PANELS {
            let first = panel * width;
            let bias = if part.bias.is_null() { part.bias } else { part.bias.add(first) };
            let own = Area { columns: width, bias, ..*part };
            finish(&own, sums[panel], part.out.add(first));
        }
    }
}

/// Writes the sums of one row, and no more columns than are used.
///
/// # Safety
/// As [`several`]; `out` is where the row's columns begin.
#[inline(always)]
unsafe fn finish<L: Lanes, const VECTORS: usize>(part: &Area<L::One>, sums: [L; VECTORS], out: *mut L::One) {
    let lanes = L::One::LANES;
    // SAFETY: whole vectors are only read and written where all columns are used, `out` is read only where it holds
    // numbers, and no vector has more lanes than `spilt` has room for.
    unsafe {
        if part.columns == VECTORS * lanes {
            for vector in 0..VECTORS {
                let mut sum = sums[vector];
                if !part.bias.is_null() {
                    sum = sum.plus(L::load(part.bias.add(vector * lanes)));
                }
                if part.onto {
                    sum = sum.plus(L::load(out.add(vector * lanes)));
                }
                if part.floor {
                    sum = sum.floor();
                }
                sum.store(out.add(vector * lanes));
            }
            return;
        }
        let mut spilt = [[L::One::default(); 8]; VECTORS];
        for vector in 0..VECTORS {
            sums[vector].store(spilt[vector].as_mut_ptr());
        }
        for column in 0..part.columns {
            let mut sum = spilt[column / lanes][column % lanes];
            if !part.bias.is_null() {
                sum += *part.bias.add(column);
            }
            if part.onto {
                sum += *out.add(column);
            }
            if part.floor && sum < L::One::default() {
                sum = L::One::default();
            }
            out.add(column).write(sum);
        }
    }
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "small whole numbers")]
mod tests {
    use super::*;

    #[test]
    fn arrays_give_what_the_processors_own_vectors_give() {
        const DEPTH: usize = 9;
        let number = |at: usize| (at * 31 % 13) as f32 - 6.0;
        for (rows, columns) in [(1, 3), (1, 40), (2, 8), (3, 16), (4, 9), (5, 17), (7, 30), (12, 33)] {
            let a: Vec<f32> = (0..rows * DEPTH).map(number).collect();
            let b: Vec<f32> = (0..(columns + 16) * DEPTH).map(number).collect();
            let bias: Vec<f32> = (0..columns).map(number).collect();
            let start: Vec<f32> = (0..rows * columns).map(number).collect();
            for (onto, floor) in [(false, false), (true, false), (false, true), (true, true)] {
                let (mut own, mut plain) = (start.clone(), start.clone());
                let area = |out: &mut [f32]| Area {
                    rows,
                    columns,
                    depth: DEPTH,
                    a: a.as_ptr(),
                    a_step: DEPTH,
                    b: b.as_ptr(),
                    b_depth: DEPTH,
                    b_first: 0,
                    bias: if onto { std::ptr::null() } else { bias.as_ptr() },
                    onto,
                    floor,
                    out: out.as_mut_ptr(),
                    out_step: columns,
                };
                // SAFETY: the lists are as long as the area says, `b` padded to a whole panel.
                unsafe {
                    f32::fill(&area(&mut own));
                    any::<[f32; 8]>(&area(&mut plain));
                }
                assert_eq!(own, plain, "{rows} rows, {columns} columns");
            }
        }
    }
}
