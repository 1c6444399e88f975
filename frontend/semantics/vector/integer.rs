//! Integer arithmetic on vectors: the packed instructions of MMX, SSE2 and AVX registers that take two sources.
//! SDM: vol. 2, the entries of the names in the tables.

use super::{
    super::{
        Machine,
        table::{Row, code, row},
    },
    AVX, MMX, SSE, VectorOp,
    horizontal::Horizontal as H,
    in_parts,
    lanes::Lane::{B, D, Q, W},
    products::Product as P,
    shuffles::pack_mmx,
};
use crate::{
    decode::{Code, Insn, Mnemonic},
    fault::Fault,
};

/// Rows for the MMX, the SSE2 and the VEX encodings of one operation.
macro_rules! all {
    ($rows:ident, $op:expr, $mmx:ident, $sse:ident, $vex:ident) => {
        $rows.push(code(Code::$mmx, |m: &mut M, i: &Insn| mmx(m, i, $op), MMX));
        $rows.push(code(Code::$sse, |m: &mut M, i: &Insn| packed(m, i, $op), SSE));
        $rows.push(row(Mnemonic::$vex, |m: &mut M, i: &Insn| packed(m, i, $op), AVX));
    };
}

/// The same of operations that look at the second operand alone.
macro_rules! magnitudes {
    ($rows:ident, $op:expr, $mmx:ident, $sse:ident, $vex:ident) => {
        $rows.push(code(Code::$mmx, |m: &mut M, i: &Insn| mmx_of_one(m, i, $op), MMX));
        $rows.push(code(Code::$sse, |m: &mut M, i: &Insn| packed_of_one(m, i, $op), SSE));
        $rows.push(row(Mnemonic::$vex, |m: &mut M, i: &Insn| packed_of_one(m, i, $op), AVX));
    };
}

/// The same of operations on neighbours.
macro_rules! neighbours {
    ($rows:ident, $op:expr, $mmx:ident, $sse:ident, $vex:ident) => {
        $rows.push(code(Code::$mmx, |m: &mut M, i: &Insn| pack_mmx(m, i, $op), MMX));
        $rows.push(code(Code::$sse, |m: &mut M, i: &Insn| packed(m, i, $op), SSE));
        $rows.push(row(Mnemonic::$vex, |m: &mut M, i: &Insn| packed(m, i, $op), AVX));
    };
}

