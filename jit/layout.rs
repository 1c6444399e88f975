//! What translated code and the processor that it runs for share: where things lie, as offsets from one address.
//!
//! Rule of this file: while translated code runs, the GS segment's base is that address. The guest's registers lie in the
//! processor's state; what only translated code needs is in the [`Frame`].

use std::{collections::BTreeMap, mem::offset_of, ops::Range};

use dragoman_state::{GuestPhys, GuestVirt, PAGE_SIZE, RFlags, Segment, SegmentIndex, VcpuState};

use crate::GuestTime;

use crate::pages::SecondLevel;

/// Offsets from the address that GS points to while translated code runs.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Sixteen general-purpose registers, eight bytes each.
    pub gpr: i32,
    /// Thirty-two vector registers, 64 bytes each.
    pub vectors: i32,
    /// MXCSR, four bytes.
    pub mxcsr: i32,
    /// RFLAGS, eight bytes; its arithmetic flags are not looked at.
    pub rflags: i32,
    /// One byte: what the last instruction inhibits; 1 after STI. Whoever executes an instruction elsewhere clears it first.
    pub shadow: i32,
    /// The model-specific register that SWAPGS exchanges GS's base with.
    pub kernel_gs_base: i32,
    /// The bases of ES, CS, SS, DS, FS and GS, eight bytes each.
    pub segment_bases: [i32; 6],
    /// For each view that code may access memory through: where its tables are.
    pub tables: [Tables; VIEWS],
    /// What is behind the tables.
    pub second: SecondLevel,
    /// The [`Frame`].
    pub frame: i32,
    /// The architectural state as a whole.
    pub state: i32,
    /// The mode that it is in, four bytes.
    pub mode: i32,
    /// Which of [`Layout::tables`] code accesses memory through now, eight bytes.
    pub view: i32,
}

/// How many views there are that code may access memory through.
pub const VIEWS: usize = 3;

/// The number of ring 0's [`Layout::tables`].
pub const SUPERVISOR: usize = 0;
/// Of ring 3's.
pub const USER: usize = 1;
/// Of ring 0's while supervisor-mode access prevention is lifted.
pub const LIFTED: usize = 2;

/// The tables of one view: of pages that can be read, and of pages that can be written without telling anyone.
#[derive(Clone, Copy, Debug)]
pub struct Tables {
    /// [`Entry`](crate::pages::Entry)s of pages that can be read.
    pub read: i32,
    /// The same of pages that can be written.
    pub write: i32,
    /// How far from the entries of a table its bits are: one for each slot into which a page was put that is not global, and
    /// then as many for pages that are.
    pub used: i32,
    /// The same of pages that code can be fetched from, by physical address; the highest bit of that means something else.
    pub fetch: i32,
}

/// What a probe that found nothing is for: which of the ways there are of finding the page without leaving the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum RefillKind {
    /// A read.
    Read = 0,
    /// A write.
    Write = 1,
}

impl RefillKind {
    pub(crate) const ALL: [Self; 2] = [Self::Read, Self::Write];
}

/// The six arithmetic flags as LAHF and SETO leave them in AX: OF in bit 0, and SF, ZF, AF, PF and CF in bits 15 to 8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct SavedFlags(pub u64);

impl SavedFlags {
    /// The same flags as RFLAGS holds them.
    pub fn image(self) -> RFlags {
        let overflow = if self.0 & 1 != 0 { RFlags::OF } else { RFlags::empty() };
        RFlags::from_bits_retain(self.0 >> 8 & 0xff) & RFlags::ARITHMETIC | overflow
    }

    /// The arithmetic flags of `image`.
    pub fn of(image: RFlags) -> Self {
        Self((image.bits() & 0xff | 2) << 8 | u64::from(image.contains(RFlags::OF)))
    }
}

/// The end of one page and the start of the next, where an access to both finds them. As aligned as the longest access that
/// must be.
#[derive(Debug, Default)]
#[repr(C, align(32))]
pub struct Joint {
    pub(crate) bytes: [u64; 2 * Self::HALF / 8],
    /// The address of `bytes`.
    pub(crate) address: u64,
}

