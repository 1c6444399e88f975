//! A virtual machine of KVM's: guest memory as its slots, and the processors in it.
//!
//! UNSAFETY: KVM is given the host addresses of guest memory, which the machine keeps alive, and which never moves.
#![expect(unsafe_code, reason = "guest memory is handed to the kernel")]

use std::{
    io,
    os::fd::AsRawFd,
    sync::{Arc, Mutex, PoisonError},
};

use dragoman_devices::memory::GuestRam;
use dragoman_frontend::model::{CpuModel, Feature};
use dragoman_state::{GuestPhys, PAGE_SIZE, VcpuId};
use kvm_bindings::{
    CpuId, KVM_CAP_EXIT_ON_EMULATION_FAILURE, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, KVM_CAP_X86_USER_SPACE_MSR,
    KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY, KVM_MSR_EXIT_REASON_FILTER, KVM_MSR_EXIT_REASON_INVAL,
    KVM_MSR_EXIT_REASON_UNKNOWN, kvm_clear_dirty_log, kvm_enable_cap, kvm_userspace_memory_region,
};
use kvm_ioctls::{MsrFilterDefaultAction, MsrFilterRange, MsrFilterRangeFlags, VmFd};

use super::{
    KvmError,
    cpuid::{self, Supported},
    device::{Device, has_virtualisation},
    host_vcpu::{HostVcpu, READ, WRITE, io_error, number},
    state::{
        Extent,
        msrs::{REGISTERS, Register, SPEC_CTRL, SYSTEM_CALLS, VIEWS},
    },
};

/// Where KVM keeps pages of its own on processors that need them: where nothing else of the board is, below the largest ROM.
const IDENTITY_MAP: u64 = 0xfeff_c000;
const TASK_STATE: usize = 0xfeff_d000;

/// One slot of guest memory.
#[derive(Clone, Copy, Debug)]
struct Slot {
    at: GuestPhys,
    length: u64,
    is_writable: bool,
}

/// Memory of our own in a machine.
struct Private {
    at: GuestPhys,
    memory: Arc<GuestRam>,
}

/// A machine.
pub(super) struct Machine {
    pub device: Device,
    pub vm: VmFd,
    ram: Arc<GuestRam>,
    slots: Vec<Slot>,
    supported: Supported,
    /// The model-specific registers that live in KVM.
    msrs: Vec<Register>,
    /// The host's processor virtualises; it is not software that does.
    pub is_hardware: bool,
    /// KVM runs ring 3 as it should. Where it does not, nothing that happens there may lead to ring 3.
    pub runs_user: bool,
    /// How KVM says that the host's processor speculates: IA32_ARCH_CAPABILITIES.
    speculation: u64,
    /// Whether KVM logs which pages are written.
    is_logging: Mutex<bool>,
    private: Option<Private>,
}

impl Machine {
    /// A machine whose memory is `ram`.
    pub fn new(ram: Arc<GuestRam>) -> Result<Self, KvmError> {
        let supported = Device::open()?.supported()?.seen();
        Self::of(ram, supported, true)
    }

    /// The same, whose processors can be what is `supported`, and in which ring 3 runs or not.
    pub fn of(ram: Arc<GuestRam>, supported: Supported, runs_user: bool) -> Result<Self, KvmError> {
        let machine = Self::without_memory(ram, supported, runs_user)?;
        machine.map_all(!runs_user)?;
        Ok(machine)
    }

    /// The same with the beginning of `memory` at `at`, where `ram` has nothing, and with a log of written pages in which each is
    /// noted once until it is taken off ([`Machine::take_off_log`]). All are noted at first.
    pub fn with_private(ram: Arc<GuestRam>, at: GuestPhys, memory: Arc<GuestRam>) -> Result<Self, KvmError> {
        const ENABLE_AND_INITIALLY_SET: u64 = 3;
        let mut machine = Self::without_memory(ram, Device::open()?.supported()?.seen(), true)?;
        let by_hand = kvm_enable_cap {
            cap: KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
            args: [ENABLE_AND_INITIALLY_SET, 0, 0, 0],
            ..Default::default()
        };
        let refused = |error| KvmError::of("it takes no pages off its log", io_error(error));
        machine.vm.enable_cap(&by_hand).map_err(refused)?;
        machine.private = Some(Private { at, memory });
        machine.map_all(true)?;
        Ok(machine)
    }