/// Rows for the SSE and the VEX encodings of an operation that MMX lacks.
macro_rules! vectors {
    ($rows:ident, $op:expr, $sse:ident, $vex:ident) => {
        $rows.push(row(Mnemonic::$sse, |m: &mut M, i: &Insn| packed(m, i, $op), SSE));
        $rows.push(row(Mnemonic::$vex, |m: &mut M, i: &Insn| packed(m, i, $op), AVX));
    };
}

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> Vec<Row<M>> {
    use VectorOp as V;
    let mut rows: Vec<Row<M>> = Vec::with_capacity(220);
    all!(rows, V::Add(B),                Paddb_mm_mmm64,    Paddb_xmm_xmmm128,   Vpaddb);
    all!(rows, V::Add(W),                Paddw_mm_mmm64,    Paddw_xmm_xmmm128,   Vpaddw);
    all!(rows, V::Add(D),                Paddd_mm_mmm64,    Paddd_xmm_xmmm128,   Vpaddd);
    all!(rows, V::Add(Q),                Paddq_mm_mmm64,    Paddq_xmm_xmmm128,   Vpaddq);
    all!(rows, V::Sub(B),                Psubb_mm_mmm64,    Psubb_xmm_xmmm128,   Vpsubb);
    all!(rows, V::Sub(W),                Psubw_mm_mmm64,    Psubw_xmm_xmmm128,   Vpsubw);
    all!(rows, V::Sub(D),                Psubd_mm_mmm64,    Psubd_xmm_xmmm128,   Vpsubd);
    all!(rows, V::Sub(Q),                Psubq_mm_mmm64,    Psubq_xmm_xmmm128,   Vpsubq);
    all!(rows, V::AddSigned(B),          Paddsb_mm_mmm64,   Paddsb_xmm_xmmm128,  Vpaddsb);
    all!(rows, V::AddSigned(W),          Paddsw_mm_mmm64,   Paddsw_xmm_xmmm128,  Vpaddsw);
    all!(rows, V::AddUnsigned(B),        Paddusb_mm_mmm64,  Paddusb_xmm_xmmm128, Vpaddusb);
    all!(rows, V::AddUnsigned(W),        Paddusw_mm_mmm64,  Paddusw_xmm_xmmm128, Vpaddusw);
    all!(rows, V::SubSigned(B),          Psubsb_mm_mmm64,   Psubsb_xmm_xmmm128,  Vpsubsb);
    all!(rows, V::SubSigned(W),          Psubsw_mm_mmm64,   Psubsw_xmm_xmmm128,  Vpsubsw);
    all!(rows, V::SubUnsigned(B),        Psubusb_mm_mmm64,  Psubusb_xmm_xmmm128, Vpsubusb);
    all!(rows, V::SubUnsigned(W),        Psubusw_mm_mmm64,  Psubusw_xmm_xmmm128, Vpsubusw);
    all!(rows, V::MultiplyLow,           Pmullw_mm_mmm64,   Pmullw_xmm_xmmm128,  Vpmullw);
    all!(rows, V::MultiplyHigh,          Pmulhw_mm_mmm64,   Pmulhw_xmm_xmmm128,  Vpmulhw);
    all!(rows, V::MultiplyHighUnsigned,  Pmulhuw_mm_mmm64,  Pmulhuw_xmm_xmmm128, Vpmulhuw);
    all!(rows, V::MultiplyWide,          Pmuludq_mm_mmm64,  Pmuludq_xmm_xmmm128, Vpmuludq);
    all!(rows, V::MultiplyAdd,           Pmaddwd_mm_mmm64,  Pmaddwd_xmm_xmmm128, Vpmaddwd);
    all!(rows, V::SumOfDifferences,      Psadbw_mm_mmm64,   Psadbw_xmm_xmmm128,  Vpsadbw);
    all!(rows, V::Average(B),            Pavgb_mm_mmm64,    Pavgb_xmm_xmmm128,   Vpavgb);
    all!(rows, V::Average(W),            Pavgw_mm_mmm64,    Pavgw_xmm_xmmm128,   Vpavgw);
    all!(rows, V::MaxUnsigned(B),        Pmaxub_mm_mmm64,   Pmaxub_xmm_xmmm128,  Vpmaxub);
    all!(rows, V::MinUnsigned(B),        Pminub_mm_mmm64,   Pminub_xmm_xmmm128,  Vpminub);
    all!(rows, V::MaxSigned(W),          Pmaxsw_mm_mmm64,   Pmaxsw_xmm_xmmm128,  Vpmaxsw);
    all!(rows, V::MinSigned(W),          Pminsw_mm_mmm64,   Pminsw_xmm_xmmm128,  Vpminsw);
    all!(rows, V::Equal(B),              Pcmpeqb_mm_mmm64,  Pcmpeqb_xmm_xmmm128, Vpcmpeqb);
    all!(rows, V::Equal(W),              Pcmpeqw_mm_mmm64,  Pcmpeqw_xmm_xmmm128, Vpcmpeqw);
    all!(rows, V::Equal(D),              Pcmpeqd_mm_mmm64,  Pcmpeqd_xmm_xmmm128, Vpcmpeqd);
    all!(rows, V::Greater(B),            Pcmpgtb_mm_mmm64,  Pcmpgtb_xmm_xmmm128, Vpcmpgtb);
    all!(rows, V::Greater(W),            Pcmpgtw_mm_mmm64,  Pcmpgtw_xmm_xmmm128, Vpcmpgtw);
    all!(rows, V::Greater(D),            Pcmpgtd_mm_mmm64,  Pcmpgtd_xmm_xmmm128, Vpcmpgtd);
    all!(rows, V::And,                   Pand_mm_mmm64,     Pand_xmm_xmmm128,    Vpand);
    all!(rows, V::AndNot,                Pandn_mm_mmm64,    Pandn_xmm_xmmm128,   Vpandn);
    all!(rows, V::Or,                    Por_mm_mmm64,      Por_xmm_xmmm128,     Vpor);
    all!(rows, V::Xor,                   Pxor_mm_mmm64,     Pxor_xmm_xmmm128,    Vpxor);
    all!(rows, V::Product(P::AddBytes),          Pmaddubsw_mm_mmm64, Pmaddubsw_xmm_xmmm128, Vpmaddubsw);
    all!(rows, V::Product(P::RoundedHigh),       Pmulhrsw_mm_mmm64, Pmulhrsw_xmm_xmmm128, Vpmulhrsw);
    all!(rows, V::Product(P::Signs(B)),          Psignb_mm_mmm64,   Psignb_xmm_xmmm128,  Vpsignb);
    all!(rows, V::Product(P::Signs(W)),          Psignw_mm_mmm64,   Psignw_xmm_xmmm128,  Vpsignw);
    all!(rows, V::Product(P::Signs(D)),          Psignd_mm_mmm64,   Psignd_xmm_xmmm128,  Vpsignd);
    magnitudes!(rows, V::Product(P::Magnitudes(B)),     Pabsb_mm_mmm64,    Pabsb_xmm_xmmm128,   Vpabsb);
    magnitudes!(rows, V::Product(P::Magnitudes(W)),     Pabsw_mm_mmm64,    Pabsw_xmm_xmmm128,   Vpabsw);
    magnitudes!(rows, V::Product(P::Magnitudes(D)),     Pabsd_mm_mmm64,    Pabsd_xmm_xmmm128,   Vpabsd);
    neighbours!(rows, V::Horizontal(H::Add(W)),         Phaddw_mm_mmm64,   Phaddw_xmm_xmmm128,  Vphaddw);
    neighbours!(rows, V::Horizontal(H::Add(D)),         Phaddd_mm_mmm64,   Phaddd_xmm_xmmm128,  Vphaddd);
    neighbours!(rows, V::Horizontal(H::AddSaturating),  Phaddsw_mm_mmm64,  Phaddsw_xmm_xmmm128, Vphaddsw);
    neighbours!(rows, V::Horizontal(H::Sub(W)),         Phsubw_mm_mmm64,   Phsubw_xmm_xmmm128,  Vphsubw);
    neighbours!(rows, V::Horizontal(H::Sub(D)),         Phsubd_mm_mmm64,   Phsubd_xmm_xmmm128,  Vphsubd);
    neighbours!(rows, V::Horizontal(H::SubSaturating),  Phsubsw_mm_mmm64,  Phsubsw_xmm_xmmm128, Vphsubsw);
    vectors!(rows, V::Product(P::WideSigned),    Pmuldq,   Vpmuldq);
    vectors!(rows, V::Product(P::LowDwords),     Pmulld,   Vpmulld);
    vectors!(rows, V::MaxSigned(B),              Pmaxsb,   Vpmaxsb);
    vectors!(rows, V::MaxSigned(D),              Pmaxsd,   Vpmaxsd);
    vectors!(rows, V::MaxUnsigned(W),            Pmaxuw,   Vpmaxuw);
    vectors!(rows, V::MaxUnsigned(D),            Pmaxud,   Vpmaxud);
    vectors!(rows, V::MinSigned(B),              Pminsb,   Vpminsb);
    vectors!(rows, V::MinSigned(D),              Pminsd,   Vpminsd);
    vectors!(rows, V::MinUnsigned(W),            Pminuw,   Vpminuw);
    vectors!(rows, V::MinUnsigned(D),            Pminud,   Vpminud);
    vectors!(rows, V::Equal(Q),                  Pcmpeqq,  Vpcmpeqq);
    vectors!(rows, V::Greater(Q),                Pcmpgtq,  Vpcmpgtq);
    vectors!(rows, V::PackUnsignedDwords,        Packusdw, Vpackusdw);
    rows.push(row(Mnemonic::Mpsadbw,     |m, i| packed(m, i, V::Horizontal(H::SumsOfDifferences(i.immediate as u8))), SSE));
    rows.push(row(Mnemonic::Vmpsadbw,    |m, i| packed_by(m, i, |part| V::Horizontal(H::SumsOfDifferences(i.immediate as u8 >> (3 * part)))), AVX));
    rows.push(row(Mnemonic::Phminposuw,  |m, i| packed_of_one(m, i, V::Horizontal(H::LeastWord)), SSE));
    rows.push(row(Mnemonic::Vphminposuw, |m, i| packed_of_one(m, i, V::Horizontal(H::LeastWord)), AVX));
    for form in [Code::Andps_xmm_xmmm128, Code::Andpd_xmm_xmmm128]   { rows.push(code(form, |m, i| packed(m, i, V::And), SSE)); }
    for form in [Code::Andnps_xmm_xmmm128, Code::Andnpd_xmm_xmmm128] { rows.push(code(form, |m, i| packed(m, i, V::AndNot), SSE)); }
    for form in [Code::Orps_xmm_xmmm128, Code::Orpd_xmm_xmmm128]     { rows.push(code(form, |m, i| packed(m, i, V::Or), SSE)); }
    for form in [Code::Xorps_xmm_xmmm128, Code::Xorpd_xmm_xmmm128]   { rows.push(code(form, |m, i| packed(m, i, V::Xor), SSE)); }
    for name in [Mnemonic::Vandps, Mnemonic::Vandpd]   { rows.push(row(name, |m, i| packed(m, i, V::And), AVX)); }
    for name in [Mnemonic::Vandnps, Mnemonic::Vandnpd] { rows.push(row(name, |m, i| packed(m, i, V::AndNot), AVX)); }
    for name in [Mnemonic::Vorps, Mnemonic::Vorpd]     { rows.push(row(name, |m, i| packed(m, i, V::Or), AVX)); }
    for name in [Mnemonic::Vxorps, Mnemonic::Vxorpd]   { rows.push(row(name, |m, i| packed(m, i, V::Xor), AVX)); }
    rows
}

