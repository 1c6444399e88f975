//! Where translated code finds a processor's parts.

use std::mem::offset_of;

use dragoman_frontend::paging::AccessKind;
use dragoman_jit::{Layout, RefillKind, run::Pages};
use dragoman_state::{Events, GuestVirt, Msrs, Segment, VcpuState, VectorState};

use crate::{
    interpret::processor::Processor,
    mmu::{Mmu, ViewIndex},
};

/// The views, by the number that blocks know them by.
pub(super) const VIEWS: [ViewIndex; 3] = [ViewIndex::Supervisor, ViewIndex::User, ViewIndex::Lifted];

/// Offsets from the start of a [`Processor`].
pub(super) fn layout() -> Layout {
    let state = |offset: usize| (offset_of!(Processor, state) + offset) as i32;
    let vectors = offset_of!(VcpuState, vectors);
    let base = |n: usize| state(offset_of!(VcpuState, segments) + n * size_of::<Segment>() + offset_of!(Segment, base));
    let mmu = |offset: usize| (offset_of!(Processor, mmu) + offset) as i32;
    Layout {
        gpr: state(offset_of!(VcpuState, gpr)),
        vectors: state(vectors + offset_of!(VectorState, registers)),
        mxcsr: state(vectors + offset_of!(VectorState, mxcsr)),
        rflags: state(offset_of!(VcpuState, rflags)),
        shadow: state(offset_of!(VcpuState, events) + offset_of!(Events, shadow)),
        kernel_gs_base: state(offset_of!(VcpuState, msrs) + offset_of!(Msrs, kernel_gs_base)),
        segment_bases: std::array::from_fn(base),
        tables: VIEWS.map(|view| Mmu::tables(view, mmu)),
        second: Mmu::second_level(mmu),
        frame: offset_of!(Processor, frame) as i32,
        state: state(0),
        mode: offset_of!(Processor, mode) as i32,
        view: offset_of!(Processor, view) as i32,
    }
}

impl Pages for Processor {
    fn find(&mut self, at: u64, view: usize, kind: RefillKind) -> bool {
        let kind = match kind {
            RefillKind::Read => AccessKind::Read,
            RefillKind::Write => AccessKind::Write,
        };
        let is_known = self.mmu.find(VIEWS[view], kind, GuestVirt(at));
        if self.mmu.take_marked_code() {
            // The instruction is executed elsewhere, and is the last of its block.
            self.must_leave = true;
            return false;
        }
        is_known
    }
}
