//! Random bytes on every engine and on the host's processor.

use std::{
    thread,
    time::{Duration, Instant},
};

use dragoman_frontend::model::CpuModel;
use harness::{
    Mode,
    generate::{Contest, Generator, LeftOut, Tally},
    native::Oracle,
};

/// How many cases the quick tier runs, the same ones each time; `DRAGOMAN_NATIVE_RANDOM_SECONDS` asks for a time instead.
const CASES: u64 = 150_000;
/// How many cases are made in one mode before it is the next one's turn.
const GROUP: usize = 1024;
/// How many bytes are tried for them, because not all make a case.
const PATIENCE: usize = 16;
/// In how many encodings another vendor's processor may differ.
const OTHER_VENDOR: usize = 300;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn random_bytes_do_what_they_do_on_the_host() {
    let first = match Oracle::new() {
        Ok(oracle) => oracle,
        Err(error) => {
            println!("skipped: {error}");
            return;
        }
    };
    let host = first.host().clone();
    let seed = number("DRAGOMAN_NATIVE_SEED").unwrap_or(1);
    let until = number("DRAGOMAN_NATIVE_RANDOM_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let model = CpuModel::most();
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let mut oracles = vec![first];
    oracles.extend((1..workers).map(|_| Oracle::new().expect("as the first one")));
    let (mut tally, mut left_out) = (Tally::default(), LeftOut::new());
    thread::scope(|scope| {
        let work = |(n, oracle)| {
            let model = &model;
            scope.spawn(move || compare(oracle, model, (n, workers), seed, until))
        };
        let threads: Vec<_> = oracles.into_iter().enumerate().map(work).collect();
        for thread in threads {
            let (part, rest) = thread.join().expect("it says what is wrong");
            tally.add(part);
            for (why, count) in rest {
                *left_out.entry(why).or_default() += count;
            }
        }
    });
    println!(
        "{} on {}: {} cases of {} encodings and of what is none, from seed {seed}, {} of them not comparable",
        host.name,
        host.vendor,
        tally.cases,
        tally.compared.len(),
        tally.uncompared
    );
    for (why, count) in &left_out {
        println!("left out {count} times: {why}");
    }
    tally.assert_equal(&host, OTHER_VENDOR);
    assert!(tally.cases > 0 && tally.uncompared < tally.cases / 2, "hardly anything was compared");
}

/// Every `which.1`th group of cases from `which.0` on.
fn compare(oracle: Oracle, model: &CpuModel, which: (usize, usize), seed: u64, until: Option<Instant>) -> (Tally, LeftOut) {
    let host = oracle.host().clone();
    let mut contest = Contest::new(oracle, model);
    let mut generator = Generator::new(seed);
    let (mut tally, mut left_out) = (Tally::default(), LeftOut::new());
    for group in (which.0 as u64..).step_by(which.1) {
        if until.map_or(group * GROUP as u64 >= CASES, |until| Instant::now() >= until) {
            break;
        }
        let mode = [Mode::Long64, Mode::Comp32, Mode::Long64, Mode::Comp16][group as usize % 4];
        if contest.oracle().lacks(mode).is_some() {
            continue;
        }
        generator.restart(seed ^ group << 20);
        let mut list = Vec::with_capacity(GROUP);
        for _ in 0..GROUP * PATIENCE {
            if list.len() < GROUP {
                generator.make_from_bytes(mode, (model, &host), &mut list, &mut left_out);
            }
        }
        contest.run(&generator, list, &mut tally);
    }
    (tally, left_out)
}
