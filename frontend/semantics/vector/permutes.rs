//! What AVX adds to the shuffles: broadcasts, permutations, and moves of 128-bit halves.
//! SDM: vol. 2, the entries of the names in the table.

use super::{
    super::{
        Machine,
        table::{Row, code, row},
    },
    AVX, PARTS, TernaryOp, VectorOp,
    integer::{packed, packed_of_one, packed_of_one_by},
    lanes::Lane::{self, B, D, Q, W},
};
use crate::{
    decode::{Code, Insn, Kind, Mnemonic},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> Vec<Row<M>> {
    use VectorOp as V;
    vec![
        row(Mnemonic::Vbroadcastss,   |m, i| broadcast(m, i, D), AVX),
        row(Mnemonic::Vbroadcastsd,   |m, i| broadcast(m, i, Q), AVX),
        row(Mnemonic::Vpbroadcastb,   |m, i| broadcast(m, i, B), AVX),
        row(Mnemonic::Vpbroadcastw,   |m, i| broadcast(m, i, W), AVX),
        row(Mnemonic::Vpbroadcastd,   |m, i| broadcast(m, i, D), AVX),
        row(Mnemonic::Vpbroadcastq,   |m, i| broadcast(m, i, Q), AVX),
        row(Mnemonic::Vbroadcastf128, broadcast_half, AVX),
        row(Mnemonic::Vbroadcasti128, broadcast_half, AVX),
        row(Mnemonic::Vinsertf128,    insert_half,    AVX),
        row(Mnemonic::Vinserti128,    insert_half,    AVX),
        row(Mnemonic::Vextractf128,   extract_half,   AVX),
        row(Mnemonic::Vextracti128,   extract_half,   AVX),
        row(Mnemonic::Vperm2f128,     choose_halves,  AVX),
        row(Mnemonic::Vperm2i128,     choose_halves,  AVX),
        row(Mnemonic::Vpermq,         choose_quadwords, AVX),
        row(Mnemonic::Vpermpd,        choose_quadwords, AVX),
        row(Mnemonic::Vpermd,         choose_doublewords, AVX),
        row(Mnemonic::Vpermps,        choose_doublewords, AVX),
        row(Mnemonic::Vpermilps,      |m, i| packed(m, i, V::PermuteSingles), AVX),
        row(Mnemonic::Vpermilpd,      |m, i| packed(m, i, V::PermuteDoubles), AVX),
        code(Code::VEX_Vpermilps_xmm_xmmm128_imm8, permute_singles, AVX),
        code(Code::VEX_Vpermilps_ymm_ymmm256_imm8, permute_singles, AVX),
        code(Code::VEX_Vpermilpd_xmm_xmmm128_imm8, permute_doubles, AVX),
        code(Code::VEX_Vpermilpd_ymm_ymmm256_imm8, permute_doubles, AVX),
    ]
}

/// The source's lowest lane to all lanes.
fn broadcast<M: Machine>(m: &mut M, i: &Insn, lane: Lane) -> Result<(), Fault> {
    let [src] = i.read_vector::<M, 1>(m, 1)?;
    let all = m.vector_op(VectorOp::Broadcast(lane), src, src);
    if i.is_wide() {
        i.write_vector(m, [all; 2])
    } else {
        i.write_vector(m, [all])
    }
    Ok(())
}

/// Sixteen bytes of memory to both halves.
fn broadcast_half<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let [src] = i.read_vector::<M, 1>(m, 1)?;
    i.write_vector(m, [src; 2]);
    Ok(())
}

/// `VINSERTF128 dst, a, src, n`.
fn insert_half<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let [src] = i.read_vector::<M, 1>(m, 2)?;
    let n = usize::from(i.immediate & 1 != 0);
    let kept = m.vector(i.operands[1].register, 1 - n);
    i.write_vector(m, if n == 0 { [src, kept] } else { [kept, src] });
    Ok(())
}

/// `VEXTRACTF128 dst, src, n`: to a register or memory.
fn extract_half<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let half = m.vector(i.operands[1].register, usize::from(i.immediate & 1 != 0));
    if i.operands[0].kind == Kind::Memory {
        let at = m.address(i);
        return m.store_vector(i.segment, at, 1, [half]);
    }
    i.write_vector(m, [half]);
    Ok(())
}

/// `VPERM2F128 dst, a, b, choice`: four bits for each half, of which two choose among four and one clears.
fn choose_halves<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let b = i.read_vector::<M, PARTS>(m, 2)?;
    let a: [M::Vec; PARTS] = i.register(m, 1);
    let zero = m.constant(0);
    let none = m.vector_of(zero, zero);
    let halves = [a[0], a[1], b[0], b[1]];
    let choose = |control: u64| if control & 8 != 0 { none } else { halves[(control & 3) as usize] };
    i.write_vector(m, [choose(i.immediate), choose(i.immediate >> 4)]);
    Ok(())
}

/// `VPERMQ dst, src, order`: each quadword one of four.
fn choose_quadwords<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let src = i.read_vector::<M, PARTS>(m, 1)?;
    let mut choose = |n: u32| {
        let from = (i.immediate >> (2 * n) & 3) as usize;
        m.quadword(src[from / 2], from % 2)
    };
    let quadwords = [choose(0), choose(1), choose(2), choose(3)];
    let result = [m.vector_of(quadwords[0], quadwords[1]), m.vector_of(quadwords[2], quadwords[3])];
    i.write_vector(m, result);
    Ok(())
}

/// `VPERMD dst, choices, src`: each doubleword one of eight.
fn choose_doublewords<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let src = i.read_vector::<M, PARTS>(m, 2)?;
    let choices: [M::Vec; PARTS] = i.register(m, 1);
    let result = choices.map(|choices| m.ternary_op(TernaryOp::Choose, choices, src[0], src[1]));
    i.write_vector(m, result);
    Ok(())
}

/// `VPERMILPS dst, src, order`.
fn permute_singles<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    packed_of_one(m, i, VectorOp::ShuffleSingles(i.immediate as u8))
}

/// `VPERMILPD dst, src, order`: one bit for each quadword.
fn permute_doubles<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    packed_of_one_by(m, i, |part| VectorOp::ShuffleDoubles(i.immediate as u8 >> (2 * part)))
}
