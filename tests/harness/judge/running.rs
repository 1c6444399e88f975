//! Judging an engine that uses KVM by rows: it runs them as it does in a machine, and what a KVM of software gets wrong of them is
//! nobody's to mend.

use dragoman_accel::{Accelerator, interpret::Interpreter};
use dragoman_frontend::model::{CpuModel, Features};

use super::{Judge, Verdict};
use crate::{
    engine::{self, RigError, Runner},
    kvm::{self, Wrong},
    row::Row,
};

/// An engine that uses KVM, judged by rows.
pub struct RunningJudge<'a> {
    judge: Judge<'a>,
    /// The interpreter, running so as the same processors.
    interpreter: Judge<'a>,
    engine: &'static str,
    features: Features,
    /// The KVM is no hardware.
    is_software: bool,
}

impl<'a> RunningJudge<'a> {
    /// A judge of `engine`, whose processors are such as KVM can be here.
    pub fn new(engine: &'a dyn Accelerator) -> Result<Self, RigError> {
        let limited = |model| engine::limited(model).map_err(RigError::GaveUp);
        let features = limited(CpuModel::most())?.features();
        Ok(Self {
            judge: Judge::of(move |model| Ok(Box::new(Runner::new(engine, limited(model)?)?))),
            interpreter: Judge::of(move |model| Ok(Box::new(Runner::new(&Interpreter, limited(model)?)?))),
            engine: engine.name(),
            features,
            is_software: engine::is_kvm_software(),
        })
    }

    /// Runs `row` in all its variants.
    pub fn judge(&mut self, row: &Row) -> Result<Verdict, RigError> {
        if let Some(reason) = kvm::incomparable(row, self.features) {
            return Ok(Verdict::Skipped(reason.into()));
        }
        // The interpreter does in steps what every row says.
        match self.interpreter.judge(row)? {
            Verdict::Agrees => {}
            Verdict::Skipped(reason) => return Ok(Verdict::Skipped(reason)),
            Verdict::Differs(_) => {
                return Ok(Verdict::Skipped("it shows in steps alone, or on a processor that KVM cannot be here".into()));
            }
        }
        let verdict = self.judge.judge(row)?;
        Ok(match &verdict {
            Verdict::Differs(found) => match kvm::known_of_engine(self.engine, row, found).filter(|_| self.is_software) {
                Some(Wrong { reason, .. }) => Verdict::Skipped(format!("KVM without hardware is known to be wrong: {reason}")),
                None => verdict,
            },
            Verdict::Agrees | Verdict::Skipped(_) => verdict,
        })
    }
}
