//! CPUID's extended leaves as AMD's processors have them. APM: vol. 3, appendix E.4.

use dragoman_state::{ApicBase, VcpuState};

use super::{CpuModel, Feature};

/// The bits of leaf 1 that leaf 8000_0001h repeats.
const REPEATED: u32 = 0x0183_f3ff;

impl CpuModel {
    /// Extended leaves that Intel's processors lack or fill in otherwise.
    pub(super) fn amd_leaf(&self, leaf: u32, subleaf: u32, state: &VcpuState) -> [u32; 4] {
        match leaf {
            0x8000_0001 => {
                const APIC: u32 = 1 << 9;
                const SP3: u32 = 4 << 28;
                let ([_, _, ecx, edx], [.., mut basic]) = (self.bits(leaf, 0), self.bits(1, 0));
                if !state.msrs.apic_base.contains(ApicBase::EN) {
                    basic &= !APIC;
                }
                [self.signature(), SP3, ecx, edx | basic & REPEATED]
            }
            // Translations of 2 MiB and of 4 KiB, 64 each; 32 KiB of data and of code, 8 ways.
            0x8000_0005 => [0xff40_ff40, 0xff40_ff40, 0x2008_0140, 0x2008_0140],
            // Translations; L2: 512 KiB, 8 ways; L3: 16 MiB, ways as leaf 8000_001Dh says.
            0x8000_0006 => [0x4800_6400, 0x6800_6400, 0x0200_6140, 0x0080_9140],
            // Translations of 1 GiB.
            0x8000_0019 => [0xf040_f040, 0xf040_0000, 0, 0],
            // Unaligned moves and 256 bits at a time are fast.
            0x8000_001a => [0b110, 0, 0, 0],
            0x8000_001d if self.has(Feature::Topoext) => caches(subleaf),
            // One thread a core, one core a node.
            0x8000_001e if self.has(Feature::Topoext) => [state.lapic.id, state.lapic.id & 0xff, 0, 0],
            _ => [0; 4],
        }
    }
}

/// Cache topology: data and code, 32 KiB each; 512 KiB; 16 MiB.
fn caches(subleaf: u32) -> [u32; 4] {
    let cache = |kind: u32, level: u32, ways: u32, sets: u32| [1 << 8 | level << 5 | kind, (ways - 1) << 22 | 63, sets - 1, 0];
    match subleaf {
        0 => cache(1, 1, 8, 64),
        1 => cache(2, 1, 8, 64),
        2 => cache(3, 2, 8, 1024),
        3 => cache(3, 3, 16, 16384),
        _ => [0; 4],
    }
}
