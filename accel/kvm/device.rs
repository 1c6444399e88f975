//! /dev/kvm: opening it, and what it must be able to do.

use std::arch::x86_64::__cpuid;

use kvm_bindings::{
    KVM_CAP_DEBUGREGS, KVM_CAP_EXIT_ON_EMULATION_FAILURE, KVM_CAP_IMMEDIATE_EXIT, KVM_CAP_READONLY_MEM, KVM_CAP_SREGS2,
    KVM_CAP_TSC_CONTROL, KVM_CAP_USER_MEMORY, KVM_CAP_USER_NMI, KVM_CAP_VCPU_EVENTS, KVM_CAP_X86_MSR_FILTER,
    KVM_CAP_X86_USER_SPACE_MSR, KVM_CAP_XCRS, KVM_CAP_XSAVE, KVM_MAX_CPUID_ENTRIES, Msrs, kvm_msr_entry,
};
use kvm_ioctls::Kvm;

use super::{KvmError, cpuid::Supported, host_vcpu::io_error};

/// The version of the interface, for ever.
const VERSION: i32 = 12;

/// What nothing works without.
#[rustfmt::skip] // a table
const NEEDED: &[(u32, &str)] = &[
    (KVM_CAP_USER_MEMORY,        "memory of user space"),
    (KVM_CAP_VCPU_EVENTS,        "the processor's pending events"),
    (KVM_CAP_DEBUGREGS,          "the processor's debug registers"),
    (KVM_CAP_XSAVE,              "the processor's extended state"),
    (KVM_CAP_XCRS,               "the processor's XCR0"),
    (KVM_CAP_USER_NMI,           "non-maskable interrupts"),
    (KVM_CAP_READONLY_MEM,       "memory that cannot be written"),
    (KVM_CAP_IMMEDIATE_EXIT,     "immediate exit"),
    (KVM_CAP_X86_USER_SPACE_MSR, "model-specific registers of user space"),
    (KVM_CAP_X86_MSR_FILTER,     "filters of model-specific registers"),
];

/// Whether the host's processor has virtualisation of its own: VT-x or AMD-V. Where it has not, a KVM is software, or part of it.
pub(super) fn has_virtualisation() -> bool {
    const EXTENDED: u32 = 0x8000_0001;
    const VMX: u32 = 1 << 5;
    const SVM: u32 = 1 << 2;
    __cpuid(1).ecx & VMX != 0 || __cpuid(0x8000_0000).eax >= EXTENDED && __cpuid(EXTENDED).ecx & SVM != 0
}

/// Whether the host says that it is a virtual machine itself.
pub(super) fn is_guest() -> bool {
    const HYPERVISOR: u32 = 1 << 31;
    __cpuid(1).ecx & HYPERVISOR != 0
}

/// The device, open, with all that is needed.
pub(super) struct Device {
    pub kvm: Kvm,
    /// Every instruction that KVM's emulator does not know can be ours.
    pub tells_failures: bool,
    /// The time-stamp counter can run at any rate.
    pub scales_tsc: bool,
    /// Page-directory pointers can be told.
    pub has_sregs2: bool,
}

impl Device {
    /// Opens it and asks it.
    pub fn open() -> Result<Self, KvmError> {
        let kvm = Kvm::new().map_err(|error| KvmError::of_opening(io_error(error)))?;
        let version = kvm.get_api_version();
        if version != VERSION {
            return Err(KvmError::WrongVersion(version));
        }
        let has = |number: u32| kvm.check_extension_raw(number.into()) > 0;
        if let Some((_, name)) = NEEDED.iter().find(|(number, _)| !has(*number)) {
            return Err(KvmError::Lacks(name));
        }
        let (tells_failures, scales_tsc) = (has(KVM_CAP_EXIT_ON_EMULATION_FAILURE), has(KVM_CAP_TSC_CONTROL));
        let has_sregs2 = has(KVM_CAP_SREGS2);
        Ok(Self { kvm, tells_failures, scales_tsc, has_sregs2 })
    }

    /// How fast a guest's time-stamp counter runs, where the host knows.
    pub fn tsc_hertz(&self) -> Result<Option<u64>, KvmError> {
        let failed = |what| move |error| KvmError::of(what, io_error(error));
        let vm = self.kvm.create_vm().map_err(failed("it makes no machine"))?;
        let vcpu = vm.create_vcpu(0).map_err(failed("it makes no processor"))?;
        Ok(vcpu.get_tsc_khz().ok().filter(|khz| *khz > 0).map(|khz| u64::from(khz) * 1000))
    }

    /// What a guest may be told in IA32_ARCH_CAPABILITIES; nothing where KVM does not say.
    pub fn speculation(&self) -> u64 {
        const ARCH_CAPABILITIES: u32 = 0x10a;
        let entry = kvm_msr_entry { index: ARCH_CAPABILITIES, ..Default::default() };
        let Ok(mut list) = Msrs::from_entries(&[entry]) else { return 0 };
        match self.kvm.get_msrs(&mut list) {
            Ok(1) => list.as_slice()[0].data,
            Ok(_) | Err(_) => 0,
        }
    }

    /// What processor it says that it can be.
    pub fn supported(&self) -> Result<Supported, KvmError> {
        let cpuid = self.kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).map_err(io_error);
        cpuid.map(|cpuid| Supported::said(&cpuid)).map_err(|error| KvmError::of("it does not say what processor it has", error))
    }
}
