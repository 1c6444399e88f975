//! `cargo xtask bench`: the same work on this emulator and on others, side by side.
//!
//! Rule: runs are interleaved, so that what disturbs the machine disturbs all alike; numbers are medians with their extremes,
//! and what is compared is named with its version.

mod bochs;
pub mod boot;
mod comparison;
mod marks;
mod programs;
mod qemu;
mod report;
mod runners;
mod watch;

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{guests, guests::manifest::Manifest, paths::Places, progress::Progress};
use comparison::Comparison;
use report::{Report, Series};
use runners::{RUNNERS, Runner, Setting};

#[derive(Args)]
pub struct Options {
    /// Which benchmark: from the start to the shell's prompt, or programs inside a guest
    #[arg(default_value = BOOT, value_parser = [BOOT, PROGRAMS])]
    benchmark: String,
    /// Which Linux guest, where not debian-cloud-amd64 or, for `programs`, debian-bench-amd64
    #[arg(long)]
    guest: Option<String>,
    /// How often each runner runs
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Only this runner; may be given several times. The first in the table is what the others are compared with
    #[arg(long = "runner", value_name = "NAME", value_parser = RUNNERS.map(|runner| runner.name))]
    runners: Vec<String>,
    /// Of `programs`: only this one; may be given several times. `boot` is the boot alone
    #[arg(long = "program", value_name = "NAME")]
    programs: Vec<String>,
    /// Of `programs`: how much work each does; 0.1 is a tenth
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    scale: f64,
    /// Seconds after which a boot, or one program, has failed
    #[arg(long, default_value_t = 600)]
    timeout: u64,
    /// Print JSON on standard output, or write it to FILE
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<PathBuf>,
}

const BOOT: &str = "boot";
const PROGRAMS: &str = "programs";

/// The interpreter's runner: among programs it stands in for the translator where there is none.
const STAND_IN: (&str, &str) = ("dragoman-jit", "dragoman-interp");

/// An interpreter of others, which would take hours for the programs.
const SLOW: &str = "bochs";

/// `cargo xtask bench`.
pub fn run(places: &Places, options: &Options) -> Result<ExitCode> {
    let is_boot = options.benchmark == BOOT;
    if is_boot && (!options.programs.is_empty() || options.scale != 1.0) {
        bail!("--program and --scale belong to `bench programs`");
    }
    if !(options.scale.is_finite() && options.scale > 0.0) {
        bail!("--scale wants a number above 0");
    }
    let name = options.guest.as_deref().unwrap_or(if is_boot { "debian-cloud-amd64" } else { "debian-bench-amd64" });
    let manifest = Manifest::read(places)?;
    let recipe = manifest.guest(name)?;
    let guest = guests::make(places, recipe, false)?;
    let folder = places.records().join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let setting = Setting { places: places.clone(), guest, folder };
    let limit = Duration::from_secs(options.timeout);
    if is_boot {
        let report = boots(options, &setting, name, limit)?;
        print(options, &report.table(), &report.json())?;
        return Ok(ExitCode::SUCCESS);
    }
    let sources = recipe.compiled.as_deref().with_context(|| format!("the guest {name} has no programs to time"))?;
    let plan = programs::Plan::new(&setting, &recipe.architecture, sources, &options.programs, options.scale)?;
    let ready = ready(options, &setting)?;
    let named = ready.iter().map(|(runner, version)| (runner.name.to_string(), version.clone())).collect();
    let empty = Comparison {
        guest: name.to_string(),
        scale: options.scale,
        runs: options.runs,
        compiler: String::new(),
        runners: named,
        rows: Vec::new(),
    };
    let by: Vec<&Runner> = ready.iter().map(|(runner, _)| *runner).collect();
    let report = programs::compare(&plan, &setting, options.runs, limit, empty, &by)?;
    print(options, &report.table(), &report.json())?;
    Ok(if report.is_right() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn boots(options: &Options, setting: &Setting, guest: &str, limit: Duration) -> Result<Report> {
    let mut series: Vec<_> =
        ready(options, setting)?.into_iter().map(|(runner, version)| (runner, Series::new(runner.name, version))).collect();
    for run in 1..=options.runs {
        for (runner, series) in &mut series {
            let progress = Progress::start(&format!("{BOOT} {run}/{}: {}", options.runs, runner.name));
            let outcome = boot::time(runner, setting, limit);
            progress.finish();
            let times = outcome.with_context(|| format!("{} did not get through", runner.name))?;
            eprintln!("{BOOT} {run}/{}: {}: {}", options.runs, runner.name, boot::shown(&times));
            series.add(&times);
        }
    }
    Ok(Report {
        benchmark: BOOT.to_string(),
        guest: guest.to_string(),
        marks: boot::COLUMNS.to_vec(),
        series: series.into_iter().map(|(_, series)| series).collect(),
    })
}

/// The runners that were asked for and can be had, with their versions.
fn ready(options: &Options, setting: &Setting) -> Result<Vec<(&'static Runner, String)>> {
    let is_named = |runner: &&Runner| options.runners.iter().any(|name| name == runner.name);
    let is_wanted = |runner: &&Runner| match options.runners.is_empty() {
        true => options.benchmark == BOOT || runner.name != SLOW,
        false => is_named(runner),
    };
    let mut found: Vec<(&Runner, String)> = Vec::new();
    for runner in RUNNERS.iter().filter(is_wanted) {
        let (better, stand_in) = STAND_IN;
        let is_spare = runner.name == stand_in && found.iter().any(|(other, _)| other.name == better);
        if is_spare && options.benchmark == PROGRAMS && options.runners.is_empty() {
            continue;
        }
        match (runner.ready)(setting).and_then(|()| (runner.version)(setting)) {
            Ok(version) => found.push((runner, version)),
            Err(error) => eprintln!("{} is left out: {error:#}", runner.name),
        }
    }
    if found.is_empty() {
        bail!("nothing is left to run");
    }
    Ok(found)
}

fn print(options: &Options, table: &str, json: &str) -> Result<()> {
    match options.json.as_deref() {
        None => print!("{table}"),
        Some(path) if path.as_os_str() == "-" => println!("{json}"),
        Some(path) => {
            fs::write(path, format!("{json}\n")).with_context(|| format!("{} cannot be written", path.display()))?;
            print!("{table}");
        }
    }
    Ok(())
}
