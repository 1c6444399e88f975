//! Floating-point arithmetic and comparison.
//! SDM: vol. 2, the entries of the names in the tables.

use dragoman_state::RFlags;

use super::{
    super::{
        Machine,
        table::{Row, code, row},
    },
    AVX, FloatOp, SSE,
    across::Across as A,
    float::{
        Arithmetic::{Add, Div, Max, Min, Mul, Sqrt, Sub},
        Shape::{Pd, Ps, Sd, Ss},
    },
    in_parts,
};
use crate::{
    decode::{Code, Insn, Mnemonic},
    fault::Fault,
};

/// Rows for the four shapes of one operation, in the old encoding and in VEX; `$packed` handles whole vectors.
macro_rules! shapes {
    ($rows:ident, $op:expr, $packed:ident, $ps:ident $pd:ident $ss:ident $sd:ident, $vps:ident $vpd:ident $vss:ident $vsd:ident) => {
        $rows.push(row(Mnemonic::$ps, |m: &mut M, i: &Insn| $packed(m, i, FloatOp::Arithmetic($op, Ps)), SSE));
        $rows.push(row(Mnemonic::$pd, |m: &mut M, i: &Insn| $packed(m, i, FloatOp::Arithmetic($op, Pd)), SSE));
        $rows.push(row(Mnemonic::$ss, |m: &mut M, i: &Insn| float(m, i, FloatOp::Arithmetic($op, Ss)), SSE));
        $rows.push(row(Mnemonic::$sd, |m: &mut M, i: &Insn| float(m, i, FloatOp::Arithmetic($op, Sd)), SSE));
        $rows.push(row(Mnemonic::$vps, |m: &mut M, i: &Insn| $packed(m, i, FloatOp::Arithmetic($op, Ps)), AVX));
        $rows.push(row(Mnemonic::$vpd, |m: &mut M, i: &Insn| $packed(m, i, FloatOp::Arithmetic($op, Pd)), AVX));
        $rows.push(row(Mnemonic::$vss, |m: &mut M, i: &Insn| float(m, i, FloatOp::Arithmetic($op, Ss)), AVX));
        $rows.push(row(Mnemonic::$vsd, |m: &mut M, i: &Insn| float(m, i, FloatOp::Arithmetic($op, Sd)), AVX));
    };
}

