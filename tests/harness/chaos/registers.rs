//! The registers that a random guest starts with: any that the manual allows, most of them good for something.

use dragoman_frontend::model::{CpuModel, Feature};
use dragoman_state::{ApicBase, Dr7, Gpr, LvtIndex, Mxcsr, RFlags, VcpuState};

use super::{
    descriptors::{Tables, any_selector},
    page_tables::PageTables,
    pointers::{canonical, homes, offset_in},
    privileged::{become_unreal, set_control, set_segments, set_system_segments},
    recipe::Recipe,
};
use crate::{
    Mode, engine,
    generate::{Flavour, Random, integer, quadword, x87},
    layout::{CODE, HANDLERS, KERNEL_STACK, PAGE, STACK},
};

/// Numbers of model-specific registers.
#[rustfmt::skip] // a list
pub const MODEL_REGISTERS: [u32; 32] = [
    0x10, 0x1b, 0x3a, 0x3b, 0x48, 0x49, 0x79, 0x8b, 0xfe, 0x10a, 0x174, 0x175, 0x176, 0x1a0, 0x1d9, 0x200,
    0x201, 0x250, 0x26f, 0x277, 0x2ff, 0x6e0, 0x808, 0x80b, 0x80f, 0x830, 0x832, 0x838,
    0xc000_0080, 0xc000_0081, 0xc000_0082, 0xc000_0102,
];

/// The state that a guest of `recipe` on `model` starts with.
pub fn start(random: &mut Random, recipe: &Recipe, model: &CpuModel, tables: &Tables, pages: &PageTables) -> VcpuState {
    let mode = recipe.mode;
    let mut state = engine::start(model, mode, recipe.cpl);
    set_control(random, recipe, model, pages, &mut state);
    if mode == Mode::Real16 {
        become_unreal(random, &mut state);
    } else {
        set_system_segments(random, mode, &mut state);
        set_segments(random, recipe, tables, &mut state);
    }
    set_numbers(random, recipe, &mut state);
    set_flags(random, mode, &mut state);
    set_debug(random, recipe, &mut state);
    set_model_registers(random, recipe, &mut state);
    set_apic(random, model, &mut state);
    place_code(random, recipe, &mut state);
    state
}

/// General, x87 and vector registers.
fn set_numbers(random: &mut Random, recipe: &Recipe, state: &mut VcpuState) {
    let mode = recipe.mode;
    for n in (0..mode.register_count() as u8).map(Gpr) {
        let value = match random.below(8) {
            0..=3 => offset_in(random, mode, recipe.paging),
            4 => any_selector(random).into(),
            5 => random.below(0x40),
            _ => integer(random),
        };
        state.gpr[n] = value & mode.register_mask();
    }
    if random.one_in(4) {
        state.gpr[Gpr::RCX] = random.pick(&MODEL_REGISTERS).into();
    }
    let stack = if mode.is_segmented() { 0 } else { STACK } + 0x800;
    if !random.one_in(8) {
        state.gpr[Gpr::RSP] = stack + random.below(0x80) * if random.one_in(4) { 1 } else { 8 };
    }
    state.x87 = x87(random);
    state.vectors.mxcsr = match random.below(4) {
        0 => Mxcsr::from_bits_retain(random.bits() as u32 & Mxcsr::WRITABLE),
        _ => Mxcsr::RESET,
    };
    for register in &mut state.vectors.registers[..mode.register_count()] {
        let flavour = random.pick(&[Flavour::Integer, Flavour::Single, Flavour::Double]);
        (register[0], register[1]) = (quadword(random, flavour), quadword(random, flavour));
    }
}

