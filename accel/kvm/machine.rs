//! A virtual machine of KVM's: guest memory as its slots, and the processors in it.
//!
//! UNSAFETY: KVM is given the host addresses of guest memory, which the machine keeps alive, and which never moves.
#![expect(unsafe_code, reason = "guest memory is handed to the kernel")]

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use dragoman_devices::memory::GuestRam;
use dragoman_frontend::model::{CpuModel, Feature};
use dragoman_state::{GuestPhys, PAGE_SIZE, VcpuId};
use kvm_bindings::{
    CpuId, KVM_CAP_EXIT_ON_EMULATION_FAILURE, KVM_CAP_X86_USER_SPACE_MSR, KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY,
    KVM_MSR_EXIT_REASON_FILTER, KVM_MSR_EXIT_REASON_INVAL, KVM_MSR_EXIT_REASON_UNKNOWN, kvm_enable_cap,
    kvm_userspace_memory_region,
};
use kvm_ioctls::{MsrFilterDefaultAction, MsrFilterRange, MsrFilterRangeFlags, VmFd};

use super::{
    KvmError,
    cpuid::{self, Supported},
    device::{Device, has_virtualisation},
    host_vcpu::{HostVcpu, io_error},
    state::{
        Extent,
        msrs::{REGISTERS, Register, VIEWS},
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
    /// How KVM says that the host's processor speculates: IA32_ARCH_CAPABILITIES.
    speculation: u64,
    /// Whether KVM logs which pages are written.
    is_logging: Mutex<bool>,
}

impl Machine {
    /// A machine whose memory is `ram`.
    pub fn new(ram: Arc<GuestRam>) -> Result<Self, KvmError> {
        let supported = Device::open()?.supported()?.seen();
        Self::of(ram, supported)
    }

    /// The same, whose processors can be what is `supported`.
    pub fn of(ram: Arc<GuestRam>, supported: Supported) -> Result<Self, KvmError> {
        let device = Device::open()?;
        let vm = device.kvm.create_vm().map_err(io_error).map_err(|error| KvmError::of("it makes no machine", error))?;
        let slots = ram.slots().map(|(at, length, is_writable)| Slot { at, length, is_writable }).collect();
        let known = device.kvm.get_msr_index_list().map_err(io_error);
        let known = known.map_err(|error| KvmError::of("it does not list its model-specific registers", error))?;
        let msrs = REGISTERS.iter().copied().filter(|(index, _)| known.as_slice().contains(index)).collect();
        let is_hardware = has_virtualisation();
        let speculation = device.speculation();
        let machine = Self { device, vm, ram, slots, supported, msrs, is_hardware, speculation, is_logging: Mutex::new(false) };
        machine.set_up()?;
        machine.map_all(false)?;
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
            let Some(host) = self.ram.host_page(slot.at) else { continue };
            let flags = match (slot.is_writable, logs) {
                (false, _) => KVM_MEM_READONLY,
                (true, true) => KVM_MEM_LOG_DIRTY_PAGES,
                (true, false) => 0,
            };
            let region = kvm_userspace_memory_region {
                slot: number as u32,
                flags,
                guest_phys_addr: slot.at.0,
                memory_size: slot.length,
                userspace_addr: host.expose_provenance() as u64,
            };
            // SAFETY: the slot is mapped from `host` on, and `ram` keeps it so as long as the machine is there.
            let given = unsafe { self.vm.set_user_memory_region(region) };
            given.map_err(|error| KvmError::of("it refuses guest memory", io_error(error)))?;
        }
        Ok(())
    }

    /// Tells the tracker of the pages that the guest wrote in KVM since it was last told, where writes are being logged; and has
    /// KVM log them as long as they are. To be called before the guest runs there and after.
    pub fn follow_log(&self) -> Result<(), KvmError> {
        let tracker = self.ram.tracker();
        let mut is_logging = self.is_logging.lock().unwrap_or_else(PoisonError::into_inner);
        if *is_logging {
            for (number, slot) in self.slots.iter().enumerate().filter(|(_, slot)| slot.is_writable) {
                let log = self.vm.get_dirty_log(number as u32, slot.length as usize);
                let log = log.map_err(|error| KvmError::of("it does not say which pages were written", io_error(error)))?;
                for (n, word) in log.iter().enumerate().filter(|(_, word)| **word != 0) {
                    for bit in (0..64).filter(|bit| word >> bit & 1 != 0) {
                        tracker.written(GuestPhys(slot.at.0 + (64 * n as u64 + bit) * PAGE_SIZE), PAGE_SIZE);
                    }
                }
            }
        }
        if *is_logging != tracker.is_logging() {
            *is_logging = tracker.is_logging();
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
        self.supported.check(model)?;
        let fd = self.vm.create_vcpu(id.0.into()).map_err(io_error);
        let fd = fd.map_err(|error| KvmError::of("it makes no processor", error))?;
        let refused = |why: String| KvmError::RejectedCpuid { model: model.name(), why };
        let leaves = CpuId::from_entries(&cpuid::leaves(model, id)).map_err(|error| refused(format!("{error:?}")))?;
        let given = fd.set_cpuid2(&leaves).map_err(io_error);
        given.map_err(|error| refused(format!("it refuses the answers of CPUID: {error}")))?;
        let vcpu = HostVcpu::new(fd, self.vm.run_size());
        let vcpu = vcpu.map_err(|error: io::Error| KvmError::of("the processor's page cannot be mapped", error))?;
        self.set_frequency(&vcpu, model)?;
        let extent = Extent {
            msrs: self.msrs.clone(),
            image: self.supported.layout(model),
            has_xcrs: model.has(Feature::Xsave),
            has_sregs2: self.device.has_sregs2,
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