impl Joint {
    /// How much of each page: as long as an access can be.
    pub(crate) const HALF: usize = 32;
}

/// What translated code needs beside the guest's own registers.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Frame {
    /// RIP of the first byte of the page that code runs in. Code is in no particular place: all it knows is where in its
    /// page it lies.
    pub page: u64,
    /// The guest's arithmetic flags, where code keeps them here rather than in the host's.
    pub flags: SavedFlags,
    /// How the guest's arithmetic flags follow from registers, where they are neither here nor in the host's
    /// ([`Recipe::numbered`](crate::rewrite::Recipe::numbered)); zero where they are here.
    pub recipe: u32,
    /// The host's arithmetic flags when code was left.
    pub host_flags: SavedFlags,
    /// The [`Site`](crate::rewrite::Site) at which code was left.
    pub site: u64,
    /// Where an indirect jump goes.
    pub target: u64,
    /// The host address of the instruction that faulted.
    pub faulted: u64,
    /// The address of the [`JumpCache`].
    pub jumps: u64,
    /// The address of a doubleword that is not zero when somebody wants the processor's attention.
    pub attention: u64,
    /// The host address of the way out of translated code.
    pub exit: u64,
    /// The host address of the code that does the same for a return that the stack of returns does not know.
    pub return_elsewhere: u64,
    /// The same for a jump to another page, of which it is not known that it is where the jump's link leads.
    pub jump_elsewhere: u64,
    /// For each view and kind of access: the host address of the code that finds a page which the probed table does not
    /// know.
    pub refill: [[u64; RefillKind::ALL.len()]; VIEWS],
    /// The host address of the function that walks page tables for it.
    pub walk: u64,
    /// The host address of the code that has an instruction executed elsewhere and comes back.
    pub call_handler: u64,
    /// The host address of the function that executes it.
    pub execute: u64,
    /// Where whoever entered the code can be asked ([`Owner`](crate::run::Owner)).
    pub(crate) owner: u64,
    /// How many probes found nothing in their table.
    pub missed: u64,
    /// How many of them the second level served.
    pub refilled: u64,
    /// How many of them a walk served, without leaving the code.
    pub walked: u64,
    /// RIP of the last x87 instruction that the unit remembers, since the unit was brought into the host's; zero after FNINIT,
    /// and [`Frame::NO_POINTER`] where there was none. What a block did since it was entered is not in here yet where the code
    /// was left in its middle ([`Site::pointer`](crate::rewrite::Site)).
    pub x87_pointer: u64,
    /// Not zero while the guest's x87 unit is in the host's.
    pub has_x87: u32,
    /// Not zero while an interrupt waits that is let in as soon as RFLAGS.IF is set.
    pub waits: u32,
    /// How many instructions translated code has executed, where it counts them.
    pub executed: u64,
    /// Through which of FS and GS 32-bit code may not read and write at every offset ([`Frame::bounds`]).
    pub bounded: u32,
    /// What stands for an entry of the table of writable pages until the next access: a page that holds code, but not where
    /// it is being written.
    pub(crate) beside_code: [u64; 2],
    /// Not zero where no other processor can make code of what this one is about to write.
    pub is_alone: u32,
    /// Not zero where ring 3 of the address space in force is not run by translated code.
    pub user_elsewhere: u32,
    /// How often ring 3 was entered.
    pub user_entries: u64,
    /// Whether any of the first sixteen vector registers has a bit set above its low 128.
    pub has_upper_halves: u32,
    pub(crate) joint: Joint,
    /// For groups of accesses: how far the host's addresses are from the guest's.
    pub(crate) distances: [u64; 4],
    /// The host's stack pointer while the stack of returns is empty, and how far it may go down.
    pub(crate) return_base: u64,
    pub(crate) return_limit: u64,
    /// How the guest's time-stamp counter follows from the host's.
    pub time: GuestTime,
    /// The address of each view's [`JumpCache`].
    pub all_jumps: [u64; 3],
    /// Of an instruction under way: what it has no register for.
    pub scratch: u64,
    /// The host's stack pointer outside.
    pub(crate) host_stack: u64,
    /// The host's MXCSR outside.
    pub(crate) host_mxcsr: u32,
}

