//! An instruction on a state, ready to be run.

use dragoman_state::{Gpr, RFlags, VcpuState};
use iced_x86::{Decoder, DecoderOptions, Instruction, InstructionInfoFactory, Mnemonic as M, OpKind};

use super::operands::{Operand, operands};
use crate::{
    Mode,
    generate::{Random, Stage, is_bit_test, prepare},
    layout::{BACKGROUND, CODE, DATA, GDT, STACK, selector},
    operand::{counter, value},
};

/// How often a string instruction is repeated.
const COUNT: u64 = 3;
/// What a port holds that INS reads.
pub const PORT: u16 = 0x3c0;
/// Its bytes.
pub const PORT_BYTES: [u8; 4] = [0x31, 0x32, 0x33, 0x34];

/// An instruction with everything that it starts from.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The mode.
    pub mode: Mode,
    /// Its bytes.
    pub code: Vec<u8>,
    /// What they decode to.
    pub insn: Instruction,
    /// The state.
    pub state: VcpuState,
    /// Memory that is not what it is elsewhere.
    pub pokes: Vec<(u64, Vec<u8>)>,
    /// What it touches.
    pub operands: Vec<Operand>,
}

impl Scene {
    /// `code` on `state`, with every operand somewhere where it can be reached. `None` where that cannot be had.
    pub fn new(factory: &mut InstructionInfoFactory, mode: Mode, code: &[u8], state: VcpuState) -> Option<Self> {
        let insn = decode(mode, code, state.rip);
        let mut scene = Self { mode, code: code.to_vec(), insn, state, pokes: Vec::new(), operands: operands(factory, &insn) };
        scene.set_registers();
        let near = |operand: &Operand, n: u64| if operand.is_stack { STACK } else { DATA } + 0x200 + 0x100 * (n % 8);
        for n in 0..scene.operands.len() {
            let target = near(&scene.operands[n], n as u64);
            if !scene.aim(factory, n, target) {
                return None;
            }
        }
        Some(scene)
    }

    /// Registers with a meaning that is none of an operand's.
    fn set_registers(&mut self) {
        let is_repeated = self.is_repeated();
        let state = &mut self.state;
        if is_repeated {
            state.gpr[Gpr::RCX] = COUNT;
        }
        // Seven numbers, and room for one more.
        state.x87.valid = 0x7f;
        state.rflags |= RFlags::IOPL;
        if matches!(self.insn.mnemonic(), M::Insb | M::Insw | M::Insd | M::Outsb | M::Outsw | M::Outsd) {
            state.gpr[Gpr::RDX] = PORT.into();
        }
        if is_bit_test(&self.insn) && self.insn.op1_kind() == OpKind::Register {
            state.gpr[Gpr(self.insn.op1_register().full_register().number() as u8)] = 3;
        }
        // Masks that select every byte.
        match self.insn.mnemonic() {
            M::Maskmovdqu | M::Vmaskmovdqu | M::Vmaskmovps | M::Vmaskmovpd | M::Vpmaskmovd | M::Vpmaskmovq => {
                state.vectors.registers.iter_mut().for_each(|register| register[..4].fill(u64::MAX))
            }
            // One place for all elements, and all of them wanted.
            _ if self.insn.is_vsib() => {
                state.vectors.registers[self.insn.memory_index().number()].fill(0);
                state.vectors.registers[self.insn.op2_register().number()][..4].fill(u64::MAX);
            }
            M::Maskmovq => (0..8).for_each(|n| state.x87.set_mmx(n, u64::MAX)),
            _ => {}
        }
    }

    /// Puts operand `n` at `target`. False where it cannot be.
    pub fn aim(&mut self, factory: &mut InstructionInfoFactory, n: usize, target: u64) -> bool {
        let operand = self.operands[n];
        if operand.is_absolute() {
            self.patch(operand.offset(&self.state, target));
            self.operands = operands(factory, &self.insn);
        }
        self.operands[n].aim(&mut self.state, target)
    }

    /// Makes the address in the instruction another.
    fn patch(&mut self, offset: u64) {
        let mut decoder = Decoder::with_ip(self.mode.bitness(), &self.code, self.state.rip, DecoderOptions::NONE);
        let insn = decoder.decode();
        let constants = decoder.get_constant_offsets(&insn);
        let (at, size) = (constants.displacement_offset(), constants.displacement_size());
        self.code[at..at + size].copy_from_slice(&offset.to_le_bytes()[..size]);
        self.insn = decode(self.mode, &self.code, self.state.rip);
    }

