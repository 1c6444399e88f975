//! The words in which instructions are written, and which every engine speaks.

use dragoman_state::{Gpr, RFlags, Width};

use super::{BinaryOp, Cpu, FlagRule, FloatOp, FusedOp, ShiftOp, TernaryOp, UnaryOp, VectorOp};
use crate::{
    decode::{Condition, Insn, SegmentUse},
    fault::Fault,
};

/// The meaning of one opcode for one kind of machine.
pub type Handler<M> = fn(&mut M, &Insn) -> Result<(), Fault>;

/// The meaning of an instruction that is too long, too rare or too full of state to be written over values: plain code
/// over the processor's complete state. RIP is the next instruction's when it is called; where it returns a fault, it
/// has changed nothing.
pub type Helper = fn(&mut dyn Cpu, &Insn) -> Result<(), Fault>;

/// What an atomic read-modify-write does to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtomicOp {
    /// Memory becomes the operand.
    Exchange,
    /// Memory becomes what the operation makes of memory and the operand.
    Binary(BinaryOp),
    /// Memory becomes the operand less memory.
    ReverseSub,
}

/// An engine as instructions see it. The interpreter does each operation as it is asked for; others write it down, or
/// note what it touches. Values are integers of at most 64 bits, zero above the width they were made with.
pub trait Machine: Sized {
    /// An integer.
    type Val: Copy;
    /// A vector of 128 bits.
    type Vec: Copy;

    // Values

    /// `value` itself.
    fn constant(&mut self, value: u64) -> Self::Val;
    /// `a op b`, truncated to `width`.
    fn binary(&mut self, op: BinaryOp, width: Width, a: Self::Val, b: Self::Val) -> Self::Val;
    /// `op a`, truncated to `width`.
    fn unary(&mut self, op: UnaryOp, width: Width, a: Self::Val) -> Self::Val;
    /// `value` shifted by `count`, which is already masked. `extra` is the carry flag of a rotate through carry, or the
    /// bits that a double shift brings in.
    fn shift(&mut self, op: ShiftOp, width: Width, value: Self::Val, count: Self::Val, extra: Self::Val) -> Self::Val;
    /// `value`, an integer of width `from`, extended by its sign and truncated to `to`.
    fn sign_extend(&mut self, from: Width, to: Width, value: Self::Val) -> Self::Val;
    /// The low and high halves of the product of two integers.
    fn multiply(&mut self, is_signed: bool, width: Width, a: Self::Val, b: Self::Val) -> (Self::Val, Self::Val);
    /// Quotient and remainder of `high:low` by `divisor`; #DE where the divisor is zero or the quotient does not fit.
    fn divide(
        &mut self,
        is_signed: bool,
        width: Width,
        high: Self::Val,
        low: Self::Val,
        divisor: Self::Val,
    ) -> Result<(Self::Val, Self::Val), Fault>;
    /// One where `a` and `b` are equal, else zero.
    fn equal(&mut self, a: Self::Val, b: Self::Val) -> Self::Val;
    /// `a` where `condition` is not zero, else `b`.
    fn select(&mut self, condition: Self::Val, a: Self::Val, b: Self::Val) -> Self::Val;

    // Registers

    /// The low `width` bits of a register.
    fn gpr(&mut self, register: Gpr, width: Width) -> Self::Val;
    /// Writes the low `width` bits of a register: 32 bits clear the upper half, 8 and 16 leave the rest as it is.
    fn set_gpr(&mut self, register: Gpr, width: Width, value: Self::Val);
    /// Bits 8 to 15 of a register.
    fn high_byte(&mut self, register: Gpr) -> Self::Val;
    /// Writes bits 8 to 15 of a register.
    fn set_high_byte(&mut self, register: Gpr, value: Self::Val);
    /// The selector in a segment register.
    fn selector(&mut self, segment: u8) -> Self::Val;

    // Memory

    /// The effective address of `insn`'s memory operand: an offset into its segment.
    fn address(&mut self, insn: &Insn) -> Self::Val;
    /// Reads memory.
    fn load(&mut self, segment: SegmentUse, offset: Self::Val, width: Width) -> Result<Self::Val, Fault>;
    /// Reads memory that is about to be written: it must be writable too, and the fault is that of a write.
    fn load_to_modify(&mut self, segment: SegmentUse, offset: Self::Val, width: Width) -> Result<Self::Val, Fault>;
    /// Writes memory.
    fn store(&mut self, segment: SegmentUse, offset: Self::Val, width: Width, value: Self::Val) -> Result<(), Fault>;
    /// Reads and writes memory as one operation that no other processor can come between. Returns what was read.
    fn atomic(
        &mut self,
        op: AtomicOp,
        segment: SegmentUse,
        offset: Self::Val,
        width: Width,
        operand: Self::Val,
    ) -> Result<Self::Val, Fault>;
    /// Atomically writes `new` where memory equals `expected`, and writes back what it holds where not. Returns what was
    /// read.
    fn compare_exchange(
        &mut self,
        segment: SegmentUse,
        offset: Self::Val,
        width: Width,
        expected: Self::Val,
        new: Self::Val,
    ) -> Result<Self::Val, Fault>;
    /// Orders every access before against every access after.
    fn fence(&mut self);

