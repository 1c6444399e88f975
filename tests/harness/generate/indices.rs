//! Gathers: indices in a vector register such that every element lies in the memory of the case.

use iced_x86::{Instruction, Mnemonic, Register};

use super::{Generator, case::Style};
use crate::case::Case;

/// How far from where index zero leads elements are, in bytes.
pub(super) const SPREAD: u64 = 192;
/// An index that leads there is beyond what is mapped, and eight times as much is no address that wraps.
const FAR: u64 = 1 << 23;

impl Generator {
    /// Fills the register that holds the indices of `insn`'s memory operand. Now and then, some of them lead far beyond all
    /// memory of a case.
    pub(super) fn set_indices(&mut self, case: &mut Case, insn: &Instruction) {
        let reach = SPREAD / u64::from(insn.memory_index_scale());
        let is_wild = self.style == Style::Any && self.random.one_in(16);
        let random = &mut self.random;
        let mut index = || {
            let near = random.below(2 * reach).wrapping_sub(reach);
            if !(is_wild && random.one_in(4)) {
                return near;
            }
            let far = FAR + random.below(FAR);
            if random.one_in(2) { far } else { far.wrapping_neg() }
        };
        case.registers.vectors[insn.memory_index().number()] =
            std::array::from_fn(|_| if insn.vsib() == Some(true) { index() } else { index() & 0xffff_ffff | index() << 32 });
    }
}

/// The register that says which elements of memory are touched, where one does.
pub(super) fn mask_register(insn: &Instruction) -> Option<Register> {
    use Mnemonic as M;
    match insn.mnemonic() {
        M::Vmaskmovps | M::Vmaskmovpd | M::Vpmaskmovd | M::Vpmaskmovq => Some(insn.op1_register()),
        _ if insn.is_vsib() => Some(insn.op2_register()),
        _ => None,
    }
}
