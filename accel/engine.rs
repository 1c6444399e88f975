//! The seam between the machine and what runs its processors.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use dragoman_devices::{Alarm, Clock, InterruptMessage, lapic::Ipi, memory::GuestRam};
use dragoman_frontend::{model::CpuModel, post_mortem::Trace, semantics::system::TripleFault};
use dragoman_state::{GuestPhys, Port, VcpuId, VcpuState, VmInstant, Width};

use crate::World;

/// What an engine can do beyond running instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// It can stop after exactly one instruction.
    pub single_step: bool,
    /// It can log which pages were written.
    pub dirty_log: bool,
}

/// Why an engine cannot go on. Never the guest's doing.
#[derive(Debug, thiserror::Error)]
pub enum AccelError {
    /// The engine is not in this build, or not for this host.
    #[error("{0} is not available here: {1}")]
    Unavailable(&'static str, String),
    /// What the engine needs of the host cannot be used, or not any more.
    #[error(transparent)]
    Unusable(Box<dyn std::error::Error + Send + Sync>),
    /// Something that cannot happen did.
    #[error("internal error: {0}")]
    Internal(String),
}

/// Why a processor stopped running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// It was asked to.
    Stopped,
    /// The instructions asked for are done.
    StepDone,
    /// It halted with interrupts off, and nothing can wake it.
    HaltedForever,
    /// A double fault could not be delivered.
    TripleFault(TripleFault),
}

/// What other threads tell a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    /// An interrupt message; the processor's local APIC decides whether it is meant.
    Message(InterruptMessage),
    /// The 8259 pair's output is now high or low.
    ExternalInterrupt(bool),
    /// The moment that [`VcpuHandle::deadline`] names has come.
    Deadline,
}

/// What a processor does at its next safepoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SafepointWork {
    /// Forgets which pages can be written without telling anyone.
    DropWriteEntries,
    /// Forgets which of the page's bytes can be written without telling anyone.
    ProtectPage(GuestPhys),
}

/// Asks processors to stop. Cheap to clone; all clones are one token.
#[derive(Clone, Debug, Default)]
pub struct StopToken(Arc<AtomicBool>);

impl StopToken {
    /// A token that asks for nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks. Whoever runs must be kicked to notice at once.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Takes the request back.
    pub fn clear(&self) {
        self.0.store(false, Ordering::Release);
    }

    /// Whether somebody asked.
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The world outside a processor. The bus supplies what no device does, so nothing here fails.
pub trait CpuBus: Send + Sync {
    /// Reads physical memory that is no RAM.
    fn read_mmio(&self, at: GuestPhys, width: Width) -> u64;
    /// Writes physical memory that is no RAM.
    fn write_mmio(&self, at: GuestPhys, width: Width, value: u64);
    /// Reads a port.
    fn read_port(&self, port: Port, width: Width) -> u32;
    /// Writes a port.
    fn write_port(&self, port: Port, width: Width, value: u32);
    /// The acknowledge cycle of an external interrupt: the vector that the 8259 pair gives.
    fn acknowledge_interrupt(&self) -> u8;
    /// A local APIC ended the level-triggered interrupt `vector`.
    fn end_of_interrupt(&self, vector: u8);
    /// The FERR# output is asserted: an x87 error waits to be handled, and CR0.NE is clear. Whether IGNNE# is asserted in
    /// return, so that the error is ignored.
    fn assert_ferr(&self) -> bool {
        false
    }
    /// The FERR# output is no longer asserted.
    fn release_ferr(&self) {}
    /// Whether something outside may wake a halted processor that lets no interrupts in, as things are set up now.
    fn may_send_nmi(&self) -> bool {
        false
    }
    /// Sixty-four bits that no guest can foretell: what RDRAND and RDSEED give. `None` where the host has none.
    fn random(&self) -> Option<u64> {
        getrandom::u64().ok()
    }
    /// The local APIC of `sender` sends an interrupt to processors, itself perhaps among them.
    fn send(&self, sender: VcpuId, ipi: Ipi);
}

/// Everything a new processor is given.
#[derive(Clone)]
pub struct VcpuContext {
    /// The world outside.
    pub bus: Arc<dyn CpuBus>,
    /// Guest memory.
    pub ram: Arc<GuestRam>,
    /// Guest time.
    pub clock: Arc<dyn Clock>,
    /// Who wakes the processor when its timer is due.
    pub alarm: Arc<dyn Alarm>,
    /// What it is.
    pub model: CpuModel,
    /// The other processors, to be stopped when one needs to be alone.
    pub world: Arc<World>,
}

/// A processor, and the handle by which other threads reach it.
pub type Created = (Box<dyn Vcpu>, Arc<dyn VcpuHandle>);

/// An engine.
pub trait Accelerator: Send + Sync {
    /// The name that users choose it by.
    fn name(&self) -> &'static str;
    /// What it can do.
    fn capabilities(&self) -> Capabilities;
    /// What the time-stamp counter shows beyond the machine's clock of zero when the machine is switched on, for a counter of
    /// `hertz`: where the guest reads the host's own, nothing need be added to that.
    fn time_stamp_at_power_on(&self, _now: VmInstant, _hertz: u64) -> u64 {
        0
    }
    /// A new processor in its power-on state. Where there was one of this `id` in the same world, run by this engine or by
    /// another, the new one takes its place: its handle stands for the same [`Inbox`](crate::Inbox), so that what was raised
    /// and not heard yet is heard by the new one. Only one of them may run from then on.
    fn create_vcpu(&self, id: VcpuId, context: VcpuContext) -> Result<Created, AccelError>;
}

/// How other threads reach a processor. Callable from any thread; takes no lock that a running processor holds.
pub trait VcpuHandle: Send + Sync {
    /// Tells the processor of an event, and wakes it if it sleeps.
    fn raise(&self, what: Pending);
    /// Makes the processor look at its stop token.
    fn kick(&self);
    /// Has the processor do `work` before it executes another instruction.
    fn at_safepoint(&self, work: SafepointWork);
    /// When the processor's timer is due; somebody must then raise [`Pending::Deadline`]. Never while it sleeps: it
    /// wakes itself.
    fn deadline(&self) -> VmInstant;
}

/// A processor. One thread runs it at a time.
pub trait Vcpu: Send {
    /// Runs until told to stop or until it cannot go on. Memory-mapped and port I/O never return here; nor does HLT,
    /// unless nothing can end it.
    fn run(&mut self, stop: &StopToken) -> Result<ExitReason, AccelError>;
    /// Executes one instruction, or delivers one interrupt.
    fn step(&mut self) -> Result<ExitReason, AccelError>;
    /// The complete state.
    fn save(&mut self) -> Result<VcpuState, AccelError>;
    /// Replaces the complete state.
    fn load(&mut self, state: &VcpuState) -> Result<(), AccelError>;
    /// How many instructions it has executed, as far as they were counted.
    fn instructions(&self) -> u64;
    /// What else it has counted, and under which names.
    fn counters(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
    /// What it remembers of the way to where it is.
    fn trace(&self) -> Trace;
}
