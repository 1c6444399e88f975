//! One decoded instruction, in the form that engines keep: small, free of the decoder's types, and holding nothing
//! that depends on where in the address space it runs.

use bitflags::bitflags;
use dragoman_state::{Gpr, SegmentIndex, Width};
use iced_x86::Code;

/// Which row of the tables an instruction belongs to: the decoder's code, or one of the outcomes that replace an
/// instruction which must not run.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Opcode(u16);

impl Opcode {
    /// How many codes the decoder knows.
    pub(crate) const CODES: usize = 4936;
    /// The size of a table with a row for each opcode.
    pub const COUNT: usize = Self::CODES + 2;
    /// Raises #UD.
    pub const UNDEFINED: Self = Self(Code::INVALID as u16);
    /// Raises #NM.
    pub const NO_MATH: Self = Self(Self::CODES as u16);
    /// Raises #GP(0).
    pub const PROTECTION: Self = Self(Self::CODES as u16 + 1);

    /// The opcode of one of the decoder's codes.
    pub const fn of(code: Code) -> Self {
        Self(code as u16)
    }

    /// The row's number, below [`Opcode::COUNT`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl std::fmt::Debug for Opcode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match Code::try_from(self.index()) {
            Ok(code) => write!(f, "{code:?}"),
            Err(_) => write!(f, "refused({})", self.index() - Self::CODES),
        }
    }
}

/// What kind of thing an operand is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Kind {
    /// There is no such operand, or the instruction implies it.
    #[default]
    None,
    /// The low bits of a general-purpose register.
    Gpr,
    /// AH, CH, DH or BH: bits 8 to 15 of registers 0 to 3.
    HighByte,
    /// Memory at the instruction's address.
    Memory,
    /// The instruction's immediate, or the target of a relative branch.
    Immediate,
    /// A segment register.
    Segment,
    /// A control register.
    Control,
    /// A debug register.
    Debug,
    /// An x87 stack register.
    X87,
    /// An MMX register.
    Mmx,
    /// A vector register; the operand's size says how much of it.
    Vector,
    /// An opmask register.
    Opmask,
}

/// One operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Operand {
    /// What it is.
    pub kind: Kind,
    /// The number of the register, where it is one; of memory: of the vector register that is its index.
    pub register: u8,
    /// The width of an integer operand.
    pub width: Width,
}

/// How an access reaches linear memory: through which segment, and how much of the segment's machinery it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct SegmentUse(u8);

impl SegmentUse {
    const BASED: u8 = 8;
    const CHECKED: u8 = 16;

    /// The offset is the linear address.
    pub const fn flat(index: SegmentIndex) -> Self {
        Self(index as u8)
    }

    /// The segment's base is added, and nothing is checked: FS and GS in 64-bit mode.
    pub const fn based(index: SegmentIndex) -> Self {
        Self(index as u8 | Self::BASED)
    }

    /// Type, limit and presence are checked at every access and the base is added.
    pub const fn checked(index: SegmentIndex) -> Self {
        Self(index as u8 | Self::CHECKED)
    }

    /// The segment register.
    #[inline]
    pub const fn index(self) -> SegmentIndex {
        SegmentIndex::ALL[(self.0 & 7) as usize % 6]
    }

    /// Whether the offset is the linear address and nothing is to be checked.
    #[inline(always)]
    pub const fn is_flat(self) -> bool {
        self.0 < Self::BASED
    }

    /// Whether limit, type and presence are to be checked.
    #[inline(always)]
    pub const fn is_checked(self) -> bool {
        self.0 & Self::CHECKED != 0
    }
}

/// The condition that Jcc, SETcc and CMOVcc encode in their low four bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
#[expect(missing_docs, reason = "the manual's own names say all there is to say")]
pub enum Condition {
    #[default]
    O = 0,
    No = 1,
    B = 2,
    Ae = 3,
    E = 4,
    Ne = 5,
    Be = 6,
    A = 7,
    S = 8,
    Ns = 9,
    P = 10,
    Np = 11,
    L = 12,
    Ge = 13,
    Le = 14,
    G = 15,
}

