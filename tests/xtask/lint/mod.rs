//! The project's own lints: rules that the compiler and clippy do not know.
//!
//! Rule: a lint is a pure function of the project's files, has a file of its own, and a test that shows that it can fail.

mod banned_names;
mod dependency_edges;
mod external_homes;
mod file_header;
mod file_length;
mod forbidden_text;
mod orphans;
mod rust_source;
mod todo_number;
mod unsafe_doors;

use std::{fmt, process::ExitCode};

use anyhow::Result;

use crate::{
    paths::Places,
    tree::{self, File},
};

/// One breach of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub path: String,
    /// Counted from 1; 0 where the whole file is meant.
    pub line: usize,
    pub text: String,
}

impl Finding {
    fn new(file: &File, line: usize, text: impl Into<String>) -> Self {
        Self { path: file.path.clone(), line, text: text.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, to: &mut fmt::Formatter) -> fmt::Result {
        match self.line {
            0 => write!(to, "{}: {}", self.path, self.text),
            line => write!(to, "{}:{line}: {}", self.path, self.text),
        }
    }
}

/// A lint's name and function.
type Lint = (&'static str, fn(&[File]) -> Vec<Finding>);

#[rustfmt::skip] // a table
const LINTS: &[Lint] = &[
    ("unsafe doors",     unsafe_doors::findings),
    ("external homes",   external_homes::findings),
    ("dependency edges", dependency_edges::findings),
    ("banned names",     banned_names::findings),
    ("file header",      file_header::findings),
    ("todo number",      todo_number::findings),
    ("orphans",          orphans::findings),
    ("file length",      file_length::findings),
    ("forbidden text",   forbidden_text::findings),
];

/// All findings, each with its lint's name, and how many files were read.
pub fn all(places: &Places) -> Result<(Vec<(&'static str, Finding)>, usize)> {
    let files = tree::read(&places.root)?;
    let mut found = Vec::new();
    for (name, lint) in LINTS {
        found.extend(lint(&files).into_iter().map(|finding| (*name, finding)));
    }
    Ok((found, files.len()))
}

/// `cargo xtask lint`.
pub fn run(places: &Places) -> Result<ExitCode> {
    let (found, files) = all(places)?;
    for (name, finding) in &found {
        println!("{finding} [{name}]");
    }
    eprintln!("{} lints, {files} files, {} findings", LINTS.len(), found.len());
    Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The Rust sources among `files`, with their text.
fn rust(files: &[File]) -> impl Iterator<Item = (&File, &str)> {
    files.iter().filter(|file| file.path.ends_with(".rs")).filter_map(|file| Some((file, file.text()?)))
}

/// Whether `path` is `folder` or lies in it; a folder without its end also means a file of that name (`jit/run.rs`).
fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || rest == ".rs")
}

/// Tests are allowed what they test with.
fn is_test(path: &str) -> bool {
    let mut parts = path.split('/');
    parts.any(|part| part == "tests" || part == "tests.rs" || part == "testing.rs" || part == "benches")
}

#[cfg(test)]
fn file(path: &str, text: &str) -> File {
    File { path: path.to_string(), bytes: text.as_bytes().to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_does_not_claim_its_neighbours() {
        assert!(is_below("jit/run/mod.rs", "jit/run"));
        assert!(is_below("jit/run.rs", "jit/run"));
        assert!(!is_below("jit/runner/mod.rs", "jit/run"));
    }
}
