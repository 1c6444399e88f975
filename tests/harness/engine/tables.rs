//! The tables that a processor needs to take an exception: descriptors, gates, task state, handlers.
//!
//! Long mode's descriptors are laid out as Linux has them, so that what instructions say about selectors is the same here
//! and on a host. SDM: vol. 3 §3.4.5, §6.11, §6.14.1, §7.2.1, §7.7.

use crate::{
    Mode,
    layout::{self, GDT, HANDLER_SIZE, HANDLERS, HLT, IDT, KERNEL_STACK, LDT, LDT_ENTRIES, PAGE, TSS, descriptor, selector},
};

/// The limit of the task state segment: it ends before an I/O permission bitmap.
pub const TSS_LIMIT: u32 = 0x67;
/// The limit of the global descriptor table in long mode: Linux's.
const GDT_LIMIT_LONG: u16 = 0x7f;
/// In protected mode: there are ring-0 segments of 16 bits.
const GDT_LIMIT_PROTECTED: u16 = 0xff;

/// The vectors that INT may name in ring 3, as Linux has it: breakpoint, overflow, system call.
const USER_VECTORS: [usize; 3] = [3, 4, 0x80];

/// A page of the processor's own, with what it holds before each row.
pub type Page = (u64, Vec<u8>);

/// The limit of the global descriptor table in `mode`.
pub fn gdt_limit(mode: Mode) -> u16 {
    if mode.is_long() { GDT_LIMIT_LONG } else { GDT_LIMIT_PROTECTED }
}

/// The limit of the local descriptor table.
pub const LDT_LIMIT: u32 = (LDT_ENTRIES.len() * 8 - 1) as u32;

/// The pages that `mode` needs, whatever the row. All are of ring 0, except that real mode has no rings.
pub fn pages(mode: Mode) -> Vec<Page> {
    let mut pages =
        vec![(GDT, descriptors(mode)), (IDT, gates(mode)), (TSS, task_state(mode)), (HANDLERS, vec![HLT; PAGE as usize])];
    pages.extend(KERNEL_STACK.step_by(PAGE as usize).map(|page| (page, vec![0; PAGE as usize])));
    if mode == Mode::Real16 {
        pages.push((0, interrupt_vectors()));
    }
    pages
}

fn put(page: &mut [u8], at: u64, bytes: &[u8]) {
    let at = (at % PAGE) as usize;
    page[at..at + bytes.len()].copy_from_slice(bytes);
}

/// The global and the local descriptor table, which share a page.
fn descriptors(mode: Mode) -> Vec<u8> {
    const FLAT: u32 = 0xf_ffff;
    const PAGES_32: u8 = 0xc;
    const PAGES_64: u8 = 0xa;
    let mut page = vec![0; PAGE as usize];
    let mut set = |selector: u16, value: u64| put(&mut page, GDT + u64::from(selector & !7), &value.to_le_bytes());
    let kernel_flags = if mode.is_long() { PAGES_64 } else { PAGES_32 };
    set(0x08, descriptor(0, FLAT, 0x9b, PAGES_32));
    set(selector::KERNEL_CODE, descriptor(0, FLAT, 0x9b, kernel_flags));
    set(selector::KERNEL_DATA, descriptor(0, FLAT, 0x93, PAGES_32));
    set(selector::USER_CODE32, descriptor(0, FLAT, 0xfb, PAGES_32));
    set(selector::USER_DATA, descriptor(0, FLAT, 0xf3, PAGES_32));
    if mode.is_long() {
        set(selector::USER_CODE64, descriptor(0, FLAT, 0xfb, PAGES_64));
    } else {
        set(selector::KERNEL_CODE16, descriptor(layout::CODE, 0xffff, 0x9b, 0));
        set(selector::KERNEL_DATA16, descriptor(layout::DATA, 0xffff, 0x93, 0));
        set(selector::KERNEL_STACK16, descriptor(layout::STACK, 0xffff, 0x93, 0));
        set(selector::KERNEL_FS16, descriptor(layout::FS, 0xffff, 0x93, 0));
        set(selector::KERNEL_GS16, descriptor(layout::GS, 0xffff, 0x93, 0));
    }
    set(selector::TSS, descriptor(TSS, TSS_LIMIT, 0x8b, 0));
    set(selector::LDT, descriptor(LDT, LDT_LIMIT, 0x82, 0));
    for (n, entry) in LDT_ENTRIES.iter().enumerate() {
        put(&mut page, LDT + 8 * n as u64, &entry.descriptor().to_le_bytes());
    }
    page
}

fn handler(vector: usize) -> u64 {
    HANDLERS + vector as u64 * HANDLER_SIZE
}

fn gates(mode: Mode) -> Vec<u8> {
    let mut page = vec![0; PAGE as usize];
    for vector in 0..256 {
        let dpl = if USER_VECTORS.contains(&vector) { 3 } else { 0 };
        let (at, rights) = (handler(vector), 0x8e | dpl << 5);
        let stack = u64::from(mode.is_long()); // interrupt stack table entry 1
        let low = at & 0xffff | u64::from(selector::KERNEL_CODE) << 16 | stack << 32 | rights << 40 | (at >> 16 & 0xffff) << 48;
        if mode.is_long() {
            put(&mut page, 16 * vector as u64, &low.to_le_bytes());
            put(&mut page, 16 * vector as u64 + 8, &(at >> 32).to_le_bytes());
        } else {
            put(&mut page, 8 * vector as u64, &low.to_le_bytes());
        }
    }
    page
}

/// Real mode's interrupt vectors; the rest of the page below is nobody's.
fn interrupt_vectors() -> Vec<u8> {
    let mut page = vec![0; PAGE as usize];
    for vector in 0..256 {
        let far = (handler(vector) - HANDLERS) as u32 | (HANDLERS as u32 >> 4) << 16;
        put(&mut page, 4 * vector as u64, &far.to_le_bytes());
    }
    page
}

fn task_state(mode: Mode) -> Vec<u8> {
    let mut page = vec![0; PAGE as usize];
    let top = KERNEL_STACK.end;
    if mode.is_long() {
        put(&mut page, TSS + 4, &top.to_le_bytes());
        put(&mut page, TSS + 0x24, &top.to_le_bytes());
    } else {
        put(&mut page, TSS + 4, &(top as u32).to_le_bytes());
        put(&mut page, TSS + 8, &u32::from(selector::KERNEL_DATA).to_le_bytes());
    }
    put(&mut page, TSS + 0x66, &(TSS_LIMIT as u16 + 1).to_le_bytes());
    page
}
