//! KVM as a test stand: rows run until the HLT that stands behind their code, or behind the gate that takes an exception.

use std::sync::Arc;

use dragoman_frontend::model::Features;
use dragoman_state::{Cr0, Cr4, VcpuState};
use iced_x86::Mnemonic as M;

use super::{
    KvmError,
    machine::{Exit, Machine},
    state,
};
use crate::{
    Mode,
    case::{Access, End, PageMap},
    engine::{Course, Finish, Memory, Ports, RigError, Stand, settled, start},
    layout::{CODE, HLT},
    native::Host,
};

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
        let course = Course::begin(&self.memory, mode, start);
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
        state.events = settled(start.events.nmi_blocked);
        if exit == Exit::Shutdown {
            return Ok(Finish { state, end: End::Crash, delivered: None });
        }
        Ok(course.end(state, code))
    }
}
