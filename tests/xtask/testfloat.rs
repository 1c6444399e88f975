//! Berkeley TestFloat's generator, built from the source package of QEMU, which carries it.
//!
//! Rule: only TestFloat and SoftFloat are unpacked, in the cache; nothing of them comes into the project.

use std::{
    env::consts,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    apt::{AptRoot, Repository, root::Archive},
    cache,
    paths::Places,
    process,
};

const PACKAGE: &str = "qemu";
/// The last release whose upstream archive holds both; its packages stay in the archive.
const SUITE: &str = "bookworm";
/// The folders in the upstream archive.
const INSIDE: &str = "*/tests/fp/berkeley-*";
/// How deep they lie there.
const DEPTH: &str = "--strip-components=3";
const UNPACK_LIMIT: Duration = Duration::from_secs(120);
const BUILD_LIMIT: Duration = Duration::from_secs(600);

/// Whether the generator can be had.
pub enum Generator {
    Ready(PathBuf),
    /// Not, for this reason.
    Not(String),
}

/// The generator, built at the first call.
pub fn prepare(places: &Places) -> Generator {
    static KNOWN: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let find = || find(places).map_err(|error| format!("TestFloat cannot be had here: {error:#}"));
    match KNOWN.get_or_init(find) {
        Ok(path) => Generator::Ready(path.clone()),
        Err(reason) => Generator::Not(reason.clone()),
    }
}

fn find(places: &Places) -> Result<PathBuf> {
    let by_hand = places.cache.join("by-hand").join("testfloat_gen");
    if by_hand.is_file() {
        return Ok(by_hand);
    }
    let finished = places.cache.join(format!("testfloat-{SUITE}-{}", consts::ARCH));
    let made = (|| {
        let _lock = cache::lock(&places.cache)?;
        cache::folder(&finished, |folder| make(places, folder))
    })();
    Ok(made.with_context(|| format!("{} is not there, and it cannot be built", by_hand.display()))?.join("testfloat_gen"))
}

fn make(places: &Places, folder: &Path) -> Result<()> {
    for tool in ["gcc", "make", "tar", "xz"] {
        if !process::exists(tool) {
            bail!("there is no {tool} on this machine");
        }
    }
    let sources = Repository { archive: Archive::Debian, suites: vec![SUITE.into()], architectures: Vec::new() };
    let root = AptRoot::open(places, &format!("{SUITE}-source"), "amd64", &[sources])?;
    let work = folder.join("work");
    root.download_upstream("QEMU's source, which holds TestFloat (24 MB)", PACKAGE, &work)?;
    let archive = archive(&work)?;
    let mut unpack = Command::new("tar");
    unpack.arg("-xJf").arg(&archive).arg("-C").arg(&work).args([DEPTH, "--no-same-owner", "--wildcards", INSIDE]);
    process::capture(&mut unpack, UNPACK_LIMIT)?;
    // For x86-64 and GCC: any processor with 64-bit integers and little-endian memory is like it.
    let (softfloat, testfloat) = (work.join("berkeley-softfloat-3"), work.join("berkeley-testfloat-3"));
    for (place, target) in [(&softfloat, "softfloat.a"), (&testfloat, "testfloat_gen")] {
        let mut build = Command::new("make");
        build.current_dir(place.join("build/Linux-x86_64-GCC")).args(["-s", "SPECIALIZE_TYPE=8086-SSE", target]);
        process::capture(&mut build, BUILD_LIMIT).with_context(|| format!("{target} cannot be built"))?;
    }
    fs::rename(testfloat.join("build/Linux-x86_64-GCC/testfloat_gen"), folder.join("testfloat_gen"))?;
    fs::rename(testfloat.join("COPYING.txt"), folder.join("copyright"))?;
    cache::remove(&work)
}

fn archive(folder: &Path) -> Result<PathBuf> {
    let mut files = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    let found = files.find(|path| path.to_string_lossy().ends_with(".orig.tar.xz"));
    found.context("the source package holds no upstream archive")
}
