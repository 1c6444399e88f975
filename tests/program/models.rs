//! Processors by name, as the program starts them.

use std::fs;

use crate::guest::run;

/// In real mode: whether CPUID's highest leaf is `leaf`, and EDX of leaf 1 is `features`; told to the debug-exit port.
fn asks_cpuid(leaf: u32, features: u32) -> Vec<u8> {
    let mut code = vec![0x66, 0x31, 0xc0, 0x0f, 0xa2]; // XOR EAX, EAX; CPUID
    code.extend([0x66, 0x3d]); // CMP EAX, leaf
    code.extend(leaf.to_le_bytes());
    code.extend([0x75, 0x0f]); // JNE the end
    code.extend([0x66, 0xb8, 1, 0, 0, 0, 0x0f, 0xa2]); // MOV EAX, 1; CPUID
    code.extend([0x66, 0x81, 0xfa]); // CMP EDX, features
    code.extend(features.to_le_bytes());
    code.extend([0x0f, 0x94, 0xc0, 0xe6, 0xf4, 0xeb, 0xfe]); // SETE AL; OUT F4h, AL; JMP $
    code
}

#[test]
fn a_486_runs_flat_code_and_announces_nothing_but_its_unit() {
    let path = std::env::temp_dir().join(format!("dragoman-{}-486", std::process::id()));
    fs::write(&path, asks_cpuid(1, 1)).expect("a file can be written");
    let text = path.to_string_lossy().into_owned();
    let output = run(&["run", &text, "--flat", "0x7c00", "--cpu", "486", "--debug-exit", "--timeout", "30"]);
    let _ = fs::remove_file(&path);
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_list_of_processors_has_a_line_for_each() {
    let output = run(&["run", "--cpu", "help"]);
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    for name in ["486", "pentium3", "x86-64-v1", "x86-64-v2", "x86-64-v3", "skylake", "epyc-rome", "max"] {
        let line = text.lines().find(|line| line.split_whitespace().next() == Some(name));
        assert!(line.is_some_and(|line| line.split_whitespace().count() > 2), "{name} has no line in:\n{text}");
    }
}
