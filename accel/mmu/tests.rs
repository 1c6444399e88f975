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

impl Scene {
    /// Under process contexts, and in context `n`, whose tables are the same as those of all others.
    fn enter(&mut self, n: u16) {
        self.state.cr4 |= Cr4::PCIDE;
        self.state.cr3 = 0x10_0000 | u64::from(n);
        self.mmu.set_paging(Paging::of(&self.state, &CpuModel::newest()), &self.state);
        self.mmu.switch_context();
    }

    /// Whether the second level knows the page at `at`.
    fn remembers(&self, at: u64) -> bool {
        self.mmu.second.find(GuestVirt(at)).is_some()
    }

    /// Has the context in force remember the page at `at`.
    fn touch(&mut self, at: u64) {
        assert!(self.locate(AccessKind::Read, at).is_ok() && self.remembers(at));
    }

    fn entry(&self, page: u64) -> u64 {
        let mut bytes = [0; 8];
        self.mmu.ram().read(GuestPhys(LEAVES + 8 * page), &mut bytes).expect("RAM");
        u64::from_le_bytes(bytes)
    }
}

#[test]
fn a_context_is_remembered_while_others_are_in_force() {
    let mut scene = Scene::new();
    scene.map(3, 0x20_0000 | RW);
    scene.map(4, 0x20_1000 | RW | GLOBAL);
    scene.enter(1);
    scene.touch(0x3000);
    scene.touch(0x4000);
    scene.enter(2);
    assert!(!scene.remembers(0x3000) && scene.known(0x3000).is_none(), "another's");
    assert!(scene.remembers(0x4000) && scene.known(0x4000).is_some(), "everybody's");
    scene.enter(1);
    assert!(scene.remembers(0x3000));
}

#[test]
fn flushing_a_context_takes_nothing_of_another() {
    // Pages that share no line, because a line holds one context's.
    let mut scene = Scene::new();
    let fill = |scene: &mut Scene| {
        for n in [1, 2] {
            scene.map(n + 2, (0x20_0000 + 0x1000 * n) | RW);
            scene.enter(n as u16);
            scene.touch(0x1000 * (n + 2));
        }
    };
    let left = |scene: &mut Scene| {
        [1, 2].map(|n| {
            scene.enter(n as u16);
            scene.remembers(0x1000 * (n + 2))
        })
    };
    for (what, expected) in [
        (Flush::NotGlobal, [true, false]),
        (Flush::Context(1), [false, true]),
        (Flush::ContextPage(1, GuestVirt(0x3123)), [false, true]),
        (Flush::ContextPage(1, GuestVirt(0x4000)), [true, true]),
        (Flush::ContextPage(2, GuestVirt(0x4000)), [true, false]),
        (Flush::Page(GuestVirt(0x4000)), [true, false]),
        (Flush::AllNotGlobal, [false, false]),
        (Flush::All, [false, false]),
    ] {
        fill(&mut scene);
        scene.mmu.flush(what);
        assert_eq!(left(&mut scene), expected, "{what:?}");
    }
}

#[test]
fn flushing_a_page_of_another_context_leaves_the_fast_path_alone() {
    let mut scene = Scene::new();
    scene.map(3, 0x20_0000 | RW);
    scene.enter(1);
    scene.touch(0x3000);
    scene.mmu.take_forgotten();
    scene.mmu.flush(Flush::ContextPage(2, GuestVirt(0x3000)));
    assert!(scene.known(0x3000).is_some() && scene.mmu.take_forgotten().is_nothing());
}

#[test]
fn numbers_of_address_spaces_that_are_used_up_begin_anew_and_bring_nothing_back() {
    let mut scene = Scene::new();
    scene.map(3, 0x20_0000 | RW);
    scene.map(4, 0x20_1000 | RW | GLOBAL);
    scene.touch(0x3000);
    scene.touch(0x4000);
    scene.mmu.second.use_up_spaces();
    scene.enter(1);
    assert!(!scene.remembers(0x3000) && !scene.remembers(0x4000));
    for context in 0..4 {
        scene.enter(context);
        assert!(!scene.remembers(0x3000));
    }
    scene.touch(0x3000);
    scene.touch(0x4000);
    scene.mmu.flush(Flush::NotGlobal);
    assert!(!scene.remembers(0x3000) && scene.remembers(0x4000));
}

