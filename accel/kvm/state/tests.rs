//! Each part there and back: through the structures alone, and through a processor of KVM's where there is one.

use std::sync::Arc;

use dragoman_devices::memory::GuestRam;
use dragoman_frontend::{model::CpuModel, semantics::system::Event};
use dragoman_state::{
    Attributes, Cr0, Cr4, Dr6, Dr7, Efer, F80, Gpr, InterruptShadow, Mxcsr, RFlags, Segment, SegmentIndex, StatusWord,
    TableRegister, VcpuId, VcpuState, Xcr0,
};

use super::{super::machine::Machine, *};
use crate::kvm::Kvm;

/// A state of 64-bit mode, ring 0, in which nothing is as after power-on that need not be.
fn long_mode(model: &CpuModel) -> VcpuState {
    let mut state = model.power_on(VcpuId(0));
    for n in 0..16 {
        state.gpr[Gpr(n)] = 0x0111_1111_1111_1111 * u64::from(n) + 7;
    }
    (state.rip, state.rflags) = (0xffff_8000_0012_3456, RFlags::FIXED | RFlags::CF | RFlags::ZF | RFlags::ID | RFlags::IF);
    let flat = |selector, attributes| Segment { base: 0, limit: u32::MAX, attributes: Attributes(attributes), selector };
    state.segments = [flat(0x10, 0xc093); 6];
    *state.segment_mut(SegmentIndex::Cs) = flat(0x8, 0xa09b);
    *state.segment_mut(SegmentIndex::Ss) = Segment::null(0);
    *state.segment_mut(SegmentIndex::Es) = Segment::null(3);
    state.segment_mut(SegmentIndex::Fs).base = 0x7fff_1234_5000;
    state.segment_mut(SegmentIndex::Gs).base = 0xffff_8880_0000_0000;
    state.ldtr = Segment::null(0);
    state.tr = Segment { base: 0xffff_9000_0000_1000, limit: 0x206f, attributes: Attributes(0x8b), selector: 0x40 };
    state.gdtr = TableRegister { base: 0xffff_9000_0000_0000, limit: 0x7f };
    state.idtr = TableRegister { base: 0xffff_9000_0000_3000, limit: 0xfff };
    state.cr0 = Cr0::PE | Cr0::MP | Cr0::ET | Cr0::NE | Cr0::WP | Cr0::AM | Cr0::PG;
    (state.cr2, state.cr3) = (0x7fff_dead_b000, 0x0010_0000);
    state.cr4 = Cr4::PAE | Cr4::PGE | Cr4::OSFXSR | Cr4::OSXMMEXCPT;
    state.efer = Efer::SCE | Efer::LME | Efer::LMA | Efer::NXE;
    state.breakpoints = [0x1000, 0x2000, 0x3000, 0x4000];
    (state.dr6, state.dr7) = (Dr6::FIXED | Dr6::BS, Dr7::FIXED);
    state.events.nmi_blocked = true;
    state.events.shadow = InterruptShadow::Sti;
    let msrs = &mut state.msrs;
    (msrs.star, msrs.lstar, msrs.cstar) = (0x0023_0010_0000_0000, 0xffff_ffff_8160_0000, 0xffff_ffff_8160_1000);
    (msrs.fmask, msrs.kernel_gs_base) = (0x4_7700, 0x7f00_0000_0000);
    (msrs.sysenter_cs, msrs.sysenter_esp, msrs.sysenter_eip) = (0x10, 0xffff_fe00_0000_2000, 0xffff_ffff_8160_2000);
    msrs.pat = 0x0407_0506_0007_0106;
    let unit = &mut state.x87;
    (unit.control, unit.status, unit.valid, unit.opcode) = (0x27f, StatusWord::C0 | StatusWord::PE, 0b1110_0001, 0x5d9);
    unit.set_top(5);
    (unit.instruction_pointer, unit.data_pointer) = (0x40_1234, 0x7fff_0000_1000);
    for (n, register) in unit.registers.iter_mut().enumerate() {
        *register = F80 { significand: 1 << 63 | n as u64, sign_exponent: 0x3fff + n as u16 };
    }
    state.vectors.mxcsr = Mxcsr::RESET | Mxcsr::PE | Mxcsr::FTZ;
    for (n, register) in state.vectors.registers.iter_mut().enumerate().take(16) {
        (register[0], register[1]) = (0x0123_4567_89ab_cdef ^ n as u64, 0xfedc_ba98_7654_3210 ^ n as u64);
    }
    state
}

