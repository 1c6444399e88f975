//! Between blocks: what other threads said, interrupts, halts, traps.
//! SDM: vol. 3 §6.9 (priority of simultaneous events), §6.8 (what masks interrupts).

use std::time::Duration;

use dragoman_devices::memory::PageTracker;
use dragoman_frontend::{
    fault::{Fault, vector},
    post_mortem::Raised,
    semantics::system::{Event, EventKind, Link, TripleFault, interrupts::raise},
};
use dragoman_state::{Activity, Dr6, GuestPhys, InterruptShadow, RFlags, SegmentIndex, VmInstant};

use super::{
    BlockEnd, InterpretedVcpu,
    processor::{Processor, UserInterrupts},
};
use crate::{AccelError, ExitReason, SafepointWork, StopToken, inbox::Signals, mmu::ViewIndex};

/// As many instructions as the block has.
pub(crate) const NO_LIMIT: usize = usize::MAX;

impl InterpretedVcpu {
    /// Runs `work` as one of the processors of the world.
    pub fn in_world(&mut self, work: impl FnOnce(&mut Self) -> ExitReason) -> Result<ExitReason, AccelError> {
        let world = self.cpu.context.world.clone();
        world.enter();
        self.cpu.must_attend = true;
        self.cpu.frame.time.restart();
        let reason = work(self);
        self.cpu.withdraw_deadline();
        world.leave();
        Ok(reason)
    }

    pub fn run_until_stopped(&mut self, stop: &StopToken) -> ExitReason {
        self.run_by(stop, |vcpu| vcpu.run_block(NO_LIMIT))
    }

    /// Runs until told to stop; `run` runs instructions until something other than running them is to be done.
    pub fn run_by(&mut self, stop: &StopToken, mut run: impl FnMut(&mut Self) -> BlockEnd) -> ExitReason {
        loop {
            if let Some(reason) = self.round(stop, &mut run) {
                return reason;
            }
        }
    }

    /// Does what comes before the next instruction, and has `run` run instructions until something other than that is to be
    /// done; or says why it cannot go on.
    #[inline(always)]
    pub fn round(&mut self, stop: &StopToken, run: &mut impl FnMut(&mut Self) -> BlockEnd) -> Option<ExitReason> {
        if self.cpu.has_changed {
            self.cpu.settle();
        }
        if self.cpu.must_attend || self.cpu.inbox.has_any() {
            if let Some(reason) = self.attend(stop, false) {
                return Some(reason);
            }
            if self.cpu.must_attend {
                return self.run_one(|vcpu| vcpu.run_block(1)).err().map(ExitReason::TripleFault);
            }
        }
        let end = run(self);
        if let Err(end) = self.finish(end) {
            return Some(ExitReason::TripleFault(end));
        }
        self.shutdown.take().map(ExitReason::TripleFault)
    }

    pub fn step_once(&mut self) -> ExitReason {
        self.step_by(|vcpu| vcpu.run_block(1))
    }

    /// Delivers one interrupt, or has `run` run one instruction.
    pub fn step_by(&mut self, run: impl FnOnce(&mut Self) -> BlockEnd) -> ExitReason {
        let never = StopToken::new();
        if let Some(reason) = self.attend(&never, true) {
            return reason;
        }
        match self.run_one(run) {
            Ok(()) => ExitReason::StepDone,
            Err(end) => ExitReason::TripleFault(end),
        }
    }

    /// Runs a single instruction, because it is shadowed or stepped.
    fn run_one(&mut self, run: impl FnOnce(&mut Self) -> BlockEnd) -> Result<(), TripleFault> {
        let state = &mut self.cpu.state;
        let is_shadowed = state.events.shadow == InterruptShadow::MovSs;
        let resumes = state.rflags.contains(RFlags::RF);
        state.events.shadow = InterruptShadow::None;
        state.rflags.remove(RFlags::RF);
        if state.dr7.has_any() && !resumes && !is_shadowed {
            let hits = self.cpu.instruction_breakpoints();
            if !hits.is_empty() {
                self.cpu.state.dr6 |= hits;
                // A fault, but the one fault whose frame does not hold RF: its handler sets it to go on.
                return self.cpu.raise(Event::exception(Fault::trap(vector::DB)));
            }
        }
        // Beforehand, because delivering a software interrupt takes it back.
        let state = &mut self.cpu.state;
        if state.rflags.contains(RFlags::TF) && !is_shadowed {
            state.events.pending_debug |= Dr6::BS;
        }
        let branches = self.cpu.branches.count();
        let end = run(self);
        // Under BTF only branches are stepped.
        if self.cpu.state.msrs.steps_branches() && self.cpu.branches.count() == branches {
            self.cpu.state.events.pending_debug.remove(Dr6::BS);
        }
        self.cpu.must_attend = true;
        self.finish(end)
    }

