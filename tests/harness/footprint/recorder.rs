//! A machine that does what instructions ask of it, and notes what they touch: the third reading of their meaning.
//!
//! Nothing faults here but what the instruction itself refuses: there is no paging, no segment limit, no alignment check.

use std::{collections::BTreeMap, sync::Arc};

use dragoman_frontend::{
    decode::{Condition, Insn, SegmentUse},
    fault::Fault,
    model::CpuModel,
    semantics::{
        AtomicOp, BinaryOp, FlagRule, FloatOp, Flush, FusedOp, Helper, LazyFlags, Machine, ShiftOp, TernaryOp, UnaryOp, VectorOp,
        binary, divide, effective_address, float, fused, lanes, multiply, shift, ternary, unary, x87,
    },
};
use dragoman_state::{Gpr, RFlags, VcpuState, Width};

use super::{
    memory::Memory,
    place::{Bytes, Place},
};

/// One access to memory on behalf of the instruction itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Linear address.
    pub at: u64,
    /// Size in bytes.
    pub size: u64,
    /// It writes.
    pub is_write: bool,
}

/// What an instruction touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// Registers that were read, and which of their bytes. Empty where a helper reads what it likes.
    pub read: BTreeMap<Place, Bytes>,
    /// Registers that were written.
    pub written: BTreeMap<Place, Bytes>,
    /// Memory, in order.
    pub accesses: Vec<Access>,
    /// I/O ports, with what was written.
    pub ports: Vec<(u16, Width, Option<u32>)>,
    /// Translations that were forgotten.
    pub flushes: Vec<Flush>,
    /// A helper ran: what it touches in the state is not in this log.
    pub has_helper: bool,
}

/// The machine.
pub struct Recorder {
    pub(super) state: VcpuState,
    pub(super) memory: Memory,
    pub(super) log: Log,
    pub(super) model: Arc<CpuModel>,
    flags: LazyFlags,
}

fn low(width: Width) -> Bytes {
    (1 << width.bytes()) - 1
}

impl Recorder {
    /// A machine in `state`, with nothing touched. RIP is the instruction's own.
    pub fn new(state: VcpuState, memory: Memory, model: Arc<CpuModel>) -> Self {
        let flags = LazyFlags::literal(state.rflags);
        Self { state, memory, log: Log::default(), model, flags }
    }

    /// What it all came to: the state, memory, and what was touched.
    pub fn finish(mut self) -> (VcpuState, BTreeMap<u64, u8>, Log) {
        self.store_flags();
        (self.state, self.memory.written, self.log)
    }

    fn store_flags(&mut self) {
        self.state.rflags = self.state.rflags.difference(RFlags::ARITHMETIC) | self.flags.image();
    }

    fn reads(&mut self, place: Place, bytes: Bytes) {
        *self.log.read.entry(place).or_default() |= bytes;
    }

    fn writes(&mut self, place: Place, bytes: Bytes) {
        *self.log.written.entry(place).or_default() |= bytes;
    }

    /// The linear address of an operand.
    fn linear(&mut self, segment: SegmentUse, offset: u64) -> u64 {
        if segment.is_flat() {
            return offset;
        }
        let index = segment.index();
        self.reads(Place::Segment(index as u8), 1);
        let at = self.state.segment(index).base.wrapping_add(offset);
        if self.state.is_64bit() { at } else { at & 0xffff_ffff }
    }

    pub(super) fn touch(&mut self, at: u64, size: u64, is_write: bool) {
        self.log.accesses.push(Access { at, size, is_write });
    }

    fn fetch(&mut self, segment: SegmentUse, offset: u64, size: u64) -> u128 {
        let at = self.linear(segment, offset);
        self.touch(at, size, false);
        self.memory.read(at, size)
    }

    fn put(&mut self, segment: SegmentUse, offset: u64, size: u64, value: u128) {
        let at = self.linear(segment, offset);
        self.touch(at, size, true);
        self.memory.write(at, size, value);
    }

    /// Reads, and writes what `change` makes of it.
    fn update(&mut self, segment: SegmentUse, offset: u64, width: Width, change: impl Fn(u64) -> u64) -> u64 {
        let old = self.fetch(segment, offset, width.bytes()) as u64;
        self.put(segment, offset, width.bytes(), change(old).into());
        old
    }

    fn wrap_ip(&self, ip: u64) -> u64 {
        if self.state.is_64bit() { ip } else { ip & 0xffff_ffff }
    }
}

impl Machine for Recorder {
    type Val = u64;
    type Vec = u128;

    fn constant(&mut self, value: u64) -> u64 {
        value
    }

