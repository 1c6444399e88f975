//! The way into translated code and out of it.
//!
//! UNSAFETY: sound because the code that is entered was made by this crate: it leaves through the gate's own exit, which
//! restores the stack pointer, the callee-saved registers and MXCSR of the entry; it writes the processor's state through
//! offsets of the [`Layout`] it was made for, and guest memory through tables whose entries the MMU vouches for. GS is
//! free for it: nothing of a Linux process on x86-64 uses GS. Where it calls back, it asks the owner that it was entered
//! with, who waits.
#![expect(unsafe_code, reason = "entering code that was made at run time")]

use std::{
    arch::{
        asm,
        x86_64::{__cpuid_count, CpuidResult},
    },
    io,
    marker::PhantomData,
    mem::transmute,
    ptr::{with_exposed_provenance, with_exposed_provenance_mut},
    sync::Arc,
};

use dynasm::dynasm;
use dynasmrt::{DynasmApi, DynasmLabelApi, VecAssembler, x64::X64Relocation};

use super::{CodeMemory, Unusable, faults, handler, refill};
use crate::{Frame, JumpCache, Layout, RefillKind, VIEWS};

/// What the host's processor has that translated code makes use of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostFeatures {
    /// 256-bit vectors.
    pub has_avx: bool,
    /// It says whether their upper halves are in use (XGETBV with ECX = 1).
    pub tells_use: bool,
}

fn cpuid(leaf: u32, subleaf: u32) -> CpuidResult {
    #[allow(unused_unsafe, clippy::allow_attributes, reason = "safe in newer compilers")]
    // SAFETY: every x86-64 processor has CPUID.
    unsafe {
        __cpuid_count(leaf, subleaf)
    }
}

/// Whether the host's processor is Intel's.
pub fn is_intel() -> bool {
    let vendor = cpuid(0, 0);
    [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).concat() == b"GenuineIntel"
}

impl HostFeatures {
    /// What this host has, where that is enough.
    pub fn detect() -> Result<Self, Unusable> {
        const AT_HWCAP2: u64 = 26;
        const HWCAP2_FSGSBASE: u64 = 2;
        // SAFETY: the call reads the auxiliary vector.
        if unsafe { libc::getauxval(AT_HWCAP2) } & HWCAP2_FSGSBASE == 0 {
            return Err(Unusable::Lacks("instructions that set the base of GS (FSGSBASE, Linux 5.9 and later)"));
        }
        let has_avx = is_x86_feature_detected!("avx");
        let tells_use = has_avx && cpuid(0xd, 1).eax & 1 << 2 != 0;
        Ok(Self { has_avx, tells_use })
    }
}

/// What translated code asks of the processor that it runs for.
pub trait Pages {
    /// Looks for the page of the linear address `at`, which neither a table nor the second level knows as one for accesses
    /// of `kind` through view `view`; whether the table knows it now. Nothing that the guest can see may change but what an
    /// access to that page changes that is going to be made.
    fn find(&mut self, at: u64, view: usize, kind: RefillKind) -> bool;
}

/// Where translated code goes on when an instruction was executed for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Onward {
    /// Behind the instruction: nothing has changed of what code depends on.
    Behind = 0,
    /// At the RIP in [`Frame::target`], through the cache in [`Frame::jumps`].
    Target = 1,
    /// Nowhere: it is left ([`Site::EXECUTED`](crate::rewrite::Site)).
    Nowhere = 2,
}

/// Whoever enters translated code, as that sees him.
pub trait Owner<P> {
    /// The processor that the code runs for: always the same one.
    fn processor(&mut self) -> &mut P;

    /// Executes the instruction at the site numbered `number`: registers but for vectors are in the processor's state, the flags
    /// in [`Frame::flags`], and both are looked for there when the code goes on.
    fn execute(&mut self, number: u32) -> Onward;
}

