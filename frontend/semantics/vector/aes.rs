//! The rounds of AES as pure functions over 128 bits. Byte `r + 4 * c` of a vector is row r of column c of the state.
//! SDM: vol. 2, AESENC and its kin; FIPS 197.

/// An operation of the AES instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AesOp {
    /// A round of the first operand with the second as its key.
    Encrypt,
    /// The last round, which does not mix columns.
    EncryptLast,
    /// A round of the equivalent inverse cipher.
    Decrypt,
    /// The last round of the equivalent inverse cipher.
    DecryptLast,
    /// A key of the cipher made one of the equivalent inverse cipher: the second operand's columns unmixed.
    InverseMixColumns,
    /// What the next key takes from the second operand, with this round constant.
    KeyAssist(u8),
}

/// `a op b`.
pub fn evaluate(op: AesOp, a: u128, b: u128) -> u128 {
    let state = a.to_le_bytes();
    match op {
        AesOp::Encrypt => mixed(&MIXED, shifted_rows(state)) ^ b,
        AesOp::EncryptLast => u128::from_le_bytes(substituted(&SUBSTITUTE, shifted_rows(state))) ^ b,
        AesOp::Decrypt => mixed(&UNMIXED, unshifted_rows(state)) ^ b,
        AesOp::DecryptLast => u128::from_le_bytes(substituted(&INVERSE, unshifted_rows(state))) ^ b,
        AesOp::InverseMixColumns => mixed(&UNMIXED, substituted(&SUBSTITUTE, b.to_le_bytes())),
        AesOp::KeyAssist(constant) => key_assist(b, constant),
    }
}

/// The product of two polynomials over GF(2), modulo x^8 + x^4 + x^3 + x + 1.
const fn product(a: u8, b: u8) -> u8 {
    let (mut a, mut b, mut sum) = (a, b, 0);
    while b != 0 {
        if b & 1 != 0 {
            sum ^= a;
        }
        a = a << 1 ^ if a & 0x80 != 0 { 0x1b } else { 0 };
        b >>= 1;
    }
    sum
}

/// The S-box: the inverse, which is the power of 254, and an affine map over the bits.
const SUBSTITUTE: [u8; 256] = {
    let mut table = [0; 256];
    let mut x = 0;
    while x < 256 {
        let (mut power, mut square, mut n) = (1, x as u8, 1);
        while n < 8 {
            square = product(square, square);
            power = product(power, square);
            n += 1;
        }
        table[x] = power ^ power.rotate_left(1) ^ power.rotate_left(2) ^ power.rotate_left(3) ^ power.rotate_left(4) ^ 0x63;
        x += 1;
    }
    table
};

/// The inverse of the S-box.
const INVERSE: [u8; 256] = {
    let mut table = [0; 256];
    let mut x = 0;
    while x < 256 {
        table[SUBSTITUTE[x] as usize] = x as u8;
        x += 1;
    }
    table
};

/// What a byte of row 0 adds to its column, once it is substituted by `table` and multiplied by `factors`. Other rows add
/// the same, rotated.
const fn columns(table: &[u8; 256], factors: [u8; 4]) -> [u32; 256] {
    let mut columns = [0; 256];
    let mut x = 0;
    while x < 256 {
        let s = table[x];
        columns[x] =
            u32::from_le_bytes([product(s, factors[0]), product(s, factors[1]), product(s, factors[2]), product(s, factors[3])]);
        x += 1;
    }
    columns
}

/// SubBytes and MixColumns.
static MIXED: [u32; 256] = columns(&SUBSTITUTE, [2, 1, 1, 3]);
/// InvSubBytes and InvMixColumns.
static UNMIXED: [u32; 256] = columns(&INVERSE, [14, 9, 13, 11]);

/// ShiftRows: row r of each column comes from the column r places on.
fn shifted_rows(state: [u8; 16]) -> [u8; 16] {
    std::array::from_fn(|n| state[(n + 4 * (n % 4)) % 16])
}

/// InvShiftRows.
fn unshifted_rows(state: [u8; 16]) -> [u8; 16] {
    std::array::from_fn(|n| state[(n + 12 * (n % 4)) % 16])
}

