//! What a local APIC does with interrupts: takes them, orders them, and hands them to its processor.
//!
//! Rule of this file: a message reaches this APIC only through [`Lapic::accept`], a local event only through
//! [`Lapic::signal`], and both end in the same IRR.
//! Reference: SDM vol. 3 §11.4, §11.5.3, §11.6, §11.8.

use dragoman_state::{ApicBase, GuestPhys, LapicState, LvtIndex, VcpuId, VmInstant};

use super::{
    destination::{Address, x2apic_logical},
    ipi::Ipi,
    register::{Errors, Lvt, Register, Spurious, VERSION, lvt_writable},
    timer::Timebase,
    vectors::Vectors,
    x2apic::GeneralProtection,
};
use crate::{Delivery, InterruptMessage};

/// Vectors below this one are the processor's own.
pub(super) const FIRST_VECTOR: u8 = 16;

/// A processor's local APIC, while somebody works with it.
pub struct Lapic<'a> {
    pub(super) state: &'a mut LapicState,
    pub(super) base: &'a mut ApicBase,
    pub(super) timebase: Timebase,
}

/// What must happen outside the processor because of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Effect {
    /// Nothing.
    None,
    /// An interrupt goes to other processors.
    Send(Ipi),
    /// The end of this level-triggered interrupt is broadcast to the I/O APICs.
    EndOfInterrupt(u8),
}

/// What a message or a local event comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Accepted {
    /// Not for this processor, or dropped.
    Ignored,
    /// An interrupt is requested; [`Lapic::highest_pending`] tells whether it is due.
    Requested,
    /// A non-maskable interrupt.
    Nmi,
    /// A system-management interrupt.
    Smi,
    /// INIT.
    Init,
    /// Start-up at the page of this number.
    StartUp(u8),
    /// An interrupt whose vector the 8259 pair gives.
    ExtInt,
}

impl<'a> Lapic<'a> {
    /// The local APIC whose registers are `state`, in the mode that IA32_APIC_BASE has, with clocks by `timebase`.
    pub fn new(state: &'a mut LapicState, base: &'a mut ApicBase, timebase: Timebase) -> Self {
        Self { state, base, timebase }
    }

    /// Whether the APIC is switched on at all.
    pub fn is_enabled(&self) -> bool {
        self.base.contains(ApicBase::EN)
    }

    /// Whether it is in x2APIC mode.
    pub fn is_x2apic(&self) -> bool {
        self.base.contains(ApicBase::EN | ApicBase::EXTD)
    }

    /// The page at which it answers; `None` in x2APIC mode and while it is switched off.
    pub fn page(&self) -> Option<GuestPhys> {
        (self.is_enabled() && !self.is_x2apic()).then_some(GuestPhys((*self.base & ApicBase::BASE).bits()))
    }

    /// What this APIC answers to now; to be asked again after every write to it.
    pub fn address(&self) -> Address {
        let logical = if self.is_x2apic() { x2apic_logical(self.state.id) } else { self.state.logical_destination };
        Address {
            is_enabled: self.is_enabled(),
            is_x2apic: self.is_x2apic(),
            id: self.state.id,
            logical,
            format: self.state.destination_format,
        }
    }

    /// INIT: every register is as after power-on, the mode and the ID stay.
    pub fn reset_by_init(&mut self) {
        *self.state = LapicState::power_on(VcpuId(self.state.id));
    }

    /// What firmware leaves for an operating system: on, the 8259 pair at LINT0, NMI at LINT1 ("virtual wire mode"). For
    /// guests that are started without firmware.
    pub fn enter_virtual_wire_mode(&mut self) {
        self.state.spurious = (Spurious::ENABLE | Spurious::VECTOR).bits();
        self.state.lvt[LvtIndex::Lint0 as usize] = (Delivery::ExtInt as u32) << 8;
        self.state.lvt[LvtIndex::Lint1 as usize] = (Delivery::Nmi as u32) << 8;
    }

    /// Writes IA32_APIC_BASE on a processor with `physical_bits` bits of physical address. Between x2APIC mode and xAPIC
    /// mode there is no way but through being switched off, which forgets everything. SDM: vol. 3 §11.12.5.
    pub fn write_base(&mut self, value: u64, physical_bits: u32) -> Result<(), GeneralProtection> {
        let new = ApicBase::from_bits_retain(value);
        let known = ApicBase::all().bits() & !u64::MAX.checked_shl(physical_bits).unwrap_or(0);
        // (switched on, x2APIC)
        let mode = |base: ApicBase| (base.contains(ApicBase::EN), base.contains(ApicBase::EXTD));
        let is_forbidden = matches!(
            (mode(*self.base), mode(new)),
            (_, (false, true)) | ((true, true), (true, false)) | ((false, _), (true, true))
        );
        if value & !known != 0 || is_forbidden {
            return Err(GeneralProtection);
        }
        if self.is_enabled() && !new.contains(ApicBase::EN) {
            self.reset_by_init();
        }
        *self.base = new;
        Ok(())
    }

