//! Values for the operands of an instruction: those at which something changes, crossed with each other, and others.

use iced_x86::{Code, ConstantOffsets, Decoder, DecoderOptions, Instruction, Mnemonic as M, OpKind, Register};

use super::machine::{place, put};
use crate::{
    Mode,
    case::{Access, Case, PageMap},
    generate::{Form, Generator, Random, operand_at},
};

/// How often an instruction of the wanted kind is looked for.
const ATTEMPTS: usize = 40;
/// How many instructions are made of one encoding with a memory operand, and how many without.
const INSTANCES: usize = 1;
/// The most combinations of special values; of more, so many are picked. Adjustments have little else to go wrong with.
const COMBINATIONS: u64 = 256;
const COMBINATIONS_OF_ADJUSTMENTS: u64 = 2048;
/// How many combinations of any values there are beside.
const RANDOM: u64 = 24;
/// How much memory there is on either side of an operand.
const AROUND: u64 = 32;

/// Starting flags: none, all, and the two that adjustments read, alone.
const FLAGS: [u64; 2] = [0, 0x8d5];
const FLAGS_OF_ADJUSTMENTS: [u64; 4] = [0, 0x8d5, 0x001, 0x010];

/// Whether the model knows `code`.
pub fn is_modelled(code: Code) -> bool {
    let name = code.mnemonic();
    let is_known = matches!(
        name,
        M::Add | M::Adc | M::Sub | M::Sbb | M::Cmp | M::Inc | M::Dec | M::Neg | M::Not | M::And | M::Or | M::Xor | M::Test
    ) || matches!(name, M::Shl | M::Sal | M::Shr | M::Sar | M::Rol | M::Ror | M::Rcl | M::Rcr | M::Shld | M::Shrd)
        || matches!(name, M::Mul | M::Imul | M::Xadd | M::Cmpxchg | M::Sahf | M::Lahf | M::Clc | M::Stc | M::Cmc)
        || matches!(name, M::Bt | M::Bts | M::Btr | M::Btc | M::Bsf | M::Bsr | M::Tzcnt | M::Lzcnt | M::Popcnt)
        || matches!(name, M::Adcx | M::Adox | M::Movbe | M::Crc32 | M::Andn | M::Bextr | M::Bzhi | M::Blsi | M::Blsr | M::Blsmsk)
        || matches!(name, M::Pdep | M::Pext | M::Rorx | M::Sarx | M::Shlx | M::Shrx | M::Mulx)
        || is_adjustment(name);
    // The 386's first stepping had another encoding.
    is_known && !matches!(code, Code::Cmpxchg486_rm8_r8 | Code::Cmpxchg486_rm16_r16 | Code::Cmpxchg486_rm32_r32)
}

fn is_adjustment(name: M) -> bool {
    matches!(name, M::Daa | M::Das | M::Aaa | M::Aas | M::Aam | M::Aad)
}

/// What a slot's value is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Number,
    /// A digit or two: all of them are tried.
    Digits,
    Count,
    /// Where a field of bits begins, and how long it is.
    Field,
    /// The offset of a bit from a memory operand.
    BitOffset,
}

/// Something that an instruction reads and that can be given a value.
#[derive(Clone, Copy, Debug)]
enum Source {
    Register(Register),
    Memory,
    /// Of the code, so many bytes from there.
    Immediate {
        at: usize,
        size: usize,
    },
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    source: Source,
    role: Role,
    width: u32,
}

/// One instruction, to be given many values.
pub struct Batch {
    template: Case,
    insn: Instruction,
    slots: Vec<Slot>,
}

/// Makes batches and values.
pub struct Cases {
    generator: Generator,
    random: Random,
    share: u64,
    count: u64,
}

impl Cases {
    /// All of them follow from `seed`. One in `share` is made.
    pub fn new(seed: u64, share: u64) -> Self {
        Self { generator: Generator::new(seed), random: Random::new(!seed), share, count: 0 }
    }

    /// The pages that the cases need.
    pub fn map(&self) -> &PageMap {
        &self.generator.maps()[0]
    }

