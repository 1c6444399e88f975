//! Values at which instructions change their behaviour: the ends of ranges, signs, denormals, infinities, numbers that are
//! none, and their neighbours.

use dragoman_state::F80;

use super::Random;
use crate::layout::selector;

/// What an instruction is likely to take its operands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// Integers.
    Integer,
    /// Half-precision numbers.
    Half,
    /// Single-precision numbers.
    Single,
    /// Double-precision numbers.
    Double,
    /// Extended-precision numbers.
    Extended,
}

const INTEGERS: [u64; 18] = [
    0,
    1,
    2,
    3,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff,
    0x8000,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_ffff_fffe,
    u64::MAX,
];

const HALVES: [u16; 16] =
    [0, 1, 3, 0x03ff, 0x0400, 0x0401, 0x3c00, 0x3c01, 0x3bff, 0x4000, 0x6400, 0x7bff, 0x7c00, 0x7c01, 0x7e00, 0x7fff];

const SINGLES: [u32; 24] = [
    0,
    1,
    0x0000_0003,
    0x007f_ffff,
    0x0080_0000,
    0x0080_0001,
    0x3f80_0000,
    0x3f80_0001,
    0x3f7f_ffff,
    0x3f00_0000,
    0x4000_0000,
    0x40c0_0000,
    0x4b00_0000,
    0x4eff_ffff,
    0x4f00_0000,
    0x5f00_0000,
    0x7f7f_ffff,
    0x7f80_0000,
    0x7f80_0001,
    0x7fc0_0000,
    // What rounds to the largest and the smallest half-precision number, or just not.
    0x477f_efff,
    0x477f_f000,
    0x3300_0000,
    0x387f_e000,
];

const DOUBLES: [u64; 22] = [
    0,
    1,
    3,
    0x000f_ffff_ffff_ffff,
    0x0010_0000_0000_0000,
    0x0010_0000_0000_0001,
    0x3690_0000_0000_0000,
    0x380f_ffff_e000_0000,
    0x3ff0_0000_0000_0000,
    0x3ff0_0000_0000_0001,
    0x3fef_ffff_ffff_ffff,
    0x3fe0_0000_0000_0000,
    0x4018_0000_0000_0000,
    0x41df_ffff_ffc0_0000,
    0x41e0_0000_0000_0000,
    0x4330_0000_0000_0000,
    0x43e0_0000_0000_0000,
    0x47ef_ffff_f000_0000,
    0x7fef_ffff_ffff_ffff,
    0x7ff0_0000_0000_0000,
    0x7ff0_0000_0000_0001,
    0x7ff8_0000_0000_0000,
];

/// Exponents of extended numbers; the sign is added.
const EXPONENTS: [u16; 16] = [
    0,
    1,
    2,
    0x3fff,
    0x3ffe,
    0x4000,
    0x3fbe,
    0x3fff + 15,
    0x3fff + 31,
    0x3fff + 63,
    0x3fff + 64,
    0x3f81,
    0x3c01,
    0x43fe,
    0x7ffe,
    0x7fff,
];

const SIGNIFICANDS: [u64; 8] = [
    0,
    1,
    0x8000_0000_0000_0000,
    0x8000_0000_0000_0001,
    0xc000_0000_0000_0000,
    0xffff_ffff_ffff_ffff,
    0x4000_0000_0000_0000,
    0x8000_0100_0000_0000,
];

/// Selectors that mean something on every test stand.
const SELECTORS: [u16; 10] = [
    0,
    3,
    selector::USER_CODE32,
    selector::USER_DATA,
    selector::USER_CODE64,
    selector::DATA16,
    selector::STACK16,
    0x2f,
    0x47,
    0x5f,
];

/// An integer of up to 64 bits.
pub fn integer(random: &mut Random) -> u64 {
    match random.below(8) {
        0..=3 => random.pick(&INTEGERS),
        4 => random.pick(&INTEGERS).wrapping_neg(),
        5 => random.below(300),
        6 => 1 << random.below(64),
        _ => random.bits(),
    }
}

/// A selector, with whatever above it.
pub fn selector(random: &mut Random) -> u64 {
    u64::from(random.pick(&SELECTORS)) | if random.one_in(4) { random.bits() & !0xffff } else { 0 }
}

fn half(random: &mut Random) -> u16 {
    let magnitude = if random.one_in(4) { random.bits() as u16 } else { random.pick(&HALVES) };
    magnitude ^ (random.bits() as u16 & 0x8000)
}

fn single(random: &mut Random) -> u32 {
    let magnitude = match random.below(4) {
        // Not a number, of any payload.
        0 if random.one_in(4) => 0x7f80_0000 | random.bits() as u32,
        0 => random.bits() as u32,
        // Near one another in magnitude, so that sums cancel.
        1 => 0x3f00_0000 + (random.bits() as u32 & 0x01ff_ffff),
        _ => random.pick(&SINGLES),
    };
    magnitude ^ (random.bits() as u32 & 0x8000_0000)
}

fn double(random: &mut Random) -> u64 {
    let magnitude = match random.below(4) {
        0 if random.one_in(4) => 0x7ff0_0000_0000_0000 | random.bits(),
        0 => random.bits(),
        1 => 0x3fe0_0000_0000_0000 + (random.bits() & 0x003f_ffff_ffff_ffff),
        _ => random.pick(&DOUBLES),
    };
    magnitude ^ (random.bits() & 1 << 63)
}

/// An extended number; unnormal and pseudo ones among them.
pub fn extended(random: &mut Random) -> F80 {
    let exponent = match random.below(4) {
        0 => random.bits() as u16 & 0x7fff,
        1 => 0x3ff0 + random.below(0x20) as u16,
        _ => random.pick(&EXPONENTS),
    };
    let mut significand = if random.one_in(2) { random.bits() } else { random.pick(&SIGNIFICANDS) };
    if exponent != 0 && !random.one_in(16) {
        significand |= 1 << 63;
    }
    F80 { significand, sign_exponent: exponent | (random.bits() as u16 & 0x8000) }
}

/// A quadword of operands of that flavour.
pub fn quadword(random: &mut Random, flavour: Flavour) -> u64 {
    match flavour {
        Flavour::Integer => {
            // Lanes of one size.
            match random.below(5) {
                0 => (0..8).fold(0, |all, n| all | (integer(random) & 0xff) << (8 * n)),
                // Few different bytes, zero among them: strings.
                4 => (0..8).fold(0, |all, n| all | random.below(4) << (8 * n)),
                1 => (0..4).fold(0, |all, n| all | (integer(random) & 0xffff) << (16 * n)),
                2 => (0..2).fold(0, |all, n| all | (integer(random) & 0xffff_ffff) << (32 * n)),
                _ => integer(random),
            }
        }
        Flavour::Half => (0..4).fold(0, |all, n| all | u64::from(half(random)) << (16 * n)),
        Flavour::Single => u64::from(single(random)) | u64::from(single(random)) << 32,
        Flavour::Double => double(random),
        Flavour::Extended => extended(random).significand,
    }
}

/// Fills `bytes`, whose operand begins at `from`, with values of that flavour.
pub fn fill(random: &mut Random, flavour: Flavour, bytes: &mut [u8], from: usize) {
    bytes.fill_with(|| random.bits() as u8);
    let Some(operand) = bytes.get_mut(from..) else { return };
    if flavour == Flavour::Extended {
        for chunk in operand.chunks_mut(10) {
            let bytes = extended(random).to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        return;
    }
    for chunk in operand.chunks_mut(8) {
        chunk.copy_from_slice(&quadword(random, flavour).to_le_bytes()[..chunk.len()]);
    }
}
