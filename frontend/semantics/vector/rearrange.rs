//! Operations that move lanes, bytes and bits and compute nothing: shuffles by a vector, blends, insertions, extensions.
//! SDM: vol. 2, PSHUFB, PALIGNR, the BLEND instructions, INSERTPS, PMOVSX, PMOVZX; AMD APM: vol. 4, EXTRQ, INSERTQ.

use super::lanes::Lane;

/// Where each part of the result comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rearrangement {
    /// Bytes of the first operand, chosen by the second's low four bits; zero where its highest bit is set.
    ShuffleBytes,
    /// Both operands, the first above the second, shifted right by so many bytes.
    Align(u8),
    /// The second operand's lanes where a bit is set, else the first's.
    Blend(Lane, u8),
    /// One of the second operand's doublewords in one of the first's, then zeros in those of the low four bits.
    InsertSingle(u8),
    /// The second operand's low lanes at a larger size.
    Extend {
        /// The signs come in, else zeros.
        is_signed: bool,
        /// The lanes' size in the operand.
        from: Lane,
        /// The lanes' size in the result.
        to: Lane,
    },
    /// The low quadword's bits from the index on, as many as the length says: bits 8 and 0 up of the second operand.
    ExtractBits,
    /// The second operand's low bits in those of the low quadword from the index on, as many as the length says: bits 8 and 0
    /// up of the second operand's high quadword.
    InsertBits,
}

/// `a op b`.
#[inline(always)]
pub fn evaluate(op: Rearrangement, a: u128, b: u128) -> u128 {
    use Rearrangement as R;
    match op {
        R::ShuffleBytes => {
            let from = a.to_le_bytes();
            u128::from_le_bytes(b.to_le_bytes().map(|choice| if choice < 0x80 { from[usize::from(choice & 15)] } else { 0 }))
        }
        R::Align(count) => align(a, b, count),
        R::Blend(lane, choices) => {
            let mask = spread(lane, choices);
            a & !mask | b & mask
        }
        R::InsertSingle(immediate) => {
            let (from, to) = (32 * u32::from(immediate >> 6), 32 * u32::from(immediate >> 4 & 3));
            let inserted = a & !(0xffff_ffff << to) | (b >> from & 0xffff_ffff) << to;
            inserted & !spread(Lane::D, immediate & 15)
        }
        R::Extend { is_signed, from, to } => extend(is_signed, from.bits(), to.bits(), b),
        R::ExtractBits => {
            let (index, mask) = bit_field(b as u64);
            high(a) | u128::from(a as u64 >> index & mask)
        }
        R::InsertBits => {
            let (index, mask) = bit_field((b >> 64) as u64);
            high(a) | u128::from(a as u64 & !(mask << index) | (b as u64 & mask) << index)
        }
    }
}

/// All ones in each lane whose bit is set.
fn spread(lane: Lane, choices: u8) -> u128 {
    (0..128 / lane.bits()).filter(|n| u32::from(choices) >> n & 1 != 0).fold(0, |mask, n| mask | lane.mask() << (n * lane.bits()))
}

fn align(a: u128, b: u128, count: u8) -> u128 {
    let bits = 8 * u32::from(count);
    match bits {
        0 => b,
        1..128 => a << (128 - bits) | b >> bits,
        _ => a.checked_shr(bits - 128).unwrap_or(0),
    }
}

#[inline(always)]
fn extend(is_signed: bool, from: u32, to: u32, v: u128) -> u128 {
    (0..128 / to).rev().fold(0, |result, n| {
        let top = (v >> (n * from)) << (128 - from);
        let lane = if is_signed { (top as i128 >> (to - from)) as u128 } else { top >> (to - from) };
        result << to | lane >> (128 - to)
    })
}

fn high(v: u128) -> u128 {
    v >> 64 << 64
}

/// The index of a bit field and the mask of its length, where zero means 64.
fn bit_field(control: u64) -> (u32, u64) {
    let length = control as u32 & 63;
    (control as u32 >> 8 & 63, if length == 0 { u64::MAX } else { (1 << length) - 1 })
}

