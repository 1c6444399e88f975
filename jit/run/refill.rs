//! What a probe calls whose table does not know the page: the second level, and page tables behind it, without leaving the
//! code.
//!
//! Rule of this file: the guest's registers and vectors are untouched, its flags are in memory, and R10 and R11 are the
//! probe's: the linear address less the slot's tag, and the slot's offset. Where the page is not found, the code is left
//! at the site whose number the caller pushed.

use std::mem::offset_of;

use dynasm::dynasm;
use dynasmrt::{DynamicLabel, DynasmApi, DynasmLabelApi};

use super::{HostFeatures, entry::Asm, vectors};
use dragoman_state::PAGE_SIZE;

use crate::{
    Layout, RefillKind,
    layout::Joint,
    pages::{Entry, Line},
    rewrite::LONGEST_GROUP,
};

/// Where the entry's second half is.
const PAGE: i32 = offset_of!(Entry, page) as i32;

/// The code that finds a page for accesses of `kind` through view `view`.
#[rustfmt::skip]
pub(super) fn emit(asm: &mut Asm, layout: &Layout, host: HostFeatures, view: usize, kind: RefillKind) {
    const OFFSET_BITS: i8 = 12;
    const OFFSET: i32 = 0xfff;
    const LINE_BITS: i8 = size_of::<Line>().trailing_zeros() as i8;
    const LINES: i32 = Line::COUNT as i32 - 1;
    const ENTRY_BITS: i8 = size_of::<Entry>().trailing_zeros() as i8;
    const COUNT_BITS: i8 = Entry::COUNT.trailing_zeros() as i8;
    const RIGHTS: i32 = offset_of!(Line, rights) as i32;
    let (tables, second) = (&layout.tables[view], &layout.second);
    let table = match kind {
        RefillKind::Read => tables.read,
        RefillKind::Write => tables.write,
    };
    let may = i32::from(Line::may(view, kind as usize));
    let (ours, walk, leave, beyond) =
        (asm.new_dynamic_label(), asm.new_dynamic_label(), asm.new_dynamic_label(), asm.new_dynamic_label());
    dynasm!(asm ; .arch x64
        // The page is known: the access runs into the next one.
        ; cmp r10, OFFSET
        ; jbe =>beyond
        ; push rax ; push rcx ; push rdx
        ; gs add r10, [r11 + table]
        ; gs inc QWORD [layout.missed()]
        ; mov rcx, r10
        ; shr rcx, OFFSET_BITS
        ; mov rax, rcx
        ; shr rax, Line::FOLD
        ; xor rcx, rax
        ; shr rax, Line::FOLD
        ; xor ecx, eax
        ; and ecx, LINES
        ; shl ecx, LINE_BITS
        ; gs add rcx, [second.lines]
        ; mov rax, r10
        ; and rax, !OFFSET
        ; cmp rax, [rcx + offset_of!(Line, page) as i32]
        ; jne =>walk
        ; mov edx, [rcx + offset_of!(Line, space) as i32]
        ; gs cmp edx, [second.space]
        ; je =>ours
        ; gs cmp edx, [second.global_space]
        ; jne =>walk
        ; =>ours
        ; movzx edx, WORD [rcx + RIGHTS]
        ; test edx, may
        ; jz =>walk
    );
    match kind {
        RefillKind::Read => dynasm!(asm ; .arch x64 ; test edx, i32::from(Line::IS_MEMORY) ; jz =>leave),
        RefillKind::Write => dynasm!(asm ; .arch x64
            ; test edx, i32::from(Line::IS_WRITABLE_MEMORY)
            ; jz =>leave
            ; gs mov rdx, [second.logging]
            ; cmp BYTE [rdx], 0
            ; jne =>leave
            // A word of eight bytes for each page.
            ; mov rdx, [rcx + offset_of!(Line, at) as i32]
            ; shr rdx, OFFSET_BITS - 3
            ; gs add rdx, [second.code]
            ; cmp QWORD [rdx], 0
            ; jne >code
        ),
    }
    dynasm!(asm ; .arch x64
        ; gs mov [r11 + table], rax
        ; sub r10, rax
        ; mov rdx, [rcx + offset_of!(Line, host) as i32]
        ; gs mov [r11 + table + PAGE], rdx
        ; gs inc QWORD [layout.refilled()]
        ; movzx eax, BYTE [rcx + offset_of!(Line, is_global) as i32]
        ; shl eax, COUNT_BITS
        ; mov edx, r11d
        ; shr edx, ENTRY_BITS
        ; add eax, edx
        ; gs bts [table + tables.used], eax
        ; pop rdx ; pop rcx ; pop rax
        ; ret
        ; =>beyond
    );
    if kind == RefillKind::Read {
        emit_join(asm, layout, table);
    }
    dynasm!(asm ; .arch x64
        ; mov r11d, [rsp + 8]
        ; gs jmp QWORD [layout.exit()]
        ; =>walk
    );
    emit_walk(asm, layout, host, view, kind, table);
    if kind == RefillKind::Write {
        dynasm!(asm ; .arch x64 ; jmp =>leave ; code:);
        emit_beside_code(asm, layout, table, leave);
    }
    dynasm!(asm ; .arch x64
        ; =>leave
        ; pop rdx ; pop rcx ; pop rax
        ; mov r11d, [rsp + 8]
        ; gs jmp QWORD [layout.exit()]
    );
}

