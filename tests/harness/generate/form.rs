//! From an encoding to bytes: opcode and fixed fields as the manual's opcode column has them, everything else random. What
//! comes out is decoded again, and only what is the wanted encoding counts.

use iced_x86::{
    Code, Decoder, DecoderOptions, EncodingKind, Instruction, MandatoryPrefix, OpCodeInfo, OpCodeOperandKind as Kind,
    OpCodeTableKind, OpKind,
};

use super::{Random, values, vex};
use crate::Mode;

/// How often bytes are made up before a form is given up.
const ATTEMPTS: usize = 200;
/// The longest instruction.
const LONGEST: usize = 15;
/// The prefixes that name a segment.
const SEGMENTS: [u8; 6] = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];

/// An encoding, ready to be made into bytes.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    code: Code,
    info: &'static OpCodeInfo,
    has_modrm: bool,
    is_plus_register: bool,
}

impl Form {
    /// The form of `code`, which is an encoding of the old kind or one with VEX.
    pub fn of(code: Code) -> Self {
        let info = code.op_code();
        let kinds = info.op_kinds();
        Self {
            code,
            info,
            has_modrm: info.is_group() || info.is_rm_group() || kinds.iter().any(|kind| is_in_modrm(*kind)),
            is_plus_register: kinds.iter().any(|kind| {
                matches!(kind, Kind::r8_opcode | Kind::r16_opcode | Kind::r32_opcode | Kind::r64_opcode | Kind::sti_opcode)
            }),
        }
    }

    /// Whether it may have a memory operand in its bytes.
    pub fn can_have_memory(&self) -> bool {
        self.must_have_memory() || self.info.op_kinds().iter().any(|kind| is_register_or_memory(*kind))
    }

    /// Whether it has one in any case.
    pub fn must_have_memory(&self) -> bool {
        let is_memory = |kind: &Kind| matches!(kind, Kind::mem | Kind::mem_offs | Kind::seg_rBX_al) || is_vsib(*kind);
        self.info.op_kinds().iter().any(is_memory)
    }

    /// Whether a vector register holds indices of its memory operand.
    pub fn has_indices(&self) -> bool {
        self.info.op_kinds().iter().any(|kind| is_vsib(*kind))
    }

    /// Whether there is such an instruction in `mode`.
    pub fn exists_in(&self, mode: Mode) -> bool {
        match mode.bitness() {
            16 if self.info.encoding() == EncodingKind::VEX => self.info.mode16() && !mode.is_real_style(),
            16 => self.info.mode16(),
            32 => self.info.mode32(),
            _ => self.info.mode64(),
        }
    }

    /// Bytes that decode to this encoding at `ip`, and what they decode to.
    pub fn make(&self, random: &mut Random, mode: Mode, ip: u64) -> Option<(Vec<u8>, Instruction)> {
        (0..ATTEMPTS).find_map(|_| {
            let prefixes = self.prefixes(random, mode);
            self.complete(random, mode, ip, prefixes)
        })
    }

    /// The encoding that this is the form of.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The repeat prefixes that mean something to it.
    pub fn repeats(&self) -> impl Iterator<Item = u8> + use<> {
        let (rep, repne) = (self.info.can_use_rep_prefix(), self.info.can_use_repne_prefix());
        rep.then_some(0xf3).into_iter().chain(repne.then_some(0xf2))
    }

    /// As [`Form::make`], with no prefixes but `extra` and what it needs, and its memory operand, where it has one, reached
    /// through a register.
    pub fn make_plain(
        &self,
        random: &mut Random,
        mode: Mode,
        ip: u64,
        has_memory: bool,
        extra: Option<u8>,
    ) -> Option<(Vec<u8>, Instruction)> {
        const FEWEST: [&[u8]; 12] = [
            &[],
            &[0x66],
            &[0x48],
            &[0x66, 0x48],
            &[0x67],
            &[0x66, 0x67],
            &[0x67, 0x48],
            &[0xf3],
            &[0x66, 0xf3],
            &[0xf3, 0x48],
            &[0xf2],
            &[0xf2, 0x48],
        ];
        let is_wanted = |insn: &Instruction| {
            let memory = (0..insn.op_count()).any(|n| insn.op_kind(n) == OpKind::Memory);
            memory == has_memory && (!memory || insn.memory_base().is_gpr() || insn.memory_displ_size() == 8)
        };
        // Before VEX, only the address size can be changed.
        let is_possible = |prefixes: &&&[u8]| match self.info.encoding() {
            EncodingKind::Legacy => mode == Mode::Long64 || !prefixes.contains(&0x48),
            _ => prefixes.iter().all(|prefix| *prefix == 0x67),
        };
        FEWEST.iter().filter(is_possible).find_map(|prefixes| {
            let prefixes: Vec<u8> = extra.into_iter().chain(prefixes.iter().copied()).collect();
            (0..ATTEMPTS).find_map(|_| self.complete(random, mode, ip, prefixes.clone()).filter(|(_, insn)| is_wanted(insn)))
        })
    }

    /// Puts the rest after the prefixes. `None` where it is another encoding then.
    fn complete(&self, random: &mut Random, mode: Mode, ip: u64, prefixes: Vec<u8>) -> Option<(Vec<u8>, Instruction)> {
        let mut bytes = self.attempt(random, mode, prefixes);
        let mut decoder = Decoder::with_ip(mode.bitness(), &bytes, ip, DecoderOptions::NONE);
        let insn = decoder.decode();
        bytes.truncate(insn.len());
        (insn.code() == self.code).then_some((bytes, insn))
    }

