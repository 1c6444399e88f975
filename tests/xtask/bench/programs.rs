//! The benchmark `programs`: programs of ours inside one Linux guest, timed from outside by the lines between them.
//!
//! Rule: every runner runs the same programs with the same counts, in one guest, one after the other; one that fails costs
//! its own figure only.

use std::{
    collections::VecDeque,
    fs::{self, File},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{
    comparison::{Cell, Comparison, Host, Row},
    marks::{Marks, Outcome},
    runners::{Runner, Setting},
    watch,
};
use crate::{
    guests::compiled::{self, Program, Programs},
    process,
    progress::Progress,
};

/// The row for the time from the start of the emulator to the first line of the guest's first program.
const BOOT: &str = "boot";

/// How long the host may take for one program.
const HOST_LIMIT: Duration = Duration::from_secs(600);

/// The programs to run, with their counts, and where they lie in the guest.
pub struct Plan {
    /// The folder's name, in guest-images/ and in the guest.
    folder: String,
    driver: String,
    programs: Vec<Program>,
}

impl Plan {
    /// Those of `folder` for guests of `architecture` that are named, or all; each with its count times `scale`.
    pub fn new(setting: &Setting, architecture: &str, folder: &str, names: &[String], scale: f64) -> Result<Self> {
        let Programs { driver, mut programs } = Programs::read_for(architecture, &setting.places, folder)?;
        let is_known = |name: &String| name == BOOT || programs.iter().any(|program| program.name == *name);
        if let Some(unknown) = names.iter().find(|name| !is_known(name)) {
            let known: Vec<&str> = programs.iter().map(|program| program.name.as_str()).collect();
            bail!("there is no program {unknown}; there are: {BOOT}, {}", known.join(", "));
        }
        programs.retain(|program| names.is_empty() || names.contains(&program.name));
        for program in &mut programs {
            program.count = scaled(program.count, scale);
        }
        Ok(Self { folder: folder.to_string(), driver, programs })
    }

    /// A row for each program and one for the boot, without figures yet, with what the host itself computes.
    pub fn rows(&self, setting: &Setting, runners: usize) -> Result<Vec<Row>> {
        let tree = setting.guest.tree.as_deref().context("the guest has no programs")?;
        let features = features();
        let mut rows = vec![Row::new(BOOT, BOOT, 0, runners)];
        for program in &self.programs {
            let mut row = Row::new(&program.group, &program.name, program.count, runners);
            if program.needs.iter().all(|need| features.contains(need)) {
                row.host = host(&tree.join(&self.folder).join(&program.name), program);
            }
            rows.push(row);
        }
        Ok(rows)
    }

    /// Boots one runner, again where a program broke off the run, and puts the times into column `column` of `rows`.
    pub fn run(&self, runner: &Runner, setting: &Setting, limit: Duration, rows: &mut [Row], column: usize) -> Result<()> {
        let mut left: VecDeque<&Program> = self.programs.iter().collect();
        let mut is_first = true;
        while is_first || !left.is_empty() {
            let (boot, outcomes) = self.boot(runner, setting, limit, left.iter().copied())?;
            if is_first {
                cell(rows, BOOT, column)?.add(boot.as_secs_f64());
            }
            is_first = false;
            for outcome in outcomes {
                left.retain(|program| program.name != outcome.name);
                let cell = cell(rows, &outcome.name, column)?;
                match outcome.checksum {
                    Ok(checksum) => {
                        cell.add(outcome.time.as_secs_f64());
                        cell.checksums.insert(checksum);
                    }
                    Err(reason) => {
                        eprintln!("{}: {} failed: {reason}", runner.name, outcome.name);
                        cell.failure = Some(reason);
                    }
                }
            }
        }
        Ok(())
    }

    /// One boot: the time to the driver's first line, and what became of the programs up to one that broke off the run.
    fn boot<'a>(
        &self,
        runner: &Runner,
        setting: &Setting,
        limit: Duration,
        programs: impl Iterator<Item = &'a Program>,
    ) -> Result<(Duration, Vec<Outcome>)> {
        let words: Vec<String> = programs.map(|program| format!("{}:{}", program.name, program.count)).collect();
        let mut setting = setting.clone();
        // The kernel hands what follows the two dashes to the first program, which is the driver instead of /init.
        setting.guest.append.push_str(&format!(" rdinit=/{}/{} -- {}", self.folder, self.driver, words.join(",")));
        let path = setting.folder.join(format!("{}.stderr", runner.name));
        let complaints = File::create(&path).with_context(|| format!("{} cannot be written", path.display()))?;
        let mut marks = Marks::default();
        let (begin, outcome) = watch::listen((runner.start)(&setting)?, complaints, &mut marks, limit)?;
        let reached = marks.ready.map(|at| at - begin);
        let running = marks.running().map(str::to_string);
        let mut outcomes = marks.outcomes;
        match (outcome, reached, running) {
            (Ok(()), Some(boot), _) if outcomes.len() == words.len() => Ok((boot, outcomes)),
            (Err(error), Some(boot), Some(name)) => {
                outcomes.push(Outcome { name, time: limit, checksum: Err(format!("{error:#}")) });
                Ok((boot, outcomes))
            }
            (Err(error), ..) => {
                Err(error.context(format!("what {} printed besides is in {}", runner.name, setting.places.short(&path))))
            }
            (Ok(()), ..) => bail!("{} ran {} programs of {}", runner.name, outcomes.len(), words.len()),
        }
    }
}

