//! The rounds and the message schedules of SHA-1 and SHA-256 as pure functions over 128 bits.
//! SDM: vol. 2, SHA1RNDS4 and its kin; FIPS 180-4.

/// An operation of the SHA instructions on two vectors. The first operand is the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShaOp {
    /// Four rounds of SHA-1 with the function and constant of this number.
    Sha1Rounds(u8),
    /// The second operand with the variable E, which is the first's A before the rounds, added to its highest doubleword.
    Sha1NextE,
    /// The schedule's part that XORs words without a rotation.
    Sha1Message1,
    /// The schedule's rest.
    Sha1Message2,
    /// The schedule's part that takes words from 15 back.
    Sha256Message1,
    /// The schedule's part that takes words from two back.
    Sha256Message2,
}

/// The doublewords of `v`, the highest first, as the manual's names of their variables go.
fn highest_first(v: u128) -> [u32; 4] {
    [96, 64, 32, 0].map(|shift| (v >> shift) as u32)
}

fn vector([d3, d2, d1, d0]: [u32; 4]) -> u128 {
    [d3, d2, d1, d0].iter().fold(0, |v, dword| v << 32 | u128::from(*dword))
}

/// `a op b`.
pub fn evaluate(op: ShaOp, a: u128, b: u128) -> u128 {
    let (x, y) = (highest_first(a), highest_first(b));
    match op {
        ShaOp::Sha1Rounds(function) => sha1_rounds(function & 3, x, y),
        ShaOp::Sha1NextE => vector([y[0].wrapping_add(x[0].rotate_left(30)), y[1], y[2], y[3]]),
        ShaOp::Sha1Message1 => a ^ (a << 64 | b >> 64),
        ShaOp::Sha1Message2 => {
            let w16 = (x[0] ^ y[1]).rotate_left(1);
            let w17 = (x[1] ^ y[2]).rotate_left(1);
            let w18 = (x[2] ^ y[3]).rotate_left(1);
            vector([w16, w17, w18, (x[3] ^ w16).rotate_left(1)])
        }
        ShaOp::Sha256Message1 => {
            let earlier = |word: u32| word.rotate_right(7) ^ word.rotate_right(18) ^ word >> 3;
            let add = |n: usize, word: u32| x[n].wrapping_add(earlier(word));
            vector([add(0, y[3]), add(1, x[0]), add(2, x[1]), add(3, x[2])])
        }
        ShaOp::Sha256Message2 => {
            let later = |word: u32| word.rotate_right(17) ^ word.rotate_right(19) ^ word >> 10;
            let w16 = x[3].wrapping_add(later(y[1]));
            let w17 = x[2].wrapping_add(later(y[0]));
            let w18 = x[1].wrapping_add(later(w16));
            vector([x[0].wrapping_add(later(w17)), w18, w17, w16])
        }
    }
}

fn choose(x: u32, y: u32, z: u32) -> u32 {
    x & y ^ !x & z
}

fn majority(x: u32, y: u32, z: u32) -> u32 {
    x & y ^ x & z ^ y & z
}

