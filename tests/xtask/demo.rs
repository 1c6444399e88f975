//! `cargo xtask demo`: the shortest way from a fresh clone to a Linux shell.
//!
//! Rule: the terminal belongs to the guest from the moment it runs; the exit status is the program's.

use std::{os::unix::process::CommandExt as _, process::Command, process::ExitCode};

use anyhow::{Context, Result};
use clap::Args;

use crate::{
    guests::{self, Linux, manifest::Manifest},
    paths::Places,
    process, toolchain,
};

#[derive(Args)]
pub struct Options {
    /// Which guest to run; `cargo xtask guest --list` names them
    #[arg(long, default_value = "debian-cloud-amd64")]
    guest: String,
    /// More arguments for `dragoman run`, after `--`
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Makes all that is needed and becomes the program.
pub fn run(places: &Places, options: &Options) -> Result<ExitCode> {
    let manifest = Manifest::read(places)?;
    let guest = manifest.guest(&options.guest)?;
    eprintln!(
        "This builds Dragoman in {} and makes the guest {}, whose Debian packages are",
        places.short(&places.target),
        guest.name
    );
    eprintln!("downloaded once and kept in {}. Nothing is installed on this machine.", places.cache.display());
    toolchain::require()?;
    process::inherit(toolchain::cargo(places).args(["build", "--release", "--package", "dragoman"]))
        .context("Dragoman could not be built")?;
    let made = guests::make(places, guest, false)?;
    eprintln!("Starting the guest. `poweroff` in it, or Ctrl-A x, ends it; Ctrl-A h lists the keys.");
    let mut command = command(places, &made);
    command.args(&options.arguments);
    // On success this process is the program, and there is nobody to return to.
    Err(command.exec()).with_context(|| format!("{} cannot be started", places.program().display()))
}

/// The release program with a Linux guest.
pub fn command(places: &Places, guest: &Linux) -> Command {
    let mut command = Command::new(places.program());
    command.arg("run").arg(&guest.kernel).arg("--initrd").arg(&guest.initrd).args(["--append", &guest.append]);
    command
}
