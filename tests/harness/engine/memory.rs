//! Guest memory while instructions are judged: the pages of a case at their linear addresses, the processor's own pages,
//! and the page tables that lead to both.
//!
//! Pages below 1 MiB lie at physical addresses equal to their linear ones; others take frames above. SDM: vol. 3 §4.3, §4.5.

use std::sync::Arc;

use dragoman_devices::memory::{GuestRam, MemoryError};
use dragoman_state::GuestPhys;

use super::tables;
use crate::{
    Mode,
    case::{Access, PageMap},
    layout::{BACKGROUND, FRAMES, HLT, PAGE, RAM_SIZE},
};

const PRESENT: u64 = 1;
const WRITABLE: u64 = 2;
const USER: u64 = 4;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// One mapped page.
#[derive(Clone, Copy, Debug)]
struct Mapped {
    linear: u64,
    frame: u64,
    access: Access,
}

/// Guest memory.
pub struct Memory {
    ram: Arc<GuestRam>,
    pages: Vec<Mapped>,
    /// The processor's own pages and what they hold at the start.
    system: Vec<tables::Page>,
    next_frame: u64,
    root: u64,
    mode: Option<Mode>,
    map: PageMap,
}

impl Memory {
    /// Memory with nothing mapped.
    pub fn new() -> Result<Self, MemoryError> {
        Ok(Self {
            ram: Arc::new(GuestRam::new(RAM_SIZE)?),
            pages: Vec::new(),
            system: Vec::new(),
            next_frame: 0,
            root: 0,
            mode: None,
            map: PageMap::new(),
        })
    }

    /// The memory itself.
    pub fn ram(&self) -> &Arc<GuestRam> {
        &self.ram
    }

    /// What CR3 is to hold.
    pub fn root(&self) -> u64 {
        self.root
    }

    /// Maps what `map` names, and what `mode` needs. The pages of the map hold the background, or HLT where code can be;
    /// where mode and map are as before, they are left as they are.
    pub fn prepare(&mut self, mode: Mode, map: &PageMap) {
        if self.mode == Some(mode) && self.map == *map {
            return;
        }
        (self.mode, self.map) = (Some(mode), map.clone());
        self.system = tables::pages(mode);
        self.pages.clear();
        self.next_frame = FRAMES.start;
        self.root = self.take_frame();
        for (linear, bytes) in std::mem::take(&mut self.system) {
            self.write_physical(linear, &bytes);
            self.map_page(mode, linear, linear, PRESENT | WRITABLE);
            self.system.push((linear, bytes));
        }
        for (linear, access) in map.pages().to_vec() {
            let frame = if linear < FRAMES.start { linear } else { self.take_frame() };
            let fill = if access.is_executable() { HLT } else { BACKGROUND };
            self.write_physical(frame, &[fill; PAGE as usize]);
            self.pages.push(Mapped { linear, frame, access });
            let user = if access == Access::Supervisor { 0 } else { USER };
            let rights = PRESENT | user | if access.is_writable() { WRITABLE } else { 0 };
            let no_execute = if mode.is_long() && !access.is_executable() { NO_EXECUTE } else { 0 };
            self.map_page(mode, linear, frame, rights | no_execute);
        }
    }

    /// Makes the next [`Memory::prepare`] begin anew.
    pub fn forget(&mut self) {
        self.mode = None;
    }

    fn take_frame(&mut self) -> u64 {
        let frame = self.next_frame;
        assert!(frame < FRAMES.end, "a row maps more pages than there are frames");
        self.next_frame += PAGE;
        self.write_physical(frame, &[0; PAGE as usize]);
        frame
    }

    /// Enters one page into the tables of `mode`.
    fn map_page(&mut self, mode: Mode, linear: u64, frame: u64, rights: u64) {
        let (levels, bits, entry_size): (u32, u32, u64) = match mode {
            Mode::Real16 => return,
            Mode::Vm86 | Mode::Prot16 | Mode::Prot32 => (2, 10, 4),
            Mode::Comp16 | Mode::Comp32 | Mode::Long64 => (4, 9, 8),
        };
        let mut table = self.root;
        for level in (0..levels).rev() {
            let index = linear >> (12 + bits * level) & ((1 << bits) - 1);
            let at = table + index * entry_size;
            if level == 0 {
                self.write_physical(at, &(frame | rights).to_le_bytes()[..entry_size as usize]);
                return;
            }
            let mut entry = [0; 8];
            self.read_physical(at, &mut entry[..entry_size as usize]);
            let entry = u64::from_le_bytes(entry);
            table = entry & ADDRESS;
            if entry & PRESENT == 0 {
                table = self.take_frame();
                let entry = table | PRESENT | WRITABLE | USER;
                self.write_physical(at, &entry.to_le_bytes()[..entry_size as usize]);
            }
        }
    }

