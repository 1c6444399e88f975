//! Operands of random programs: registers that may be written, and memory that is there.

use iced_x86::{MemoryOperand, Register};

use super::List;
use crate::{generate::Random, layout::DATA as MEMORY};

/// Registers whose values are anything. The others lead to memory or count rounds.
const DATA: [u8; 10] = [0, 1, 2, 7, 8, 9, 10, 11, 12, 13];
/// Registers that point to data, and are never written but to be moved and moved back: see `Scene` of the test.
pub const POINTERS: [Register; 4] = [Register::RBX, Register::RSI, Register::R14, Register::RBP];
/// The same of 32-bit code.
const NARROW_DATA: [u8; 4] = [0, 1, 2, 7];
pub const NARROW_POINTERS: [Register; 3] = [Register::EBX, Register::ESI, Register::EBP];
/// The bases of FS and GS there: one leads beyond 4 GiB and back to the start.
pub(super) const BASES: [u64; 2] = [0xffff_f000, 0x1_0000];

/// A general-purpose register `bytes` wide.
pub fn register(random: &mut Random, list: &List, bytes: usize) -> Register {
    let n = u32::from(if list.is_narrow { random.pick(&NARROW_DATA) } else { random.pick(&DATA) });
    match bytes {
        8 => Register::RAX + n,
        4 => Register::EAX + n,
        2 => Register::AX + n,
        _ if list.is_narrow => byte(random, n % 3),
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
pub fn vector(random: &mut Random, list: &List, first: Register) -> Register {
    first + random.below(if list.is_narrow { 8 } else { 16 }) as u32
}

const DISPLACEMENTS: [i64; 10] = [0, 0, 1, 8, -8, 24, 40, 127, -128, 200];

/// Memory whose address is the pointer's own, whatever the segment: what may also be reached through another. With a base,
/// a wrong one would lead to code, and who overwrites that may never come to an end.
pub fn flat_memory(random: &mut Random, list: &List) -> MemoryOperand {
    if list.is_narrow {
        return MemoryOperand::with_base_displ(random.pick(&NARROW_POINTERS), random.pick(&DISPLACEMENTS));
    }
    memory(random, list)
}

/// Memory near one of the pointers.
pub fn memory(random: &mut Random, list: &List) -> MemoryOperand {
    let displacement = random.pick(&DISPLACEMENTS);
    if list.is_narrow {
        return narrow_memory(random, displacement);
    }
    let base = random.pick(&POINTERS);
    if random.one_in(12) {
        return MemoryOperand::with_base_displ(Register::RIP, MEMORY as i64 + 64 + displacement);
    }
    if random.one_in(10) {
        // R15 counts rounds: a small number.
        return MemoryOperand::with_base_index_scale_displ_size(base, Register::R15, 8, displacement, 1);
    }
    MemoryOperand::with_base_displ(base, displacement)
}

fn narrow_memory(random: &mut Random, displacement: i64) -> MemoryOperand {
    let base = random.pick(&NARROW_POINTERS);
    let (segment, less) = match random.below(12) {
        0 => (Register::FS, BASES[0]),
        1 => (Register::GS, BASES[1]),
        2 => (Register::ES, 0),
        _ => (Register::None, 0),
    };
    let displacement = (displacement as u32).wrapping_sub(less as u32);
    if random.one_in(8) {
        let at = displacement.wrapping_add(MEMORY as u32 + 192);
        return MemoryOperand::new(Register::None, Register::None, 1, at.into(), 4, false, segment);
    }
    let size = if displacement == 0 { 0 } else { 1 };
    MemoryOperand::new(base, Register::None, 1, i64::from(displacement as i32), size, false, segment)
}