impl Frame {
    /// In [`Frame::x87_pointer`]: not canonical, so that of no instruction.
    pub const NO_POINTER: u64 = 1 << 63;

    /// The bit of segment register `n` in [`Frame::bounded`].
    pub const fn bounds(n: SegmentIndex) -> u32 {
        1 << n as u32
    }
}

macro_rules! frame_offsets {
    ($($name:ident),*) => {
        impl Layout {
            $(#[doc = concat!("The offset of [`Frame`]'s field `", stringify!($name), "`.")]
            pub(crate) const fn $name(&self) -> i32 {
                self.frame + offset_of!(Frame, $name) as i32
            })*
        }
    };
}

frame_offsets!(
    page,
    flags,
    recipe,
    host_flags,
    site,
    target,
    faulted,
    jumps,
    attention,
    exit,
    walk,
    call_handler,
    execute,
    owner,
    missed,
    refilled,
    walked,
    x87_pointer,
    has_x87,
    waits,
    executed,
    bounded,
    beside_code,
    is_alone,
    user_elsewhere,
    user_entries,
    has_upper_halves,
    joint,
    distances,
    return_elsewhere,
    jump_elsewhere,
    return_base,
    return_limit,
    time,
    all_jumps,
    scratch,
    host_stack,
    host_mxcsr
);

impl Layout {
    /// The offset of the address in [`Frame::refill`] for accesses of `kind` through view `view`.
    pub(crate) const fn refill(&self, view: usize, kind: RefillKind) -> i32 {
        let n = view * RefillKind::ALL.len() + kind as usize;
        self.frame + offset_of!(Frame, refill) as i32 + 8 * n as i32
    }

    /// The offset of general-purpose register `n`.
    pub(crate) const fn gpr(&self, n: u8) -> i32 {
        self.gpr + 8 * n as i32
    }

    /// The offset of slot `n` of [`Frame::distances`].
    pub(crate) const fn distance(&self, n: u8) -> i32 {
        self.distances() + 8 * n as i32
    }

    /// The offset of a segment register.
    pub(crate) const fn segment(&self, n: SegmentIndex) -> i32 {
        self.state + (offset_of!(VcpuState, segments) + n as usize * size_of::<Segment>()) as i32
    }

    /// The offset of what lies at `field` of the model-specific registers.
    pub(crate) const fn msr(&self, field: usize) -> i32 {
        self.state + (offset_of!(VcpuState, msrs) + field) as i32
    }

    /// The offset of vector register `n`.
    pub(crate) const fn vector(&self, n: u8) -> i32 {
        self.vectors + 64 * n as i32
    }
}

/// Where jumps of one view went lately: indirect ones, and those to another page.
///
/// A link from one page to another is good where the target's page is known to be the one that the link was made to. So for each
/// page of physical memory there is its *home*: the linear address at which code is known to find it.
pub struct JumpCache {
    /// What translated code reads: the RIP of each slot, where it holds nothing one that belongs in another; the host code for
    /// each; and the complement of each page's home, zero where it has none.
    memory: Box<[u64]>,
    /// Slots that may hold something, with the numbers of the pages that made them; all may where there are too many.
    used: Vec<(u16, u16)>,
    /// Whether any of them lies in a page that is not global.
    has_local: bool,
    /// For each number of a page modulo their count: whether any of them lies in such a page.
    pages: [bool; Self::PAGES],
    /// The same of regions.
    regions: [bool; Self::REGIONS],
    /// The pages that are at home somewhere, by where that is.
    homes: BTreeMap<u64, GuestPhys>,
    /// Homes that are not global pages.
    local_homes: Vec<u64>,
}

