//! Bits found and counted by looking at one after another. SDM: vol. 2 BSF BSR TZCNT LZCNT POPCNT.

use super::{Fate, Fates, bits::Bits};

/// What is found in an operand. `result` is nothing where the manual leaves it undefined.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// The result.
    pub result: Option<u32>,
    /// The flags.
    pub fates: Fates,
}

fn lowest_set(source: Bits) -> Option<u32> {
    (0..source.width()).find(|n| source.bit(*n))
}

fn highest_set(source: Bits) -> Option<u32> {
    (0..source.width()).rev().find(|n| source.bit(*n))
}

/// BSF, or BSR.
pub fn scan(source: Bits, is_forward: bool) -> Found {
    let result = if is_forward { lowest_set(source) } else { highest_set(source) };
    Found { result, fates: Fates { zf: Fate::Is(result.is_none()), ..Fates::UNDEFINED } }
}

/// TZCNT, or LZCNT.
pub fn zeros(source: Bits, is_trailing: bool) -> Found {
    let width = source.width();
    let count = if is_trailing {
        lowest_set(source).unwrap_or(width)
    } else {
        highest_set(source).map_or(width, |highest| width - 1 - highest)
    };
    Found { result: Some(count), fates: Fates { cf: Fate::Is(count == width), zf: Fate::Is(count == 0), ..Fates::UNDEFINED } }
}

/// POPCNT.
pub fn population(source: Bits) -> Found {
    let count = (0..source.width()).filter(|n| source.bit(*n)).count() as u32;
    let cleared = Fate::Is(false);
    let fates = Fates { cf: cleared, pf: cleared, af: cleared, zf: Fate::Is(count == 0), sf: cleared, of: cleared };
    Found { result: Some(count), fates }
}
