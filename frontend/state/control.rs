//! The flags and control registers, bit by bit, with the manual's names.
//! SDM: vol. 1 §3.4.3 (RFLAGS), vol. 3 §2.5 (control registers), §2.2.1 (EFER), §17.2 (debug registers).

use bitflags::bitflags;

bitflags! {
    /// RFLAGS. Bit 1 is always set in a valid image.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    #[repr(transparent)]
    pub struct RFlags: u64 {
        /// Carry.
        const CF = 1 << 0;
        /// Bit 1, which always reads as one.
        const FIXED = 1 << 1;
        /// Parity of the low byte.
        const PF = 1 << 2;
        /// Carry out of bit 3.
        const AF = 1 << 4;
        /// Zero.
        const ZF = 1 << 6;
        /// Sign.
        const SF = 1 << 7;
        /// Single-step trap.
        const TF = 1 << 8;
        /// Maskable interrupts enabled.
        const IF = 1 << 9;
        /// String instructions run downwards.
        const DF = 1 << 10;
        /// Overflow.
        const OF = 1 << 11;
        /// I/O privilege level, two bits.
        const IOPL = 3 << 12;
        /// Nested task.
        const NT = 1 << 14;
        /// Resume: suppress instruction breakpoints for one instruction.
        const RF = 1 << 16;
        /// Virtual-8086 mode.
        const VM = 1 << 17;
        /// Alignment check, or access control under SMAP.
        const AC = 1 << 18;
        /// Virtual interrupt flag.
        const VIF = 1 << 19;
        /// Virtual interrupt pending.
        const VIP = 1 << 20;
        /// CPUID can be executed where this can be toggled.
        const ID = 1 << 21;
    }
}

impl RFlags {
    /// The six flags that arithmetic writes.
    pub const ARITHMETIC: Self = Self::CF.union(Self::PF).union(Self::AF).union(Self::ZF).union(Self::SF).union(Self::OF);

    /// The I/O privilege level, 0 to 3.
    #[inline]
    pub const fn iopl(self) -> u8 {
        (self.bits() >> 12 & 3) as u8
    }
}

bitflags! {
    /// CR0.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    #[repr(transparent)]
    pub struct Cr0: u64 {
        /// Protection enable.
        const PE = 1 << 0;
        /// Monitor coprocessor.
        const MP = 1 << 1;
        /// Emulation: no x87.
        const EM = 1 << 2;
        /// Task switched.
        const TS = 1 << 3;
        /// Extension type; reads as one.
        const ET = 1 << 4;
        /// Native x87 error reporting.
        const NE = 1 << 5;
        /// Supervisor writes honour read-only pages.
        const WP = 1 << 16;
        /// Alignment mask.
        const AM = 1 << 18;
        /// Not write-through.
        const NW = 1 << 29;
        /// Cache disable.
        const CD = 1 << 30;
        /// Paging.
        const PG = 1 << 31;
    }
}

bitflags! {
    /// CR4.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    #[repr(transparent)]
    pub struct Cr4: u64 {
        /// Virtual-8086 mode extensions.
        const VME = 1 << 0;
        /// Protected-mode virtual interrupts.
        const PVI = 1 << 1;
        /// RDTSC is for ring 0 alone.
        const TSD = 1 << 2;
        /// Debugging extensions: DR4 and DR5 are undefined.
        const DE = 1 << 3;
        /// 4 MiB pages in 32-bit paging.
        const PSE = 1 << 4;
        /// Physical address extension.
        const PAE = 1 << 5;
        /// Machine check.
        const MCE = 1 << 6;
        /// Global pages.
        const PGE = 1 << 7;
        /// RDPMC at any privilege.
        const PCE = 1 << 8;
        /// FXSAVE and SSE instructions.
        const OSFXSR = 1 << 9;
        /// SIMD floating-point exceptions are #XM.
        const OSXMMEXCPT = 1 << 10;
        /// SGDT, SIDT, SLDT, SMSW and STR are for ring 0 alone.
        const UMIP = 1 << 11;
        /// 57-bit linear addresses.
        const LA57 = 1 << 12;
        /// RDFSBASE and its family.
        const FSGSBASE = 1 << 16;
        /// Process-context identifiers.
        const PCIDE = 1 << 17;
        /// XSAVE and the states that XCR0 enables.
        const OSXSAVE = 1 << 18;
        /// Supervisor-mode execution prevention.
        const SMEP = 1 << 20;
        /// Supervisor-mode access prevention.
        const SMAP = 1 << 21;
        /// Protection keys for user pages.
        const PKE = 1 << 22;
        /// Control-flow enforcement.
        const CET = 1 << 23;
        /// Protection keys for supervisor pages.
        const PKS = 1 << 24;
    }
}

