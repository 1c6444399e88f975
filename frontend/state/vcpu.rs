//! The complete state of one virtual processor.

use crate::{
    ApicBase, Attributes, Cr0, Cr4, Dr6, Dr7, Efer, GuestVirt, LapicState, Msrs, RFlags, Segment, SegmentIndex, TableRegister,
    VcpuId, VectorState, X87State, Xcr0,
};

/// The number of a general-purpose register, as instructions encode it: RAX 0, RCX 1, ... R15 15.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Gpr(pub u8);

#[expect(missing_docs, reason = "the manual's own names say all there is to say")]
impl Gpr {
    pub const RAX: Self = Self(0);
    pub const RCX: Self = Self(1);
    pub const RDX: Self = Self(2);
    pub const RBX: Self = Self(3);
    pub const RSP: Self = Self(4);
    pub const RBP: Self = Self(5);
    pub const RSI: Self = Self(6);
    pub const RDI: Self = Self(7);
    pub const R8: Self = Self(8);
    pub const R11: Self = Self(11);
    pub const R15: Self = Self(15);
}

impl Gpr {
    /// Reads as zero: what an address without a base or an index uses.
    pub const ZERO: Self = Self(16);
    /// The RIP of the running block's first instruction, which an engine keeps here while it runs the block: what
    /// RIP-relative addresses are made of.
    pub const BLOCK: Self = Self(17);
}

/// The general-purpose registers, and beside them two that are no architecture ([`Gpr::ZERO`], [`Gpr::BLOCK`]), so
/// that an effective address is three loads and no branch. Sized so that any five-bit number is an index.
#[derive(Clone, Default)]
#[repr(transparent)]
pub struct GprFile([u64; 32]);

impl std::fmt::Debug for GprFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.0[..16]).finish()
    }
}

/// By what is architecture.
impl PartialEq for GprFile {
    fn eq(&self, other: &Self) -> bool {
        self.0[..16] == other.0[..16]
    }
}

impl Eq for GprFile {}

impl std::ops::Index<Gpr> for GprFile {
    type Output = u64;
    #[inline(always)]
    fn index(&self, r: Gpr) -> &u64 {
        &self.0[(r.0 & 31) as usize]
    }
}

impl std::ops::IndexMut<Gpr> for GprFile {
    #[inline(always)]
    fn index_mut(&mut self, r: Gpr) -> &mut u64 {
        &mut self.0[(r.0 & 31) as usize]
    }
}

/// What the processor is doing. SDM: vol. 3 §24.4.2 (activity state).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Activity {
    /// Executing instructions.
    #[default]
    Running,
    /// Stopped by HLT until an interrupt comes.
    Halted,
    /// Waiting for a start-up message from another processor.
    WaitForSipi,
    /// Dead after a triple fault.
    Shutdown,
}

/// What the instruction before this one inhibits. SDM: vol. 3 §6.8.1, §6.8.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum InterruptShadow {
    /// Nothing.
    #[default]
    None,
    /// STI: maskable interrupts wait for one instruction.
    Sti,
    /// MOV SS or POP SS: interrupts and debug traps wait for one instruction.
    MovSs,
}

/// What is under way between two instructions.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Events {
    /// What the processor is doing.
    pub activity: Activity,
    /// What the last instruction inhibits.
    pub shadow: InterruptShadow,
    /// A non-maskable interrupt is being handled: no other until IRET.
    pub nmi_blocked: bool,
    /// A non-maskable interrupt waits.
    pub nmi_pending: bool,
    /// The 8259 pair's output: an external interrupt waits.
    pub external_interrupt: bool,
    /// The linear address of the latest page fault; delivery moves it to CR2.
    pub page_fault_address: GuestVirt,
    /// Debug conditions met that have not been delivered yet, as DR6 would show them.
    pub pending_debug: Dr6,
}

/// The complete, architectural state of one processor: everything that another engine, another host or a snapshot
/// needs, and nothing that belongs to one engine. `repr(C)`, because translated code addresses it by offset.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct VcpuState {
    /// General-purpose registers.
    pub gpr: GprFile,
    /// Address of the next instruction, an offset into CS.
    pub rip: u64,
    /// Flags.
    pub rflags: RFlags,
    /// ES, CS, SS, DS, FS, GS; index with [`SegmentIndex`].
    pub segments: [Segment; 6],
    /// Local descriptor table.
    pub ldtr: Segment,
    /// Task register.
    pub tr: Segment,
    /// Global descriptor table.
    pub gdtr: TableRegister,
    /// Interrupt descriptor table.
    pub idtr: TableRegister,
    /// CR0.
    pub cr0: Cr0,
    /// CR2, the page-fault address.
    pub cr2: u64,
    /// CR3, the root of the page tables.
    pub cr3: u64,
    /// CR4.
    pub cr4: Cr4,
    /// Extended features.
    pub efer: Efer,
    /// XCR0.
    pub xcr0: Xcr0,
    /// PKRU, the protection-key rights of user pages.
    pub pkru: u32,
    /// DR0 to DR3, linear addresses of breakpoints.
    pub breakpoints: [u64; 4],
    /// DR6.
    pub dr6: Dr6,
    /// DR7.
    pub dr7: Dr7,
    /// The page-directory pointers that PAE paging loads with CR3.
    pub pdptes: [u64; 4],
    /// What is added to the machine's clock to give the time-stamp counter.
    pub tsc_offset: u64,
    /// Events under way.
    pub events: Events,
    /// Model-specific registers.
    pub msrs: Msrs,
    /// x87 and MMX.
    pub x87: X87State,
    /// Vector registers.
    pub vectors: VectorState,
    /// Local APIC.
    pub lapic: LapicState,
}

