//! The legacy region of an XSAVE area, which is the image of FXSAVE: the x87 unit, MXCSR and the XMM registers.
//! SDM: vol. 1 §10.5, §13.4.1.

use dragoman_state::{F80, Mxcsr, StatusWord, X87State};

use crate::fault::Fault;

/// Bytes of the image that the processor writes and reads: the last 96 are software's.
pub(super) const IMAGE_WORDS: usize = (512 - 96) / 8;

/// The bits of MXCSR in `value`; #GP(0) where it has others.
pub(super) fn checked_mxcsr(value: u32) -> Result<Mxcsr, Fault> {
    if value & !Mxcsr::WRITABLE == 0 { Ok(Mxcsr::from_bits_retain(value)) } else { Err(Fault::GP0) }
}

/// The first three words, and the eight registers in stack order.
pub(super) fn write_x87(image: &mut [u64; IMAGE_WORDS], x87: &X87State, is_wide: bool) {
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
pub(super) fn read_x87(image: &[u64; IMAGE_WORDS], is_wide: bool) -> X87State {
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
