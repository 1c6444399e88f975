//! 32-bit code, in protected and compatibility mode: what is otherwise in it than in 64-bit code.
//!
//! Rule of this file: code is translated where CS is flat; an access is, where its segment is flat, or is FS or GS and has no
//! bounds. Addresses, instruction pointers and the stack pointer wrap at 32 bits, each time that one is made: what is in the
//! upper halves of registers is nobody's, so nothing is added to all 64 bits of one and then used. Registers are written as
//! the host writes them in 64-bit code, and as the semantics do: 32 bits clear the upper half.

use dragoman_frontend::decode::{CodeSize, Mode};
use dragoman_state::SegmentIndex;
use dynasm::dynasm;
use dynasmrt::DynasmApi;
use iced_x86::{Code, Mnemonic, Register};

use super::{Work, plan::MemoryUse, registers::R10};
use crate::Frame;

/// Whether code of `mode` is such code.
pub(super) fn is_narrow(mode: Mode) -> bool {
    mode.code_size() == CodeSize::Bits32
}

/// How many bytes a slot of the stack has, an address, and an instruction pointer.
pub(super) fn slot(mode: Mode) -> u32 {
    if is_narrow(mode) { 4 } else { 8 }
}

/// The form in which 64-bit code has the instruction, too; itself where there is none, or it need not be another.
pub(super) fn host_form(code: Code) -> Code {
    match code {
        Code::Inc_r16 => Code::Inc_rm16,
        Code::Inc_r32 => Code::Inc_rm32,
        Code::Dec_r16 => Code::Dec_rm16,
        Code::Dec_r32 => Code::Dec_rm32,
        // Where the operand in memory was found, it needs a register.
        Code::Mov_AL_moffs8 => Code::Mov_r8_rm8,
        Code::Mov_AX_moffs16 => Code::Mov_r16_rm16,
        Code::Mov_EAX_moffs32 => Code::Mov_r32_rm32,
        Code::Mov_RAX_moffs64 => Code::Mov_r64_rm64,
        Code::Mov_moffs8_AL => Code::Mov_rm8_r8,
        Code::Mov_moffs16_AX => Code::Mov_rm16_r16,
        Code::Mov_moffs32_EAX => Code::Mov_rm32_r32,
        Code::Mov_moffs64_RAX => Code::Mov_rm64_r64,
        Code::Add_rm8_imm8_82 => Code::Add_rm8_imm8,
        Code::Or_rm8_imm8_82 => Code::Or_rm8_imm8,
        Code::Adc_rm8_imm8_82 => Code::Adc_rm8_imm8,
        Code::Sbb_rm8_imm8_82 => Code::Sbb_rm8_imm8,
        Code::And_rm8_imm8_82 => Code::And_rm8_imm8,
        Code::Sub_rm8_imm8_82 => Code::Sub_rm8_imm8,
        Code::Xor_rm8_imm8_82 => Code::Xor_rm8_imm8,
        Code::Cmp_rm8_imm8_82 => Code::Cmp_rm8_imm8,
        _ => code,
    }
}

/// Whether 64-bit code has no such instruction, or one that does something else: there are eight more vectors to be cleared.
pub(super) fn is_another(mnemonic: Mnemonic, mode: Mode) -> bool {
    use Mnemonic::*;
    is_narrow(mode) && matches!(mnemonic, Vzeroupper | Aaa | Aad | Aam | Aas | Daa | Das | Salc | Arpl | Bound | Into | Lds | Les)
}

impl Work<'_> {
    /// Whether the block is such code.
    pub(super) fn is_narrow(&self) -> bool {
        is_narrow(self.source.mode)
    }

    pub(super) fn slot(&self) -> u32 {
        slot(self.source.mode)
    }

    /// How far a slot moves the stack's top.
    pub(super) fn slot_distance(&self) -> i32 {
        self.slot() as i32
    }

    /// Host register `to` becomes `base` and `distance`, as wide as an address. No flag is lost.
    pub(super) fn sum(&mut self, to: u8, base: u8, distance: i32) {
        match (self.is_narrow(), i8::try_from(distance)) {
            (true, Ok(0)) => dynasm!(self.code ; .arch x64 ; mov Rd(to), Rd(base)),
            (false, Ok(0)) => dynasm!(self.code ; .arch x64 ; mov Rq(to), Rq(base)),
            (true, Ok(distance)) => dynasm!(self.code ; .arch x64 ; lea Rd(to), [BYTE Rq(base) + distance]),
            (false, Ok(distance)) => dynasm!(self.code ; .arch x64 ; lea Rq(to), [BYTE Rq(base) + distance]),
            (true, Err(_)) => dynasm!(self.code ; .arch x64 ; lea Rd(to), [Rq(base) + distance]),
            (false, Err(_)) => dynasm!(self.code ; .arch x64 ; lea Rq(to), [Rq(base) + distance]),
        }
    }

    /// Host register `to` becomes the RIP of what lies so far from the page's first byte. No flag is lost.
    pub(super) fn rip_into(&mut self, to: u8, offset: i32) {
        let page = self.layout.page();
        dynasm!(self.code ; .arch x64 ; gs mov Rq(to), [page]);
        self.sum(to, to, offset);
    }

    /// What was added to the address in R10 may have carried it beyond 32 bits. No flag is lost.
    pub(super) fn truncate_address(&mut self) {
        if self.is_narrow() {
            dynasm!(self.code ; .arch x64 ; mov r10d, r10d);
        }
    }

    /// Loads a slot of the stack, or a target of a jump, into host register `to`.
    pub(super) fn load_slot(&mut self, to: u8, base: u8, index: u8, displacement: i32) {
        if self.is_narrow() {
            dynasm!(self.code ; .arch x64 ; mov Rd(to), [Rq(base) + Rq(index) + displacement]);
        } else {
            dynasm!(self.code ; .arch x64 ; mov Rq(to), [Rq(base) + Rq(index) + displacement]);
        }
    }

    /// Stores host register `from` to a slot of the stack.
    pub(super) fn store_slot(&mut self, base: u8, index: u8, displacement: i32, from: u8) {
        if self.is_narrow() {
            dynasm!(self.code ; .arch x64 ; mov [Rq(base) + Rq(index) + displacement], Rd(from));
        } else {
            dynasm!(self.code ; .arch x64 ; mov [Rq(base) + Rq(index) + displacement], Rq(from));
        }
    }

    /// Leaves at `site` where FS or GS may refuse an access at the offset in R10. The host's flags are lost.
    pub(super) fn require_no_bounds(&mut self, segment: SegmentIndex, memory: MemoryUse, site: u8) {
        let (bounded, bit) = (self.layout.bounded(), Frame::bounds(segment) as i32);
        dynasm!(self.code ; .arch x64 ; gs test DWORD [bounded], bit ; .bytes [0x0fu8, 0x85]); // JNE
        let has_bounds = self.code.displacement();
        self.stub(site, has_bounds);
        // At most offsets there is the end of the segment to be met, too.
        let last = 0u32.wrapping_sub(memory.size);
        let original = self.original();
        let is_fixed = original.memory_base() == Register::None && original.memory_index() == Register::None;
        if is_fixed && original.memory_displacement64() as u32 <= last {
            return;
        }
        dynasm!(self.code ; .arch x64 ; cmp Rd(R10), last as i32 ; .bytes [0x0fu8, 0x87]); // JA
        let beyond = self.code.displacement();
        self.stub(site, beyond);
    }
}
