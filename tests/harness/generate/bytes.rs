//! Instructions that nobody has in mind: random bytes, such that prefixes, escapes and VEX are frequent.

use std::collections::BTreeMap;

use dragoman_frontend::model::CpuModel;
use iced_x86::{Code, Decoder, DecoderOptions};

use super::{Generated, Generator, Random, exempt, values};
use crate::{Mode, layout::CODE, native::Host};

/// The longest instruction.
const LONGEST: usize = 15;
const PREFIXES: [u8; 11] = [0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];

/// Why bytes were not made a case, each reason with how often.
pub type LeftOut = BTreeMap<String, u64>;

/// As many bytes as the longest instruction has, and one, so that too long ones come up.
fn bytes(random: &mut Random, mode: Mode) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(LONGEST + 8);
    let mut prefixes = if random.one_in(64) { 10 + random.below(6) } else { 0 };
    while random.one_in(2) && prefixes < 4 {
        prefixes += 1;
    }
    bytes.extend((0..prefixes).map(|_| random.pick(&PREFIXES)));
    if mode == Mode::Long64 && random.one_in(2) {
        bytes.push(0x40 | random.bits() as u8 & 0xf);
    }
    match random.below(16) {
        0..=3 => {}
        4..=7 => bytes.push(0x0f),
        8..=9 => bytes.extend([0x0f, 0x38]),
        10 => bytes.extend([0x0f, 0x3a]),
        11..=12 => bytes.push(0xc5),
        13..=14 => {
            bytes.extend([0xc4, random.bits() as u8 & 0xe0 | if random.one_in(8) { 0 } else { 1 + random.below(3) as u8 }])
        }
        _ => bytes.push(random.pick(&[0x62, 0x8f, 0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf])),
    }
    bytes.extend(random.bits().to_le_bytes().into_iter().take(3));
    while bytes.len() <= LONGEST {
        bytes.extend(&values::integer(random).to_le_bytes()[..1 + random.below(4) as usize]);
    }
    bytes.truncate(LONGEST + 1);
    bytes
}

impl Generator {
    /// Adds to `list` a case of random bytes in `mode`, or to `left_out` why they are none.
    ///
    /// Left out are encodings that the host may have and `model` does not, and what the host's kernel answers; bytes that
    /// the decoder takes for no instruction are a case.
    pub fn make_from_bytes(
        &mut self,
        mode: Mode,
        (model, host): (&CpuModel, &Host),
        list: &mut Vec<Generated>,
        left_out: &mut LeftOut,
    ) {
        let ip = if mode.is_segmented() { 0 } else { CODE };
        let mut bytes = bytes(&mut self.random, mode);
        let insn = Decoder::with_ip(mode.bitness(), &bytes, ip, DecoderOptions::NONE).decode();
        let mut leave_out = |why: String| *left_out.entry(why).or_default() += 1;
        if !insn.is_invalid() {
            bytes.truncate(insn.len());
            let features: Vec<_> = insn.code().cpuid_features().iter().map(|feature| format!("{feature:?}")).collect();
            if !model.has_code(insn.code()) {
                return leave_out(format!("the model has no {}", features.join("+")));
            }
            if !host.has_code(insn.code()) {
                return leave_out(format!("the host has no {}", features.join("+")));
            }
            if let Some(why) = exempt(insn.code()) {
                return leave_out(why.to_owned());
            }
        } else if calls_kernel(mode, &bytes) {
            return leave_out("would enter the host's kernel, were it decoded otherwise".to_owned());
        }
        match self.case(mode, &bytes, insn) {
            Some(generated) => list.push(generated),
            None => leave_out("it would not come to an end, or cannot be given its operands".to_owned()),
        }
    }
}

/// Whether a decoder that starts anywhere in `bytes` finds a system call there.
fn calls_kernel(mode: Mode, bytes: &[u8]) -> bool {
    (0..bytes.len()).any(|from| {
        let insn = Decoder::new(mode.bitness(), &bytes[from..], DecoderOptions::NONE).decode();
        matches!(insn.code(), Code::Syscall | Code::Sysenter) || insn.code() == Code::Int_imm8 && insn.immediate8() == 0x80
    })
}
