//! Integer vector operations as pure functions over 128 bits: what engines that compute use, and what those that
//! translate must equal. A vector is a number whose low bits are its first lane, on every host.

use dragoman_state::RFlags;

use super::{
    aes::{self, AesOp},
    carryless,
    horizontal::{self, Horizontal},
    products::{self, Product},
    rearrange::{self, Rearrangement},
    sha::{self, ShaOp},
    string_compare,
};

/// An operation on two vectors of 128 bits, or one. Wider registers are several of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VectorOp {
    /// The second operand.
    Second,
    /// Bitwise.
    And,
    /// NOT the first, AND the second.
    AndNot,
    /// Bitwise.
    Or,
    /// Bitwise.
    Xor,
    /// Wrapping, by lane.
    Add(Lane),
    /// Wrapping, by lane.
    Sub(Lane),
    /// Saturating, bytes or words.
    AddSigned(Lane),
    /// Saturating, bytes or words.
    AddUnsigned(Lane),
    /// Saturating, bytes or words.
    SubSigned(Lane),
    /// Saturating, bytes or words.
    SubUnsigned(Lane),
    /// Low words of the products of words.
    MultiplyLow,
    /// High words of the products of signed words.
    MultiplyHigh,
    /// High words of the products of unsigned words.
    MultiplyHighUnsigned,
    /// Products of the low doublewords of quadwords.
    MultiplyWide,
    /// Sums of neighbouring products of signed words.
    MultiplyAdd,
    /// Sums of absolute differences of bytes, in words 0 and 4.
    SumOfDifferences,
    /// Rounded up, bytes or words.
    Average(Lane),
    /// Unsigned, by lane.
    MaxUnsigned(Lane),
    /// Unsigned, by lane.
    MinUnsigned(Lane),
    /// Signed, by lane.
    MaxSigned(Lane),
    /// Signed, by lane.
    MinSigned(Lane),
    /// All ones where equal.
    Equal(Lane),
    /// All ones where the first is greater, signed.
    Greater(Lane),
    /// Left by the second operand's low quadword.
    ShiftLeft(Lane),
    /// Right by the second operand's low quadword.
    ShiftRight(Lane),
    /// Right, signs coming in, by the second operand's low quadword.
    ShiftRightSigned(Lane),
    /// Left, each doubleword or quadword by the second operand's lane.
    ShiftLeftEach(Lane),
    /// Right, each doubleword or quadword by the second operand's lane.
    ShiftRightEach(Lane),
    /// Right, signs coming in, each doubleword by the second operand's lane.
    ShiftRightSignedEach(Lane),
    /// Of all 128 bits, left by the second operand's bytes.
    ShiftBytesLeft,
    /// Of all 128 bits, right by the second operand's bytes.
    ShiftBytesRight,
    /// Lanes of the low halves, alternating.
    UnpackLow(Lane),
    /// Lanes of the high halves, alternating.
    UnpackHigh(Lane),
    /// Words to bytes, signed saturation; the first operand's in the low half.
    PackSignedWords,
    /// Doublewords to words, signed saturation.
    PackSignedDwords,
    /// Words to bytes, unsigned saturation.
    PackUnsignedWords,
    /// Doublewords of the second, chosen by pairs of bits.
    ShuffleDwords(u8),
    /// Low words of the second, chosen by pairs of bits; the high half as it is.
    ShuffleLowWords(u8),
    /// High words of the second, chosen by pairs of bits; the low half as it is.
    ShuffleHighWords(u8),
    /// Two doublewords of the first, then two of the second.
    ShuffleSingles(u8),
    /// A quadword of the first, then one of the second.
    ShuffleDoubles(u8),
    /// The second's lane 0, the first's others.
    MergeLow(Lane),
    /// The second's low quadword as the high one, the first's low one.
    LowToHigh,
    /// The second's high quadword as the low one, the first's high one.
    HighToLow,
    /// The second's low quadword, zeros above.
    LowQuadword,
    /// The second's lane 0 in all lanes.
    Broadcast(Lane),
    /// Doublewords of the first, chosen by the low two bits of the second's.
    PermuteSingles,
    /// Quadwords of the first, chosen by bit 1 of the second's.
    PermuteDoubles,
    /// The sign bits of the second's lanes, as a number.
    Signs(Lane),
    /// An image of RFLAGS: ZF where no bit is set in both, CF where none of the second's is clear in the first.
    Test,
    /// The same of the lanes' sign bits.
    TestSigns(Lane),
    /// Doublewords to words, unsigned saturation.
    PackUnsignedDwords,
    /// Moving and nothing else.
    Rearrange(Rearrangement),
    /// Products and signs, by lane.
    Product(Product),
    /// Across lanes.
    Horizontal(Horizontal),
    /// A round of AES.
    Aes(AesOp),
    /// Rounds of SHA, or its schedule.
    Sha(ShaOp),
    /// The carry-less product of the quadwords that the immediate chooses.
    CarrylessProduct(u8),
    /// The lengths of strings, as the comparison wants them.
    StringLengths(u8),
    /// The index that a comparison of strings leaves, of its IntRes2 in the second operand.
    StringIndex(u8),
    /// The mask that a comparison of strings leaves, of its IntRes2 in the second operand.
    StringMask(u8),
}

