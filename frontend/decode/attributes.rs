//! What decides, before an instruction runs, whether it may: one row of flags for each opcode.

use bitflags::bitflags;

use super::Mode;
use crate::fault::Fault;

bitflags! {
    /// The checks that an opcode asks for, and what it does to the block it stands in.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Attributes: u16 {
        /// No such instruction on this processor: #UD.
        const UNDEFINED = 1 << 0;
        /// Ring 0 only: #GP(0) elsewhere.
        const CPL0 = 1 << 1;
        /// Protected mode only: #UD in real and virtual-8086 mode.
        const PROTECTED = 1 << 2;
        /// x87: #NM under CR0.EM or CR0.TS.
        const X87 = 1 << 3;
        /// MMX: #UD under CR0.EM, #NM under CR0.TS.
        const MMX = 1 << 4;
        /// SSE: #UD under CR0.EM or without CR4.OSFXSR, #NM under CR0.TS.
        const SSE = 1 << 5;
        /// AVX: #UD unless CR4.OSXSAVE and XCR0 enable it, #NM under CR0.TS.
        const AVX = 1 << 6;
        /// WAIT: #NM when both CR0.MP and CR0.TS are set.
        const WAIT = 1 << 7;
        /// The last of its block: it may change what the next bytes mean, or when they run.
        const ENDS_BLOCK = 1 << 8;
    }
}

impl Attributes {
    /// The fault that an instruction with these attributes raises in `mode` before anything else happens.
    /// SDM: vol. 2 §2.5 (the order of #UD before #NM), vol. 3 §6.9.
    pub(super) fn refuse(self, mode: Mode) -> Option<Fault> {
        let fpu = mode.fpu_control();
        if self.contains(Self::UNDEFINED)
            || self.contains(Self::PROTECTED) && !mode.is_protected()
            || self.intersects(Self::MMX | Self::SSE) && fpu.emulated
            || self.contains(Self::SSE) && !fpu.sse_enabled
            || self.contains(Self::AVX) && !(fpu.avx_enabled && mode.is_protected())
        {
            return Some(Fault::UD);
        }
        if self.contains(Self::X87) && (fpu.emulated || fpu.task_switched)
            || self.intersects(Self::MMX | Self::SSE | Self::AVX) && fpu.task_switched
            || self.contains(Self::WAIT) && fpu.task_switched && fpu.monitor
        {
            return Some(Fault::NM);
        }
        if self.contains(Self::CPL0) && mode.cpl() != 0 {
            return Some(Fault::GP0);
        }
        None
    }
}