fn set_flags(random: &mut Random, mode: Mode, state: &mut VcpuState) {
    let mut flags = RFlags::FIXED;
    flags.set(RFlags::VM, mode == Mode::Vm86);
    let chances = [
        (RFlags::TF, 24),
        (RFlags::IF, 2),
        (RFlags::DF, 4),
        (RFlags::NT, 8),
        (RFlags::RF, 16),
        (RFlags::AC, 4),
        (RFlags::VIF, 8),
        (RFlags::VIP, 8),
        (RFlags::ID, 2),
    ];
    for (flag, one_in) in chances {
        flags.set(flag, random.one_in(one_in));
    }
    flags |= RFlags::from_bits_retain(random.bits()) & RFlags::ARITHMETIC;
    if random.one_in(2) {
        flags |= RFlags::from_bits_retain(random.bits()) & RFlags::IOPL;
    }
    state.rflags = flags;
}

fn set_debug(random: &mut Random, recipe: &Recipe, state: &mut VcpuState) {
    if !random.one_in(12) {
        return;
    }
    for breakpoint in &mut state.breakpoints {
        *breakpoint = if random.one_in(2) { CODE + random.below(0x80) } else { offset_in(random, recipe.mode, recipe.paging) };
    }
    state.dr7 = Dr7::FIXED | Dr7::from_bits_retain(random.bits() & 0xffff_2bff);
}

fn set_model_registers(random: &mut Random, recipe: &Recipe, state: &mut VcpuState) {
    let entry = |random: &mut Random| random.pick(&[CODE, HANDLERS, HANDLERS + PAGE - 8]) + random.below(0x80);
    let msrs = &mut state.msrs;
    if random.one_in(2) {
        msrs.star = random.bits() & 0xffff_ffff | u64::from(any_selector(random)) << 32 | u64::from(any_selector(random)) << 48;
    }
    msrs.lstar = entry(random);
    msrs.cstar = entry(random);
    msrs.fmask = random.bits() & 0x3f_7fd5;
    msrs.sysenter_cs = if random.one_in(2) { 0x10 } else { any_selector(random).into() };
    msrs.sysenter_eip = entry(random);
    msrs.sysenter_esp = KERNEL_STACK.end - random.below(0x80);
    msrs.kernel_gs_base = canonical(offset_in(random, recipe.mode, recipe.paging));
    msrs.tsc_aux = random.bits() & 0xffff_ffff;
    state.tsc_offset = integer(random);
    state.pkru = random.bits() as u32;
}

fn set_apic(random: &mut Random, model: &CpuModel, state: &mut VcpuState) {
    match random.below(8) {
        0 => state.msrs.apic_base.remove(ApicBase::EN),
        1..=2 if model.has(Feature::X2apic) => state.msrs.apic_base |= ApicBase::EXTD,
        3 => state.msrs.apic_base = ApicBase::BSP | ApicBase::EN | ApicBase::from_bits_retain(0xa_0000),
        _ => {}
    }
    let apic = &mut state.lapic;
    apic.spurious = 0x1ff;
    apic.task_priority = if random.one_in(4) { random.bits() as u8 } else { 0 };
    if random.one_in(2) {
        apic.lvt[LvtIndex::Lint0 as usize] = 0x700; // the 8259 pair's
    }
    if random.one_in(4) {
        apic.lvt[LvtIndex::Timer as usize] = random.bits() as u32 & 0x6_00ff;
        apic.lvt[LvtIndex::Error as usize] = random.bits() as u32 & 0x1_00ff;
        apic.divide_configuration = random.bits() as u32 & 0xb;
    }
}

/// RIP: at the start of the code, wherever the address space shows it.
fn place_code(random: &mut Random, recipe: &Recipe, state: &mut VcpuState) {
    let home = if random.one_in(3) { random.pick(homes(recipe.mode, recipe.paging)) } else { 0 };
    state.rip = if recipe.mode.is_segmented() { 0 } else { home.wrapping_add(CODE) };
    // Behind the end of one page, or of the segment.
    match random.below(8) {
        0 => state.rip += PAGE - 1 - random.below(16),
        1 if recipe.mode.is_segmented() => state.rip = 0xffff - random.below(16),
        _ => {}
    }
    if !state.is_64bit() {
        state.rip &= 0xffff_ffff;
    }
}
