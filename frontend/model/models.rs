//! The processors that can be had by name.

use super::{Feature, Features, Vendor};

/// A processor: what it is called, what it says it is, and what it has.
#[derive(Clone, Debug)]
pub struct CpuModel {
    name: &'static str,
    about: &'static str,
    vendor: Vendor,
    /// CPUID leaf 1 EAX: stepping, model, family.
    signature: u32,
    brand: &'static str,
    features: Features,
    physical_bits: u32,
    crystal_hertz: u64,
    /// Ticks of the time-stamp counter for each of the crystal.
    tsc_ratio: u64,
}

/// Why a model cannot be had.
#[derive(Debug, PartialEq, Eq)]
pub enum ModelError {
    /// There is no model of this name.
    NoModel(String),
    /// There is no feature of this name.
    NoFeature(String),
    /// The feature exists, and Dragoman does not implement it.
    NotImplemented(&'static str),
    /// A flag with neither plus nor minus.
    BadFlag(String),
}

impl std::error::Error for ModelError {}

impl std::fmt::Display for ModelError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoModel(name) => write!(f, "no processor model is called {name}; `--cpu help` lists those there are"),
            Self::NoFeature(name) => write!(f, "no processor feature is called {name}; `--cpu help` lists those there are"),
            Self::NotImplemented(name) => write!(f, "the processor feature {name} is not implemented; leave +{name} away"),
            Self::BadFlag(flag) => write!(f, "{flag} is no processor feature: write +{flag} or -{flag}"),
        }
    }
}

/// x86-64-v1 and what every kernel of today finds beside it.
#[rustfmt::skip]
const V1: Features = {
    use Feature::*;
    Features::of(&[
        Fpu, Vme, De, Pse, Tsc, Msr, Pae, Mce, Cx8, Apic, Sep, Mtrr, Pge, Mca, Cmov, Pat, Pse36, Clflush, Mmx, Fxsr, Sse,
        Sse2, Syscall, Nx, Lm, LahfLm, Cx16, Hypervisor,
    ])
};

/// What costs nothing under any engine and spares guests a detour.
#[rustfmt::skip]
const COMFORTS: Features = {
    use Feature::*;
    Features::of(&[
        X2apic, TscDeadline, Arat, Fsgsbase, TscAdjust, FdpExceptionOnly, Smep, Erms, ZeroFcsFds, Invpcid, Pcid, Smap,
        Fsrm, Umip, SpecCtrl, ArchCapabilities, BhiCtrl, McdtNo, Pdpe1gb, Rdtscp, InvariantTsc,
    ])
};

const MODELS: &[CpuModel] = &[CpuModel {
    name: "x86-64-v1",
    about: "the baseline of all 64-bit processors, with the system features of today's",
    vendor: Vendor::Intel,
    signature: 0x0000_06fb,
    brand: "Dragoman x86-64-v1 processor",
    features: V1.or(COMFORTS),
    physical_bits: 46,
    crystal_hertz: 100_000_000,
    tsc_ratio: 10,
}];

