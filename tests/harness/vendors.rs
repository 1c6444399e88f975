//! Where two processors may rightly do different things: estimates, last places, what is kept of the x87 unit. The one
//! table of such differences, with the reason of each; generated cases and rows are held against the host by it.
//!
//! Beside what stands here, flags are not compared that the manual leaves undefined, which the decoder's tables name. What
//! stands here and never differs on this host fails no test: it may on another.

use iced_x86::{Instruction, Mnemonic};

use crate::{
    Mode,
    generate::uses_mmx,
    known::{Who, codes, names},
};

/// Which instructions a row speaks of.
#[derive(Clone, Copy, Debug)]
pub enum Whose {
    /// These.
    These(&'static [Who]),
    /// All that have to do with MMX registers.
    Mmx,
}

/// On which hosts, beside a model of Intel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// On any, processors of Intel's too.
    Any,
    /// On processors of other vendors.
    NotIntel,
}

/// How far two processors may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// It is not compared.
    Open,
    /// It is not compared where the instruction faults.
    OpenAfterFault,
    /// One unit in the last place of an extended number: what the manual grants transcendental instructions.
    LastPlace,
    /// 1.5 * 2^-12 of its magnitude: what the manual grants the estimates of single-precision numbers.
    Estimate,
}

/// One row of the table.
#[derive(Debug)]
pub struct Allowance {
    /// Whose.
    pub who: Whose,
    /// What: a register, or a part of one, or memory, as failures name it; an asterisk at the end stands for anything.
    pub what: &'static [&'static str],
    /// In which modes.
    pub modes: &'static [Mode],
    /// On which hosts.
    pub hosts: Hosts,
    /// How far.
    pub extent: Extent,
    /// Why.
    pub reason: &'static str,
}

const ALL: &[Mode] = &Mode::ALL;
const NOT_64: &[Mode] = &[Mode::Comp16, Mode::Comp32];
const TRANSCENDENTAL: Whose = Whose::These(names!(F2xm1 Fyl2x Fyl2xp1 Fsin Fcos Fsincos Fptan Fpatan));

/// The table.
#[rustfmt::skip] // a table
pub const ALLOWANCES: &[Allowance] = &[
    Allowance { who: Whose::These(names!(Rcpps Rcpss Rsqrtps Rsqrtss Vrcpps Vrcpss Vrsqrtps Vrsqrtss)),
        what: &["ymm*"], modes: ALL, hosts: Hosts::Any, extent: Extent::Estimate,
        reason: "an estimate: the manual bounds its error, and every design of processor has tables of its own" },
    Allowance { who: TRANSCENDENTAL,
        what: &["x87 register *"], modes: ALL, hosts: Hosts::Any, extent: Extent::LastPlace,
        reason: "the manual grants transcendental instructions an error of one unit in the last place" },
    Allowance { who: TRANSCENDENTAL,
        what: &["c1"], modes: ALL, hosts: Hosts::Any, extent: Extent::Open,
        reason: "it says in which direction was rounded, which goes with the last place" },
    Allowance { who: Whose::These(names!(Fcomi Fcomip Fucomi Fucomip Ffree Ffreep
                                         Fcmovb Fcmove Fcmovbe Fcmovu Fcmovnb Fcmovne Fcmovnbe Fcmovnu)),
        what: &["c1"], modes: ALL, hosts: Hosts::NotIntel, extent: Extent::Open,
        reason: "by Intel's manual it is cleared, or left; other vendors do the other" },
    Allowance { who: Whose::These(&[Who::Any]),
        what: &["fip"], modes: ALL, hosts: Hosts::NotIntel, extent: Extent::Open,
        reason: "AMD's processors keep the pointers of the x87 unit only while an exception is pending" },
    Allowance { who: Whose::These(names!(Fxrstor Fxrstor64)),
        what: &["fip"], modes: ALL, hosts: Hosts::Any, extent: Extent::Open,
        reason: "how many bits of the pointer are kept is the processor's own affair" },
    Allowance { who: Whose::These(&[Who::Any]),
        what: &["fs.base", "gs.base"], modes: NOT_64, hosts: Hosts::NotIntel, extent: Extent::Open,
        reason: "outside 64-bit mode, what a null selector hides is kept or cleared, by vendor" },
    Allowance { who: Whose::These(codes!(Mov_Sreg_rm16 Mov_Sreg_r32m16 Mov_Sreg_r64m16 Popw_FS Popw_GS Popd_FS Popd_GS Popq_FS Popq_GS
                                         Lfs_r16_m1616 Lfs_r32_m1632 Lfs_r64_m1664 Lgs_r16_m1616 Lgs_r32_m1632 Lgs_r64_m1664)),
        what: &["fs.base", "gs.base"], modes: &[Mode::Long64], hosts: Hosts::NotIntel, extent: Extent::Open,
        reason: "AMD's processors keep the base when a null selector is loaded" },
    Allowance { who: Whose::Mmx,
        what: &["top", "ftw"], modes: ALL, hosts: Hosts::Any, extent: Extent::OpenAfterFault,
        reason: "some processors have made the x87 stack into MMX registers when the fault comes" },
    Allowance { who: Whose::These(names!(Call Fbstp Fstp Fnsave Frstor Fldenv Fnstenv Fxsave Fxsave64 Fxrstor Fxrstor64
                                         Maskmovq Maskmovdqu Vmaskmovdqu)),
        what: &["memory *"], modes: ALL, hosts: Hosts::Any, extent: Extent::OpenAfterFault,
        reason: "processors write a part before they find that they must not write the rest" },
];

