//! User mode, where KVM does not run it as a processor does: a machine of its own runs it (`ring3`), or the interpreter; and the
//! kernel stays in KVM.
//!
//! Rule of this file: nothing that the kernel does in KVM may lead to ring 3 there. KVM is shown no descriptor tables, so whatever
//! changes the privilege level by one (an interrupt, an exception, IRET, a far transfer) ends in a shutdown with the state as it was,
//! and is the interpreter's. SYSRET needs no table: so the interpreter runs the kernel until it has seen where that is, and from
//! then on a breakpoint of ours is there. Where KVM comes to ring 3 all the same, because SYSRET is somewhere else or the guest
//! has just loaded its tables, a SYSCALL leads to where nothing is, and what KVM read of page tables is forgotten: the interpreter
//! changes them as well, and KVM hears nothing of that.

use std::sync::Arc;

use dragoman_frontend::semantics::{Cpu, Privilege};
use dragoman_state::{GuestVirt, RFlags, VcpuState, Width};
use kvm_bindings::{KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_USE_HW_BP, kvm_guest_debug};
use log::warn;

use super::{
    KvmError,
    host_vcpu::{HostVcpu, io_error},
    ring3::{NOWHERE, Ring3},
    state::msrs::{FMASK, LSTAR},
};
use crate::{
    hybrid::Elsewhere,
    inbox::Caller,
    interpret::{BlockEnd, InterpretedVcpu, NO_LIMIT, processor::Processor},
};

/// So many times as much of the kernel as costs what the way into KVM does is interpreted when user mode was left: a tick, and a common
/// system call, so that these never go. A KVM of software takes some thirty times as long over the same instructions.
const SHORT: u64 = 16;
/// How many instructions of the kernel are interpreted at most, to see where its SYSRET is.
const LONGEST_LOOK: u64 = 1 << 20;
/// The same of all looks.
const LOOKS: u64 = 1 << 24;
/// As many breakpoints as there are.
const BREAKPOINTS: usize = 4;

/// User mode outside the machine that the kernel is in.
pub(super) struct UserMode {
    elsewhere: Option<Elsewhere>,
    /// Where SYSRET is, by linear addresses, the one that was seen last at the end.
    returns: Vec<u64>,
    /// Which of them KVM was told.
    told: Option<Vec<u64>>,
    /// The interpreter goes on to see one, and for how many instructions more it may.
    is_looking: bool,
    looks: u64,
}

impl UserMode {
    /// User mode of the processor `cpu`, whose kernel `vcpu` runs.
    pub fn new(cpu: &mut Processor, vcpu: &HostVcpu) -> Result<Self, KvmError> {
        vcpu.set_registers(&[(LSTAR, NOWHERE), (FMASK, 0)])?;
        let elsewhere = match Ring3::new(cpu) {
            Ok(runner) => Some(Elsewhere::new(Box::new(runner), true, cpu)),
            Err(error) => {
                warn!("user mode is interpreted: {error}");
                None
            }
        };
        Ok(Self { elsewhere, returns: Vec::new(), told: None, is_looking: false, looks: LOOKS })
    }

    /// Whether the processor in `state` is not to go into KVM.
    pub fn keeps(state: &VcpuState) -> bool {
        state.cpl() == 3 || state.rflags.contains(RFlags::TF)
    }

    /// Runs user mode until something other than running it is to be done.
    pub fn run(&mut self, vcpu: &mut InterpretedVcpu) -> BlockEnd {
        let end = self.elsewhere.as_mut().and_then(|elsewhere| elsewhere.run(vcpu));
        end.unwrap_or_else(|| vcpu.run_block(NO_LIMIT))
    }

    /// The interpreter has run the processor, which was in ring 3 or not. How many instructions it is to go on for at least;
    /// `once` as many cost what the way into KVM does.
    pub fn follow(&mut self, was_user: bool, once: u64, cpu: &mut Processor) -> u64 {
        match (was_user, cpu.state.cpl() == 3) {
            (true, false) => {
                self.is_looking = self.returns.is_empty() && self.looks > 0 && cpu.state.rip == cpu.state.msrs.lstar;
                let look = if self.is_looking { LONGEST_LOOK } else { 0 };
                self.looks = self.looks.saturating_sub(look);
                (once * SHORT).max(look)
            }
            (false, true) => {
                self.is_looking = false;
                self.note_return(cpu);
                0
            }
            (true, true) | (false, false) => 0,
        }
    }

    /// Notes where the last branch was, which led to ring 3, if it was a SYSRET.
    fn note_return(&mut self, cpu: &mut Processor) {
        const SYSRET: u64 = 0x070f;
        let Some(at) = cpu.branches.recent().last().map(|branch| branch.from) else { return };
        let mut has = |at| cpu.read(at, Width::Word, Privilege::System) == Ok(SYSRET);
        // With a prefix for 64-bit code, or without.
        let is_return = has(at) || has(GuestVirt(at.0.wrapping_add(1)));
        if is_return && !self.returns.contains(&at.0) {
            if self.returns.len() == BREAKPOINTS {
                self.returns.remove(0);
            }
            self.returns.push(at.0);
        }
    }

    /// Has KVM come out before each SYSRET that is known.
    pub fn watch_returns(&mut self, vcpu: &HostVcpu) -> Result<(), KvmError> {
        const EXACT: u64 = 1 << 10;
        if self.told.as_ref() == Some(&self.returns) {
            return Ok(());
        }
        let mut debug = kvm_guest_debug { control: KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP, ..Default::default() };
        debug.arch.debugreg[7] = EXACT;
        for (n, at) in self.returns.iter().enumerate() {
            debug.arch.debugreg[n] = *at;
            debug.arch.debugreg[7] |= 1 << (2 * n);
        }
        vcpu.fd.set_guest_debug(&debug).map_err(|error| KvmError::of("it makes no breakpoints", io_error(error)))?;
        self.told = Some(self.returns.clone());
        Ok(())
    }

    /// KVM was told of other breakpoints.
    pub fn forget_told(&mut self) {
        self.told = None;
    }

    /// What calls the processor back from user mode.
    pub fn caller(&self) -> Option<Arc<dyn Caller>> {
        self.elsewhere.as_ref().and_then(Elsewhere::caller)
    }

    /// What was counted.
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        self.elsewhere.iter().flat_map(Elsewhere::counters).filter(|(name, _)| !OTHERS.contains(name)).collect()
    }
}

/// Counters of [`Elsewhere`] that are about choosing, or are the engine's own already.
const OTHERS: [&str; 4] = ["spaces to kvm", "spaces back", "trip nanoseconds", "kvm given up"];

/// Whoever is asked calls both: the processor is in one of two places, or in none.
pub(super) struct Both(pub Arc<dyn Caller>, pub Arc<dyn Caller>);

impl Caller for Both {
    fn call(&self) {
        self.0.call();
        self.1.call();
    }
}
