//! What an instruction needs to come to an end that random operands would only make fault: selectors that name something,
//! frames to return to, registers that may hold what they are given.

use dragoman_state::{Cr0, Cr4, SegmentIndex, VcpuState};
use iced_x86::{Code, Instruction, Mnemonic as M, OpKind, Register};

use super::Random;
use crate::{
    RSP,
    layout::{CODE, selector},
};

/// Something that an instruction is about to run on.
pub trait Stage {
    /// The complete state, as far as the instruction finds it; general-purpose registers are asked for by number.
    fn state(&self) -> &VcpuState;
    /// A general-purpose register.
    fn gpr(&self, n: usize) -> u64;
    /// Gives a general-purpose register a value.
    fn set_gpr(&mut self, n: usize, value: u64);
    /// Gives memory a value.
    fn poke(&mut self, at: u64, bytes: &[u8]);
    /// Changes the last bytes of the instruction.
    fn end_code_with(&mut self, bytes: &[u8]);
    /// The linear address of the memory operand.
    fn operand_at(&self, insn: &Instruction) -> Option<u64>;
}

/// Flags that a frame may hold.
const FLAGS: u64 = 0x202;
/// A model-specific register that holds what it is given: IA32_STAR.
const STAR: u64 = 0xc000_0081;

/// Changes `stage` so that `insn` may come to an end there.
pub fn prepare(stage: &mut dyn Stage, insn: &Instruction, random: &mut Random) {
    let wide = |insn: &Instruction| matches!(insn.code(), Code::Iretq | Code::Retfq | Code::Retfq_imm16);
    let code = if wide(insn) { selector::USER_CODE64 } else { selector::USER_CODE32 };
    match insn.mnemonic() {
        M::Call | M::Jmp => target(stage, insn),
        M::Ret => frame(stage, insn, &[CODE + 0x100]),
        M::Retf => frame(stage, insn, &[CODE + 0x100, code.into()]),
        M::Iret | M::Iretd | M::Iretq => {
            let stack = stage.gpr(RSP) ^ 0x40;
            frame(stage, insn, &[CODE + 0x100, code.into(), FLAGS, stack, selector::USER_DATA.into()]);
        }
        M::Pop if insn.op0_register().is_segment_register() => {
            let data = data_selector(stage, random);
            stage.poke(stack_top(stage), &data.to_le_bytes());
        }
        M::Mov if insn.op0_register().is_segment_register() && random.one_in(2) => {
            let data = data_selector(stage, random);
            set_operand(stage, insn, 1, data.into());
        }
        M::Lds | M::Les | M::Lfs | M::Lgs | M::Lss if random.one_in(2) => {
            let data = data_selector(stage, random);
            if let Some(at) = stage.operand_at(insn) {
                stage.poke(at + insn.memory_size().size() as u64 - 2, &data.to_le_bytes());
            }
        }
        M::Bound => {
            // From what the register holds to the same.
            let half = insn.memory_size().size() / 2;
            let value = stage.gpr(insn.op0_register().full_register().number()).to_le_bytes();
            if let Some(at) = stage.operand_at(insn) {
                stage.poke(at, &[&value[..half], &value[..half]].concat());
            }
        }
        M::Ldmxcsr | M::Vldmxcsr => {
            if let Some(at) = stage.operand_at(insn) {
                stage.poke(at, &[0x80, 0x1f, 0, 0]);
            }
        }
        M::Ltr => set_operand(stage, insn, 0, selector::TSS.into()),
        M::Lldt => set_operand(stage, insn, 0, random.pick(&[selector::LDT.into(), 0])),
        M::Lar | M::Lsl if random.one_in(2) => set_operand(stage, insn, 1, selector::USER_DATA.into()),
        M::Verr | M::Verw => {
            let which = random.pick(&[selector::USER_DATA, selector::USER_CODE32, 0]);
            set_operand(stage, insn, 0, which.into());
        }
        M::Rdmsr | M::Wrmsr => stage.set_gpr(1, STAR),
        M::Monitor | M::Mwait | M::Rdpkru => stage.set_gpr(1, 0),
        M::Wrpkru => (1..3).for_each(|n| stage.set_gpr(n, 0)),
        M::Xsetbv => {
            let xcr0 = stage.state().xcr0.bits();
            [(0, xcr0), (1, 0), (2, 0)].into_iter().for_each(|(n, value)| stage.set_gpr(n, value));
        }
        M::Sysexit | M::Sysexitq => {
            stage.set_gpr(1, CODE + 0x100);
            stage.set_gpr(2, CODE + 0x200);
        }
        M::Invpcid => {
            set_operand(stage, insn, 0, 0);
            if let Some(at) = stage.operand_at(insn) {
                // The descriptor: a context of zero, then an address.
                stage.poke(at, &(u128::from(CODE) << 64).to_le_bytes());
            }
        }
        M::Cmpxchg8b | M::Cmpxchg16b if random.one_in(2) => same_as_expected(stage, insn),
        M::Mov if insn.op0_register().is_cr() => {
            let value = match insn.op0_register() {
                Register::CR0 => (stage.state().cr0 ^ Cr0::MP).bits(),
                Register::CR4 => (stage.state().cr4 ^ Cr4::TSD).bits(),
                Register::CR3 => random.below(16) << 12,
                Register::CR8 => random.below(16),
                _ => return,
            };
            set_operand(stage, insn, 1, value);
        }
        _ => {}
    }
}

