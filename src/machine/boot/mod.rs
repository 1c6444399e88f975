//! Starting a guest without firmware: what the image is, where its parts go, and what the processor holds when it begins.

mod elf;
mod firmware;
mod flat;
mod linux;
mod memory_map;
mod multiboot;
mod pvh;
mod start;

use std::path::Path;

use dragoman_devices::{
    acpi::Tables,
    memory::{GuestRam, MemoryError},
};
use dragoman_frontend::model::CpuModel;
use dragoman_state::{GuestPhys, VcpuState};

use super::{Config, Start};
use crate::failure::Failure;

/// The files that a guest is started from, read once.
pub struct BootFiles {
    image: Image,
    name: String,
    initrd: Option<Vec<u8>>,
    command_line: String,
}

/// What an image is.
enum Image {
    /// A Linux kernel in its own format.
    Linux(linux::BzImage),
    /// An ELF file with a PVH note.
    Pvh(elf::Elf, GuestPhys),
    /// A 64-bit ELF file without one: taken for a Linux kernel.
    Linux64(elf::Elf),
    /// A multiboot image.
    Multiboot(multiboot::Image),
    /// Whatever it is, to go to this address and be started there in real mode.
    Flat(Vec<u8>, u16),
    /// A ROM, which is part of memory from the beginning.
    Bios(Vec<u8>),
}

/// Everything that starting a guest may use.
struct Target<'a> {
    ram: &'a GuestRam,
    /// Where the root of the ACPI tables is.
    rsdp: GuestPhys,
    initrd: Option<&'a [u8]>,
    command_line: &'a str,
}

