//! A processor whose guest runs in KVM, and the way of its state there and back.

use std::{sync::Arc, time::Instant};

use dragoman_frontend::{
    post_mortem::Trace,
    semantics::{Flush, system::Event},
};
use dragoman_state::{Activity, GuestVirt, InterruptShadow, RFlags, VcpuId, VcpuState};

use super::{
    KvmError, Settings,
    counts::Counts,
    exit::Exit,
    host_vcpu::HostVcpu,
    machine::Machine,
    patience::Patience,
    ring3::take_back_system_call,
    state::{Extent, Held},
    time::TimeStamp,
    user::{Both, UserMode},
};
use crate::{
    AccelError, ExitReason, StopToken, Vcpu, VcpuContext, VcpuHandle,
    inbox::Caller,
    interpret::{BlockCache, InterpretedVcpu},
};

/// How many blocks the interpreter keeps: it runs little, and forgets it when the guest has run elsewhere.
const BLOCKS: usize = 1 << 12;
/// How often something is brought to its end before the state is taken, at most: each is an element of a long access.
const LONGEST_COMPLETION: usize = 1 << 16;

/// A processor whose guest runs in KVM.
pub(super) struct KvmVcpu {
    /// The interpreter's part: all of the processor, while its state is not in KVM; and its local APIC always.
    pub(super) inner: InterpretedVcpu,
    pub(super) vcpu: HostVcpu,
    pub(super) machine: Arc<Machine>,
    extent: Extent,
    held: Held,
    pub(super) time: TimeStamp,
    /// The state is in KVM.
    pub(super) is_away: bool,
    /// The guest was left in the middle of an access, which the next entry brings to its end.
    pub(super) is_unfinished: bool,
    /// KVM can have the guest take an interrupt now.
    pub(super) can_interrupt: bool,
    /// How many instructions the interpreter is to run before KVM runs any.
    pub(super) owed: u64,
    pub(super) patience: Patience,
    pub(super) counts: Counts,
    /// KVM does not run this guest any more.
    pub(super) has_given_up: bool,
    pub(super) settings: Settings,
    /// Where KVM does not run user mode as it should.
    pub(super) user: Option<UserMode>,
    /// The guest ran in KVM since its log of written pages was read.
    pub(super) has_written: bool,
}

impl KvmVcpu {
    /// A processor in its power-on state, which KVM has been shown to take.
    pub fn new(id: VcpuId, mut context: VcpuContext, machine: Arc<Machine>, settings: Settings) -> Result<Self, KvmError> {
        context.model = machine.limited(context.model);
        let (vcpu, extent) = machine.create_vcpu(id, &context.model)?;
        let mut inner = InterpretedVcpu::new(id, context);
        inner.blocks = BlockCache::with_capacity(BLOCKS);
        let mut kvm = Self {
            inner,
            vcpu,
            machine,
            extent,
            held: Held::default(),
            time: TimeStamp::default(),
            is_away: false,
            is_unfinished: false,
            can_interrupt: false,
            owed: 0,
            patience: Patience::default(),
            counts: Counts::default(),
            has_given_up: false,
            settings,
            user: None,
            has_written: false,
        };
        if !kvm.machine.runs_user {
            kvm.user = Some(UserMode::new(&mut kvm.inner.cpu, &kvm.vcpu)?);
        }
        kvm.held.put(&mut kvm.vcpu, &kvm.extent, &kvm.inner.cpu.state)?;
        Ok(kvm)
    }

    pub fn handle(&self) -> Arc<dyn VcpuHandle> {
        self.inner.cpu.inbox.clone()
    }

    /// Whether KVM can have the state as it is. It has no place for traps that wait; and where it is software, no mode but the
    /// 64-bit one is as a processor's: paging of two and three levels, segments and virtual-8086 mode are wrong there, and nothing
    /// says so.
    pub(super) fn can_go(&self) -> bool {
        let state = &self.inner.cpu.state;
        let is_idle = state.events.activity == Activity::Running && state.events.pending_debug.is_empty();
        let is_kept = self.user.is_some() && UserMode::keeps(state);
        is_idle && !is_kept && (self.machine.is_hardware || state.is_64bit() && !state.dr7.has_any())
    }

    /// Puts the state into KVM.
    pub(super) fn put(&mut self) -> Result<(), KvmError> {
        let began = Instant::now();
        self.inner.cpu.store_flags();
        self.held.put(&mut self.vcpu, &self.extent, &self.inner.cpu.state)?;
        if let Some(user) = &mut self.user {
            user.watch_returns(&self.vcpu)?;
        }
        self.counts.moves += 1;
        self.patience.go(began.elapsed());
        // What comes there is not noted.
        self.inner.cpu.branches.forget();
        self.inner.cpu.last_exception = None;
        // KVM has it now, and tells when the guest took it.
        self.inner.cpu.state.events.nmi_pending &= self.user.is_some();
        self.is_away = true;
        let state = &self.inner.cpu.state;
        self.can_interrupt = state.rflags.contains(RFlags::IF) && state.events.shadow == InterruptShadow::None;
        Ok(())
    }

    /// Has the state back from KVM, at an instruction boundary; what KVM was about to deliver is delivered.
    pub(super) fn take(&mut self) -> Result<(), KvmError> {
        if !self.is_away {
            return Ok(());
        }
        self.finish_access()?;
        self.take_as_it_is()
    }