/// A data segment that any segment register but CS takes: the stack's own, or another of ring 3.
fn data_selector(stage: &dyn Stage, random: &mut Random) -> u16 {
    const SMALL_DATA: u16 = 0x2f;
    random.pick(&[stage.state().segment(SegmentIndex::Ss).selector, SMALL_DATA])
}

fn stack_top(stage: &dyn Stage) -> u64 {
    let state = stage.state();
    let base = if state.is_64bit() { 0 } else { state.segment(SegmentIndex::Ss).base };
    base.wrapping_add(stage.gpr(RSP))
}

/// Gives operand `n`, of at most 64 bits, a value.
fn set_operand(stage: &mut dyn Stage, insn: &Instruction, n: u32, value: u64) {
    if insn.op_kind(n) == OpKind::Register {
        stage.set_gpr(insn.op_register(n).full_register().number(), value);
    } else if let Some(at) = stage.operand_at(insn) {
        let size = insn.memory_size().size().min(8);
        stage.poke(at, &value.to_le_bytes()[..size]);
    }
}

/// Somewhere that can be jumped to: the selector in the code itself, or an offset, with a selector after it, in memory.
fn target(stage: &mut dyn Stage, insn: &Instruction) {
    let (bytes, offset) = (selector::USER_CODE32.to_le_bytes(), (CODE + 0x100).to_le_bytes());
    let is_far = insn.is_call_far_indirect() || insn.is_jmp_far_indirect();
    match insn.op0_kind() {
        OpKind::FarBranch16 | OpKind::FarBranch32 => stage.end_code_with(&bytes),
        OpKind::Memory => {
            let size = insn.memory_size().size() - if is_far { bytes.len() } else { 0 };
            if let Some(at) = stage.operand_at(insn) {
                stage.poke(at, &offset[..size]);
                if is_far {
                    stage.poke(at + size as u64, &bytes);
                }
            }
        }
        _ => {}
    }
}

/// What a return finds on the stack.
fn frame(stage: &mut dyn Stage, insn: &Instruction, values: &[u64]) {
    let size = match insn.code() {
        Code::Retnw | Code::Retnw_imm16 | Code::Retfw | Code::Retfw_imm16 | Code::Iretw => 2,
        Code::Retnd | Code::Retnd_imm16 | Code::Retfd | Code::Retfd_imm16 | Code::Iretd => 4,
        _ => 8,
    };
    let top = stack_top(stage);
    for (n, value) in values.iter().enumerate() {
        stage.poke(top.wrapping_add(size * n as u64), &value.to_le_bytes()[..size as usize]);
    }
}

/// Memory that equals the accumulators.
fn same_as_expected(stage: &mut dyn Stage, insn: &Instruction) {
    let Some(at) = stage.operand_at(insn) else { return };
    let half = insn.memory_size().size() / 2;
    for (n, register) in [(0, 0), (half as u64, 2)] {
        let value = stage.gpr(register);
        stage.poke(at + n, &value.to_le_bytes()[..half]);
    }
}