/// The size of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// 8 bits.
    B,
    /// 16 bits.
    W,
    /// 32 bits.
    D,
    /// 64 bits.
    Q,
}

impl Lane {
    /// Its size in bits.
    pub const fn bits(self) -> u32 {
        match self {
            Self::B => 8,
            Self::W => 16,
            Self::D => 32,
            Self::Q => 64,
        }
    }

    /// All ones in the lowest lane of a vector.
    pub const fn mask(self) -> u128 {
        (1 << self.bits()) - 1
    }
}

macro_rules! by_lane {
    ($name:ident, $unsigned:ty, $size:literal, $count:literal) => {
        /// Makes each lane of the result from the lanes of the operands with the same number.
        #[inline(always)]
        pub(super) fn $name(a: u128, b: u128, f: impl Fn($unsigned, $unsigned) -> $unsigned) -> u128 {
            let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
            let lane = |v: &[u8; 16], n: usize| {
                let mut bytes = [0; $size];
                bytes.copy_from_slice(&v[n * $size..(n + 1) * $size]);
                <$unsigned>::from_le_bytes(bytes)
            };
            let mut result = [0; 16];
            for n in 0..$count {
                result[n * $size..(n + 1) * $size].copy_from_slice(&f(lane(&a, n), lane(&b, n)).to_le_bytes());
            }
            u128::from_le_bytes(result)
        }
    };
}
by_lane!(bytes, u8, 1, 16);
by_lane!(words, u16, 2, 8);
by_lane!(dwords, u32, 4, 4);
by_lane!(qwords, u64, 8, 2);

#[inline(always)]
fn low(v: u128) -> u64 {
    v as u64
}

#[inline(always)]
fn high(v: u128) -> u64 {
    (v >> 64) as u64
}

#[inline(always)]
fn join(high: u64, low: u64) -> u128 {
    u128::from(high) << 64 | u128::from(low)
}

fn word(v: u128, n: u32) -> u16 {
    (v >> (16 * n)) as u16
}

fn dword(v: u128, n: u32) -> u32 {
    (v >> (32 * n)) as u32
}

/// All ones where `condition`, by lane.
macro_rules! mask {
    ($type:ty, $condition:expr) => {
        if $condition { <$type>::MAX } else { 0 }
    };
}

