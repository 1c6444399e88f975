//! Fields and strings of bits, one bit after another. SDM: vol. 2 ANDN BEXTR BLSI BLSMSK BLSR BZHI PDEP PEXT CRC32.

use super::{Fate, Fates, adder::subtract, bits::Bits};

/// A result with its flags.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    /// The result.
    pub result: Bits,
    /// The flags.
    pub fates: Fates,
}

/// `result` with the flags that all of BMI1 and BZHI have in common.
fn made(result: Bits, carry: bool) -> Made {
    let (sf, zf, _) = result.sign_zero_parity();
    Made { result, fates: Fates { cf: Fate::Is(carry), zf, sf, of: Fate::Is(false), ..Fates::UNDEFINED } }
}

/// ANDN.
pub fn and_not(inverted: Bits, other: Bits) -> Made {
    made(inverted.zip(other, |a, b| !a & b), false)
}

/// BEXTR, which says nothing of SF.
pub fn field(source: Bits, control: Bits) -> Made {
    let (start, length) = (control.part(0, 8).value() as u32, control.part(8, 8).value() as u32);
    let mut result = Bits::zero(source.width());
    for n in 0..source.width() {
        result.set(n, n < length && start + n < source.width() && source.bit(start + n));
    }
    let made = made(result, false);
    Made { fates: Fates { sf: Fate::Undefined, ..made.fates }, ..made }
}

/// BZHI.
pub fn zero_high(source: Bits, index: Bits) -> Made {
    let index = index.part(0, 8).value() as u32;
    let mut result = source;
    for n in 0..source.width() {
        if n >= index {
            result.set(n, false);
        }
    }
    made(result, index > source.width() - 1)
}

/// BLSI: carry says that there is a bit.
pub fn lowest_alone(source: Bits) -> Made {
    let negative = subtract(Bits::zero(source.width()), source, false).result;
    made(negative.zip(source, |a, b| a & b), !source.is_zero())
}

/// BLSMSK and BLSR: `combine` is made of the source and one less; carry says that there is no bit.
pub fn with_one_less(source: Bits, combine: impl Fn(bool, bool) -> bool) -> Made {
    let less = subtract(source, Bits::new(1, source.width()), false).result;
    made(less.zip(source, combine), source.is_zero())
}

/// PDEP.
pub fn deposit(source: Bits, mask: Bits) -> Bits {
    let (mut result, mut next) = (Bits::zero(source.width()), 0);
    for n in 0..source.width() {
        if mask.bit(n) {
            result.set(n, source.bit(next));
            next += 1;
        }
    }
    result
}

/// PEXT.
pub fn extract(source: Bits, mask: Bits) -> Bits {
    let (mut result, mut next) = (Bits::zero(source.width()), 0);
    for n in 0..source.width() {
        if mask.bit(n) {
            result.set(next, source.bit(n));
            next += 1;
        }
    }
    result
}

fn reflected(bits: Bits) -> Bits {
    let mut result = Bits::zero(bits.width());
    for n in 0..bits.width() {
        result.set(n, bits.bit(bits.width() - 1 - n));
    }
    result
}

/// `bits`, `count` places up in as many more.
fn raised(bits: Bits, count: u32) -> Bits {
    let mut result = Bits::zero(bits.width() + count);
    for n in 0..bits.width() {
        result.set(n + count, bits.bit(n));
    }
    result
}

/// CRC32: the remainder of a long division without carries.
pub fn checksum(sum: Bits, data: Bits) -> Bits {
    const POLYNOMIAL: u64 = 0x1_1edc_6f41;
    let divisor = Bits::new(POLYNOMIAL, 33);
    let (data, sum) = (raised(reflected(data), 32), raised(reflected(sum), data.width()));
    let mut rest = data.zip(sum, |a, b| a ^ b);
    for high in (32..rest.width()).rev() {
        if rest.bit(high) {
            for n in 0..33 {
                rest.set(high - 32 + n, rest.bit(high - 32 + n) ^ divisor.bit(n));
            }
        }
    }
    reflected(rest.part(0, 32))
}
