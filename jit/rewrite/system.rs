//! System calls and their returns, and what else a kernel does on its way in and out: STAC and CLAC, CLD, moves from
//! control and segment registers, the bases of FS and GS.
//!
//! Rule of this file: what the semantics in frontend do in the common case, and nothing else. Where anything is unusual
//! (SYSCALL is off, a flag is set that makes code run differently, an interrupt would be let in) the interpreter executes
//! the instruction. An instruction that changes whose memory is accessed also changes what follows from that: the mode, the
//! view, and the cache of indirect jumps, through which it goes on.

use std::mem::offset_of;

use dragoman_frontend::decode::Mode;
use dragoman_state::{Cr4, Efer, Msrs, RFlags, Segment, SegmentIndex, VcpuState};
use dynasm::dynasm;
use dynasmrt::DynasmApi;
use iced_x86::{Mnemonic, Register};

use super::{
    SiteKind, Work,
    plan::{MemoryUse, Step},
    registers::{Home, R10, R11, R14, home, number},
};
use crate::{GuestTime, LIFTED, SUPERVISOR, USER};

const AC: i32 = RFlags::AC.bits() as i32;
const DF: i32 = RFlags::DF.bits() as i32;
const IF: i32 = RFlags::IF.bits() as i32;
const ARITHMETIC: i32 = RFlags::ARITHMETIC.bits() as i32;
/// Flags under which code does not run as it does without them.
const UNUSUAL: i32 = RFlags::TF.union(RFlags::AC).union(RFlags::VM).union(RFlags::RF).bits() as i32;
/// Flat 64-bit code of ring 0, as SYSCALL loads CS.
const CODE: i32 = 0xa09b;
/// Flat data of ring 0, as it loads SS.
const STACK: i32 = 0xc093;
const RING_3: i32 = 3 << 5;
const RING: i32 = Mode::RING as i32;