    /// Raises what instructions ended with. A fault takes back the debug traps that its instruction would have made.
    #[inline(always)]
    pub fn finish(&mut self, end: BlockEnd) -> Result<(), TripleFault> {
        match end {
            BlockEnd::Done => Ok(()),
            BlockEnd::Fault(fault) => {
                self.cpu.state.events.pending_debug = Dr6::empty();
                self.cpu.refuse(fault)
            }
        }
    }

    /// Does everything that comes before the next instruction. Afterwards [`Processor::must_attend`] says whether only
    /// one instruction may run before the next look. A step is over with the first interrupt or trap that is delivered:
    /// there are guests in which each delivery makes another one due.
    pub fn attend(&mut self, stop: &StopToken, is_step: bool) -> Option<ExitReason> {
        loop {
            // Also what comes with the request to stop: nobody says it again.
            let signals = self.cpu.inbox.take();
            self.hear(signals);
            if stop.is_stopped() {
                return Some(ExitReason::Stopped);
            }
            match self.deliver_pending() {
                Err(end) => return Some(ExitReason::TripleFault(end)),
                Ok(true) if is_step => return Some(ExitReason::StepDone),
                Ok(true) => continue,
                Ok(false) => {}
            }
            match self.cpu.state.events.activity {
                Activity::Running => break,
                Activity::Halted => {
                    if !self.cpu.can_wake() {
                        return Some(ExitReason::HaltedForever);
                    }
                    self.cpu.sleep(None);
                }
                Activity::WaitForSipi | Activity::Shutdown => self.cpu.sleep(None),
            }
        }
        self.cpu.derive();
        self.cpu.has_changed = false;
        // What a timer is late by must not look early.
        self.cpu.frame.time.forget();
        self.cpu.frame.waits = self.cpu.has_interrupt().into();
        let state = &self.cpu.state;
        self.cpu.must_attend = state.events.shadow != InterruptShadow::None
            || state.rflags.intersects(RFlags::TF | RFlags::RF)
            || state.dr7.has_any();
        self.cpu.publish_deadline();
        None
    }

    /// Takes in what other threads said.
    pub fn hear(&mut self, signals: Signals) {
        let inbox = self.cpu.inbox.clone();
        if signals.contains(Signals::MESSAGES) {
            inbox.take_messages().into_iter().for_each(|message| self.cpu.accept(message));
        }
        if signals.contains(Signals::EXTERNAL) {
            self.cpu.set_external_line(inbox.external_line());
        }
        if signals.contains(Signals::CODE) {
            let tracker = self.cpu.context.ram.tracker().clone();
            let is_only_user = self.cpu.context.world.is_single() && self.overwritten.is_none();
            for (at, length) in inbox.take_overwritten() {
                let is_gone = self.blocks.invalidate(at, length);
                if is_only_user && is_gone {
                    tracker.clear_code(at.page());
                }
                if let Some(overwritten) = &mut self.overwritten {
                    overwritten.push((at, length));
                }
            }
        }
        if signals.contains(Signals::WORK) {
            self.cpu.do_work();
        }
        if signals.contains(Signals::SAFEPOINT) {
            let world = self.cpu.context.world.clone();
            world.leave();
            world.enter();
        }
        if signals.contains(Signals::DEADLINE) {
            self.cpu.published = VmInstant::NEVER;
            self.cpu.advance_timer();
        }
    }