impl JumpCache {
    /// How many slots there are.
    pub const SLOTS: usize = 8192;
    const PAGES: usize = 4096;
    const REGIONS: usize = 256;
    /// As large as what is flushed around a page that may be part of a large one.
    const REGION: u64 = 4 << 20;
    /// With so many slots in use it is as cheap to forget all.
    const MANY: usize = 1024;
    /// The page's number is folded into the offset within the page, because what is called is aligned.
    pub(crate) const FOLD: i8 = 12;
    /// Where the host code is, and where the homes.
    pub(crate) const CODE: i32 = 8 * Self::SLOTS as i32;
    const HOMES: usize = 2 * Self::SLOTS;
    const HOMELESS: u64 = 0;

    /// What an empty slot holds.
    const fn nothing(slot: usize) -> u64 {
        (slot == 0) as u64
    }

    const fn slot(target: u64) -> usize {
        (target ^ target >> Self::FOLD) as usize % Self::SLOTS
    }

    /// A cache that knows nothing, for a machine whose memory ends at the physical address `end`.
    pub fn new(end: GuestPhys) -> Box<Self> {
        let mut memory = vec![0; Self::HOMES + end.0.div_ceil(PAGE_SIZE) as usize].into_boxed_slice();
        memory[0] = Self::nothing(0);
        let used = Vec::with_capacity(Self::MANY);
        let (pages, regions) = ([false; Self::PAGES], [false; Self::REGIONS]);
        let (homes, local_homes) = (BTreeMap::new(), Vec::new());
        Box::new(Self { memory, used, has_local: false, pages, regions, homes, local_homes })
    }

    /// What goes into [`Frame::jumps`].
    pub fn address(&mut self) -> u64 {
        self.memory.as_mut_ptr().expose_provenance() as u64
    }

    /// Remembers that RIP `target`, which is in a global page or not, is the host code at `code`, made of what is at the physical
    /// address `at`.
    pub fn learn(&mut self, target: u64, code: u64, at: GuestPhys, is_global: bool) {
        let (slot, page) = (Self::slot(target), Self::page(target));
        self.memory[slot] = target;
        self.memory[Self::SLOTS + slot] = code;
        if self.used.len() < Self::MANY {
            self.used.push((slot as u16, page as u16));
        }
        self.has_local |= !is_global;
        self.pages[page] = true;
        self.regions[Self::region(target)] = true;
        self.settle(target & !(PAGE_SIZE - 1), at.page(), is_global);
    }

    /// The code for RIP `target`, where it is known.
    pub fn find(&self, target: u64) -> Option<u64> {
        let slot = Self::slot(target);
        (self.memory[slot] == target).then(|| self.memory[Self::SLOTS + slot])
    }

    /// How far from [`JumpCache::address`] the home is of the page of `at`.
    pub(crate) fn home_offset(at: GuestPhys) -> Option<i32> {
        i32::try_from(at.page_number()).ok()?.checked_add(Self::HOMES as i32)?.checked_mul(8)
    }

    /// Whether the page of `at` can have a home.
    pub fn has_home(&self, at: GuestPhys) -> bool {
        (at.page_number() as usize) < self.memory.len() - Self::HOMES && Self::home_offset(at).is_some()
    }

    /// The page at the physical address `at` is at home at `home` from now on.
    fn settle(&mut self, home: u64, at: GuestPhys, is_global: bool) {
        let Some(entry) = self.memory.get_mut(Self::HOMES + at.page_number() as usize) else { return };
        if *entry == !home {
            return;
        }
        *entry = !home;
        if let Some(other) = self.homes.insert(home, at).filter(|other| *other != at) {
            self.unsettle(home, other);
        }
        if !is_global {
            self.local_homes.push(home);
        }
    }

    fn unsettle(&mut self, home: u64, at: GuestPhys) {
        let entry = &mut self.memory[Self::HOMES + at.page_number() as usize];
        // It may be at home elsewhere by now.
        if *entry == !home {
            *entry = Self::HOMELESS;
        }
    }

