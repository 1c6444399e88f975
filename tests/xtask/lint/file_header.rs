//! Every Rust source opens with its purpose.
//!
//! Rule: the first line starts with `//!` and says something.

use super::{Finding, rust};
use crate::tree::File;

pub fn findings(files: &[File]) -> Vec<Finding> {
    let has_header =
        |text: &str| text.lines().next().and_then(|line| line.strip_prefix("//!")).is_some_and(|rest| !rest.trim().is_empty());
    rust(files)
        .filter(|(_, text)| !has_header(text))
        .map(|(file, _)| Finding::new(file, 1, "a file opens with `//!`: its purpose, then the rule that holds in it"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{super::file, *};

    #[test]
    fn a_file_without_a_purpose_is_found() {
        assert_eq!(findings(&[file("a.rs", "use std::fs;\n")]).len(), 1);
        assert_eq!(findings(&[file("a.rs", "//!\nuse std::fs;\n")]).len(), 1);
        assert_eq!(findings(&[file("a.rs", "")]).len(), 1);
        assert_eq!(findings(&[file("a.rs", "//! Files.\n"), file("a.toml", "")]), []);
    }
}
