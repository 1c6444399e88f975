//! The local APIC's registers. Its behaviour is a chip in the devices crate; its state is the processor's.
//! SDM: vol. 3 §11.4.

use crate::{VcpuId, VmInstant};

/// The entries of the local vector table, in register order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
#[expect(missing_docs, reason = "the manual's own names say all there is to say")]
pub enum LvtIndex {
    Cmci = 0,
    Timer = 1,
    Thermal = 2,
    Performance = 3,
    Lint0 = 4,
    Lint1 = 5,
    Error = 6,
}

/// The registers of one local APIC.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct LapicState {
    /// Local APIC ID: the whole 32 bits; xAPIC mode shows the low eight.
    pub id: u32,
    /// Task priority.
    pub task_priority: u8,
    /// Logical destination register.
    pub logical_destination: u32,
    /// Destination format register.
    pub destination_format: u32,
    /// Spurious-interrupt vector register.
    pub spurious: u32,
    /// In service, 256 bits.
    pub in_service: [u32; 8],
    /// Trigger mode: set where the interrupt is level-triggered.
    pub trigger_mode: [u32; 8],
    /// Requested, 256 bits.
    pub requested: [u32; 8],
    /// Error status as software reads it.
    pub error_status: u32,
    /// Errors since the last write to the error status register.
    pub errors_pending: u32,
    /// Interrupt command register.
    pub interrupt_command: u64,
    /// Local vector table.
    pub lvt: [u32; 7],
    /// Timer: initial count.
    pub initial_count: u32,
    /// Timer: divide configuration register.
    pub divide_configuration: u32,
    /// Timer: when the running count started; meaningful while `initial_count` is not zero.
    pub count_started: VmInstant,
    /// Timer: the time-stamp counter's value at which it fires in TSC-deadline mode; zero when disarmed.
    pub tsc_deadline: u64,
    /// Timer: the moment at which it next fires, or never.
    pub timer_deadline: VmInstant,
}

impl LapicState {
    /// What power-on leaves in the local APIC of processor `id`.
    pub const fn power_on(id: VcpuId) -> Self {
        const MASKED: u32 = 1 << 16;
        Self {
            id: id.0,
            task_priority: 0,
            logical_destination: 0,
            destination_format: u32::MAX,
            spurious: 0xff,
            in_service: [0; 8],
            trigger_mode: [0; 8],
            requested: [0; 8],
            error_status: 0,
            errors_pending: 0,
            interrupt_command: 0,
            lvt: [MASKED; 7],
            initial_count: 0,
            divide_configuration: 0,
            count_started: VmInstant::ZERO,
            tsc_deadline: 0,
            timer_deadline: VmInstant::NEVER,
        }
    }
}
