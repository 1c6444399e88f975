//! The cache that clones share: finished folders, put in place whole, and hashes.
//!
//! Rule: what lies under its final name is complete. Work happens under a passing name beside it, and one lock at a time.

use std::{
    fs::{self, OpenOptions},
    io::Read,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest as _, Sha256};

/// Holds the cache for one process until it is dropped.
pub struct Lock(#[expect(dead_code, reason = "held open: closing it is what releases the lock")] OwnedFd);

/// Waits until no other process works in `cache`.
pub fn lock(cache: &Path) -> Result<Lock> {
    fs::create_dir_all(cache).with_context(|| format!("{} cannot be made; is the disk full or read-only?", cache.display()))?;
    let path = cache.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("{} cannot be written; whose file is it?", path.display()))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        eprintln!("another cargo xtask is working in {}; waiting for it", cache.display());
        flock(&file, FlockOperation::LockExclusive).with_context(|| format!("{} cannot be locked", path.display()))?;
    }
    Ok(Lock(file.into()))
}

/// Gives `finished`, made by `make` in a passing folder beside it unless it is there already.
pub fn folder(finished: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    if !finished.is_dir() {
        let passing = beside(finished);
        remove(&passing)?;
        fs::create_dir_all(&passing).with_context(|| format!("{} cannot be made", passing.display()))?;
        make(&passing)?;
        fs::rename(&passing, finished).with_context(|| format!("{} cannot be put in place", finished.display()))?;
    }
    Ok(finished.to_path_buf())
}

/// Writes a file whole or not at all, and leaves it alone when it already holds just that.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("{} cannot be made", parent.display()))?;
    }
    let passing = beside(path);
    fs::write(&passing, bytes).with_context(|| format!("{} cannot be written", passing.display()))?;
    fs::rename(&passing, path).with_context(|| format!("{} cannot be put in place", path.display()))
}

/// Removes a file or folder; that it is not there is no error.
pub fn remove(path: &Path) -> Result<()> {
    let outcome = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => return Ok(()),
    };
    outcome.with_context(|| format!("{} cannot be removed", path.display()))
}

/// The SHA-256 of a file, in hex.
pub fn hash_file(path: &Path) -> Result<String> {
    let mut file = fs::File::open(path).with_context(|| format!("{} cannot be opened", path.display()))?;
    let mut digest = Digest::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = file.read(&mut buffer).with_context(|| format!("{} cannot be read", path.display()))?;
        if count == 0 {
            return Ok(digest.finish());
        }
        digest.add(&buffer[..count]);
    }
}

/// The SHA-256 of some bytes, in hex.
pub fn hash(bytes: &[u8]) -> String {
    let mut digest = Digest::new();
    digest.add(bytes);
    digest.finish()
}

/// A SHA-256 in the making.
pub struct Digest(Sha256);

impl Digest {
    pub fn new() -> Self {
        Self(Sha256::new())
    }

    pub fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn finish(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".partial");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of this test's own, removed at the end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("dragoman-xtask-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).expect("the temporary folder can be written");
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_hash_is_that_of_the_standard() {
        assert_eq!(hash(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn a_folder_whose_making_failed_is_made_again() {
        let scratch = Scratch::new("folder");
        let place = scratch.0.join("kernel");
        assert!(folder(&place, |_| anyhow::bail!("no network")).is_err());
        assert!(!place.exists());
        folder(&place, |passing| Ok(fs::write(passing.join("a"), "b")?)).expect("made at the second try");
        folder(&place, |_| anyhow::bail!("never called")).expect("it is there");
        assert_eq!(fs::read_to_string(place.join("a")).expect("it holds a"), "b");
    }

    #[test]
    fn writing_the_same_bytes_leaves_the_file_alone() {
        let scratch = Scratch::new("write");
        let place = scratch.0.join("deep/file");
        write(&place, b"one").expect("written");
        let before = fs::metadata(&place).and_then(|metadata| metadata.modified()).expect("it has a time");
        write(&place, b"one").expect("left alone");
        assert_eq!(before, fs::metadata(&place).and_then(|metadata| metadata.modified()).expect("it has a time"));
        assert_eq!(hash_file(&place).expect("it can be read"), hash(b"one"));
    }
}
