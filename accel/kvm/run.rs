//! Running the guest: into KVM, out of it, and what is done before it goes back.

use dragoman_devices::lapic::{FIRST_MSR, LAST_MSR};
use dragoman_frontend::{
    model::Feature,
    semantics::{
        ApicAccess,
        system::{FaultChain, TripleFault},
    },
};
use dragoman_state::{Activity, GuestPhys, LvtIndex, SegmentIndex, Width};
use kvm_bindings::{KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_SINGLESTEP, kvm_guest_debug};
use log::debug;

use super::{
    KvmError,
    exit::{self, Exit, PortAccess, width_of},
    vcpu::KvmVcpu,
};
use crate::{ExitReason, StopToken, inbox::Signals, interpret::NO_LIMIT, mmu::Place};

const TSC_DEADLINE: u32 = 0x6e0;
/// The delivery mode of INIT, in a local vector.
const INIT: u32 = 5;

impl KvmVcpu {
    /// Runs the guest until told to stop or until it cannot go on. Afterwards the state may be in KVM.
    pub(super) fn run_until_stopped(&mut self, stop: &StopToken) -> Result<ExitReason, KvmError> {
        self.machine.follow_log()?;
        loop {
            if !self.is_away {
                if let Some(reason) = self.run_here(stop)? {
                    return Ok(reason);
                }
                if let Err(error) = self.put() {
                    debug!("{error}");
                    self.counts.refused_states += 1;
                    self.forget_held();
                    self.owed = self.patience.give_up();
                    continue;
                }
            }
            if let Some(reason) = self.hear(stop)? {
                return Ok(reason);
            }
            if !self.is_away {
                continue;
            }
            if self.has_delivery() {
                self.take()?;
                self.owed = self.patience.once();
                continue;
            }
            match self.enter() {
                Ok(exit) => self.answer(exit)?,
                Err(error) => {
                    self.give_up()?;
                    return Err(error);
                }
            }
        }
    }

    /// Does what comes before the next instruction, and interprets what is owed. Afterwards the state can go into KVM.
    fn run_here(&mut self, stop: &StopToken) -> Result<Option<ExitReason>, KvmError> {
        if let Some(end) = self.inner.shutdown.take() {
            return Ok(Some(ExitReason::TripleFault(end)));
        }
        if self.has_given_up {
            return Ok(Some(self.inner.run_until_stopped(stop)));
        }
        if !self.inner.cpu.context.world.is_single() {
            self.forget_code();
        }
        let mut left = std::mem::take(&mut self.owed);
        loop {
            if left == 0 && self.can_go() {
                if let Some(reason) = self.inner.attend(stop, false) {
                    return Ok(Some(reason));
                }
                if self.can_go() {
                    return Ok(None);
                }
            }
            let before = self.inner.instructions;
            let was_user = self.inner.cpu.state.cpl() == 3;
            let reason = match &mut self.user {
                Some(user) if was_user && left == 0 => {
                    // What the kernel did to page tables in KVM.
                    if std::mem::take(&mut self.has_written) || !self.inner.cpu.context.world.is_single() {
                        self.machine.follow_log()?;
                    }
                    self.inner.round(stop, &mut |vcpu| user.run(vcpu))
                }
                _ => {
                    let limit = if left == 0 { NO_LIMIT } else { usize::try_from(left).unwrap_or(NO_LIMIT) };
                    self.inner.round(stop, &mut |vcpu| vcpu.run_block(limit))
                }
            };
            if reason.is_some() {
                return Ok(reason);
            }
            // That a fault was delivered is going on, too.
            left = left.saturating_sub((self.inner.instructions - before).max(1));
            if let Some(user) = &mut self.user {
                let more = user.follow(was_user, self.patience.once(), &mut self.inner.cpu);
                // Whatever was owed was for what does not go into KVM now.
                left = if self.inner.cpu.state.cpl() == 3 { 0 } else { left.max(more) };
            }
        }
    }

    /// Takes in what other threads said while the state is in KVM. It is taken out where that is about more than interrupts.
    fn hear(&mut self, stop: &StopToken) -> Result<Option<ExitReason>, KvmError> {
        let cpu = &self.inner.cpu;
        let signals = cpu.inbox.peek();
        let is_init = cpu.state.lapic.lvt[LvtIndex::Lint0 as usize] >> 8 & 7 == INIT;
        let is_more = signals.contains(Signals::MESSAGES) && cpu.inbox.has_startup_message()
            || signals.contains(Signals::EXTERNAL) && is_init;
        if is_more {
            self.take()?;
            return Ok(None);
        }
        if !signals.is_empty() {
            let signals = self.inner.cpu.inbox.take();
            if signals.contains(Signals::SAFEPOINT) || signals.contains(Signals::WORK) {
                self.machine.follow_log()?;
            }
            self.inner.hear(signals);
            if signals.contains(Signals::SAFEPOINT) {
                self.machine.follow_log()?;
            }
        }
        Ok(stop.is_stopped().then_some(ExitReason::Stopped))
    }

