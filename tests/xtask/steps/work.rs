//! What each step does.
//!
//! Rule: a step says in its outcome what it did; what cannot be had on this machine is a reason to skip, not to fail.

use std::{env, process::Command, time::Duration};

use anyhow::{Context, Result, bail};

use super::{Outcome, run::Work};
use crate::{
    apt::{
        install::{self, Tool},
        root,
    },
    bench::boot,
    cross::{self, Availability, TARGETS, Target},
    guests::{self, manifest::Manifest},
    lint, process,
    testfloat::{self, Generator},
    toolchain,
};

const BUILD_LIMIT: Duration = Duration::from_secs(1200);
const TEST_LIMIT: Duration = Duration::from_secs(1500);
/// The cases of each encoding that the full tier compares with the host, and where it begins: elsewhere than the quick one.
const NATIVE_CASES: &str = "10000";
const NATIVE_SEED: &str = "2";
/// How long random bytes run beside the host.
const RANDOM_SECONDS: &str = "600";

/// Tests find the guests by this variable, or at its value's default, `target/guests`.
const GUESTS: &str = "DRAGOMAN_GUESTS";

/// Set where tests run on an emulated processor, for those that would take too long there.
const EMULATED: &str = "DRAGOMAN_EMULATED_HOST";

pub fn toolchain(work: &mut Work) -> Result<Outcome> {
    Ok(Outcome::Done(toolchain::describe(work.places)?))
}

/// What clippy and rustfmt come from, where Rust itself comes from Debian.
const FORMATTER: Tool = Tool { program: "cargo-fmt", package: "rustfmt", reason: "the step format" };
const CLIPPY: Tool = Tool { program: "cargo-clippy", package: "rust-clippy", reason: "the step clippy" };

pub fn setup(work: &mut Work) -> Result<Outcome> {
    let places = work.places;
    eprintln!("  into {} go, unless they are there from an earlier run:", places.cache.display());
    eprintln!("    Debian's kernel and static busybox, for the guests (30 MB to download)");
    eprintln!(
        "    Debian's Rust, linkers and qemu-user for aarch64 and s390x, to test on other hosts (270 MB to download, 1 GB unpacked)"
    );
    eprintln!("    the source package of QEMU, which holds Berkeley TestFloat (24 MB to download, 0.3 MB kept)");
    let mut notes = Vec::new();
    if !toolchain::has_rustfmt(places) || !toolchain::has_clippy(places) {
        if let Err(error) = complete_rust() {
            notes.push(format!("rustfmt or clippy is missing: {error:#}"));
        }
    }
    if let Availability::Not(reason) = cross::prepare(places)? {
        notes.push(reason);
    }
    if let Generator::Not(reason) = testfloat::prepare(places) {
        notes.push(reason);
    }
    Ok(Outcome::Done(notes.join("; ")))
}

/// Adds rustfmt and clippy the way this machine's Rust came.
fn complete_rust() -> Result<()> {
    let cargo = env::var("CARGO").unwrap_or_default();
    if cargo.starts_with("/usr/") && root::machine_archives().is_ok() {
        return install::ensure(&[FORMATTER, CLIPPY]);
    }
    if !process::exists("rustup") {
        bail!("this Rust came without them");
    }
    eprintln!("  rustup adds rustfmt and clippy, for the steps of these names");
    process::capture(Command::new("rustup").args(["component", "add", "rustfmt", "clippy"]), Duration::from_secs(300))?;
    Ok(())
}

pub fn guests(work: &mut Work) -> Result<Outcome> {
    Ok(Outcome::Done(guests::make_quick(work.places)?))
}

pub fn format(work: &mut Work) -> Result<Outcome> {
    if !toolchain::has_rustfmt(work.places) {
        return Ok(Outcome::Skipped("there is no rustfmt".into()));
    }
    work.run(toolchain::cargo(work.places).args(["fmt", "--all", "--check"]), BUILD_LIMIT)?;
    Ok(Outcome::Done(String::new()))
}

pub fn clippy(work: &mut Work) -> Result<Outcome> {
    if !toolchain::has_clippy(work.places) {
        return Ok(Outcome::Skipped("there is no clippy".into()));
    }
    let mut command = toolchain::cargo(work.places);
    work.run(command.args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]), BUILD_LIMIT)?;
    Ok(Outcome::Done(String::new()))
}

pub fn lint(work: &mut Work) -> Result<Outcome> {
    let (found, files) = lint::all(work.places)?;
    for (name, finding) in &found {
        work.say(&format!("{finding} [{name}]"))?;
    }
    if !found.is_empty() {
        bail!("{} findings", found.len());
    }
    Ok(Outcome::Done(format!("{files} files")))
}

