//! Small random programs of 64-bit and of 32-bit code, with loops, calls, jumps and memory that aliases: what engines that
//! work on more than one instruction at a time must do as one that does not.

mod narrow;
mod operands;
mod strings;
mod templates;
mod turns;

pub use narrow::based;

use iced_x86::{BlockEncoder, BlockEncoderOptions, Code, Instruction, InstructionBlock, MemoryOperand, Register};

use dragoman_frontend::decode::disassemble;

use crate::{
    Mode,
    engine::STOP,
    generate::Random,
    layout::{CODE, PAGE, STACK},
};

/// A program, ready to be put where it says.
#[derive(Clone, Debug)]
pub struct Program {
    /// The mode that it runs in.
    pub mode: Mode,
    /// Where its first byte lies.
    pub at: u64,
    /// Its bytes; the last is HLT.
    pub code: Vec<u8>,
}

/// How often a program's loop goes round: often enough that an engine takes it for hot.
const ROUNDS: i32 = 12;
/// Where a program of 32-bit code counts them, which has no register for that: above the stack.
const ROUNDS_LEFT: u64 = STACK + PAGE + 0x800;
/// How many pages a program may lie in.
pub const PAGES: usize = 3;
/// The last page of 32-bit addresses.
pub const TOP: u64 = 0xffff_f000;

impl Program {
    /// The program made from `seed` for `mode`, one of 64-bit or 32-bit code.
    pub fn new(seed: u64, mode: Mode) -> Self {
        Self::made(seed, mode, |_, _| ())
    }

    /// The same with writes to the port at which a processor can be stopped, here and there between its instructions.
    pub fn with_stops(seed: u64, mode: Mode) -> Self {
        Self::made(seed, mode, stops)
    }

    fn made(seed: u64, mode: Mode, change: impl FnOnce(&mut Random, &mut List)) -> Self {
        let mut random = Random::new(seed);
        // Near the end of a page, or anywhere.
        let offset = if random.one_in(2) { PAGE - random.below(96) } else { random.below(PAGE) };
        // 32-bit code may begin in the last page there is.
        let shift = if mode != Mode::Long64 && random.one_in(6) { TOP - CODE } else { 0 };
        let at = CODE + offset;
        let mut list = List { is_narrow: mode != Mode::Long64, ..List::default() };
        let functions = random.below(3);
        let rounds = MemoryOperand::with_displ(ROUNDS_LEFT, 4);
        list.push(insn(if list.is_narrow {
            Instruction::with2(Code::Mov_rm32_imm32, rounds, ROUNDS)
        } else {
            Instruction::with2(Code::Mov_r32_imm32, Register::R15D, ROUNDS)
        }));
        let top = list.next_label();
        body(&mut random, &mut list, functions);
        list.push(insn(if list.is_narrow {
            Instruction::with1(Code::Dec_rm32, rounds)
        } else {
            Instruction::with1(Code::Dec_rm32, Register::R15D)
        }));
        list.push(list.branch(Code::Jne_rel32_64, top));
        list.push(Instruction::with(Code::Hlt));
        for n in 0..functions {
            list.define(function(n));
            templates::straight(&mut random, &mut list);
            templates::straight(&mut random, &mut list);
            list.push(Instruction::with(if list.is_narrow { Code::Retnd } else { Code::Retnq }));
        }
        change(&mut random, &mut list);
        let block = InstructionBlock::new(&list.insns, at);
        let encoded = BlockEncoder::encode(mode.bitness(), block, BlockEncoderOptions::NONE);
        let encoded = encoded.expect("templates make instructions that exist");
        Self { mode, at: if shift > 0 { (at + shift) & 0xffff_ffff } else { at }, code: encoded.code_buffer }
    }
}

impl Program {
    /// Where the pages begin that it may lie in.
    pub fn pages(&self) -> [u64; PAGES] {
        std::array::from_fn(|n| self.beyond(n as u64 * PAGE) & !(PAGE - 1))
    }

