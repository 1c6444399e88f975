//! What the machine must bring: Rust, a C compiler driver to link with, an assembler for our own guests.
//!
//! Rule: what is missing is said all at once, each with where it comes from.

use std::{env, ffi::OsStr, fs, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, bail};

use crate::{guests, paths::Places, process};

const LIMIT: Duration = Duration::from_secs(60);

/// The cargo that runs this program, in the workspace's top folder.
pub fn cargo(places: &Places) -> Command {
    program(places, &env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// A program that is a cargo or starts one, in the workspace's top folder.
pub fn program(places: &Places, path: &OsStr) -> Command {
    let mut command = Command::new(path);
    command.current_dir(&places.root);
    // Set by `cargo run` for xtask itself; a cargo below it must not take them for its own.
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            command.env_remove(&name);
        }
    }
    command
}

/// Fails with one list of what cannot be done without.
pub fn require() -> Result<()> {
    let mut missing = Vec::new();
    if !process::exists("cc") && !process::exists("gcc") {
        missing.push("a C compiler, which Rust links with (Debian: gcc and libc6-dev)");
    }
    if missing.is_empty() {
        return Ok(());
    }
    bail!("missing on this machine:\n  {}", missing.join("\n  "))
}

/// Describes the toolchain in a line, or says what is wrong with it.
pub fn describe(places: &Places) -> Result<String> {
    require()?;
    let version = process::capture(cargo(places).arg("--version"), LIMIT)?;
    let needed = needed_version(&places.root)?;
    let found = version.split_whitespace().nth(1).unwrap_or_default().to_string();
    if numbers(&found) < numbers(&needed) {
        bail!("Dragoman needs Rust {needed} or later; this is {found}. `rustup update` brings a newer one");
    }
    let mut lacks = Vec::new();
    if !has_rustfmt(places) {
        lacks.push("rustfmt");
    }
    if !has_clippy(places) {
        lacks.push("clippy");
    }
    if !guests::can_assemble() {
        lacks.push("an x86-64 assembler");
    }
    let lacking = if lacks.is_empty() { String::new() } else { format!(", without {}", lacks.join(", ")) };
    Ok(format!("cargo {found}{lacking}"))
}

pub fn has_rustfmt(places: &Places) -> bool {
    process::capture(cargo(places).args(["fmt", "--version"]), LIMIT).is_ok()
}

pub fn has_clippy(places: &Places) -> bool {
    process::capture(cargo(places).args(["clippy", "--version"]), LIMIT).is_ok()
}

fn needed_version(root: &Path) -> Result<String> {
    let text = fs::read_to_string(root.join("Cargo.toml")).context("Cargo.toml cannot be read")?;
    let line = text.lines().find_map(|line| line.strip_prefix("rust-version = "));
    Ok(line.context("Cargo.toml names no rust-version")?.trim_matches('"').to_string())
}

fn numbers(version: &str) -> Vec<u32> {
    version.split(['.', '-']).map_while(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(numbers("1.100.0") > numbers("1.85"));
        assert!(numbers("1.63.0") < numbers("1.85"));
        assert_eq!(numbers("1.96.0-nightly"), [1, 96, 0]);
    }
}
