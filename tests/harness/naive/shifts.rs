//! Shifts and rotates, one place at a time, after the manual's loops. SDM: vol. 2 SAL/SAR/SHL/SHR, RCL/RCR/ROL/ROR, SHLD, SHRD.

use super::{Fate, Fates, bits::Bits};

/// Which way, and what comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shift {
    Shl,
    Shr,
    Sar,
    Rol,
    Ror,
    Rcl,
    Rcr,
}

/// A shifted operand. `result` is nothing where the manual leaves it undefined.
#[derive(Clone, Copy, Debug)]
pub struct Shifted {
    /// The result.
    pub result: Option<Bits>,
    /// The flags.
    pub fates: Fates,
}

/// How much of a count an operand of `width` bits is shifted by.
fn masked(count: u8, width: u32) -> u32 {
    u32::from(count & if width == 64 { 0x3f } else { 0x1f })
}

/// Only a shift by one defines the overflow flag.
fn overflow(count: u32, value: bool) -> Fate {
    if count == 1 { Fate::Is(value) } else { Fate::Undefined }
}

/// `operand` shifted by `count`, with `carry` the carry flag before.
pub fn shift(how: Shift, operand: Bits, count: u8, carry: bool) -> Shifted {
    let count = masked(count, operand.width());
    if count == 0 {
        return Shifted { result: Some(operand), fates: Fates::KEPT };
    }
    match how {
        Shift::Shl | Shift::Shr | Shift::Sar => plain(how, operand, count, carry),
        Shift::Rol | Shift::Ror => rotate(how, operand, count),
        Shift::Rcl | Shift::Rcr => rotate_through_carry(how, operand, count, carry),
    }
}

fn plain(how: Shift, operand: Bits, count: u32, carry: bool) -> Shifted {
    let (mut result, mut carry) = (operand, carry);
    for _ in 0..count {
        carry = match how {
            Shift::Shl => result.push_up(false),
            Shift::Sar => result.push_down(result.highest()),
            _ => result.push_down(false),
        };
    }
    let of = match how {
        Shift::Shl => result.highest() != carry,
        Shift::Sar => false,
        _ => operand.highest(),
    };
    // Where as many places are shifted as there are, the manual leaves the carry of SHL and SHR open.
    let is_open = how != Shift::Sar && count >= operand.width();
    let (sf, zf, pf) = result.sign_zero_parity();
    let cf = if is_open { Fate::Undefined } else { Fate::Is(carry) };
    Shifted { result: Some(result), fates: Fates { cf, pf, af: Fate::Undefined, zf, sf, of: overflow(count, of) } }
}

fn rotate(how: Shift, operand: Bits, count: u32) -> Shifted {
    let mut result = operand;
    for _ in 0..count % operand.width() {
        if how == Shift::Rol {
            result.push_up(result.highest());
        } else {
            result.push_down(result.lowest());
        }
    }
    let (carry, of) = if how == Shift::Rol {
        (result.lowest(), result.highest() != result.lowest())
    } else {
        (result.highest(), result.highest() != result.bit(result.width() - 2))
    };
    Shifted { result: Some(result), fates: Fates { cf: Fate::Is(carry), of: overflow(count, of), ..Fates::KEPT } }
}

fn rotate_through_carry(how: Shift, operand: Bits, count: u32, carry: bool) -> Shifted {
    let (mut result, mut carry) = (operand, carry);
    // Of a right rotate, the overflow flag is made before anything moves.
    let before = operand.highest() != carry;
    for _ in 0..count % (operand.width() + 1) {
        carry = if how == Shift::Rcl { result.push_up(carry) } else { result.push_down(carry) };
    }
    let of = if how == Shift::Rcl { result.highest() != carry } else { before };
    Shifted { result: Some(result), fates: Fates { cf: Fate::Is(carry), of: overflow(count, of), ..Fates::KEPT } }
}

/// SHLD, or SHRD: `operand` shifted by `count` with the bits of `source` coming in.
pub fn double(is_left: bool, operand: Bits, source: Bits, count: u8) -> Shifted {
    let count = masked(count, operand.width());
    if count == 0 {
        return Shifted { result: Some(operand), fates: Fates::KEPT };
    }
    if count > operand.width() {
        return Shifted { result: None, fates: Fates::UNDEFINED };
    }
    let (mut result, mut source, mut carry) = (operand, source, false);
    for _ in 0..count {
        carry = if is_left { result.push_up(source.push_up(false)) } else { result.push_down(source.push_down(false)) };
    }
    let (sf, zf, pf) = result.sign_zero_parity();
    let of = overflow(count, result.highest() != operand.highest());
    Shifted { result: Some(result), fates: Fates { cf: Fate::Is(carry), pf, af: Fate::Undefined, zf, sf, of } }
}