/// The same with what processors of the third level have beside.
fn with_vectors(mut state: VcpuState) -> VcpuState {
    state.cr4 |= Cr4::OSXSAVE;
    state.xcr0 = Xcr0::X87 | Xcr0::SSE | Xcr0::AVX;
    for (n, register) in state.vectors.registers.iter_mut().enumerate().take(16) {
        (register[2], register[3]) = (0x5555_5555_0000_0000 + n as u64, 0xaaaa_aaaa_0000_0000 + n as u64);
    }
    state
}

#[test]
fn general_and_system_registers_come_back_as_they_were() {
    let before = long_mode(&CpuModel::newest());
    let mut after = VcpuState::power_on(VcpuId(0), 0);
    registers::from_kvm(&registers::to_kvm(&before), &mut after);
    assert_eq!((&after.gpr, after.rip, after.rflags), (&before.gpr, before.rip, before.rflags));
    for form in [|new: kvm_sregs2| new, |new| system::from_older(&system::to_older(&new))] {
        let mut after = VcpuState::power_on(VcpuId(0), 0);
        system::from_kvm(&form(system::to_kvm(&before)), &mut after);
        assert_eq!((after.segments, after.ldtr, after.tr), (before.segments, before.ldtr, before.tr));
        assert_eq!((after.gdtr, after.idtr), (before.gdtr, before.idtr));
        assert_eq!((after.cr0, after.cr2, after.cr3, after.cr4), (before.cr0, before.cr2, before.cr3, before.cr4));
        assert_eq!(after.efer, before.efer);
    }
}

#[test]
fn the_level_of_a_null_stack_segment_is_kept_and_nothing_else_of_it() {
    let mut before = long_mode(&CpuModel::newest());
    for index in [SegmentIndex::Cs, SegmentIndex::Ss] {
        let segment = before.segment_mut(index);
        segment.attributes = segment.attributes.with_dpl(1);
    }
    let mut sregs = system::to_kvm(&before);
    (sregs.ss.present, sregs.ss.limit, sregs.es.dpl) = (1, 5, 3);
    let mut after = before.clone();
    system::from_kvm(&sregs, &mut after);
    assert_eq!(after.segments, before.segments);
    // What is forgotten of it is had from the code segment.
    sregs.ss.dpl = 3;
    system::from_kvm(&sregs, &mut after);
    assert_eq!((after.segments, after.cpl()), (before.segments, 1));
}

#[test]
fn page_directory_pointers_are_told_where_paging_has_them() {
    let mut before = VcpuState::power_on(VcpuId(0), 0);
    (before.cr0, before.cr4) = (Cr0::PE | Cr0::PG | Cr0::ET, Cr4::PAE);
    before.pdptes = [0x1001, 0x2001, 0x3001, 0x4001];
    let mut after = VcpuState::power_on(VcpuId(0), 0);
    system::from_kvm(&system::to_kvm(&before), &mut after);
    assert_eq!(after.pdptes, before.pdptes);
    assert_eq!(system::to_kvm(&long_mode(&CpuModel::newest())).flags, 0);
}

#[test]
fn floating_point_and_vector_registers_come_back_as_they_were() {
    let before = with_vectors(VcpuState { pkru: 0x5555_0004, ..long_mode(&CpuModel::newest()) });
    let layout = Layout { components: Xcr0::X87 | Xcr0::SSE | Xcr0::AVX | Xcr0::PKRU, pkru: 2688 };
    let mut image = [0; 1024];
    image::to_kvm(&before, layout, &mut image);
    let mut after = VcpuState::power_on(VcpuId(0), 0);
    image::from_kvm(&image, layout, &mut after);
    assert_eq!((after.x87, after.vectors, after.pkru), (before.x87, before.vectors, before.pkru));
    // What the header calls initial is zero, whatever the image holds.
    image[128] = Xcr0::SSE.bits() as u32;
    image::from_kvm(&image, layout, &mut after);
    assert_eq!((after.vectors.registers[3][2..4].to_vec(), after.pkru), (vec![0, 0], 0));
    assert_eq!((after.x87.control, after.x87.valid, after.vectors.registers[3][0]), (0x37f, 0, before.vectors.registers[3][0]));
    // Nothing is written where the processor has no such component.
    let mut image = [0; 1024];
    image::to_kvm(&before, Layout { components: Xcr0::X87 | Xcr0::SSE, pkru: 0 }, &mut image);
    assert!(image[144..].iter().all(|word| *word == 0) && image[0] & 0xffff == 0x27f);
}

