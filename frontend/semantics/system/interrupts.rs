//! Interrupts and exceptions: finding the gate, changing stacks, pushing the frame; INT and IRET.
//!
//! Delivery itself can fault. [`raise`] follows such faults to the double fault and, where that fails too, to the end.
//! SDM: vol. 3 §6.10-§6.15 (delivery, error codes, double fault), §20.1.4 (real mode), §20.3 (virtual-8086 mode),
//! vol. 2 INT n/INTO/INT3/INT1, IRET.

use dragoman_state::{Cr4, Dr6, Gpr, GuestVirt, Msrs, RFlags, Segment, SegmentIndex, Width};

use super::{
    super::{
        Cpu, Machine, Privilege,
        table::{Row, helper, row},
    },
    descriptors::{Descriptor, Selector, fetch, kind, wrap},
    far::{drop_inner_segments, enter_code, go, outer_stack, return_code},
    flags_image::{self, virtual_interrupts},
    objections::{Objection, Subject, refuse, refuse_where},
    segments::{NOT_PRESENT, null_stack_of, real_segment, stack_segment},
    stacks::Stack,
    tasks::{self, Entry},
};
use crate::{
    decode::{Attributes, Insn, Mnemonic},
    fault::{Fault, vector},
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> [Row<M>; 8] {
    const PLAIN: Attributes = Attributes::empty();
    [
        row(Mnemonic::Int,   helper!(int),   PLAIN),
        row(Mnemonic::Int3,  helper!(int3),  PLAIN),
        row(Mnemonic::Int1,  helper!(int1),  PLAIN),
        row(Mnemonic::Into,  helper!(into),  PLAIN),
        row(Mnemonic::Iret,  helper!(iret),  PLAIN),
        row(Mnemonic::Iretd, helper!(iret),  PLAIN),
        row(Mnemonic::Iretq, helper!(iret),  PLAIN),
        row(Mnemonic::Bound, helper!(bound), PLAIN),
    ]
}

const BEYOND_LIMIT: &str = "lies beyond the IDT's limit";

/// Where an event comes from, which decides how its gate is checked and what is pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A maskable interrupt.
    External,
    /// A non-maskable interrupt.
    Nmi,
    /// An exception: RIP is the faulting instruction's, or the next one's after a trap.
    Exception,
    /// INT n: the gate must be open to the running privilege level.
    Software,
    /// INT3 and INTO, which are checked like INT n.
    SoftwareException,
}

/// Something that goes through the interrupt descriptor table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The vector.
    pub vector: u8,
    /// Where it comes from.
    pub kind: EventKind,
    /// The error code that is pushed.
    pub error: Option<u32>,
    /// RIP is the next instruction's: the image of the flags does not have RF set.
    pub is_trap: bool,
}

impl Event {
    /// The event that an instruction's fault makes.
    pub const fn exception(fault: Fault) -> Self {
        Self { vector: fault.vector(), kind: EventKind::Exception, error: fault.error(), is_trap: fault.is_trap() }
    }

    /// A maskable interrupt.
    pub const fn external(vector: u8) -> Self {
        Self { vector, kind: EventKind::External, error: None, is_trap: true }
    }

    /// A non-maskable interrupt.
    pub const NMI: Self = Self { vector: vector::NMI, kind: EventKind::Nmi, error: None, is_trap: true };

    const DOUBLE_FAULT: Self = Self { vector: vector::DF, kind: EventKind::Exception, error: Some(0), is_trap: false };

    const fn software(vector: u8, kind: EventKind) -> Self {
        Self { vector, kind, error: None, is_trap: true }
    }

    fn is_software(self) -> bool {
        matches!(self.kind, EventKind::Software | EventKind::SoftwareException)
    }

    /// The error code that names this event's gate.
    fn gate_error(self) -> u16 {
        u16::from(self.vector) << 3 | 2
    }

    fn class(self) -> Class {
        match (self.kind, self.vector) {
            (EventKind::Exception, vector::DE | vector::TS | vector::NP | vector::SS | vector::GP) => Class::Contributory,
            (EventKind::Exception, vector::PF) => Class::PageFault,
            (EventKind::Exception, vector::DF) => Class::DoubleFault,
            _ => Class::Benign,
        }
    }
}

/// What an exception during the delivery of another makes of the two. SDM: vol. 3 table 6-5.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Benign,
    Contributory,
    PageFault,
    DoubleFault,
}