/// The way in and the ways out, as code, for processors of type `P`.
pub struct Gate<P> {
    memory: Arc<CodeMemory>,
    enter: extern "sysv64" fn(code: u64, owner: u64),
    exit: u64,
    call_handler: u64,
    return_elsewhere: u64,
    jump_elsewhere: u64,
    refill: [[u64; RefillKind::ALL.len()]; VIEWS],
    size: usize,
    processor: PhantomData<fn(&mut P)>,
}

impl<P: Pages> Gate<P> {
    /// Builds the gate for processors of `layout` at the start of `memory`, and has host faults in that memory leave
    /// through it.
    pub fn new(memory: Arc<CodeMemory>, layout: &Layout, host: HostFeatures) -> io::Result<Self> {
        let mut asm = VecAssembler::<X64Relocation>::new(memory.base() as usize);
        let enter = asm.offset().0;
        emit_enter(&mut asm, layout, host);
        asm.align(16, 0xcc);
        let exit = asm.offset().0;
        emit_exit(&mut asm, layout, host);
        asm.align(16, 0xcc);
        let elsewhere = asm.offset().0;
        let jump_elsewhere = emit_return_elsewhere(&mut asm, layout);
        asm.align(16, 0xcc);
        let fault = asm.offset().0;
        emit_fault(&mut asm, layout);
        asm.align(16, 0xcc);
        let call_handler = asm.offset().0;
        handler::emit(&mut asm, layout, host);
        let refill = std::array::from_fn(|view| {
            RefillKind::ALL.map(|kind| {
                asm.align(16, 0xcc);
                let start = asm.offset().0;
                refill::emit(&mut asm, layout, host, view, kind);
                memory.base() + start as u64
            })
        });
        let code = asm.finalize().map_err(io::Error::other)?;
        memory.write(0, &code);
        let base = memory.base();
        faults::catch(base..base + memory.size() as u64, base + fault as u64)?;
        let address = with_exposed_provenance::<()>(base as usize + enter);
        // SAFETY: the code there keeps to the calling convention, takes two addresses and returns nothing.
        let enter = unsafe { transmute::<*const (), extern "sysv64" fn(u64, u64)>(address) };
        let [exit, call_handler, return_elsewhere, jump_elsewhere] =
            [exit, call_handler, elsewhere, jump_elsewhere].map(|place| base + place as u64);
        let (size, processor) = (code.len(), PhantomData);
        Ok(Self { memory, enter, exit, call_handler, return_elsewhere, jump_elsewhere, refill, size, processor })
    }

    /// How many bytes at the start of its memory the gate takes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The memory that it is in.
    pub fn memory(&self) -> &Arc<CodeMemory> {
        &self.memory
    }

    /// Puts into `frame` what translated code must find there.
    pub fn equip(&self, frame: &mut Frame) {
        frame.exit = self.exit;
        frame.call_handler = self.call_handler;
        frame.execute = execute::<P> as *const () as u64;
        frame.return_elsewhere = self.return_elsewhere;
        frame.jump_elsewhere = self.jump_elsewhere;
        frame.refill = self.refill;
        frame.walk = walk::<P> as *const () as u64;
    }

    /// Runs the translated code at `code` until it leaves, for the processor of `owner`, which lies at the address that the
    /// [`Layout`] counts from, and whose frame is equipped; its flags in [`Frame::flags`] and its registers are in place.
    pub fn enter(&self, owner: &mut dyn Owner<P>, code: u64) {
        let mut owner = owner;
        let processor = std::ptr::from_mut(owner.processor()).expose_provenance();
        let owner = std::ptr::from_mut(&mut owner).expose_provenance();
        // SAFETY: FSGSBASE was found; nothing else in the process uses GS.
        unsafe { asm!("wrgsbase {}", in(reg) processor, options(nostack, preserves_flags)) };
        (self.enter)(code, owner as u64);
    }
}

/// The owner at an address that code was entered with.
///
/// # Safety
/// The address is one that [`Gate::enter`] of a gate for processors of type `P` handed to code that has not been left, and
/// nothing else that this returned is in use.
unsafe fn owner<'a, P>(address: usize) -> &'a mut dyn Owner<P> {
    // SAFETY: `enter` has borrowed the owner exclusively until the code is left, and waits; the code itself touches neither
    // the owner nor the processor while it waits for its caller.
    unsafe { &mut **with_exposed_provenance_mut::<&mut dyn Owner<P>>(address) }
}

