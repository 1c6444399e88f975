//! The registers that the decoder's information has names for, as bytes of the complete state.

use dragoman_state::{Cr0, Cr4, Dr6, Dr7, F80, Gpr, VcpuState};
use iced_x86::Register;

/// A register of its full width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A general-purpose register, eight bytes.
    Gpr(u8),
    /// A vector register, 64 bytes, of which [`VECTOR`] are there.
    Vector(u8),
    /// A physical register of the x87 unit, ten bytes; an MMX register is its lower eight.
    X87(u8),
    /// A segment register with its hidden part, as one.
    Segment(u8),
    /// A control register.
    Control(u8),
    /// A debug register.
    Debug(u8),
}

/// How a place is given another value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoil {
    /// Every bit is inverted.
    Inverted,
    /// The lowest bit of each byte is.
    Small,
}

/// A set of a place's bytes, one bit each.
pub type Bytes = u64;

/// What there is of a vector register on a processor without AVX-512: the tables have more written.
pub const VECTOR: Bytes = 0xffff_ffff;

impl Place {
    /// Every place that an instruction of `register_count` general-purpose registers can name.
    pub fn all(register_count: usize) -> impl Iterator<Item = Self> {
        let count = register_count as u8;
        (0..count)
            .flat_map(|n| [Self::Gpr(n), Self::Vector(n)])
            .chain((0..8).map(Self::X87))
            .chain((0..6).map(Self::Segment))
            .chain([0, 2, 3, 4, 8].map(Self::Control))
            .chain([0, 1, 2, 3, 6, 7].map(Self::Debug))
    }

    /// Where `register` is, and which bytes of it: with `top` the x87 unit's top of stack. Nothing for the instruction pointer.
    pub fn of(register: Register, top: usize) -> Option<(Self, Bytes)> {
        use Register::{AH, BH, CH, DH, EIP, RIP};
        let number = register.number() as u8;
        let low = |size: usize| if size >= 64 { u64::MAX } else { (1 << size) - 1 };
        Some(match register {
            RIP | EIP => return None,
            AH | BH | CH | DH => (Self::Gpr(register.full_register().number() as u8), 0b10),
            _ if register.is_gpr() => (Self::Gpr(register.full_register().number() as u8), low(register.size())),
            _ if register.is_vector_register() => (Self::Vector(number), low(register.size()) & VECTOR),
            _ if register.is_st() => (Self::X87((top as u8 + number) & 7), low(10)),
            _ if register.is_mm() => (Self::X87(number), low(8)),
            _ if register.is_segment_register() => (Self::Segment(number), 1),
            _ if register.is_cr() => (Self::Control(number), 1),
            _ if register.is_dr() => (Self::Debug(number), 1),
            _ => return None,
        })
    }

    /// What it holds. Of places that count as one byte, all of it.
    pub fn get(self, state: &VcpuState) -> [u8; 64] {
        let mut bytes = [0; 64];
        let mut put = |from: usize, value: &[u8]| bytes[from..from + value.len()].copy_from_slice(value);
        match self {
            Self::Gpr(n) => put(0, &state.gpr[Gpr(n)].to_le_bytes()),
            Self::Vector(n) => {
                for (k, lane) in state.vectors.registers[usize::from(n)].iter().enumerate() {
                    put(8 * k, &lane.to_le_bytes());
                }
            }
            Self::X87(n) => put(0, &state.x87.registers[usize::from(n)].to_le_bytes()),
            Self::Segment(_) | Self::Control(_) | Self::Debug(_) => {}
        }
        bytes
    }

    /// The bytes in which `a` and `b` have it different.
    pub fn differing(self, a: &VcpuState, b: &VcpuState) -> Bytes {
        let is_one = match self {
            Self::Segment(n) => a.segments[usize::from(n)] != b.segments[usize::from(n)],
            Self::Control(0) => a.cr0 != b.cr0,
            Self::Control(2) => a.cr2 != b.cr2,
            Self::Control(3) => a.cr3 != b.cr3,
            Self::Control(4) => a.cr4 != b.cr4,
            Self::Control(_) => a.lapic.task_priority != b.lapic.task_priority,
            Self::Debug(6) => a.dr6 != b.dr6,
            Self::Debug(7) => a.dr7 != b.dr7,
            Self::Debug(n) => a.breakpoints[usize::from(n) & 3] != b.breakpoints[usize::from(n) & 3],
            Self::Gpr(_) | Self::Vector(_) | Self::X87(_) => {
                let (a, b) = (self.get(a), self.get(b));
                return (0..64).filter(|n| a[*n] != b[*n]).fold(0, |all, n| all | 1 << n);
            }
        };
        is_one.into()
    }

    /// Whether another value can be put there without more ado. What control and debug registers hold decides how the
    /// processor works.
    pub fn is_free(self) -> bool {
        !matches!(self, Self::Control(_) | Self::Debug(_))
    }

    /// Gives `bytes` of it other values, in one of two ways: every bit the opposite, or a small change. Of a segment, the
    /// base moves, or the selector is another.
    pub fn spoil(self, state: &mut VcpuState, bytes: Bytes, how: Spoil) {
        let change: u8 = if how == Spoil::Small { 1 } else { 0xff };
        let mask = |from: usize| {
            (0..8).filter(|n| bytes >> (from + n) & 1 != 0).fold(0_u64, |all, n| all | u64::from(change) << (8 * n))
        };
        match self {
            Self::Gpr(n) => state.gpr[Gpr(n)] ^= mask(0),
            Self::Vector(n) => {
                for (k, lane) in state.vectors.registers[usize::from(n)].iter_mut().enumerate() {
                    *lane ^= mask(8 * k);
                }
            }
            Self::X87(n) => {
                let register = &mut state.x87.registers[usize::from(n)];
                let mut all = register.to_le_bytes();
                for (k, byte) in all.iter_mut().enumerate().filter(|(k, _)| bytes >> k & 1 != 0) {
                    // A number stays one.
                    *byte ^= change & if k == 7 && bytes >> 8 & 1 != 0 { 0x7f } else { 0xff };
                }
                *register = F80::from_le_bytes(all);
            }
            Self::Segment(n) => {
                let segment = &mut state.segments[usize::from(n)];
                match how {
                    Spoil::Inverted => segment.base = segment.base.wrapping_add(0x100_0000) & 0xffff_ffff,
                    Spoil::Small => segment.selector ^= 8,
                }
            }
            Self::Control(0) => state.cr0 ^= Cr0::NE,
            Self::Control(2) => state.cr2 ^= u64::MAX,
            Self::Control(3) => state.cr3 ^= 0x1000,
            Self::Control(4) => state.cr4 ^= Cr4::TSD,
            Self::Control(_) => state.lapic.task_priority ^= 0xf0,
            Self::Debug(6) => state.dr6 ^= Dr6::from_bits_retain(1),
            Self::Debug(7) => state.dr7 ^= Dr7::from_bits_retain(0x3_0000),
            Self::Debug(n) => state.breakpoints[usize::from(n) & 3] ^= 0xffff,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const GPR: [&str; 16] =
            ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];
        match self {
            Self::Gpr(n) => f.write_str(GPR[usize::from(n & 15)]),
            Self::Vector(n) => write!(f, "vector {n}"),
            Self::X87(n) => write!(f, "x87 {n}"),
            Self::Segment(n) => f.write_str(["es", "cs", "ss", "ds", "fs", "gs"][usize::from(*n) % 6]),
            Self::Control(n) => write!(f, "cr{n}"),
            Self::Debug(n) => write!(f, "dr{n}"),
        }
    }
}