/// `a op b`.
#[inline(always)]
pub fn evaluate(op: VectorOp, a: u128, b: u128) -> u128 {
    use VectorOp as V;
    match op {
        V::Second => b,
        V::And => a & b,
        V::AndNot => !a & b,
        V::Or => a | b,
        V::Xor => a ^ b,
        V::Add(Lane::B) => bytes(a, b, u8::wrapping_add),
        V::Add(Lane::W) => words(a, b, u16::wrapping_add),
        V::Add(Lane::D) => dwords(a, b, u32::wrapping_add),
        V::Add(Lane::Q) => qwords(a, b, u64::wrapping_add),
        V::Sub(Lane::B) => bytes(a, b, u8::wrapping_sub),
        V::Sub(Lane::W) => words(a, b, u16::wrapping_sub),
        V::Sub(Lane::D) => dwords(a, b, u32::wrapping_sub),
        V::Sub(Lane::Q) => qwords(a, b, u64::wrapping_sub),
        V::AddSigned(Lane::B) => bytes(a, b, |a, b| (a as i8).saturating_add(b as i8) as u8),
        V::AddSigned(_) => words(a, b, |a, b| (a as i16).saturating_add(b as i16) as u16),
        V::AddUnsigned(Lane::B) => bytes(a, b, u8::saturating_add),
        V::AddUnsigned(_) => words(a, b, u16::saturating_add),
        V::SubSigned(Lane::B) => bytes(a, b, |a, b| (a as i8).saturating_sub(b as i8) as u8),
        V::SubSigned(_) => words(a, b, |a, b| (a as i16).saturating_sub(b as i16) as u16),
        V::SubUnsigned(Lane::B) => bytes(a, b, u8::saturating_sub),
        V::SubUnsigned(_) => words(a, b, u16::saturating_sub),
        V::MultiplyLow => words(a, b, u16::wrapping_mul),
        V::MultiplyHigh => words(a, b, |a, b| ((i32::from(a as i16) * i32::from(b as i16)) >> 16) as u16),
        V::MultiplyHighUnsigned => words(a, b, |a, b| ((u32::from(a) * u32::from(b)) >> 16) as u16),
        V::MultiplyWide => qwords(a, b, |a, b| (a & 0xffff_ffff) * (b & 0xffff_ffff)),
        V::MultiplyAdd => dwords(a, b, |a, b| {
            let product = |shift: u32| i32::from((a >> shift) as i16) * i32::from((b >> shift) as i16);
            product(0).wrapping_add(product(16)) as u32
        }),
        V::SumOfDifferences => {
            qwords(a, b, |a, b| a.to_le_bytes().iter().zip(b.to_le_bytes()).map(|(a, b)| u64::from(a.abs_diff(b))).sum())
        }
        V::Average(Lane::B) => bytes(a, b, |a, b| ((u16::from(a) + u16::from(b) + 1) >> 1) as u8),
        V::Average(_) => words(a, b, |a, b| ((u32::from(a) + u32::from(b) + 1) >> 1) as u16),
        V::MaxUnsigned(Lane::B) => bytes(a, b, u8::max),
        V::MaxUnsigned(Lane::W) => words(a, b, u16::max),
        V::MaxUnsigned(_) => dwords(a, b, u32::max),
        V::MinUnsigned(Lane::B) => bytes(a, b, u8::min),
        V::MinUnsigned(Lane::W) => words(a, b, u16::min),
        V::MinUnsigned(_) => dwords(a, b, u32::min),
        V::MaxSigned(Lane::B) => bytes(a, b, |a, b| (a as i8).max(b as i8) as u8),
        V::MaxSigned(Lane::W) => words(a, b, |a, b| (a as i16).max(b as i16) as u16),
        V::MaxSigned(_) => dwords(a, b, |a, b| (a as i32).max(b as i32) as u32),
        V::MinSigned(Lane::B) => bytes(a, b, |a, b| (a as i8).min(b as i8) as u8),
        V::MinSigned(Lane::W) => words(a, b, |a, b| (a as i16).min(b as i16) as u16),
        V::MinSigned(_) => dwords(a, b, |a, b| (a as i32).min(b as i32) as u32),
        V::Equal(Lane::B) => bytes(a, b, |a, b| mask!(u8, a == b)),
        V::Equal(Lane::W) => words(a, b, |a, b| mask!(u16, a == b)),
        V::Equal(Lane::D) => dwords(a, b, |a, b| mask!(u32, a == b)),
        V::Equal(Lane::Q) => qwords(a, b, |a, b| mask!(u64, a == b)),
        V::Greater(Lane::B) => bytes(a, b, |a, b| mask!(u8, a as i8 > b as i8)),
        V::Greater(Lane::W) => words(a, b, |a, b| mask!(u16, a as i16 > b as i16)),
        V::Greater(Lane::D) => dwords(a, b, |a, b| mask!(u32, a as i32 > b as i32)),
        V::Greater(Lane::Q) => qwords(a, b, |a, b| mask!(u64, a as i64 > b as i64)),
        V::ShiftLeft(_) | V::ShiftRight(_) | V::ShiftRightSigned(_) => shift(op, a, low(b)),
        V::ShiftLeftEach(Lane::D) => dwords(a, b, |a, count| a.checked_shl(count).unwrap_or(0)),
        V::ShiftLeftEach(_) => qwords(a, b, |a, count| a.checked_shl(count.min(64) as u32).unwrap_or(0)),
        V::ShiftRightEach(Lane::D) => dwords(a, b, |a, count| a.checked_shr(count).unwrap_or(0)),
        V::ShiftRightEach(_) => qwords(a, b, |a, count| a.checked_shr(count.min(64) as u32).unwrap_or(0)),
        V::ShiftRightSignedEach(_) => dwords(a, b, |a, count| (a as i32 >> count.min(31)) as u32),
        V::ShiftBytesLeft => a.checked_shl(8 * low(b).min(16) as u32).unwrap_or(0),
        V::ShiftBytesRight => a.checked_shr(8 * low(b).min(16) as u32).unwrap_or(0),
        V::UnpackLow(lane) => unpack(lane, low(a), low(b)),
        V::UnpackHigh(lane) => unpack(lane, high(a), high(b)),
        V::PackSignedWords | V::PackUnsignedWords | V::PackSignedDwords | V::PackUnsignedDwords => join(pack(op, b), pack(op, a)),
        V::ShuffleDwords(order) => from_dwords([0, 1, 2, 3].map(|n| dword(b, choice(order, n)))),
        V::ShuffleLowWords(order) => join(high(b), shuffle_words(low(b), order)),
        V::ShuffleHighWords(order) => join(shuffle_words(high(b), order), low(b)),
        V::ShuffleSingles(order) => from_dwords([0, 1, 2, 3].map(|n| dword(if n < 2 { a } else { b }, choice(order, n)))),
        V::ShuffleDoubles(order) => {
            join(if order & 2 != 0 { high(b) } else { low(b) }, if order & 1 != 0 { high(a) } else { low(a) })
        }
        V::MergeLow(Lane::D) => a & !0xffff_ffff | b & 0xffff_ffff,
        V::MergeLow(_) => join(high(a), low(b)),
        V::LowToHigh => join(low(b), low(a)),
        V::HighToLow => join(high(a), high(b)),
        V::LowQuadword => low(b).into(),
        V::Broadcast(Lane::B) => u128::MAX / 0xff * (b & 0xff),
        V::Broadcast(Lane::W) => u128::MAX / 0xffff * (b & 0xffff),
        V::Broadcast(Lane::D) => u128::MAX / 0xffff_ffff * (b & 0xffff_ffff),
        V::Broadcast(Lane::Q) => join(low(b), low(b)),
        V::PermuteSingles => from_dwords([0, 1, 2, 3].map(|n| dword(a, dword(b, n) & 3))),
        V::PermuteDoubles => {
            let choose = |control: u64| if control & 2 != 0 { high(a) } else { low(a) };
            join(choose(high(b)), choose(low(b)))
        }
        V::Signs(lane) => signs(lane, b),
        V::Test => test(a, b),
        V::TestSigns(lane) => test(signs(lane, a), signs(lane, b)),
        V::Rearrange(op) => rearrange::evaluate(op, a, b),
        V::Product(op) => products::evaluate(op, a, b),
        V::Horizontal(op) => horizontal::evaluate(op, a, b),
        V::Aes(op) => aes::evaluate(op, a, b),
        V::Sha(op) => sha::evaluate(op, a, b),
        V::CarrylessProduct(halves) => carryless::multiply(halves, a, b),
        V::StringLengths(immediate) => string_compare::implicit_lengths(immediate, a, b),
        V::StringIndex(immediate) => string_compare::index(immediate, b),
        V::StringMask(immediate) => string_compare::mask(immediate, b),
    }
}

