//! The guest's x87 unit in the host's.
//!
//! UNSAFETY: sound because nothing that is compiled for x86-64 by Rust, and no function of the C library that a processor's
//! thread calls, uses the x87 unit: what is in it is nobody's but the guest's from [`load`] to [`unload`], which leaves it
//! as a fresh thread has it. The images are aligned, and as long as the instructions want them.
#![expect(unsafe_code, reason = "the host's x87 unit")]

use std::arch::asm;

use dragoman_frontend::semantics::legacy_region::{IMAGE_WORDS, read_x87, write_x87};
use dragoman_state::X87State;

/// What FXSAVE writes.
#[repr(C, align(16))]
struct Image([u64; 64]);

/// The registers in an image that are the unit's: three words, and the stack.
const UNIT: [std::ops::Range<usize>; 2] = [0..3, 4..20];

impl Image {
    /// What the host's registers are now.
    fn now() -> Self {
        let mut image = Self([0; 64]);
        // SAFETY: the image is aligned and has 512 bytes.
        unsafe { asm!("fxsave64 [{}]", in(reg) &raw mut image, options(nostack, preserves_flags)) };
        image
    }

    fn words(&mut self) -> &mut [u64; IMAGE_WORDS] {
        self.0.first_chunk_mut().expect("an image is longer")
    }
}

/// Makes the host's unit what `state` says, but for the pointers to the last instruction: processors differ in when they
/// keep them, and a kernel that switches between threads may lose them. Every exception must be masked.
pub fn load(state: &X87State) {
    let mut image = Image::now();
    let mut words = [0; IMAGE_WORDS];
    write_x87(&mut words, &X87State { instruction_pointer: 0, data_pointer: 0, ..*state }, true);
    for range in UNIT {
        image.words()[range.clone()].copy_from_slice(&words[range]);
    }
    // SAFETY: the image is one that the host wrote, but for the unit's registers; it holds no value that is refused. The
    // vector registers may be others than when it was written, and are declared lost.
    unsafe {
        asm!(
            "fxrstor64 [{}]", in(reg) &raw const image,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
            out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _, out("xmm12") _, out("xmm13") _, out("xmm14") _,
            out("xmm15") _, options(nostack, preserves_flags)
        );
    }
}

/// Takes the guest's unit out of the host's, without pointers to the last instruction.
pub fn unload() -> X87State {
    let mut image = Image::now();
    // SAFETY: the instruction changes the unit alone, which becomes what a fresh thread finds.
    unsafe { asm!("fninit", options(nomem, nostack, preserves_flags)) };
    X87State { instruction_pointer: 0, data_pointer: 0, ..read_x87(image.words(), true) }
}

#[cfg(test)]
mod tests {
    use dragoman_state::F80;

    use super::*;

    #[test]
    fn what_is_loaded_is_what_is_unloaded() {
        let registers = std::array::from_fn(|n| F80 { significand: 1 << 63 | n as u64, sign_exponent: 0x3fff + n as u16 });
        let mut state = X87State::initialised(registers);
        state.set_top(3);
        state.valid = 0b1010_0101;
        load(&state);
        assert_eq!(unload(), state);
        load(&X87State { instruction_pointer: 0x1234_5678_9abc, ..state.clone() });
        assert_eq!(unload(), state);
    }
}
