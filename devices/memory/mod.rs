//! Guest memory: RAM and the firmware's ROM, each region one mapping of the host's, laid out as a PC's memory controller
//! does.
//!
//! Rule of this folder: everything that writes guest memory from outside a vCPU goes through [`GuestRam`], so that the
//! [`PageTracker`] hears of it; a device's DMA into translated code or into a page whose changes are logged is seen.

mod tables;
mod tracker;

use std::{ops::Range, sync::Arc};

use dragoman_state::{GuestPhys, PAGE_SIZE};
use vm_memory::{
    Address, Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, GuestRegionMmap,
    mmap::{MmapRegionBuilder, MmapRegionError},
};

pub use tracker::{CodeListener, PageTracker, RegionTracker};

/// Where memory that does not fit below the PCI hole goes on.
pub const HIGH_RAM: GuestPhys = GuestPhys(1 << 32);
/// The end of memory below 4 GiB: above it lie PCI devices, IOAPIC, HPET, local APIC and ROM.
pub const LOW_RAM_END: GuestPhys = GuestPhys(0xc000_0000);
/// The legacy video window, which is no RAM.
pub const VIDEO_WINDOW: std::ops::Range<u64> = 0xa_0000..0xc_0000;
/// The smallest memory a PC can have here: conventional memory, the window above it, and one mebibyte.
pub const SMALLEST: u64 = 2 << 20;
/// The largest: what the advertised physical address width leaves below its middle.
pub const LARGEST: u64 = 1 << 40;
/// Where the firmware's ROM ends: the reset vector is its last sixteen bytes.
pub const ROM_END: GuestPhys = HIGH_RAM;
/// The largest ROM.
pub const LARGEST_ROM: u64 = 8 << 20;
/// Where the ROM's second window ends, which real mode can reach.
const LEGACY_ROM_END: u64 = 1 << 20;
/// As much of the ROM's end as that window shows.
const LEGACY_ROM: u64 = 128 << 10;

/// Why guest memory could not be had.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// Outside what a PC can have.
    #[error("a memory of {0} bytes is not possible: the size must be a multiple of 4 KiB from 2 MiB to 1 TiB")]
    Size(u64),
    /// A ROM that cannot be mapped.
    #[error("a ROM of {0} bytes cannot be mapped: its size must be a multiple of 4 KiB, and 8 MiB at most")]
    Rom(u64),
    /// The host refused.
    #[error("the host cannot give {size} bytes of memory: {source}")]
    Host {
        /// What was asked for.
        size: u64,
        /// What the host said.
        source: MmapRegionError,
    },
    /// An address range that is not all RAM.
    #[error("{length} bytes at {at} are not all guest memory")]
    NotRam {
        /// First byte of the range.
        at: GuestPhys,
        /// Length of the range.
        length: u64,
    },
}

/// The guest's memory. Shared by vCPUs, devices and loaders; never moves and never shrinks while shared.
pub struct GuestRam {
    memory: GuestMemoryMmap<RegionTracker>,
    tracker: Arc<PageTracker>,
    size: u64,
    /// What only the loader of the ROM can write.
    rom: Vec<Range<u64>>,
}

impl GuestRam {
    /// Memory of `size` bytes, all zero: conventional memory, the area of option ROMs and firmware (RAM here), extended
    /// memory up to [`LOW_RAM_END`], and the rest from [`HIGH_RAM`]. The video window takes its 128 KiB out of `size`.
    pub fn new(size: u64) -> Result<Self, MemoryError> {
        Self::with_rom(size, &[])
    }

