//! Where a 286 need not agree with the processors after it: tests that cannot be compared, and bits of
//! registers that are not.
//!
//! Rule of this file: the later processors' manual is ours. What stands here is either something that it says differently,
//! or something that it leaves undefined; each condition names that, and never a test.

use dragoman_state::RFlags;
use iced_x86::{Decoder, DecoderOptions, Instruction, InstructionInfoFactory, Mnemonic, OpKind, Register, UsedMemory};

use super::moo::{CX, DI, FLAGS, NAMES, SI, Test};
use crate::generate::arithmetic_flags;

/// The vector of an invalid opcode.
const UD: u8 = 6;
/// The vector of a general-protection fault.
const GP: u8 = 13;
/// The longest instruction of a 286, in bytes.
const LONGEST: usize = 10;

/// SI, DI and CX of a string instruction that faults: a 286 leaves them as after the element that faults, later processors
/// as before it.
const INDEX_AFTER_FAULT: u64 = 0xffff;

/// A way in which a 286 differs.
struct Difference {
    /// How, in a sentence.
    reason: &'static str,
    /// Whether it shows in a test of the instruction.
    shows: fn(&Test, &Instruction) -> bool,
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        reason: "LOCK is taken with every instruction; later it is #UD unless the instruction allows it and changes memory",
        shows: |test, insn| insn.has_lock_prefix() && !may_lock(insn) && !raises(test, UD),
    },
    Difference {
        reason: "an instruction of more than 10 bytes is #GP; later 15 are allowed",
        shows: |test, insn| raises(test, GP) && insn.len() > LONGEST,
    },
    Difference {
        reason: "FS and GS are not there yet, and MOV with them is #UD",
        shows: |test, insn| raises(test, UD) && [insn.op0_register(), insn.op1_register()].iter().any(is_later_segment),
    },
    Difference {
        reason: "an operand that runs past the end of the stack segment is #GP in real mode; later it is #SS",
        shows: |test, insn| raises(test, GP) && passes_stack_end(test, insn),
    },
];

/// Why `test` cannot be compared, where it cannot: what a 286 does, and what is done later.
pub fn reason(test: &Test) -> Option<&'static str> {
    let insn = decode(test);
    DIFFERENCES.iter().find(|difference| (difference.shows)(test, &insn)).map(|difference| difference.reason)
}

/// Whether the instruction of `test` is a string instruction that is repeated.
pub fn is_repeated(test: &Test) -> bool {
    let insn = decode(test);
    insn.is_string_instruction() && (insn.has_rep_prefix() || insn.has_repne_prefix())
}

/// The bits of register `n` that are compared at the end of `test`: not what the file or the manual calls undefined, and not
/// what a 286 does in its own way to that register alone.
pub fn compared_bits(test: &Test, n: usize) -> u64 {
    let insn = decode(test);
    let ignored = match n {
        FLAGS => undefined_flags(test, &insn).bits() | not_loaded(&insn),
        CX | SI | DI if raises(test, GP) && insn.is_string_instruction() => INDEX_AFTER_FAULT,
        _ => 0,
    };
    !(ignored | u64::from(!test.defined_bits(n)))
}

/// The bits of FLAGS that the instruction loads, and that a 286 keeps clear in real mode: later processors load NT and IOPL.
fn not_loaded(insn: &Instruction) -> u64 {
    if matches!(insn.mnemonic(), Mnemonic::Popf | Mnemonic::Iret) { (RFlags::NT | RFlags::IOPL).bits() } else { 0 }
}

/// The instruction of `test`, LOCK where it may not be and all.
fn decode(test: &Test) -> Instruction {
    Decoder::new(16, &test.code, DecoderOptions::NO_INVALID_CHECK).decode()
}

fn raises(test: &Test, vector: u8) -> bool {
    test.exception == Some(vector)
}

/// Whether a later processor takes LOCK with the instruction.
fn may_lock(insn: &Instruction) -> bool {
    insn.op_code().can_use_lock_prefix() && insn.op0_kind() == OpKind::Memory
}

fn is_later_segment(register: &Register) -> bool {
    matches!(register, Register::FS | Register::GS)
}

/// Whether the instruction accesses memory that begins within the stack segment and ends beyond it.
fn passes_stack_end(test: &Test, insn: &Instruction) -> bool {
    const LIMIT: usize = 0xffff;
    InstructionInfoFactory::new().info(insn).used_memory().iter().any(|memory| {
        let end = offset(test, memory) + memory.memory_size().size();
        memory.segment() == Register::SS && end > LIMIT + 1
    })
}

/// The offset at which `memory` begins.
fn offset(test: &Test, memory: &UsedMemory) -> usize {
    let register = |register: Register| {
        let name = format!("{register:?}").to_ascii_lowercase();
        NAMES.iter().position(|known| *known == name).map_or(0, |n| test.at_start(n))
    };
    register(memory.base()).wrapping_add(register(memory.index())).wrapping_add(memory.displacement() as u16).into()
}

/// The flags that the instruction of `test` leaves undefined. SDM: vol. 2, each instruction's own page.
fn undefined_flags(test: &Test, insn: &Instruction) -> RFlags {
    use Mnemonic as M;
    let undefined = arithmetic_flags(insn.rflags_undefined());
    let is_shift = matches!(insn.mnemonic(), M::Shl | M::Sal | M::Shr | M::Sar);
    if !is_shift && !matches!(insn.mnemonic(), M::Rol | M::Ror | M::Rcl | M::Rcr) {
        return undefined;
    }
    let is_by_register = insn.op1_kind() == OpKind::Register;
    let count = if is_by_register { test.at_start(CX) as u8 } else { insn.immediate8() } & 0x1f;
    let size = if insn.op0_kind() == OpKind::Memory { insn.memory_size().size() } else { insn.op0_register().size() };
    let is_all_out = matches!(insn.mnemonic(), M::Shl | M::Sal | M::Shr) && usize::from(count) >= 8 * size;
    let carry = if is_all_out { RFlags::CF } else { RFlags::empty() };
    match count {
        0 => RFlags::empty(),
        1 => undefined.difference(RFlags::OF),
        _ => undefined | RFlags::OF | carry,
    }
}