/// Runs all, interleaved: one run of each runner, then the next run of each.
pub fn compare(
    plan: &Plan,
    setting: &Setting,
    runs: u32,
    limit: Duration,
    mut to: Comparison,
    by: &[&Runner],
) -> Result<Comparison> {
    to.compiler = compiled::compiler()?;
    to.rows = plan.rows(setting, by.len())?;
    for run in 1..=runs {
        for (column, runner) in by.iter().enumerate() {
            let progress = Progress::start(&format!("programs {run}/{runs}: {}", runner.name));
            let outcome = plan.run(runner, setting, limit, &mut to.rows, column);
            let took = progress.finish();
            outcome.with_context(|| format!("{} did not get through", runner.name))?;
            eprintln!("programs {run}/{runs}: {}: {:.1} s", runner.name, took.as_secs_f64());
        }
    }
    Ok(to)
}

fn cell<'a>(rows: &'a mut [Row], name: &str, column: usize) -> Result<&'a mut Cell> {
    let row = rows.iter_mut().find(|row| row.name == name);
    Ok(&mut row.with_context(|| format!("the guest ran {name}, which it was not asked for"))?.cells[column])
}

fn scaled(count: u64, scale: f64) -> u64 {
    (count as f64 * scale).round().max(1.0) as u64
}

/// What the host's processor can do; nothing where it cannot run such programs at all.
fn features() -> Vec<String> {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("flags")).and_then(|line| line.split_once(':'));
    line.map_or_else(Vec::new, |(_, flags)| flags.split_whitespace().map(str::to_string).collect())
}

/// What this machine itself computes, and how long it takes; nothing where it cannot.
fn host(path: &Path, program: &Program) -> Option<Host> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return None;
    }
    let begin = Instant::now();
    let text = process::capture(Command::new(path).arg(program.count.to_string()), HOST_LIMIT);
    let seconds = begin.elapsed().as_secs_f64();
    let text = text.inspect_err(|error| eprintln!("{} does not run here: {error:#}", program.name)).ok()?;
    let checksum = text.trim().strip_prefix(&program.name)?.trim().to_string();
    Some(Host { seconds, checksum })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_leaves_at_least_one_round() {
        assert_eq!((scaled(200, 0.5), scaled(200, 0.0001), scaled(3, 2.0)), (100, 1, 6));
    }
}
