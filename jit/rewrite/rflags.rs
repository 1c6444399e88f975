//! RFLAGS as a whole: PUSHFQ, POPFQ, CLI and STI at ring 0, and what else a kernel does on its way in and out.
//!
//! Rule of this file: an interrupt that waits because IF is clear is delivered when it is set, so the instruction that
//! sets it is left to the interpreter where one waits ([`Frame::waits`](crate::Frame::waits)).

use dragoman_state::RFlags;
use dynasm::dynasm;
use dynasmrt::DynasmApi;

use super::{
    Work,
    flags::Flags,
    registers::{R10, R11, R14},
};

/// The host's register for the guest's.
const RSP: u8 = 15;
const IF: i32 = RFlags::IF.bits() as i32;
const ARITHMETIC: i32 = RFlags::ARITHMETIC.bits() as i32;
/// Of the arithmetic flags: those that LAHF puts into AH.
const LOW: i32 = ARITHMETIC & 0xff;
const OVERFLOW_BIT: i8 = RFlags::OF.bits().trailing_zeros() as i8;

impl Work<'_> {
    /// PUSHFQ, or PUSHFD in 32-bit code.
    pub(super) fn push_flags(&mut self) {
        const HIDDEN: i32 = !(RFlags::RF.bits() as i32 | RFlags::VM.bits() as i32 | ARITHMETIC);
        self.leave_flags_in_memory();
        let site = self.miss();
        self.find_room(site);
        let rflags = self.layout.rflags;
        dynasm!(self.code ; .arch x64
            ; add r10, r11
            ; gs mov r14, [rflags]
            ; and r14, HIDDEN
        );
        self.add_saved_flags(R14);
        if self.is_narrow() {
            dynasm!(self.code ; .arch x64 ; mov [r10], r14d);
        } else {
            dynasm!(self.code ; .arch x64 ; mov [r10], r14);
        }
        self.move_top(-self.slot_distance());
        self.resume_here(site);
    }

    /// POPFQ at ring 0, or POPFD in 32-bit code, where it changes arithmetic flags and IF at most.
    pub(super) fn pop_flags(&mut self) {
        self.leave_flags_in_memory();
        let site = self.miss();
        self.sum(R10, RSP, 0);
        self.probe(self.slot_use(false), site);
        let (rflags, waits) = (self.layout.rflags, self.layout.waits());
        self.load_slot(R14, R10, R11, 0);
        dynasm!(self.code ; .arch x64
            ; gs mov r10, [rflags]
            ; xor r10, r14
            ; and r10, !ARITHMETIC
            ; .bytes [0x0fu8, 0x84] // JE
        );
        let same = self.code.displacement();
        dynasm!(self.code ; .arch x64
            ; xor r10, IF
            ; .bytes [0x0fu8, 0x85] // JNE: something else changes
        );
        let other = self.code.displacement();
        self.stub(site, other);
        dynasm!(self.code ; .arch x64 ; gs cmp DWORD [waits], 0 ; .bytes [0x0fu8, 0x85]);
        let waiting = self.code.displacement();
        self.stub(site, waiting);
        self.code.land(same);
        self.take_flags(R14);
        self.move_top(self.slot_distance());
        self.fall_out();
    }

    /// Puts the arithmetic flags, which are in memory, into the image of RFLAGS in host register `image`, where they are
    /// clear. R11 is lost.
    pub(super) fn add_saved_flags(&mut self, image: u8) {
        let flags = self.layout.flags();
        dynasm!(self.code ; .arch x64
            ; gs movzx r11d, BYTE [flags + 1]
            ; and r11d, LOW
            ; or Rq(image), r11
            ; gs movzx r11d, BYTE [flags]
            ; shl r11d, OVERFLOW_BIT
            ; or Rq(image), r11
        );
    }

    /// RFLAGS becomes host register `image`, arithmetic flags included. The register and R11 are lost.
    pub(super) fn take_flags(&mut self, image: u8) {
        let (rflags, flags) = (self.layout.rflags, self.layout.flags());
        dynasm!(self.code ; .arch x64
            ; gs mov [rflags], Rq(image)
            ; movzx r11d, Rb(image)
            ; shl r11d, 8
            ; shr Rd(image), OVERFLOW_BIT
            ; and Rd(image), 1
            ; or Rd(image), r11d
            ; gs mov [flags], Rq(image)
        );
        self.flags = Flags::MEMORY;
    }

    /// CLI at ring 0.
    pub(super) fn clear_interrupts(&mut self) {
        self.give_up_host_flags();
        let rflags = self.layout.rflags;
        dynasm!(self.code ; .arch x64 ; gs and DWORD [rflags], !IF);
        self.fall_out();
    }

    /// STI at ring 0. Nothing here takes the shadow away again: whoever leaves code looks whether it was left behind an STI.
    pub(super) fn set_interrupts(&mut self) {
        self.give_up_host_flags();
        let site = self.miss();
        let (rflags, waits, shadow) = (self.layout.rflags, self.layout.waits(), self.layout.shadow);
        dynasm!(self.code ; .arch x64 ; gs test DWORD [rflags], IF ; .bytes [0x0fu8, 0x85]); // JNE
        let was_set = self.code.displacement();
        dynasm!(self.code ; .arch x64 ; gs cmp DWORD [waits], 0 ; .bytes [0x0fu8, 0x85]);
        let waiting = self.code.displacement();
        self.stub(site, waiting);
        dynasm!(self.code ; .arch x64 ; gs or DWORD [rflags], IF ; gs mov BYTE [shadow], 1);
        let over = self.code.jump_forward();
        self.code.land(was_set);
        dynasm!(self.code ; .arch x64 ; gs mov BYTE [shadow], 0);
        self.code.land(over);
        self.fall_out();
    }

    /// SWAPGS at ring 0.
    pub(super) fn swap_gs(&mut self) {
        let (base, other) = (self.layout.segment_bases[5], self.layout.kernel_gs_base);
        dynasm!(self.code ; .arch x64
            ; gs mov r10, [base]
            ; gs mov r11, [other]
            ; gs mov [base], r11
            ; gs mov [other], r10
        );
        self.fall_out();
    }

    /// SERIALIZE: what it is for happens here anyway, but for the order of memory.
    pub(super) fn serialize(&mut self) {
        dynasm!(self.code ; .arch x64 ; mfence);
        self.fall_out();
    }
}