/// An event that could not be delivered, and where it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The event.
    pub event: Event,
    /// Why it was raised, where that was noted: the instruction's fault, or why the event before could not be delivered.
    pub objection: Option<Objection>,
    /// The address of a page fault.
    pub address: GuestVirt,
}

impl Link {
    /// `event` with the objection that `cpu` has noted to what it came from.
    fn new(cpu: &mut dyn Cpu, event: Event) -> Self {
        let objection = cpu.take_objection().filter(|objection| objection.fault.vector() == event.vector);
        Self { event, objection, address: cpu.state().events.page_fault_address }
    }
}

/// The exceptions that followed one from another before the processor gave up, first to last.
pub type FaultChain = Vec<Link>;

/// A double fault could not be delivered: the processor shuts down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TripleFault(pub FaultChain);

/// After so many events that followed one from another, none of which could be delivered, the processor looks up.
const PATIENCE: usize = 16;

/// Delivers `event`, and whatever follows from a failure to. RIP is what the handler returns to.
///
/// An alignment check whose delivery is an alignment check again, which ring 3 with a conforming handler can have, keeps a
/// processor for ever. Whoever waits for it must not wait with it: nothing is delivered then, and the instruction that is
/// executed again raises the same again.
pub fn raise(cpu: &mut dyn Cpu, event: Event) -> Result<(), TripleFault> {
    let mut chain = FaultChain::new();
    let mut event = event;
    for _ in 0..PATIENCE {
        let link = Link::new(cpu, event);
        if event.kind == EventKind::Exception && event.vector == vector::PF {
            let state = cpu.state_mut();
            state.cr2 = state.events.page_fault_address.0;
        }
        let Err(fault) = deliver(cpu, event) else { return Ok(()) };
        chain.push(link);
        let next = Event::exception(fault);
        let is_second = match (event.class(), next.class()) {
            (Class::DoubleFault, Class::Benign) => false,
            (Class::DoubleFault, _) => {
                chain.push(Link::new(cpu, next));
                return Err(TripleFault(chain));
            }
            (Class::Contributory, Class::Contributory) | (Class::PageFault, Class::Contributory | Class::PageFault) => true,
            _ => false,
        };
        if is_second {
            chain.push(Link::new(cpu, next));
        }
        event = if is_second { Event::DOUBLE_FAULT } else { next };
    }
    Ok(())
}

/// Delivers one event, or fails and changes nothing.
fn deliver(cpu: &mut dyn Cpu, event: Event) -> Result<(), Fault> {
    let delivered = if cpu.state().is_real_mode() { deliver_real(cpu, event) } else { deliver_protected(cpu, event) };
    if delivered.is_ok() && event.is_software() {
        // TF is clear in the handler, and the instruction that went there is not stepped.
        cpu.state_mut().events.pending_debug.remove(Dr6::BS);
    }
    if delivered.is_ok() && event.kind == EventKind::Exception && event.vector == vector::DB {
        cpu.state_mut().msrs.debugctl &= !(Msrs::BTF | Msrs::LBR);
    }
    delivered.map_err(|fault| if event.is_software() { fault } else { external(fault) })
}

/// The fault with the bit of its error code set that says no instruction named the selector.
fn external(fault: Fault) -> Fault {
    match (fault.vector(), fault.error()) {
        (vector::TS | vector::NP | vector::SS | vector::GP, Some(error)) => Fault::with_error(fault.vector(), error | 1),
        _ => fault,
    }
}

/// The image of RFLAGS that the frame holds.
fn pushed_flags(cpu: &dyn Cpu, event: Event) -> u64 {
    let is_fault = event.kind == EventKind::Exception && !event.is_trap;
    let flags = cpu.state().rflags;
    (if is_fault { flags | RFlags::RF } else { flags }).bits()
}

/// Through the interrupt vector table.
fn deliver_real(cpu: &mut dyn Cpu, event: Event) -> Result<(), Fault> {
    let entry = u64::from(event.vector) * 4;
    let table = cpu.state().idtr;
    let is_outside = entry + 3 > u64::from(table.limit);
    let gate = Subject::Gate { vector: event.vector, bytes: None };
    refuse_where(cpu, Fault::gp(event.gate_error()), gate, &[(is_outside, BEYOND_LIMIT)])?;
    deliver_to_vector(cpu, GuestVirt(table.base.wrapping_add(entry)))
}

