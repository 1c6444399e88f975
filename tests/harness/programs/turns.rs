//! Loops inside the loop, whose pointer moves: what an engine may have several turns of in a row.

use iced_x86::{Code, Instruction, MemoryOperand, Register};

use super::{
    List, insn,
    operands::{NARROW_POINTERS, POINTERS},
    templates,
};
use crate::{
    generate::Random,
    layout::{PAGE, STACK},
};

/// Where a loop counts its turns: no register is its own. Above the stack.
const TURNS_LEFT: u64 = STACK + PAGE + 0x840;

/// A loop of a few turns off a pointer, which is brought back afterwards.
pub fn walk(random: &mut Random, list: &mut List) {
    let is_narrow = list.is_narrow;
    let pointer = if is_narrow { random.pick(&NARROW_POINTERS) } else { random.pick(&POINTERS) };
    let left = MemoryOperand::with_displ(TURNS_LEFT, 4);
    let (push, pop, add, jump) = if is_narrow {
        (Code::Push_r32, Code::Pop_r32, Code::Add_rm32_imm8, Code::Jmp_rel32_32)
    } else {
        (Code::Push_r64, Code::Pop_r64, Code::Add_rm64_imm8, Code::Jmp_rel32_64)
    };
    let one_less = insn(Instruction::with1(Code::Dec_rm32, left));
    list.push(insn(Instruction::with2(Code::Mov_rm32_imm32, left, 1 + random.below(11) as i32)));
    list.push(insn(Instruction::with1(push, pointer)));
    let (out, counts_first) = (list.fresh(), random.one_in(3));
    let top = list.next_label();
    if counts_first {
        list.push(one_less);
        list.push(list.branch(Code::Je_rel32_64, out));
    }
    for _ in 0..=random.below(3) {
        templates::access(random, list, pointer, Register::None);
    }
    if random.one_in(3) {
        templates::compare(random, list);
        let code = random.pick(&templates::BRANCHES);
        list.push(list.branch(code, out));
    }
    list.push(insn(Instruction::with2(add, pointer, random.pick(&[8, 8, 16, 4, -8, 40, 120]))));
    if counts_first {
        list.push(insn(Instruction::with_branch(jump, top)));
    } else {
        list.push(one_less);
        list.push(list.branch(Code::Jne_rel32_64, top));
    }
    list.define(out);
    list.push(insn(Instruction::with1(pop, pointer)));
}
