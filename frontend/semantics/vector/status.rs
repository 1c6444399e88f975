//! State as a whole: LDMXCSR STMXCSR EMMS FXSAVE FXRSTOR.
//! SDM: vol. 2, the entries of the same names; vol. 1 §10.5 (the image).

use dragoman_state::{F80, GuestVirt, Mxcsr, StatusWord, Width, X87State};

use super::{
    super::{
        Cpu, Machine, Privilege,
        table::{Row, helper, row},
        x87,
    },
    AVX, MMX, SSE,
};
use crate::{
    decode::{Attributes, Code, Insn, Mnemonic, Opcode},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> [Row<M>; 11] {
    [
        row(Mnemonic::Ldmxcsr,   helper!(ldmxcsr), SSE),
        row(Mnemonic::Stmxcsr,   helper!(stmxcsr), SSE),
        row(Mnemonic::Vldmxcsr,  helper!(ldmxcsr), AVX),
        row(Mnemonic::Vstmxcsr,  helper!(stmxcsr), AVX),
        row(Mnemonic::Vzeroupper, helper!(vzeroupper), AVX),
        row(Mnemonic::Vzeroall,  helper!(vzeroall), AVX),
        row(Mnemonic::Emms,      helper!(emms),    MMX),
        row(Mnemonic::Fxsave,    helper!(fxsave),  Attributes::X87),
        row(Mnemonic::Fxsave64,  helper!(fxsave),  Attributes::X87),
        row(Mnemonic::Fxrstor,   helper!(fxrstor), Attributes::X87),
        row(Mnemonic::Fxrstor64, helper!(fxrstor), Attributes::X87),
    ]
}

/// The bits of MXCSR in `value`; #GP(0) where it has others.
fn checked_mxcsr(value: u32) -> Result<Mxcsr, Fault> {
    if value & !Mxcsr::WRITABLE == 0 { Ok(Mxcsr::from_bits_retain(value)) } else { Err(Fault::GP0) }
}

/// `LDMXCSR m32`.
fn ldmxcsr(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let value = cpu.read_operand(i, 0, Width::Dword)? as u32;
    cpu.state_mut().vectors.mxcsr = checked_mxcsr(value)?;
    Ok(())
}

/// `STMXCSR m32`.
fn stmxcsr(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let value = cpu.state().vectors.mxcsr.bits();
    let at = cpu.operand_address(i, 4, true)?;
    cpu.write(at, Width::Dword, value.into(), Privilege::Current)
}

/// `VZEROUPPER`: of each vector register that the mode has, all above its low 128 bits.
fn vzeroupper(cpu: &mut dyn Cpu, _: &Insn) -> Result<(), Fault> {
    let count = vector_count(cpu);
    cpu.state_mut().vectors.registers[..count].iter_mut().for_each(|register| register[2..].fill(0));
    Ok(())
}

/// `VZEROALL`.
fn vzeroall(cpu: &mut dyn Cpu, _: &Insn) -> Result<(), Fault> {
    let count = vector_count(cpu);
    cpu.state_mut().vectors.registers[..count].fill([0; 8]);
    Ok(())
}

/// `EMMS`: all x87 registers are empty.
fn emms(cpu: &mut dyn Cpu, _: &Insn) -> Result<(), Fault> {
    x87::check_pending(cpu)?;
    let x87 = &mut cpu.state_mut().x87;
    x87.set_top(0);
    x87.valid = 0;
    Ok(())
}

/// Bytes of the image that the processor writes and reads: the last 96 are software's.
const IMAGE_WORDS: usize = (512 - 96) / 8;

/// Whether the image has 64-bit pointers.
fn is_wide(i: &Insn) -> bool {
    [Code::Fxsave64_m512byte, Code::Fxrstor64_m512byte].iter().any(|form| i.opcode == Opcode::of(*form))
}

/// How many vector registers the image holds: eight outside 64-bit mode.
fn vector_count(cpu: &dyn Cpu) -> usize {
    if cpu.state().is_64bit() { 16 } else { 8 }
}

/// Where the image is. That it is not aligned is found out after what the segment refuses.
fn image_address(cpu: &dyn Cpu, i: &Insn, is_write: bool) -> Result<GuestVirt, Fault> {
    let at = cpu.operand_address(i, 512, is_write)?;
    if at.0 % 16 == 0 { Ok(at) } else { Err(Fault::GP0) }
}

/// The end of the image at `at`, which processors look for before anything else of it.
fn last_byte(at: GuestVirt) -> GuestVirt {
    GuestVirt(at.0.wrapping_add(511))
}

/// `FXSAVE`, `FXSAVE64`.
fn fxsave(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let at = image_address(cpu, i, true)?;
    cpu.check_write(last_byte(at), 1, Privilege::Current)?;
    cpu.check_write(at, 512, Privilege::Current)?;
    let (state, count) = (cpu.state(), vector_count(cpu));
    let mut image = [0u64; IMAGE_WORDS];
    write_x87(&mut image, &state.x87, is_wide(i));
    image[3] = u64::from(state.vectors.mxcsr.bits()) | u64::from(Mxcsr::WRITABLE) << 32;
    for n in 0..count {
        image[20 + 2 * n] = state.vectors.registers[n][0];
        image[21 + 2 * n] = state.vectors.registers[n][1];
    }
    for (n, word) in image.iter().enumerate().take(20 + 2 * count) {
        cpu.write(GuestVirt(at.0.wrapping_add(8 * n as u64)), Width::Qword, *word, Privilege::Current)?;
    }
    Ok(())
}

/// The first three words, and the eight registers in stack order.
fn write_x87(image: &mut [u64; IMAGE_WORDS], x87: &X87State, is_wide: bool) {
    image[0] =
        u64::from(x87.control) | u64::from(x87.status.bits()) << 16 | u64::from(x87.valid) << 32 | u64::from(x87.opcode) << 48;
    let pointer = |offset: u64, selector: u16| {
        if is_wide { offset } else { offset & 0xffff_ffff | u64::from(selector) << 32 }
    };
    image[1] = pointer(x87.instruction_pointer, x87.instruction_selector);
    image[2] = pointer(x87.data_pointer, x87.data_selector);
    for n in 0..8 {
        let register = x87.registers[(x87.top() + n) % 8];
        image[4 + 2 * n] = register.significand;
        image[5 + 2 * n] = register.sign_exponent.into();
    }
}

/// `FXRSTOR`, `FXRSTOR64`.
fn fxrstor(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let at = image_address(cpu, i, false)?;
    let count = vector_count(cpu);
    // All of the image must be there, and software's part is never looked at.
    cpu.read(last_byte(at), Width::Byte, Privilege::Current)?;
    let mut image = [0u64; IMAGE_WORDS];
    for (n, word) in image.iter_mut().enumerate().take(20 + 2 * count) {
        *word = cpu.read(GuestVirt(at.0.wrapping_add(8 * n as u64)), Width::Qword, Privilege::Current)?;
    }
    let mxcsr = checked_mxcsr(image[3] as u32)?;
    let x87 = read_x87(&image, is_wide(i));
    let state = cpu.state_mut();
    state.x87 = x87;
    state.vectors.mxcsr = mxcsr;
    for n in 0..count {
        state.vectors.registers[n][0] = image[20 + 2 * n];
        state.vectors.registers[n][1] = image[21 + 2 * n];
    }
    Ok(())
}

fn read_x87(image: &[u64; IMAGE_WORDS], is_wide: bool) -> X87State {
    let mut x87 = X87State::initialised([F80::default(); 8]);
    x87.control = image[0] as u16 & 0x1f7f | 0x40;
    x87.status = StatusWord::from_bits_retain((image[0] >> 16) as u16);
    x87.valid = (image[0] >> 32) as u8;
    x87.opcode = (image[0] >> 48) as u16 & 0x7ff;
    let pointer = |word: u64| if is_wide { (word, 0) } else { (word & 0xffff_ffff, (word >> 32) as u16) };
    (x87.instruction_pointer, x87.instruction_selector) = pointer(image[1]);
    (x87.data_pointer, x87.data_selector) = pointer(image[2]);
    x87.refresh_summary();
    for n in 0..8 {
        let register = F80 { significand: image[4 + 2 * n], sign_exponent: image[5 + 2 * n] as u16 };
        x87.registers[(x87.top() + n) % 8] = register;
    }
    x87
}
