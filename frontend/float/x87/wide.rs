//! Arithmetic for the transcendental functions: numbers of 128 bits, power series, and the processor's ways of losing bits.
//!
//! Rule of this file: nothing is rounded. An operation cuts its result and sets the lowest bit where it cut off anything, so
//! that it adds at most one unit of 2^-127 to the relative errors of its operands. Against that the processor computes with
//! 67 bits, which shows in a result of 64 in one case out of ten to a hundred. Measured on Intel's: it cuts intermediate
//! results, and it adds to a function's value in the middle of an interval, tabulated, what the argument's distance from there
//! makes of it. Doing both where they weigh most leaves a case in some hundreds that differs, by one unit in the last place.

use crate::arithmetic::finite_sum;
use crate::round::Exact;

/// Bits that the processor's own intermediate results have, and that its constants are rounded to.
const INTERNAL_BITS: u32 = 67;

impl Exact {
    pub const ONE: Self = Self { sign: false, exponent: 0, significand: 1 << 127 };

    pub fn times(self, other: Self) -> Self {
        let (high, low) = multiply(self.significand, other.significand);
        let exponent = self.exponent + other.exponent;
        let (exponent, high, low) =
            if high >> 127 != 0 { (exponent + 1, high, low) } else { (exponent, high << 1 | low >> 127, low << 1) };
        Self { sign: self.sign != other.sign, exponent, significand: high | u128::from(low != 0) }
    }

    pub fn over(self, other: Self) -> Self {
        let less = self.significand < other.significand;
        let rest = if less { self.significand } else { self.significand - other.significand };
        let (quotient, inexact) = divide(rest, other.significand);
        let (quotient, inexact) =
            if less { (quotient, inexact) } else { (1 << 127 | quotient >> 1, inexact || quotient & 1 != 0) };
        let exponent = self.exponent - other.exponent - i32::from(less);
        Self { sign: self.sign != other.sign, exponent, significand: quotient | u128::from(inexact) }
    }

    /// The sum; `None` where it is zero. The lowest bits of the operands do not count.
    pub fn plus(self, other: Self) -> Option<Self> {
        finite_sum(self, other)
    }

    pub fn negated_if(self, condition: bool) -> Self {
        Self { sign: self.sign != condition, ..self }
    }

    pub fn negated(self) -> Self {
        self.negated_if(true)
    }

    /// Cut to the bits that the processor would have had.
    pub fn cut(self) -> Self {
        Self { significand: self.significand >> (128 - INTERNAL_BITS) << (128 - INTERNAL_BITS), ..self }
    }

    /// The middle of those numbers that begin with the same bit and the `bits` after it.
    pub fn middle(self, bits: u32) -> Self {
        Self { significand: self.significand >> (127 - bits) << (127 - bits) | 1 << (126 - bits), ..self }
    }

    /// What the processor makes of a value of a function that it has tabulated as `entry` nearby.
    pub fn tabulated(self, entry: Self) -> Self {
        let entry_as_held = entry.rounded();
        self.plus(entry.negated()).and_then(|rest| entry_as_held.plus(rest.cut())).unwrap_or(entry_as_held)
    }

    /// A constant rounded to the bits that the processor has of it; it may not begin with as many ones.
    pub const fn rounded(self) -> Self {
        let half = 1 << (127 - INTERNAL_BITS);
        Self { significand: (self.significand + half) >> (128 - INTERNAL_BITS) << (128 - INTERNAL_BITS), ..self }
    }

    /// The magnitude of a number below one, in units of 2^-128.
    fn fraction(self) -> u128 {
        self.significand.checked_shr((-1 - self.exponent) as u32).unwrap_or(0)
    }

    pub fn squared(self) -> Self {
        self.times(self)
    }
}

/// The two halves of a product.
fn multiply(a: u128, b: u128) -> (u128, u128) {
    const LOW: u128 = u64::MAX as u128;
    let (a1, a0, b1, b0) = (a >> 64, a & LOW, b >> 64, b & LOW);
    let first = a0 * b0;
    let second = a1 * b0 + (first >> 64);
    let third = a0 * b1 + (second & LOW);
    (a1 * b1 + (second >> 64) + (third >> 64), third << 64 | first & LOW)
}

/// 2^128 × n / d, and whether there is a remainder, for n below d and the highest bit of d set.
fn divide(n: u128, d: u128) -> (u128, bool) {
    const LOW: u128 = u64::MAX as u128;
    let (d1, d0) = (d >> 64, d & LOW);
    let (mut quotient, mut rest) = (0, n);
    for _ in 0..2 {
        // A digit of 64 bits is guessed by the divisor's upper half and comes out too great by two at most.
        let mut digit = (rest / d1).min(LOW);
        let mut high = rest - digit * d1;
        while high <= LOW && high << 64 < digit * d0 {
            digit -= 1;
            high += d1;
        }
        quotient = quotient << 64 | digit;
        rest = (high << 64).wrapping_sub(digit * d0);
    }
    (quotient, rest != 0)
}

const COEFFICIENTS: usize = 52;

/// 1/n! in units of 2^-127.
pub const INVERSE_FACTORIALS: [u128; COEFFICIENTS] = {
    let mut table = [1 << 127; COEFFICIENTS];
    let mut n = 1;
    while n < COEFFICIENTS {
        table[n] = table[n - 1] / n as u128;
        n += 1;
    }
    table
};

/// 1/n in units of 2^-127; nothing of zero.
pub const INVERSES: [u128; COEFFICIENTS] = {
    let mut table = [0; COEFFICIENTS];
    let mut n = 1;
    while n < COEFFICIENTS {
        table[n] = (1 << 127) / n as u128;
        n += 1;
    }
    table
};

/// How the terms of a series follow each other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Terms {
    Added,
    Alternating,
}

/// c₀ ± c₁z + c₂z² ± … for |z| below one, the coefficients being every `step`-th from `first` to `last`. An alternating sum
/// stays below its first term and a sum of positive terms does not fall below it, however small z is.
pub fn series(coefficients: &[u128], (first, step, last): (usize, usize, usize), z: Exact, terms: Terms) -> Exact {
    let z = z.fraction();
    let chosen = coefficients.get(first..=last).unwrap_or_default().iter().step_by(step);
    let sum = chosen.rev().fold(0, |sum, coefficient| {
        let (rest, _) = multiply(z, sum);
        match terms {
            Terms::Added => coefficient + rest,
            Terms::Alternating => coefficient - rest - 1,
        }
    });
    Exact::normalized(false, 0, sum).unwrap_or(Exact::ONE)
}
