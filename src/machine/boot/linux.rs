//! The Linux boot protocol: a bzImage, or the 64-bit kernel inside one.
//! Reference: the kernel's Documentation/arch/x86/boot.rst and zero-page.rst.

use dragoman_state::{Gpr, GuestPhys, VcpuState};

use super::{
    BootError, Target,
    elf::Elf,
    memory_map::{Range, memory_map},
    start, u16_at, u32_at, u64_at,
};

/// Where the kernel finds what it is told: the "zero page".
const BOOT_PARAMETERS: GuestPhys = GuestPhys(0x7000);
const COMMAND_LINE: GuestPhys = GuestPhys(0x2_0000);
/// The protected-mode part goes here, unless it prefers another place.
const KERNEL: u64 = 0x10_0000;
/// Where we stop a command line that the kernel itself would take.
const LONGEST_COMMAND_LINE: u32 = 0x1_0000;

/// Offsets into the zero page, which are those of the image's first sectors too.
mod field {
    pub const ACPI_RSDP: usize = 0x70;
    pub const E820_ENTRIES: usize = 0x1e8;
    pub const SETUP_SECTS: usize = 0x1f1;
    pub const BOOT_FLAG: usize = 0x1fe;
    pub const JUMP: usize = 0x201;
    pub const HEADER: usize = 0x202;
    pub const VERSION: usize = 0x206;
    pub const TYPE_OF_LOADER: usize = 0x210;
    pub const LOADFLAGS: usize = 0x211;
    pub const RAMDISK_IMAGE: usize = 0x218;
    pub const RAMDISK_SIZE: usize = 0x21c;
    pub const HEAP_END: usize = 0x224;
    pub const CMD_LINE_PTR: usize = 0x228;
    pub const INITRD_ADDR_MAX: usize = 0x22c;
    pub const XLOADFLAGS: usize = 0x236;
    pub const CMDLINE_SIZE: usize = 0x238;
    pub const PREF_ADDRESS: usize = 0x258;
    pub const INIT_SIZE: usize = 0x260;
    pub const E820_TABLE: usize = 0x2d0;
    pub const SETUP_HEADER: usize = 0x1f1;
}

/// Whether `bytes` are a Linux kernel in its own format.
pub fn is_bzimage(bytes: &[u8]) -> bool {
    u16_at(bytes, field::BOOT_FLAG) == Some(0xaa55) && bytes.get(field::HEADER..field::HEADER + 4) == Some(b"HdrS")
}

/// A bzImage that has been checked.
pub struct BzImage {
    bytes: Vec<u8>,
    /// Where the protected-mode part begins in the file.
    kernel: usize,
    /// It can be entered in 64-bit mode.
    is_64bit: bool,
    /// The memory it uses before it has taken stock of memory: from here, so much.
    needs: (u64, u64),
    initrd_limit: u64,
    command_line_limit: u32,
}

