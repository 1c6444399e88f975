//! The processor that the interpreter animates: the machine that instructions are written for, doing at once what they
//! ask for.

use std::sync::Arc;

use dragoman_frontend::{
    decode::{Condition, Insn, Mode, SegmentUse},
    fault::Fault,
    paging::Paging,
    post_mortem::{BranchLog, Raised},
    semantics::{
        AtomicOp, BinaryOp, FlagRule, FloatOp, FusedOp, Helper, LazyFlags, Machine, ShiftOp, TernaryOp, UnaryOp, VectorOp,
        binary, divide, effective_address, float, fused, lanes, multiply, shift, system::Objection, ternary, unary, x87,
    },
};
use dragoman_state::{Cr4, Gpr, GuestVirt, RFlags, SegmentIndex, VcpuId, VcpuState, VmInstant, Width};

use super::debug::wants_every_access;
use crate::{
    Inbox, VcpuContext,
    mmu::{Mmu, ViewIndex},
};

/// One processor: its architectural state, and what is derived from it to run fast.
pub(crate) struct Processor {
    // Configuration
    pub id: VcpuId,
    pub context: VcpuContext,
    // Wiring
    pub inbox: Arc<Inbox>,
    // Guest-visible state. The arithmetic flags are in `flags` while instructions run, and in `state` whenever a helper
    // or anyone else looks.
    pub state: VcpuState,
    pub flags: LazyFlags,
    pub mmu: Mmu,
    // Bookkeeping
    /// The mode that `state` is in.
    pub mode: Mode,
    /// Whether code may run into the end of its segment.
    pub has_code_limit: bool,
    /// On whose behalf the running code accesses memory.
    pub view: ViewIndex,
    /// The timer deadline that others were told of.
    pub published: VmInstant,
    /// The instruction under way is the last of its block: what a helper changes is taken over after it.
    pub is_block_end: bool,
    /// Why a check failed, until the fault that it raises is delivered.
    pub objection: Option<Objection>,
    /// The branches that were taken.
    pub branches: BranchLog,
    /// The last exception that was delivered.
    pub last_exception: Option<Raised>,
    /// The block must end after the instruction under way: code was overwritten.
    pub must_leave: bool,
    /// What translated code needs beside the state.
    pub frame: dragoman_jit::Frame,
    /// There may be something to do before the next instruction, or but for the next.
    pub must_attend: bool,
    /// The last interrupt that found ring 3 running, and how many there were.
    pub user_interrupts: UserInterrupts,
    /// Ring 3 is not run by translated code: at all, or of these address spaces, by their top page tables.
    pub leaves_for_user: bool,
    pub spaces_elsewhere: Vec<u64>,
    /// The state may have changed in ways that the derived fields do not show yet, or that let something in.
    pub has_changed: bool,
}

/// Interrupts that found ring 3 running.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct UserInterrupts {
    pub count: u64,
    /// The top page table of the address space that the last one was in.
    pub space: u64,
}

impl Processor {
    pub fn new(id: VcpuId, context: VcpuContext) -> Self {
        let state = context.model.power_on(id);
        let paging = Paging::of(&state, &context.model);
        Self {
            id,
            inbox: context.world.join(id, context.ram.tracker()),
            mmu: Mmu::new(context.ram.clone(), paging),
            context,
            flags: LazyFlags::literal(state.rflags),
            mode: Mode::of(&state),
            has_code_limit: true,
            view: ViewIndex::Supervisor,
            state,
            published: VmInstant::NEVER,
            is_block_end: false,
            objection: None,
            branches: BranchLog::default(),
            last_exception: None,
            must_leave: false,
            frame: dragoman_jit::Frame::default(),
            user_interrupts: UserInterrupts::default(),
            leaves_for_user: false,
            spaces_elsewhere: Vec::new(),
            must_attend: true,
            has_changed: true,
        }
    }

    /// Brings the arithmetic flags in `state` up to date.
    pub fn store_flags(&mut self) {
        self.state.rflags = self.state.rflags.difference(RFlags::ARITHMETIC) | self.flags.image();
    }

    /// Takes the arithmetic flags over from `state`.
    pub fn load_flags(&mut self) {
        self.flags = LazyFlags::literal(self.state.rflags);
    }

    /// Derives everything that depends on the state from it.
    pub fn derive(&mut self) {
        self.derive_from_segments();
        let is_elsewhere = self.leaves_for_user || self.spaces_elsewhere.contains(&self.state.top_table());
        self.frame.user_elsewhere = is_elsewhere.into();
        let paging = Paging::of(&self.state, &self.context.model);
        self.mmu.set_paging(paging, &self.state);
    }

