//! What the host's processor is, as far as it decides which results can be compared.

#[cfg(target_arch = "x86_64")]
use dragoman_frontend::model::Feature;
use dragoman_frontend::model::Features;
use iced_x86::Code;

/// The host's processor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The vendor's identification: GenuineIntel, AuthenticAMD.
    pub vendor: String,
    /// What the vendor calls this generation, abbreviated, or family and model where we do not know.
    pub name: String,
    /// The data pointer of the x87 unit is written by instructions that raise an unmasked exception alone.
    pub fdp_on_exception_only: bool,
    /// The x87 unit keeps no selectors.
    pub zero_fcs_fds: bool,
    /// The vendor's full name of the processor.
    pub brand: String,
    /// What it has, without what its system does not let programs use.
    pub features: Features,
}

impl Host {
    /// Whether it is of the vendor whose processors the default model is like.
    pub fn is_kin(&self) -> bool {
        self.vendor == "GenuineIntel"
    }

    /// Whether it has the instruction that `code` encodes.
    pub fn has_code(&self, code: Code) -> bool {
        self.features.lacks(code).is_none()
    }
}

#[rustfmt::skip] // a table: vendor, family, model from, model to, name
#[cfg(target_arch = "x86_64")]
const GENERATIONS: &[(&str, u32, u32, u32, &str)] = &[
    ("GenuineIntel", 0x06, 0x55, 0x55, "SKX"),
    ("GenuineIntel", 0x06, 0x6a, 0x6c, "ICX"),
    ("GenuineIntel", 0x06, 0x8f, 0x8f, "SPR"),
    ("GenuineIntel", 0x06, 0xcf, 0xcf, "EMR"),
    ("GenuineIntel", 0x06, 0xad, 0xae, "GNR"),
    ("AuthenticAMD", 0x17, 0x00, 0x2f, "ZEN1"),
    ("AuthenticAMD", 0x17, 0x30, 0xff, "ZEN2"),
    ("AuthenticAMD", 0x19, 0x00, 0x0f, "ZEN3"),
    ("AuthenticAMD", 0x19, 0x10, 0x1f, "ZEN4"),
    ("AuthenticAMD", 0x19, 0x20, 0x5f, "ZEN3"),
    ("AuthenticAMD", 0x19, 0x60, 0xff, "ZEN4"),
    ("AuthenticAMD", 0x1a, 0x00, 0xff, "ZEN5"),
];

#[cfg(target_arch = "x86_64")]
impl Host {
    /// Asks the processor. UNSAFETY: CPUID exists on every x86-64 processor; the compiler's function for it was made safe
    /// in some release, so the block may be needless.
    pub fn identify() -> Self {
        #[allow(unused_unsafe, clippy::allow_attributes, reason = "safe in newer compilers")]
        // SAFETY: CPUID exists here.
        let cpuid = |leaf: u32, subleaf: u32| unsafe { std::arch::x86_64::__cpuid_count(leaf, subleaf) };
        let [last_basic, last_extended] = [0, 0x8000_0000].map(|leaf| cpuid(leaf, 0).eax);
        let words = |leaf: u32, subleaf: u32| {
            let one = cpuid(leaf, subleaf);
            let is_there = leaf <= last_basic || (0x8000_0000..=last_extended).contains(&leaf);
            if is_there { [one.eax, one.ebx, one.ecx, one.edx] } else { [0; 4] }
        };
        let first = cpuid(0, 0);
        let bytes: Vec<u8> = [first.ebx, first.edx, first.ecx].iter().flat_map(|word| word.to_le_bytes()).collect();
        let vendor = String::from_utf8_lossy(&bytes).into_owned();
        let signature = cpuid(1, 0).eax;
        let base = signature >> 8 & 0xf;
        let family = if base == 0xf { base + (signature >> 20 & 0xff) } else { base };
        let model = signature >> 4 & 0xf | if base >= 6 { signature >> 12 & 0xf0 } else { 0 };
        let known =
            GENERATIONS.iter().find(|(of, f, from, to, _)| *of == vendor && *f == family && (*from..=*to).contains(&model));
        let name = known.map_or_else(|| format!("F{family:x}M{model:x}"), |known| known.4.to_string());
        let features = Features::announced(words);
        let has = |feature| features.has(feature);
        Self {
            vendor,
            name,
            fdp_on_exception_only: has(Feature::FdpExceptionOnly),
            zero_fcs_fds: has(Feature::ZeroFcsFds),
            brand: brand(words),
            features: usable(features, words(1, 0)[2], words(7, 0)[2]),
        }
    }
}

/// The string that names a processor to users.
#[cfg(target_arch = "x86_64")]
fn brand(words: impl Fn(u32, u32) -> [u32; 4]) -> String {
    let words = (0x8000_0002..=0x8000_0004).flat_map(|leaf| words(leaf, 0));
    let bytes: Vec<u8> = words.flat_map(u32::to_le_bytes).take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

/// `announced` without what the system does not let programs use, by ECX of leaves 1 and 7.
#[cfg(target_arch = "x86_64")]
fn usable(announced: Features, leaf_1: u32, leaf_7: u32) -> Features {
    const WIDE: [Feature; 6] = [Feature::Avx, Feature::Avx2, Feature::Fma, Feature::F16c, Feature::Vaes, Feature::Vpclmulqdq];
    const SAVED: [Feature; 5] = [Feature::Xsave, Feature::Xsaveopt, Feature::Xsavec, Feature::Xsaves, Feature::Xgetbv1];
    const OSXSAVE: u32 = 1 << 27;
    const OSPKE: u32 = 1 << 4;
    let without = |set: Features, list: &[Feature]| list.iter().fold(set, |set, feature| set.with(*feature, false));
    // The library looks at XCR0.
    let set = if std::is_x86_feature_detected!("avx") { announced } else { without(announced, &WIDE) };
    let set = if leaf_1 & OSXSAVE != 0 { set } else { without(set, &SAVED) };
    if leaf_7 & OSPKE != 0 { set } else { without(set, &[Feature::Pku]) }
}
