//! The exponential and its kin on lists of 32-bit numbers, written so that the compiler works on several at once.
//!
//! Range reduction and minimax polynomials as in Cephes; errors stay within a few units of the last place. 64-bit
//! numbers use the standard library. Knows nothing of arrays. Next: `elementwise.rs`.
#![expect(unsafe_code, reason = "newer instructions must be asked for; each call asks the processor first")]

/// Above it a power is worked out by the standard library.
const FAST: f32 = 88.0;

/// `e^x`. Within 2 units of the last place; below −87.3 it is 0.
#[inline]
pub(crate) fn exp(x: f32) -> f32 {
    const HIGH: f32 = 88.722_84;
    // Between 88 and the largest power the standard library is asked; that is rare.
    if x > FAST { if x > HIGH { f32::INFINITY } else { x.exp() } } else { exp_fast(x) }
}

/// [`exp`] up to [`FAST`], above which it stays what it is there.
#[inline(always)]
fn exp_fast(x: f32) -> f32 {
    const MAGIC: f32 = 12_582_912.0;
    const LOW: f32 = -87.336_54;
    // From 127.5 · ln 2 on, the power of two beside the polynomial would no longer be a finite number.
    let bounded = if x > FAST { FAST } else { x };
    let bounded = if bounded < LOW { LOW } else { bounded };
    let shifted = bounded * std::f32::consts::LOG2_E + MAGIC;
    let whole = shifted - MAGIC;
    let rest = bounded - whole * 0.693_359_4 - whole * -2.121_944_4e-4;
    let mut sum = 1.987_569_1e-4;
    sum = sum * rest + 1.398_199_9e-3;
    sum = sum * rest + 8.333_452e-3;
    sum = sum * rest + 4.166_579_6e-2;
    sum = sum * rest + 1.666_666_5e-1;
    sum = sum * rest + 5e-1;
    let value = sum * rest * rest + rest + 1.0;
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    let value = value * scale;
    if x < LOW { 0.0 } else { value }
}

/// `e^x` of each. The rare values at the end of the range cost a loop of their own, which the compiler cannot widen.
pub(crate) fn exp_all(list: &mut [f32]) {
    if list.iter().fold(false, |any, &x| any | (x > FAST)) {
        list.iter_mut().for_each(|x| *x = exp(*x));
    } else {
        exp_all_fast(list);
    }
}

/// [`exp_fast`] of each, on as many at once as the processor can.
fn exp_all_fast(list: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2")]
        fn wide(list: &mut [f32]) {
            list.iter_mut().for_each(|x| *x = exp_fast(*x));
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor was asked for the feature the line before.
            return unsafe { wide(list) };
        }
    }
    list.iter_mut().for_each(|x| *x = exp_fast(*x));
}

/// `1 / (1 + e^-x)`.
#[inline]
pub(crate) fn sigmoid(x: f32) -> f32 {
    // Through the negative side, where nothing overflows and small answers keep their digits.
    let small = exp(-x.abs());
    let below = small / (1.0 + small);
    let above = 1.0 / (1.0 + small);
    if x < 0.0 { below } else { above }
}

/// The hyperbolic tangent.
#[inline]
pub(crate) fn tanh(x: f32) -> f32 {
    let size = x.abs();
    let square = x * x;
    let mut sum = -5.704_988_7e-3;
    sum = sum * square + 2.063_909e-2;
    sum = sum * square + -5.373_971e-2;
    sum = sum * square + 1.333_144_2e-1;
    sum = sum * square + -3.333_328e-1;
    let near = sum * square * x + x;
    let bounded = if size > 44.0 { 44.0 } else { size };
    let far = (1.0 - 2.0 / (exp(2.0 * bounded) + 1.0)).copysign(x);
    if size < 0.625 { near } else { far }
}

