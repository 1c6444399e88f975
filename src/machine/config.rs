//! What a machine is to be, checked as far as it can be before one is built.

use std::{path::PathBuf, sync::Arc, time::Duration};

use dragoman_accel::{Accelerator, interpret::Interpreter};
use dragoman_frontend::model::{CpuModel, Feature};

use super::{
    choice::{Choice, Facts},
    kvm, translator,
};
use crate::{failure::Failure, units::parse_size};

/// A machine to be built and run.
#[derive(Clone, Debug)]
pub struct Config {
    /// What to start.
    pub start: Start,
    /// The kernel's initial RAM disk.
    pub initrd: Option<PathBuf>,
    /// The kernel's command line.
    pub append: String,
    /// Bytes of guest memory.
    pub memory: u64,
    /// The processor's model.
    pub cpu: CpuModel,
    /// What it lacks of what it would have otherwise, and why, where that was left to us.
    pub cut: Option<String>,
    /// What runs the processor.
    pub engine: Engine,
    /// Why it was taken, where that was left to us.
    pub why: Option<String>,
    /// Where COM1 goes.
    pub serial: SerialSpec,
    /// Where port 0xE9 goes, where there is one.
    pub debugcon: Option<SerialSpec>,
    /// Where the machine can be controlled, if anywhere.
    pub control: Option<PathBuf>,
    /// It begins paused.
    pub paused: bool,
    /// The debug-exit port, where there is one.
    pub debug_exit: Option<u16>,
    /// The test device is there.
    pub testdev: bool,
    /// A reset ends the run.
    pub no_reboot: bool,
    /// A triple fault is a reset.
    pub resets_on_triple_fault: bool,
    /// The longest that the run may take.
    pub timeout: Option<Duration>,
    /// Counters on standard error at the end.
    pub stats: bool,
    /// Counters as JSON at the end.
    pub stats_json: Option<PathBuf>,
}

/// What a guest is started from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// A kernel, recognised by its content.
    Kernel(PathBuf),
    /// Whatever the file is: it goes to this address and is started there in real mode.
    Flat(PathBuf, u16),
    /// A ROM, from the reset vector.
    Bios(PathBuf),
}

/// An engine that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The interpreter.
    Interpreter,
    /// The translator, with so many bytes for its code, counting instructions or not.
    Translator {
        /// How much memory translated code may take.
        code: u64,
        /// Whether it counts the instructions that it executes.
        counts: bool,
    },
    /// Kernel mode in the translator, user mode in KVM.
    Hybrid {
        /// How much memory translated code may take.
        code: u64,
        /// User mode runs in KVM whether that pays or not.
        always: bool,
    },
    /// KVM.
    Kvm,
}

/// As much memory as translated code takes unless it is given.
const CODE: u64 = 64 << 20;
/// How little and how much it can be.
const CODE_LIMITS: std::ops::RangeInclusive<u64> = 1 << 20..=1 << 30;

