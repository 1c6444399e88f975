//! A file that has grown long holds two things, or says why it does not.
//!
//! Rule: above 800 lines a comment `LENGTH:` gives the reason. Tests and tables are exempt.

use super::{Finding, is_test, rust, rust_source};
use crate::tree::File;

const LIMIT: usize = 800;

pub fn findings(files: &[File]) -> Vec<Finding> {
    let mut found = Vec::new();
    for (file, text) in rust(files) {
        let lines = text.lines().count();
        let stem = file.path.rsplit('/').next().unwrap_or_default();
        let is_table = stem == "table.rs" || stem == "tables.rs" || stem.ends_with("_table.rs");
        if lines > LIMIT && !is_table && !is_test(&file.path) && !rust_source::parts(text).comments.contains("LENGTH:") {
            found.push(Finding::new(file, 0, format!("{lines} lines; split it, or say why not in a comment `LENGTH:`")));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{super::file, *};

    #[test]
    fn a_long_file_is_found_unless_it_has_a_reason() {
        let long = "fn f() {}\n".repeat(LIMIT + 1);
        assert_eq!(findings(&[file("accel/a.rs", &long)]).len(), 1);
        assert_eq!(findings(&[file("accel/a.rs", &format!("// LENGTH: one state machine\n{long}"))]), []);
        assert_eq!(findings(&[file("accel/table.rs", &long), file("tests/a.rs", &long)]), []);
        assert_eq!(findings(&[file("accel/a.rs", &"fn f() {}\n".repeat(LIMIT))]), []);
    }
}