    fn unsettle_all(&mut self) {
        for (home, at) in std::mem::take(&mut self.homes) {
            self.unsettle(home, at);
        }
        self.local_homes.clear();
    }

    fn unsettle_local(&mut self) {
        for home in std::mem::take(&mut self.local_homes) {
            if let Some(at) = self.homes.remove(&home) {
                self.unsettle(home, at);
            }
        }
    }

    fn unsettle_between(&mut self, first: u64, last: u64) {
        while let Some((home, at)) = self.homes.range(first..=last).next().map(|(home, at)| (*home, *at)) {
            self.homes.remove(&home);
            self.unsettle(home, at);
        }
    }

    fn page(at: u64) -> usize {
        (at / PAGE_SIZE) as usize % Self::PAGES
    }

    /// Regions of user and kernel addresses that differ in high bits alone do not meet in one number.
    fn region(at: u64) -> usize {
        let n = at / Self::REGION;
        (n ^ n >> 8 ^ n >> 16) as usize % Self::REGIONS
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.clear_targets();
        self.unsettle_all();
    }

    /// Forgets everything but homes.
    pub fn clear_targets(&mut self) {
        if self.used.len() == Self::MANY {
            self.memory[..Self::SLOTS].fill(0);
            self.memory[0] = Self::nothing(0);
            self.pages = [false; Self::PAGES];
        }
        for (slot, page) in self.used.drain(..) {
            self.memory[usize::from(slot)] = Self::nothing(usize::from(slot));
            self.pages[usize::from(page)] = false;
        }
        self.regions = [false; Self::REGIONS];
        self.has_local = false;
    }

    /// Forgets what is in pages that are not global, and perhaps more.
    pub fn forget_local(&mut self) {
        if self.has_local {
            self.clear_targets();
        }
        self.unsettle_local();
    }

    /// Forgets what is between `start` and `last` bytes behind it.
    pub fn forget(&mut self, start: GuestVirt, last: u64) {
        let end = start.0.wrapping_add(last);
        if start.0 <= end {
            self.unsettle_between(start.0, end);
        } else {
            self.unsettle_between(start.0, u64::MAX);
            self.unsettle_between(0, end);
        }
        let may_hold = match last {
            0..PAGE_SIZE => self.pages[Self::page(start.0)] || self.pages[Self::page(end)],
            PAGE_SIZE..=Self::REGION => self.regions[Self::region(start.0)] || self.regions[Self::region(end)],
            _ => true,
        };
        if may_hold {
            self.forget_where(|target, _| target.wrapping_sub(start.0) <= last);
        }
    }

    /// Forgets what leads to any of `code`, which is sorted.
    pub fn forget_code(&mut self, code: &[u64]) {
        self.forget_where(|_, known| code.binary_search(&known).is_ok());
    }

    /// Forgets that RIP `target` is the host code at `code`, where that is remembered.
    pub fn forget_one(&mut self, target: u64, code: u64) {
        let slot = Self::slot(target);
        if self.memory[slot] == target && self.memory[Self::SLOTS + slot] == code {
            self.memory[slot] = Self::nothing(slot);
        }
    }

    /// Forgets what leads to any of `code`.
    pub fn forget_code_in(&mut self, code: &Range<u64>) {
        self.forget_where(|_, known| code.contains(&known));
    }

