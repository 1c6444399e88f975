//! What the manual says of every state that a processor can be in between two instructions.
//! SDM: vol. 1 §3.4.3 (RFLAGS), vol. 3 §2.5 (control registers), §2.2.1 (EFER), §17.2 (debug registers), §26.3.1.1 to §26.3.1.4
//! (what a guest's state must be like, of which all but the kinds of segments holds for every processor).

use dragoman_frontend::{
    model::{CpuModel, Feature},
    semantics::system::cr4_write_is_valid,
};
use dragoman_state::{
    Activity, Attributes, Cr0, Cr4, Dr6, Dr7, Efer, Gpr, GuestVirt, Mxcsr, RFlags, SegmentIndex, VcpuId, VcpuState, Xcr0,
};

/// What must hold, or else this is said.
type Verdict = Result<(), String>;

fn must(holds: bool, what: &str) -> Verdict {
    if holds { Ok(()) } else { Err(what.to_string()) }
}

/// What is possible in a state depends on the states before it.
pub struct Rules {
    physical_bits: u32,
    cr4: Cr4,
    efer: Efer,
    /// No state so far was in long mode.
    is_young: bool,
    /// Every state so far was in long mode.
    is_always_long: bool,
    /// Every state so far was in protected mode, so that every segment came out of a table.
    is_always_protected: bool,
}

impl Rules {
    /// The rules for a processor of `model` that starts in `state`.
    pub fn new(model: &CpuModel, state: &VcpuState) -> Self {
        let mut probe = VcpuState::power_on(VcpuId(0), 0);
        (probe.efer, probe.cr4) = (Efer::LMA, Cr4::PAE);
        let is_possible = |bit: &Cr4| cr4_write_is_valid(&probe, model, (Cr4::PAE | *bit).bits());
        // It cannot be changed in long mode. A guest may start with more than the model has, so that it is tried there.
        let five_levels = if model.has(Feature::La57) { Cr4::LA57 } else { state.cr4 & Cr4::LA57 };
        let mut efer = Efer::empty();
        efer.set(Efer::SCE, model.has(Feature::Syscall));
        efer.set(Efer::NXE, model.has(Feature::Nx));
        efer.set(Efer::LME | Efer::LMA, model.has(Feature::Lm));
        Self {
            physical_bits: model.physical_bits(),
            cr4: Cr4::all().iter().filter(is_possible).collect::<Cr4>() | five_levels,
            efer,
            is_young: true,
            is_always_long: true,
            is_always_protected: true,
        }
    }

    /// Where physical addresses end in `state`.
    pub fn physical_end(&self, state: &VcpuState) -> u64 {
        if state.cr0.contains(Cr0::PG) { 1 << self.physical_bits } else { 1 << 32 }
    }

    /// Whether `state` is one that can be, after those that this was asked of before.
    pub fn check(&mut self, state: &VcpuState) -> Verdict {
        self.is_young &= !state.efer.contains(Efer::LMA);
        self.is_always_long &= state.efer.contains(Efer::LMA);
        self.is_always_protected &= state.cr0.contains(Cr0::PE);
        self.flags(state)?;
        self.control(state)?;
        self.addresses(state)?;
        self.debug(state)?;
        self.numbers(state)?;
        match (state.is_virtual_8086(), state.is_real_mode()) {
            (true, _) => Self::virtual_segments(state)?,
            (false, true) => must(state.cpl() == 0, "real mode is at ring 0")?,
            (false, false) => self.segments(state)?,
        }
        self.system_segments(state)?;
        must(state.events.activity != Activity::WaitForSipi, "nobody sent INIT without a start-up message")
    }

    fn flags(&self, state: &VcpuState) -> Verdict {
        let flags = state.rflags;
        must(flags.contains(RFlags::FIXED), "RFLAGS bit 1 is one")?;
        must(RFlags::all().contains(flags), "the reserved bits of RFLAGS are zero")?;
        let is_possible = !flags.contains(RFlags::VM) || state.cr0.contains(Cr0::PE) && !state.is_long_mode();
        must(is_possible, "RFLAGS.VM is set in protected mode only, and not in long mode")
    }

