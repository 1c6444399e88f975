//! Memory operands of vector instructions: several quadwords that are one access.

use dragoman_frontend::{decode::SegmentUse, fault::Fault, paging::AccessKind, semantics::segmentation};
use dragoman_state::Width;

use super::processor::Processor;

impl Processor {
    /// The linear address of `N` times sixteen bytes.
    #[inline(always)]
    pub(super) fn vector_address<const N: usize>(
        &self,
        segment: SegmentUse,
        offset: u64,
        alignment: u64,
        is_write: bool,
    ) -> Result<u64, Fault> {
        let is_aligned = |at: u64| at & (alignment - 1) == 0;
        let at = if segment.is_flat() {
            offset
        } else {
            let checked = segmentation::linear(&self.state, segment, offset, 16 * N as u64, is_write);
            // An operand that is not aligned is refused first.
            let base = self.state.segment(segment.index()).base;
            checked.map_err(|fault| if is_aligned(base.wrapping_add(offset)) { fault } else { Fault::GP0 })?.0
        };
        if is_aligned(at) { Ok(at) } else { Err(Fault::GP0) }
    }

    /// Reads `N` times sixteen bytes. They need not be aligned, even while other operands must be.
    #[inline(always)]
    pub(super) fn load_parts<const N: usize>(&mut self, segment: SegmentUse, at: u64) -> Result<[u128; N], Fault> {
        match self.load_quadwords(segment, at) {
            Err(Fault::AC) => self.load_bytes(segment, at),
            loaded => loaded,
        }
    }

    #[inline(always)]
    fn load_quadwords<const N: usize>(&mut self, segment: SegmentUse, at: u64) -> Result<[u128; N], Fault> {
        let mut parts = [0; N];
        for (n, part) in parts.iter_mut().enumerate() {
            let at = at.wrapping_add(16 * n as u64);
            let low = self.load_linear(segment, at, Width::Qword)?;
            let high = self.load_linear(segment, at.wrapping_add(8), Width::Qword)?;
            *part = u128::from(high) << 64 | u128::from(low);
        }
        Ok(parts)
    }

    #[cold]
    fn load_bytes<const N: usize>(&mut self, segment: SegmentUse, at: u64) -> Result<[u128; N], Fault> {
        let mut parts = [0; N];
        for n in 0..16 * N {
            let byte = self.load_linear(segment, at.wrapping_add(n as u64), Width::Byte)?;
            parts[n / 16] |= u128::from(byte) << (8 * (n % 16));
        }
        Ok(parts)
    }

    /// Writes `N` times sixteen bytes, all or none. They need not be aligned, even while other operands must be.
    #[inline(always)]
    pub(super) fn store_parts<const N: usize>(&mut self, segment: SegmentUse, at: u64, value: [u128; N]) -> Result<(), Fault> {
        self.reach_both_pages(segment, at, 16 * N as u64)?;
        match self.store_quadwords(segment, at, value) {
            Err(Fault::AC) => self.store_bytes(segment, at, value),
            stored => stored,
        }
    }

    /// Makes sure that a write of `size` bytes at `at` does not fault after its first part: only where the ends are in
    /// different pages could it.
    #[inline(always)]
    fn reach_both_pages(&mut self, segment: SegmentUse, at: u64, size: u64) -> Result<(), Fault> {
        if at & 0xfff > 0x1000 - size {
            self.place(self.view, AccessKind::Write, segment, at)?;
            self.place(self.view, AccessKind::Write, segment, (at | 0xfff).wrapping_add(1))?;
        }
        Ok(())
    }

    #[inline(always)]
    fn store_quadwords<const N: usize>(&mut self, segment: SegmentUse, at: u64, value: [u128; N]) -> Result<(), Fault> {
        for n in 0..2 * N {
            let (at, quadword) = (at.wrapping_add(8 * n as u64), (value[n / 2] >> (64 * (n % 2))) as u64);
            if !self.mmu.store_fast(self.view, at, Width::Qword, quadword) {
                self.store_slow(self.view, segment, at, Width::Qword, quadword)?;
            }
        }
        Ok(())
    }

    #[cold]
    fn store_bytes<const N: usize>(&mut self, segment: SegmentUse, at: u64, value: [u128; N]) -> Result<(), Fault> {
        for n in 0..16 * N {
            let byte = value[n / 16] >> (8 * (n % 16)) & 0xff;
            self.store_slow(self.view, segment, at.wrapping_add(n as u64), Width::Byte, byte as u64)?;
        }
        Ok(())
    }
}
