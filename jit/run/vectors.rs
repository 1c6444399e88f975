//! The guest's vectors, kept out of the way of Rust code that translated code calls.

use dynasm::dynasm;
use dynasmrt::{DynasmApi, DynasmLabelApi};

use super::{HostFeatures, entry::Asm};

/// Saves the vectors on the stack, which is aligned for a call, emits what `call` emits, and restores both. RAX and RCX are lost
/// before it; afterwards RBP and R12 are lost, and what `call` leaves in other registers stays.
#[rustfmt::skip]
pub(super) fn emit_saved(asm: &mut Asm, host: HostFeatures, call: impl FnOnce(&mut Asm)) {
    const VECTORS: i32 = 16 * 32;
    let (wide, called, narrow_back, restored) =
        (asm.new_dynamic_label(), asm.new_dynamic_label(), asm.new_dynamic_label(), asm.new_dynamic_label());
    let narrow = asm.new_dynamic_label();
    // R12 says whether upper halves are to be restored, RBP where the stack was.
    dynasm!(asm ; .arch x64
        ; mov rbp, rsp
        ; sub rsp, VECTORS
        ; and rsp, -64
        ; xor r12d, r12d
    );
    if host.has_avx {
        if host.tells_use {
            const AVX: i8 = 1 << 2;
            dynasm!(asm ; .arch x64 ; mov ecx, 1 ; xgetbv ; test al, AVX ; jz =>narrow);
        }
        dynasm!(asm ; .arch x64 ; =>wide ; mov r12d, 1);
        for n in 0..16 {
            dynasm!(asm ; .arch x64 ; vmovaps [rsp + 32 * i32::from(n)], Ry(n));
        }
        dynasm!(asm ; .arch x64 ; vzeroupper ; jmp =>called);
    }
    dynasm!(asm ; .arch x64 ; =>narrow);
    for n in 0..16 {
        dynasm!(asm ; .arch x64 ; movaps [rsp + 32 * i32::from(n)], Rx(n));
    }
    dynasm!(asm ; .arch x64 ; =>called);
    call(asm);
    dynasm!(asm ; .arch x64 ; test r12d, r12d ; jz =>narrow_back);
    if host.has_avx {
        for n in 0..16 {
            dynasm!(asm ; .arch x64 ; vmovaps Ry(n), [rsp + 32 * i32::from(n)]);
        }
    }
    dynasm!(asm ; .arch x64 ; jmp =>restored ; =>narrow_back);
    for n in 0..16 {
        dynasm!(asm ; .arch x64 ; movaps Rx(n), [rsp + 32 * i32::from(n)]);
    }
    dynasm!(asm ; .arch x64 ; =>restored ; mov rsp, rbp);
}