/// Through the far pointer at `entry`, with a 16-bit frame on the present stack.
fn deliver_to_vector(cpu: &mut dyn Cpu, entry: GuestVirt) -> Result<(), Fault> {
    let pointer = cpu.read(entry, Width::Dword, Privilege::System)?;
    let code = real_segment(cpu, SegmentIndex::Cs, (pointer >> 16) as u16);
    let mut stack = Stack::current(cpu);
    stack.reserve(cpu, Width::Word, 3)?;
    let state = cpu.state();
    let (flags, selector, next) = (frame_flags_16(cpu), state.segment(SegmentIndex::Cs).selector, state.rip);
    stack.push(cpu, Width::Word, flags)?;
    stack.push(cpu, Width::Word, selector.into())?;
    stack.push(cpu, Width::Word, next)?;
    stack.install_pointer(cpu);
    let state = cpu.state_mut();
    *state.segment_mut(SegmentIndex::Cs) = code;
    state.rip = pointer & 0xffff;
    if state.is_virtual_8086() && state.rflags.iopl() < 3 {
        state.rflags.remove(RFlags::VIF | RFlags::TF);
    } else {
        state.rflags.remove(RFlags::IF | RFlags::TF | RFlags::AC | RFlags::RF);
    }
    Ok(())
}

/// The 16 flags that a real-mode frame holds; under virtual-8086 extensions the virtual interrupt flag stands in.
fn frame_flags_16(cpu: &dyn Cpu) -> u64 {
    let state = cpu.state();
    if state.is_virtual_8086() && state.rflags.iopl() < 3 {
        flags_image::virtual_image(state)
    } else {
        state.rflags.bits() & 0xffff
    }
}

/// Reads and checks the gate of `event`.
fn gate(cpu: &mut dyn Cpu, event: Event) -> Result<Descriptor, Fault> {
    let error = event.gate_error();
    let is_long = cpu.state().is_long_mode();
    let size = if is_long { 16 } else { 8 };
    let (table, offset) = (cpu.state().idtr, u64::from(event.vector) * size);
    let subject = |bytes| Subject::Gate { vector: event.vector, bytes };
    let is_outside = offset + size - 1 > u64::from(table.limit);
    refuse_where(cpu, Fault::gp(error), subject(None), &[(is_outside, BEYOND_LIMIT)])?;
    let at = wrap(cpu.state(), table.base.wrapping_add(offset));
    let mut read = |delta| {
        let read = cpu.read(GuestVirt(at.wrapping_add(delta)), Width::Qword, Privilege::System);
        read.map_err(|fault| refuse(cpu, fault, subject(None), "cannot be read"))
    };
    let gate = Descriptor { low: read(0)?, high: if is_long { read(8)? } else { 0 } };
    let subject = subject(Some([gate.low, gate.high]));
    let rights = gate.attributes();
    let is_gate = match rights.kind() {
        kind::INTERRUPT_GATE | kind::TRAP_GATE => true,
        kind::INTERRUPT_GATE16 | kind::TRAP_GATE16 | kind::TASK_GATE => !is_long,
        _ => false,
    };
    let is_shielded = event.is_software() && rights.dpl() < cpu.state().cpl();
    let is_other = rights.is_code_or_data() || !is_gate;
    refuse_where(
        cpu,
        Fault::gp(error),
        subject,
        &[
            (is_other && is_long, "is no 64-bit interrupt or trap gate"),
            (is_other, "is no interrupt, trap or task gate"),
            (is_shielded, "has a DPL below CPL: not for INT n here"),
        ],
    )?;
    refuse_where(cpu, Fault::np(error), subject, &[(!rights.is_present(), NOT_PRESENT)])?;
    Ok(gate)
}

