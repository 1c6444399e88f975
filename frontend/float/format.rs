//! The number formats, and taking an encoding apart.
//!
//! Rule of this file: it is the only one that knows encodings. Everywhere else a number is an [`Operand`], and what
//! distinguishes one format from another is the constants of [`Format`].
//! SDM: vol. 1 §4.2.2 (formats), §4.8.3 (encodings), §8.2.2 (unsupported encodings of the x87).

use dragoman_state::F80;

use crate::environment::Environment;
use crate::host::HostNumber;

/// Half precision, as its encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct F16(pub u16);

/// Single precision, as its encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct F32(pub u32);

/// Double precision, as its encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct F64(pub u64);

/// One of the four binary formats: [`F16`], [`F32`], [`F64`], [`F80`]. Every operation takes operands of any formats and
/// delivers a result of any format, rounded once.
pub trait Format: Copy + Sealed {
    /// Bits of the significand, the leading one included.
    const PRECISION: u32;
    /// Bits of the exponent.
    const EXPONENT_BITS: u32;
    /// The x87's format and with it the x87's rules: which NaN survives, precision control, denormal operands reported.
    const EXTENDED: bool = false;
    /// MXCSR's DAZ and FTZ apply.
    const DENORMAL_CONTROL: bool;

    /// What is added to the exponent in the encoding.
    const BIAS: i32 = (1 << (Self::EXPONENT_BITS - 1)) - 1;
    /// The largest exponent of a finite number.
    const MAX_EXPONENT: i32 = Self::BIAS;
    /// The smallest exponent of a normal number.
    const MIN_EXPONENT: i32 = 1 - Self::BIAS;
}

/// A format whose leading bit is implied: all but [`F80`].
pub trait Interchange: Format {}

/// An encoding in three parts, alike for all formats.
#[derive(Clone, Copy)]
pub struct Fields {
    pub(crate) sign: bool,
    /// The exponent's field.
    pub(crate) biased: i32,
    /// Left-aligned, integer bit explicit.
    pub(crate) significand: u64,
}

/// Keeps [`Format`] to this crate's four.
pub trait Sealed: Sized {
    /// Takes the encoding apart.
    fn split(self) -> Fields;
    /// Puts an encoding together; bits of the significand that the format has no room for are dropped.
    fn join(fields: Fields) -> Self;
    /// As a type that the host computes with, if it has one.
    fn to_host(self) -> Option<HostNumber> {
        None
    }
    /// From that type.
    fn from_host(_: HostNumber) -> Option<Self> {
        None
    }
}

macro_rules! interchange {
    ($($name:ident: $bits:ty, precision $precision:literal, exponent $exponent:literal, denormal control $daz:literal $(, host $host:ident($float:ty))?;)*) => {$(
        impl Format for $name {
            const PRECISION: u32 = $precision;
            const EXPONENT_BITS: u32 = $exponent;
            const DENORMAL_CONTROL: bool = $daz;
        }

        impl Interchange for $name {}

        impl Sealed for $name {
            #[inline]
            fn split(self) -> Fields {
                let biased = (self.0 >> ($precision - 1)) as i32 & ((1 << $exponent) - 1);
                let fraction = u64::from(self.0) << (64 - $precision) & !INTEGER_BIT;
                let sign = self.0 >> ($precision - 1 + $exponent) != 0;
                Fields { sign, biased, significand: u64::from(biased != 0) << 63 | fraction }
            }

            #[inline]
            fn join(f: Fields) -> Self {
                let fraction = (f.significand & !INTEGER_BIT) >> (64 - $precision);
                let head = <$bits>::from(f.sign) << $exponent | f.biased as $bits;
                Self(head << ($precision - 1) | fraction as $bits)
            }

            $(
                #[inline]
                fn to_host(self) -> Option<HostNumber> {
                    Some(HostNumber::$host(<$float>::from_bits(self.0)))
                }

                #[inline]
                fn from_host(number: HostNumber) -> Option<Self> {
                    if let HostNumber::$host(number) = number { Some(Self(number.to_bits())) } else { None }
                }
            )?
        }
    )*};
}

