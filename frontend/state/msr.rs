//! Model-specific registers that hold state of their own. Those that are views of something else (FS and GS base,
//! EFER, the local APIC's registers) live where that something lives.
//! SDM: vol. 4 §2.1.

use bitflags::bitflags;

/// How many fixed-range memory-type registers there are.
pub const MTRR_FIXED: usize = 11;
/// How many variable-range pairs we have.
pub const MTRR_VARIABLE: usize = 8;

bitflags! {
    /// IA32_APIC_BASE; bits 12 and up are the page's physical address.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    #[repr(transparent)]
    pub struct ApicBase: u64 {
        /// Bootstrap processor.
        const BSP = 1 << 8;
        /// x2APIC mode.
        const EXTD = 1 << 10;
        /// The local APIC is enabled.
        const EN = 1 << 11;
        /// The page's address.
        const BASE = 0x000f_ffff_ffff_f000;
    }
}

/// The model-specific registers of one processor.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Msrs {
    /// IA32_APIC_BASE.
    pub apic_base: ApicBase,
    /// IA32_STAR: segment selectors of SYSCALL and SYSRET.
    pub star: u64,
    /// IA32_LSTAR: where SYSCALL goes in 64-bit mode.
    pub lstar: u64,
    /// IA32_CSTAR: where SYSCALL goes in compatibility mode, on processors that allow it there.
    pub cstar: u64,
    /// IA32_FMASK: the flags that SYSCALL clears.
    pub fmask: u64,
    /// IA32_KERNEL_GS_BASE, which SWAPGS exchanges.
    pub kernel_gs_base: u64,
    /// IA32_TSC_AUX.
    pub tsc_aux: u64,
    /// IA32_TSC_ADJUST.
    pub tsc_adjust: u64,
    /// IA32_SYSENTER_CS.
    pub sysenter_cs: u64,
    /// IA32_SYSENTER_ESP.
    pub sysenter_esp: u64,
    /// IA32_SYSENTER_EIP.
    pub sysenter_eip: u64,
    /// IA32_PAT.
    pub pat: u64,
    /// IA32_MISC_ENABLE.
    pub misc_enable: u64,
    /// IA32_DEBUGCTL.
    pub debugctl: u64,
    /// IA32_SPEC_CTRL.
    pub spec_ctrl: u64,
    /// IA32_XSS.
    pub xss: u64,
    /// IA32_PKRS.
    pub pkrs: u64,
    /// IA32_MCG_STATUS.
    pub mcg_status: u64,
    /// IA32_FEATURE_CONTROL.
    pub feature_control: u64,
    /// IA32_MTRR_DEF_TYPE.
    pub mtrr_default_type: u64,
    /// The fixed-range MTRRs: 64K_00000, 16K_80000, 16K_A0000, then 4K_C0000 to 4K_F8000.
    pub mtrr_fixed: [u64; MTRR_FIXED],
    /// The variable-range MTRRs: base and mask of each pair.
    pub mtrr_variable: [[u64; 2]; MTRR_VARIABLE],
}

impl Msrs {
    /// Of IA32_DEBUGCTL: last branches are recorded.
    pub const LBR: u64 = 1 << 0;
    /// Of IA32_DEBUGCTL: RFLAGS.TF steps from branch to branch.
    pub const BTF: u64 = 1 << 1;

    /// Of IA32_MISC_ENABLE: MONITOR and MWAIT are enabled.
    pub const MONITOR: u64 = 1 << 18;

    /// Whether RFLAGS.TF steps from branch to branch.
    pub fn steps_branches(&self) -> bool {
        self.debugctl & Self::BTF != 0
    }

    /// What a reset leaves. SDM: vol. 3 table 10-1 and the entries of each register.
    pub const fn power_on() -> Self {
        Self {
            apic_base: ApicBase::from_bits_retain(0xfee0_0000).union(ApicBase::EN),
            star: 0,
            lstar: 0,
            cstar: 0,
            fmask: 0,
            kernel_gs_base: 0,
            tsc_aux: 0,
            tsc_adjust: 0,
            sysenter_cs: 0,
            sysenter_esp: 0,
            sysenter_eip: 0,
            pat: 0x0007_0406_0007_0406,
            misc_enable: 1, // fast strings
            debugctl: 0,
            spec_ctrl: 0,
            xss: 0,
            pkrs: 0,
            mcg_status: 0,
            feature_control: 1, // locked, nothing enabled
            mtrr_default_type: 0,
            mtrr_fixed: [0; MTRR_FIXED],
            mtrr_variable: [[0; 2]; MTRR_VARIABLE],
        }
    }
}
