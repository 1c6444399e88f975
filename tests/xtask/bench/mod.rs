//! `cargo xtask bench`: the same work on this emulator and on others, side by side.
//!
//! Rule: runs are interleaved, so that what disturbs the machine disturbs all alike; numbers are medians with their extremes,
//! and what is compared is named with its version.

mod bochs;
pub mod boot;
mod report;
mod runners;
mod watch;

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{apt::install, guests, guests::manifest::Manifest, paths::Places, process, progress::Progress, toolchain};
use report::{Report, Series};
use runners::{RUNNERS, Runner, Setting};

#[derive(Args)]
pub struct Options {
    /// Which benchmark
    #[arg(default_value = "boot", value_parser = ["boot"])]
    benchmark: String,
    /// Which Linux guest
    #[arg(long, default_value = "debian-cloud-amd64")]
    guest: String,
    /// How often each runner runs
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Only this runner; may be given several times
    #[arg(long = "runner", value_name = "NAME", value_parser = RUNNERS.map(|runner| runner.name))]
    runners: Vec<String>,
    /// Seconds after which a run has failed
    #[arg(long, default_value_t = 600)]
    timeout: u64,
    /// Print JSON on standard output, or write it to FILE
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<PathBuf>,
}

/// `cargo xtask bench`.
pub fn run(places: &Places, options: &Options) -> Result<ExitCode> {
    let manifest = Manifest::read(places)?;
    let guest = guests::make(places, manifest.guest(&options.guest)?, false)?;
    let folder = places.records().join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let setting = Setting { places: places.clone(), guest, folder };

    let wanted =
        RUNNERS.iter().filter(|runner| options.runners.is_empty() || options.runners.iter().any(|name| name == runner.name));
    let mut series = Vec::new();
    for runner in wanted {
        match ready(runner, &setting) {
            Ok(version) => series.push((runner, Series::new(runner.name, version))),
            Err(error) => eprintln!("{} is left out: {error:#}", runner.name),
        }
    }
    if series.is_empty() {
        bail!("nothing is left to run");
    }
    let limit = Duration::from_secs(options.timeout);
    for run in 1..=options.runs {
        for (runner, series) in &mut series {
            let progress = Progress::start(&format!("{} {run}/{}: {}", options.benchmark, options.runs, runner.name));
            let outcome = boot::time(runner, &setting, limit);
            progress.finish();
            let times = outcome.with_context(|| format!("{} did not get through", runner.name))?;
            eprintln!("{} {run}/{}: {}: {}", options.benchmark, options.runs, runner.name, boot::shown(&times));
            series.add(&times);
        }
    }
    let report = Report {
        benchmark: options.benchmark.clone(),
        guest: options.guest.clone(),
        marks: boot::COLUMNS.to_vec(),
        series: series.into_iter().map(|(_, series)| series).collect(),
    };
    match options.json.as_deref() {
        None => print!("{}", report.table()),
        Some(path) if path.as_os_str() == "-" => println!("{}", report.json()),
        Some(path) => {
            fs::write(path, report.json() + "\n").with_context(|| format!("{} cannot be written", path.display()))?;
            print!("{}", report.table());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes a runner ready and gives its version.
fn ready(runner: &Runner, setting: &Setting) -> Result<String> {
    install::ensure(runner.tools)?;
    if runner.tools.is_empty() {
        process::inherit(toolchain::cargo(&setting.places).args(["build", "--release", "--package", "dragoman"]))
            .context("Dragoman could not be built")?;
    }
    (runner.prepare)(setting)?;
    (runner.version)(setting)
}
