//! Products and signs, lane by lane: what SSSE3 and SSE4.1 add to the arithmetic of MMX and SSE2.
//! SDM: vol. 2, PMADDUBSW, PMULHRSW, PMULDQ, PMULLD, PSIGN, PABS.

use super::lanes::{Lane, bytes, dwords, qwords, words};

/// An operation on lanes of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// Sums of neighbouring products of the first operand's unsigned bytes with the second's signed ones, saturating.
    AddBytes,
    /// Products of signed words, rounded to their highest 16 bits below the sign.
    RoundedHigh,
    /// Products of the low signed doublewords of quadwords.
    WideSigned,
    /// Low doublewords of the products of doublewords.
    LowDwords,
    /// The first operand's lanes times the signs of the second's, a zero being zero.
    Signs(Lane),
    /// The second operand's lanes without their signs.
    Magnitudes(Lane),
}

/// `a op b`.
#[inline(always)]
pub fn evaluate(op: Product, a: u128, b: u128) -> u128 {
    match op {
        Product::AddBytes => words(a, b, |a, b| {
            let product = |shift: u32| i32::from((a >> shift) as u8) * i32::from((b >> shift) as i8);
            (product(0) + product(8)).clamp(i16::MIN.into(), i16::MAX.into()) as u16
        }),
        Product::RoundedHigh => words(a, b, |a, b| ((((i32::from(a as i16) * i32::from(b as i16)) >> 14) + 1) >> 1) as u16),
        Product::WideSigned => qwords(a, b, |a, b| i64::from(a as i32).wrapping_mul((b as i32).into()) as u64),
        Product::LowDwords => dwords(a, b, u32::wrapping_mul),
        Product::Signs(Lane::B) => bytes(a, b, |a, b| (a as i8).wrapping_mul((b as i8).signum()) as u8),
        Product::Signs(Lane::W) => words(a, b, |a, b| (a as i16).wrapping_mul((b as i16).signum()) as u16),
        Product::Signs(_) => dwords(a, b, |a, b| (a as i32).wrapping_mul((b as i32).signum()) as u32),
        Product::Magnitudes(Lane::B) => bytes(a, b, |_, b| (b as i8).unsigned_abs()),
        Product::Magnitudes(Lane::W) => words(a, b, |_, b| (b as i16).unsigned_abs()),
        Product::Magnitudes(_) => dwords(a, b, |_, b| (b as i32).unsigned_abs()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Product as P, evaluate};
    use crate::semantics::vector::lanes::Lane::{B, D, W};

    #[test]
    fn products_of_bytes_saturate_once_they_are_added() {
        assert_eq!(evaluate(P::AddBytes, 0xffff_ffff_0201, 0x7f7f_8080_ff03), 0x7fff_8000_0001);
    }

    #[test]
    fn high_halves_are_rounded_and_the_smallest_squared_wraps() {
        assert_eq!(evaluate(P::RoundedHigh, 0x8000_4000_0001, 0x8000_0001_4000), 0x8000_0001_0001);
        assert_eq!(evaluate(P::RoundedHigh, 0xffff_0001, 0x4000_3fff), 0x0000_0000);
    }

    #[test]
    fn doublewords_are_multiplied_wide_and_low() {
        let (a, b) = (0x1_ffff_fffe_u128 << 64 | 0x8000_0000, 0x2_0000_0003_u128 << 64 | 0x8000_0000);
        assert_eq!(evaluate(P::WideSigned, a, b), 0xffff_ffff_ffff_fffa << 64 | 0x4000_0000_0000_0000);
        assert_eq!(evaluate(P::LowDwords, a, b), 0x0000_0002_ffff_fffa << 64);
    }

    #[test]
    fn signs_are_taken_and_left() {
        assert_eq!(evaluate(P::Signs(B), 0x80_05_05_05, 0xff_00_80_7f), 0x80_00_fb_05);
        assert_eq!(evaluate(P::Signs(W), 0x8000_0005, 0xffff_8000), 0x8000_fffb);
        assert_eq!(evaluate(P::Signs(D), 5, 0x8000_0000), 0xffff_fffb);
        assert_eq!(evaluate(P::Magnitudes(B), 0, 0x80_ff_7f), 0x80_01_7f);
        assert_eq!(evaluate(P::Magnitudes(W), 0, 0x8000_ffff), 0x8000_0001);
        assert_eq!(evaluate(P::Magnitudes(D), 0, 0xffff_fffe), 2);
    }
}
