//! AES, SHA and the carry-less product.
//! SDM: vol. 2, the entries of the names in the tables.

use super::{
    super::{
        Machine,
        table::{Row, row},
    },
    AVX, SSE, TernaryOp, VectorOp,
    aes::AesOp as A,
    integer::{packed, packed_of_one},
    sha::ShaOp as S,
};
use crate::{
    decode::{Insn, Mnemonic},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> Vec<Row<M>> {
    use VectorOp::{Aes, CarrylessProduct, Sha};
    vec![
        row(Mnemonic::Aesenc,           |m, i| packed(m, i, Aes(A::Encrypt)),                              SSE),
        row(Mnemonic::Vaesenc,          |m, i| packed(m, i, Aes(A::Encrypt)),                              AVX),
        row(Mnemonic::Aesenclast,       |m, i| packed(m, i, Aes(A::EncryptLast)),                          SSE),
        row(Mnemonic::Vaesenclast,      |m, i| packed(m, i, Aes(A::EncryptLast)),                          AVX),
        row(Mnemonic::Aesdec,           |m, i| packed(m, i, Aes(A::Decrypt)),                              SSE),
        row(Mnemonic::Vaesdec,          |m, i| packed(m, i, Aes(A::Decrypt)),                              AVX),
        row(Mnemonic::Aesdeclast,       |m, i| packed(m, i, Aes(A::DecryptLast)),                          SSE),
        row(Mnemonic::Vaesdeclast,      |m, i| packed(m, i, Aes(A::DecryptLast)),                          AVX),
        row(Mnemonic::Aesimc,           |m, i| packed_of_one(m, i, Aes(A::InverseMixColumns)),             SSE),
        row(Mnemonic::Vaesimc,          |m, i| packed_of_one(m, i, Aes(A::InverseMixColumns)),             AVX),
        row(Mnemonic::Aeskeygenassist,  |m, i| packed_of_one(m, i, Aes(A::KeyAssist(i.immediate as u8))),  SSE),
        row(Mnemonic::Vaeskeygenassist, |m, i| packed_of_one(m, i, Aes(A::KeyAssist(i.immediate as u8))),  AVX),
        row(Mnemonic::Pclmulqdq,        |m, i| packed(m, i, CarrylessProduct(i.immediate as u8)),          SSE),
        row(Mnemonic::Vpclmulqdq,       |m, i| packed(m, i, CarrylessProduct(i.immediate as u8)),          AVX),
        row(Mnemonic::Sha1rnds4,        |m, i| packed(m, i, Sha(S::Sha1Rounds(i.immediate as u8))),        SSE),
        row(Mnemonic::Sha1nexte,        |m, i| packed(m, i, Sha(S::Sha1NextE)),                            SSE),
        row(Mnemonic::Sha1msg1,         |m, i| packed(m, i, Sha(S::Sha1Message1)),                         SSE),
        row(Mnemonic::Sha1msg2,         |m, i| packed(m, i, Sha(S::Sha1Message2)),                         SSE),
        row(Mnemonic::Sha256rnds2,      sha256rnds2,                                                       SSE),
        row(Mnemonic::Sha256msg1,       |m, i| packed(m, i, Sha(S::Sha256Message1)),                       SSE),
        row(Mnemonic::Sha256msg2,       |m, i| packed(m, i, Sha(S::Sha256Message2)),                       SSE),
    ]
}

/// `SHA256RNDS2 cdgh, abef`, the words in XMM0.
fn sha256rnds2<M: Machine>(m: &mut M, i: &Insn) -> Result<(), Fault> {
    let [abef] = i.read_vector(m, 1)?;
    let [cdgh] = i.register(m, 0);
    let words = m.vector(0, 0);
    let result = m.ternary_op(TernaryOp::Sha256Rounds, cdgh, abef, words);
    i.write_vector(m, [result]);
    Ok(())
}
