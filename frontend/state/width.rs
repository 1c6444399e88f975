//! Operand width as a value: an instruction's meaning is written once and told its width at run time.

/// The width of an integer operand. The discriminant is the binary logarithm of the size in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum Width {
    /// 8 bits.
    #[default]
    Byte = 0,
    /// 16 bits.
    Word = 1,
    /// 32 bits.
    Dword = 2,
    /// 64 bits.
    Qword = 3,
}

impl Width {
    /// Every width, narrowest first.
    pub const ALL: [Self; 4] = [Self::Byte, Self::Word, Self::Dword, Self::Qword];

    /// The width of an operand of `bytes` bytes, where there is one.
    pub const fn from_bytes(bytes: usize) -> Option<Self> {
        match bytes {
            1 => Some(Self::Byte),
            2 => Some(Self::Word),
            4 => Some(Self::Dword),
            8 => Some(Self::Qword),
            _ => None,
        }
    }

    /// Size in bytes: 1, 2, 4 or 8.
    #[inline(always)]
    pub const fn bytes(self) -> u64 {
        1 << self as u8
    }

    /// Size in bits: 8, 16, 32 or 64.
    #[inline(always)]
    pub const fn bits(self) -> u32 {
        8 << self as u8
    }

    /// All ones in the bits of this width.
    #[inline(always)]
    pub const fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits())
    }

    /// The most significant bit of this width.
    #[inline(always)]
    pub const fn sign_bit(self) -> u64 {
        1 << (self.bits() - 1)
    }

    /// `value` with the bits above this width cleared.
    #[inline(always)]
    pub const fn truncate(self, value: u64) -> u64 {
        value & self.mask()
    }

    /// `value`, whose low bits are an operand of this width, extended to 64 bits by its sign.
    #[inline(always)]
    pub const fn sign_extend(self, value: u64) -> u64 {
        let shift = 64 - self.bits();
        ((value << shift) as i64 >> shift) as u64
    }
}
