//! Ways in which KVM is absent or broken, each made by a library that stands between the program and the kernel: `--accel kvm`
//! says what is wrong and ends with its status, or has what KVM cannot run run otherwise; `--accel auto` runs the guest and says
//! in one line why it is not, or no longer, KVM that does.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use std::{
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

use crate::guest::{dragoman, guests, kvm_kind};

/// A fault, and what `--accel kvm` says of it. Those of the first list can be made where there is no KVM.
#[rustfmt::skip] // a table
const WITHOUT_KVM: &[(&str, &str)] = &[
    ("missing",      "/dev/kvm is not there"),
    ("denied",       "permission denied"),
    ("busy",         "busy"),
    ("no-memory",    "no memory"),
    ("version",      "version 10"),
    ("capability",   "immediate exit"),
];

#[rustfmt::skip] // a table
const WITH_KVM: &[(&str, &str)] = &[
    ("machine",      "no memory for KVM"),
    ("machine-busy", "KVM is busy"),
    ("processor",    "makes no processor"),
    ("memory",       "refuses guest memory"),
    ("cpuid",        "CPUID"),
    ("msr",          "model-specific register"),
    ("state",        "system registers"),
];

/// Faults that are met once the guest runs, and after which KVM is not tried again.
const ENTRIES: &[&str] = &["first-run", "later-run"];

/// Faults that cost one way out of KVM each.
const FAILURES: &[&str] = &["internal-error", "internal-error-data", "later-internal-error", "no-entry", "unknown-exit"];

/// The library, where it can be made.
fn shim() -> Option<&'static PathBuf> {
    static SHIM: OnceLock<Option<PathBuf>> = OnceLock::new();
    let made = SHIM.get_or_init(|| {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/program/kvm_shim.c");
        let library = std::env::temp_dir().join(format!("dragoman-{}-kvm-shim.so", std::process::id()));
        let compiled = Command::new("gcc").args(["-O1", "-shared", "-fPIC", "-o"]).arg(&library).arg(source).status();
        compiled.is_ok_and(|status| status.success()).then_some(library)
    });
    if made.is_none() {
        println!("skipped: there is no gcc that makes a library");
    }
    made.as_ref()
}

/// Runs a guest of 64-bit mode under `accel` with the fault `name`.
fn run_with(name: &str, accel: &str) -> Option<Output> {
    let (shim, image) = (shim()?, guests("own/long.elf")?);
    let mut command = dragoman();
    command.env("LD_PRELOAD", shim).env("KVM_FAULT", name).stdin(Stdio::null());
    let output = command.args(["run", &image.to_string_lossy(), "--accel", accel, "--debug-exit", "--timeout", "100"]).output();
    Some(output.expect("the program can be started"))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Expects that `kvm` is refused in one sentence, before the guest printed anything.
fn is_refused(name: &str, says: &str) {
    let Some(output) = run_with(name, "kvm") else { return };
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(12), "{name}: {message}");
    assert!(output.stdout.is_empty(), "{name}");
    assert!(message.starts_with("dragoman: ") && message.trim_end().lines().count() == 1, "{name}: {message}");
    assert!(message.contains(says) && message.contains("; "), "{name} does not say {says:?}: {message}");
}

/// Expects that the guest runs to its end under `accel`, after `lines` lines of explanation of which one says `says`.
fn runs(name: &str, accel: &str, lines: usize, says: &str) {
    let Some(output) = run_with(name, accel) else { return };
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{name} under {accel}: {message}");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.contains("ok   LOCK CMPXCHG16B stores") && printed.ends_with("end\n"), "{name} under {accel}: {printed}");
    assert!(!printed.contains("FAILED"), "{name} under {accel}: {printed}");
    assert_eq!(message.lines().count(), lines, "{name} under {accel}: {message}");
    assert!(message.contains(says), "{name} under {accel} does not say {says:?}: {message}");
}

#[test]
fn a_kvm_that_is_absent_is_refused_when_asked_for_and_explained_when_not() {
    for (name, says) in WITHOUT_KVM {
        is_refused(name, says);
        runs(name, "auto", 1, says);
        runs(name, "auto,prefer=kvm", 1, says);
    }
}

#[test]
fn a_kvm_that_is_broken_is_refused_when_asked_for_and_explained_when_not() {
    if kvm_kind().is_none() {
        return;
    }
    for (name, says) in WITH_KVM {
        is_refused(name, says);
        runs(name, "auto", 1, "runs this guest");
        runs(name, "auto,prefer=kvm", 1, says);
    }
}

#[test]
fn a_guest_that_kvm_does_not_enter_ends_when_it_was_asked_for_and_runs_on_when_not() {
    if kvm_kind().is_none() {
        return;
    }
    for name in ENTRIES {
        let Some(output) = run_with(name, "kvm") else { return };
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(12), "{name}: {message}");
        assert!(message.contains("does not run the guest") && message.lines().count() == 1, "{name}: {message}");
        runs(name, "auto,prefer=kvm", 2, "jit runs this guest on");
        runs(name, "auto", 1, "runs this guest");
    }
}

#[test]
fn what_kvm_fails_at_is_run_otherwise() {
    if kvm_kind().is_none() {
        return;
    }
    for name in FAILURES {
        runs(name, "kvm", 0, "");
        runs(name, "auto,prefer=kvm", 1, "kvm runs this guest");
    }
}
