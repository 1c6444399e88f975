//! The segment registers of the child process, and its local descriptor table.
//!
//! UNSAFETY: reading selectors and bases has no effect; loading them is done for selectors that the oracle has checked,
//! and for bases that nothing of ours depends on while the handler runs.

use std::arch::asm;

use crate::layout::{self, Kind, LDT_ENTRIES};

/// A system call of at most six arguments that touches no thread-local storage, because FS may not be ours.
///
/// # Safety
/// As the call's.
pub unsafe fn syscall(number: libc::c_long, a: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the kernel clobbers RCX and R11 and nothing else; what the call does is the caller's to answer for.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2], in("r10") a[3], in("r8") a[4], in("r9") a[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// ES, DS, FS and GS in their places; CS and SS zero.
pub fn data_selectors() -> [u16; 6] {
    let (es, ds, fs, gs): (u16, u16, u16, u16);
    // SAFETY: reads registers.
    unsafe {
        asm!("mov {0:x}, es", "mov {1:x}, ds", "mov {2:x}, fs", "mov {3:x}, gs",
             out(reg) es, out(reg) ds, out(reg) fs, out(reg) gs, options(nomem, nostack, preserves_flags));
    }
    [es, 0, 0, ds, fs, gs]
}

/// Loads ES, DS, FS and GS where they differ from what is there.
///
/// # Safety
/// The selectors can be loaded.
pub unsafe fn load_selectors(wanted: &[u16; 6]) {
    let now = data_selectors();
    // SAFETY: by this function's contract none of these faults; 64-bit code does not depend on what they load.
    unsafe {
        if now[0] != wanted[0] {
            asm!("mov es, {0:x}", in(reg) wanted[0], options(nostack, preserves_flags));
        }
        if now[3] != wanted[3] {
            asm!("mov ds, {0:x}", in(reg) wanted[3], options(nostack, preserves_flags));
        }
        if now[4] != wanted[4] {
            asm!("mov fs, {0:x}", in(reg) wanted[4], options(nostack, preserves_flags));
        }
        if now[5] != wanted[5] {
            asm!("mov gs, {0:x}", in(reg) wanted[5], options(nostack, preserves_flags));
        }
    }
}

/// The bases of FS and GS.
pub fn bases() -> (u64, u64) {
    let (fs, gs): (u64, u64);
    // SAFETY: reads registers; the oracle has made sure that the kernel allows it.
    unsafe {
        asm!("rdfsbase {0}", "rdgsbase {1}", out(reg) fs, out(reg) gs, options(nomem, nostack, preserves_flags));
    }
    (fs, gs)
}

/// Sets the bases of FS and GS.
///
/// # Safety
/// They are canonical, and nothing uses thread-local storage until they are set back.
pub unsafe fn set_bases(fs: u64, gs: u64) {
    // SAFETY: by this function's contract.
    unsafe {
        asm!("wrfsbase {0}", "wrgsbase {1}", in(reg) fs, in(reg) gs, options(nostack, preserves_flags));
    }
}

/// Whether user code may read and write these bases.
pub fn has_base_instructions() -> bool {
    const HWCAP2_FSGSBASE: u64 = 2;
    // SAFETY: reads the auxiliary vector.
    unsafe { libc::getauxval(libc::AT_HWCAP2) & HWCAP2_FSGSBASE != 0 }
}

/// The kernel's `struct user_desc`.
#[repr(C)]
struct UserDescriptor {
    entry_number: u32,
    base_addr: u32,
    limit: u32,
    flags: u32,
}

/// Fills this process' local descriptor table as [`layout::LDT_ENTRIES`] has it; whether the kernel did.
pub fn fill_ldt() -> bool {
    LDT_ENTRIES.iter().enumerate().all(|(n, entry)| {
        let flags = u32::from(entry.is_big)
            | (entry.kind as u32) << 1
            | u32::from(entry.is_restricted) << 3
            | u32::from(entry.is_absent) << 5;
        let descriptor = UserDescriptor { entry_number: n as u32, base_addr: entry.base as u32, limit: entry.limit, flags };
        const WRITE: usize = 0x11;
        let at = (&raw const descriptor) as usize;
        // SAFETY: the kernel reads the structure, which is of the size given.
        unsafe { syscall(libc::SYS_modify_ldt, [WRITE, at, size_of::<UserDescriptor>(), 0, 0, 0]) == 0 }
    })
}

/// Whether a data segment register can hold `selector` in the child.
pub fn is_loadable(selector: u16, has_ldt: bool) -> bool {
    match selector {
        0..=3 | layout::selector::USER_DATA => true,
        _ if selector & 7 == 7 && has_ldt => {
            let entry = LDT_ENTRIES.get(usize::from(selector >> 3));
            entry.is_some_and(|entry| !(entry.is_absent || entry.kind == Kind::Code && entry.is_restricted))
        }
        _ => false,
    }
}
