//! From an encoding's bytes to a case: registers such that its memory operands lie in mapped pages, and values in registers
//! and memory that are worth trying.

use dragoman_state::{F80, RFlags, StatusWord, X87State};
use iced_x86::{
    Code, CpuidFeature, Instruction, InstructionInfoFactory, MemorySize, Mnemonic, OpKind, Register, RflagsBits, UsedMemory,
};

use super::{
    Form, Random,
    values::{self, Flavour},
};
use crate::{
    Mode, RSP, Registers,
    case::{Access, Case, PageMap, Scene},
    layout::{CODE, DATA, LDT_ENTRIES, PAGE, STACK},
};

/// The pages that cases run under, by their number: all there; the second page of data absent; the second read-only.
const MAPS: usize = 3;
const ALL_THERE: u32 = 0;
const PAGES_OF_DATA: u64 = 4;

/// How often bytes are made for a plain case.
const ATTEMPTS: usize = 8;

/// How much is set and compared before and after what an instruction touches.
const AROUND: u64 = 16;

/// A case, and what it was made from.
#[derive(Clone, Debug)]
pub struct Generated {
    /// The case; its map is one of [`Generator::maps`].
    pub case: Case,
    /// The instruction.
    pub insn: Instruction,
}

/// How cases are to look.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    /// Anything that may bring a mistake to light.
    Any,
    /// Something that a reader can follow: only what matters differs from the register pattern.
    Plain,
}

/// Makes cases.
pub struct Generator {
    random: Random,
    info: InstructionInfoFactory,
    maps: Vec<PageMap>,
    style: Style,
}

impl Generator {
    /// A generator whose cases follow from `seed`.
    pub fn new(seed: u64) -> Self {
        let mut maps = vec![PageMap::new(); MAPS];
        for (n, map) in maps.iter_mut().enumerate() {
            map.add(CODE, Access::Code);
            map.add_range(STACK, 2 * PAGE, Access::ReadWrite);
            map.add(DATA, Access::ReadWrite);
            match n {
                0 => map.add_range(DATA, PAGES_OF_DATA * PAGE, Access::ReadWrite),
                1 => {}
                _ => map.add(DATA + PAGE, Access::ReadOnly),
            }
        }
        Self { random: Random::new(seed), info: InstructionInfoFactory::new(), maps, style: Style::Any }
    }

    /// The page maps that its cases use.
    pub fn maps(&self) -> &[PageMap] {
        &self.maps
    }

    /// `generated` with its pages.
    pub fn scene(&self, generated: &Generated) -> Scene {
        Scene { case: generated.case, map: self.maps[generated.case.map as usize].clone() }
    }

    /// `count` cases of one instruction of `form` in `mode`, in a list; empty where it cannot be had.
    pub fn make(&mut self, form: &Form, mode: Mode, count: usize, list: &mut Vec<Generated>) {
        let ip = if mode.is_segmented() { 0 } else { CODE };
        let Some((bytes, insn)) = form.make(&mut self.random, mode, ip) else { return };
        for _ in 0..count {
            if let Some(generated) = self.case(mode, &bytes, insn) {
                list.push(generated);
            }
        }
    }

    /// A case for a reader: no prefix but `extra` and what `form` needs, and nothing but what it uses set to anything.
    pub fn plain(&mut self, form: &Form, mode: Mode, has_memory: bool, extra: Option<u8>) -> Option<Generated> {
        let ip = if mode.is_segmented() { 0 } else { CODE };
        self.style = Style::Plain;
        let made = (0..ATTEMPTS).find_map(|_| {
            let (bytes, insn) = form.make_plain(&mut self.random, mode, ip, has_memory, extra)?;
            self.case(mode, &bytes, insn)
        });
        self.style = Style::Any;
        made
    }

