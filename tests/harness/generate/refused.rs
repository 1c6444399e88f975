//! Instructions that are none: an encoding with a prefix that it must not have, or with a field that it reserves.

use iced_x86::{Decoder, DecoderOptions, EncodingKind};

use super::{
    Generated, Random,
    vex::{THREE, TWO},
};
use crate::{Mode, layout::HLT};

/// The longest instruction.
const LONGEST: usize = 15;
const LOCK: u8 = 0xf0;
/// What VEX must not follow; the last one is REX, in 64-bit mode.
const BEFORE_VEX: [u8; 5] = [LOCK, 0x66, 0xf2, 0xf3, 0x48];
/// How often another change is tried.
const ATTEMPTS: usize = 4;

/// Makes the instruction of `generated` invalid, where a small change does.
pub fn refuse(random: &mut Random, generated: &mut Generated) {
    let mode = generated.case.mode;
    for _ in 0..ATTEMPTS {
        let mut bytes = generated.case.code().to_vec();
        if generated.code.encoding() == EncodingKind::VEX {
            spoil_vex(random, mode, &mut bytes);
        } else {
            bytes.insert(0, LOCK);
        }
        // What is longer now goes on with what lies behind it.
        let padded = [&bytes[..], &[HLT; LONGEST]].concat();
        let insn = Decoder::with_ip(mode.bitness(), &padded, generated.insn.ip(), DecoderOptions::NONE).decode();
        if insn.is_invalid() && bytes.len() <= LONGEST {
            generated.case.set_code(&bytes);
            generated.insn = insn;
            return;
        }
    }
}

/// Puts a prefix before VEX, or inverts a bit of its fields or of the ModR/M byte.
fn spoil_vex(random: &mut Random, mode: Mode, bytes: &mut Vec<u8>) {
    let Some(at) = bytes.iter().position(|byte| matches!(*byte, THREE | TWO)) else { return };
    if random.one_in(2) {
        let choices = if mode == Mode::Long64 { BEFORE_VEX.len() } else { BEFORE_VEX.len() - 1 };
        bytes.insert(at, random.pick(&BEFORE_VEX[..choices]));
        return;
    }
    // The fields, the opcode, ModR/M.
    let fields = if bytes[at] == THREE { 2 } else { 1 };
    let which = random.below(fields + 1);
    let which = at + 1 + which as usize + usize::from(which == fields);
    if let Some(byte) = bytes.get_mut(which) {
        *byte ^= 1 << random.below(8);
    }
}
