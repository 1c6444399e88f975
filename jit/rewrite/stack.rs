//! The stack: PUSH, POP, LEAVE, CALL and RET, with the guest's RSP in R15.

use dynasm::dynasm;
use dynasmrt::DynasmApi;
use iced_x86::OpKind;

use super::{
    Work,
    plan::MemoryUse,
    registers::{Home, home, number},
};

const READ: MemoryUse = MemoryUse { size: 8, is_write: false };
const WRITE: MemoryUse = MemoryUse { size: 8, is_write: true };

impl Work<'_> {
    /// PUSH of a register, an immediate or memory, 64 bits.
    pub(super) fn push(&mut self) {
        let original = *self.original();
        self.give_up_host_flags();
        let site = self.miss();
        if original.op0_kind() == OpKind::Memory {
            if self.address().is_err() {
                return self.interpret();
            }
            self.probe(READ, site);
            dynasm!(self.code ; .arch x64 ; mov r14, [r10 + r11]);
        }
        self.find_room(site);
        match original.op0_kind() {
            OpKind::Memory => dynasm!(self.code ; .arch x64 ; mov [r10 + r11], r14),
            OpKind::Register => match number(original.op0_register()).map(|n| (n, home(n))) {
                Some((_, Home::Host(held))) => dynasm!(self.code ; .arch x64 ; mov [r10 + r11], Rq(held)),
                Some((n, Home::Memory)) => {
                    let at = self.layout.gpr(n);
                    dynasm!(self.code ; .arch x64 ; gs mov r14, [at] ; mov [r10 + r11], r14);
                }
                None => {}
            },
            _ => {
                let value = original.immediate(0) as i32;
                dynasm!(self.code ; .arch x64 ; mov QWORD [r10 + r11], value);
            }
        }
        dynasm!(self.code ; .arch x64 ; lea r15, [r15 - 8]);
        self.resume_here(site);
    }

    /// Finds the eight bytes below the stack's top.
    pub(super) fn find_room(&mut self, site: u8) {
        dynasm!(self.code ; .arch x64 ; lea r10, [r15 - 8]);
        self.probe(WRITE, site);
    }

    /// POP of a 64-bit register.
    pub(super) fn pop(&mut self) {
        let Some(n) = number(self.original().op0_register()) else { return self.interpret() };
        self.give_up_host_flags();
        let site = self.miss();
        dynasm!(self.code ; .arch x64 ; mov r10, r15);
        self.probe(READ, site);
        match home(n) {
            Home::Host(15) => dynasm!(self.code ; .arch x64 ; mov r15, [r10 + r11]),
            Home::Host(held) => dynasm!(self.code ; .arch x64 ; mov Rq(held), [r10 + r11] ; lea r15, [r15 + 8]),
            Home::Memory => {
                let at = self.layout.gpr(n);
                dynasm!(self.code ; .arch x64 ; mov r10, [r10 + r11] ; gs mov [at], r10 ; lea r15, [r15 + 8]);
            }
        }
        self.resume_here(site);
    }

    /// LEAVE.
    pub(super) fn leave(&mut self) {
        self.give_up_host_flags();
        let site = self.miss();
        dynasm!(self.code ; .arch x64 ; mov r10, rbp);
        self.probe(READ, site);
        dynasm!(self.code ; .arch x64 ; mov r14, [r10 + r11] ; lea r15, [rbp + 8] ; mov rbp, r14);
        self.resume_here(site);
    }

    /// CALL of a fixed target.
    pub(super) fn call(&mut self) {
        self.give_up_host_flags();
        let site = self.miss();
        self.find_room(site);
        let (page, next) = (self.layout.page(), self.next_offset());
        dynasm!(self.code ; .arch x64
            ; gs mov r14, [page]
            ; lea r14, [r14 + next]
            ; mov [r10 + r11], r14
            ; lea r15, [r15 - 8]
        );
        self.go_on_at(self.branch_target(), -8);
    }

    /// CALL of a target in a register or in memory.
    pub(super) fn call_indirect(&mut self) {
        self.give_up_host_flags();
        if self.target_into(14).is_err() {
            return self.interpret_last();
        }
        let site = self.miss();
        self.find_room(site);
        let (page, next) = (self.layout.page(), self.next_offset());
        dynasm!(self.code ; .arch x64
            ; add r10, r11
            ; gs mov r11, [page]
            ; lea r11, [r11 + next]
            ; mov [r10], r11
            ; lea r15, [r15 - 8]
            ; mov r10, r14
        );
        self.jump_to_r10(Some(-8));
    }

    /// RET, with what it drops from the stack.
    pub(super) fn ret(&mut self) {
        let original = *self.original();
        let dropped = if original.op_count() == 0 { 0 } else { i32::from(original.immediate16()) };
        self.give_up_host_flags();
        let site = self.miss();
        dynasm!(self.code ; .arch x64 ; mov r10, r15);
        self.probe(READ, site);
        let moved = 8 + dropped;
        dynasm!(self.code ; .arch x64 ; mov r10, [r10 + r11] ; lea r15, [r15 + moved]);
        self.jump_to_r10(Some(moved));
    }
}