    /// One case of `insn`. `None` where it would not come to an end, or cannot be set up.
    fn case(&mut self, mode: Mode, bytes: &[u8], insn: Instruction) -> Option<Generated> {
        let inside = insn.ip()..insn.next_ip();
        if insn.op_count() > 0 && is_near_branch(insn.op0_kind()) && inside.contains(&insn.near_branch_target()) {
            return None;
        }
        if insn.code() == Code::Int_imm8 && insn.immediate8() == 0x80 {
            return None;
        }
        if self.style == Style::Plain
            && insn.mnemonic() == Mnemonic::Enter
            && (insn.immediate8_2nd() & 31 > 0 || insn.immediate16() > 0x700)
        {
            return None;
        }
        let mut case = Case::new(mode, CODE, bytes);
        let flavour = self.flavour(&insn);
        self.set_registers(&mut case, &insn, flavour);
        if self.style == Style::Plain {
            self.forget_unused(&mut case, &insn);
        }
        case.map = if self.style == Style::Any && self.random.one_in(8) {
            1 + self.random.below(MAPS as u64 - 1) as u32
        } else {
            ALL_THERE
        };
        let mut insn = insn;
        self.steer(&mut case, &mut insn);
        self.set_windows(&mut case, &insn, flavour)?;
        Some(Generated { case, insn })
    }

