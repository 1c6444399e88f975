//! Memory operands where they cannot be reached, on engines.

use std::collections::BTreeMap;

use dragoman_frontend::model::CpuModel;
use iced_x86::Code;

use super::{
    First, Subject,
    run::{Engine, Run, RunError},
};
use crate::{
    generate::codes,
    known::Difference,
    sweep::{KNOWN, Sweep},
};

pub fn run(run: &mut Run<'_>, engines: &[Engine]) -> Result<(), RunError> {
    let model = CpuModel::most();
    let mut subjects: BTreeMap<Subject, Vec<Code>> = BTreeMap::new();
    for code in codes(&model) {
        let subject = Subject::of(code);
        if run.options.filter.takes(&subject) {
            subjects.entry(subject).or_default().push(code);
        }
    }
    let total = subjects.len() * engines.len();
    let mut done = 0;
    for engine in engines {
        let mut sweep = Sweep::new(&*engine.accelerator, &model)?;
        for (subject, codes) in &subjects {
            let before = sweep.cases();
            sweep.run(codes)?;
            let count = sweep.cases() - before;
            if count > 0 {
                run.line(subject, engine.name).pass += count;
            }
            done += 1;
            run.step(done, total)?;
        }
        let unlisted = sweep.differences().iter().filter(|(one, _)| !KNOWN.iter().any(|known| known.covers(one)));
        for (difference, example) in unlisted {
            let tally = run.line(&Subject::of(difference.code), engine.name);
            tally.pass = tally.pass.saturating_sub(1);
            tally.fail(|| first(difference, example));
        }
        for (code, _) in sweep.ended().iter().filter(|(_, is_ended)| !**is_ended) {
            run.line(&Subject::of(*code), engine.name).fail(|| First {
                text: format!("{code:?}"),
                expected: "it comes to an end where nothing is in the way".into(),
                got: "it does not".into(),
                source: SOURCE.into(),
                ..First::default()
            });
        }
    }
    Ok(())
}

/// Where the expectations come from.
const SOURCE: &str = "the decoder's tables and the manual's order of checks";

/// The sweep's example is `mode/cpl | bytes | text, where, from registers: what`.
fn first(difference: &Difference, example: &str) -> First {
    let mut fields = example.splitn(3, " | ");
    let (mode, bytes, rest) = (fields.next(), fields.next(), fields.next());
    let Some((mode, bytes, rest)) = mode.zip(bytes).zip(rest).map(|((mode, bytes), rest)| (mode, bytes, rest)) else {
        return First { start: example.into(), got: difference.to_string(), source: SOURCE.into(), ..First::default() };
    };
    let (start, detail) = rest.split_once(": ").unwrap_or((rest, ""));
    let ends = detail.strip_prefix("expected ").and_then(|ends| ends.split_once(", got "));
    let (expected, got) = ends.unwrap_or(("the exception that the operand's place calls for, and no trace", detail));
    First {
        mode: mode.into(),
        bytes: bytes.into(),
        text: start.split(", ").next().unwrap_or_default().into(),
        start: start.into(),
        expected: expected.into(),
        got: format!("{difference}: {got}"),
        source: SOURCE.into(),
    }
}
