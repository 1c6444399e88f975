//! The comparison of strings that PCMPESTRI, PCMPESTRM, PCMPISTRI and PCMPISTRM share, as pure functions.
//!
//! It is made in two steps: of both operands and their lengths comes IntRes2 in the low quadword and the flags in the high
//! one; of IntRes2 comes an index or a mask.
//! SDM: vol. 2 §4.1 (imm8, the lengths, the aggregations).

use dragoman_state::RFlags;

/// What bits of the immediate say of the elements.
#[derive(Clone, Copy)]
struct Elements {
    is_word: bool,
    is_signed: bool,
}

impl Elements {
    const fn of(immediate: u8) -> Self {
        Self { is_word: immediate & 1 != 0, is_signed: immediate & 2 != 0 }
    }

    /// How many elements a vector has.
    const fn count(self) -> usize {
        if self.is_word { 8 } else { 16 }
    }

    /// One bit for each element.
    const fn all(self) -> u32 {
        (1 << self.count()) - 1
    }

    fn values(self, v: u128) -> [i32; 16] {
        let bytes = v.to_le_bytes();
        std::array::from_fn(|n| match (self.is_word, self.is_signed) {
            (false, false) => bytes[n].into(),
            (false, true) => (bytes[n] as i8).into(),
            // Beyond the eighth there is no word.
            (true, _) if n >= 8 => 0,
            (true, false) => u16::from_le_bytes([bytes[2 * n], bytes[2 * n + 1]]).into(),
            (true, true) => i16::from_le_bytes([bytes[2 * n], bytes[2 * n + 1]]).into(),
        })
    }
}

/// The lengths of strings that end before their first zero element: `a`'s in the low quadword, `b`'s in the high one.
pub fn implicit_lengths(immediate: u8, a: u128, b: u128) -> u128 {
    let elements = Elements::of(immediate);
    let length = |v| elements.values(v).iter().take(elements.count()).take_while(|value| **value != 0).count() as u128;
    length(b) << 64 | length(a)
}

/// IntRes2 of comparing `a` and `b` in the low quadword, and an image of RFLAGS in the high one. `lengths` holds `a`'s in
/// its low quadword and `b`'s in its high one, signed; their magnitudes count, up to as many elements as there are.
pub fn compare(immediate: u8, a: u128, b: u128, lengths: u128) -> u128 {
    let elements = Elements::of(immediate);
    let length = |quadword: u128| (quadword as i64).unsigned_abs().min(elements.count() as u64) as usize;
    let (a_length, b_length) = (length(lengths), length(lengths >> 64));
    let (a, b) = (elements.values(a), elements.values(b));
    let b_valid = (1u32 << b_length) - 1;
    let a_valid = &a[..a_length];
    let aggregated = match immediate >> 2 & 3 {
        0 => a_valid.iter().fold(0, |any, x| any | where_in(&b, |y| *x == y)) & b_valid,
        1 => a_valid.chunks_exact(2).fold(0, |any, pair| any | where_in(&b, |y| pair[0] <= y && y <= pair[1])) & b_valid,
        2 => equal_each(&a, &b, (1 << a_length) - 1, b_valid, elements.all()),
        _ => a_valid.iter().enumerate().fold(elements.all(), |all, (n, x)| {
            // Of an occurrence that the vector's end cuts off, the rest is no hindrance.
            let beyond = !(elements.all() >> n);
            all & (beyond | (where_in(&b, |y| *x == y) & b_valid) >> n)
        }),
    };
    let result = match immediate >> 4 & 3 {
        1 => aggregated ^ elements.all(),
        3 => aggregated ^ b_valid,
        _ => aggregated,
    };
    let mut flags = RFlags::empty();
    flags.set(RFlags::CF, result != 0);
    flags.set(RFlags::ZF, b_length < elements.count());
    flags.set(RFlags::SF, a_length < elements.count());
    flags.set(RFlags::OF, result & 1 != 0);
    u128::from(flags.bits()) << 64 | u128::from(result)
}

/// One bit for each element of which `f` holds.
#[inline(always)]
fn where_in(elements: &[i32; 16], f: impl Fn(i32) -> bool) -> u32 {
    elements.iter().enumerate().fold(0, |bits, (n, value)| bits | u32::from(f(*value)) << n)
}

/// Where both strings have the same element, or both have ended.
fn equal_each(a: &[i32; 16], b: &[i32; 16], a_valid: u32, b_valid: u32, all: u32) -> u32 {
    let equal = (0..16).fold(0, |bits, n| bits | u32::from(a[n] == b[n]) << n);
    equal & a_valid & b_valid | all & !a_valid & !b_valid
}

/// The number of the lowest bit of `result` that is set, or the highest, as the immediate says; the number of elements
/// where none is.
pub fn index(immediate: u8, result: u128) -> u128 {
    let result = result as u32;
    let index = match result {
        0 => Elements::of(immediate).count() as u32,
        _ if immediate & 0x40 != 0 => result.ilog2(),
        _ => result.trailing_zeros(),
    };
    index.into()
}

/// The low quadword of `result` itself, or all ones in each element whose bit is set, as the immediate says.
pub fn mask(immediate: u8, result: u128) -> u128 {
    let result = result & u128::from(u64::MAX);
    if immediate & 0x40 == 0 {
        return result;
    }
    let elements = Elements::of(immediate);
    let (bits, ones) = if elements.is_word { (16, 0xffff) } else { (8, 0xff) };
    (0..elements.count()).filter(|n| result >> n & 1 != 0).fold(0, |mask, n| mask | ones << (bits * n))
}