impl BzImage {
    /// Checks `bytes`, for which [`is_bzimage`] holds.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BootError> {
        const LOADED_HIGH: u8 = 1;
        const KERNEL_64: u16 = 1;
        let truncated = || BootError::Truncated("its set-up header is not complete");
        let byte = |at: usize| bytes.get(at).copied().ok_or_else(truncated);
        let version = u16_at(&bytes, field::VERSION).ok_or_else(truncated)?;
        if version < 0x206 || byte(field::LOADFLAGS)? & LOADED_HIGH == 0 {
            return Err(BootError::Unsupported("a Linux kernel older than 2.6.22, or a zImage"));
        }
        let sectors = match byte(field::SETUP_SECTS)? {
            0 => 4,
            n => usize::from(n),
        };
        let kernel = (sectors + 1) * 512;
        if bytes.len() <= kernel || bytes.len() < field::INIT_SIZE + 8 {
            return Err(BootError::Truncated("its kernel is missing"));
        }
        let number = |at| u32_at(&bytes, at).ok_or_else(truncated);
        if version >= 0x208 {
            let expected = kernel as u64 + u64::from(number(0x1f4)?) * 16;
            if (bytes.len() as u64) < expected {
                return Err(BootError::Truncated("its kernel is not complete"));
            }
        }
        let is_64bit = version >= 0x20c && u16_at(&bytes, field::XLOADFLAGS).ok_or_else(truncated)? & KERNEL_64 != 0;
        let needs = if version >= 0x20a {
            let at = u64_at(&bytes, field::PREF_ADDRESS).ok_or_else(truncated)?;
            (at, u64::from(number(field::INIT_SIZE)?))
        } else {
            (KERNEL, 4 * (bytes.len() - kernel) as u64)
        };
        Ok(Self {
            kernel,
            is_64bit,
            needs,
            initrd_limit: u64::from(number(field::INITRD_ADDR_MAX)?) + 1,
            command_line_limit: number(field::CMDLINE_SIZE)?,
            bytes,
        })
    }

    /// Puts the kernel and what it is told into memory.
    pub fn place(&self, target: &Target, state: VcpuState) -> Result<VcpuState, BootError> {
        let kernel = &self.bytes[self.kernel..];
        let floor = (KERNEL + kernel.len() as u64).max(self.needs.0.saturating_add(self.needs.1));
        if floor > target.low_memory_end() {
            return Err(BootError::TooLarge { needed: floor.div_ceil(1 << 20) });
        }
        target.write(GuestPhys(KERNEL), kernel)?;
        let initrd = target.place_initrd(floor, self.initrd_limit)?;

        let mut page = vec![0; 4096];
        // The set-up header ends where its jump instruction goes.
        let end = (field::HEADER + usize::from(self.bytes[field::JUMP])).clamp(field::INIT_SIZE + 4, field::E820_TABLE);
        page[field::SETUP_HEADER..end].copy_from_slice(&self.bytes[field::SETUP_HEADER..end]);
        let limit = self.command_line_limit;
        write_parameters(&mut page, target, initrd, limit)?;
        target.write(BOOT_PARAMETERS, &page)?;

        let mut state = if self.is_64bit {
            start::long_mode(target, state, KERNEL + 0x200)?
        } else {
            start::protected_mode(target, state, KERNEL)?
        };
        state.gpr[Gpr::RSI] = BOOT_PARAMETERS.0;
        Ok(state)
    }
}

/// Starts a 64-bit ELF file as the kernel inside a bzImage is started.
pub fn place_elf(elf: &Elf, target: &Target, state: VcpuState) -> Result<VcpuState, BootError> {
    let end = elf.load(target)?;
    let initrd = target.place_initrd(end, 1 << 31)?;
    let mut page = vec![0; 4096];
    put(&mut page, field::BOOT_FLAG, &0xaa55u16.to_le_bytes());
    put(&mut page, field::HEADER, b"HdrS");
    put(&mut page, field::VERSION, &0x20fu16.to_le_bytes());
    write_parameters(&mut page, target, initrd, LONGEST_COMMAND_LINE)?;
    target.write(BOOT_PARAMETERS, &page)?;
    let mut state = start::long_mode(target, state, elf.entry)?;
    state.gpr[Gpr::RSI] = BOOT_PARAMETERS.0;
    Ok(state)
}

fn put(page: &mut [u8], at: usize, bytes: &[u8]) {
    page[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Fills in what the boot loader has to say, and puts the command line into memory.
fn write_parameters(page: &mut [u8], target: &Target, initrd: (u64, u64), limit: u32) -> Result<(), BootError> {
    const UNKNOWN_LOADER: u8 = 0xff;
    const CAN_USE_HEAP: u8 = 0x80;
    let limit = limit.min(LONGEST_COMMAND_LINE - 1) as usize;
    if target.command_line.len() > limit {
        return Err(BootError::Unsupported("a command line longer than the kernel takes; shorten --append"));
    }
    let mut line = target.command_line.as_bytes().to_vec();
    line.push(0);
    target.write(COMMAND_LINE, &line)?;
    page[field::TYPE_OF_LOADER] = UNKNOWN_LOADER;
    page[field::LOADFLAGS] |= CAN_USE_HEAP;
    put(page, field::HEAP_END, &0xfe00u16.to_le_bytes());
    put(page, field::CMD_LINE_PTR, &(COMMAND_LINE.0 as u32).to_le_bytes());
    put(page, field::CMDLINE_SIZE, &(limit as u32).to_le_bytes());
    put(page, field::RAMDISK_IMAGE, &(initrd.0 as u32).to_le_bytes());
    put(page, field::RAMDISK_SIZE, &(initrd.1 as u32).to_le_bytes());
    put(page, field::ACPI_RSDP, &target.rsdp.0.to_le_bytes());
    let map = memory_map(target.ram);
    page[field::E820_ENTRIES] = map.len() as u8;
    for (n, Range { start, length, kind }) in map.into_iter().enumerate() {
        let at = field::E820_TABLE + 20 * n;
        put(page, at, &start.to_le_bytes());
        put(page, at + 8, &length.to_le_bytes());
        put(page, at + 16, &(kind as u32).to_le_bytes());
    }
    Ok(())
}
