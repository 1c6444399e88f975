//! Loads of data segment registers in 32-bit code of protected mode: MOV and POP to DS, ES, FS and GS.
//!
//! Rule of this file: what the semantics in frontend do where the descriptor is of the common kind, and nothing else. It is of the
//! global table, present, accessed, writable data without bounds that the ring may have, and for DS and ES flat where the
//! register was, so that the mode stays what it is; or there is none, and the register is FS or GS. For every other the handler is
//! called, which has checks for all of them, in their order.

use std::mem::offset_of;

use dragoman_frontend::decode::Mode;
use dragoman_state::{Attributes, Segment, SegmentIndex, TableRegister, VcpuState};
use dynasm::dynasm;
use dynasmrt::DynasmApi;
use iced_x86::{Instruction, Mnemonic, OpKind};

use super::{
    Work, narrow,
    registers::{Home, R10, home, number},
};
use crate::{Frame, SUPERVISOR};

/// The host's register for the guest's.
const RSP: u8 = 15;
/// The bits of a descriptor that such a segment has set, or clear, but for its privilege level and its base: present, writable,
/// accessed data of 4 GiB. Whether it is big says nothing of data that does not grow down, nor does the bit that is free.
const COMMON: u64 = 0x008f_9300_0000_ffff;
const LOOKED_AT: u64 = 0x00af_9f00_0000_ffff;
const BASE: u64 = 0xff00_00ff_ffff_0000;
const RING_3: u64 = 3 << 45;
const DESCRIPTOR: i32 = 8;
const PAGE: i32 = 4096;

/// Whether `insn` is such a load, of which the common kind is known here.
pub(super) fn is_common_load(insn: &Instruction, mode: Mode) -> bool {
    let Some(segment) = loaded(insn) else { return false };
    let is_load = match insn.mnemonic() {
        Mnemonic::Mov => insn.op1_kind() == OpKind::Register,
        Mnemonic::Pop => insn.stack_pointer_increment() == 4 && mode.is_flat(SegmentIndex::Ss) && mode.stack_width().bytes() == 4,
        _ => false,
    };
    let is_kept = matches!(segment, SegmentIndex::Fs | SegmentIndex::Gs) || mode.is_flat(segment);
    narrow::is_narrow(mode) && mode.is_protected() && is_load && is_kept
}

/// The data segment register that `insn` writes.
fn loaded(insn: &Instruction) -> Option<SegmentIndex> {
    let is_segment = insn.op0_kind() == OpKind::Register && insn.op0_register().is_segment_register();
    let index = SegmentIndex::ALL[insn.op0_register().number() % 6];
    (is_segment && !matches!(index, SegmentIndex::Cs | SegmentIndex::Ss)).then_some(index)
}

