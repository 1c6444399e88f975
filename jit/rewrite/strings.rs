//! Repeated string instructions that the host repeats: MOVS, STOS, CMPS and SCAS, upwards, a page's worth at a time.
//!
//! Rule of this file: between two pieces the registers say how far the instruction came, so it can be left to the
//! interpreter there, which goes on with the rest: where a page is not known, an element lies in two pages, or somebody wants
//! attention. Within a piece both operands lie in one page each, and the host's instruction does what the guest's does, also
//! where they overlap.

use dragoman_state::RFlags;
use dynasm::dynasm;
use dynasmrt::DynasmApi;
use iced_x86::Mnemonic;

use super::{
    SiteKind, Work,
    flags::Flags,
    plan::MemoryUse,
    registers::{R10, R14},
};

const DF: i32 = RFlags::DF.bits() as i32;
const RSI: u8 = 6;
const RDI: u8 = 7;
/// All bits of an address but those of the offset within its page.
const PAGE_MASK: i32 = -4096;
/// Opcodes: of bytes, and of what is wider.
const MOVSB: u8 = 0xa4;
const MOVS: u8 = 0xa5;
const CMPSB: u8 = 0xa6;
const CMPS: u8 = 0xa7;
const STOSB: u8 = 0xaa;
const SCASB: u8 = 0xae;

