//! The processors that can be had by name, oldest first; levels of the x86-64 ABI in their order.
//!
//! Sources: Intel's Processor Identification and the CPUID Instruction (AP-485) for the 486 and the Pentium III; System V ABI,
//! AMD64 supplement §3.1.1 for the levels; the SDM and the Processor Programming Reference of family 17h model 31h for the rest.

use super::{CpuModel, Feature, Features, Vendor};

const NONE: Features = Features::of(&[]);

/// What makes the baseline of the x86-64 ABI.
const LEVEL_1: Features = {
    use Feature::*;
    Features::of(&[Fpu, Cx8, Cmov, Mmx, Fxsr, Sse, Sse2, Syscall, Lm])
};

const LEVEL_2: Features = {
    use Feature::*;
    LEVEL_1.or(Features::of(&[Cx16, LahfLm, Popcnt, Sse3, Ssse3, Sse41, Sse42]))
};

const LEVEL_3: Features = {
    use Feature::*;
    LEVEL_2.or(Features::of(&[Avx, Avx2, Bmi1, Bmi2, F16c, Fma, Abm, Movbe, Xsave]))
};

const PENTIUM_3: Features = {
    use Feature::*;
    Features::of(&[Fpu, Vme, De, Pse, Tsc, Msr, Pae, Mce, Cx8, Apic, Sep, Mtrr, Pge, Mca, Cmov, Pat, Pse36, Mmx, Fxsr, Sse])
};

/// What every 64-bit kernel of today finds beside the baseline.
const LONG: Features = {
    use Feature::*;
    PENTIUM_3.or(LEVEL_1).or(Features::of(&[Clflush, Nx, LahfLm, Cx16, Hypervisor]))
};

/// What costs nothing under any engine and spares guests a detour.
const COMFORTS: Features = {
    use Feature::*;
    Features::of(&[
        X2apic,
        TscDeadline,
        Arat,
        Fsgsbase,
        TscAdjust,
        FdpExceptionOnly,
        Smep,
        Erms,
        ZeroFcsFds,
        Invpcid,
        Pcid,
        Smap,
        Fsrm,
        Umip,
        SpecCtrl,
        ArchCapabilities,
        BhiCtrl,
        McdtNo,
        Pdpe1gb,
        Rdtscp,
        InvariantTsc,
    ])
};

/// What the processors of the third level have beside it.
const COMPANIONS: Features = {
    use Feature::*;
    Features::of(&[
        Aes, Pclmulqdq, Adx, Rdrand, Rdseed, Clflushopt, Clwb, Prefetchw, Rdpid, Sha, Vaes, Vpclmulqdq, Xsaveopt, Xsavec,
        Xgetbv1, Xsaves, Serialize,
    ])
};

const SKYLAKE: Features = {
    use Feature::*;
    LONG.or(LEVEL_3).or(Features::of(&[
        Aes,
        Pclmulqdq,
        Monitor,
        Pcid,
        X2apic,
        TscDeadline,
        Rdrand,
        Arat,
        Fsgsbase,
        TscAdjust,
        FdpExceptionOnly,
        Smep,
        Erms,
        Invpcid,
        ZeroFcsFds,
        Rdseed,
        Adx,
        Smap,
        Clflushopt,
        SpecCtrl,
        ArchCapabilities,
        SpecCtrlSsbd,
        Xsaveopt,
        Xsavec,
        Xgetbv1,
        Xsaves,
        Prefetchw,
        Pdpe1gb,
        Rdtscp,
        InvariantTsc,
    ]))
};

const ROME: Features = {
    use Feature::*;
    LONG.or(LEVEL_3).or(Features::of(&[
        Aes,
        Pclmulqdq,
        Monitor,
        Rdrand,
        Arat,
        Fsgsbase,
        Smep,
        Rdseed,
        Adx,
        Smap,
        Clflushopt,
        Clwb,
        Sha,
        Umip,
        Rdpid,
        SpecCtrl,
        ArchCapabilities,
        Xsaveopt,
        Xsavec,
        Xgetbv1,
        Xsaves,
        Sse4a,
        Prefetchw,
        Topoext,
        Pdpe1gb,
        Rdtscp,
        InvariantTsc,
    ]))
};

/// What the models of the levels have in common. The signature is that of the first Core 2, which nobody works around.
const LEVEL: CpuModel = CpuModel {
    name: "x86-64-v1",
    about: "the baseline of all 64-bit processors, with the system features of today's",
    vendor: Vendor::Intel,
    signature: 0x0000_06fb,
    brand: "Dragoman x86-64-v1 processor",
    features: LONG.or(COMFORTS),
    level: LEVEL_1,
    last_leaves: (0x16, 0x8000_0008),
    physical_bits: 46,
    crystal_hertz: 100_000_000,
    tsc_ratio: 10,
    arch_capabilities: CpuModel::without_speculation(),
};

/// Every model.
pub(super) const MODELS: &[CpuModel] = &[
    CpuModel {
        name: "486",
        about: "Intel 486DX2 of 1992: 32 bits, the x87 unit, CPUID, and nothing that CPUID could announce",
        signature: 0x0000_0435,
        brand: "",
        features: Features::of(&[Feature::Fpu]),
        level: NONE,
        last_leaves: (1, 0),
        physical_bits: 32,
        ..LEVEL
    },
    CpuModel {
        name: "pentium3",
        about: "Intel Pentium III of 1999 (Coppermine): 32 bits, PAE, SSE",
        signature: 0x0000_0683,
        brand: "",
        features: PENTIUM_3,
        level: NONE,
        last_leaves: (2, 0),
        physical_bits: 36,
        ..LEVEL
    },
    LEVEL,
    CpuModel {
        name: "x86-64-v2",
        about: "the second level: SSE up to 4.2, POPCNT, CMPXCHG16B",
        brand: "Dragoman x86-64-v2 processor",
        features: LONG.or(COMFORTS).or(LEVEL_2),
        level: LEVEL_2,
        ..LEVEL
    },
    CpuModel {
        name: "x86-64-v3",
        about: "the third level: AVX2, FMA, BMI, XSAVE, and what usually comes with them",
        brand: "Dragoman x86-64-v3 processor",
        features: LONG.or(COMFORTS).or(LEVEL_3).or(COMPANIONS),
        level: LEVEL_3,
        ..LEVEL
    },
    CpuModel {
        name: "skylake",
        about: "Intel Core i7-6700 of 2015",
        signature: 0x0005_06e3,
        brand: "Intel(R) Core(TM) i7-6700 CPU @ 3.40GHz",
        features: SKYLAKE,
        level: NONE,
        physical_bits: 39,
        ..LEVEL
    },
    CpuModel {
        name: "epyc-rome",
        about: "AMD EPYC 7742 of 2019 (Zen 2), with SSE4a",
        vendor: Vendor::Amd,
        signature: 0x0083_0f10,
        brand: "AMD EPYC 7742 64-Core Processor",
        features: ROME,
        level: NONE,
        last_leaves: (0x10, 0x8000_0020),
        physical_bits: 48,
        ..LEVEL
    },
    CpuModel {
        name: "max",
        about: "everything that Dragoman implements, together on no real processor",
        brand: "Dragoman processor",
        features: Features::ALL,
        level: NONE,
        ..LEVEL
    },
];
