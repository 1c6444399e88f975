//! Walks through page tables laid out by hand from the manual's figures.

use std::collections::BTreeMap;

use dragoman_state::{Cr0, Cr4, Efer, RFlags, VcpuId, VcpuState};

use super::super::*;
use super::*;
use crate::model::CpuModel;

#[derive(Default)]
struct Memory(BTreeMap<u64, u64>);

impl PageTables for Memory {
    fn read_entry(&mut self, at: GuestPhys) -> u64 {
        self.0.get(&at.0).copied().unwrap_or(0)
    }
    fn read_short_entry(&mut self, at: GuestPhys) -> u32 {
        (self.read_entry(GuestPhys(at.0 & !7)) >> (8 * (at.0 & 4))) as u32
    }
    fn replace_entry(&mut self, at: GuestPhys, old: u64, new: u64) -> bool {
        let is_same = self.read_entry(at) == old;
        if is_same {
            self.0.insert(at.0, new);
        }
        is_same
    }
    fn replace_short_entry(&mut self, at: GuestPhys, old: u32, new: u32) -> bool {
        let (whole, shift) = (self.read_entry(GuestPhys(at.0 & !7)), 8 * (at.0 & 4));
        let mask = 0xffff_ffff << shift;
        self.replace_entry(GuestPhys(at.0 & !7), whole & !mask | u64::from(old) << shift, whole & !mask | u64::from(new) << shift)
    }
}

const RW_USER: u64 = PRESENT | WRITABLE | USER;

/// A processor in long mode with paging on and tables at 0x1000.
fn long() -> VcpuState {
    let mut state = VcpuState::power_on(VcpuId(0), 0);
    state.cr0 |= Cr0::PE | Cr0::PG | Cr0::WP;
    state.cr4 |= Cr4::PAE | Cr4::PGE;
    state.efer |= Efer::LME | Efer::LMA | Efer::NXE;
    state.cr3 = 0x1000;
    state
}

/// One path of tables from 0x1000 that maps linear page 0x0000_0080_4020_1000 (index 1 at every level).
fn mapped(leaf: u64) -> Memory {
    Memory(BTreeMap::from([(0x1008, 0x2000 | RW_USER), (0x2008, 0x3000 | RW_USER), (0x3008, 0x4000 | RW_USER), (0x4008, leaf)]))
}

const ADDRESS_OF_PATH: GuestVirt = GuestVirt(0x0080_4020_1abc);

fn access(kind: AccessKind, is_user: bool) -> Access {
    Access { kind, is_user, is_guarded: true }
}

fn go(state: &VcpuState, memory: &mut Memory, access: Access) -> Result<Translation, u32> {
    walk(&Paging::of(state, &CpuModel::newest()), memory, ADDRESS_OF_PATH, access).map_err(|fault| fault.0)
}

#[test]
fn a_four_level_walk_finds_the_page_and_sets_accessed_and_dirty() {
    let (state, mut memory) = (long(), mapped(0x9000 | RW_USER | GLOBAL));
    let read = go(&state, &mut memory, access(AccessKind::Read, true)).expect("mapped");
    assert_eq!((read.at, read.page_bits, read.is_global, read.is_dirty), (GuestPhys(0x9abc), 12, true, false));
    assert!([0x1008, 0x2008, 0x3008, 0x4008].iter().all(|at| memory.0[at] & ACCESSED != 0));
    assert_eq!(memory.0[&0x4008] & DIRTY, 0);
    assert!(go(&state, &mut memory, access(AccessKind::Write, false)).expect("mapped").is_dirty);
    assert_ne!(memory.0[&0x4008] & DIRTY, 0);
    assert_eq!(memory.0[&0x3008] & DIRTY, 0, "only the leaf is dirty");
}

#[test]
fn a_refused_access_sets_no_flag() {
    let (state, mut memory) = (long(), mapped(0x9000 | PRESENT));
    let before = memory.0.clone();
    assert_eq!(go(&state, &mut memory, access(AccessKind::Write, false)), Err(0b0011));
    assert_eq!(go(&state, &mut memory, access(AccessKind::Read, true)), Err(0b0101));
    assert_eq!(memory.0, before);
}

#[test]
fn error_codes_name_presence_write_user_and_fetch() {
    let (state, mut memory) = (long(), mapped(0));
    assert_eq!(go(&state, &mut memory, access(AccessKind::Read, false)), Err(0));
    assert_eq!(go(&state, &mut memory, access(AccessKind::Write, true)), Err(0b0110));
    assert_eq!(go(&state, &mut memory, access(AccessKind::Execute, true)), Err(0b1_0100));
    let mut memory = mapped(0x9000 | RW_USER | NO_EXECUTE);
    assert_eq!(go(&state, &mut memory, access(AccessKind::Execute, true)), Err(0b1_0101));
    assert!(go(&state, &mut memory, access(AccessKind::Read, true)).is_ok());
}

#[test]
fn reserved_bits_fault_even_where_the_access_is_forbidden_too() {
    let (state, mut memory) = (long(), mapped(0x9000 | PRESENT | 1 << 51));
    assert_eq!(go(&state, &mut memory, access(AccessKind::Write, true)), Err(0b1111));
    let mut without_nx = long();
    without_nx.efer.remove(Efer::NXE);
    let mut memory = mapped(0x9000 | RW_USER | NO_EXECUTE);
    assert_eq!(go(&without_nx, &mut memory, access(AccessKind::Read, false)), Err(0b1001));
}

