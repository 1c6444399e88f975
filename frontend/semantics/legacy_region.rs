//! The legacy region of an XSAVE area, which is the image of FXSAVE: the x87 unit, MXCSR and the XMM registers.
//! SDM: vol. 1 §10.5, §13.4.1.

use dragoman_state::{F80, Mxcsr, StatusWord, VcpuState, X87State};

use crate::fault::Fault;

/// Bytes of the image that the processor writes and reads: the last 96 are software's.
pub const IMAGE_WORDS: usize = (512 - 96) / 8;
/// The word that holds MXCSR and its mask, and that where the XMM registers begin.
pub(super) const MXCSR_WORD: usize = 3;
pub(super) const XMM_WORD: usize = 20;

/// How many vector registers the mode has, and images hold: eight outside 64-bit mode.
pub(super) fn vector_count(state: &VcpuState) -> usize {
    if state.is_64bit() { 16 } else { 8 }
}

/// The image of `state`, with pointers of 64 bits where it `is_wide`.
pub(super) fn image(state: &VcpuState, is_wide: bool) -> [u64; IMAGE_WORDS] {
    let mut image = [0; IMAGE_WORDS];
    write_x87(&mut image, &state.x87, is_wide);
    image[MXCSR_WORD] = u64::from(state.vectors.mxcsr.bits()) | u64::from(Mxcsr::WRITABLE) << 32;
    for (n, register) in state.vectors.registers[..vector_count(state)].iter().enumerate() {
        image[XMM_WORD + 2 * n..][..2].copy_from_slice(&register[..2]);
    }
    image
}

/// Makes the XMM registers what `image` holds.
pub(super) fn load_vectors(state: &mut VcpuState, image: &[u64; IMAGE_WORDS]) {
    let count = vector_count(state);
    for (n, register) in state.vectors.registers[..count].iter_mut().enumerate() {
        register[..2].copy_from_slice(&image[XMM_WORD + 2 * n..][..2]);
    }
}

/// The bits of MXCSR in `value`; #GP(0) where it has others.
pub(super) fn checked_mxcsr(value: u32) -> Result<Mxcsr, Fault> {
    if value & !Mxcsr::WRITABLE == 0 { Ok(Mxcsr::from_bits_retain(value)) } else { Err(Fault::GP0) }
}

/// The first three words, and the eight registers in stack order; pointers of 64 bits where it `is_wide`.
pub fn write_x87(image: &mut [u64; IMAGE_WORDS], x87: &X87State, is_wide: bool) {
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

/// The x87 unit as an image holds it.
pub fn read_x87(image: &[u64; IMAGE_WORDS], is_wide: bool) -> X87State {
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
