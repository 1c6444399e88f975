//! Where the decoder says that memory is touched, from a processor's complete state.

use dragoman_state::{Gpr, VcpuState};
use iced_x86::{Instruction, OpKind, Register, UsedMemory};

/// What a register holds; of a segment register, its base.
pub fn value(register: Register, state: &VcpuState) -> u64 {
    if register.is_segment_register() {
        let is_flat = state.is_64bit() && !matches!(register, Register::FS | Register::GS);
        return if is_flat { 0 } else { state.segments[register.number()].base };
    }
    if !register.is_gpr() {
        return 0;
    }
    let value = state.gpr[Gpr(register.full_register().number() as u8)];
    match register.size() {
        8 => value,
        4 => value & 0xffff_ffff,
        2 => value & 0xffff,
        _ => value & 0xff,
    }
}

/// The linear address of `memory`.
pub fn address(memory: &UsedMemory, state: &VcpuState) -> u64 {
    let at = memory.virtual_address(0, |register, _, _| Some(value(register, state))).unwrap_or_default();
    if state.is_64bit() { at } else { at & 0xffff_ffff }
}

/// The register in which a repeated string instruction counts.
pub fn counter(insn: &Instruction) -> Register {
    use OpKind as K;
    let has = |kinds: &[OpKind]| insn.op_kinds().any(|kind| kinds.contains(&kind));
    match () {
        () if has(&[K::MemorySegSI, K::MemoryESDI]) => Register::CX,
        () if has(&[K::MemorySegESI, K::MemoryESEDI]) => Register::ECX,
        () => Register::RCX,
    }
}
