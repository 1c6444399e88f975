//! State as a whole: LDMXCSR STMXCSR EMMS FXSAVE FXRSTOR.
//! SDM: vol. 2, the entries of the same names; vol. 1 §10.5 (the image).

use dragoman_state::{GuestVirt, Mxcsr, Width};

use super::{
    super::{
        Cpu, Machine, Privilege,
        legacy_region::{IMAGE_WORDS, checked_mxcsr, read_x87, write_x87},
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
