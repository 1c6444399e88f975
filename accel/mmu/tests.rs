//! What the MMU remembers, forgets, and lets nobody do unnoticed.

use dragoman_devices::memory::GuestRam;
use dragoman_frontend::{
    model::CpuModel,
    paging::{AccessKind, PageFault, Paging},
    semantics::Flush,
};
use dragoman_state::{Cr0, Cr4, Efer, GuestPhys, GuestVirt, VcpuId, VcpuState, Width};

use super::*;

const PRESENT: u64 = 1;
const WRITABLE: u64 = 2;
const USER: u64 = 4;
const LARGE: u64 = 0x80;
const GLOBAL: u64 = 0x100;
const RW: u64 = PRESENT | WRITABLE | USER;

/// Tables at 1 MiB; the leaf table maps linear 0 and up, one entry a page.
const LEAVES: u64 = 0x10_3000;
const DIRECTORY: u64 = 0x10_2000;

struct Scene {
    mmu: Mmu,
    state: VcpuState,
}

impl Scene {
    fn new() -> Self {
        let ram = Arc::new(GuestRam::new(8 << 20).expect("small"));
        let mut state = VcpuState::power_on(VcpuId(0), 0);
        state.cr0 |= Cr0::PE | Cr0::PG | Cr0::WP;
        state.cr4 |= Cr4::PAE | Cr4::PGE;
        state.efer |= Efer::LME | Efer::LMA | Efer::NXE;
        state.cr3 = 0x10_0000;
        let paging = Paging::of(&state, &CpuModel::newest());
        let mut scene = Self { mmu: Mmu::new(ram, paging), state };
        scene.put(0x10_0000, 0x10_1000 | RW);
        scene.put(0x10_1000, DIRECTORY | RW);
        scene.put(DIRECTORY, LEAVES | RW);
        scene.mmu.set_paging(paging, &scene.state);
        scene
    }

    fn put(&mut self, at: u64, entry: u64) {
        self.mmu.ram().write(GuestPhys(at), &entry.to_le_bytes()).expect("RAM");
    }

    fn map(&mut self, page: u64, entry: u64) {
        self.put(LEAVES + 8 * page, entry);
    }

    fn locate(&mut self, kind: AccessKind, at: u64) -> Result<Place, MemoryFault> {
        self.mmu.locate(ViewIndex::Supervisor, kind, GuestVirt(at))
    }

    fn known(&self, at: u64) -> Option<u64> {
        self.mmu.load_fast(ViewIndex::Supervisor, at, Width::Qword)
    }

    fn writes_fast(&self, at: u64) -> bool {
        self.mmu.store_fast(ViewIndex::Supervisor, at, Width::Qword, 7)
    }
}

#[test]
fn the_fast_path_knows_a_page_after_the_slow_one_and_for_that_kind_of_access_alone() {
    let mut scene = Scene::new();
    scene.map(3, 0x20_0000 | RW);
    assert_eq!(scene.known(0x3000), None);
    assert!(matches!(scene.locate(AccessKind::Read, 0x3008), Ok(Place::Ram(place)) if place.at == GuestPhys(0x20_0008)));
    assert_eq!(scene.known(0x3000), Some(0));
    assert!(!scene.writes_fast(0x3000));
    assert!(scene.locate(AccessKind::Write, 0x3000).is_ok());
    assert!(scene.writes_fast(0x3000));
    assert_eq!(scene.known(0x3000), Some(7));
}

#[test]
fn an_access_that_runs_into_the_next_page_is_never_fast() {
    let mut scene = Scene::new();
    scene.map(3, 0x20_0000 | RW);
    scene.map(4, 0x20_1000 | RW);
    for at in [0x3000, 0x4000] {
        assert!(scene.locate(AccessKind::Read, at).is_ok());
    }
    assert!(scene.known(0x3ff8).is_some());
    for at in 0x3ff9..0x4000 {
        assert_eq!(scene.known(at), None, "{at:#x}");
    }
}

#[test]
fn an_address_that_is_not_canonical_is_never_fast_and_is_refused() {
    let mut scene = Scene::new();
    assert_eq!(scene.locate(AccessKind::Read, 1 << 47), Err(MemoryFault::NotCanonical));
    assert_eq!(scene.known(u64::MAX - 3), None, "the last bytes of the address space wrap");
}

#[test]
fn what_is_remembered_stays_until_it_is_flushed_and_a_page_flush_takes_one_page() {
    let mut scene = Scene::new();
    for page in [3, 4] {
        scene.map(page, (0x20_0000 + 0x1000 * page) | RW);
        assert!(scene.locate(AccessKind::Read, 0x1000 * page).is_ok());
        scene.map(page, 0);
    }
    assert!(scene.locate(AccessKind::Read, 0x3000).is_ok(), "stale, as the architecture allows");
    scene.mmu.flush(Flush::Page(GuestVirt(0x3abc)));
    assert_eq!(scene.known(0x3000), None);
    assert_eq!(scene.locate(AccessKind::Read, 0x3000), Err(MemoryFault::Page(PageFault(0), GuestVirt(0x3000))));
    assert!(scene.known(0x4000).is_some());
    scene.mmu.flush(Flush::NotGlobal);
    assert!(scene.locate(AccessKind::Read, 0x4000).is_err());
}

