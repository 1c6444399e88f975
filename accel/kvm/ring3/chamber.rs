//! The memory of our own beside the guest's: where what interrupts user mode ends up, and what leads there.
//!
//! The machine only ever runs ring 3. Its page tables are a copy of the guest's top page, whose user half is the guest's and whose
//! last entry is ours: that maps this memory, for ring 0 alone. Every exception comes through a gate to a stub that writes to a
//! port and so leaves KVM; the frame that the processor pushed is then found here. No gate is open to ring 3, so that INT3 and
//! its like are refused, as faults of the very instruction. SDM: vol. 3 §6.14 (interrupts in 64-bit mode), §8.7 (the task
//! state in 64-bit mode).
//!
//! All that is in here was written by us or by the processor on our behalf; a guest that maps it by its own page tables and
//! changes it comes to harm alone, because nothing that is read here is taken for more than the guest's own registers.

use std::sync::Arc;

use dragoman_devices::memory::{GuestRam, MemoryError};
use dragoman_state::{GuestPhys, PAGE_SIZE, Segment};

/// Where this memory lies in the machine: in the hole below 4 GiB, where no RAM ever is.
pub(super) const PLACE: GuestPhys = GuestPhys(0xd000_0000);
/// Where its first page is mapped: by the last entry of the top page.
const BASE: u64 = 0xffff_ff80_0000_0000;
/// Where all of physical memory is mapped.
const ALIAS: u64 = BASE + (1 << 30);
/// How much of it can be.
pub(super) const LARGEST: u64 = 510 << 30;
/// The same where pages of 1 GiB are not to be had.
pub(super) const LARGEST_BY_2_MIB: u64 = (ROOTS - LARGE_PAGES) << 30;

// Pages.
const GDT: u64 = 0;
const IDT: u64 = 1;
const TASK: u64 = 2;
const STUBS: u64 = 3;
const STACK: u64 = 4;
const LIST: u64 = 5;
const POINTERS: u64 = 6;
const DIRECTORY: u64 = 7;
const TABLE: u64 = 8;
/// Directories of pages of 2 MiB.
const LARGE_PAGES: u64 = 16;
/// Copies of the guest's top pages.
const ROOTS: u64 = 64;
/// How many.
pub(super) const COPIES: usize = 64;
const PAGES: u64 = ROOTS + COPIES as u64;

/// Selectors beyond those that a guest's table has.
const CODE: u16 = 0xfc0;
const TASK_STATE: u16 = 0xfd0;
/// How many bytes of the guest's descriptor table are shown to ring 3 at most.
pub(super) const DESCRIPTORS: usize = CODE as usize;

/// How long each stub is.
const STUB: u64 = 8;
/// Where the code that makes KVM look again is, behind the stubs.
const LOOK_AGAIN: u64 = 256 * STUB;
/// Where SYSCALL goes: nowhere.
pub(in crate::kvm) const NOWHERE: u64 = BASE + 0x10_0000;
/// How many tables one list holds.
pub(super) const LONGEST_LIST: usize = PAGE_SIZE as usize / 8 - 1;

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const LARGE: u64 = 1 << 7;
/// Where the user half of a top page ends.
const HALF: usize = PAGE_SIZE as usize / 2;

/// What the processor pushed when it left ring 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pushed {
    /// The vector that it left by.
    pub vector: u8,
    pub rip: u64,
    pub cs: u16,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u16,
}

/// Where the machine's system registers point.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tables {
    pub gdt: (u64, u16),
    pub idt: (u64, u16),
    pub task: (u16, u64, u32),
}

/// The memory.
pub(super) struct Chamber {
    ram: Arc<GuestRam>,
    descriptors: Vec<u8>,
}

const fn at(page: u64) -> GuestPhys {
    GuestPhys(page * PAGE_SIZE)
}

const fn physical(page: u64) -> u64 {
    PLACE.0 + page * PAGE_SIZE
}

impl Chamber {
    /// The memory of a machine whose physical addresses end at `end`, mapped by pages of 1 GiB where it `has_huge_pages`.
    pub fn new(end: u64, has_huge_pages: bool) -> Result<Self, MemoryError> {
        // The smallest there is; only its beginning is used.
        let chamber = Self { ram: Arc::new(GuestRam::new(2 << 20)?), descriptors: Vec::new() };
        chamber.fill(end, has_huge_pages)?;
        Ok(chamber)
    }