    /// Its bytes, in one piece or in two, with where each lies.
    pub fn pieces(&self) -> [(u64, &[u8]); 2] {
        let room = if self.mode == Mode::Long64 { usize::MAX } else { ((1 << 32) - self.at) as usize };
        let (first, second) = self.code.split_at(self.code.len().min(room));
        [(self.at, first), (0, second)]
    }

    fn beyond(&self, distance: u64) -> u64 {
        let at = self.at + distance;
        if self.mode == Mode::Long64 { at } else { at & 0xffff_ffff }
    }

    /// Its instructions, one a line.
    pub fn listing(&self) -> String {
        let mut lines = String::new();
        let mut at = 0;
        for insn in self.mode.instructions(&self.code) {
            let bytes = &self.code[at as usize..at as usize + insn.len()];
            let text = disassemble(bytes, self.mode.code_size(), self.beyond(at));
            lines += &format!("{:x} {:02x?} {text}\n", self.beyond(at), bytes);
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
    /// How many labels there are that have a name.
    labels: u64,
    /// They are of 32-bit code.
    pub is_narrow: bool,
    /// Those that must come directly behind the one before: something counts the bytes between.
    tied: Vec<usize>,
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

    /// How many widths of integers there are, and how many bytes the last of them has.
    pub fn widths(&self) -> u64 {
        if self.is_narrow { 3 } else { 4 }
    }

    pub fn widest(&self) -> usize {
        if self.is_narrow { 4 } else { 8 }
    }

    /// A label that no other instruction has.
    pub fn fresh(&mut self) -> u64 {
        self.labels += 1;
        1 << 24 | self.labels
    }

    /// The conditional jump that 64-bit code has as `code`, to `target`.
    pub fn branch(&self, code: Code, target: u64) -> Instruction {
        insn(Instruction::with_branch(if self.is_narrow { narrow::branch(code) } else { code }, target))
    }

    /// Adds an instruction that stays directly behind the one before.
    pub fn push_behind(&mut self, insn: Instruction) {
        self.tied.push(self.insns.len());
        self.push(insn);
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

pub(super) fn insn(made: Result<Instruction, iced_x86::IcedError>) -> Instruction {
    made.expect("templates make instructions that exist")
}

/// What the loop does in each round.
fn body(random: &mut Random, list: &mut List, functions: u64) {
    for _ in 0..3 + random.below(8) {
        match random.below(10) {
            9 => turns::walk(random, list),
            0 => skip(random, list),
            1 if functions > 0 => {
                let target = function(random.below(functions));
                let code = if list.is_narrow { Code::Call_rel32_32 } else { Code::Call_rel32_64 };
                list.push(insn(Instruction::with_branch(code, target)));
            }
            2 if list.is_narrow => narrow::far_and_back(list),
            2 => far_and_back(random, list),
            3 | 4 if list.is_narrow => narrow::special(random, list),
            3 => strings::repeated(random, list),
            _ => templates::straight(random, list),
        }
    }
}

/// Puts writes to the port at which a processor can be stopped between the instructions of `list`.
fn stops(random: &mut Random, list: &mut List) {
    let mut insns = Vec::with_capacity(2 * list.insns.len());
    for (n, next) in list.insns.drain(..).enumerate() {
        if !list.tied.contains(&n) && random.one_in(6) {
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
    let over = list.fresh();
    templates::compare(random, list);
    if random.one_in(2) {
        templates::straight(random, list);
    }
    let code = random.pick(&templates::BRANCHES);
    list.push(list.branch(code, over));
    templates::straight(random, list);
    list.define(over);
    list.push(Instruction::with(Code::Nopd));
}

/// Jumps through a register to what comes next.
fn far_and_back(random: &mut Random, list: &mut List) {
    let target = list.fresh();
    let register = random.pick(&[Register::RDI, Register::R10, Register::R11, Register::R12]);
    let memory = MemoryOperand::with_base_displ(Register::RIP, target as i64);
    list.push(insn(Instruction::with2(Code::Lea_r64_m, register, memory)));
    list.push(insn(Instruction::with1(Code::Jmp_rm64, register)));
    list.define(target);
    list.push(Instruction::with(Code::Nopd));
}
