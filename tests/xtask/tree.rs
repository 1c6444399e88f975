//! The files of the project as they are now: tracked ones and new ones, but nothing that is ignored.
//!
//! Rule: paths are relative to the workspace's top folder and use `/`, so that lints read the same everywhere.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result};

use crate::{cache::Digest, process};

/// One file of the project.
#[derive(Clone, Debug)]
pub struct File {
    /// Where it is, from the workspace's top folder.
    pub path: String,
    /// What it holds.
    pub bytes: Vec<u8>,
}

impl File {
    /// The file as text; nothing where it is none.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok()
    }
}

/// Reads all files of the project, sorted by path.
pub fn read(root: &Path) -> Result<Vec<File>> {
    let mut paths = match listed_by_git(root) {
        Some(paths) => paths,
        None => {
            let mut paths = Vec::new();
            walk(root, "", &mut paths)?;
            paths
        }
    };
    paths.sort();
    paths.dedup();
    let mut files = Vec::new();
    for path in paths {
        let place = root.join(&path);
        // Git also lists files that were deleted and not yet recorded as such, and links to folders.
        if place.is_file() {
            let bytes = fs::read(&place).with_context(|| format!("{path} cannot be read"))?;
            files.push(File { path, bytes });
        }
    }
    Ok(files)
}

/// One value for the whole state of the project: it changes when any file does.
pub fn digest(files: &[File]) -> String {
    let mut digest = Digest::new();
    for file in files {
        digest.add(file.path.as_bytes());
        digest.add(&[0]);
        digest.add(&(file.bytes.len() as u64).to_le_bytes());
        digest.add(&file.bytes);
    }
    digest.finish()
}

fn listed_by_git(root: &Path) -> Option<Vec<String>> {
    if !root.join(".git").exists() {
        return None;
    }
    let mut command = Command::new("git");
    command.arg("-C").arg(root).args(["-c", "core.quotePath=false", "ls-files", "--cached", "--others", "--exclude-standard"]);
    let text = process::capture(&mut command, Duration::from_secs(60)).ok()?;
    Some(text.lines().map(str::to_string).collect())
}

fn walk(root: &Path, below: &str, paths: &mut Vec<String>) -> Result<()> {
    let folder = root.join(below);
    for entry in fs::read_dir(&folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        let kind = entry.file_type()?;
        if kind.is_dir() && name != "target" && name != ".git" {
            walk(root, &path, paths)?;
        } else if kind.is_file() {
            paths.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_string(), bytes: text.as_bytes().to_vec() }
    }

    #[test]
    fn the_digest_sees_content_name_and_boundary() {
        let one = digest(&[file("a", "bc")]);
        assert_eq!(one, digest(&[file("a", "bc")]));
        assert_ne!(one, digest(&[file("a", "bd")]));
        assert_ne!(one, digest(&[file("ab", "c")]));
        assert_ne!(digest(&[file("a", "x"), file("b", "")]), digest(&[file("a", ""), file("b", "x")]));
    }
}
