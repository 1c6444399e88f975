//! The slow path of the interpreter's memory accesses: what the first level of the MMU does not know.

use dragoman_frontend::{
    decode::SegmentUse,
    fault::Fault,
    paging::AccessKind,
    semantics::{Privilege, segmentation::segment_fault},
};
use dragoman_state::{ApicBase, GuestPhys, GuestVirt, PAGE_SIZE, SegmentIndex, Width};

use super::processor::Processor;
use crate::mmu::{MemoryFault, Place, RamPlace, ViewIndex};

/// An access that has been found to be permitted: in one page, or in two.
enum Located {
    Whole(Place),
    /// The first so many bytes go to one place, the others to another.
    Split(u64, Place, Place),
}

impl Processor {
    /// The view through which a helper's access goes.
    pub(super) fn view_of(&self, privilege: Privilege) -> ViewIndex {
        match privilege {
            Privilege::Current => self.view,
            Privilege::System => ViewIndex::Supervisor,
            Privilege::User => ViewIndex::User,
        }
    }

    /// The fault that the guest sees. `refused` is for an address that is not canonical.
    fn memory_fault(&mut self, fault: MemoryFault, segment: SegmentUse) -> Fault {
        match fault {
            MemoryFault::NotCanonical => segment_fault(segment.index()),
            MemoryFault::Page(error, at) => {
                self.state.events.page_fault_address = at;
                Fault::pf(error.0)
            }
        }
    }

    /// A linear address, as wide as the mode makes it.
    pub(super) fn wrap_linear(&self, at: u64) -> u64 {
        if self.mode.is_long() { at } else { at & 0xffff_ffff }
    }

    /// Where one page's part of an access goes.
    pub(super) fn place(&mut self, view: ViewIndex, kind: AccessKind, segment: SegmentUse, at: u64) -> Result<Place, Fault> {
        let at = self.wrap_linear(at);
        let found = self.mmu.locate(view, kind, GuestVirt(at));
        self.must_leave |= self.mmu.take_marked_code();
        found.map_err(|fault| self.memory_fault(fault, segment))
    }

    /// Where all of an access goes: it may be made to every byte, or it faults as a whole.
    fn locate(&mut self, view: ViewIndex, kind: AccessKind, segment: SegmentUse, at: u64, size: u64) -> Result<Located, Fault> {
        let at = self.wrap_linear(at);
        let room = PAGE_SIZE - (at & (PAGE_SIZE - 1));
        if self.mmu.is_careful() {
            self.check_alignment(view, at, size)?;
        }
        if size <= room {
            let place = self.place(view, kind, segment, at)?;
            if self.mmu.is_careful() {
                self.watch(kind, at, size);
            }
            return Ok(Located::Whole(place));
        }
        let next = self.wrap_linear(at.wrapping_add(room));
        // That the end is not canonical is found out before the first page is looked for.
        if self.mode.is_64bit() && !GuestVirt(next).is_canonical(self.state.linear_bits()) {
            return Err(segment_fault(segment.index()));
        }
        let (first, second) = (self.place(view, kind, segment, at)?, self.place(view, kind, segment, next)?);
        if self.mmu.is_careful() {
            self.watch(kind, at, size);
        }
        Ok(Located::Split(room, first, second))
    }

    #[cold]
    pub(super) fn load_slow(&mut self, view: ViewIndex, segment: SegmentUse, at: u64, width: Width) -> Result<u64, Fault> {
        let located = self.locate(view, AccessKind::Read, segment, at, width.bytes())?;
        Ok(self.read_located(located, width))
    }

    #[cold]
    pub(super) fn load_to_modify_slow(
        &mut self,
        view: ViewIndex,
        segment: SegmentUse,
        at: u64,
        width: Width,
    ) -> Result<u64, Fault> {
        let located = self.locate(view, AccessKind::Write, segment, at, width.bytes())?;
        Ok(self.read_located(located, width))
    }

