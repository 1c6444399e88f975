//! QEMU: the newest that Debian has, unpacked with all its libraries into the cache; where that cannot be had, the installed one.
//!
//! Rule: nothing of the machine's is used by the unpacked one but the kernel, so that every machine measures the same program.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::{
    runners::{MEMORY, Setting, first_line},
    watch::{Serial, Start},
};
use crate::{
    apt::{
        AptRoot, Repository,
        install::{self, Tool},
        root::{Archive, unpack},
    },
    cache,
    paths::Places,
};

const INSTALLED: &str = "qemu-system-x86_64";
const PACKAGE: &str = "qemu-system-x86";

const TOOLS: &[Tool] = &[Tool { program: INSTALLED, package: PACKAGE, reason: "the comparison with QEMU" }];

/// Where the newest is looked for first.
const SUITES: [&str; 2] = ["trixie-backports", "trixie"];

/// What nobody reads there.
const UNUSED: [&str; 3] = ["usr/share/doc", "usr/share/man", "usr/share/locale"];

/// Starts the unpacked program with the unpacked libraries, loader and firmware, by absolute paths.
const SCRIPT: &str = r#"#!/bin/sh
here=$(dirname "$(dirname "$(readlink -f "$0")")")
libraries=$here/usr/lib/x86_64-linux-gnu
QEMU_MODULE_DIR=$libraries/qemu exec "$libraries/ld-linux-x86-64.so.2" --library-path "$libraries" \
    "$here/usr/bin/qemu-system-x86_64" -L "$here/usr/share/qemu" -L "$here/usr/share/seabios" "$@"
"#;

/// Unpacks it, or installs the machine's own.
pub fn ready(setting: &Setting) -> Result<()> {
    let places = &setting.places;
    if !unpacked(places).is_file() {
        let outcome = match cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            true => fetch(places),
            false => Err(anyhow::anyhow!("its programs are for x86-64 Linux")),
        };
        if let Err(error) = outcome {
            eprintln!("Debian's newest QEMU cannot be had, so the installed one is measured: {error:#}");
            install::ensure(TOOLS)?;
        }
    }
    Ok(())
}

pub fn version(setting: &Setting) -> Result<String> {
    first_line(program(&setting.places).arg("--version"))
}

pub fn start(setting: &Setting) -> Result<Start> {
    let guest = &setting.guest;
    let mut command = program(&setting.places);
    command.args(["-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", &MEMORY.to_string()]);
    command.arg("-kernel").arg(&guest.kernel).arg("-initrd").arg(&guest.initrd).args(["-append", &guest.append]);
    command.args(["-display", "none", "-serial", "stdio", "-monitor", "none", "-nic", "none", "-no-reboot"]);
    Ok(Start { command, serial: Serial::Output })
}

fn program(places: &Places) -> Command {
    let unpacked = unpacked(places);
    if unpacked.is_file() { Command::new(unpacked) } else { Command::new(INSTALLED) }
}

fn folder(places: &Places) -> PathBuf {
    places.cache.join("qemu")
}

fn unpacked(places: &Places) -> PathBuf {
    folder(places).join("bin").join(INSTALLED)
}

fn fetch(places: &Places) -> Result<()> {
    let _lock = cache::lock(&places.cache)?;
    let mut reasons = Vec::new();
    for suite in SUITES {
        let made = cache::folder(&folder(places), |passing| {
            fetch_from(places, suite, passing)?;
            // A program that does not start must not stay.
            first_line(Command::new(passing.join("bin").join(INSTALLED)).arg("--version")).map(drop)
        });
        match made {
            Ok(_) => return Ok(()),
            Err(error) => reasons.push(format!("{suite}: {error:#}")),
        }
    }
    bail!("{}", reasons.join("; "))
}

fn fetch_from(places: &Places, suite: &str, folder: &Path) -> Result<()> {
    let (plain, _) = suite.split_once('-').unwrap_or((suite, ""));
    let mut suites = vec![plain.to_string()];
    suites.extend((suite != plain).then(|| suite.to_string()));
    let repository = Repository { archive: Archive::Debian, suites, architectures: vec!["amd64".into()] };
    let root = AptRoot::open(places, &format!("qemu-{suite}"), "amd64", &[repository])?;
    let archives = folder.join("archives");
    root.download_with_dependencies("QEMU and its libraries (40 MB); nothing is installed", PACKAGE, suite, &archives)?;
    for entry in fs::read_dir(&archives).with_context(|| format!("{} cannot be read", archives.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            unpack(&path, folder)?;
        }
    }
    cache::remove(&archives)?;
    for path in UNUSED {
        cache::remove(&folder.join(path))?;
    }
    let script = folder.join("bin").join(INSTALLED);
    cache::write(&script, SCRIPT.as_bytes())?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("{} cannot be made executable", script.display()))
}