#[cfg(test)]
mod tests {
    use super::{Rearrangement as R, evaluate};
    use crate::semantics::vector::lanes::Lane::{B, D, Q, W};

    const BYTES: u128 = 0x0f0e0d0c_0b0a0908_07060504_03020100;

    #[test]
    fn bytes_are_chosen_by_four_bits_or_cleared_by_the_eighth() {
        let from = BYTES + 0x10101010_10101010_10101010_10101010;
        assert_eq!(evaluate(R::ShuffleBytes, from, 0x807f_0f00 << 96 | 0xff), 0x001f_1f10_1010_1010_1010_1010_1010_1000);
    }

    #[test]
    fn two_vectors_are_shifted_as_one() {
        let above = BYTES + 0x10101010_10101010_10101010_10101010;
        assert_eq!(evaluate(R::Align(0), above, BYTES), BYTES);
        assert_eq!(evaluate(R::Align(3), above, BYTES), 0x1211_100f_0e0d_0c0b_0a09_0807_0605_0403);
        assert_eq!(evaluate(R::Align(16), above, BYTES), above);
        assert_eq!(evaluate(R::Align(31), above, BYTES), 0x1f);
        assert_eq!(evaluate(R::Align(32), above, BYTES), 0);
        assert_eq!(evaluate(R::Align(255), above, BYTES), 0);
    }

    #[test]
    fn lanes_are_blended_by_bits() {
        assert_eq!(evaluate(R::Blend(W, 0b1000_0001), 0, u128::MAX), 0xffff << 112 | 0xffff);
        assert_eq!(evaluate(R::Blend(D, 0xf2), 0, u128::MAX), 0xffff_ffff << 32);
        assert_eq!(evaluate(R::Blend(Q, 2), u128::MAX, 0), u64::MAX.into());
    }

    #[test]
    fn a_single_goes_where_the_immediate_says_and_others_become_zero() {
        let (a, b) = (0x44444444_33333333_22222222_11111111, 0x88888888_77777777_66666666_55555555);
        assert_eq!(evaluate(R::InsertSingle(0x90), a, b), 0x44444444_33333333_77777777_11111111);
        assert_eq!(evaluate(R::InsertSingle(0xca), a, b), 0x00000000_33333333_00000000_88888888);
        assert_eq!(evaluate(R::InsertSingle(0x38), a, b), 0x00000000_33333333_22222222_11111111);
    }

    #[test]
    fn low_lanes_are_extended_by_zeros_or_signs() {
        let extend =
            |is_signed, from, to| evaluate(R::Extend { is_signed, from, to }, 0, 0x7766_5544_3322_1180_7f03_8201_90ff_817f);
        assert_eq!(extend(false, B, W), 0x007f_0003_0082_0001_0090_00ff_0081_007f);
        assert_eq!(extend(true, B, W), 0x007f_0003_ff82_0001_ff90_ffff_ff81_007f);
        assert_eq!(extend(true, B, D), 0xffff_ff90_ffff_ffff_ffff_ff81_0000_007f);
        assert_eq!(extend(true, B, Q), 0xffff_ffff_ffff_ff81_0000_0000_0000_007f);
        assert_eq!(extend(true, W, D), 0x0000_7f03_ffff_8201_ffff_90ff_ffff_817f);
        assert_eq!(extend(true, W, Q), 0xffff_ffff_ffff_90ff_ffff_ffff_ffff_817f);
        assert_eq!(extend(false, D, Q), 0x0000_0000_7f03_8201_0000_0000_90ff_817f);
        assert_eq!(extend(true, D, Q), 0x0000_0000_7f03_8201_ffff_ffff_90ff_817f);
    }

    #[test]
    fn bit_fields_are_extracted_and_inserted_and_no_length_is_64() {
        let a = 0x0123_4567_89ab_cdef;
        assert_eq!(evaluate(R::ExtractBits, a, 0x0c08), 0xbc & 0xff);
        assert_eq!(evaluate(R::ExtractBits, a, 0), a);
        assert_eq!(evaluate(R::InsertBits, a, 0x0c08 << 64 | 0xff55), 0x0123_4567_89a5_5def);
        assert_eq!(evaluate(R::InsertBits, a, 77), 77);
    }
}
