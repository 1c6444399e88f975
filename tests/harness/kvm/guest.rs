//! Whole guests of our own in KVM: the processor and what it has of interrupt chips and timers in the kernel, a serial port
//! that can only print, and the port by which a guest ends.
//!
//! Rule of this file: nothing of Dragoman's devices is here, so that what a guest prints is KVM's word.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use dragoman_devices::memory::GuestRam;
use dragoman_state::{Attributes, Cr0, Gpr, GuestPhys, Segment, SegmentIndex, VcpuId, VcpuState};
use object::{
    Endianness,
    elf::{FileHeader32, PT_LOAD},
    read::elf::{FileHeader, ProgramHeader},
};

use super::{
    KvmError,
    machine::{Machine, PortUse},
    state,
};

/// As much memory as the guests are given.
const MEMORY: u64 = 64 << 20;
const COM1: u16 = 0x3f8;
const LINE_STATUS: u16 = COM1 + 5;
/// The transmitter is empty.
const READY: u8 = 0x60;
const DEBUG_EXIT: u16 = 0xf4;
/// Where a flat image is loaded and starts, and the number of its disk.
const BOOT_SECTOR: u64 = 0x7c00;
const FIRST_DISK: u64 = 0x80;
/// What a multiboot loader leaves in EAX, and where the structure is that EBX names: it says nothing.
const LOADER_MAGIC: u64 = 0x2bad_b002;
const INFORMATION: GuestPhys = GuestPhys(0x9500);
/// How long a guest may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a guest came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What it printed.
    pub printed: String,
    /// What it wrote to the port that ends it; or how KVM gave up.
    pub end: Result<u8, String>,
}

/// Runs `image`: a multiboot image in ELF, or a flat one of real mode.
pub fn run(image: &[u8]) -> Result<Outcome, KvmError> {
    let unavailable = |error: &dyn std::fmt::Display| KvmError::Unavailable(error.to_string());
    let ram = Arc::new(GuestRam::new(MEMORY).map_err(|error| unavailable(&error))?);
    let start = load(&ram, image).map_err(|error| unavailable(&error))?;
    let mut machine = Machine::with_chips(ram)?;
    state::set(&mut machine, &start)?;
    let mut printed = Vec::new();
    let end = machine.run_until(Instant::now() + PATIENCE, |port| {
        match port {
            PortUse::Read(LINE_STATUS, data) => data.fill(READY),
            PortUse::Read(_, data) => data.fill(0xff),
            PortUse::Write(COM1, data) => printed.extend_from_slice(data),
            PortUse::Write(DEBUG_EXIT, data) => return Some(data[0]),
            PortUse::Write(..) => {}
        }
        None
    });
    Ok(Outcome { printed: String::from_utf8_lossy(&printed).into_owned(), end })
}

/// Loads `image`, and says what the processor starts with.
fn load(ram: &GuestRam, image: &[u8]) -> Result<VcpuState, Box<dyn std::error::Error>> {
    let mut state = VcpuState::power_on(VcpuId(0), 0);
    if !image.starts_with(b"\x7fELF") {
        ram.write(GuestPhys(BOOT_SECTOR), image)?;
        *state.segment_mut(SegmentIndex::Cs) = Segment::real_mode(0, Attributes::DATA);
        state.rip = BOOT_SECTOR;
        state.gpr[Gpr::RDX] = FIRST_DISK;
        return Ok(state);
    }
    let header = FileHeader32::<Endianness>::parse(image)?;
    let endian = header.endian()?;
    for part in header.program_headers(endian, image)?.iter().filter(|part| part.p_type(endian) == PT_LOAD) {
        let data = part.data(endian, image).map_err(|()| "a segment is not in the file")?;
        ram.write(GuestPhys(part.p_paddr(endian).into()), data)?;
    }
    ram.write(INFORMATION, &[0; 128])?;
    let flat = |rights, selector| Segment { base: 0, limit: u32::MAX, attributes: Attributes(rights), selector };
    state.segments = [flat(0xc093, 0x18); 6];
    *state.segment_mut(SegmentIndex::Cs) = flat(0xc09b, 0x10);
    state.ldtr = Segment::null(0);
    state.tr = Segment { base: 0, limit: 0x67, attributes: Attributes(0x8b), selector: 0x20 };
    state.cr0 = Cr0::PE | Cr0::ET;
    state.rip = header.e_entry(endian).into();
    state.gpr[Gpr::RAX] = LOADER_MAGIC;
    state.gpr[Gpr::RBX] = INFORMATION.0;
    Ok(state)
}