    /// The same in the middle of an access, which is then as if it had not begun.
    pub(super) fn take_as_it_is(&mut self) -> Result<(), KvmError> {
        let Some(event) = self.take_before_delivery()? else { return Ok(()) };
        let cpu = &mut self.inner.cpu;
        cpu.state.events.page_fault_address = GuestVirt(cpu.state.cr2);
        self.inner.shutdown = cpu.raise(event).err();
        Ok(())
    }

    /// The same, and what KVM was about to deliver is told.
    pub(super) fn take_before_delivery(&mut self) -> Result<Option<Event>, KvmError> {
        let began = Instant::now();
        let nmi_waits = self.inner.cpu.state.events.nmi_pending;
        let event = self.held.take(&self.vcpu, &self.extent, &mut self.inner.cpu.state)?;
        self.is_away = false;
        let cpu = &mut self.inner.cpu;
        cpu.state.events.nmi_pending |= nmi_waits;
        cpu.load_flags();
        cpu.derive();
        cpu.mmu.flush(Flush::All);
        cpu.must_attend = true;
        self.forget_code();
        self.patience.go(began.elapsed());
        if self.user.is_some() && self.inner.cpu.state.cpl() == 3 {
            self.leave_user()?;
        }
        Ok(event)
    }

    /// The guest is in ring 3, where KVM was not to come. From then on it knows no more of page tables, which others change too.
    fn leave_user(&mut self) -> Result<(), KvmError> {
        self.counts.user_unseen += 1;
        take_back_system_call(&mut self.inner.cpu);
        self.machine.follow_log()?;
        if self.inner.cpu.context.world.is_single() { self.machine.map_anew() } else { Ok(()) }
    }

    /// Whether something is to be delivered that KVM is not to deliver.
    pub(super) fn has_delivery(&mut self) -> bool {
        let cpu = &mut self.inner.cpu;
        let has_nmi = cpu.state.events.nmi_pending && !cpu.state.events.nmi_blocked;
        self.user.is_some() && (has_nmi || self.can_interrupt && cpu.has_interrupt())
    }

    /// Brings to its end what the guest was left for.
    fn finish_access(&mut self) -> Result<(), KvmError> {
        for _ in 0..LONGEST_COMPLETION {
            if !self.is_unfinished {
                return Ok(());
            }
            self.is_unfinished = false;
            self.held.forget();
            let entry = self.counts.entries;
            match self.vcpu.complete().map_err(|source| KvmError::NoEntry { source, entry })? {
                Exit::Port(access) => self.access_port(access),
                Exit::Memory { at, length, write } => self.access_memory(at, length, write),
                // Nothing was entered: what it met is met again.
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    /// Has all of the processor back from KVM, because it is to run no more for now.
    fn come_to_rest(&mut self) -> Result<(), KvmError> {
        self.take()?;
        let stopped = self.time.stop(&self.vcpu, &mut self.inner.cpu);
        stopped.map_err(|error| KvmError::of("its time-stamp counter cannot be read", error))?;
        self.machine.follow_log()
    }

    /// The state in KVM is no longer what was put there.
    pub(super) fn forget_held(&mut self) {
        self.held.forget();
    }

    /// The guest may have changed code that was decoded here.
    pub(super) fn forget_code(&mut self) {
        let pages = self.inner.blocks.drain();
        if self.inner.cpu.context.world.is_single() {
            let tracker = self.inner.cpu.context.ram.tracker();
            pages.into_iter().for_each(|page| tracker.clear_code(page));
        }
    }
}

impl KvmVcpu {
    /// Runs `work` as one of the processors of the world; afterwards the state is here.
    fn in_world(&mut self, work: impl FnOnce(&mut Self) -> Result<ExitReason, KvmError>) -> Result<ExitReason, AccelError> {
        let (world, inbox) = (self.inner.cpu.context.world.clone(), self.inner.cpu.inbox.clone());
        let kick: Arc<dyn Caller> = self.vcpu.kick().clone();
        let caller = match self.user.as_ref().and_then(UserMode::caller) {
            Some(other) => Arc::new(Both(kick, other)),
            None => kick,
        };
        inbox.set_caller(Some(caller));
        world.enter();
        let reason = work(self);
        let taken = self.come_to_rest();
        self.inner.cpu.withdraw_deadline();
        world.leave();
        inbox.set_caller(None);
        let reason = reason?;
        taken?;
        Ok(reason)
    }
}

impl Vcpu for KvmVcpu {
    fn run(&mut self, stop: &StopToken) -> Result<ExitReason, AccelError> {
        self.in_world(|vcpu| {
            vcpu.inner.cpu.must_attend = true;
            vcpu.inner.cpu.frame.time.restart();
            vcpu.run_until_stopped(stop)
        })
    }

    fn step(&mut self) -> Result<ExitReason, AccelError> {
        if !self.settings.steps {
            return self.inner.step();
        }
        let reason = self.in_world(Self::step_in_kvm);
        if let Some(user) = &mut self.user {
            user.forget_told();
        }
        reason
    }

    fn save(&mut self) -> Result<VcpuState, AccelError> {
        self.inner.save()
    }

    fn load(&mut self, state: &VcpuState) -> Result<(), AccelError> {
        self.owed = 0;
        self.inner.load(state)
    }

    fn instructions(&self) -> u64 {
        self.inner.instructions
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        let user = self.user.iter().flat_map(UserMode::counters);
        self.counts.named(self.inner.instructions).into_iter().chain(user).collect()
    }

    fn trace(&self) -> Trace {
        Trace { instructions: None, notes_exceptions: false, ..self.inner.trace() }
    }
}