impl Work<'_> {
    /// SYSCALL at ring 3.
    pub(super) fn system_call(&mut self) {
        self.leave_flags_in_memory();
        let site = self.site(SiteKind::Interpret);
        let (fmask, star, lstar) = (offset_of!(Msrs, fmask), offset_of!(Msrs, star), offset_of!(Msrs, lstar));
        let (fmask, star, lstar) = (self.layout.msr(fmask), self.layout.msr(star), self.layout.msr(lstar));
        let (rflags, kept) = (self.layout.rflags, self.layout.gpr(11));
        let (page, next) = (self.layout.page(), self.next_offset());
        self.require_system_calls(site);
        dynasm!(self.code ; .arch x64
            ; gs mov r10, [rflags]
            ; and r10, !ARITHMETIC
        );
        self.add_saved_flags(R10);
        dynasm!(self.code ; .arch x64
            ; gs mov r14, [fmask]
            ; not r14
            ; and r14, r10
            ; or r14, RFlags::FIXED.bits() as i32
            ; test r14d, UNUSUAL
        );
        self.jump_not_zero(site);
        dynasm!(self.code ; .arch x64 ; gs mov [kept], r10 ; mov r10, r14);
        self.take_flags(R10);
        dynasm!(self.code ; .arch x64
            ; gs mov rcx, [page]
            ; lea rcx, [rcx + next]
            ; gs movzx r11d, WORD [star + 4]
            ; and r11d, 0xfffc
            ; lea r14d, [r11 + 8]
        );
        self.enter_ring(SUPERVISOR, 0);
        dynasm!(self.code ; .arch x64 ; gs mov r10, [lstar]);
        self.jump_to_r10(None);
    }

    /// SYSRET at ring 0, to 64-bit code.
    pub(super) fn system_return(&mut self) {
        const LOADED: RFlags = RFlags::all().difference(RFlags::FIXED.union(RFlags::RF).union(RFlags::VM));
        self.give_up_host_flags();
        let site = self.site(SiteKind::Interpret);
        let star = self.layout.msr(offset_of!(Msrs, star));
        let (waits, kept) = (self.layout.waits(), self.layout.gpr(11));
        let (elsewhere, entries) = (self.layout.user_elsewhere(), self.layout.user_entries());
        self.require_system_calls(site);
        dynasm!(self.code ; .arch x64 ; gs cmp DWORD [elsewhere], 0);
        self.jump_not_zero(site);
        dynasm!(self.code ; .arch x64 ; gs mov r10, [kept] ; test r10d, UNUSUAL);
        self.jump_not_zero(site);
        // To an address that is canonical whatever the paging mode.
        dynasm!(self.code ; .arch x64 ; mov r11, rcx ; shr r11, 47);
        self.jump_not_zero(site);
        dynasm!(self.code ; .arch x64 ; mov r11d, r10d ; and r11d, IF ; .bytes [0x0fu8, 0x84]); // JE
        let kept_out = self.code.displacement();
        dynasm!(self.code ; .arch x64 ; gs cmp DWORD [waits], 0);
        self.jump_not_zero(site);
        self.code.land(kept_out);
        dynasm!(self.code ; .arch x64 ; gs inc QWORD [entries]);
        dynasm!(self.code ; .arch x64 ; and r10, LOADED.bits() as i32 ; or r10, RFlags::FIXED.bits() as i32);
        self.take_flags(R10);
        dynasm!(self.code ; .arch x64
            ; gs movzx r11d, WORD [star + 6]
            ; lea r14d, [r11 + 8]
            ; lea r11d, [r11 + 16]
            ; or r14d, 3
            ; or r11d, 3
        );
        self.enter_ring(USER, RING_3);
        dynasm!(self.code ; .arch x64 ; mov r10, rcx);
        self.jump_to_r10(None);
    }

    /// Leaves at `site` where SYSCALL and SYSRET are off.
    fn require_system_calls(&mut self, site: u8) {
        let efer = self.layout.state + offset_of!(VcpuState, efer) as i32;
        dynasm!(self.code ; .arch x64 ; gs test DWORD [efer], Efer::SCE.bits() as i32 ; .bytes [0x0fu8, 0x84]); // JE
        let off = self.code.displacement();
        self.stub(site, off);
    }

    /// Leaves at `site` where the last comparison found a difference.
    fn jump_not_zero(&mut self, site: u8) {
        self.code.extend([0x0f, 0x85]);
        let away = self.code.displacement();
        self.stub(site, away);
    }

    /// Loads CS and SS with flat segments whose selectors are in R11 and R14 and whose rights are those of ring 0 and `ring`,
    /// and accesses memory through `view` from now on. R10 is lost.
    fn enter_ring(&mut self, view: usize, ring: i32) {
        let (cs, ss) = (self.layout.segment(SegmentIndex::Cs), self.layout.segment(SegmentIndex::Ss));
        for (segment, selector, rights) in [(cs, R11, CODE), (ss, R14, STACK)] {
            let field = |offset: usize| segment + offset as i32;
            let (base, limit) = (field(offset_of!(Segment, base)), field(offset_of!(Segment, limit)));
            let (attributes, name) = (field(offset_of!(Segment, attributes)), field(offset_of!(Segment, selector)));
            dynasm!(self.code ; .arch x64
                ; gs mov QWORD [base], 0
                ; gs mov DWORD [limit], -1
                ; gs mov DWORD [attributes], rights | ring
                ; gs mov WORD [name], Rw(selector)
            );
        }
        let (mode, shadow) = (self.layout.mode, self.layout.shadow);
        if ring == RING_3 {
            dynasm!(self.code ; .arch x64 ; gs or DWORD [mode], RING);
        } else {
            dynasm!(self.code ; .arch x64 ; gs and DWORD [mode], !RING);
        }
        dynasm!(self.code ; .arch x64 ; gs mov BYTE [shadow], 0);
        self.enter_view(view);
    }

    /// Has what follows access memory through `view`, and forgets to where in blocks of another one a return may go. R10 is
    /// lost.
    fn enter_view(&mut self, view: usize) {
        let (now, jumps, returns) = (self.layout.view, self.layout.jumps(), self.layout.return_base());
        let other = self.layout.all_jumps() + 8 * view as i32;
        dynasm!(self.code ; .arch x64
            ; gs mov rsp, [returns]
            ; gs mov QWORD [now], view as i32
            ; gs mov r10, [other]
            ; gs mov [jumps], r10
        );
    }

    /// STAC at ring 0.
    pub(super) fn set_access(&mut self) {
        self.give_up_host_flags();
        let rflags = self.layout.rflags;
        if self.source.view == LIFTED {
            dynasm!(self.code ; .arch x64 ; gs or DWORD [rflags], AC);
            return self.fall_out();
        }
        let site = self.site(SiteKind::Interpret);
        let control = self.layout.state + offset_of!(VcpuState, cr4) as i32;
        dynasm!(self.code ; .arch x64 ; gs test DWORD [control], Cr4::SMAP.bits() as i32 ; .bytes [0x0fu8, 0x84]); // JE
        let nothing_to_lift = self.code.displacement();
        self.stub(site, nothing_to_lift);
        dynasm!(self.code ; .arch x64 ; gs or DWORD [rflags], AC);
        self.enter_view(LIFTED);
        self.go_on_through_cache();
    }

    /// CLAC at ring 0.
    pub(super) fn clear_access(&mut self) {
        self.give_up_host_flags();
        let rflags = self.layout.rflags;
        dynasm!(self.code ; .arch x64 ; gs and DWORD [rflags], !AC);
        if self.source.view != LIFTED {
            return self.fall_out();
        }
        self.enter_view(SUPERVISOR);
        self.go_on_through_cache();
    }

    /// Goes on with the next instruction in a block of another view.
    fn go_on_through_cache(&mut self) {
        self.rip_into(R10, self.next_offset());
        self.jump_to_r10(None);
    }

    /// STD and CLD.
    pub(super) fn set_direction(&mut self, is_down: bool) {
        self.give_up_host_flags();
        let rflags = self.layout.rflags;
        if is_down {
            dynasm!(self.code ; .arch x64 ; gs or DWORD [rflags], DF);
        } else {
            dynasm!(self.code ; .arch x64 ; gs and DWORD [rflags], !DF);
        }
    }

    /// MOV from CR0, CR2, CR3 or CR4.
    pub(super) fn read_control(&mut self) {
        let field = match self.original().op1_register() {
            Register::CR0 => offset_of!(VcpuState, cr0),
            Register::CR2 => offset_of!(VcpuState, cr2),
            Register::CR3 => offset_of!(VcpuState, cr3),
            _ => offset_of!(VcpuState, cr4),
        };
        let at = self.layout.state + field as i32;
        dynasm!(self.code ; .arch x64 ; gs mov r10, [at]);
        self.write_guest(self.original().op0_register());
    }

    /// MOV from a segment register to a general one.
    pub(super) fn read_selector(&mut self) {
        let original = *self.original();
        let segment = SegmentIndex::ALL[original.op1_register().number() % 6];
        let at = self.layout.segment(segment) + offset_of!(Segment, selector) as i32;
        dynasm!(self.code ; .arch x64 ; gs movzx r10d, WORD [at]);
        self.write_guest(original.op0_register());
    }

    /// RDFSBASE and RDGSBASE.
    pub(super) fn read_base(&mut self) {
        let base = self.base_register();
        dynasm!(self.code ; .arch x64 ; gs mov r10, [base]);
        self.write_guest(self.original().op0_register());
        self.fall_out();
    }

    /// WRFSBASE and WRGSBASE, of an address that is canonical whatever the paging mode.
    pub(super) fn write_base(&mut self) {
        let original = *self.original();
        let base = self.base_register();
        let Some(n) = number(original.op0_register()) else { return self.interpret_last() };
        match home(n) {
            Home::Host(held) => dynasm!(self.code ; .arch x64 ; mov r10, Rq(held)),
            Home::Memory => {
                let at = self.layout.gpr(n);
                dynasm!(self.code ; .arch x64 ; gs mov r10, [at]);
            }
        }
        if original.op0_register().is_gpr32() {
            dynasm!(self.code ; .arch x64 ; mov r10d, r10d);
        } else {
            let site = self.site(SiteKind::Interpret);
            dynasm!(self.code ; .arch x64
                ; mov r11, r10
                ; sar r11, 47
                ; inc r11
                ; cmp r11, 1
                ; .bytes [0x0fu8, 0x87] // JA
            );
            let other = self.code.displacement();
            self.stub(site, other);
        }
        dynasm!(self.code ; .arch x64 ; gs mov [base], r10);
        self.fall_out();
    }

    /// The place of the base that the instruction accesses, where CR4 lets it.
    fn base_register(&mut self) -> i32 {
        self.give_up_host_flags();
        let site = self.site(SiteKind::Interpret);
        let control = self.layout.state + offset_of!(VcpuState, cr4) as i32;
        dynasm!(self.code ; .arch x64 ; gs test DWORD [control], Cr4::FSGSBASE.bits() as i32 ; .bytes [0x0fu8, 0x84]); // JE
        let off = self.code.displacement();
        self.stub(site, off);
        let is_fs = matches!(self.original().mnemonic(), Mnemonic::Rdfsbase | Mnemonic::Wrfsbase);
        self.layout.segment_bases[if is_fs { 4 } else { 5 }]
    }

    /// BT, BTS, BTR and BTC of a bit whose signed number is in a register: of that string of bits, the piece as wide as the
    /// register that holds it.
    pub(super) fn bit_string(&mut self, step: &Step) {
        let original = *self.original();
        let (Some(n), width) = (number(original.op1_register()), original.op1_register().size() as u32) else {
            return self.interpret();
        };
        let is_write = original.mnemonic() != Mnemonic::Bt;
        let number_at = self.layout.gpr(n);
        self.give_up_host_flags();
        let site = self.miss();
        let memory = MemoryUse { size: width, is_write };
        if self.address(memory, site).is_err() {
            return self.interpret();
        }
        match (home(n), width) {
            (Home::Host(held), 8) => dynasm!(self.code ; .arch x64 ; mov r11, Rq(held)),
            (Home::Host(held), 4) => dynasm!(self.code ; .arch x64 ; movsxd r11, Rd(held)),
            (Home::Host(held), _) => dynasm!(self.code ; .arch x64 ; movsx r11, Rw(held)),
            (Home::Memory, 8) => dynasm!(self.code ; .arch x64 ; gs mov r11, [number_at]),
            (Home::Memory, 4) => dynasm!(self.code ; .arch x64 ; gs movsxd r11, DWORD [number_at]),
            (Home::Memory, _) => dynasm!(self.code ; .arch x64 ; gs movsx r11, WORD [number_at]),
        }
        let bits = width as i8 * 8;
        match width {
            8 => dynasm!(self.code ; .arch x64 ; sar r11, 6 ; lea r10, [r10 + r11 * 8]),
            4 => dynasm!(self.code ; .arch x64 ; sar r11, 5 ; lea r10, [r10 + r11 * 4]),
            _ => dynasm!(self.code ; .arch x64 ; sar r11, 4 ; lea r10, [r10 + r11 * 2]),
        }
        self.truncate_address();
        self.probe(memory, site);
        dynasm!(self.code ; .arch x64 ; lea r10, [r10 + r11]);
        match home(n) {
            Home::Host(held) => dynasm!(self.code ; .arch x64 ; mov r14d, Rd(held)),
            Home::Memory => dynasm!(self.code ; .arch x64 ; gs mov r14d, [number_at]),
        }
        dynasm!(self.code ; .arch x64 ; and r14d, BYTE bits - 1);
        self.before(step.effect);
        self.row();
        let mut insn = original;
        insn.set_memory_base(Register::R10);
        insn.set_memory_index(Register::None);
        insn.set_memory_index_scale(1);
        insn.set_memory_displacement64(0);
        insn.set_memory_displ_size(0);
        insn.set_segment_prefix(Register::None);
        insn.set_op1_register(super::registers::as_wide(R14, original.op1_register()));
        if self.encode(&insn).is_err() {
            let away = self.code.jump_forward();
            self.stub(site, away);
        }
        self.after(step.effect);
        self.resume_here(site);
    }

    /// RDTSC and RDTSCP, where the clock was read lately.
    pub(super) fn read_time(&mut self) {
        self.leave_flags_in_memory();
        let site = self.miss();
        if self.source.mode.cpl() > 0 {
            let control = self.layout.state + offset_of!(VcpuState, cr4) as i32;
            dynasm!(self.code ; .arch x64 ; gs test DWORD [control], Cr4::TSD.bits() as i32);
            self.jump_not_zero(site);
        }
        let field = |offset: usize| self.layout.time() + offset as i32;
        let (host, reach) = (field(offset_of!(GuestTime, host)), field(offset_of!(GuestTime, reach)));
        let (scale, guest) = (field(offset_of!(GuestTime, scale)), field(offset_of!(GuestTime, guest)));
        let is_ordered = self.original().mnemonic() == Mnemonic::Rdtscp;
        if is_ordered {
            dynasm!(self.code ; .arch x64 ; lfence);
        }
        // Where the interpreter is asked after all, it writes both registers too.
        dynasm!(self.code ; .arch x64
            ; rdtsc
            ; shl rdx, 32
            ; or rax, rdx
            ; gs sub rax, [host]
            ; gs cmp rax, [reach]
            ; .bytes [0x0fu8, 0x83] // JAE
        );
        let late = self.code.displacement();
        self.stub(site, late);
        dynasm!(self.code ; .arch x64
            ; gs mul QWORD [scale]
            ; shrd rax, rdx, 32
            ; gs add rax, [guest]
            ; mov rdx, rax
            ; shr rdx, 32
            ; mov eax, eax
        );
        if is_ordered {
            let tsc_aux = self.layout.msr(offset_of!(Msrs, tsc_aux));
            dynasm!(self.code ; .arch x64 ; gs mov ecx, DWORD [tsc_aux]);
        }
        self.resume_here(site);
    }

    /// PAUSE.
    pub(super) fn pause(&mut self) {
        dynasm!(self.code ; .arch x64 ; pause);
    }
}