    fn without_memory(ram: Arc<GuestRam>, supported: Supported, runs_user: bool) -> Result<Self, KvmError> {
        let device = Device::open()?;
        let vm = device.kvm.create_vm().map_err(io_error).map_err(|error| KvmError::of("it makes no machine", error))?;
        let slots = ram.slots().map(|(at, length, is_writable)| Slot { at, length, is_writable }).collect();
        let known = device.kvm.get_msr_index_list().map_err(io_error);
        let known = known.map_err(|error| KvmError::of("it does not list its model-specific registers", error))?;
        let is_hardware = has_virtualisation();
        let is_ours = |index: &u32| !runs_user && SYSTEM_CALLS.contains(index) || !is_hardware && *index == SPEC_CTRL;
        let is_there = |index: &u32| known.as_slice().contains(index) && !is_ours(index);
        let msrs = REGISTERS.iter().copied().filter(|(index, _)| is_there(index)).collect();
        let speculation = device.speculation();
        let is_logging = Mutex::new(!runs_user);
        let machine =
            Self { device, vm, ram, slots, supported, msrs, is_hardware, runs_user, speculation, is_logging, private: None };
        machine.set_up()?;
        Ok(machine)
    }

    fn set_up(&self) -> Result<(), KvmError> {
        let refused = |what| move |error| KvmError::of(what, io_error(error));
        self.vm.set_identity_map_address(IDENTITY_MAP).map_err(refused("it refuses an address for its page tables"))?;
        self.vm.set_tss_address(TASK_STATE).map_err(refused("it refuses an address for its task state"))?;
        let reasons = KVM_MSR_EXIT_REASON_FILTER | KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN;
        let capability = |cap, argument| kvm_enable_cap { cap, args: [argument, 0, 0, 0], ..Default::default() };
        let registers = capability(KVM_CAP_X86_USER_SPACE_MSR, reasons.into());
        self.vm.enable_cap(&registers).map_err(refused("it keeps model-specific registers to itself"))?;
        if self.device.tells_failures {
            let failures = capability(KVM_CAP_EXIT_ON_EMULATION_FAILURE, 1);
            self.vm.enable_cap(&failures).map_err(refused("it keeps its emulator's failures to itself"))?;
        }
        self.filter_registers().map_err(refused("it filters no model-specific registers"))
    }

    /// Lets the guest at the model-specific registers that live in KVM, and sends all others to us.
    fn filter_registers(&self) -> Result<(), kvm_ioctls::Error> {
        const ALLOWED: [u8; 1] = [1];
        let indices = self.msrs.iter().map(|(index, _)| index).chain(VIEWS);
        // There is room for 16 ranges: neighbours share one.
        let mut indices: Vec<u32> = indices.copied().collect();
        indices.sort_unstable();
        let mut ranges: Vec<(u32, Vec<u8>)> = Vec::new();
        for index in indices {
            match ranges.last_mut() {
                Some((first, bits)) if index - *first < 0x400 => {
                    let n = (index - *first) as usize;
                    bits.resize(bits.len().max(n / 8 + 1), 0);
                    bits[n / 8] |= 1 << (n % 8);
                }
                _ => ranges.push((index, ALLOWED.into())),
            }
        }
        let flags = MsrFilterRangeFlags::READ | MsrFilterRangeFlags::WRITE;
        let range = |(base, bitmap): &'_ (u32, Vec<u8>)| (*base, bitmap.len() as u32 * 8);
        let counts: Vec<(u32, u32)> = ranges.iter().map(range).collect();
        let list: Vec<MsrFilterRange> = ranges
            .iter()
            .zip(&counts)
            .map(|((_, bitmap), (base, msr_count))| MsrFilterRange { flags, base: *base, msr_count: *msr_count, bitmap })
            .collect();
        self.vm.set_msr_filter(MsrFilterDefaultAction::DENY, &list)
    }

