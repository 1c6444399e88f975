//! Generated cases on every engine and on the host's processor.

use std::{
    thread,
    time::{Duration, Instant},
};

use dragoman_frontend::model::CpuModel;
use harness::{
    Mode,
    case::{Case, End},
    generate::{Contest, Form, Generator, Tally, codes, native_codes},
    native::{Host, NativeError, Oracle},
    record,
    row::RowFile,
};
use iced_x86::{Code, EncodingKind};

/// How long the quick tier compares; `DRAGOMAN_NATIVE_SECONDS` says otherwise.
const SECONDS: u64 = 60;
/// How many compared cases every encoding has at least; `DRAGOMAN_NATIVE_CASES` says otherwise.
const LEAST: u64 = 1;
/// So many times as many may be made, because not all come to an end on the host.
const PATIENCE: u64 = 20;
/// How many cases are made of one encoding before it is the next one's turn.
const CASES: usize = 24;
/// How many of them share their bytes.
const ALIKE: usize = 6;
/// How many encodings have their turn together.
const GROUP: usize = 64;
/// In how many encodings of a hundred another vendor's processor may differ.
const OTHER_VENDOR_PERCENT: usize = 10;
/// How many failures are spelled out.
const SHOWN: usize = 40;
/// The modes that a host can be asked in.
const MODES: [Mode; 3] = [Mode::Long64, Mode::Comp32, Mode::Comp16];

