//! CPUID's leaves, made from a model and the little of the state that they depend on.
//! SDM: vol. 2, CPUID.

use dragoman_state::{ApicBase, Cr4, Msrs, VcpuState};

use super::{CpuModel, Feature, features::Output};

/// Whose processor a model is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    /// GenuineIntel.
    Intel,
    /// AuthenticAMD.
    Amd,
}

impl Vendor {
    const fn identification(self) -> &'static [u8; 12] {
        match self {
            Self::Intel => b"GenuineIntel",
            Self::Amd => b"AuthenticAMD",
        }
    }
}

const LAST_OF_LEAF_7: u32 = 2;

pub(super) fn word(bytes: &[u8], n: usize) -> u32 {
    let mut quad = [0; 4];
    for (to, from) in quad.iter_mut().zip(bytes.iter().skip(4 * n)) {
        *to = *from;
    }
    u32::from_le_bytes(quad)
}

impl CpuModel {
    pub(super) fn bits(&self, leaf: u32, subleaf: u32) -> [u32; 4] {
        [Output::Eax, Output::Ebx, Output::Ecx, Output::Edx].map(|output| self.features().bits(leaf, subleaf, output))
    }

    /// EAX, EBX, ECX and EDX of `leaf` on a processor in `state`. A leaf above the highest answers as the highest basic
    /// one, as Intel's processors do; on AMD's it is zero.
    pub fn cpuid(&self, leaf: u32, subleaf: u32, state: &VcpuState) -> [u32; 4] {
        let (last_basic, last_extended) = self.last_leaves;
        let is_known = leaf <= last_basic || (0x8000_0000..=last_extended).contains(&leaf);
        match self.vendor() {
            _ if is_known && leaf >= 0x8000_0000 => self.extended_leaf(leaf, subleaf, state),
            _ if is_known => self.basic_leaf(leaf, subleaf, state),
            Vendor::Intel => self.basic_leaf(last_basic, subleaf, state),
            Vendor::Amd => [0; 4],
        }
    }

    fn basic_leaf(&self, leaf: u32, subleaf: u32, state: &VcpuState) -> [u32; 4] {
        let is_intel = self.vendor() == Vendor::Intel;
        match leaf {
            0 => {
                let id = self.vendor().identification();
                [self.last_leaves.0, word(id, 0), word(id, 2), word(id, 1)]
            }
            1 => self.version(state),
            // Descriptors: 16 KiB of code, 16 KiB of data, 256 KiB of both; or a hint to leaf 4.
            2 if is_intel && self.last_leaves.0 < 4 => [0x0302_0101, 0, 0, 0x0c04_0882],
            2 if is_intel => [0x00ff_ff01, 0, 0, 0],
            4 if is_intel => self.caches(subleaf),
            5 => self.monitor(),
            6 => self.bits(6, 0),
            7 if subleaf == 0 => {
                const OSPKE: u32 = 1 << 4;
                let [_, ebx, ecx, edx] = self.bits(7, 0);
                let system = if state.cr4.contains(Cr4::PKE) { OSPKE } else { 0 };
                [LAST_OF_LEAF_7, ebx, ecx | system, edx]
            }
            7 if subleaf <= LAST_OF_LEAF_7 => self.bits(7, subleaf),
            0xb => self.topology(subleaf, state),
            0xd => self.extended_state(subleaf, state),
            // Time-stamp counter, as a ratio to the crystal.
            0x15 => [1, self.tsc_ratio() as u32, self.crystal_hertz() as u32, 0],
            0x16 => {
                let (megahertz, bus) = ((self.tsc_hertz() / 1_000_000) as u32, (self.crystal_hertz() / 1_000_000) as u32);
                [megahertz, megahertz, bus, 0]
            }
            _ => [0; 4],
        }
    }

    fn extended_leaf(&self, leaf: u32, subleaf: u32, state: &VcpuState) -> [u32; 4] {
        match leaf {
            0x8000_0000 if self.vendor() == Vendor::Amd => {
                let id = self.vendor().identification();
                [self.last_leaves.1, word(id, 0), word(id, 2), word(id, 1)]
            }
            0x8000_0000 => [self.last_leaves.1, 0, 0, 0],
            0x8000_0002..=0x8000_0004 => {
                let first = (leaf as usize - 0x8000_0002) * 4;
                std::array::from_fn(|n| word(self.brand().as_bytes(), first + n))
            }
            0x8000_0007 => self.bits(0x8000_0007, 0),
            0x8000_0008 => {
                let linear = if self.has(Feature::La57) { 57 } else { 48 };
                [linear << 8 | self.physical_bits(), 0, 0, 0]
            }
            _ if self.vendor() == Vendor::Amd => self.amd_leaf(leaf, subleaf, state),
            0x8000_0001 => self.extended(state),
            0x8000_0006 => [0, 0, 2048 << 16 | 6 << 12 | 64, 0], // L2: 2 MiB, 8 ways, 64-byte lines
            _ => [0; 4],
        }
    }

    /// MONITOR and MWAIT: one line of 64 bytes; hints that can be enumerated, and a break on masked interrupts; one C1.
    fn monitor(&self) -> [u32; 4] {
        const LINE: u32 = 64;
        if self.has(Feature::Monitor) { [LINE, LINE, 0b11, 0x10] } else { [0; 4] }
    }