    /// Gives KVM the memory; with a log of what is written where `logs`.
    fn map_all(&self, logs: bool) -> Result<(), KvmError> {
        for (number, slot) in self.slots.iter().enumerate() {
            let flags = match (slot.is_writable, logs) {
                (false, _) => KVM_MEM_READONLY,
                (true, true) => KVM_MEM_LOG_DIRTY_PAGES,
                (true, false) => 0,
            };
            self.map(number, slot.at, slot.length, self.ram.host_page(slot.at), flags)?;
        }
        match &self.private {
            Some(Private { at, memory }) => {
                let Some((first, length)) = memory.ranges().next() else { return Ok(()) };
                self.map(self.slots.len(), *at, length, memory.host_page(first), 0)
            }
            None => Ok(()),
        }
    }

    /// Takes the memory of a machine that logs writes away and gives it again, so that KVM forgets all that it knows of it.
    pub fn map_anew(&self) -> Result<(), KvmError> {
        for (number, slot) in self.slots.iter().enumerate() {
            self.map(number, slot.at, 0, self.ram.host_page(slot.at), 0)?;
        }
        self.map(self.slots.len(), GuestPhys(0), 0, self.private.as_ref().and_then(|own| own.memory.host_page(GuestPhys(0))), 0)?;
        self.map_all(true)
    }

    /// Gives KVM `length` bytes from `host` on, of memory that the machine keeps.
    fn map(&self, number: usize, at: GuestPhys, length: u64, host: Option<*mut u8>, flags: u32) -> Result<(), KvmError> {
        let Some(host) = host else { return Ok(()) };
        let region = kvm_userspace_memory_region {
            slot: number as u32,
            flags,
            guest_phys_addr: at.0,
            memory_size: length,
            userspace_addr: host.expose_provenance() as u64,
        };
        // SAFETY: the slot is mapped from `host` on, and `ram` and `private` keep it so as long as the machine is there.
        let given = unsafe { self.vm.set_user_memory_region(region) };
        given.map_err(|error| KvmError::of("it refuses guest memory", io_error(error)))
    }

    /// The log of written pages: for each slot that is logged its number, its first page, and a bit for each of its pages.
    pub fn log(&self) -> Result<Vec<(u32, GuestPhys, Vec<u64>)>, KvmError> {
        let failed = |error| KvmError::of("it does not say which pages were written", io_error(error));
        let logged = self.slots.iter().enumerate().filter(|(_, slot)| slot.is_writable);
        logged
            .map(|(number, slot)| {
                let log = self.vm.get_dirty_log(number as u32, slot.length as usize).map_err(failed)?;
                Ok((number as u32, slot.at, log))
            })
            .collect()
    }

    /// Takes pages off the log of a machine with private memory, so that the next write to one is noted again: those that have a
    /// bit in `pages`, of the 64 from page number `first` of the slot, a multiple of 64.
    pub fn take_off_log(&self, slot: u32, first: u64, pages: u64) -> Result<(), KvmError> {
        let length = self.slots.get(slot as usize).map_or(0, |slot| slot.length / PAGE_SIZE);
        let count = length.saturating_sub(first).min(64) as u32;
        self::clear_log(&self.vm, slot, first, count, pages).map_err(|error| KvmError::of("it takes no pages off its log", error))
    }

    /// The slot that the page at `page` is in, and its number there.
    pub fn logged(&self, page: GuestPhys) -> Option<(u32, u64)> {
        let mut slots = self.slots.iter().enumerate();
        let (number, slot) =
            slots.find(|(_, slot)| slot.is_writable && (slot.at.0..slot.at.0 + slot.length).contains(&page.0))?;
        Some((number as u32, (page.0 - slot.at.0) / PAGE_SIZE))
    }

    /// Tells the tracker of the pages that the guest wrote in KVM since it was last told, where writes are being logged; and has
    /// KVM log them as long as they are, and always where page tables are read by who runs user mode. To be called before the guest runs there and after.
    pub fn follow_log(&self) -> Result<(), KvmError> {
        let tracker = self.ram.tracker();
        let mut is_logging = self.is_logging.lock().unwrap_or_else(PoisonError::into_inner);
        if *is_logging {
            for (_, at, words) in self.log()? {
                logged_pages(at, &words).for_each(|page| _ = tracker.written(page, PAGE_SIZE));
            }
        }
        let must_log = tracker.is_logging() || !self.runs_user;
        if *is_logging != must_log {
            *is_logging = must_log;
            self.map_all(*is_logging)?;
        }
        Ok(())
    }

    /// `model` as it can be on this host's processor, which it must not promise to be better than.
    pub fn limited(&self, model: CpuModel) -> CpuModel {
        model.with_arch_capabilities(self.speculation)
    }

