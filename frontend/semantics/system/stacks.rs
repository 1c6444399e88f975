//! Pushing and popping while the stack itself may change: far transfers, interrupts and their returns.
//! SDM: vol. 3 §5.8.5 (stack switching), §6.14.2 (64-bit stack frames).

use dragoman_state::{Gpr, GuestVirt, Segment, SegmentIndex, Width};

use super::{
    super::{Cpu, Privilege, segmentation},
    descriptors::is_canonical,
    objections::{Subject, refuse, refuse_where},
};
use crate::fault::Fault;

/// A stack in use: the present one, or one that is about to become it. Its pointer moves as it is used; nothing is
/// written to the registers before the caller does.
#[derive(Clone, Copy)]
pub(super) struct Stack {
    /// The stack segment.
    pub segment: Segment,
    /// The stack pointer.
    pub pointer: u64,
    width: Width,
    privilege: Privilege,
    /// The error code of the #SS that a push beyond the segment raises.
    error: u16,
}

impl Stack {
    /// The present stack.
    pub fn current(cpu: &dyn Cpu) -> Self {
        let state = cpu.state();
        let segment = *state.segment(SegmentIndex::Ss);
        let width = pointer_width(&segment, state.is_64bit());
        Self { segment, pointer: width.truncate(state.gpr[Gpr::RSP]), width, privilege: Privilege::Current, error: 0 }
    }

    /// The present stack as code in `segment` uses it.
    pub fn for_code(cpu: &dyn Cpu, code: &Segment) -> Self {
        let present = Self::current(cpu);
        let is_64bit = cpu.state().is_long_mode() && code.attributes.is_long();
        let width = pointer_width(&present.segment, is_64bit);
        Self { width, pointer: width.truncate(cpu.state().gpr[Gpr::RSP]), ..present }
    }

    /// The stack that a change to privilege level `cpl` brings; `is_64bit` where the code it is for is.
    pub fn new(segment: Segment, pointer: u64, is_64bit: bool, cpl: u8) -> Self {
        let width = pointer_width(&segment, is_64bit);
        let privilege = if cpl == 3 { Privilege::User } else { Privilege::System };
        let error = if is_64bit { 0 } else { segment.selector & !3 };
        Self { segment, pointer: width.truncate(pointer), width, privilege, error }
    }

    fn linear(&self, offset: u64, size: u64, is_write: bool, cpu: &mut dyn Cpu) -> Result<GuestVirt, Fault> {
        let refused = Fault::ss(self.error);
        let subject = Subject::stack(&self.segment, offset);
        if self.width == Width::Qword {
            let is_outside = [offset, offset.wrapping_add(size - 1)].into_iter().any(|at| !is_canonical(cpu.state(), at));
            refuse_where(cpu, refused, subject, &[(is_outside, "is not canonical")])?;
            return Ok(GuestVirt(offset));
        }
        let linear = segmentation::linear_in(&self.segment, offset, size, is_write, refused);
        linear.map_err(|fault| refuse(cpu, fault, subject, segmentation::objection(&self.segment, offset, size, is_write)))
    }

    /// A fault of memory, once it is noted whose it is.
    fn note<T>(&self, cpu: &mut dyn Cpu, offset: u64, accessed: Result<T, Fault>) -> Result<T, Fault> {
        accessed.map_err(|fault| refuse(cpu, fault, Subject::stack(&self.segment, offset), "cannot be accessed"))
    }

    /// Makes sure that `count` pushes of `width` will not fault.
    pub fn reserve(&self, cpu: &mut dyn Cpu, width: Width, count: u64) -> Result<(), Fault> {
        let mut stack = *self;
        for _ in 0..count {
            stack.pointer = stack.below(width);
            let at = stack.linear(stack.pointer, width.bytes(), true, cpu)?;
            let checked = cpu.check_write(at, width.bytes(), self.privilege);
            self.note(cpu, stack.pointer, checked)?;
        }
        Ok(())
    }

    fn below(&self, width: Width) -> u64 {
        self.width.truncate(self.pointer.wrapping_sub(width.bytes()))
    }

    /// Pushes `value`.
    pub fn push(&mut self, cpu: &mut dyn Cpu, width: Width, value: u64) -> Result<(), Fault> {
        let below = self.below(width);
        let at = self.linear(below, width.bytes(), true, cpu)?;
        let written = cpu.write(at, width, width.truncate(value), self.privilege);
        self.note(cpu, below, written)?;
        self.pointer = below;
        Ok(())
    }

    /// Pops a value.
    pub fn pop(&mut self, cpu: &mut dyn Cpu, width: Width) -> Result<u64, Fault> {
        let value = self.peek(cpu, width, 0)?;
        self.skip(width.bytes());
        Ok(value)
    }

    /// The value `delta` bytes above the top.
    pub fn peek(&self, cpu: &mut dyn Cpu, width: Width, delta: u64) -> Result<u64, Fault> {
        let offset = self.width.truncate(self.pointer.wrapping_add(delta));
        let at = self.linear(offset, width.bytes(), false, cpu)?;
        let read = cpu.read(at, width, self.privilege);
        self.note(cpu, offset, read)
    }

    /// Drops `bytes` from the top.
    pub fn skip(&mut self, bytes: u64) {
        self.pointer = self.width.truncate(self.pointer.wrapping_add(bytes));
    }

    /// As many of `bytes` as an offset in this stack can hold.
    pub fn distance(&self, bytes: u64) -> u64 {
        self.width.truncate(bytes)
    }

    /// Makes this the present stack.
    pub fn install(&self, cpu: &mut dyn Cpu) {
        *cpu.state_mut().segment_mut(SegmentIndex::Ss) = self.segment;
        self.install_pointer(cpu);
    }

    /// Writes the stack pointer alone.
    pub fn install_pointer(&self, cpu: &mut dyn Cpu) {
        cpu.write_gpr(Gpr::RSP, self.width, self.pointer);
    }
}

fn pointer_width(segment: &Segment, is_64bit: bool) -> Width {
    match (is_64bit, segment.attributes.is_big()) {
        (true, _) => Width::Qword,
        (false, true) => Width::Dword,
        (false, false) => Width::Word,
    }
}
