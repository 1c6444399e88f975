//! The features that CPUID can promise, each with its name and its place.
//! SDM: vol. 2, CPUID; AMD APM: vol. 3, appendix E.

/// A register of CPUID's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    Eax,
    Ebx,
    Ecx,
    Edx,
}

/// Where a feature's bit is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub leaf: u32,
    pub subleaf: u32,
    pub output: Output,
    pub bit: u8,
}

macro_rules! features {
    ($( $variant:ident $name:literal $leaf:literal/$subleaf:literal $output:ident $bit:literal )*) => {
        /// A feature of a processor, as `--cpu` and /proc/cpuinfo spell it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[expect(missing_docs, reason = "the names of the vendors' manuals say all there is to say")]
        pub enum Feature { $( $variant ),* }

        impl Feature {
            /// Every feature.
            pub const ALL: &'static [Self] = &[ $( Self::$variant ),* ];

            /// The name that users write.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$variant => $name ),* }
            }

            pub(super) const fn place(self) -> Place {
                match self {
                    $( Self::$variant => Place { leaf: $leaf, subleaf: $subleaf, output: Output::$output, bit: $bit } ),*
                }
            }
        }
    };
}

#[rustfmt::skip] // a table: one feature a line, in the order of CPUID's leaves
mod table {
    use super::{Output, Place};
    features! {
        Fpu              "fpu"               0x1/0 Edx 0
        Vme              "vme"               0x1/0 Edx 1
        De               "de"                0x1/0 Edx 2
        Pse              "pse"               0x1/0 Edx 3
        Tsc              "tsc"               0x1/0 Edx 4
        Msr              "msr"               0x1/0 Edx 5
        Pae              "pae"               0x1/0 Edx 6
        Mce              "mce"               0x1/0 Edx 7
        Cx8              "cx8"               0x1/0 Edx 8
        Apic             "apic"              0x1/0 Edx 9
        Sep              "sep"               0x1/0 Edx 11
        Mtrr             "mtrr"              0x1/0 Edx 12
        Pge              "pge"               0x1/0 Edx 13
        Mca              "mca"               0x1/0 Edx 14
        Cmov             "cmov"              0x1/0 Edx 15
        Pat              "pat"               0x1/0 Edx 16
        Pse36            "pse36"             0x1/0 Edx 17
        Clflush          "clflush"           0x1/0 Edx 19
        Mmx              "mmx"               0x1/0 Edx 23
        Fxsr             "fxsr"              0x1/0 Edx 24
        Sse              "sse"               0x1/0 Edx 25
        Sse2             "sse2"              0x1/0 Edx 26
        Sse3             "sse3"              0x1/0 Ecx 0
        Pclmulqdq        "pclmulqdq"         0x1/0 Ecx 1
        Monitor          "monitor"           0x1/0 Ecx 3
        Ssse3            "ssse3"             0x1/0 Ecx 9
        Fma              "fma"               0x1/0 Ecx 12
        Cx16             "cx16"              0x1/0 Ecx 13
        Pcid             "pcid"              0x1/0 Ecx 17
        Sse41            "sse4.1"            0x1/0 Ecx 19
        Sse42            "sse4.2"            0x1/0 Ecx 20
        X2apic           "x2apic"            0x1/0 Ecx 21
        Movbe            "movbe"             0x1/0 Ecx 22
        Popcnt           "popcnt"            0x1/0 Ecx 23
        TscDeadline      "tsc-deadline"      0x1/0 Ecx 24
        Aes              "aes"               0x1/0 Ecx 25
        Xsave            "xsave"             0x1/0 Ecx 26
        Avx              "avx"               0x1/0 Ecx 28
        F16c             "f16c"              0x1/0 Ecx 29
        Rdrand           "rdrand"            0x1/0 Ecx 30
        Hypervisor       "hypervisor"        0x1/0 Ecx 31
        Arat             "arat"              0x6/0 Eax 2
        Fsgsbase         "fsgsbase"          0x7/0 Ebx 0
        TscAdjust        "tsc-adjust"        0x7/0 Ebx 1
        Bmi1             "bmi1"              0x7/0 Ebx 3
        Avx2             "avx2"              0x7/0 Ebx 5
        FdpExceptionOnly "fdp-excptn-only"   0x7/0 Ebx 6
        Smep             "smep"              0x7/0 Ebx 7
        Bmi2             "bmi2"              0x7/0 Ebx 8
        Erms             "erms"              0x7/0 Ebx 9
        Invpcid          "invpcid"           0x7/0 Ebx 10
        ZeroFcsFds       "zero-fcs-fds"      0x7/0 Ebx 13
        Rdseed           "rdseed"            0x7/0 Ebx 18
        Adx              "adx"               0x7/0 Ebx 19
        Smap             "smap"              0x7/0 Ebx 20
        Clflushopt       "clflushopt"        0x7/0 Ebx 23
        Clwb             "clwb"              0x7/0 Ebx 24
        Sha              "sha"               0x7/0 Ebx 29
        Umip             "umip"              0x7/0 Ecx 2
        Pku              "pku"               0x7/0 Ecx 3
        Vaes             "vaes"              0x7/0 Ecx 9
        Vpclmulqdq       "vpclmulqdq"        0x7/0 Ecx 10
        La57             "la57"              0x7/0 Ecx 16
        Rdpid            "rdpid"             0x7/0 Ecx 22
        Fsrm             "fsrm"              0x7/0 Edx 4
        Serialize        "serialize"         0x7/0 Edx 14
        SpecCtrl         "spec-ctrl"         0x7/0 Edx 26
        FlushL1d         "flush-l1d"         0x7/0 Edx 28
        ArchCapabilities "arch-capabilities" 0x7/0 Edx 29
        SpecCtrlSsbd     "ssbd"              0x7/0 Edx 31
        BhiCtrl          "bhi-ctrl"          0x7/2 Edx 4
        McdtNo           "mcdt-no"           0x7/2 Edx 5
        Xsaveopt         "xsaveopt"          0xd/1 Eax 0
        Xsavec           "xsavec"            0xd/1 Eax 1
        Xgetbv1          "xgetbv1"           0xd/1 Eax 2
        Xsaves           "xsaves"            0xd/1 Eax 3
        LahfLm           "lahf-lm"           0x80000001/0 Ecx 0
        Abm              "abm"               0x80000001/0 Ecx 5
        Sse4a            "sse4a"             0x80000001/0 Ecx 6
        Prefetchw        "3dnowprefetch"     0x80000001/0 Ecx 8
        Topoext          "topoext"           0x80000001/0 Ecx 22
        Syscall          "syscall"           0x80000001/0 Edx 11
        Nx               "nx"                0x80000001/0 Edx 20
        Pdpe1gb          "pdpe1gb"           0x80000001/0 Edx 26
        Rdtscp           "rdtscp"            0x80000001/0 Edx 27
        Lm               "lm"                0x80000001/0 Edx 29
        InvariantTsc     "invtsc"            0x80000007/0 Edx 8
    }
}
pub use table::Feature;