    /// A new processor of KVM's that is a `model`, and what of its state KVM can have.
    pub fn create_vcpu(&self, id: VcpuId, model: &CpuModel) -> Result<(HostVcpu, Extent), KvmError> {
        let (vcpu, extent) = self.create_user_vcpu(id, model)?;
        self.set_frequency(&vcpu, model)?;
        Ok((vcpu, extent))
    }

    /// The same for code that is not let at the time-stamp counter.
    pub fn create_user_vcpu(&self, id: VcpuId, model: &CpuModel) -> Result<(HostVcpu, Extent), KvmError> {
        self.supported.check(model)?;
        let fd = self.vm.create_vcpu(id.0.into()).map_err(io_error);
        let fd = fd.map_err(|error| KvmError::of("it makes no processor", error))?;
        let refused = |why: String| KvmError::RejectedCpuid { model: model.name(), why };
        let leaves = CpuId::from_entries(&cpuid::leaves(model, id)).map_err(|error| refused(format!("{error:?}")))?;
        let given = fd.set_cpuid2(&leaves).map_err(io_error);
        given.map_err(|error| refused(format!("it refuses the answers of CPUID: {error}")))?;
        let vcpu = HostVcpu::new(fd, self.vm.run_size());
        let vcpu = vcpu.map_err(|error: io::Error| KvmError::of("the processor's page cannot be mapped", error))?;
        let extent = Extent {
            msrs: self.msrs.clone(),
            image: self.supported.layout(model),
            has_xcrs: model.has(Feature::Xsave),
            has_sregs2: self.device.has_sregs2,
            runs_user: self.runs_user,
        };
        Ok((vcpu, extent))
    }

    /// Has the time-stamp counter run as fast as the model says.
    fn set_frequency(&self, vcpu: &HostVcpu, model: &CpuModel) -> Result<(), KvmError> {
        let wanted = model.tsc_hertz() / 1000;
        let Ok(there) = vcpu.fd.get_tsc_khz() else { return Ok(()) };
        if is_as_fast(wanted, there.into()) {
            return Ok(());
        }
        match u32::try_from(wanted) {
            Ok(khz) if self.device.scales_tsc && vcpu.fd.set_tsc_khz(khz).is_ok() => Ok(()),
            _ => Err(KvmError::WrongFrequency { wanted, there: there.into() }),
        }
    }
}

/// The pages that have a bit in `words`, of those from `first` on.
pub(super) fn logged_pages(first: GuestPhys, words: &[u64]) -> impl Iterator<Item = GuestPhys> {
    let bits = |word: u64| (0..64).filter(move |bit| word >> bit & 1 != 0);
    let numbers = words.iter().zip(0..).flat_map(move |(word, n)| bits(*word).map(move |bit| 64 * n + bit));
    numbers.map(move |number| GuestPhys(first.0 + number * PAGE_SIZE))
}

fn clear_log(vm: &VmFd, slot: u32, first_page: u64, num_pages: u32, pages: u64) -> io::Result<()> {
    const CLEAR_DIRTY_LOG: u64 = number(READ | WRITE, size_of::<kvm_clear_dirty_log>(), 0xc0);
    let bitmap = [pages];
    let mut request = kvm_clear_dirty_log { slot, num_pages, first_page, ..Default::default() };
    request.__bindgen_anon_1.dirty_bitmap = bitmap.as_ptr().cast_mut().cast();
    // SAFETY: the number says that such a structure is read; its bitmap has a bit for each of the pages, 64 at most, and is there
    // until the call returns.
    let result = unsafe { libc::ioctl(vm.as_raw_fd(), CLEAR_DIRTY_LOG as libc::c_ulong as _, &raw const request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Whether two frequencies differ by less than what clocks are corrected by: 250 parts in a million.
fn is_as_fast(one: u64, other: u64) -> bool {
    one.abs_diff(other).saturating_mul(4000) <= other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_are_the_same_within_what_clocks_are_corrected_by() {
        assert!(is_as_fast(2_599_998, 2_600_000) && is_as_fast(2_600_000, 2_599_998));
        assert!(!is_as_fast(1_000_000, 2_600_000) && !is_as_fast(2_601_000, 2_600_000) && !is_as_fast(0, 1));
    }
}
