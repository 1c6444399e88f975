//! String instructions: MOVS CMPS SCAS LODS STOS, alone and repeated. INS and OUTS are in the system families.
//!
//! A repeated instruction does a bounded piece of its work at a time: the registers say how far it came, and RIP stays
//! on it until it is done, so that interrupts are taken between elements and a fault leaves what was done before it.
//! SDM: vol. 2, REP and the entries of the same names; vol. 1 §7.3.9.

use dragoman_state::{Gpr, GuestVirt, RFlags, SegmentIndex, Width};

use super::super::{
    Cpu, FlagRule, LazyFlags, Machine, Privilege, segmentation,
    table::{Row, helper, row},
};
use crate::{
    decode::{Attributes, Insn, InsnFlags, Mnemonic, SegmentUse},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> Vec<Row<M>> {
    use Mnemonic::*;
    const PLAIN: Attributes = Attributes::empty();
    let mut rows = Vec::new();
    // MOVSD and CMPSD are also the names of vector instructions, whose own rows take precedence.
    for name in [Movsb, Movsw, Movsd, Movsq] { rows.push(row(name, helper!(movs), PLAIN)); }
    for name in [Cmpsb, Cmpsw, Cmpsd, Cmpsq] { rows.push(row(name, helper!(cmps), PLAIN)); }
    for name in [Scasb, Scasw, Scasd, Scasq] { rows.push(row(name, helper!(scas), PLAIN)); }
    for name in [Lodsb, Lodsw, Lodsd, Lodsq] { rows.push(row(name, helper!(lods), PLAIN)); }
    for name in [Stosb, Stosw, Stosd, Stosq] { rows.push(row(name, helper!(stos), PLAIN)); }
    rows
}

/// How many elements a repeated instruction does before it lets the engine look for interrupts.
const ELEMENTS_AT_ONCE: u64 = 1024;

/// One string instruction under way: where its elements are and which way it goes.
#[derive(Clone, Copy)]
pub(in super::super) struct Strings {
    /// Size of an element.
    pub width: Width,
    address_width: Width,
    source: SegmentUse,
    destination: SegmentUse,
    step: u64,
}

impl Strings {
    pub(in super::super) fn new(cpu: &dyn Cpu, i: &Insn) -> Self {
        let state = cpu.state();
        let size = i.width.bytes();
        Self {
            width: i.width,
            address_width: i.address_width,
            source: i.segment,
            destination: if state.is_64bit() {
                SegmentUse::flat(SegmentIndex::Es)
            } else {
                SegmentUse::checked(SegmentIndex::Es)
            },
            step: if state.rflags.contains(RFlags::DF) { size.wrapping_neg() } else { size },
        }
    }

    /// The linear address of the element that (E/R)SI points at.
    pub(in super::super) fn source(self, cpu: &dyn Cpu) -> Result<GuestVirt, Fault> {
        let offset = self.address_width.truncate(cpu.state().gpr[Gpr::RSI]);
        segmentation::linear(cpu.state(), self.source, offset, self.width.bytes(), false)
    }

    /// The linear address of the element that (E/R)DI points at.
    pub(in super::super) fn destination(self, cpu: &dyn Cpu, is_write: bool) -> Result<GuestVirt, Fault> {
        let offset = self.address_width.truncate(cpu.state().gpr[Gpr::RDI]);
        segmentation::linear(cpu.state(), self.destination, offset, self.width.bytes(), is_write)
    }

    /// Moves `register` on by `elements`.
    pub(in super::super) fn advance(self, cpu: &mut dyn Cpu, register: Gpr, elements: u64) {
        let next = cpu.state().gpr[register].wrapping_add(self.step.wrapping_mul(elements));
        cpu.write_gpr(register, self.address_width, next);
    }

    /// How many of `count` elements may be done as one piece of memory, going upwards from where `register` points:
    /// neither the register nor the segment's limit may be passed.
    fn run_length(self, cpu: &dyn Cpu, count: u64, register: Gpr, segment: SegmentUse) -> u64 {
        let offset = self.address_width.truncate(cpu.state().gpr[register]);
        let mut last = self.address_width.mask();
        if segment.is_checked() {
            let cached = cpu.state().segment(segment.index());
            if cached.attributes.is_expand_down() {
                return 0;
            }
            last = last.min(cached.limit.into());
        }
        if self.step != self.width.bytes() || offset > last {
            return 0;
        }
        count.min((last - offset) / self.width.bytes())
    }
}

/// Runs `once` as often as the prefix asks, or up to a bound and stays on the instruction. `once` does at most the
/// elements it is given and says how many it did and whether the repetition is over for another reason than its count.
pub(in super::super) fn repeat(
    cpu: &mut dyn Cpu,
    i: &Insn,
    mut once: impl FnMut(&mut dyn Cpu, u64) -> Result<(u64, bool), Fault>,
) -> Result<(), Fault> {
    if !i.is_repeated() {
        return once(cpu, 1).map(|_| ());
    }
    // A debugger wants to see every element.
    let state = cpu.state();
    let is_watched = state.rflags.contains(RFlags::TF) || state.dr7.has_any();
    let mut budget = if is_watched { 1 } else { ELEMENTS_AT_ONCE };
    // An element that faults leaves the flags as they were before the first. SDM: vol. 2, REP.
    let flags = cpu.state().rflags;
    loop {
        let count = i.address_width.truncate(cpu.state().gpr[Gpr::RCX]);
        if count == 0 {
            return Ok(());
        }
        let (done, is_over) = match once(cpu, count.min(budget)) {
            Ok(done) => done,
            Err(fault) => {
                cpu.state_mut().rflags = flags;
                return Err(fault);
            }
        };
        cpu.write_gpr(Gpr::RCX, i.address_width, count - done);
        if is_over || count == done {
            return Ok(());
        }
        budget = budget.saturating_sub(done);
        if budget == 0 {
            let state = cpu.state_mut();
            state.rip = state.rip.wrapping_sub(i.length.into());
            // What interrupts it here saves RF set, so that a breakpoint on it is not met again. SDM: vol. 3 §17.3.1.1.
            state.rflags |= RFlags::RF;
            return Ok(());
        }
    }
}

/// `MOVS`: the element at ES:DI ← the element at SI.
fn movs(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let strings = Strings::new(cpu, i);
    repeat(cpu, i, |cpu, count| {
        let from = strings.source(cpu)?;
        let to = strings.destination(cpu, true)?;
        let run = strings.run_length(cpu, count, Gpr::RSI, strings.source);
        let run = strings.run_length(cpu, run, Gpr::RDI, strings.destination);
        let mut done = if run > 1 { cpu.copy_run(to, from, strings.width, run) } else { 0 };
        if done == 0 {
            let value = cpu.read(from, strings.width, Privilege::Current)?;
            cpu.write(to, strings.width, value, Privilege::Current)?;
            done = 1;
        }
        strings.advance(cpu, Gpr::RSI, done);
        strings.advance(cpu, Gpr::RDI, done);
        Ok((done, false))
    })
}

/// `STOS`: the element at ES:DI ← the accumulator.
fn stos(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let strings = Strings::new(cpu, i);
    repeat(cpu, i, |cpu, count| {
        let to = strings.destination(cpu, true)?;
        let value = strings.width.truncate(cpu.state().gpr[Gpr::RAX]);
        let run = strings.run_length(cpu, count, Gpr::RDI, strings.destination);
        let mut done = if run > 1 { cpu.fill_run(to, strings.width, value, run) } else { 0 };
        if done == 0 {
            cpu.write(to, strings.width, value, Privilege::Current)?;
            done = 1;
        }
        strings.advance(cpu, Gpr::RDI, done);
        Ok((done, false))
    })
}

/// `LODS`: the accumulator ← the element at SI.
fn lods(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let strings = Strings::new(cpu, i);
    repeat(cpu, i, |cpu, _| {
        let from = strings.source(cpu)?;
        let value = cpu.read(from, strings.width, Privilege::Current)?;
        cpu.write_gpr(Gpr::RAX, strings.width, value);
        strings.advance(cpu, Gpr::RSI, 1);
        Ok((1, false))
    })
}

/// Sets the flags of a - b, and says whether the repetition ends: REPE goes on while equal, REPNE while not.
fn compare(cpu: &mut dyn Cpu, i: &Insn, a: u64, b: u64) -> bool {
    let mut flags = LazyFlags::literal(RFlags::empty());
    flags.set(FlagRule::Sub, i.width, a, b, i.width.truncate(a.wrapping_sub(b)));
    let state = cpu.state_mut();
    state.rflags = state.rflags.difference(RFlags::ARITHMETIC) | flags.image();
    (a == b) == i.flags.contains(InsnFlags::REPNE)
}

/// `CMPS`: the flags of the element at SI less the element at ES:DI.
fn cmps(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let strings = Strings::new(cpu, i);
    repeat(cpu, i, |cpu, _| {
        let (from, with) = (strings.source(cpu)?, strings.destination(cpu, false)?);
        // The order is seen only where both fault.
        let b = cpu.read(with, strings.width, Privilege::Current)?;
        let a = cpu.read(from, strings.width, Privilege::Current)?;
        strings.advance(cpu, Gpr::RSI, 1);
        strings.advance(cpu, Gpr::RDI, 1);
        Ok((1, compare(cpu, i, a, b)))
    })
}

/// `SCAS`: the flags of the accumulator less the element at ES:DI.
fn scas(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let strings = Strings::new(cpu, i);
    repeat(cpu, i, |cpu, _| {
        let with = strings.destination(cpu, false)?;
        let a = strings.width.truncate(cpu.state().gpr[Gpr::RAX]);
        let b = cpu.read(with, strings.width, Privilege::Current)?;
        strings.advance(cpu, Gpr::RDI, 1);
        Ok((1, compare(cpu, i, a, b)))
    })
}