    fn version(&self, state: &VcpuState) -> [u32; 4] {
        const APIC: u32 = 1 << 9;
        const OSXSAVE: u32 = 1 << 27;
        const CLFLUSH_LINE: u32 = 64 / 8;
        const MONITOR: u32 = 1 << 3;
        const HAS_THREADS: u32 = 1 << 16;
        let [_, _, mut ecx, mut edx] = self.bits(1, 0);
        if !state.msrs.apic_base.contains(ApicBase::EN) {
            edx &= !APIC;
        }
        if state.cr4.contains(Cr4::OSXSAVE) {
            ecx |= OSXSAVE;
        }
        if self.vendor() == Vendor::Intel && state.msrs.misc_enable & Msrs::MONITOR == 0 {
            ecx &= !MONITOR;
        }
        // With the Pentium 4 came CLFLUSH, and the processor's number.
        let ebx = if self.has(Feature::Clflush) { state.lapic.id << 24 | HAS_THREADS | CLFLUSH_LINE << 8 } else { 0 };
        [self.signature(), ebx, ecx, edx]
    }

    /// SYSCALL is announced in 64-bit mode alone.
    fn extended(&self, state: &VcpuState) -> [u32; 4] {
        const SYSCALL: u32 = 1 << 11;
        let mut outputs = self.bits(0x8000_0001, 0);
        if !state.is_64bit() {
            outputs[3] &= !SYSCALL;
        }
        outputs
    }

    /// Deterministic cache parameters: 32 KiB of data, 32 KiB of code, 2 MiB unified, 64-byte lines.
    fn caches(&self, subleaf: u32) -> [u32; 4] {
        let cache =
            |kind: u32, level: u32, ways: u32, sets: u32| [1 << 8 | level << 5 | kind, (ways - 1) << 22 | 63, sets - 1, 0];
        match subleaf {
            0 => cache(1, 1, 8, 64),
            1 => cache(2, 1, 8, 64),
            2 => cache(3, 2, 8, 4096),
            _ => [0; 4],
        }
    }

    /// Extended topology: one thread a core, one core a package.
    fn topology(&self, subleaf: u32, state: &VcpuState) -> [u32; 4] {
        let level = match subleaf {
            0 => 1,
            1 => 2,
            _ => 0,
        };
        [0, u32::from(level != 0), subleaf & 0xff | level << 8, state.lapic.id]
    }
}

#[cfg(test)]
mod tests {
    use dragoman_state::VcpuId;

    use super::*;

    #[test]
    fn the_frequencies_of_leaf_15h_multiply_to_the_time_stamp_counter() {
        for hertz in [1_000_000_000, 2_299_998_000, 3_700_000_123] {
            let model = CpuModel::newest().with_tsc(hertz);
            let state = VcpuState::power_on(VcpuId(0), model.signature());
            let [denominator, numerator, crystal, _] = model.cpuid(0x15, 0, &state);
            assert_eq!(u64::from(crystal) * u64::from(numerator) / u64::from(denominator), model.tsc_hertz());
            assert!(model.tsc_hertz().abs_diff(hertz) < hertz / 10_000_000);
            assert!((crystal / 1000).checked_mul(numerator).is_some(), "what kernels compute in 32 bits");
        }
    }

    #[test]
    fn what_is_above_the_highest_leaf_answers_as_the_vendor_has_it() {
        let ask = |name, leaf| {
            let model = CpuModel::parse(name).expect("known");
            model.cpuid(leaf, 0, &VcpuState::power_on(VcpuId(0), model.signature()))
        };
        assert_eq!(ask("486", 0), [1, 0x756e_6547, 0x6c65_746e, 0x4965_6e69]);
        assert_eq!(ask("486", 1), [0x435, 0, 0, 1]);
        assert_eq!(ask("486", 0x8000_0000), ask("486", 1));
        assert_eq!(ask("pentium3", 0x8000_0000), ask("pentium3", 2));
        assert_eq!(ask("skylake", 0x8000_0009), ask("skylake", 0x16));
        assert_eq!(ask("epyc-rome", 0x11), [0; 4]);
        assert_eq!(ask("epyc-rome", 0x8000_0021), [0; 4]);
        assert_eq!(ask("epyc-rome", 0x8000_0000), [0x8000_0020, 0x6874_7541, 0x444d_4163, 0x6974_6e65]);
        assert_eq!(ask("epyc-rome", 0x8000_0001)[3] & 0x3ff, ask("epyc-rome", 1)[3] & 0x3ff, "AMD's copies of leaf 1");
    }

    #[test]
    fn the_brand_string_spans_three_leaves() {
        let model = CpuModel::newest();
        let state = VcpuState::power_on(VcpuId(0), model.signature());
        let text: Vec<u8> = (0x8000_0002..=0x8000_0004)
            .flat_map(|leaf| model.cpuid(leaf, 0, &state))
            .flat_map(u32::to_le_bytes)
            .take_while(|byte| *byte != 0)
            .collect();
        assert_eq!(String::from_utf8_lossy(&text), model.brand());
    }
}