/// The two bits of `order` that choose lane `n`.
fn choice(order: u8, n: u32) -> u32 {
    u32::from(order >> (2 * n) & 3)
}

fn from_dwords(lanes: [u32; 4]) -> u128 {
    lanes.iter().rev().fold(0, |v, lane| v << 32 | u128::from(*lane))
}

fn shuffle_words(v: u64, order: u8) -> u64 {
    (0..4).rev().fold(0, |result, n| result << 16 | u64::from(word(v.into(), choice(order, n))))
}

/// By-lane shifts; a count that reaches the lane's width leaves zeros, or signs.
#[inline(always)]
fn shift(op: VectorOp, a: u128, count: u64) -> u128 {
    use VectorOp as V;
    let within = |bits: u64| count.min(bits) as u32;
    match op {
        V::ShiftLeft(Lane::W) => words(a, 0, |a, _| a.checked_shl(within(16)).unwrap_or(0)),
        V::ShiftLeft(Lane::D) => dwords(a, 0, |a, _| a.checked_shl(within(32)).unwrap_or(0)),
        V::ShiftLeft(_) => qwords(a, 0, |a, _| a.checked_shl(within(64)).unwrap_or(0)),
        V::ShiftRight(Lane::W) => words(a, 0, |a, _| a.checked_shr(within(16)).unwrap_or(0)),
        V::ShiftRight(Lane::D) => dwords(a, 0, |a, _| a.checked_shr(within(32)).unwrap_or(0)),
        V::ShiftRight(_) => qwords(a, 0, |a, _| a.checked_shr(within(64)).unwrap_or(0)),
        V::ShiftRightSigned(Lane::W) => words(a, 0, |a, _| (a as i16 >> within(15)) as u16),
        V::ShiftRightSigned(Lane::D) => dwords(a, 0, |a, _| (a as i32 >> within(31)) as u32),
        _ => qwords(a, 0, |a, _| (a as i64 >> within(63)) as u64),
    }
}

