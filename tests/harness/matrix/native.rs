//! Generated cases on engines and on the host's processor.

use std::collections::BTreeMap;

use dragoman_frontend::model::CpuModel;
use iced_x86::Code;

use super::{
    First, Subject,
    run::{Engine, Run, RunError},
};
use crate::{
    Mode,
    case::Case,
    engine::Rig,
    footprint::IDLE,
    generate::{Form, Generated, Generator, Ignored, codes, differences, exempt},
    native::{NativeError, Oracle},
};

/// The modes that programs can be in.
const MODES: [Mode; 3] = [Mode::Long64, Mode::Comp32, Mode::Comp16];
/// How many encodings are tried together.
const GROUP: usize = 32;
/// The most cases made of an encoding at once, and how many of them have the same bytes.
const AT_ONCE: u64 = 48;
const OF_AN_INSTRUCTION: u64 = 6;
/// So many times as many cases as wanted may be made, because not all can be compared.
const PATIENCE: u64 = 20;

/// An encoding under judgement.
struct Candidate {
    code: Code,
    subject: Subject,
    form: Form,
    generator: Generator,
    /// Where it exists and the host can be asked.
    modes: Vec<Mode>,
    made: u64,
    compared: u64,
}

pub fn run(run: &mut Run<'_>, engines: &[Engine]) -> Result<(), RunError> {
    let mut oracle = match Oracle::new() {
        Ok(oracle) => oracle,
        Err(NativeError::Unavailable(reason)) => {
            run.lacks(reason);
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let (modes, lacking): (Vec<Mode>, Vec<Mode>) = MODES.into_iter().partition(|mode| oracle.lacks(*mode).is_none());
    for mode in lacking {
        run.lacks(format!("in {mode}: {}", oracle.lacks(mode).unwrap_or_default()));
    }
    let model = CpuModel::most();
    let mut rigs = Vec::new();
    for engine in engines {
        rigs.push((engine.name, Rig::new(&*engine.accelerator, model.clone())?));
    }
    let mut candidates = Vec::new();
    for code in codes(&model) {
        let (subject, form) = (Subject::of(code), Form::of(code));
        if !run.options.filter.takes(&subject) {
            continue;
        }
        let lack = oracle.host().features.lacks(code).map(|feature| format!("the host's processor has no {feature}"));
        if let Some(reason) = exempt(code).map(str::to_owned).or(lack) {
            for engine in engines {
                run.line(&subject, engine.name).skip(1, &reason);
            }
            continue;
        }
        let modes = modes.iter().copied().filter(|mode| form.exists_in(*mode)).collect();
        // What is made of an encoding does not depend on which others are wanted.
        let generator = Generator::new(crate::generate::Random::new(run.options.seed ^ (code as u64) << 32).bits());
        candidates.push(Candidate { code, subject, form, generator, modes, made: 0, compared: 0 });
    }
    let total = candidates.len();
    let mut done = 0;
    for group in candidates.chunks_mut(GROUP) {
        let wanted = run.options.cases;
        while group.iter().any(|candidate| candidate.is_wanting(wanted)) {
            round(run, &mut oracle, &mut rigs, group)?;
            run.step(done, total)?;
        }
        done += group.len();
        for candidate in group.iter().filter(|candidate| candidate.compared == 0) {
            let is_idle = IDLE.iter().find(|(who, _)| who.iter().any(|who| who.is(candidate.code)));
            let reason = is_idle.map_or("no case of the encoding could be compared", |(_, reason)| *reason);
            for engine in engines {
                run.line(&candidate.subject, engine.name).skip(1, reason);
            }
        }
    }
    Ok(())
}

impl Candidate {
    fn is_wanting(&self, wanted: u64) -> bool {
        !self.modes.is_empty() && self.compared < wanted && self.made < wanted.saturating_mul(PATIENCE)
    }
}

/// Makes some cases of each encoding that needs more, and runs them everywhere.
fn round(
    run: &mut Run<'_>,
    oracle: &mut Oracle,
    rigs: &mut [(&'static str, Rig)],
    group: &mut [Candidate],
) -> Result<(), RunError> {
    let wanted = run.options.cases;
    // The cases of each mode and map together, each with the number of its candidate.
    let mut batches: BTreeMap<(Mode, u32), Vec<(usize, Generated)>> = BTreeMap::new();
    for (n, candidate) in group.iter_mut().enumerate().filter(|(_, candidate)| candidate.is_wanting(wanted)) {
        let share = (wanted - candidate.compared).clamp(1, AT_ONCE).div_ceil(candidate.modes.len() as u64);
        for mode in candidate.modes.clone() {
            let mut list = Vec::new();
            for _ in 0..share.div_ceil(OF_AN_INSTRUCTION) {
                candidate.generator.make(&candidate.form, mode, share.min(OF_AN_INSTRUCTION) as usize, &mut list);
            }
            for generated in list {
                batches.entry((mode, generated.case.map)).or_default().push((n, generated));
            }
            candidate.made += share;
        }
    }
    let Some(maps) = group.first().map(|candidate| candidate.generator.maps().to_vec()) else { return Ok(()) };
    for ((mode, map), list) in batches {
        let cases: Vec<Case> = list.iter().map(|(_, generated)| generated.case).collect();
        let outcomes = oracle.run(&maps, &cases)?;
        let mut compared = vec![false; list.len()];
        for (engine, rig) in &mut *rigs {
            rig.prepare(mode, &maps[map as usize]);
            for (at, ((n, generated), native)) in list.iter().zip(&outcomes).enumerate() {
                let got = rig.run_case(&generated.case)?;
                let verdict = differences(generated, native, &got, oracle.host());
                compared[at] |= verdict.is_ok();
                let source = || format!("{}, seed {}", oracle.host().name, run.options.seed);
                let tally = run.matrix.line(&group[*n].subject, engine, run.oracle);
                match verdict {
                    Err(reason) => tally.skip(1, why(reason)),
                    Ok(found) if found.is_empty() => tally.pass += 1,
                    Ok(found) => tally.fail(|| First::of_case(&generated.case, &generated.insn, &found, &source())),
                }
            }
        }
        for ((n, _), _) in list.iter().zip(compared).filter(|(_, compared)| *compared) {
            group[*n].compared += 1;
        }
    }
    Ok(())
}

/// Why a case is not compared.
fn why(reason: Ignored) -> &'static str {
    match reason {
        Ignored::Endless => "it does not come to an end on the host",
        Ignored::Inside => "it goes on in its own middle",
        Ignored::Undefined => "the manual leaves the result undefined",
        Ignored::Order => "two things are wrong with it, and the manual does not say which is found first",
        Ignored::Kernel => "it depends on what the host's kernel has set up",
        Ignored::Vendor => "the host is another vendor's, whose processors rightly do something else",
    }
}
