//! The engines that a host of the guest's own kind has.

use dragoman_accel::{
    Accelerator,
    hybrid::{Hybrid, HybridSettings},
    kvm::{Kind, Kvm, kind},
    translate::Translator,
};
use dragoman_frontend::model::CpuModel;

use super::MakeEngine;

type Made = Result<Box<dyn Accelerator>, String>;

pub fn jit() -> Made {
    Ok(Box::new(Translator::stepping()))
}

pub fn kvm() -> Made {
    there_is_kvm()?;
    Ok(Box::<Kvm>::default())
}

pub fn hybrid() -> Made {
    there_is_kvm()?;
    Ok(Box::new(Hybrid::new(HybridSettings { always: true, ..HybridSettings::default() })))
}

/// Of the engines that use KVM, those that have user mode alone run there.
pub const MOVING_IN_USER_MODE: [MakeEngine; 1] = [|| Box::<Hybrid>::default()];
/// And those that have all run there.
pub const MOVING_IN_KVM: [MakeEngine; 1] = [|| Box::<Kvm>::default()];

/// Whether there is a KVM that makes processors, and why not.
pub fn there_is_kvm() -> Result<(), String> {
    Kvm::try_out().map_err(|error| error.to_string())
}

/// `model` without what KVM has not here, and with the frequency of its time-stamp counter.
pub fn limited(model: CpuModel) -> Result<CpuModel, String> {
    let there = Kvm::features().map_err(|error| error.to_string())?;
    let features = model.features().and(there);
    Kvm::clocked(model.with_features(features)).map_err(|error| error.to_string())
}

/// Whether the KVM of this host is software: the processor has no virtualisation.
pub fn is_kvm_software() -> bool {
    kind() == Kind::Software
}