    /// Gives the instruction what it needs to come to an end. The same `seed` gives the same.
    pub fn prepare(&mut self, seed: u64) {
        let insn = self.insn;
        prepare(self, &insn, &mut Random::new(seed));
        let first = self.operands[0].at(&self.state);
        match insn.mnemonic() {
            M::Fxrstor | M::Fxrstor64 => self.poke(first, &[0; 512]),
            M::Xrstor | M::Xrstor64 => self.poke(first, &[0; 576]),
            M::Xrstors | M::Xrstors64 => {
                const COMPACTED: usize = 527;
                let mut image = [0; 576];
                image[COMPACTED] = 0x80;
                self.poke(first, &image);
            }
            M::Lgdt | M::Lidt => {
                let table = if insn.mnemonic() == M::Lgdt { self.state.gdtr } else { self.state.idtr };
                self.poke(first, &table.limit.to_le_bytes());
                self.poke(first.wrapping_add(2), &table.base.to_le_bytes()[..self.operands[0].size as usize - 2]);
            }
            // A selector of ring 3 makes one of ring 1 another.
            M::Arpl => {
                let register = Gpr(insn.op1_register().full_register().number() as u8);
                self.state.gpr[register] |= 3;
            }
            // Not in use, so that it can be taken into use.
            M::Ltr => self.poke(GDT + u64::from(selector::TSS) + 5, &[0x89]),
            M::Scasb | M::Scasw | M::Scasd | M::Scasq if insn.has_repe_prefix() => {
                self.state.gpr[Gpr::RAX] = u64::from_le_bytes([BACKGROUND; 8]);
            }
            M::Cmpsb | M::Cmpsw | M::Cmpsd | M::Cmpsq if insn.has_repne_prefix() => {
                for k in 0..self.count() {
                    let at = first.wrapping_add_signed(self.step().wrapping_mul(k as i64));
                    self.poke(at, &[!BACKGROUND; 8][..self.step().unsigned_abs() as usize]);
                }
            }
            _ => {}
        }
    }

    /// Whether it is a repeated string instruction.
    pub fn is_repeated(&self) -> bool {
        self.insn.is_string_instruction() && (self.insn.has_rep_prefix() || self.insn.has_repne_prefix())
    }

    /// How often it is to be repeated.
    pub fn count(&self) -> u64 {
        value(counter(&self.insn), &self.state)
    }

    /// How far one element is from the one before.
    pub fn step(&self) -> i64 {
        let size = self.insn.memory_size().size() as i64;
        if self.state.rflags.contains(RFlags::DF) { -size } else { size }
    }
}

fn decode(mode: Mode, code: &[u8], ip: u64) -> Instruction {
    Decoder::with_ip(mode.bitness(), code, ip, DecoderOptions::NONE).decode()
}

/// The offset of the code in its segment.
pub fn code_offset(mode: Mode) -> u64 {
    if mode.is_segmented() { 0 } else { CODE }
}

impl Stage for Scene {
    fn state(&self) -> &VcpuState {
        &self.state
    }

    fn gpr(&self, n: usize) -> u64 {
        self.state.gpr[Gpr(n as u8)]
    }

    fn set_gpr(&mut self, n: usize, value: u64) {
        self.state.gpr[Gpr(n as u8)] = value & self.mode.register_mask();
    }

    fn poke(&mut self, at: u64, bytes: &[u8]) {
        self.pokes.push((at, bytes.to_vec()));
    }

    fn end_code_with(&mut self, bytes: &[u8]) {
        let length = self.code.len();
        self.code[length - bytes.len()..].copy_from_slice(bytes);
        self.insn = decode(self.mode, &self.code, self.state.rip);
    }

    fn operand_at(&self, insn: &Instruction) -> Option<u64> {
        let n = (0..insn.op_count()).find(|n| insn.op_kind(*n) == OpKind::Memory)?;
        let at = insn.virtual_address(n, 0, |register, _, _| Some(value(register, &self.state)))?;
        Some(if self.state.is_64bit() { at } else { at & 0xffff_ffff })
    }
}
