//! Why KVM cannot be used, or does not go on: each with its cause and what to do about it.

use std::io;

use crate::AccelError;

/// Why KVM cannot be used, or does not go on.
#[derive(Debug, thiserror::Error)]
pub enum KvmError {
    /// There is no device.
    #[error(
        "/dev/kvm is not there: this kernel has no KVM, its module kvm_intel or kvm_amd is not loaded, or a container was not \
         given the device; provide it, or leave --accel away"
    )]
    Missing,
    /// The device may not be opened.
    #[error(
        "/dev/kvm may not be opened: permission denied; let this user into the group that owns it, which is mostly kvm, or \
         leave --accel away"
    )]
    NotPermitted,
    /// Somebody else has the processor's virtualisation.
    #[error("KVM is busy: {what}: {source}; end the other hypervisor that has the processor, or leave --accel away")]
    Busy {
        /// What was asked of it.
        what: &'static str,
        /// What it said.
        source: io::Error,
    },
    /// The host's kernel has no memory for it.
    #[error("the host has no memory for KVM: {what}: {source}; give a smaller --memory or end other programs")]
    NoMemory {
        /// What was asked of it.
        what: &'static str,
        /// What it said.
        source: io::Error,
    },
    /// It speaks another version.
    #[error("/dev/kvm speaks version {0} of its interface, not 12; use a kernel of today, or leave --accel away")]
    WrongVersion(i32),
    /// It lacks something.
    #[error("this host's KVM lacks {0}; use a newer kernel, or leave --accel away")]
    Lacks(&'static str),
    /// It refused something that nothing else here speaks of.
    #[error("KVM failed: {what}: {source}; leave --accel away to run without it")]
    Refused {
        /// What was asked of it.
        what: &'static str,
        /// What it said.
        source: io::Error,
    },
    /// The model of processor cannot be had.
    #[error("KVM cannot be a {model}: {why}; choose another --cpu, or leave it away for what KVM has")]
    RejectedCpuid {
        /// The model's name.
        model: &'static str,
        /// What it lacks, or what it said.
        why: String,
    },
    /// A model-specific register does not take the value it has after power-on.
    #[error("KVM does not take {value:#x} in the model-specific register {index:#x}; use a newer kernel, or leave --accel away")]
    RejectedMsr {
        /// The register.
        index: u32,
        /// The value.
        value: u64,
    },
    /// The time-stamp counter runs at another rate and cannot be scaled.
    #[error(
        "the guest's time-stamp counter runs at {wanted} kHz, and this host's KVM can only let it run at {there} kHz; leave \
         --accel away"
    )]
    WrongFrequency {
        /// What the guest was told.
        wanted: u64,
        /// What the host has.
        there: u64,
    },
    /// The processor's state is refused.
    #[error("KVM does not take the processor's {what}: {why}; leave --accel away to run without it")]
    RejectedState {
        /// Which part of it.
        what: &'static str,
        /// What it said.
        why: String,
    },
    /// The guest cannot be entered.
    #[error("KVM does not run the guest: {source}, at its entry number {entry}; leave --accel away to run without it")]
    NoEntry {
        /// What it said.
        source: io::Error,
        /// The first is 1.
        entry: u64,
    },
}

impl KvmError {
    /// What the error number of the host says about `what`, which was asked of KVM.
    pub(super) fn of(what: &'static str, source: io::Error) -> Self {
        const EBUSY: i32 = 16;
        const ENOMEM: i32 = 12;
        match source.raw_os_error() {
            Some(EBUSY) => Self::Busy { what, source },
            Some(ENOMEM) => Self::NoMemory { what, source },
            _ => Self::Refused { what, source },
        }
    }

    /// What the error number of the host says about opening the device.
    pub(super) fn of_opening(source: io::Error) -> Self {
        const ENXIO: i32 = 6;
        const ENODEV: i32 = 19;
        match (source.kind(), source.raw_os_error()) {
            (io::ErrorKind::NotFound, _) | (_, Some(ENXIO | ENODEV)) => Self::Missing,
            (io::ErrorKind::PermissionDenied, _) => Self::NotPermitted,
            _ => Self::of("/dev/kvm cannot be opened", source),
        }
    }
}

impl From<KvmError> for AccelError {
    fn from(error: KvmError) -> Self {
        Self::Unusable(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_number_has_its_own_cause_and_a_remedy() {
        #[rustfmt::skip] // a table
        let table = [
            (2,  "not there"),
            (6,  "not there"),
            (19, "not there"),
            (13, "permission denied"),
            (1,  "permission denied"),
            (16, "other hypervisor"),
            (12, "no memory"),
            (22, "cannot be opened"),
        ];
        for (number, says) in table {
            let text = KvmError::of_opening(io::Error::from_raw_os_error(number)).to_string();
            assert!(text.contains(says) && text.contains("; "), "{number}: {text}");
        }
    }
}
