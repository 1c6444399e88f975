//! General-purpose registers, RIP and RFLAGS.

use dragoman_state::{Gpr, RFlags, VcpuState};
use kvm_bindings::kvm_regs;

/// As KVM has them.
pub fn to_kvm(state: &VcpuState) -> kvm_regs {
    let g = |n: u8| state.gpr[Gpr(n)];
    #[rustfmt::skip]
    let regs = kvm_regs {
        rax: g(0), rcx: g(1), rdx: g(2), rbx: g(3), rsp: g(4), rbp: g(5), rsi: g(6), rdi: g(7),
        r8: g(8), r9: g(9), r10: g(10), r11: g(11), r12: g(12), r13: g(13), r14: g(14), r15: g(15),
        rip: state.rip, rflags: state.rflags.bits(),
    };
    regs
}

/// Into `state`.
pub fn from_kvm(regs: &kvm_regs, state: &mut VcpuState) {
    #[rustfmt::skip]
    let values = [
        regs.rax, regs.rcx, regs.rdx, regs.rbx, regs.rsp, regs.rbp, regs.rsi, regs.rdi,
        regs.r8, regs.r9, regs.r10, regs.r11, regs.r12, regs.r13, regs.r14, regs.r15,
    ];
    for (n, value) in values.into_iter().enumerate() {
        state.gpr[Gpr(n as u8)] = value;
    }
    (state.rip, state.rflags) = (regs.rip, RFlags::from_bits_retain(regs.rflags));
}
