//! What an instruction may touch, as the decoder's tables have it: registers by bytes, memory by addresses, flags.

use std::collections::BTreeMap;

use dragoman_state::{RFlags, VcpuState};
use iced_x86::{Instruction, InstructionInfoFactory, OpAccess, RflagsBits, UsedMemory};

use super::{
    memory::Span,
    place::{Bytes, Place},
};
use crate::operand::{address, counter, value};

/// How sure it is that something is read, and that it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// Bytes that are read.
    pub reads: Bytes,
    /// Bytes that may be read.
    pub may_read: Bytes,
    /// Bytes that are written.
    pub writes: Bytes,
    /// Bytes that may be written.
    pub may_write: Bytes,
}

/// A stretch of memory with its use.
#[derive(Clone, Copy, Debug)]
pub struct Operand {
    /// Where.
    pub span: Span,
    /// Every byte is read.
    pub is_read: bool,
    /// Bytes may be read.
    pub may_be_read: bool,
    /// Every byte is written.
    pub is_written: bool,
    /// Bytes may be written.
    pub may_be_written: bool,
}

/// What an instruction may touch.
pub struct Expected {
    /// Registers.
    pub places: BTreeMap<Place, Use>,
    /// Memory.
    pub operands: Vec<Operand>,
    /// Flags that are read.
    pub flags_read: u32,
    /// Flags whose value depends on the operands.
    pub flags_written: u32,
    /// Flags that become zero.
    pub flags_cleared: u32,
    /// Flags that become one.
    pub flags_set: u32,
    /// Flags that the manual leaves undefined.
    pub flags_undefined: u32,
}

const fn access(how: OpAccess) -> (bool, bool, bool, bool) {
    // Read, may be read, written, may be written.
    match how {
        OpAccess::None | OpAccess::NoMemAccess => (false, false, false, false),
        OpAccess::Read => (true, true, false, false),
        OpAccess::CondRead => (false, true, false, false),
        OpAccess::Write => (false, false, true, true),
        OpAccess::CondWrite => (false, false, false, true),
        OpAccess::ReadWrite => (true, true, true, true),
        OpAccess::ReadCondWrite => (true, true, false, true),
    }
}

impl Expected {
    /// Of `insn` in `state`, at its start.
    pub fn of(factory: &mut InstructionInfoFactory, insn: &Instruction, state: &VcpuState) -> Self {
        let info = factory.info(insn);
        let mut places: BTreeMap<Place, Use> = BTreeMap::new();
        for used in info.used_registers() {
            let Some((place, bytes)) = Place::of(used.register(), state.x87.top()) else { continue };
            let (is_read, may_be_read, is_written, may_be_written) = access(used.access());
            let entry = places.entry(place).or_default();
            let when = |is_it: bool| if is_it { bytes } else { 0 };
            entry.reads |= when(is_read);
            entry.may_read |= when(may_be_read);
            entry.writes |= when(is_written);
            entry.may_write |= when(may_be_written);
        }
        let operands = info.used_memory().iter().map(|memory| operand(memory, insn, state)).collect();
        Self {
            places,
            operands,
            flags_read: insn.rflags_read(),
            flags_written: insn.rflags_written(),
            flags_cleared: insn.rflags_cleared(),
            flags_set: insn.rflags_set(),
            flags_undefined: insn.rflags_undefined(),
        }
    }

    /// What becomes of `place`.
    pub fn use_of(&self, place: Place) -> Use {
        self.places.get(&place).copied().unwrap_or_default()
    }
}

fn operand(memory: &UsedMemory, insn: &Instruction, state: &VcpuState) -> Operand {
    let at = address(memory, state);
    let (is_read, may_be_read, is_written, may_be_written) = access(memory.access());
    let size = memory.memory_size().size() as u64;
    let span = if insn.is_string_instruction() && (insn.has_rep_prefix() || insn.has_repne_prefix()) {
        repeated(at, insn, state)
    } else {
        (at, at.wrapping_add(size))
    };
    Operand { span, is_read, may_be_read, is_written, may_be_written }
}

/// All elements of a repeated string instruction.
fn repeated(at: u64, insn: &Instruction, state: &VcpuState) -> Span {
    let size = insn.memory_size().size() as u64;
    let count = value(counter(insn), state);
    if state.rflags.contains(RFlags::DF) {
        (at.wrapping_sub(size * count.saturating_sub(1)), at.wrapping_add(if count == 0 { 0 } else { size }))
    } else {
        (at, at.wrapping_add(size * count))
    }
}

/// The flags that the decoder has names for, with their bit in RFLAGS, or from 32 up in the x87 status word.
pub const FLAGS: [(&str, u32, u32); 13] = [
    ("cf", RflagsBits::CF, 0),
    ("pf", RflagsBits::PF, 2),
    ("af", RflagsBits::AF, 4),
    ("zf", RflagsBits::ZF, 6),
    ("sf", RflagsBits::SF, 7),
    ("if", RflagsBits::IF, 9),
    ("df", RflagsBits::DF, 10),
    ("of", RflagsBits::OF, 11),
    ("ac", RflagsBits::AC, 18),
    ("c0", RflagsBits::C0, 32 + 8),
    ("c1", RflagsBits::C1, 32 + 9),
    ("c2", RflagsBits::C2, 32 + 10),
    ("c3", RflagsBits::C3, 32 + 14),
];

/// RFLAGS, with the x87 status word above them.
pub fn flag_word(state: &VcpuState) -> u64 {
    state.rflags.bits() & 0xffff_ffff | u64::from(state.x87.status.bits()) << 32
}

/// Inverts the flags in `mask`, a part of a [`flag_word`].
pub fn flip_flags(state: &mut VcpuState, mask: u64) {
    state.rflags = RFlags::from_bits_retain(state.rflags.bits() ^ mask & 0xffff_ffff);
    state.x87.status = dragoman_state::StatusWord::from_bits_retain(state.x87.status.bits() ^ (mask >> 32) as u16);
}
