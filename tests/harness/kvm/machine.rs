//! A virtual machine of one processor: its memory, entering and leaving it.
//!
//! UNSAFETY: KVM is given the host addresses of guest memory that lives as long as this machine, and an image of the size
//! that it asks for; the watchdog interrupts the thread that waits for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use dragoman_devices::memory::GuestRam;
use kvm_bindings::{KVM_MAX_CPUID_ENTRIES, kvm_pit_config, kvm_userspace_memory_region, kvm_xsave};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};

use super::KvmError;
use crate::engine::Ports;

/// Where KVM keeps three pages of its own, clear of all memory.
const TASK_STATE: usize = 0xfffb_d000;
/// And one more.
const IDENTITY_MAP: u64 = 0xfffb_c000;
/// How often the watchdog looks.
const TICK: Duration = Duration::from_millis(500);

/// How a run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// At a HLT; the instruction pointer is behind it.
    Halted,
    /// By a triple fault.
    Shutdown,
}

/// An access to a port by a guest.
#[derive(Debug)]
pub enum PortUse<'a> {
    /// Of these bytes, to be filled.
    Read(u16, &'a mut [u8]),
    /// Of these.
    Write(u16, &'a [u8]),
}

/// The machine.
pub struct Machine {
    pub vcpu: VcpuFd,
    vm: VmFd,
    ram: Arc<GuestRam>,
    watchdog: Watchdog,
}

fn unavailable(what: &str) -> impl Fn(kvm_ioctls::Error) -> KvmError {
    move |error| KvmError::Unavailable(format!("{what}: {error}"))
}

impl Machine {
    /// A machine whose memory is `ram`.
    pub fn new(ram: Arc<GuestRam>) -> Result<Self, KvmError> {
        Self::make(ram, false)
    }

    /// One with KVM's own interrupt chips and timer.
    pub fn with_chips(ram: Arc<GuestRam>) -> Result<Self, KvmError> {
        Self::make(ram, true)
    }

    fn make(ram: Arc<GuestRam>, has_chips: bool) -> Result<Self, KvmError> {
        const VERSION: i32 = 12;
        let kvm = Kvm::new().map_err(unavailable("/dev/kvm cannot be opened"))?;
        if kvm.get_api_version() != VERSION {
            return Err(KvmError::Unavailable(format!("it speaks version {}, not {VERSION}", kvm.get_api_version())));
        }
        let vm = kvm.create_vm().map_err(unavailable("it makes no machine"))?;
        vm.set_tss_address(TASK_STATE).map_err(unavailable("it refuses an address for its task state"))?;
        vm.set_identity_map_address(IDENTITY_MAP).map_err(unavailable("it refuses an address for its page tables"))?;
        if has_chips {
            vm.create_irq_chip().map_err(unavailable("it makes no interrupt chips"))?;
            vm.create_pit2(kvm_pit_config::default()).map_err(unavailable("it makes no timer"))?;
        }
        let vcpu = vm.create_vcpu(0).map_err(unavailable("it makes no processor"))?;
        let cpuid = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).map_err(unavailable("it says nothing about its processor"))?;
        vcpu.set_cpuid2(&cpuid).map_err(unavailable("it refuses what it supports"))?;
        let machine = Self { vcpu, vm, ram, watchdog: Watchdog::start() };
        machine.map()?;
        Ok(machine)
    }

    /// Gives KVM the memory.
    fn map(&self) -> Result<(), KvmError> {
        for (slot, (at, length)) in self.ram.ranges().enumerate() {
            let host = self.ram.host_page(at).ok_or_else(|| KvmError::Unavailable("memory has no address".into()))?;
            let region = kvm_userspace_memory_region {
                slot: slot as u32,
                flags: 0,
                guest_phys_addr: at.0,
                memory_size: length,
                userspace_addr: host as u64,
            };
            // SAFETY: the range is mapped from `host` on, and `ram` keeps it so as long as the machine is there.
            unsafe { self.vm.set_user_memory_region(region) }.map_err(unavailable("it refuses memory"))?;
        }
        Ok(())
    }

    /// Replaces the image of floating-point and vector registers.
    pub fn set_image(&self, image: &kvm_xsave) -> Result<(), kvm_ioctls::Error> {
        // SAFETY: the image came from `get_xsave`, and no feature that makes it larger was asked for.
        unsafe { self.vcpu.set_xsave(image) }
    }

    /// Runs until `answer`, which is asked about each access to a port, gives an end; or says why KVM gave up, `deadline`
    /// having passed among the reasons.
    pub fn run_until<T>(&mut self, deadline: Instant, mut answer: impl FnMut(PortUse) -> Option<T>) -> Result<T, String> {
        while Instant::now() < deadline {
            let _guard = self.watchdog.guard();
            let end = match self.vcpu.run() {
                Ok(VcpuExit::IoIn(port, data)) => answer(PortUse::Read(port, data)),
                Ok(VcpuExit::IoOut(port, data)) => answer(PortUse::Write(port, data)),
                Ok(VcpuExit::MmioRead(_, data)) => {
                    data.fill(0xff);
                    None
                }
                Ok(VcpuExit::MmioWrite(..)) => None,
                Ok(exit) => return Err(format!("left with {exit:?}")),
                Err(error) if error.errno() == libc::EINTR => None,
                Err(error) => return Err(format!("KVM_RUN: {error}")),
            };
            if let Some(end) = end {
                return Ok(end);
            }
        }
        Err("no end".to_owned())
    }

    /// Runs until a HLT. Port accesses are `width` bytes wide.
    pub fn run(&mut self, ports: &Ports, width: usize) -> Result<Exit, KvmError> {
        let gave_up = |why: &str| Err(KvmError::GaveUp(why.to_owned()));
        let _guard = self.watchdog.guard();
        loop {
            match self.vcpu.run() {
                Ok(VcpuExit::Hlt) => return Ok(Exit::Halted),
                Ok(VcpuExit::Shutdown) => return Ok(Exit::Shutdown),
                Ok(VcpuExit::IoIn(port, data)) => {
                    for element in data.chunks_mut(width) {
                        for (n, byte) in element.iter_mut().enumerate() {
                            *byte = ports.get(port.wrapping_add(n as u16));
                        }
                    }
                }
                Ok(VcpuExit::IoOut(port, data)) => data.chunks(width).for_each(|element| ports.set(port, element)),
                Ok(VcpuExit::MmioRead(_, data)) => data.fill(0xff),
                Ok(VcpuExit::MmioWrite(..)) => {}
                Ok(VcpuExit::InternalError) => return gave_up("internal error: its emulator does not know the instruction"),
                Ok(VcpuExit::FailEntry(reason, _)) => return gave_up(&format!("the processor refused the state, {reason:#x}")),
                Ok(exit) => return gave_up(&format!("left with {exit:?}")),
                Err(error) if error.errno() == libc::EINTR => return gave_up("no end"),
                Err(error) => return gave_up(&format!("KVM_RUN: {error}")),
            }
        }
    }
}

/// Interrupts the thread that started it when a run takes long.
struct Watchdog {
    /// Odd while a run is under way.
    runs: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A run under way.
struct Guard(Arc<AtomicU64>);

extern "C" fn ignore(_: libc::c_int) {}

impl Watchdog {
    fn start() -> Self {
        let (runs, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        // SAFETY: the handler does nothing; the thread is the caller's own.
        let target = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = ignore as *const () as usize;
            libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut());
            libc::pthread_self()
        };
        let (seen_runs, seen_over) = (runs.clone(), is_over.clone());
        let watch = move || {
            let mut last = 0;
            while !seen_over.load(Ordering::Acquire) {
                let now = seen_runs.load(Ordering::Acquire);
                if now % 2 == 1 && now == last {
                    // SAFETY: the thread waits for this one in `drop`, so it is still there.
                    unsafe { libc::pthread_kill(target, libc::SIGUSR1) };
                }
                last = now;
                thread::park_timeout(TICK);
            }
        };
        Self { runs, is_over, thread: Some(thread::spawn(watch)) }
    }

    fn guard(&self) -> Guard {
        self.runs.fetch_add(1, Ordering::AcqRel);
        Guard(self.runs.clone())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}
