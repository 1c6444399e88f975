//! Decimal and ASCII adjustments, as the manual's pseudo-code has them. SDM: vol. 2 DAA DAS AAA AAS AAM AAD.

use super::{
    Fate, Fates,
    adder::{Sum, add, subtract},
    bits::Bits,
};

/// AX after an adjustment, with the flags.
#[derive(Clone, Copy, Debug)]
pub struct Adjusted {
    /// AX.
    pub ax: u16,
    /// The flags.
    pub fates: Fates,
}

fn with_low(ax: u16, al: u8) -> u16 {
    ax & 0xff00 | u16::from(al)
}

/// A byte more, or less, with the carry or borrow out of it.
fn step(adjust: fn(Bits, Bits, bool) -> Sum, al: u8, by: u64) -> (u8, bool) {
    let sum = adjust(Bits::new(al.into(), 8), Bits::new(by, 8), false);
    (sum.result.value() as u8, sum.fates.cf == Fate::Is(true))
}

fn result_flags(al: u8, others: Fates) -> Fates {
    let (sf, zf, pf) = Bits::new(al.into(), 8).sign_zero_parity();
    Fates { sf, zf, pf, ..others }
}

/// DAA.
pub fn daa(ax: u16, carry: bool, adjust: bool) -> Adjusted {
    let old = ax as u8;
    let (mut al, mut af) = (old, false);
    if old & 0xf > 9 || adjust {
        (al, _) = step(add, al, 6);
        af = true;
    }
    // What the first half leaves in CF is overwritten by the second.
    let cf = old > 0x99 || carry;
    if cf {
        (al, _) = step(add, al, 0x60);
    }
    let fates = Fates { cf: Fate::Is(cf), af: Fate::Is(af), ..Fates::UNDEFINED };
    Adjusted { ax: with_low(ax, al), fates: result_flags(al, fates) }
}

/// DAS. A borrow of the first half stays, where the second half has none.
pub fn das(ax: u16, carry: bool, adjust: bool) -> Adjusted {
    let old = ax as u8;
    let (mut al, mut cf, mut af) = (old, false, false);
    if old & 0xf > 9 || adjust {
        let borrow;
        (al, borrow) = step(subtract, al, 6);
        cf = carry || borrow;
        af = true;
    }
    if old > 0x99 || carry {
        (al, _) = step(subtract, al, 0x60);
        cf = true;
    }
    let fates = Fates { cf: Fate::Is(cf), af: Fate::Is(af), ..Fates::UNDEFINED };
    Adjusted { ax: with_low(ax, al), fates: result_flags(al, fates) }
}

/// AAA: AX + 106H where a digit is too large, and the digit alone in AL.
pub fn aaa(ax: u16, adjust: bool) -> Adjusted {
    let is_large = ax & 0xf > 9 || adjust;
    let ax = if is_large { add(Bits::new(ax.into(), 16), Bits::new(0x106, 16), false).result.value() as u16 } else { ax };
    ascii(ax, is_large)
}

/// AAS: AX - 6, then AH - 1.
pub fn aas(ax: u16, adjust: bool) -> Adjusted {
    let is_large = ax & 0xf > 9 || adjust;
    let mut ax = ax;
    if is_large {
        ax = subtract(Bits::new(ax.into(), 16), Bits::new(6, 16), false).result.value() as u16;
        let (ah, _) = step(subtract, (ax >> 8) as u8, 1);
        ax = ax & 0xff | u16::from(ah) << 8;
    }
    ascii(ax, is_large)
}

fn ascii(ax: u16, is_large: bool) -> Adjusted {
    let fates = Fates { cf: Fate::Is(is_large), af: Fate::Is(is_large), ..Fates::UNDEFINED };
    Adjusted { ax: ax & 0xff0f, fates }
}

/// AAM: quotient and remainder of AL by counting. Nothing where the divisor is zero, which is #DE.
pub fn aam(ax: u16, divisor: u8) -> Option<Adjusted> {
    if divisor == 0 {
        return None;
    }
    let (mut quotient, mut rest) = (0_u16, ax as u8);
    while rest >= divisor {
        rest -= divisor;
        quotient += 1;
    }
    Some(Adjusted { ax: quotient << 8 | u16::from(rest), fates: result_flags(rest, Fates::UNDEFINED) })
}

/// AAD: AL + AH * factor, by adding as often.
pub fn aad(ax: u16, factor: u8) -> Adjusted {
    let mut al = ax as u8;
    for _ in 0..ax >> 8 {
        (al, _) = step(add, al, factor.into());
    }
    Adjusted { ax: al.into(), fates: result_flags(al, Fates::UNDEFINED) }
}
