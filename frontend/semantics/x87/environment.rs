//! The unit's state in memory: FNSTENV FLDENV FNSAVE FRSTOR.
//! SDM: vol. 1 §8.1.10 (the four layouts).

use dragoman_state::{F80, GuestVirt, StatusWord, Width, X87State};

use super::{
    super::{
        Cpu, Machine, Privilege,
        table::{Row, helper, row},
    },
    X87,
    control::control_word,
    follow_summary,
    unit::Unit,
};
use crate::{
    decode::{Insn, Mnemonic},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> [Row<M>; 4] {
    [
        row(Mnemonic::Fnstenv, helper!(fnstenv), X87),
        row(Mnemonic::Fldenv,  helper!(fldenv),  X87),
        row(Mnemonic::Fnsave,  helper!(fnsave),  X87),
        row(Mnemonic::Frstor,  helper!(frstor),  X87),
    ]
}

/// Bytes of the eight registers.
const REGISTERS: u64 = 80;

/// The layout of an environment: seven fields of 16 or 32 bits, pointers as offset and selector or as linear addresses.
struct Layout {
    width: Width,
    is_real: bool,
}

impl Layout {
    fn of(cpu: &dyn Cpu, i: &Insn) -> Self {
        let is_wide = matches!(i.memory_size, 28 | 108);
        let state = cpu.state();
        Self { width: if is_wide { Width::Dword } else { Width::Word }, is_real: state.is_real_mode() || state.is_virtual_8086() }
    }

    fn size(&self) -> u64 {
        7 * self.width.bytes()
    }

    /// The seven fields. Halves of 32-bit fields that nothing lives in are ones.
    fn pack(&self, x87: &X87State) -> [u64; 7] {
        const UPPER: u64 = 0xffff_0000;
        let (ip, dp) = (x87.instruction_pointer & 0xffff_ffff, x87.data_pointer & 0xffff_ffff);
        let (cs, ds, opcode) = (u64::from(x87.instruction_selector), u64::from(x87.data_selector), u64::from(x87.opcode));
        let (ip, dp) = if self.is_real { (ip + (cs << 4), dp + (ds << 4)) } else { (ip, dp) };
        let pointers = match (self.width, self.is_real) {
            (Width::Dword, false) => [ip, cs | opcode << 16, dp, ds | UPPER],
            (Width::Dword, true) => {
                [ip & 0xffff | UPPER, (ip >> 16 & 0xffff) << 12 | opcode, dp & 0xffff | UPPER, (dp >> 16 & 0xffff) << 12]
            }
            (_, false) => [ip & 0xffff, cs, dp & 0xffff, ds],
            (_, true) => [ip & 0xffff, (ip >> 16 & 0xf) << 12 | opcode, dp & 0xffff, (dp >> 16 & 0xf) << 12],
        };
        let words = [x87.control, x87.status.bits(), x87.tag_word()].map(|word| u64::from(word) | UPPER);
        [words[0], words[1], words[2], pointers[0], pointers[1], pointers[2], pointers[3]].map(|field| self.width.truncate(field))
    }

    fn unpack(&self, fields: [u64; 7], x87: &mut X87State) {
        x87.control = control_word(fields[0] as u16);
        x87.status = StatusWord::from_bits_retain(fields[1] as u16);
        x87.set_tag_word(fields[2] as u16);
        x87.refresh_summary();
        let [.., ip, cs, dp, ds] = fields;
        (x87.instruction_selector, x87.data_selector, x87.opcode) = (0, 0, 0);
        match (self.width, self.is_real) {
            (_, true) => {
                x87.instruction_pointer = ip & 0xffff | (cs & 0x0fff_f000) << 4;
                x87.data_pointer = dp & 0xffff | (ds & 0x0fff_f000) << 4;
                x87.opcode = cs as u16 & 0x7ff;
            }
            (width, false) => {
                (x87.instruction_pointer, x87.data_pointer) = (ip, dp);
                (x87.instruction_selector, x87.data_selector) = (cs as u16, ds as u16);
                if width == Width::Dword {
                    x87.opcode = (cs >> 16) as u16 & 0x7ff;
                }
            }
        }
    }
}

fn write_environment(cpu: &mut dyn Cpu, at: GuestVirt, layout: &Layout, x87: &X87State) -> Result<(), Fault> {
    for (n, field) in layout.pack(x87).into_iter().enumerate() {
        let at = GuestVirt(at.0.wrapping_add(n as u64 * layout.width.bytes()));
        cpu.write(at, layout.width, field, Privilege::Current)?;
    }
    Ok(())
}

fn read_environment(cpu: &mut dyn Cpu, i: &Insn, layout: &Layout, x87: &mut X87State) -> Result<(), Fault> {
    let mut fields = [0; 7];
    for (n, field) in fields.iter_mut().enumerate() {
        *field = cpu.read_operand(i, n as u64 * layout.width.bytes(), layout.width)?;
    }
    layout.unpack(fields, x87);
    Ok(())
}

/// `FNSTENV`: then all exceptions are masked.
fn fnstenv(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let layout = Layout::of(cpu, i);
    let mut unit = Unit::begin_no_wait(cpu);
    let at = cpu.operand_address(i, layout.size(), true)?;
    cpu.check_write(at, layout.size(), Privilege::Current)?;
    write_environment(cpu, at, &layout, &unit.x87)?;
    unit.x87.control |= 0x3f;
    unit.x87.refresh_summary();
    unit.commit_control(cpu);
    Ok(())
}

/// `FLDENV`.
fn fldenv(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let layout = Layout::of(cpu, i);
    let mut unit = Unit::begin(cpu)?;
    read_environment(cpu, i, &layout, &mut unit.x87)?;
    unit.commit_control(cpu);
    Ok(())
}

/// `FNSAVE`: the environment and the registers in stack order; then FNINIT.
fn fnsave(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let layout = Layout::of(cpu, i);
    let x87 = Unit::begin_no_wait(cpu).x87;
    let size = layout.size() + REGISTERS;
    let at = cpu.operand_address(i, size, true)?;
    cpu.check_write(at, size, Privilege::Current)?;
    write_environment(cpu, at, &layout, &x87)?;
    for n in 0..8 {
        let register = x87.registers[(x87.top() + n) % 8];
        let at = at.0.wrapping_add(layout.size() + 10 * n as u64);
        cpu.write(GuestVirt(at), Width::Qword, register.significand, Privilege::Current)?;
        cpu.write(GuestVirt(at.wrapping_add(8)), Width::Word, register.sign_exponent.into(), Privilege::Current)?;
    }
    cpu.state_mut().x87 = X87State::initialised(x87.registers);
    follow_summary(cpu);
    Ok(())
}

/// `FRSTOR`.
fn frstor(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let layout = Layout::of(cpu, i);
    let mut unit = Unit::begin(cpu)?;
    read_environment(cpu, i, &layout, &mut unit.x87)?;
    for n in 0..8 {
        let at = layout.size() + 10 * n as u64;
        let significand = cpu.read_operand(i, at, Width::Qword)?;
        let sign_exponent = cpu.read_operand(i, at + 8, Width::Word)? as u16;
        let register = (unit.x87.top() + n) % 8;
        unit.x87.registers[register] = F80 { significand, sign_exponent };
    }
    unit.commit_control(cpu);
    Ok(())
}
