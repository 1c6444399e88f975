//! Where things lie: the workspace, what is built in it, and the cache that clones share.
//!
//! Rule: no other file composes a path from the environment.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// The folders this run works in.
#[derive(Clone, Debug)]
pub struct Places {
    /// The workspace's top folder.
    pub root: PathBuf,
    /// Cargo's target folder.
    pub target: PathBuf,
    /// What is kept between clones. It need not exist yet.
    pub cache: PathBuf,
}

impl Places {
    /// Finds them from the environment that `cargo xtask` runs in.
    pub fn find() -> Result<Self> {
        let here = match env::var_os("CARGO_MANIFEST_DIR") {
            Some(folder) => PathBuf::from(folder),
            None => env::current_dir().context("the current folder cannot be read")?,
        };
        let root = here
            .ancestors()
            .find(|folder| folder.join("guest-images").is_dir() && folder.join("Cargo.toml").is_file())
            .context("this is no clone of Dragoman; run `cargo xtask` inside one")?
            .to_path_buf();
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |folder| root.join(folder));
        let cache = env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .filter(|folder| folder.is_absolute())
            .or_else(|| env::var_os("HOME").filter(|home| !home.is_empty()).map(|home| Path::new(&home).join(".cache")))
            .context("neither XDG_CACHE_HOME nor HOME is set; set one, so that there is a place for downloads")?
            .join("dragoman");
        Ok(Self { root, target, cache })
    }

    /// Where finished guests lie. Always in the workspace's own `target`, because tests look for them there.
    pub fn guests(&self) -> PathBuf {
        self.root.join("target").join("guests")
    }

    /// What xtask itself keeps in this clone: logs and the record of finished steps.
    pub fn records(&self) -> PathBuf {
        self.root.join("target").join("xtask")
    }

    /// The release program.
    pub fn program(&self) -> PathBuf {
        self.target.join("release").join("dragoman")
    }

    /// `path` as a person would write it from the workspace's top folder.
    pub fn short<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }
}
