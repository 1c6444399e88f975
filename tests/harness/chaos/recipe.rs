//! What a case is made from: a few choices, and a number that everything else follows from.

use std::fmt;

use crate::{Mode, generate::Random};

/// How memory is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageScheme {
    /// Not at all.
    None,
    /// 32-bit paging, 4 KiB pages.
    Bits32,
    /// 32-bit paging with pages of 4 MiB.
    Pse,
    /// PAE paging.
    Pae,
    /// 4-level paging.
    Level4,
    /// 5-level paging.
    Level5,
}

impl PageScheme {
    /// The schemes that are possible in `mode`.
    pub const fn possible(mode: Mode) -> &'static [Self] {
        match mode {
            Mode::Real16 => &[Self::None],
            Mode::Vm86 | Mode::Prot16 | Mode::Prot32 => &[Self::None, Self::Bits32, Self::Pse, Self::Pae],
            Mode::Comp16 | Mode::Comp32 | Mode::Long64 => &[Self::Level4, Self::Level5],
        }
    }
}

/// How a case is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// One instruction at a time, with interrupts from outside, looking at the state after each.
    Steps,
    /// Twice: in steps, and in one go. Both must come to the same.
    Blocks,
    /// Twice, one instruction at a time: on one engine, and moving from one to another. Both must come to the same.
    Moves,
}

/// What a case is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// What everything else follows from.
    pub seed: u64,
    /// The mode that guests start in.
    pub mode: Mode,
    /// The privilege level that they start at.
    pub cpl: u8,
    /// How their memory is translated.
    pub paging: PageScheme,
    /// How they are run.
    pub manner: Manner,
    /// The code, where it is given.
    pub code: Option<Vec<u8>>,
}

/// How many of a fuzzer's bytes are choices; the others are code.
const HEAD: usize = 12;

impl Recipe {
    /// The recipe that `seed` stands for.
    pub fn from_seed(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mode = random.pick(&Mode::ALL);
        let cpl = random.pick(&[0, 0, 0, 3, 3, 3, 1, 2]);
        let paging = random.pick(PageScheme::possible(mode));
        let manner = random.pick(&[
            Manner::Steps,
            Manner::Steps,
            Manner::Steps,
            Manner::Blocks,
            Manner::Blocks,
            Manner::Blocks,
            Manner::Moves,
        ]);
        Self::new(seed, mode, cpl, paging, manner, None)
    }

    /// The recipe that a fuzzer's bytes stand for: choices, and code.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut head = [0; HEAD];
        let given = bytes.len().min(HEAD);
        head[..given].copy_from_slice(&bytes[..given]);
        let [mode, cpl, paging, manner, seed @ ..] = head;
        let mode = Mode::ALL[usize::from(mode) % Mode::ALL.len()];
        let possible = PageScheme::possible(mode);
        let manner = match manner & 3 {
            0 => Manner::Steps,
            2 => Manner::Moves,
            _ => Manner::Blocks,
        };
        let paging = possible[usize::from(paging) % possible.len()];
        Self::new(u64::from_le_bytes(seed), mode, cpl & 3, paging, manner, Some(bytes[given..].to_vec()))
    }

    fn new(seed: u64, mode: Mode, cpl: u8, paging: PageScheme, manner: Manner, code: Option<Vec<u8>>) -> Self {
        let cpl = match mode {
            Mode::Real16 | Mode::Vm86 => mode.default_cpl(),
            Mode::Prot16 | Mode::Prot32 | Mode::Comp16 | Mode::Comp32 | Mode::Long64 => cpl,
        };
        Self { seed, mode, cpl, paging, manner, code }
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, mode, cpl, paging, manner, code } = self;
        write!(f, "case {seed:#018x}: {mode}/cpl{cpl}, paging {paging:?}, in {manner:?}")?;
        match code {
            Some(code) => write!(f, ", {} bytes of code given", code.len()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fuzzers_bytes_are_choices_and_code() {
        let recipe = Recipe::from_bytes(&[6, 3, 1, 1, 9, 0, 0, 0, 0, 0, 0, 0, 0x90, 0xf4]);
        assert_eq!((recipe.mode, recipe.cpl, recipe.paging), (Mode::Long64, 3, PageScheme::Level5));
        assert_eq!((recipe.manner, recipe.seed), (Manner::Blocks, 9));
        assert_eq!(recipe.code.as_deref(), Some(&[0x90, 0xf4][..]));
        assert_eq!(Recipe::from_bytes(&[]).code.as_deref(), Some(&[][..]));
    }

    #[test]
    fn seeds_come_to_every_mode_and_scheme() {
        let recipes: Vec<_> = (0..400).map(Recipe::from_seed).collect();
        for mode in Mode::ALL {
            for scheme in PageScheme::possible(mode) {
                assert!(recipes.iter().any(|recipe| recipe.mode == mode && recipe.paging == *scheme), "{mode} {scheme:?}");
            }
        }
    }
}
