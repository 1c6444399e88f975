//! Guests of our own, whole, in the host's KVM: those that check the processor, whose expectations it confirms.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::path::Path;

use harness::kvm::{KvmStand, guest};

/// The images, and what KVM gets wrong of each where it is no hardware but Linux's emulator of instructions.
#[rustfmt::skip] // a table
const GUESTS: &[(&str, Option<&str>)] = &[
    ("compatibility_mode.elf",         Some("user code runs in the host's segments")),
    ("coprocessor.bin",                None),
    ("faults.bin",                     None),
    ("hello.elf",                      None),
    ("long.elf",                       None),
    ("long_calls.elf",                 Some("64-bit operands of far transfers are not known")),
    ("long_exceptions.elf",            Some("breakpoints of eight bytes are met in their first byte alone")),
    ("long_gates.elf",                 Some("there are no call gates")),
    ("not_canonical.elf",              Some("canonical addresses are checked by their first byte, and bases not at all")),
    ("paging_32.elf",                  Some("there is no paging with two levels")),
    ("paging_57.elf",                  None),
    ("paging_contexts.elf",            Some("CR4.PCIDE is the host's own")),
    ("paging_keys.elf",                None),
    ("paging_long.elf",                Some("translations are the host's own, and there are no pages of 1 GiB")),
    ("paging_pae.elf",                 Some("there is no paging with page-directory pointers")),
    ("protected_16.bin",               None),
    ("protected_call_gates.elf",       None),
    ("protected_exceptions.elf",       None),
    ("protected_gates.elf",            None),
    ("protected_segments.elf",         None),
    ("protected_system.elf",           None),
    ("protected_tasks.elf",            None),
    ("protected_tasks_refused.elf",    None),
    ("real_exceptions.bin",            None),
    ("real_flow.bin",                  None),
    ("real_interrupts.bin",            Some("the timer's interrupt comes while it is masked")),
    ("real_limits.bin",                None),
    ("virtual_8086.elf",               None),
    ("virtual_8086_extensions.elf",    None),
];

#[test]
fn guests_see_in_kvm_what_they_expect() {
    if let Err(error) = KvmStand::new() {
        println!("SKIPPED: {error}");
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/guests/own");
    if !folder.is_dir() {
        println!("SKIPPED: the guests are not there; `cargo xtask guest` makes them");
        return;
    }
    let (mut passed, mut wrong) = (0, Vec::new());
    for (name, known) in GUESTS {
        let image = std::fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let outcome = guest::run(&image).unwrap_or_else(|error| panic!("{name}: {error}"));
        let lines = |start: &str| outcome.printed.lines().filter(|line| line.starts_with(start)).map(str::to_owned).collect();
        let (held, failed): (Vec<String>, Vec<String>) = (lines("ok   "), lines("FAILED "));
        passed += held.len();
        let end = outcome.end.err().map_or(String::new(), |why| format!("; then KVM gave up: {why}"));
        let reason = known.filter(|_| !failed.is_empty()).map_or(String::new(), |reason| format!(", because {reason}"));
        println!("{name}: {} checks pass, {} fail{reason}{end}", held.len(), failed.len());
        if known.is_none() {
            wrong.extend(failed.iter().map(|line| format!("{name}: {line}")));
        }
    }
    println!("{passed} checks pass in KVM");
    assert!(passed > 0, "no check passes");
    assert!(wrong.is_empty(), "these fail, and the list does not say so:\n{}", wrong.join("\n"));
}
