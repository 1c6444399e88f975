//! Bochs as Debian packages it: with its debugger compiled in, without a loader for kernels, without a way to run unseen.
//!
//! Rule: what that takes is here: a CD with ISOLINUX, a debugger script that says "continue", a display that waits for
//! nobody, a serial port that goes to a file.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result};

use super::{
    runners::{MEMORY, Setting, first_line},
    watch::{Serial, Start},
};
use crate::{
    apt::install::{self, Tool},
    cache, process,
};

const BIOS: &str = "/usr/share/bochs/BIOS-bochs-latest";
const VGA_BIOS: &str = "/usr/share/vgabios/vgabios.bin";
const LOADER: &str = "/usr/lib/ISOLINUX/isolinux.bin";
const LOADER_MODULE: &str = "/usr/lib/syslinux/modules/bios/ldlinux.c32";

#[rustfmt::skip] // a table
const TOOLS: &[Tool] = &[
    // Bochs depends on one of its displays; this one is the smallest.
    Tool { program: "/usr/lib/x86_64-linux-gnu/bochs/plugins", package: "bochs-term", reason: "a display for Bochs" },
    Tool { program: "bochs",       package: "bochs",           reason: "the comparison with Bochs" },
    Tool { program: BIOS,          package: "bochsbios",       reason: "Bochs's BIOS" },
    Tool { program: VGA_BIOS,      package: "vgabios",         reason: "Bochs's VGA BIOS" },
    Tool { program: LOADER,        package: "isolinux",        reason: "starting a kernel under Bochs" },
    Tool { program: LOADER_MODULE, package: "syslinux-common", reason: "starting a kernel under Bochs" },
    Tool { program: "xorriso",     package: "xorriso",         reason: "the CD that Bochs boots" },
];

pub fn ready(_: &Setting) -> Result<()> {
    install::ensure(TOOLS)
}

pub fn version(_: &Setting) -> Result<String> {
    // It prints its version among decorations, on whichever stream, and ends with an unusual status.
    first_line(Command::new("sh").args(["-c", "bochs --help 2>&1 | grep -o 'Bochs x86 Emulator [0-9.]*'"]))
}

/// Makes the CD and the configuration.
fn prepare(setting: &Setting) -> Result<()> {
    let content = setting.folder.join("cd");
    cache::remove(&content)?;
    fs::create_dir_all(&content).with_context(|| format!("{} cannot be made", content.display()))?;
    let guest = &setting.guest;
    let menu = format!(
        "PROMPT 0\nTIMEOUT 1\nDEFAULT linux\nLABEL linux\n  KERNEL /vmlinuz\n  INITRD /initrd.cpio\n  APPEND {}\n",
        guest.append
    );
    fs::write(content.join("isolinux.cfg"), menu)?;
    for (from, name) in [
        (guest.kernel.clone(), "vmlinuz"),
        (guest.initrd.clone(), "initrd.cpio"),
        (LOADER.into(), "isolinux.bin"),
        (LOADER_MODULE.into(), "ldlinux.c32"),
    ] {
        fs::copy(&from, content.join(name)).with_context(|| format!("{} cannot be copied", from.display()))?;
    }
    let mut burn = Command::new("xorriso");
    burn.args(["-as", "mkisofs", "-quiet", "-o"]).arg(file(setting, "cd.iso"));
    burn.args(["-b", "isolinux.bin", "-c", "boot.cat", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"]);
    process::capture(burn.arg(&content), Duration::from_secs(120)).context("the CD for Bochs cannot be made")?;
    cache::remove(&content)?;
    fs::write(file(setting, "debugger"), "c\n")?;
    fs::write(file(setting, "bochsrc"), configuration(setting)).context("the configuration of Bochs cannot be written")
}

pub fn start(setting: &Setting) -> Result<Start> {
    prepare(setting)?;
    let mut command = Command::new("bochs");
    command.current_dir(&setting.folder).args(["-q", "-f", "bochsrc", "-rc", "debugger"]);
    Ok(Start { command, serial: Serial::File(file(setting, "com1")) })
}

fn file(setting: &Setting, name: &str) -> PathBuf {
    setting.folder.join(name)
}

/// Names of files are relative, because Bochs cuts long paths.
fn configuration(_: &Setting) -> String {
    format!(
        "display_library: rfb, options=\"timeout=0\"\n\
         romimage: file={BIOS}\n\
         vgaromimage: file={VGA_BIOS}\n\
         memory: guest={MEMORY}, host={MEMORY}\n\
         cpu: model=corei7_skylake_x, ips=50000000\n\
         clock: sync=none, time0=utc\n\
         pci: enabled=1, chipset=i440fx\n\
         ata0-master: type=cdrom, path=cd.iso, status=inserted\n\
         boot: cdrom\n\
         com1: enabled=1, mode=file, dev=com1\n\
         sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy\n\
         log: bochs.log\n\
         panic: action=report\n\
         error: action=ignore\n\
         info: action=ignore\n"
    )
}
