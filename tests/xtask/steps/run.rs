//! Running steps one after another: display, log, time, summary.
//!
//! Rule: the output of what a step starts goes to its log; a failure shows the end of it. The last line counts the steps.

use std::{
    fs::{self, File},
    io::Write as _,
    path::PathBuf,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{Outcome, Step, record::Record};
use crate::{
    paths::Places,
    process::{self, Line},
    progress::Progress,
};

/// How much of a failed step's log is shown.
const TAIL: usize = 150;

/// How much of a remark fits into the summary.
const WIDTH: usize = 160;

/// What a step works with.
pub struct Work<'a> {
    pub places: &'a Places,
    log: File,
    log_path: PathBuf,
    progress: Option<Progress>,
    tests: Tests,
    last: String,
}

/// What test programs reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tests {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Work<'_> {
    /// Runs a command with its output in the log.
    pub fn run(&mut self, command: &mut Command, limit: Duration) -> Result<()> {
        writeln!(self.log, "$ {}", process::shown(command))?;
        let (log, progress, tests, last) = (&mut self.log, &mut self.progress, &mut self.tests, &mut self.last);
        let mut failure = None;
        let status = process::watch(command, limit, |line| match line {
            Line::Output(text) | Line::Error(text) => {
                tests.add(&text);
                if let Err(error) = writeln!(log, "{text}") {
                    failure = Some(error);
                }
                if let Some(progress) = progress {
                    progress.show(text.trim());
                }
                *last = text;
            }
            Line::Nothing => {
                if let Some(progress) = progress {
                    progress.tick();
                }
            }
        })?;
        if let Some(error) = failure {
            return Err(error).with_context(|| format!("{} cannot be written; is the disk full?", self.log_path.display()));
        }
        if !status.success() {
            bail!("`{}` ended with {status}", process::brief(command));
        }
        Ok(())
    }

    /// A line for the log and for a person who watches.
    pub fn say(&mut self, text: &str) -> Result<()> {
        writeln!(self.log, "{text}").context("the log cannot be written")?;
        if let Some(progress) = &mut self.progress {
            progress.show(text);
        }
        Ok(())
    }

    /// The last line that the last command printed.
    pub fn last_line(&self) -> String {
        self.last.clone()
    }

    /// What the test programs run so far reported, in words.
    pub fn tested(&self) -> String {
        let Tests { passed, ignored, .. } = self.tests;
        if ignored == 0 { format!("{passed} tests") } else { format!("{passed} tests, {ignored} ignored") }
    }
}

impl Tests {
    /// Reads a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
    fn add(&mut self, line: &str) {
        let Some(rest) = line.trim_start().strip_prefix("test result:") else { return };
        let count = |word: &str| {
            let before = rest.split(word).next().filter(|before| before.len() < rest.len())?;
            before.split_whitespace().next_back()?.parse::<u64>().ok()
        };
        self.passed += count(" passed").unwrap_or(0);
        self.failed += count(" failed").unwrap_or(0);
        self.ignored += count(" ignored").unwrap_or(0);
    }
}

/// How a step ended.
enum Verdict {
    Passed(String),
    Earlier,
    Skipped(String),
    Failed(String),
}

