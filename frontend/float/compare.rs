//! Comparison, minimum and maximum.
//!
//! Rule of this file: infinities are numbers, zeros of either sign are equal, and NaNs and unsupported encodings compare
//! with nothing. Only whether a quiet NaN raises invalid operation distinguishes the two comparisons.
//! SDM: vol. 1 §8.3.6, Table 8-6 (condition codes); vol. 2 CMPPS Table 3-1, COMISS, UCOMISS, FCOM, FUCOM, FCOMI, MINPS.

use std::cmp::Ordering;

use dragoman_state::{RFlags, StatusWord};

use crate::arithmetic::note_denormals;
use crate::environment::{Environment, Exceptions};
use crate::format::{Class, Format, Interchange, Operand};

/// How a first operand relates to a second one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It is less.
    Less,
    /// They are equal.
    Equal,
    /// It is greater.
    Greater,
    /// One of them is not a number.
    Unordered,
}

impl Relation {
    /// C3, C2 and C0 as FCOM leaves them; C1 is clear.
    pub const fn condition_codes(self) -> StatusWord {
        match self {
            Self::Less => StatusWord::C0,
            Self::Equal => StatusWord::C3,
            Self::Greater => StatusWord::empty(),
            Self::Unordered => StatusWord::C3.union(StatusWord::C2).union(StatusWord::C0),
        }
    }

    /// ZF, PF and CF as COMISS and FCOMI leave them; OF, SF and AF are clear.
    pub const fn flags(self) -> RFlags {
        match self {
            Self::Less => RFlags::CF,
            Self::Equal => RFlags::ZF,
            Self::Greater => RFlags::empty(),
            Self::Unordered => RFlags::ZF.union(RFlags::PF).union(RFlags::CF),
        }
    }
}

/// Compares; any NaN is an invalid operation. COMISS, FCOM, FCOMI. The x87's instructions record the outcome in condition
/// codes or flags even where an exception is not masked; only their pop is withheld then.
pub fn compare(a: impl Format, b: impl Format, env: &mut Environment) -> Relation {
    relate(env.operand(a), env.operand(b), true, env)
}

/// Compares; only a signalling NaN or unsupported encoding is an invalid operation. UCOMISS, FUCOM, FUCOMI. Otherwise as
/// [`compare`].
pub fn compare_quiet(a: impl Format, b: impl Format, env: &mut Environment) -> Relation {
    relate(env.operand(a), env.operand(b), false, env)
}

fn relate(a: Operand, b: Operand, signalling: bool, env: &mut Environment) -> Relation {
    if !a.is_number() || !b.is_number() {
        if signalling || a.class != Class::Quiet && !a.is_number() || b.class != Class::Quiet && !b.is_number() {
            env.raise(Exceptions::INVALID);
        }
        return Relation::Unordered;
    }
    note_denormals(a, b, env);
    let rank = |x: Operand| {
        let magnitude = match x.class {
            Class::Zero => return (0, 0, 0),
            Class::Infinity => (i32::MAX, 0),
            _ => (x.exponent, x.significand),
        };
        (if x.sign { -1 } else { 1 }, magnitude.0, magnitude.1)
    };
    let ((a_sign, a_exponent, a_significand), (b_sign, b_exponent, b_significand)) = (rank(a), rank(b));
    let magnitudes = (a_exponent, a_significand).cmp(&(b_exponent, b_significand));
    match a_sign.cmp(&b_sign).then(if a.sign { magnitudes.reverse() } else { magnitudes }) {
        Ordering::Less => Relation::Less,
        Ordering::Equal => Relation::Equal,
        Ordering::Greater => Relation::Greater,
    }
}

/// One of the 32 comparisons of CMPPS and its relatives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Predicate(u8);

impl Predicate {
    /// From the low five bits of the immediate; SSE encodings use only three.
    pub const fn from_immediate(immediate: u8) -> Self {
        Self(immediate & 0x1f)
    }

    /// Whether the comparison of a with b holds.
    pub fn holds(self, a: impl Format, b: impl Format, env: &mut Environment) -> bool {
        const LESS: u8 = 1 << Relation::Less as u8;
        const EQUAL: u8 = 1 << Relation::Equal as u8;
        const GREATER: u8 = 1 << Relation::Greater as u8;
        const UNORDERED: u8 = 1 << Relation::Unordered as u8;
        #[rustfmt::skip] // a table: the manual's mnemonic of each, in the order of the immediate
        const HOLDS: [u8; 16] = [
            EQUAL,                      // EQ
            LESS,                       // LT
            LESS | EQUAL,               // LE
            UNORDERED,                  // UNORD
            LESS | GREATER | UNORDERED, // NEQ
            EQUAL | GREATER | UNORDERED,// NLT
            GREATER | UNORDERED,        // NLE
            LESS | EQUAL | GREATER,     // ORD
            EQUAL | UNORDERED,          // EQ_U
            LESS | UNORDERED,           // NGE
            LESS | EQUAL | UNORDERED,   // NGT
            0,                          // FALSE
            LESS | GREATER,             // NEQ_O
            EQUAL | GREATER,            // GE
            GREATER,                    // GT
            LESS | EQUAL | GREATER | UNORDERED, // TRUE
        ];
        let orders = matches!(self.0 & 3, 1 | 2);
        let flipped = self.0 & 0x10 != 0;
        let relation = relate(env.operand(a), env.operand(b), orders != flipped, env);
        HOLDS[usize::from(self.0 & 0xf)] >> relation as u8 & 1 != 0
    }
}

/// The lesser; b where both are zero or either is a NaN, and then b as it is, be it signalling.
pub fn min<F: Interchange>(a: F, b: F, env: &mut Environment) -> F {
    if compare(a, b, env) == Relation::Less { env.taken(a) } else { env.taken(b) }
}

/// The greater; b where both are zero or either is a NaN, and then b as it is, be it signalling.
pub fn max<F: Interchange>(a: F, b: F, env: &mut Environment) -> F {
    if compare(a, b, env) == Relation::Greater { env.taken(a) } else { env.taken(b) }
}

impl Environment {
    /// An operand delivered unchanged, but for DAZ.
    fn taken<F: Format>(&self, number: F) -> F {
        let operand = self.operand(number);
        if operand.class == Class::Zero { crate::format::zero(operand.sign) } else { number }
    }
}