#[test]
fn write_protect_binds_the_supervisor_only_when_set() {
    let (mut state, mut memory) = (long(), mapped(0x9000 | PRESENT | USER));
    assert_eq!(go(&state, &mut memory, access(AccessKind::Write, false)), Err(0b0011));
    state.cr0.remove(Cr0::WP);
    assert!(go(&state, &mut memory, access(AccessKind::Write, false)).is_ok());
    assert_eq!(go(&state, &mut memory, access(AccessKind::Write, true)), Err(0b0111));
}

#[test]
fn smep_and_smap_keep_the_supervisor_from_user_pages() {
    let (mut state, mut memory) = (long(), mapped(0x9000 | RW_USER));
    state.cr4 |= Cr4::SMEP | Cr4::SMAP;
    assert_eq!(go(&state, &mut memory, access(AccessKind::Execute, false)), Err(0b1_0001));
    assert_eq!(go(&state, &mut memory, access(AccessKind::Read, false)), Err(0b0001));
    let lifted = Access { kind: AccessKind::Read, is_user: false, is_guarded: false };
    assert!(go(&state, &mut memory, lifted).is_ok());
    state.rflags |= RFlags::AC;
    assert!(Access::by_system(AccessKind::Read).is_guarded, "the processor's own accesses are not let through by AC");
}

#[test]
fn large_pages_end_the_walk_and_their_low_address_bits_are_reserved() {
    let state = long();
    let mut memory = mapped(0);
    memory.0.insert(0x3008, 0x4000_0000 | RW_USER | LARGE);
    let found = go(&state, &mut memory, access(AccessKind::Write, true)).expect("mapped");
    assert_eq!((found.at, found.page_bits), (GuestPhys(0x4000_1abc), 21));
    memory.0.insert(0x3008, 0x4000_2000 | RW_USER | LARGE);
    assert_eq!(go(&state, &mut memory, access(AccessKind::Read, true)), Err(0b1101));
    memory.0.insert(0x2008, 0x8000_0000 | RW_USER | LARGE);
    let found = go(&state, &mut memory, access(AccessKind::Read, true)).expect("mapped");
    assert_eq!((found.at, found.page_bits), (GuestPhys(0x8020_1abc), 30));
}

#[test]
fn protection_keys_forbid_data_accesses_to_user_pages() {
    let (mut state, mut memory) = (long(), mapped(0x9000 | RW_USER | 5 << 59));
    state.cr4 |= Cr4::PKE;
    state.pkru = 0b10 << 10; // key 5: writes
    assert!(go(&state, &mut memory, access(AccessKind::Read, true)).is_ok());
    assert_eq!(go(&state, &mut memory, access(AccessKind::Write, true)), Err(0b10_0111));
    state.pkru = 0b01 << 10; // key 5: all data accesses
    assert_eq!(go(&state, &mut memory, access(AccessKind::Read, true)), Err(0b10_0101));
    assert!(go(&state, &mut memory, access(AccessKind::Execute, true)).is_ok());
}

#[test]
fn pae_walks_start_at_the_loaded_pointers() {
    let mut state = long();
    state.efer = Efer::NXE;
    state.pdptes[2] = 0x2000 | PRESENT;
    let mut memory = Memory(BTreeMap::from([(0x2008, 0x3000 | RW_USER), (0x3008, 0x9000 | RW_USER)]));
    let paging = Paging::of(&state, &CpuModel::newest());
    assert_eq!(paging.mode, PagingMode::Pae);
    let read = access(AccessKind::Read, true);
    let found = walk(&paging, &mut memory, GuestVirt(0x8020_1123), read).expect("mapped");
    assert_eq!(found.at, GuestPhys(0x9123));
    assert_eq!(walk(&paging, &mut memory, GuestVirt(0x4020_1123), read), Err(PageFault(0b0100)));
}

#[test]
fn two_level_walks_know_large_pages_with_36_bit_addresses() {
    let mut state = long();
    state.efer = Efer::empty();
    state.cr4 = Cr4::PSE;
    // Directory entry 1: a table at 0x2000; entry 2: a 4 MiB page at 0x3_0040_0000.
    let mut memory =
        Memory(BTreeMap::from([(0x1000, (0x2000 | RW_USER) << 32), (0x1008, 0x0040_0000 | 3 << 13 | LARGE | RW_USER)]));
    memory.0.insert(0x2000, (0x9000 | RW_USER) << 32);
    let paging = Paging::of(&state, &CpuModel::newest());
    let write = access(AccessKind::Write, true);
    assert_eq!(walk(&paging, &mut memory, GuestVirt(0x0040_1010), write).expect("mapped").at, GuestPhys(0x9010));
    let found = walk(&paging, &mut memory, GuestVirt(0x0081_2345), write).expect("mapped");
    assert_eq!((found.at, found.page_bits), (GuestPhys(0x3_0041_2345), 22));
    assert_ne!(memory.0[&0x2000] >> 32 & DIRTY, 0);
}
