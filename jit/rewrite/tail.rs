//! An instruction that lies in two pages: a block of its own, which is good only while the second page is the one that it was
//! translated from.
//!
//! Rule of this file: code is found by the physical address of its first byte, so what is mapped behind it is looked up
//! each time, where fetches look. Where it is not known there, or is another, the interpreter executes the instruction, and
//! it is known the next time.

use dragoman_state::{GuestPhys, PAGE_SIZE};
use dynasm::dynasm;
use dynasmrt::DynasmApi;

use super::{SiteKind, Work};

impl Work<'_> {
    /// Leaves the block, at the start of which this is, unless `tail` is mapped behind its page. The flags are in memory.
    pub(super) fn require_tail(&mut self, tail: GuestPhys) {
        let site = self.site(SiteKind::Tail { target: i32::from(self.source.page_offset) });
        let (page, fetch) = (self.layout.page(), self.tables.fetch);
        dynasm!(self.code ; .arch x64
            ; gs mov r10, [page]
            ; lea r10, [r10 + PAGE_SIZE as i32]
        );
        self.find_slot();
        dynasm!(self.code ; .arch x64
            ; gs cmp r10, [r11 + fetch]
            ; .bytes [0x0fu8, 0x85] // JNE
        );
        let unknown = self.code.displacement();
        self.stub(site, unknown);
        // The highest bit of what is there says something else.
        dynasm!(self.code ; .arch x64
            ; gs mov r11, [r11 + fetch + 8]
            ; add r11, r11
            ; mov r10, QWORD (tail.page().0 << 1) as i64
            ; cmp r10, r11
            ; .bytes [0x0fu8, 0x85] // JNE
        );
        let other = self.code.displacement();
        self.stub(site, other);
    }
}
