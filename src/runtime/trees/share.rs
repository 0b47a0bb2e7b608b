//! The shares of training rows at a split, in the 29 bits that a node has left.
//!
//! Explaining needs covers, 4 bytes a node if kept as they are, a quarter of what a node takes. Only their quotients
//! matter, and of two shares that add up to 1 the smaller says all: one bit for its side, 6 for its exponent, 22 for its
//! digits, which loses no more than 2e-7 of a share. Knows no trees. Next: `shap.rs`, which asks.

/// Where the shares begin in a node's flags.
pub(super) const SHIFT: u32 = 3;

/// Set when the smaller share is the right one.
const RIGHT: u32 = 1 << 28;
/// Exponents below 2^-62 are a share of 0, which is code 1, since 0 means unknown.
const SMALLEST: u32 = 64 << 22;
const NOUGHT: u32 = 1;
/// The code of a half; none above it was ever written.
const HALF: u32 = 62 << 22;

/// The 29 bits for covers of the left and the right child; 0 when they say nothing.
#[expect(clippy::cast_possible_truncation, reason = "a share is kept as f32")]
pub(super) fn pack(left: f32, right: f32) -> u32 {
    let (left, right) = (f64::from(left), f64::from(right));
    let sum = left + right;
    if !(left >= 0.0 && right >= 0.0 && sum.is_finite()) {
        return 0;
    }
    // No training row came here, so it is all the same; half keeps the numbers finite.
    let smaller = if sum == 0.0 { 0.5 } else { (left.min(right) / sum) as f32 };
    let rounded = (smaller.to_bits() + 1) >> 1;
    let code = rounded.checked_sub(SMALLEST).filter(|&code| code > NOUGHT).unwrap_or(NOUGHT);
    code | if right < left { RIGHT } else { 0 }
}

/// The left and the right share that [`pack`] put away.
pub(super) fn unpack(bits: u32) -> (f64, f64) {
    let smaller = match bits & !RIGHT {
        0 | NOUGHT => 0.0,
        code => f64::from(f32::from_bits((code.min(HALF) + SMALLEST) << 1)),
    };
    if bits & RIGHT == 0 { (smaller, 1.0 - smaller) } else { (1.0 - smaller, smaller) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_come_back_as_exact_as_covers_are() {
        let covers = [1.0, 3.0, 1e-3, 7.7e6, 123.456, 1e-12, 3.4e38, 0.25, 1e-16];
        for left in covers {
            for right in covers {
                let (a, b) = unpack(pack(left, right));
                let sum = f64::from(left) + f64::from(right);
                for (found, cover) in [(a, left), (b, right)] {
                    let wanted = f64::from(cover) / sum;
                    assert!((found - wanted).abs() <= 1.8e-7 * wanted + 1e-18, "{left} {right}: {found} for {wanted}");
                }
            }
        }
        assert_eq!(unpack(pack(0.0, 5.0)), (0.0, 1.0));
        assert_eq!(unpack(pack(5.0, 0.0)), (1.0, 0.0));
        assert_eq!(unpack(pack(0.0, 0.0)), (0.5, 0.5));
        for (left, right) in [(f32::NAN, 1.0), (-1.0, 2.0), (f32::INFINITY, 1.0)] {
            assert_eq!(pack(left, right), 0);
        }
        // Whatever a damaged store holds, shares stay shares.
        for bits in (0..1u32 << 29).step_by(65_537) {
            let (a, b) = unpack(bits);
            assert!((0.0..=1.0).contains(&a) && (0.0..=1.0).contains(&b) && (a + b - 1.0).abs() < 1e-12, "{bits:#x}");
        }
    }
}
