//! Operands by number: the one place that knows where an operand can be.

use dragoman_state::{Gpr, Width};

use super::Machine;
use crate::{
    decode::{Insn, Kind},
    fault::Fault,
};

impl Insn {
    /// Reads integer operand `n`, at its own width.
    #[inline(always)]
    pub(super) fn read<M: Machine>(&self, m: &mut M, n: usize) -> Result<M::Val, Fault> {
        let operand = self.operands[n];
        Ok(match operand.kind {
            Kind::Gpr => m.gpr(Gpr(operand.register), operand.width),
            Kind::Immediate => m.constant(self.immediate),
            Kind::Memory => {
                let at = m.address(self);
                return m.load(self.segment, at, operand.width);
            }
            Kind::HighByte => m.high_byte(Gpr(operand.register)),
            Kind::Segment => m.selector(operand.register),
            Kind::None | Kind::Control | Kind::Debug | Kind::X87 | Kind::Mmx | Kind::Vector | Kind::Opmask => m.constant(0),
        })
    }

    /// Reads integer operand `n`, which is about to be written.
    #[inline(always)]
    pub(super) fn read_to_modify<M: Machine>(&self, m: &mut M, n: usize) -> Result<M::Val, Fault> {
        if self.is_memory(n) {
            let at = m.address(self);
            return m.load_to_modify(self.segment, at, self.operands[n].width);
        }
        self.read(m, n)
    }

    /// Writes integer operand `n`, at its own width.
    #[inline(always)]
    pub(super) fn write<M: Machine>(&self, m: &mut M, n: usize, value: M::Val) -> Result<(), Fault> {
        let operand = self.operands[n];
        match operand.kind {
            Kind::Gpr => m.set_gpr(Gpr(operand.register), operand.width, value),
            Kind::Memory => {
                let at = m.address(self);
                return m.store(self.segment, at, operand.width, value);
            }
            Kind::HighByte => m.set_high_byte(Gpr(operand.register), value),
            Kind::None
            | Kind::Immediate
            | Kind::Segment
            | Kind::Control
            | Kind::Debug
            | Kind::X87
            | Kind::Mmx
            | Kind::Vector
            | Kind::Opmask => {}
        }
        Ok(())
    }

    /// Pushes `value` at `width`: memory first, then the stack pointer.
    #[inline(always)]
    pub(super) fn push<M: Machine>(&self, m: &mut M, width: Width, value: M::Val) -> Result<(), Fault> {
        let below = self.stack_below(m, width.bytes());
        m.store(self.stack_segment, below, width, value)?;
        m.set_gpr(Gpr::RSP, self.stack_width, below);
        Ok(())
    }

    /// The stack pointer less `bytes`.
    #[inline(always)]
    pub(super) fn stack_below<M: Machine>(&self, m: &mut M, bytes: u64) -> M::Val {
        let (top, size) = (m.gpr(Gpr::RSP, self.stack_width), m.constant(bytes));
        m.binary(super::BinaryOp::Sub, self.stack_width, top, size)
    }

    /// The value at the top of the stack, and the stack pointer that popping it and `more` bytes leaves. The caller
    /// writes the stack pointer once nothing can fault any more.
    #[inline(always)]
    pub(super) fn pop<M: Machine>(&self, m: &mut M, width: Width, more: u64) -> Result<(M::Val, M::Val), Fault> {
        let top = m.gpr(Gpr::RSP, self.stack_width);
        let value = m.load(self.stack_segment, top, width)?;
        let size = m.constant(width.bytes() + more);
        Ok((value, m.binary(super::BinaryOp::Add, self.stack_width, top, size)))
    }
}
