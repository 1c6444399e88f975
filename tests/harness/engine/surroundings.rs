//! What a processor is given while it is judged: ports that answer as a row says, a clock that stands still, and nothing
//! else.

use std::sync::{
    Arc, Mutex, OnceLock,
    atomic::{AtomicU32, Ordering},
};

use dragoman_accel::{CpuBus, StopToken, VcpuHandle};
use dragoman_devices::{Alarm, Clock, lapic::Ipi};
use dragoman_state::{GuestPhys, Port, VcpuId, VmInstant, Width};

/// The port at which a processor can be stopped.
pub const STOP: u8 = 0x9a;

/// Ports that remember. What was never set reads as all ones, as on a bus where nobody answers.
#[derive(Default)]
pub struct Ports {
    bytes: Mutex<Vec<(u16, u8)>>,
    handle: OnceLock<Arc<dyn VcpuHandle>>,
    /// After so many writes to [`STOP`] the processor is stopped; where it is zero, by none.
    fuse: AtomicU32,
    stop: StopToken,
}

impl Ports {
    /// Who is stopped by [`STOP`].
    pub fn connect(&self, handle: Arc<dyn VcpuHandle>) {
        // A rig has one processor, whichever engine runs it.
        let _ = self.handle.set(handle);
    }

    /// Has the processor stopped by its `writes`th write to [`STOP`] from now on; by none where that is zero.
    pub fn light_fuse(&self, writes: u32) {
        self.stop.clear();
        self.fuse.store(writes, Ordering::Relaxed);
    }

    /// What asks the processor to stop.
    pub fn stop(&self) -> &StopToken {
        &self.stop
    }

    fn burn_fuse(&self) {
        if self.fuse.load(Ordering::Relaxed) > 0 && self.fuse.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.stop.stop();
            self.handle.get().inspect(|handle| handle.kick());
        }
    }

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
        if port.0 == u16::from(STOP) {
            self.burn_fuse();
        }
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
