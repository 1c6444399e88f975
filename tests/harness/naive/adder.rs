//! Sums and differences, one bit after another. SDM: vol. 2 ADD ADC SUB SBB CMP INC DEC NEG AND OR XOR TEST.

use super::{Fate, Fates, bits::Bits};

/// A sum or difference with its flags.
#[derive(Clone, Copy, Debug)]
pub struct Sum {
    /// The result.
    pub result: Bits,
    /// All six flags, as ADD and SUB set them.
    pub fates: Fates,
}

/// `a + b + carry`.
pub fn add(a: Bits, b: Bits, carry: bool) -> Sum {
    ripple(a, b, carry, |a, b, c| (a ^ b ^ c, a & b | a & c | b & c))
}

/// `a - b - borrow`.
pub fn subtract(a: Bits, b: Bits, borrow: bool) -> Sum {
    ripple(a, b, borrow, |a, b, c| (a ^ b ^ c, !a & b | !a & c | b & c))
}

/// Passes `carry` through one bit after another: each makes a bit of the result and the next carry.
fn ripple(a: Bits, b: Bits, carry: bool, step: impl Fn(bool, bool, bool) -> (bool, bool)) -> Sum {
    let mut result = Bits::zero(a.width());
    let (mut carry, mut out_of_3, mut into_last) = (carry, false, false);
    for n in 0..a.width() {
        if n == a.width() - 1 {
            into_last = carry;
        }
        let (bit, next) = step(a.bit(n), b.bit(n), carry);
        result.set(n, bit);
        carry = next;
        if n == 3 {
            out_of_3 = carry;
        }
    }
    let (sf, zf, pf) = result.sign_zero_parity();
    let fates = Fates { cf: Fate::Is(carry), pf, af: Fate::Is(out_of_3), zf, sf, of: Fate::Is(carry != into_last) };
    Sum { result, fates }
}

/// A result of AND, OR, XOR or TEST with its flags.
pub fn logic(a: Bits, b: Bits, of: impl Fn(bool, bool) -> bool) -> Sum {
    let result = a.zip(b, of);
    let (sf, zf, pf) = result.sign_zero_parity();
    let fates = Fates { cf: Fate::Is(false), pf, af: Fate::Undefined, zf, sf, of: Fate::Is(false) };
    Sum { result, fates }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_what_numbers_make() {
        for a in 0..256_u64 {
            for b in 0..256 {
                let (sum, difference) =
                    (add(Bits::new(a, 8), Bits::new(b, 8), true), subtract(Bits::new(a, 8), Bits::new(b, 8), true));
                let (signed_a, signed_b) = (i32::from(a as u8 as i8), i32::from(b as u8 as i8));
                assert_eq!(sum.result.value(), (a + b + 1) % 256);
                assert_eq!(sum.fates.cf, Fate::Is(a + b + 1 > 0xff));
                assert_eq!(sum.fates.of, Fate::Is(!(-128..128).contains(&(signed_a + signed_b + 1))));
                assert_eq!(sum.fates.af, Fate::Is(a % 16 + b % 16 + 1 > 15));
                assert_eq!(difference.result.value(), (255 + a - b) % 256);
                assert_eq!(difference.fates.cf, Fate::Is(a < b + 1));
                assert_eq!(difference.fates.of, Fate::Is(!(-128..128).contains(&(signed_a - signed_b - 1))));
                assert_eq!(difference.fates.af, Fate::Is(a % 16 < b % 16 + 1));
            }
        }
    }
}
