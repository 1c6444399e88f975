//! Which steps of a full run are finished, so that the next run goes on there.
//!
//! Rule: the record is worth something only as long as every file of the project is what it was; it carries their digest.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::Result;

use crate::{cache, paths::Places, tree};

pub struct Record {
    path: PathBuf,
    digest: String,
    finished: Vec<(String, Duration)>,
}

impl Record {
    /// Reads the record of this state of the project; an empty one where there is none, or with `restart`.
    pub fn open(places: &Places, restart: bool) -> Result<Self> {
        let digest = tree::digest(&tree::read(&places.root)?);
        let path = places.records().join("full");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let finished = if restart { Vec::new() } else { parse(&text, &digest) };
        if !finished.is_empty() {
            eprintln!("going on after {} finished steps; --restart begins anew", finished.len());
        } else if !restart && !text.is_empty() {
            eprintln!("files have changed since the last full run; beginning anew");
        }
        Ok(Self { path, digest, finished })
    }

    /// How long `step` took when it was finished.
    pub fn finished(&self, step: &str) -> Option<Duration> {
        self.finished.iter().find(|(name, _)| name == step).map(|(_, took)| *took)
    }

    pub fn finish(&mut self, step: &str, took: Duration) -> Result<()> {
        self.finished.push((step.to_string(), took));
        let mut text = format!("{}\n", self.digest);
        for (name, took) in &self.finished {
            text.push_str(&format!("{name} {}\n", took.as_millis()));
        }
        cache::write(&self.path, text.as_bytes())
    }
}

fn parse(text: &str, digest: &str) -> Vec<(String, Duration)> {
    let mut lines = text.lines();
    if lines.next() != Some(digest) {
        return Vec::new();
    }
    let step = |line: &str| {
        let (name, milliseconds) = line.split_once(' ')?;
        Some((name.to_string(), Duration::from_millis(milliseconds.parse().ok()?)))
    };
    lines.filter_map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_other_files_is_worth_nothing() {
        assert_eq!(parse("abc\nlint 1500\nunits x\n", "abc"), [("lint".to_string(), Duration::from_millis(1500))]);
        assert_eq!(parse("abc\nlint 1500\n", "def"), []);
        assert_eq!(parse("", "def"), []);
    }
}