    /// All that paging depends on: while it stays the same, so does what paging derives from it.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    pub fn paging_registers(&self) -> impl PartialEq + use<> {
        let state = &self.state;
        (state.cr0, state.cr3, state.cr4, state.efer, state.pdptes, state.pkru, state.msrs.pkrs)
    }

    /// Derives what depends on the segments and the flags, where nothing that paging depends on has changed.
    pub fn derive_from_segments(&mut self) {
        self.mode = Mode::of(&self.state);
        self.has_code_limit = !self.mode.is_flat(SegmentIndex::Cs);
        let bounds = |index: SegmentIndex| {
            if self.state.segment(index).is_unbounded_data() { 0 } else { dragoman_jit::Frame::bounds(index) }
        };
        self.frame.bounded = bounds(SegmentIndex::Fs) | bounds(SegmentIndex::Gs);
        let lifts = self.state.cr4.contains(Cr4::SMAP) && self.state.rflags.contains(RFlags::AC);
        let view = match (self.mode.cpl(), lifts) {
            (3, _) => ViewIndex::User,
            (_, false) => ViewIndex::Supervisor,
            (_, true) => ViewIndex::Lifted,
        };
        if view == ViewIndex::User && self.view != ViewIndex::User {
            self.frame.user_entries += 1;
        }
        self.view = view;
        self.mmu.set_careful(wants_every_access(&self.state));
    }

    /// The linear address of `offset` in the code segment.
    #[inline(always)]
    pub fn code_address(&self, offset: u64) -> u64 {
        if self.mode.is_64bit() {
            return offset;
        }
        self.state.segment(SegmentIndex::Cs).base.wrapping_add(offset) & 0xffff_ffff
    }

    /// How many bytes of code there are from RIP to the end of the code segment.
    #[inline(always)]
    pub fn room_in_code(&self) -> u64 {
        if self.mode.is_flat(SegmentIndex::Cs) {
            return u64::MAX;
        }
        (u64::from(self.state.segment(SegmentIndex::Cs).limit) + 1).saturating_sub(self.state.rip)
    }

    /// An instruction pointer, as wide as the mode makes it.
    #[inline(always)]
    pub fn wrap_ip(&self, ip: u64) -> u64 {
        if self.mode.is_64bit() { ip } else { ip & 0xffff_ffff }
    }

    #[inline(always)]
    fn linear(&self, segment: SegmentUse, offset: u64, width: Width, is_write: bool) -> Result<u64, Fault> {
        if segment.is_flat() {
            return Ok(offset);
        }
        let at = dragoman_frontend::semantics::segmentation::linear(&self.state, segment, offset, width.bytes(), is_write)?;
        Ok(at.0)
    }

    #[inline(always)]
    pub(super) fn load_linear(&mut self, segment: SegmentUse, at: u64, width: Width) -> Result<u64, Fault> {
        match self.mmu.load_fast(self.view, at, width) {
            Some(value) => Ok(value),
            None => self.load_slow(self.view, segment, at, width),
        }
    }

    #[cold]
    fn refuse_target(&self, target: u64) -> Result<(), Fault> {
        let limit = u64::from(self.state.segment(SegmentIndex::Cs).limit);
        let is_inside =
            if self.mode.is_64bit() { GuestVirt(target).is_canonical(self.state.linear_bits()) } else { target <= limit };
        if is_inside { Ok(()) } else { Err(Fault::GP0) }
    }
}

impl Machine for Processor {
    type Val = u64;
    type Vec = u128;

    #[inline(always)]
    fn constant(&mut self, value: u64) -> u64 {
        value
    }

    #[inline(always)]
    fn binary(&mut self, op: BinaryOp, width: Width, a: u64, b: u64) -> u64 {
        binary(op, width, a, b)
    }

    #[inline(always)]
    fn unary(&mut self, op: UnaryOp, width: Width, a: u64) -> u64 {
        unary(op, width, a)
    }

    #[inline(always)]
    fn shift(&mut self, op: ShiftOp, width: Width, value: u64, count: u64, extra: u64) -> u64 {
        shift(op, width, value, count, extra)
    }

    #[inline(always)]
    fn sign_extend(&mut self, from: Width, to: Width, value: u64) -> u64 {
        to.truncate(from.sign_extend(value))
    }

    #[inline(always)]
    fn multiply(&mut self, is_signed: bool, width: Width, a: u64, b: u64) -> (u64, u64) {
        multiply(is_signed, width, a, b)
    }

    fn divide(&mut self, is_signed: bool, width: Width, high: u64, low: u64, divisor: u64) -> Result<(u64, u64), Fault> {
        divide(is_signed, width, high, low, divisor)
    }

