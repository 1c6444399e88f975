//! Linkers, C libraries and user-mode emulators for the targets, unpacked from Debian's packages.
//!
//! Rule: the folder works wherever the cache is: wrappers say where libraries are, and the C library's linker scripts name
//! no folder.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};

use super::{LazyRoot, Packages, TARGETS, Target};
use crate::{apt::root, cache, paths::Places, process};

/// The programs of a C toolchain that a build calls, and what they are called in the package; `-VERSION` stands for gcc's.
const PROGRAMS: [(&str, &str); 2] = [("gcc", "gcc-VERSION"), ("ar", "ar")];

#[derive(Clone)]
pub struct Tools {
    folder: PathBuf,
}

impl Tools {
    pub(super) fn get(places: &Places, packages: &Packages, root: &mut LazyRoot) -> Result<Self> {
        let folder = places.cache.join("cross").join(format!("tools-{}-gcc{}", packages.release, packages.gcc));
        cache::folder(&folder, |passing| {
            let archives = passing.join("archives");
            let wanted = package_names(packages);
            root.get()?.download("linkers, C libraries and qemu-user for aarch64 and s390x (105 MB)", &wanted, &archives)?;
            for entry in fs::read_dir(&archives)? {
                root::unpack(&entry?.path(), passing)?;
            }
            cache::remove(&archives)?;
            keep_only_needed_emulators(&passing.join("usr/bin"))?;
            for target in &TARGETS {
                make_scripts_relative(&passing.join("usr").join(target.gnu).join("lib"))?;
                for (name, packaged) in PROGRAMS {
                    let program = format!("{}-{}", target.gnu, packaged.replace("VERSION", packages.gcc));
                    wrap(passing, &format!("{}-{name}", target.gnu), &program)?;
                }
            }
            Ok(())
        })?;
        let tools = Self { folder };
        for target in &TARGETS {
            process::capture(Command::new(tools.emulator(target)).arg("--version"), Duration::from_secs(30))?;
            process::capture(Command::new(tools.wrapper(target, "gcc")).arg("--version"), Duration::from_secs(30))?;
        }
        Ok(tools)
    }

    pub fn wrapper(&self, target: &Target, program: &str) -> String {
        self.text(&format!("bin/{}-{program}", target.gnu))
    }

    pub fn emulator(&self, target: &Target) -> String {
        self.text(&format!("usr/bin/{}", target.emulator))
    }

    /// Where the emulated program finds its C library.
    pub fn sysroot(&self, target: &Target) -> String {
        self.text(&format!("usr/{}", target.gnu))
    }

    fn text(&self, below: &str) -> String {
        self.folder.join(below).to_string_lossy().into_owned()
    }
}

fn package_names(packages: &Packages) -> Vec<String> {
    let gcc = packages.gcc;
    // The emulator of Debian 12 itself is too old for code that is made while it runs.
    let mut names = vec![format!("qemu-user:amd64/{}", packages.libraries)];
    for target in &TARGETS {
        let (gnu, debian) = (target.gnu, target.debian);
        for name in [
            format!("binutils-{gnu}"),
            format!("gcc-{gcc}-{gnu}"),
            format!("libgcc-{gcc}-dev-{debian}-cross"),
            format!("libgcc-s1-{debian}-cross"),
            format!("libc6-{debian}-cross"),
            format!("libc6-dev-{debian}-cross"),
        ] {
            names.push(format!("{name}/{}", packages.release));
        }
    }
    names
}

/// The package brings dozens, at 8 MB each.
fn keep_only_needed_emulators(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("qemu-") && !TARGETS.iter().any(|target| target.emulator == name) {
            cache::remove(&entry.path())?;
        }
    }
    Ok(())
}

/// `libc.so` and its like are scripts for the linker that name files by their installed place.
fn make_scripts_relative(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let path = entry?.path();
        let is_library = path.extension().is_some_and(|extension| extension == "so" || extension == "a");
        if !is_library || !path.is_file() {
            continue;
        }
        let bytes = fs::read(&path)?;
        let Some(text) = std::str::from_utf8(&bytes).ok().filter(|text| text.contains("GNU ld script")) else { continue };
        fs::write(&path, without_folders(text))?;
    }
    Ok(())
}

fn without_folders(script: &str) -> String {
    let bare = |word: &str| match word.rsplit_once('/') {
        Some((folder, name)) if folder.starts_with("/usr/") => name.to_string(),
        _ => word.to_string(),
    };
    script
        .split_inclusive(|next: char| next.is_whitespace())
        .map(|word| {
            let trimmed = word.trim_end();
            format!("{}{}", bare(trimmed), &word[trimmed.len()..])
        })
        .collect()
}

/// A small script in `bin` that starts a packaged program with the packaged libraries.
fn wrap(folder: &Path, name: &str, program: &str) -> Result<()> {
    write_wrapper(&folder.join("bin").join(name), &format!("\"$here/usr/bin/{program}\""))
}

/// Writes an executable script that becomes `program` with all arguments, where `$here` is the folder that holds `bin`.
pub fn write_wrapper(path: &Path, program: &str) -> Result<()> {
    let script = format!(
        "#!/bin/sh\nhere=$(dirname \"$(dirname \"$(readlink -f \"$0\")\")\")\n\
         LD_LIBRARY_PATH=\"$here/usr/lib/x86_64-linux-gnu${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}\" exec {program} \"$@\"\n"
    );
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, script)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("{} cannot be made executable", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linker_script_loses_its_folders_only() {
        let script = "/* GNU ld script\n*/\nOUTPUT_FORMAT(elf64-littleaarch64)\n\
                      GROUP ( /usr/aarch64-linux-gnu/lib/libc.so.6 /usr/aarch64-linux-gnu/lib/libc_nonshared.a AS_NEEDED ( /usr/s390x-linux-gnu/lib/ld64.so.1 ) )\n";
        assert_eq!(
            without_folders(script),
            "/* GNU ld script\n*/\nOUTPUT_FORMAT(elf64-littleaarch64)\nGROUP ( libc.so.6 libc_nonshared.a AS_NEEDED ( ld64.so.1 ) )\n"
        );
    }

    #[test]
    fn every_target_gets_a_linker_a_library_and_the_emulator() {
        let packages = Packages::of("bookworm");
        let names = package_names(packages);
        assert!(names.contains(&"gcc-12-s390x-linux-gnu/bookworm".to_string()));
        assert!(names.contains(&"qemu-user:amd64/trixie".to_string()));
        assert_eq!(names.len(), 1 + 6 * TARGETS.len());
    }
}
