//! What is under way between two instructions, and debug registers.

use dragoman_frontend::{
    fault::vector,
    semantics::system::{Event, EventKind},
};
use dragoman_state::{Dr6, Dr7, InterruptShadow, VcpuState};
use kvm_bindings::{
    KVM_VCPUEVENT_VALID_NMI_PENDING, KVM_VCPUEVENT_VALID_SHADOW, KVM_X86_SHADOW_INT_MOV_SS, KVM_X86_SHADOW_INT_STI,
    kvm_debugregs, kvm_vcpu_events,
};

/// As KVM has them. Debug traps that wait to be delivered have no place there.
pub fn to_kvm(state: &VcpuState) -> kvm_vcpu_events {
    let mut events =
        kvm_vcpu_events { flags: KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_NMI_PENDING, ..Default::default() };
    events.interrupt.shadow = match state.events.shadow {
        InterruptShadow::None => 0,
        InterruptShadow::MovSs => KVM_X86_SHADOW_INT_MOV_SS as u8,
        InterruptShadow::Sti => KVM_X86_SHADOW_INT_STI as u8,
    };
    events.nmi.masked = state.events.nmi_blocked.into();
    events.nmi.pending = state.events.nmi_pending.into();
    events
}

/// Into `state`. What KVM was about to deliver is [`undelivered`].
pub fn from_kvm(events: &kvm_vcpu_events, state: &mut VcpuState) {
    let has = |bit: u32| u32::from(events.interrupt.shadow) & bit != 0;
    state.events.shadow = match (has(KVM_X86_SHADOW_INT_MOV_SS), has(KVM_X86_SHADOW_INT_STI)) {
        (true, _) => InterruptShadow::MovSs,
        (false, true) => InterruptShadow::Sti,
        (false, false) => InterruptShadow::None,
    };
    state.events.nmi_blocked = events.nmi.masked != 0;
    state.events.nmi_pending = events.nmi.pending != 0;
}

/// The event that KVM has begun to deliver, or has decided to. What an instruction of the guest asked for is none: RIP is still
/// that instruction's, which is executed again.
pub fn undelivered(events: &kvm_vcpu_events) -> Option<Event> {
    let exception = &events.exception;
    if (exception.injected != 0 || exception.pending != 0) && !matches!(exception.nr, vector::BP | vector::OF) {
        return Some(Event {
            vector: exception.nr,
            kind: EventKind::Exception,
            error: (exception.has_error_code != 0).then_some(exception.error_code),
            is_trap: exception.nr == vector::DB,
        });
    }
    if events.nmi.injected != 0 {
        return Some(Event::NMI);
    }
    (events.interrupt.injected != 0 && events.interrupt.soft == 0).then(|| Event::external(events.interrupt.nr))
}

/// Debug registers as KVM has them.
pub fn debug_to_kvm(state: &VcpuState) -> kvm_debugregs {
    kvm_debugregs { db: state.breakpoints, dr6: state.dr6.bits(), dr7: state.dr7.bits(), ..Default::default() }
}

/// Debug registers into `state`.
pub fn debug_from_kvm(debug: &kvm_debugregs, state: &mut VcpuState) {
    state.breakpoints = debug.db;
    (state.dr6, state.dr7) = (Dr6::from_bits_retain(debug.dr6), Dr7::from_bits_retain(debug.dr7));
}
