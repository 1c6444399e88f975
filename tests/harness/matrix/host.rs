//! The processor of the computer that this runs on, for reports.

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

impl HostInfo {
    /// This host's.
    #[cfg(target_arch = "x86_64")]
    pub fn this() -> Self {
        use dragoman_frontend::model::Feature;
        let host = crate::native::Host::identify();
        let model = if host.brand.is_empty() { host.name } else { format!("{} ({})", host.brand, host.name) };
        Self { vendor: host.vendor, model, features: host.features.iter().map(Feature::name).collect() }
    }

    /// This host's.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn this() -> Self {
        Self { vendor: std::env::consts::ARCH.into(), model: String::new(), features: Vec::new() }
    }
}
