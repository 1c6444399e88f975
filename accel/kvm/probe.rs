//! What there is of KVM on this host, step by step, as far as it goes.

use std::{
    fs, io,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use dragoman_devices::memory::{GuestRam, MemoryError, SMALLEST};
use dragoman_frontend::model::{CpuModel, Feature};
use dragoman_state::{Gpr, VcpuId};

use super::{
    Kvm, KvmError,
    device::{Device, has_virtualisation, is_guest},
    machine::Machine,
};
use crate::{AccelError, Speed, StopToken, measure, tiny::TinyGuest};

/// What a KVM runs guests by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The processor's virtualisation, on the machine itself as far as can be seen.
    Hardware,
    /// The processor's virtualisation, within a virtual machine.
    Nested,
    /// Software, at least in part: the processor has no virtualisation.
    Software,
}

/// One step: its name, and what was found, or that it was not come to.
#[derive(Debug)]
pub struct Step {
    /// Its name.
    pub name: &'static str,
    /// What was found; `None` where a step before it failed.
    pub found: Option<Result<String, AccelError>>,
}

/// What was found of KVM.
#[derive(Debug)]
pub struct Report {
    /// Step by step.
    pub steps: Vec<Step>,
    /// What it runs guests by.
    pub kind: Kind,
    /// How fast it is.
    pub speed: Option<Speed>,
}

/// The steps.
const DEVICE: &str = "device";
const OPEN: &str = "open";
const MACHINE: &str = "machine";
const PROCESSOR: &str = "processor";
const USER: &str = "user";
const RUN: &str = "run";

impl Report {
    /// What is in the way, where anything is.
    pub fn problem(&self) -> Option<&AccelError> {
        self.steps.iter().find_map(|step| step.found.as_ref()?.as_ref().err())
    }
}

/// What KVM would run guests by.
pub fn kind() -> Kind {
    match (has_virtualisation(), is_guest()) {
        (false, _) => Kind::Software,
        (true, true) => Kind::Nested,
        (true, false) => Kind::Hardware,
    }
}

impl Kvm {
    /// Whether there can be a machine with a processor of the newest kind, and why not. No guest is run, but where KVM is software.
    pub fn try_out() -> Result<(), KvmError> {
        let model = Self::default_model()?;
        let none = |error: MemoryError| KvmError::NoMemory { what: "there is no guest memory", source: io::Error::other(error) };
        let machine = Machine::new(Arc::new(GuestRam::new(SMALLEST).map_err(none)?))?;
        machine.create_vcpu(VcpuId(0), &model).map(drop)
    }

    /// Whether KVM runs user mode as a processor does: whether a SYSCALL of ring 3 gets to ring 0, which a guest of a few instructions
    /// finds out where KVM is software.
    pub fn runs_user() -> bool {
        static RUNS: OnceLock<bool> = OnceLock::new();
        *RUNS.get_or_init(|| has_virtualisation() || Self::calls_system().unwrap_or(false))
    }

    /// Has ring 3 make a SYSCALL, and code behind it say by CS in which ring it is.
    fn calls_system() -> Result<bool, AccelError> {
        /// `syscall`; `mov eax, cs`, `ud2`.
        const CODE: [u8; 6] = [0x0f, 0x05, 0x8c, 0xc8, 0x0f, 0x0b];
        const KERNEL: u64 = 0x8;
        let model = Self::clocked(CpuModel::newest_within(Device::open()?.supported()?.features()))?;
        let mut guest = TinyGuest::new(&Self::believing(), &model, &CODE)?;
        let mut state = guest.start(3, [3, 0, 0, 0]);
        (state.msrs.star, state.msrs.lstar) = (KERNEL << 32, state.rip + 2);
        guest.run_from(&state, &StopToken::new())?;
        Ok(guest.vcpu.save()?.gpr[Gpr::RAX] == KERNEL)
    }

    /// Tries KVM out, for `limit` at most.
    pub fn probe(limit: Duration) -> Report {
        let mut report = Report { steps: Vec::new(), kind: kind(), speed: None };
        let failed = report.go(limit).err();
        if let Some((name, error)) = failed {
            report.steps.push(Step { name, found: Some(Err(error)) });
            for later in [OPEN, MACHINE, PROCESSOR, USER, RUN] {
                if report.steps.iter().all(|step| step.name != later) {
                    report.steps.push(Step { name: later, found: None });
                }
            }
        }
        report
    }
}

impl Report {
    fn pass(&mut self, name: &'static str, found: String) {
        self.steps.push(Step { name, found: Some(Ok(found)) });
    }

    fn go(&mut self, limit: Duration) -> Result<(), (&'static str, AccelError)> {
        let at = |name| move |error: KvmError| (name, AccelError::from(error));
        let began = Instant::now();
        fs::metadata("/dev/kvm").map_err(KvmError::of_opening).map_err(at(DEVICE))?;
        self.pass(DEVICE, "/dev/kvm is there".into());
        let device = Device::open().map_err(at(OPEN))?;
        let word = |is: bool| if is { "" } else { "not " };
        self.pass(
            OPEN,
            format!(
                "version 12, with all that is needed; its emulator's failures are {}told, the time-stamp counter is {}scaled",
                word(device.tells_failures),
                word(device.scales_tsc)
            ),
        );
        let none = |error: MemoryError| KvmError::NoMemory { what: "there is no guest memory", source: io::Error::other(error) };
        let ram = GuestRam::new(SMALLEST).map_err(none).map_err(at(MACHINE))?;
        let machine = Machine::new(Arc::new(ram)).map_err(at(MACHINE))?;
        self.pass(MACHINE, "one can be made".into());
        let model = Kvm::default_model().map_err(at(PROCESSOR))?;
        let newest = CpuModel::newest();
        machine.create_vcpu(VcpuId(0), &model).map_err(at(PROCESSOR))?;
        let missing: Vec<&str> = newest.features().iter().filter(|one| !model.has(*one)).map(Feature::name).collect();
        let lacks = if missing.is_empty() { String::new() } else { format!(", without {}", missing.join(", ")) };
        self.pass(PROCESSOR, format!("{}{lacks}", model.name()));
        drop(machine);
        let user = match Kvm::runs_user() {
            true => "SYSCALL leads to ring 0",
            false => "SYSCALL of ring 3 does not lead to ring 0: --accel kvm runs user mode in a machine of its own",
        };
        self.pass(USER, user.into());
        let left = limit.saturating_sub(began.elapsed()) / 2;
        let speed = measure(&Kvm::default(), &model, left).map_err(|error| (RUN, error))?;
        self.speed = Some(speed);
        self.pass(RUN, "a guest of a few instructions runs".into());
        Ok(())
    }
}