/// Through the interrupt descriptor table.
fn deliver_protected(cpu: &mut dyn Cpu, event: Event) -> Result<(), Fault> {
    let gate = gate(cpu, event)?;
    if gate.attributes().kind() == kind::TASK_GATE {
        return through_task_gate(cpu, gate, event);
    }
    let cpl = cpu.state().cpl();
    let is_long = cpu.state().is_long_mode();
    let selector = gate.gate_selector();
    let subject = Subject::Gate { vector: event.vector, bytes: Some([gate.low, gate.high]) };
    refuse_where(cpu, Fault::GP0, subject, &[(selector.is_null(), "leads to a null selector")])?;
    let refused = Fault::gp(selector.error());
    let descriptor = fetch(cpu, selector, refused)?;
    let rights = descriptor.attributes();
    let new_cpl = if rights.is_conforming() { cpl } else { rights.dpl() };
    let is_too_virtual = cpu.state().is_virtual_8086() && new_cpl != 0;
    refuse_where(
        cpu,
        refused,
        Subject::entry(selector, descriptor),
        &[
            (!rights.is_code(), "is no code segment, and the gate leads there"),
            (rights.dpl() > cpl, "has a DPL above CPL, and the gate leads there"),
            (is_long && (!rights.is_long() || rights.is_big()), "is no 64-bit code segment, and the gate leads there"),
            (is_too_virtual, "is not of ring 0, where interrupts of virtual-8086 mode must go"),
        ],
    )?;
    let width = match (is_long, gate.attributes().kind()) {
        (true, _) => Width::Qword,
        (false, kind::INTERRUPT_GATE16 | kind::TRAP_GATE16) => Width::Word,
        (false, _) => Width::Dword,
    };
    let offset = width.truncate(gate.gate_offset());
    let frame = Frame { event, width, cpl, new_cpl };
    let stack = frame.stack(cpu, gate.gate_ist())?;
    let code = enter_code(cpu, selector, descriptor, offset, new_cpl)?;
    frame.push(cpu, stack)?;
    let is_interrupt_gate = matches!(gate.attributes().kind(), kind::INTERRUPT_GATE | kind::INTERRUPT_GATE16);
    let state = cpu.state_mut();
    *state.segment_mut(SegmentIndex::Cs) = code;
    state.rip = offset;
    state.rflags.remove(RFlags::TF | RFlags::NT | RFlags::RF | RFlags::VM);
    if is_interrupt_gate {
        state.rflags.remove(RFlags::IF);
    }
    Ok(())
}

/// The stack frame of a delivery.
struct Frame {
    event: Event,
    width: Width,
    cpl: u8,
    new_cpl: u8,
}

impl Frame {
    /// The stack that the frame goes on.
    fn stack(&self, cpu: &mut dyn Cpu, ist: u64) -> Result<Stack, Fault> {
        if self.width == Width::Qword {
            return self.long_stack(cpu, ist);
        }
        if self.new_cpl == self.cpl {
            return Ok(Stack::current(cpu));
        }
        let (selector, pointer) = tasks::stack_of_ring(cpu, self.new_cpl)?;
        let segment = stack_segment(cpu, selector, self.new_cpl, Fault::ts)?;
        Ok(Stack::new(segment, pointer, false, self.new_cpl))
    }

    /// In long mode the frame is aligned to sixteen bytes, whichever stack it goes on.
    fn long_stack(&self, cpu: &mut dyn Cpu, ist: u64) -> Result<Stack, Fault> {
        let is_inward = self.new_cpl != self.cpl;
        let pointer = match ist {
            0 if is_inward => tasks::long_stack(cpu, self.new_cpl.into())?,
            0 => cpu.state().gpr[Gpr::RSP],
            n => tasks::interrupt_stack(cpu, n)?,
        };
        let segment = if is_inward {
            null_stack_of(Selector(self.new_cpl.into()), self.new_cpl)
        } else {
            *cpu.state().segment(SegmentIndex::Ss)
        };
        Ok(Stack::new(segment, pointer & !15, true, self.new_cpl))
    }

    /// Pushes the frame and makes `stack` the present one.
    fn push(&self, cpu: &mut dyn Cpu, mut stack: Stack) -> Result<(), Fault> {
        let state = cpu.state();
        let is_vm86 = state.is_virtual_8086();
        let selector = |index| u64::from(state.segment(index).selector);
        let mut values = [0u64; 10];
        let mut count = 0;
        let mut add = |value| {
            values[count] = value;
            count += 1;
        };
        if is_vm86 {
            for index in [SegmentIndex::Gs, SegmentIndex::Fs, SegmentIndex::Ds, SegmentIndex::Es] {
                add(selector(index));
            }
        }
        if self.width == Width::Qword || self.new_cpl != self.cpl {
            add(selector(SegmentIndex::Ss));
            add(state.gpr[Gpr::RSP]);
        }
        add(pushed_flags(cpu, self.event));
        add(selector(SegmentIndex::Cs));
        add(state.rip);
        if let Some(error) = self.event.error {
            add(error.into());
        }
        stack.reserve(cpu, self.width, count as u64)?;
        for value in &values[..count] {
            stack.push(cpu, self.width, *value)?;
        }
        stack.install(cpu);
        if is_vm86 {
            for index in [SegmentIndex::Gs, SegmentIndex::Fs, SegmentIndex::Ds, SegmentIndex::Es] {
                *cpu.state_mut().segment_mut(index) = Segment::null(0);
            }
        }
        Ok(())
    }
}

