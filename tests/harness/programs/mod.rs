//! Small random programs of 64-bit code, with loops, calls, jumps and memory that aliases: what engines that work on more
//! than one instruction at a time must do as one that does not.

mod operands;
mod strings;
mod templates;

use iced_x86::{BlockEncoder, BlockEncoderOptions, Code, Instruction, InstructionBlock, Register};

use dragoman_frontend::decode::{CodeSize, disassemble};

use crate::{
    Mode,
    engine::STOP,
    generate::Random,
    layout::{CODE, PAGE},
};

/// A program, ready to be put where it says.
#[derive(Clone, Debug)]
pub struct Program {
    /// Where its first byte lies.
    pub at: u64,
    /// Its bytes; the last is HLT.
    pub code: Vec<u8>,
}

/// How often a program's loop goes round: often enough that an engine takes it for hot.
const ROUNDS: i32 = 12;
/// How many pages a program may lie in.
pub const PAGES: u64 = 3;

impl Program {
    /// The program made from `seed`.
    pub fn new(seed: u64) -> Self {
        Self::made(seed, |_, _| ())
    }

    /// The same with writes to the port at which a processor can be stopped, here and there between its instructions.
    pub fn with_stops(seed: u64) -> Self {
        Self::made(seed, stops)
    }

    fn made(seed: u64, change: impl FnOnce(&mut Random, &mut List)) -> Self {
        let mut random = Random::new(seed);
        // Near the end of a page, or anywhere.
        let offset = if random.one_in(2) { PAGE - random.below(96) } else { random.below(PAGE) };
        let at = CODE + offset;
        let mut list = List::default();
        let functions = random.below(3);
        list.push(insn(Instruction::with2(Code::Mov_r32_imm32, Register::R15D, ROUNDS)));
        let top = list.next_label();
        body(&mut random, &mut list, functions);
        list.push(insn(Instruction::with1(Code::Dec_rm32, Register::R15D)));
        list.push(insn(Instruction::with_branch(Code::Jne_rel32_64, top)));
        list.push(Instruction::with(Code::Hlt));
        for n in 0..functions {
            list.define(function(n));
            templates::straight(&mut random, &mut list);
            templates::straight(&mut random, &mut list);
            list.push(Instruction::with(Code::Retnq));
        }
        change(&mut random, &mut list);
        let block = InstructionBlock::new(&list.insns, at);
        let encoded = BlockEncoder::encode(64, block, BlockEncoderOptions::NONE).expect("templates make instructions that exist");
        Self { at, code: encoded.code_buffer }
    }
}

impl Program {
    /// Its instructions, one a line.
    pub fn listing(&self) -> String {
        let mut lines = String::new();
        let mut at = 0;
        for insn in Mode::Long64.instructions(&self.code) {
            let bytes = &self.code[at as usize..at as usize + insn.len()];
            lines += &format!("{:x} {:02x?} {}\n", self.at + at, bytes, disassemble(bytes, CodeSize::Bits64, self.at + at));
            at += insn.len() as u64;
        }
        lines
    }
}

/// Instructions under construction. A label is what the instruction at it has as its address until all are encoded.
#[derive(Default)]
pub(super) struct List {
    insns: Vec<Instruction>,
    defined: Option<u64>,
}

impl List {
    /// The label of the next instruction, where it has no name of its own.
    pub fn next_label(&self) -> u64 {
        self.defined.unwrap_or(self.insns.len() as u64 + 1)
    }

    /// Gives the next instruction a name.
    pub fn define(&mut self, label: u64) {
        self.defined = Some(label);
    }

    /// Adds an instruction.
    pub fn push(&mut self, mut insn: Instruction) {
        insn.set_ip(self.next_label());
        self.defined = None;
        self.insns.push(insn);
    }
}

/// The label of function `n`.
fn function(n: u64) -> u64 {
    1 << 20 | n
}

/// A label that no other instruction has: out of so many that none comes twice.
fn fresh(random: &mut Random) -> u64 {
    1 << 60 | random.below(1 << 60)
}

pub(super) fn insn(made: Result<Instruction, iced_x86::IcedError>) -> Instruction {
    made.expect("templates make instructions that exist")
}

/// What the loop does in each round.
fn body(random: &mut Random, list: &mut List, functions: u64) {
    for _ in 0..3 + random.below(8) {
        match random.below(9) {
            0 => skip(random, list),
            1 if functions > 0 => {
                let target = function(random.below(functions));
                list.push(insn(Instruction::with_branch(Code::Call_rel32_64, target)));
            }
            2 => far_and_back(random, list),
            3 => strings::repeated(random, list),
            _ => templates::straight(random, list),
        }
    }
}

/// Puts writes to the port at which a processor can be stopped between the instructions of `list`.
fn stops(random: &mut Random, list: &mut List) {
    let mut insns = Vec::with_capacity(2 * list.insns.len());
    for (n, next) in list.insns.drain(..).enumerate() {
        if random.one_in(6) {
            let mut stop = insn(Instruction::with2(Code::Out_imm8_AL, i32::from(STOP), Register::AL));
            stop.set_ip(1 << 61 | n as u64);
            insns.push(stop);
        }
        insns.push(next);
    }
    list.insns = insns;
}

/// Jumps over something, perhaps.
fn skip(random: &mut Random, list: &mut List) {
    let over = fresh(random);
    templates::compare(random, list);
    if random.one_in(2) {
        templates::straight(random, list);
    }
    let code = random.pick(&templates::BRANCHES);
    list.push(insn(Instruction::with_branch(code, over)));
    templates::straight(random, list);
    list.define(over);
    list.push(Instruction::with(Code::Nopd));
}

/// Jumps through a register to what comes next.
fn far_and_back(random: &mut Random, list: &mut List) {
    let target = fresh(random);
    let register = random.pick(&[Register::RDI, Register::R10, Register::R11, Register::R12]);
    let memory = iced_x86::MemoryOperand::with_base_displ(Register::RIP, target as i64);
    list.push(insn(Instruction::with2(Code::Lea_r64_m, register, memory)));
    list.push(insn(Instruction::with1(Code::Jmp_rm64, register)));
    list.define(target);
    list.push(Instruction::with(Code::Nopd));
}
