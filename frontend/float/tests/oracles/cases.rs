//! Numbers that are worth trying: special encodings, and random ones crowded around the places where arithmetic turns.
//!
//! Rule of this file: everything follows from a seed, so that every failure can be repeated.

use dragoman_float::{F16, F32, F64, F80};

/// How many random cases: as many as told, times what `DRAGOMAN_FLOAT_CASES` says. With 20 the tests run for minutes.
pub fn cases(normally: u64) -> u64 {
    let factor = std::env::var("DRAGOMAN_FLOAT_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    normally * factor
}

/// SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.bits() % bound
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// A significand of `bits` bits: any, or a run of ones, or a few bits.
    fn significand(&mut self, bits: u32) -> u64 {
        let mask = u64::MAX >> (64 - bits);
        let any = self.bits() & mask;
        match self.below(8) {
            0 => 0,
            1 => mask,
            2 => mask << self.below(bits.into()) & mask,
            3 => mask >> self.below(bits.into()),
            4 => 1 << self.below(bits.into()) | 1 << self.below(bits.into()),
            5 => any & self.bits() << self.below(64),
            _ => any,
        }
    }

    /// A biased exponent: any, near one end, near the middle.
    fn exponent(&mut self, bits: u32, precision: u32) -> u64 {
        let top = (1 << bits) - 1;
        match self.below(8) {
            0 => self.below(top + 1),
            1 => 0,
            2 => self.below(precision as u64 + 2).min(top),
            3 => top - self.below(precision as u64 + 2).min(top),
            4 => top / 2 - (precision as u64).min(top / 2) + self.below(2 * precision as u64 + 2).min(top / 2),
            _ => top / 2 - 3 + self.below(7),
        }
    }
}

/// A format that cases can be made for.
pub trait Sample: Copy + std::fmt::Debug + PartialEq + 'static {
    const SPECIAL: &[Self];
    fn random(rng: &mut Random) -> Self;
    /// A number near this one: few bits, exponents or signs apart.
    fn neighbour(self, rng: &mut Random) -> Self;
}

macro_rules! sample {
    ($($name:ident: $bits:ty, $precision:literal, $exponent:literal;)*) => {$(
        impl Sample for $name {
            const SPECIAL: &[Self] = {
                const F: u32 = $precision - 1;
                const INF: $bits = ((1 << $exponent) - 1) << F;
                const ONE: $bits = ((1 << ($exponent - 1)) - 1) << F;
                const S: $bits = 1 << (F + $exponent);
                &[
                    $name(0), $name(S), $name(1), $name(S | 1), $name((1 << F) - 1), $name(1 << F), $name(S | 1 << F),
                    $name((1 << F) + 1), $name(S | (1 << F) - 1), $name(1 << (F - 1)), $name(2 << F), $name(ONE), $name(S | ONE),
                    $name(ONE + 1), $name(ONE - 1), $name(ONE | 1 << (F - 1)), $name(S | ONE | 3 << (F - 2)), $name(ONE + (1 << F)),
                    $name(ONE - (1 << F)), $name(INF - 1), $name(S | INF - 1), $name(INF - (1 << F)), $name(INF), $name(S | INF),
                    $name(INF | 1), $name(S | INF | 2), $name(INF | 1 << (F - 1)), $name(S | INF | 1 << (F - 1)),
                    $name(INF | 3 << (F - 2)), $name(S | INF | (1 << F) - 1), $name(INF | (1 << (F - 1)) - 1),
                ]
            };

            fn random(rng: &mut Random) -> Self {
                if rng.below(16) == 0 {
                    return rng.pick(Self::SPECIAL);
                }
                let sign = (rng.bits() & 1) << $exponent;
                let head = sign | rng.exponent($exponent, $precision);
                Self((head << ($precision - 1) | rng.significand($precision - 1)) as $bits)
            }

            fn neighbour(self, rng: &mut Random) -> Self {
                let step = (rng.below(5) as $bits).wrapping_sub(2);
                let exponents = (rng.below(7) as $bits).wrapping_sub(3) << ($precision - 1);
                match rng.below(4) {
                    0 => Self(self.0.wrapping_add(step)),
                    1 => Self(self.0.wrapping_add(exponents)),
                    2 => Self(self.0.wrapping_add(step) ^ 1 << ($precision - 1 + $exponent)),
                    _ => Self(self.0.wrapping_add(exponents).wrapping_add(step) ^ 1 << ($precision - 1 + $exponent)),
                }
            }
        }
    )*};
}

sample! {
    F16: u16, 11, 5;
    F32: u32, 24, 8;
    F64: u64, 53, 11;
}

pub const fn f80(sign_exponent: u16, significand: u64) -> F80 {
    F80 { significand, sign_exponent }
}

