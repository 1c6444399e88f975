//! Which engine `--accel auto` takes, and why.

use std::time::Duration;

use super::{config::Engine, kvm, translator};
use crate::failure::Failure;

/// How long an engine is measured at most, for each ring.
const MEASURED: Duration = Duration::from_millis(60);

/// An engine, and why it was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The engine.
    pub engine: Engine,
    /// In one line.
    pub why: String,
}

/// What the choice is made by.
#[derive(Debug)]
pub struct Facts {
    /// What is in the way of KVM, where anything is.
    pub kvm: Result<(), Failure>,
    /// The processor has VT-x or AMD-V.
    pub virtualises: bool,
    /// KVM runs user mode as a processor does; asked only where it is preferred.
    pub runs_user: bool,
    /// Instructions a second in ring 0, under KVM and under the translator; asked only where the rest lets KVM be taken.
    pub speeds: Option<Result<(f64, f64), Failure>>,
    /// What is in the way of the translator, where anything is.
    pub translator: Result<(), Failure>,
}

impl Facts {
    /// What is so on this host. KVM is tried, and measured, only where it can be taken; `is_preferred` is whether it is taken
    /// wherever it works.
    pub fn find(is_preferred: bool) -> Self {
        let (mut kvm, virtualises, translator) = (kvm::check(), kvm::virtualises(), translator::check());
        if virtualises || is_preferred {
            kvm = kvm.and_then(|()| kvm::try_out());
        }
        let can_be = kvm.is_ok() && virtualises && translator.is_ok() && !is_preferred;
        let speeds = can_be.then(|| Ok((kvm::speed(MEASURED)?.kernel, translator::speed(MEASURED)?.kernel)));
        let runs_user = !is_preferred || kvm.is_err() || kvm::runs_user();
        Self { kvm, virtualises, runs_user, speeds, translator }
    }

    /// Why KVM is not taken, where it is not; or why it is. `is_preferred` is whether it is taken wherever it works.
    fn judge_kvm(&self, is_preferred: bool) -> Result<String, String> {
        if let Err(failure) = &self.kvm {
            return Err(failure.cause());
        }
        if is_preferred {
            let but = if self.runs_user { "" } else { "; but for SYSCALL, so user mode runs in a machine of its own" };
            return Ok(format!("KVM works, and is preferred{but}"));
        }
        if !self.virtualises {
            return Err(
                "KVM is there, but the processor has neither VT-x nor AMD-V: it is software, and slow in kernel mode".into()
            );
        }
        match &self.speeds {
            Some(Err(failure)) => Err(failure.cause()),
            Some(Ok((kvm, jit))) if kvm < jit => Err(format!(
                "KVM's kernel mode is slower than translated code: {} against {} million instructions a second",
                millions(*kvm),
                millions(*jit)
            )),
            Some(Ok(_)) | None => Ok("the processor has VT-x or AMD-V, and KVM works".into()),
        }
    }

    /// The engine to take.
    pub fn choose(&self, is_preferred: bool, code: u64, counts: bool) -> Choice {
        let (kvm, why) = match self.judge_kvm(is_preferred) {
            Ok(why) => (true, why),
            Err(why) => (false, why),
        };
        let engine = match (kvm, &self.translator) {
            (true, _) => Engine::Kvm,
            (false, Ok(())) => Engine::Translator { code, counts },
            (false, Err(failure)) => {
                return Choice { engine: Engine::Interpreter, why: format!("{why}; {}", failure.cause()) };
            }
        };
        Choice { engine, why }
    }
}

/// A rate in millions, with as many digits as tell something.
pub fn millions(rate: f64) -> String {
    let millions = rate / 1e6;
    if millions < 10.0 { format!("{millions:.1}") } else { format!("{millions:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts { kvm: Ok(()), virtualises: true, runs_user: true, speeds: Some(Ok((3e9, 1e9))), translator: Ok(()) }
    }

    fn missing() -> Result<(), Failure> {
        Err(Failure::accelerator("/dev/kvm is not there: no module; load it"))
    }

    #[test]
    fn kvm_is_taken_where_the_processor_virtualises_and_it_is_fast() {
        assert_eq!(facts().choose(false, 1, false).engine, Engine::Kvm);
        let slow = Facts { speeds: Some(Ok((2e6, 1e9))), ..facts() };
        let choice = slow.choose(false, 1, false);
        assert_eq!(choice.engine, Engine::Translator { code: 1, counts: false });
        assert!(choice.why.contains("2.0 against 1000 million"), "{}", choice.why);
        let software = Facts { virtualises: false, speeds: None, ..facts() };
        assert_eq!(software.choose(false, 1, false).engine.name(), "jit");
        assert_eq!(software.choose(true, 1, false).engine.name(), "kvm");
        let wrong = Facts { runs_user: false, ..software };
        assert!(wrong.choose(true, 1, false).why.contains("preferred; but for SYSCALL"));
    }

    #[test]
    fn what_is_in_the_way_is_said_without_its_remedy() {
        let absent = Facts { kvm: missing(), speeds: None, ..facts() };
        let choice = absent.choose(true, 1, true);
        assert_eq!((choice.engine.name(), choice.why.as_str()), ("jit", "/dev/kvm is not there: no module"));
        let broken = Facts { speeds: Some(Err(Failure::accelerator("KVM failed: x; y"))), ..facts() };
        assert_eq!(broken.choose(false, 1, false).why, "KVM failed: x");
        let nothing = Facts { translator: Err(Failure::accelerator("no code memory; use interp")), ..absent };
        let choice = nothing.choose(false, 1, false);
        assert_eq!(choice.engine, Engine::Interpreter);
        assert_eq!(choice.why, "/dev/kvm is not there: no module; no code memory");
    }
}
