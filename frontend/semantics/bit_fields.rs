//! Operations on fields and strings of bits, as pure functions: what BEXTR, BZHI, PDEP, PEXT and CRC32 compute.
//! SDM: vol. 2, the entries of the same names.

use dragoman_state::Width;

/// BEXTR: the field of `value` that begins at bit `control`\[7:0\] and is `control`\[15:8\] bits long; bits above the width
/// are zero.
pub(super) fn field(width: Width, value: u64, control: u64) -> u64 {
    let (start, length) = (control as u8, (control >> 8) as u8);
    let shifted = width.truncate(value).checked_shr(start.into()).unwrap_or(0);
    low(shifted, length)
}

/// BZHI: the bits of `value` below bit `index`\[7:0\].
pub(super) fn below(width: Width, value: u64, index: u64) -> u64 {
    low(width.truncate(value), index as u8)
}

/// The low `count` bits of `value`.
fn low(value: u64, count: u8) -> u64 {
    if count < 64 { value & ((1 << count) - 1) } else { value }
}

/// PDEP: the low bits of `value`, in order, where `mask` has ones.
pub(super) fn deposit(value: u64, mut mask: u64) -> u64 {
    let (mut result, mut rest) = (0, value);
    while mask != 0 {
        let place = mask & mask.wrapping_neg();
        if rest & 1 != 0 {
            result |= place;
        }
        rest >>= 1;
        mask ^= place;
    }
    result
}

/// PEXT: the bits of `value` where `mask` has ones, in order, as the low bits.
pub(super) fn extract(value: u64, mut mask: u64) -> u64 {
    let (mut result, mut next) = (0, 1u64);
    while mask != 0 {
        let place = mask & mask.wrapping_neg();
        if value & place != 0 {
            result |= next;
        }
        next = next.wrapping_shl(1);
        mask ^= place;
    }
    result
}

/// What each byte adds to the checksum: the polynomial 11EDC6F41h with its bits in opposite order.
const CHECKSUMS: [u32; 256] = {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut rest = byte as u32;
        let mut n = 0;
        while n < 8 {
            rest = rest >> 1 ^ if rest & 1 != 0 { POLYNOMIAL } else { 0 };
            n += 1;
        }
        table[byte] = rest;
        byte += 1;
    }
    table
};

/// CRC32: the checksum `sum`, 32 bits, with `data` of `width` taken in.
pub(super) fn checksum(width: Width, sum: u64, data: u64) -> u64 {
    let bytes = data.to_le_bytes();
    let sum = bytes.iter().take(width.bytes() as usize).fold(sum as u32, |sum, byte| {
        let index = (sum as u8 ^ byte) as usize;
        sum >> 8 ^ CHECKSUMS[index]
    });
    sum.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_rfc_3720() {
        // RFC 3720 B.4: 32 bytes of zeros, and 32 of ones.
        let of = |byte: u8| {
            let word = u64::from_le_bytes([byte; 8]);
            !((0..4).fold(0xffff_ffff, |sum, _| checksum(Width::Qword, sum, word)) as u32)
        };
        assert_eq!((of(0), of(0xff)), (0x8a91_36aa, 0x62a8_ab43));
    }

    #[test]
    fn what_is_deposited_can_be_extracted() {
        for mask in [0, 1, u64::MAX, 0x8000_0000_0000_0001, 0x0f0f_3300_5555_8001] {
            let value = 0xfedc_ba98_7654_3210;
            let count = mask.count_ones() as u8;
            assert_eq!(extract(deposit(value, mask), mask), low(value, count), "{mask:#x}");
            assert_eq!(deposit(extract(value, mask), mask), value & mask, "{mask:#x}");
        }
    }
}