const J: u64 = 1 << 63;
const Q: u64 = 1 << 62;

impl Sample for F80 {
    const SPECIAL: &[Self] = &[
        f80(0, 0),
        f80(0x8000, 0),
        f80(0, 1),
        f80(0x8000, 1),
        f80(0, J - 1),
        f80(0x8000, J - 1),
        f80(0, J),
        f80(0x8000, J | 1),
        f80(0, u64::MAX), // pseudo-denormals
        f80(1, J),
        f80(0x8001, J),
        f80(1, u64::MAX),
        f80(2, J),
        f80(0x3fff, J),
        f80(0xbfff, J),
        f80(0x3fff, J | 1),
        f80(0x3ffe, u64::MAX),
        f80(0x3fff, J | Q),
        f80(0xbfff, J | 1 << 40),
        f80(0x4000, J),
        f80(0x3ffe, J),
        f80(0x4000, 0xc90f_daa2_2168_c235),
        f80(0xbffe, 0xc90f_daa2_2168_c234),
        f80(0x403e, J),
        f80(0xc03e, J | 1),
        f80(0x403d, u64::MAX),
        f80(0x400d, 0x8000_0000_0000_0000),
        f80(0xc00d, 0x8100_0000_0000_0000),
        f80(0x7ffe, u64::MAX),
        f80(0xfffe, u64::MAX),
        f80(0x7ffe, J),
        f80(0x7fff, J),
        f80(0xffff, J),
        f80(0x7fff, J | 1),
        f80(0xffff, J | 2),
        f80(0x7fff, J + Q - 1),
        f80(0x7fff, J | Q),
        f80(0xffff, J | Q),
        f80(0xffff, J | Q | 1),
        f80(0x7fff, u64::MAX),
        f80(0x7fff, 0),
        f80(0xffff, 0),
        f80(0x7fff, 1),
        f80(0xffff, Q),
        f80(0x7fff, Q | 1), // pseudo-infinity, pseudo-NaN
        f80(0x3fff, 0),
        f80(0xbfff, J - 1),
        f80(0x7ffe, 1),
        f80(1, 0),
        f80(0x8001, J - 1), // unnormals
    ];

    fn random(rng: &mut Random) -> Self {
        match rng.below(32) {
            0 | 1 => return rng.pick(Self::SPECIAL),
            2 => return f80(rng.bits() as u16, rng.bits()),
            _ => {}
        }
        let sign = (rng.bits() as u16) & 0x8000;
        let exponent = rng.exponent(15, 64) as u16;
        f80(sign | exponent, rng.significand(63) | if exponent == 0 { 0 } else { J })
    }

    fn neighbour(self, rng: &mut Random) -> Self {
        let step = rng.below(5).wrapping_sub(2);
        let exponents = (rng.below(7) as u16).wrapping_sub(3);
        match rng.below(4) {
            0 => f80(self.sign_exponent, self.significand.wrapping_add(step)),
            1 => f80(self.sign_exponent.wrapping_add(exponents), self.significand),
            2 => f80(self.sign_exponent ^ 0x8000, self.significand.wrapping_add(step)),
            _ => f80(self.sign_exponent.wrapping_add(exponents) ^ 0x8000, self.significand.wrapping_add(step)),
        }
    }
}

/// Every pair of special numbers, then `count` random pairs, a third of them of neighbours.
pub fn pairs<A: Sample, B: Sample>(
    seed: u64,
    count: u64,
    related: fn(A, &mut Random) -> Option<B>,
) -> impl Iterator<Item = (A, B)> {
    let special = A::SPECIAL.iter().flat_map(|&a| B::SPECIAL.iter().map(move |&b| (a, b)));
    let mut rng = Random::new(seed);
    let random = (0..count).map(move |_| {
        let a = A::random(&mut rng);
        let near = if rng.below(3) == 0 { related(a, &mut rng) } else { None };
        (a, near.unwrap_or_else(|| B::random(&mut rng)))
    });
    special.chain(random)
}

/// Counts cases and reports the first failures of a test.
pub struct Tally {
    name: String,
    cases: u64,
    failures: u64,
}

impl Tally {
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), cases: 0, failures: 0 }
    }

    pub fn case(&mut self, holds: bool, describe: impl FnOnce() -> String) {
        self.cases += 1;
        if !holds {
            self.failures += 1;
            if self.failures <= 12 {
                eprintln!("{}: {}", self.name, describe());
            }
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        println!("{}: {} cases, {} failures", self.name, self.cases, self.failures);
        if !std::thread::panicking() {
            assert!(self.failures == 0, "{}: {} of {} cases failed", self.name, self.failures, self.cases);
        }
    }
}
