//! Tools that have to be installed on the machine, because unpacking them elsewhere would not do.
//!
//! Rule: nothing is installed before it is said what and why; only `apt-get install` by package name is used.

use std::process::Command;

use anyhow::{Result, bail};

use super::root::{is_root, is_unattended};
use crate::process;

/// A tool, and the package that brings it.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// The program or file whose presence shows that it is there.
    pub program: &'static str,
    pub package: &'static str,
    /// What it is needed for, to follow "for".
    pub reason: &'static str,
}

/// Those of `tools` that are not there.
pub fn missing(tools: &[Tool]) -> Vec<Tool> {
    tools.iter().copied().filter(|tool| !process::exists(tool.program)).collect()
}

/// Installs what is missing of `tools`.
pub fn ensure(tools: &[Tool]) -> Result<()> {
    let missing = missing(tools);
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    packages.sort_unstable();
    packages.dedup();
    if !process::exists("apt-get") {
        let lines: Vec<String> = missing.iter().map(|tool| format!("  {} for {}", tool.program, tool.reason)).collect();
        bail!(
            "these programs are missing, and there is no apt-get to install them with; install them by hand:\n{}",
            lines.join("\n")
        );
    }
    if !is_root() && !process::exists("sudo") {
        bail!("installing needs root and there is no sudo; run as root: apt-get install {}", packages.join(" "));
    }
    eprintln!("installing with apt-get:");
    for tool in &missing {
        eprintln!("  {} for {}", tool.package, tool.reason);
    }
    let mut arguments = vec!["install", "-q", "-y", "--no-install-recommends"];
    arguments.extend(&packages);
    // A package list as old as the machine's image is the usual reason for a failing installation.
    apt_get(&["update", "-q"])?;
    apt_get(&arguments)
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new(if is_root() { "apt-get" } else { "sudo" });
    if !is_root() {
        // In continuous integration nobody is there to type a password.
        command.args(is_unattended().then_some("-n")).arg("apt-get");
    }
    // Another apt-get may be at work; not forever.
    command.args(["-o", "DPkg::Lock::Timeout=300"]).args(arguments);
    process::inherit(command.env("DEBIAN_FRONTEND", "noninteractive"))
}
