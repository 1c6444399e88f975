//! What firmware would have done before a kernel begins: the local APIC lets the 8259 pair's interrupts through, and the
//! memory-type registers say which addresses are memory.
//! SDM: vol. 3 §11.11 (memory types), §11.5.1 (local vector table).

use dragoman_devices::{
    lapic::{Lapic, Timebase},
    memory::{HIGH_RAM, LOW_RAM_END},
};
use dragoman_frontend::model::CpuModel;
use dragoman_state::{MTRR_FIXED, VcpuId, VcpuState};

/// The bootstrap processor of `model` as firmware hands it over; where it begins is still to be said.
pub fn handed_over(model: &CpuModel) -> VcpuState {
    const ENABLE: u64 = 1 << 11;
    const ENABLE_FIXED: u64 = 1 << 10;
    const WRITE_BACK: u64 = 6;
    const VALID: u64 = 1 << 11;
    let mut state = reset(model);
    let msrs = &mut state.msrs;
    msrs.mtrr_default_type = ENABLE | ENABLE_FIXED | WRITE_BACK;
    msrs.mtrr_fixed = [u64::from_le_bytes([WRITE_BACK as u8; 8]); MTRR_FIXED];
    msrs.mtrr_fixed[2] = 0; // the video window
    let hole = LOW_RAM_END.0..HIGH_RAM.0;
    let mask = ((1 << model.physical_bits()) - 1) & !(hole.end - hole.start - 1);
    msrs.mtrr_variable[0] = [hole.start, mask | VALID];
    state
}

/// The bootstrap processor of `model` at the reset vector. Its local APIC lets the 8259 pair's interrupts through already, as
/// QEMU's does: small firmware counts on it.
pub fn reset(model: &CpuModel) -> VcpuState {
    let mut state = model.power_on(VcpuId(0));
    let timebase = Timebase::new(model.crystal_hertz(), model.tsc_hertz(), 0);
    Lapic::new(&mut state.lapic, &mut state.msrs.apic_base, timebase).enter_virtual_wire_mode();
    state
}
