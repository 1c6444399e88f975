//! Addresses: registers and displacements such that memory operands lie in mapped pages.

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

use super::{
    Generator,
    case::{ALL_THERE, Style},
    traits::{is_bit_test, is_large_image},
};
use crate::{
    RSP,
    case::Case,
    layout::{CODE, DATA, LDT_ENTRIES, PAGE, STACK, selector},
};

impl Generator {
    /// Sets the registers that addresses are made from, and the displacement where it is one of four bytes or more.
    /// `None` where no values would do.
    pub(super) fn steer(&mut self, case: &mut Case, insn: &mut Instruction) -> Option<()> {
        let mask = case.mode.register_mask();
        // What strings, XLAT and the stack use without an operand.
        for (n, segment) in [(6, insn.memory_segment()), (7, Register::ES)] {
            case.registers.gpr[n] = if insn.is_string_instruction() || is_masked_move(insn) {
                self.target(case).wrapping_sub(base_of(case, segment)) & mask
            } else {
                case.registers.gpr[n]
            };
        }
        if insn.mnemonic() == Mnemonic::Xlatb {
            case.registers.gpr[3] =
                self.target(case).wrapping_sub(base_of(case, insn.memory_segment())).wrapping_sub(case.registers.gpr[0] & 0xff)
                    & mask;
        }
        let stack = STACK + 0x800 + (self.random.below(64) * if self.random.one_in(4) { 1 } else { 8 });
        if self.style == Style::Any {
            case.registers.gpr[RSP] = stack.wrapping_sub(base_of(case, Register::SS)) & mask;
        }
        if matches!(insn.mnemonic(), Mnemonic::Leave | Mnemonic::Enter) {
            case.registers.gpr[5] = (stack + 0x80).wrapping_sub(base_of(case, Register::SS)) & mask;
        }
        self.steer_far_branch(case, insn);
        let Some(_) = (0..insn.op_count()).find(|n| insn.op_kind(*n) == OpKind::Memory) else { return Some(()) };
        let mut target = self.target(case);
        if insn.has_lock_prefix() || insn.mnemonic() == Mnemonic::Xchg {
            // Hosts that trap split locks are slow at it.
            target &= !0x3f;
        }
        if is_large_image(insn) {
            if !self.random.one_in(16) {
                target &= !0x3f;
            }
            let address = [insn.memory_base(), insn.memory_index()].map(Register::full_register);
            if address.contains(&Register::RAX) || address.contains(&Register::RDX) {
                // It would be asked for components that only the host may have.
                return None;
            }
        }
        let wanted = target.wrapping_sub(base_of(case, insn.memory_segment()));
        let bit = is_bit_test(insn) && insn.op1_kind() == OpKind::Register;
        if bit
            && [insn.memory_base(), insn.memory_index()]
                .map(Register::full_register)
                .contains(&insn.op1_register().full_register())
        {
            // The bit would be anywhere.
            return None;
        }
        if bit {
            let value = match self.style {
                Style::Any => self.random.below(512).wrapping_sub(256) & mask,
                Style::Plain => self.random.below(64),
            };
            set(case, insn.op1_register(), value);
        }
        let (base, mut index, scale) = (insn.memory_base(), insn.memory_index(), u64::from(insn.memory_index_scale()));
        if insn.is_vsib() {
            self.set_indices(case, insn);
            index = Register::None;
        }
        let displacement = insn.memory_displacement64();
        match (base, index) {
            (Register::None, Register::None) | (Register::RIP | Register::EIP, _) => self.patch(case, insn, wanted),
            (base, Register::None) => set(case, base, wanted.wrapping_sub(displacement)),
            (Register::None, index) => set(case, index, wanted.wrapping_sub(displacement) / scale),
            (base, index) if base == index => set(case, base, wanted.wrapping_sub(displacement) / (scale + 1)),
            (base, index) => {
                let n = self.random.below(32);
                if !bit || insn.op1_register().full_register() != index.full_register() {
                    set(case, index, n);
                }
                let n = get(case, index);
                set(case, base, wanted.wrapping_sub(displacement).wrapping_sub(n.wrapping_mul(scale)));
            }
        }
        Some(())
    }