impl Work<'_> {
    /// REP MOVS or REP STOS, and then the block ends.
    pub(super) fn repeated(&mut self) {
        let (opcode, log) = self.string_opcode();
        let is_move = matches!(opcode, MOVS | MOVSB);
        self.leave_flags_in_memory();
        let site = self.site(SiteKind::Repeat);
        let nothing = self.require_upwards(site);
        let again = self.here();
        self.piece(is_move.then_some(MemoryUse { size: 1 << log, is_write: false }), log, true, site);
        self.host_string(opcode, log);
        dynasm!(self.code ; .arch x64 ; add rdi, r14);
        if is_move {
            let scratch = self.layout.scratch();
            dynasm!(self.code ; .arch x64 ; add rsi, r10 ; gs mov rcx, [scratch]);
        } else {
            dynasm!(self.code ; .arch x64 ; mov rcx, r10);
        }
        self.wrap_pointers(is_move);
        let done = self.jump_if_done();
        self.next_piece(again, site);
        self.code.land(nothing);
        self.code.land(done);
        self.resume_here(site);
        self.fall_out();
    }

    /// REPE or REPNE with CMPS or SCAS, and then the block ends. The flags in memory stay what they were before it until it is
    /// done, as a fault in its middle shows them. SDM: vol. 2, REP/REPE/REPZ/REPNE/REPNZ.
    pub(super) fn compared(&mut self) {
        let (opcode, log) = self.string_opcode();
        let is_pair = matches!(opcode, CMPS | CMPSB);
        let ends_at_equal = self.original().has_repne_prefix();
        self.leave_flags_in_memory();
        let site = self.site(SiteKind::Repeat);
        let nothing = self.require_upwards(site);
        let again = self.here();
        self.piece(is_pair.then_some(MemoryUse { size: 1 << log, is_write: false }), log, false, site);
        self.host_string(opcode, log);
        // Without touching a flag.
        dynasm!(self.code ; .arch x64 ; lea rdi, [rdi + r14]);
        if is_pair {
            let scratch = self.layout.scratch();
            dynasm!(self.code ; .arch x64 ; lea rsi, [rsi + r10] ; gs mov r10, [scratch]);
        }
        self.wrap_pointers(is_pair);
        dynasm!(self.code ; .arch x64 ; lea rcx, [rcx + r10]);
        self.code.extend([0x0f, if ends_at_equal { 0x84 } else { 0x85 }]); // JE or JNE
        let found = self.code.displacement();
        self.code.extend([0xe3, 2, 0xeb, 5]); // JRCXZ to what follows, else JMP over it
        let done = self.code.jump_forward();
        self.next_piece(again, site);
        self.code.land(found);
        self.code.land(done);
        self.flags = Flags::HOST;
        self.save_flags();
        self.code.land(nothing);
        self.flags = Flags::MEMORY;
        self.resume_here(site);
        self.fall_out();
    }

    /// The opcode of the instruction under way, a string instruction, and the logarithm of its elements' size.
    fn string_opcode(&self) -> (u8, u8) {
        use Mnemonic::*;
        let log = self.original().memory_size().size().trailing_zeros() as u8;
        let bytes = match self.original().mnemonic() {
            Movsb | Movsw | Movsd | Movsq => MOVSB,
            Stosb | Stosw | Stosd | Stosq => STOSB,
            Cmpsb | Cmpsw | Cmpsd | Cmpsq => CMPSB,
            _ => SCASB,
        };
        (bytes | u8::from(log > 0), log)
    }

    /// The host's instruction, repeated as the guest's is.
    fn host_string(&mut self, opcode: u8, log: u8) {
        if log == 1 {
            self.code.push(0x66);
        }
        self.code.push(if self.original().has_repne_prefix() { 0xf2 } else { 0xf3 });
        if log == 3 {
            self.code.push(0x48); // REX.W
        }
        self.code.push(opcode);
    }

    /// Leaves at `site` where addresses go down. Returns the displacement of a jump for where RCX is zero.
    fn require_upwards(&mut self, site: u8) -> usize {
        let rflags = self.layout.rflags;
        dynasm!(self.code ; .arch x64 ; gs test DWORD [rflags], DF ; .bytes [0x0fu8, 0x85]); // JNE
        let down = self.code.displacement();
        self.stub(site, down);
        self.jump_if_done()
    }

    /// A jump, whose displacement this returns, for where nothing is left to be done.
    fn jump_if_done(&mut self) -> usize {
        if self.is_narrow() {
            dynasm!(self.code ; .arch x64 ; test ecx, ecx);
        } else {
            dynasm!(self.code ; .arch x64 ; test rcx, rcx);
        }
        self.code.extend([0x0f, 0x84]); // JE
        self.code.displacement()
    }

    /// RDI, and RSI where there `is_source`, are addresses of 32 bits in 32-bit code: behind the last page comes the first. No
    /// flag is lost.
    fn wrap_pointers(&mut self, is_source: bool) {
        if self.is_narrow() {
            dynasm!(self.code ; .arch x64 ; mov edi, edi);
            if is_source {
                dynasm!(self.code ; .arch x64 ; mov esi, esi);
            }
        }
    }

    /// Prepares the next piece: RDI, and RSI where there is a `source`, become the host's, R14 and R10 how far the guest's are
    /// from them, and RCX the number of elements. What is left then is in the frame's scratch, or in R10 without a source.
    fn piece(&mut self, source: Option<MemoryUse>, log: u8, is_write: bool, site: u8) {
        let scratch = self.layout.scratch();
        if let Some(source) = source {
            self.sum(R10, RSI, 0);
            self.probe_page(source, site);
            dynasm!(self.code ; .arch x64 ; add r10, r11 ; gs mov [scratch], r10);
        }
        self.sum(R10, RDI, 0);
        self.probe_page(MemoryUse { size: 1 << log, is_write }, site);
        if is_write {
            // A page that was found for what is written beside its code is not found for all of it.
            let beside_code = self.layout.beside_code();
            self.sum(R14, RDI, 0);
            dynasm!(self.code ; .arch x64
                ; and r14, PAGE_MASK
                ; gs cmp r14, [beside_code]
                ; .bytes [0x0fu8, 0x84] // JE
            );
            let beside = self.code.displacement();
            self.stub(site, beside);
        }
        if self.is_narrow() {
            // Nothing is refused any more, so the upper halves may go.
            dynasm!(self.code ; .arch x64 ; mov ecx, ecx);
            self.wrap_pointers(source.is_some());
        }
        // How many elements the page has room for, of the two pages where there are two.
        dynasm!(self.code ; .arch x64 ; add r10, r11 ; mov r11d, r10d ; or r11d, PAGE_MASK);
        if source.is_some() {
            // What is compared are numbers below zero: the one nearer to zero has less room.
            dynasm!(self.code ; .arch x64 ; gs mov r14, [scratch] ; or r14d, PAGE_MASK ; cmp r14d, r11d ; cmovg r11d, r14d);
        }
        dynasm!(self.code ; .arch x64 ; neg r11d ; shr r11d, log as i8 ; cmp r11, rcx ; cmova r11, rcx);
        dynasm!(self.code ; .arch x64 ; mov r14, rdi ; sub r14, r10 ; mov rdi, r10 ; sub rcx, r11);
        if source.is_some() {
            dynasm!(self.code ; .arch x64 ; mov r10, rsi ; gs mov rsi, [scratch] ; sub r10, rsi ; gs mov [scratch], rcx);
        } else {
            dynasm!(self.code ; .arch x64 ; mov r10, rcx);
        }
        dynasm!(self.code ; .arch x64 ; mov rcx, r11);
    }

    /// Goes on with the next piece, whose code is at `again`, unless somebody wants attention.
    fn next_piece(&mut self, again: u32, site: u8) {
        let attention = self.layout.attention();
        dynasm!(self.code ; .arch x64
            ; gs mov r11, [attention]
            ; cmp DWORD [r11], 0
            ; .bytes [0x0fu8, 0x84] // JE
        );
        let back = self.code.displacement();
        self.code.lead(back, again as usize);
        let away = self.code.jump_forward();
        self.stub(site, away);
    }
}