    /// The same with a ROM that ends at [`ROM_END`], and whose last 128 KiB show below 1 MiB as well. Writes to it are
    /// lost.
    pub fn with_rom(size: u64, image: &[u8]) -> Result<Self, MemoryError> {
        if !(SMALLEST..=LARGEST).contains(&size) || size % PAGE_SIZE != 0 {
            return Err(MemoryError::Size(size));
        }
        let rom_size = image.len() as u64;
        if rom_size > LARGEST_ROM || rom_size % PAGE_SIZE != 0 {
            return Err(MemoryError::Rom(rom_size));
        }
        let low_end = size.min(LOW_RAM_END.0);
        let rom = ROM_END.0 - rom_size..ROM_END.0;
        let high_end = HIGH_RAM.0 + (size - low_end);
        let layout = [0..VIDEO_WINDOW.start, VIDEO_WINDOW.end..low_end, rom.clone(), HIGH_RAM.0..high_end];
        let layout: Vec<_> = layout.into_iter().filter(|range| !range.is_empty()).collect();
        let tracker = Arc::new(PageTracker::new(layout.last().map_or(0, |last| last.end)));
        let mut regions = Vec::new();
        for range in layout {
            let bitmap = RegionTracker::new(tracker.clone(), GuestPhys(range.start));
            let region = MmapRegionBuilder::new_with_bitmap((range.end - range.start) as usize, bitmap)
                .with_mmap_prot(PROT_READ_WRITE)
                .with_mmap_flags(PRIVATE_ANONYMOUS_NORESERVE)
                .build()
                .map_err(|source| MemoryError::Host { size, source })?;
            regions.push(GuestRegionMmap::new(region, GuestAddress(range.start)).ok_or(MemoryError::Size(size))?);
        }
        let memory = GuestMemoryMmap::from_regions(regions).map_err(|_| MemoryError::Size(size))?;
        let mut ram = Self { memory, tracker, size, rom: Vec::new() };
        if !image.is_empty() {
            let legacy = LEGACY_ROM_END - rom_size.min(LEGACY_ROM)..LEGACY_ROM_END;
            ram.write(GuestPhys(rom.start), image)?;
            ram.write(GuestPhys(legacy.start), &image[image.len() - (legacy.end - legacy.start) as usize..])?;
            ram.rom = vec![legacy, rom];
        }
        Ok(ram)
    }

    /// The size asked for, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The pages' tracker.
    pub fn tracker(&self) -> &Arc<PageTracker> {
        &self.tracker
    }

    /// The mapping itself, for loaders and devices that speak vm-memory. Writes through it are tracked.
    pub fn mapping(&self) -> &GuestMemoryMmap<RegionTracker> {
        &self.memory
    }

    /// The ranges of physical addresses that are RAM, lowest first: first byte and length. The ROM's window below 1 MiB is
    /// counted among them.
    pub fn ranges(&self) -> impl Iterator<Item = (GuestPhys, u64)> {
        let regions = self.memory.iter().map(|region| (GuestPhys(region.start_addr().raw_value()), region.len()));
        regions.filter(|(first, _)| self.rom.iter().all(|rom| rom.start != first.0))
    }

    /// Everything that is memory, RAM and ROM, lowest first: first byte, length, and whether it can be written. Each is one
    /// stretch of host memory.
    pub fn slots(&self) -> impl Iterator<Item = (GuestPhys, u64, bool)> {
        self.memory.iter().flat_map(|region| {
            let (start, end) = (region.start_addr().raw_value(), region.start_addr().raw_value() + region.len());
            let inside = |at: &u64| (start..=end).contains(at);
            let mut ends: Vec<u64> = self.rom.iter().flat_map(|rom| [rom.start, rom.end]).filter(inside).collect();
            ends.extend([start, end]);
            ends.sort_unstable();
            ends.dedup();
            let pairs: Vec<_> = ends.windows(2).map(|pair| (pair[0], pair[1] - pair[0])).collect();
            pairs.into_iter().map(|(at, length)| (GuestPhys(at), length, self.is_writable(GuestPhys(at))))
        })
    }

    /// Whether the page at `page` can be written: it is no ROM.
    #[inline]
    pub fn is_writable(&self, page: GuestPhys) -> bool {
        self.rom.iter().all(|rom| !rom.contains(&page.0))
    }

    /// Whether `length` bytes from `at` are all RAM and follow one another in host memory.
    pub fn is_ram(&self, at: GuestPhys, length: u64) -> bool {
        at.0.checked_add(length).is_some_and(|end| self.ranges().any(|(first, size)| first.0 <= at.0 && end <= first.0 + size))
    }

    /// Where the page that begins at `page` lies in host memory; `None` where it is neither RAM nor ROM. The pointer is
    /// good for [`PAGE_SIZE`] bytes for as long as this `GuestRam` lives; who writes asks [`GuestRam::is_writable`] first.
    pub fn host_page(&self, page: GuestPhys) -> Option<*mut u8> {
        self.memory.get_host_address(GuestAddress(page.page().0)).ok()
    }

    /// Copies guest memory at `at` into `bytes`.
    pub fn read(&self, at: GuestPhys, bytes: &mut [u8]) -> Result<(), MemoryError> {
        let length = bytes.len() as u64;
        self.memory.read_slice(bytes, GuestAddress(at.0)).map_err(|_| MemoryError::NotRam { at, length })
    }

