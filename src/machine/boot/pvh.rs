//! The PVH way to start a kernel: flat 32-bit protected mode, and a structure that says what there is.
//! Reference: Xen's x86/HVM direct boot ABI, version 1.

use dragoman_state::{Gpr, GuestPhys, VcpuState};

use super::{BootError, Target, elf::Elf, memory_map::memory_map, start};

const START_INFO: GuestPhys = GuestPhys(0x6000);
const MODULES: GuestPhys = GuestPhys(0x6040);
const MEMORY_MAP: GuestPhys = GuestPhys(0x6100);
const COMMAND_LINE: GuestPhys = GuestPhys(0x2_0000);
const LONGEST_COMMAND_LINE: usize = 0x1_0000;
const MAGIC: u32 = 0x336e_c578;

/// Puts the kernel and what it is told into memory.
pub fn place(elf: &Elf, entry: GuestPhys, target: &Target, state: VcpuState) -> Result<VcpuState, BootError> {
    let end = elf.load(target)?;
    let (initrd, initrd_length) = target.place_initrd(end, 1 << 32)?;
    if target.command_line.len() >= LONGEST_COMMAND_LINE {
        return Err(BootError::Unsupported("a command line of 64 KiB or more"));
    }
    let mut line = target.command_line.as_bytes().to_vec();
    line.push(0);
    target.write(COMMAND_LINE, &line)?;

    let map = memory_map(target.ram);
    let mut entries = Vec::new();
    for range in &map {
        entries.extend(range.start.to_le_bytes());
        entries.extend(range.length.to_le_bytes());
        entries.extend((range.kind as u32).to_le_bytes());
        entries.extend([0; 4]);
    }
    target.write(MEMORY_MAP, &entries)?;

    let modules = u32::from(target.initrd.is_some());
    let module: Vec<u8> = [initrd, initrd_length, 0, 0].iter().flat_map(|field: &u64| field.to_le_bytes()).collect();
    target.write(MODULES, &module)?;

    let mut info = Vec::new();
    for field in [MAGIC, 1, 0, modules] {
        info.extend(field.to_le_bytes());
    }
    let modules_at = if modules == 0 { 0 } else { MODULES.0 };
    for field in [modules_at, COMMAND_LINE.0, target.rsdp.0, MEMORY_MAP.0] {
        info.extend(field.to_le_bytes());
    }
    info.extend((map.len() as u32).to_le_bytes());
    info.extend([0; 4]);
    target.write(START_INFO, &info)?;

    let mut state = start::protected_mode(target, state, entry.0)?;
    state.gpr[Gpr::RBX] = START_INFO.0;
    Ok(state)
}
