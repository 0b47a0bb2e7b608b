//! Decimal text to `f32`, correctly rounded, fast: the inner loop of every payload and model reader.
//!
//! Knows no format around the number. Next: `pull.rs` and `csv.rs`, which call it.

/// Reads the number that `text` starts with: optional sign, digits, optional fraction, optional exponent.
/// Returns it with the bytes read; `None` when no number stands there.
///
/// The value is the `f32` nearest to the decimal, ties to even. Short decimals go through one exact `f64`
/// operation (Clinger 1990: a mantissa below 2^53 scaled by a power of ten up to 10^22 is correctly rounded); the
/// second rounding to `f32` can only go wrong when that `f64` lies exactly between two `f32`, and such values, like
/// all long ones, take the slow exact road.
pub fn read_f32(text: &[u8]) -> Option<(f32, usize)> {
    let scan = scan(text)?;
    let exact = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<f32>().ok();
    if let Some(wide) = scan.short() {
        let tie = wide.to_bits() & 0x1fff_ffff == 0x1000_0000;
        if !tie && (wide == 0.0 || wide.abs() >= f64::from(f32::MIN_POSITIVE)) {
            #[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is the purpose")]
            return Some((wide as f32, scan.length));
        }
    }
    Some((exact(text.get(..scan.length)?)?, scan.length))
}

/// As [`read_f32`], to `f64`.
pub fn read_f64(text: &[u8]) -> Option<(f64, usize)> {
    let scan = scan(text)?;
    if let Some(short) = scan.short() {
        return Some((short, scan.length));
    }
    let value = std::str::from_utf8(text.get(..scan.length)?).ok()?.parse::<f64>().ok()?;
    Some((value, scan.length))
}

struct Scan {
    negative: bool,
    mantissa: u64,
    /// Significant digits dropped because the mantissa was full; then the short road is closed.
    dropped: bool,
    exponent: i32,
    length: usize,
}

const POWERS: [f64; 23] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22];

impl Scan {
    #[expect(clippy::cast_precision_loss, reason = "the mantissa is below 2^53 here, so it is exact")]
    fn short(&self) -> Option<f64> {
        if self.dropped || self.mantissa >= 1 << 53 {
            return None;
        }
        let power = *POWERS.get(usize::try_from(self.exponent.unsigned_abs()).ok()?)?;
        let mantissa = self.mantissa as f64;
        let magnitude = if self.exponent < 0 { mantissa / power } else { mantissa * power };
        Some(if self.negative { -magnitude } else { magnitude })
    }
}

fn scan(text: &[u8]) -> Option<Scan> {
    let mut at = 0;
    let negative = match text.first()? {
        b'-' => {
            at = 1;
            true
        }
        b'+' => {
            at = 1;
            false
        }
        _ => false,
    };
    let (mut mantissa, mut exponent, mut digits, mut dropped) = (0u64, 0i32, 0usize, false);
    let mut fraction = false;
    loop {
        match text.get(at) {
            Some(&digit @ b'0'..=b'9') => {
                digits += 1;
                // 18 digits always fit in u64; the fraction moves the exponent as long as digits are kept.
                if mantissa < 100_000_000_000_000_000 {
                    mantissa = mantissa * 10 + u64::from(digit - b'0');
                    exponent -= i32::from(fraction);
                } else {
                    dropped = true;
                }
            }
            Some(b'.') if !fraction => fraction = true,
            _ => break,
        }
        at += 1;
    }
    if digits == 0 {
        return None;
    }
    if let Some(b'e' | b'E') = text.get(at) {
        let mut end = at + 1;
        let minus = match text.get(end) {
            Some(b'-') => {
                end += 1;
                true
            }
            Some(b'+') => {
                end += 1;
                false
            }
            _ => false,
        };
        let start = end;
        let mut written = 0i32;
        while let Some(&digit @ b'0'..=b'9') = text.get(end) {
            written = (written * 10 + i32::from(digit - b'0')).min(100_000);
            end += 1;
        }
        if end > start {
            exponent += if minus { -written } else { written };
            at = end;
        }
    }
    Some(Scan { negative, mantissa, dropped, exponent, length: at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_equal_the_standard_parser() {
        let hard = [
            "0",
            "-0",
            "1",
            "+1",
            "1.",
            ".5",
            "1e5",
            "1E-5",
            "16777217",
            "16777217.0000001",
            "33554433",
            "33554435",
            "1e-45",
            "7e-46",
            "1.1754943e-38",
            "3.4028236e38",
            "3.5e38",
            "123456789012345678901234567890",
            "0.1",
            "2.5e-8",
            "9007199254740993",
            "1.00000005960464477539062500000001",
            "1.000000059604644775390625",
            "1e22",
            "1e23",
            "1e-22",
            "8.5e-46",
        ];
        for text in hard {
            let (value, length) = read_f32(text.as_bytes()).unwrap();
            assert_eq!(length, text.len(), "{text}");
            assert_eq!(value.to_bits(), text.parse::<f32>().unwrap().to_bits(), "{text}");
            assert_eq!(read_f64(text.as_bytes()).unwrap().0.to_bits(), text.parse::<f64>().unwrap().to_bits(), "{text}");
        }
        let mut seed = 1u64;
        for _ in 0..300_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let digits = 1 + (seed >> 60) as i32;
            let text = format!("{}e{}", (seed >> 8) % 10u64.pow(digits.unsigned_abs()), (seed >> 40) as i32 % 40 - 30);
            assert_eq!(read_f32(text.as_bytes()).unwrap().0.to_bits(), text.parse::<f32>().unwrap().to_bits(), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in ["", "-", ".", "e5", "nan", "x1", "-e"] {
            assert!(read_f32(text.as_bytes()).is_none(), "{text:?}");
        }
        assert_eq!(read_f32(b"1e").unwrap(), (1.0, 1));
        assert_eq!(read_f32(b"1,2").unwrap(), (1.0, 1));
    }
}
