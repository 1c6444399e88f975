//! The command line: what can be written, what it means, and help that teaches. A contract that scripts rely on.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use dragoman_frontend::model::{CpuModel, Feature, Features};

use crate::{
    control,
    failure::Failure,
    machine::{Config, Engine, SerialSpec, Start},
    units::{parse_offset, parse_port, parse_seconds, parse_size},
};

/// Runs x86 PC guests on any host.
#[derive(Parser)]
#[command(name = "dragoman", version, about, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "Examples:
  dragoman run vmlinuz --initrd initramfs.cpio.gz --append console=ttyS0
  dragoman run kernel.elf --debug-exit --timeout 60
  dragoman run --help")]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Run a guest; its serial port is this terminal.
    #[command(after_help = RUN_HELP)]
    Run(Box<RunArguments>),
    /// Ask a guest that runs how it is, pause it, end it, or have another engine run it.
    #[command(after_help = CTL_HELP)]
    Ctl(CtlArguments),
    /// Judge the instructions by every oracle, on every engine, and print a matrix of what agrees.
    #[command(after_help = CONFORM_HELP)]
    Conform(ConformArguments),
    /// Say what this host has to run guests by, how fast it is, and what is in the way.
    #[command(after_help = DOCTOR_HELP)]
    Doctor(DoctorArguments),
    /// Print the completions of a shell, to be read by it.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

const RUN_HELP: &str = "The guest's first serial port is standard input and output; everything else goes to standard error.
On a terminal, Ctrl-A x quits, Ctrl-A h lists the other keys.

Exit status: 0 powered off; 2v+1 the guest wrote v to the debug-exit port; 2 bad usage; 4 a file or resource cannot be
used; 6 triple fault; 8 halted with interrupts off; 10 reset under --no-reboot; 12 accelerator not usable; 14 internal
error; 16 --timeout passed.

Examples:
  dragoman run vmlinuz --initrd initramfs.cpio.gz --append 'console=ttyS0 quiet'
  dragoman run vmlinux --memory 2G --serial unix:/tmp/console --debugcon file:debug.log
  dragoman run test.elf --debug-exit --timeout 10";

const CONFORM_HELP: &str =
    "The rows of tests/insn are in this program; ROWS are judged beside them. The format of rows is described in
tests/insn/README.md: `mode | bytes | text | in => out ; source`, one a line.
The matrix and the first difference of each mnemonic go to standard output. The host's processor judges generated cases, and
is judged by rows as the engine `host`, on x86-64 Linux.

Exit status: 0 no difference that is not on a written list; 1 at least one; 2 bad usage; 4 a file cannot be used.

Examples:
  dragoman conform
  dragoman conform --filter x87,'padd*' --oracle native --cases 10000
  dragoman conform my.rows --engine interp,host --oracle rows --json";

