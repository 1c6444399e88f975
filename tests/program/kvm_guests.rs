//! Our own guests under `--accel kvm`, where there is a KVM. What that gets wrong is listed with the reason; on hardware, none of it
//! is expected.

use crate::{
    command_line::folder,
    guest::{guests, kvm_kind, run},
};

/// The images, and what a KVM of software gets wrong of each: it runs 64-bit mode, and the interpreter the rest.
#[rustfmt::skip] // a table
const GUESTS: &[(&str, Option<&str>)] = &[
    ("compatibility_mode.elf",         Some("user code runs in the host's segments")),
    ("coprocessor.bin",                None),
    ("event_timer.elf",                None),
    ("faults.bin",                     None),
    ("hello.elf",                      None),
    ("io_apic.elf",                    None),
    ("local_apic.elf",                 Some("interrupts are let in hundreds of instructions late")),
    ("local_apic_timer.elf",           None),
    ("long.elf",                       None),
    ("long_calls.elf",                 Some("64-bit operands of far transfers are not known")),
    ("long_exceptions.elf",            Some("breakpoints of eight bytes are met in their first byte alone")),
    ("long_gates.elf",                 Some("there are no call gates")),
    ("not_canonical.elf",              Some("canonical addresses are checked by their first byte, and bases not at all")),
    ("paging_32.elf",                  None),
    ("paging_contexts.elf",            Some("CR4.PCIDE is the host's own")),
    ("paging_keys.elf",                None),
    ("paging_long.elf",                Some("translations are the host's own, and there are no pages of 1 GiB")),
    ("paging_pae.elf",                 None),
    ("power_timer.elf",                None),
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
    ("real_interrupts.bin",            None),
    ("real_limits.bin",                None),
    ("selfmod_dma.elf",                None),
    ("selfmod_modes.elf",              Some("user code runs with the host's flags, and breakpoints are the host's own")),
    ("selfmod_vectors.elf",            Some("a fetch across two pages does not see the second one changed")),
    ("virtual_8086.elf",               None),
    ("virtual_8086_extensions.elf",    None),
    ("x2apic.elf",                     None),
];

/// What hardware does otherwise than the guests expect: KVM keeps CR0.NE set, and no x87 error is an interrupt.
const ELSEWHERE: &[&str] = &["coprocessor.bin"];

#[test]
fn guests_see_under_kvm_what_they_expect() {
    let Some(kind) = kvm_kind() else { return };
    let (mut held, mut wrong) = (0, Vec::new());
    for (name, known) in GUESTS {
        let Some(path) = guests(&format!("own/{name}")) else { return };
        let path = path.to_string_lossy();
        let mut arguments = vec!["run", &path, "--accel", "kvm", "--debug-exit", "--timeout", "120"];
        if name.ends_with(".bin") {
            arguments.extend(["--flat", "0x7c00"]);
        }
        let output = run(&arguments);
        let (printed, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let count = printed.lines().filter(|line| line.starts_with("ok   ")).count();
        let failed: Vec<&str> = printed.lines().filter(|line| line.starts_with("FAILED ")).collect();
        held += count;
        let is_known = known.is_some() && kind == "software" || ELSEWHERE.contains(name) && kind != "software";
        let reason =
            known.filter(|_| is_known && !failed.is_empty()).map_or(String::new(), |reason| format!(", because {reason}"));
        println!("{name}: {count} checks pass, {} fail{reason}", failed.len());
        let is_over = output.status.code().is_some_and(|status| status % 2 == 1) && said.is_empty();
        if !is_over || !is_known && output.status.code() != Some(1) {
            wrong.push(format!("{name}: status {:?}, {said}\n  {}", output.status.code(), failed.join("\n  ")));
        }
    }
    println!("{held} checks pass under KVM");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_counters_tell_what_ran_and_what_was_interpreted() {
    if kvm_kind().is_none() {
        return;
    }
    let Some(image) = guests("own/long.elf") else { return };
    let json = std::env::temp_dir().join(format!("dragoman-{}-kvm-stats", std::process::id()));
    let arguments = ["run", &image.to_string_lossy(), "--accel", "kvm", "--debug-exit", "--timeout", "60", "--stats-json"];
    let output = run(&[&arguments[..], &[&json.to_string_lossy()]].concat());
    assert_eq!(output.status.code(), Some(1));
    let text = std::fs::read_to_string(&json).expect("it was written");
    let _ = std::fs::remove_file(&json);
    let counters: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((counters["engine"].as_str(), counters["instructions"].is_null()), (Some("kvm"), true), "{text}");
    for name in ["entries", "ports", "moves"] {
        assert!(counters["counters"][name].as_u64().is_some_and(|count| count > 0), "{name}: {text}");
    }
    assert_eq!(counters["counters"]["given up"], 0, "{text}");
}

/// All guests of the list, and more, under `--accel hybrid` with user mode in KVM whenever it can be: what each prints is what it
/// prints on the translator, as the same processor, which one with a control socket is. Most are all kernel, and say that the
/// translator under hybrid is the one that it is alone.
#[test]
fn guests_see_under_hybrid_what_they_see_on_the_translator() {
    if kvm_kind().is_none() {
        return;
    }
    let folder = folder("hybrid");
    let control = format!("unix:{}", folder.join("socket").display());
    for name in GUESTS.iter().map(|(name, _)| *name).chain(["selfmod_stores.elf"]) {
        let Some(path) = guests(&format!("own/{name}")) else { return };
        let path = path.to_string_lossy();
        let on = |engine| {
            let arguments = ["run", &path, "--accel", engine, "--control", &control, "--debug-exit", "--timeout", "120"];
            let output = run(&[&arguments[..], if name.ends_with(".bin") { &["--flat", "0x7c00"] } else { &[] }].concat());
            (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code())
        };
        let (got, expected) = (on("hybrid,user=always"), on("jit"));
        assert_eq!(got, expected, "{name}");
        let is_whole = expected.1 == Some(1);
        println!("{name}: {}", if is_whole { "all checks pass" } else { "it asks for what no processor of this KVM has" });
        assert!(is_whole || kvm_kind() == Some("software"), "{}", got.0);
    }
    std::fs::remove_dir_all(folder).expect("ours");
}
