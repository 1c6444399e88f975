//! The registers of a case: values that are worth trying, or only those that matter.

use dragoman_state::{F80, RFlags, StatusWord, X87State};
use iced_x86::{CpuidFeature, Instruction, MemorySize, Mnemonic, OpKind, Register, RflagsBits};

use super::{
    Generator, Random,
    case::Style,
    indices::mask_register,
    traits::{is_large_image, is_x87, uses_mmx},
    values::{self, Flavour},
};
use crate::{RSP, Registers, case::Case};

impl Generator {
    pub(super) fn flavour(&mut self, insn: &Instruction) -> Flavour {
        let features = insn.code().cpuid_features();
        let has = |wanted: &[CpuidFeature]| features.iter().any(|feature| wanted.contains(feature));
        if is_x87(insn) {
            return match insn.memory_size() {
                MemorySize::Float32 => Flavour::Single,
                MemorySize::Float64 => Flavour::Double,
                MemorySize::Int16 | MemorySize::Int32 | MemorySize::Int64 => Flavour::Integer,
                _ => Flavour::Extended,
            };
        }
        if has(&[CpuidFeature::F16C]) {
            return self.random.pick(&[Flavour::Half, Flavour::Single]);
        }
        if uses_vectors(insn) || has(&[CpuidFeature::SSE, CpuidFeature::SSE2]) {
            return match insn.mnemonic() {
                Mnemonic::Cvtsi2sd
                | Mnemonic::Cvtsi2ss
                | Mnemonic::Cvtpi2ps
                | Mnemonic::Cvtpi2pd
                | Mnemonic::Cvtdq2pd
                | Mnemonic::Vcvtsi2sd
                | Mnemonic::Vcvtsi2ss
                | Mnemonic::Vcvtdq2pd => Flavour::Integer,
                _ => self.random.pick(&[Flavour::Integer, Flavour::Single, Flavour::Single, Flavour::Double, Flavour::Double]),
            };
        }
        Flavour::Integer
    }

    pub(super) fn set_registers(&mut self, case: &mut Case, insn: &Instruction, flavour: Flavour) {
        let random = &mut self.random;
        let mask = case.mode.register_mask();
        let registers = &mut case.registers;
        // Sometimes only two values, so that operands are equal.
        let few = [values::integer(random), values::integer(random)];
        let is_few = random.one_in(4);
        let has_selectors = insn.op_count() > 1
            && (0..insn.op_count()).any(|n| insn.op_kind(n) == OpKind::Register && insn.op_register(n).is_segment_register())
            || matches!(insn.mnemonic(), Mnemonic::Verr | Mnemonic::Verw | Mnemonic::Lar | Mnemonic::Lsl | Mnemonic::Arpl);
        for n in (0..16).filter(|n| *n != RSP && *n < case.mode.register_count()) {
            let value = match () {
                () if has_selectors => values::selector(random),
                () if is_few => random.pick(&few),
                () => values::integer(random),
            };
            registers.gpr[n] = value & mask;
        }
        let arithmetic = RFlags::ARITHMETIC.bits();
        registers.rflags = registers.rflags & !arithmetic | random.bits() & arithmetic;
        if self.style == Style::Any && random.one_in(8) {
            registers.rflags |= RFlags::AC.bits();
        }
        if random.one_in(2) && insn.is_string_instruction() {
            registers.rflags |= RFlags::DF.bits();
        }
        for n in 0..case.mode.register_count() {
            let flavour = if flavour == Flavour::Extended { Flavour::Integer } else { flavour };
            registers.vectors[n] = match random.below(16) {
                0 => [values::quadword(random, flavour); 4],
                1 if n > 0 => registers.vectors[n - 1],
                _ => std::array::from_fn(|_| values::quadword(random, flavour)),
            };
        }
        if let Some(mask) = mask_register(insn) {
            // Of each element, the uppermost bit counts; all elements, some, or none.
            let pattern = random.pick(&[u64::MAX, 0, 0x8000_0000_8000_0000]);
            let is_mixed = random.one_in(2);
            registers.vectors[mask.number()].iter_mut().for_each(|word| {
                *word = if is_mixed { *word ^ random.bits() & pattern } else { *word & !(1 << 63 | 1 << 31) | pattern };
            });
        }
        if is_large_image(insn) {
            // The host may have more components than a model.
            (registers.gpr[0], registers.gpr[2]) = (random.below(8) & self.components, 0);
        }
        if is_text(insn) && random.one_in(2) {
            // Lengths that are no more than a little too long.
            registers.gpr[0] = random.below(40).wrapping_sub(20) & mask;
            registers.gpr[2] = random.below(40).wrapping_sub(20) & mask;
        }
        // Mostly as programs have it.
        registers.mxcsr = match random.below(4) {
            0 => random.bits() as u32 & 0xffff,
            1 => 0x1f80 | random.bits() as u32 & 0xe07f,
            _ => 0x1f80 | random.bits() as u32 & 0x6000,
        };
        registers.x87 = x87(random);
        let n = random.below(64);
        if is_shift_or_bit(insn) && random.one_in(2) {
            registers.gpr[1] = registers.gpr[1] & !0xff & mask | n;
        }
        if insn.has_rep_prefix() || insn.has_repne_prefix() {
            registers.gpr[1] = random.below(if self.style == Style::Any { 9 } else { 4 });
        }
    }

