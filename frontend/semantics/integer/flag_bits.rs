//! Instructions about flags: CLC STC CMC CLD STD LAHF SAHF SALC. CLI, STI and POPF are in the system families.
//! SDM: vol. 2, the entries of the same names.

use dragoman_state::{Gpr, RFlags, Width};

use super::super::{
    BinaryOp, Machine, UnaryOp,
    table::{Row, row},
};
use crate::{
    decode::{Attributes, Insn, Mnemonic},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> [Row<M>; 8] {
    const PLAIN: Attributes = Attributes::empty();
    [
        row(Mnemonic::Clc,  |m, _| replace(m, RFlags::CF, false), PLAIN),
        row(Mnemonic::Stc,  |m, _| replace(m, RFlags::CF, true),  PLAIN),
        row(Mnemonic::Cld,  |m, _| replace(m, RFlags::DF, false), PLAIN),
        row(Mnemonic::Std,  |m, _| replace(m, RFlags::DF, true),  PLAIN),
        row(Mnemonic::Cmc,  cmc,                                  PLAIN),
        row(Mnemonic::Lahf, lahf,                                 PLAIN),
        row(Mnemonic::Sahf, sahf,                                 PLAIN),
        row(Mnemonic::Salc, salc,                                 PLAIN),
    ]
}

/// The flags that LAHF and SAHF move.
const LOW: RFlags = RFlags::ARITHMETIC.difference(RFlags::OF);

/// Sets or clears `flag`.
#[inline(always)]
fn replace<M: Machine>(m: &mut M, flag: RFlags, is_set: bool) -> Result<(), Fault> {
    let image = m.constant(if is_set { flag.bits() } else { 0 });
    m.replace_flags(flag, image);
    Ok(())
}

/// `CMC`: carry inverted.
fn cmc<M: Machine>(m: &mut M, _: &Insn) -> Result<(), Fault> {
    let (carry, one) = (m.flag(RFlags::CF), m.constant(1));
    let inverted = m.binary(BinaryOp::Xor, Width::Qword, carry, one);
    m.replace_flags(RFlags::CF, inverted);
    Ok(())
}

/// `LAHF`: AH ← SF ZF 0 AF 0 PF 1 CF.
fn lahf<M: Machine>(m: &mut M, _: &Insn) -> Result<(), Fault> {
    let (flags, mask) = (m.flags(), m.constant((LOW | RFlags::FIXED).bits()));
    let low = m.binary(BinaryOp::And, Width::Byte, flags, mask);
    m.set_high_byte(Gpr::RAX, low);
    Ok(())
}

/// `SAHF`: SF ZF AF PF CF ← AH.
fn sahf<M: Machine>(m: &mut M, _: &Insn) -> Result<(), Fault> {
    let image = m.high_byte(Gpr::RAX);
    m.replace_flags(LOW, image);
    Ok(())
}

/// `SALC`: AL ← carry in every bit. Not in the manual, and in every processor since the first.
fn salc<M: Machine>(m: &mut M, _: &Insn) -> Result<(), Fault> {
    let carry = m.flag(RFlags::CF);
    let value = m.unary(UnaryOp::Neg, Width::Byte, carry);
    m.set_gpr(Gpr::RAX, Width::Byte, value);
    Ok(())
}
