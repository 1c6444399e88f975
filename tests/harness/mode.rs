//! The modes that a row can be judged in, and what follows from each for its registers.

use dragoman_frontend::decode::CodeSize;
use iced_x86::{Decoder, DecoderOptions, Instruction};

/// A mode of the processor, as the first field of a row names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Mode {
    /// Real-address mode.
    Real16,
    /// Virtual-8086 mode.
    Vm86,
    /// Protected mode with 16-bit segments.
    Prot16,
    /// Protected mode with flat 32-bit segments.
    Prot32,
    /// Compatibility mode with 16-bit segments.
    Comp16,
    /// Compatibility mode with flat 32-bit segments.
    Comp32,
    /// 64-bit mode.
    Long64,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 7] = [Self::Real16, Self::Vm86, Self::Prot16, Self::Prot32, Self::Comp16, Self::Comp32, Self::Long64];

    /// The name in rows.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Real16 => "real16",
            Self::Vm86 => "vm86",
            Self::Prot16 => "prot16",
            Self::Prot32 => "prot32",
            Self::Comp16 => "comp16",
            Self::Comp32 => "comp32",
            Self::Long64 => "long64",
        }
    }

    /// The mode that rows call `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }

    /// The default operand and address size of its code.
    pub const fn code_size(self) -> CodeSize {
        match self {
            Self::Real16 | Self::Vm86 | Self::Prot16 | Self::Comp16 => CodeSize::Bits16,
            Self::Prot32 | Self::Comp32 => CodeSize::Bits32,
            Self::Long64 => CodeSize::Bits64,
        }
    }

    /// 16, 32 or 64.
    pub const fn bitness(self) -> u32 {
        match self.code_size() {
            CodeSize::Bits16 => 16,
            CodeSize::Bits32 => 32,
            CodeSize::Bits64 => 64,
        }
    }

    /// The instructions in `code`, addressed from zero, up to the first that is none; always at least one.
    pub fn instructions(self, code: &[u8]) -> Vec<Instruction> {
        let mut decoder = Decoder::new(self.bitness(), code, DecoderOptions::NONE);
        let mut list = Vec::new();
        while list.is_empty() || decoder.can_decode() && list.last().is_some_and(|last: &Instruction| !last.is_invalid()) {
            list.push(decoder.decode());
        }
        list
    }

    /// Whether the processor is in long mode: 64-bit or compatibility.
    pub const fn is_long(self) -> bool {
        matches!(self, Self::Comp16 | Self::Comp32 | Self::Long64)
    }

    /// Whether memory is reached through segments whose bases are not zero.
    pub const fn is_segmented(self) -> bool {
        matches!(self.code_size(), CodeSize::Bits16)
    }

    /// Whether segments are selectors times sixteen.
    pub const fn is_real_style(self) -> bool {
        matches!(self, Self::Real16 | Self::Vm86)
    }

    /// The privilege level of rows that name none.
    pub const fn default_cpl(self) -> u8 {
        match self {
            Self::Real16 => 0,
            Self::Vm86 | Self::Prot16 | Self::Prot32 | Self::Comp16 | Self::Comp32 | Self::Long64 => 3,
        }
    }

    /// The bits of a general-purpose register that exist.
    pub const fn register_mask(self) -> u64 {
        if matches!(self, Self::Long64) { u64::MAX } else { 0xffff_ffff }
    }

    /// How many general-purpose and vector registers there are.
    pub const fn register_count(self) -> usize {
        if matches!(self, Self::Long64) { 16 } else { 8 }
    }
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
