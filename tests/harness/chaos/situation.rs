//! Where a guest is: its mode, the instruction that it comes to, the handler that it is in.

use std::fmt::Write as _;

use dragoman_frontend::{
    decode::{CodeSize, disassemble},
    model::CpuModel,
    paging::{Access, AccessKind, PageTables, Paging, walk},
};
use dragoman_state::{GuestPhys, GuestVirt, PAGE_SIZE, SegmentIndex, VcpuState};

use super::machine::Machine;
use crate::{
    Mode,
    layout::{HANDLER_SIZE, HANDLERS, PAGE},
};

/// Whether the next instruction is outside its segment.
pub fn is_beyond(state: &VcpuState) -> bool {
    !state.is_64bit() && state.rip > u64::from(state.segment(SegmentIndex::Cs).limit)
}

/// The mode that a processor in `state` is in.
pub fn mode_of(state: &VcpuState) -> Mode {
    let is_big = state.segment(SegmentIndex::Cs).attributes.is_big();
    match (state.is_virtual_8086(), state.is_real_mode(), state.is_long_mode()) {
        (true, ..) => Mode::Vm86,
        (_, true, _) => Mode::Real16,
        (.., true) if state.is_64bit() => Mode::Long64,
        (.., true) if is_big => Mode::Comp32,
        (.., true) => Mode::Comp16,
        (.., false) if is_big => Mode::Prot32,
        (.., false) => Mode::Prot16,
    }
}

/// How many bits its code has by default.
pub fn bitness(state: &VcpuState) -> u32 {
    match (state.is_64bit(), state.segment(SegmentIndex::Cs).attributes.is_big()) {
        (true, _) => 64,
        (false, true) => 32,
        (false, false) => 16,
    }
}

/// The linear address of the next instruction.
fn linear(state: &VcpuState) -> u64 {
    if state.is_64bit() { state.rip } else { state.segment(SegmentIndex::Cs).base.wrapping_add(state.rip) & 0xffff_ffff }
}

/// The vector whose handler `state` is in.
pub fn handler(state: &VcpuState) -> Option<usize> {
    let at = linear(state).checked_sub(HANDLERS).filter(|at| *at < PAGE)?;
    Some((at / HANDLER_SIZE) as usize)
}

/// Guest memory for a walk that changes nothing.
struct Tables<'a>(&'a Machine);

impl PageTables for Tables<'_> {
    fn read_entry(&mut self, at: GuestPhys) -> u64 {
        let mut bytes = [0; 8];
        self.0.ram().read(at, &mut bytes).map_or(0, |()| u64::from_le_bytes(bytes))
    }

    fn read_short_entry(&mut self, at: GuestPhys) -> u32 {
        let mut bytes = [0; 4];
        self.0.ram().read(at, &mut bytes).map_or(0, |()| u32::from_le_bytes(bytes))
    }

    fn replace_entry(&mut self, _at: GuestPhys, _old: u64, _new: u64) -> bool {
        true
    }

    fn replace_short_entry(&mut self, _at: GuestPhys, _old: u32, _new: u32) -> bool {
        true
    }
}

/// The bytes of the next instruction, as many as can be fetched.
pub fn code_at(machine: &Machine, model: &CpuModel, state: &VcpuState) -> Vec<u8> {
    const LONGEST: u64 = 15;
    let paging = Paging::of(state, model);
    let (first, mut bytes) = (linear(state), Vec::new());
    while (bytes.len() as u64) < LONGEST {
        let at = first.wrapping_add(bytes.len() as u64);
        let at = GuestVirt(if state.is_long_mode() { at } else { at & 0xffff_ffff });
        let access = Access::by_code(AccessKind::Execute, state);
        let Ok(found) = walk(&paging, &mut Tables(machine), at, access) else { break };
        let size = (LONGEST - bytes.len() as u64).min(PAGE_SIZE - at.page_offset() as u64) as usize;
        let mut piece = vec![0xff; size];
        let _ = machine.ram().read(found.at, &mut piece);
        bytes.extend(piece);
    }
    bytes
}

/// Where a guest is, in a line.
pub fn describe(state: &VcpuState, code: &[u8]) -> String {
    let size = match bitness(state) {
        16 => CodeSize::Bits16,
        32 => CodeSize::Bits32,
        _ => CodeSize::Bits64,
    };
    let mut line =
        format!("{}/cpl{} {:04x}:{:x}", mode_of(state), state.cpl(), state.segment(SegmentIndex::Cs).selector, state.rip);
    if let Some(text) = (!code.is_empty()).then(|| disassemble(code, size, state.rip)) {
        let bytes: Vec<_> = code.iter().map(|byte| format!("{byte:02x}")).collect();
        let _ = write!(line, " {}  {text}", bytes.join(" "));
    }
    line
}
