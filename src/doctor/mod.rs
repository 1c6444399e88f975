//! `dragoman doctor`: what this host has to run guests by.

mod json;
mod text;

use std::{
    env::consts::{ARCH, OS},
    time::Duration,
};

use dragoman_accel::{Speed, interpret::Interpreter, measure};
use dragoman_frontend::model::CpuModel;

use crate::machine::{
    Facts,
    kvm::{self, Probe},
    translator,
};

/// How long KVM is tried out at most, and each other engine measured for each ring.
const TRIED: Duration = Duration::from_millis(400);
const MEASURED: Duration = Duration::from_millis(50);

/// What was found.
pub struct Findings {
    host: String,
    /// The processor has VT-x or AMD-V; `None` where it is no x86.
    virtualises: Option<bool>,
    kvm: Probe,
    /// The level of the x86-64 ABI that code is translated for.
    level: u8,
    jit: Result<Speed, String>,
    interp: Result<Speed, String>,
    /// What `--accel auto` takes, and why.
    auto: (&'static str, String),
}

/// Looks at this host.
pub fn examine() -> Findings {
    let is_x86 = cfg!(target_arch = "x86_64");
    let interp = measure(&Interpreter, &CpuModel::newest(), MEASURED).map_err(|error| error.to_string());
    let jit = translator::check().and_then(|()| translator::speed(MEASURED)).map_err(|failure| failure.to_string());
    let choice = Facts::find(false).choose(false, 0, false);
    Findings {
        host: format!("{ARCH} {OS}"),
        virtualises: is_x86.then(kvm::virtualises),
        kvm: kvm::probe(TRIED),
        level: translator::level(),
        jit,
        interp,
        auto: (choice.engine.name(), choice.why),
    }
}

impl Findings {
    /// For people, or as JSON.
    pub fn to_text(&self, json: bool) -> String {
        if json { self.json() } else { self.text() }
    }

    /// What is in the way of KVM.
    fn problem(&self) -> Option<&str> {
        self.kvm.steps.iter().find_map(|(_, found)| found.as_ref()?.as_ref().err().map(String::as_str))
    }
}
