//! A case with the state that it is put on.

use dragoman_state::VcpuState;
use iced_x86::Instruction;

use crate::{
    case::Case,
    generate::{Stage, operand_at},
};

/// A case, to be changed.
pub struct CaseOnState<'a> {
    /// The case.
    pub case: &'a mut Case,
    /// What it does not set.
    pub state: &'a VcpuState,
}

impl Stage for CaseOnState<'_> {
    fn state(&self) -> &VcpuState {
        self.state
    }

    fn gpr(&self, n: usize) -> u64 {
        self.case.registers.gpr[n]
    }

    fn set_gpr(&mut self, n: usize, value: u64) {
        self.case.registers.gpr[n] = value & self.case.mode.register_mask();
    }

    fn poke(&mut self, at: u64, bytes: &[u8]) {
        for (n, byte) in bytes.iter().enumerate() {
            let at = at.wrapping_add(n as u64);
            let window = self.case.windows().find(|window| at.wrapping_sub(window.at) < u64::from(window.length));
            if let Some(window) = window {
                self.case.memory[(u64::from(window.from) + at - window.at) as usize] = *byte;
            }
        }
    }

    fn end_code_with(&mut self, bytes: &[u8]) {
        let length = self.case.code_length as usize;
        self.case.code[length - bytes.len()..length].copy_from_slice(bytes);
    }

    fn operand_at(&self, insn: &Instruction) -> Option<u64> {
        operand_at(self.case, insn)
    }
}