impl Condition {
    /// All sixteen, by number.
    pub const ALL: [Self; 16] = {
        use Condition::*;
        [O, No, B, Ae, E, Ne, Be, A, S, Ns, P, Np, L, Ge, Le, G]
    };
}

bitflags! {
    /// Prefixes that change what an instruction does rather than what it operates on.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    #[repr(transparent)]
    pub struct InsnFlags: u8 {
        /// LOCK, on a form that allows it.
        const LOCK = 1 << 0;
        /// F3: REP or REPE.
        const REP = 1 << 1;
        /// F2: REPNE.
        const REPNE = 1 << 2;
        /// VEX: vector registers are written whole, zeros above; memory need not be aligned.
        const VEX = 1 << 3;
        /// VEX.L: 256 bits.
        const WIDE = 1 << 4;
    }
}

/// A decoded instruction.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Insn {
    /// Immediate, zero- or sign-extended as the instruction wants it and truncated to the operand's width. Of a relative
    /// branch: the target as an offset from the block's first byte. Of a far pointer: selector in bits 32 to 47. Where
    /// there are two: the second in bits 16 to 23 (ENTER) or 8 to 15.
    pub immediate: u64,
    /// Displacement of the memory operand, sign-extended; from the block's first byte where the base is
    /// [`Gpr::BLOCK`].
    pub displacement: u64,
    /// The table row.
    pub opcode: Opcode,
    /// Offset of the first byte from the block's first byte.
    pub start: u16,
    /// Length in bytes, 1 to 15.
    pub length: u8,
    /// Width of the operation: of the first operand, or the effective operand size.
    pub width: Width,
    /// Effective address size.
    pub address_width: Width,
    /// Prefixes.
    pub flags: InsnFlags,
    /// Up to four operands, destination first.
    pub operands: [Operand; 4],
    /// Base register of the memory operand; [`Gpr::ZERO`] where there is none.
    pub base: Gpr,
    /// Index register; [`Gpr::ZERO`] where there is none.
    pub index: Gpr,
    /// Binary logarithm of the index's factor.
    pub scale: u8,
    /// Segment of the memory operand, or of a string instruction's source.
    pub segment: SegmentUse,
    /// How wide the stack pointer is.
    pub stack_width: Width,
    /// How the stack is reached.
    pub stack_segment: SegmentUse,
    /// Size of the memory operand in bytes; 0 where it has none or none is fixed.
    pub memory_size: u8,
    /// The condition, where the instruction has one.
    pub condition: Condition,
}

impl Insn {
    /// The offset of the byte after the instruction from the block's first byte.
    #[inline(always)]
    pub const fn end(&self) -> u64 {
        self.start as u64 + self.length as u64
    }

    /// Whether the instruction has a LOCK prefix.
    #[inline(always)]
    pub const fn is_locked(&self) -> bool {
        self.flags.contains(InsnFlags::LOCK)
    }

    /// Whether a string instruction is repeated.
    #[inline(always)]
    pub const fn is_repeated(&self) -> bool {
        self.flags.intersects(InsnFlags::REP.union(InsnFlags::REPNE))
    }

    /// Whether the instruction has a VEX prefix.
    #[inline(always)]
    pub const fn is_vex(&self) -> bool {
        self.flags.contains(InsnFlags::VEX)
    }

    /// Whether it works on 256 bits.
    #[inline(always)]
    pub const fn is_wide(&self) -> bool {
        self.flags.contains(InsnFlags::WIDE)
    }

    /// Whether operand `n` is in memory.
    #[inline(always)]
    pub const fn is_memory(&self, n: usize) -> bool {
        matches!(self.operands[n].kind, Kind::Memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_row_for_every_code() {
        assert_eq!(Code::values().len(), Opcode::CODES);
        assert_eq!(format!("{:?}", Opcode::of(Code::Adc_rm8_r8)), "Adc_rm8_r8");
    }

    #[test]
    fn an_instruction_fits_a_cache_line() {
        assert!(size_of::<Insn>() <= 48, "{}", size_of::<Insn>());
    }
}
