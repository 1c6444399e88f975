//! `cargo xtask record`: starts the recorder of the harness, which knows the instructions.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use crate::{paths::Places, toolchain};

#[derive(Args)]
pub struct Options {
    /// A file of tests/insn without its ending, or a mnemonic; all files without it
    filter: Option<String>,
    /// Write nothing; run rows recorded on the same kind of processor again, and print what differs
    #[arg(long)]
    check: bool,
}

pub fn run(places: &Places, options: &Options) -> Result<ExitCode> {
    let mut command = toolchain::cargo(places);
    command.args(["run", "--quiet", "--package", "harness", "--bin", "record", "--"]);
    command.args(options.filter.iter()).args(options.check.then_some("--check"));
    let status = command.status().context("cargo cannot be started")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