    #[inline(always)]
    fn equal(&mut self, a: u64, b: u64) -> u64 {
        u64::from(a == b)
    }

    #[inline(always)]
    fn select(&mut self, condition: u64, a: u64, b: u64) -> u64 {
        if condition != 0 { a } else { b }
    }

    #[inline(always)]
    fn gpr(&mut self, register: Gpr, width: Width) -> u64 {
        width.truncate(self.state.gpr[register])
    }

    #[inline(always)]
    fn set_gpr(&mut self, register: Gpr, width: Width, value: u64) {
        let slot = &mut self.state.gpr[register];
        *slot = match width {
            Width::Qword => value,
            Width::Dword => value & 0xffff_ffff,
            Width::Word => *slot & !0xffff | value & 0xffff,
            Width::Byte => *slot & !0xff | value & 0xff,
        };
    }

    #[inline(always)]
    fn high_byte(&mut self, register: Gpr) -> u64 {
        self.state.gpr[register] >> 8 & 0xff
    }

    #[inline(always)]
    fn set_high_byte(&mut self, register: Gpr, value: u64) {
        let slot = &mut self.state.gpr[register];
        *slot = *slot & !0xff00 | (value & 0xff) << 8;
    }

    fn selector(&mut self, segment: u8) -> u64 {
        self.state.segments[usize::from(segment) % 6].selector.into()
    }

    #[inline(always)]
    fn address(&mut self, insn: &Insn) -> u64 {
        effective_address(&self.state, insn)
    }

    #[inline(always)]
    fn load(&mut self, segment: SegmentUse, offset: u64, width: Width) -> Result<u64, Fault> {
        let at = self.linear(segment, offset, width, false)?;
        self.load_linear(segment, at, width)
    }

    #[inline(always)]
    fn load_to_modify(&mut self, segment: SegmentUse, offset: u64, width: Width) -> Result<u64, Fault> {
        let at = self.linear(segment, offset, width, true)?;
        match self.mmu.load_to_modify_fast(self.view, at, width) {
            Some(value) => Ok(value),
            None => self.load_to_modify_slow(self.view, segment, at, width),
        }
    }

    #[inline(always)]
    fn store(&mut self, segment: SegmentUse, offset: u64, width: Width, value: u64) -> Result<(), Fault> {
        let at = self.linear(segment, offset, width, true)?;
        if self.mmu.store_fast(self.view, at, width, value) {
            return Ok(());
        }
        self.store_slow(self.view, segment, at, width, value)
    }

    fn atomic(&mut self, op: AtomicOp, segment: SegmentUse, offset: u64, width: Width, operand: u64) -> Result<u64, Fault> {
        let at = self.linear(segment, offset, width, true)?;
        self.update(segment, at, width, |old| match op {
            AtomicOp::Exchange => operand,
            AtomicOp::Binary(op) => binary(op, width, old, operand),
            AtomicOp::ReverseSub => binary(BinaryOp::Sub, width, operand, old),
        })
    }

    fn compare_exchange(
        &mut self,
        segment: SegmentUse,
        offset: u64,
        width: Width,
        expected: u64,
        new: u64,
    ) -> Result<u64, Fault> {
        let at = self.linear(segment, offset, width, true)?;
        self.update(segment, at, width, |old| if old == expected { new } else { old })
    }

    fn fence(&mut self) {
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    }

    #[inline(always)]
    fn set_flags(&mut self, rule: FlagRule, width: Width, a: u64, b: u64, result: u64) {
        self.flags.set(rule, width, a, b, result);
    }

    #[inline(always)]
    fn flag(&mut self, flag: RFlags) -> u64 {
        if flag == RFlags::CF {
            return self.flags.carry().into();
        }
        if flag == RFlags::OF {
            return self.flags.overflow().into();
        }
        let all = self.state.rflags.difference(RFlags::ARITHMETIC) | self.flags.image();
        all.contains(flag).into()
    }

    fn flags(&mut self) -> u64 {
        self.store_flags();
        self.state.rflags.bits()
    }

    #[inline(always)]
    fn replace_flags(&mut self, mask: RFlags, image: u64) {
        if mask == RFlags::CF {
            return self.flags.set(FlagRule::Bit, Width::Byte, 0, image, 0);
        }
        self.store_flags();
        self.state.rflags = self.state.rflags.difference(mask) | RFlags::from_bits_retain(image) & mask;
        self.load_flags();
    }

    #[inline(always)]
    fn condition(&mut self, condition: Condition) -> u64 {
        self.flags.condition(condition).into()
    }

