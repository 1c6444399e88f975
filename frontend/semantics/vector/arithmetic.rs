//! Floating-point arithmetic and comparison.
//! SDM: vol. 2, the entries of the names in the tables.

use dragoman_state::RFlags;

use super::{
    super::{
        Machine,
        table::{Row, code},
    },
    FloatOp, SSE,
    float::{
        Arithmetic::{Add, Div, Max, Min, Mul, Sqrt, Sub},
        Shape::{Pd, Ps, Sd, Ss},
    },
};
use crate::{
    decode::{Code, Insn},
    fault::Fault,
};

/// Rows for the four shapes of one operation.
macro_rules! shapes {
    ($rows:ident, $op:expr, $ps:ident, $pd:ident, $ss:ident, $sd:ident) => {
        $rows.push(code(Code::$ps, |m: &mut M, i: &Insn| float(m, i, FloatOp::Arithmetic($op, Ps)), SSE));
        $rows.push(code(Code::$pd, |m: &mut M, i: &Insn| float(m, i, FloatOp::Arithmetic($op, Pd)), SSE));
        $rows.push(code(Code::$ss, |m: &mut M, i: &Insn| float(m, i, FloatOp::Arithmetic($op, Ss)), SSE));
        $rows.push(code(Code::$sd, |m: &mut M, i: &Insn| float(m, i, FloatOp::Arithmetic($op, Sd)), SSE));
    };
}

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> Vec<Row<M>> {
    use FloatOp as F;
    let mut rows: Vec<Row<M>> = vec![
        code(Code::Cmpps_xmm_xmmm128_imm8, |m, i| float(m, i, F::Compare(i.immediate as u8 & 7, Ps)), SSE),
        code(Code::Cmppd_xmm_xmmm128_imm8, |m, i| float(m, i, F::Compare(i.immediate as u8 & 7, Pd)), SSE),
        code(Code::Cmpss_xmm_xmmm32_imm8,  |m, i| float(m, i, F::Compare(i.immediate as u8 & 7, Ss)), SSE),
        code(Code::Cmpsd_xmm_xmmm64_imm8,  |m, i| float(m, i, F::Compare(i.immediate as u8 & 7, Sd)), SSE),
        code(Code::Comiss_xmm_xmmm32,      |m, i| order(m, i, F::Order { is_double: false, is_quiet: false }), SSE),
        code(Code::Comisd_xmm_xmmm64,      |m, i| order(m, i, F::Order { is_double: true, is_quiet: false }), SSE),
        code(Code::Ucomiss_xmm_xmmm32,     |m, i| order(m, i, F::Order { is_double: false, is_quiet: true }), SSE),
        code(Code::Ucomisd_xmm_xmmm64,     |m, i| order(m, i, F::Order { is_double: true, is_quiet: true }), SSE),
        code(Code::Rcpps_xmm_xmmm128,      |m, i| float(m, i, F::Reciprocal(Ps)), SSE),
        code(Code::Rcpss_xmm_xmmm32,       |m, i| float(m, i, F::Reciprocal(Ss)), SSE),
        code(Code::Rsqrtps_xmm_xmmm128,    |m, i| float(m, i, F::ReciprocalRoot(Ps)), SSE),
        code(Code::Rsqrtss_xmm_xmmm32,     |m, i| float(m, i, F::ReciprocalRoot(Ss)), SSE),
    ];
    shapes!(rows, Add,  Addps_xmm_xmmm128,  Addpd_xmm_xmmm128,  Addss_xmm_xmmm32,  Addsd_xmm_xmmm64);
    shapes!(rows, Sub,  Subps_xmm_xmmm128,  Subpd_xmm_xmmm128,  Subss_xmm_xmmm32,  Subsd_xmm_xmmm64);
    shapes!(rows, Mul,  Mulps_xmm_xmmm128,  Mulpd_xmm_xmmm128,  Mulss_xmm_xmmm32,  Mulsd_xmm_xmmm64);
    shapes!(rows, Div,  Divps_xmm_xmmm128,  Divpd_xmm_xmmm128,  Divss_xmm_xmmm32,  Divsd_xmm_xmmm64);
    shapes!(rows, Min,  Minps_xmm_xmmm128,  Minpd_xmm_xmmm128,  Minss_xmm_xmmm32,  Minsd_xmm_xmmm64);
    shapes!(rows, Max,  Maxps_xmm_xmmm128,  Maxpd_xmm_xmmm128,  Maxss_xmm_xmmm32,  Maxsd_xmm_xmmm64);
    shapes!(rows, Sqrt, Sqrtps_xmm_xmmm128, Sqrtpd_xmm_xmmm128, Sqrtss_xmm_xmmm32, Sqrtsd_xmm_xmmm64);
    rows
}

/// `op dst, src`.
#[inline(always)]
pub(super) fn float<M: Machine>(m: &mut M, i: &Insn, op: FloatOp) -> Result<(), Fault> {
    let b = i.read_vector(m, 1)?;
    let a = m.vector(i.operands[0].register, 0);
    let result = m.float_op(op, a, b)?;
    i.write_vector(m, result);
    Ok(())
}

/// `COMIS`, `UCOMIS`: ZF, PF and CF say how the operands compare; OF, AF and SF are cleared.
#[inline(always)]
fn order<M: Machine>(m: &mut M, i: &Insn, op: FloatOp) -> Result<(), Fault> {
    let b = i.read_vector(m, 1)?;
    let a = m.vector(i.operands[0].register, 0);
    let image = m.float_op(op, a, b)?;
    let image = m.quadword(image, 0);
    m.replace_flags(RFlags::ARITHMETIC, image);
    Ok(())
}
