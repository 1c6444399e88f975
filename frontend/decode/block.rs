//! Code bytes to blocks.

use dragoman_state::{GuestPhys, PAGE_SIZE};
use iced_x86::{Code, Decoder as IcedDecoder, DecoderError, DecoderOptions, FlowControl, Instruction, OpKind};

use super::{Attributes, Insn, Mode, Opcode, lower::lower};
use crate::{
    fault::{Fault, vector},
    model::{CpuModel, Feature, Vendor},
};

/// The longest instruction there is; a longer one is #GP(0).
pub const MAX_INSN_BYTES: usize = 15;
/// The longest block.
pub const MAX_BLOCK_INSNS: usize = 64;

/// A straight run of instructions: one way in, and nothing after the last but what comes next in memory or where it
/// jumps. It holds no address: it may run at any linear address that maps to the bytes it was decoded from.
#[derive(Clone, Debug)]
pub struct Block {
    /// The physical address of the first byte.
    pub at: GuestPhys,
    /// The mode it was decoded in.
    pub mode: Mode,
    /// The instructions, at least one.
    pub insns: Vec<Insn>,
    /// Length in bytes.
    pub length: u16,
}

/// Why no block could be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The first instruction runs past the bytes given: the next page's are needed.
    NeedsMoreBytes,
}

/// Decodes blocks for one kind of processor.
pub struct Decoder {
    attributes: Box<[Attributes]>,
    options: u32,
}

impl Decoder {
    /// A decoder for `model`, which refuses what `attributes`, a row for each [`Opcode`], say must be refused.
    pub fn new(model: &CpuModel, attributes: Box<[Attributes]>) -> Self {
        assert_eq!(attributes.len(), Opcode::COUNT, "a row for each opcode");
        Self { attributes, options: options(model) }
    }

    /// Decodes a block from `bytes`, which lie at `at` and end where their page does, or after enough bytes of the next
    /// one for a single instruction. At most `limit` instructions.
    pub fn decode(&self, at: GuestPhys, bytes: &[u8], mode: Mode, limit: usize) -> Result<Block, DecodeError> {
        self.decode_each(at, bytes, mode, limit, |_, _| true)
    }

    /// The same, with each instruction in the decoder's own form too: what a host of the same instruction set needs to be
    /// given it again. Addresses in it are offsets from the block's first byte. A conditional branch forward within a page's
    /// length does not end the block: it is a way out of its middle.
    pub fn decode_for_rewriting(
        &self,
        at: GuestPhys,
        bytes: &[u8],
        mode: Mode,
        limit: usize,
    ) -> Result<(Block, Vec<Instruction>), DecodeError> {
        let mut originals = Vec::with_capacity(8);
        let block = self.decode_each(at, bytes, mode, limit, |decoded, insn| {
            originals.push(*decoded);
            let is_refused = insn.opcode != Opcode::of(decoded.code());
            let (is_branch, ahead) = match decoded.op0_kind() {
                OpKind::NearBranch64 => (true, decoded.near_branch64().wrapping_sub(decoded.next_ip())),
                OpKind::NearBranch32 => (true, decoded.near_branch32().wrapping_sub(decoded.next_ip32()).into()),
                _ => (false, 0),
            };
            let is_branch = is_branch && decoded.is_jcc_short_or_near();
            is_refused || !is_branch || ahead >= PAGE_SIZE
        })?;
        Ok((block, originals))
    }

    #[inline(always)]
    fn decode_each(
        &self,
        at: GuestPhys,
        bytes: &[u8],
        mode: Mode,
        limit: usize,
        mut ends_with: impl FnMut(&Instruction, &Insn) -> bool,
    ) -> Result<Block, DecodeError> {
        let mut iced = IcedDecoder::with_ip(mode.code_size().bits(), bytes, 0, self.options);
        let mut block = Block { at, mode, insns: Vec::with_capacity(8), length: 0 };
        let mut decoded = Instruction::default();
        while block.insns.len() < limit.clamp(1, MAX_BLOCK_INSNS) {
            let start = iced.position();
            iced.decode_out(&mut decoded);
            if iced.last_error() == DecoderError::NoMoreBytes && bytes.len() - start < MAX_INSN_BYTES {
                if block.insns.is_empty() {
                    return Err(DecodeError::NeedsMoreBytes);
                }
                break;
            }
            let is_too_long =
                iced.last_error() != DecoderError::None && self.is_too_long(mode.code_size().bits(), &bytes[start..]);
            let (mut insn, ends) = self.admit(&decoded, is_too_long, mode);
            if self.attributes[insn.opcode.index()].contains(Attributes::X87) {
                insn.immediate = x87_opcode(&bytes[start..start + decoded.len()]);
            }
            block.length = insn.end() as u16;
            let ends_here = ends_with(&decoded, &insn);
            block.insns.push(insn);
            if ends && ends_here {
                break;
            }
        }
        Ok(block)
    }