fn sha1_rounds(function: u8, state: [u32; 4], words: [u32; 4]) -> u128 {
    let [mut a, mut b, mut c, mut d] = state;
    // The first word has E in it.
    let mut e = 0;
    for word in words {
        let (f, k) = match function {
            0 => (choose(b, c, d), 0x5a82_7999),
            1 => (b ^ c ^ d, 0x6ed9_eba1),
            2 => (majority(b, c, d), 0x8f1b_bcdc),
            _ => (b ^ c ^ d, 0xca62_c1d6),
        };
        let next = [f, a.rotate_left(5), word, k].iter().fold(e, |sum: u32, term| sum.wrapping_add(*term));
        (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
    }
    vector([a, b, c, d])
}

/// Two rounds of SHA-256: `cdgh` and `abef` are the state, the low doublewords of `words` the schedule with its constants
/// added. Returns the new A, B, E and F; the new C, D, G and H are the old A, B, E and F.
pub fn sha256_rounds(cdgh: u128, abef: u128, words: u128) -> u128 {
    let ([mut c, mut d, mut g, mut h], [mut a, mut b, mut e, mut f]) = (highest_first(cdgh), highest_first(abef));
    for word in [words as u32, (words >> 32) as u32] {
        let rotations = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let change = [choose(e, f, g), rotations, word].iter().fold(h, |sum: u32, term| sum.wrapping_add(*term));
        let rotations = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let next = change.wrapping_add(majority(a, b, c)).wrapping_add(rotations);
        (a, b, c, d, e, f, g, h) = (next, a, b, c, d.wrapping_add(change), e, f, g);
    }
    let _ = (c, d, g, h);
    vector([a, b, e, f])
}

#[cfg(test)]
mod tests {
    use super::{ShaOp, evaluate, highest_first, sha256_rounds, vector};

    /// The one block of the message "abc", sixteen big-endian words.
    const BLOCK: [u32; 16] = [0x6162_6380, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 24];

    fn add(a: u128, b: u128) -> u128 {
        let (a, b) = (highest_first(a), highest_first(b));
        vector(std::array::from_fn(|n| a[n].wrapping_add(b[n])))
    }

    /// FIPS 180-4's example, its value from the standard's companion.
    #[test]
    fn sha1_of_abc_is_the_published_digest() {
        let mut message: Vec<u128> = BLOCK.chunks(4).map(|c| vector([c[0], c[1], c[2], c[3]])).collect();
        for n in 4..20 {
            let partial = evaluate(ShaOp::Sha1Message1, message[n - 4], message[n - 3]) ^ message[n - 2];
            message.push(evaluate(ShaOp::Sha1Message2, partial, message[n - 1]));
        }
        let start = vector([0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476]);
        let mut state = start;
        let mut words = add(message[0], vector([0xc3d2_e1f0, 0, 0, 0]));
        for n in 0..20 {
            let before = state;
            state = evaluate(ShaOp::Sha1Rounds((n / 5) as u8), state, words);
            let next = message.get(n + 1).copied().unwrap_or(vector([0xc3d2_e1f0, 0, 0, 0]));
            words = evaluate(ShaOp::Sha1NextE, before, next);
        }
        assert_eq!(highest_first(add(state, start)), [0xa999_3e36, 0x4706_816a, 0xba3e_2571, 0x7850_c26c]);
        assert_eq!(highest_first(words)[0], 0x9cd0_d89d);
    }

    /// The round constants are the first 32 bits of the fractional parts of the cube roots of the first 64 primes.
    fn constants() -> Vec<u32> {
        let primes = (2u128..312).filter(|n| (2..*n).all(|d| n % d != 0));
        let root = |p: u128| {
            let scaled = p << 96;
            (0..35).rev().fold(0u128, |root, bit| {
                let larger = root | 1 << bit;
                if larger.pow(3) <= scaled { larger } else { root }
            })
        };
        primes.map(|p| root(p) as u32).collect()
    }

    /// FIPS 180-4's example, its value from the standard's companion.
    #[test]
    fn sha256_of_abc_is_the_published_digest() {
        // Lowest word first, as the instructions have them.
        let pack = |c: &[u32]| vector([c[3], c[2], c[1], c[0]]);
        let mut message: Vec<u128> = BLOCK.chunks(4).map(pack).collect();
        for n in 4..16 {
            let partial = evaluate(ShaOp::Sha256Message1, message[n - 4], message[n - 3]);
            let seven_back = message[n - 2] >> 32 | message[n - 1] << 96;
            message.push(evaluate(ShaOp::Sha256Message2, add(partial, seven_back), message[n - 1]));
        }
        let constants: Vec<u128> = constants().chunks(4).map(pack).collect();
        assert_eq!(constants.len(), 16);
        let abef = vector([0x6a09_e667, 0xbb67_ae85, 0x510e_527f, 0x9b05_688c]);
        let cdgh = vector([0x3c6e_f372, 0xa54f_f53a, 0x1f83_d9ab, 0x5be0_cd19]);
        let (mut new, mut old) = (abef, cdgh);
        for n in 0..16 {
            let words = add(message[n], constants[n]);
            (new, old) = (sha256_rounds(old, new, words), new);
            (new, old) = (sha256_rounds(old, new, words >> 64), new);
        }
        assert_eq!(highest_first(add(new, abef)), [0xba78_16bf, 0x8f01_cfea, 0xb003_61a3, 0x9617_7a9c]);
        assert_eq!(highest_first(add(old, cdgh)), [0x4141_40de, 0x5dae_2223, 0xb410_ff61, 0xf200_15ad]);
    }
}
