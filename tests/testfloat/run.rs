//! All checks, side by side on the host's processors, and what came of them.
//!
//! Rule of this file: a check fails by its first difference, which is printed; the others are counted.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use dragoman_float::{Precision, Rounding};
use harness::{case::End, engine::engines};

use crate::{
    arithmetic::{Compute, compute},
    generator::{Generator, TestCase},
    instructions::{Stand, forms},
    plan::{Check, checks},
    verdict::{Answer, Verdict, flags, judge},
};

/// How much is asked.
pub struct Amount {
    /// TestFloat's level.
    pub level: u8,
    /// Of what.
    pub filter: String,
}

/// Who answers.
enum Subject {
    /// The arithmetic.
    Arithmetic(Compute),
    /// An instruction.
    Instruction(Box<Stand>),
}

/// A subject of a check, and what came of it so far.
struct Asked {
    title: String,
    subject: Subject,
    /// One of so many cases is asked.
    stride: u64,
    tally: Tally,
    /// The first difference.
    first: Option<String>,
}

/// What came of the checks of one function and subject.
#[derive(Default)]
struct Tally {
    cases: u64,
    choices: u64,
    wrong: u64,
}

/// How many differences are spelled out.
const SHOWN: usize = 40;

/// Asks everything, prints what came of it, and gives how many answers were wrong.
pub fn all(generator: &Path, amount: &Amount) -> io::Result<u64> {
    let checks = checks();
    let next = AtomicUsize::new(0);
    let finished = Mutex::new(Vec::new());
    let work = || -> io::Result<()> {
        while let Some(check) = checks.get(next.fetch_add(1, Ordering::Relaxed)) {
            let asked = run(generator, check, amount)?;
            finished.lock().unwrap_or_else(PoisonError::into_inner).extend(asked);
        }
        Ok(())
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| -> io::Result<()> {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| Err(io::Error::other("a check panicked"))))
    })?;
    let finished = finished.into_inner().unwrap_or_else(PoisonError::into_inner);
    if finished.is_empty() {
        return Err(io::Error::other(format!("nothing is called {}", amount.filter)));
    }
    Ok(report(finished))
}

fn report(finished: Vec<Asked>) -> u64 {
    let mut tallies = BTreeMap::<String, Tally>::new();
    let (mut all, mut differences) = (Tally::default(), Vec::new());
    for asked in finished {
        tallies.entry(asked.title).or_default().add(&asked.tally);
        all.add(&asked.tally);
        differences.extend(asked.first);
    }
    for (title, tally) in &tallies {
        let note = if tally.choices > 0 { format!(", {} times x86's own choice", tally.choices) } else { String::new() };
        println!("{title:28} {:>11} cases, {} wrong{note}", tally.cases, tally.wrong);
    }
    for difference in differences.iter().take(SHOWN) {
        println!("{difference}");
    }
    if differences.len() > SHOWN {
        println!("... and {} more checks with differences", differences.len() - SHOWN);
    }
    let Tally { cases, choices, wrong } = all;
    println!("{} functions and instructions, {cases} cases, {choices} of them x86's own choice: {wrong} wrong", tallies.len());
    wrong
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.cases += other.cases;
        self.choices += other.choices;
        self.wrong += other.wrong;
    }
}

/// An instruction takes some microseconds: of many millions of cases, a part is asked.
fn instruction_stride(function: &str, level: u8) -> u64 {
    match (function, level) {
        ("extF80_rem", 1) => 16,
        (name, 1) if name.ends_with("mulAdd") => 64,
        (_, 1) => 1,
        _ => 97,
    }
}

/// How many cases are asked at most. A function of three operands has six million at level 1, and more than can be asked at
/// level 2, where two operands in extF80 have sixty million.
fn limit(check: &Check, level: u8) -> u64 {
    let is_nearest = check.rounding == Rounding::Nearest;
    match (level, check.operands()) {
        (1, 3) if !is_nearest => 1_000_000,
        (2, 3) => 20_000_000,
        // A remainder takes hundreds of steps.
        (2, _) if check.function == "extF80_rem" => 10_000_000,
        (2, _) if check.precision != Precision::Extended && !is_nearest => 10_000_000,
        _ => u64::MAX,
    }
}

/// Whom `check` asks.
fn subjects(check: &Check, amount: &Amount) -> io::Result<Vec<Asked>> {
    let compute =
        compute(&check.function, check.exact).ok_or_else(|| io::Error::other(format!("{} is not known here", check.function)))?;
    let mut asked = Vec::new();
    let mut add = |title: String, subject: Subject, stride: u64| {
        if title.contains(&amount.filter) {
            asked.push(Asked { title, subject, stride, tally: Tally::default(), first: None });
        }
    };
    add(check.function.clone(), Subject::Arithmetic(compute), 1);
    for engine in engines() {
        for form in forms(check) {
            let title = format!("{} {}", check.function, form.name);
            let stand = Stand::new(&*engine, form, check).map_err(|error| io::Error::other(error.to_string()))?;
            add(title, Subject::Instruction(Box::new(stand)), instruction_stride(&check.function, amount.level));
        }
    }
    Ok(asked)
}

fn run(generator: &Path, check: &Check, amount: &Amount) -> io::Result<Vec<Asked>> {
    let mut asked = subjects(check, amount)?;
    if asked.is_empty() {
        return Ok(asked);
    }
    let mut options = check.options().to_vec();
    options.extend(["-level", if amount.level == 2 { "2" } else { "1" }]);
    let mut cases = Generator::start(generator, &check.function, &options)?;
    let (mut number, limit) = (0, limit(check, amount.level));
    while let Some(case) = cases.next(check.operands())? {
        number += 1;
        if number > limit {
            break;
        }
        for one in asked.iter_mut().filter(|one| number % one.stride == 0) {
            one.ask(check, &case)?;
        }
    }
    match asked.iter().find(|one| one.tally.cases == 0) {
        Some(one) => Err(io::Error::other(format!("the generator has no case of {}", one.title))),
        None => Ok(asked),
    }
}

impl Asked {
    fn ask(&mut self, check: &Check, case: &TestCase) -> io::Result<()> {
        self.tally.cases += 1;
        let answer = match &mut self.subject {
            Subject::Arithmetic(compute) => {
                let mut env = check.environment();
                let result = compute(&case.operands, &mut env);
                Ok(Answer { result, raised: env.raised })
            }
            Subject::Instruction(stand) => stand.answer(&case.operands).map_err(|error| io::Error::other(error.to_string()))?,
        };
        match answer.as_ref().map(|answer| judge(&check.function, case, *answer)) {
            Ok(Verdict::Same) => {}
            Ok(Verdict::Choice) => self.tally.choices += 1,
            Ok(Verdict::Wrong) | Err(_) => {
                self.tally.wrong += 1;
                self.first.get_or_insert_with(|| describe(&self.title, check, case, &answer));
            }
        }
        Ok(())
    }
}

fn describe(title: &str, check: &Check, case: &TestCase, answer: &Result<Answer, End>) -> String {
    let operands: Vec<String> = case.operands[..check.operands()].iter().map(|operand| format!("{operand:x}")).collect();
    let got = match answer {
        Ok(answer) => format!("{:x} {:02x}", answer.result, flags(answer.raised)),
        Err(end) => format!("{end:?}"),
    };
    let (options, wanted) = (check.options().join(" "), format!("{:x} {:02x}", case.result, case.flags));
    format!("{title} {options}: {}: got {got}, TestFloat wants {wanted}", operands.join(" "))
}
