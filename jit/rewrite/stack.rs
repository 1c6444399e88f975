//! The stack: PUSH, POP, LEAVE, CALL and RET, with the guest's RSP in R15.

use dynasm::dynasm;
use dynasmrt::DynasmApi;
use iced_x86::OpKind;

use super::{
    Work,
    flags::Flags,
    plan::MemoryUse,
    registers::{Home, R10, R11, R14, home, number},
};

/// The host's register for it.
const RSP: u8 = 15;
const READ: MemoryUse = MemoryUse { size: 8, is_write: false };
const WRITE: MemoryUse = MemoryUse { size: 8, is_write: true };

/// Where eight bytes of the stack are in the host: at the sum of two registers and a displacement.
#[derive(Clone, Copy)]
struct Spot {
    base: u8,
    index: u8,
    displacement: i32,
    /// A register that holds nothing, where there is one.
    spare: Option<u8>,
    /// Where the code is left if they are not found.
    site: Option<u8>,
}

impl Work<'_> {
    /// Finds the eight bytes at `displacement` from the stack's top.
    fn spot(&mut self, memory: MemoryUse, displacement: i32) -> Spot {
        // The address of none of these can be one that the host does not take.
        if let Ok(Some(member)) = self.join_group() {
            let index = self.distance(&member.group);
            return Spot { base: RSP, index, displacement, spare: Some(R10), site: None };
        }
        self.give_up_host_flags();
        let site = self.miss();
        dynasm!(self.code ; .arch x64 ; lea r10, [Rq(RSP) + displacement]);
        self.probe(memory, site);
        let spare = (!self.needs_r14()).then_some(R14);
        Spot { base: R10, index: R11, displacement: 0, spare, site: Some(site) }
    }

    /// What comes after an instruction that moved the stack's top, which it found at `spot`.
    fn end_spot(&mut self, spot: Spot) {
        if let Some(site) = spot.site {
            self.resume_here(site);
        }
    }

    /// PUSH of a register, an immediate or memory, 64 bits.
    pub(super) fn push(&mut self) {
        let original = *self.original();
        if original.op0_kind() == OpKind::Memory {
            return self.push_memory();
        }
        let spot = self.spot(WRITE, -8);
        let Spot { base, index, displacement, spare, .. } = spot;
        match original.op0_kind() {
            OpKind::Register => match number(original.op0_register()).map(|n| (n, home(n))) {
                Some((_, Home::Host(held))) => {
                    dynasm!(self.code ; .arch x64 ; mov [Rq(base) + Rq(index) + displacement], Rq(held));
                }
                Some((n, Home::Memory)) => {
                    let at = self.layout.gpr(n);
                    match spare.filter(|_| !self.is_kept(n)) {
                        None if self.is_kept(n) => {
                            let held = self.borrow_register(n, R14);
                            dynasm!(self.code ; .arch x64 ; mov [Rq(base) + Rq(index) + displacement], Rq(held));
                        }
                        Some(spare) => dynasm!(self.code ; .arch x64
                            ; gs mov Rq(spare), [at]
                            ; mov [Rq(base) + Rq(index) + displacement], Rq(spare)
                        ),
                        None => dynasm!(self.code ; .arch x64
                            ; gs push QWORD [at]
                            ; pop QWORD [Rq(base) + Rq(index) + displacement]
                        ),
                    }
                }
                None => {}
            },
            _ => {
                let value = original.immediate(0) as i32;
                dynasm!(self.code ; .arch x64 ; mov QWORD [Rq(base) + Rq(index) + displacement], value);
            }
        }
        dynasm!(self.code ; .arch x64 ; lea r15, [r15 - 8]);
        self.end_spot(spot);
    }

    /// PUSH of memory.
    fn push_memory(&mut self) {
        self.give_up_host_flags();
        let site = self.miss();
        if self.address().is_err() {
            return self.interpret();
        }
        self.probe(READ, site);
        dynasm!(self.code ; .arch x64 ; mov r14, [r10 + r11]);
        self.find_room(site);
        dynasm!(self.code ; .arch x64 ; mov [r10 + r11], r14 ; lea r15, [r15 - 8]);
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
        let spot = self.spot(READ, 0);
        let Spot { base, index, displacement, .. } = spot;
        match home(n) {
            Home::Host(RSP) => dynasm!(self.code ; .arch x64 ; mov Rq(RSP), [Rq(base) + Rq(index) + displacement]),
            Home::Host(held) => {
                dynasm!(self.code ; .arch x64 ; mov Rq(held), [Rq(base) + Rq(index) + displacement] ; lea r15, [r15 + 8]);
            }
            Home::Memory => {
                dynasm!(self.code ; .arch x64 ; mov r10, [Rq(base) + Rq(index) + displacement]);
                self.return_register(n, R10);
                dynasm!(self.code ; .arch x64 ; lea r15, [r15 + 8]);
            }
        }
        self.end_spot(spot);
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
        self.save_flags();
        let Spot { base, index, displacement, spare, .. } = self.spot(WRITE, -8);
        let Some(spare) = spare else { unreachable!("no group goes on behind a call") };
        let (page, next) = (self.layout.page(), self.next_offset());
        dynasm!(self.code ; .arch x64
            ; gs mov Rq(spare), [page]
            ; lea Rq(spare), [Rq(spare) + next]
            ; mov [Rq(base) + Rq(index) + displacement], Rq(spare)
            ; lea r15, [r15 - 8]
        );
        self.flags = Flags::MEMORY;
        self.call_to(self.branch_target(), spare);
    }

    /// CALL of a target in a register or in memory.
    pub(super) fn call_indirect(&mut self) {
        self.leave_flags_in_memory();
        if self.target_into(R14).is_err() {
            return self.interpret_last();
        }
        let site = self.miss();
        self.find_room(site);
        let (page, next) = (self.layout.page(), self.next_offset());
        dynasm!(self.code ; .arch x64
            ; lea r10, [r10 + r11]
            ; gs mov r11, [page]
            ; lea r11, [r11 + next]
            ; mov [r10], r11
            ; lea r15, [r15 - 8]
        );
        let is_noted = self.note_return(R11);
        self.call_by(is_noted, |work| {
            dynasm!(work.code ; .arch x64 ; mov r10, r14);
            work.jump_to_r10(Some(-8));
        });
    }

    /// RET, with what it drops from the stack.
    pub(super) fn ret(&mut self) {
        let original = *self.original();
        let dropped = if original.op_count() == 0 { 0 } else { i32::from(original.immediate16()) };
        self.save_flags();
        let Spot { base, index, displacement, .. } = self.spot(READ, 0);
        let moved = 8 + dropped;
        dynasm!(self.code ; .arch x64 ; mov r10, [Rq(base) + Rq(index) + displacement] ; lea r15, [r15 + moved]);
        self.flags = Flags::MEMORY;
        self.return_to_r10(moved);
    }
}
