//! KVM, on hosts that have one for x86 guests; on others, why not.

pub use here::{check, clocked, default_model, engine, hybrid, probe, runs_user, speed, try_out, virtualises};

/// What was found of KVM, step by step.
pub struct Probe {
    /// Each step's name, and what was found; `None` where a step before it failed.
    pub steps: Vec<(&'static str, Option<Result<String, String>>)>,
    /// What KVM runs guests by.
    pub kind: &'static str,
    /// How fast it is.
    pub speed: Option<dragoman_accel::Speed>,
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod here {
    use std::{sync::Arc, time::Duration};

    use dragoman_accel::{
        AccelError, Accelerator, Speed,
        hybrid::{Hybrid, HybridSettings},
        kvm::{Kind, Kvm, KvmError, kind},
        measure, translate,
    };
    use dragoman_frontend::model::CpuModel;

    use super::Probe;
    use crate::failure::Failure;

    fn refused(error: KvmError) -> Failure {
        AccelError::from(error).into()
    }

    /// Whether KVM can be used, as far as can be said without running anything.
    pub fn check() -> Result<(), Failure> {
        Kvm::check().map_err(refused)
    }

    /// Whether a processor of the newest kind can be had.
    pub fn try_out() -> Result<(), Failure> {
        Kvm::try_out().map_err(refused)
    }

    /// Whether KVM runs user mode as a processor does.
    pub fn runs_user() -> bool {
        Kvm::runs_user()
    }

    /// Whether the host's processor has VT-x or AMD-V.
    pub fn virtualises() -> bool {
        kind() != Kind::Software
    }

    /// The newest processor that it can be.
    pub fn default_model() -> Result<CpuModel, Failure> {
        Kvm::default_model().map_err(refused)
    }

    /// `model`, with the frequency that its time-stamp counter has here.
    pub fn clocked(model: CpuModel) -> Result<CpuModel, Failure> {
        Kvm::clocked(model).map_err(refused)
    }

    /// The engine.
    pub fn engine() -> Arc<dyn Accelerator> {
        Arc::new(Kvm::default())
    }

    /// How fast it is, measured for `limit` for each ring at most.
    pub fn speed(limit: Duration) -> Result<Speed, Failure> {
        Ok(measure(&Kvm::default(), &default_model()?, limit)?)
    }

    /// Tries it out, for `limit` at most.
    pub fn probe(limit: Duration) -> Probe {
        let report = Kvm::probe(limit);
        let words = |found: Result<String, AccelError>| found.map_err(|error| error.to_string());
        let kind = match report.kind {
            Kind::Hardware => "hardware",
            Kind::Nested => "nested",
            Kind::Software => "software",
        };
        let steps = report.steps.into_iter().map(|step| (step.name, step.found.map(words))).collect();
        Probe { steps, kind, speed: report.speed }
    }

    /// The engine that has only user mode in KVM: whenever it can if `always`, where it pays otherwise.
    pub fn hybrid(code: u64, always: bool) -> Arc<dyn Accelerator> {
        let translator = translate::Settings { code_bytes: code as usize, ..translate::Settings::default() };
        Arc::new(Hybrid::new(HybridSettings { translator, always }))
    }
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod here {
    use std::{
        env::consts::{ARCH, OS},
        sync::Arc,
        time::Duration,
    };

    use dragoman_accel::{Accelerator, Speed, interpret::Interpreter};
    use dragoman_frontend::model::CpuModel;

    use super::Probe;
    use crate::failure::Failure;

    fn wrong_host() -> Failure {
        Failure::accelerator(format!(
            "KVM runs x86 guests on x86-64 hosts with Linux, and this host is {ARCH} {OS}; leave --accel away"
        ))
    }

    pub fn check() -> Result<(), Failure> {
        Err(wrong_host())
    }

    pub fn try_out() -> Result<(), Failure> {
        Err(wrong_host())
    }

    pub fn virtualises() -> bool {
        false
    }

    pub fn runs_user() -> bool {
        true
    }

    pub fn default_model() -> Result<CpuModel, Failure> {
        Err(wrong_host())
    }

    pub fn clocked(_model: CpuModel) -> Result<CpuModel, Failure> {
        Err(wrong_host())
    }

    /// Nobody gets so far.
    pub fn engine() -> Arc<dyn Accelerator> {
        Arc::new(Interpreter)
    }

    /// Nor here.
    pub fn hybrid(_code: u64, _always: bool) -> Arc<dyn Accelerator> {
        Arc::new(Interpreter)
    }

    pub fn speed(_limit: Duration) -> Result<Speed, Failure> {
        Err(wrong_host())
    }

    pub fn probe(_limit: Duration) -> Probe {
        Probe { steps: vec![("host", Some(Err(wrong_host().to_string())))], kind: "none", speed: None }
    }
}
