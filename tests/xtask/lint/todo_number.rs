//! Work that is left is left in an issue, so a note in the source names it.
//!
//! Rule: the three usual words for such notes are followed by the issue's number, as in (#12).

use super::{Finding, rust_source};
use crate::tree::File;

const WORDS: [&str; 3] = ["TODO", "FIXME", "XXX"];

/// Kinds of files that people write notes in.
const SUFFIXES: [&str; 9] = [".rs", ".S", ".ld", ".toml", ".sh", ".py", ".c", ".h", ".md"];

pub fn findings(files: &[File]) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| SUFFIXES.iter().any(|suffix| file.path.ends_with(suffix))) {
        let Some(text) = file.text() else { continue };
        let notes = if file.path.ends_with(".rs") { rust_source::parts(text).comments } else { text.to_string() };
        for (index, line) in notes.lines().enumerate() {
            if WORDS.iter().any(|word| rust_source::has_word(line, word)) && !has_issue(line) {
                found.push(Finding::new(file, index + 1, "a note on work left needs the number of its issue, as in `(#12)`"));
            }
        }
    }
    found
}

fn has_issue(line: &str) -> bool {
    line.match_indices('#').any(|(at, _)| line[at + 1..].starts_with(|next: char| next.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::{super::file, *};

    #[test]
    fn a_note_without_a_number_is_found() {
        assert_eq!(findings(&[file("a.rs", "//! A.\n// TODO: later\n")])[0].line, 2);
        assert_eq!(findings(&[file("a.S", "# FIXME\n")]).len(), 1);
        assert_eq!(findings(&[file("a.rs", "// TODO(#12): later\nlet a = \"TODO\";\n")]), []);
    }
}
