//! What processor the guest sees: our own model, within what the host's KVM can be.

use std::sync::OnceLock;

use dragoman_frontend::model::{CpuModel, Feature, Features};
use dragoman_state::{Attributes, Efer, Gpr, SegmentIndex, VcpuId, Xcr0};
use kvm_bindings::{CpuId, KVM_CPUID_FLAG_SIGNIFCANT_INDEX, kvm_cpuid_entry2};

use super::{Kvm, KvmError, device::has_virtualisation, state::image::Layout};
use crate::{StopToken, tiny::TinyGuest};

/// What is ours whatever the host has: the local APIC and its timer, and registers that the interpreter keeps.
const OURS: Features = {
    use Feature::*;
    Features::of(&[Apic, X2apic, TscDeadline, Arat, TscAdjust, Mtrr, Hypervisor])
};

/// What is ours too where KVM is software, which runs no kernel on the host's processor: what a kernel asks of its processor
/// against speculation. A kernel that lacks it does the same by hand, with each system call.
const OURS_IN_SOFTWARE: Features = {
    use Feature::*;
    Features::of(&[SpecCtrl, BhiCtrl, McdtNo])
};

/// Subleaves beyond this are in no leaf of ours.
const SUBLEAVES: u32 = 16;

/// What the host's KVM can be.
#[derive(Clone, Debug)]
pub struct Supported {
    leaves: Vec<kvm_cpuid_entry2>,
}

impl Supported {
    /// What KVM says of itself.
    pub(super) fn said(cpuid: &CpuId) -> Self {
        Self { leaves: cpuid.as_slice().to_vec() }
    }

    /// The same where KVM is hardware; where it is software, what its guests see, which it does not say.
    pub(super) fn seen(self) -> Self {
        static SEEN: OnceLock<Vec<kvm_cpuid_entry2>> = OnceLock::new();
        if has_virtualisation() {
            return self;
        }
        let seen = SEEN.get_or_init(|| self.look());
        let is_seen =
            |entry: &kvm_cpuid_entry2| seen.iter().any(|one| (one.function, one.index) == (entry.function, entry.index));
        let said = self.leaves.iter().filter(|entry| !is_seen(entry));
        Self { leaves: seen.iter().chain(said).copied().collect() }
    }

    /// Has a guest of a few instructions, of a model that KVM says it can be, ask for the leaves that features are in. Those
    /// that it gets no answer to are not among them.
    fn look(&self) -> Vec<kvm_cpuid_entry2> {
        const CPUID: [u8; 4] = [0x0f, 0xa2, 0x0f, 0x0b];
        let model = CpuModel::newest_within(self.features());
        let (engine, stop) = (Kvm::believing(), StopToken::new());
        let Ok(model) = Kvm::clocked(model) else { return Vec::new() };
        let Ok(mut guest) = TinyGuest::new(&engine, &model, &CPUID) else { return Vec::new() };
        let ask = |&(function, index): &(u32, u32)| {
            guest.run(0, [function.into(), index.into(), 0, 0], &stop).ok()?;
            let state = guest.vcpu.save().ok()?;
            let [eax, ecx, edx, ebx] = [0, 1, 2, 3].map(|n| state.gpr[Gpr(n)] as u32);
            Some(kvm_cpuid_entry2 { function, index, eax, ebx, ecx, edx, ..Default::default() })
        };
        Features::leaves().iter().filter_map(ask).collect()
    }

    fn leaf(&self, leaf: u32, subleaf: u32) -> [u32; 4] {
        let found = self.leaves.iter().find(|entry| entry.function == leaf && entry.index == subleaf);
        found.map_or([0; 4], |entry| [entry.eax, entry.ebx, entry.ecx, entry.edx])
    }

    /// The features that a guest can have. MONITOR is none of them: KVM makes MWAIT do nothing.
    pub fn features(&self) -> Features {
        Features::announced(|leaf, subleaf| self.leaf(leaf, subleaf)).or(ours()).with(Feature::Monitor, false)
    }

    /// Where the image of extended state has what `model` has.
    pub(super) fn layout(&self, model: &CpuModel) -> Layout {
        const PKRU: u32 = 9;
        let [_, offset, ..] = self.leaf(0xd, PKRU);
        Layout { components: model.xcr0_bits() | Xcr0::SSE, pkru: offset as usize }
    }

    /// Whether a guest can be a `model`, and why not.
    pub(super) fn check(&self, model: &CpuModel) -> Result<(), KvmError> {
        let there = self.features();
        let missing: Vec<&str> = model.features().iter().filter(|one| !there.has(*one)).map(Feature::name).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(KvmError::RejectedCpuid { model: model.name(), why: format!("it lacks {}", missing.join(", ")) })
    }
}

/// What is ours here.
fn ours() -> Features {
    if has_virtualisation() { OURS } else { OURS.or(OURS_IN_SOFTWARE) }
}

/// The leaves of `model` as KVM takes them, for processor `id`. What depends on the state, KVM keeps up to date.
pub(super) fn leaves(model: &CpuModel, id: VcpuId) -> Vec<kvm_cpuid_entry2> {
    // Of what depends on the mode, KVM tells in all of them what holds in this one.
    let mut state = model.power_on(id);
    state.efer |= Efer::LMA;
    state.segment_mut(SegmentIndex::Cs).attributes = Attributes(0xa09b);
    let ask = |leaf, subleaf| model.cpuid(leaf, subleaf, &state);
    let (last_basic, last_extended) = (ask(0, 0)[0], ask(0x8000_0000, 0)[0]);
    let mut entries = Vec::new();
    for leaf in (0..=last_basic).chain(0x8000_0000..=last_extended) {
        let has_subleaves = matches!(leaf, 4 | 7 | 0xb | 0xd | 0x8000_001d);
        let subleaves = if has_subleaves { SUBLEAVES } else { 1 };
        for index in 0..subleaves {
            let [eax, ebx, ecx, edx] = ask(leaf, index);
            if index > 0 && [eax, ebx, edx] == [0; 3] {
                continue;
            }
            let flags = if has_subleaves { KVM_CPUID_FLAG_SIGNIFCANT_INDEX } else { 0 };
            entries.push(kvm_cpuid_entry2 { function: leaf, index, flags, eax, ebx, ecx, edx, ..Default::default() });
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_refused_by_the_names_of_what_is_missing() {
        let all = Supported { leaves: leaves(&CpuModel::newest(), VcpuId(0)) };
        assert!(all.check(&CpuModel::newest()).is_ok());
        let first = CpuModel::newest_up_to(1);
        let some = Supported { leaves: leaves(&first, VcpuId(0)) };
        assert!(some.check(&first).is_ok());
        let refused = some.check(&CpuModel::newest_up_to(3)).expect_err("it has no AVX").to_string();
        assert!(refused.contains("x86-64-v3") && refused.contains("avx2") && refused.contains("--cpu"), "{refused}");
        let none = Supported { leaves: Vec::new() };
        assert_eq!(none.features(), ours());
    }

    #[test]
    fn every_leaf_of_the_model_is_in_the_list() {
        let model = CpuModel::most();
        let state = model.power_on(VcpuId(0));
        let supported = Supported { leaves: leaves(&model, VcpuId(0)) };
        for (leaf, subleaf) in [(0, 0), (1, 0), (4, 3), (7, 0), (7, 2), (0xb, 1), (0xd, 1), (0xd, 9), (0x15, 0), (0x8000_0008, 0)]
        {
            assert_eq!(supported.leaf(leaf, subleaf), model.cpuid(leaf, subleaf, &state), "{leaf:#x}.{subleaf}");
        }
    }
}
