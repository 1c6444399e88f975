//! Repeated string instructions of random programs.

use iced_x86::{Code, IcedError, Instruction, Register, RepPrefixKind};

use super::{List, insn, operands::flat_memory};
use crate::generate::Random;

type Made = Result<Instruction, IcedError>;
type FromRsi = fn(u32, Register, RepPrefixKind) -> Made;
type AtRdi = fn(u32, RepPrefixKind) -> Made;

/// With RSI: MOVS, LODS and CMPS of 1, 2, 4 and 8 bytes.
const FROM_RSI: [[FromRsi; 4]; 3] = [
    [Instruction::with_movsb, Instruction::with_movsw, Instruction::with_movsd, Instruction::with_movsq],
    [Instruction::with_lodsb, Instruction::with_lodsw, Instruction::with_lodsd, Instruction::with_lodsq],
    [Instruction::with_cmpsb, Instruction::with_cmpsw, Instruction::with_cmpsd, Instruction::with_cmpsq],
];
/// With RDI alone: STOS and SCAS.
const AT_RDI: [[AtRdi; 4]; 2] = [
    [Instruction::with_stosb, Instruction::with_stosw, Instruction::with_stosd, Instruction::with_stosq],
    [Instruction::with_scasb, Instruction::with_scasw, Instruction::with_scasd, Instruction::with_scasq],
];

/// One of them, from RSI to RDI; RSI is afterwards what it was. Where both lead to the same bytes nothing differs, and where they
/// lead to distant ones something does soon.
pub fn repeated(random: &mut Random, list: &mut List) {
    let width = random.below(list.widths()) as usize;
    let (rsi, rdi, bits) = if list.is_narrow { (Register::ESI, Register::EDI, 32) } else { (Register::RSI, Register::RDI, 64) };
    let (push, pop, lea, copy) = if list.is_narrow {
        (Code::Push_r32, Code::Pop_r32, Code::Lea_r32_m, Code::Mov_r32_rm32)
    } else {
        (Code::Push_r64, Code::Pop_r64, Code::Lea_r64_m, Code::Mov_r64_rm64)
    };
    let is_down = random.one_in(8);
    list.push(insn(Instruction::with1(push, rsi)));
    if random.one_in(2) {
        list.push(insn(Instruction::with2(lea, rsi, flat_memory(random, list))));
    }
    if random.one_in(3) {
        list.push(insn(Instruction::with2(copy, rdi, rsi)));
    } else {
        list.push(insn(Instruction::with2(lea, rdi, flat_memory(random, list))));
    }
    let count = match random.below(4) {
        0 => random.below(3),
        1 | 2 => random.below(40),
        _ => random.below(2000) >> width,
    };
    list.push(insn(Instruction::with2(Code::Mov_r32_imm32, Register::ECX, count as i32)));
    if is_down {
        list.push(Instruction::with(Code::Std));
    }
    let prefix = if random.one_in(3) { RepPrefixKind::Repne } else { RepPrefixKind::Repe };
    list.push(insn(match random.below(5) {
        n @ 0..3 => FROM_RSI[n as usize][width](bits, Register::None, prefix),
        n => AT_RDI[n as usize - 3][width](bits, prefix),
    }));
    if is_down {
        list.push(Instruction::with(Code::Cld));
    }
    list.push(insn(Instruction::with1(pop, rsi)));
}
