//! Faults as data. A guest's fault is a normal outcome, and it travels on the hot path, so it is one machine word.
//! SDM: vol. 3 §6.3.1 (sources), §6.13 (error codes), §6.15 (each vector).

use std::{fmt, num::NonZeroU64};

/// An exception that an instruction raised: a vector and, for some vectors, an error code. A page fault's address is
/// kept in [`Events::page_fault_address`](dragoman_state::Events); delivery moves it to CR2.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fault(NonZeroU64);

/// The exception vectors that the processor itself raises.
#[expect(missing_docs, reason = "the manual's own names say all there is to say")]
pub mod vector {
    pub const DE: u8 = 0;
    pub const DB: u8 = 1;
    pub const NMI: u8 = 2;
    pub const BP: u8 = 3;
    pub const OF: u8 = 4;
    pub const BR: u8 = 5;
    pub const UD: u8 = 6;
    pub const NM: u8 = 7;
    pub const DF: u8 = 8;
    pub const TS: u8 = 10;
    pub const NP: u8 = 11;
    pub const SS: u8 = 12;
    pub const GP: u8 = 13;
    pub const PF: u8 = 14;
    pub const MF: u8 = 16;
    pub const AC: u8 = 17;
    pub const MC: u8 = 18;
    pub const XM: u8 = 19;
}

const HAS_ERROR: u64 = 1 << 8;
const IS_TRAP: u64 = 1 << 9;
const IS_FREEZE: u64 = 1 << 10;
const MARK: u64 = 1 << 63;

#[expect(missing_docs, reason = "each constructor is the manual's mnemonic for its vector")]
impl Fault {
    pub const DE: Self = Self::plain(vector::DE);
    pub const DB: Self = Self::plain(vector::DB);
    pub const BR: Self = Self::plain(vector::BR);
    pub const UD: Self = Self::plain(vector::UD);
    pub const NM: Self = Self::plain(vector::NM);
    pub const MF: Self = Self::plain(vector::MF);
    pub const XM: Self = Self::plain(vector::XM);
    /// #GP(0), by far the most common error code.
    pub const GP0: Self = Self::gp(0);
    /// No exception: the processor stands still before the instruction until an interrupt comes, because of an x87 error that
    /// the board reports. SDM: vol. 1 §D.2.1.
    pub const FREEZE: Self = Self::pack(IS_FREEZE);
    /// #AC always has the error code zero.
    pub const AC: Self = Self::with_error(vector::AC, 0);

    pub const fn gp(error: u16) -> Self {
        Self::with_error(vector::GP, error as u32)
    }
    pub const fn ss(error: u16) -> Self {
        Self::with_error(vector::SS, error as u32)
    }
    pub const fn np(error: u16) -> Self {
        Self::with_error(vector::NP, error as u32)
    }
    pub const fn ts(error: u16) -> Self {
        Self::with_error(vector::TS, error as u32)
    }
    pub const fn pf(error: u32) -> Self {
        Self::with_error(vector::PF, error)
    }
}

impl Fault {
    /// Exception `vector` without an error code.
    pub const fn plain(vector: u8) -> Self {
        Self::pack(vector as u64)
    }

    /// Exception `vector` with an error code.
    pub const fn with_error(vector: u8, error: u32) -> Self {
        Self::pack(vector as u64 | HAS_ERROR | (error as u64) << 16)
    }

    /// Exception `vector` raised after its instruction is complete: the saved RIP is the next instruction's.
    pub const fn trap(vector: u8) -> Self {
        Self::pack(vector as u64 | IS_TRAP)
    }

    const fn pack(bits: u64) -> Self {
        match NonZeroU64::new(bits | MARK) {
            Some(word) => Self(word),
            None => unreachable!(),
        }
    }

    /// The exception's vector.
    pub const fn vector(self) -> u8 {
        self.0.get() as u8
    }

    /// The error code, where the exception has one.
    pub const fn error(self) -> Option<u32> {
        if self.0.get() & HAS_ERROR != 0 { Some((self.0.get() >> 16) as u32) } else { None }
    }

    /// Whether the instruction that raised it is complete.
    pub const fn is_trap(self) -> bool {
        self.0.get() & IS_TRAP != 0
    }

    /// Whether it is [`Fault::FREEZE`].
    pub const fn is_freeze(self) -> bool {
        self.0.get() & IS_FREEZE != 0
    }

    /// The manual's mnemonic for the vector, without its number sign.
    pub const fn mnemonic(self) -> &'static str {
        match self.vector() {
            vector::DE => "DE",
            vector::DB => "DB",
            vector::NMI => "NMI",
            vector::BP => "BP",
            vector::OF => "OF",
            vector::BR => "BR",
            vector::UD => "UD",
            vector::NM => "NM",
            vector::DF => "DF",
            vector::TS => "TS",
            vector::NP => "NP",
            vector::SS => "SS",
            vector::GP => "GP",
            vector::PF => "PF",
            vector::MF => "MF",
            vector::AC => "AC",
            vector::MC => "MC",
            vector::XM => "XM",
            _ => "INT",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.error() {
            Some(error) => write!(f, "#{}({error:#x})", self.mnemonic()),
            None => write!(f, "#{}", self.mnemonic()),
        }
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}{}", if self.is_trap() { " (trap)" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_costs_no_more_than_a_word_on_the_way_out() {
        assert_eq!(size_of::<Result<(), Fault>>(), 8);
        assert_eq!(Fault::gp(0x28).to_string(), "#GP(0x28)");
        assert_eq!((Fault::DE.vector(), Fault::DE.error()), (0, None));
        assert_eq!((Fault::pf(7).vector(), Fault::pf(7).error()), (14, Some(7)));
    }
}
