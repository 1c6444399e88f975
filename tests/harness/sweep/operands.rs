//! The memory that an instruction touches, as the decoder's tables have it, and the registers that decide where it is.

use dragoman_state::{Gpr, VcpuState};
use iced_x86::{CpuidFeature, EncodingKind, Instruction, InstructionInfoFactory, Mnemonic as M, OpAccess, Register, UsedMemory};

use crate::{
    generate::is_large_image,
    operand::{address, value},
};

/// One stretch of memory.
#[derive(Clone, Copy, Debug)]
pub struct Operand {
    memory: UsedMemory,
    /// Size in bytes.
    pub size: u64,
    /// It is written, or read to be written.
    pub is_write: bool,
    /// It lies in the stack segment.
    pub is_stack: bool,
    /// Whether an address that is not a multiple of `boundary` is refused.
    pub alignment: Alignment,
    /// What it is aligned to, where it must be.
    pub boundary: u64,
}

/// When it is found out that an operand is not aligned to its boundary: #GP(0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alignment {
    /// It need not be.
    Free,
    /// Before anything else.
    First,
    /// After what the segment refuses, and addresses that are not canonical. So it is on processors.
    AfterSegment,
}

/// The stretches that `insn` touches.
pub fn operands(factory: &mut InstructionInfoFactory, insn: &Instruction) -> Vec<Operand> {
    let used = factory.info(insn).used_memory().to_vec();
    used.into_iter()
        .map(|memory| {
            use OpAccess as A;
            let size = match memory.memory_size().size() {
                // The tables leave the size of repeated instructions open, and that of CLFLUSH.
                0 if insn.is_string_instruction() => insn.memory_size().size(),
                // The legacy area and the header, which all of them touch.
                0 if is_large_image(insn) => 576,
                0 => 1,
                size => size,
            };
            let (alignment, boundary) = alignment(insn, size);
            Operand {
                memory,
                size: size as u64,
                is_write: matches!(memory.access(), A::Write | A::CondWrite | A::ReadWrite | A::ReadCondWrite),
                is_stack: memory.segment() == Register::SS,
                alignment,
                boundary,
            }
        })
        .collect()
}

/// Which operands must be aligned: those of sixteen bytes, but for a few instructions, and the large images; with VEX, only
/// those of aligned and non-temporal moves. SDM: vol. 1 §10.2.3, §14.9, vol. 2 table 2-15 (the exception classes), FXSAVE,
/// CMPXCHG16B, XSAVE.
fn alignment(insn: &Instruction, size: usize) -> (Alignment, u64) {
    use CpuidFeature as C;
    const VECTOR: [CpuidFeature; 9] = [C::SSE, C::SSE2, C::SSE3, C::SSSE3, C::SSE4_1, C::SSE4_2, C::AES, C::PCLMULQDQ, C::SHA];
    let is_vector = insn.code().cpuid_features().iter().any(|feature| VECTOR.contains(feature));
    if insn.code().encoding() == EncodingKind::VEX {
        return match insn.mnemonic() {
            M::Vmovaps | M::Vmovapd | M::Vmovdqa | M::Vmovntps | M::Vmovntpd | M::Vmovntdq | M::Vmovntdqa => {
                (Alignment::First, size as u64)
            }
            _ => (Alignment::Free, 1),
        };
    }
    if is_large_image(insn) {
        return (Alignment::AfterSegment, 64);
    }
    let alignment = match insn.mnemonic() {
        M::Fxsave | M::Fxsave64 | M::Fxrstor | M::Fxrstor64 => Alignment::AfterSegment,
        M::Cmpxchg16b => Alignment::First,
        M::Movups | M::Movupd | M::Movdqu | M::Lddqu | M::Maskmovdqu => Alignment::Free,
        M::Pcmpestri | M::Pcmpestri64 | M::Pcmpestrm | M::Pcmpestrm64 | M::Pcmpistri | M::Pcmpistrm => Alignment::Free,
        _ if is_vector && size == 16 => Alignment::First,
        _ => Alignment::Free,
    };
    (alignment, 16)
}

impl Operand {
    /// Its linear address.
    pub fn at(&self, state: &VcpuState) -> u64 {
        address(&self.memory, state)
    }

    /// The segment register that it goes through.
    pub fn segment(&self) -> Register {
        self.memory.segment()
    }

    /// Whether its address is in the instruction itself.
    pub fn is_absolute(&self) -> bool {
        self.memory.base() == Register::None && !self.memory.index().is_gpr()
    }

    /// The register that a string instruction moves on.
    pub fn pointer(&self) -> Option<Gpr> {
        self.memory.base().is_gpr().then(|| gpr(self.memory.base()))
    }

    /// The offset into its segment that leads to linear address `target`.
    pub fn offset(&self, state: &VcpuState, target: u64) -> u64 {
        target.wrapping_sub(value(self.memory.segment(), state))
    }

    /// Sets registers so that it is at `target`. False where they cannot be.
    pub fn aim(&self, state: &mut VcpuState, target: u64) -> bool {
        let wanted = self.offset(state, target).wrapping_sub(self.memory.displacement());
        let (base, scale) = (self.memory.base(), u64::from(self.memory.scale()));
        // The indices of a gather are all zero here.
        let index = if self.memory.index().is_gpr() { self.memory.index() } else { Register::None };
        match (base, index) {
            (Register::None, Register::None) => {}
            (base, Register::None) => set(state, base, wanted),
            (Register::None, index) => set(state, index, wanted / scale),
            (base, index) if base.full_register() == index.full_register() => set(state, base, wanted / (scale + 1)),
            (base, index) => {
                const SMALL: u64 = 1;
                set(state, index, SMALL);
                set(state, base, wanted.wrapping_sub(SMALL * scale));
            }
        }
        self.at(state) == target
    }
}

fn gpr(register: Register) -> Gpr {
    Gpr(register.full_register().number() as u8)
}

/// Sets as much of a register as its name covers.
fn set(state: &mut VcpuState, register: Register, value: u64) {
    let mask = u64::MAX >> (64 - 8 * register.size().min(8));
    let slot = &mut state.gpr[gpr(register)];
    *slot = *slot & !mask | value & mask;
}
