//! Far transfers: JMP, CALL and RET to another code segment, through call gates, and to other tasks.
//! SDM: vol. 2, JMP, CALL, RET; vol. 3 §5.8 (privilege checks), §5.8.4 (call gates), §7.3 (task switching).

use dragoman_state::{Gpr, Segment, SegmentIndex, Width};

use super::{
    super::{
        Cpu, Machine,
        table::{Row, helper, row},
    },
    descriptors::{Descriptor, Selector, fetch, fetch_system, is_canonical, kind, mark_accessed},
    objections::{Subject, refuse, refuse_where},
    segments::{NOT_PRESENT, are_real, null_stack_of, real_segment, stack_segment},
    stacks::Stack,
    tasks::{self, Entry},
};
use crate::{
    decode::{Attributes, Insn, Kind, Mnemonic},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> [Row<M>; 1] {
    [
        row(Mnemonic::Retf, helper!(ret), Attributes::empty()),
    ]
}

/// Selector and offset of the operand.
fn pointer(cpu: &mut dyn Cpu, i: &Insn) -> Result<(Selector, u64), Fault> {
    if i.operands[0].kind == Kind::Immediate {
        return Ok((Selector((i.immediate >> 32) as u16), i.immediate & 0xffff_ffff));
    }
    let offset = cpu.read_operand(i, 0, i.width)?;
    let selector = cpu.read_operand(i, i.width.bytes(), Width::Word)?;
    Ok((Selector(selector as u16), offset))
}

/// The code segment that `descriptor` describes, entered at `offset` and running at privilege `cpl`; the accessed bit is
/// set, nothing else changes. #NP where it is absent, #GP(0) where the offset is outside.
pub(super) fn enter_code(
    cpu: &mut dyn Cpu,
    selector: Selector,
    mut descriptor: Descriptor,
    offset: u64,
    cpl: u8,
) -> Result<Segment, Fault> {
    let rights = descriptor.attributes();
    let entry = Subject::entry(selector, descriptor);
    refuse_where(cpu, Fault::np(selector.error()), entry, &[(!rights.is_present(), NOT_PRESENT)])?;
    let is_64bit = cpu.state().is_long_mode() && rights.is_long();
    let is_both = is_64bit && rights.is_big();
    refuse_where(cpu, Fault::gp(selector.error()), entry, &[(is_both, "is 64-bit code (L = 1) and has D = 1 as well")])?;
    let selector = selector.with_rpl(cpl);
    let segment = descriptor.segment(selector);
    // Of a 64-bit offset, other code takes the lower half.
    let is_inside = if is_64bit { is_canonical(cpu.state(), offset) } else { offset & 0xffff_ffff <= u64::from(segment.limit) };
    let text =
        if is_64bit { "is entered at an address that is not canonical" } else { "ends before the offset it is entered at" };
    refuse_where(cpu, Fault::GP0, entry, &[(!is_inside, text)])?;
    mark_accessed(cpu, selector, &mut descriptor)?;
    Ok(descriptor.segment(selector))
}

/// Whether a transfer without a gate may go from privilege `cpl` to the code segment.
fn may_transfer(descriptor: Descriptor, selector: Selector, cpl: u8) -> bool {
    let rights = descriptor.attributes();
    if rights.is_conforming() { rights.dpl() <= cpl } else { selector.rpl() <= cpl && rights.dpl() == cpl }
}

fn refuse_null(cpu: &mut dyn Cpu, selector: Selector) -> Result<(), Fault> {
    refuse_where(cpu, Fault::GP0, Subject::selector(selector), &[(selector.is_null(), "is null, and no code")])
}

/// #GP(selector) where the segment is no code, or the transfer to it is not allowed.
fn refuse_other_code(cpu: &mut dyn Cpu, selector: Selector, descriptor: Descriptor, is_allowed: bool) -> Result<(), Fault> {
    refuse_where(
        cpu,
        Fault::gp(selector.error()),
        Subject::entry(selector, descriptor),
        &[
            (!descriptor.attributes().is_code(), "is no code segment"),
            (!is_allowed, "has a DPL that this transfer may not go to"),
        ],
    )
}

/// Sets CS:RIP in real and virtual-8086 mode, where `offset` must be within the segment that is left.
fn real_target(cpu: &mut dyn Cpu, selector: Selector, offset: u64) -> Result<Segment, Fault> {
    let is_outside = offset > u64::from(cpu.state().segment(SegmentIndex::Cs).limit);
    refuse_where(cpu, Fault::GP0, Subject::Instruction, &[(is_outside, "goes beyond the code segment's limit")])?;
    Ok(real_segment(cpu, SegmentIndex::Cs, selector.0))
}

/// Goes to `offset` in `code`, after all checks; other than 64-bit code takes the lower half.
pub(super) fn go(cpu: &mut dyn Cpu, code: Segment, offset: u64) {
    let state = cpu.state_mut();
    *state.segment_mut(SegmentIndex::Cs) = code;
    state.rip = if state.is_64bit() { offset } else { offset & 0xffff_ffff };
}

/// Far `JMP`.
pub(in super::super) fn jump(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let (selector, offset) = pointer(cpu, i)?;
    if are_real(cpu) {
        let code = real_target(cpu, selector, offset)?;
        go(cpu, code, offset);
        return Ok(());
    }
    refuse_null(cpu, selector)?;
    let cpl = cpu.state().cpl();
    let descriptor = fetch_system(cpu, selector, Fault::gp(selector.error()))?;
    let (selector, descriptor, offset) = if descriptor.attributes().is_code_or_data() {
        refuse_other_code(cpu, selector, descriptor, may_transfer(descriptor, selector, cpl))?;
        (selector, descriptor, offset)
    } else {
        match through_gate(cpu, selector, descriptor, Entry::Jump)? {
            Some(target) if may_jump_through(target.descriptor, cpl) => (target.selector, target.descriptor, target.offset),
            Some(target) => {
                let entry = Subject::entry(target.selector, target.descriptor);
                return Err(refuse(cpu, Fault::gp(target.selector.error()), entry, "is of another ring, where no jump can go"));
            }
            None => return Ok(()),
        }
    };
    let code = enter_code(cpu, selector, descriptor, offset, cpl)?;
    go(cpu, code, offset);
    Ok(())
}

/// A jump through a call gate may not change the privilege level.
fn may_jump_through(descriptor: Descriptor, cpl: u8) -> bool {
    let rights = descriptor.attributes();
    if rights.is_conforming() { rights.dpl() <= cpl } else { rights.dpl() == cpl }
}

/// Where a call gate leads.
struct GateTarget {
    selector: Selector,
    descriptor: Descriptor,
    offset: u64,
    width: Width,
    parameters: u64,
}

/// Goes through the system descriptor that a far transfer named: a call gate's target, or `None` where it was a task and
/// the switch is done.
fn through_gate(
    cpu: &mut dyn Cpu,
    selector: Selector,
    descriptor: Descriptor,
    entry: Entry,
) -> Result<Option<GateTarget>, Fault> {
    let rights = descriptor.attributes();
    let refused = Fault::gp(selector.error());
    let is_long = cpu.state().is_long_mode();
    let entry_ = Subject::entry(selector, descriptor);
    let is_shielded = rights.dpl() < cpu.state().cpl().max(selector.rpl());
    refuse_where(cpu, refused, entry_, &[(is_shielded, "has a DPL below CPL or RPL")])?;
    let width = match rights.kind() {
        kind::CALL_GATE if is_long => Width::Qword,
        kind::CALL_GATE => Width::Dword,
        kind::CALL_GATE16 if !is_long => Width::Word,
        kind::TASK_GATE if !is_long => {
            tasks::switch_through_gate(cpu, selector, descriptor, entry)?;
            return Ok(None);
        }
        kind::TSS | kind::TSS16 if !is_long => {
            tasks::switch(cpu, selector, entry)?;
            return Ok(None);
        }
        _ => return Err(refuse(cpu, refused, entry_, "is neither code nor a gate nor a task to go to")),
    };
    refuse_where(cpu, Fault::np(selector.error()), entry_, &[(!rights.is_present(), NOT_PRESENT)])?;
    let target = descriptor.gate_selector();
    refuse_where(cpu, Fault::GP0, entry_, &[(target.is_null(), "leads to a null selector")])?;
    let code = fetch(cpu, target, Fault::gp(target.error()))?;
    let code_rights = code.attributes();
    let is_right_kind = !is_long || code_rights.is_long() && !code_rights.is_big();
    let cpl = cpu.state().cpl();
    refuse_where(
        cpu,
        Fault::gp(target.error()),
        Subject::entry(target, code),
        &[
            (!code_rights.is_code(), "is no code segment, and the gate leads there"),
            (code_rights.dpl() > cpl, "has a DPL above CPL, and the gate leads there"),
            (!is_right_kind, "is no 64-bit code segment, and the gate leads there"),
        ],
    )?;
    let mask = if width == Width::Word { 0xffff } else { width.mask() };
    Ok(Some(GateTarget {
        selector: target,
        descriptor: code,
        offset: descriptor.gate_offset() & mask,
        width,
        parameters: if is_long { 0 } else { descriptor.gate_parameters() },
    }))
}

/// Far `CALL`.
pub(in super::super) fn call(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let (selector, offset) = pointer(cpu, i)?;
    if are_real(cpu) {
        let code = real_target(cpu, selector, offset)?;
        return call_within(cpu, code, offset, i.width);
    }
    refuse_null(cpu, selector)?;
    let cpl = cpu.state().cpl();
    let descriptor = fetch_system(cpu, selector, Fault::gp(selector.error()))?;
    if descriptor.attributes().is_code_or_data() {
        refuse_other_code(cpu, selector, descriptor, may_transfer(descriptor, selector, cpl))?;
        let code = enter_code(cpu, selector, descriptor, offset, cpl)?;
        return call_within(cpu, code, offset, i.width);
    }
    let Some(target) = through_gate(cpu, selector, descriptor, Entry::Call)? else { return Ok(()) };
    let rights = target.descriptor.attributes();
    if !rights.is_conforming() && rights.dpl() < cpl {
        return call_inward(cpu, target);
    }
    let code = enter_code(cpu, target.selector, target.descriptor, target.offset, cpl)?;
    call_within(cpu, code, target.offset, target.width)
}

/// Pushes CS:RIP on the present stack and goes to `code`.
fn call_within(cpu: &mut dyn Cpu, code: Segment, offset: u64, width: Width) -> Result<(), Fault> {
    let mut stack = Stack::for_code(cpu, &code);
    stack.reserve(cpu, width, 2)?;
    let (selector, next) = (cpu.state().segment(SegmentIndex::Cs).selector, cpu.state().rip);
    stack.push(cpu, width, selector.into())?;
    stack.push(cpu, width, next)?;
    stack.install_pointer(cpu);
    go(cpu, code, offset);
    Ok(())
}

/// Through a call gate to a more privileged level: onto its stack, with the parameters copied.
fn call_inward(cpu: &mut dyn Cpu, target: GateTarget) -> Result<(), Fault> {
    let cpl = target.descriptor.attributes().dpl();
    let is_long = cpu.state().is_long_mode();
    let outer = Stack::current(cpu);
    let mut inner = if is_long {
        let pointer = tasks::long_stack(cpu, u64::from(cpl))?;
        Stack::new(null_stack_of(Selector(cpl.into()), cpl), pointer, true, cpl)
    } else {
        let (selector, pointer) = tasks::stack_of_ring(cpu, cpl)?;
        let segment = stack_segment(cpu, selector, cpl, Fault::ts)?;
        Stack::new(segment, pointer, false, cpl)
    };
    let width = target.width;
    let code = enter_code(cpu, target.selector, target.descriptor, target.offset, cpl)?;
    inner.reserve(cpu, width, 4 + target.parameters)?;
    let (old_stack, old_code) = (outer.segment.selector, cpu.state().segment(SegmentIndex::Cs).selector);
    let (old_pointer, next) = (cpu.state().gpr[Gpr::RSP], cpu.state().rip);
    inner.push(cpu, width, old_stack.into())?;
    inner.push(cpu, width, old_pointer)?;
    for n in (0..target.parameters).rev() {
        let parameter = outer.peek(cpu, width, n * width.bytes())?;
        inner.push(cpu, width, parameter)?;
    }
    inner.push(cpu, width, old_code.into())?;
    inner.push(cpu, width, next)?;
    inner.install(cpu);
    go(cpu, code, target.offset);
    Ok(())
}

/// Far `RET`, `RET n`.
fn ret(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let mut stack = Stack::current(cpu);
    let offset = stack.pop(cpu, i.width)?;
    let selector = Selector(stack.pop(cpu, i.width)? as u16);
    let released = i.immediate & 0xffff;
    if are_real(cpu) {
        let code = real_target(cpu, selector, offset)?;
        stack.skip(released);
        stack.install_pointer(cpu);
        go(cpu, code, offset);
        return Ok(());
    }
    let back = Return { selector, offset, width: i.width, released };
    return_to(cpu, stack, back)
}

/// What a return instruction found on the stack.
pub(super) struct Return {
    pub selector: Selector,
    pub offset: u64,
    pub width: Width,
    /// How many bytes of parameters are released, from the outer stack too where there is one.
    pub released: u64,
}

/// Returns to the same or an outer privilege level; `stack` is past CS:RIP.
pub(super) fn return_to(cpu: &mut dyn Cpu, mut stack: Stack, back: Return) -> Result<(), Fault> {
    let cpl = cpu.state().cpl();
    let target = back.selector.rpl();
    let code = return_code(cpu, back.selector, back.offset)?;
    if target == cpl {
        // The code returned to may use a wider pointer; how far it moves was found in the old width.
        let distance = stack.distance(2 * back.width.bytes() + back.released);
        let mut stack = Stack::for_code(cpu, &code);
        stack.skip(distance);
        stack.install_pointer(cpu);
        go(cpu, code, back.offset);
        return Ok(());
    }
    stack.skip(back.released);
    let pointer = stack.pop(cpu, back.width)?;
    let selector = Selector(stack.pop(cpu, back.width)? as u16);
    let mut outer = outer_stack(cpu, selector, pointer, &code, target)?;
    outer.skip(back.released);
    outer.install(cpu);
    go(cpu, code, back.offset);
    drop_inner_segments(cpu, target);
    Ok(())
}

/// The code segment that a return goes to, after the checks that RET and IRET share.
pub(super) fn return_code(cpu: &mut dyn Cpu, selector: Selector, offset: u64) -> Result<Segment, Fault> {
    refuse_null(cpu, selector)?;
    let descriptor = fetch(cpu, selector, Fault::gp(selector.error()))?;
    let rights = descriptor.attributes();
    let target = selector.rpl();
    let is_allowed = if rights.is_conforming() { rights.dpl() <= target } else { rights.dpl() == target };
    let is_outward = target >= cpu.state().cpl();
    refuse_other_code(cpu, selector, descriptor, is_outward && is_allowed)?;
    enter_code(cpu, selector, descriptor, offset, target)
}

/// The stack that a return to privilege `target` takes up.
pub(super) fn outer_stack(
    cpu: &mut dyn Cpu,
    selector: Selector,
    pointer: u64,
    code: &Segment,
    target: u8,
) -> Result<Stack, Fault> {
    let is_64bit = cpu.state().is_long_mode() && code.attributes.is_long();
    let segment = if selector.is_null() && is_64bit && target != 3 && selector.rpl() == target {
        null_stack_of(selector, target)
    } else {
        stack_segment_of_return(cpu, selector, target)?
    };
    Ok(Stack::new(segment, pointer, is_64bit, target))
}

fn stack_segment_of_return(cpu: &mut dyn Cpu, selector: Selector, target: u8) -> Result<Segment, Fault> {
    let is_null = selector.is_null();
    refuse_where(cpu, Fault::GP0, Subject::selector(selector), &[(is_null, "is null, and no stack to return to")])?;
    stack_segment(cpu, selector, target, Fault::gp)
}

/// Data segments that privilege level `cpl` could not have loaded become null, so that a return leaks nothing.
pub(super) fn drop_inner_segments(cpu: &mut dyn Cpu, cpl: u8) {
    let state = cpu.state_mut();
    for index in [SegmentIndex::Es, SegmentIndex::Ds, SegmentIndex::Fs, SegmentIndex::Gs] {
        let segment = state.segment_mut(index);
        let rights = segment.attributes;
        if !rights.is_unusable() && !rights.is_conforming() && rights.dpl() < cpl {
            // The base of FS and GS outlives the selector.
            *segment = Segment { base: segment.base, ..Segment::null(0) };
        }
    }
}
