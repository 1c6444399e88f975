//! The processor's own local APIC: the chip is in the devices crate, its registers are in the processor's state, and here
//! the two meet. Shared by nobody: other processors reach it through the inbox.

use dragoman_devices::{
    InterruptMessage, IoError,
    lapic::{Accepted, Effect, FIRST_MSR, Lapic, Timebase},
};
use dragoman_frontend::{fault::Fault, semantics::ApicAccess};
use dragoman_state::{Activity, ApicBase, Gpr, LvtIndex, Segment, SegmentIndex, VmInstant, Width};
use log::debug;

use super::processor::Processor;

impl Processor {
    fn lapic(&mut self) -> Lapic<'_> {
        let model = &self.context.model;
        let timebase = Timebase::new(model.crystal_hertz(), model.tsc_hertz(), self.state.tsc_offset);
        Lapic::new(&mut self.state.lapic, &mut self.state.msrs.apic_base, timebase)
    }

    fn now(&self) -> VmInstant {
        self.context.clock.now()
    }

    /// How far the clock of the time-stamp counter has come since power-on.
    pub fn clock_ticks(&self) -> u64 {
        self.now().to_ticks(self.context.model.tsc_hertz())
    }

    /// The time-stamp counter.
    pub(super) fn guest_time(&mut self) -> u64 {
        let hertz = self.context.model.tsc_hertz();
        let counter = |now: VmInstant| now.to_ticks(hertz).wrapping_add(self.state.tsc_offset);
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        if self.frame.time.is_steady() {
            use dragoman_jit::run::time::ticks;
            let (before, now, after) = (ticks(), self.now(), ticks());
            let value = counter(now);
            self.frame.time.learn(before, after, now.0, value, hertz);
            return value;
        }
        counter(self.now())
    }

    /// An access to a register is over: interrupts may have become due, and the timer may have been set.
    fn finish_access(&mut self, effect: Effect) {
        self.must_attend = true;
        self.must_leave = true;
        match effect {
            Effect::None => {}
            Effect::Send(ipi) => self.context.bus.send(self.id, ipi),
            Effect::EndOfInterrupt(vector) => self.context.bus.end_of_interrupt(vector),
        }
    }

    /// Reads the page of memory-mapped registers.
    pub(super) fn read_apic_page(&mut self, offset: u64, width: Width) -> u64 {
        let now = self.now();
        let read = self.lapic().read(offset, width, now);
        // The timer may have expired by now, or the access may be an error that interrupts.
        self.finish_access(Effect::None);
        read.unwrap_or_else(|error| {
            self.refused(offset, error);
            width.mask()
        })
    }

    /// Writes the page of memory-mapped registers.
    pub(super) fn write_apic_page(&mut self, offset: u64, width: Width, value: u64) {
        let now = self.now();
        match self.lapic().write(offset, width, value, now) {
            Ok(effect) => self.finish_access(effect),
            Err(error) => {
                self.finish_access(Effect::None);
                self.refused(offset, error);
            }
        }
    }

    fn refused(&self, offset: u64, error: IoError) {
        debug!("local APIC of {:?}: access at {offset:#x}: {error}", self.id);
    }

    /// Accesses a register through its model-specific register.
    pub fn access_x2apic(&mut self, index: u8, access: ApicAccess) -> Result<u64, Fault> {
        let (now, msr) = (self.now(), FIRST_MSR + u32::from(index));
        match access {
            ApicAccess::Read => self.lapic().read_msr(msr, now).map_err(|_| Fault::GP0),
            ApicAccess::Write(value) => {
                let effect = self.lapic().write_msr(msr, value, now).map_err(|_| Fault::GP0)?;
                self.finish_access(effect);
                Ok(0)
            }
        }
    }

    pub(super) fn write_apic_base(&mut self, base: u64) -> Result<(), Fault> {
        let physical_bits = self.context.model.physical_bits();
        self.lapic().write_base(base, physical_bits).map_err(|_| Fault::GP0)?;
        self.must_attend = true;
        Ok(())
    }

    pub fn write_tsc_deadline(&mut self, value: u64) {
        let now = self.now();
        self.lapic().write_tsc_deadline(value, now);
        self.must_attend = true;
    }

    /// The time-stamp counter was set: a timer that counts by it expires at another moment.
    pub fn rearm_timer(&mut self) {
        let now = self.now();
        self.lapic().retime(now);
        self.must_attend = true;
    }

    /// Lets time pass for the timer.
    pub(super) fn advance_timer(&mut self) {
        let now = self.now();
        self.lapic().advance(now);
    }

    /// When the timer next fires.
    pub(super) fn timer_deadline(&mut self) -> VmInstant {
        self.lapic().next_deadline()
    }

    /// Has the timer's deadline watched while this processor runs.
    pub fn publish_deadline(&mut self) {
        let deadline = self.timer_deadline();
        if self.published != deadline {
            self.published = deadline;
            self.inbox.set_deadline(deadline);
            self.context.alarm.wake_by(deadline);
        }
    }

    /// The processor watches its deadline itself while it sleeps.
    pub fn withdraw_deadline(&mut self) {
        self.published = VmInstant::NEVER;
        self.inbox.set_deadline(VmInstant::NEVER);
    }

    /// Takes in an interrupt message, where it is for this processor.
    pub(super) fn accept(&mut self, message: InterruptMessage) {
        match self.lapic().accept(&message) {
            Accepted::Ignored | Accepted::Requested | Accepted::Smi => {}
            Accepted::Nmi => self.state.events.nmi_pending = true,
            Accepted::ExtInt => self.state.events.external_interrupt = true,
            Accepted::Init => self.initialise(),
            Accepted::StartUp(page) => self.start_up(page),
        }
    }

    /// The output of the 8259 pair is now `high`: the processor's INTR, or an input of its local APIC, which may be set up
    /// to make another interrupt of a rise.
    pub(super) fn set_external_line(&mut self, high: bool) {
        let rises = high && !self.state.events.external_interrupt;
        self.state.events.external_interrupt = high;
        if rises {
            match self.lapic().signal(LvtIndex::Lint0) {
                Accepted::Ignored | Accepted::Requested | Accepted::Smi | Accepted::ExtInt | Accepted::StartUp(_) => {}
                Accepted::Nmi => self.state.events.nmi_pending = true,
                Accepted::Init => self.initialise(),
            }
        }
    }

    /// Whether a non-maskable interrupt may come from outside, as things are set up now.
    pub(super) fn may_get_nmi(&mut self) -> bool {
        self.lapic().takes_external_interrupts_as_nmi() || self.context.bus.may_send_nmi()
    }

    /// Whether there is a maskable interrupt to be taken as soon as it is let in.
    pub fn has_interrupt(&mut self) -> bool {
        self.state.events.external_interrupt && self.lapic().takes_external_interrupts()
            || self.lapic().highest_pending().is_some()
    }

    /// The vector of the maskable interrupt to be taken now, acknowledged; `None` where there is none.
    pub fn acknowledge_interrupt(&mut self) -> Option<u8> {
        if self.state.events.external_interrupt && self.lapic().takes_external_interrupts() {
            let vector = self.context.bus.acknowledge_interrupt();
            self.state.events.external_interrupt = self.inbox.external_line();
            return Some(vector);
        }
        let vector = self.lapic().highest_pending()?;
        self.lapic().acknowledge(vector);
        Some(vector)
    }

    /// INIT: as after reset, but that caches, model-specific registers, the floating-point unit and the time-stamp counter
    /// keep what they hold; all but the bootstrap processor wait for a start-up message. SDM: vol. 3 table 10-1.
    fn initialise(&mut self) {
        let reset = self.context.model.power_on(self.id);
        let old = std::mem::replace(&mut self.state, reset);
        self.state.msrs = old.msrs;
        self.state.lapic = old.lapic;
        self.state.x87 = old.x87;
        self.state.vectors = old.vectors;
        self.state.xcr0 = old.xcr0;
        self.state.tsc_offset = old.tsc_offset;
        self.state.cr0 |= old.cr0 & (dragoman_state::Cr0::CD | dragoman_state::Cr0::NW);
        self.lapic().reset_by_init();
        let is_bootstrap = self.state.msrs.apic_base.contains(ApicBase::BSP);
        self.state.events.activity = if is_bootstrap { Activity::Running } else { Activity::WaitForSipi };
        self.load_flags();
        self.derive();
        self.mmu.flush(dragoman_frontend::semantics::Flush::All);
    }

    /// A start-up message: real mode at the start of `page`. Ignored unless one is waited for.
    fn start_up(&mut self, page: u8) {
        if self.state.events.activity != Activity::WaitForSipi {
            return;
        }
        self.state.events.activity = Activity::Running;
        let selector = u16::from(page) << 8;
        let code = Segment { base: u64::from(selector) << 4, selector, ..*self.state.segment(SegmentIndex::Cs) };
        *self.state.segment_mut(SegmentIndex::Cs) = code;
        self.state.rip = 0;
        self.state.gpr[Gpr::BLOCK] = 0;
    }
}