    /// Runs the guest in KVM until it is left.
    fn enter(&mut self) -> Result<Exit, KvmError> {
        let entry = self.counts.entries + 1;
        let failed = |source| KvmError::NoEntry { source, entry };
        self.time.follow(&self.vcpu, &mut self.inner.cpu).map_err(failed)?;
        self.offer_interrupts().map_err(failed)?;
        self.inner.cpu.publish_deadline();
        self.forget_held();
        self.counts.entries = entry;
        self.has_written = true;
        if !self.is_unfinished {
            self.patience.enter();
        }
        let inbox = self.inner.cpu.inbox.clone();
        let was_unfinished = std::mem::replace(&mut self.is_unfinished, false);
        let mut was_entered = true;
        let exit = self.vcpu.enter(|| {
            was_entered = !inbox.has_any();
            !was_entered
        });
        if !was_entered {
            self.is_unfinished = was_unfinished;
            return Ok(Exit::Called);
        }
        let run = self.vcpu.fd.get_kvm_run();
        self.can_interrupt = run.ready_for_interrupt_injection != 0;
        let class = run.cr8 as u8;
        let priority = &mut self.inner.cpu.state.lapic.task_priority;
        if *priority >> 4 != class & 0xf {
            *priority = class << 4;
        }
        exit.map_err(failed)
    }

    /// Has the guest take what waits for it and is let in, and KVM say when the rest is.
    fn offer_interrupts(&mut self) -> std::io::Result<()> {
        let cpu = &mut self.inner.cpu;
        // What is to be delivered here waits for KVM to come out.
        let delivers = self.user.is_none();
        if delivers && cpu.state.events.nmi_pending {
            self.vcpu.fd.nmi().map_err(super::host_vcpu::io_error)?;
            cpu.state.events.nmi_pending = false;
        }
        if delivers && self.can_interrupt && cpu.has_interrupt() {
            if let Some(vector) = cpu.acknowledge_interrupt() {
                self.vcpu.interrupt(vector)?;
                self.counts.interrupts += 1;
            }
            self.can_interrupt = false;
        }
        let run = self.vcpu.fd.get_kvm_run();
        run.request_interrupt_window = cpu.has_interrupt().into();
        run.cr8 = u64::from(cpu.state.lapic.task_priority >> 4);
        Ok(())
    }

    /// Does what the guest was left for.
    fn answer(&mut self, exit: Exit) -> Result<(), KvmError> {
        match exit {
            Exit::Called | Exit::Window => {}
            Exit::Port(access) => self.access_port(access),
            Exit::Memory { at, length, write } => self.access_memory(at, length, write),
            Exit::ReadMsr(index) => self.access_register(index, None)?,
            Exit::WriteMsr(index, value) => self.access_register(index, Some(value))?,
            Exit::Halt => {
                self.counts.halts += 1;
                self.take()?;
                self.inner.cpu.state.events.activity = Activity::Halted;
            }
            Exit::Shutdown => self.shut_down()?,
            Exit::NotEmulated => {
                self.counts.not_emulated += 1;
                self.interpret_for_a_while()?;
            }
            Exit::InternalError(kind) => {
                debug!("internal error {kind}");
                self.counts.internal_errors += 1;
                self.interpret_for_a_while()?;
            }
            Exit::NoEntry(why) => {
                debug!("the processor refused the state: {why:#x}");
                self.counts.no_entries += 1;
                self.interpret_for_a_while()?;
            }
            Exit::Debug if self.user.is_some() => {
                self.counts.returns += 1;
                self.interpret_for_a_while()?;
            }
            Exit::Debug | Exit::Other(_) => {
                debug!("left with {exit:?}");
                self.counts.other_exits += 1;
                self.interpret_for_a_while()?;
            }
        }
        Ok(())
    }

    fn interpret_for_a_while(&mut self) -> Result<(), KvmError> {
        self.take()?;
        self.owed = self.patience.give_up();
        Ok(())
    }

    /// KVM does not enter the guest, and never will: whoever runs it on has all of it interpreted.
    fn give_up(&mut self) -> Result<(), KvmError> {
        self.is_unfinished = false;
        self.take_as_it_is()?;
        self.counts.given_up += 1;
        self.has_given_up = true;
        Ok(())
    }

    /// The guest shut down, as KVM says; or is about to do what is not done in KVM. Its last instruction is executed again here, where it is seen why: the report is that of
    /// every engine. What does not shut down here was KVM's doing, and goes on.
    fn shut_down(&mut self) -> Result<(), KvmError> {
        match self.user {
            Some(_) => self.counts.events += 1,
            None => self.counts.shutdowns += 1,
        }
        self.take_before_delivery()?;
        self.owed = self.patience.give_up();
        let state = &self.inner.cpu.state;
        // There are processors that forget the state they shut down in, and are as after INIT.
        if state.is_real_mode() && state.rip == 0xfff0 && state.segment(SegmentIndex::Cs).base == 0xffff_0000 {
            self.inner.shutdown = Some(TripleFault(FaultChain::new()));
        }
        Ok(())
    }

