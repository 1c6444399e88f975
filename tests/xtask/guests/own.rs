//! Our own guests: a source in guest-images/src becomes an image, by the linker script that its name asks for.
//!
//! Rule: `NAME.S` becomes a 32-bit multiboot ELF program, `NAME.flat.S` a flat image that starts in real mode. All are
//! assembled as 64-bit objects, in which `.code16`, `.code32` and `.code64` may follow each other.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};

use super::manifest::Own;
use crate::{cache, paths::Places, process};

const LIMIT: Duration = Duration::from_secs(60);

/// What to say where `can_assemble` is false.
pub const MISSING: &str = "no assembler for x86-64 is on this machine; install gcc and binutils, \
    or on another architecture Debian's gcc-x86-64-linux-gnu and binutils-x86-64-linux-gnu";

/// How sources of one kind are linked.
struct Kind {
    /// How the name of such a source ends.
    suffix: &'static str,
    script: &'static str,
    /// The format of the image, as objcopy calls it.
    format: &'static str,
    extension: &'static str,
}

#[rustfmt::skip] // a table
const KINDS: [Kind; 2] = [
    Kind { suffix: ".flat.S", script: "flat.ld",      format: "binary",     extension: "bin" },
    Kind { suffix: ".S",      script: "multiboot.ld", format: "elf32-i386", extension: "elf" },
];

/// Whether this machine has what `make` needs.
pub fn can_assemble() -> bool {
    ["gcc", "ld", "objcopy"].iter().all(|name| process::exists(&tool(name)))
}

/// Makes one image in `images` and gives its path.
pub fn make(places: &Places, own: &Own, images: &Path) -> Result<PathBuf> {
    let source = places.root.join("guest-images").join(&own.source);
    let folder = source.parent().unwrap_or(Path::new("."));
    let kind = KINDS.iter().find(|kind| own.source.ends_with(kind.suffix));
    let kind = kind.with_context(|| format!("{} is no assembler source (.S)", places.short(&source)))?;
    let work = images.join(".work");
    fs::create_dir_all(&work).with_context(|| format!("{} cannot be made", work.display()))?;
    let object = work.join(format!("{}.o", own.name()));
    let linked = work.join(format!("{}.linked", own.name()));
    let copied = work.join(format!("{}.{}", own.name(), kind.extension));

    // In the folder of the sources, so that no path of this machine gets into the image.
    let mut assemble = Command::new(tool("gcc"));
    assemble.current_dir(folder).args(["-c", "-m64", "-I.", "-Wa,--fatal-warnings,--noexecstack", "-o"]).arg(&object);
    process::capture(assemble.arg(source.file_name().unwrap_or_default()), LIMIT)
        .with_context(|| format!("{} cannot be assembled", places.short(&source)))?;
    let mut link = Command::new(tool("ld"));
    link.args(["-m", "elf_x86_64", "-static", "-nostdlib", "--build-id=none", "-z", "max-page-size=4096", "-T"]);
    process::capture(link.arg(folder.join(kind.script)).arg("-o").arg(&linked).arg(&object), LIMIT)
        .with_context(|| format!("{} cannot be linked", places.short(&source)))?;
    let mut copy = Command::new(tool("objcopy"));
    process::capture(copy.args(["--strip-all", "-O", kind.format]).arg(&linked).arg(&copied), LIMIT)?;

    let image = images.join(format!("{}.{}", own.name(), kind.extension));
    let bytes = fs::read(&copied).with_context(|| format!("{} cannot be read", copied.display()))?;
    cache::write(&image, &bytes)?;
    Ok(image)
}

/// The x86-64 version of a tool: the machine's own on x86-64, the one for cross building elsewhere.
pub fn tool(name: &str) -> String {
    if cfg!(target_arch = "x86_64") { name.to_string() } else { format!("x86_64-linux-gnu-{name}") }
}
