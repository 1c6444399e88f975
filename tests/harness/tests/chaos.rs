//! Random code in every mode: nothing that a guest does may panic, hang, or reach beyond its memory.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use harness::{
    Mode,
    chaos::{Census, Recipe, Watchdog, run},
    generate::Random,
};

/// How many instructions the quick tier runs; `DRAGOMAN_CHAOS_INSTRUCTIONS` says otherwise.
const INSTRUCTIONS: u64 = 10_000_000;
/// As many as an emulated processor has the time for.
const INSTRUCTIONS_EMULATED: u64 = 200_000;
/// How many cases are run before the instructions are counted.
const BATCH: usize = 64;
/// How long a case may take, of which most take a few milliseconds.
const LIMIT: Duration = Duration::from_secs(60);

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let parsed = text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |hex| u64::from_str_radix(hex, 16).ok());
    Some(parsed.unwrap_or_else(|| panic!("{name} is no number: {text}")))
}

/// How to run one case again.
fn again(seed: u64) -> String {
    format!("DRAGOMAN_CHAOS_CASE={seed:#018x} cargo test -p harness --test chaos -- --nocapture")
}

/// Runs the cases of `seeds`, on every processor of the host. Gives what they did, and those that failed.
fn run_all(seeds: &[u64], watchdogs: &[Watchdog]) -> (Census, Vec<u64>) {
    let (next, total) = (AtomicUsize::new(0), Mutex::new((Census::default(), Vec::new())));
    thread::scope(|scope| {
        for watchdog in watchdogs {
            let (next, total) = (&next, &total);
            scope.spawn(move || {
                let (mut census, mut failed) = (Census::default(), Vec::new());
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)).copied() {
                    let recipe = Recipe::from_seed(seed);
                    let work = || run(&recipe, &mut census, false);
                    let outcome = watchdog.guard(format!("{recipe}\n{}", again(seed)), || catch_unwind(AssertUnwindSafe(work)));
                    if outcome.is_err() {
                        failed.push(seed);
                    }
                }
                let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                total.0.add(&census);
                total.1.extend(failed);
            });
        }
    });
    total.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn random_code_never_panics_hangs_or_reaches_beyond_its_memory() {
    if let Some(seed) = number("DRAGOMAN_CHAOS_CASE") {
        let recipe = Recipe::from_seed(seed);
        println!("{recipe}");
        return Watchdog::new(LIMIT).guard(recipe.to_string(), || run(&recipe, &mut Census::default(), true));
    }
    let is_emulated = std::env::var_os("DRAGOMAN_EMULATED_HOST").is_some();
    let wanted = number("DRAGOMAN_CHAOS_INSTRUCTIONS").unwrap_or(if is_emulated { INSTRUCTIONS_EMULATED } else { INSTRUCTIONS });
    let seed = number("DRAGOMAN_CHAOS_SEED").unwrap_or(1);
    let limit = if is_emulated { 10 * LIMIT } else { LIMIT };
    let watchdogs: Vec<_> = (0..thread::available_parallelism().map_or(1, usize::from)).map(|_| Watchdog::new(limit)).collect();
    let (mut random, start, mut census) = (Random::new(seed), Instant::now(), Census::default());
    let mut failed = Vec::new();
    while census.instructions() < wanted && failed.is_empty() {
        let seeds: Vec<_> = (0..BATCH).map(|_| random.bits()).collect();
        let (counted, found) = run_all(&seeds, &watchdogs);
        census.add(&counted);
        failed.extend(found);
    }
    println!("from seed {seed}, in {:.1} s: {census}", start.elapsed().as_secs_f64());
    let list: Vec<_> = failed.iter().map(|seed| again(*seed)).collect();
    assert!(failed.is_empty(), "{} of {} cases fail; again, with every step:\n{}", list.len(), census.cases, list.join("\n"));
    check(&census);
}

/// A run that came to little shows nothing. A short one cannot come to all that is rare.
fn check(census: &Census) {
    let all = census.instructions();
    let is_short = all < INSTRUCTIONS / 2;
    let share = |parts: u64| if is_short { 0 } else { all / parts };
    for mode in Mode::ALL {
        let [kernel, user] = census.stepped[mode as usize];
        assert!(kernel + user > share(200), "{mode}: only {kernel} + {user} of {all} instructions");
        let has_rings = mode != Mode::Real16 && mode != Mode::Vm86;
        let is_there = kernel.min(user) > share(1000);
        assert!(!has_rings || is_short || is_there, "{mode}: {kernel} at rings 0 to 2, {user} at ring 3");
    }
    assert!(census.in_blocks > all / 100, "only {} of {all} instructions were in blocks", census.in_blocks);
    assert!(census.compared > 50 && census.compared > census.endless, "too few guests were compared:\n{census}");
    assert!(census.moves > if is_short { 0 } else { 1000 }, "only {} moves between engines", census.moves);
    assert!(census.mnemonics.len() > 300, "only {} mnemonics were executed", census.mnemonics.len());
    // Every exception that the processor has: not 9, 15, 18 and those from 20 on.
    let missing: Vec<_> = (0..20).filter(|n| ![9, 15, 18].contains(n) && census.entered[*n] == 0).collect();
    let allowed = if is_short { 4 } else { 0 };
    assert!(missing.len() <= allowed, "these exceptions never came to a handler: {missing:?}");
    assert!(census.interrupts() > 100, "only {} different interrupts came to handlers", census.interrupts());
    assert!(census.triple_faults > 0 && census.halts > 0 && census.mode_changes > all / 1000, "too uniform:\n{census}");
    assert!(census.traffic.memory > all / 100 && census.traffic.ports > all / 100, "the bus was idle:\n{census}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    let seeds: Vec<_> = (0..32).collect();
    let watchdogs = [Watchdog::new(LIMIT)];
    let [one, other] = [run_all(&seeds, &watchdogs), run_all(&seeds, &watchdogs)];
    assert!(one.0.instructions() > 0);
    assert_eq!(format!("{:?}", one.0.stepped), format!("{:?}", other.0.stepped));
    assert_eq!((one.0.in_blocks, one.0.traffic, one.0.entered), (other.0.in_blocks, other.0.traffic, other.0.entered));
}
