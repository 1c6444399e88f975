//! What code calls where an instruction is executed by its handler, which knows all that the instruction means, and where the code
//! is to go on at once.
//!
//! Rule of this file: as much of the guest is put into its state as a handler looks at: general-purpose registers and MXCSR. The
//! vectors wait on the stack, and the x87 unit stays where it is: no handler that is called here knows of them.

use dynasm::dynasm;
use dynasmrt::{DynasmApi, DynasmLabelApi};

use super::{
    HostFeatures,
    entry::{Asm, Onward, RESIDENT},
    vectors,
};
use crate::{Layout, rewrite::Site};

/// Executes the instruction whose site's number is in R14. The flags are in memory. Returns with [`Onward`] in R11, zero where
/// the code goes on behind the instruction, and where it goes on otherwise in R10; or leaves.
#[rustfmt::skip]
pub(super) fn emit(asm: &mut Asm, layout: &Layout, host: HostFeatures) {
    for (held, guest) in RESIDENT {
        dynasm!(asm ; .arch x64 ; gs mov [layout.gpr(guest)], Rq(held));
    }
    dynasm!(asm ; .arch x64 ; gs stmxcsr [layout.mxcsr] ; gs ldmxcsr [layout.host_mxcsr()]);
    vectors::emit_saved(asm, host, |asm| {
        dynasm!(asm ; .arch x64
            ; gs mov rdi, [layout.owner()]
            ; mov esi, r14d
            ; gs call QWORD [layout.execute()]
            ; mov r14d, eax
        );
    });
    dynasm!(asm ; .arch x64 ; gs ldmxcsr [layout.mxcsr]);
    for (held, guest) in RESIDENT {
        dynasm!(asm ; .arch x64 ; gs mov Rq(held), [layout.gpr(guest)]);
    }
    dynasm!(asm ; .arch x64
        ; gs mov r10, [layout.target()]
        ; mov r11d, r14d
        ; cmp r11d, Onward::Nowhere as i32
        ; je >leave
        ; ret
        ; leave:
        ; mov r11d, Site::EXECUTED as i32
        ; gs jmp QWORD [layout.exit()]
    );
}
