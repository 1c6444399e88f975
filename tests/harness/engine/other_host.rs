//! The engines that a host of the guest's own kind has, on a host of another kind: none.

use dragoman_accel::Accelerator;
use dragoman_frontend::model::CpuModel;

use super::MakeEngine;

type Made = Result<Box<dyn Accelerator>, String>;

fn absent<T>() -> Result<T, String> {
    Err("for x86-64 hosts with Linux only".into())
}

pub fn jit() -> Made {
    absent()
}

pub fn kvm() -> Made {
    absent()
}

pub fn hybrid() -> Made {
    absent()
}

pub const MOVING_IN_USER_MODE: [MakeEngine; 0] = [];
pub const MOVING_IN_KVM: [MakeEngine; 0] = [];

/// Whether there is a KVM that makes processors, and why not.
pub fn there_is_kvm() -> Result<(), String> {
    absent()
}

/// `model` as KVM can have it.
pub fn limited(_model: CpuModel) -> Result<CpuModel, String> {
    absent()
}

/// Whether the KVM of this host is software.
pub fn is_kvm_software() -> bool {
    false
}
