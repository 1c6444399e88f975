//! The complete state that a processor starts a case with: a mode and a privilege level, as an operating system has set
//! them up.

use dragoman_frontend::model::{CpuModel, Feature};
use dragoman_state::{
    Attributes, Cr0, Cr4, Efer, Gpr, Mxcsr, RFlags, Segment, SegmentIndex, TableRegister, VcpuId, VcpuState, Xcr0,
};

use super::tables::{LDT_LIMIT, TSS_LIMIT, gdt_limit};
use crate::{
    Mode, Registers,
    layout::{GDT, IDT, LDT, TSS, selector},
};

/// What SYSCALL and SYSRET load, as Linux has it.
const STAR: u64 = (selector::USER_CODE32 as u64) << 48 | (selector::KERNEL_CODE as u64) << 32;

/// The state of a `model` at `cpl` in `mode`, with the register pattern, and page tables at `root`.
pub fn state(model: &CpuModel, mode: Mode, cpl: u8, root: u64) -> VcpuState {
    let mut state = model.power_on(VcpuId(0));
    state.cr0 = Cr0::MP | Cr0::ET | Cr0::NE;
    state.cr4 = Cr4::OSFXSR | Cr4::OSXMMEXCPT;
    if model.has(Feature::Xsave) {
        state.cr4 |= Cr4::OSXSAVE;
        state.xcr0 = Xcr0::X87 | Xcr0::SSE | if model.has(Feature::Avx) { Xcr0::AVX } else { Xcr0::empty() };
    }
    state.idtr = TableRegister { base: 0, limit: 0x3ff };
    state.gdtr = TableRegister { base: GDT, limit: gdt_limit(mode) };
    if mode != Mode::Real16 {
        state.cr0 |= Cr0::PE | Cr0::WP | Cr0::AM | Cr0::PG;
        state.cr3 = root;
        state.idtr = TableRegister { base: IDT, limit: if mode.is_long() { 0xfff } else { 0x7ff } };
        state.tr = Segment { base: TSS, limit: TSS_LIMIT, attributes: Attributes(0x8b), selector: selector::TSS };
        state.ldtr = Segment { base: LDT, limit: LDT_LIMIT, attributes: Attributes::LDT, selector: selector::LDT };
    }
    if mode.is_long() {
        state.cr4 |= Cr4::PAE | Cr4::PGE | Cr4::FSGSBASE;
        state.efer = Efer::SCE | Efer::LME | Efer::LMA | Efer::NXE;
        state.msrs.star = STAR;
    }
    let registers = Registers::pattern(mode);
    for (index, selector) in SegmentIndex::ALL.into_iter().zip(registers.selectors) {
        *state.segment_mut(index) = segment(mode, selector);
    }
    load(&mut state, mode, &registers);
    if cpl == 0 {
        enter_ring_0(&mut state, mode);
    } else if cpl < 3 {
        for segment in &mut state.segments {
            segment.attributes = segment.attributes.with_dpl(cpl);
            segment.selector = segment.selector & !3 | u16::from(cpl);
        }
    }
    state
}

/// Ring 0 has segments of its own.
fn enter_ring_0(state: &mut VcpuState, mode: Mode) {
    use selector::*;
    let selectors = match mode {
        Mode::Real16 | Mode::Vm86 => return,
        Mode::Prot16 | Mode::Comp16 => [KERNEL_DATA16, KERNEL_CODE16, KERNEL_STACK16, KERNEL_DATA16, KERNEL_FS16, KERNEL_GS16],
        Mode::Prot32 | Mode::Comp32 | Mode::Long64 => [KERNEL_DATA, KERNEL_CODE, KERNEL_DATA, KERNEL_DATA, 0, 0],
    };
    for (segment, selector) in state.segments.iter_mut().zip(selectors) {
        segment.selector = selector;
        segment.attributes = segment.attributes.with_dpl(0);
    }
}

/// Sets what user code can see of `state` to `registers`. The hidden parts of segments whose selectors change follow from
/// the tables.
pub fn load(state: &mut VcpuState, mode: Mode, registers: &Registers) {
    for (n, value) in registers.gpr.iter().enumerate() {
        state.gpr[Gpr(n as u8)] = *value;
    }
    state.rip = registers.rip;
    let vm = if mode == Mode::Vm86 { RFlags::VM } else { RFlags::empty() };
    state.rflags = RFlags::from_bits_retain(registers.rflags) | vm;
    for (index, selector) in SegmentIndex::ALL.into_iter().zip(registers.selectors) {
        if state.segment(index).selector != selector {
            *state.segment_mut(index) = segment(mode, selector);
        }
    }
    state.segment_mut(SegmentIndex::Fs).base = registers.fs_base;
    state.segment_mut(SegmentIndex::Gs).base = registers.gs_base;
    state.x87 = registers.x87;
    state.vectors.mxcsr = Mxcsr::from_bits_retain(registers.mxcsr);
    for (to, from) in state.vectors.registers.iter_mut().zip(&registers.vectors) {
        to[..4].copy_from_slice(from);
    }
}

/// What user code can see of `state`.
pub fn read(state: &VcpuState) -> Registers {
    let mut selectors = [0; 6];
    for (to, from) in selectors.iter_mut().zip(&state.segments) {
        *to = from.selector;
    }
    Registers {
        gpr: std::array::from_fn(|n| state.gpr[Gpr(n as u8)]),
        rip: state.rip,
        rflags: state.rflags.bits(),
        fs_base: state.segment(SegmentIndex::Fs).base,
        gs_base: state.segment(SegmentIndex::Gs).base,
        selectors,
        mxcsr: state.vectors.mxcsr.bits(),
        x87: state.x87,
        vectors: std::array::from_fn(|n| {
            let lanes = &state.vectors.registers[n];
            [lanes[0], lanes[1], lanes[2], lanes[3]]
        }),
    }
}

/// What segment register `index` holds after `selector` was loaded in `mode`, from the tables as they are at the start.
pub fn segment(mode: Mode, selector: u16) -> Segment {
    match mode {
        Mode::Real16 => Segment::real_mode(selector, Attributes::DATA),
        Mode::Vm86 => Segment::real_mode(selector, Attributes(0xf3)),
        Mode::Prot16 | Mode::Prot32 | Mode::Comp16 | Mode::Comp32 | Mode::Long64 => {
            if selector & !3 == 0 {
                return Segment::null(selector);
            }
            let table = super::tables::pages(mode);
            let (base, page) = (if selector & 4 != 0 { LDT } else { GDT }, &table[0].1);
            let at = (base - GDT) as usize + usize::from(selector & !7);
            let bytes = page.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; 8]);
            Segment::from_descriptor(selector, u64::from_le_bytes(bytes))
        }
    }
}
