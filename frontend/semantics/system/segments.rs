//! Loading segment registers: MOV and POP to them, LDS and its kin, SWAPGS and the base instructions.
//! SDM: vol. 2, MOV, POP, LDS/LES/LFS/LGS/LSS, SWAPGS, RDFSBASE; vol. 3 §5.5, §5.7 (privilege checks).

use dragoman_state::{Attributes, Cr4, Gpr, InterruptShadow, Segment, SegmentIndex, Width};

use super::{
    super::{
        Cpu, Machine,
        table::{Row, code, helper, row},
    },
    descriptors::{Selector, fetch, mark_accessed, require_canonical},
    objections::{Subject, refuse_where},
    stacks::Stack,
};
use crate::{
    decode::{Attributes as Row_, Code, Insn, Mnemonic},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> Vec<Row<M>> {
    const ENDS: Row_ = Row_::ENDS_BLOCK;
    let mut rows = vec![
        row(Mnemonic::Lds,      helper!(load_far_pointer), ENDS),
        row(Mnemonic::Les,      helper!(load_far_pointer), ENDS),
        row(Mnemonic::Lfs,      helper!(load_far_pointer), ENDS),
        row(Mnemonic::Lgs,      helper!(load_far_pointer), ENDS),
        row(Mnemonic::Lss,      helper!(load_far_pointer), ENDS),
        row(Mnemonic::Swapgs,   helper!(swapgs),           Row_::CPL0.union(ENDS)),
        row(Mnemonic::Rdfsbase, helper!(read_base),        ENDS),
        row(Mnemonic::Rdgsbase, helper!(read_base),        ENDS),
        row(Mnemonic::Wrfsbase, helper!(write_base),       ENDS),
        row(Mnemonic::Wrgsbase, helper!(write_base),       ENDS),
    ];
    for form in [Code::Mov_Sreg_rm16, Code::Mov_Sreg_r32m16, Code::Mov_Sreg_r64m16] {
        rows.push(code(form, helper!(mov), ENDS));
    }
    rows
}

/// The objection to a descriptor whose present bit is clear.
pub(super) const NOT_PRESENT: &str = "is not present (P = 0)";

/// Whether selectors mean what they do in real mode.
pub(super) fn are_real(cpu: &dyn Cpu) -> bool {
    cpu.state().is_real_mode() || cpu.state().is_virtual_8086()
}

/// The register that real or virtual-8086 mode leaves when `selector` is loaded: real mode changes the base alone, so
/// that a limit loaded in protected mode survives.
pub(super) fn real_segment(cpu: &dyn Cpu, index: SegmentIndex, selector: u16) -> Segment {
    let base = u64::from(selector) << 4;
    if cpu.state().is_virtual_8086() {
        return Segment { base, limit: 0xffff, attributes: Attributes(0xf3), selector };
    }
    let old = *cpu.state().segment(index);
    // Code of real mode can be written: its segment is one of data. SDM: vol. 3 table 10-1.
    let attributes = if index == SegmentIndex::Cs { Attributes::DATA } else { old.attributes };
    Segment { base, selector, attributes, ..old }
}

/// What loading `selector` into segment register `index` (not CS) leaves there, after all checks. The accessed bit has
/// been set; the register has not been written.
pub(super) fn data_segment(cpu: &mut dyn Cpu, index: SegmentIndex, selector: Selector) -> Result<Segment, Fault> {
    if are_real(cpu) {
        return Ok(real_segment(cpu, index, selector.0));
    }
    let cpl = cpu.state().cpl();
    if index == SegmentIndex::Ss {
        return stack_segment(cpu, selector, cpl, Fault::gp);
    }
    if selector.is_null() {
        return Ok(Segment::null(selector.0));
    }
    let refused = Fault::gp(selector.error());
    let mut descriptor = fetch(cpu, selector, refused)?;
    let rights = descriptor.attributes();
    let entry = Subject::entry(selector, descriptor);
    let is_shielded = rights.dpl() < cpl.max(selector.rpl()) && !rights.is_conforming();
    refuse_where(
        cpu,
        refused,
        entry,
        &[(!rights.is_readable(), "is neither data nor readable code"), (is_shielded, "has a DPL below CPL or RPL")],
    )?;
    refuse_where(cpu, Fault::np(selector.error()), entry, &[(!rights.is_present(), NOT_PRESENT)])?;
    mark_accessed(cpu, selector, &mut descriptor)?;
    Ok(descriptor.segment(selector))
}

/// What loading `selector` into SS at privilege `cpl` leaves there, after all checks; `refuse` makes the fault of a
/// selector that cannot be a stack: #GP, or #TS where a task state segment named it.
pub(super) fn stack_segment(cpu: &mut dyn Cpu, selector: Selector, cpl: u8, refuse: fn(u16) -> Fault) -> Result<Segment, Fault> {
    if selector.is_null() {
        return null_stack(cpu, selector, cpl, refuse);
    }
    let refused = refuse(selector.error());
    let mut descriptor = fetch(cpu, selector, refused)?;
    let rights = descriptor.attributes();
    let entry = Subject::entry(selector, descriptor);
    refuse_where(
        cpu,
        refused,
        entry,
        &[
            (selector.rpl() != cpl, "is named for a stack with an RPL other than the ring's"),
            (!rights.is_writable(), "is no writable data, as a stack must be"),
            (rights.dpl() != cpl, "has a DPL other than the ring that it is to be the stack of"),
        ],
    )?;
    refuse_where(cpu, Fault::ss(selector.error()), entry, &[(!rights.is_present(), NOT_PRESENT)])?;
    mark_accessed(cpu, selector, &mut descriptor)?;
    Ok(descriptor.segment(selector))
}

/// A null stack segment is possible in 64-bit mode below ring 3, where the stack has no segment.
fn null_stack(cpu: &mut dyn Cpu, selector: Selector, cpl: u8, refuse: fn(u16) -> Fault) -> Result<Segment, Fault> {
    let is_possible = cpu.state().is_64bit() && cpl != 3 && selector.rpl() == cpl;
    refuse_where(cpu, refuse(0), Subject::selector(selector), &[(!is_possible, "is null, and no stack here")])?;
    Ok(null_stack_of(selector, cpl))
}

/// The null stack segment of privilege `cpl`.
pub(super) fn null_stack_of(selector: Selector, cpl: u8) -> Segment {
    let mut segment = Segment::null(selector.0);
    segment.attributes = segment.attributes.with_dpl(cpl);
    segment
}

fn load(cpu: &mut dyn Cpu, index: SegmentIndex, selector: u16) -> Result<(), Fault> {
    let segment = data_segment(cpu, index, Selector(selector))?;
    let state = cpu.state_mut();
    *state.segment_mut(index) = segment;
    if index == SegmentIndex::Ss {
        state.events.shadow = InterruptShadow::MovSs;
    }
    Ok(())
}

fn register(number: u8) -> SegmentIndex {
    SegmentIndex::ALL[usize::from(number) % SegmentIndex::ALL.len()]
}

/// `MOV sreg, src`. CS cannot be loaded this way.
fn mov(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let index = register(i.operands[0].register);
    if index == SegmentIndex::Cs {
        return Err(Fault::UD);
    }
    let selector = if i.is_memory(1) { cpu.read_operand(i, 0, Width::Word)? } else { cpu.read_integer(i, 1)? };
    load(cpu, index, selector as u16)
}

/// `POP sreg`: the slot has the operand's width, the selector is its low word.
pub(in super::super) fn pop(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let index = register(i.operands[0].register);
    let mut stack = Stack::current(cpu);
    let selector = stack.pop(cpu, i.width)?;
    load(cpu, index, selector as u16)?;
    // As wide as the stack that was popped from, which SS no longer describes where it was loaded.
    stack.install_pointer(cpu);
    Ok(())
}

/// `LDS`, `LES`, `LFS`, `LGS`, `LSS`: offset and selector from memory.
fn load_far_pointer(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let offset = cpu.read_operand(i, 0, i.width)?;
    let selector = cpu.read_operand(i, i.width.bytes(), Width::Word)?;
    let index = far_pointer_register(i);
    let segment = data_segment(cpu, index, Selector(selector as u16))?;
    *cpu.state_mut().segment_mut(index) = segment;
    cpu.write_gpr(Gpr(i.operands[0].register), i.width, offset);
    Ok(())
}

fn far_pointer_register(i: &Insn) -> SegmentIndex {
    let is = |forms: &[Code]| forms.iter().any(|form| i.opcode == crate::decode::Opcode::of(*form));
    if is(&[Code::Lds_r16_m1616, Code::Lds_r32_m1632]) {
        SegmentIndex::Ds
    } else if is(&[Code::Les_r16_m1616, Code::Les_r32_m1632]) {
        SegmentIndex::Es
    } else if is(&[Code::Lfs_r16_m1616, Code::Lfs_r32_m1632, Code::Lfs_r64_m1664]) {
        SegmentIndex::Fs
    } else if is(&[Code::Lgs_r16_m1616, Code::Lgs_r32_m1632, Code::Lgs_r64_m1664]) {
        SegmentIndex::Gs
    } else {
        SegmentIndex::Ss
    }
}

/// `SWAPGS`: exchanges the base of GS with the register kept for it.
fn swapgs(cpu: &mut dyn Cpu, _: &Insn) -> Result<(), Fault> {
    let state = cpu.state_mut();
    let kept = std::mem::replace(&mut state.msrs.kernel_gs_base, state.segments[SegmentIndex::Gs as usize].base);
    state.segment_mut(SegmentIndex::Gs).base = kept;
    Ok(())
}

fn base_register(cpu: &dyn Cpu, i: &Insn) -> Result<SegmentIndex, Fault> {
    if !cpu.state().cr4.contains(Cr4::FSGSBASE) {
        return Err(Fault::UD);
    }
    let of_fs = [Code::Rdfsbase_r32, Code::Rdfsbase_r64, Code::Wrfsbase_r32, Code::Wrfsbase_r64];
    let is_fs = of_fs.iter().any(|form| i.opcode == crate::decode::Opcode::of(*form));
    Ok(if is_fs { SegmentIndex::Fs } else { SegmentIndex::Gs })
}

/// `RDFSBASE`, `RDGSBASE`.
fn read_base(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let index = base_register(cpu, i)?;
    let base = cpu.state().segment(index).base;
    cpu.write_gpr(Gpr(i.operands[0].register), i.width, base);
    Ok(())
}

/// `WRFSBASE`, `WRGSBASE`.
fn write_base(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let index = base_register(cpu, i)?;
    let base = cpu.read_integer(i, 0)?;
    require_canonical(cpu.state(), base)?;
    cpu.state_mut().segment_mut(index).base = base;
    Ok(())
}