    fn write_physical(&self, at: u64, bytes: &[u8]) {
        self.ram.write(GuestPhys(at), bytes).expect("the layout lies in guest memory");
    }

    fn read_physical(&self, at: u64, bytes: &mut [u8]) {
        self.ram.read(GuestPhys(at), bytes).expect("the layout lies in guest memory");
    }

    /// The physical address of linear address `at`, of the case's pages or the processor's own.
    pub fn physical(&self, at: u64) -> Option<u64> {
        let page = at & !(PAGE - 1);
        let case = self.pages.iter().find(|mapped| mapped.linear == page).map(|mapped| mapped.frame);
        let frame = case.or_else(|| self.system.iter().any(|(linear, _)| *linear == page).then_some(page))?;
        Some(frame + at % PAGE)
    }

    /// Writes at linear addresses, whatever the pages allow; bytes that are not mapped are left out.
    pub fn write(&self, at: u64, bytes: &[u8]) {
        for (at, range) in pieces(at, bytes.len()) {
            if let Some(place) = self.physical(at) {
                self.write_physical(place, &bytes[range]);
            }
        }
    }

    /// Reads from linear addresses; bytes that are not mapped are left as they are.
    pub fn read(&self, at: u64, bytes: &mut [u8]) {
        for (at, range) in pieces(at, bytes.len()) {
            if let Some(place) = self.physical(at) {
                self.read_physical(place, &mut bytes[range]);
            }
        }
    }

    /// Fills with what the page that `at` is in held at the start.
    pub fn clear(&self, at: u64, length: usize) {
        for (at, range) in pieces(at, length) {
            let page = at & !(PAGE - 1);
            if let Some(mapped) = self.pages.iter().find(|mapped| mapped.linear == page) {
                let fill = if mapped.access.is_executable() { HLT } else { BACKGROUND };
                self.write_physical(mapped.frame + at % PAGE, &vec![fill; range.len()]);
            }
        }
    }

    /// Fills every page below the page tables that belongs to nobody with `byte`.
    pub fn fill_rest(&self, byte: u8) {
        let bytes = [byte; PAGE as usize];
        for page in (PAGE..FRAMES.start).step_by(PAGE as usize).filter(|page| self.physical(*page).is_none()) {
            // There is a hole where the screen's memory is on a PC.
            let _ = self.ram.write(GuestPhys(page), &bytes);
        }
    }

    /// The case's pages that hold no code, and what each holds now.
    pub fn data_pages(&self) -> impl Iterator<Item = (u64, [u8; PAGE as usize])> {
        self.pages.iter().filter(|mapped| !mapped.access.is_executable()).map(|mapped| {
            let mut bytes = [0; PAGE as usize];
            self.read_physical(mapped.frame, &mut bytes);
            (mapped.linear, bytes)
        })
    }

    /// Every page that user code or the processor could have changed, page tables apart: its linear address and what it
    /// holds.
    pub fn image(&self) -> Vec<(u64, Vec<u8>)> {
        let cases = self.pages.iter().map(|mapped| (mapped.linear, mapped.frame));
        let system = self.system.iter().map(|(linear, _)| (*linear, *linear));
        cases
            .chain(system)
            .map(|(linear, frame)| {
                let mut bytes = vec![0; PAGE as usize];
                self.read_physical(frame, &mut bytes);
                (linear, bytes)
            })
            .collect()
    }
}

/// `length` bytes from `at`, cut where pages end: addresses, and which of the bytes they are.
fn pieces(at: u64, length: usize) -> impl Iterator<Item = (u64, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done >= length {
            return None;
        }
        let next = at.wrapping_add(done as u64);
        let size = ((PAGE - next % PAGE) as usize).min(length - done);
        let range = done..done + size;
        done += size;
        Some((next, range))
    })
}
