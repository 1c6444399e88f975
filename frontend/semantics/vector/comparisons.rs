//! Comparisons that answer in flags and in general-purpose registers: PTEST, VTESTPS, and those of strings.
//! SDM: vol. 2, the entries of the names in the tables; §4.1 (strings).

use dragoman_state::{Gpr, RFlags, Width};

use super::{
    super::{
        BinaryOp, Machine,
        table::{Row, row},
    },
    AVX, SSE, TernaryOp, VectorOp, in_parts,
    lanes::Lane::{D, Q},
};
use crate::{
    decode::{Insn, Kind, Mnemonic},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> [Row<M>; 16] {
    [
        row(Mnemonic::Ptest,        |m, i| test(m, i, VectorOp::Test),         SSE),
        row(Mnemonic::Vptest,       |m, i| test(m, i, VectorOp::Test),         AVX),
        row(Mnemonic::Vtestps,      |m, i| test(m, i, VectorOp::TestSigns(D)), AVX),
        row(Mnemonic::Vtestpd,      |m, i| test(m, i, VectorOp::TestSigns(Q)), AVX),
        row(Mnemonic::Pcmpistri,    |m, i| string_index(m, i, None),               SSE),
        row(Mnemonic::Vpcmpistri,   |m, i| string_index(m, i, None),               AVX),
        row(Mnemonic::Pcmpestri,    |m, i| string_index(m, i, Some(Width::Dword)), SSE),
        row(Mnemonic::Pcmpestri64,  |m, i| string_index(m, i, Some(Width::Qword)), SSE),
        row(Mnemonic::Vpcmpestri,   |m, i| string_index(m, i, Some(Width::Dword)), AVX),
        row(Mnemonic::Vpcmpestri64, |m, i| string_index(m, i, Some(Width::Qword)), AVX),
        row(Mnemonic::Pcmpistrm,    |m, i| string_mask(m, i, None),                SSE),
        row(Mnemonic::Vpcmpistrm,   |m, i| string_mask(m, i, None),                AVX),
        row(Mnemonic::Pcmpestrm,    |m, i| string_mask(m, i, Some(Width::Dword)),  SSE),
        row(Mnemonic::Pcmpestrm64,  |m, i| string_mask(m, i, Some(Width::Qword)),  SSE),
        row(Mnemonic::Vpcmpestrm,   |m, i| string_mask(m, i, Some(Width::Dword)),  AVX),
        row(Mnemonic::Vpcmpestrm64, |m, i| string_mask(m, i, Some(Width::Qword)),  AVX),
    ]
}

/// `PTEST a, b`: each flag is set where it would be for every part.
#[inline(always)]
fn test<M: Machine>(m: &mut M, i: &Insn, op: VectorOp) -> Result<(), Fault> {
    in_parts!(i, test_parts::<M>(m, i, op))
}

#[inline(always)]
fn test_parts<M: Machine, const N: usize>(m: &mut M, i: &Insn, op: VectorOp) -> Result<(), Fault> {
    let b = i.read_vector::<M, N>(m, 1)?;
    let a: [M::Vec; N] = i.register(m, 0);
    let mut image = m.constant(u64::MAX);
    for n in 0..N {
        let flags = m.vector_op(op, a[n], b[n]);
        let flags = m.quadword(flags, 0);
        image = m.binary(BinaryOp::And, Width::Qword, image, flags);
    }
    m.replace_flags(RFlags::ARITHMETIC, image);
    Ok(())
}

/// IntRes2 and the flags of two strings: of so many elements as (E/R)AX and (E/R)DX say at a width, or such that end at a
/// zero. Memory need not be aligned.
fn compare_strings<M: Machine>(m: &mut M, i: &Insn, lengths: Option<Width>) -> Result<M::Vec, Fault> {
    let immediate = i.immediate as u8;
    let [b] = if i.operands[1].kind == Kind::Memory {
        let at = m.address(i);
        m.load_vector(i.segment, at, 1)?
    } else {
        i.register(m, 1)
    };
    let [a] = i.register(m, 0);
    let lengths = match lengths {
        Some(width) => {
            let (a, b) = (m.gpr(Gpr::RAX, width), m.gpr(Gpr::RDX, width));
            let (a, b) = (m.sign_extend(width, Width::Qword, a), m.sign_extend(width, Width::Qword, b));
            m.vector_of(a, b)
        }
        None => m.vector_op(VectorOp::StringLengths(immediate), a, b),
    };
    Ok(m.ternary_op(TernaryOp::CompareStrings(immediate), a, b, lengths))
}

fn set_string_flags<M: Machine>(m: &mut M, result: M::Vec) {
    let flags = m.quadword(result, 1);
    m.replace_flags(RFlags::ARITHMETIC, flags);
}

/// `PCMPESTRI`, `PCMPISTRI`: an index to ECX.
fn string_index<M: Machine>(m: &mut M, i: &Insn, lengths: Option<Width>) -> Result<(), Fault> {
    let result = compare_strings(m, i, lengths)?;
    let index = m.vector_op(VectorOp::StringIndex(i.immediate as u8), result, result);
    let index = m.quadword(index, 0);
    m.set_gpr(Gpr::RCX, Width::Dword, index);
    set_string_flags(m, result);
    Ok(())
}

/// `PCMPESTRM`, `PCMPISTRM`: a mask to XMM0.
fn string_mask<M: Machine>(m: &mut M, i: &Insn, lengths: Option<Width>) -> Result<(), Fault> {
    let result = compare_strings(m, i, lengths)?;
    let mask = m.vector_op(VectorOp::StringMask(i.immediate as u8), result, result);
    i.write_register(m, 0, [mask]);
    set_string_flags(m, result);
    Ok(())
}
