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

/// Whether it saves or restores an image of all state components that are on.
pub fn is_large_image(insn: &Instruction) -> bool {
    use Mnemonic as M;
    restores_large_image(insn)
        || matches!(insn.mnemonic(), M::Xsave | M::Xsave64 | M::Xsaveopt | M::Xsaveopt64 | M::Xsavec | M::Xsavec64)
        || matches!(insn.mnemonic(), M::Xsaves | M::Xsaves64)
}

/// Whether it restores one.
pub fn restores_large_image(insn: &Instruction) -> bool {
    use Mnemonic as M;
    matches!(insn.mnemonic(), M::Xrstor | M::Xrstor64 | M::Xrstors | M::Xrstors64)
}

/// Whether it picks one bit, which in memory may be anywhere.
pub fn is_bit_test(insn: &Instruction) -> bool {
    matches!(insn.mnemonic(), Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc)
}
