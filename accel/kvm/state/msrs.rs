//! Model-specific registers that live in KVM while the guest runs there. All others exit, and are the interpreter's.

use dragoman_state::Msrs;
use kvm_bindings::kvm_msr_entry;

/// Where SYSCALL leads, and the flags that it masks.
pub const LSTAR: u32 = 0xc000_0082;
pub const FMASK: u32 = 0xc000_0084;

/// What speculation is restrained by.
pub const SPEC_CTRL: u32 = 0x48;

/// One of them: its number, and where the state has it.
pub type Register = (u32, fn(&mut Msrs) -> &mut u64);

/// Those that have state of their own, which is moved.
pub const REGISTERS: &[Register] = &[
    (SPEC_CTRL, |msrs| &mut msrs.spec_ctrl),
    (0x174, |msrs| &mut msrs.sysenter_cs),
    (0x175, |msrs| &mut msrs.sysenter_esp),
    (0x176, |msrs| &mut msrs.sysenter_eip),
    (0x1d9, |msrs| &mut msrs.debugctl),
    (0x277, |msrs| &mut msrs.pat),
    (0xc000_0081, |msrs| &mut msrs.star),
    (LSTAR, |msrs| &mut msrs.lstar),
    (0xc000_0083, |msrs| &mut msrs.cstar),
    (FMASK, |msrs| &mut msrs.fmask),
    (0xc000_0102, |msrs| &mut msrs.kernel_gs_base),
    (0xc000_0103, |msrs| &mut msrs.tsc_aux),
];

/// Those that are views of something that is moved with something else: EFER, and the bases of FS and GS.
pub const VIEWS: &[u32] = &[0xc000_0080, 0xc000_0100, 0xc000_0101];

/// Those that say where SYSCALL leads, and what it masks.
pub const SYSTEM_CALLS: [u32; 2] = [LSTAR, FMASK];

/// The values of `registers`.
pub fn to_kvm(msrs: &Msrs, registers: &[Register]) -> Vec<kvm_msr_entry> {
    let mut msrs = msrs.clone();
    let entry = |(index, slot): &Register| kvm_msr_entry { index: *index, data: *slot(&mut msrs), ..Default::default() };
    registers.iter().map(entry).collect()
}

/// Into `msrs`, by number.
pub fn from_kvm(list: &[kvm_msr_entry], msrs: &mut Msrs) {
    for entry in list {
        if let Some((_, slot)) = REGISTERS.iter().find(|(index, _)| *index == entry.index) {
            *slot(msrs) = entry.data;
        }
    }
}