    fn forget_where(&mut self, is_gone: impl Fn(u64, u64) -> bool) {
        if self.used.is_empty() {
            return;
        }
        let (targets, rest) = self.memory.split_at_mut(Self::SLOTS);
        for (n, (target, code)) in targets.iter_mut().zip(rest).enumerate() {
            if is_gone(*target, *code) {
                *target = Self::nothing(n);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: GuestPhys = GuestPhys(64 << 20);

    /// Whether no slot holds anything.
    fn is_empty(cache: &JumpCache) -> bool {
        cache.memory[..JumpCache::SLOTS].iter().enumerate().all(|(n, target)| *target == JumpCache::nothing(n))
    }

    #[test]
    fn an_empty_slot_holds_the_address_of_another() {
        for (n, target) in JumpCache::new(END).memory[..JumpCache::SLOTS].iter().enumerate() {
            assert_ne!(JumpCache::slot(*target), n);
        }
    }

    #[test]
    fn a_cache_forgets_few_targets_and_many() {
        let mut cache = JumpCache::new(END);
        for count in [1, 5, JumpCache::MANY as u64 - 1, JumpCache::MANY as u64, 20_000] {
            (0..count).for_each(|n| cache.learn(0x40_0000 + n * 0x111, n + 1, GuestPhys(n * 0x111), n % 2 == 0));
            assert_eq!(cache.find(0x40_0000 + (count - 1) * 0x111), Some(count));
            cache.forget_local();
            assert!(is_empty(&cache) || count == 1);
            cache.clear();
            assert!(is_empty(&cache) && cache.pages.iter().all(|is_used| !is_used));
            assert!(cache.memory[JumpCache::HOMES..].iter().all(|home| *home == JumpCache::HOMELESS));
        }
    }

    #[test]
    fn a_page_is_at_home_where_it_was_seen_last_until_that_address_is_forgotten() {
        const HIGH: u64 = 0xffff_ffff_8100_0000;
        let mut cache = JumpCache::new(END);
        let home = |cache: &JumpCache, at: u64| {
            let complement = cache.memory[JumpCache::home_offset(GuestPhys(at)).expect("small") as usize / 8];
            (complement != 0).then_some(!complement)
        };
        cache.learn(HIGH + 0x10, 1, GuestPhys(0x1010), true);
        cache.learn(0x40_0010, 2, GuestPhys(0x2010), false);
        cache.learn(0, 3, GuestPhys(0x3000), false);
        assert_eq!([0x1fff, 0x2000, 0x3000, 0x4000].map(|at| home(&cache, at)), [Some(HIGH), Some(0x40_0000), Some(0), None]);
        cache.forget_local();
        assert_eq!([0x1000, 0x2000, 0x3000].map(|at| home(&cache, at)), [Some(HIGH), None, None]);

        // Another page comes to the same address, and the first to another.
        cache.learn(HIGH, 1, GuestPhys(0x5000), true);
        assert_eq!([0x1000, 0x5000].map(|at| home(&cache, at)), [None, Some(HIGH)]);
        cache.learn(0x40_0000, 1, GuestPhys(0x5000), false);
        cache.forget(GuestVirt(HIGH), 0xfff);
        assert_eq!(home(&cache, 0x5000), Some(0x40_0000), "its home is elsewhere");
        cache.forget(GuestVirt(0x3f_f000), 0xfff);
        cache.forget(GuestVirt(0x40_1000), 0xfff);
        assert_eq!(home(&cache, 0x5000), Some(0x40_0000));
        cache.forget(GuestVirt(0x40_0000), 0xfff);
        assert_eq!(home(&cache, 0x5000), None);
        cache.learn(0, 1, GuestPhys(0x6000), false);
        cache.forget(GuestVirt(u64::MAX - 0xfff), 0x1fff);
        assert_eq!(home(&cache, 0x6000), None, "a range may end behind the last address");

        assert!(cache.has_home(GuestPhys(END.0 - 1)) && !cache.has_home(END) && !cache.has_home(GuestPhys(u64::MAX)));
        cache.learn(0x1000, 1, END, false);
        assert!(cache.memory[JumpCache::HOMES..].iter().all(|home| *home == JumpCache::HOMELESS));
    }

    #[test]
    fn saved_flags_hold_the_six_arithmetic_ones() {
        for flags in
            [RFlags::empty(), RFlags::OF, RFlags::CF | RFlags::ZF, RFlags::ARITHMETIC, RFlags::SF | RFlags::PF | RFlags::AF]
        {
            assert_eq!(SavedFlags::of(flags | RFlags::IF | RFlags::DF).image(), flags);
        }
    }
}
