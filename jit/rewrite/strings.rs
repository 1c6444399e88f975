//! Repeated string instructions that the host repeats: REP MOVS and REP STOS, upwards, a page's worth at a time.
//!
//! Rule of this file: between two pieces the registers say how far the instruction came, so it can be left to the
//! interpreter there, which goes on with the rest: where a page is not known, an element lies in two pages, or somebody wants
//! attention. Within a piece both operands lie in one page each, and the host's instruction does what the guest's does, also
//! where they overlap.

use dragoman_state::RFlags;
use dynasm::dynasm;
use dynasmrt::DynasmApi;
use iced_x86::Code;

use super::{SiteKind, Work, plan::MemoryUse};

const DF: i32 = RFlags::DF.bits() as i32;
/// All bits of an address but those of the offset within its page.
const PAGE_MASK: i32 = -4096;

impl Work<'_> {
    /// REP MOVS or REP STOS, and then the block ends.
    pub(super) fn repeated(&mut self) {
        let code = self.original().code();
        let (is_move, log) = match code {
            Code::Movsb_m8_m8 => (true, 0),
            Code::Movsw_m16_m16 => (true, 1),
            Code::Movsd_m32_m32 => (true, 2),
            Code::Movsq_m64_m64 => (true, 3),
            Code::Stosb_m8_AL => (false, 0),
            Code::Stosw_m16_AX => (false, 1),
            Code::Stosd_m32_EAX => (false, 2),
            _ => (false, 3),
        };
        self.leave_flags_in_memory();
        let site = self.site(SiteKind::Repeat);
        let (rflags, attention, scratch) = (self.layout.rflags, self.layout.attention(), self.layout.scratch());
        dynasm!(self.code ; .arch x64 ; gs test DWORD [rflags], DF ; .bytes [0x0fu8, 0x85]); // JNE
        let down = self.code.displacement();
        self.stub(site, down);
        dynasm!(self.code ; .arch x64 ; test rcx, rcx ; .bytes [0x0fu8, 0x84]); // JE
        let nothing = self.code.displacement();
        let again = self.here();
        if is_move {
            dynasm!(self.code ; .arch x64 ; mov r10, rsi);
            self.probe_page(MemoryUse { size: 1 << log, is_write: false }, site);
            dynasm!(self.code ; .arch x64 ; add r10, r11 ; gs mov [scratch], r10);
        }
        dynasm!(self.code ; .arch x64 ; mov r10, rdi);
        self.probe_page(MemoryUse { size: 1 << log, is_write: true }, site);
        // A page that was found for what is written beside its code is not found for all of it.
        let beside_code = self.layout.beside_code();
        dynasm!(self.code ; .arch x64
            ; mov r14, rdi
            ; and r14, PAGE_MASK
            ; gs cmp r14, [beside_code]
            ; .bytes [0x0fu8, 0x84] // JE
        );
        let beside = self.code.displacement();
        self.stub(site, beside);
        // How many elements the page has room for, of the two pages where there are two.
        dynasm!(self.code ; .arch x64 ; add r10, r11 ; mov r11d, r10d ; or r11d, PAGE_MASK);
        if is_move {
            // What is compared are numbers below zero: the one nearer to zero has less room.
            dynasm!(self.code ; .arch x64 ; gs mov r14, [scratch] ; or r14d, PAGE_MASK ; cmp r14d, r11d ; cmovg r11d, r14d);
        }
        dynasm!(self.code ; .arch x64 ; neg r11d ; shr r11d, log ; cmp r11, rcx ; cmova r11, rcx);
        // R10 and R14 become the distances from the host's addresses to the guest's, and RCX what there is to do now.
        dynasm!(self.code ; .arch x64 ; mov r14, rdi ; sub r14, r10 ; mov rdi, r10 ; sub rcx, r11);
        if is_move {
            dynasm!(self.code ; .arch x64 ; mov r10, rsi ; gs mov rsi, [scratch] ; sub r10, rsi ; gs mov [scratch], rcx);
        } else {
            dynasm!(self.code ; .arch x64 ; mov r10, rcx);
        }
        dynasm!(self.code ; .arch x64 ; mov rcx, r11);
        match code {
            Code::Movsb_m8_m8 => dynasm!(self.code ; .arch x64 ; rep movsb),
            Code::Movsw_m16_m16 => dynasm!(self.code ; .arch x64 ; rep movsw),
            Code::Movsd_m32_m32 => dynasm!(self.code ; .arch x64 ; rep movsd),
            Code::Movsq_m64_m64 => dynasm!(self.code ; .arch x64 ; rep movsq),
            Code::Stosb_m8_AL => dynasm!(self.code ; .arch x64 ; rep stosb),
            Code::Stosw_m16_AX => dynasm!(self.code ; .arch x64 ; rep stosw),
            Code::Stosd_m32_EAX => dynasm!(self.code ; .arch x64 ; rep stosd),
            _ => dynasm!(self.code ; .arch x64 ; rep stosq),
        }
        dynasm!(self.code ; .arch x64 ; add rdi, r14);
        if is_move {
            dynasm!(self.code ; .arch x64 ; add rsi, r10 ; gs mov rcx, [scratch]);
        } else {
            dynasm!(self.code ; .arch x64 ; mov rcx, r10);
        }
        dynasm!(self.code ; .arch x64 ; test rcx, rcx ; .bytes [0x0fu8, 0x84]); // JE
        let done = self.code.displacement();
        dynasm!(self.code ; .arch x64
            ; gs mov r11, [attention]
            ; cmp DWORD [r11], 0
            ; .bytes [0x0fu8, 0x84] // JE
        );
        let back = self.code.displacement();
        self.code.lead(back, again as usize);
        let away = self.code.jump_forward();
        self.stub(site, away);
        self.code.land(nothing);
        self.code.land(done);
        self.resume_here(site);
        self.fall_out();
    }
}
