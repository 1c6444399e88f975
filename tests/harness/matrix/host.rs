//! The processor of the computer that this runs on, for reports.

use dragoman_frontend::model::{Feature, Features};

/// What the host's processor is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostInfo {
    /// The vendor's identification; on other than x86-64 hosts, the architecture.
    pub vendor: String,
    /// What the vendor calls the processor; empty where it does not say.
    pub model: String,
    /// The features of x86 processors that programs can use there.
    pub features: Vec<&'static str>,
}

/// What programs can use of the host's processor, as far as models can have it.
#[cfg(target_arch = "x86_64")]
pub fn features() -> Features {
    crate::native::Host::identify().features
}

/// What programs can use of the host's processor: nothing of x86.
#[cfg(not(target_arch = "x86_64"))]
pub fn features() -> Features {
    Features::default()
}

impl HostInfo {
    /// This host's.
    pub fn this() -> Self {
        let (vendor, model) = Self::names();
        Self { vendor, model, features: features().iter().map(Feature::name).collect() }
    }

    #[cfg(target_arch = "x86_64")]
    fn names() -> (String, String) {
        let host = crate::native::Host::identify();
        let model = if host.brand.is_empty() { host.name } else { format!("{} ({})", host.brand, host.name) };
        (host.vendor, model)
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn names() -> (String, String) {
        (std::env::consts::ARCH.into(), String::new())
    }
}
