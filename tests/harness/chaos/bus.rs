//! The world outside a random guest: every port and every address that is no RAM answers, with numbers that follow from a
//! seed, and the bus refuses what no bus may see.

use std::sync::{
    Arc, Mutex, OnceLock, PoisonError,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use dragoman_accel::{CpuBus, Pending, StopToken, VcpuHandle};
use dragoman_devices::{
    Delivery,
    lapic::{Ipi, Recipients},
};
use dragoman_state::{GuestPhys, PAGE_SIZE, Port, VcpuId, Width};

use super::events;
use crate::generate::Random;

/// How often the external line stays high when its interrupt is acknowledged: by a gate that lets interrupts in, the
/// processor would take it again and again before the handler's first instruction.
const REPEATS: u32 = 3;

/// What came over the bus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Accesses to addresses that are no RAM.
    pub memory: u64,
    /// Accesses to ports.
    pub ports: u64,
    /// Interrupts that were acknowledged, ended or sent.
    pub interrupts: u64,
}

impl Traffic {
    /// Adds what `other` counts.
    pub fn add(&mut self, other: Self) {
        self.memory += other.memory;
        self.ports += other.ports;
        self.interrupts += other.interrupts;
    }
}

/// The bus of one machine.
pub struct Bus {
    random: Mutex<Random>,
    traffic: Mutex<Traffic>,
    ram: Vec<(u64, u64)>,
    /// The first physical address that the processor cannot form.
    end: AtomicU64,
    handle: OnceLock<Arc<dyn VcpuHandle>>,
    repeats: AtomicU32,
    /// After so many accesses to ports the guest is stopped; where it is zero from the start, never.
    fuse: AtomicU32,
    stop: StopToken,
}

impl Bus {
    /// A bus beside the RAM in `ram` (first byte and length of each range), whose answers follow from `seed`.
    pub fn new(seed: u64, ram: Vec<(u64, u64)>) -> Self {
        Self {
            random: Mutex::new(Random::new(seed)),
            traffic: Mutex::default(),
            ram,
            end: AtomicU64::new(u64::MAX),
            handle: OnceLock::new(),
            repeats: AtomicU32::new(0),
            fuse: AtomicU32::new(0),
            stop: StopToken::new(),
        }
    }

    /// Whom interrupts go to.
    pub fn connect(&self, handle: Arc<dyn VcpuHandle>) {
        // The second processor of a machine would be a mistake of the caller's, and there is none.
        let _ = self.handle.set(handle);
    }

    /// From now on accesses at `end` and above are refused.
    pub fn set_end(&self, end: u64) {
        self.end.store(end, Ordering::Relaxed);
    }

    /// Has the guest stopped after `accesses` accesses to ports.
    pub fn light_fuse(&self, accesses: u32) {
        self.stop.clear();
        self.fuse.store(accesses, Ordering::Relaxed);
    }

    /// What asks the guest to stop.
    pub fn stop(&self) -> &StopToken {
        &self.stop
    }

    /// What came so far.
    pub fn traffic(&self) -> Traffic {
        *self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, add: impl FnOnce(&mut Traffic)) {
        add(&mut self.traffic.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn answer(&self, width: Width) -> u64 {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        width.mask() & if random.one_in(4) { u64::MAX } else { random.bits() }
    }

    fn check_memory(&self, at: GuestPhys, width: Width) {
        self.count(|traffic| traffic.memory += 1);
        let last = at.0.checked_add(width.bytes() - 1).expect("an access does not wrap around");
        assert!(at.page_offset() as u64 + width.bytes() <= PAGE_SIZE, "{width:?} at {at} is in two pages");
        let end = self.end.load(Ordering::Relaxed);
        assert!(last < end, "{width:?} at {at} is beyond {end:#x}, where physical addresses end");
        let is_ram = |(from, length): &(u64, u64)| at.0 < from + length && *from <= last;
        assert!(!self.ram.iter().any(is_ram), "{width:?} at {at} is RAM, and came to the bus");
    }

    /// An access to a port: the guest may be stopped by it, and an interrupt may come of it.
    fn port_accessed(&self) {
        self.count(|traffic| traffic.ports += 1);
        let Some(handle) = self.handle.get() else { return };
        if self.fuse.load(Ordering::Relaxed) > 0 && self.fuse.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.stop.stop();
            handle.kick();
        }
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        if random.one_in(8) {
            events::raise_one(&mut random, &**handle);
        }
    }
}

impl CpuBus for Bus {
    fn read_mmio(&self, at: GuestPhys, width: Width) -> u64 {
        self.check_memory(at, width);
        self.answer(width)
    }

    fn write_mmio(&self, at: GuestPhys, width: Width, value: u64) {
        self.check_memory(at, width);
        assert_eq!(value & !width.mask(), 0, "{width:?} at {at} cannot hold {value:#x}");
    }

    fn read_port(&self, _port: Port, width: Width) -> u32 {
        assert_ne!(width, Width::Qword, "no port is so wide");
        self.port_accessed();
        self.answer(width) as u32
    }

    fn write_port(&self, port: Port, width: Width, value: u32) {
        assert_ne!(width, Width::Qword, "no port is so wide");
        assert_eq!(u64::from(value) & !width.mask(), 0, "{width:?} at port {port} cannot hold {value:#x}");
        self.port_accessed();
    }

    fn acknowledge_interrupt(&self) -> u8 {
        self.count(|traffic| traffic.interrupts += 1);
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        let stays = random.one_in(8) && self.repeats.fetch_add(1, Ordering::Relaxed) % REPEATS != REPEATS - 1;
        if let (Some(handle), false) = (self.handle.get(), stays) {
            handle.raise(Pending::ExternalInterrupt(false));
        }
        random.bits() as u8
    }

    fn random(&self) -> Option<u64> {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        (!random.one_in(8)).then(|| random.bits())
    }

    fn end_of_interrupt(&self, _vector: u8) {
        self.count(|traffic| traffic.interrupts += 1);
    }

    fn send(&self, _sender: VcpuId, ipi: Ipi) {
        self.count(|traffic| traffic.interrupts += 1);
        let Some(handle) = self.handle.get().filter(|_| ipi.recipients != Recipients::Others) else { return };
        handle.raise(Pending::Message(ipi.message));
        if ipi.message.delivery == Delivery::Init {
            // There is no other processor that could start this one again.
            events::start_up(&**handle);
        }
    }
}