    /// Instructions of `code` in `mode`, some with a memory operand where it can have one; none where there is no such
    /// instruction.
    pub fn batches(&mut self, code: Code, mode: Mode) -> Vec<Batch> {
        let form = Form::of(code);
        let mut batches = Vec::new();
        if !form.exists_in(mode) {
            return batches;
        }
        let mut wanted = [INSTANCES; 2];
        for _ in 0..ATTEMPTS {
            let mut made = Vec::new();
            self.generator.make(&form, mode, 1, &mut made);
            let Some(generated) = made.pop().filter(|generated| !generated.insn.is_invalid()) else { continue };
            let has_memory = (0..generated.insn.op_count()).any(|n| generated.insn.op_kind(n) == OpKind::Memory);
            if wanted[usize::from(has_memory)] == 0 {
                continue;
            }
            if let Some(batch) = Batch::new(generated.case, &generated.insn).filter(|batch| batch.is_reachable(self.map())) {
                wanted[usize::from(has_memory)] -= 1;
                batches.push(batch);
            }
        }
        batches
    }

    /// The cases of `batch`, each given to `each` with its instruction.
    pub fn fill(&mut self, batch: &Batch, mut each: impl FnMut(&Case, &Instruction)) {
        let specials: Vec<Vec<u64>> = batch.slots.iter().map(Slot::specials).collect();
        let all: u64 = specials.iter().map(|list| list.len() as u64).product();
        let is_adjustment = is_adjustment(batch.insn.mnemonic());
        let most = if is_adjustment { COMBINATIONS_OF_ADJUSTMENTS } else { COMBINATIONS };
        let flags: &[u64] = if is_adjustment { &FLAGS_OF_ADJUSTMENTS } else { &FLAGS };
        let random = &mut self.random;
        for n in 0..all.min(most) + RANDOM {
            let mut which = if all <= most { n } else { random.below(all) };
            let values: Vec<u64> = specials
                .iter()
                .zip(&batch.slots)
                .map(|(list, slot)| {
                    let value = list[(which % list.len() as u64) as usize];
                    which /= list.len() as u64;
                    // Far away, a bit would not be in memory.
                    if n < all.min(most) || slot.role == Role::BitOffset { value } else { random.bits() }
                })
                .collect();
            self.count += 1;
            if self.count % self.share != 0 {
                continue;
            }
            let (case, insn) = batch.case(&values);
            for flags in flags {
                let mut case = case;
                case.registers.rflags |= flags;
                each(&case, &insn);
            }
        }
    }
}

impl Batch {
    /// The instruction of `case`. `None` where its values and its address would be in one register.
    fn new(case: Case, insn: &Instruction) -> Option<Self> {
        let slots = slots(&case, insn);
        let address = [insn.memory_base(), insn.memory_index()].map(Register::full_register);
        let is_address =
            |slot: &Slot| matches!(slot.source, Source::Register(register) if address.contains(&register.full_register()));
        let has_memory = (0..insn.op_count()).any(|n| insn.op_kind(n) == OpKind::Memory);
        if has_memory && slots.iter().any(is_address) {
            return None;
        }
        let mut template = case;
        template.map = 0;
        template.registers.rflags = crate::Registers::pattern(case.mode).rflags;
        template.windows = Default::default();
        template.memory = [0; crate::case::MEMORY_ROOM];
        if let Some(at) = operand_at(&case, insn) {
            let size = insn.memory_size().size() as u64;
            let bytes: Vec<u8> = (0..2 * AROUND + size).map(|n| 0x5a ^ n as u8).collect();
            template.add_window(at.wrapping_sub(AROUND), &bytes)?;
        }
        Some(Self { template, insn: *insn, slots })
    }

    /// Whether the operand and what is around it can be read and written.
    fn is_reachable(&self, map: &PageMap) -> bool {
        let case = &self.template;
        let is_refused = match self.insn.memory_segment() {
            Register::CS => case.mode != Mode::Long64,
            Register::FS => case.mode != Mode::Long64 && case.registers.selectors[4] == 0,
            Register::GS => case.mode != Mode::Long64 && case.registers.selectors[5] == 0,
            _ => false,
        };
        let mut ends = case.windows().flat_map(|window| [window.at, window.at + u64::from(window.length) - 1]);
        case.windows().next().is_none() || !is_refused && ends.all(|at| map.access(at) == Access::ReadWrite)
    }

    /// The case with these values in its slots, and its instruction.
    fn case(&self, values: &[u64]) -> (Case, Instruction) {
        let mut case = self.template;
        for (slot, value) in self.slots.iter().zip(values) {
            let bytes = value.to_le_bytes();
            match slot.source {
                Source::Register(register) => put(&mut case, register, *value),
                Source::Memory => {
                    case.memory[AROUND as usize..][..slot.width as usize / 8].copy_from_slice(&bytes[..slot.width as usize / 8])
                }
                Source::Immediate { at, size } => case.code[at..at + size].copy_from_slice(&bytes[..size]),
            }
        }
        let (insn, _) = decode(&case);
        (case, insn)
    }
}

