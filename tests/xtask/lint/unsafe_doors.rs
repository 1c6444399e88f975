//! Unsafe code stands behind the three doors, and in tests, and each file with some says why it may.
//!
//! Rule: entering host code (jit/run), guest memory (accel/mmu) and KVM (accel/kvm) need it; nothing else does.

use super::{Finding, is_below, is_test, rust, rust_source};
use crate::tree::File;

const DOORS: [&str; 3] = ["jit/run", "accel/mmu", "accel/kvm"];

pub fn findings(files: &[File]) -> Vec<Finding> {
    let mut found = Vec::new();
    for (file, text) in rust(files) {
        let parts = rust_source::parts(text);
        let lines: Vec<usize> = rust_source::lines_with_word(&parts.code, "unsafe").collect();
        let Some(first) = lines.first() else { continue };
        if !is_test(&file.path) && !DOORS.iter().any(|door| is_below(&file.path, door)) {
            let doors = DOORS.join(", ");
            found.extend(
                lines.iter().map(|line| Finding::new(file, *line, format!("unsafe code is allowed in {doors} and tests only"))),
            );
        } else if !parts.comments.contains("UNSAFETY:") {
            found.push(Finding::new(
                file,
                *first,
                "a file with unsafe code needs a comment `UNSAFETY:` that says why it is sound",
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{super::file, *};

    #[test]
    fn unsafe_outside_the_doors_is_found() {
        let found = findings(&[file("devices/bus.rs", "//! Bus.\nfn f() { unsafe { g() } }\n")]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, 2);
    }

    #[test]
    fn a_door_without_its_reason_is_found_and_one_with_it_is_not() {
        let code = "fn f() { unsafe { g() } }\n";
        assert_eq!(findings(&[file("jit/run/mod.rs", code)]).len(), 1);
        assert_eq!(findings(&[file("tests/harness/native.rs", code)]).len(), 1);
        assert_eq!(findings(&[file("jit/run/mod.rs", &format!("//! UNSAFETY: g is fine.\n{code}"))]), []);
    }

    #[test]
    fn the_word_in_comments_strings_and_names_is_no_breach() {
        assert_eq!(findings(&[file("a.rs", "// unsafe\nconst A: &str = \"unsafe\";\n#![deny(unsafe_code)]\n")]), []);
    }
}