    /// Half of the time, a far branch that is written out goes to code.
    fn steer_far_branch(&mut self, case: &mut Case, insn: &mut Instruction) {
        if !matches!(insn.op0_kind(), OpKind::FarBranch16 | OpKind::FarBranch32) || self.random.one_in(2) {
            return;
        }
        let (offset, selector) = self.far_target(case);
        let mut decoder = Decoder::with_ip(case.mode.bitness(), case.code(), insn.ip(), DecoderOptions::NONE);
        let decoded = decoder.decode();
        let constants = decoder.get_constant_offsets(&decoded);
        for (at, size, value) in [
            (constants.immediate_offset(), constants.immediate_size(), offset),
            (constants.immediate_offset2(), constants.immediate_size2(), selector.into()),
        ] {
            case.code[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
        }
        *insn = Decoder::with_ip(case.mode.bitness(), case.code(), insn.ip(), DecoderOptions::NONE).decode();
    }

    /// Offset and selector of code, in a segment of any mode that Linux has or in the running one.
    pub(super) fn far_target(&mut self, case: &Case) -> (u64, u16) {
        let own = case.registers.selectors[1];
        let selector = self.random.pick(&[own, own, selector::USER_CODE32, selector::USER_CODE64]);
        let target = CODE + 0x40 + self.random.below(0x100);
        (target.wrapping_sub(base_of_selector(selector)), selector)
    }

    /// Where an operand may be: near the end of the first page of data where the second is missing something.
    fn target(&mut self, case: &Case) -> u64 {
        let random = &mut self.random;
        if self.style == Style::Plain {
            return DATA + 0x40 + 0x40 * random.below(16);
        }
        if case.map != ALL_THERE && random.one_in(2) {
            return DATA + PAGE - random.below(40);
        }
        let offset = 0x100 + random.below(if case.map == ALL_THERE { 0x2c00 } else { 0xb00 });
        DATA + if random.one_in(2) { offset & !0xf } else { offset }
    }

    /// Writes a displacement such that the operand is at offset `wanted`.
    fn patch(&mut self, case: &mut Case, insn: &mut Instruction, wanted: u64) {
        let mut decoder = Decoder::with_ip(case.mode.bitness(), case.code(), insn.ip(), DecoderOptions::NONE);
        let decoded = decoder.decode();
        let constants = decoder.get_constant_offsets(&decoded);
        let (at, size) = (constants.displacement_offset(), constants.displacement_size());
        let is_relative = matches!(insn.memory_base(), Register::RIP | Register::EIP);
        let value = if is_relative { wanted.wrapping_sub(insn.next_ip()) } else { wanted };
        case.code[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
        let mut decoder = Decoder::with_ip(case.mode.bitness(), case.code(), insn.ip(), DecoderOptions::NONE);
        *insn = decoder.decode();
    }
}

/// The base of `segment`, as the case has it.
pub(super) fn base_of(case: &Case, segment: Register) -> u64 {
    let index = match segment {
        Register::ES => 0,
        Register::CS => 1,
        Register::SS => 2,
        Register::DS => 3,
        Register::FS => return case.registers.fs_base,
        Register::GS => return case.registers.gs_base,
        _ => return 0,
    };
    base_of_selector(case.registers.selectors[index])
}

/// The base of the segment that `selector` names: all but those of the local descriptor table are flat.
pub(super) fn base_of_selector(selector: u16) -> u64 {
    if selector & 4 == 0 {
        return 0;
    }
    LDT_ENTRIES.get(usize::from(selector >> 3)).map_or(0, |entry| entry.base)
}

/// The linear address of `insn`'s memory operand as `case` starts; nothing where it has none.
pub fn operand_at(case: &Case, insn: &Instruction) -> Option<u64> {
    let n = (0..insn.op_count()).find(|n| insn.op_kind(*n) == OpKind::Memory)?;
    insn.virtual_address(n, 0, |register, _, _| Some(value_of(case, register)))
}

pub(super) fn value_of(case: &Case, register: Register) -> u64 {
    if register.is_segment_register() { base_of(case, register) } else { get(case, register) }
}

fn get(case: &Case, register: Register) -> u64 {
    if matches!(register, Register::RIP | Register::EIP) || !register.is_gpr() {
        return 0;
    }
    let value = case.registers.gpr[register.full_register().number()];
    match register.size() {
        8 => value,
        4 => value & 0xffff_ffff,
        2 => value & 0xffff,
        _ => value & 0xff,
    }
}

/// Sets as much of a register as its name covers.
fn set(case: &mut Case, register: Register, value: u64) {
    if !register.is_gpr() {
        return;
    }
    let mask = match register.size() {
        8 => u64::MAX,
        4 => 0xffff_ffff,
        2 => 0xffff,
        _ => 0xff,
    };
    let slot = &mut case.registers.gpr[register.full_register().number()];
    *slot = (*slot & !mask | value & mask) & case.mode.register_mask();
}

/// What has no memory operand and still writes to DS:rDI.
fn is_masked_move(insn: &Instruction) -> bool {
    matches!(insn.mnemonic(), Mnemonic::Maskmovq | Mnemonic::Maskmovdqu | Mnemonic::Vmaskmovdqu)
}