/// Rows for both formats of an operation across lanes, in the old encoding and in VEX.
macro_rules! across {
    ($rows:ident, $op:expr, $ps:ident $pd:ident, $vps:ident $vpd:ident) => {
        $rows.push(row(Mnemonic::$ps, |m: &mut M, i: &Insn| float(m, i, FloatOp::Across { op: $op, is_double: false }), SSE));
        $rows.push(row(Mnemonic::$pd, |m: &mut M, i: &Insn| float(m, i, FloatOp::Across { op: $op, is_double: true }), SSE));
        $rows.push(row(Mnemonic::$vps, |m: &mut M, i: &Insn| float(m, i, FloatOp::Across { op: $op, is_double: false }), AVX));
        $rows.push(row(Mnemonic::$vpd, |m: &mut M, i: &Insn| float(m, i, FloatOp::Across { op: $op, is_double: true }), AVX));
    };
}

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> Vec<Row<M>> {
    use FloatOp as F;
    let mut rows: Vec<Row<M>> = vec![
        row(Mnemonic::Cmpps,     |m, i| float(m, i, F::Compare(i.immediate as u8 & 7, Ps)),  SSE),
        row(Mnemonic::Cmppd,     |m, i| float(m, i, F::Compare(i.immediate as u8 & 7, Pd)),  SSE),
        row(Mnemonic::Cmpss,     |m, i| float(m, i, F::Compare(i.immediate as u8 & 7, Ss)),  SSE),
        code(Code::Cmpsd_xmm_xmmm64_imm8, |m, i| float(m, i, F::Compare(i.immediate as u8 & 7, Sd)), SSE),
        row(Mnemonic::Vcmpps,    |m, i| float(m, i, F::Compare(i.immediate as u8 & 31, Ps)), AVX),
        row(Mnemonic::Vcmppd,    |m, i| float(m, i, F::Compare(i.immediate as u8 & 31, Pd)), AVX),
        row(Mnemonic::Vcmpss,    |m, i| float(m, i, F::Compare(i.immediate as u8 & 31, Ss)), AVX),
        row(Mnemonic::Vcmpsd,    |m, i| float(m, i, F::Compare(i.immediate as u8 & 31, Sd)), AVX),
        row(Mnemonic::Comiss,    |m, i| order(m, i, F::Order { is_double: false, is_quiet: false }), SSE),
        row(Mnemonic::Comisd,    |m, i| order(m, i, F::Order { is_double: true, is_quiet: false }),  SSE),
        row(Mnemonic::Ucomiss,   |m, i| order(m, i, F::Order { is_double: false, is_quiet: true }),  SSE),
        row(Mnemonic::Ucomisd,   |m, i| order(m, i, F::Order { is_double: true, is_quiet: true }),   SSE),
        row(Mnemonic::Vcomiss,   |m, i| order(m, i, F::Order { is_double: false, is_quiet: false }), AVX),
        row(Mnemonic::Vcomisd,   |m, i| order(m, i, F::Order { is_double: true, is_quiet: false }),  AVX),
        row(Mnemonic::Vucomiss,  |m, i| order(m, i, F::Order { is_double: false, is_quiet: true }),  AVX),
        row(Mnemonic::Vucomisd,  |m, i| order(m, i, F::Order { is_double: true, is_quiet: true }),   AVX),
        row(Mnemonic::Roundps,   |m, i| float_of_one(m, i, F::Round(i.immediate as u8, Ps)), SSE),
        row(Mnemonic::Roundpd,   |m, i| float_of_one(m, i, F::Round(i.immediate as u8, Pd)), SSE),
        row(Mnemonic::Roundss,   |m, i| float(m, i, F::Round(i.immediate as u8, Ss)), SSE),
        row(Mnemonic::Roundsd,   |m, i| float(m, i, F::Round(i.immediate as u8, Sd)), SSE),
        row(Mnemonic::Vroundps,  |m, i| float_of_one(m, i, F::Round(i.immediate as u8, Ps)), AVX),
        row(Mnemonic::Vroundpd,  |m, i| float_of_one(m, i, F::Round(i.immediate as u8, Pd)), AVX),
        row(Mnemonic::Vroundss,  |m, i| float(m, i, F::Round(i.immediate as u8, Ss)), AVX),
        row(Mnemonic::Vroundsd,  |m, i| float(m, i, F::Round(i.immediate as u8, Sd)), AVX),
        row(Mnemonic::Dpps,      |m, i| float(m, i, F::DotProduct { immediate: i.immediate as u8, is_double: false }), SSE),
        row(Mnemonic::Dppd,      |m, i| float(m, i, F::DotProduct { immediate: i.immediate as u8, is_double: true }),  SSE),
        row(Mnemonic::Vdpps,     |m, i| float(m, i, F::DotProduct { immediate: i.immediate as u8, is_double: false }), AVX),
        row(Mnemonic::Vdppd,     |m, i| float(m, i, F::DotProduct { immediate: i.immediate as u8, is_double: true }),  AVX),
        row(Mnemonic::Rcpps,     |m, i| float_of_one(m, i, F::Reciprocal(Ps)),     SSE),
        row(Mnemonic::Rcpss,     |m, i| float(m, i, F::Reciprocal(Ss)),            SSE),
        row(Mnemonic::Rsqrtps,   |m, i| float_of_one(m, i, F::ReciprocalRoot(Ps)), SSE),
        row(Mnemonic::Rsqrtss,   |m, i| float(m, i, F::ReciprocalRoot(Ss)),        SSE),
        row(Mnemonic::Vrcpps,    |m, i| float_of_one(m, i, F::Reciprocal(Ps)),     AVX),
        row(Mnemonic::Vrcpss,    |m, i| float(m, i, F::Reciprocal(Ss)),            AVX),
        row(Mnemonic::Vrsqrtps,  |m, i| float_of_one(m, i, F::ReciprocalRoot(Ps)), AVX),
        row(Mnemonic::Vrsqrtss,  |m, i| float(m, i, F::ReciprocalRoot(Ss)),        AVX),
    ];
    across!(rows, A::AddSub, Addsubps Addsubpd, Vaddsubps Vaddsubpd);
    across!(rows, A::Add,    Haddps   Haddpd,   Vhaddps   Vhaddpd);
    across!(rows, A::Sub,    Hsubps   Hsubpd,   Vhsubps   Vhsubpd);
    shapes!(rows, Add,  float,        Addps Addpd Addss Addsd,     Vaddps Vaddpd Vaddss Vaddsd);
    shapes!(rows, Sub,  float,        Subps Subpd Subss Subsd,     Vsubps Vsubpd Vsubss Vsubsd);
    shapes!(rows, Mul,  float,        Mulps Mulpd Mulss Mulsd,     Vmulps Vmulpd Vmulss Vmulsd);
    shapes!(rows, Div,  float,        Divps Divpd Divss Divsd,     Vdivps Vdivpd Vdivss Vdivsd);
    shapes!(rows, Min,  float,        Minps Minpd Minss Minsd,     Vminps Vminpd Vminss Vminsd);
    shapes!(rows, Max,  float,        Maxps Maxpd Maxss Maxsd,     Vmaxps Vmaxpd Vmaxss Vmaxsd);
    shapes!(rows, Sqrt, float_of_one, Sqrtps Sqrtpd Sqrtss Sqrtsd, Vsqrtps Vsqrtpd Vsqrtss Vsqrtsd);
    rows
}

