//! What a model is, and how one is chosen.

use dragoman_state::{ApicBase, Msrs, VcpuId, VcpuState};

use super::{Feature, Features, Vendor, catalogue::MODELS};

/// A processor: what it is called, what it says it is, and what it has.
#[derive(Clone, Debug)]
pub struct CpuModel {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) vendor: Vendor,
    /// CPUID leaf 1 EAX: stepping, model, family.
    pub(super) signature: u32,
    /// Empty where the processor has none.
    pub(super) brand: &'static str,
    pub(super) features: Features,
    /// Of a level of the x86-64 ABI: what makes it one. Of other models nothing.
    pub(super) level: Features,
    /// The highest leaves of CPUID: basic, and extended, which is 0 where there are none.
    pub(super) last_leaves: (u32, u32),
    pub(super) physical_bits: u32,
    pub(super) crystal_hertz: u64,
    /// Ticks of the time-stamp counter for each of the crystal.
    pub(super) tsc_ratio: u64,
    /// IA32_ARCH_CAPABILITIES.
    pub(super) arch_capabilities: u64,
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

impl CpuModel {
    /// Every model, by name.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        MODELS.iter()
    }

    /// The newest level of the x86-64 ABI that is complete.
    pub fn newest() -> Self {
        Self::newest_up_to(u8::MAX)
    }

    /// The newest level that is complete, of the first `level` levels.
    pub fn newest_up_to(level: u8) -> Self {
        let is_complete = |model: &&Self| model.level.and(Features::IMPLEMENTED) == model.level;
        let levels = MODELS.iter().filter(|model| model.level != Features::default()).take(level.into());
        levels.filter(is_complete).last().unwrap_or(&MODELS[0]).implemented()
    }

    /// The newest level whose own features are all of `there`, without what is not.
    pub fn newest_within(there: Features) -> Self {
        let is_there = |model: &&Self| model.level.and(Features::IMPLEMENTED).and(there) == model.level;
        let found = MODELS.iter().rfind(|model| model.level != Features::default() && is_there(model));
        let model = found.unwrap_or(&MODELS[0]).implemented();
        let features = model.features.and(there);
        Self { features, ..model }
    }

    /// The model that has everything Dragoman implements: what conformance is judged on.
    pub fn most() -> Self {
        MODELS.iter().find(|model| model.name == "max").unwrap_or(&MODELS[0]).implemented()
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

    /// The state of processor `id` after power-on: that of any processor, without what this model lacks.
    pub fn power_on(&self, id: VcpuId) -> VcpuState {
        let mut state = VcpuState::power_on(id, self.signature);
        if !self.has(Feature::Apic) {
            state.msrs.apic_base.remove(ApicBase::EN);
        }
        if self.has(Feature::Monitor) {
            state.msrs.misc_enable |= Msrs::MONITOR;
        }
        state
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

    /// IA32_ARCH_CAPABILITIES.
    pub fn arch_capabilities(&self) -> u64 {
        self.arch_capabilities
    }

    /// This model where it speculates as a processor does that has `there` in IA32_ARCH_CAPABILITIES.
    #[must_use]
    pub fn with_arch_capabilities(self, there: u64) -> Self {
        Self { arch_capabilities: self.arch_capabilities & there, ..self }
    }

    /// What IA32_ARCH_CAPABILITIES says of a processor that does not speculate, so that guests do not pay for what cannot happen.
    pub(super) const fn without_speculation() -> u64 {
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
        let model = CpuModel::parse("486,+tsc").expect("known");
        assert!(model.has(Feature::Tsc) && !model.has(Feature::Msr));
        assert_eq!(CpuModel::parse("pentium9").err(), Some(ModelError::NoModel("pentium9".into())));
        assert_eq!(CpuModel::parse("x86-64-v1,+warp").err(), Some(ModelError::NoFeature("warp".into())));
        assert_eq!(CpuModel::parse("x86-64-v1,nx").err(), Some(ModelError::BadFlag("nx".into())));
    }

    #[test]
    fn the_default_is_the_newest_level_that_is_complete() {
        let newest = CpuModel::newest();
        assert_eq!(newest.level.and(newest.features), newest.level);
        let later = MODELS.iter().filter(|model| model.level.or(newest.level) == model.level && model.level != newest.level);
        for model in later {
            assert_ne!(model.level.and(Features::IMPLEMENTED), model.level, "{} is complete", model.name);
        }
        assert_eq!(CpuModel::most().features(), Features::IMPLEMENTED);
        let second = CpuModel::newest_up_to(2);
        assert_eq!(CpuModel::newest_within(second.features().with(Feature::Avx, true)).name(), second.name());
        let some = CpuModel::newest_within(second.features().with(Feature::Popcnt, false).with(Feature::Smap, false));
        assert!(some.name() == "x86-64-v1" && !some.has(Feature::Smap) && !some.has(Feature::Avx) && some.has(Feature::Nx));
        let names = [1, 2, 3, 9].map(|level| CpuModel::newest_up_to(level).name());
        assert_eq!(names, ["x86-64-v1", "x86-64-v2", "x86-64-v3", newest.name()]);
    }

    #[test]
    fn each_level_holds_the_one_before() {
        let levels: Vec<_> = MODELS.iter().filter(|model| model.level != Features::default()).collect();
        assert_eq!(levels.iter().map(|model| model.name).collect::<Vec<_>>(), ["x86-64-v1", "x86-64-v2", "x86-64-v3"]);
        for pair in levels.windows(2) {
            assert_eq!(pair[0].level.and(pair[1].level), pair[0].level);
            assert_eq!(pair[0].features.and(pair[1].features), pair[0].features);
        }
    }
}
