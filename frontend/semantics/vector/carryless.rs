//! The product of polynomials over GF(2).
//! SDM: vol. 2, PCLMULQDQ.

/// The carry-less product of a quadword of `a`, which bit 0 of `halves` chooses, and one of `b`, which bit 4 chooses.
pub fn multiply(halves: u8, a: u128, b: u128) -> u128 {
    let quadword = |v: u128, is_high: bool| if is_high { v >> 64 } else { v & u128::from(u64::MAX) };
    let (a, b) = (quadword(a, halves & 1 != 0), quadword(b, halves & 0x10 != 0));
    // The multiples of a by every polynomial of four bits.
    let mut multiples = [0; 16];
    for n in 1..16 {
        multiples[n] = multiples[n / 2] << 1 ^ if n & 1 != 0 { a } else { 0 };
    }
    (0..16).rev().fold(0, |sum, n| sum << 4 ^ multiples[(b >> (4 * n) & 15) as usize])
}

#[cfg(test)]
mod tests {
    use super::multiply;

    /// The operands of Intel's white paper on this instruction, and what Emerald Rapids makes of them.
    #[test]
    fn products_are_those_of_processors_for_every_choice_of_halves() {
        let a = 0x7b5b5465_73745665_63746f72_5d53475d;
        let b = 0x48692853_68617929_5b477565_726f6e5d;
        assert_eq!(multiply(0x00, a, b), 0x1d4d84c8_5c3440c0_929633d5_d36f0451);
        assert_eq!(multiply(0x10, a, b), 0x1bd17c8d_556ab5a1_7fa540ac_2a281315);
        assert_eq!(multiply(0x01, a, b), 0x1a2bf6db_3a30862f_babf262d_f4b7d5c9);
        assert_eq!(multiply(0x11, a, b), 0x1d1e1f2c_592e7c45_d66ee03e_410fd4ed);
    }

    #[test]
    fn bits_that_choose_no_half_are_ignored() {
        let (a, b) = (3 << 64 | 5, 7 << 64 | 9);
        assert_eq!(multiply(0xee, a, b), multiply(0, a, b));
        assert_eq!(multiply(0xff, a, b), 3 ^ 3 << 1 ^ 3 << 2);
    }
}