    fn control(&self, state: &VcpuState) -> Verdict {
        let (cr0, cr4, efer) = (state.cr0, state.cr4, state.efer);
        must(Cr0::all().contains(cr0) && cr0.contains(Cr0::ET), "the reserved bits of CR0 are zero and ET is one")?;
        must(!cr0.contains(Cr0::PG) || cr0.contains(Cr0::PE), "CR0.PG is set with CR0.PE only")?;
        must(!cr0.contains(Cr0::NW) || cr0.contains(Cr0::CD), "CR0.NW is set with CR0.CD only")?;
        must(self.cr4.contains(cr4), "the reserved bits of CR4 are zero")?;
        must(self.efer.contains(efer), "the reserved bits of EFER are zero")?;
        let is_long = efer.contains(Efer::LMA);
        must(is_long == (efer.contains(Efer::LME) && cr0.contains(Cr0::PG)), "EFER.LMA is EFER.LME and CR0.PG")?;
        must(!is_long || cr4.contains(Cr4::PAE), "long mode is with CR4.PAE")?;
        must(is_long || !cr4.contains(Cr4::PCIDE), "CR4.PCIDE is set in long mode only")?;
        let width = if self.is_young { 32 } else { self.physical_bits };
        must(state.cr3 >> width == 0, "CR3 is a physical address")?;
        must(state.xcr0.contains(Xcr0::X87), "XCR0 bit 0 is one")
    }

    fn addresses(&self, state: &VcpuState) -> Verdict {
        let bits = state.linear_bits();
        let is_canonical = |at: u64| GuestVirt(at).is_canonical(bits);
        if state.is_64bit() {
            // Execution that goes on past the last address of the lower half is found out by the fetch.
            must(is_canonical(state.rip) || state.rip == 1 << (bits - 1), "RIP is canonical")?;
        } else {
            must(state.rip >> 32 == 0, "EIP has 32 bits")?;
        }
        if self.is_young {
            must((0..16).all(|n| state.gpr[Gpr(n)] >> 32 == 0), "registers have 32 bits")?;
            must(state.cr2 >> 32 == 0, "linear addresses have 32 bits")?;
            must(state.gdtr.base >> 32 == 0 && state.idtr.base >> 32 == 0, "tables have addresses of 32 bits")?;
            must(state.breakpoints.iter().all(|at| at >> 32 == 0), "breakpoints have 32 bits")?;
            // Those of FS and GS are model-specific registers, too.
            let bases = state.segments[..4].iter().chain([&state.ldtr, &state.tr]).all(|segment| segment.base >> 32 == 0);
            must(bases, "segments have bases of 32 bits")?;
        }
        if self.is_always_long {
            let bases = [state.segment(SegmentIndex::Fs), state.segment(SegmentIndex::Gs), &state.tr];
            must(bases.iter().all(|segment| is_canonical(segment.base)), "the bases of FS, GS and TR are canonical")?;
            must(state.ldtr.attributes.is_unusable() || is_canonical(state.ldtr.base), "the base of LDTR is canonical")?;
        }
        Ok(())
    }

    fn debug(&self, state: &VcpuState) -> Verdict {
        let conditions = Dr6::B | Dr6::BD | Dr6::BS | Dr6::BT;
        let is_valid = state.dr6.contains(Dr6::FIXED) && (conditions | Dr6::FIXED).contains(state.dr6);
        must(is_valid, "the reserved bits of DR6 are as they must be")?;
        let writable = Dr7::from_bits_retain(0xffff_2bff) | Dr7::FIXED;
        let is_valid = state.dr7.contains(Dr7::FIXED) && writable.contains(state.dr7);
        must(is_valid, "the reserved bits of DR7 are as they must be")?;
        must(conditions.contains(state.events.pending_debug), "only conditions of DR6 are pending")
    }

