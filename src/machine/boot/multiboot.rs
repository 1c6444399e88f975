//! Multiboot: a header among the image's first 8 KiB, flat 32-bit protected mode, and a structure that says what there is.
//! Reference: the Multiboot Specification, version 0.6.96.

use dragoman_state::{Gpr, GuestPhys, VcpuState};

use super::{
    BootError, Target,
    elf::Elf,
    memory_map::{Use, memory_map},
    start, u32_at,
};

const HEADER_MAGIC: u32 = 0x1bad_b002;
const LOADER_MAGIC: u64 = 0x2bad_b002;
/// Where the structure for the guest begins; strings and tables follow it.
const INFORMATION: GuestPhys = GuestPhys(0x9500);
const INFORMATION_END: u64 = 0x2_0000;

/// What a multiboot header asks for.
pub struct Header {
    offset: usize,
    addresses: Option<Addresses>,
}

/// Where the parts of an image go that says so itself, instead of being an ELF file.
struct Addresses {
    header: u32,
    load: u32,
    load_end: u32,
    bss_end: u32,
    entry: u32,
}

impl Header {
    /// The header in `bytes`, where there is one.
    pub fn find(bytes: &[u8]) -> Result<Option<Self>, BootError> {
        const HAS_ADDRESSES: u32 = 1 << 16;
        const WANTS_VIDEO: u32 = 1 << 2;
        /// Requirements that are not about pages, memory or video.
        const UNKNOWN: u32 = 0xfff8;
        let searched = bytes.len().min(8192);
        let found = (0..searched).step_by(4).find(|at| {
            let field = |n: usize| u32_at(bytes, at + 4 * n).unwrap_or(0);
            field(0) == HEADER_MAGIC && field(0).wrapping_add(field(1)).wrapping_add(field(2)) == 0
        });
        let Some(offset) = found else { return Ok(None) };
        let field = |n: usize| u32_at(bytes, offset + 4 * n).ok_or(BootError::Truncated("its multiboot header is not complete"));
        let flags = field(1)?;
        if flags & (UNKNOWN | WANTS_VIDEO) != 0 {
            return Err(BootError::Unsupported("its multiboot header requires more than memory and modules"));
        }
        let addresses = if flags & HAS_ADDRESSES != 0 {
            Some(Addresses { header: field(3)?, load: field(4)?, load_end: field(5)?, bss_end: field(6)?, entry: field(7)? })
        } else {
            None
        };
        Ok(Some(Self { offset, addresses }))
    }
}

/// A multiboot image that has been checked.
pub enum Image {
    /// An ELF file.
    Elf(Elf),
    /// An image that says itself where its parts go.
    Raw {
        /// What goes into memory.
        bytes: Vec<u8>,
        at: GuestPhys,
        /// Zeros behind it.
        zeros: u64,
        entry: u64,
    },
}

impl Image {
    /// An ELF file with `header`.
    pub fn from_elf(header: Header, elf: Elf) -> Result<Self, BootError> {
        match header.addresses {
            None => Ok(Self::Elf(elf)),
            Some(_) => Err(BootError::Unsupported("an ELF file whose multiboot header gives load addresses")),
        }
    }

    /// A file that is no ELF file.
    pub fn from_raw(header: Header, bytes: Vec<u8>) -> Result<Self, BootError> {
        let damaged = BootError::Damaged("the addresses in its multiboot header contradict each other");
        let Some(addresses) = header.addresses else {
            return Err(BootError::Damaged("its multiboot header gives no load addresses, and it is no ELF file"));
        };
        let Addresses { header: header_at, load, load_end, bss_end, entry } = addresses;
        let start = header_at.checked_sub(load).and_then(|skip| header.offset.checked_sub(skip as usize));
        let Some(start) = start else { return Err(damaged) };
        let length = match load_end {
            0 => bytes.len() - start,
            end if end >= load => (end - load) as usize,
            _ => return Err(damaged),
        };
        let end = start.checked_add(length).filter(|end| *end <= bytes.len());
        let end = end.ok_or(BootError::Truncated("its multiboot header announces more than there is"))?;
        let after = u64::from(load) + length as u64;
        let zeros = u64::from(bss_end).saturating_sub(after);
        Ok(Self::Raw { bytes: bytes[start..end].to_vec(), at: GuestPhys(load.into()), zeros, entry: entry.into() })
    }