#[cfg(test)]
mod tests {
    use dragoman_state::RFlags;

    use super::{compare, implicit_lengths, index, mask};

    const BYTES: u8 = 0;
    const WORDS: u8 = 1;
    const SIGNED: u8 = 2;
    const ANY: u8 = 0;
    const RANGES: u8 = 4;
    const EACH: u8 = 8;
    const ORDERED: u8 = 12;
    const NEGATED: u8 = 0x10;
    const NEGATED_VALID: u8 = 0x30;
    const HIGHEST: u8 = 0x40;
    const EXPANDED: u8 = 0x40;

    fn string(text: &str) -> u128 {
        let mut bytes = [0; 16];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        u128::from_le_bytes(bytes)
    }

    fn implicit(immediate: u8, a: u128, b: u128) -> (u32, RFlags) {
        let result = compare(immediate, a, b, implicit_lengths(immediate, a, b));
        (result as u32, RFlags::from_bits_retain((result >> 64) as u64))
    }

    #[test]
    fn each_aggregation_finds_what_its_name_says() {
        assert_eq!(implicit(BYTES | ANY, string("aeiou"), string("You Drive Me Mad")).0, 0b0100_1001_0100_0110);
        assert_eq!(implicit(BYTES | RANGES, string("AZaz"), string("Trust No One 7 x")).0, 0b1000_1110_1101_1111);
        assert_eq!(implicit(BYTES | EACH, string("UseFlatAssembler"), string("Using AnAssemb")).0, 0b10_0000_0011);
        assert_eq!(implicit(BYTES | ORDERED, string("We"), string("WhenWeWillBeWed!")).0, 0b0001_0000_0001_0000);
    }

    #[test]
    fn strings_that_have_both_ended_are_equal_there() {
        assert_eq!(implicit(BYTES | EACH, string("abc"), string("abd")).0, 0xfffb);
        assert_eq!(implicit(WORDS | EACH, string("aabb"), string("aabbcc")).0, 0b1111_1011);
    }

    #[test]
    fn an_occurrence_may_be_cut_off_by_the_vectors_end_but_not_by_the_strings() {
        assert_eq!(implicit(BYTES | ORDERED, string("ab"), string("xxxxxxxxxxxxxxxa")).0, 0x8000);
        assert_eq!(implicit(BYTES | ORDERED, string("ab"), string("xxxxxa")).0, 0);
        assert_eq!(implicit(BYTES | ORDERED, string(""), string("x")).0, 0xffff);
    }

    #[test]
    fn ranges_need_both_ends_and_know_signs() {
        let range = u128::from_le_bytes([0xf0, 0x10, 0x30, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let values = u128::from_le_bytes([0xf8, 0x08, 0x30, 0x80, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(implicit(BYTES | SIGNED | RANGES, range, values).0, 0b10011);
        assert_eq!(implicit(BYTES | RANGES, range, values).0, 0);
    }

    #[test]
    fn polarity_inverts_all_elements_or_those_within_the_string() {
        assert_eq!(implicit(BYTES | ANY | NEGATED, string("a"), string("abc")).0, 0xfffe);
        assert_eq!(implicit(BYTES | ANY | NEGATED_VALID, string("a"), string("abc")).0, 0b110);
        assert_eq!(implicit(BYTES | ANY | 0x20, string("a"), string("abc")).0, 0b001);
    }

    #[test]
    fn flags_tell_of_ends_and_of_the_result() {
        assert_eq!(implicit(BYTES | ANY, string("a"), string("abc")).1, RFlags::CF | RFlags::ZF | RFlags::SF | RFlags::OF);
        assert_eq!(implicit(BYTES | ANY, string("0123456789abcdef"), string("xyz")).1, RFlags::ZF);
        assert_eq!(implicit(BYTES | ANY, string("z"), string("0123456789abcdef")).1, RFlags::SF);
    }

    #[test]
    fn explicit_lengths_count_by_magnitude_and_no_further_than_the_vector() {
        let lengths = |a: i64, b: i64| u128::from(b as u64) << 64 | u128::from(a as u64);
        let all = string("aaaaaaaaaaaaaaaa");
        assert_eq!(compare(BYTES | ANY, all, all, lengths(-1, -3)) as u32, 0b111);
        assert_eq!(compare(BYTES | ANY, all, all, lengths(i64::MIN, i64::MAX)) as u32, 0xffff);
        assert_eq!(compare(BYTES | ANY, all, all, lengths(0, 16)) as u32, 0);
        assert_eq!(compare(WORDS | ANY, all, all, lengths(100, 100)) as u32, 0xff);
    }

    #[test]
    fn results_become_indices_and_masks() {
        assert_eq!(index(BYTES, 0b0110), 1);
        assert_eq!(index(BYTES | HIGHEST, 0b0110), 2);
        assert_eq!((index(BYTES, 0), index(WORDS | HIGHEST, 0)), (16, 8));
        assert_eq!(mask(BYTES, 0xffff_u128 << 64 | 0x8001), 0x8001);
        assert_eq!(mask(BYTES | EXPANDED, 0x8001), 0xff00_0000_0000_0000_0000_0000_0000_00ff);
        assert_eq!(mask(WORDS | EXPANDED, 0x81), 0xffff_0000_0000_0000_0000_0000_0000_ffff);
    }
}