/// Returns to the probe for a write to a page that holds code, at the linear address in R10, where what is written is far from
/// any. RAX is the page's linear address, RCX its line, RDX where its word of granules is. The page is not remembered: the
/// probe finds it in a place that is no entry of its table.
#[rustfmt::skip]
fn emit_beside_code(asm: &mut Asm, layout: &Layout, table: i32, leave: DynamicLabel) {
    const GRANULE_BITS: i8 = 6;
    // More of them than one probe is for.
    const NEAR: i32 = (1 << (LONGEST_GROUP / 64 + 1)) - 1;
    let entry = layout.beside_code();
    dynasm!(asm ; .arch x64
        ; gs cmp DWORD [layout.is_alone()], 0
        ; je =>leave
        ; mov rcx, [rcx + offset_of!(Line, host) as i32]
        ; gs mov [entry], rax
        ; gs mov [entry + PAGE], rcx
        ; mov rdx, [rdx]
        ; mov rcx, r10
        ; shr rcx, GRANULE_BITS
        ; shr rdx, cl
        ; test edx, NEAR
        ; jnz =>leave
        ; sub r10, rax
        ; mov r11, entry - table
        ; gs inc QWORD [layout.refilled()]
        ; pop rdx ; pop rcx ; pop rax
        ; ret
    );
}

/// Joins the end of the page whose entry is at R11 to the start of the next one, where the table knows that, and has the probe
/// find there what lies across: it comes out of the comparison and of the load behind it as if the joint were a page. Runs off
/// its end where the next page is not known.
#[rustfmt::skip]
fn emit_join(asm: &mut Asm, layout: &Layout, table: i32) {
    const SIZE: i32 = PAGE_SIZE as i32;
    const HALF: i32 = Joint::HALF as i32;
    let unknown = asm.new_dynamic_label();
    let bytes = layout.joint() + offset_of!(Joint, bytes) as i32;
    let address = layout.joint() + offset_of!(Joint, address) as i32;
    dynasm!(asm ; .arch x64
        ; push rax ; push rcx ; push rdx
        ; lea ecx, [r11 + size_of::<Entry>() as i32]
        ; and ecx, Entry::MASK as i32
        ; gs mov rax, [r11 + table]
        ; add rax, SIZE
        ; gs cmp rax, [rcx + table]
        ; jne =>unknown
        ; gs mov rdx, [r11 + table + PAGE]
        ; gs mov rcx, [rcx + table + PAGE]
    );
    for at in (0..HALF).step_by(8) {
        dynasm!(asm ; .arch x64
            ; mov rax, [rdx + SIZE - HALF + at]
            ; gs mov [bytes + at], rax
            ; mov rax, [rcx + at]
            ; gs mov [bytes + HALF + at], rax
        );
    }
    dynasm!(asm ; .arch x64
        ; rdgsbase rax
        ; add rax, bytes
        ; gs mov [address], rax
        ; sub r10, SIZE - HALF
        ; mov r11, address - table - PAGE
        ; pop rdx ; pop rcx ; pop rax
        ; ret
        ; =>unknown
        ; pop rdx ; pop rcx ; pop rax
    );
}

/// Has page tables walked for the linear address in R10. Returns to the probe where that brought the page into the table,
/// and runs off its end where it did not; RAX, RCX and RDX are still to be restored there.
#[rustfmt::skip]
fn emit_walk(asm: &mut Asm, layout: &Layout, host: HostFeatures, view: usize, kind: RefillKind, table: i32) {
    dynasm!(asm ; .arch x64 ; push rsi ; push rdi ; push r8 ; push r9 ; push r10 ; push r11 ; push r12 ; push rbp);
    vectors::emit_saved(asm, host, |asm| {
        dynasm!(asm ; .arch x64
            ; gs mov rdi, [layout.owner()]
            ; mov rsi, r10
            ; mov edx, view as i32
            ; mov ecx, kind as i32
            ; gs call QWORD [layout.walk()]
        );
    });
    dynasm!(asm ; .arch x64
        ; pop rbp ; pop r12 ; pop r11 ; pop r10 ; pop r9 ; pop r8 ; pop rdi ; pop rsi
        ; test al, al
        ; jz >unknown
        ; gs inc QWORD [layout.walked()]
        ; gs sub r10, [r11 + table]
        ; pop rdx ; pop rcx ; pop rax
        ; ret
        ; unknown:
    );
}
