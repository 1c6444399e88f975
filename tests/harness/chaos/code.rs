//! Random code: bytes that mean nothing, encodings that mean something, and both mixed and damaged.

use super::{
    descriptors::any_selector,
    encodings::{Anchor, Encoding, Purpose, Span, stock},
    pointers,
    recipe::Recipe,
    registers::MODEL_REGISTERS,
};
use crate::{
    Mode,
    generate::{Random, integer},
    layout::{CODE, HANDLERS},
};

/// How code looks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    /// Bytes by chance.
    Bytes,
    /// Encodings, now and then something else.
    Encodings,
    /// Encodings, many of them damaged.
    Damaged,
}

/// Code of `length` bytes for the guest of `recipe`.
pub fn code(random: &mut Random, recipe: &Recipe, length: usize) -> Vec<u8> {
    let style = random.pick(&[Style::Bytes, Style::Encodings, Style::Encodings, Style::Damaged]);
    let mut bytes = Vec::with_capacity(length + 32);
    while bytes.len() < length {
        let choice = random.below(32);
        match style {
            Style::Bytes => bytes.push(random.bits() as u8),
            _ if choice == 0 => idiom(random, recipe, &mut bytes),
            _ if choice == 1 => {
                let count = 1 + random.below(8);
                bytes.extend((0..count).map(|_| random.bits() as u8));
            }
            _ if style == Style::Damaged && choice < 16 => {
                let mut one = encoding(random, recipe);
                damage(random, &mut one);
                bytes.extend(one);
            }
            _ => bytes.extend(encoding(random, recipe)),
        }
    }
    bytes.truncate(length);
    bytes
}

/// A valid encoding with other constants.
fn encoding(random: &mut Random, recipe: &Recipe) -> Vec<u8> {
    let stock = stock(recipe.mode);
    let encoding = &stock[random.below(stock.len() as u64) as usize];
    let mut bytes = encoding.bytes.clone();
    let mut put = |span: Span, value: u64| {
        for (n, byte) in bytes[span.at..span.at + span.size].iter_mut().enumerate() {
            *byte = (value >> (8 * (n & 7))) as u8;
        }
    };
    if encoding.displacement.size > 1 && !random.one_in(16) {
        put(encoding.displacement, displacement(random, recipe, encoding));
    }
    match encoding.purpose {
        Purpose::Number if random.one_in(2) => put(encoding.immediate, integer(random)),
        Purpose::Distance if encoding.immediate.size > 1 => put(encoding.immediate, near(random)),
        Purpose::FarPointer => {
            let Span { at, size } = encoding.immediate;
            put(Span { at, size }, random.pick(&[CODE, HANDLERS, 0]) + random.below(0x100));
            put(Span { at: at + size, size: 2 }, any_selector(random).into());
        }
        _ => {}
    }
    bytes
}

fn displacement(random: &mut Random, recipe: &Recipe, encoding: &Encoding) -> u64 {
    match encoding.anchor {
        Anchor::Nothing => pointers::offset_in(random, recipe.mode, recipe.paging),
        Anchor::Register | Anchor::Rip if random.one_in(8) => pointers::physical(random),
        // Some operands must be aligned.
        Anchor::Register if random.one_in(2) => near(random) & !0xf,
        Anchor::Register | Anchor::Rip => near(random),
    }
}

/// A small number, perhaps a negative one.
fn near(random: &mut Random) -> u64 {
    random.below(0x80).wrapping_sub(0x40)
}

/// Does to an encoding what no assembler would.
fn damage(random: &mut Random, bytes: &mut Vec<u8>) {
    let at = random.below(bytes.len() as u64) as usize;
    match random.below(6) {
        0..=1 => bytes[at] ^= 1 << random.below(8),
        2 => bytes[at] = random.bits() as u8,
        3 => {
            let prefixes = [0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x40, 0x48, 0x4f, 0xc5, 0x62];
            for _ in 0..1 + random.below(3) * random.below(6) {
                bytes.insert(0, random.pick(&prefixes));
            }
        }
        4 => {
            bytes.remove(at);
        }
        _ => bytes.insert(at, random.bits() as u8),
    }
}

/// Short sequences that chance alone seldom comes to: one bit of a control register changed, a model-specific register by
/// its number, a selector loaded, code overwritten.
fn idiom(random: &mut Random, recipe: &Recipe, bytes: &mut Vec<u8>) {
    let mode = recipe.mode;
    // The prefix that makes an operand of 32 bits.
    let wide: &[u8] = if mode.bitness() == 16 { &[0x66] } else { &[] };
    let mut dword = |opcode: u8, value: u32| {
        bytes.extend(wide);
        bytes.push(opcode);
        bytes.extend(value.to_le_bytes());
    };
    const MOV_EAX: u8 = 0xb8;
    const MOV_ECX: u8 = 0xb9;
    const XOR_EAX: u8 = 0x35;
    match random.below(8) {
        0..=1 => {
            let (register, bit) = match random.below(4) {
                0 => (4_u8, random.below(24)),
                1 => (3, random.below(32)),
                _ => (0, random.pick(&[0, 0, 1, 2, 3, 5, 16, 18, 29, 30, 31, 31])),
            };
            bytes.extend([0x0f, 0x20, 0xc0 | register << 3]); // MOV EAX, CRn
            bytes.extend(wide);
            bytes.push(XOR_EAX);
            bytes.extend((1_u32 << bit).to_le_bytes());
            bytes.extend([0x0f, 0x22, 0xc0 | register << 3]); // MOV CRn, EAX
        }
        2 => {
            let x2apic = 0x800 + random.below(0x40) as u32;
            dword(MOV_ECX, if random.one_in(4) { x2apic } else { random.pick(&MODEL_REGISTERS) });
            bytes.extend([0x0f, 0x32]); // RDMSR
            bytes.extend(wide);
            bytes.push(XOR_EAX);
            bytes.extend((1_u32 << random.below(32)).to_le_bytes());
            bytes.extend([0x0f, 0x30]); // WRMSR
        }
        3..=4 => {
            dword(MOV_EAX, any_selector(random).into());
            bytes.extend([0x8e, 0xc0 | random.pick(&[0, 2, 3, 4, 5]) << 3]); // MOV Sreg, EAX
        }
        5 => {
            // ADD BYTE [a little further on], imm8
            let (to, value) = (random.below(0x30), random.bits() as u8);
            match mode {
                Mode::Long64 => {
                    bytes.extend([0x80, 0x05]);
                    bytes.extend((to as u32).to_le_bytes());
                }
                _ if mode.bitness() == 32 => {
                    bytes.extend([0x80, 0x05]);
                    bytes.extend((CODE as u32 + bytes.len() as u32 + to as u32).to_le_bytes());
                }
                _ => {
                    bytes.extend([0x2e, 0x80, 0x06]);
                    bytes.extend((bytes.len() as u16 + to as u16).to_le_bytes());
                }
            }
            bytes.push(value);
        }
        6 => {
            dword(MOV_ECX, random.below(0x40) as u32);
            bytes.push(random.pick(&[0xf2, 0xf3]));
            bytes.push(random.pick(&[0x6c, 0x6d, 0x6e, 0x6f, 0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf]));
        }
        // LOOP, back a little.
        _ => bytes.extend([0xe2, 0u8.wrapping_sub(2 + random.below(16) as u8)]),
    }
}
