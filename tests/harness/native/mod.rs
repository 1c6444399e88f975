//! The native oracle: the very bytes of a case, executed by the processor that runs this test.
//!
//! It exists on x86-64 Linux; elsewhere [`Oracle::new`] says why it does not.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[expect(unsafe_code, reason = "another process is entered and left through signal frames")]
mod child;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[expect(unsafe_code, reason = "another process is entered and left through signal frames")]
mod frame;
#[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "CPUID is asked"))]
mod host;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[expect(unsafe_code, reason = "another process is entered and left through signal frames")]
mod memory;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod oracle;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[expect(unsafe_code, reason = "another process is entered and left through signal frames")]
mod process;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[expect(unsafe_code, reason = "another process is entered and left through signal frames")]
mod segments;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod shared;

pub use host::Host;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub use oracle::Oracle;

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
use crate::{
    Mode,
    case::{Case, Outcome, PageMap},
};

/// Why the host's processor cannot judge.
#[derive(Debug, thiserror::Error)]
pub enum NativeError {
    /// There is no such oracle on this host.
    #[error("the native oracle is not available: {0}")]
    Unavailable(String),
    /// A case that would do something to the host, or that user code cannot be put into.
    #[error("the host's processor cannot run this case: {0}")]
    Refused(String),
}

/// What a host that is no x86-64 Linux has instead of an oracle.
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub struct Oracle(std::convert::Infallible);

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
impl Oracle {
    /// Always fails here.
    pub fn new() -> Result<Self, NativeError> {
        Err(NativeError::Unavailable(format!(
            "this host is {} {}, and it takes an x86-64 Linux",
            std::env::consts::ARCH,
            std::env::consts::OS
        )))
    }

    /// What the host's processor is.
    pub fn host(&self) -> &Host {
        match self.0 {}
    }

    /// Why `mode` cannot be entered here; nothing where it can.
    pub fn lacks(&self, _mode: Mode) -> Option<&str> {
        match self.0 {}
    }

    /// Runs `cases`, each under the map of its number.
    pub fn run(&mut self, _maps: &[PageMap], _cases: &[Case]) -> Result<Vec<Outcome>, NativeError> {
        match self.0 {}
    }
}
