//! Cases in which two processors need not do the same, each with its reason.

use dragoman_frontend::fault::vector;
use dragoman_state::RFlags;
use iced_x86::{FlowControl, Instruction, Mnemonic, OpKind};

use super::{
    Generated,
    compare::is_environment,
    steer::{base_of_selector, operand_at},
    traits::restores_large_image,
};
use crate::{
    Mode,
    case::{Case, End, Outcome},
};

/// Why two outcomes need not be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// The host did not bring it to an end.
    Endless,
    /// It goes to its own middle, and the host goes on from there.
    Inside,
    /// The manual leaves the result undefined.
    Undefined,
    /// Two things are wrong with it, and the manual does not say which is found first.
    Order,
    /// It depends on what the host's kernel has set up.
    Kernel,
    /// Processors of other vendors rightly do something else.
    Vendor,
}

/// The page of system calls that Linux maps into every process.
const SYSTEM_CALL_PAGE: std::ops::Range<u64> = 0xffff_ffff_ff60_0000..0xffff_ffff_ff60_1000;

/// The longest instruction.
const LONGEST: usize = 15;

/// Whether an instruction that is none ended so for its length.
fn is_length(end: End) -> bool {
    matches!(end, End::Fault { vector: vector::GP, .. })
}

/// Whether a processor that is not Intel's does something else with the whole instruction: it checks the alignment of long
/// operands too, and branches of 64-bit code may have operands of 16 bits.
pub fn is_of_vendor(generated: &Generated) -> bool {
    const OPERAND_SIZE: u8 = 0x66;
    let case = &generated.case;
    let is_prefix = |byte: &&u8| matches!(**byte, 0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3);
    let is_short = case.code().iter().take_while(is_prefix).any(|byte| *byte == OPERAND_SIZE);
    let is_branch = generated.insn.flow_control() != FlowControl::Next;
    case.registers.rflags & RFlags::AC.bits() != 0 || case.mode == Mode::Long64 && is_branch && is_short
}

/// Why `native`, which the host made of a case, and `got`, which an engine did, are not to be compared.
pub fn ignored(generated: &Generated, native: &Outcome, got: &Outcome) -> Option<Ignored> {
    let (insn, case) = (&generated.insn, &generated.case);
    if matches!(native.end, End::Hang | End::Crash) {
        return Some(Ignored::Endless);
    }
    let linear = |selector, offset: u64| offset.wrapping_add(base_of_selector(selector));
    let code = linear(case.registers.selectors[1], case.registers.rip);
    let target = linear(got.registers.selectors[1], got.registers.rip);
    let is_repeated = insn.is_string_instruction() && insn.has_rep_prefix();
    if got.end == End::Done && (code..code + u64::from(case.code_length)).contains(&target) && !is_repeated {
        return Some(Ignored::Inside);
    }
    if matches!(insn.mnemonic(), Mnemonic::Maskmovq | Mnemonic::Maskmovdqu | Mnemonic::Vmaskmovdqu) && native.end != got.end {
        // Whether an address is refused to which no byte is to be written is the processor's own affair.
        return Some(Ignored::Undefined);
    }
    if got.end == End::Done && SYSTEM_CALL_PAGE.contains(&got.registers.rip) {
        return Some(Ignored::Kernel);
    }
    if is_undefined(insn, case) {
        return Some(Ignored::Undefined);
    }
    let is_strict = case.registers.rflags & RFlags::AC.bits() != 0;
    if is_strict && (is_environment(insn) || insn.mnemonic() == Mnemonic::Pop && insn.op0_register().is_segment_register()) {
        // What of a long image must be aligned, and how much of its slot a selector is.
        return Some(Ignored::Undefined);
    }
    if insn.is_invalid() && case.code_length as usize >= LONGEST && is_length(native.end) != is_length(got.end) {
        // Too long, and no instruction.
        return Some(Ignored::Order);
    }
    let both_fault = native.end != End::Done && got.end != End::Done;
    let is_alignment = |end| matches!(end, End::Fault { vector: vector::AC, .. });
    if both_fault && is_alignment(native.end) != is_alignment(got.end) {
        // #AC among other faults.
        return Some(Ignored::Order);
    }
    if both_fault && native.end != got.end && (insn.mnemonic() == Mnemonic::Call || is_comparison(insn)) {
        // The target or the stack; one operand or the other.
        return Some(Ignored::Order);
    }
    if both_fault && native.end != got.end && restores_large_image(insn) {
        // What the header says, or where the area ends.
        return Some(Ignored::Order);
    }
    (names_host_segment(generated) || names_host_component(generated)).then_some(Ignored::Kernel)
}