    /// Copies `bytes` to guest memory at `at`; the tracker hears of it. Where the range is not all RAM, some bytes of it
    /// may have been written.
    pub fn write(&self, at: GuestPhys, bytes: &[u8]) -> Result<(), MemoryError> {
        let length = bytes.len() as u64;
        if self.rom.iter().any(|rom| at.0 < rom.end && rom.start < at.0.saturating_add(length)) {
            return Err(MemoryError::NotRam { at, length });
        }
        self.memory.write_slice(bytes, GuestAddress(at.0)).map_err(|_| MemoryError::NotRam { at, length })
    }
}

// The values of PROT_READ | PROT_WRITE, and of MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, which all Linux hosts we
// run on share; vm-memory takes them as plain numbers.
const PROT_READ_WRITE: i32 = 3;
const PRIVATE_ANONYMOUS_NORESERVE: i32 = 0x2 | 0x20 | 0x4000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_laid_out_around_the_video_window_and_the_pci_hole() {
        let ram = GuestRam::new(4 << 30).expect("4 GiB can be reserved");
        let ranges: Vec<_> = ram.ranges().collect();
        assert_eq!(
            ranges,
            [(GuestPhys(0), 0xa_0000), (GuestPhys(0xc_0000), 0xc000_0000 - 0xc_0000), (GuestPhys(1 << 32), 1 << 30),]
        );
        assert!(ram.host_page(GuestPhys(0xa_0000)).is_none());
        assert!(ram.host_page(GuestPhys(0xc000_0000)).is_none());
        assert!(ram.is_ram(GuestPhys(0x9_f000), 4096));
        assert!(!ram.is_ram(GuestPhys(0x9_f000), 4097));
        assert!(!ram.is_ram(GuestPhys(u64::MAX), 2));
    }

    #[test]
    fn a_rom_shows_twice_and_cannot_be_written() {
        let image: Vec<_> = (0..256 << 10).map(|n: u32| (n >> 12) as u8).collect();
        let ram = GuestRam::with_rom(4 << 20, &image).expect("a ROM of 256 KiB");
        let read = |at| {
            let mut byte = [0];
            ram.read(GuestPhys(at), &mut byte).expect("it is mapped");
            byte[0]
        };
        assert_eq!((read(0xfffc_0000), read(0xffff_ffff)), (0, 63));
        assert_eq!((read(0xd_ffff), read(0xe_0000), read(0xf_ffff)), (0, 32, 63));
        assert!(ram.write(GuestPhys(0xd_fffe), &[1, 1]).is_ok());
        assert!(ram.write(GuestPhys(0xd_ffff), &[1, 1]).is_err());
        assert!(!ram.is_writable(GuestPhys(0xf_f000)) && !ram.is_writable(GuestPhys(0xffff_f000)));
        assert!(ram.is_writable(GuestPhys(0xd_f000)) && ram.is_writable(GuestPhys(0x10_0000)));
        assert!(ram.ranges().all(|(first, _)| first.0 < 1 << 30));
        let slots: Vec<_> = ram.slots().map(|(at, length, is_writable)| (at.0, length, is_writable)).collect();
        #[rustfmt::skip] // a table
        assert_eq!(slots, [
            (0,           0xa_0000,  true),
            (0xc_0000,    0x2_0000,  true),
            (0xe_0000,    0x2_0000,  false),
            (0x10_0000,   0x30_0000, true),
            (0xfffc_0000, 0x4_0000,  false),
        ]);
        for size in [1, 4097, (8 << 20) + 4096] {
            assert!(GuestRam::with_rom(4 << 20, &vec![0; size]).is_err(), "{size}");
        }
    }

    #[test]
    fn sixty_four_gibibytes_are_possible() {
        let ram = GuestRam::new(64 << 30).expect("address space is not memory");
        let last = GuestPhys((1 << 32) + (64 << 30) - 0xc000_0000 - 4096);
        ram.write(last, &[1; 4096]).expect("the last page is RAM");
        assert!(ram.write(GuestPhys(last.0 + 1), &[1; 4096]).is_err());
    }

    #[test]
    fn sizes_that_no_pc_has_are_refused() {
        for size in [0, 4096, 3 << 20 | 1, 2 << 40] {
            assert!(GuestRam::new(size).is_err(), "{size}");
        }
    }
}