const CTL_HELP: &str = "SOCKET is what `dragoman run --control unix:SOCKET` was given. Who may connect is who runs the guest.
While a guest is paused its time stands still; what it reads from the clock on the wall (RTC) goes on. `switch` stops the guest
between two instructions and gives all of its processors' state to another engine: one that cannot be had is refused, and the
guest goes on as before. Programs send a line of JSON to the socket themselves, such as {\"command\":\"status\"}.

Exit status: 0 done; 2 bad usage; 4 the machine cannot be reached; else as the machine says: 12 accelerator not usable, 14
internal error.

Examples:
  dragoman run vmlinuz --initrd initramfs.cpio.gz --append console=ttyS0 --control unix:/tmp/guest
  dragoman ctl /tmp/guest status
  dragoman ctl /tmp/guest switch interp
  dragoman ctl /tmp/guest pause --json";

/// The options of `ctl`.
#[derive(Args)]
pub struct CtlArguments {
    /// The path of the machine's control socket.
    #[arg(value_name = "SOCKET", value_hint = clap::ValueHint::FilePath)]
    pub socket: PathBuf,

    /// What to ask.
    #[command(subcommand)]
    pub command: control::Command,

    /// Print the answer as the machine gives it: JSON.
    #[arg(long, global = true)]
    pub json: bool,
}

const DOCTOR_HELP: &str = "What was found goes to standard output. It takes less than two seconds.

Exit status: 0 whenever there is an answer, whatever it is; 2 bad usage.

Examples:
  dragoman doctor
  dragoman doctor --json";

/// The options of `doctor`.
#[derive(Args)]
pub struct DoctorArguments {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// The options of `conform`.
#[derive(Args)]
pub struct ConformArguments {
    /// Files of rows of your own, or folders of them, to be judged beside those of this build.
    #[arg(value_name = "ROWS")]
    pub rows: Vec<PathBuf>,

    /// The engines, between commas; all unless given.
    #[arg(long, value_name = "ENGINE", value_delimiter = ',')]
    pub engine: Vec<String>,

    /// The oracles, between commas; all unless given.
    #[arg(long, value_name = "ORACLE", value_delimiter = ',')]
    pub oracle: Vec<String>,

    /// Only instructions of these classes or with these mnemonics, between commas; `*` stands for anything.
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,

    /// A file of vectors in the MOO format, or a folder of them; those in tests/vectors, where that is, unless given.
    #[arg(long, value_name = "PATH")]
    pub vectors: Option<PathBuf>,

    /// What generated cases follow from: the same number makes the same ones.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,

    /// How many generated cases of each encoding are compared with the host's processor.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub cases: u64,

    /// Print JSON.
    #[arg(long)]
    pub json: bool,

    /// List the classes, engines and oracles, and which of them can be had on this host.
    #[arg(long)]
    pub list: bool,
}

/// The options of `run`.
#[derive(Args)]
pub struct RunArguments {
    /// A bzImage, a 64-bit ELF kernel, an ELF with a PVH note, or a multiboot image; recognised by its content unless --flat
    /// is given.
    #[arg(value_name = "IMAGE")]
    image: Option<PathBuf>,

    /// Load IMAGE at this address as it is, and start there in real mode: CS:IP is 0:ADDR, DL is 0x80.
    #[arg(long, value_name = "ADDR", value_parser = parse_offset, conflicts_with_all = ["initrd", "append"])]
    flat: Option<u16>,

    /// A ROM to map below 1 MiB and below 4 GiB, instead of IMAGE; the processor starts at the reset vector.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["image", "flat", "initrd", "append"])]
    bios: Option<PathBuf>,

    /// A file for the kernel's initial RAM disk.
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,

    /// The kernel's command line.
    #[arg(long, value_name = "TEXT", default_value = "", allow_hyphen_values = true)]
    append: String,

    /// Guest memory: a number with K, M or G, in MiB without.
    #[arg(long, value_name = "SIZE", default_value = "512M", value_parser = parse_size)]
    memory: u64,

    /// How many virtual processors; only 1 is built.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    smp: u32,

    /// The processor: MODEL,+flag,-flag; `help` lists models and flags.
    #[arg(long, value_name = "MODEL")]
    cpu: Option<String>,

    /// What runs the guest: auto, kvm, jit or interp; `help` says what this build and host have. `jit,tb-size=SIZE` gives translated code SIZE, from 1M to 1G, 64M unless given; `auto,prefer=kvm` takes KVM wherever it works.
    #[arg(long, value_name = "ENGINE", default_value = "auto")]
    accel: String,

    /// Where COM1 goes: stdio, file:PATH, unix:PATH, pty or none.
    #[arg(long, value_name = "WHERE", default_value = "stdio", value_parser = SerialSpec::parse)]
    serial: SerialSpec,

    /// Where bytes written to port 0xE9 go: as for --serial; off unless given.
    #[arg(long, value_name = "WHERE", value_parser = SerialSpec::parse)]
    debugcon: Option<SerialSpec>,

    /// Let `dragoman ctl` control the machine: unix:PATH; off unless given.
    #[arg(long, value_name = "WHERE", value_parser = parse_control)]
    control: Option<PathBuf>,

    /// Begin paused: `dragoman ctl SOCKET resume` lets the guest begin.
    #[arg(long, requires = "control")]
    paused: bool,

    /// Let the guest end the run by a write to this port; off unless given.
    #[arg(long, value_name = "PORT", num_args = 0..=1, require_equals = true, default_missing_value = "0xF4", value_parser = parse_port)]
    debug_exit: Option<u16>,

    /// Put the test device on the board that unit tests of other projects drive; off unless given.
    #[arg(long, conflicts_with = "debugcon")]
    testdev: bool,

    /// End with status 10 where the guest asks for a reset.
    #[arg(long)]
    no_reboot: bool,

    /// What a triple fault does.
    #[arg(long, value_name = "WHAT", default_value = "stop")]
    on_triple_fault: OnTripleFault,

    /// End with status 16 after so many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    timeout: Option<Duration>,

    /// Print counters on standard error at the end.
    #[arg(long)]
    stats: bool,

    /// Write counters as JSON to a file at the end.
    #[arg(long, value_name = "FILE")]
    stats_json: Option<PathBuf>,
}

/// What a triple fault does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnTripleFault {
    /// Ends the run with status 6.
    Stop,
    /// Resets the machine, as a PC does.
    Reset,
}

impl RunArguments {
    /// The machine asked for, where it can be.
    pub fn into_config(self) -> Result<Config, Failure> {
        let (engine, why) = Engine::parse(&self.accel, self.stats || self.stats_json.is_some())?;
        let (cpu, cut) = match (&self.cpu, &self.control) {
            (None, None) => (engine.default_model()?, None),
            (None, Some(_)) => engine.default_model_for_all()?,
            (Some(text), control) => {
                let cpu = engine.adapt(CpuModel::parse(text).map_err(Failure::usage)?)?;
                // What another engine may take over has to be possible there.
                (if control.is_some() { Engine::adapt_for_all(cpu) } else { cpu }, None)
            }
        };
        if self.smp > 1 {
            return Err(Failure::usage(format!(
                "{} virtual processors cannot be had yet: only one is built; leave --smp away",
                self.smp
            )));
        }
        let start = match (self.bios, self.image, self.flat) {
            (Some(rom), _, _) => Start::Bios(rom),
            (None, Some(image), Some(at)) => Start::Flat(image, at),
            (None, Some(image), None) => Start::Kernel(image),
            (None, None, _) => return Err(Failure::usage("an image to run is missing")),
        };
        let uses_stdio = [Some(&self.serial), self.debugcon.as_ref()].into_iter().flatten();
        if uses_stdio.filter(|spec| **spec == SerialSpec::Stdio).count() > 1 {
            return Err(Failure::usage("--serial and --debugcon cannot both be stdio: give one of them file:PATH"));
        }
        Ok(Config {
            start,
            initrd: self.initrd,
            append: self.append,
            memory: self.memory,
            cpu,
            cut,
            engine,
            why,
            serial: self.serial,
            debugcon: self.debugcon,
            control: self.control,
            paused: self.paused,
            debug_exit: self.debug_exit,
            testdev: self.testdev,
            no_reboot: self.no_reboot,
            resets_on_triple_fault: self.on_triple_fault == OnTripleFault::Reset,
            timeout: self.timeout,
            stats: self.stats,
            stats_json: self.stats_json,
        })
    }
}

/// What `--control` takes.
fn parse_control(text: &str) -> Result<PathBuf, String> {
    match text.strip_prefix("unix:") {
        Some(path) if !path.is_empty() => Ok(path.into()),
        _ => Err(format!("`{text}` is no place for a control socket: write unix:PATH")),
    }
}

/// What `--cpu help` and `--accel help` answer, where they were asked.
pub fn answer_help(arguments: &RunArguments) -> Option<String> {
    if arguments.cpu.as_deref() == Some("help") {
        return Some(cpu_help());
    }
    (arguments.accel == "help").then(Engine::help)
}

fn cpu_help() -> String {
    let mut text = String::from("Models:\n");
    for model in CpuModel::all() {
        text += &format!("  {:<12} {}\n", model.name(), model.about());
    }
    let newest = CpuModel::newest();
    text += &format!(
        "Default: {}, or what the host has of it where code is translated\n\nFlags, to be put in with + and taken out with -:\n",
        newest.name()
    );
    let mut line = String::from(" ");
    for name in Feature::ALL.iter().filter(|feature| Features::IMPLEMENTED.has(**feature)).map(|feature| feature.name()) {
        if line.len() + name.len() > 110 {
            text += &line;
            text += "\n";
            line = String::from(" ");
        }
        line += " ";
        line += name;
    }
    text + &line + "\n"
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }
}
