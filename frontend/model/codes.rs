//! Which features an encoding needs: from the decoder's classification of the instruction set to ours.

use iced_x86::CpuidFeature;

use super::{CpuModel, Feature, Features};
use crate::decode::Code;

/// What stands between a processor and an instruction.
enum Need {
    /// Every processor that we model has it.
    Nothing,
    /// It comes with a feature.
    Feature(Feature),
    /// No processor that we model has it.
    Unknown,
}

fn need(feature: CpuidFeature) -> Need {
    use CpuidFeature as C;
    Need::Feature(match feature {
        C::INTEL8086 | C::INTEL186 | C::INTEL286 | C::INTEL386 | C::INTEL486 | C::CPUID | C::SMM | C::PAUSE | C::UDBG => {
            return Need::Nothing;
        }
        // The P6 family brought them, with CMOV: opcodes that do nothing, of which later ones took some.
        C::MULTIBYTENOP | C::CET_IBT => Feature::Cmov,
        C::RDPMC => Feature::Msr,
        C::FPU | C::FPU287 | C::FPU387 => Feature::Fpu,
        C::X64 => Feature::Lm,
        C::TSC => Feature::Tsc,
        C::MSR => Feature::Msr,
        C::CX8 => Feature::Cx8,
        C::CMOV => Feature::Cmov,
        C::SEP => Feature::Sep,
        C::CLFSH => Feature::Clflush,
        C::MMX => Feature::Mmx,
        C::FXSR => Feature::Fxsr,
        C::SSE => Feature::Sse,
        C::SSE2 => Feature::Sse2,
        C::SSE3 => Feature::Sse3,
        C::SSSE3 => Feature::Ssse3,
        C::SSE4_1 => Feature::Sse41,
        C::SSE4_2 => Feature::Sse42,
        C::SSE4A => Feature::Sse4a,
        C::POPCNT => Feature::Popcnt,
        C::LZCNT => Feature::Abm,
        C::CMPXCHG16B => Feature::Cx16,
        C::MOVBE => Feature::Movbe,
        C::AES => Feature::Aes,
        C::PCLMULQDQ => Feature::Pclmulqdq,
        C::MONITOR => Feature::Monitor,
        C::XSAVE => Feature::Xsave,
        C::XSAVEOPT => Feature::Xsaveopt,
        C::XSAVEC => Feature::Xsavec,
        C::XSAVES => Feature::Xsaves,
        C::AVX => Feature::Avx,
        C::AVX2 => Feature::Avx2,
        C::FMA => Feature::Fma,
        C::F16C => Feature::F16c,
        C::BMI1 => Feature::Bmi1,
        C::BMI2 => Feature::Bmi2,
        C::ADX => Feature::Adx,
        C::SHA => Feature::Sha,
        C::VAES => Feature::Vaes,
        C::VPCLMULQDQ => Feature::Vpclmulqdq,
        C::RDRAND => Feature::Rdrand,
        C::RDSEED => Feature::Rdseed,
        C::FSGSBASE => Feature::Fsgsbase,
        C::SMAP => Feature::Smap,
        C::PKU => Feature::Pku,
        C::INVPCID => Feature::Invpcid,
        C::CLFLUSHOPT => Feature::Clflushopt,
        C::CLWB => Feature::Clwb,
        C::PREFETCHW => Feature::Prefetchw,
        C::RDTSCP => Feature::Rdtscp,
        C::RDPID => Feature::Rdpid,
        C::SERIALIZE => Feature::Serialize,
        C::SYSCALL => Feature::Syscall,
        _ => return Need::Unknown,
    })
}

impl Features {
    /// What an instruction that `code` encodes needs and this set has not: the name of a feature, or `such extension` where no
    /// model can have it. Nothing where it has all.
    pub fn lacks(self, code: Code) -> Option<&'static str> {
        // LAHF and SAHF need their feature in 64-bit mode alone, where all models that have the mode have them.
        code.cpuid_features().iter().find_map(|feature| match need(*feature) {
            Need::Nothing => None,
            Need::Feature(feature) => (!self.has(feature)).then(|| feature.name()),
            Need::Unknown => Some("such extension"),
        })
    }
}

impl CpuModel {
    /// Whether this model has the instruction that `code` encodes.
    pub fn has_code(&self, code: Code) -> bool {
        self.features().lacks(code).is_none()
    }
}
