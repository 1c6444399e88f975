//! State as a whole: LDMXCSR STMXCSR EMMS FXSAVE FXRSTOR.
//! SDM: vol. 2, the entries of the same names; vol. 1 §10.5 (the image).

use dragoman_state::{GuestVirt, Width};

use super::{
    super::{
        Cpu, Machine, Privilege,
        legacy_region::{IMAGE_WORDS, MXCSR_WORD, XMM_WORD, checked_mxcsr, image, load_vectors, read_x87, vector_count},
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
    let count = vector_count(cpu.state());
    cpu.state_mut().vectors.registers[..count].iter_mut().for_each(|register| register[2..].fill(0));
    Ok(())
}

/// `VZEROALL`.
fn vzeroall(cpu: &mut dyn Cpu, _: &Insn) -> Result<(), Fault> {
    let count = vector_count(cpu.state());
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
    let (image, count) = (image(cpu.state(), is_wide(i)), vector_count(cpu.state()));
    for (n, word) in image.iter().enumerate().take(XMM_WORD + 2 * count) {
        cpu.write(GuestVirt(at.0.wrapping_add(8 * n as u64)), Width::Qword, *word, Privilege::Current)?;
    }
    Ok(())
}

/// `FXRSTOR`, `FXRSTOR64`.
fn fxrstor(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let at = image_address(cpu, i, false)?;
    let count = vector_count(cpu.state());
    // All of the image must be there, and software's part is never looked at.
    cpu.read(last_byte(at), Width::Byte, Privilege::Current)?;
    let mut image = [0u64; IMAGE_WORDS];
    for (n, word) in image.iter_mut().enumerate().take(XMM_WORD + 2 * count) {
        *word = cpu.read(GuestVirt(at.0.wrapping_add(8 * n as u64)), Width::Qword, Privilege::Current)?;
    }
    let mxcsr = checked_mxcsr(image[MXCSR_WORD] as u32)?;
    let x87 = read_x87(&image, is_wide(i));
    let state = cpu.state_mut();
    state.x87 = x87;
    state.vectors.mxcsr = mxcsr;
    load_vectors(state, &image);
    Ok(())
}
