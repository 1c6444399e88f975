//! Questions about instructions that several parts ask.

use iced_x86::{CpuidFeature, Instruction, Mnemonic, OpKind};

/// Whether it is one of the x87 unit.
pub fn is_x87(insn: &Instruction) -> bool {
    let is_unit = |feature: &CpuidFeature| matches!(feature, CpuidFeature::FPU | CpuidFeature::FPU287 | CpuidFeature::FPU387);
    insn.code().cpuid_features().iter().any(is_unit)
}

/// Whether it is one of MMX, or has an operand in an MMX register.
pub fn uses_mmx(insn: &Instruction) -> bool {
    insn.code().cpuid_features().contains(&CpuidFeature::MMX)
        || (0..insn.op_count()).any(|n| insn.op_kind(n) == OpKind::Register && insn.op_register(n).is_mm())
}

/// Whether it picks one bit, which in memory may be anywhere.
pub fn is_bit_test(insn: &Instruction) -> bool {
    matches!(insn.mnemonic(), Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc)
}