/// What is to be compared, and how much of it.
struct Plan {
    forms: Vec<(Code, Form)>,
    seed: u64,
    until: Instant,
    wanted: u64,
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn every_engine_does_what_the_host_does() {
    let first = match Oracle::new() {
        Ok(oracle) => oracle,
        Err(error @ NativeError::Unavailable(_)) => {
            println!("skipped: {error}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let host = first.host().clone();
    let (seed, wanted) = (number("DRAGOMAN_NATIVE_SEED", 1), number("DRAGOMAN_NATIVE_CASES", LEAST));
    let filter = std::env::var("DRAGOMAN_NATIVE_FILTER").unwrap_or_default().to_ascii_lowercase();
    let model = CpuModel::most();
    let forms = forms(&model, &host, &filter);
    for mode in MODES {
        if let Some(reason) = first.lacks(mode) {
            println!("skipped in {mode}: {reason}");
        }
    }
    let until = Instant::now() + Duration::from_secs(number("DRAGOMAN_NATIVE_SECONDS", SECONDS));
    // One of them works on each of the host's cores, with a child process that waits while it works and the other way round.
    let workers = thread::available_parallelism().map_or(1, usize::from).min(forms.len().max(1));
    let share = |n: usize| Plan { forms: forms.iter().skip(n).step_by(workers).copied().collect(), seed, until, wanted };
    let mut oracles = vec![first];
    oracles.extend((1..workers).map(|_| Oracle::new().expect("as the first one")));
    let (mut tally, mut unmade) = (Tally::default(), Vec::new());
    thread::scope(|scope| {
        let work = |(n, oracle)| {
            let (plan, model) = (share(n), &model);
            scope.spawn(move || compare(oracle, model, &plan))
        };
        let threads: Vec<_> = oracles.into_iter().enumerate().map(work).collect();
        for thread in threads {
            let (part, rest) = thread.join().expect("it says what is wrong");
            tally.add(part);
            unmade.extend(rest);
        }
    });
    println!(
        "{} on {}: {} cases of {} encodings from seed {seed}, {} of them not comparable",
        host.name,
        host.vendor,
        tally.cases,
        forms.len(),
        tally.uncompared
    );
    let rarest = tally.compared.iter().min_by_key(|(_, count)| **count);
    println!(
        "compared cases of an encoding: {} at least",
        rarest.map_or_else(String::new, |(code, n)| format!("{n} of {code:?}"))
    );
    if !unmade.is_empty() {
        println!("{} encodings could not be made: {}", unmade.len(), unmade.join(", "));
    }
    tally.assert_equal(&host, forms.len() * OTHER_VENDOR_PERCENT / 100);
    assert!(rarest.is_some_and(|(_, count)| *count >= wanted), "of each encoding {wanted} cases were to be compared");
}

/// What of `model` the host can be asked about; what it cannot is told.
fn forms(model: &CpuModel, host: &Host, filter: &str) -> Vec<(Code, Form)> {
    let absent: Vec<_> = codes(model).into_iter().filter(|code| !host.has_code(*code)).map(|code| format!("{code:?}")).collect();
    if !absent.is_empty() {
        println!("skipped, because the host has no such instruction: {}", absent.join(", "));
    }
    let is_wanted = |code: &Code| filter.is_empty() || format!("{:?}", code.mnemonic()).to_ascii_lowercase() == filter;
    native_codes(model, host).into_iter().filter(is_wanted).map(|code| (code, Form::of(code))).collect()
}

/// Runs cases of `plan` until its time is up and of each encoding enough were compared. Also which could not be made.
fn compare(oracle: Oracle, model: &CpuModel, plan: &Plan) -> (Tally, Vec<String>) {
    let modes: Vec<_> = MODES.into_iter().filter(|mode| oracle.lacks(*mode).is_none()).collect();
    let mut contest = Contest::new(oracle, model);
    let mut generator = Generator::new(plan.seed);
    let (mut tally, mut unmade) = (Tally::default(), Vec::new());
    for round in 0.. {
        let is_late = round > 0 && Instant::now() >= plan.until;
        let has_enough = |code: &Code, tally: &Tally| tally.compared.get(code).is_none_or(|count| *count >= plan.wanted);
        let left: Vec<_> = plan.forms.iter().filter(|(code, _)| !is_late || !has_enough(code, &tally)).copied().collect();
        if left.is_empty() || is_late && round * CASES as u64 > plan.wanted * PATIENCE {
            break;
        }
        for mode in modes.iter().copied() {
            for group in left.chunks(GROUP) {
                let mut list = Vec::new();
                for (code, form) in group.iter().filter(|(_, form)| form.exists_in(mode)) {
                    let before = list.len();
                    // The same cases, whichever thread makes them.
                    generator.restart(plan.seed ^ (*code as u64) << 40 ^ (mode as u64) << 32 ^ round << 8);
                    for _ in 0..CASES / ALIKE {
                        generator.make(form, mode, ALIKE, &mut list);
                    }
                    if list.len() == before && round == 0 {
                        unmade.push(format!("{code:?} in {mode}"));
                    }
                }
                contest.run(&generator, list, &mut tally);
            }
        }
    }
    (tally, unmade)
}

#[test]
fn what_is_generated_comes_to_an_end_on_the_host_and_what_is_made_invalid_does_not() {
    let mut oracle = match Oracle::new() {
        Ok(oracle) => oracle,
        Err(error) => {
            println!("skipped: {error}");
            return;
        }
    };
    // All that the host has, whether or not Dragoman does.
    let model = CpuModel::most().with_features(oracle.host().features);
    let mut generator = Generator::new(1);
    let (mut endless, mut never, mut accepted, mut refused) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for code in native_codes(&model, oracle.host()).into_iter().filter(|code| code.encoding() == EncodingKind::VEX) {
        let form = Form::of(code);
        for mode in MODES.into_iter().filter(|mode| form.exists_in(*mode)) {
            if oracle.lacks(mode).is_some() {
                continue;
            }
            let mut list = Vec::new();
            (0..24).for_each(|_| generator.make(&form, mode, 2, &mut list));
            let plain: Vec<Case> = list.iter().map(|generated| generated.case).collect();
            let outcomes = oracle.run(generator.maps(), &plain).expect("the host runs it");
            let mut has_ended = false;
            for (generated, outcome) in list.iter().zip(&outcomes) {
                let is_undefined = matches!(outcome.end, End::Fault { vector: 6, .. });
                if generated.insn.is_invalid() {
                    refused += 1;
                    if !is_undefined {
                        accepted.push(format!("{code:?}: {}\n    {:?}", generated.describe(), outcome.end));
                    }
                } else if is_undefined {
                    never.push(format!("{code:?}: {}\n    {:?}", generated.describe(), outcome.end));
                } else {
                    has_ended |= outcome.end == End::Done;
                }
            }
            if !has_ended {
                endless.push(format!("{code:?} in {mode}"));
            }
        }
    }
    println!("{refused} cases that were made invalid");
    if !oracle.host().is_kin() {
        // Which bits of a VEX prefix must be what is the vendor's own.
        println!("the host is another vendor's: it takes {} cases more, and {} fewer", accepted.len(), never.len());
        never.clear();
        accepted.clear();
    }
    accepted.truncate(SHOWN);
    assert!(accepted.is_empty(), "the host takes what is no instruction:\n{}", accepted.join("\n"));
    assert!(never.is_empty(), "{} are no instructions:\n{}", never.len(), never.join("\n"));
    assert!(endless.is_empty(), "{} never come to an end: {}", endless.len(), endless.join(", "));
}

#[test]
fn recorded_rows_are_what_the_host_does() {
    let mut oracle = match Oracle::new() {
        Ok(oracle) => oracle,
        Err(error) => {
            println!("skipped: {error}");
            return;
        }
    };
    let (mut wrong, mut rows) = (Vec::new(), 0);
    let here = format!("host {}", oracle.host().name);
    for path in RowFile::list(&RowFile::folder()).expect("tests/insn is there") {
        let file = RowFile::read(&path).expect("rows");
        rows += file.rows().filter(|(_, row)| row.source == here).count();
        let differing = record::check(&file, &mut oracle).expect("the host runs them");
        wrong.extend(differing.into_iter().map(|(line, now)| format!("{}:{line}: {now}", file.name)));
    }
    if rows == 0 {
        println!("skipped: no row was recorded on this kind of processor, {}", oracle.host().name);
    }
    assert!(wrong.is_empty(), "{} rows are not what the host does now:\n{}", wrong.len(), wrong.join("\n"));
}