    fn fill(&self, end: u64, has_huge_pages: bool) -> Result<(), MemoryError> {
        let own = PRESENT | WRITABLE;
        // This memory among them.
        let gibibytes = end.max(1 << 32).div_ceil(1 << 30);
        let alias = |n: u64| match has_huge_pages {
            true => n << 30 | own | LARGE,
            false => physical(LARGE_PAGES + n) | own,
        };
        self.entries(POINTERS, std::iter::once(physical(DIRECTORY) | own).chain((0..gibibytes).map(alias)))?;
        if !has_huge_pages {
            let pages = |n: u64| (0..512).map(move |page| n << 30 | page << 21 | own | LARGE);
            (0..gibibytes).try_for_each(|n| self.entries(LARGE_PAGES + n, pages(n)))?;
        }
        self.entries(DIRECTORY, [physical(TABLE) | own].into_iter())?;
        self.entries(TABLE, (0..PAGES).map(|page| physical(page) | own))?;
        let code: u64 = 0x00af_9b00_0000_ffff;
        let task = BASE + TASK * PAGE_SIZE;
        let low = 0x67 | (task & 0xff_ffff) << 16 | 0x89 << 40 | (task >> 24 & 0xff) << 56;
        let gdt = [(CODE, code), (TASK_STATE, low), (TASK_STATE + 8, task >> 32)];
        gdt.into_iter()
            .try_for_each(|(selector, word)| self.ram.write(GuestPhys(at(GDT).0 + u64::from(selector)), &word.to_le_bytes()))?;
        self.entries(IDT, (0..256u64).flat_map(gate))?;
        // The first of the seven stacks that gates name.
        self.ram.write(GuestPhys(at(TASK).0 + 0x24), &(BASE + (STACK + 1) * PAGE_SIZE).to_le_bytes())?;
        for vector in 0..256 {
            self.ram.write(GuestPhys(at(STUBS).0 + vector * STUB), &[0xe6, PORT, 0xf4])?; // OUT PORT, AL ; HLT
        }
        self.ram.write(GuestPhys(at(STUBS).0 + LOOK_AGAIN), &LOOK_AGAIN_CODE)
    }

    fn entries(&self, page: u64, entries: impl Iterator<Item = u64>) -> Result<(), MemoryError> {
        let bytes: Vec<u8> = entries.flat_map(u64::to_le_bytes).collect();
        self.ram.write(at(page), &bytes)
    }

    /// The memory itself.
    pub fn ram(&self) -> &Arc<GuestRam> {
        &self.ram
    }

    /// Where the machine's system registers point.
    pub fn tables(&self) -> Tables {
        Tables {
            gdt: (BASE + GDT * PAGE_SIZE, TASK_STATE + 15),
            idt: (BASE + IDT * PAGE_SIZE, 0xfff),
            task: (TASK_STATE, BASE + TASK * PAGE_SIZE, 0x67),
        }
    }

