//! The stack: PUSH, POP, LEAVE, CALL and RET, with the guest's RSP in R15. Its slots have eight bytes, and four in 32-bit
//! code.

use std::mem::offset_of;

use dragoman_state::{Segment, SegmentIndex};
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
const RBP: u8 = 5;

/// Where a slot of the stack is in the host: at the sum of two registers and a displacement.
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
    /// How a slot is accessed.
    pub(super) fn slot_use(&self, is_write: bool) -> MemoryUse {
        MemoryUse { size: self.slot(), is_write }
    }

    /// Moves the stack's top.
    pub(super) fn move_top(&mut self, by: i32) {
        self.sum(RSP, RSP, by);
    }

    /// Finds the slot at `displacement` from the stack's top.
    fn spot(&mut self, is_write: bool, displacement: i32) -> Spot {
        // The address of none of these can be one that the host does not take.
        if let Ok(Some(member)) = self.join_group() {
            let index = self.distance(&member.group);
            if self.is_narrow() {
                self.sum(R10, RSP, displacement);
                // Where the distance is in R14, nothing is in R11; and behind the last of a group, nothing is in R14.
                let is_last = !self.groups.is_open_after(self.number);
                let spare = if index == R14 { Some(R11) } else { is_last.then_some(R14) };
                return Spot { base: R10, index, displacement: 0, spare, site: None };
            }
            return Spot { base: RSP, index, displacement, spare: Some(R10), site: None };
        }
        self.give_up_host_flags();
        let site = self.miss();
        self.sum(R10, RSP, displacement);
        self.probe(self.slot_use(is_write), site);
        let spare = (!self.needs_r14()).then_some(R14);
        Spot { base: R10, index: R11, displacement: 0, spare, site: Some(site) }
    }

    /// What comes after an instruction that moved the stack's top, which it found at `spot`.
    fn end_spot(&mut self, spot: Spot) {
        if let Some(site) = spot.site {
            self.resume_here(site);
        }
    }

    /// PUSH of a register, an immediate or memory, as wide as a slot.
    pub(super) fn push(&mut self) {
        let original = *self.original();
        if original.op0_kind() == OpKind::Memory {
            return self.push_memory();
        }
        let distance = self.slot_distance();
        let spot = self.spot(true, -distance);
        let Spot { base, index, displacement, spare, .. } = spot;
        match original.op0_kind() {
            OpKind::Register => match number(original.op0_register()).map(|n| (n, home(n))) {
                Some((_, Home::Host(held))) => self.store_slot(base, index, displacement, held),
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
                if self.is_narrow() {
                    dynasm!(self.code ; .arch x64 ; mov DWORD [Rq(base) + Rq(index) + displacement], value);
                } else {
                    dynasm!(self.code ; .arch x64 ; mov QWORD [Rq(base) + Rq(index) + displacement], value);
                }
            }
        }
        self.move_top(-distance);
        self.end_spot(spot);
    }

    /// PUSH of memory.
    fn push_memory(&mut self) {
        self.give_up_host_flags();
        let (site, slot) = (self.miss(), self.slot_use(false));
        if self.address(slot, site).is_err() {
            return self.interpret();
        }
        self.probe(slot, site);
        self.load_slot(R14, R10, R11, 0);
        self.find_room(site);
        self.store_slot(R10, R11, 0, R14);
        self.move_top(-self.slot_distance());
        self.resume_here(site);
    }

    /// Finds the slot below the stack's top.
    pub(super) fn find_room(&mut self, site: u8) {
        self.sum(R10, RSP, -self.slot_distance());
        self.probe(self.slot_use(true), site);
    }

    /// PUSH of a segment register in 32-bit code: of its slot the upper half keeps what it held.
    pub(super) fn push_selector(&mut self) {
        let segment = SegmentIndex::ALL[self.original().op0_register().number() % 6];
        let at = self.layout.segment(segment) + offset_of!(Segment, selector) as i32;
        self.give_up_host_flags();
        let site = self.miss();
        self.sum(R10, RSP, -self.slot_distance());
        self.probe(MemoryUse { size: 2, is_write: true }, site);
        dynasm!(self.code ; .arch x64 ; gs movzx r14d, WORD [at] ; mov [r10 + r11], r14w);
        self.move_top(-self.slot_distance());
        self.resume_here(site);
    }

    /// POP of a register as wide as a slot.
    pub(super) fn pop(&mut self) {
        let Some(n) = number(self.original().op0_register()) else { return self.interpret() };
        let spot = self.spot(false, 0);
        let Spot { base, index, displacement, .. } = spot;
        match home(n) {
            Home::Host(held) => {
                self.load_slot(held, base, index, displacement);
                if held != RSP {
                    self.move_top(self.slot_distance());
                }
            }
            Home::Memory => {
                dynasm!(self.code ; .arch x64 ; mov r10, [Rq(base) + Rq(index) + displacement]);
                self.return_register(n, R10);
                self.move_top(self.slot_distance());
            }
        }
        self.end_spot(spot);
    }

    /// LEAVE.
    pub(super) fn leave(&mut self) {
        self.give_up_host_flags();
        let site = self.miss();
        self.sum(R10, RBP, 0);
        self.probe(self.slot_use(false), site);
        self.load_slot(R14, R10, R11, 0);
        self.sum(RSP, RBP, self.slot_distance());
        dynasm!(self.code ; .arch x64 ; mov rbp, r14);
        self.resume_here(site);
    }

    /// CALL of a fixed target.
    pub(super) fn call(&mut self) {
        self.save_flags();
        let Spot { base, index, displacement, spare, .. } = self.spot(true, -self.slot_distance());
        let Some(spare) = spare else { unreachable!("no group goes on behind a call") };
        self.rip_into(spare, self.next_offset());
        self.store_slot(base, index, displacement, spare);
        self.move_top(-self.slot_distance());
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
        dynasm!(self.code ; .arch x64 ; lea r10, [r10 + r11]);
        self.rip_into(R11, self.next_offset());
        if self.is_narrow() {
            dynasm!(self.code ; .arch x64 ; mov [r10], r11d);
        } else {
            dynasm!(self.code ; .arch x64 ; mov [r10], r11);
        }
        self.move_top(-self.slot_distance());
        let is_noted = self.note_return(R11);
        self.call_by(is_noted, |work| {
            dynasm!(work.code ; .arch x64 ; mov r10, r14);
            work.jump_to_r10(Some(-work.slot_distance()));
        });
    }

    /// RET, with what it drops from the stack.
    pub(super) fn ret(&mut self) {
        let original = *self.original();
        let dropped = if original.op_count() == 0 { 0 } else { i32::from(original.immediate16()) };
        self.save_flags();
        let Spot { base, index, displacement, .. } = self.spot(false, 0);
        let moved = self.slot_distance() + dropped;
        self.load_slot(R10, base, index, displacement);
        self.move_top(moved);
        self.flags = Flags::MEMORY;
        self.return_to_r10(moved);
    }
}
