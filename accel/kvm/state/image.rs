//! Floating-point and vector registers: the image that XSAVE writes in its standard format. SDM: vol. 1 §13.4.

use dragoman_state::{F80, Mxcsr, StatusWord, VcpuState, Xcr0};

// Words of the image.
const FIP: usize = 2;
const FDP: usize = 4;
const MXCSR: usize = 6;
const STACK: usize = 8;
const XMM: usize = 40;
const COMPONENTS: usize = 128;
const YMM_HIGH: usize = 144;
/// How many vector registers there are without AVX-512.
const VECTORS: usize = 16;

/// The image, in words.
pub type Image = [u32; 1024];

/// What of the image is a processor's, and where.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// The components that the guest can have.
    pub components: Xcr0,
    /// The byte at which the protection-key rights are.
    pub pkru: usize,
}

impl Layout {
    fn pkru_word(&self) -> Option<usize> {
        self.components.contains(Xcr0::PKRU).then_some(self.pkru / 4)
    }
}

fn low(value: u64) -> u32 {
    value as u32
}

fn high(value: u64) -> u32 {
    (value >> 32) as u32
}

/// Writes into the image `region`, whose other components stay as they are. The selectors of the last x87 instruction have no place in it.
pub fn to_kvm(state: &VcpuState, layout: Layout, region: &mut Image) {
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
        (region[at + 2], region[at + 3]) = (register.sign_exponent.into(), 0);
    }
    let mut lanes = vec![(XMM, 0), (XMM + 2, 1)];
    if layout.components.contains(Xcr0::AVX) {
        lanes.extend([(YMM_HIGH, 2), (YMM_HIGH + 2, 3)]);
    }
    for (n, register) in state.vectors.registers.iter().enumerate().take(VECTORS) {
        for (at, lane) in &lanes {
            (region[at + 4 * n], region[at + 4 * n + 1]) = (low(register[*lane]), high(register[*lane]));
        }
    }
    if let Some(slot) = layout.pkru_word().and_then(|word| region.get_mut(word)) {
        *slot = state.pkru;
    }
    region[COMPONENTS] |= low(layout.components.bits());
}

/// Into `state`. A component that the image says is as after reset is zero.
pub fn from_kvm(region: &Image, layout: Layout, state: &mut VcpuState) {
    let quadword = |at: usize| u64::from(region[at]) | u64::from(region[at + 1]) << 32;
    let has = |component: Xcr0| region[COMPONENTS] & low(component.bits()) != 0;
    let unit = &mut state.x87;
    if has(Xcr0::X87) {
        unit.control = region[0] as u16;
        unit.status = StatusWord::from_bits_retain((region[0] >> 16) as u16);
        (unit.valid, unit.opcode) = (region[1] as u8, (region[1] >> 16) as u16);
        (unit.instruction_pointer, unit.data_pointer) = (quadword(FIP), quadword(FDP));
        let top = unit.top();
        for n in 0..8 {
            let at = STACK + 4 * n;
            unit.registers[(top + n) % 8] = F80 { significand: quadword(at), sign_exponent: region[at + 2] as u16 };
        }
    } else {
        *unit = dragoman_state::X87State::initialised([F80::default(); 8]);
    }
    state.vectors.mxcsr = Mxcsr::from_bits_retain(region[MXCSR]);
    for (n, register) in state.vectors.registers.iter_mut().enumerate().take(VECTORS) {
        for (at, lane) in [(XMM, 0), (XMM + 2, 1)] {
            register[lane] = if has(Xcr0::SSE) { quadword(at + 4 * n) } else { 0 };
        }
        if layout.components.contains(Xcr0::AVX) {
            for (at, lane) in [(YMM_HIGH, 2), (YMM_HIGH + 2, 3)] {
                register[lane] = if has(Xcr0::AVX) { quadword(at + 4 * n) } else { 0 };
            }
        }
    }
    if let Some(value) = layout.pkru_word().and_then(|word| region.get(word)) {
        state.pkru = if has(Xcr0::PKRU) { *value } else { 0 };
    }
}
