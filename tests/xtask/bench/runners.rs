//! Who is compared: this program and others, each with what makes it ready and the command that boots a guest.
//!
//! Rule: a runner is a row. None of them gets a network, a display or hardware virtualisation, and each has one processor.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::{
    bochs, qemu,
    watch::{Serial, Start},
};
use crate::{demo, guests::Linux, paths::Places, process, toolchain};

/// The guest's memory in MiB, for every runner.
pub const MEMORY: u32 = 512;

/// What a benchmark works with.
#[derive(Clone)]
pub struct Setting {
    pub places: Places,
    pub guest: Linux,
    /// For files of the runners.
    pub folder: PathBuf,
}

/// An emulator to compare.
pub struct Runner {
    pub name: &'static str,
    /// Builds, fetches or installs it; an error says why it cannot be had.
    pub ready: fn(&Setting) -> Result<()>,
    pub version: fn(&Setting) -> Result<String>,
    pub start: fn(&Setting) -> Result<Start>,
}

#[rustfmt::skip] // a table
pub const RUNNERS: [Runner; 5] = [
    Runner { name: "dragoman-jit",    ready: |setting| can_start(setting, "jit"),    version: our_version, start: |setting| ours(setting, "jit") },
    Runner { name: "dragoman-hybrid", ready: |setting| can_start(setting, "hybrid"), version: our_version, start: |setting| ours(setting, "hybrid") },
    Runner { name: "dragoman-interp", ready: build,                                  version: our_version, start: |setting| ours(setting, "interp") },
    Runner { name: "qemu-tcg",        ready: qemu::ready,                            version: qemu::version, start: qemu::start },
    Runner { name: "bochs",           ready: bochs::ready,                           version: bochs::version, start: bochs::start },
];

/// The status with which `dragoman run` says that it has no such accelerator here.
const NO_ACCELERATOR: i32 = 12;

fn build(setting: &Setting) -> Result<()> {
    process::inherit(toolchain::cargo(&setting.places).args(["build", "--release", "--package", "dragoman"]))
        .context("Dragoman could not be built")
}

fn our_version(setting: &Setting) -> Result<String> {
    first_line(Command::new(setting.places.program()).arg("--version"))
}

fn ours(setting: &Setting, engine: &str) -> Result<Start> {
    Ok(Start { command: dragoman(setting, engine), serial: Serial::Output })
}

fn dragoman(setting: &Setting, engine: &str) -> Command {
    let mut command = demo::command(&setting.places, &setting.guest);
    command.args(["--accel", engine, "--memory", &format!("{MEMORY}M")]);
    command
}

/// The engine is there if a guest starts with it.
fn can_start(setting: &Setting, engine: &str) -> Result<()> {
    build(setting)?;
    let mut command = dragoman(setting, engine);
    command.args(["--timeout", "1"]).stdin(Stdio::null());
    let tried = command.output().with_context(|| format!("`{}` cannot be started", process::brief(&command)))?;
    if matches!(tried.status.code(), None | Some(2 | NO_ACCELERATOR)) {
        let complaints = String::from_utf8_lossy(&tried.stderr);
        bail!("{}", complaints.lines().next().unwrap_or("it ended by a signal").trim_start_matches("dragoman: "));
    }
    Ok(())
}

/// The first line that a program prints.
pub fn first_line(command: &mut Command) -> Result<String> {
    let text = process::capture(command, Duration::from_secs(30))?;
    Ok(text.lines().next().unwrap_or_default().trim().to_string())
}