/// Called by code to whose owner `address` leads.
extern "sysv64" fn walk<P: Pages>(address: usize, at: u64, view: u32, kind: u32) -> bool {
    let Some(kind) = RefillKind::ALL.get(kind as usize) else { return false };
    // SAFETY: the address comes from the frame, where the way in has put it.
    let owner = unsafe { owner::<P>(address) };
    owner.processor().find(at, view as usize, *kind)
}

/// The same, at the site numbered `number`.
extern "sysv64" fn execute<P>(address: usize, number: u32) -> Onward {
    // SAFETY: as in `walk`.
    let owner = unsafe { owner::<P>(address) };
    owner.execute(number)
}

pub(super) type Asm = VecAssembler<X64Relocation>;

/// Guest registers that host registers of another or the same number hold while code runs: host, then guest. The other
/// four stay in the processor's state.
pub(super) const RESIDENT: [(u8, u8); 12] =
    [(0, 0), (1, 1), (2, 2), (3, 3), (5, 5), (6, 6), (7, 7), (8, 8), (9, 9), (12, 12), (13, 13), (15, 4)];

/// How much of the host's stack the guest's calls may take.
const RETURN_BYTES: i32 = 64 << 10;

/// In: guest state from memory into registers. The code's address comes in RDI, its owner's in RSI; a block's way in from an
/// indirect jump finds the target in R10.
#[rustfmt::skip]
fn emit_enter(asm: &mut Asm, layout: &Layout, host: HostFeatures) {
    dynasm!(asm ; .arch x64
        ; push rbx ; push rbp ; push r12 ; push r13 ; push r14 ; push r15
        ; gs stmxcsr [layout.host_mxcsr()]
        ; gs mov [layout.host_stack()], rsp
        ; gs mov [layout.owner()], rsi
        // Whatever guest address is there: nobody returns to it but by way of the code that looks for all others.
        ; push 0
        ; gs push QWORD [layout.return_elsewhere()]
        ; gs mov [layout.return_base()], rsp
        ; lea rax, [rsp - RETURN_BYTES]
        ; gs mov [layout.return_limit()], rax
        ; gs ldmxcsr [layout.mxcsr]
        ; mov r11, rdi
        ; gs mov r10, [layout.target()]
    );
    // Halves that are loaded as zeros count as in use all the same, and slow down every instruction that keeps them.
    let (narrow, loaded) = (asm.new_dynamic_label(), asm.new_dynamic_label());
    if host.has_avx {
        dynasm!(asm ; .arch x64 ; gs cmp DWORD [layout.has_upper_halves()], 0 ; je =>narrow);
        for n in 0..16 {
            dynasm!(asm ; .arch x64 ; gs vmovups Ry(n), [layout.vector(n)]);
        }
        dynasm!(asm ; .arch x64 ; jmp =>loaded);
    }
    dynasm!(asm ; .arch x64 ; =>narrow);
    for n in 0..16 {
        dynasm!(asm ; .arch x64 ; gs movups Rx(n), [layout.vector(n)]);
    }
    dynasm!(asm ; .arch x64 ; =>loaded);
    dynasm!(asm ; .arch x64 ; gs mov rax, [layout.flags()] ; add al, 0x7f ; sahf);
    for (held, guest) in RESIDENT {
        dynasm!(asm ; .arch x64 ; gs mov Rq(held), [layout.gpr(guest)]);
    }
    dynasm!(asm ; .arch x64 ; jmp r11);
}