/// Runs `steps` and prints what became of them.
pub fn run(places: &Places, steps: &[&Step], mut record: Option<&mut Record>) -> Result<ExitCode> {
    let logs = places.records().join("logs");
    fs::create_dir_all(&logs).with_context(|| format!("{} cannot be made", logs.display()))?;
    let mut done: Vec<(&Step, Verdict, Duration)> = Vec::new();
    let start = Instant::now();
    for (index, step) in steps.iter().enumerate() {
        let title = format!("[{}/{}] {}", index + 1, steps.len(), step.name);
        let earlier = record.as_ref().filter(|_| !step.prepares).and_then(|record| record.finished(step.name));
        let broken = step.needs.iter().find(|needed| {
            done.iter()
                .any(|(other, verdict, _)| other.name == **needed && matches!(verdict, Verdict::Failed(_) | Verdict::Skipped(_)))
        });
        let (verdict, took) = match (earlier, broken) {
            (Some(took), _) => (Verdict::Earlier, took),
            (None, Some(needed)) => (Verdict::Skipped(format!("it needs {needed}")), Duration::ZERO),
            (None, None) => attempt(places, step, &title, logs.join(format!("{}.log", step.name)))?,
        };
        let seconds = took.as_secs_f64();
        match &verdict {
            Verdict::Passed(note) => println!("{title}: ok, {seconds:.1} s{}", remark(note)),
            Verdict::Earlier => println!("{title}: ok in an earlier run, {seconds:.1} s"),
            Verdict::Skipped(reason) => println!("{title}: skipped: {reason}"),
            Verdict::Failed(why) => println!("{title}: FAILED after {seconds:.1} s: {why}"),
        }
        if let (Verdict::Passed(_), Some(record)) = (&verdict, record.as_mut()) {
            record.finish(step.name, took)?;
        }
        done.push((step, verdict, took));
    }
    Ok(summarise(&done, start.elapsed()))
}

fn attempt(places: &Places, step: &Step, title: &str, log_path: PathBuf) -> Result<(Verdict, Duration)> {
    let log = File::create(&log_path).with_context(|| format!("{} cannot be written", log_path.display()))?;
    // What it prints would be drawn over by a spinner.
    let progress = (!step.prepares).then(|| Progress::start(title));
    if step.prepares {
        eprintln!("{title} ...");
    }
    let start = Instant::now();
    let mut work = Work { places, log, log_path, progress, tests: Tests::default(), last: String::new() };
    let outcome = (step.work)(&mut work);
    let took = start.elapsed();
    if let Some(progress) = work.progress.take() {
        progress.finish();
    }
    let verdict = match outcome {
        Ok(Outcome::Done(note)) => Verdict::Passed(note),
        Ok(Outcome::Skipped(reason)) => Verdict::Skipped(reason),
        Err(error) => {
            let text = fs::read(&work.log_path).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<&str> = text.lines().collect();
            let tail = &lines[lines.len().saturating_sub(TAIL)..];
            if !tail.is_empty() {
                println!("--- the end of {}", places.short(&work.log_path));
                tail.iter().for_each(|line| println!("{line}"));
                println!("---");
            }
            let failed = if work.tests.failed > 0 { format!("{} tests failed; ", work.tests.failed) } else { String::new() };
            Verdict::Failed(format!("{failed}{error:#}"))
        }
    };
    Ok((verdict, took))
}

fn summarise(done: &[(&Step, Verdict, Duration)], took: Duration) -> ExitCode {
    println!();
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for (step, verdict, took) in done {
        let (word, note) = match verdict {
            Verdict::Passed(note) => (&mut passed, ("ok", note.as_str())),
            Verdict::Earlier => (&mut passed, ("ok", "in an earlier run")),
            Verdict::Skipped(reason) => (&mut skipped, ("skipped", reason.as_str())),
            Verdict::Failed(why) => (&mut failed, ("FAILED", why.as_str())),
        };
        *word += 1;
        let first_line: String = note.1.lines().next().unwrap_or_default().chars().take(WIDTH).collect();
        println!("{:14} {:8} {:>7.1} s  {first_line}", step.name, note.0, took.as_secs_f64());
    }
    println!("{:14} {:8} {:>7.1} s", "all", "", took.as_secs_f64());
    println!();
    println!("steps: {passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn remark(note: &str) -> String {
    if note.is_empty() { String::new() } else { format!(" ({note})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_test_programs_add_up() {
        let mut tests = Tests::default();
        tests.add("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s");
        tests.add("test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured");
        tests.add("test some::test ... ok");
        assert_eq!(tests, Tests { passed: 13, failed: 2, ignored: 1 });
    }
}
