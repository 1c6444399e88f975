//! KVM as a test stand: rows run until the HLT that stands behind their code, or behind the gate that takes an exception.

use std::sync::Arc;

use dragoman_frontend::{fault::vector, model::Features};
use dragoman_state::{Activity, Cr0, Cr4, Events, RFlags, VcpuState};
use iced_x86::Mnemonic as M;

use super::{
    KvmError,
    machine::{Exit, Machine},
    state,
};
use crate::{
    Mode,
    case::{Access, End, PageMap},
    engine::{Delivered, Finish, Memory, Ports, RigError, Stand, below_stack, start, take_back},
    layout::{CODE, HLT, KERNEL_STACK},
    native::Host,
};

/// As much of the kernel's stack as an exception can take.
const FRAME: usize = 64;

/// A processor of the host's KVM.
pub struct KvmStand {
    memory: Memory,
    ports: Arc<Ports>,
}

impl KvmStand {
    /// A machine that was tried. Fails where there is no KVM that works.
    pub fn new() -> Result<Self, KvmError> {
        let unavailable = |error: &dyn std::fmt::Display| KvmError::Unavailable(error.to_string());
        let memory = Memory::new().map_err(|error| unavailable(&error))?;
        drop(Machine::new(memory.ram().clone())?);
        let mut stand = Self { memory, ports: Arc::default() };
        const INC_AX: [u8; 3] = [0x66, 0xff, 0xc0];
        let model = dragoman_frontend::model::CpuModel::most();
        let mut map = PageMap::new();
        map.add(CODE, Access::Code);
        stand.prepare(Mode::Long64, &map);
        stand.memory.write(CODE, &INC_AX);
        let mut before = start(&model, Mode::Long64, 0);
        before.cr3 = stand.memory.root();
        before.gpr[dragoman_state::Gpr::RAX] = 0x1_ffff;
        let after = stand.run(Mode::Long64, &before, &INC_AX).map_err(|error| unavailable(&error))?;
        match (after.end, after.state.gpr[dragoman_state::Gpr::RAX]) {
            (End::Done, 0x1_0000) => Ok(stand),
            (end, value) => Err(KvmError::Unavailable(format!("an INC there ended with {end:?}, {value:#x}"))),
        }
    }

    /// What its processor has: what the host's has.
    pub fn features(&self) -> Features {
        Host::identify().features
    }

    /// Whether `state` is behind the code, and only there got what was delivered: at a HLT, which user code must not do, or
    /// where a branch has led that no page is at.
    fn is_end(&self, start: &VcpuState, state: &VcpuState, delivered: Delivered, code: &[u8]) -> bool {
        const FETCH: u32 = 0x10;
        let (at, error) = (base(state).wrapping_add(state.rip), delivered.error.unwrap_or(0));
        let mut byte = [0];
        self.memory.read(at, &mut byte);
        let is_inside = state.rip.wrapping_sub(start.rip) < code.len() as u64 && state.segments[1].base == start.segments[1].base;
        let is_halt = delivered.vector == vector::GP && error == 0 && byte[0] == HLT;
        let is_lost = delivered.vector == vector::PF && error & FETCH != 0 && state.cr2 == at;
        !is_inside && (is_halt || is_lost)
    }
}

fn base(state: &VcpuState) -> u64 {
    if state.is_64bit() { 0 } else { state.segments[1].base }
}

/// How wide the port accesses of `code` are.
fn port_width(mode: Mode, code: &[u8]) -> usize {
    let width = |mnemonic| match mnemonic {
        M::Insb | M::Outsb => Some(1),
        M::Insw | M::Outsw => Some(2),
        _ => None,
    };
    mode.instructions(code).iter().find_map(|insn| width(insn.mnemonic())).unwrap_or(4)
}

impl Stand for KvmStand {
    fn prepare(&mut self, mode: Mode, map: &PageMap) {
        self.memory.prepare(mode, map);
    }

    fn memory(&self) -> &Memory {
        &self.memory
    }

    fn memory_mut(&mut self) -> &mut Memory {
        &mut self.memory
    }

    fn ports(&self) -> &Ports {
        &self.ports
    }

    fn run(&mut self, mode: Mode, start: &VcpuState, code: &[u8]) -> Result<Finish, RigError> {
        let below = below_stack(&self.memory, mode, start);
        let mut pushed = [0; FRAME];
        self.memory.read(KERNEL_STACK.end - FRAME as u64, &mut pushed);
        // Nothing of the last row is left in a machine of its own.
        let mut machine = Machine::new(self.memory.ram().clone())?;
        let mut given = start.clone();
        if let Err(error) = state::set(&mut machine, &given) {
            // Some have no paging with two levels. All that is mapped lies where its linear address says.
            if !given.cr0.contains(Cr0::PG) || given.cr4.contains(Cr4::PAE) {
                return Err(error.into());
            }
            given.cr0.remove(Cr0::PG);
            machine = Machine::new(self.memory.ram().clone())?;
            state::set(&mut machine, &given)?;
        }
        // Without paging, code can go anywhere, and must come to an end there.
        if !given.cr0.contains(Cr0::PG) {
            self.memory.fill_rest(HLT);
        }
        let exit = machine.run(&self.ports, port_width(mode, code))?;
        let mut state = state::get(&machine, start)?;
        if given.cr0 != start.cr0 {
            state.cr0.insert(Cr0::PG);
        }
        // What is under way between two instructions is over when the processor has stopped.
        state.events = Events { nmi_blocked: start.events.nmi_blocked, ..Events::default() };
        if exit == Exit::Shutdown {
            return Ok(Finish { state, end: End::Crash, delivered: None });
        }
        let halted_at = state.rip.wrapping_sub(1);
        if let Some(delivered) = take_back(mode, &self.memory, start, &mut state) {
            for (at, bytes) in &below {
                self.memory.write(*at, bytes);
            }
            if self.is_end(start, &state, delivered, code) {
                self.memory.write(KERNEL_STACK.end - FRAME as u64, &pushed);
                state.cr2 = start.cr2;
                return Ok(Finish { state, end: End::Done, delivered: None });
            }
            let address = if delivered.vector == vector::PF { state.cr2 } else { 0 };
            let end = End::Fault { vector: delivered.vector, error: delivered.error.unwrap_or(0), address };
            return Ok(Finish { state, end, delivered: Some(delivered) });
        }
        let own = mode.instructions(code).last().is_some_and(|insn| insn.mnemonic() == M::Hlt);
        if own && halted_at.wrapping_sub(start.rip) == code.len() as u64 - 1 {
            state.events.activity = Activity::Halted;
        } else {
            state.rip = halted_at;
        }
        state.rflags = state.rflags.difference(RFlags::RF);
        Ok(Finish { state, end: End::Done, delivered: None })
    }
}