interchange! {
    F16: u16, precision 11, exponent 5, denormal control false;
    F32: u32, precision 24, exponent 8, denormal control true, host Single(f32);
    F64: u64, precision 53, exponent 11, denormal control true, host Double(f64);
}

impl Format for F80 {
    const PRECISION: u32 = 64;
    const EXPONENT_BITS: u32 = 15;
    const EXTENDED: bool = true;
    const DENORMAL_CONTROL: bool = false;
}

impl Sealed for F80 {
    #[inline]
    fn split(self) -> Fields {
        Fields {
            sign: self.sign_exponent >> 15 != 0,
            biased: i32::from(self.sign_exponent & 0x7fff),
            significand: self.significand,
        }
    }

    #[inline]
    fn join(f: Fields) -> Self {
        Self { significand: f.significand, sign_exponent: u16::from(f.sign) << 15 | f.biased as u16 }
    }
}

/// The leading bit of a normal significand.
pub(crate) const INTEGER_BIT: u64 = 1 << 63;
/// What tells a quiet NaN from a signalling one.
pub(crate) const QUIET_BIT: u64 = 1 << 62;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Zero,
    Finite,
    Infinity,
    Quiet,
    Signalling,
    /// An encoding of the x87 that stands for nothing: pseudo-NaN, pseudo-infinity, unnormal.
    Unsupported,
}

/// A number taken apart. A finite one is significand × 2^(exponent - 63) with the significand's leading bit set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operand {
    pub class: Class,
    pub sign: bool,
    /// Was encoded as a denormal or pseudo-denormal.
    pub denormal: bool,
    pub exponent: i32,
    /// Of a NaN, its payload left-aligned with the integer and quiet bits as encoded.
    pub significand: u64,
}

impl Operand {
    #[inline]
    pub fn new<F: Format>(number: F) -> Self {
        let Fields { sign, biased, significand } = number.split();
        let (class, denormal, exponent, significand) = if biased == 0 {
            match significand.leading_zeros() {
                64 => (Class::Zero, false, 0, 0),
                zeros => (Class::Finite, true, F::MIN_EXPONENT - zeros as i32, significand << zeros),
            }
        } else if significand < INTEGER_BIT {
            (Class::Unsupported, false, 0, significand)
        } else if biased <= F::MAX_EXPONENT + F::BIAS {
            (Class::Finite, false, biased - F::BIAS, significand)
        } else if significand == INTEGER_BIT {
            (Class::Infinity, false, 0, significand)
        } else if significand & QUIET_BIT != 0 {
            (Class::Quiet, false, 0, significand)
        } else {
            (Class::Signalling, false, 0, significand)
        };
        Self { class, sign, denormal, exponent, significand }
    }

    /// Zero, finite or infinite.
    #[inline]
    pub fn is_number(&self) -> bool {
        matches!(self.class, Class::Zero | Class::Finite | Class::Infinity)
    }

    pub fn is_nan(&self) -> bool {
        matches!(self.class, Class::Quiet | Class::Signalling)
    }
}

impl Environment {
    /// Takes an operand apart, as DAZ would have it.
    #[inline]
    pub(crate) fn operand<F: Format>(&self, number: F) -> Operand {
        let operand = Operand::new(number);
        if F::DENORMAL_CONTROL && self.denormals_are_zero && operand.denormal {
            return Operand { class: Class::Zero, denormal: false, exponent: 0, significand: 0, ..operand };
        }
        operand
    }
}

pub(crate) fn zero<R: Format>(sign: bool) -> R {
    R::join(Fields { sign, biased: 0, significand: 0 })
}

pub(crate) fn infinity<R: Format>(sign: bool) -> R {
    R::join(Fields { sign, biased: R::MAX_EXPONENT + R::BIAS + 1, significand: INTEGER_BIT })
}