    /// Puts the image and what it is told into memory. `name` begins its command line.
    pub fn place(&self, target: &Target, state: VcpuState, name: &str) -> Result<VcpuState, BootError> {
        let (entry, end) = match self {
            Self::Elf(elf) => (elf.entry, elf.load(target)?),
            Self::Raw { bytes, at, zeros, entry } => {
                let after = at.0 + bytes.len() as u64;
                if !target.ram.is_ram(*at, bytes.len() as u64 + zeros) {
                    return Err(BootError::TooLarge { needed: (after + zeros).div_ceil(1 << 20) });
                }
                target.write(*at, bytes)?;
                target.write(GuestPhys(after), &vec![0; *zeros as usize])?;
                (*entry, after + zeros)
            }
        };
        let module = target.place_initrd(end, 1 << 32)?;
        write_information(target, module, name)?;
        let mut state = start::protected_mode(target, state, entry)?;
        state.gpr[Gpr::RAX] = LOADER_MAGIC;
        state.gpr[Gpr::RBX] = INFORMATION.0;
        Ok(state)
    }
}

fn write_information(target: &Target, module: (u64, u64), name: &str) -> Result<(), BootError> {
    const MEMORY: u32 = 1 << 0;
    const COMMAND_LINE: u32 = 1 << 2;
    const MODULES: u32 = 1 << 3;
    const MEMORY_MAP: u32 = 1 << 6;
    const LOADER_NAME: u32 = 1 << 9;
    let mut after = Vec::new();
    let mut append = |bytes: &[u8]| {
        let at = INFORMATION.0 as u32 + 0x80 + after.len() as u32;
        after.extend_from_slice(bytes);
        while after.len() % 4 != 0 {
            after.push(0);
        }
        at
    };
    let line = format!("{name} {}\0", target.command_line);
    let line_at = append(line.as_bytes());
    let loader_at = append(b"Dragoman\0");
    let mut map = Vec::new();
    for range in memory_map(target.ram) {
        map.extend(20u32.to_le_bytes());
        map.extend(range.start.to_le_bytes());
        map.extend(range.length.to_le_bytes());
        map.extend((range.kind as u32).to_le_bytes());
    }
    let map_at = append(&map);
    let (module_at, module_end) = (module.0 as u32, (module.0 + module.1) as u32);
    let module_entry: Vec<u8> = [module_at, module_end, line_at, 0].iter().flat_map(|field| field.to_le_bytes()).collect();
    let modules_at = append(&module_entry);
    let above = memory_map(target.ram).into_iter().find(|range| range.start == 1 << 20 && range.kind == Use::Usable);

    let mut information = [0u8; 0x80];
    let mut set = |at: usize, value: u32| information[at..at + 4].copy_from_slice(&value.to_le_bytes());
    let modules = u32::from(target.initrd.is_some());
    set(0, MEMORY | COMMAND_LINE | MEMORY_MAP | LOADER_NAME | if modules > 0 { MODULES } else { 0 });
    set(4, 639);
    set(8, above.map_or(0, |range| (range.length / 1024) as u32));
    set(16, line_at);
    set(20, modules);
    set(24, modules_at);
    set(44, map.len() as u32);
    set(48, map_at);
    set(64, loader_at);
    if INFORMATION.0 + 0x80 + after.len() as u64 > INFORMATION_END {
        return Err(BootError::Unsupported("a command line this long; shorten --append"));
    }
    target.write(INFORMATION, &information)?;
    target.write(GuestPhys(INFORMATION.0 + 0x80), &after)
}
