//! The state components that XSAVE knows, and CPUID's leaf 0Dh, which describes them. SDM: vol. 1 §13.1, §13.2.

use dragoman_state::{VcpuState, Xcr0};

use super::{CpuModel, Feature};

/// The size of an XSAVE area's legacy region and header, which every area has.
pub const LEGACY_SIZE: u32 = 512 + 64;

/// A component beyond those of the legacy region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateComponent {
    /// Its bit in XCR0.
    pub bit: Xcr0,
    /// How many bytes it has.
    pub size: u32,
    /// Where it is in an area of standard format.
    pub offset: u32,
    /// The feature that it comes with.
    pub feature: Feature,
}

impl StateComponent {
    /// Every component, in the order of their bits. None is of supervisors, and none needs a boundary of its own in the
    /// compacted format.
    pub const ALL: [Self; 2] = [
        Self { bit: Xcr0::AVX, size: 256, offset: LEGACY_SIZE, feature: Feature::Avx },
        // After what the processors that brought it had before it.
        Self { bit: Xcr0::PKRU, size: 8, offset: 2688, feature: Feature::Pku },
    ];

    /// The size of an area of standard format that holds `components`.
    pub fn standard_size(components: Xcr0) -> u32 {
        let ends = Self::ALL.iter().filter(|one| components.contains(one.bit)).map(|one| one.offset + one.size);
        ends.max().unwrap_or(LEGACY_SIZE)
    }

    /// The size of an area of compacted format that holds `components`.
    pub fn compacted_size(components: Xcr0) -> u32 {
        LEGACY_SIZE + Self::ALL.iter().filter(|one| components.contains(one.bit)).map(|one| one.size).sum::<u32>()
    }
}

impl CpuModel {
    /// The bits that XCR0 can have.
    pub fn xcr0_bits(&self) -> Xcr0 {
        if !self.has(Feature::Xsave) {
            return Xcr0::X87;
        }
        let extended = StateComponent::ALL.iter().filter(|one| self.has(one.feature));
        extended.fold(Xcr0::X87 | Xcr0::SSE, |bits, one| bits | one.bit)
    }

    /// Leaf 0Dh.
    pub(super) fn extended_state(&self, subleaf: u32, state: &VcpuState) -> [u32; 4] {
        if !self.has(Feature::Xsave) {
            return [0; 4];
        }
        let all = self.xcr0_bits();
        match subleaf {
            0 => [
                all.bits() as u32,
                StateComponent::standard_size(state.xcr0),
                StateComponent::standard_size(all),
                (all.bits() >> 32) as u32,
            ],
            1 => {
                let [eax, ..] = self.bits(0xd, 1);
                let has_compacted = self.has(Feature::Xsavec) || self.has(Feature::Xsaves);
                [eax, if has_compacted { StateComponent::compacted_size(state.xcr0) } else { 0 }, 0, 0]
            }
            _ => {
                let found = StateComponent::ALL.iter().find(|one| one.bit.bits().trailing_zeros() == subleaf);
                found.filter(|one| all.contains(one.bit)).map_or([0; 4], |one| [one.size, one.offset, 0, 0])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use dragoman_state::VcpuId;

    use super::*;

    #[test]
    fn the_sizes_are_those_of_what_is_enabled_and_of_what_can_be() {
        let model = CpuModel { features: super::super::Features::ALL, ..CpuModel::most() };
        let mut state = model.power_on(VcpuId(0));
        let ask = |subleaf, state: &VcpuState| model.cpuid(0xd, subleaf, state);
        assert_eq!(ask(0, &state), [0x207, 576, 2696, 0]);
        state.xcr0 = Xcr0::X87 | Xcr0::SSE | Xcr0::AVX;
        assert_eq!(ask(0, &state), [0x207, 832, 2696, 0]);
        state.xcr0 |= Xcr0::PKRU;
        assert_eq!((ask(0, &state)[1], ask(1, &state)), (2696, [0xf, 840, 0, 0]));
        assert_eq!([ask(2, &state), ask(9, &state), ask(3, &state)], [[256, 576, 0, 0], [8, 2688, 0, 0], [0; 4]]);
    }
}
