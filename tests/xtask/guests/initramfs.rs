//! The root file system of the Linux guests: busybox, its applets as links, our first program, and what packages bring.
//!
//! Rule: a pure function of busybox, the first program and the files beside them; only whether a file may be executed counts
//! of its attributes.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Context, Result, bail};

use crate::cpio::Archive;

/// What follows the separator before the first applet's name: the list is sorted, and these two sort first.
const FIRST_APPLETS: &[u8] = b"\0[\0[[\0";

/// What is there before packages bring anything.
const FOLDERS: [&str; 8] = ["bin", "dev", "etc", "proc", "root", "run", "sys", "tmp"];

/// The archive, as the kernel unpacks it, with all that the folder `tree` holds.
pub fn build(busybox: &[u8], init: &[u8], tree: Option<&Path>) -> Result<Vec<u8>> {
    let applets = applets(busybox)?;
    let mut archive = Archive::new();
    for folder in FOLDERS {
        archive.folder(folder, if folder == "tmp" { 0o1777 } else { 0o755 });
    }
    // The kernel opens these before the first program runs, and so before /dev is mounted.
    archive.device("dev/console", 0o600, 5, 1);
    archive.device("dev/null", 0o666, 1, 3);
    archive.file("bin/busybox", 0o755, busybox);
    for applet in &applets {
        archive.link(&format!("bin/{applet}"), "busybox");
    }
    archive.link("sbin", "bin");
    archive.file("etc/passwd", 0o644, b"root::0:0:root:/root:/bin/sh\n");
    archive.file("etc/group", 0o644, b"root:x:0:\n");
    archive.file(
        "etc/profile",
        0o644,
        b"export PATH=/bin HOME=/root PS1='guest# '
",
    );
    archive.file("etc/hostname", 0o644, b"guest\n");
    archive.file("etc/hosts", 0o644, b"127.0.0.1 localhost guest\n");
    archive.file("init", 0o755, init);
    if let Some(tree) = tree {
        add(&mut archive, tree, "").with_context(|| format!("{} cannot be read", tree.display()))?;
    }
    Ok(archive.finish())
}

/// Adds what `folder` holds, below `path`.
fn add(archive: &mut Archive, folder: &Path, path: &str) -> Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = format!("{path}{}", entry.file_name().to_str().context("a name is no text")?);
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            archive.link(&name, fs::read_link(entry.path())?.to_str().context("a link is no text")?);
        } else if kind.is_dir() {
            if !FOLDERS.contains(&name.as_str()) {
                archive.folder(&name, 0o755);
            }
            add(archive, &entry.path(), &format!("{name}/"))?;
        } else {
            let is_program = entry.metadata()?.permissions().mode() & 0o111 != 0;
            archive.file(&name, if is_program { 0o755 } else { 0o644 }, &fs::read(entry.path())?);
        }
    }
    Ok(())
}

/// The names busybox answers to, read from the program itself, because it may not run on this host.
fn applets(busybox: &[u8]) -> Result<Vec<String>> {
    if !busybox.starts_with(b"\x7fELF") {
        bail!("busybox is no ELF program");
    }
    let start = busybox.windows(FIRST_APPLETS.len()).position(|window| window == FIRST_APPLETS);
    let start = start.context("busybox holds no list of its applets")? + 1;
    let mut names: Vec<String> = Vec::new();
    for word in busybox[start..].split(|byte| *byte == 0) {
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"[_-.+".contains(byte);
        let Some(name) = std::str::from_utf8(word).ok().filter(|_| !word.is_empty() && word.iter().all(is_name)) else { break };
        if names.last().is_some_and(|last| last.as_str() >= name) {
            break;
        }
        names.push(name.to_string());
    }
    if !names.iter().any(|name| name == "sh") {
        bail!("busybox has no shell");
    }
    names.retain(|name| name != "busybox");
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: &[u8] = b"\x7fELF....\0usage\0[\0[[\0ash\0busybox\0cat\0sh\0uname\0\0\0other\0";

    #[test]
    fn applets_are_read_up_to_the_end_of_the_list() {
        assert_eq!(applets(PROGRAM).expect("it has a list"), ["[", "[[", "ash", "cat", "sh", "uname"]);
    }

    #[test]
    fn what_is_not_busybox_is_refused() {
        assert!(applets(b"#!/bin/sh").is_err());
        assert!(applets(b"\x7fELF nothing here").is_err());
        assert!(applets(b"\x7fELF\0[\0[[\0cat\0\0").is_err());
    }

    #[test]
    fn the_same_parts_give_the_same_bytes() {
        let build = || build(PROGRAM, b"#!/bin/sh\n", None).expect("made");
        assert_eq!(build(), build());
    }
}
