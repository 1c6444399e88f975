//! The KVM oracle: a row in a virtual machine of the host's KVM, for what user code cannot run.
//!
//! It exists on x86-64 Linux with a usable /dev/kvm; elsewhere [`KvmStand::new`] says why it does not. Where KVM runs on the
//! processor's own virtualisation, it is silicon that answers; where it is emulated itself, Linux's emulator of instructions
//! answers for kernel and real-mode code, and [`KNOWN`] says what that gets wrong.

mod engine;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod guest;
mod known;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[expect(unsafe_code, reason = "guest memory is handed to KVM, and a thread is interrupted")]
mod machine;
mod rows;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod stand;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod state;

pub use engine::{ENGINE_KNOWN, known_of_engine};
pub use known::{KNOWN, Wrong};
pub use rows::{incomparable, known};
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub use stand::KvmStand;

/// Why KVM cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum KvmError {
    /// There is none here that works.
    #[error("KVM is not available: {0}")]
    Unavailable(String),
    /// It did not take this state, or did not get through this code.
    #[error("KVM gave up: {0}")]
    GaveUp(String),
}

impl From<KvmError> for crate::engine::RigError {
    fn from(error: KvmError) -> Self {
        Self::GaveUp(error.to_string())
    }
}

/// What a host that is no x86-64 Linux has instead.
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub enum KvmStand {}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
impl KvmStand {
    /// Always fails here.
    pub fn new() -> Result<Self, KvmError> {
        let (arch, os) = (std::env::consts::ARCH, std::env::consts::OS);
        Err(KvmError::Unavailable(format!("this host is {arch} {os}, and it takes an x86-64 Linux")))
    }

    /// What its processor has.
    pub fn features(&self) -> dragoman_frontend::model::Features {
        match *self {}
    }
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
impl crate::engine::Stand for KvmStand {
    fn prepare(&mut self, _mode: crate::Mode, _map: &crate::case::PageMap) {
        match *self {}
    }

    fn memory(&self) -> &crate::engine::Memory {
        match *self {}
    }

    fn memory_mut(&mut self) -> &mut crate::engine::Memory {
        match *self {}
    }

    fn ports(&self) -> &crate::engine::Ports {
        match *self {}
    }

    fn run(
        &mut self,
        _mode: crate::Mode,
        _start: &dragoman_state::VcpuState,
        _code: &[u8],
    ) -> Result<crate::engine::Finish, crate::engine::RigError> {
        match *self {}
    }
}