impl Whose {
    /// Whether `insn` is meant.
    pub fn is(self, insn: &Instruction) -> bool {
        match self {
            Self::These(list) => list.iter().any(|who| who.is(insn.code())),
            Self::Mmx => uses_mmx(insn),
        }
    }
}

impl std::fmt::Display for Whose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Mmx => f.write_str("instructions with MMX registers"),
            Self::These(list) => f.write_str(&crate::known::listed(list)),
        }
    }
}

impl std::fmt::Display for Extent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Open => "not compared",
            Self::OpenAfterFault => "not compared after a fault",
            Self::LastPlace => "one unit in the last place",
            Self::Estimate => "1.5 * 2^-12 of the magnitude",
        })
    }
}

impl Allowance {
    /// Whether it applies to `insn` in `mode` on a processor of `vendor`.
    fn applies(&self, insn: &Instruction, mode: Mode, vendor: &str) -> bool {
        self.who.is(insn) && self.modes.contains(&mode) && (self.hosts == Hosts::Any || vendor != "GenuineIntel")
    }
}

/// Whether `what` is left open after `insn` in `mode` on a processor of `vendor`.
pub fn is_open(insn: &Instruction, mode: Mode, vendor: &str, is_fault: bool, what: &str) -> bool {
    let is_meant = |row: &Allowance| row.what.iter().any(|pattern| crate::known::matches(pattern, what));
    let is_open = |row: &Allowance| row.extent == Extent::Open || row.extent == Extent::OpenAfterFault && is_fault;
    ALLOWANCES.iter().any(|row| is_open(row) && is_meant(row) && row.applies(insn, mode, vendor))
}

/// How far numbers that `mnemonic` computes may be from another processor's: [`Extent::LastPlace`], [`Extent::Estimate`], or
/// nothing where not at all.
pub fn nearness(mnemonic: Mnemonic) -> Option<Extent> {
    let is_number = |row: &&Allowance| matches!(row.extent, Extent::LastPlace | Extent::Estimate);
    let names = |row: &&Allowance| matches!(row.who, Whose::These(list) if list.contains(&Who::Name(mnemonic)));
    ALLOWANCES.iter().filter(is_number).find(names).map(|row| row.extent)
}

#[cfg(test)]
mod tests {
    use iced_x86::{Code, Decoder, DecoderOptions};

    use super::*;

    #[test]
    fn what_is_open_depends_on_instruction_mode_and_vendor() {
        let insn = |bytes: &[u8]| Decoder::new(64, bytes, DecoderOptions::NONE).decode();
        let (fadd, fsin, movq) = (insn(&[0xd8, 0xc1]), insn(&[0xd9, 0xfe]), insn(&[0x0f, 0x6f, 0x07]));
        assert_eq!((fadd.code(), movq.code()), (Code::Fadd_st0_sti, Code::Movq_mm_mmm64));
        let is_open = |insn, vendor, what| is_open(insn, Mode::Long64, vendor, false, what);
        assert!(is_open(&fadd, "AuthenticAMD", "fip") && !is_open(&fadd, "GenuineIntel", "fip"));
        assert!(is_open(&fsin, "GenuineIntel", "c1") && !is_open(&fadd, "AuthenticAMD", "c1"));
        assert!(!is_open(&fadd, "AuthenticAMD", "fs.base"));
        assert!(super::is_open(&fadd, Mode::Comp32, "AuthenticAMD", false, "fs.base"));
        assert!(super::is_open(&movq, Mode::Long64, "GenuineIntel", true, "top") && !is_open(&movq, "GenuineIntel", "top"));
        assert_eq!(nearness(Mnemonic::Fsin), Some(Extent::LastPlace));
        assert_eq!(nearness(Mnemonic::Rcpps), Some(Extent::Estimate));
        assert_eq!(nearness(Mnemonic::Addps), None);
    }
}
