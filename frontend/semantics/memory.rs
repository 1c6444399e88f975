//! Memory as helpers reach it: through the instruction's segment, or through the stack's.

use dragoman_state::{Gpr, GuestVirt, VcpuState, Width};

use super::{Cpu, Privilege, segmentation};
use crate::{decode::Insn, fault::Fault};

/// The effective address of `insn`'s memory operand: an offset into its segment.
#[inline(always)]
pub fn effective_address(state: &VcpuState, insn: &Insn) -> u64 {
    let base = state.gpr[insn.base];
    let index = state.gpr[insn.index];
    insn.address_width.truncate(base.wrapping_add(index << insn.scale).wrapping_add(insn.displacement))
}

impl dyn Cpu + '_ {
    /// The linear address of `size` bytes at `insn`'s memory operand.
    pub(super) fn operand_address(&self, insn: &Insn, size: u64, is_write: bool) -> Result<GuestVirt, Fault> {
        self.operand_address_at(insn, 0, size, is_write)
    }

    /// The linear address of `size` bytes at `delta` bytes into `insn`'s memory operand.
    pub(super) fn operand_address_at(&self, insn: &Insn, delta: u64, size: u64, is_write: bool) -> Result<GuestVirt, Fault> {
        let offset = insn.address_width.truncate(effective_address(self.state(), insn).wrapping_add(delta));
        segmentation::canonical(self.state(), insn.segment, offset, size, is_write)
    }

    /// Reads `width` bits at `delta` bytes into `insn`'s memory operand.
    pub(super) fn read_operand(&mut self, insn: &Insn, delta: u64, width: Width) -> Result<u64, Fault> {
        let at = self.operand_address_at(insn, delta, width.bytes(), false)?;
        self.read(at, width, Privilege::Current)
    }

    /// Reads an integer register or memory operand at its own width.
    pub(super) fn read_integer(&mut self, insn: &Insn, n: usize) -> Result<u64, Fault> {
        let operand = insn.operands[n];
        if insn.is_memory(n) {
            return self.read_operand(insn, 0, operand.width);
        }
        Ok(operand.width.truncate(self.state().gpr[Gpr(operand.register)]))
    }

    /// Writes a general-purpose register as instructions do: 32 bits clear the upper half, fewer leave the rest.
    pub(super) fn write_gpr(&mut self, register: Gpr, width: Width, value: u64) {
        let slot = &mut self.state_mut().gpr[register];
        *slot = match width {
            Width::Dword | Width::Qword => width.truncate(value),
            Width::Byte | Width::Word => *slot & !width.mask() | width.truncate(value),
        };
    }

    /// Writes an integer register or memory operand at its own width.
    pub(super) fn write_integer(&mut self, insn: &Insn, n: usize, value: u64) -> Result<(), Fault> {
        let operand = insn.operands[n];
        if insn.is_memory(n) {
            let at = self.operand_address(insn, operand.width.bytes(), true)?;
            return self.write(at, operand.width, value, Privilege::Current);
        }
        self.write_gpr(Gpr(operand.register), operand.width, value);
        Ok(())
    }
}
