//! The findings for programs.

use dragoman_accel::Speed;
use serde_json::{Value, json};

use super::Findings;

fn engine(found: &Result<Speed, String>) -> Value {
    match found {
        Ok(speed) => json!({ "usable": true, "problem": null, "kernel": speed.kernel, "user": speed.user }),
        Err(problem) => json!({ "usable": false, "problem": problem, "kernel": null, "user": null }),
    }
}

impl Findings {
    /// One JSON object. It only ever gains fields.
    pub(super) fn json(&self) -> String {
        let step = |(name, found): &(&'static str, Option<Result<String, String>>)| {
            let (ok, text) = match found {
                Some(Ok(text)) => (Some(true), Some(text)),
                Some(Err(text)) => (Some(false), Some(text)),
                None => (None, None),
            };
            json!({ "name": name, "ok": ok, "text": text })
        };
        let steps: Vec<Value> = self.kvm.steps.iter().map(step).collect();
        let found = self.kvm.speed.ok_or_else(|| self.problem().unwrap_or("not tried").to_owned());
        let (mut kvm, mut jit) = (engine(&found), engine(&self.jit));
        kvm["kind"] = self.kvm.kind.into();
        kvm["steps"] = steps.into();
        jit["level"] = self.level.into();
        let findings = json!({
            "version": 1,
            "host": self.host,
            "virtualises": self.virtualises,
            "kvm": kvm,
            "jit": jit,
            "interp": engine(&self.interp),
            "auto": { "engine": self.auto.0, "why": self.auto.1 },
        });
        format!("{findings}\n")
    }
}