impl Feature {
    /// The feature that users call `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|feature| feature.name() == name)
    }
}

/// A set of features.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Features(u128);

impl std::fmt::Debug for Features {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter().map(Feature::name)).finish()
    }
}

impl Features {
    /// The set of `list`.
    pub const fn of(list: &[Feature]) -> Self {
        let mut bits = 0;
        let mut n = 0;
        while n < list.len() {
            bits |= 1 << list[n] as u32;
            n += 1;
        }
        Self(bits)
    }

    /// Whether `feature` is in the set.
    pub const fn has(self, feature: Feature) -> bool {
        self.0 >> feature as u32 & 1 != 0
    }

    /// This set with `feature` put in or taken out.
    #[must_use]
    pub const fn with(self, feature: Feature, is_in: bool) -> Self {
        let bit = 1 << feature as u32;
        Self(if is_in { self.0 | bit } else { self.0 & !bit })
    }

    /// What is in both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in either set.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The features in the set, in table order.
    pub fn iter(self) -> impl Iterator<Item = Feature> {
        Feature::ALL.iter().copied().filter(move |feature| self.has(*feature))
    }

    /// The leaves, with their subleaves, that features are announced in.
    pub fn leaves() -> Vec<(u32, u32)> {
        let mut leaves: Vec<_> = Feature::ALL.iter().map(|feature| (feature.place().leaf, feature.place().subleaf)).collect();
        leaves.sort_unstable();
        leaves.dedup();
        leaves
    }

    /// Those that a processor announces: `cpuid` gives EAX, EBX, ECX and EDX of a leaf, and zeros for one that is not there.
    pub fn announced(cpuid: impl Fn(u32, u32) -> [u32; 4]) -> Self {
        Feature::ALL.iter().fold(Self::default(), |all, feature| {
            let place = feature.place();
            all.with(*feature, cpuid(place.leaf, place.subleaf)[place.output as usize] >> place.bit & 1 != 0)
        })
    }

    /// What CPUID's output `output` of a leaf holds for this set.
    pub(super) fn bits(self, leaf: u32, subleaf: u32, output: Output) -> u32 {
        self.iter()
            .map(Feature::place)
            .filter(|place| (place.leaf, place.subleaf, place.output) == (leaf, subleaf, output))
            .fold(0, |bits, place| bits | 1 << place.bit)
    }

    /// Every feature there is.
    pub(super) const ALL: Self = Self::of(Feature::ALL);

    /// Everything that Dragoman implements.
    #[rustfmt::skip]
    pub const IMPLEMENTED: Self = {
        use Feature::*;
        Self::of(&[
            Fpu, De, Pse, Tsc, Msr, Pae, Cx8, Apic, Sep, Mtrr, Pge, Cmov, Pat, Pse36, Clflush, Mmx, Fxsr, Sse, Sse2,
            Cx16, X2apic, TscDeadline, Arat, Fsgsbase, TscAdjust, FdpExceptionOnly, Smep, Erms, ZeroFcsFds,
            Smap, Fsrm, SpecCtrl, ArchCapabilities, BhiCtrl, McdtNo, Vme, Invpcid, Pcid, Umip, Pku, La57,
            LahfLm, Syscall, Nx, Pdpe1gb, Rdtscp, Lm, InvariantTsc, Popcnt, Abm, Movbe, Bmi1, Bmi2, Adx, Rdpid, Topoext,
            Sse3, Ssse3, Sse41, Sse42, Aes, Pclmulqdq, Sha, Sse4a, Xsave, Xsaveopt, Xsavec, Xgetbv1, Xsaves,
            Clflushopt, Clwb, Prefetchw, Serialize, Monitor, Rdrand, Rdseed,
            Avx, Avx2, Fma, F16c, Vaes, Vpclmulqdq,
        ])
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_features_share_a_bit_and_all_fit_the_set() {
        assert!(Feature::ALL.len() <= 128);
        let mut places: Vec<_> = Feature::ALL.iter().map(|f| format!("{:?}", f.place())).collect();
        places.sort();
        let count = places.len();
        places.dedup();
        assert_eq!(places.len(), count);
    }

    #[test]
    fn names_lead_back_to_their_features() {
        for feature in Feature::ALL {
            assert_eq!(Feature::from_name(feature.name()), Some(*feature));
        }
    }
}