bitflags! {
    /// The extended feature enable register.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    #[repr(transparent)]
    pub struct Efer: u64 {
        /// SYSCALL and SYSRET.
        const SCE = 1 << 0;
        /// Long mode enable.
        const LME = 1 << 8;
        /// Long mode active.
        const LMA = 1 << 10;
        /// Execute-disable.
        const NXE = 1 << 11;
    }
}

bitflags! {
    /// XCR0: the state components that XSAVE manages and instructions may use.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    #[repr(transparent)]
    pub struct Xcr0: u64 {
        /// x87; always set.
        const X87 = 1 << 0;
        /// XMM registers and MXCSR.
        const SSE = 1 << 1;
        /// Upper halves of the YMM registers.
        const AVX = 1 << 2;
        /// Opmask registers.
        const OPMASK = 1 << 5;
        /// Upper halves of ZMM0 to ZMM15.
        const ZMM_HI256 = 1 << 6;
        /// ZMM16 to ZMM31.
        const HI16_ZMM = 1 << 7;
        /// Protection-key rights.
        const PKRU = 1 << 9;
    }
}

bitflags! {
    /// DR6, debug status.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    #[repr(transparent)]
    pub struct Dr6: u64 {
        /// Breakpoint conditions 0 to 3 were met.
        const B = 0xf;
        /// Debug-register access detected.
        const BD = 1 << 13;
        /// Single step.
        const BS = 1 << 14;
        /// Task switch.
        const BT = 1 << 15;
        /// Bits that always read as one.
        const FIXED = 0xffff_0ff0;
    }
}

bitflags! {
    /// DR7, debug control. The breakpoint fields are read with [`Dr7::kind`] and [`Dr7::length`].
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    #[repr(transparent)]
    pub struct Dr7: u64 {
        /// Local and global enables of breakpoints 0 to 3, in pairs.
        const ENABLES = 0xff;
        /// Local enables, which a task switch clears.
        const LOCAL_ENABLES = 0x55;
        /// Local exact; cleared by a task switch.
        const LE = 1 << 8;
        /// Bit 10, which always reads as one.
        const FIXED = 1 << 10;
        /// General detect: moves to and from debug registers raise #DB.
        const GD = 1 << 13;
    }
}

impl Dr7 {
    /// Whether any breakpoint is enabled.
    #[inline]
    pub const fn has_any(self) -> bool {
        self.intersects(Self::ENABLES)
    }

    /// Whether breakpoint `n` (0 to 3) is enabled, locally or globally.
    #[inline]
    pub const fn is_enabled(self, n: usize) -> bool {
        self.bits() >> (2 * n) & 3 != 0
    }

    /// The condition of breakpoint `n`: 0 execution, 1 data writes, 2 I/O, 3 data reads and writes.
    #[inline]
    pub const fn kind(self, n: usize) -> u8 {
        (self.bits() >> (16 + 4 * n) & 3) as u8
    }

    /// The length in bytes of breakpoint `n`: 1, 2, 4 or 8.
    #[inline]
    pub const fn length(self, n: usize) -> u64 {
        match self.bits() >> (18 + 4 * n) & 3 {
            0 => 1,
            1 => 2,
            2 => 8,
            _ => 4,
        }
    }
}