#[test]
fn global_pages_outlive_a_change_of_address_space_and_not_a_full_flush() {
    let mut scene = Scene::new();
    scene.map(3, 0x20_0000 | RW | GLOBAL);
    assert!(scene.locate(AccessKind::Read, 0x3000).is_ok());
    scene.map(3, 0);
    scene.mmu.flush(Flush::NotGlobal);
    assert!(scene.locate(AccessKind::Read, 0x3000).is_ok());
    scene.mmu.flush(Flush::All);
    assert!(scene.locate(AccessKind::Read, 0x3000).is_err());
}

#[test]
fn flushing_one_address_of_a_large_page_flushes_all_of_it() {
    let mut scene = Scene::new();
    scene.put(DIRECTORY + 8, 0x20_0000 | RW | LARGE);
    for at in [0x20_0000, 0x2a_b000, 0x3f_f000] {
        assert!(scene.locate(AccessKind::Read, at).is_ok());
    }
    scene.put(DIRECTORY + 8, 0);
    scene.mmu.flush(Flush::Page(GuestVirt(0x30_0000)));
    for at in [0x20_0000, 0x2a_b000, 0x3f_f000] {
        assert!(scene.known(at).is_none() && scene.locate(AccessKind::Read, at).is_err(), "{at:#x}");
    }
}

#[test]
fn a_right_that_was_given_since_is_found_by_walking_again() {
    let mut scene = Scene::new();
    scene.map(3, 0x20_0000 | PRESENT);
    assert!(scene.locate(AccessKind::Read, 0x3000).is_ok());
    assert_eq!(scene.locate(AccessKind::Write, 0x3000), Err(MemoryFault::Page(PageFault(3), GuestVirt(0x3000))));
    scene.map(3, 0x20_0000 | PRESENT | WRITABLE);
    assert!(scene.locate(AccessKind::Write, 0x3000).is_ok());
}

#[test]
fn ring_3_has_a_view_of_its_own() {
    let mut scene = Scene::new();
    scene.map(3, 0x20_0000 | PRESENT | WRITABLE);
    assert!(scene.locate(AccessKind::Read, 0x3000).is_ok());
    assert_eq!(scene.mmu.load_fast(ViewIndex::User, 0x3000, Width::Byte), None);
    let refused = scene.mmu.locate(ViewIndex::User, AccessKind::Read, GuestVirt(0x3000));
    assert_eq!(refused, Err(MemoryFault::Page(PageFault(5), GuestVirt(0x3000))));
}

#[test]
fn a_page_of_code_is_not_written_unnoticed() {
    let mut scene = Scene::new();
    scene.map(3, 0x20_0000 | RW);
    scene.map(4, 0x20_0000 | RW);
    for at in [0x3000, 0x4000] {
        assert!(scene.locate(AccessKind::Write, at).is_ok() && scene.writes_fast(at));
    }
    assert!(scene.mmu.ram().tracker().mark_code(GuestPhys(0x20_0100), 5));
    scene.mmu.protect(GuestPhys(0x20_0000));
    for at in [0x3000, 0x4000] {
        assert!(!scene.writes_fast(at), "through every alias");
        let Ok(Place::Ram(place)) = scene.locate(AccessKind::Write, at) else { panic!("mapped") };
        assert!(!scene.writes_fast(at), "nor after the slow path");
        assert!(!scene.mmu.store(place, Width::Qword, 1), "beside the code");
        assert!(scene.mmu.store(place.plus(0x100), Width::Byte, 1), "into the code");
        assert!(scene.mmu.update(place.plus(0x100), Width::Dword, |old| old + 1).expect("aligned").1);
    }
}

#[test]
fn the_first_write_to_each_page_is_logged_and_the_next_ones_are_fast() {
    let mut scene = Scene::new();
    scene.map(3, 0x20_0000 | RW);
    assert!(scene.locate(AccessKind::Write, 0x3000).is_ok());
    scene.mmu.ram().tracker().start_log();
    scene.mmu.drop_write_entries();
    assert!(!scene.writes_fast(0x3000));
    let Ok(Place::Ram(place)) = scene.locate(AccessKind::Write, 0x3000) else { panic!("mapped") };
    scene.mmu.store(place, Width::Qword, 1);
    assert!(scene.mmu.ram().tracker().dirty_pages().any(|page| page == GuestPhys(0x20_0000)));
    assert!(scene.locate(AccessKind::Write, 0x3000).is_ok() && scene.writes_fast(0x3000));
}

#[test]
fn what_is_no_memory_goes_to_the_bus() {
    let mut scene = Scene::new();
    scene.map(3, 0xfee0_0000 | RW);
    assert_eq!(scene.locate(AccessKind::Read, 0x3020), Ok(Place::Io(GuestPhys(0xfee0_0020))));
    assert_eq!(scene.known(0x3020), None);
}

#[test]
fn unaligned_accesses_read_and_write_the_bytes_they_name() {
    let mut scene = Scene::new();
    scene.map(3, 0x20_0000 | RW);
    assert!(scene.locate(AccessKind::Write, 0x3000).is_ok() && scene.locate(AccessKind::Read, 0x3000).is_ok());
    for at in 0x3000..0x3008 {
        for (width, value) in
            [(Width::Byte, 0xab), (Width::Word, 0xabcd), (Width::Dword, 0x89ab_cdef), (Width::Qword, 0x0123_4567_89ab_cdef)]
        {
            assert!(scene.mmu.store_fast(ViewIndex::Supervisor, at, width, value));
            assert_eq!(scene.mmu.load_fast(ViewIndex::Supervisor, at, width), Some(value));
            let first = scene.mmu.load_fast(ViewIndex::Supervisor, at, Width::Byte);
            assert_eq!(first, Some(value & 0xff), "least significant byte first, on every host");
        }
    }
}
