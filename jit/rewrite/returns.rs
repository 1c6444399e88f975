//! The stack of returns: calls and returns of the guest's as calls and returns of the host's, which foresees them.
//!
//! Rule of this file: a call leaves two words on the host's stack, the guest's return address and the host's; a return that
//! finds its target there takes the host's. What is there was true when the call was made, so it is dropped whenever code is
//! left, and with every change of what addresses mean. Where a return goes elsewhere, nothing on the stack is worth keeping.
//!
//! No loop of the guest's consists of calls forward and of such returns alone, so neither looks whether somebody wants
//! attention.

use dynasm::dynasm;
use dynasmrt::DynasmApi;

use super::{DetourKind, Exit, SiteKind, Stub, Way, Work};

const PAGE: i32 = 4096;

impl Work<'_> {
    /// Notes that a return to the address in the host register `next` goes on behind the instruction under way; what is
    /// called follows, at the end of a call whose 32-bit displacement this returns. `None`, and nothing is noted, where what
    /// is behind it lies in another page. The flags are in memory.
    pub(super) fn note_return(&mut self, next: u8) -> bool {
        if self.next_offset() >= PAGE {
            return false;
        }
        let limit = self.layout.return_limit();
        dynasm!(self.code ; .arch x64 ; gs cmp [limit], rsp ; .bytes [0x0fu8, 0x87]); // JA
        let jump = self.code.displacement();
        let back = self.here() as usize;
        self.detour(jump, DetourKind::FullStack(back));
        dynasm!(self.code ; .arch x64 ; push Rq(next));
        true
    }

    /// What the host returns to behind a call.
    pub(super) fn land_return(&mut self) {
        dynasm!(self.code ; .arch x64 ; lea rsp, [rsp + 8]);
        self.code.align_end(5);
        self.code.push(0xe9);
        let exit = self.out.exits.len();
        let site = self.site(SiteKind::Return { exit: exit as u8 });
        let patch = self.code.displacement();
        self.out.exits.push(Exit { patch: patch as u32, stub: 0, way: Way::Jump, home: 0, told: 0 });
        self.stubs.push(Stub { site, jumps: vec![patch], exit: Some(exit) });
    }

    /// Returns to the RIP in R10. `moved` is what the instruction has added to RSP. The flags are in memory.
    pub(super) fn return_to_r10(&mut self, moved: i32) {
        let site = self.site(SiteKind::Jump { moved });
        self.site_number(site, 14);
        dynasm!(self.code ; .arch x64 ; cmp r10, [rsp + 8] ; .bytes [0x0fu8, 0x85]); // JNE
        let jump = self.code.displacement();
        self.detour(jump, DetourKind::UnknownReturn);
        dynasm!(self.code ; .arch x64 ; ret);
    }

    pub(super) fn return_elsewhere(&mut self) {
        let elsewhere = self.layout.return_elsewhere();
        dynasm!(self.code ; .arch x64 ; gs jmp QWORD [elsewhere]);
    }

    pub(super) fn empty_returns(&mut self, back: usize) {
        let base = self.layout.return_base();
        dynasm!(self.code ; .arch x64 ; gs mov rsp, [base]);
        self.code.jump_back(back);
    }
}