impl Work<'_> {
    /// MOV or POP to DS, ES, FS or GS.
    pub(super) fn load_segment(&mut self) {
        let original = *self.original();
        let Some(segment) = loaded(&original) else { return self.call_handler() };
        self.leave_flags_in_memory();
        let is_pop = original.mnemonic() == Mnemonic::Pop;
        if is_pop {
            let site = self.miss();
            self.sum(R10, RSP, 0);
            self.probe(self.slot_use(false), site);
            dynasm!(self.code ; .arch x64 ; movzx r14d, WORD [r10 + r11]);
        } else {
            match number(original.op1_register()).map(|n| (n, home(n))) {
                Some((_, Home::Host(held))) => dynasm!(self.code ; .arch x64 ; movzx r14d, Rw(held)),
                Some((n, Home::Memory)) => {
                    let at = self.layout.gpr(n);
                    dynasm!(self.code ; .arch x64 ; gs movzx r14d, WORD [at]);
                }
                None => return self.call_handler(),
            }
        }
        let (others, done) = self.load_common(segment);
        for jump in done {
            self.code.land(jump);
        }
        if is_pop {
            self.move_top(self.slot_distance());
        }
        self.fall_out();
        for jump in others {
            self.code.land(jump);
        }
        self.call_handler();
    }

    /// Loads the selector in R14 where its descriptor is of the common kind. Returns the jumps that are taken where it is not, and
    /// those where nothing is left to be done. All of R10, R11 and R14 are lost.
    fn load_common(&mut self, segment: SegmentIndex) -> (Vec<usize>, Vec<usize>) {
        const LOCAL: i32 = 4;
        const INDEX: i32 = !7;
        let table = self.layout.state + offset_of!(VcpuState, gdtr) as i32;
        let (table_base, table_limit) =
            (table + offset_of!(TableRegister, base) as i32, table + offset_of!(TableRegister, limit) as i32);
        let register = self.layout.segment(segment);
        let field = |offset: usize| register + offset as i32;
        let (base, limit) = (field(offset_of!(Segment, base)), field(offset_of!(Segment, limit)));
        let (attributes, selector) = (field(offset_of!(Segment, attributes)), field(offset_of!(Segment, selector)));
        let is_flat = !matches!(segment, SegmentIndex::Fs | SegmentIndex::Gs);
        let (bounded, bit) = (self.layout.bounded(), Frame::bounds(segment) as i32);
        let (mut others, mut done) = (Vec::new(), Vec::new());
        let jump = |work: &mut Self, condition: u8| {
            work.code.extend([0x0f, condition]);
            work.code.displacement()
        };
        const EQUAL: u8 = 0x84;
        const NOT_EQUAL: u8 = 0x85;
        const ABOVE: u8 = 0x87;
        if !is_flat {
            dynasm!(self.code ; .arch x64 ; test r14d, !3);
            let named = jump(self, NOT_EQUAL);
            dynasm!(self.code ; .arch x64
                ; gs mov QWORD [base], 0
                ; gs mov DWORD [limit], 0
                ; gs mov DWORD [attributes], Attributes::UNUSABLE.0 as i32
                ; gs mov [selector], r14w
                ; gs or DWORD [bounded], bit
            );
            done.push(self.code.jump_forward());
            self.code.land(named);
        }
        dynasm!(self.code ; .arch x64 ; test r14d, LOCAL);
        others.push(jump(self, NOT_EQUAL));
        dynasm!(self.code ; .arch x64
            ; mov r10d, r14d
            ; or r10d, 7
            ; gs movzx r11d, WORD [table_limit]
            ; cmp r10d, r11d
        );
        others.push(jump(self, ABOVE));
        dynasm!(self.code ; .arch x64 ; mov r10d, r14d ; and r10d, INDEX ; gs add r10, [table_base]);
        if !self.source.mode.is_long() {
            self.truncate_address();
        }
        self.find_slot();
        let read = self.layout.tables[SUPERVISOR].read;
        dynasm!(self.code ; .arch x64 ; gs sub r10, [r11 + read] ; cmp r10, PAGE - DESCRIPTOR);
        others.push(jump(self, ABOVE));
        dynasm!(self.code ; .arch x64
            ; gs add r10, [r11 + read + 8]
            ; mov r10, [r10]
        );
        // Which ring's it is must be the outermost, or that of the code and of who asks for it.
        let looked_at = if is_flat { LOOKED_AT | BASE } else { LOOKED_AT };
        dynasm!(self.code ; .arch x64
            ; mov r11, QWORD (looked_at | RING_3) as i64
            ; and r11, r10
            ; push r10
            ; mov r10, QWORD (COMMON | RING_3) as i64
            ; cmp r11, r10
            ; pop r10
        );
        let ours = if self.source.mode.cpl() == 0 {
            let outer = jump(self, EQUAL);
            dynasm!(self.code ; .arch x64
                ; push r10
                ; mov r10, QWORD COMMON as i64
                ; cmp r11, r10
                ; pop r10
            );
            others.push(jump(self, NOT_EQUAL));
            dynasm!(self.code ; .arch x64 ; test r14d, 3);
            others.push(jump(self, NOT_EQUAL));
            Some(outer)
        } else {
            others.push(jump(self, NOT_EQUAL));
            None
        };
        if let Some(outer) = ours {
            self.code.land(outer);
        }
        dynasm!(self.code ; .arch x64
            ; gs mov [selector], r14w
            ; gs mov DWORD [limit], -1
            ; mov r11, r10
            ; shr r11, 40
            ; and r11d, 0xf0ff
            ; gs mov [attributes], r11d
        );
        if is_flat {
            dynasm!(self.code ; .arch x64 ; gs mov QWORD [base], 0);
        } else {
            dynasm!(self.code ; .arch x64
                ; mov r11, r10
                ; shr r11, 16
                ; and r11d, 0x00ff_ffff
                ; shr r10, 32
                ; and r10d, 0xff00_0000u32 as i32
                ; or r10d, r11d
                ; gs mov [base], r10
                ; gs and DWORD [bounded], !bit
            );
        }
        (others, done)
    }
}