    pub(super) fn access_port(&mut self, access: PortAccess) {
        self.counts.ports += 1;
        self.is_unfinished = true;
        let bus = self.inner.cpu.context.bus.clone();
        for element in self.vcpu.port_data(access).chunks_exact_mut(access.width.bytes() as usize) {
            let mut bytes = [0; 4];
            if access.is_write {
                bytes[..element.len()].copy_from_slice(element);
                bus.write_port(access.port, access.width, u32::from_le_bytes(bytes));
            } else {
                bytes = bus.read_port(access.port, access.width).to_le_bytes();
                element.copy_from_slice(&bytes[..element.len()]);
            }
        }
    }

    pub(super) fn access_memory(&mut self, at: GuestPhys, length: usize, write: Option<[u8; 8]>) {
        self.counts.memory += 1;
        self.is_unfinished = true;
        // Not all lengths are those of a bus.
        let (width, count) = width_of(length).map_or((Width::Byte, length), |width| (width, 1));
        let step = width.bytes() as usize;
        let cpu = &mut self.inner.cpu;
        let mut value = write.unwrap_or_default();
        for n in 0..count {
            let at = GuestPhys(at.0.wrapping_add((n * step) as u64));
            let mut bytes = [0; 8];
            match write {
                Some(data) => {
                    bytes[..step].copy_from_slice(&data[n * step..][..step]);
                    // Of what is in a slot, only what cannot be written comes here.
                    if cpu.context.ram.host_page(at).is_none() {
                        cpu.write_place(Place::Io(at), width, u64::from_le_bytes(bytes));
                    }
                }
                None => {
                    bytes = cpu.read_place(Place::Io(at), width).to_le_bytes();
                    value[n * step..][..step].copy_from_slice(&bytes[..step]);
                }
            }
        }
        if write.is_none() {
            exit::answer_memory(self.vcpu.fd.get_kvm_run(), value);
        }
    }

    /// Accesses a register that is not KVM's: at once where it is one of the local APIC's; by the interpreter, which executes
    /// the whole instruction, where not.
    fn access_register(&mut self, index: u32, write: Option<u64>) -> Result<(), KvmError> {
        self.counts.registers += 1;
        let cpu = &mut self.inner.cpu;
        let has = |feature| cpu.context.model.has(feature);
        let answer = match (index, write) {
            (FIRST_MSR..=LAST_MSR, _) if has(Feature::X2apic) => {
                let access = write.map_or(ApicAccess::Read, ApicAccess::Write);
                Some(cpu.access_x2apic((index - FIRST_MSR) as u8, access).ok())
            }
            (TSC_DEADLINE, Some(value)) if has(Feature::TscDeadline) => {
                let followed = self.time.follow(&self.vcpu, cpu);
                followed.map_err(|source| KvmError::NoEntry { source, entry: self.counts.entries })?;
                cpu.write_tsc_deadline(value);
                Some(Some(0))
            }
            _ => None,
        };
        if let Some(value) = answer {
            self.is_unfinished = true;
            exit::answer_msr(self.vcpu.fd.get_kvm_run(), value);
            return Ok(());
        }
        // RIP is still the instruction's. KVM must not think that it has to go on with it.
        self.take_as_it_is()?;
        exit::answer_msr(self.vcpu.fd.get_kvm_run(), Some(0));
        self.forget_held();
        let completed = self.vcpu.complete();
        completed.map_err(|source| KvmError::NoEntry { source, entry: self.counts.entries })?;
        self.owed = 1;
        Ok(())
    }

    /// Has KVM execute one instruction; or delivers one interrupt.
    pub(super) fn step_in_kvm(&mut self) -> Result<ExitReason, KvmError> {
        let never = StopToken::new();
        if let Some(end) = self.inner.shutdown.take() {
            return Ok(ExitReason::TripleFault(end));
        }
        if let Some(reason) = self.inner.attend(&never, true) {
            return Ok(reason);
        }
        if !self.can_go() || self.put().is_err() {
            self.counts.refused_states += 1;
            return Ok(self.inner.step_once());
        }
        let steps = |control| kvm_guest_debug { control, ..Default::default() };
        let refused = |error| KvmError::of("it makes no single steps", super::host_vcpu::io_error(error));
        self.vcpu.fd.set_guest_debug(&steps(KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP)).map_err(refused)?;
        let end = loop {
            let exit = self.enter()?;
            match exit {
                Exit::Debug => break None,
                Exit::Called | Exit::Window => {
                    // Somebody has something to say, which is heard before the next step.
                    if self.inner.cpu.inbox.has_any() {
                        break None;
                    }
                }
                exit => {
                    self.answer(exit)?;
                    if !self.is_away {
                        break Some(exit);
                    }
                    if self.is_unfinished {
                        self.take()?;
                        break Some(Exit::Debug);
                    }
                }
            }
        };
        self.take()?;
        self.vcpu.fd.set_guest_debug(&steps(0)).map_err(refused)?;
        let owed = std::mem::take(&mut self.owed);
        if let Some(end) = self.inner.shutdown.take() {
            return Ok(ExitReason::TripleFault(end));
        }
        if owed > 0 && end != Some(Exit::Debug) {
            return Ok(self.inner.step_once());
        }
        Ok(ExitReason::StepDone)
    }
}