    fn binary(&mut self, op: BinaryOp, width: Width, a: u64, b: u64) -> u64 {
        binary(op, width, a, b)
    }

    fn unary(&mut self, op: UnaryOp, width: Width, a: u64) -> u64 {
        unary(op, width, a)
    }

    fn shift(&mut self, op: ShiftOp, width: Width, value: u64, count: u64, extra: u64) -> u64 {
        shift(op, width, value, count, extra)
    }

    fn sign_extend(&mut self, from: Width, to: Width, value: u64) -> u64 {
        to.truncate(from.sign_extend(value))
    }

    fn multiply(&mut self, is_signed: bool, width: Width, a: u64, b: u64) -> (u64, u64) {
        multiply(is_signed, width, a, b)
    }

    fn divide(&mut self, is_signed: bool, width: Width, high: u64, low: u64, divisor: u64) -> Result<(u64, u64), Fault> {
        divide(is_signed, width, high, low, divisor)
    }

    fn equal(&mut self, a: u64, b: u64) -> u64 {
        u64::from(a == b)
    }

    fn select(&mut self, condition: u64, a: u64, b: u64) -> u64 {
        if condition != 0 { a } else { b }
    }

    fn gpr(&mut self, register: Gpr, width: Width) -> u64 {
        self.reads(Place::Gpr(register.0), low(width));
        width.truncate(self.state.gpr[register])
    }

    fn set_gpr(&mut self, register: Gpr, width: Width, value: u64) {
        let slot = &mut self.state.gpr[register];
        *slot = match width {
            Width::Dword | Width::Qword => width.truncate(value),
            Width::Byte | Width::Word => *slot & !width.mask() | width.truncate(value),
        };
        self.writes(Place::Gpr(register.0), if width == Width::Dword { 0xff } else { low(width) });
    }

    fn high_byte(&mut self, register: Gpr) -> u64 {
        self.reads(Place::Gpr(register.0), 0b10);
        self.state.gpr[register] >> 8 & 0xff
    }

    fn set_high_byte(&mut self, register: Gpr, value: u64) {
        let slot = &mut self.state.gpr[register];
        *slot = *slot & !0xff00 | (value & 0xff) << 8;
        self.writes(Place::Gpr(register.0), 0b10);
    }

    fn selector(&mut self, segment: u8) -> u64 {
        self.reads(Place::Segment(segment), 1);
        self.state.segments[usize::from(segment) % 6].selector.into()
    }

    fn address(&mut self, insn: &Insn) -> u64 {
        for register in [insn.base, insn.index].into_iter().filter(|register| register.0 < 16) {
            self.reads(Place::Gpr(register.0), low(insn.address_width));
        }
        effective_address(&self.state, insn)
    }

    fn load(&mut self, segment: SegmentUse, offset: u64, width: Width) -> Result<u64, Fault> {
        Ok(self.fetch(segment, offset, width.bytes()) as u64)
    }

    fn load_to_modify(&mut self, segment: SegmentUse, offset: u64, width: Width) -> Result<u64, Fault> {
        self.load(segment, offset, width)
    }

    fn store(&mut self, segment: SegmentUse, offset: u64, width: Width, value: u64) -> Result<(), Fault> {
        self.put(segment, offset, width.bytes(), value.into());
        Ok(())
    }

    fn atomic(&mut self, op: AtomicOp, segment: SegmentUse, offset: u64, width: Width, operand: u64) -> Result<u64, Fault> {
        Ok(self.update(segment, offset, width, |old| match op {
            AtomicOp::Exchange => operand,
            AtomicOp::Binary(op) => binary(op, width, old, operand),
            AtomicOp::ReverseSub => binary(BinaryOp::Sub, width, operand, old),
        }))
    }

    fn compare_exchange(
        &mut self,
        segment: SegmentUse,
        offset: u64,
        width: Width,
        expected: u64,
        new: u64,
    ) -> Result<u64, Fault> {
        Ok(self.update(segment, offset, width, |old| if old == expected { new } else { old }))
    }

    fn fence(&mut self) {}

    fn set_flags(&mut self, rule: FlagRule, width: Width, a: u64, b: u64, result: u64) {
        self.flags.set(rule, width, a, b, result);
    }

    fn flag(&mut self, flag: RFlags) -> u64 {
        self.store_flags();
        self.state.rflags.contains(flag).into()
    }

    fn flags(&mut self) -> u64 {
        self.store_flags();
        self.state.rflags.bits()
    }

