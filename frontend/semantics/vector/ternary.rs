//! Integer vector operations of three operands, as pure functions over 128 bits.

use super::{lanes::Lane, sha, string_compare};

/// An operation on three vectors of 128 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TernaryOp {
    /// Lanes of the second where the third's lane has its sign set, else of the first.
    Blend(Lane),
    /// Doublewords of the eight that the second and third hold, the second's first, chosen by the low three bits of the
    /// first's.
    Choose,
    /// Two rounds of SHA-256: C, D, G and H, then A, B, E and F, then the words.
    Sha256Rounds,
    /// IntRes2 and the flags of two strings, whose lengths are in the third operand's quadwords.
    CompareStrings(u8),
}

/// `op(a, b, c)`.
#[inline(always)]
pub fn evaluate(op: TernaryOp, a: u128, b: u128, c: u128) -> u128 {
    match op {
        TernaryOp::Sha256Rounds => sha::sha256_rounds(a, b, c),
        TernaryOp::CompareStrings(immediate) => string_compare::compare(immediate, a, b, c),
        TernaryOp::Blend(lane) => {
            let mask = spread_signs(lane, c);
            a & !mask | b & mask
        }
        TernaryOp::Choose => (0..4).fold(0, |result, n| {
            let choice = (a >> (32 * n)) as u32 & 7;
            let from = if choice < 4 { b } else { c };
            result | (from >> (32 * (choice % 4)) & 0xffff_ffff) << (32 * n)
        }),
    }
}

/// All ones in each lane whose sign is set.
fn spread_signs(lane: Lane, v: u128) -> u128 {
    let bits = lane.bits();
    (0..128 / bits).filter(|n| v >> (n * bits + bits - 1) & 1 != 0).fold(0, |mask, n| mask | lane.mask() << (n * bits))
}