    /// Whether the instruction at the start of `bytes`, of which there are enough, is longer than any may be. The decoder
    /// calls that invalid, as it calls what means nothing; without the prefixes that do not change an instruction's length
    /// it fits.
    fn is_too_long(&self, bitness: u32, bytes: &[u8]) -> bool {
        const PREFIXES: [u8; 11] = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3];
        let is_rex = |byte: &u8| bitness == 64 && matches!(byte, 0x40..=0x4f);
        let mut count = bytes.iter().take_while(|byte| PREFIXES.contains(byte) || is_rex(byte)).count();
        if count >= MAX_INSN_BYTES {
            return true;
        }
        // A REX prefix counts only where it is the last.
        if bytes[..count].last().is_some_and(is_rex) {
            count -= 1;
        }
        let (prefixes, rest) = bytes.split_at(count);
        // Sizes of operand and address, and the last of the two that choose among opcodes.
        let sizes = [0x66, 0x67].into_iter().filter(|byte| prefixes.contains(byte));
        let chooser = prefixes.iter().rev().find(|byte| matches!(byte, 0xf2 | 0xf3)).copied();
        let kept: Vec<u8> = sizes.chain(chooser).collect();
        let shorter = [&kept, &rest[..rest.len().min(MAX_INSN_BYTES)]].concat();
        let length = IcedDecoder::with_ip(bitness, &shorter, 0, self.options).decode().len();
        length - kept.len() + count > MAX_INSN_BYTES
    }

    /// The instruction itself, or what stands in its place where it must not run, and whether the block ends with it.
    fn admit(&self, decoded: &Instruction, is_too_long: bool, mode: Mode) -> (Insn, bool) {
        let mut insn = lower(decoded, mode);
        let refusal = match decoded.code() {
            _ if is_too_long => Some(Fault::GP0),
            Code::INVALID => Some(Fault::UD),
            _ => self.attributes[insn.opcode.index()].refuse(mode),
        };
        let Some(fault) = refusal else {
            let ends = decoded.flow_control() != FlowControl::Next
                || insn.is_repeated() && decoded.is_string_instruction()
                || self.attributes[insn.opcode.index()].contains(Attributes::ENDS_BLOCK);
            return (insn, ends);
        };
        insn.opcode = match fault.vector() {
            vector::UD => Opcode::UNDEFINED,
            vector::NM => Opcode::NO_MATH,
            _ => Opcode::PROTECTION,
        };
        insn.length = insn.length.max(1);
        (insn, true)
    }
}

/// Encodings that mean something else on processors that lack a feature.
fn options(model: &CpuModel) -> u32 {
    let mut options = DecoderOptions::NO_WBNOINVD;
    if !model.has(Feature::Bmi1) {
        options |= DecoderOptions::NO_MPFX_0FBC; // TZCNT is BSF
    }
    if !model.has(Feature::Abm) {
        options |= DecoderOptions::NO_MPFX_0FBD; // LZCNT is BSR
    }
    if model.vendor() == Vendor::Amd {
        options |= DecoderOptions::AMD;
    }
    options
}

/// What the x87 unit remembers as the opcode of its last instruction: the low three bits of the escape byte, and the byte
/// after it.
fn x87_opcode(insn: &[u8]) -> u64 {
    let escape = insn.windows(2).find(|pair| (0xd8..=0xdf).contains(&pair[0]));
    escape.map_or(0, |pair| u64::from(pair[0] & 7) << 8 | u64::from(pair[1]))
}