/// Whether it may look at the segment by which Linux tells programs the number of their processor, and which is not on
/// the test stand.
fn names_host_segment(generated: &Generated) -> bool {
    use Mnemonic as M;
    const NUMBER_OF_PROCESSOR: u16 = 0x78;
    let (insn, case) = (&generated.insn, &generated.case);
    let looks = matches!(
        insn.mnemonic(),
        M::Lar
            | M::Lsl
            | M::Verr
            | M::Verw
            | M::Lds
            | M::Les
            | M::Lfs
            | M::Lgs
            | M::Lss
            | M::Mov
            | M::Pop
            | M::Call
            | M::Jmp
            | M::Retf
    );
    let is_it = |selector: u64| selector as u16 & !3 == NUMBER_OF_PROCESSOR;
    // Whichever of the words is the selector.
    looks
        && (case.registers.gpr.iter().any(|value| is_it(*value))
            || case.windows().any(|window| {
                let bytes = Case::bytes_of(window, &case.memory);
                let is_last = bytes.last().is_some_and(|low| is_it(u64::from(*low))); // its upper half is in another window
                is_last || bytes.windows(2).any(|pair| is_it(u64::from(u16::from_le_bytes([pair[0], pair[1]]))))
            }))
        && (insn.mnemonic() != M::Mov && insn.mnemonic() != M::Pop || insn.op0_register().is_segment_register())
}

/// Whether its area names a component that no model has, and that the host's kernel may have enabled.
fn names_host_component(generated: &Generated) -> bool {
    const HEADER: u64 = 512;
    // MPX, AVX-512, PKRU, AMX.
    const COMPONENTS: u64 = 0xf8 | 1 << 9 | 3 << 17;
    let (insn, case) = (&generated.insn, &generated.case);
    let Some(at) = operand_at(case, insn).filter(|_| restores_large_image(insn)) else { return false };
    let byte = |at: u64| {
        let window = case.windows().find(|window| at.wrapping_sub(window.at) < u64::from(window.length));
        window.map_or(0, |window| Case::bytes_of(window, &case.memory)[(at - window.at) as usize])
    };
    // XSTATE_BV, then XCOMP_BV.
    let quadword = |n: u64| (0..8).fold(0, |value, k| value | u64::from(byte(at + HEADER + 8 * n + k)) << (8 * k));
    (quadword(0) | quadword(1)) & COMPONENTS != 0
}

/// Shifts of 16 bits by more than 16, from another operand.
fn is_undefined(insn: &Instruction, case: &Case) -> bool {
    if !matches!(insn.mnemonic(), Mnemonic::Shld | Mnemonic::Shrd) || insn.op1_register().size() != 2 {
        return false;
    }
    let count = if insn.op2_kind() == OpKind::Register { case.registers.gpr[1] as u8 } else { insn.immediate8() };
    count & 31 > 16
}

fn is_comparison(insn: &Instruction) -> bool {
    matches!(insn.mnemonic(), Mnemonic::Cmpsb | Mnemonic::Cmpsw | Mnemonic::Cmpsd | Mnemonic::Cmpsq)
        && insn.is_string_instruction()
}