fn through_task_gate(cpu: &mut dyn Cpu, gate: Descriptor, event: Event) -> Result<(), Fault> {
    if event.kind == EventKind::Exception && !event.is_trap {
        cpu.state_mut().rflags |= RFlags::RF;
    }
    tasks::switch_through_gate(cpu, gate.gate_selector(), gate, Entry::Interrupt)?;
    let Some(error) = event.error else { return Ok(()) };
    let is_wide = cpu.state().tr.attributes.kind() & 8 != 0;
    let mut stack = Stack::current(cpu);
    stack.push(cpu, if is_wide { Width::Dword } else { Width::Word }, error.into())?;
    stack.install_pointer(cpu);
    Ok(())
}

/// `INT n`.
fn int(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let vector = i.immediate as u8;
    if cpu.state().is_virtual_8086() {
        if cpu.state().cr4.contains(Cr4::VME) && !tasks::is_redirected_to_monitor(cpu, vector)? {
            return deliver_to_vector(cpu, GuestVirt(u64::from(vector) * 4));
        }
        let is_kept_out = cpu.state().rflags.iopl() < 3;
        refuse_where(cpu, Fault::GP0, Subject::Instruction, &[(is_kept_out, "needs IOPL 3 in virtual-8086 mode")])?;
    }
    deliver(cpu, Event::software(vector, EventKind::Software))
}

/// `INT3`.
fn int3(cpu: &mut dyn Cpu, _: &Insn) -> Result<(), Fault> {
    deliver(cpu, Event::software(vector::BP, EventKind::SoftwareException))
}

/// `INT1`: #DB as if by hardware; no gate privilege is checked.
fn int1(cpu: &mut dyn Cpu, _: &Insn) -> Result<(), Fault> {
    deliver(cpu, Event { vector: vector::DB, kind: EventKind::Exception, error: None, is_trap: true })
}

/// `INTO`: vector 4 where overflow is set.
fn into(cpu: &mut dyn Cpu, _: &Insn) -> Result<(), Fault> {
    if !cpu.state().rflags.contains(RFlags::OF) {
        return Ok(());
    }
    deliver(cpu, Event::software(vector::OF, EventKind::SoftwareException))
}

/// `BOUND index, bounds`: #BR where the index is not between the two in memory.
fn bound(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let signed = |value| i.width.sign_extend(value) as i64;
    let index = signed(cpu.state().gpr[Gpr(i.operands[0].register)]);
    let lower = signed(cpu.read_operand(i, 0, i.width)?);
    if index < lower {
        return Err(Fault::BR);
    }
    let upper = signed(cpu.read_operand(i, i.width.bytes(), i.width)?);
    if index <= upper { Ok(()) } else { Err(Fault::BR) }
}

/// `IRET`, `IRETD`, `IRETQ`.
fn iret(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    // Non-maskable interrupts are let in again even where the return faults.
    cpu.state_mut().events.nmi_blocked = false;
    let state = cpu.state();
    if state.is_real_mode() {
        return iret_real(cpu, i.width);
    }
    if state.is_virtual_8086() {
        return iret_virtual_8086(cpu, i.width);
    }
    if state.rflags.contains(RFlags::NT) {
        let is_long = state.is_long_mode();
        refuse_where(cpu, Fault::GP0, Subject::Instruction, &[(is_long, "finds RFLAGS.NT set, and long mode has no tasks")])?;
        return tasks::return_to_previous(cpu);
    }
    iret_protected(cpu, i.width)
}

struct ReturnFrame {
    offset: u64,
    selector: Selector,
    flags: u64,
}

fn pop_frame(cpu: &mut dyn Cpu, stack: &mut Stack, width: Width) -> Result<ReturnFrame, Fault> {
    let offset = stack.pop(cpu, width)?;
    let selector = Selector(stack.pop(cpu, width)? as u16);
    let flags = stack.pop(cpu, width)?;
    Ok(ReturnFrame { offset, selector, flags })
}