    /// Shows ring 3 the guest's descriptors, so that LAR, LSL and loads of segments find them. What would have to be marked
    /// as accessed is not there: a load of it comes out, and is the guest's own.
    pub fn show_descriptors(&mut self, guests: &[u8]) -> Result<(), MemoryError> {
        const PRESENT: u64 = 1 << 47;
        const ACCESSED: u64 = 1 << 40;
        const IS_CODE_OR_DATA: u64 = 1 << 44;
        if self.descriptors == guests {
            return Ok(());
        }
        let mut shown = Vec::with_capacity(DESCRIPTORS);
        for bytes in guests.chunks_exact(8).take(DESCRIPTORS / 8) {
            let descriptor = bytes.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte));
            let is_loadable = descriptor & IS_CODE_OR_DATA != 0 && descriptor & ACCESSED == 0;
            shown.extend((if is_loadable { descriptor & !PRESENT } else { descriptor }).to_le_bytes());
        }
        shown.resize(DESCRIPTORS, 0);
        self.ram.write(at(GDT), &shown)?;
        self.descriptors = guests.to_vec();
        Ok(())
    }

    /// The segment that a selector leads to, as ring 3 is shown it; a null one where that is none.
    pub fn descriptor(&self, selector: u16) -> Result<Segment, MemoryError> {
        let index = u64::from(selector & !7);
        if index == 0 || index as usize >= DESCRIPTORS {
            return Ok(Segment::null(selector));
        }
        let mut bytes = [0; 8];
        self.ram.read(GuestPhys(at(GDT).0 + index), &mut bytes)?;
        Ok(Segment::from_descriptor(selector, u64::from_le_bytes(bytes)))
    }

    /// Makes copy number `copy` one of a top page whose entries are `entries`; whether it changed.
    pub fn set_root(&self, copy: usize, entries: &[u8; PAGE_SIZE as usize]) -> Result<bool, MemoryError> {
        let place = at(ROOTS + copy as u64);
        let mut wanted = [0; PAGE_SIZE as usize];
        wanted[..HALF].copy_from_slice(&entries[..HALF]);
        let last = (physical(POINTERS) | PRESENT | WRITABLE).to_le_bytes();
        wanted[PAGE_SIZE as usize - 8..].copy_from_slice(&last);
        let mut known = [0; PAGE_SIZE as usize];
        self.ram.read(place, &mut known)?;
        if known == wanted {
            return Ok(false);
        }
        self.ram.write(place, &wanted)?;
        Ok(true)
    }

    /// What CR3 holds for copy number `copy`.
    pub fn root(copy: usize) -> u64 {
        physical(ROOTS + copy as u64)
    }

    /// The selector of our code.
    pub const fn code() -> u16 {
        CODE
    }

    /// Prepares the code that has KVM look again at `tables`, physical addresses of pages that it may have read page tables
    /// from, [`LONGEST_LIST`] at most. Returns RIP, RSP and RSI for it. It leaves by the port.
    ///
    /// Where the processor walks page tables itself, the reload of CR3 at its end is what counts. Where KVM keeps shadows of
    /// them, it knows of no writes but those of the machine's own processors: so that makes one, to each table, of what is there
    /// anyway; and because it is a byte in the middle of an entry, as nobody writes who means an entry, KVM gives up all of the
    /// table's shadow.
    pub fn look_again(&self, tables: &[u64]) -> Result<(u64, u64, u64), MemoryError> {
        let list = tables.iter().take(LONGEST_LIST).map(|table| ALIAS + table + 1).chain([0]);
        self.entries(LIST, list)?;
        Ok((BASE + STUBS * PAGE_SIZE + LOOK_AGAIN, BASE + (STACK + 1) * PAGE_SIZE, BASE + LIST * PAGE_SIZE))
    }

    /// What was pushed when ring 3 was left, given the RIP at which the machine stopped in ring 0; `None` where it is not that
    /// of a stub.
    pub fn pushed(&self, rip: u64) -> Option<Pushed> {
        let into = rip.wrapping_sub(BASE + STUBS * PAGE_SIZE);
        let vector = u8::try_from(into / STUB).ok()?;
        let mut bytes = [0; 40];
        self.ram.read(GuestPhys(at(STACK + 1).0 - 40), &mut bytes).ok()?;
        let [rip, cs, rflags, rsp, ss] =
            std::array::from_fn(|n| bytes[8 * n..8 * n + 8].iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte)));
        Some(Pushed { vector, rip, cs: cs as u16, rflags, rsp, ss: ss as u16 })
    }
}

/// The port that stubs write to.
pub(super) const PORT: u8 = 0x10;

#[rustfmt::skip] // one instruction a line
const LOOK_AGAIN_CODE: [u8; 28] = [
    0x48, 0x8b, 0x3e,       // MOV RDI, [RSI]
    0x48, 0x85, 0xff,       // TEST RDI, RDI
    0x74, 0x0a,             // JZ to the end
    0x8a, 0x07,             // MOV AL, [RDI]
    0x88, 0x07,             // MOV [RDI], AL
    0x48, 0x83, 0xc6, 0x08, // ADD RSI, 8
    0xeb, 0xee,             // JMP to the start
    0x0f, 0x20, 0xd8,       // MOV RAX, CR3
    0x0f, 0x22, 0xd8,       // MOV CR3, RAX
    0xe6, PORT,             // OUT PORT, AL
    0xf4, 0xf4,             // HLT
];