    // Flags

    /// Sets the flags as `rule` makes them of an operation's operands and result.
    fn set_flags(&mut self, rule: FlagRule, width: Width, a: Self::Val, b: Self::Val, result: Self::Val);
    /// One flag, as zero or one.
    fn flag(&mut self, flag: RFlags) -> Self::Val;
    /// All of RFLAGS.
    fn flags(&mut self) -> Self::Val;
    /// Replaces the flags in `mask` by those of `image`.
    fn replace_flags(&mut self, mask: RFlags, image: Self::Val);
    /// One where `condition` holds, else zero.
    fn condition(&mut self, condition: Condition) -> Self::Val;

    // Control

    /// The offset in the code segment of the instruction after `insn`.
    fn next_ip(&mut self, insn: &Insn) -> Self::Val;
    /// The offset in the code segment that a relative branch names.
    fn branch_target(&mut self, insn: &Insn) -> Self::Val;
    /// #GP(0) where `target` cannot be jumped to: not canonical, or past the code segment's limit.
    fn check_target(&mut self, target: Self::Val) -> Result<(), Fault>;
    /// Goes on at `target`, which was checked. The last act of a block.
    fn jump(&mut self, target: Self::Val);
    /// Goes on at `target` where `condition` is not zero. The last act of a block.
    fn branch(&mut self, condition: Self::Val, target: Self::Val) -> Result<(), Fault>;

    // Vectors

    /// Bits `128 * part` and up of vector register `register`.
    fn vector(&mut self, register: u8, part: usize) -> Self::Vec;
    /// Writes bits `128 * part` to `128 * part + 127` of a vector register; the others keep their values.
    fn set_vector(&mut self, register: u8, part: usize, value: Self::Vec);
    /// Reads `N` times sixteen bytes, as one operand; #GP(0) where the linear address is not a multiple of `alignment`,
    /// a power of two.
    fn load_vector<const N: usize>(
        &mut self,
        segment: SegmentUse,
        offset: Self::Val,
        alignment: u64,
    ) -> Result<[Self::Vec; N], Fault>;
    /// Writes `N` times sixteen bytes, all or none, under the same rule.
    fn store_vector<const N: usize>(
        &mut self,
        segment: SegmentUse,
        offset: Self::Val,
        alignment: u64,
        value: [Self::Vec; N],
    ) -> Result<(), Fault>;
    /// An operation on integer lanes.
    fn vector_op(&mut self, op: VectorOp, a: Self::Vec, b: Self::Vec) -> Self::Vec;
    /// An operation on integer lanes of three operands.
    fn ternary_op(&mut self, op: TernaryOp, a: Self::Vec, b: Self::Vec, c: Self::Vec) -> Self::Vec;
    /// An operation on the floating-point lanes of one instruction, in all its parts: MXCSR takes up their exceptions
    /// together, and where one of them is not masked the instruction is #XM.
    fn float_op<const N: usize>(&mut self, op: FloatOp, a: [Self::Vec; N], b: [Self::Vec; N]) -> Result<[Self::Vec; N], Fault>;
    /// Fused multiplications and additions of an instruction's lanes, under the same rule.
    fn fused_op<const N: usize>(
        &mut self,
        op: FusedOp,
        a: [Self::Vec; N],
        b: [Self::Vec; N],
        c: [Self::Vec; N],
    ) -> Result<[Self::Vec; N], Fault>;
    /// A vector of two quadwords.
    fn vector_of(&mut self, low: Self::Val, high: Self::Val) -> Self::Vec;
    /// Quadword `n` of a vector: 0 or 1.
    fn quadword(&mut self, vector: Self::Vec, n: usize) -> Self::Val;
    /// #MF where an x87 exception is pending: the first act of every MMX instruction.
    fn begin_mmx(&mut self) -> Result<(), Fault>;
    /// An MMX register.
    fn mmx(&mut self, register: u8) -> Self::Val;
    /// Writes an MMX register.
    fn set_mmx(&mut self, register: u8, value: Self::Val);
    /// The x87 registers are MMX registers from now on: the last act of every MMX instruction.
    fn end_mmx(&mut self);

    /// Runs a helper on the complete state.
    fn call_helper(&mut self, helper: Helper, insn: &Insn) -> Result<(), Fault>;
}