/// `op dst, src` and `op dst, a, src` on vector registers; src may be memory.
#[inline(always)]
pub(super) fn packed<M: Machine>(m: &mut M, i: &Insn, op: VectorOp) -> Result<(), Fault> {
    packed_by(m, i, |_| op)
}

/// The same, with an operation for each part.
#[inline(always)]
pub(super) fn packed_by<M: Machine>(m: &mut M, i: &Insn, op: impl Fn(u8) -> VectorOp) -> Result<(), Fault> {
    in_parts!(i, packed_parts::<M>(m, i, op))
}

#[inline(always)]
fn packed_parts<M: Machine, const N: usize>(m: &mut M, i: &Insn, op: impl Fn(u8) -> VectorOp) -> Result<(), Fault> {
    let (first, second) = i.sources();
    let b = i.read_vector::<M, N>(m, second)?;
    let a: [M::Vec; N] = i.register(m, first);
    let result: [M::Vec; N] = std::array::from_fn(|n| m.vector_op(op(n as u8), a[n], b[n]));
    i.write_vector(m, result);
    Ok(())
}

/// `op dst, src`, of the source alone.
#[inline(always)]
pub(super) fn packed_of_one<M: Machine>(m: &mut M, i: &Insn, op: VectorOp) -> Result<(), Fault> {
    packed_of_one_by(m, i, |_| op)
}

