//! Who is compared: this program and others, each with the tools it needs and the command that boots a guest.
//!
//! Rule: a runner is a row. None of them gets a network, a display or hardware virtualisation.

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::Result;

use super::{
    bochs,
    watch::{Serial, Start},
};
use crate::{apt::install::Tool, demo, guests::Linux, paths::Places, process};

/// The guest's memory in MiB, for every runner.
pub const MEMORY: u32 = 512;

/// What a benchmark works with.
pub struct Setting {
    pub places: Places,
    pub guest: Linux,
    /// For files of the runners.
    pub folder: PathBuf,
}

/// An emulator to compare.
pub struct Runner {
    pub name: &'static str,
    /// What has to be installed. Nothing for our own program, which is built instead.
    pub tools: &'static [Tool],
    pub prepare: fn(&Setting) -> Result<()>,
    pub version: fn(&Setting) -> Result<String>,
    pub start: fn(&Setting) -> Result<Start>,
}

const QEMU: &str = "qemu-system-x86_64";

const QEMU_TOOLS: &[Tool] = &[Tool { program: QEMU, package: "qemu-system-x86", reason: "the comparison with QEMU" }];

#[rustfmt::skip] // a table
pub const RUNNERS: [Runner; 3] = [
    Runner { name: "dragoman-interp", tools: &[],          prepare: nothing,        version: our_version,    start: interpreter },
    Runner { name: "qemu-tcg",        tools: QEMU_TOOLS,   prepare: nothing,        version: qemu_version,   start: qemu },
    Runner { name: "bochs",           tools: bochs::TOOLS, prepare: bochs::prepare, version: bochs::version, start: bochs::start },
];

fn nothing(_: &Setting) -> Result<()> {
    Ok(())
}

fn our_version(setting: &Setting) -> Result<String> {
    first_line(Command::new(setting.places.program()).arg("--version"))
}

fn interpreter(setting: &Setting) -> Result<Start> {
    let mut command = demo::command(&setting.places, &setting.guest);
    command.args(["--accel", "interp", "--memory", &format!("{MEMORY}M")]);
    Ok(Start { command, serial: Serial::Output })
}

fn qemu_version(_: &Setting) -> Result<String> {
    first_line(Command::new(QEMU).arg("--version"))
}

fn qemu(setting: &Setting) -> Result<Start> {
    let guest = &setting.guest;
    let mut command = Command::new(QEMU);
    command.args(["-accel", "tcg", "-cpu", "max", "-m", &MEMORY.to_string()]);
    command.arg("-kernel").arg(&guest.kernel).arg("-initrd").arg(&guest.initrd).args(["-append", &guest.append]);
    command.args(["-display", "none", "-serial", "stdio", "-monitor", "none", "-nic", "none", "-no-reboot"]);
    Ok(Start { command, serial: Serial::Output })
}

/// The first line that a program prints.
pub fn first_line(command: &mut Command) -> Result<String> {
    let text = process::capture(command, Duration::from_secs(30))?;
    Ok(text.lines().next().unwrap_or_default().trim().to_string())
}