fn decode(case: &Case) -> (Instruction, ConstantOffsets) {
    let mut decoder = Decoder::with_ip(case.mode.bitness(), case.code(), case.registers.rip, DecoderOptions::NONE);
    let insn = decoder.decode();
    (insn, decoder.get_constant_offsets(&insn))
}

/// What `insn` reads.
fn slots(case: &Case, insn: &Instruction) -> Vec<Slot> {
    let (_, offsets) = decode(case);
    let name = insn.mnemonic();
    let is_shift = matches!(name, M::Shl | M::Sal | M::Shr | M::Sar | M::Rol | M::Ror | M::Rcl | M::Rcr | M::Shld | M::Shrd)
        || matches!(name, M::Rorx | M::Sarx | M::Shlx | M::Shrx | M::Bzhi);
    let mut slots: Vec<Slot> = implied(insn)
        .iter()
        .map(|register| {
            let role = if is_adjustment(name) && *register == Register::AL { Role::Digits } else { Role::Number };
            Slot { source: Source::Register(*register), role, width: place(*register).2 }
        })
        .collect();
    for n in 0..insn.op_count() {
        let is_last = n == insn.op_count() - 1;
        let role = match insn.op_kind(n) {
            OpKind::Register if name == M::Bextr && is_last => Role::Field,
            OpKind::Register if is_shift && is_last && n > 0 => Role::Count,
            OpKind::Register if n == 1 && insn.op0_kind() == OpKind::Memory && crate::generate::is_bit_test(insn) => {
                Role::BitOffset
            }
            kind if kind != OpKind::Register && kind != OpKind::Memory && is_shift => Role::Count,
            _ => Role::Number,
        };
        let (source, width) = match insn.op_kind(n) {
            OpKind::Register => (Source::Register(insn.op_register(n)), place(insn.op_register(n)).2),
            OpKind::Memory => (Source::Memory, 8 * insn.memory_size().size() as u32),
            _ if offsets.has_immediate() => {
                let (at, size) = (offsets.immediate_offset(), offsets.immediate_size());
                (Source::Immediate { at, size }, 8 * size as u32)
            }
            // A shift by one has no immediate in its bytes.
            _ => continue,
        };
        slots.push(Slot { source, role, width });
    }
    slots
}

/// What it reads without naming it.
fn implied(insn: &Instruction) -> &'static [Register] {
    match insn.mnemonic() {
        M::Mul | M::Cmpxchg => &[Register::RAX],
        M::Mulx => &[Register::RDX],
        M::Imul if insn.op_count() == 1 => &[Register::RAX],
        M::Aaa | M::Aas | M::Aam | M::Aad | M::Sahf => &[Register::AL, Register::AH],
        M::Daa | M::Das => &[Register::AL],
        _ => &[],
    }
}

impl Slot {
    fn specials(&self) -> Vec<u64> {
        match self.role {
            Role::Count => vec![0, 1, 2, 4, 7, 8, 9, 10, 15, 16, 17, 18, 27, 31, 32, 33, 34, 63, 64, 65, 0x80, 0xff],
            Role::Field => {
                let edges = [0, 1, 7, 31, 32, 33, 63, 64, 65, 0x80, 0xff];
                edges.iter().flat_map(|start| edges.map(|length| start | length << 8)).collect()
            }
            Role::BitOffset => {
                [0, 1, 7, 8, 15, 16, 31, 32, 63, 64, 100, 127, -1, -8, -9, -64, -65, -128].map(|offset: i64| offset as u64).into()
            }
            Role::Digits => (0..256).collect(),
            Role::Number => numbers(self.width),
        }
    }
}

/// Numbers of `width` bits about which something changes.
fn numbers(width: u32) -> Vec<u64> {
    let (all, top) = (u64::MAX >> (64 - width), 1 << (width - 1));
    let half = all >> (width / 2);
    let mut list = vec![0, 1, 2, 9, 0xf, 0x10, half, half + 1, top - 1, top, top + 1, all - 1, all];
    list.push(0x5555_5555_5555_5555 & all);
    list.push(0x9999_9999_9999_9999 & all);
    list.push(all & !0xf);
    list
}
