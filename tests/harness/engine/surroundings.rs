//! What a processor is given while it is judged: ports that answer as a row says, a clock that stands still, and nothing
//! else.

use std::sync::Mutex;

use dragoman_accel::CpuBus;
use dragoman_devices::{Alarm, Clock, lapic::Ipi};
use dragoman_state::{GuestPhys, Port, VcpuId, VmInstant, Width};

/// Ports that remember. What was never set reads as all ones, as on a bus where nobody answers.
#[derive(Debug, Default)]
pub struct Ports {
    bytes: Mutex<Vec<(u16, u8)>>,
}

impl Ports {
    /// Forgets everything.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// Sets the bytes at `port` and those after it.
    pub fn set(&self, port: u16, bytes: &[u8]) {
        let mut known = self.lock();
        for (n, byte) in bytes.iter().enumerate() {
            let port = port.wrapping_add(n as u16);
            known.retain(|(other, _)| *other != port);
            known.push((port, *byte));
        }
    }

    /// The byte at `port`.
    pub fn get(&self, port: u16) -> u8 {
        self.lock().iter().find(|(known, _)| *known == port).map_or(0xff, |(_, byte)| *byte)
    }

    /// The ports that were set, in order.
    pub fn known(&self) -> Vec<(u16, u8)> {
        let mut known = self.lock().clone();
        known.sort_unstable();
        known
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(u16, u8)>> {
        self.bytes.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl CpuBus for Ports {
    fn read_mmio(&self, _at: GuestPhys, width: Width) -> u64 {
        width.mask()
    }

    fn write_mmio(&self, _at: GuestPhys, _width: Width, _value: u64) {}

    fn read_port(&self, port: Port, width: Width) -> u32 {
        (0..width.bytes()).fold(0, |value, n| value | u32::from(self.get(port.0.wrapping_add(n as u16))) << (8 * n))
    }

    fn write_port(&self, port: Port, width: Width, value: u32) {
        self.set(port.0, &value.to_le_bytes()[..width.bytes() as usize]);
    }

    fn acknowledge_interrupt(&self) -> u8 {
        0xff
    }

    fn random(&self) -> Option<u64> {
        Some(0x0123_4567_89ab_cdef)
    }

    fn end_of_interrupt(&self, _vector: u8) {}

    fn send(&self, _sender: VcpuId, _ipi: Ipi) {}
}

/// Time that does not pass.
#[derive(Debug, Default)]
pub struct StandingClock;

impl Clock for StandingClock {
    fn now(&self) -> VmInstant {
        VmInstant::ZERO
    }
}

impl Alarm for StandingClock {
    fn wake_by(&self, _at: VmInstant) {}
}