/// The same, with an operation for each part.
#[inline(always)]
pub(super) fn packed_of_one_by<M: Machine>(m: &mut M, i: &Insn, op: impl Fn(u8) -> VectorOp) -> Result<(), Fault> {
    in_parts!(i, packed_of_one_parts::<M>(m, i, op))
}

#[inline(always)]
fn packed_of_one_parts<M: Machine, const N: usize>(m: &mut M, i: &Insn, op: impl Fn(u8) -> VectorOp) -> Result<(), Fault> {
    let b = i.read_vector::<M, N>(m, 1)?;
    let result: [M::Vec; N] = std::array::from_fn(|n| m.vector_op(op(n as u8), b[n], b[n]));
    i.write_vector(m, result);
    Ok(())
}

/// `op dst, src` on MMX registers; src may be memory.
#[inline(always)]
pub(super) fn mmx<M: Machine>(m: &mut M, i: &Insn, op: VectorOp) -> Result<(), Fault> {
    m.begin_mmx()?;
    let b = i.read_mmx(m, 1)?;
    mmx_with(m, i, op, b)
}

/// The rest of an MMX instruction whose second source is `b`.
#[inline(always)]
pub(super) fn mmx_with<M: Machine>(m: &mut M, i: &Insn, op: VectorOp, b: M::Val) -> Result<(), Fault> {
    let (a, zero) = (m.mmx(i.operands[0].register), m.constant(0));
    let (a, b) = (m.vector_of(a, zero), m.vector_of(b, zero));
    let result = m.vector_op(op, a, b);
    let result = m.quadword(result, 0);
    m.set_mmx(i.operands[0].register, result);
    m.end_mmx();
    Ok(())
}

/// `op dst, src` on MMX registers, of the source alone.
#[inline(always)]
fn mmx_of_one<M: Machine>(m: &mut M, i: &Insn, op: VectorOp) -> Result<(), Fault> {
    m.begin_mmx()?;
    let (b, zero) = (i.read_mmx(m, 1)?, m.constant(0));
    let b = m.vector_of(b, zero);
    let result = m.vector_op(op, b, b);
    let result = m.quadword(result, 0);
    m.set_mmx(i.operands[0].register, result);
    m.end_mmx();
    Ok(())
}
