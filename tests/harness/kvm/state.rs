//! The complete state of a processor, into KVM and out of it.

use dragoman_state::{
    ApicBase, Attributes, Cr0, Cr4, Dr6, Dr7, Efer, F80, Gpr, InterruptShadow, Msrs, Mxcsr, RFlags, Segment, StatusWord,
    TableRegister, VcpuState, Xcr0,
};
use kvm_bindings::{
    KVM_VCPUEVENT_VALID_NMI_PENDING, KVM_VCPUEVENT_VALID_SHADOW, Msrs as List, kvm_debugregs, kvm_dtable, kvm_msr_entry,
    kvm_regs, kvm_segment, kvm_vcpu_events, kvm_xcrs,
};
use kvm_ioctls::VcpuFd;

use super::{KvmError, machine::Machine};

/// Words of the image. SDM: vol. 1 §13.4.
const FIP: usize = 2;
const FDP: usize = 4;
const MXCSR: usize = 6;
const STACK: usize = 8;
const XMM: usize = 40;
const XSTATE_BV: usize = 128;
const YMM_HIGH: usize = 144;
/// x87, SSE and AVX.
const COMPONENTS: u32 = 7;

/// A model-specific register: its number, and where the state has it.
type Register = (u32, fn(&mut Msrs) -> &mut u64);

const REGISTERS: [Register; 13] = [
    (0xc000_0081, |msrs| &mut msrs.star),
    (0xc000_0082, |msrs| &mut msrs.lstar),
    (0xc000_0083, |msrs| &mut msrs.cstar),
    (0xc000_0084, |msrs| &mut msrs.fmask),
    (0xc000_0102, |msrs| &mut msrs.kernel_gs_base),
    (0xc000_0103, |msrs| &mut msrs.tsc_aux),
    (0x174, |msrs| &mut msrs.sysenter_cs),
    (0x175, |msrs| &mut msrs.sysenter_esp),
    (0x176, |msrs| &mut msrs.sysenter_eip),
    (0x277, |msrs| &mut msrs.pat),
    (0x1d9, |msrs| &mut msrs.debugctl),
    (0x48, |msrs| &mut msrs.spec_ctrl),
    (0x2ff, |msrs| &mut msrs.mtrr_default_type),
];

fn gave_up(what: &'static str) -> impl Fn(kvm_ioctls::Error) -> KvmError {
    move |error| KvmError::GaveUp(format!("it does not take {what}: {error}"))
}

/// Puts `state` into `machine`.
pub fn set(machine: &mut Machine, state: &VcpuState) -> Result<(), KvmError> {
    // Without a local APIC in the kernel, this is where KVM takes it from.
    machine.vcpu.get_kvm_run().cr8 = u64::from(state.lapic.task_priority >> 4);
    let vcpu = &machine.vcpu;
    set_system(vcpu, state)?;
    let g = |n: u8| state.gpr[Gpr(n)];
    #[rustfmt::skip]
    let regs = kvm_regs {
        rax: g(0), rcx: g(1), rdx: g(2), rbx: g(3), rsp: g(4), rbp: g(5), rsi: g(6), rdi: g(7),
        r8: g(8), r9: g(9), r10: g(10), r11: g(11), r12: g(12), r13: g(13), r14: g(14), r15: g(15),
        rip: state.rip, rflags: state.rflags.bits(),
    };
    vcpu.set_regs(&regs).map_err(gave_up("general-purpose registers"))?;
    let mut xcrs = kvm_xcrs { nr_xcrs: 1, ..Default::default() };
    xcrs.xcrs[0].value = state.xcr0.bits();
    vcpu.set_xcrs(&xcrs).map_err(gave_up("XCR0"))?;
    let mut image = vcpu.get_xsave().map_err(gave_up("an image"))?;
    write_image(&mut image.region, state);
    machine.set_image(&image).map_err(gave_up("the image"))?;
    let debug = kvm_debugregs { db: state.breakpoints, dr6: state.dr6.bits(), dr7: state.dr7.bits(), ..Default::default() };
    vcpu.set_debug_regs(&debug).map_err(gave_up("debug registers"))?;
    let mut msrs = state.msrs.clone();
    for (number, slot) in REGISTERS {
        let value = *slot(&mut msrs);
        let mut now = one(number, 0)?;
        let is_there = vcpu.get_msrs(&mut now) == Ok(1);
        let is_same = is_there && now.as_slice()[0].data == value;
        if is_same || is_there && vcpu.set_msrs(&one(number, value)?) == Ok(1) {
            continue;
        }
        if value != *slot(&mut Msrs::power_on()) {
            return Err(KvmError::GaveUp(format!("it has no model-specific register {number:#x}, or not this value")));
        }
    }
    let mut events =
        kvm_vcpu_events { flags: KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_NMI_PENDING, ..Default::default() };
    events.interrupt.shadow = match state.events.shadow {
        InterruptShadow::None => 0,
        InterruptShadow::MovSs => 1,
        InterruptShadow::Sti => 2,
    };
    events.nmi.masked = state.events.nmi_blocked.into();
    events.nmi.pending = state.events.nmi_pending.into();
    vcpu.set_vcpu_events(&events).map_err(gave_up("events"))
}

