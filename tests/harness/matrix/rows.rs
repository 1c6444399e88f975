//! Rows on engines, and on the host's own processor where a program can run them.

use super::{
    First, Subject,
    run::{Engine, HOST, Run, RunError},
};
use crate::{
    engine::{Judged, RigError},
    judge::{HostJudge, Judge, RunningJudge, Verdict},
    native::{NativeError, Oracle},
    row::{Row, RowFile},
};

/// After how many rows others hear of it.
const STRIDE: usize = 64;

/// What judges an engine.
enum EngineJudge<'a> {
    InSteps(Judge<'a>),
    Running(Box<RunningJudge<'a>>),
}

impl<'a> EngineJudge<'a> {
    fn new(engine: &'a Engine) -> Result<Self, RigError> {
        Ok(match engine.judged {
            Judged::InSteps => Self::InSteps(Judge::new(&*engine.accelerator)),
            Judged::Running => Self::Running(Box::new(RunningJudge::new(&*engine.accelerator)?)),
        })
    }

    fn judge(&mut self, row: &Row) -> Result<Verdict, RigError> {
        match self {
            Self::InSteps(judge) => judge.judge(row),
            Self::Running(judge) => judge.judge(row),
        }
    }
}

pub fn run(run: &mut Run<'_>, engines: &[Engine]) -> Result<(), RunError> {
    let options = run.options;
    let list: Vec<(Subject, &RowFile, usize, &Row)> = options
        .rows
        .iter()
        .flat_map(|file| file.rows().map(move |(line, row)| (file, line, row)))
        .map(|(file, line, row)| (Subject::of_code(&row.mode.instructions(&row.bytes())), file, line, row))
        .filter(|(subject, ..)| options.filter.takes(subject))
        .collect();
    let total = list.len() * (engines.len() + usize::from(options.host));
    let mut done = 0;
    for engine in engines {
        let mut judge = EngineJudge::new(engine)?;
        for (subject, file, line, row) in &list {
            let verdict = judge.judge(row)?;
            count(run, subject, engine.name, (file, *line, row), verdict);
            next(run, &mut done, total)?;
        }
    }
    if !options.host {
        return Ok(());
    }
    let mut oracle = match Oracle::new() {
        Ok(oracle) => oracle,
        Err(NativeError::Unavailable(reason)) => {
            run.lacks_on(HOST, reason);
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let mut judge = HostJudge::new(&mut oracle);
    for (subject, file, line, row) in &list {
        let verdict = judge.judge(row)?;
        count(run, subject, HOST, (file, *line, row), verdict);
        next(run, &mut done, total)?;
    }
    Ok(())
}

fn next(run: &mut Run<'_>, done: &mut usize, total: usize) -> Result<(), RunError> {
    *done += 1;
    if *done % STRIDE == 0 { run.step(*done, total) } else { Ok(()) }
}

fn count(
    run: &mut Run<'_>,
    subject: &Subject,
    engine: &'static str,
    (file, line, row): (&RowFile, usize, &Row),
    verdict: Verdict,
) {
    let tally = run.line(subject, engine);
    match verdict {
        Verdict::Agrees => tally.pass += 1,
        Verdict::Skipped(reason) => tally.skip(1, &reason),
        Verdict::Differs(found) => {
            tally.fail(|| First::of_row(row, &found, format!("{}:{line}, {}", file.name, row.source)));
        }
    }
}