/// The two words of the gate for `vector`: an interrupt gate of ring 0, to its stub, on the first stack.
fn gate(vector: u64) -> [u64; 2] {
    let stub = BASE + STUBS * PAGE_SIZE + vector * STUB;
    let low = stub & 0xffff | (CODE as u64) << 16 | 1 << 32 | 0x8e << 40 | (stub >> 16 & 0xffff) << 48;
    [low, stub >> 32]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(chamber: &Chamber, page: u64, offset: u64) -> u64 {
        let mut bytes = [0; 8];
        chamber.ram.read(GuestPhys(at(page).0 + offset), &mut bytes).expect("it is there");
        u64::from_le_bytes(bytes)
    }

    #[test]
    fn what_a_stub_finds_is_what_the_processor_pushed() {
        let chamber = Chamber::new(512 << 20, true).expect("memory");
        let frame = [0x40_1000u64, 0x33, 0x246, 0x7fff_0000, 0x2b];
        let bytes: Vec<u8> = frame.iter().flat_map(|word| word.to_le_bytes()).collect();
        chamber.ram.write(GuestPhys(at(STACK + 1).0 - 40), &bytes).expect("it is there");
        let gate = word(&chamber, IDT, 14 * 16);
        let stub = word(&chamber, IDT, 14 * 16 + 8) << 32 | gate >> 32 & 0xffff_0000 | gate & 0xffff;
        let pushed = Pushed { vector: 14, rip: 0x40_1000, cs: 0x33, rflags: 0x246, rsp: 0x7fff_0000, ss: 0x2b };
        // At the stub's first instruction, and behind it.
        assert_eq!((chamber.pushed(stub), chamber.pushed(stub + 2)), (Some(pushed), Some(pushed)));
        assert_eq!((chamber.pushed(stub - 0x1000), chamber.pushed(0x40_1000)), (None, None));
        let privilege = gate >> 45 & 3;
        assert_eq!(privilege, 0);
    }

    #[test]
    fn a_copy_has_the_guests_user_half_and_our_entry() {
        let chamber = Chamber::new(512 << 20, true).expect("memory");
        let mut entries = [0; 4096];
        entries.chunks_exact_mut(8).enumerate().for_each(|(n, entry)| entry.copy_from_slice(&(n as u64 + 1).to_le_bytes()));
        assert!(chamber.set_root(3, &entries).expect("it is there"));
        assert!(!chamber.set_root(3, &entries).expect("it is there"));
        assert_eq!([0, 255, 256, 510].map(|n| word(&chamber, ROOTS + 3, 8 * n)), [1, 256, 0, 0]);
        assert_eq!(word(&chamber, ROOTS + 3, 8 * 511), physical(POINTERS) | 3);
        assert_eq!(Chamber::root(3), PLACE.0 + (ROOTS + 3) * PAGE_SIZE);
    }

    #[test]
    fn descriptors_that_a_load_would_mark_are_not_there() {
        let mut chamber = Chamber::new(512 << 20, true).expect("memory");
        let (accessed, fresh): (u64, u64) = (0x00af_fb00_0000_ffff, 0x00cf_f200_0000_ffff);
        let guests: Vec<u8> = [0, accessed, fresh].iter().flat_map(|word| word.to_le_bytes()).collect();
        chamber.show_descriptors(&guests).expect("it is there");
        assert_eq!([8, 16, 24].map(|at| word(&chamber, GDT, at)), [accessed, fresh & !(1 << 47), 0]);
        assert_ne!(word(&chamber, GDT, CODE.into()), 0);
    }

    #[test]
    fn all_of_memory_is_mapped_by_pages_of_either_size() {
        let huge = Chamber::new(5 << 30, true).expect("memory");
        assert_eq!([0, 1, 5, 6].map(|n| word(&huge, POINTERS, 8 * n)), [physical(DIRECTORY) | 3, 0x83, 4 << 30 | 0x83, 0]);
        let large = Chamber::new(5 << 30, false).expect("memory");
        assert_eq!(word(&large, POINTERS, 16), physical(LARGE_PAGES + 1) | 3);
        assert_eq!(word(&large, LARGE_PAGES + 1, 8), 1 << 30 | 1 << 21 | 0x83);
    }
}
