//! Running instructions as a machine runs them: not one after the other, but until the HLT that stands behind them, or behind the gate
//! that takes an exception. What they did follows from where that is.

use dragoman_frontend::fault::vector;
use dragoman_state::{Activity, Events, RFlags, VcpuState};
use iced_x86::Mnemonic;

use super::{Finish, Memory, delivery};
use crate::{
    Mode,
    case::End,
    engine::Delivered,
    layout::{HLT, KERNEL_STACK},
};

/// As much of the kernel's stack as an exception can take.
const FRAME: usize = 64;

/// A run to a HLT: what its own end overwrites.
pub struct Course<'a> {
    memory: &'a Memory,
    mode: Mode,
    start: &'a VcpuState,
    below_stack: Vec<(u64, Vec<u8>)>,
    pushed: [u8; FRAME],
}

impl<'a> Course<'a> {
    /// Before code in `mode` runs from `start`.
    pub fn begin(memory: &'a Memory, mode: Mode, start: &'a VcpuState) -> Self {
        let mut pushed = [0; FRAME];
        memory.read(KERNEL_STACK.end - FRAME as u64, &mut pushed);
        Self { memory, mode, start, below_stack: delivery::below_stack(memory, mode, start), pushed }
    }

    /// What `code` did, which has run to a HLT with `state` behind it.
    pub fn end(self, mut state: VcpuState, code: &[u8]) -> Finish {
        let Self { memory, mode, start, .. } = self;
        let halted_at = state.rip.wrapping_sub(1);
        if let Some(delivered) = delivery::take_back(mode, memory, start, &mut state) {
            for (at, bytes) in &self.below_stack {
                memory.write(*at, bytes);
            }
            if self.is_behind(&state, delivered, code) {
                memory.write(KERNEL_STACK.end - FRAME as u64, &self.pushed);
                state.cr2 = start.cr2;
                return Finish { state, end: End::Done, delivered: None };
            }
            let address = if delivered.vector == vector::PF { state.cr2 } else { 0 };
            let end = End::Fault { vector: delivered.vector, error: delivered.error.unwrap_or(0), address };
            return Finish { state, end, delivered: Some(delivered) };
        }
        let own = mode.instructions(code).last().is_some_and(|insn| insn.mnemonic() == Mnemonic::Hlt);
        if own && halted_at.wrapping_sub(start.rip) == code.len() as u64 - 1 {
            state.events.activity = Activity::Halted;
        } else {
            state.rip = halted_at;
        }
        state.rflags = state.rflags.difference(RFlags::RF);
        Finish { state, end: End::Done, delivered: None }
    }

    /// Whether `state` is behind the code, and only there got what was delivered: at a HLT, which user code must not do, or
    /// where a branch has led that no page is at.
    fn is_behind(&self, state: &VcpuState, delivered: Delivered, code: &[u8]) -> bool {
        const FETCH: u32 = 0x10;
        let (at, error) = (base(state).wrapping_add(state.rip), delivered.error.unwrap_or(0));
        let mut byte = [0];
        self.memory.read(at, &mut byte);
        let start = self.start;
        let is_inside = state.rip.wrapping_sub(start.rip) < code.len() as u64 && state.segments[1].base == start.segments[1].base;
        let is_halt = delivered.vector == vector::GP && error == 0 && byte[0] == HLT;
        // Where no page can forbid execution, the error code does not tell a fetch.
        let is_fetch = error & FETCH != 0 || !self.mode.is_long();
        let is_lost = delivered.vector == vector::PF && is_fetch && state.cr2 == at;
        !is_inside && (is_halt || is_lost)
    }
}

/// What is under way between two instructions is over when a processor has halted; but not what keeps interrupts out.
pub fn settled(nmi_blocked: bool) -> Events {
    Events { nmi_blocked, ..Events::default() }
}

fn base(state: &VcpuState) -> u64 {
    if state.is_64bit() { 0 } else { state.segments[1].base }
}