fn one(number: u32, data: u64) -> Result<List, KvmError> {
    List::from_entries(&[kvm_msr_entry { index: number, data, ..Default::default() }])
        .map_err(|_| KvmError::GaveUp("a list of one register is too long".into()))
}

fn set_system(vcpu: &VcpuFd, state: &VcpuState) -> Result<(), KvmError> {
    let mut sregs = vcpu.get_sregs().map_err(gave_up("system registers"))?;
    let [es, cs, ss, ds, fs, gs] = state.segments.map(|segment| to_kvm(&segment));
    (sregs.es, sregs.cs, sregs.ss, sregs.ds, sregs.fs, sregs.gs) = (es, cs, ss, ds, fs, gs);
    (sregs.ldt, sregs.tr) = (to_kvm(&state.ldtr), to_kvm(&state.tr));
    let table = |table: TableRegister| kvm_dtable { base: table.base, limit: table.limit, padding: [0; 3] };
    (sregs.gdt, sregs.idt) = (table(state.gdtr), table(state.idtr));
    (sregs.cr0, sregs.cr2, sregs.cr3, sregs.cr4) = (state.cr0.bits(), state.cr2, state.cr3, state.cr4.bits());
    sregs.cr8 = u64::from(state.lapic.task_priority >> 4);
    (sregs.efer, sregs.apic_base) = (state.efer.bits(), state.msrs.apic_base.bits());
    sregs.interrupt_bitmap = [0; 4];
    vcpu.set_sregs(&sregs).map_err(gave_up("system registers"))?;
    let kept = vcpu.get_sregs().map_err(gave_up("a question for system registers"))?;
    let is_kept = (kept.cr0, kept.cr4, kept.efer) == (sregs.cr0, sregs.cr4, sregs.efer);
    if is_kept { Ok(()) } else { Err(KvmError::GaveUp("it does not keep CR0, CR4 or EFER".into())) }
}

/// Takes the state out of `machine`; what KVM does not show is as in `start`.
pub fn get(machine: &Machine, start: &VcpuState) -> Result<VcpuState, KvmError> {
    let vcpu = &machine.vcpu;
    let mut state = start.clone();
    let regs = vcpu.get_regs().map_err(gave_up("a question for registers"))?;
    #[rustfmt::skip]
    let values = [
        regs.rax, regs.rcx, regs.rdx, regs.rbx, regs.rsp, regs.rbp, regs.rsi, regs.rdi,
        regs.r8, regs.r9, regs.r10, regs.r11, regs.r12, regs.r13, regs.r14, regs.r15,
    ];
    for (n, value) in values.into_iter().enumerate() {
        state.gpr[Gpr(n as u8)] = value;
    }
    (state.rip, state.rflags) = (regs.rip, RFlags::from_bits_retain(regs.rflags));
    let sregs = vcpu.get_sregs().map_err(gave_up("a question for system registers"))?;
    let segments = [sregs.es, sregs.cs, sregs.ss, sregs.ds, sregs.fs, sregs.gs];
    for (to, from) in state.segments.iter_mut().zip(segments) {
        *to = from_kvm(&from, to);
    }
    state.ldtr = from_kvm(&sregs.ldt, &state.ldtr);
    state.tr = from_kvm(&sregs.tr, &state.tr);
    state.gdtr = TableRegister { base: sregs.gdt.base, limit: sregs.gdt.limit };
    state.idtr = TableRegister { base: sregs.idt.base, limit: sregs.idt.limit };
    state.cr0 = Cr0::from_bits_retain(sregs.cr0);
    (state.cr2, state.cr3) = (sregs.cr2, sregs.cr3);
    state.cr4 = Cr4::from_bits_retain(sregs.cr4);
    state.lapic.task_priority = (sregs.cr8 << 4) as u8;
    state.efer = Efer::from_bits_retain(sregs.efer);
    state.msrs.apic_base = ApicBase::from_bits_retain(sregs.apic_base);
    let xcrs = vcpu.get_xcrs().map_err(gave_up("a question for XCR0"))?;
    state.xcr0 = Xcr0::from_bits_retain(xcrs.xcrs[0].value);
    let image = vcpu.get_xsave().map_err(gave_up("a question for the image"))?;
    read_image(&image.region, &mut state);
    let debug = vcpu.get_debug_regs().map_err(gave_up("a question for debug registers"))?;
    state.breakpoints = debug.db;
    (state.dr6, state.dr7) = (Dr6::from_bits_retain(debug.dr6), Dr7::from_bits_retain(debug.dr7));
    for (number, slot) in REGISTERS {
        let mut list = one(number, 0)?;
        if vcpu.get_msrs(&mut list) == Ok(1) {
            *slot(&mut state.msrs) = list.as_slice()[0].data;
        }
    }
    Ok(state)
}