    pub(super) fn is_software_enabled(&self) -> bool {
        Spurious::from_bits_retain(self.state.spurious).contains(Spurious::ENABLE)
    }

    /// A message on the way to the processors: whether it is for this one, and what it comes to.
    pub fn accept(&mut self, message: &InterruptMessage) -> Accepted {
        if !self.address().matches(message) {
            return Accepted::Ignored;
        }
        match message.delivery {
            Delivery::Fixed | Delivery::LowestPriority => self.request(message.vector, message.is_level),
            Delivery::Smi => Accepted::Smi,
            Delivery::Nmi => Accepted::Nmi,
            Delivery::Init => Accepted::Init,
            Delivery::StartUp => Accepted::StartUp(message.vector),
            Delivery::ExtInt => Accepted::ExtInt,
        }
    }

    pub(super) fn request(&mut self, vector: u8, is_level: bool) -> Accepted {
        if !self.is_software_enabled() {
            return Accepted::Ignored;
        }
        if vector < FIRST_VECTOR {
            self.report(Errors::RECEIVED_ILLEGAL_VECTOR);
            return Accepted::Ignored;
        }
        self.state.requested.put(vector, true);
        self.state.trigger_mode.put(vector, is_level);
        Accepted::Requested
    }

    /// A local event happens: the pin of `entry` rises, or what it stands for comes about. The pins of a processor whose
    /// APIC is switched off are INTR and NMI.
    pub fn signal(&mut self, entry: LvtIndex) -> Accepted {
        if !self.is_enabled() {
            return match entry {
                LvtIndex::Lint0 => Accepted::ExtInt,
                LvtIndex::Lint1 => Accepted::Nmi,
                LvtIndex::Cmci | LvtIndex::Timer | LvtIndex::Thermal | LvtIndex::Performance | LvtIndex::Error => {
                    Accepted::Ignored
                }
            };
        }
        let lvt = Lvt::from_bits_retain(self.state.lvt[entry as usize]);
        if lvt.intersects(Lvt::MASKED | Lvt::REMOTE_IRR) {
            return Accepted::Ignored;
        }
        // The timer's and the error's entries have no delivery mode: those bits are zero, which is Fixed.
        match Delivery::from_bits((lvt.bits() >> 8) as u8) {
            Some(Delivery::Fixed) => {
                let is_level = lvt.contains(Lvt::LEVEL);
                let accepted = self.request(lvt.bits() as u8, is_level);
                if is_level && accepted == Accepted::Requested {
                    self.state.lvt[entry as usize] |= Lvt::REMOTE_IRR.bits();
                }
                accepted
            }
            Some(Delivery::Smi) => Accepted::Smi,
            Some(Delivery::Nmi) => Accepted::Nmi,
            Some(Delivery::Init) => Accepted::Init,
            Some(Delivery::ExtInt) => Accepted::ExtInt,
            Some(Delivery::LowestPriority | Delivery::StartUp) | None => Accepted::Ignored,
        }
    }

    /// Whether the 8259 pair's INTR reaches the processor: directly, or through LINT0.
    pub fn takes_external_interrupts(&self) -> bool {
        let lint0 = Lvt::from_bits_retain(self.state.lvt[LvtIndex::Lint0 as usize]);
        let is_extint = Delivery::from_bits((lint0.bits() >> 8) as u8) == Some(Delivery::ExtInt);
        !self.is_enabled() || is_extint && !lint0.contains(Lvt::MASKED)
    }

    /// Whether the 8259 pair's output is a non-maskable interrupt here.
    pub fn takes_external_interrupts_as_nmi(&self) -> bool {
        let lint0 = Lvt::from_bits_retain(self.state.lvt[LvtIndex::Lint0 as usize]);
        let is_nmi = Delivery::from_bits((lint0.bits() >> 8) as u8) == Some(Delivery::Nmi);
        self.is_enabled() && is_nmi && !lint0.contains(Lvt::MASKED)
    }

    /// The processor priority register: the higher of the task's priority and that of what is in service. Of several
    /// processors that a message of lowest priority is for, the one where this is least is to get it.
    pub fn processor_priority(&self) -> u8 {
        let in_service = self.state.in_service.highest().unwrap_or(0) & 0xf0;
        if self.state.task_priority & 0xf0 >= in_service { self.state.task_priority } else { in_service }
    }

    /// The vector of the interrupt that the processor should take now: of the highest priority, and higher than the
    /// processor's.
    pub fn highest_pending(&self) -> Option<u8> {
        let vector = self.state.requested.highest()?;
        let is_due = vector & 0xf0 > self.processor_priority() & 0xf0;
        (is_due && self.is_enabled() && self.is_software_enabled()).then_some(vector)
    }

    /// The processor takes the interrupt `vector`, which is [`Lapic::highest_pending`]: it is now in service.
    pub fn acknowledge(&mut self, vector: u8) {
        self.state.requested.put(vector, false);
        self.state.in_service.put(vector, true);
    }

    /// CR8.
    pub fn cr8(&self) -> u64 {
        u64::from(self.state.task_priority >> 4)
    }