    #[inline(always)]
    fn next_ip(&mut self, insn: &Insn) -> u64 {
        self.wrap_ip(self.state.gpr[Gpr::BLOCK].wrapping_add(insn.end()))
    }

    #[inline(always)]
    fn branch_target(&mut self, insn: &Insn) -> u64 {
        insn.width.truncate(self.state.gpr[Gpr::BLOCK].wrapping_add(insn.immediate))
    }

    #[inline(always)]
    fn check_target(&mut self, target: u64) -> Result<(), Fault> {
        // What a 48-bit processor calls canonical is canonical on every other, too.
        let is_plain =
            if self.mode.is_64bit() { GuestVirt(target).is_canonical(48) } else { self.mode.is_flat(SegmentIndex::Cs) };
        if is_plain { Ok(()) } else { self.refuse_target(target) }
    }

    #[inline(always)]
    fn jump(&mut self, target: u64) {
        self.state.rip = target;
    }

    #[inline(always)]
    fn branch(&mut self, condition: u64, target: u64) -> Result<(), Fault> {
        if condition != 0 {
            self.check_target(target)?;
            self.state.rip = target;
        }
        Ok(())
    }

    #[inline(always)]
    fn vector(&mut self, register: u8, part: usize) -> u128 {
        let lanes = &self.state.vectors.registers[usize::from(register & 31)];
        let n = part & 3;
        u128::from(lanes[2 * n + 1]) << 64 | u128::from(lanes[2 * n])
    }

    #[inline(always)]
    fn set_vector(&mut self, register: u8, part: usize, value: u128) {
        let lanes = &mut self.state.vectors.registers[usize::from(register & 31)];
        let n = part & 3;
        (lanes[2 * n], lanes[2 * n + 1]) = (value as u64, (value >> 64) as u64);
    }

    #[inline(always)]
    fn load_vector<const N: usize>(&mut self, segment: SegmentUse, offset: u64, alignment: u64) -> Result<[u128; N], Fault> {
        let at = self.vector_address::<N>(segment, offset, alignment, false)?;
        self.load_parts(segment, at)
    }

    #[inline(always)]
    fn store_vector<const N: usize>(
        &mut self,
        segment: SegmentUse,
        offset: u64,
        alignment: u64,
        value: [u128; N],
    ) -> Result<(), Fault> {
        let at = self.vector_address::<N>(segment, offset, alignment, true)?;
        self.store_parts(segment, at, value)
    }

    #[inline(always)]
    fn vector_op(&mut self, op: VectorOp, a: u128, b: u128) -> u128 {
        lanes::evaluate(op, a, b)
    }

    #[inline(always)]
    fn ternary_op(&mut self, op: TernaryOp, a: u128, b: u128, c: u128) -> u128 {
        ternary::evaluate(op, a, b, c)
    }

    #[inline(always)]
    fn float_op<const N: usize>(&mut self, op: FloatOp, a: [u128; N], b: [u128; N]) -> Result<[u128; N], Fault> {
        float::evaluate(op, a, b, &mut self.state.vectors.mxcsr).map_err(|float::Unmasked| float::fault(self.state.cr4))
    }

    fn fused_op<const N: usize>(&mut self, op: FusedOp, a: [u128; N], b: [u128; N], c: [u128; N]) -> Result<[u128; N], Fault> {
        fused::evaluate(op, a, b, c, &mut self.state.vectors.mxcsr).map_err(|float::Unmasked| float::fault(self.state.cr4))
    }

    #[inline(always)]
    fn vector_of(&mut self, low: u64, high: u64) -> u128 {
        u128::from(high) << 64 | u128::from(low)
    }

    #[inline(always)]
    fn quadword(&mut self, vector: u128, n: usize) -> u64 {
        (vector >> (64 * n)) as u64
    }

    fn begin_mmx(&mut self) -> Result<(), Fault> {
        x87::check_pending(self)
    }

    fn mmx(&mut self, register: u8) -> u64 {
        self.state.x87.mmx(register)
    }

    fn set_mmx(&mut self, register: u8, value: u64) {
        self.state.x87.set_mmx(register, value);
    }

    fn end_mmx(&mut self) {
        self.state.x87.become_mmx();
    }

    fn call_helper(&mut self, helper: Helper, insn: &Insn) -> Result<(), Fault> {
        self.store_flags();
        self.state.rip = self.next_ip(insn);
        let result = helper(self, insn);
        if result.is_ok() {
            // What a probe objected to, such as LAR, raised nothing.
            self.objection = None;
        }
        self.load_flags();
        // Only the last instruction of a block may change what the next bytes mean or let an interrupt in.
        self.has_changed |= self.is_block_end;
        result
    }
}