pub fn documentation(work: &mut Work) -> Result<Outcome> {
    let mut command = toolchain::cargo(work.places);
    work.run(command.args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"), BUILD_LIMIT)?;
    Ok(Outcome::Done(String::new()))
}

pub fn units(work: &mut Work) -> Result<Outcome> {
    let mut command = toolchain::cargo(work.places);
    work.run(command.args(["test", "--workspace", "--exclude", "dragoman", "--no-fail-fast"]), TEST_LIMIT)?;
    Ok(Outcome::Done(work.tested()))
}

pub fn testfloat(work: &mut Work) -> Result<Outcome> {
    testfloat_level(work, &["run"], "1", TEST_LIMIT)
}

pub fn testfloat_2(work: &mut Work) -> Result<Outcome> {
    testfloat_level(work, &["run", "--release"], "2", 3 * TEST_LIMIT)
}

fn testfloat_level(work: &mut Work, how: &[&str], level: &str, limit: Duration) -> Result<Outcome> {
    let generator = match testfloat::prepare(work.places) {
        Generator::Ready(path) => path,
        Generator::Not(reason) => return Ok(Outcome::Skipped(reason)),
    };
    let mut command = toolchain::cargo(work.places);
    command.args(how).args(["--package", "testfloat", "--"]).arg(generator).args(["--level", level]);
    work.run(&mut command, limit)?;
    Ok(Outcome::Done(work.last_line()))
}

pub fn program(work: &mut Work) -> Result<Outcome> {
    let mut command = toolchain::cargo(work.places);
    command.args(["test", "--package", "dragoman", "--no-fail-fast"]).env(GUESTS, work.places.guests());
    work.run(&mut command, TEST_LIMIT)?;
    Ok(Outcome::Done(work.tested()))
}

pub fn cross_aarch64(work: &mut Work) -> Result<Outcome> {
    cross(work, &TARGETS[0])
}

pub fn cross_s390x(work: &mut Work) -> Result<Outcome> {
    cross(work, &TARGETS[1])
}

fn cross(work: &mut Work, target: &Target) -> Result<Outcome> {
    let kit = match cross::prepare(work.places)? {
        Availability::Ready(kit) => kit,
        Availability::Not(reason) => return Ok(Outcome::Skipped(reason)),
    };
    let mut command = kit.cargo(work.places, target, "test");
    command.args(["--workspace", "--exclude", "xtask", "--no-fail-fast"]);
    command.env(GUESTS, work.places.guests()).env(EMULATED, target.name);
    work.run(&mut command, TEST_LIMIT)?;
    Ok(Outcome::Done(format!("{}; {}", work.tested(), kit.describe())))
}

pub fn release(work: &mut Work) -> Result<Outcome> {
    let mut command = toolchain::cargo(work.places);
    command.args(["test", "--release", "--workspace", "--no-fail-fast"]).env(GUESTS, work.places.guests());
    work.run(&mut command, TEST_LIMIT)?;
    Ok(Outcome::Done(work.tested()))
}

pub fn native(work: &mut Work) -> Result<Outcome> {
    let mut command = toolchain::cargo(work.places);
    command.args(["test", "--release", "--package", "harness", "--test", "native", "--", "--nocapture"]);
    work.run(command.env("DRAGOMAN_NATIVE_CASES", NATIVE_CASES).env("DRAGOMAN_NATIVE_SEED", NATIVE_SEED), 3 * TEST_LIMIT)?;
    Ok(Outcome::Done(work.tested()))
}

pub fn random_bytes(work: &mut Work) -> Result<Outcome> {
    let mut command = toolchain::cargo(work.places);
    command.args(["test", "--release", "--package", "harness", "--test", "random_bytes", "--", "--nocapture"]);
    command.env("DRAGOMAN_NATIVE_RANDOM_SECONDS", RANDOM_SECONDS).env("DRAGOMAN_NATIVE_SEED", NATIVE_SEED);
    work.run(&mut command, TEST_LIMIT)?;
    Ok(Outcome::Done(work.tested()))
}

pub fn kvm_rows(work: &mut Work) -> Result<Outcome> {
    let mut command = toolchain::cargo(work.places);
    command.args(["test", "--release", "--package", "harness", "--test", "rows", "--", "the_engine_", "--nocapture"]);
    work.run(command.env("DRAGOMAN_KVM_ROWS", "1"), TEST_LIMIT)?;
    Ok(Outcome::Done(work.tested()))
}

pub fn same_bytes(work: &mut Work) -> Result<Outcome> {
    let differing = guests::compare_with_fresh(work.places)?;
    if !differing.is_empty() {
        bail!("made again, these are different: {}", differing.join(", "));
    }
    Ok(Outcome::Done(String::new()))
}

pub fn every_guest(work: &mut Work) -> Result<Outcome> {
    let places = work.places;
    work.run(toolchain::cargo(places).args(["build", "--release", "--package", "dragoman"]), BUILD_LIMIT)?;
    let manifest = Manifest::read(places)?;
    let mut times = Vec::new();
    for guest in manifest.guests.iter().filter(|guest| guest.boots) {
        let made = guests::make(places, guest, false)?;
        work.say(&format!("booting {}", guest.name))?;
        let boot = boot::dragoman(places, &made).with_context(|| format!("{} does not boot", guest.name))?;
        times.push(format!("{} {:.1} s", guest.name, boot.as_secs_f64()));
    }
    let mut command = toolchain::cargo(places);
    command.args(["test", "--release", "--package", "dragoman", "--test", "program", "--", "--ignored", "--test-threads", "1"]);
    work.run(command.env(GUESTS, places.guests()), TEST_LIMIT)?;
    times.push(work.tested());
    Ok(Outcome::Done(times.join(", ")))
}