    /// Puts what `insn` does not use back to the register pattern.
    fn forget_unused(&mut self, case: &mut Case, insn: &Instruction) {
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
            registers.vectors[n] = [low[0], low[1], pattern.vectors[n][2], pattern.vectors[n][3]];
        }
        let read = arithmetic_flags(insn.rflags_read()) | RFlags::DF;
        registers.rflags = pattern.rflags | registers.rflags & read.bits();
        if !insn.code().cpuid_features().iter().any(|feature| matches!(feature, CpuidFeature::SSE | CpuidFeature::SSE2))
            || self.random.one_in(2)
        {
            registers.mxcsr = pattern.mxcsr;
        } else {
            registers.mxcsr = registers.mxcsr & 0xe000 | pattern.mxcsr;
        }
        let is_x87 = insn
            .code()
            .cpuid_features()
            .iter()
            .any(|feature| matches!(feature, CpuidFeature::FPU | CpuidFeature::FPU287 | CpuidFeature::FPU387));
        let random = registers.x87;
        registers.x87 = pattern.x87;
        if is_x87 {
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

    fn flavour(&mut self, insn: &Instruction) -> Flavour {
        let features = insn.code().cpuid_features();
        let has = |wanted: &[CpuidFeature]| features.iter().any(|feature| wanted.contains(feature));
        if has(&[CpuidFeature::FPU, CpuidFeature::FPU287, CpuidFeature::FPU387]) {
            return match insn.memory_size() {
                MemorySize::Float32 => Flavour::Single,
                MemorySize::Float64 => Flavour::Double,
                MemorySize::Int16 | MemorySize::Int32 | MemorySize::Int64 => Flavour::Integer,
                _ => Flavour::Extended,
            };
        }
        if has(&[CpuidFeature::SSE, CpuidFeature::SSE2]) {
            return match insn.mnemonic() {
                Mnemonic::Cvtsi2sd | Mnemonic::Cvtsi2ss | Mnemonic::Cvtpi2ps | Mnemonic::Cvtpi2pd | Mnemonic::Cvtdq2pd => {
                    Flavour::Integer
                }
                _ => self.random.pick(&[Flavour::Integer, Flavour::Single, Flavour::Single, Flavour::Double, Flavour::Double]),
            };
        }
        Flavour::Integer
    }

    fn set_registers(&mut self, case: &mut Case, insn: &Instruction, flavour: Flavour) {
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
        if random.one_in(2) && insn.is_string_instruction() {
            registers.rflags |= RFlags::DF.bits();
        }
        for vector in &mut registers.vectors[..case.mode.register_count()] {
            let flavour = if flavour == Flavour::Extended { Flavour::Integer } else { flavour };
            *vector = std::array::from_fn(|_| values::quadword(random, flavour));
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

    /// Where an operand may be: near the end of the first page of data where the second is missing something.
    fn target(&mut self, case: &Case) -> u64 {
        let random = &mut self.random;
        if self.style == Style::Plain {
            return DATA + 0x40 + 0x40 * random.below(16);
        }
        if case.map != ALL_THERE && random.one_in(2) {
            return DATA + PAGE - random.below(24);
        }
        let offset = 0x100 + random.below(if case.map == ALL_THERE { 0x2c00 } else { 0xb00 });
        DATA + if random.one_in(2) { offset & !0xf } else { offset }
    }

    /// Sets the registers that addresses are made from, and the displacement where it is one of four bytes or more.
    fn steer(&mut self, case: &mut Case, insn: &mut Instruction) {
        let mask = case.mode.register_mask();
        // What strings, XLAT and the stack use without an operand.
        for (n, segment) in [(6, insn.memory_segment()), (7, Register::ES)] {
            case.registers.gpr[n] = if insn.is_string_instruction() || insn.code().is_maskmov() {
                self.target(case).wrapping_sub(base_of(case, segment)) & mask
            } else {
                case.registers.gpr[n]
            };
        }
        if insn.mnemonic() == Mnemonic::Xlatb {
            case.registers.gpr[3] =
                self.target(case).wrapping_sub(base_of(case, insn.memory_segment())).wrapping_sub(case.registers.gpr[0] & 0xff)
                    & mask;
        }
        let stack = STACK + 0x800 + (self.random.below(64) * if self.random.one_in(4) { 1 } else { 8 });
        if self.style == Style::Any {
            case.registers.gpr[RSP] = stack.wrapping_sub(base_of(case, Register::SS)) & mask;
        }
        if matches!(insn.mnemonic(), Mnemonic::Leave | Mnemonic::Enter) {
            case.registers.gpr[5] = (stack + 0x80).wrapping_sub(base_of(case, Register::SS)) & mask;
        }
        let Some(_) = (0..insn.op_count()).find(|n| insn.op_kind(*n) == OpKind::Memory) else { return };
        let mut target = self.target(case);
        if insn.has_lock_prefix() || insn.mnemonic() == Mnemonic::Xchg {
            // Hosts that trap split locks are slow at it.
            target &= !0x3f;
        }
        let wanted = target.wrapping_sub(base_of(case, insn.memory_segment()));
        let bit = matches!(insn.mnemonic(), Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc)
            && insn.op1_kind() == OpKind::Register;
        if bit
            && [insn.memory_base(), insn.memory_index()]
                .map(Register::full_register)
                .contains(&insn.op1_register().full_register())
        {
            // The bit would be anywhere.
            return;
        }
        if bit {
            let value = match self.style {
                Style::Any => self.random.below(512).wrapping_sub(256) & mask,
                Style::Plain => self.random.below(64),
            };
            set(case, insn.op1_register(), value);
        }
        let (base, index, scale) = (insn.memory_base(), insn.memory_index(), u64::from(insn.memory_index_scale()));
        let displacement = insn.memory_displacement64();
        match (base, index) {
            (Register::None, Register::None) | (Register::RIP | Register::EIP, _) => self.patch(case, insn, wanted),
            (base, Register::None) => set(case, base, wanted.wrapping_sub(displacement)),
            (Register::None, index) => set(case, index, wanted.wrapping_sub(displacement) / scale),
            (base, index) if base == index => set(case, base, wanted.wrapping_sub(displacement) / (scale + 1)),
            (base, index) => {
                let n = self.random.below(32);
                if !bit || insn.op1_register().full_register() != index.full_register() {
                    set(case, index, n);
                }
                let n = get(case, index);
                set(case, base, wanted.wrapping_sub(displacement).wrapping_sub(n.wrapping_mul(scale)));
            }
        }
    }

    /// Writes a displacement such that the operand is at offset `wanted`.
    fn patch(&mut self, case: &mut Case, insn: &mut Instruction, wanted: u64) {
        let mut decoder = iced_x86::Decoder::with_ip(case.mode.bitness(), case.code(), insn.ip(), iced_x86::DecoderOptions::NONE);
        let decoded = decoder.decode();
        let constants = decoder.get_constant_offsets(&decoded);
        let (at, size) = (constants.displacement_offset(), constants.displacement_size());
        let is_relative = matches!(insn.memory_base(), Register::RIP | Register::EIP);
        let value = if is_relative { wanted.wrapping_sub(insn.next_ip()) } else { wanted };
        case.code[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
        let mut decoder = iced_x86::Decoder::with_ip(case.mode.bitness(), case.code(), insn.ip(), iced_x86::DecoderOptions::NONE);
        *insn = decoder.decode();
    }

    /// Makes windows of what the instruction touches, filled with values.
    fn set_windows(&mut self, case: &mut Case, insn: &Instruction, flavour: Flavour) -> Option<()> {
        let used: Vec<UsedMemory> = self.info.info(insn).used_memory().to_vec();
        let mut spans: Vec<(u64, u64, u64)> = Vec::new();
        for memory in used {
            let at = memory.virtual_address(0, |register, _, _| Some(value_of(case, register)))?;
            let at = if case.mode.is_long() && case.mode != Mode::Long64 { at & 0xffff_ffff } else { at };
            let size = match memory.memory_size().size() as u64 {
                0 => special_size(insn),
                size => size,
            };
            let is_bit = matches!(insn.mnemonic(), Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc);
            let (before, after) = match self.style {
                Style::Any => {
                    let more = if insn.is_string_instruction() { 9 * 8 } else { 0 } + if is_bit { 48 } else { 0 };
                    let frames = if insn.mnemonic() == Mnemonic::Enter { 300 } else { 0 };
                    (AROUND + more + frames, AROUND + more + size)
                }
                Style::Plain if insn.has_rep_prefix() || insn.has_repne_prefix() => (2 * size, 3 * size),
                Style::Plain if is_bit => (0, 16),
                Style::Plain => (0, size),
            };
            spans.push((at.wrapping_sub(before), at.checked_add(after)?, at));
        }
        spans.sort_unstable();
        let mut merged: Vec<(u64, u64, u64)> = Vec::new();
        for (from, to, at) in spans {
            match merged.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => merged.push((from, to, at)),
            }
        }
        let map = self.maps[case.map as usize].clone();
        for (from, to, at) in merged {
            // Only what is mapped can be set.
            let mut start = from;
            while start < to {
                let end = (start & !(PAGE - 1)).checked_add(PAGE)?.min(to);
                if map.access(start) != Access::Absent && !map.access(start).is_executable() {
                    let mut bytes = vec![0; (end - start) as usize];
                    let operand = at.saturating_sub(start).min(end - start) as usize;
                    values::fill(&mut self.random, flavour, &mut bytes, operand);
                    self.shape(insn, &mut bytes[operand..]);
                    case.add_window(start, &bytes)?;
                }
                start = end;
            }
        }
        Some(())
    }

    /// Values that only some instructions can make something of.
    fn shape(&mut self, insn: &Instruction, operand: &mut [u8]) {
        let random = &mut self.random;
        let put = |operand: &mut [u8], at: usize, bytes: &[u8]| {
            if let Some(to) = operand.get_mut(at..at + bytes.len()) {
                to.copy_from_slice(bytes);
            }
        };
        match insn.mnemonic() {
            Mnemonic::Fxrstor | Mnemonic::Fxrstor64 => {
                let mxcsr = (random.bits() as u32 & 0xffff) | u32::from(random.one_in(8)) << 20;
                put(operand, 24, &mxcsr.to_le_bytes());
                if insn.mnemonic() == Mnemonic::Fxrstor64 {
                    // How many bits of a pointer there are is the processor's own affair.
                    put(operand, 14, &[0; 2]);
                    put(operand, 22, &[0; 2]);
                }
            }
            Mnemonic::Ldmxcsr => {
                put(operand, 0, &((random.bits() as u32 & 0xffff) | u32::from(random.one_in(8)) << 20).to_le_bytes())
            }
            Mnemonic::Fbld => {
                let digits: [u8; 10] = std::array::from_fn(|_| (random.below(10) | random.below(10) << 4) as u8);
                put(operand, 0, &digits);
                put(operand, 9, &[random.pick(&[0, 0x80])]);
            }
            Mnemonic::Pop | Mnemonic::Mov if insn.op0_kind() == OpKind::Register && insn.op0_register().is_segment_register() => {
                put(operand, 0, &(values::selector(random) as u16).to_le_bytes());
            }
            Mnemonic::Bound => {
                let low = values::integer(random) as u32;
                put(operand, 0, &low.to_le_bytes());
            }
            Mnemonic::Ret => {
                // Not into nowhere each time.
                if random.one_in(2) {
                    put(operand, 0, &(CODE + 0x40 + random.below(0x100)).to_le_bytes());
                }
            }
            _ => {}
        }
    }
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

fn is_near_branch(kind: OpKind) -> bool {
    matches!(kind, OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64)
}

fn is_shift_or_bit(insn: &Instruction) -> bool {
    use Mnemonic as M;
    matches!(insn.mnemonic(), M::Shl | M::Shr | M::Sar | M::Sal | M::Rol | M::Ror | M::Rcl | M::Rcr | M::Shld | M::Shrd)
}

/// How much memory instructions touch whose size the decoder's tables leave open.
fn special_size(insn: &Instruction) -> u64 {
    match insn.mnemonic() {
        Mnemonic::Fxsave | Mnemonic::Fxsave64 | Mnemonic::Fxrstor | Mnemonic::Fxrstor64 => 512,
        Mnemonic::Fnsave | Mnemonic::Fsave | Mnemonic::Frstor => 108,
        Mnemonic::Fnstenv | Mnemonic::Fstenv | Mnemonic::Fldenv => 28,
        _ => 16,
    }
}

/// The x87 unit with any control word, any top, some registers empty.
fn x87(random: &mut Random) -> X87State {
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

/// The base of `segment`, as the case has it.
fn base_of(case: &Case, segment: Register) -> u64 {
    let index = match segment {
        Register::ES => 0,
        Register::CS => 1,
        Register::SS => 2,
        Register::DS => 3,
        Register::FS => return case.registers.fs_base,
        Register::GS => return case.registers.gs_base,
        _ => return 0,
    };
    base_of_selector(case.registers.selectors[index])
}

/// The base of the segment that `selector` names: all but those of the local descriptor table are flat.
pub(super) fn base_of_selector(selector: u16) -> u64 {
    if selector & 4 == 0 {
        return 0;
    }
    LDT_ENTRIES.get(usize::from(selector >> 3)).map_or(0, |entry| entry.base)
}

pub(super) fn value_of(case: &Case, register: Register) -> u64 {
    if register.is_segment_register() { base_of(case, register) } else { get(case, register) }
}

fn get(case: &Case, register: Register) -> u64 {
    if matches!(register, Register::RIP | Register::EIP) || !register.is_gpr() {
        return 0;
    }
    let value = case.registers.gpr[register.full_register().number()];
    match register.size() {
        8 => value,
        4 => value & 0xffff_ffff,
        2 => value & 0xffff,
        _ => value & 0xff,
    }
}

/// Sets as much of a register as its name covers.
fn set(case: &mut Case, register: Register, value: u64) {
    if !register.is_gpr() {
        return;
    }
    let mask = match register.size() {
        8 => u64::MAX,
        4 => 0xffff_ffff,
        2 => 0xffff,
        _ => 0xff,
    };
    let slot = &mut case.registers.gpr[register.full_register().number()];
    *slot = (*slot & !mask | value & mask) & case.mode.register_mask();
}

/// What has no memory operand and still writes to DS:rDI.
trait IsMaskMove {
    fn is_maskmov(self) -> bool;
}

impl IsMaskMove for Code {
    fn is_maskmov(self) -> bool {
        matches!(self.mnemonic(), Mnemonic::Maskmovq | Mnemonic::Maskmovdqu)
    }
}
