//! Rows that a program cannot run, in the host's KVM: beside the rows on the host's processor, what is left of them.

use super::{
    First, Subject,
    host::features,
    run::{Engine, HOST, Run, RunError},
};
use crate::{
    engine::{RigError, Stand},
    judge::{Fill, Judge, Setup, Verdict},
    kvm::{KvmStand, incomparable, known},
};

/// After how many rows others hear of it.
const STRIDE: usize = 16;

pub fn run(run: &mut Run<'_>, _engines: &[Engine]) -> Result<(), RunError> {
    let options = run.options;
    if !options.host {
        run.lacks("it judges the host's processor, as the engine host");
        return Ok(());
    }
    if let Err(error) = KvmStand::new() {
        run.lacks(error.to_string());
        return Ok(());
    }
    let features = features();
    let mut judge = Judge::of(|_| Ok(Box::new(KvmStand::new()?) as Box<dyn Stand>));
    let rows: Vec<_> = options.rows.iter().flat_map(|file| file.rows().map(move |(line, row)| (file, line, row))).collect();
    for (done, (file, line, row)) in rows.iter().enumerate() {
        let subject = Subject::of_code(&row.mode.instructions(&row.bytes()));
        if !options.filter.takes(&subject) || Setup::of(row, Fill::Zeros).case(row).is_ok() {
            continue;
        }
        let verdict = match incomparable(row, features) {
            Some(reason) => Verdict::Skipped(reason.into()),
            None => match judge.judge(row) {
                Err(RigError::GaveUp(reason)) => Verdict::Skipped(reason),
                verdict => verdict?,
            },
        };
        let tally = run.line(&subject, HOST);
        match verdict {
            Verdict::Agrees => tally.pass += 1,
            Verdict::Skipped(reason) => tally.skip(1, &reason),
            Verdict::Differs(found) => match known(row, &found) {
                Some(wrong) => tally.skip(1, &format!("KVM without hardware is known to be wrong: {}", wrong.reason)),
                None => tally.fail(|| First::of_row(row, &found, format!("{}:{line}, {}", file.name, row.source))),
            },
        }
        if done % STRIDE == 0 {
            run.step(done, rows.len())?;
        }
    }
    Ok(())
}
