//! The unit while an instruction works with it: a copy of its registers, and what the arithmetic is told and tells.
//! SDM: vol. 1 §8.1 (registers), §8.5.1 (stack faults), §8.1.8 (the pointers).

use dragoman_float::{Environment, Exceptions, F32, F64, F80, convert, from_integer};
use dragoman_state::{SegmentIndex, StatusWord, VcpuState, Width, X87State};

use super::{
    super::{Cpu, effective_address},
    check_pending, follow_summary,
};
use crate::{
    decode::{Insn, Kind},
    fault::Fault,
    model::Feature,
};

/// The number that stands for the result of a masked invalid operation.
pub(super) const INDEFINITE: F80 = F80 { significand: 0xc000_0000_0000_0000, sign_exponent: 0xffff };

/// The unit at work.
pub(super) struct Unit {
    /// Its registers.
    pub x87: X87State,
    /// Rounding, precision and masks; exceptions.
    pub env: Environment,
}

/// A source operand, in the format it has.
#[derive(Clone, Copy)]
pub(super) enum Source {
    /// A stack register.
    Register(F80),
    /// Single precision in memory.
    Single(F32),
    /// Double precision in memory.
    Double(F64),
    /// An integer in memory.
    Integer(i64),
}

impl Source {
    /// Its value in extended precision, which every format has; nothing is raised, and a signalling NaN becomes quiet.
    pub fn exact(self) -> F80 {
        let mut quiet = Environment::default();
        match self {
            Self::Register(value) => value,
            Self::Single(value) => convert(value, &mut quiet),
            Self::Double(value) => convert(value, &mut quiet),
            Self::Integer(value) => from_integer(value, &mut quiet),
        }
    }
}

impl Unit {
    /// Begins an instruction that waits for exceptions of earlier ones.
    pub fn begin(cpu: &mut dyn Cpu) -> Result<Self, Fault> {
        check_pending(cpu)?;
        Ok(Self::begin_no_wait(cpu))
    }

    /// Begins an instruction that does not wait.
    pub fn begin_no_wait(cpu: &dyn Cpu) -> Self {
        let x87 = cpu.state().x87;
        Self { env: Environment::from_x87(x87.control, x87.status), x87 }
    }

    fn physical(&self, n: u8) -> usize {
        (self.x87.top() + usize::from(n)) % 8
    }

    /// Whether ST(n) is empty.
    pub fn is_empty(&self, n: u8) -> bool {
        self.x87.valid >> self.physical(n) & 1 == 0
    }

    /// What ST(n) holds, empty or not.
    pub fn raw(&self, n: u8) -> F80 {
        self.x87.registers[self.physical(n)]
    }

    /// ST(n), unless it is empty.
    pub fn st(&self, n: u8) -> Option<F80> {
        (!self.is_empty(n)).then(|| self.raw(n))
    }

    /// Writes ST(n).
    pub fn set(&mut self, n: u8, value: F80) {
        let register = self.physical(n);
        self.x87.registers[register] = value;
        self.x87.valid |= 1 << register;
    }

    /// Marks ST(n) as empty.
    pub fn free(&mut self, n: u8) {
        self.x87.valid &= !(1 << self.physical(n));
    }

    /// Drops ST(0).
    pub fn pop(&mut self) {
        self.free(0);
        self.x87.set_top(self.x87.top() + 1);
    }

    /// Makes room for a new ST(0) and writes it; the caller has seen that there is room.
    pub fn push(&mut self, value: F80) {
        self.x87.set_top(self.x87.top() + 7);
        self.set(0, value);
    }

    /// Whether a push finds room.
    pub fn has_room(&self) -> bool {
        self.is_empty(7)
    }

    /// An operand is missing: a stack fault, which is an invalid operation. Whether the instruction goes on with the
    /// indefinite value in its stead.
    pub fn underflow(&mut self) -> bool {
        self.stack_fault(false)
    }

    /// A push finds no room. Whether it is done all the same, with the indefinite value.
    pub fn overflow(&mut self) -> bool {
        self.stack_fault(true)
    }