#[test]
fn what_is_remembered_says_what_may_be_done_through_which_view() {
    let mut scene = Scene::new();
    scene.map(3, 0x20_0000 | PRESENT | USER);
    scene.map(4, 0x20_1000 | PRESENT | WRITABLE);
    scene.touch(0x3000);
    scene.touch(0x4000);
    let may = |scene: &Scene, at, view: ViewIndex, kind: AccessKind| {
        scene.mmu.second.find(GuestVirt(at)).is_some_and(|line| line.rights & Line::may(view as usize, kind as usize) != 0)
    };
    assert!(may(&scene, 0x3000, ViewIndex::User, AccessKind::Read));
    assert!(!may(&scene, 0x3000, ViewIndex::User, AccessKind::Write));
    assert!(may(&scene, 0x4000, ViewIndex::Supervisor, AccessKind::Read));
    assert!(!may(&scene, 0x4000, ViewIndex::User, AccessKind::Read));
    assert!(!may(&scene, 0x4000, ViewIndex::Supervisor, AccessKind::Write), "the page is not marked dirty yet");
    assert!(scene.locate(AccessKind::Write, 0x4000).is_ok());
    assert!(may(&scene, 0x4000, ViewIndex::Supervisor, AccessKind::Write));
    scene.state.cr4 |= Cr4::SMAP;
    scene.mmu.set_paging(Paging::of(&scene.state, &CpuModel::newest()), &scene.state);
    assert!(!scene.remembers(0x3000), "under other rules");
    assert!(scene.locate(AccessKind::Read, 0x3000).is_err());
}

#[test]
fn an_access_that_may_yet_be_refused_marks_no_page_dirty() {
    let mut scene = Scene::new();
    scene.map(3, 0x20_0000 | RW);
    let at = GuestVirt(0x3000);
    assert!(!scene.mmu.find(ViewIndex::Supervisor, AccessKind::Write, at));
    assert_eq!(scene.entry(3), 0x20_0000 | RW);
    assert!(scene.mmu.find(ViewIndex::Supervisor, AccessKind::Read, at) && scene.known(0x3000).is_some());
    assert!(scene.locate(AccessKind::Write, 0x3000).is_ok());
    scene.mmu.flush(Flush::All);
    assert!(scene.mmu.find(ViewIndex::Supervisor, AccessKind::Write, at) && scene.writes_fast(0x3000));
}

#[test]
fn a_page_that_is_watched_or_no_memory_is_not_found_for_the_fast_path() {
    let mut scene = Scene::new();
    scene.map(3, 0x20_0000 | RW);
    scene.map(4, 0xfee0_0000 | RW);
    assert!(scene.locate(AccessKind::Write, 0x3000).is_ok() && scene.locate(AccessKind::Write, 0x4000).is_ok());
    assert!(scene.mmu.ram().tracker().mark_code(GuestPhys(0x20_0100), 5));
    scene.mmu.protect(GuestPhys(0x20_0000));
    let mut finds = |at, kind| scene.mmu.find(ViewIndex::Supervisor, kind, GuestVirt(at));
    assert!(finds(0x3000, AccessKind::Read) && !finds(0x3000, AccessKind::Write));
    assert!(!finds(0x4000, AccessKind::Read) && !finds(0x4000, AccessKind::Write));
}

#[test]
fn a_page_that_is_flushed_takes_no_other_with_it_however_many_large_ones_there_are() {
    const BEYOND: u64 = 0x40_0000;
    let mut scene = Scene::new();
    scene.put(DIRECTORY + 8, 0x20_0000 | RW | LARGE);
    scene.put(DIRECTORY + 16, 0x10_4000 | RW);
    for page in [0, 1] {
        scene.put(0x10_4000 + 8 * page, (0x30_0000 + 0x1000 * page) | RW);
    }
    for at in [0x20_0000, BEYOND, BEYOND + 0x1000] {
        scene.touch(at);
    }
    scene.mmu.flush(Flush::Page(GuestVirt(BEYOND)));
    assert!(!scene.remembers(BEYOND) && scene.remembers(BEYOND + 0x1000) && scene.remembers(0x20_0000));
    assert_eq!(scene.mmu.take_forgotten().ranges, [(GuestVirt(BEYOND), 0xfff)]);
}
