//! Segments, descriptor tables, control registers and EFER.

use dragoman_state::{Attributes, Cr0, Cr4, Efer, Segment, SegmentIndex, TableRegister, VcpuState};
use kvm_bindings::{KVM_SREGS2_FLAGS_PDPTRS_VALID, kvm_dtable, kvm_segment, kvm_sregs, kvm_sregs2};

/// As KVM has them.
pub fn to_kvm(state: &VcpuState) -> kvm_sregs2 {
    let [es, cs, ss, ds, fs, gs] = state.segments.map(|segment| segment_to_kvm(&segment));
    let table = |table: TableRegister| kvm_dtable { base: table.base, limit: table.limit, padding: [0; 3] };
    let has_pointers = has_page_directory_pointers(state);
    kvm_sregs2 {
        cs,
        ds,
        es,
        fs,
        gs,
        ss,
        tr: segment_to_kvm(&state.tr),
        ldt: segment_to_kvm(&state.ldtr),
        gdt: table(state.gdtr),
        idt: table(state.idtr),
        cr0: state.cr0.bits(),
        cr2: state.cr2,
        cr3: state.cr3,
        cr4: state.cr4.bits(),
        cr8: u64::from(state.lapic.task_priority >> 4),
        efer: state.efer.bits(),
        apic_base: state.msrs.apic_base.bits(),
        flags: if has_pointers { KVM_SREGS2_FLAGS_PDPTRS_VALID.into() } else { 0 },
        pdptrs: if has_pointers { state.pdptes } else { [0; 4] },
    }
}

/// Into `state`. The local APIC's base and task priority are its own, and are not taken.
pub fn from_kvm(sregs: &kvm_sregs2, state: &mut VcpuState) {
    let segments = [sregs.es, sregs.cs, sregs.ss, sregs.ds, sregs.fs, sregs.gs];
    for (to, (from, index)) in state.segments.iter_mut().zip(segments.iter().zip(SegmentIndex::ALL)) {
        *to = segment_from_kvm(from, index == SegmentIndex::Ss);
    }
    state.ldtr = segment_from_kvm(&sregs.ldt, false);
    state.tr = segment_from_kvm(&sregs.tr, false);
    state.gdtr = TableRegister { base: sregs.gdt.base, limit: sregs.gdt.limit };
    state.idtr = TableRegister { base: sregs.idt.base, limit: sregs.idt.limit };
    state.cr0 = Cr0::from_bits_retain(sregs.cr0);
    (state.cr2, state.cr3) = (sregs.cr2, sregs.cr3);
    state.cr4 = Cr4::from_bits_retain(sregs.cr4);
    state.efer = Efer::from_bits_retain(sregs.efer);
    // The stack segment's level is the processor's. There is a KVM that forgets it on SYSCALL; that of plain code is the same.
    let code = state.segment(SegmentIndex::Cs).attributes;
    if state.cr0.contains(Cr0::PE) && !state.is_virtual_8086() && code.is_code() && !code.is_conforming() {
        let stack = &mut state.segment_mut(SegmentIndex::Ss).attributes;
        *stack = stack.with_dpl(code.dpl());
    }
    if sregs.flags & u64::from(KVM_SREGS2_FLAGS_PDPTRS_VALID) != 0 && has_page_directory_pointers(state) {
        state.pdptes = sregs.pdptrs;
    }
}

/// Hides the descriptor tables: whatever needs one ends in a shutdown, with the state as it was.
pub fn hide_tables(sregs: &mut kvm_sregs2) {
    (sregs.gdt.limit, sregs.idt.limit) = (0, 0);
}

/// Undoes that in a `state` out of KVM, given the registers of GDT and IDT before: what was hidden is as it was, and what the guest
/// loaded meanwhile is as it says.
pub fn find_tables(before: [TableRegister; 2], state: &mut VcpuState) {
    for (now, before) in [&mut state.gdtr, &mut state.idtr].into_iter().zip(before) {
        if now.limit == 0 && now.base == before.base {
            *now = before;
        }
    }
}

/// Whether paging is with page-directory pointers that the processor keeps.
fn has_page_directory_pointers(state: &VcpuState) -> bool {
    state.cr0.contains(Cr0::PG) && state.cr4.contains(Cr4::PAE) && !state.efer.contains(Efer::LMA)
}

/// The form of kernels that do not tell page-directory pointers.
pub fn to_older(new: &kvm_sregs2) -> kvm_sregs {
    kvm_sregs {
        cs: new.cs,
        ds: new.ds,
        es: new.es,
        fs: new.fs,
        gs: new.gs,
        ss: new.ss,
        tr: new.tr,
        ldt: new.ldt,
        gdt: new.gdt,
        idt: new.idt,
        cr0: new.cr0,
        cr2: new.cr2,
        cr3: new.cr3,
        cr4: new.cr4,
        cr8: new.cr8,
        efer: new.efer,
        apic_base: new.apic_base,
        interrupt_bitmap: [0; 4],
    }
}

/// Out of that form.
pub fn from_older(old: &kvm_sregs) -> kvm_sregs2 {
    kvm_sregs2 {
        cs: old.cs,
        ds: old.ds,
        es: old.es,
        fs: old.fs,
        gs: old.gs,
        ss: old.ss,
        tr: old.tr,
        ldt: old.ldt,
        gdt: old.gdt,
        idt: old.idt,
        cr0: old.cr0,
        cr2: old.cr2,
        cr3: old.cr3,
        cr4: old.cr4,
        cr8: old.cr8,
        efer: old.efer,
        apic_base: old.apic_base,
        flags: 0,
        pdptrs: [0; 4],
    }
}

/// A segment register as KVM has it.
pub fn segment_to_kvm(segment: &Segment) -> kvm_segment {
    let bits = segment.attributes.0;
    let bit = |n: u32| (bits >> n & 1) as u8;
    kvm_segment {
        base: segment.base,
        limit: segment.limit,
        selector: segment.selector,
        type_: (bits & 0xf) as u8,
        s: bit(4),
        dpl: segment.attributes.dpl(),
        present: bit(7),
        avl: bit(12),
        l: bit(13),
        db: bit(14),
        g: bit(15),
        unusable: bit(16),
        padding: 0,
    }
}

/// A segment register out of KVM. Of what cannot be used, selector and base mean something, and the stack segment's privilege level: it is the processor's.
pub fn segment_from_kvm(segment: &kvm_segment, is_stack: bool) -> Segment {
    let bit = |value: u8, n: u32| u32::from(value & 1) << n;
    if segment.unusable != 0 {
        let attributes = if is_stack { Attributes::UNUSABLE.with_dpl(segment.dpl) } else { Attributes::UNUSABLE };
        return Segment { base: segment.base, attributes, ..Segment::null(segment.selector) };
    }
    let bits = u32::from(segment.type_ & 0xf)
        | bit(segment.s, 4)
        | u32::from(segment.dpl & 3) << 5
        | bit(segment.present, 7)
        | bit(segment.avl, 12)
        | bit(segment.l, 13)
        | bit(segment.db, 14)
        | bit(segment.g, 15);
    Segment { base: segment.base, limit: segment.limit, attributes: Attributes(bits), selector: segment.selector }
}