impl Engine {
    /// The engine that `--accel` names; and why it was taken, where that was left to us. `counts` is whether somebody wants to
    /// know how many instructions it executes.
    pub fn parse(text: &str, counts: bool) -> Result<(Self, Option<String>), Failure> {
        let (name, options) = text.split_once(',').unwrap_or((text, ""));
        let (mut code, mut prefers_kvm, mut always) = (CODE, false, false);
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("tb-size", size)) if matches!(name, "jit" | "hybrid") => code = parse_code_size(size)?,
                Some(("prefer", "kvm")) if name == "auto" => prefers_kvm = true,
                Some(("user", "always")) if name == "hybrid" => always = true,
                _ => {
                    let has = "jit and hybrid have tb-size=SIZE, auto has prefer=kvm, hybrid has user=always";
                    return Err(Failure::usage(format!("the accelerator {name} has no option {option}; {has}")));
                }
            }
        }
        if name == "auto" {
            let Choice { engine, why } = Facts::find(prefers_kvm).choose(prefers_kvm, code, counts);
            return Ok((engine, Some(why)));
        }
        Self::named(name, code, counts, always).map(|engine| (engine, None))
    }

    fn named(name: &str, code: u64, counts: bool, always: bool) -> Result<Self, Failure> {
        match name {
            "interp" => Ok(Self::Interpreter),
            "jit" => translator::check().map(|()| Self::Translator { code, counts }),
            "kvm" => kvm::check().map(|()| Self::Kvm),
            "hybrid" => translator::check().and_then(|()| kvm::check()).map(|()| Self::Hybrid { code, always }),
            _ => Err(Failure::usage(format!("no accelerator is called {name}; `--accel help` lists those there are"))),
        }
    }

    /// What `--accel help` answers.
    pub fn help() -> String {
        let jit = match translator::check() {
            Ok(()) => {
                "the translator: 64-bit guest code as code of this host; jit,tb-size=SIZE gives its code SIZE, 64M unless given"
                    .into()
            }
            Err(failure) => format!("not on this host: {failure}"),
        };
        let kvm = match kvm::check() {
            Ok(()) => "the host's processor, through /dev/kvm; what it cannot run is interpreted".into(),
            Err(failure) => format!("not on this host: {failure}"),
        };
        let hybrid = match translator::check().and_then(|()| kvm::check()) {
            Ok(()) => "kernel mode in the translator, and long runs of user mode in KVM; takes tb-size=SIZE, too".into(),
            Err(failure) => format!("not on this host: {failure}"),
        };
        format!(
            "auto    what is fastest on this host: kvm where the processor virtualises and KVM is as fast as it should be, else\n\
             \u{20}       jit, else interp; auto,prefer=kvm takes KVM wherever it works\n\
             jit     {jit}\n\
             interp  the interpreter: any guest on any host\n\
             kvm     {kvm}\n\
             hybrid  {hybrid}\n"
        )
    }

    /// The processor's model where none is asked for: the newest, but for what the engine's host lacks.
    pub fn default_model(self) -> Result<CpuModel, Failure> {
        match self {
            Self::Interpreter => Ok(CpuModel::newest()),
            Self::Translator { .. } => Ok(CpuModel::newest_up_to(translator::level())),
            Self::Hybrid { .. } | Self::Kvm => kvm::default_model(),
        }
    }

    /// The same where other engines may take the guest over: the newest that all engines of this host can be, and in one line what
    /// it lacks for that.
    pub fn default_model_for_all(self) -> Result<(CpuModel, Option<String>), Failure> {
        let own = self.default_model()?;
        // A KVM that does not work takes nothing over.
        let Ok(model) = kvm::check().and_then(|()| kvm::default_model()) else { return Ok((own, None)) };
        let cut = missing(&own, &model).map(|missing| {
            let name = own.name();
            format!("the processor is an {name} without {missing}, so that KVM can take the guest over; --cpu {name} has all")
        });
        Ok((model, cut))
    }

    /// `model` as the engine can run it: what the host decides of it is as there.
    pub fn adapt(self, model: CpuModel) -> Result<CpuModel, Failure> {
        match self {
            Self::Interpreter | Self::Translator { .. } => Ok(model),
            Self::Hybrid { .. } | Self::Kvm => kvm::clocked(model),
        }
    }

    /// `model` as other engines of this host can run it, too: with the time-stamp counter that KVM has.
    pub fn adapt_for_all(model: CpuModel) -> CpuModel {
        match kvm::check() {
            Ok(()) => kvm::clocked(model.clone()).unwrap_or(model),
            Err(_) => model,
        }
    }

    /// The engine that says what the time-stamp counter begins with: this one, or KVM where others `may_follow`, and can.
    pub fn for_time(self, may_follow: bool) -> Self {
        if may_follow && kvm::check().is_ok() { Self::Kvm } else { self }
    }

    /// What is taken where this engine, left to us to choose, fails to make a processor.
    pub fn next(self) -> Option<Self> {
        match self {
            Self::Interpreter => None,
            Self::Translator { .. } => Some(Self::Interpreter),
            Self::Hybrid { code, .. } => Some(Self::Translator { code, counts: false }),
            Self::Kvm if translator::check().is_ok() => Some(Self::Translator { code: CODE, counts: false }),
            Self::Kvm => Some(Self::Interpreter),
        }
    }

    /// The name that `--accel` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Interpreter => "interp",
            Self::Translator { .. } => "jit",
            Self::Hybrid { .. } => "hybrid",
            Self::Kvm => "kvm",
        }
    }

    /// The engine itself.
    pub fn accelerator(self) -> Arc<dyn Accelerator> {
        match self {
            Self::Interpreter => Arc::new(Interpreter),
            Self::Translator { code, counts } => translator::engine(code, counts),
            Self::Hybrid { code, always } => kvm::hybrid(code, always),
            Self::Kvm => kvm::engine(),
        }
    }
}

/// The names of what `model` has not that `whole` has, where there is anything.
fn missing(whole: &CpuModel, model: &CpuModel) -> Option<String> {
    let missing: Vec<&str> = whole.features().iter().filter(|one| !model.has(*one)).map(Feature::name).collect();
    (!missing.is_empty()).then(|| missing.join(", "))
}

fn parse_code_size(text: &str) -> Result<u64, Failure> {
    let size = parse_size(text).map_err(Failure::usage)?;
    if !CODE_LIMITS.contains(&size) || size % CODE_LIMITS.start() != 0 {
        return Err(Failure::usage(format!("tb-size={text}: translated code takes from 1M to 1G, in whole mebibytes")));
    }
    Ok(size)
}

/// Where a byte stream of the guest goes on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SerialSpec {
    /// Standard input and output.
    Stdio,
    /// To a file, which is emptied first.
    File(PathBuf),
    /// To whoever connects to a socket at this path.
    Unix(PathBuf),
    /// To a pseudo-terminal, whose name is printed.
    Pty,
    /// Nowhere.
    None,
}

impl SerialSpec {
    /// What `--serial` and `--debugcon` take.
    pub fn parse(text: &str) -> Result<Self, String> {
        let path = |path: &str| {
            if path.is_empty() { Err(format!("`{text}` names no file: write a path after the colon")) } else { Ok(path.into()) }
        };
        match text.split_once(':') {
            None if text == "stdio" => Ok(Self::Stdio),
            None if text == "pty" => Ok(Self::Pty),
            None if text == "none" => Ok(Self::None),
            Some(("file", rest)) => Ok(Self::File(path(rest)?)),
            Some(("unix", rest)) => Ok(Self::Unix(path(rest)?)),
            _ => Err(format!("`{text}` is no place for serial output: write stdio, file:PATH, unix:PATH, pty or none")),
        }
    }
}
