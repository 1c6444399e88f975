//! Operands of random programs: registers that may be written, and memory that is there.

use iced_x86::{MemoryOperand, Register};

use crate::generate::Random;

/// Registers whose values are anything. The others lead to memory or count rounds.
const DATA: [u8; 10] = [0, 1, 2, 7, 8, 9, 10, 11, 12, 13];
/// Registers that point to data, and are never written but to be moved and moved back: see `Scene` of the test.
pub const POINTERS: [Register; 4] = [Register::RBX, Register::RSI, Register::R14, Register::RBP];

/// A general-purpose register `bytes` wide.
pub fn register(random: &mut Random, bytes: usize) -> Register {
    let n = u32::from(random.pick(&DATA));
    match bytes {
        8 => Register::RAX + n,
        4 => Register::EAX + n,
        2 => Register::AX + n,
        _ => byte(random, n),
    }
}

fn byte(random: &mut Random, n: u32) -> Register {
    match n {
        0..=2 if random.one_in(4) => Register::AH + n,
        0..=3 => Register::AL + n,
        _ => Register::SPL + (n - 4),
    }
}

/// A register that goes with one that may be AH to DH.
pub fn plain_byte(random: &mut Random) -> Register {
    Register::AL + random.below(3) as u32
}

/// Vector register 0 to 15.
pub fn vector(random: &mut Random, first: Register) -> Register {
    first + random.below(16) as u32
}

/// Memory near one of the pointers.
pub fn memory(random: &mut Random) -> MemoryOperand {
    let displacement = random.pick(&[0i64, 0, 1, 8, -8, 24, 40, 127, -128, 200]);
    let base = random.pick(&POINTERS);
    if random.one_in(12) {
        return MemoryOperand::with_base_displ(Register::RIP, crate::layout::DATA as i64 + 64 + displacement);
    }
    if random.one_in(10) {
        // R15 counts rounds: a small number.
        return MemoryOperand::with_base_index_scale_displ_size(base, Register::R15, 8, displacement, 1);
    }
    MemoryOperand::with_base_displ(base, displacement)
}
