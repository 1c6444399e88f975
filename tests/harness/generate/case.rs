//! From an encoding's bytes to a case: registers such that its memory operands lie in mapped pages, and values in registers
//! and memory that are worth trying.

use dragoman_frontend::model::{CpuModel, Feature};
use dragoman_state::Xcr0;
use iced_x86::{Code, Instruction, InstructionInfoFactory, Mnemonic, OpKind, UsedMemory};

use super::{
    Form, Random,
    indices::SPREAD,
    refused::refuse,
    steer::value_of,
    traits::{is_bit_test, is_large_image, restores_large_image},
    values::{self, Flavour},
};
use crate::{
    Mode,
    case::{Access, Case, PageMap},
    layout::{CODE, DATA, PAGE, STACK},
};

/// The pages that cases run under, by their number: all there; the second page of data absent; the second read-only.
const MAPS: usize = 3;
pub(super) const ALL_THERE: u32 = 0;
const PAGES_OF_DATA: u64 = 4;

/// How often bytes are made for a plain case.
const ATTEMPTS: usize = 8;
/// One case of so many lists is made invalid.
const REFUSED: u64 = 4;

/// The image of x87, SSE and AVX, header included.
const LARGE_IMAGE: u64 = 832;

/// How much is set and compared before and after what an instruction touches.
const AROUND: u64 = 16;

/// A case, and what it was made from.
#[derive(Clone, Debug)]
pub struct Generated {
    /// The case; its map is one of [`Generator::maps`].
    pub case: Case,
    /// The instruction; invalid where the case is one that is to be refused.
    pub insn: Instruction,
    /// The encoding that it is, or that it would be without what makes it invalid.
    pub code: Code,
}

/// How cases are to look.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Anything that may bring a mistake to light.
    Any,
    /// Something that a reader can follow: only what matters differs from the register pattern.
    Plain,
}

/// Makes cases.
pub struct Generator {
    pub(super) random: Random,
    pub(super) info: InstructionInfoFactory,
    maps: Vec<PageMap>,
    pub(super) style: Style,
    /// The state components that images are made of: those of the model that has everything.
    pub(super) components: u64,
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
        let has_avx = CpuModel::most().has(Feature::Avx);
        let components = (Xcr0::X87 | Xcr0::SSE | if has_avx { Xcr0::AVX } else { Xcr0::empty() }).bits();
        Self { random: Random::new(seed), info: InstructionInfoFactory::new(), maps, style: Style::Any, components }
    }

    /// Goes on as a generator of `seed` begins.
    pub fn restart(&mut self, seed: u64) {
        self.random = Random::new(seed);
    }

    /// The page maps that its cases use.
    pub fn maps(&self) -> &[PageMap] {
        &self.maps
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
        if self.random.one_in(REFUSED) {
            if let Some(last) = list.last_mut() {
                refuse(&mut self.random, last);
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
    pub(super) fn case(&mut self, mode: Mode, bytes: &[u8], insn: Instruction) -> Option<Generated> {
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
        self.steer(&mut case, &mut insn)?;
        self.set_windows(&mut case, &insn, flavour)?;
        Some(Generated { case, insn, code: insn.code() })
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
            let is_bit = is_bit_test(insn);
            let (before, after) = match self.style {
                _ if insn.is_vsib() => (SPREAD + AROUND, SPREAD + AROUND + size),
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
                    self.copy_register(case, insn, &mut bytes[operand..]);
                    self.shape(insn, &mut bytes[operand..]);
                    self.shape_far_pointer(case, insn, &mut bytes[operand..]);
                    case.add_window(start, &bytes)?;
                }
                start = end;
            }
        }
        Some(())
    }

    /// Now and then, memory is what a vector register is: values that are equal are rare among random ones.
    fn copy_register(&mut self, case: &Case, insn: &Instruction, operand: &mut [u8]) {
        let mut registers =
            (0..insn.op_count().min(2)).filter(|n| insn.op_kind(*n) == OpKind::Register).map(|n| insn.op_register(n));
        let Some(register) = registers.rfind(|register| register.is_vector_register()) else { return };
        if self.random.one_in(12) {
            let bytes = case.registers.vectors[register.number()].iter().flat_map(|word| word.to_le_bytes());
            operand.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        }
    }

    /// Half of the time, the far pointer that is called, jumped to or returned to leads to code.
    fn shape_far_pointer(&mut self, case: &Case, insn: &Instruction, operand: &mut [u8]) {
        let (width, slot) = match insn.code() {
            Code::Call_m1616 | Code::Jmp_m1616 => (2, 2),
            Code::Call_m1632 | Code::Jmp_m1632 => (4, 2),
            Code::Call_m1664 | Code::Jmp_m1664 => (8, 2),
            Code::Retfw | Code::Retfw_imm16 => (2, 2),
            Code::Retfd | Code::Retfd_imm16 => (4, 4),
            Code::Retfq | Code::Retfq_imm16 => (8, 8),
            _ => return,
        };
        if operand.len() < width + slot || self.random.one_in(2) {
            return;
        }
        let (offset, selector) = self.far_target(case);
        operand[..width].copy_from_slice(&offset.to_le_bytes()[..width]);
        operand[width..width + slot].copy_from_slice(&u64::from(selector).to_le_bytes()[..slot]);
    }

    /// Values that only some instructions can make something of.
    fn shape(&mut self, insn: &Instruction, operand: &mut [u8]) {
        let random = &mut self.random;
        let put = |operand: &mut [u8], at: usize, bytes: &[u8]| {
            if let Some(to) = operand.get_mut(at..at + bytes.len()) {
                to.copy_from_slice(bytes);
            }
        };
        if restores_large_image(insn) {
            let mut header = [0; 64];
            header[0] = random.bits() as u8 & self.components as u8;
            let is_compacted = matches!(insn.mnemonic(), Mnemonic::Xrstors | Mnemonic::Xrstors64) || random.one_in(2);
            if is_compacted {
                (header[8], header[15]) = (header[0] | random.bits() as u8 & self.components as u8, 0x80);
            }
            if random.one_in(16) {
                header[random.below(64) as usize] ^= 1 << random.below(8);
            }
            put(operand, 512, &header);
            put(operand, 24, &(random.bits() as u32 & 0xffff).to_le_bytes());
            // How many bits of a pointer there are is the processor's own affair.
            put(operand, 14, &[0; 2]);
            put(operand, 22, &[0; 2]);
        }
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
            Mnemonic::Ldmxcsr | Mnemonic::Vldmxcsr => {
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
            // Not into nowhere each time.
            Mnemonic::Ret if random.one_in(2) => put(operand, 0, &(CODE + 0x40 + random.below(0x100)).to_le_bytes()),
            _ => {}
        }
    }
}

fn is_near_branch(kind: OpKind) -> bool {
    matches!(kind, OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64)
}

/// How much memory instructions touch whose size the decoder's tables leave open.
fn special_size(insn: &Instruction) -> u64 {
    match insn.mnemonic() {
        Mnemonic::Fxsave | Mnemonic::Fxsave64 | Mnemonic::Fxrstor | Mnemonic::Fxrstor64 => 512,
        _ if is_large_image(insn) => LARGE_IMAGE,
        Mnemonic::Fnsave | Mnemonic::Fsave | Mnemonic::Frstor => 108,
        Mnemonic::Fnstenv | Mnemonic::Fstenv | Mnemonic::Fldenv => 28,
        _ => 16,
    }
}