    fn replace_flags(&mut self, mask: RFlags, image: u64) {
        self.store_flags();
        self.state.rflags = self.state.rflags.difference(mask) | RFlags::from_bits_retain(image) & mask;
        self.flags = LazyFlags::literal(self.state.rflags);
    }

    fn condition(&mut self, condition: Condition) -> u64 {
        self.flags.condition(condition).into()
    }

    fn next_ip(&mut self, insn: &Insn) -> u64 {
        self.wrap_ip(self.state.gpr[Gpr::BLOCK].wrapping_add(insn.end()))
    }

    fn branch_target(&mut self, insn: &Insn) -> u64 {
        insn.width.truncate(self.state.gpr[Gpr::BLOCK].wrapping_add(insn.immediate))
    }

    fn check_target(&mut self, _: u64) -> Result<(), Fault> {
        Ok(())
    }

    fn jump(&mut self, target: u64) {
        self.state.rip = target;
    }

    fn branch(&mut self, condition: u64, target: u64) -> Result<(), Fault> {
        if condition != 0 {
            self.state.rip = target;
        }
        Ok(())
    }

    fn vector(&mut self, register: u8, part: usize) -> u128 {
        self.reads(Place::Vector(register & 31), 0xffff << (16 * (part & 3)));
        let lanes = &self.state.vectors.registers[usize::from(register & 31)];
        let n = 2 * (part & 3);
        u128::from(lanes[n + 1]) << 64 | u128::from(lanes[n])
    }

    fn set_vector(&mut self, register: u8, part: usize, value: u128) {
        self.writes(Place::Vector(register & 31), 0xffff << (16 * (part & 3)));
        let lanes = &mut self.state.vectors.registers[usize::from(register & 31)];
        let n = 2 * (part & 3);
        (lanes[n], lanes[n + 1]) = (value as u64, (value >> 64) as u64);
    }

    fn load_vector<const N: usize>(&mut self, segment: SegmentUse, offset: u64, _: u64) -> Result<[u128; N], Fault> {
        let at = self.linear(segment, offset);
        self.touch(at, 16 * N as u64, false);
        Ok(std::array::from_fn(|n| self.memory.read(at.wrapping_add(16 * n as u64), 16)))
    }

    fn store_vector<const N: usize>(&mut self, segment: SegmentUse, offset: u64, _: u64, value: [u128; N]) -> Result<(), Fault> {
        let at = self.linear(segment, offset);
        self.touch(at, 16 * N as u64, true);
        for (n, part) in value.into_iter().enumerate() {
            self.memory.write(at.wrapping_add(16 * n as u64), 16, part);
        }
        Ok(())
    }

    fn vector_op(&mut self, op: VectorOp, a: u128, b: u128) -> u128 {
        lanes::evaluate(op, a, b)
    }

    fn ternary_op(&mut self, op: TernaryOp, a: u128, b: u128, c: u128) -> u128 {
        ternary::evaluate(op, a, b, c)
    }

    fn float_op<const N: usize>(&mut self, op: FloatOp, a: [u128; N], b: [u128; N]) -> Result<[u128; N], Fault> {
        float::evaluate(op, a, b, &mut self.state.vectors.mxcsr).map_err(|float::Unmasked| Fault::XM)
    }

    fn fused_op<const N: usize>(&mut self, op: FusedOp, a: [u128; N], b: [u128; N], c: [u128; N]) -> Result<[u128; N], Fault> {
        fused::evaluate(op, a, b, c, &mut self.state.vectors.mxcsr).map_err(|float::Unmasked| Fault::XM)
    }

    fn vector_of(&mut self, low: u64, high: u64) -> u128 {
        u128::from(high) << 64 | u128::from(low)
    }

    fn quadword(&mut self, vector: u128, n: usize) -> u64 {
        (vector >> (64 * n)) as u64
    }

    fn begin_mmx(&mut self) -> Result<(), Fault> {
        x87::check_pending(self)
    }

    fn mmx(&mut self, register: u8) -> u64 {
        self.reads(Place::X87(register & 7), 0xff);
        self.state.x87.mmx(register)
    }

    fn set_mmx(&mut self, register: u8, value: u64) {
        self.writes(Place::X87(register & 7), 0x3ff);
        self.state.x87.set_mmx(register, value);
    }

    fn end_mmx(&mut self) {
        self.state.x87.become_mmx();
    }

    fn call_helper(&mut self, helper: Helper, insn: &Insn) -> Result<(), Fault> {
        self.log.has_helper = true;
        self.store_flags();
        self.state.rip = self.next_ip(insn);
        let result = helper(self, insn);
        self.flags = LazyFlags::literal(self.state.rflags);
        result
    }
}