    fn numbers(&self, state: &VcpuState) -> Verdict {
        must(state.vectors.mxcsr.bits() & !Mxcsr::WRITABLE == 0, "the reserved bits of MXCSR are zero")?;
        let mut unit = state.x87;
        unit.refresh_summary();
        must(unit.status == state.x87.status, "the x87 summary bits follow from exceptions and masks")?;
        must(state.x87.opcode < 0x800, "the x87 opcode has 11 bits")
    }

    /// SDM: vol. 3 §20.1.1, §26.3.1.2.
    fn virtual_segments(state: &VcpuState) -> Verdict {
        must(state.cpl() == 3, "virtual-8086 mode is at ring 3")?;
        let is_virtual = |index: &SegmentIndex| {
            let segment = state.segment(*index);
            segment.base == u64::from(segment.selector) << 4 && segment.limit == 0xffff && segment.attributes == Attributes(0xf3)
        };
        must(SegmentIndex::ALL.iter().all(is_virtual), "segments of virtual-8086 mode are selectors times sixteen, of 64 KiB")
    }

    fn segments(&self, state: &VcpuState) -> Verdict {
        let (cs, cpl) = (state.segment(SegmentIndex::Cs), state.cpl());
        let rights = cs.attributes;
        // Real mode leaves data in CS, which protected mode keeps until the first far jump.
        let is_real = !self.is_always_protected && rights.kind() & 0xb == 3 && cpl == 0;
        must(rights.is_code_or_data() && !rights.is_unusable() && rights.is_present(), "CS holds a segment")?;
        must(rights.is_code() || is_real, "CS holds code")?;
        let is_level = if rights.is_conforming() { rights.dpl() <= cpl } else { rights.dpl() == cpl };
        must(is_level, "the privilege level of CS goes with that of SS")?;
        must(!(state.is_long_mode() && rights.is_long() && rights.is_big()), "64-bit code has no D bit")?;
        let ss = state.segment(SegmentIndex::Ss);
        if !ss.attributes.is_unusable() {
            must(ss.attributes.is_writable() && ss.attributes.is_present(), "SS holds data that can be written")?;
        } else {
            must(cpl < 3, "SS holds something at ring 3")?;
        }
        for index in SegmentIndex::ALL {
            let segment = state.segment(index);
            let rights = segment.attributes;
            if rights.is_unusable() {
                continue;
            }
            let is_small = segment.limit & 0xfff != 0xfff;
            let is_large = segment.limit >> 20 != 0;
            must(!(is_small && rights.is_granular()), "a limit in pages ends a page")?;
            if self.is_always_protected {
                must(!is_large || rights.is_granular(), "a limit in bytes has 20 bits")?;
                must(rights.kind() & 1 != 0 && rights.is_present(), "a segment in a register is present and accessed")?;
                let is_kind = rights.is_readable() || index == SegmentIndex::Cs;
                must(is_kind, "data segment registers hold what can be read")?;
                let rpl = (segment.selector & 3) as u8;
                let is_level = rights.is_conforming() || rights.dpl() >= rpl;
                must(is_level || matches!(index, SegmentIndex::Cs), "data has no higher privilege than its selector asks")?;
            }
        }
        if self.is_always_protected {
            must((cs.selector & 3) as u8 == cpl, "the selector in CS has the current privilege level")?;
            must((ss.selector & 3) as u8 == cpl, "the selector in SS has the current privilege level")?;
        }
        Ok(())
    }

    fn system_segments(&self, state: &VcpuState) -> Verdict {
        let (ldtr, tr) = (&state.ldtr, &state.tr);
        let is_system = |rights: Attributes| !rights.is_code_or_data() && rights.is_present();
        let is_table = is_system(ldtr.attributes) && ldtr.attributes.kind() == 2 && ldtr.selector & 4 == 0;
        must(ldtr.attributes.is_unusable() || is_table, "LDTR holds a table or nothing")?;
        let is_kind = tr.attributes.kind() == 11 || tr.attributes.kind() == 3 && !self.is_always_long;
        let is_task = is_system(tr.attributes) && is_kind && tr.selector & 4 == 0;
        must(is_task && !tr.attributes.is_unusable(), "TR holds a busy task")
    }
}