/// The error function: its series near 0, else one minus the complement's Chebyshev fit, within 1.2e-7 of the tail.
pub(crate) fn erf(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    let size = x.abs();
    if size < 1.5 {
        let (mut term, mut sum, square) = (x, x, x * x);
        for n in 1..40 {
            term *= -square / f64::from(n);
            let part = term / f64::from(2 * n + 1);
            sum += part;
            if part.abs() < sum.abs() * 1e-17 {
                break;
            }
        }
        return sum * std::f64::consts::FRAC_2_SQRT_PI;
    }
    let t = 1.0 / (1.0 + 0.5 * size);
    const FIT: [f64; 10] = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let fit = FIT.iter().rev().fold(0.0, |sum, factor| sum * t + factor);
    (1.0 - t * (-size * size + fit).exp()).copysign(x)
}

/// Softmax of each row, in place, shifted by its largest.
pub(crate) fn softmax(list: &mut [f32], width: usize) {
    // Powers of all rows together: one row is often too short for what the processor can do at once.
    for row in list.chunks_exact_mut(width) {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, |a, b| if b > a || b.is_nan() { b } else { a });
        row.iter_mut().for_each(|x| *x -= largest);
    }
    exp_all_fast(list);
    for row in list.chunks_exact_mut(width) {
        let sum = row.iter().fold(0.0, |sum, x| sum + x);
        row.iter_mut().for_each(|x| *x /= sum);
    }
}

/// The squared distance, in eight running sums.
#[inline]
pub(crate) fn distance(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let (heads, tails) = (a.chunks_exact(8).zip(b.chunks_exact(8)), (a.chunks_exact(8).remainder(), b.chunks_exact(8).remainder()));
    for (a, b) in heads {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            let apart = a - b;
            *sum += apart * apart;
        }
    }
    let rest: f32 = tails.0.iter().zip(tails.1).map(|(a, b)| (a - b) * (a - b)).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_give_what_single_numbers_give() {
        let mut list: Vec<f32> = (-2000..2000).map(|step| step as f32 * 0.05).chain([f32::NEG_INFINITY, f32::NAN]).collect();
        for keep in [list.len(), 3700, 13] {
            list.rotate_left(7);
            let list: Vec<f32> = list.iter().copied().filter(|&x| keep > 3700 || x.is_nan() || x <= 88.0).take(keep).collect();
            let mut found = list.clone();
            exp_all(&mut found);
            let wanted: Vec<u32> = list.iter().map(|&x| exp(x).to_bits()).collect();
            assert_eq!(found.iter().map(|x| x.to_bits()).collect::<Vec<_>>(), wanted);
        }
        let mut rows = [1.0, 2.0, 3.0, 1000.0, -1000.0, 1000.0];
        softmax(&mut rows, 3);
        for (found, wanted) in rows.iter().zip([0.090_030_57, 0.244_728_48, 0.665_240_94, 0.5, 0.0, 0.5]) {
            assert!((found - wanted).abs() < 1e-7, "{rows:?}");
        }
    }

    #[test]
    fn the_fast_functions_are_close_to_the_slow_ones() {
        for step in -100_000..100_000 {
            let x = step as f32 * 1e-3;
            let near = |found: f32, wanted: f64, name: &str| {
                let wanted = wanted as f32;
                let off = (found - wanted).abs();
                assert!(off <= wanted.abs() * 5e-7 + 1e-37 || found == wanted, "{name}({x}) = {found}, not {wanted}");
            };
            near(exp(x), f64::from(x).exp(), "exp");
            near(tanh(x), f64::from(x).tanh(), "tanh");
            near(sigmoid(x), 1.0 / (1.0 + (-f64::from(x)).exp()), "sigmoid");
        }
        assert_eq!((exp(f32::INFINITY), exp(f32::NEG_INFINITY), exp(f32::NAN).is_nan()), (f32::INFINITY, 0.0, true));
        assert!(tanh(f32::NAN).is_nan() && sigmoid(f32::NAN).is_nan());
        for (x, wanted) in [
            (0.1, 0.112_462_916_018_284_9),
            (1.0, 0.842_700_792_949_714_9),
            (2.0, 0.995_322_265_018_952_7),
            (-3.0, -0.999_977_909_503_001_4),
        ] {
            assert!((erf(x) - wanted).abs() < 2e-9, "erf({x}) = {}", erf(x));
        }
    }
}
