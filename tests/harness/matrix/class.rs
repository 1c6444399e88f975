//! Classes of instructions: the extension of the instruction set that an encoding comes with.

use iced_x86::{Code, CpuidFeature as C, Mnemonic as M};

/// A class of instructions, by which the matrix is sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Class(u8);

/// The classes, with the decoder's features that each stands for. An encoding with several features, as VAES needs AVX, is
/// of the class that stands furthest down; one whose features are nowhere here is of the first.
#[rustfmt::skip] // a table
const CLASSES: &[(&str, &[C])] = &[
    ("integer",     &[C::INTEL8086, C::INTEL186, C::INTEL286, C::INTEL386, C::INTEL486, C::X64, C::PAUSE, C::MULTIBYTENOP,
                      C::CX8, C::CMOV, C::CMPXCHG16B]),
    ("system",      &[C::CPUID, C::MSR, C::TSC, C::RDPMC, C::RDTSCP, C::RDPID, C::SYSCALL, C::SEP, C::SMM, C::INVPCID, C::SMAP,
                      C::PKU, C::FSGSBASE, C::MONITOR, C::SERIALIZE, C::CET_IBT, C::CET_SS, C::VMX, C::SVM, C::UDBG]),
    ("cache",       &[C::CLFSH, C::CLFLUSHOPT, C::CLWB, C::PREFETCHW, C::CLDEMOTE, C::WBNOINVD]),
    ("x87",         &[C::FPU, C::FPU287, C::FPU387]),
    ("mmx",         &[C::MMX]),
    ("fxsr",        &[C::FXSR]),
    ("sse",         &[C::SSE]),
    ("sse2",        &[C::SSE2]),
    ("sse3",        &[C::SSE3]),
    ("ssse3",       &[C::SSSE3]),
    ("sse4.1",      &[C::SSE4_1]),
    ("sse4.2",      &[C::SSE4_2]),
    ("sse4a",       &[C::SSE4A]),
    ("popcnt",      &[C::POPCNT]),
    ("lzcnt",       &[C::LZCNT]),
    ("bmi",         &[C::BMI1]),
    ("bmi2",        &[C::BMI2]),
    ("movbe",       &[C::MOVBE]),
    ("adx",         &[C::ADX]),
    ("rdrand",      &[C::RDRAND]),
    ("rdseed",      &[C::RDSEED]),
    ("xsave",       &[C::XSAVE, C::XSAVEOPT, C::XSAVEC, C::XSAVES]),
    ("avx",         &[C::AVX]),
    ("avx2",        &[C::AVX2]),
    ("fma",         &[C::FMA]),
    ("f16c",        &[C::F16C]),
    ("sha",         &[C::SHA]),
    ("aes",         &[C::AES]),
    ("pclmulqdq",   &[C::PCLMULQDQ]),
    ("vaes",        &[C::VAES]),
    ("vpclmulqdq",  &[C::VPCLMULQDQ]),
    ("gfni",        &[C::GFNI]),
    ("avx512",      &[C::AVX512F, C::AVX512VL, C::AVX512BW, C::AVX512DQ, C::AVX512CD]),
];
const SYSTEM: Class = Class(1);

/// What belongs to the system, though it came with the integer instructions of its day.
fn is_system(code: Code) -> bool {
    matches!(
        code.mnemonic(),
        M::Int | M::Int1 | M::Int3 | M::Into | M::Iret | M::Iretd | M::Iretq | M::In | M::Out | M::Cli | M::Sti | M::Hlt
    ) || matches!(code.mnemonic(), M::Insb | M::Insw | M::Insd | M::Outsb | M::Outsw | M::Outsd | M::Ud0 | M::Ud1 | M::Ud2)
        || matches!(
            code.mnemonic(),
            M::Sgdt | M::Sidt | M::Sldt | M::Smsw | M::Str | M::Lar | M::Lsl | M::Verr | M::Verw | M::Arpl
        )
        || code.op_code().is_privileged()
}

impl Class {
    /// Every class, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..CLASSES.len() as u8).map(Self)
    }

    /// The class of an encoding.
    pub fn of(code: Code) -> Self {
        let features = code.cpuid_features();
        let found = CLASSES.iter().rposition(|(_, own)| features.iter().any(|feature| own.contains(feature)));
        let class = Self(found.unwrap_or(0) as u8);
        if class.0 == 0 && is_system(code) { SYSTEM } else { class }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        CLASSES[usize::from(self.0)].0
    }
}

impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use dragoman_frontend::model::{Feature, Features};

    use super::*;

    #[test]
    fn an_encoding_is_of_the_extension_that_brought_it() {
        #[rustfmt::skip] // a table
        let table = [
            (Code::Add_rm32_r32, "integer"), (Code::Cmovb_r64_rm64, "integer"), (Code::Lgdt_m1664, "system"),
            (Code::Int_imm8, "system"), (Code::Fadd_m32fp, "x87"), (Code::Paddb_mm_mmm64, "mmx"),
            (Code::Addps_xmm_xmmm128, "sse"), (Code::Addpd_xmm_xmmm128, "sse2"), (Code::VEX_Vpaddb_ymm_ymm_ymmm256, "avx2"),
            (Code::VEX_Vaesenc_ymm_ymm_ymmm256, "vaes"), (Code::VEX_Andn_r32_r32_rm32, "bmi"), (Code::Fxsave_m512byte, "fxsr"),
        ];
        for (code, class) in table {
            assert_eq!(Class::of(code).name(), class, "{code:?}");
        }
    }

    #[test]
    fn every_extension_that_a_model_can_have_is_in_one_class() {
        for code in Code::values().filter(|code| Features::of(Feature::ALL).lacks(*code).is_none()) {
            for feature in code.cpuid_features() {
                let count = CLASSES.iter().filter(|(_, own)| own.contains(feature)).count();
                assert_eq!(count, 1, "{feature:?} of {code:?}");
            }
        }
    }
}