    /// Writes CR8, of which four bits are not reserved.
    pub fn set_cr8(&mut self, value: u64) {
        self.state.task_priority = ((value & 0xf) << 4) as u8;
    }

    /// The spurious-interrupt vector, for an interrupt that went away between being pending and being taken.
    pub fn spurious_vector(&self) -> u8 {
        self.state.spurious as u8
    }

    fn end_of_interrupt(&mut self) -> Effect {
        let Some(vector) = self.state.in_service.highest() else { return Effect::None };
        self.state.in_service.put(vector, false);
        for pin in [LvtIndex::Lint0, LvtIndex::Lint1] {
            let lvt = &mut self.state.lvt[pin as usize];
            if *lvt as u8 == vector {
                *lvt &= !Lvt::REMOTE_IRR.bits();
            }
        }
        let is_suppressed = Spurious::from_bits_retain(self.state.spurious).contains(Spurious::EOI_SUPPRESS);
        let is_broadcast = self.state.trigger_mode.has(vector) && !is_suppressed;
        if is_broadcast { Effect::EndOfInterrupt(vector) } else { Effect::None }
    }

    /// Notes errors for the next write of the error status register, and interrupts where one is new.
    pub(super) fn report(&mut self, errors: Errors) {
        let is_new = errors.bits() & !self.state.errors_pending != 0;
        self.state.errors_pending |= errors.bits();
        if is_new {
            // An error vector that is itself illegal is noted by this too, and is not new a second time.
            let _ = self.signal(LvtIndex::Error);
        }
    }

    /// Reads a register that both modes have.
    pub(super) fn read_register(&self, register: Register, now: VmInstant) -> u32 {
        let state = &*self.state;
        match register {
            Register::Id if self.is_x2apic() => state.id,
            Register::Id => state.id << 24,
            Register::Version => VERSION,
            Register::TaskPriority => state.task_priority.into(),
            Register::ProcessorPriority => self.processor_priority().into(),
            Register::LogicalDestination => self.address().logical,
            Register::DestinationFormat => state.destination_format,
            Register::SpuriousVector => state.spurious,
            Register::InService(n) => state.in_service.get(n).copied().unwrap_or(0),
            Register::TriggerMode(n) => state.trigger_mode.get(n).copied().unwrap_or(0),
            Register::Requested(n) => state.requested.get(n).copied().unwrap_or(0),
            Register::ErrorStatus => state.error_status,
            Register::Lvt(entry) => state.lvt[entry as usize],
            Register::InterruptCommand => state.interrupt_command as u32,
            Register::InterruptCommandHigh => (state.interrupt_command >> 32) as u32,
            Register::InitialCount => state.initial_count,
            Register::CurrentCount => self.current_count(now),
            Register::DivideConfiguration => state.divide_configuration,
            // The first two are no longer built, the others are for writing.
            Register::ArbitrationPriority | Register::RemoteRead | Register::EndOfInterrupt | Register::SelfIpi => 0,
        }
    }

    /// Writes a register that both modes have; what cannot be written is left alone. The interrupt command register is
    /// not one of them.
    pub(super) fn write_register(&mut self, register: Register, value: u32, now: VmInstant) -> Effect {
        match register {
            Register::TaskPriority => self.state.task_priority = value as u8,
            Register::EndOfInterrupt => return self.end_of_interrupt(),
            Register::SpuriousVector => self.write_spurious(value),
            Register::ErrorStatus => self.state.error_status = std::mem::take(&mut self.state.errors_pending),
            Register::Lvt(entry) => self.write_lvt(entry, value),
            Register::InitialCount => self.write_initial_count(value, now),
            Register::DivideConfiguration => self.write_divide_configuration(value, now),
            Register::Id
            | Register::Version
            | Register::ArbitrationPriority
            | Register::ProcessorPriority
            | Register::RemoteRead
            | Register::LogicalDestination
            | Register::DestinationFormat
            | Register::InService(_)
            | Register::TriggerMode(_)
            | Register::Requested(_)
            | Register::InterruptCommand
            | Register::InterruptCommandHigh
            | Register::CurrentCount
            | Register::SelfIpi => {}
        }
        Effect::None
    }

    fn write_spurious(&mut self, value: u32) {
        self.state.spurious = Spurious::from_bits_truncate(value).bits();
        if !self.is_software_enabled() {
            for lvt in &mut self.state.lvt {
                *lvt |= Lvt::MASKED.bits();
            }
        }
    }

    fn write_lvt(&mut self, entry: LvtIndex, value: u32) {
        let is_software_enabled = self.is_software_enabled();
        let lvt = &mut self.state.lvt[entry as usize];
        let old = *lvt;
        *lvt = value & lvt_writable(entry) | old & Lvt::REMOTE_IRR.bits();
        if !is_software_enabled {
            *lvt |= Lvt::MASKED.bits();
        }
        if *lvt & Lvt::LEVEL.bits() == 0 {
            *lvt &= !Lvt::REMOTE_IRR.bits();
        }
        if entry == LvtIndex::Timer {
            self.timer_mode_changed(old);
        }
    }
}