/// Why an image cannot be started; the caller names the file.
#[derive(Debug, thiserror::Error)]
enum BootError {
    #[error("is no image that can be started: neither a bzImage, nor an ELF kernel, nor a multiboot image")]
    Unknown,
    #[error("is a 32-bit ELF file with neither a PVH note nor a multiboot header, and cannot be started")]
    NoEntry,
    #[error("is damaged: {0}")]
    Damaged(&'static str),
    #[error("ends before its end: {0}; copy the file again")]
    Truncated(&'static str),
    #[error("is for another processor: {0}")]
    WrongMachine(&'static str),
    #[error("does not fit into guest memory: it needs {needed} MiB at least; give a larger --memory")]
    TooLarge { needed: u64 },
    #[error("cannot be started in real mode: at {at:#x} it would end beyond {end:#x}; take another address or a smaller image")]
    TooLong { at: u16, end: u64 },
    #[error("is of a kind that is not supported: {0}")]
    Unsupported(&'static str),
    #[error("cannot be put into guest memory: {0}")]
    Memory(#[from] MemoryError),
}

fn read_file(what: &str, path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::resource(format!("the {what} {} cannot be read: {error}", path.display())))
}

impl BootFiles {
    /// Reads and recognises what `config` names.
    pub fn read(config: &Config) -> Result<Self, Failure> {
        let (what, path) = match &config.start {
            Start::Kernel(path) | Start::Flat(path, _) => ("image", path),
            Start::Bios(path) => ("ROM", path),
        };
        let bytes = read_file(what, path)?;
        let name = format!("{what} {}", path.display());
        let image = match config.start {
            Start::Kernel(_) => Image::recognise(bytes),
            Start::Flat(_, at) => Ok(Image::Flat(bytes, at)),
            Start::Bios(_) if bytes.is_empty() => Err(BootError::Truncated("it is empty")),
            Start::Bios(_) => Ok(Image::Bios(bytes)),
        };
        let image = image.map_err(|error| Failure::resource(format!("the {name} {error}")))?;
        let initrd = config.initrd.as_deref().map(|path| read_file("initial RAM disk", path)).transpose()?;
        if config.append.as_bytes().contains(&0) {
            return Err(Failure::usage("the kernel's command line in --append cannot hold a zero byte"));
        }
        Ok(Self { image, name, initrd, command_line: config.append.clone() })
    }

    /// Memory of `size` bytes, with a ROM where the guest is one.
    pub fn memory(&self, size: u64) -> Result<GuestRam, Failure> {
        let rom = if let Image::Bios(rom) = &self.image { rom.as_slice() } else { &[] };
        GuestRam::with_rom(size, rom).map_err(|error| match error {
            MemoryError::Size(_) => Failure::usage(format!("--memory: {error}")),
            MemoryError::Rom(_) => Failure::resource(format!("the {}: {error}", self.name)),
            MemoryError::Host { .. } | MemoryError::NotRam { .. } => {
                Failure::resource(format!("{error}; give a smaller --memory"))
            }
        })
    }

    /// Puts the guest and what firmware leaves into memory, and says what the processor, of `model`, holds when it begins.
    pub fn place(&self, ram: &GuestRam, tables: &Tables, model: &CpuModel) -> Result<VcpuState, Failure> {
        let state = match self.image {
            Image::Bios(_) => firmware::reset(model),
            _ => {
                let written = ram.write(tables.rsdp, &tables.blob());
                written.map_err(|error| Failure::internal(format!("ACPI tables: {error}")))?;
                firmware::handed_over(model)
            }
        };
        let target = Target { ram, rsdp: tables.rsdp, initrd: self.initrd.as_deref(), command_line: &self.command_line };
        let placed = match &self.image {
            Image::Linux(image) => image.place(&target, state),
            Image::Pvh(elf, entry) => pvh::place(elf, *entry, &target, state),
            Image::Linux64(elf) => linux::place_elf(elf, &target, state),
            Image::Multiboot(image) => image.place(&target, state, &self.name),
            Image::Flat(bytes, at) => flat::place(bytes, *at, &target, state),
            Image::Bios(_) => Ok(state),
        };
        placed.map_err(|error| Failure::resource(format!("the {} {error}", self.name)))
    }
}

impl Image {
    fn recognise(bytes: Vec<u8>) -> Result<Self, BootError> {
        if linux::is_bzimage(&bytes) {
            return Ok(Self::Linux(linux::BzImage::parse(bytes)?));
        }
        let header = multiboot::Header::find(&bytes)?;
        if bytes.starts_with(b"\x7fELF") {
            let elf = elf::Elf::parse(bytes)?;
            return Ok(match (elf.pvh_entry, header) {
                (Some(entry), _) => Self::Pvh(elf, entry),
                (None, Some(header)) => Self::Multiboot(multiboot::Image::from_elf(header, elf)?),
                (None, None) if elf.is_64bit => Self::Linux64(elf),
                (None, None) => return Err(BootError::NoEntry),
            });
        }
        match header {
            Some(header) => Ok(Self::Multiboot(multiboot::Image::from_raw(header, bytes)?)),
            None => Err(BootError::Unknown),
        }
    }
}

impl Target<'_> {
    /// How much memory there is without a gap from 1 MiB, as an end address.
    fn low_memory_end(&self) -> u64 {
        self.ram.ranges().filter(|(at, _)| at.0 < 1 << 20).map(|(at, length)| at.0 + length).max().unwrap_or(0)
    }

    /// Writes `bytes` at `at`.
    fn write(&self, at: GuestPhys, bytes: &[u8]) -> Result<(), BootError> {
        if self.ram.is_ram(at, bytes.len() as u64) {
            return Ok(self.ram.write(at, bytes)?);
        }
        Err(BootError::TooLarge { needed: (at.0 + bytes.len() as u64).div_ceil(1 << 20) })
    }

    /// Puts the initial RAM disk as high as it can be below `limit`, and above `floor`; its address and length, both zero
    /// where there is none.
    fn place_initrd(&self, floor: u64, limit: u64) -> Result<(u64, u64), BootError> {
        let Some(bytes) = self.initrd else { return Ok((0, 0)) };
        let length = bytes.len() as u64;
        let top = self.low_memory_end().min(limit);
        let at = top.checked_sub(length).map(|at| at & !0xfff).filter(|at| *at >= floor);
        let at = at.ok_or(BootError::TooLarge { needed: (floor + length).div_ceil(1 << 20) + 1 })?;
        self.write(GuestPhys(at), bytes)?;
        Ok((at, length))
    }
}

/// A little-endian integer in `bytes`, where they reach that far.
fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}
