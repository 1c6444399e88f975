//! The x87 unit's registers. MMX registers are the significands of the same eight.
//! SDM: vol. 1 §8.1.

use bitflags::bitflags;

/// A number in double extended precision, as the eight data registers hold it.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct F80 {
    /// 64 bits with the integer bit explicit in bit 63.
    pub significand: u64,
    /// Sign in bit 15, biased exponent below it.
    pub sign_exponent: u16,
}

impl F80 {
    /// The ten bytes that stores write, least significant first.
    pub const fn to_le_bytes(self) -> [u8; 10] {
        let s = self.significand.to_le_bytes();
        let e = self.sign_exponent.to_le_bytes();
        [s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], e[0], e[1]]
    }

    /// The number that ten bytes in memory order hold.
    pub const fn from_le_bytes(b: [u8; 10]) -> Self {
        Self {
            significand: u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]),
            sign_exponent: u16::from_le_bytes([b[8], b[9]]),
        }
    }
}

impl std::fmt::Debug for F80 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "F80({:04x}{:016x})", self.sign_exponent, self.significand)
    }
}

bitflags! {
    /// The x87 status word. The top-of-stack field is [`X87State::top`].
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    #[repr(transparent)]
    pub struct StatusWord: u16 {
        /// Invalid operation.
        const IE = 1 << 0;
        /// Denormal operand.
        const DE = 1 << 1;
        /// Division by zero.
        const ZE = 1 << 2;
        /// Overflow.
        const OE = 1 << 3;
        /// Underflow.
        const UE = 1 << 4;
        /// Inexact result.
        const PE = 1 << 5;
        /// Stack fault.
        const SF = 1 << 6;
        /// An unmasked exception is pending.
        const ES = 1 << 7;
        /// Condition code 0.
        const C0 = 1 << 8;
        /// Condition code 1.
        const C1 = 1 << 9;
        /// Condition code 2.
        const C2 = 1 << 10;
        /// Top of stack, three bits.
        const TOP = 7 << 11;
        /// Condition code 3.
        const C3 = 1 << 14;
        /// Busy; a copy of ES.
        const B = 1 << 15;
    }
}

/// The whole state of the x87 unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct X87State {
    /// Physical registers R0 to R7; ST(i) is register (top + i) modulo 8.
    pub registers: [F80; 8],
    /// Address of the last non-control instruction.
    pub instruction_pointer: u64,
    /// Address of its memory operand.
    pub data_pointer: u64,
    /// Control word.
    pub control: u16,
    /// Status word, top of stack included.
    pub status: StatusWord,
    /// Opcode of the last non-control instruction, 11 bits.
    pub opcode: u16,
    /// Selector of the instruction pointer, on processors that keep it.
    pub instruction_selector: u16,
    /// Selector of the data pointer, on processors that keep it.
    pub data_selector: u16,
    /// One bit a physical register, set where it is not empty: the tag word as FXSAVE abridges it.
    pub valid: u8,
}

impl X87State {
    /// What FNINIT leaves, the registers' contents apart: everything masked, 64-bit precision, all empty.
    pub const fn initialised(registers: [F80; 8]) -> Self {
        Self {
            registers,
            instruction_pointer: 0,
            data_pointer: 0,
            control: 0x37f,
            status: StatusWord::empty(),
            opcode: 0,
            instruction_selector: 0,
            data_selector: 0,
            valid: 0,
        }
    }

    /// What power-on leaves: a control word that nothing else produces, and registers holding zero.
    pub const fn power_on() -> Self {
        let mut state = Self::initialised([F80 { significand: 0, sign_exponent: 0 }; 8]);
        state.control = 0x40;
        state.valid = 0xff;
        state
    }

    /// The physical register that ST(0) is, 0 to 7.
    pub const fn top(&self) -> usize {
        (self.status.bits() >> 11 & 7) as usize
    }

    /// Makes physical register `top` (modulo 8) ST(0).
    pub const fn set_top(&mut self, top: usize) {
        let rest = self.status.bits() & !StatusWord::TOP.bits();
        self.status = StatusWord::from_bits_retain(rest | (top as u16 & 7) << 11);
    }

    /// Sets ES and B where an exception is raised that the control word does not mask, and clears them where none is.
    pub fn refresh_summary(&mut self) {
        let is_pending = self.status.bits() & !self.control & 0x3f != 0;
        self.status.set(StatusWord::ES | StatusWord::B, is_pending);
    }

    /// MMX register `n`.
    pub const fn mmx(&self, n: u8) -> u64 {
        self.registers[(n & 7) as usize].significand
    }

    /// Writes MMX register `n`: the exponent above it becomes all ones.
    pub const fn set_mmx(&mut self, n: u8, value: u64) {
        self.registers[(n & 7) as usize] = F80 { significand: value, sign_exponent: 0xffff };
    }

    /// What every MMX instruction but EMMS does: no register is empty, and ST(0) is register 0.
    pub const fn become_mmx(&mut self) {
        self.set_top(0);
        self.valid = 0xff;
    }

    /// The full tag word: two bits a physical register, 0 valid, 1 zero, 2 special, 3 empty.
    pub fn tag_word(&self) -> u16 {
        (0..8).fold(0, |tags, n| tags | self.tag(n) << (2 * n))
    }

    fn tag(&self, n: usize) -> u16 {
        let F80 { significand, sign_exponent } = self.registers[n];
        match (self.valid >> n & 1, sign_exponent & 0x7fff, significand) {
            (0, ..) => 3,
            (_, 0, 0) => 1,
            (_, 1..=0x7ffe, 0x8000_0000_0000_0000..) => 0,
            _ => 2,
        }
    }

    /// Sets which registers are empty from a full tag word; only "empty" is remembered, as in the processor.
    pub fn set_tag_word(&mut self, tags: u16) {
        self.valid = (0..8).fold(0, |valid, n| valid | u8::from(tags >> (2 * n) & 3 != 3) << n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_follow_the_contents_of_registers_that_are_not_empty() {
        let mut x87 = X87State::initialised([F80::default(); 8]);
        x87.registers[1] = F80 { significand: 1 << 63, sign_exponent: 0x3fff };
        x87.registers[2] = F80 { significand: 1 << 63, sign_exponent: 0x7fff };
        x87.registers[3] = F80 { significand: 1, sign_exponent: 0 };
        x87.valid = 0b0000_1111;
        assert_eq!(x87.tag_word(), 0b11_11_11_11_10_10_00_01);
        let tags = x87.tag_word();
        x87.valid = 0;
        x87.set_tag_word(tags);
        assert_eq!(x87.valid, 0b0000_1111);
    }

    #[test]
    fn the_top_of_stack_wraps() {
        let mut x87 = X87State::power_on();
        x87.set_top(8 + 5);
        assert_eq!(x87.top(), 5);
        assert_eq!(x87.status, StatusWord::from_bits_retain(5 << 11));
    }
}