    #[cold]
    pub(super) fn store_slow(
        &mut self,
        view: ViewIndex,
        segment: SegmentUse,
        at: u64,
        width: Width,
        value: u64,
    ) -> Result<(), Fault> {
        match self.locate(view, AccessKind::Write, segment, at, width.bytes())? {
            Located::Whole(place) => self.write_place(place, width, value),
            Located::Split(room, first, second) => {
                for n in 0..width.bytes() {
                    let place = if n < room { byte_of(first, n) } else { byte_of(second, n - room) };
                    self.write_place(place, Width::Byte, value >> (8 * n) & 0xff);
                }
            }
        }
        Ok(())
    }

    fn read_located(&mut self, located: Located, width: Width) -> u64 {
        match located {
            Located::Whole(place) => self.read_place(place, width),
            Located::Split(room, first, second) => (0..width.bytes()).fold(0, |value, n| {
                let place = if n < room { byte_of(first, n) } else { byte_of(second, n - room) };
                value | self.read_place(place, Width::Byte) << (8 * n)
            }),
        }
    }

    pub fn read_place(&mut self, place: Place, width: Width) -> u64 {
        match place {
            Place::Ram(place) | Place::Rom(place) => self.mmu.load(place, width),
            Place::Io(at) => match self.apic_offset(at) {
                Some(offset) => self.read_apic_page(offset, width),
                None => self.context.bus.read_mmio(at, width),
            },
        }
    }

    pub fn write_place(&mut self, place: Place, width: Width, value: u64) {
        match place {
            Place::Ram(place) => {
                let hit = self.mmu.store(place, width, value);
                self.must_leave |= hit;
            }
            Place::Rom(_) => {}
            // Instructions store from registers that hold more; a bus has no more than `width` lines.
            Place::Io(at) => match self.apic_offset(at) {
                Some(offset) => self.write_apic_page(offset, width, width.truncate(value)),
                None => self.context.bus.write_mmio(at, width, width.truncate(value)),
            },
        }
    }

    /// The offset into the local APIC's page, where `at` is in it.
    fn apic_offset(&self, at: GuestPhys) -> Option<u64> {
        let base = self.state.msrs.apic_base;
        let is_mapped = base.contains(ApicBase::EN) && !base.contains(ApicBase::EXTD);
        let page = (base & ApicBase::BASE).bits();
        (is_mapped && at.page().0 == page).then(|| at.page_offset() as u64)
    }

    /// Replaces memory by what `change` makes of it, as one operation; returns what was there.
    pub(super) fn update(
        &mut self,
        segment: SegmentUse,
        at: u64,
        width: Width,
        change: impl Fn(u64) -> u64,
    ) -> Result<u64, Fault> {
        match self.locate(self.view, AccessKind::Write, segment, at, width.bytes())? {
            Located::Whole(Place::Ram(place)) => {
                if let Some((old, hit)) = self.mmu.update(place, width, &change) {
                    self.must_leave |= hit;
                    return Ok(old);
                }
            }
            Located::Whole(Place::Rom(_) | Place::Io(_)) | Located::Split(..) => {}
        }
        // What the host cannot do as one operation is done while nobody else runs.
        self.alone(|cpu| {
            let old = cpu.load_to_modify_slow(cpu.view, segment, at, width)?;
            cpu.store_slow(cpu.view, segment, at, width, change(old))?;
            Ok(old)
        })
    }

    /// The memory at `at`, where it is plain memory that the running code may access so.
    pub(super) fn plain(&mut self, kind: AccessKind, at: u64) -> Option<RamPlace> {
        let found = self.mmu.locate(self.view, kind, GuestVirt(at));
        self.must_leave |= self.mmu.take_marked_code();
        match found {
            // One by one, where each is looked at.
            Ok(Place::Ram(_)) if self.mmu.is_careful() => None,
            Ok(Place::Ram(place)) => Some(place),
            Ok(Place::Rom(_) | Place::Io(_)) | Err(_) => None,
        }
    }
}

/// The place of the byte `n` bytes on, within the same page.
fn byte_of(place: Place, n: u64) -> Place {
    match place {
        Place::Ram(place) => Place::Ram(place.plus(n)),
        Place::Rom(place) => Place::Rom(place.plus(n)),
        Place::Io(at) => Place::Io(GuestPhys(at.0 + n)),
    }
}

/// Segment uses for accesses that go through no segment: an address that is not canonical is #GP(0).
pub(super) const NO_SEGMENT: SegmentUse = SegmentUse::flat(SegmentIndex::Ds);
