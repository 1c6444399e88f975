//! Where translated code finds a processor's parts.

use std::mem::offset_of;

use dragoman_jit::{Layout, Tables};
use dragoman_state::{Events, Msrs, Segment, VcpuState, VectorState};

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
    let tables = |view: ViewIndex| {
        let (read, write) = Mmu::tables(view);
        let mmu = offset_of!(Processor, mmu);
        Tables { read: (mmu + read) as i32, write: (mmu + write) as i32 }
    };
    Layout {
        gpr: state(offset_of!(VcpuState, gpr)),
        vectors: state(vectors + offset_of!(VectorState, registers)),
        mxcsr: state(vectors + offset_of!(VectorState, mxcsr)),
        rflags: state(offset_of!(VcpuState, rflags)),
        shadow: state(offset_of!(VcpuState, events) + offset_of!(Events, shadow)),
        kernel_gs_base: state(offset_of!(VcpuState, msrs) + offset_of!(Msrs, kernel_gs_base)),
        segment_bases: std::array::from_fn(base),
        tables: VIEWS.map(tables).into(),
        frame: offset_of!(Processor, frame) as i32,
        state: state(0),
        mode: offset_of!(Processor, mode) as i32,
        view: offset_of!(Processor, view) as i32,
    }
}