    fn stack_fault(&mut self, is_overflow: bool) -> bool {
        self.x87.status |= StatusWord::SF;
        self.env.raised |= Exceptions::INVALID;
        self.env.c1 = false;
        let goes_on = self.retire_is_clean();
        self.x87.status.set(StatusWord::C1, is_overflow);
        goes_on
    }

    /// Records the exceptions. Whether a register may be written: none of the operands' exceptions is unmasked.
    pub fn retire_is_clean(&mut self) -> bool {
        !self.retire().intersects(Exceptions::BEFORE_COMPUTATION)
    }

    /// Records the exceptions. Whether memory may be written.
    pub fn retire_may_store(&mut self) -> bool {
        !self.retire().intersects(Exceptions::BEFORE_STORE)
    }

    /// Records the exceptions. Those that are not masked.
    pub fn retire(&mut self) -> Exceptions {
        self.env.retire_x87(&mut self.x87.status)
    }

    /// Replaces ST(n) by a result, unless an exception forbids it; whether it did.
    pub fn finish_result(&mut self, n: u8, value: F80) -> bool {
        let is_clean = self.retire_is_clean();
        if is_clean {
            self.set(n, value);
        }
        is_clean
    }

    /// Puts the unit back after an instruction that counts as the last one: its pointers are remembered.
    pub fn commit(mut self, cpu: &mut dyn Cpu, i: &Insn) {
        self.remember(cpu, i);
        cpu.state_mut().x87 = self.x87;
    }

    /// Puts the unit back after a control instruction, which is not remembered.
    pub fn commit_control(self, cpu: &mut dyn Cpu) {
        cpu.state_mut().x87 = self.x87;
        follow_summary(cpu);
    }

    /// The address of the instruction is always remembered; newer processors remember its opcode and its operand's
    /// address only where an exception is to be handled, and no selectors.
    fn remember(&mut self, cpu: &dyn Cpu, i: &Insn) {
        let state = cpu.state();
        let start = state.rip.wrapping_sub(i.length.into());
        self.x87.instruction_pointer = if state.is_64bit() { start } else { start & 0xffff_ffff };
        let keeps_selectors = !cpu.model().has(Feature::ZeroFcsFds) && !state.is_64bit();
        let selector = |index| if keeps_selectors { state.segments[index as usize].selector } else { 0 };
        self.x87.instruction_selector = selector(SegmentIndex::Cs);
        let is_pending = self.x87.status.contains(StatusWord::ES);
        if !cpu.model().has(Feature::FdpExceptionOnly) || is_pending {
            self.x87.opcode = i.immediate as u16 & 0x7ff;
            if (0..2).any(|n| i.is_memory(n)) {
                self.x87.data_pointer = data_address(state, i);
                self.x87.data_selector = selector(i.segment.index());
            }
        }
    }
}

/// The address of the memory operand as the unit remembers it: linear in 64-bit mode, else an offset.
fn data_address(state: &VcpuState, i: &Insn) -> u64 {
    let offset = effective_address(state, i);
    if !state.is_64bit() || i.segment.is_flat() {
        return offset;
    }
    state.segment(i.segment.index()).base.wrapping_add(offset)
}

/// Reads the memory operand of an arithmetic or load instruction, whose format `is_integer` and its size tell.
pub(super) fn read_memory(cpu: &mut dyn Cpu, i: &Insn, is_integer: bool) -> Result<Source, Fault> {
    let width = Width::from_bytes(i.memory_size.into()).unwrap_or(Width::Qword);
    let bits = cpu.read_operand(i, 0, width)?;
    Ok(match (is_integer, width) {
        (true, _) => Source::Integer(width.sign_extend(bits) as i64),
        (false, Width::Dword) => Source::Single(F32(bits as u32)),
        (false, _) => Source::Double(F64(bits)),
    })
}

/// The stack registers that operands 0 and 1 name; ST(0) where an operand is memory or implied.
pub(super) fn registers(i: &Insn) -> (u8, u8) {
    let register = |n: usize| if i.operands[n].kind == Kind::X87 { i.operands[n].register } else { 0 };
    (register(0), register(1))
}
