//! The processor's state when a guest begins: flat 32-bit protected mode, or 64-bit mode with low memory mapped to itself.

use dragoman_state::{Attributes, Cr0, Cr4, Efer, Gpr, GuestPhys, Segment, SegmentIndex, TableRegister, VcpuState};

use super::{BootError, Target};

/// Where our descriptor table is: in the BIOS data area's free part.
const DESCRIPTORS: GuestPhys = GuestPhys(0x500);
/// Where our page tables are: a root, then a table of 512 GiB, then four of 1 GiB each.
const PAGE_TABLES: GuestPhys = GuestPhys(0x9000);

const CODE: u16 = 0x10;
const DATA: u16 = 0x18;
const TASK: u16 = 0x20;

/// Writes the descriptor table and loads it.
fn load_segments(target: &Target, state: &mut VcpuState, code: Attributes) -> Result<(), BootError> {
    let data = Attributes(0xc093);
    let descriptor = |attributes: Attributes| 0x000f_0000_0000_ffff | u64::from(attributes.0) << 40;
    let task = Segment { base: 0, limit: 0x67, attributes: Attributes(0x8b), selector: TASK };
    let task_descriptor = 0x67 | 0x8b << 40;
    let table = [0, 0, descriptor(code), descriptor(data), task_descriptor, 0];
    let bytes: Vec<u8> = table.iter().flat_map(|entry: &u64| entry.to_le_bytes()).collect();
    target.write(DESCRIPTORS, &bytes)?;
    state.gdtr = TableRegister { base: DESCRIPTORS.0, limit: bytes.len() as u16 - 1 };
    state.idtr = TableRegister { base: 0, limit: 0 };
    let flat = |attributes, selector| Segment { base: 0, limit: u32::MAX, attributes, selector };
    *state.segment_mut(SegmentIndex::Cs) = flat(code, CODE);
    for index in [SegmentIndex::Ds, SegmentIndex::Es, SegmentIndex::Ss, SegmentIndex::Fs, SegmentIndex::Gs] {
        *state.segment_mut(index) = flat(data, DATA);
    }
    state.tr = task;
    state.ldtr = Segment::null(0);
    state.gpr[Gpr::RDX] = 0;
    Ok(())
}

/// 32-bit protected mode without paging, at `entry`, interrupts off.
pub fn protected_mode(target: &Target, mut state: VcpuState, entry: u64) -> Result<VcpuState, BootError> {
    load_segments(target, &mut state, Attributes(0xc09b))?;
    state.cr0 = Cr0::PE | Cr0::ET;
    state.rip = entry;
    Ok(state)
}

/// 64-bit mode at `entry`, interrupts off, the first 4 GiB mapped to themselves in pages of 2 MiB.
pub fn long_mode(target: &Target, mut state: VcpuState, entry: u64) -> Result<VcpuState, BootError> {
    const PRESENT_WRITABLE: u64 = 3;
    const LARGE: u64 = 1 << 7;
    load_segments(target, &mut state, Attributes(0xa09b))?;
    let page = |n: u64| PAGE_TABLES.0 + 0x1000 * n;
    let mut tables = vec![0u64; 6 * 512];
    tables[0] = page(1) | PRESENT_WRITABLE;
    for n in 0..4 {
        tables[512 + n] = page(2 + n as u64) | PRESENT_WRITABLE;
    }
    for n in 0..4 * 512 {
        tables[1024 + n] = (n as u64) << 21 | PRESENT_WRITABLE | LARGE;
    }
    let bytes: Vec<u8> = tables.iter().flat_map(|entry| entry.to_le_bytes()).collect();
    target.write(PAGE_TABLES, &bytes)?;
    state.cr3 = PAGE_TABLES.0;
    state.cr4 = Cr4::PAE;
    state.efer = Efer::LME | Efer::LMA;
    state.cr0 = Cr0::PE | Cr0::PG | Cr0::ET;
    state.rip = entry;
    Ok(state)
}