    /// Prefixes, needed or not; REX comes last.
    fn prefixes(&self, random: &mut Random, mode: Mode) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(32);
        if self.info.encoding() == EncodingKind::VEX {
            // Indices are in no address of 16 bits.
            if random.one_in(8) || mode.bitness() == 16 && self.has_indices() {
                bytes.push(0x67);
            }
            if random.one_in(8) {
                bytes.push(random.pick(&SEGMENTS));
            }
            return bytes;
        }
        if random.one_in(2) && self.info.operand_size() != 0 || random.one_in(16) {
            bytes.push(0x66);
        }
        if random.one_in(8) || self.info.address_size() != 0 && random.one_in(2) {
            bytes.push(0x67);
        }
        if random.one_in(8) {
            bytes.push(random.pick(&SEGMENTS));
        }
        if self.info.can_use_lock_prefix() && random.one_in(4) {
            bytes.push(0xf0);
        }
        if self.info.can_use_rep_prefix() && random.one_in(2) {
            bytes.push(0xf3);
        }
        if self.info.can_use_repne_prefix() && random.one_in(3) {
            bytes.push(0xf2);
        }
        if mode == Mode::Long64 && random.one_in(2) {
            bytes.push(0x40 | random.bits() as u8 & 0xf);
        }
        bytes
    }

    /// `bytes`, which are prefixes, with the mandatory one, the opcode and everything behind it.
    fn attempt(&self, random: &mut Random, mode: Mode, mut bytes: Vec<u8>) -> Vec<u8> {
        if self.info.encoding() == EncodingKind::VEX {
            bytes.extend(vex::prefix(self.info, random, mode));
            bytes.push(self.info.op_code() as u8);
            return self.with_operands(random, bytes);
        }
        let mandatory = match self.info.mandatory_prefix() {
            MandatoryPrefix::None | MandatoryPrefix::PNP => None,
            MandatoryPrefix::P66 => Some(0x66),
            MandatoryPrefix::PF3 => Some(0xf3),
            MandatoryPrefix::PF2 => Some(0xf2),
        };
        // A REX prefix stands right before the opcode.
        let at = bytes.len() - usize::from(bytes.last().is_some_and(|last| last & 0xf0 == 0x40));
        if let Some(prefix) = mandatory {
            bytes.insert(at, prefix);
        }
        match self.info.table() {
            OpCodeTableKind::T0F => bytes.push(0x0f),
            OpCodeTableKind::T0F38 => bytes.extend([0x0f, 0x38]),
            OpCodeTableKind::T0F3A => bytes.extend([0x0f, 0x3a]),
            _ => {}
        }
        let opcode = self.info.op_code();
        if self.info.op_code_len() == 2 {
            bytes.push((opcode >> 8) as u8);
        }
        bytes.push(opcode as u8 + if self.is_plus_register { random.below(8) as u8 } else { 0 });
        self.with_operands(random, bytes)
    }

    /// `bytes` with what stands behind the opcode.
    fn with_operands(&self, random: &mut Random, mut bytes: Vec<u8>) -> Vec<u8> {
        if self.has_modrm {
            bytes.push(self.modrm(random));
        }
        // A SIB byte, displacement and immediate, as many of them as the decoder takes.
        while bytes.len() < LONGEST + 8 {
            let size = 1 + random.below(4) as usize;
            bytes.extend(&values::integer(random).to_le_bytes()[..size]);
        }
        bytes
    }

    fn modrm(&self, random: &mut Random) -> u8 {
        let mut modrm = random.bits() as u8;
        if random.one_in(3) {
            modrm |= 0xc0;
        }
        if self.has_indices() {
            // A SIB byte.
            modrm = modrm & !0xc7 | random.pick(&[0x00, 0x40, 0x80]) | 4;
        }
        if self.info.is_group() {
            modrm = modrm & !0x38 | (self.info.group_index() as u8) << 3;
        }
        if self.info.is_rm_group() {
            modrm = modrm & !0x07 | 0xc0 | self.info.rm_group_index() as u8;
        }
        modrm
    }
}

/// Whether an operand of this kind is a register or memory.
fn is_register_or_memory(kind: Kind) -> bool {
    use Kind as K;
    matches!(kind, K::r8_or_mem | K::r16_or_mem | K::r32_or_mem | K::r64_or_mem | K::mm_or_mem | K::xmm_or_mem | K::ymm_or_mem)
}

/// Whether an operand of this kind is memory at indices that a vector register holds.
fn is_vsib(kind: Kind) -> bool {
    matches!(kind, Kind::mem_vsib32x | Kind::mem_vsib32y | Kind::mem_vsib64x | Kind::mem_vsib64y)
}

/// Whether an operand of this kind is in a ModR/M byte.
fn is_in_modrm(kind: Kind) -> bool {
    is_register_or_memory(kind)
        || is_vsib(kind)
        || matches!(
            kind,
            Kind::mem
                | Kind::r8_reg
                | Kind::r16_reg
                | Kind::r16_reg_mem
                | Kind::r16_rm
                | Kind::r32_reg
                | Kind::r32_reg_mem
                | Kind::r32_rm
                | Kind::r64_reg
                | Kind::r64_reg_mem
                | Kind::r64_rm
                | Kind::seg_reg
                | Kind::mm_reg
                | Kind::mm_rm
                | Kind::xmm_reg
                | Kind::xmm_rm
                | Kind::ymm_reg
                | Kind::ymm_rm
                | Kind::cr_reg
                | Kind::dr_reg
                | Kind::tr_reg
        )
}
