//! Numbers as rows of bits.

use super::Fate;

/// A number of `width` bits, at most 128. Bits above the width are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits {
    value: u128,
    width: u32,
}

impl Bits {
    /// The low `width` bits of `value`.
    pub fn new(value: u64, width: u32) -> Self {
        let mut bits = Self::zero(width);
        for n in 0..width.min(64) {
            bits.set(n, value >> n & 1 != 0);
        }
        bits
    }

    /// Zero.
    pub fn zero(width: u32) -> Self {
        assert!((1..=128).contains(&width), "a number of {width} bits");
        Self { value: 0, width }
    }

    /// How many bits there are.
    pub fn width(self) -> u32 {
        self.width
    }

    /// Bit `n`.
    pub fn bit(self, n: u32) -> bool {
        assert!(n < self.width, "bit {n} of {}", self.width);
        self.value >> n & 1 != 0
    }

    /// Writes bit `n`.
    pub fn set(&mut self, n: u32, bit: bool) {
        assert!(n < self.width, "bit {n} of {}", self.width);
        self.value = self.value & !(1 << n) | u128::from(bit) << n;
    }

    /// The lowest bit.
    pub fn lowest(self) -> bool {
        self.bit(0)
    }

    /// The highest bit: the sign.
    pub fn highest(self) -> bool {
        self.bit(self.width - 1)
    }

    /// Each bit from two bits at the same place.
    pub fn zip(self, other: Self, of: impl Fn(bool, bool) -> bool) -> Self {
        let mut result = Self::zero(self.width);
        for n in 0..self.width {
            result.set(n, of(self.bit(n), other.bit(n)));
        }
        result
    }

    /// Each bit inverted.
    pub fn not(self) -> Self {
        self.zip(self, |bit, _| !bit)
    }

    /// `width` bits from bit `from` up.
    pub fn part(self, from: u32, width: u32) -> Self {
        let mut result = Self::zero(width);
        for n in 0..width {
            result.set(n, self.bit(from + n));
        }
        result
    }

    /// As `width` bits, which are no fewer; `fill` is put above.
    pub fn extend(self, width: u32, fill: bool) -> Self {
        let mut result = Self::zero(width);
        for n in 0..width {
            result.set(n, if n < self.width { self.bit(n) } else { fill });
        }
        result
    }

    /// As `width` bits, its sign repeated above.
    pub fn extend_sign(self, width: u32) -> Self {
        self.extend(width, self.highest())
    }

    /// One place up; `low` comes in, and what goes out is returned.
    pub fn push_up(&mut self, low: bool) -> bool {
        let out = self.highest();
        for n in (1..self.width).rev() {
            self.set(n, self.bit(n - 1));
        }
        self.set(0, low);
        out
    }

    /// One place down; `high` comes in, and what goes out is returned.
    pub fn push_down(&mut self, high: bool) -> bool {
        let out = self.lowest();
        for n in 0..self.width - 1 {
            self.set(n, self.bit(n + 1));
        }
        self.set(self.width - 1, high);
        out
    }

    /// Whether no bit is set.
    pub fn is_zero(self) -> bool {
        (0..self.width).all(|n| !self.bit(n))
    }

    /// Whether an even number of the low eight bits is set.
    pub fn is_even_parity(self) -> bool {
        (0..8).fold(true, |even, n| even ^ self.bit(n))
    }

    /// The number, whose upper half is zero where there is one.
    pub fn value(self) -> u64 {
        self.value as u64
    }

    /// What a result leaves in SF, ZF and PF.
    pub fn sign_zero_parity(self) -> (Fate, Fate, Fate) {
        (Fate::Is(self.highest()), Fate::Is(self.is_zero()), Fate::Is(self.is_even_parity()))
    }
}