fn to_kvm(segment: &Segment) -> kvm_segment {
    let bits = segment.attributes.0;
    let bit = |n: u32| (bits >> n & 1) as u8;
    kvm_segment {
        base: segment.base,
        limit: segment.limit,
        selector: segment.selector,
        type_: (bits & 0xf) as u8,
        s: bit(4),
        dpl: (bits >> 5 & 3) as u8,
        present: bit(7),
        avl: bit(12),
        l: bit(13),
        db: bit(14),
        g: bit(15),
        unusable: bit(16),
        padding: 0,
    }
}

/// Of what cannot be used, only selector and base mean anything.
fn from_kvm(segment: &kvm_segment, before: &Segment) -> Segment {
    let bit = |value: u8, n: u32| u32::from(value & 1) << n;
    if segment.unusable != 0 {
        let plain = Segment { base: segment.base, ..Segment::null(segment.selector) };
        return if before.attributes.is_unusable() {
            Segment { base: segment.base, selector: segment.selector, ..*before }
        } else {
            plain
        };
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

fn low(value: u64) -> u32 {
    value as u32
}

fn high(value: u64) -> u32 {
    (value >> 32) as u32
}

fn write_image(region: &mut [u32], state: &VcpuState) {
    let unit = &state.x87;
    region[0] = u32::from(unit.control) | u32::from(unit.status.bits()) << 16;
    region[1] = u32::from(unit.valid) | u32::from(unit.opcode) << 16;
    (region[FIP], region[FIP + 1]) = (low(unit.instruction_pointer), high(unit.instruction_pointer));
    (region[FDP], region[FDP + 1]) = (low(unit.data_pointer), high(unit.data_pointer));
    region[MXCSR] = state.vectors.mxcsr.bits();
    for n in 0..8 {
        let register = unit.registers[(unit.top() + n) % 8];
        let at = STACK + 4 * n;
        (region[at], region[at + 1]) = (low(register.significand), high(register.significand));
        region[at + 2] = register.sign_exponent.into();
    }
    for (n, lanes) in state.vectors.registers.iter().enumerate().take(16) {
        for (at, lane) in [(XMM, 0), (XMM + 2, 1), (YMM_HIGH, 2), (YMM_HIGH + 2, 3)] {
            (region[at + 4 * n], region[at + 4 * n + 1]) = (low(lanes[lane]), high(lanes[lane]));
        }
    }
    region[XSTATE_BV] |= COMPONENTS;
}

fn read_image(region: &[u32], state: &mut VcpuState) {
    let quadword = |at: usize| u64::from(region[at]) | u64::from(region[at + 1]) << 32;
    let has = |component: u32| region[XSTATE_BV] & component != 0;
    let unit = &mut state.x87;
    unit.control = region[0] as u16;
    unit.status = StatusWord::from_bits_retain((region[0] >> 16) as u16);
    (unit.valid, unit.opcode) = (region[1] as u8, (region[1] >> 16) as u16);
    (unit.instruction_pointer, unit.data_pointer) = (quadword(FIP), quadword(FDP));
    for n in 0..8 {
        let at = STACK + 4 * n;
        let number = F80 { significand: quadword(at), sign_exponent: region[at + 2] as u16 };
        let top = unit.top();
        unit.registers[(top + n) % 8] = number;
    }
    state.vectors.mxcsr = Mxcsr::from_bits_retain(region[MXCSR]);
    for (n, lanes) in state.vectors.registers.iter_mut().enumerate().take(16) {
        for (at, lane, component) in [(XMM, 0, 2), (XMM + 2, 1, 2), (YMM_HIGH, 2, 4), (YMM_HIGH + 2, 3, 4)] {
            lanes[lane] = if has(component) { quadword(at + 4 * n) } else { 0 };
        }
    }
}
