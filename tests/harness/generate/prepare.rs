//! Cases of instructions that random operands would only make fault: selectors that name something, frames to return to,
//! registers that may hold what they are given.

use dragoman_state::{Cr0, Cr4, SegmentIndex, VcpuState};
use iced_x86::{Code, Instruction, Mnemonic as M, OpKind, Register};

use crate::{
    Mode, RSP,
    case::Case,
    generate::{Random, operand_at},
    layout::{CODE, selector},
};

/// Flags that a frame may hold.
const FLAGS: u64 = 0x202;
/// A model-specific register that holds what it is given: IA32_STAR.
const STAR: u64 = 0xc000_0081;

/// Changes `case`, whose instruction is `insn`, so that in `state` it may come to an end.
pub fn prepare(case: &mut Case, insn: &Instruction, state: &VcpuState, random: &mut Random) {
    match insn.mnemonic() {
        M::Call | M::Jmp => far_target(case, insn),
        M::Retf => frame(case, insn, &[CODE + 0x100, selector::USER_CODE32.into()]),
        M::Iret | M::Iretd | M::Iretq => {
            let code = if insn.code() == Code::Iretq { selector::USER_CODE64 } else { selector::USER_CODE32 };
            let stack = case.registers.gpr[RSP] ^ 0x40;
            frame(case, insn, &[CODE + 0x100, code.into(), FLAGS, stack, selector::USER_DATA.into()]);
        }
        M::Pop if insn.op0_register() == Register::SS => {
            let ss = state.segment(SegmentIndex::Ss).selector;
            poke(case, stack_top(case, state), &ss.to_le_bytes());
        }
        M::Ltr => set_operand(case, insn, 0, selector::TSS.into()),
        M::Lldt => set_operand(case, insn, 0, random.pick(&[selector::LDT.into(), 0])),
        M::Lar | M::Lsl if random.one_in(2) => set_operand(case, insn, 1, selector::USER_DATA.into()),
        M::Verr | M::Verw => {
            let which = random.pick(&[selector::USER_DATA, selector::USER_CODE32, 0]);
            set_operand(case, insn, 0, which.into());
        }
        M::Rdmsr | M::Wrmsr => case.registers.gpr[1] = STAR,
        M::Sysexit | M::Sysexitq => (case.registers.gpr[1], case.registers.gpr[2]) = (CODE + 0x100, CODE + 0x200),
        M::Invpcid => {
            set_operand(case, insn, 0, 0);
            if let Some(at) = operand_at(case, insn) {
                poke(case, at, &(CODE as u128 * (1 << 64)).to_le_bytes());
            }
        }
        M::Cmpxchg8b | M::Cmpxchg16b if random.one_in(2) => same_as_expected(case, insn),
        M::Mov if insn.op0_register().is_cr() => {
            let value = match insn.op0_register() {
                Register::CR0 => (state.cr0 ^ Cr0::MP).bits(),
                Register::CR4 => (state.cr4 ^ Cr4::TSD).bits(),
                Register::CR3 => random.below(16) << 12,
                Register::CR8 => random.below(16),
                _ => return,
            };
            set_operand(case, insn, 1, value);
        }
        _ => {}
    }
}

fn stack_top(case: &Case, state: &VcpuState) -> u64 {
    let base = if state.is_64bit() { 0 } else { state.segment(SegmentIndex::Ss).base };
    base.wrapping_add(case.registers.gpr[RSP])
}

/// Writes into the windows of a case.
fn poke(case: &mut Case, at: u64, bytes: &[u8]) {
    for (n, byte) in bytes.iter().enumerate() {
        let at = at.wrapping_add(n as u64);
        let window = case.windows().find(|window| at.wrapping_sub(window.at) < u64::from(window.length));
        if let Some(window) = window {
            case.memory[(u64::from(window.from) + at - window.at) as usize] = *byte;
        }
    }
}

/// Gives operand `n`, of at most 64 bits, a value.
fn set_operand(case: &mut Case, insn: &Instruction, n: u32, value: u64) {
    if insn.op_kind(n) == OpKind::Register {
        let slot = &mut case.registers.gpr[insn.op_register(n).full_register().number()];
        *slot = value & case.mode.register_mask();
    } else if let Some(at) = operand_at(case, insn) {
        let size = insn.memory_size().size().min(8);
        poke(case, at, &value.to_le_bytes()[..size]);
    }
}

/// A code segment that can be jumped to; in the code itself, or in memory after the offset.
fn far_target(case: &mut Case, insn: &Instruction) {
    let bytes = selector::USER_CODE32.to_le_bytes();
    let length = case.code_length as usize;
    match insn.op0_kind() {
        OpKind::FarBranch16 | OpKind::FarBranch32 => case.code[length - 2..length].copy_from_slice(&bytes),
        OpKind::Memory if insn.is_call_far_indirect() || insn.is_jmp_far_indirect() => {
            let offset = insn.memory_size().size() as u64 - 2;
            if let Some(at) = operand_at(case, insn) {
                poke(case, at, &(CODE + 0x100).to_le_bytes()[..offset as usize]);
                poke(case, at + offset, &bytes);
            }
        }
        _ => {}
    }
}

/// What a return finds on the stack.
fn frame(case: &mut Case, insn: &Instruction, values: &[u64]) {
    let size = match insn.code() {
        Code::Retfw | Code::Retfw_imm16 | Code::Iretw => 2,
        Code::Retfd | Code::Retfd_imm16 | Code::Iretd => 4,
        _ => 8,
    };
    let base = if case.mode == Mode::Prot16 { crate::layout::STACK } else { 0 };
    for (n, value) in values.iter().enumerate() {
        let at = base.wrapping_add(case.registers.gpr[RSP]).wrapping_add(size * n as u64);
        poke(case, at, &value.to_le_bytes()[..size as usize]);
    }
}

/// Memory that equals the accumulators.
fn same_as_expected(case: &mut Case, insn: &Instruction) {
    let Some(at) = operand_at(case, insn) else { return };
    let half = insn.memory_size().size() / 2;
    for (n, register) in [(0, 0), (half as u64, 2)] {
        let value = case.registers.gpr[register];
        poke(case, at + n, &value.to_le_bytes()[..half]);
    }
}
