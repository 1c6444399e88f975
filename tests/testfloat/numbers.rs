//! Numbers as TestFloat writes them: hexadecimal digits, sign and exponent first.
//!
//! Rule of this file: a value of any kind travels as its encoding in the low bits of a u128.

use dragoman_float::{F16, F32, F64, F80, Format, Integer};

/// A kind of number that stands in TestFloat's names of functions.
pub trait Encoded: Copy {
    /// From its encoding.
    fn decoded(bits: u128) -> Self;
    /// Its encoding.
    fn encoded(self) -> u128;
}

macro_rules! encoded {
    ($($kind:ty: $wrap:expr, $unwrap:expr;)*) => {$(
        impl Encoded for $kind {
            fn decoded(bits: u128) -> Self {
                $wrap(bits as _)
            }

            fn encoded(self) -> u128 {
                $unwrap(self)
            }
        }
    )*};
}

encoded! {
    F16: F16, |number: F16| number.0.into();
    F32: F32, |number: F32| number.0.into();
    F64: F64, |number: F64| number.0.into();
    u32: |bits: u32| bits, u128::from;
    u64: |bits: u64| bits, u128::from;
    i32: |bits: u32| bits as i32, |integer: i32| u128::from(integer as u32);
    i64: |bits: u64| bits as i64, |integer: i64| u128::from(integer as u64);
}

impl Encoded for F80 {
    fn decoded(bits: u128) -> Self {
        Self { significand: bits as u64, sign_exponent: (bits >> 64) as u16 }
    }

    fn encoded(self) -> u128 {
        u128::from(self.sign_exponent) << 64 | u128::from(self.significand)
    }
}

/// A floating-point format.
pub trait Float: Encoded + Format {}

impl<F: Encoded + Format> Float for F {}

/// An integer type.
pub trait Whole: Encoded + Integer {}

impl<I: Encoded + Integer> Whole for I {}
