//! The findings for people.

use dragoman_accel::Speed;

use super::Findings;
use crate::machine::millions;

fn speed(speed: &Speed) -> String {
    let (kernel, user) = (millions(speed.kernel), millions(speed.user));
    format!("{kernel} million instructions a second in kernel mode, {user} in user mode")
}

impl Findings {
    /// One line for each thing that was looked at, with what is in the way and what to do about it.
    pub(super) fn text(&self) -> String {
        let mut lines = vec![("host", self.host.clone())];
        let virtualises = match self.virtualises {
            Some(true) => "the processor has VT-x or AMD-V",
            Some(false) => "the processor has neither VT-x nor AMD-V, or they are hidden from this system",
            None => "not an x86 host: there is no KVM for x86 guests",
        };
        lines.push(("virtualises", virtualises.into()));
        for (name, found) in &self.kvm.steps {
            let text = match found {
                Some(Ok(found)) => found.clone(),
                Some(Err(problem)) => format!("FAILED: {problem}"),
                None => "not tried".into(),
            };
            lines.push((name, text));
        }
        if let Some(found) = &self.kvm.speed {
            let kind = match self.kvm.kind {
                "software" => "by software, at least in part",
                "nested" => "by the processor, within a virtual machine",
                _ => "by the processor",
            };
            lines.push(("kvm", format!("{}; {kind}", speed(found))));
        }
        lines.push((
            "jit",
            match &self.jit {
                Ok(found) => format!("{}; translates for x86-64-v{}", speed(found), self.level),
                Err(problem) => format!("FAILED: {problem}"),
            },
        ));
        lines.push(("interp", self.interp.as_ref().map_or_else(|problem| format!("FAILED: {problem}"), speed)));
        lines.push(("auto", format!("{}: {}", self.auto.0, self.auto.1)));
        lines.iter().map(|(name, text)| format!("{name:<12}{text}\n")).collect()
    }
}
