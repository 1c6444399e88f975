//! A user space that chooses its code by CPUID, in a guest and on the host: both print the same.
//!
//! Rule of this file: the host runs the packages' own programs, with their own libraries and their own loader, and what it has
//! beyond x86-64-v3 is hidden from them.

use crate::{
    guest::guests,
    linux::{COMMAND, boot_on},
};

const GUEST: &str = "debian-v3-amd64";
/// By how much the output may be shortened before that is noticed.
const LINES: usize = 300;

#[test]
#[ignore = "full tier: its packages are not among those of the quick one"]
fn programs_for_x86_64_v3_print_what_they_print_on_the_host() {
    prints_the_same("interp");
}

#[test]
#[ignore = "full tier: its packages are not among those of the quick one"]
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn the_translator_prints_what_the_host_prints() {
    prints_the_same("jit");
}

fn prints_the_same(engine: &str) {
    let Some(root) = guests(GUEST).map(|folder| folder.join("root")) else { return };
    let Some(mut guest) = boot_on(engine, GUEST) else { return };
    // The kernel's words would stand between the lines.
    guest.ask("dmesg -n 1", COMMAND);
    guest.ask("sh /v3/run.sh > /tmp/out 2> /tmp/errors", COMMAND);
    assert_eq!(guest.ask("cat /tmp/errors", COMMAND), "");
    let ours = guest.ask("cat /tmp/out", COMMAND);
    for line in [
        "  x86-64-v3 (supported, searched)",
        "core of OpenBLAS Haswell",
        "features ['SSE41', 'SSE42', 'POPCNT', 'AVX', 'F16C', 'FMA3', 'AVX2']",
        "== end",
    ] {
        assert!(ours.lines().any(|found| found == line), "{line:?} is not in\n{ours}");
    }
    assert!(ours.lines().count() > LINES, "{ours}");
    let Some(theirs) = on_host(&root) else { return };
    let differences: Vec<_> = ours.lines().zip(theirs.lines()).filter(|(ours, theirs)| ours != theirs).collect();
    assert_eq!(differences, [], "the guest's lines and the host's");
    assert_eq!(ours.trim(), theirs.trim());
}

/// What the programs print on this host, where it can run them.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn on_host(root: &std::path::Path) -> Option<String> {
    let has_level_3 = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("f16c");
    if !has_level_3 {
        println!("skipped: this host has no x86-64-v3");
        return None;
    }
    let output = std::process::Command::new("sh")
        .arg(root.join("v3/run.sh"))
        .arg(root)
        .env("NPY_DISABLE_CPU_FEATURES", "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL")
        .output()
        .expect("there is a shell");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaints}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
fn on_host(_: &std::path::Path) -> Option<String> {
    println!("skipped: this host runs no programs for x86-64 Linux");
    None
}