/// `op dst, src` and `op dst, a, src`.
#[inline(always)]
pub(super) fn float<M: Machine>(m: &mut M, i: &Insn, op: FloatOp) -> Result<(), Fault> {
    in_parts!(i, float_parts::<M>(m, i, op))
}

#[inline(always)]
fn float_parts<M: Machine, const N: usize>(m: &mut M, i: &Insn, op: FloatOp) -> Result<(), Fault> {
    let (first, second) = i.sources();
    let b = i.read_vector::<M, N>(m, second)?;
    let a = i.register(m, first);
    let result = m.float_op(op, a, b)?;
    i.write_vector(m, result);
    Ok(())
}

/// `op dst, src`, of the source alone.
#[inline(always)]
pub(super) fn float_of_one<M: Machine>(m: &mut M, i: &Insn, op: FloatOp) -> Result<(), Fault> {
    in_parts!(i, float_of_one_parts::<M>(m, i, op))
}

#[inline(always)]
fn float_of_one_parts<M: Machine, const N: usize>(m: &mut M, i: &Insn, op: FloatOp) -> Result<(), Fault> {
    let b = i.read_vector::<M, N>(m, 1)?;
    let result = m.float_op(op, b, b)?;
    i.write_vector(m, result);
    Ok(())
}

/// `COMIS`, `UCOMIS`: ZF, PF and CF say how the operands compare; OF, AF and SF are cleared.
#[inline(always)]
fn order<M: Machine>(m: &mut M, i: &Insn, op: FloatOp) -> Result<(), Fault> {
    let b = i.read_vector::<M, 1>(m, 1)?;
    let a = i.register(m, 0);
    let [image] = m.float_op(op, a, b)?;
    let image = m.quadword(image, 0);
    m.replace_flags(RFlags::ARITHMETIC, image);
    Ok(())
}
