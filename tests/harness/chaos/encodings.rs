//! A stock of valid encodings for each size of code, made once: what random code is composed of. Where displacement and
//! immediate lie is known of each, so that they can be given other values.

use std::sync::OnceLock;

use dragoman_frontend::model::CpuModel;
use iced_x86::{Code, Decoder, DecoderOptions, EncodingKind, FlowControl, Instruction, OpKind, Register};

use crate::{
    Mode,
    generate::{Form, Random},
};

/// What the stock is made from: always the same, so that a recipe means the same to everybody.
const SEED: u64 = 0x6472_6167_6f6d_616e;
/// How many encodings there are of each form that the processor has.
const VARIANTS: usize = 3;
/// How many there are of those that do more than compute.
const VARIANTS_OF_SYSTEM: usize = 12;

/// What the displacement of a memory operand is added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// Nothing: it is an address.
    Nothing,
    /// A register.
    Register,
    /// The address of the next instruction.
    Rip,
}

/// What an immediate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A number.
    Number,
    /// The distance of a jump.
    Distance,
    /// An offset, and behind it a selector.
    FarPointer,
}

/// A stretch of an instruction's bytes: where it begins, and how long it is; zero where there is none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    /// Index of the first byte.
    pub at: usize,
    /// How many bytes.
    pub size: usize,
}

/// One encoding.
#[derive(Clone, Debug)]
pub struct Encoding {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The displacement.
    pub displacement: Span,
    /// What the displacement is added to.
    pub anchor: Anchor,
    /// The immediate.
    pub immediate: Span,
    /// What the immediate is for.
    pub purpose: Purpose,
}

/// The stock for code of `mode`'s size.
pub fn stock(mode: Mode) -> &'static [Encoding] {
    static STOCK: [OnceLock<Vec<Encoding>>; 3] = [const { OnceLock::new() }; 3];
    let (n, like) = match mode.bitness() {
        16 => (0, Mode::Real16),
        32 => (1, Mode::Prot32),
        _ => (2, Mode::Long64),
    };
    STOCK[n].get_or_init(|| make(like))
}

fn make(mode: Mode) -> Vec<Encoding> {
    let (mut random, model) = (Random::new(SEED), CpuModel::most());
    let is_there =
        |code: &Code| code.op_code().is_instruction() && code.encoding() == EncodingKind::Legacy && model.has_code(*code);
    let mut stock = Vec::new();
    for form in Code::values().filter(is_there).map(Form::of).filter(|form| form.exists_in(mode)) {
        for _ in 0..if is_more_than_computing(form.code()) { VARIANTS_OF_SYSTEM } else { VARIANTS } {
            stock.extend(form.make(&mut random, mode, 0).map(|(bytes, insn)| Encoding::new(mode, bytes, &insn)));
        }
    }
    stock
}

/// Whether it branches, changes what only privileged code may, or touches segments or ports.
fn is_more_than_computing(code: Code) -> bool {
    let info = code.op_code();
    let has_system_register = info.op_kinds().iter().any(|kind| {
        use iced_x86::OpCodeOperandKind as K;
        matches!(kind, K::cr_reg | K::dr_reg | K::seg_reg | K::seg_rSI | K::es_rDI)
    });
    info.is_privileged() || has_system_register || code.flow_control() != FlowControl::Next
}

impl Encoding {
    fn new(mode: Mode, bytes: Vec<u8>, insn: &Instruction) -> Self {
        let mut decoder = Decoder::new(mode.bitness(), &bytes, DecoderOptions::NONE);
        let decoded = decoder.decode();
        let offsets = decoder.get_constant_offsets(&decoded);
        let anchor = match (insn.memory_base(), insn.memory_index()) {
            (Register::RIP | Register::EIP, _) => Anchor::Rip,
            (Register::None, Register::None) => Anchor::Nothing,
            _ => Anchor::Register,
        };
        let purpose = match insn.op0_kind() {
            OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64 => Purpose::Distance,
            OpKind::FarBranch16 | OpKind::FarBranch32 => Purpose::FarPointer,
            _ => Purpose::Number,
        };
        Self {
            displacement: Span { at: offsets.displacement_offset(), size: offsets.displacement_size() },
            immediate: Span { at: offsets.immediate_offset(), size: offsets.immediate_size() },
            bytes,
            anchor,
            purpose,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_stock_of_every_size_of_code() {
        for mode in [Mode::Real16, Mode::Prot32, Mode::Long64] {
            let stock = stock(mode);
            assert!(stock.len() > 3000, "{mode}: {}", stock.len());
            for encoding in stock {
                let [one] = mode.instructions(&encoding.bytes)[..] else { panic!("{encoding:?} is not one instruction") };
                assert!(!one.is_invalid(), "{encoding:?}");
                assert!(encoding.immediate.at + encoding.immediate.size <= encoding.bytes.len(), "{encoding:?}");
                assert!(encoding.displacement.at + encoding.displacement.size <= encoding.bytes.len(), "{encoding:?}");
            }
        }
    }
}