fn iret_real(cpu: &mut dyn Cpu, width: Width) -> Result<(), Fault> {
    let mut stack = Stack::current(cpu);
    let frame = pop_frame(cpu, &mut stack, width)?;
    finish_real(cpu, stack, &frame)?;
    // These three are beyond the reach of real mode, whatever the width.
    flags_image::load(cpu, width, frame.flags, RFlags::VM | RFlags::VIF | RFlags::VIP);
    Ok(())
}

fn finish_real(cpu: &mut dyn Cpu, stack: Stack, frame: &ReturnFrame) -> Result<(), Fault> {
    let is_outside = frame.offset > u64::from(cpu.state().segment(SegmentIndex::Cs).limit);
    refuse_where(cpu, Fault::GP0, Subject::Instruction, &[(is_outside, "returns beyond the code segment's limit")])?;
    let code = real_segment(cpu, SegmentIndex::Cs, frame.selector.0);
    stack.install_pointer(cpu);
    let state = cpu.state_mut();
    *state.segment_mut(SegmentIndex::Cs) = code;
    state.rip = frame.offset;
    Ok(())
}

fn iret_virtual_8086(cpu: &mut dyn Cpu, width: Width) -> Result<(), Fault> {
    let has_extensions = cpu.state().cr4.contains(Cr4::VME) && width == Width::Word;
    if cpu.state().rflags.iopl() < 3 && !has_extensions {
        return Err(Fault::GP0);
    }
    let mut stack = Stack::current(cpu);
    let frame = pop_frame(cpu, &mut stack, width)?;
    if cpu.state().rflags.iopl() == 3 {
        finish_real(cpu, stack, &frame)?;
        flags_image::load(cpu, width, frame.flags, RFlags::IOPL | RFlags::VM | RFlags::VIF | RFlags::VIP);
        return Ok(());
    }
    virtual_interrupts(cpu.state(), frame.flags)?;
    finish_real(cpu, stack, &frame)?;
    flags_image::load_virtual(cpu, frame.flags);
    Ok(())
}

fn iret_protected(cpu: &mut dyn Cpu, width: Width) -> Result<(), Fault> {
    let mut stack = Stack::current(cpu);
    let frame = pop_frame(cpu, &mut stack, width)?;
    let (cpl, is_long) = (cpu.state().cpl(), cpu.state().is_long_mode());
    let to_virtual = RFlags::from_bits_retain(frame.flags).contains(RFlags::VM);
    if to_virtual && width == Width::Dword && cpl == 0 && !is_long {
        return iret_to_virtual_8086(cpu, stack, &frame);
    }
    let code = return_code(cpu, frame.selector, frame.offset)?;
    let target = frame.selector.rpl();
    if target != cpl || cpu.state().is_64bit() {
        let pointer = stack.pop(cpu, width)?;
        let selector = Selector(stack.pop(cpu, width)? as u16);
        let outer = outer_stack(cpu, selector, pointer, &code, target)?;
        outer.install(cpu);
    } else {
        stack.install_pointer(cpu);
    }
    flags_image::load_at(cpu, cpl, width, frame.flags);
    go(cpu, code, frame.offset);
    if target != cpl {
        drop_inner_segments(cpu, target);
    }
    Ok(())
}

fn iret_to_virtual_8086(cpu: &mut dyn Cpu, mut stack: Stack, frame: &ReturnFrame) -> Result<(), Fault> {
    let pointer = stack.pop(cpu, Width::Dword)?;
    let mut selectors = [0; 5];
    for selector in &mut selectors {
        *selector = stack.pop(cpu, Width::Dword)? as u16;
    }
    refuse_where(
        cpu,
        Fault::GP0,
        Subject::Instruction,
        &[(frame.offset > 0xffff, "returns to virtual-8086 mode beyond 64 KiB")],
    )?;
    let state = cpu.state_mut();
    state.rflags = RFlags::from_bits_retain(frame.flags & flags_image::DEFINED.bits()) | RFlags::FIXED;
    state.gpr[Gpr::RSP] = pointer;
    state.rip = frame.offset;
    let order = [SegmentIndex::Ss, SegmentIndex::Es, SegmentIndex::Ds, SegmentIndex::Fs, SegmentIndex::Gs];
    for (index, selector) in order.into_iter().zip(selectors) {
        let segment = real_segment(cpu, index, selector);
        *cpu.state_mut().segment_mut(index) = segment;
    }
    let code = real_segment(cpu, SegmentIndex::Cs, frame.selector.0);
    *cpu.state_mut().segment_mut(SegmentIndex::Cs) = code;
    Ok(())
}
