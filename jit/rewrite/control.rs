//! Jumps: to fixed targets by links between blocks, to others through the cache of jumps.
//!
//! Rule of this file: a link within a page is good wherever the page is mapped. One to another page is good where that page is
//! at home ([`JumpCache`]) at the target's address, which is looked at on each way along it. Where it is not, the target is looked
//! for as that of an indirect jump is.

use dynasm::dynasm;
use dynasmrt::DynasmApi;
use iced_x86::{ConditionCode, Mnemonic, OpKind};

use super::{
    DetourKind, Exit, SiteKind, Stub, Way, Work,
    flags::{FlagHome, Flags},
    plan::{MemoryUse, Step},
    registers::{Home, R10, R11, home, number},
};

use crate::{JumpCache, run::emit_find_jump};

const PAGE: i32 = 4096;
/// The opcode of a call with a 32-bit displacement.
const CALL: u8 = 0xe8;
/// Of a conditional jump with a 32-bit displacement.
pub(super) const LENGTH_OF_BRANCH: usize = 6;

impl Work<'_> {
    /// JMP to a fixed target.
    pub(super) fn jump(&mut self) {
        if self.is_between_turns() {
            return;
        }
        self.go_on_at(self.branch_target(), 0);
    }

    /// Jcc, behind which the block may go on.
    pub(super) fn branch(&mut self) {
        self.want_host_flags();
        let condition = self.original().condition_code() as u8 - ConditionCode::o as u8;
        let target = self.branch_target();
        let is_last = self.number + 1 == self.source.insns.len();
        if is_last && (0..self.next_offset()).contains(&target) || self.is_between_turns() {
            // Most of these go back to the start of a loop.
            self.code.extend([0x0f, 0x80 | condition ^ 1]);
            let jump = self.code.displacement();
            self.detour(jump, DetourKind::FallOut);
            if is_last {
                self.go_on_at(target, 0);
            }
            return;
        }
        if self.is_link(self.number) {
            self.code.align_end(LENGTH_OF_BRANCH);
            self.code.extend([0x0f, 0x80 | condition]);
            self.link(target, true);
        } else {
            self.code.extend([0x0f, 0x80 | condition]);
            let jump = self.code.displacement();
            self.detour(jump, DetourKind::Branch(target));
        }
        if is_last {
            self.fall_out();
        }
    }

    /// Whether instruction number `n` is a conditional jump that is made a link: ahead in the page, and not between turns.
    fn is_link(&self, n: usize) -> bool {
        let (Some(original), Some(insn)) = (self.source.originals.get(n), self.source.insns.get(n)) else { return false };
        let page_offset = i32::from(self.source.page_offset);
        let ahead = page_offset + insn.end() as i32..PAGE;
        let target = original.near_branch_target() as i32 + page_offset;
        original.is_jcc_short_or_near() && ahead.contains(&target) && !self.turns.begin_at(n + 1)
    }

    /// Whether the next instruction is one.
    pub(super) fn is_before_link(&self) -> bool {
        self.is_link(self.number + 1)
    }

    /// JRCXZ, JECXZ in 32-bit code, which have no long form, and LOOP there.
    pub(super) fn count_branch(&mut self, step: &Step) {
        const LENGTH_OF_JUMP: u8 = 5;
        let is_loop = self.original().mnemonic() == Mnemonic::Loop;
        if is_loop {
            dynasm!(self.code ; .arch x64 ; lea ecx, [rcx - 1]);
            self.after_writing(step.written);
        }
        if self.is_narrow() {
            // An address size of 32 bits.
            self.code.push(0x67);
        }
        self.code.extend([0xe3, LENGTH_OF_JUMP]);
        let other = self.code.jump_forward();
        let flags = self.flags;
        let way_on = |work: &mut Self, is_taken| {
            if is_taken { work.go_on_at(work.branch_target(), 0) } else { work.fall_out() }
        };
        way_on(self, !is_loop);
        self.code.land(other);
        self.flags = flags;
        way_on(self, is_loop);
    }

    /// JMP to a target in a register or in memory.
    pub(super) fn jump_indirect(&mut self) {
        if self.target_into(10).is_err() {
            return self.interpret_last();
        }
        self.jump_to_r10(Some(0));
    }

    /// The target of an indirect jump or call into a host register, R10 or R14.
    pub(super) fn target_into(&mut self, register: u8) -> Result<(), iced_x86::IcedError> {
        let original = *self.original();
        if original.op0_kind() == OpKind::Memory {
            self.give_up_host_flags();
            let site = self.miss();
            let target = MemoryUse { size: self.slot(), is_write: false };
            self.address(target, site)?;
            self.probe(target, site);
            self.load_slot(register, R10, R11, 0);
            return Ok(());
        }
        match number(original.op0_register()).map(|n| (n, home(n))) {
            Some((_, Home::Host(held))) if self.is_narrow() => dynasm!(self.code ; .arch x64 ; mov Rd(register), Rd(held)),
            Some((_, Home::Host(held))) => dynasm!(self.code ; .arch x64 ; mov Rq(register), Rq(held)),
            Some((n, Home::Memory)) => {
                let at = self.layout.gpr(n);
                dynasm!(self.code ; .arch x64 ; gs mov Rq(register), [at]);
            }
            None => {}
        }
        Ok(())
    }

    /// Goes on with what comes next in memory.
    pub(super) fn fall_out(&mut self) {
        self.leave_to(self.next_offset(), None);
    }

    /// Jumps to `target`, an offset from the page's first byte, having added `moved` to RSP. On the way back somebody may
    /// want attention: a loop must not keep others out.
    pub(super) fn go_on_at(&mut self, target: i32, moved: i8) {
        if (0..self.next_offset()).contains(&target) {
            self.attend(target);
        }
        self.leave_to(target, Some(moved));
    }

    pub(super) fn branch_target(&self) -> i32 {
        self.original().near_branch_target() as i32 + i32::from(self.source.page_offset)
    }

    fn leave_to(&mut self, target: i32, moved: Option<i8>) {
        if (0..PAGE).contains(&target) {
            if self.flags.memory {
                return self.link_to(target, true);
            }
            self.want_host_flags();
            let told = self.tell_recipe();
            self.link_to(target, true);
            if let Some(exit) = self.out.exits.last_mut() {
                exit.told = told;
            }
            return;
        }
        let offset = target.rem_euclid(PAGE);
        match target.checked_sub(offset) {
            Some(distance) => self.leave_page(distance, offset, moved),
            None => {
                self.rip_into(R10, target);
                self.jump_to_r10(moved.map(i32::from));
            }
        }
    }

    /// A jump to the block at `offset` in the page at `distance` from this one. R14 becomes the address of the cache of jumps;
    /// its word for the target's page is the complement of where that page is known to be. On the way back somebody may want
    /// attention.
    fn leave_page(&mut self, distance: i32, offset: i32, moved: Option<i8>) {
        debug_assert!(!self.flags.is_told, "flags are told of only until an instruction replaces them, and before jumps");
        let exit = self.out.exits.len();
        let (page, jumps) = (self.layout.page(), self.layout.jumps());
        let is_saved = self.flags.memory || !self.flags.host;
        if is_saved {
            self.leave_flags_in_memory();
        }
        let told = if is_saved { 0 } else { self.tell_recipe() };
        let flags = std::mem::replace(&mut self.flags, Flags::MEMORY);
        let site = self.site(SiteKind::Far { exit: exit as u8, moved });
        self.flags = flags;
        dynasm!(self.code ; .arch x64 ; gs mov r10, [page] ; lea r10, [r10 + distance] ; gs mov r14, [jumps]);
        let attention = (distance < 0).then(|| self.layout.attention());
        let (home, ways) = if is_saved {
            let wanted = attention.map(|attention| {
                dynasm!(self.code ; .arch x64 ; gs mov r11, [attention] ; cmp DWORD [r11], 0 ; .bytes [0x0fu8, 0x85]); // JNE
                self.code.displacement()
            });
            dynasm!(self.code ; .arch x64 ; lea r11, [r10 + 1]);
            self.code.align_end(7);
            self.code.extend([0x4d, 0x03, 0x9e]); // ADD R11, [R14 + home]
            let home = self.code.displacement();
            self.code.extend([0x0f, 0x85]); // JNE
            (home, [wanted, Some(self.code.displacement())])
        } else {
            // Without touching a flag: JRCXZ over a jump.
            dynasm!(self.code ; .arch x64 ; mov r11, rcx);
            let wanted = attention.map(|attention| {
                dynasm!(self.code ; .arch x64 ; gs mov rcx, [attention] ; mov ecx, [rcx] ; .bytes [0xe3u8, 5, 0xe9]);
                self.code.displacement()
            });
            self.code.align_end(7);
            self.code.extend([0x49, 0x8b, 0x8e]); // MOV RCX, [R14 + home]
            let home = self.code.displacement();
            dynasm!(self.code ; .arch x64 ; lea rcx, [rcx + r10 + 1] ; .bytes [0xe3u8, 5, 0xe9]);
            (home, [wanted, Some(self.code.displacement())])
        };
        for jump in ways.into_iter().flatten() {
            self.detour(jump, DetourKind::Far { site, exit, offset });
        }
        if !is_saved {
            dynasm!(self.code ; .arch x64 ; mov rcx, r11);
        }
        dynasm!(self.code ; .arch x64 ; gs mov [page], r10);
        self.code.align_end(5);
        self.code.push(0xe9);
        let patch = self.code.displacement();
        let way = if is_saved { Way::SavedFlags } else { Way::HostFlags };
        self.out.exits.push(Exit { patch: patch as u32, stub: 0, way, home: (patch - home) as u8, told });
    }

    /// Goes on at `offset` in the page whose address is in R10, where `exit` is not known to lead. Where the flags are in the
    /// host's, RCX is in R11.
    pub(super) fn look_elsewhere(&mut self, site: u8, exit: usize, offset: i32) {
        self.out.exits[exit].stub = self.here();
        if !self.flags.memory {
            dynasm!(self.code ; .arch x64 ; mov rcx, r11);
            self.save_flags();
        }
        let elsewhere = self.layout.jump_elsewhere();
        self.sum(R10, R10, offset);
        self.site_number(site, 14);
        dynasm!(self.code ; .arch x64 ; gs jmp QWORD [elsewhere]);
    }

    /// A jump to the block at `target`, with accesses grouped there or not.
    pub(super) fn link_to(&mut self, target: i32, is_grouped: bool) {
        self.code.align_end(5);
        self.code.push(0xe9);
        self.link(target, is_grouped);
    }

    /// Calls what is at `target`, to which a return is to come back if it was noted, having pushed that.
    pub(super) fn call_to(&mut self, target: i32, next: u8) {
        let is_inside = (0..PAGE).contains(&target);
        if is_inside && target < self.next_offset() {
            self.attend(target);
        }
        let is_noted = self.note_return(next);
        match (is_inside, is_noted) {
            (true, true) => {
                self.code.align_end(5);
                self.code.push(CALL);
                self.link(target, true);
                self.land_return();
            }
            (true, false) => self.link_to(target, true),
            (false, _) => self.call_by(is_noted, |work| work.leave_to(target, Some(-(work.slot() as i8)))),
        }
    }

    /// Calls what `go_on` goes on at; a return comes back if it `is_noted`.
    pub(super) fn call_by(&mut self, is_noted: bool, go_on: impl FnOnce(&mut Self)) {
        if !is_noted {
            return go_on(self);
        }
        self.code.push(CALL);
        let called = self.code.displacement();
        self.land_return();
        self.code.land(called);
        go_on(self);
    }

    /// The displacement of a jump to the block at `target`, whose opcode has just been written. The flags are in the host's
    /// or in memory.
    fn link(&mut self, target: i32, is_grouped: bool) {
        let exit = self.out.exits.len();
        let site = self.site(SiteKind::Link { target, exit: exit as u8, is_grouped });
        let patch = self.code.displacement();
        let way = match (self.flags, self.forbidden) {
            (Flags { is_told: true, .. }, Some(forbidden)) => Way::Told(forbidden),
            (Flags { memory: true, .. }, _) => Way::SavedFlags,
            _ => Way::HostFlags,
        };
        self.out.exits.push(Exit { patch: patch as u32, stub: 0, way, home: 0, told: 0 });
        self.stubs.push(Stub { site, jumps: vec![patch], exit: Some(exit) });
    }

    /// Goes on at the RIP in R10, where the cache of jumps knows it and nobody wants attention. `moved` is what the
    /// instruction has added to RSP, where it is a jump.
    pub(super) fn jump_to_r10(&mut self, moved: Option<i32>) {
        self.leave_flags_in_memory();
        let site = self.site(moved.map_or(SiteKind::RunOn, |moved| SiteKind::Jump { moved }));
        let attention = self.layout.attention();
        dynasm!(self.code ; .arch x64 ; gs mov r11, [attention] ; cmp DWORD [r11], 0 ; .bytes [0x0fu8, 0x85]);
        let wanted = self.code.displacement();
        self.stub(site, wanted);
        emit_find_jump(&mut self.code, self.layout);
        dynasm!(self.code ; .arch x64 ; .bytes [0x0fu8, 0x85]); // JNE
        let unknown = self.code.displacement();
        self.stub(site, unknown);
        dynasm!(self.code ; .arch x64 ; jmp QWORD [r14 + r11 * 8 + JumpCache::CODE]);
    }

    /// Leaves the code where somebody wants attention.
    fn attend(&mut self, target: i32) {
        let attention = self.layout.attention();
        if self.flags.home() == FlagHome::Host && self.flags.recipe.is_none() {
            let site = self.site(SiteKind::Attend { target });
            // Without touching a flag.
            dynasm!(self.code ; .arch x64
                ; mov r11, rcx
                ; gs mov rcx, [attention]
                ; mov ecx, [rcx]
                ; .bytes [0xe3u8, 8] // JRCXZ, over the next two
                ; mov rcx, r11
            );
            let away = self.code.jump_forward();
            self.stub(site, away);
            dynasm!(self.code ; .arch x64 ; mov rcx, r11);
            return;
        }
        self.flags.host = false;
        let site = self.site(SiteKind::Attend { target });
        dynasm!(self.code ; .arch x64
            ; gs mov r11, [attention]
            ; cmp DWORD [r11], 0
            ; .bytes [0x0fu8, 0x85] // JNE
        );
        let away = self.code.displacement();
        self.stub(site, away);
    }
}
