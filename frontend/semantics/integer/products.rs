//! Products and quotients: MUL IMUL DIV IDIV.
//! SDM: vol. 2, the entries of the same names.

use dragoman_state::{Gpr, Width};

use super::super::{
    BinaryOp, FlagRule, Machine, ShiftOp,
    table::{Row, row},
};
use crate::{
    decode::{Attributes, Insn, Kind, Mnemonic},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> [Row<M>; 4] {
    const PLAIN: Attributes = Attributes::empty();
    [
        row(Mnemonic::Mul,  |m, i| wide(m, i, false),     PLAIN),
        row(Mnemonic::Imul, imul,                         PLAIN),
        row(Mnemonic::Div,  |m, i| divide(m, i, false),   PLAIN),
        row(Mnemonic::Idiv, |m, i| divide(m, i, true),    PLAIN),
    ]
}

/// Writes the double-width result of the accumulator forms: AX, or (E/R)DX:(E/R)AX.
#[inline(always)]
fn set_pair<M: Machine>(m: &mut M, width: Width, low: M::Val, high: M::Val) {
    if width == Width::Byte {
        m.set_gpr(Gpr::RAX, Width::Byte, low);
        m.set_high_byte(Gpr::RAX, high);
    } else {
        m.set_gpr(Gpr::RAX, width, low);
        m.set_gpr(Gpr::RDX, width, high);
    }
}

/// `MUL src`, `IMUL src`: the accumulator times src, at double width.
#[inline(always)]
fn wide<M: Machine>(m: &mut M, i: &Insn, is_signed: bool) -> Result<(), Fault> {
    let a = m.gpr(Gpr::RAX, i.width);
    let b = i.read(m, 0)?;
    let (low, high) = m.multiply(is_signed, i.width, a, b);
    set_pair(m, i.width, low, high);
    let lost = if is_signed { unlike_sign(m, i.width, low, high) } else { high };
    m.set_flags(FlagRule::Mul, i.width, a, lost, low);
    Ok(())
}

/// Not zero where `high` is more than the sign of `low`.
#[inline(always)]
fn unlike_sign<M: Machine>(m: &mut M, width: Width, low: M::Val, high: M::Val) -> M::Val {
    let (count, zero) = (m.constant(u64::from(width.bits() - 1)), m.constant(0));
    let sign = m.shift(ShiftOp::Sar, width, low, count, zero);
    m.binary(BinaryOp::Xor, width, sign, high)
}

/// `IMUL` in its one-, two- and three-operand forms.
fn imul<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let factors = match (i.operands[1].kind, i.operands[2].kind) {
        (Kind::None, _) => return wide(m, i, true),
        (_, Kind::None) => (0, 1),
        _ => (1, 2),
    };
    let a = i.read(m, factors.0)?;
    let b = i.read(m, factors.1)?;
    let (low, high) = m.multiply(true, i.width, a, b);
    i.write(m, 0, low)?;
    let lost = unlike_sign(m, i.width, low, high);
    m.set_flags(FlagRule::Mul, i.width, a, lost, low);
    Ok(())
}

/// `DIV src`, `IDIV src`: the double-width accumulator divided by src. The flags keep their values.
#[inline(always)]
fn divide<M: Machine>(m: &mut M, i: &Insn, is_signed: bool) -> Result<(), Fault> {
    let divisor = i.read(m, 0)?;
    let low = m.gpr(Gpr::RAX, i.width);
    let high = if i.width == Width::Byte { m.high_byte(Gpr::RAX) } else { m.gpr(Gpr::RDX, i.width) };
    let (quotient, remainder) = m.divide(is_signed, i.width, high, low, divisor)?;
    set_pair(m, i.width, quotient, remainder);
    Ok(())
}