fn substituted(table: &[u8; 256], state: [u8; 16]) -> [u8; 16] {
    state.map(|byte| table[usize::from(byte)])
}

/// What the bytes of each column make of it by `table`.
fn mixed(table: &[u32; 256], state: [u8; 16]) -> u128 {
    (0..4).rev().fold(0, |result, c| {
        let column = (0..4).fold(0, |sum, r| sum ^ table[usize::from(state[4 * c + r])].rotate_left(8 * r as u32));
        result << 32 | u128::from(column)
    })
}

/// Doublewords 1 and 3 substituted, each followed by itself rotated by a byte, with the constant added.
fn key_assist(key: u128, constant: u8) -> u128 {
    let half = |dword: u32| {
        let word = u32::from_le_bytes(dword.to_le_bytes().map(|byte| SUBSTITUTE[usize::from(byte)]));
        u128::from(word.rotate_right(8) ^ u32::from(constant)) << 32 | u128::from(word)
    };
    half((key >> 96) as u32) << 64 | half((key >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use super::{AesOp, evaluate};

    /// FIPS 197, appendix C.1.
    const KEY: u128 = 0x0f0e0d0c_0b0a0908_07060504_03020100;
    const PLAIN: u128 = 0xffeeddcc_bbaa9988_77665544_33221100;
    const CIPHER: u128 = 0x5ac5b470_80b7cdd8_30047b6a_d8e0c469;

    /// The eleven keys that the instructions make of one.
    fn schedule(key: u128) -> [u128; 11] {
        let mut keys = [key; 11];
        let mut constant = 1u8;
        for n in 1..11 {
            let from = keys[n - 1];
            let assist = evaluate(AesOp::KeyAssist(constant), 0, from) >> 96;
            let sums = from ^ from << 32 ^ from << 64 ^ from << 96;
            keys[n] = sums ^ (assist | assist << 32 | assist << 64 | assist << 96);
            constant = super::product(constant, 2);
        }
        keys
    }

    #[test]
    fn the_standards_example_is_encrypted_and_decrypted() {
        let keys = schedule(KEY);
        assert_eq!(keys[10], 0xc5302b4d_8ba707f3_174a94e3_7f1d1113);
        let state = keys[1..10].iter().fold(PLAIN ^ keys[0], |state, key| evaluate(AesOp::Encrypt, state, *key));
        assert_eq!(evaluate(AesOp::EncryptLast, state, keys[10]), CIPHER);
        let state = keys[1..10]
            .iter()
            .rev()
            .fold(CIPHER ^ keys[10], |state, key| evaluate(AesOp::Decrypt, state, evaluate(AesOp::InverseMixColumns, 0, *key)));
        assert_eq!(evaluate(AesOp::DecryptLast, state, keys[0]), PLAIN);
    }

    /// The operands of Intel's white paper on these instructions, and what Emerald Rapids makes of them.
    #[test]
    fn each_instruction_leaves_what_processors_leave() {
        let state = 0x7b5b5465_73745665_63746f72_5d53475d;
        let key = 0x48692853_68617929_5b477565_726f6e5d;
        assert_eq!(evaluate(AesOp::Encrypt, state, key), 0xa8311c2f_9fdba3c5_8b104b58_ded7e595);
        assert_eq!(evaluate(AesOp::EncryptLast, state, key), 0xc7fb881e_938c5964_177ec425_53fdc611);
        assert_eq!(evaluate(AesOp::Decrypt, state, key), 0x138ac342_faea2787_b58eb95e_b730392a);
        assert_eq!(evaluate(AesOp::DecryptLast, state, key), 0xc5a391ef_6b317f95_d410637b_72a593d0);
        assert_eq!(evaluate(AesOp::InverseMixColumns, 0, key), 0x597f8df1_09efaa15_f39bc5a1_19d859b6);
        let key = 0x3c4fcf09_8815f7ab_a6d2ae28_16157e2b;
        assert_eq!(evaluate(AesOp::KeyAssist(1), 0, key), 0x01eb848b_eb848a01_3424b5e5_24b5e434);
    }
}