impl CpuModel {
    /// Every model, by name.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        MODELS.iter()
    }

    /// The newest level that is complete.
    pub fn newest() -> Self {
        MODELS[0].implemented()
    }

    /// The model that `MODEL,+flag,-flag` describes.
    pub fn parse(text: &str) -> Result<Self, ModelError> {
        let mut parts = text.split(',');
        let name = parts.next().unwrap_or_default();
        let found = Self::all().find(|model| model.name == name).ok_or_else(|| ModelError::NoModel(name.into()))?;
        let mut model = found.implemented();
        for flag in parts {
            let (is_in, name) = match (flag.strip_prefix('+'), flag.strip_prefix('-')) {
                (Some(name), _) => (true, name),
                (_, Some(name)) => (false, name),
                _ => return Err(ModelError::BadFlag(flag.into())),
            };
            let feature = Feature::from_name(name).ok_or_else(|| ModelError::NoFeature(name.into()))?;
            if is_in && !Features::IMPLEMENTED.has(feature) {
                return Err(ModelError::NotImplemented(feature.name()));
            }
            model.features = model.features.with(feature, is_in);
        }
        Ok(model)
    }

    fn implemented(&self) -> Self {
        Self { features: self.features.and(Features::IMPLEMENTED), ..self.clone() }
    }

    /// This model with `features` and no others, whether or not Dragoman implements them.
    #[must_use]
    pub fn with_features(self, features: Features) -> Self {
        Self { features, ..self }
    }

    /// This model with a time-stamp counter of `hertz`, to within one part in ten million.
    ///
    /// Kernels multiply crystal and ratio in 32 bits of kilohertz: the ratio is a small whole number.
    #[must_use]
    pub fn with_tsc(mut self, hertz: u64) -> Self {
        self.tsc_ratio = hertz.div_ceil(100_000_000).max(1);
        self.crystal_hertz = (hertz / self.tsc_ratio).max(1);
        self
    }

    /// The name that `--cpu` takes.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// One line on what it is.
    pub fn about(&self) -> &'static str {
        self.about
    }

    /// The vendor it says it is from.
    pub fn vendor(&self) -> Vendor {
        self.vendor
    }

    /// The string that names it to users.
    pub fn brand(&self) -> &'static str {
        self.brand
    }

    /// Family, model and stepping as CPUID leaf 1 gives them, and as EDX holds them after reset.
    pub fn signature(&self) -> u32 {
        self.signature
    }

    /// Whether it has `feature`.
    #[inline]
    pub fn has(&self, feature: Feature) -> bool {
        self.features.has(feature)
    }

    /// What it has.
    pub fn features(&self) -> Features {
        self.features
    }

    /// The width of a physical address, in bits.
    pub fn physical_bits(&self) -> u32 {
        self.physical_bits
    }

    /// Ticks a second of the time-stamp counter.
    pub fn tsc_hertz(&self) -> u64 {
        self.crystal_hertz * self.tsc_ratio
    }

    /// Ticks of the time-stamp counter for each of the core crystal clock.
    pub fn tsc_ratio(&self) -> u64 {
        self.tsc_ratio
    }

    /// Ticks a second of the core crystal clock, which the local APIC timer counts.
    pub fn crystal_hertz(&self) -> u64 {
        self.crystal_hertz
    }

    /// The revision of the microcode.
    pub fn microcode_revision(&self) -> u64 {
        1
    }

    /// IA32_ARCH_CAPABILITIES: this processor does not speculate, so that guests do not pay for what cannot happen.
    pub fn arch_capabilities(&self) -> u64 {
        const RDCL_NO: u64 = 1 << 0;
        const IBRS_ALL: u64 = 1 << 1;
        const SKIP_L1DFL_VMENTRY: u64 = 1 << 3;
        const SSB_NO: u64 = 1 << 4;
        const MDS_NO: u64 = 1 << 5;
        const PSCHANGE_MC_NO: u64 = 1 << 6;
        const TAA_NO: u64 = 1 << 8;
        const SBDR_SSDP_NO: u64 = 1 << 13;
        const FBSDP_NO: u64 = 1 << 14;
        const PSDP_NO: u64 = 1 << 15;
        const BHI_NO: u64 = 1 << 20;
        const PBRSB_NO: u64 = 1 << 24;
        const GDS_NO: u64 = 1 << 26;
        const RFDS_NO: u64 = 1 << 27;
        const ITS_NO: u64 = 1 << 62;
        RDCL_NO
            | IBRS_ALL
            | SKIP_L1DFL_VMENTRY
            | SSB_NO
            | MDS_NO
            | PSCHANGE_MC_NO
            | TAA_NO
            | SBDR_SSDP_NO
            | FBSDP_NO
            | PSDP_NO
            | BHI_NO
            | PBRSB_NO
            | GDS_NO
            | RFDS_NO
            | ITS_NO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_promises_nothing_that_is_not_implemented() {
        for model in CpuModel::all() {
            let parsed = CpuModel::parse(model.name()).expect("its own name");
            assert_eq!(parsed.features().and(Features::IMPLEMENTED), parsed.features());
        }
    }

    #[test]
    fn flags_are_put_in_and_taken_out() {
        let model = CpuModel::parse("x86-64-v1,-x2apic,+smap").expect("known");
        assert!(!model.has(Feature::X2apic) && model.has(Feature::Smap));
        assert_eq!(CpuModel::parse("pentium9").err(), Some(ModelError::NoModel("pentium9".into())));
        assert_eq!(CpuModel::parse("x86-64-v1,+warp").err(), Some(ModelError::NoFeature("warp".into())));
        assert_eq!(CpuModel::parse("x86-64-v1,nx").err(), Some(ModelError::BadFlag("nx".into())));
    }
}
