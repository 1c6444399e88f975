//! What instructions touch: the meaning of instructions that all engines of this build share, judged once. It is shown
//! under the engine that takes it as it is.

use std::collections::BTreeMap;

use dragoman_frontend::model::CpuModel;
use iced_x86::Code;

use super::{
    First, Subject,
    run::{Engine, Run, RunError},
};
use crate::{
    footprint::{IDLE, Judge, KNOWN},
    generate::{Generated, codes},
    known::Difference,
};

/// The engine whose meaning of instructions is the one that is judged.
const ENGINE: &str = "interp";
/// Where the expectations come from.
const SOURCE: &str = "the decoder's tables";
/// After how many encodings others hear of it.
const STRIDE: usize = 8;

pub fn run(run: &mut Run<'_>, engines: &[Engine]) -> Result<(), RunError> {
    for engine in engines.iter().filter(|engine| engine.name != ENGINE) {
        run.lacks_on(engine.name, format!("it judges the meaning of instructions, which is {ENGINE}'s"));
    }
    if engines.iter().all(|engine| engine.name != ENGINE) {
        return Ok(());
    }
    let model = CpuModel::most();
    let codes: Vec<_> = codes(&model).into_iter().filter(|code| run.options.filter.takes(&Subject::of(*code))).collect();
    let mut judge = Judge::new(&model);
    // For each encoding that differs, a case that shows it.
    let mut examples: BTreeMap<Code, Generated> = BTreeMap::new();
    for (done, code) in codes.iter().enumerate() {
        let runs = judge.runs();
        judge_encoding(&mut judge, *code, &mut examples);
        let count = judge.runs() - runs;
        let is_idle = IDLE.iter().find(|(who, _)| who.iter().any(|who| who.is(*code)));
        let tally = run.line(&Subject::of(*code), ENGINE);
        match (judge.times(*code), is_idle) {
            (0, Some((_, reason))) => tally.skip(1, reason),
            (0, None) => tally.fail(|| First {
                expected: "it comes to an end in some case".into(),
                got: "it never does, as not here".into(),
                ..first_case(*code, examples.get(code))
            }),
            _ => tally.pass += count,
        }
        if done % STRIDE == 0 {
            run.step(done, codes.len())?;
        }
    }
    for (difference, text) in judge.differences().iter().filter(|(difference, _)| is_unlisted(difference)) {
        let tally = run.line(&Subject::of(difference.code), ENGINE);
        tally.pass = tally.pass.saturating_sub(1);
        tally.fail(|| first(difference, text, examples.get(&difference.code)));
    }
    Ok(())
}

/// Judges cases of `code`, and keeps the first that differs as no list says.
fn judge_encoding(judge: &mut Judge, code: Code, examples: &mut BTreeMap<Code, Generated>) {
    let (mut last, mut before) = (None, judge.found_so_far().len());
    judge.judge_encoding(code, |judge, generated| {
        last = Some(generated.clone());
        let found = judge.found_so_far();
        if found.len() > before && found.keys().any(|one| one.code == code && is_unlisted(one)) {
            examples.entry(code).or_insert_with(|| generated.clone());
        }
        before = found.len();
    });
    if let Some(last) = last.filter(|_| judge.times(code) == 0) {
        examples.entry(code).or_insert(last);
    }
}

fn is_unlisted(difference: &Difference) -> bool {
    !KNOWN.iter().any(|known| known.covers(difference))
}

fn first(difference: &Difference, text: &str, example: Option<&Generated>) -> First {
    let what = First {
        expected: "what the decoder's tables list".into(),
        got: difference.to_string(),
        ..first_case(difference.code, example)
    };
    if example.is_some() { what } else { First { start: text.to_owned(), ..what } }
}

/// What is known of a case of `code`.
fn first_case(code: Code, example: Option<&Generated>) -> First {
    match example {
        Some(Generated { case, insn, .. }) => First::of_case(case, insn, &[], SOURCE),
        None => First { text: format!("{code:?}"), source: SOURCE.into(), ..First::default() },
    }
}