    /// Puts what `insn` does not use back to the register pattern.
    pub(super) fn forget_unused(&mut self, case: &mut Case, insn: &Instruction) {
        let used: Vec<Register> = self.info.info(insn).used_registers().iter().map(|one| one.register()).collect();
        let uses = |is_it: &dyn Fn(Register) -> bool| used.iter().any(|register| is_it(*register));
        let pattern = Registers::pattern(case.mode);
        let registers = &mut case.registers;
        for n in 0..16 {
            if !uses(&|register| register.is_gpr() && register.full_register().number() == n) {
                registers.gpr[n] = pattern.gpr[n];
            }
            let is_vector = |register: Register| register.is_vector_register() && register.number() == n;
            let low = if uses(&is_vector) { registers.vectors[n] } else { pattern.vectors[n] };
            let is_wide = insn.op_kinds().zip(0..).any(|(kind, op)| {
                kind == OpKind::Register && insn.op_register(op).is_ymm() && insn.op_register(op).number() == n
            });
            let is_wide = is_wide || insn.memory_index().is_ymm() && insn.memory_index().number() == n;
            let high = if is_wide { &low } else { &pattern.vectors[n] };
            registers.vectors[n] = [low[0], low[1], high[2], high[3]];
        }
        let read = arithmetic_flags(insn.rflags_read()) | RFlags::DF;
        registers.rflags = pattern.rflags | registers.rflags & read.bits();
        if !uses_vectors(insn) && !uses_mmx(insn) || self.random.one_in(2) {
            registers.mxcsr = pattern.mxcsr;
        } else {
            registers.mxcsr = registers.mxcsr & 0xe000 | pattern.mxcsr;
        }
        let random = registers.x87;
        registers.x87 = pattern.x87;
        if is_x87(insn) {
            registers.x87.control = random.control | 0x3f;
            for n in 0..8 {
                if uses(&|register| register.is_st() && register.number() == n) && !matches!(insn.mnemonic(), Mnemonic::Fld) {
                    registers.x87.registers[n] = random.registers[n];
                    registers.x87.valid |= 1 << n;
                }
            }
        }
        for n in 0..8 {
            if uses(&|register| register.is_mm() && register.number() == n) {
                registers.x87.set_mmx(n as u8, random.registers[n].significand);
            }
        }
    }
}

/// Whether an operand is a vector register, or in memory what would fill one.
fn uses_vectors(insn: &Instruction) -> bool {
    (0..insn.op_count()).any(|n| insn.op_kind(n) == OpKind::Register && insn.op_register(n).is_vector_register())
}

/// Comparisons of strings that vector registers hold.
fn is_text(insn: &Instruction) -> bool {
    use Mnemonic as M;
    matches!(
        insn.mnemonic(),
        M::Pcmpestri
            | M::Pcmpestrm
            | M::Pcmpestri64
            | M::Pcmpestrm64
            | M::Vpcmpestri
            | M::Vpcmpestrm
            | M::Vpcmpestri64
            | M::Vpcmpestrm64
    )
}

fn is_shift_or_bit(insn: &Instruction) -> bool {
    use Mnemonic as M;
    matches!(insn.mnemonic(), M::Shl | M::Shr | M::Sar | M::Sal | M::Rol | M::Ror | M::Rcl | M::Rcr | M::Shld | M::Shrd)
}

/// The arithmetic flags of a set of the decoder's.
pub fn arithmetic_flags(bits: u32) -> RFlags {
    [
        (RflagsBits::CF, RFlags::CF),
        (RflagsBits::PF, RFlags::PF),
        (RflagsBits::AF, RFlags::AF),
        (RflagsBits::ZF, RFlags::ZF),
        (RflagsBits::SF, RFlags::SF),
        (RflagsBits::OF, RFlags::OF),
    ]
    .into_iter()
    .filter(|(bit, _)| bits & bit != 0)
    .fold(RFlags::empty(), |all, (_, flag)| all | flag)
}

/// The x87 unit with any control word, any top, some registers empty.
pub(crate) fn x87(random: &mut Random) -> X87State {
    let mut unit = X87State::initialised([F80::default(); 8]);
    for register in &mut unit.registers {
        *register = values::extended(random);
    }
    unit.valid = if random.one_in(4) { random.bits() as u8 } else { 0xff };
    const MASKED: u16 = 0x3f;
    const FIXED: u16 = 0x40;
    // The precision of 01 is reserved.
    let precision = random.pick(&[0x000, 0x200, 0x300, 0x300]);
    let rounding = random.pick(&[0, 0, 0x400, 0x800, 0xc00]);
    let masks = if random.one_in(4) { random.bits() as u16 & MASKED } else { MASKED };
    unit.control = FIXED | precision | rounding | masks;
    let exceptions = if random.one_in(4) { random.bits() as u16 & 0x7f } else { 0 };
    let conditions = random.bits() as u16 & 0x4700;
    let mut status = exceptions | conditions;
    // Most instructions wait for a pending exception, and do nothing else then.
    if exceptions & MASKED & !masks != 0 {
        if random.one_in(8) {
            status |= 0x8080;
        } else {
            status &= !MASKED | masks;
        }
    }
    unit.status = StatusWord::from_bits_retain(status);
    unit.set_top(random.below(8) as usize);
    unit
}