#[test]
fn registers_events_and_breakpoints_come_back_as_they_were() {
    let before = long_mode(&CpuModel::newest());
    let mut after = VcpuState::power_on(VcpuId(0), 0);
    msrs::from_kvm(&msrs::to_kvm(&before.msrs, msrs::REGISTERS), &mut after.msrs);
    let others = |state: &VcpuState| (state.msrs.apic_base, state.msrs.misc_enable);
    assert_eq!(others(&after), others(&before));
    assert_eq!((after.msrs.star, after.msrs.lstar, after.msrs.pat), (before.msrs.star, before.msrs.lstar, before.msrs.pat));
    for shadow in [InterruptShadow::None, InterruptShadow::Sti, InterruptShadow::MovSs] {
        let mut before = before.clone();
        (before.events.shadow, before.events.nmi_pending) = (shadow, shadow == InterruptShadow::Sti);
        events::from_kvm(&events::to_kvm(&before), &mut after);
        assert_eq!(after.events, before.events);
    }
    events::debug_from_kvm(&events::debug_to_kvm(&before), &mut after);
    assert_eq!((after.breakpoints, after.dr6, after.dr7), (before.breakpoints, before.dr6, before.dr7));
}

#[test]
fn what_was_being_delivered_is_told_unless_it_is_an_instructions() {
    let mut events = kvm_vcpu_events::default();
    assert_eq!(events::undelivered(&events), None);
    (events.interrupt.injected, events.interrupt.nr) = (1, 0x31);
    assert_eq!(events::undelivered(&events), Some(Event::external(0x31)));
    events.interrupt.soft = 1;
    assert_eq!(events::undelivered(&events), None);
    events.nmi.injected = 1;
    assert_eq!(events::undelivered(&events), Some(Event::NMI));
    (events.exception.pending, events.exception.nr) = (1, 14);
    (events.exception.has_error_code, events.exception.error_code) = (1, 6);
    let event = events::undelivered(&events).expect("a page fault");
    assert_eq!((event.vector, event.error, event.is_trap), (14, Some(6), false));
    events.exception.nr = 3;
    assert_eq!(events::undelivered(&events), Some(Event::NMI));
}

#[test]
fn a_processor_of_kvms_gives_back_what_it_was_given() {
    let model = match Kvm::default_model() {
        Ok(model) => model,
        Err(error) => return println!("SKIPPED: {error}"),
    };
    let ram = Arc::new(GuestRam::new(2 << 20).expect("small"));
    let machine = Machine::new(ram).expect("it has all that is needed");
    let (mut vcpu, extent) = machine.create_vcpu(VcpuId(0), &model).expect("its own model");
    let mut before = long_mode(&model);
    if extent.has_xcrs {
        before = with_vectors(before);
    }
    // Nobody moves the stack segment's emptiness in virtual machines of software: ring 0 has one.
    let mut held = Held::default();
    held.put(&mut vcpu, &extent, &before).expect("a state of every day");
    let mut after = model.power_on(VcpuId(0));
    let event = Held::default().take(&vcpu, &extent, &mut after).expect("KVM has it");
    assert_eq!(event, None);
    // Which registers KVM keeps is its own affair; the rest is never asked of it.
    for (index, slot) in msrs::REGISTERS {
        if !extent.msrs.iter().any(|(known, _)| known == index) {
            *slot(&mut after.msrs) = *slot(&mut before.msrs.clone());
        }
    }
    assert_eq!(after, before);
    // And once more, over what is there.
    before.gpr[Gpr::RAX] ^= 1;
    before.events.shadow = InterruptShadow::None;
    held.put(&mut vcpu, &extent, &before).expect("another");
    let event = held.take(&vcpu, &extent, &mut after).expect("KVM has it");
    assert_eq!((event, after), (None, before));
}