impl VcpuState {
    /// The state after power-on or RESET of processor `id`, whose CPUID signature is `signature`. Only processor 0
    /// runs; the others wait for a start-up message. SDM: vol. 3 table 10-1.
    pub fn power_on(id: VcpuId, signature: u32) -> Self {
        let data = Segment::real_mode(0, Attributes::DATA);
        let mut code = Segment::real_mode(0xf000, Attributes::DATA);
        code.base = 0xffff_0000;
        let mut gpr = GprFile::default();
        gpr[Gpr::RDX] = signature.into();
        let mut msrs = Msrs::power_on();
        let mut events = Events::default();
        if id.0 == 0 {
            msrs.apic_base |= ApicBase::BSP;
        } else {
            events.activity = Activity::WaitForSipi;
        }
        Self {
            gpr,
            rip: 0xfff0,
            rflags: RFlags::FIXED,
            segments: [data, code, data, data, data, data],
            ldtr: Segment::real_mode(0, Attributes::LDT),
            tr: Segment::real_mode(0, Attributes::TSS16_BUSY),
            gdtr: TableRegister { base: 0, limit: 0xffff },
            idtr: TableRegister { base: 0, limit: 0xffff },
            cr0: Cr0::CD | Cr0::NW | Cr0::ET,
            cr2: 0,
            cr3: 0,
            cr4: Cr4::empty(),
            efer: Efer::empty(),
            xcr0: Xcr0::X87,
            pkru: 0,
            breakpoints: [0; 4],
            dr6: Dr6::FIXED,
            dr7: Dr7::FIXED,
            pdptes: [0; 4],
            tsc_offset: 0,
            events,
            msrs,
            x87: X87State::power_on(),
            vectors: VectorState::power_on(),
            lapic: LapicState::power_on(id),
        }
    }

    /// One segment register.
    #[inline(always)]
    pub fn segment(&self, index: SegmentIndex) -> &Segment {
        &self.segments[index as usize]
    }

    /// One segment register, to be changed.
    #[inline(always)]
    pub fn segment_mut(&mut self, index: SegmentIndex) -> &mut Segment {
        &mut self.segments[index as usize]
    }

    /// The current privilege level, 0 to 3: the privilege of the stack segment; 3 in virtual-8086 mode.
    #[inline]
    pub fn cpl(&self) -> u8 {
        self.segment(SegmentIndex::Ss).attributes.dpl()
    }

    /// The physical address of the page table that walks begin with under 4-level paging, which tells address spaces apart.
    #[inline]
    pub fn top_table(&self) -> u64 {
        self.cr3 & 0x000f_ffff_ffff_f000
    }

    /// IA-32e mode: 64-bit or compatibility.
    #[inline]
    pub fn is_long_mode(&self) -> bool {
        self.efer.contains(Efer::LMA)
    }

    /// 64-bit mode: long mode running 64-bit code.
    #[inline]
    pub fn is_64bit(&self) -> bool {
        self.is_long_mode() && self.segment(SegmentIndex::Cs).attributes.is_long()
    }

    /// Real-address mode.
    #[inline]
    pub fn is_real_mode(&self) -> bool {
        !self.cr0.contains(Cr0::PE)
    }

    /// Virtual-8086 mode.
    #[inline]
    pub fn is_virtual_8086(&self) -> bool {
        self.rflags.contains(RFlags::VM)
    }

    /// The linear address of `offset` in the code segment.
    pub fn code_address(&self, offset: u64) -> u64 {
        if self.is_64bit() { offset } else { self.segment(SegmentIndex::Cs).base.wrapping_add(offset) & 0xffff_ffff }
    }

    /// How many bits of a linear address are implemented under the current paging mode: 48 or 57.
    #[inline]
    pub fn linear_bits(&self) -> u32 {
        if self.cr4.contains(Cr4::LA57) { 57 } else { 48 }
    }
}
