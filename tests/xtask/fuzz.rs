//! `cargo xtask fuzz`: inputs made by libFuzzer for a program of tests/fuzz, led by the code that they reach.
//!
//! Rule: the compiler that builds everything else builds this, too; cargo-fuzz goes into the cache, and nothing is installed.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Result, bail};
use clap::Args;

use crate::{cache, paths::Places, process, toolchain};

/// The cargo-fuzz that is used.
const VERSION: &str = "0.13.2";

/// Inputs may be long from the start: the first bytes of one are choices, and code comes behind them.
const LIBFUZZER: [&str; 1] = ["-len_control=0"];

#[derive(Args)]
pub struct Options {
    /// What is fuzzed: a program of tests/fuzz
    #[arg(default_value = "instructions")]
    target: String,
    /// What libFuzzer is told, for example -max_total_time=300; without an end it goes on until Ctrl-C
    #[arg(last = true)]
    libfuzzer: Vec<String>,
}

pub fn run(places: &Places, options: &Options) -> Result<ExitCode> {
    if !["c++", "g++", "clang++"].into_iter().any(process::exists) {
        bail!("libFuzzer is C++, and there is no C++ compiler on this machine (Debian: g++)");
    }
    let program = cargo_fuzz(places)?;
    let mut command = toolchain::program(places, program.as_os_str());
    // Instructions compare all the time: telling libFuzzer what with would take as long as everything else.
    command.args(["run", "--fuzz-dir", "tests/fuzz", "--sanitizer", "none", "--no-trace-compares", "--target-dir"]);
    command.arg(places.target.join("fuzz")).arg(&options.target).arg("--").args(LIBFUZZER).args(&options.libfuzzer);
    process::inherit(&mut command)?;
    Ok(ExitCode::SUCCESS)
}

/// cargo-fuzz, built into the cache where it is not there yet.
fn cargo_fuzz(places: &Places) -> Result<PathBuf> {
    let finished = places.cache.join(format!("cargo-fuzz-{VERSION}"));
    let _lock = cache::lock(&places.cache)?;
    let build = |passing: &Path| {
        eprintln!("building cargo-fuzz {VERSION} into {}", finished.display());
        let mut command = toolchain::cargo(places);
        command.args(["install", "cargo-fuzz", "--locked", "--version", VERSION, "--root"]).arg(passing);
        process::inherit(&mut command)
    };
    Ok(cache::folder(&finished, build)?.join("bin").join("cargo-fuzz"))
}