    /// Delivers the most urgent of what is pending and let in; whether there was one.
    fn deliver_pending(&mut self) -> Result<bool, TripleFault> {
        let events = &self.cpu.state.events;
        if events.shadow != InterruptShadow::None || events.activity == Activity::WaitForSipi {
            return Ok(false);
        }
        if !events.pending_debug.is_empty() {
            let conditions = std::mem::take(&mut self.cpu.state.events.pending_debug);
            self.cpu.state.dr6 |= conditions;
            self.cpu.raise(Event::exception(Fault::trap(vector::DB)))?;
            return Ok(true);
        }
        if events.nmi_pending && !events.nmi_blocked {
            let events = &mut self.cpu.state.events;
            (events.nmi_pending, events.nmi_blocked) = (false, true);
            self.cpu.wake();
            self.cpu.raise(Event::NMI)?;
            return Ok(true);
        }
        if self.cpu.state.rflags.contains(RFlags::IF) {
            if let Some(vector) = self.cpu.acknowledge_interrupt() {
                self.cpu.wake();
                self.cpu.raise(Event::external(vector))?;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Processor {
    /// Does what others asked to be done before the next instruction.
    fn do_work(&mut self) {
        for work in self.inbox.take_work() {
            match work {
                SafepointWork::DropWriteEntries => self.mmu.drop_write_entries(),
                SafepointWork::ProtectPage(page) => self.mmu.protect(page),
            }
        }
    }

    /// Runs `work` while no other processor touches guest memory. Others may have been alone before: what they asked for is
    /// done afterwards, because the instruction under way goes on.
    pub fn alone<R>(&mut self, work: impl FnOnce(&mut Self) -> R) -> R {
        let world = self.context.world.clone();
        if world.is_single() {
            return work(self);
        }
        let result = world.alone(|| work(self));
        self.do_work();
        result
    }

    /// Lets nobody write to the page of code at `at` unnoticed from now on.
    pub fn watch_code(&mut self, at: GuestPhys) {
        if self.context.ram.tracker().code_granules(at) == 0 {
            self.guard(at, |tracker| tracker.mark_code(at, 1));
        }
    }

    /// Has the first write to the page table at `at` noted from now on.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    pub fn watch_table(&mut self, at: GuestPhys) {
        self.guard(at, |tracker| tracker.watch_table(at));
    }

    /// Has `mark` mark the page of `at`, so that nobody writes to it unnoticed from then on. Nobody else runs while that begins:
    /// another processor could be between looking whether it is watched and writing.
    fn guard(&mut self, at: GuestPhys, mark: impl FnOnce(&PageTracker) -> bool) {
        let tracker = self.context.ram.tracker().clone();
        let world = self.context.world.clone();
        if !world.is_single() {
            world.tell(SafepointWork::ProtectPage(at.page()));
        }
        self.alone(|_| mark(&tracker));
        self.mmu.protect(at.page());
    }

    /// Takes over what a helper changed. Where that may have let anything in, it is attended to next: interrupts that came
    /// since are signals.
    pub fn settle(&mut self) {
        self.settle_by(Self::derive);
    }

    /// The same by `derive`, which derives as much anew as may have changed.
    pub fn settle_by(&mut self, derive: fn(&mut Self)) {
        self.has_changed = false;
        let (state, events) = (&self.state, &self.state.events);
        let is_plain = events.activity == Activity::Running
            && events.shadow == InterruptShadow::None
            && events.pending_debug.is_empty()
            && !events.nmi_pending
            && !state.rflags.intersects(RFlags::TF | RFlags::RF)
            && !state.dr7.has_any();
        let lets_in = state.rflags.contains(RFlags::IF) && self.frame.waits != 0;
        if is_plain && !lets_in && !self.must_attend {
            derive(self);
        } else {
            self.must_attend = true;
        }
    }

    /// Sleeps until something happens, or `at_most` has passed where that is given.
    pub(super) fn sleep(&mut self, at_most: Option<Duration>) {
        let world = self.context.world.clone();
        let deadline = self.timer_deadline();
        let due = (deadline != VmInstant::NEVER).then(|| Duration::from_nanos(deadline.since(self.context.clock.now()).0));
        self.withdraw_deadline();
        world.leave();
        self.inbox.sleep(due.into_iter().chain(at_most).min());
        world.enter();
        self.advance_timer();
    }

    /// Does what an instruction that cannot go on asks for.
    fn refuse(&mut self, fault: Fault) -> Result<(), TripleFault> {
        if fault.is_freeze() {
            self.state.events.activity = Activity::Halted;
            self.must_attend = true;
            return Ok(());
        }
        self.raise(Event::exception(fault))
    }

    /// Delivers an event; RIP is what its handler returns to.
    pub fn raise(&mut self, event: Event) -> Result<(), TripleFault> {
        self.store_flags();
        self.derive();
        if event.kind == EventKind::External && self.view == ViewIndex::User {
            self.user_interrupts = UserInterrupts { count: self.user_interrupts.count + 1, space: self.state.top_table() };
        }
        let (selector, rip) = (self.state.segment(SegmentIndex::Cs).selector, self.state.rip);
        let from = self.state.code_address(rip);
        let link = Link { event, objection: self.objection, address: self.state.events.page_fault_address };
        let result = raise(self, event);
        self.load_flags();
        self.must_attend = true;
        if result.is_err() {
            self.state.events.activity = Activity::Shutdown;
            return result;
        }
        self.branches.push(from, self.state.code_address(self.state.rip));
        if event.kind == EventKind::Exception {
            self.last_exception = Some(Raised { link, selector, rip });
        }
        result
    }

    fn wake(&mut self) {
        if self.state.events.activity == Activity::Halted {
            self.state.events.activity = Activity::Running;
        }
    }

    /// Whether anything can end a halt. A non-maskable interrupt that still waits is kept out until IRET, which never comes.
    fn can_wake(&mut self) -> bool {
        self.state.rflags.contains(RFlags::IF)
            || !self.context.world.is_single()
            || !self.state.events.nmi_blocked && self.may_get_nmi()
    }
}