/// The lanes of `a` and `b`, alternating, `a`'s first.
fn unpack(lane: Lane, a: u64, b: u64) -> u128 {
    if lane == Lane::Q {
        return join(b, a);
    }
    let bits = lane.bits();
    let mask = (1u128 << bits) - 1;
    (0..64 / bits).rev().fold(0, |v, n| {
        let pick = |from: u64| u128::from(from) >> (n * bits) & mask;
        v << (2 * bits) | pick(b) << bits | pick(a)
    })
}

/// The lanes of `v` at half their width, saturated.
fn pack(op: VectorOp, v: u128) -> u64 {
    match op {
        VectorOp::PackSignedDwords => (0..4).rev().fold(0, |result, n| {
            let lane = (dword(v, n) as i32).clamp(i16::MIN.into(), i16::MAX.into());
            result << 16 | u64::from(lane as u16)
        }),
        VectorOp::PackUnsignedDwords => {
            (0..4).rev().fold(0, |result, n| result << 16 | (dword(v, n) as i32).clamp(0, u16::MAX.into()) as u64)
        }
        _ => (0..8).rev().fold(0, |result, n| {
            let lane = word(v, n) as i16;
            let byte = if op == VectorOp::PackSignedWords {
                lane.clamp(i8::MIN.into(), i8::MAX.into()) as u8
            } else {
                lane.clamp(0, 255) as u8
            };
            result << 8 | u64::from(byte)
        }),
    }
}

/// The flags of PTEST, as an image of RFLAGS.
fn test(a: u128, b: u128) -> u128 {
    let mut flags = RFlags::empty();
    flags.set(RFlags::ZF, a & b == 0);
    flags.set(RFlags::CF, !a & b == 0);
    flags.bits().into()
}

/// The sign bit of each lane, the first lane's lowest.
fn signs(lane: Lane, v: u128) -> u128 {
    let bits = lane.bits();
    (0..128 / bits).fold(0, |mask, n| mask | (v >> (n * bits + bits - 1) & 1) << n)
}
