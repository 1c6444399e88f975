//! A bit-serial model of results and flags beside engines.

use dragoman_frontend::model::CpuModel;

use super::{
    First, Subject,
    run::{Engine, Run, RunError},
};
use crate::{
    Mode,
    engine::{Rig, RigError},
    generate::codes,
    naive::{Cases, Machine, expected, is_modelled},
};

/// The modes in which encodings differ.
const MODES: [Mode; 3] = [Mode::Long64, Mode::Prot32, Mode::Prot16];
/// Where the expectations come from.
const SOURCE: &str = "a model written from the manual";

pub fn run(run: &mut Run<'_>, engines: &[Engine]) -> Result<(), RunError> {
    let model = CpuModel::most();
    let is_wanted = |code: &iced_x86::Code| is_modelled(*code) && run.options.filter.takes(&Subject::of(*code));
    let codes: Vec<_> = codes(&model).into_iter().filter(is_wanted).collect();
    let mut rigs = Vec::new();
    for engine in engines {
        rigs.push((engine.name, Rig::new(&*engine.accelerator, model.clone())?));
    }
    let mut cases = Cases::new(run.options.seed, 1);
    let total = MODES.len() * codes.len();
    for (n, mode) in MODES.into_iter().enumerate() {
        for (_, rig) in &mut rigs {
            rig.prepare(mode, cases.map());
        }
        for (m, code) in codes.iter().enumerate() {
            let subject = Subject::of(*code);
            for batch in &cases.batches(*code, mode) {
                let mut failure: Option<RigError> = None;
                cases.fill(batch, |case, insn| {
                    let mut machine = Machine::new(case, insn);
                    if failure.is_some() || expected(&mut machine).is_err() {
                        return;
                    }
                    for (engine, rig) in &mut rigs {
                        let outcome = match rig.run_case(case) {
                            Ok(outcome) => outcome,
                            Err(error) => {
                                failure = Some(error);
                                return;
                            }
                        };
                        let found = machine.differences(&outcome);
                        let tally = run.line(&subject, engine);
                        if found.is_empty() {
                            tally.pass += 1;
                        } else {
                            tally.fail(|| First::of_case(case, insn, &found, SOURCE));
                        }
                    }
                });
                if let Some(error) = failure {
                    return Err(error.into());
                }
            }
            run.step(n * codes.len() + m, total)?;
        }
    }
    Ok(())
}
