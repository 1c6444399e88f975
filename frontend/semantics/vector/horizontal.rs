//! Operations whose lanes come from several lanes of an operand: sums of neighbours, sums of differences, the least word.
//! SDM: vol. 2, PHADDW and its kin, MPSADBW, PHMINPOSUW.

use super::lanes::Lane;

/// An operation across the lanes of a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Horizontal {
    /// Sums of neighbouring words or doublewords, wrapping: the first operand's in the low half.
    Add(Lane),
    /// The lower neighbour less the higher one, wrapping.
    Sub(Lane),
    /// Sums of neighbouring signed words, saturating.
    AddSaturating,
    /// The lower of two neighbouring signed words less the higher one, saturating.
    SubSaturating,
    /// Eight sums of the absolute differences between four bytes of the second operand and each four neighbours in eleven
    /// bytes of the first; bits of the immediate say which.
    SumsOfDifferences(u8),
    /// The second operand's least unsigned word in the lowest word, its number in the next one.
    LeastWord,
}

/// `a op b`.
pub fn evaluate(op: Horizontal, a: u128, b: u128) -> u128 {
    match op {
        Horizontal::Add(Lane::D) => dword_pairs(a, b, u32::wrapping_add),
        Horizontal::Add(_) => word_pairs(a, b, i16::wrapping_add),
        Horizontal::Sub(Lane::D) => dword_pairs(a, b, u32::wrapping_sub),
        Horizontal::Sub(_) => word_pairs(a, b, i16::wrapping_sub),
        Horizontal::AddSaturating => word_pairs(a, b, i16::saturating_add),
        Horizontal::SubSaturating => word_pairs(a, b, i16::saturating_sub),
        Horizontal::SumsOfDifferences(immediate) => sums_of_differences(immediate, a, b),
        Horizontal::LeastWord => {
            let word = |n: u32| (b >> (16 * n)) as u16;
            let (n, least) = (0..8).map(|n| (n, word(n))).min_by_key(|(_, word)| *word).unwrap_or_default();
            u128::from(n) << 16 | u128::from(least)
        }
    }
}

#[inline(always)]
fn word_pairs(a: u128, b: u128, f: impl Fn(i16, i16) -> i16) -> u128 {
    let half = |v: u128| {
        (0..4).rev().fold(0, |half: u64, n| half << 16 | u64::from(f((v >> (32 * n)) as i16, (v >> (32 * n + 16)) as i16) as u16))
    };
    u128::from(half(b)) << 64 | u128::from(half(a))
}

#[inline(always)]
fn dword_pairs(a: u128, b: u128, f: impl Fn(u32, u32) -> u32) -> u128 {
    let half = |v: u128| {
        (0..2).rev().fold(0, |half: u64, n| half << 32 | u64::from(f((v >> (64 * n)) as u32, (v >> (64 * n + 32)) as u32)))
    };
    u128::from(half(b)) << 64 | u128::from(half(a))
}

fn sums_of_differences(immediate: u8, a: u128, b: u128) -> u128 {
    let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
    let (a_start, b_start) = (usize::from(immediate & 4), 4 * usize::from(immediate & 3));
    (0..8).rev().fold(0, |result, n| {
        let sum: u16 = (0..4).map(|k| u16::from(a[a_start + n + k].abs_diff(b[b_start + k]))).sum();
        result << 16 | u128::from(sum)
    })
}

#[cfg(test)]
mod tests {
    use super::{Horizontal as H, evaluate};
    use crate::semantics::vector::lanes::Lane::{D, W};

    #[test]
    fn neighbours_are_added_and_subtracted_the_first_operands_below() {
        let a = 0x0008_0007_0006_0005_0004_0003_0002_0001;
        let b = 0x8000_8000_7fff_0001_0000_0001_ffff_ffff;
        assert_eq!(evaluate(H::Add(W), a, b), 0x0000_8000_0001_fffe_000f_000b_0007_0003);
        assert_eq!(evaluate(H::AddSaturating, a, b), 0x8000_7fff_0001_fffe_000f_000b_0007_0003);
        assert_eq!(evaluate(H::Sub(W), a, b), 0x0000_8002_0001_0000_ffff_ffff_ffff_ffff);
        assert_eq!(evaluate(H::SubSaturating, 0x8000_7fff, 0x7fff_8000), 0x8000_0000_0000_0000_7fff);
        assert_eq!(evaluate(H::Add(D), 1 << 96 | 2 << 64 | 0xffff_ffff << 32 | 1, 7), 7 << 64 | 3 << 32);
        assert_eq!(evaluate(H::Sub(D), 1 << 96 | 2 << 64 | 0xffff_ffff << 32 | 1, 7), 7 << 64 | 1 << 32 | 2);
    }

    #[test]
    fn differences_are_summed_from_the_bytes_that_the_immediate_says() {
        let a = 0x0f0e0d0c_0b0a0908_07060504_03020100;
        // Byte 0 of the second operand is the lowest of the four, 100 away from byte 4 of the first.
        let b = 0x68686868_00000000_00000000_00000000;
        let expected = (0..8u128).rev().fold(0, |sums, n| sums << 16 | (4 * 0x68 - (4 * (n + 4) + 6)));
        assert_eq!(evaluate(H::SumsOfDifferences(0xff), a, b), expected);
        let expected = (0..8u128).rev().fold(0, |sums, n| sums << 16 | (4 * n + 6));
        assert_eq!(evaluate(H::SumsOfDifferences(0b001), a, b), expected);
    }

    #[test]
    fn of_equal_words_the_lowest_is_the_least() {
        assert_eq!(evaluate(H::LeastWord, 0, 0xffff_0003_8000_0003_0005_0004_0007_0006), 4 << 16 | 3);
        assert_eq!(evaluate(H::LeastWord, 0, u128::MAX), 0xffff);
    }
}
