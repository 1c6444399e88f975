//! The benchmark `boot`: from the start of the program to the kernel's first line and to the shell's prompt.
//!
//! Rule: every runner gets the same kernel, root file system, command line and memory.

use std::{fs::File, time::Duration};

use anyhow::{Context, Result};

use super::{
    runners::{Runner, Setting},
    watch::{self, Serial, Start},
};
use crate::{demo, guests::Linux, paths::Places};

/// What the guest says on its way: the kernel's first line, and the shell's prompt.
const MARKS: [&str; 2] = ["Linux version", "guest# "];

/// What is reported of each run: the times of the marks, and the time between them, which no firmware is part of.
pub const COLUMNS: [&str; 3] = ["to the first line", "to the prompt", "from the first line to the prompt"];

/// How long a single boot outside the benchmark may take.
const LIMIT: Duration = Duration::from_secs(600);

/// Boots once and gives the time for each column.
pub fn time(runner: &Runner, setting: &Setting, limit: Duration) -> Result<Vec<Duration>> {
    let start = (runner.start)(setting)?;
    let path = setting.folder.join(format!("{}.stderr", runner.name));
    let complaints = File::create(&path).with_context(|| format!("{} cannot be written", path.display()))?;
    let mut times = watch::watch(start, complaints, &MARKS, limit)
        .with_context(|| format!("what it printed besides is in {}", setting.places.short(&path)))?;
    times.push(times[1] - times[0]);
    Ok(times)
}

/// Boots a guest on the release program and gives the time to its prompt.
pub fn dragoman(places: &Places, guest: &Linux) -> Result<Duration> {
    let complaints = File::create("/dev/null").context("/dev/null cannot be opened")?;
    let start = Start { command: demo::command(places, guest), serial: Serial::Output };
    let times = watch::watch(start, complaints, &MARKS, LIMIT)?;
    Ok(times.last().copied().unwrap_or_default())
}

/// The columns with their times, in words.
pub fn shown(times: &[Duration]) -> String {
    let words = COLUMNS.iter().zip(times).map(|(name, time)| format!("{:.2} s {name}", time.as_secs_f64()));
    words.collect::<Vec<_>>().join(", ")
}