/// Out: guest state from registers into memory. The site's number comes in R11.
#[rustfmt::skip]
fn emit_exit(asm: &mut Asm, layout: &Layout, host: HostFeatures) {
    dynasm!(asm ; .arch x64 ; gs mov [layout.site()], r11);
    for (held, guest) in RESIDENT {
        dynasm!(asm ; .arch x64 ; gs mov [layout.gpr(guest)], Rq(held));
    }
    dynasm!(asm ; .arch x64
        ; mov eax, 0 ; lahf ; seto al
        ; gs mov [layout.host_flags()], rax
        ; gs stmxcsr [layout.mxcsr]
        ; gs ldmxcsr [layout.host_mxcsr()]
    );
    let (narrow, stored) = (asm.new_dynamic_label(), asm.new_dynamic_label());
    if host.has_avx {
        let wide = asm.new_dynamic_label();
        if host.tells_use {
            const AVX: i8 = 1 << 2;
            dynasm!(asm ; .arch x64
                ; gs cmp DWORD [layout.has_upper_halves()], 0 ; jne =>wide
                ; mov ecx, 1 ; xgetbv ; test al, AVX ; jz =>narrow
            );
        }
        dynasm!(asm ; .arch x64 ; =>wide);
        for n in 0..16 {
            dynasm!(asm ; .arch x64 ; gs vmovups [layout.vector(n)], Ry(n));
        }
        dynasm!(asm ; .arch x64 ; vzeroupper ; jmp =>stored);
    }
    dynasm!(asm ; .arch x64 ; =>narrow);
    for n in 0..16 {
        dynasm!(asm ; .arch x64 ; gs movups [layout.vector(n)], Rx(n));
    }
    dynasm!(asm ; .arch x64 ; =>stored);
    dynasm!(asm ; .arch x64
        ; gs mov rsp, [layout.host_stack()]
        ; pop r15 ; pop r14 ; pop r13 ; pop r12 ; pop rbp ; pop rbx
        ; ret
    );
}

/// Looks for the RIP in R10 in the cache of jumps: afterwards R14 is the cache's address, R11 the number of the slot, and the
/// host's flags say whether it is there (ZF).
#[rustfmt::skip]
pub(crate) fn emit_find_jump(asm: &mut impl DynasmApi, layout: &Layout) {
    dynasm!(asm ; .arch x64
        ; gs mov r14, [layout.jumps()]
        ; mov r11, r10
        ; shr r11, JumpCache::FOLD
        ; xor r11d, r10d
        ; and r11d, JumpCache::SLOTS as i32 - 1
        ; cmp r10, [r14 + r11 * 8]
    );
}

/// Finds out where a return goes on that goes where no call came from, and goes there. The target comes in R10; the site of
/// the return in R14, for when nothing is known of the target or somebody wants attention. The guest's flags are in memory.
/// Returns where the code begins that does the same for a jump.
#[rustfmt::skip]
fn emit_return_elsewhere(asm: &mut Asm, layout: &Layout) -> usize {
    dynasm!(asm ; .arch x64 ; gs mov rsp, [layout.return_base()]);
    let jump = asm.offset().0;
    dynasm!(asm ; .arch x64
        ; gs mov r11, [layout.attention()]
        ; cmp DWORD [r11], 0
        ; jne >away
        ; gs mov [layout.site()], r14
    );
    emit_find_jump(asm, layout);
    dynasm!(asm ; .arch x64
        ; jne >unknown
        ; jmp QWORD [r14 + r11 * 8 + JumpCache::CODE]
        ; unknown:
        ; gs mov r14, [layout.site()]
        ; away:
        ; gs mov [layout.target()], r10
        ; mov r11, r14
        ; gs jmp QWORD [layout.exit()]
    );
    jump
}

/// Leaves after a host fault; the address of the instruction is in R11.
#[rustfmt::skip]
fn emit_fault(asm: &mut Asm, layout: &Layout) {
    dynasm!(asm ; .arch x64
        ; gs mov [layout.faulted()], r11
        ; mov r11d, crate::rewrite::Site::FAULTED as i32
        ; gs jmp QWORD [layout.exit()]
    );
}

impl<P> Drop for Gate<P> {
    fn drop(&mut self) {
        let base = self.memory.base();
        faults::release(&(base..base + self.memory.size() as u64));
    }
}
