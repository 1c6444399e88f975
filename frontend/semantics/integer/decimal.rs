//! Decimal adjustment: DAA DAS AAA AAS AAM AAD. They exist outside 64-bit mode only, and nothing hot uses them: plain
//! code over the state.
//! SDM: vol. 2, the entries of the same names. Flags the manual leaves undefined are those of the result's low byte.

use dragoman_state::{Gpr, RFlags, Width};

use super::super::{
    Cpu, FlagRule, LazyFlags, Machine,
    table::{Row, helper, row},
};
use crate::{
    decode::{Attributes, Insn, Mnemonic},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> [Row<M>; 6] {
    const PLAIN: Attributes = Attributes::empty();
    [
        row(Mnemonic::Daa, helper!(daa), PLAIN),
        row(Mnemonic::Das, helper!(das), PLAIN),
        row(Mnemonic::Aaa, helper!(aaa), PLAIN),
        row(Mnemonic::Aas, helper!(aas), PLAIN),
        row(Mnemonic::Aam, helper!(aam), PLAIN),
        row(Mnemonic::Aad, helper!(aad), PLAIN),
    ]
}

/// Writes AX and the flags that follow from its low byte, carry and adjust as given.
fn finish(cpu: &mut dyn Cpu, ax: u64, carry: bool, adjust: bool) {
    cpu.write_gpr(Gpr::RAX, Width::Word, ax);
    let mut flags = LazyFlags::literal(RFlags::empty());
    flags.set(FlagRule::Adjust, Width::Byte, 0, u64::from(carry) | u64::from(adjust) << 1, ax & 0xff);
    let state = cpu.state_mut();
    state.rflags = state.rflags.difference(RFlags::ARITHMETIC) | flags.image();
}

/// AX, carry and adjust.
fn start(cpu: &dyn Cpu) -> (u64, bool, bool) {
    let state = cpu.state();
    (state.gpr[Gpr::RAX] & 0xffff, state.rflags.contains(RFlags::CF), state.rflags.contains(RFlags::AF))
}

/// `DAA`: AL becomes two decimal digits after an addition.
fn daa(cpu: &mut dyn Cpu, _: &Insn) -> Result<(), Fault> {
    let (ax, carry, adjust) = start(cpu);
    let al = ax & 0xff;
    let low = al & 0xf > 9 || adjust;
    let high = al > 0x99 || carry;
    let result = al + if low { 6 } else { 0 } + if high { 0x60 } else { 0 };
    finish(cpu, ax & 0xff00 | result & 0xff, high, low);
    Ok(())
}

/// `DAS`: AL becomes two decimal digits after a subtraction.
fn das(cpu: &mut dyn Cpu, _: &Insn) -> Result<(), Fault> {
    let (ax, carry, adjust) = start(cpu);
    let al = ax & 0xff;
    let low = al & 0xf > 9 || adjust;
    let high = al > 0x99 || carry;
    let result = al.wrapping_sub(if low { 6 } else { 0 } + if high { 0x60 } else { 0 });
    let borrow = high || low && (carry || al < 6);
    finish(cpu, ax & 0xff00 | result & 0xff, borrow, low);
    Ok(())
}

/// `AAA`: one unpacked digit after an addition.
fn aaa(cpu: &mut dyn Cpu, _: &Insn) -> Result<(), Fault> {
    let (ax, _, adjust) = start(cpu);
    let carries = ax & 0xf > 9 || adjust;
    let ax = if carries { ax.wrapping_add(0x106) } else { ax };
    finish(cpu, ax & 0xff0f, carries, carries);
    Ok(())
}

/// `AAS`: one unpacked digit after a subtraction.
fn aas(cpu: &mut dyn Cpu, _: &Insn) -> Result<(), Fault> {
    let (ax, _, adjust) = start(cpu);
    let borrows = ax & 0xf > 9 || adjust;
    let ax = if borrows { ax.wrapping_sub(0x106) } else { ax };
    finish(cpu, ax & 0xff0f, borrows, borrows);
    Ok(())
}

/// `AAM base`: AL in two digits.
fn aam(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let (ax, ..) = start(cpu);
    let base = i.immediate & 0xff;
    let al = ax & 0xff;
    let high = al.checked_div(base).ok_or(Fault::DE)?;
    finish(cpu, high << 8 | (al % base), false, false);
    Ok(())
}

/// `AAD base`: AL from two digits.
fn aad(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let (ax, ..) = start(cpu);
    let al = (ax >> 8).wrapping_mul(i.immediate & 0xff).wrapping_add(ax) & 0xff;
    finish(cpu, al, false, false);
    Ok(())
}
