//! VEX prefixes: fields that an encoding fixes as it has them, all others random. SDM: vol. 2 §2.3.5.

use iced_x86::{MandatoryPrefix, OpCodeInfo, OpCodeOperandKind as Kind, OpCodeTableKind};

use super::Random;
use crate::Mode;

/// The escape bytes, of the form with three bytes and of that with two.
pub const THREE: u8 = 0xc4;
/// See [`THREE`].
pub const TWO: u8 = 0xc5;

/// The fields of a prefix, none of them inverted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    /// The upper bit of ModR/M.reg.
    pub r: bool,
    /// The upper bit of SIB.index.
    pub x: bool,
    /// The upper bit of ModR/M.rm or SIB.base.
    pub b: bool,
    /// The opcode map.
    pub map: u8,
    /// W.
    pub w: bool,
    /// The register in vvvv.
    pub vvvv: u8,
    /// L.
    pub l: bool,
    /// The prefix that is part of the opcode.
    pub pp: u8,
}

impl Fields {
    /// Whether the form of two bytes can say it.
    pub const fn fits_two_bytes(self) -> bool {
        self.map == 1 && !self.w && !self.x && !self.b
    }

    /// The form of three bytes.
    pub fn three_bytes(self) -> [u8; 3] {
        let bit = |is_set: bool, n: u8| u8::from(is_set) << n;
        [
            THREE,
            bit(!self.r, 7) | bit(!self.x, 6) | bit(!self.b, 5) | self.map,
            bit(self.w, 7) | (!self.vvvv & 0xf) << 3 | bit(self.l, 2) | self.pp,
        ]
    }

    /// The form of two bytes.
    pub fn two_bytes(self) -> [u8; 2] {
        let [_, first, second] = self.three_bytes();
        [TWO, first & 0x80 | second & 0x7f]
    }
}

/// A prefix for the encoding `info` in `mode`.
pub fn prefix(info: &OpCodeInfo, random: &mut Random, mode: Mode) -> Vec<u8> {
    let is_long = mode == Mode::Long64;
    let has_vvvv = info.op_kinds().iter().any(|kind| is_vvvv(*kind));
    let fields = Fields {
        // Elsewhere these two tell VEX from LDS and LES.
        r: is_long && random.one_in(2),
        x: is_long && random.one_in(3),
        // Outside 64-bit mode it is there, and counts for nothing.
        b: random.one_in(if is_long { 3 } else { 8 }),
        map: match info.table() {
            OpCodeTableKind::T0F38 => 2,
            OpCodeTableKind::T0F3A => 3,
            _ => 1,
        },
        w: if info.is_wig() || info.is_wig32() && !is_long { random.one_in(2) } else { info.w() != 0 },
        vvvv: match () {
            () if !has_vvvv => 0,
            () if is_long => random.below(16) as u8,
            () => random.below(8) as u8 | u8::from(random.one_in(8)) << 3,
        },
        l: if info.is_lig() { random.one_in(2) } else { info.l() != 0 },
        pp: match info.mandatory_prefix() {
            MandatoryPrefix::None | MandatoryPrefix::PNP => 0,
            MandatoryPrefix::P66 => 1,
            MandatoryPrefix::PF3 => 2,
            MandatoryPrefix::PF2 => 3,
        },
    };
    // There the uppermost bit of vvvv is one of those that tell it from LDS.
    if fields.fits_two_bytes() && (is_long || fields.vvvv < 8) && random.one_in(2) {
        fields.two_bytes().to_vec()
    } else {
        fields.three_bytes().to_vec()
    }
}

/// Whether an operand of this kind is the register in vvvv.
fn is_vvvv(kind: Kind) -> bool {
    matches!(kind, Kind::r32_vvvv | Kind::r64_vvvv | Kind::xmm_vvvv | Kind::ymm_vvvv)
}

#[cfg(test)]
mod tests {
    use iced_x86::{Code, Decoder, DecoderOptions, EncodingKind, Register};

    use super::*;
    use crate::generate::Form;

    #[test]
    fn both_forms_say_the_same() {
        let fields = Fields { r: true, x: false, b: false, map: 1, w: false, vvvv: 9, l: true, pp: 1 };
        for prefix in [fields.two_bytes().to_vec(), fields.three_bytes().to_vec()] {
            let bytes = [&prefix[..], &[0xfe, 0xca]].concat();
            let insn = Decoder::new(64, &bytes, DecoderOptions::NONE).decode();
            assert_eq!(insn.code(), Code::VEX_Vpaddd_ymm_ymm_ymmm256);
            assert_eq!([0, 1, 2].map(|n| insn.op_register(n)), [Register::YMM9, Register::YMM9, Register::YMM2]);
        }
    }

    #[test]
    fn every_encoding_of_avx2_can_be_made_in_every_mode_that_has_it() {
        use iced_x86::CpuidFeature as C;
        let mut random = Random::new(1);
        let known = [C::AVX, C::AVX2, C::FMA, C::F16C, C::BMI1, C::BMI2, C::VAES, C::VPCLMULQDQ, C::AES, C::PCLMULQDQ, C::X64];
        let is_known = |code: &Code| code.cpuid_features().iter().all(|feature| known.contains(feature));
        let codes = Code::values().filter(|code| code.op_code().is_instruction() && code.encoding() == EncodingKind::VEX);
        let mut count = 0;
        for code in codes.filter(is_known) {
            let form = Form::of(code);
            for mode in [Mode::Long64, Mode::Comp32, Mode::Comp16].into_iter().filter(|mode| form.exists_in(*mode)) {
                let made = form.make(&mut random, mode, 0);
                assert!(made.is_some(), "{code:?} in {mode}");
            }
            count += 1;
        }
        assert!(count > 600, "{count}");
    }
}
