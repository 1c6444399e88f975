//! The memory of the child process that cases run in: the arena at its fixed place, an alias of it that can always be
//! written, and pages that maps name elsewhere.
//!
//! UNSAFETY: everything below [`layout::ARENA_END`] that is mapped at fixed places belongs to the arena, because programs
//! are loaded far above; pages elsewhere are mapped only where nothing was. Runs in the child, inside a signal handler:
//! system calls are made directly and nothing is allocated.

use std::ptr;

use super::{segments::syscall, shared::RawMap};
use crate::{
    case::{Access, CODE_ROOM, Case, MEMORY_ROOM, Window},
    layout::{ARENA, ARENA_END, BACKGROUND, HLT, PAGE},
};

const ARENA_SIZE: usize = (ARENA_END - ARENA) as usize;
const ARENA_PAGES: usize = ARENA_SIZE / PAGE as usize;
/// How many pages outside the arena a map can have.
const EXTRAS: usize = 8;

/// The memory of the child.
pub struct Memory {
    alias: *mut u8,
    access: [Access; ARENA_PAGES],
    extras: [u64; EXTRAS],
    extra_count: usize,
    code: [u8; CODE_ROOM],
    code_at: u64,
}

const fn protection(access: Access) -> i32 {
    match access {
        Access::Absent | Access::Supervisor => libc::PROT_NONE,
        Access::ReadOnly => libc::PROT_READ,
        Access::ReadWrite => libc::PROT_READ | libc::PROT_WRITE,
        Access::Code => libc::PROT_READ | libc::PROT_EXEC,
        Access::Everything => libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC,
    }
}

fn arena_page(page: u64) -> Option<usize> {
    (ARENA..ARENA_END).contains(&page).then(|| ((page - ARENA) / PAGE) as usize)
}

impl Memory {
    /// Maps the arena, no page of it accessible. `None` where the system refuses.
    ///
    /// # Safety
    /// Only in the child, once.
    pub unsafe fn new() -> Option<Self> {
        let shared = libc::MAP_SHARED;
        // SAFETY: the name is a string; the mappings are new, or at places that hold nothing else.
        let alias = unsafe {
            let file = libc::memfd_create(c"arena".as_ptr(), 0);
            if file < 0 || libc::ftruncate(file, ARENA_SIZE as libc::off_t) != 0 {
                return None;
            }
            let alias =
                libc::mmap(ptr::null_mut(), ARENA_SIZE, libc::PROT_READ | libc::PROT_WRITE, shared | libc::MAP_POPULATE, file, 0);
            let fixed = shared | libc::MAP_FIXED_NOREPLACE;
            let arena = libc::mmap(ARENA as *mut _, ARENA_SIZE, libc::PROT_NONE, fixed, file, 0);
            if alias == libc::MAP_FAILED || arena as u64 != ARENA {
                return None;
            }
            alias.cast::<u8>()
        };
        // SAFETY: the alias is as large as the arena.
        unsafe { ptr::write_bytes(alias, BACKGROUND, ARENA_SIZE) };
        Some(Self {
            alias,
            access: [Access::Absent; ARENA_PAGES],
            extras: [0; EXTRAS],
            extra_count: 0,
            code: [0; CODE_ROOM],
            code_at: 0,
        })
    }

    /// Makes `map`'s pages accessible, and no others. Whether the system did as asked.
    pub fn apply(&mut self, map: &RawMap) -> bool {
        let mut wanted = [Access::Absent; ARENA_PAGES];
        let mut is_done = true;
        for extra in &self.extras[..self.extra_count] {
            // SAFETY: this very page was mapped by this function.
            unsafe { syscall(libc::SYS_munmap, [*extra as usize, PAGE as usize, 0, 0, 0, 0]) };
        }
        self.extra_count = 0;
        for (page, access) in map.pages() {
            match arena_page(*page) {
                Some(n) => wanted[n] = *access,
                None => is_done &= self.add_extra(*page, *access),
            }
        }
        for (n, access) in wanted.into_iter().enumerate() {
            if access == self.access[n] {
                continue;
            }
            if access.is_executable() != self.access[n].is_executable() {
                let fill = if access.is_executable() { HLT } else { BACKGROUND };
                // SAFETY: the page is within the alias.
                unsafe { ptr::write_bytes(self.alias.add(n * PAGE as usize), fill, PAGE as usize) };
                self.code_at = 0;
            }
            let at = ARENA as usize + n * PAGE as usize;
            // SAFETY: the page is the arena's.
            let result = unsafe { syscall(libc::SYS_mprotect, [at, PAGE as usize, protection(access) as usize, 0, 0, 0]) };
            is_done &= result == 0;
            self.access[n] = access;
        }
        is_done
    }

    fn add_extra(&mut self, page: u64, access: Access) -> bool {
        let Some(slot) = self.extras.get_mut(self.extra_count) else { return false };
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        // Pages elsewhere are always writable by us; only their executability can be chosen.
        let protection = protection(Access::ReadWrite) | if access.is_executable() { libc::PROT_EXEC } else { 0 };
        // SAFETY: nothing that is mapped is replaced.
        let at = unsafe {
            syscall(libc::SYS_mmap, [page as usize, PAGE as usize, protection as usize, flags as usize, usize::MAX, 0])
        };
        if at as u64 != page {
            return false;
        }
        *slot = page;
        self.extra_count += 1;
        let fill = if access.is_executable() { HLT } else { BACKGROUND };
        // SAFETY: the page was mapped just now.
        unsafe { ptr::write_bytes(page as *mut u8, fill, PAGE as usize) };
        true
    }

    /// Where the byte at linear address `at` can be written.
    fn place(&self, at: u64) -> Option<*mut u8> {
        if (ARENA..ARENA_END).contains(&at) {
            // SAFETY: the offset is within the alias.
            return Some(unsafe { self.alias.add((at - ARENA) as usize) });
        }
        let page = at & !(PAGE - 1);
        self.extras[..self.extra_count].contains(&page).then_some(at as *mut u8)
    }

    /// Calls `each` with where every stretch of `length` bytes from `at` within one page is, and how far into them it is.
    fn pieces(&self, at: u64, length: usize, mut each: impl FnMut(*mut u8, usize, usize)) {
        let mut done = 0;
        while done < length {
            let next = at.wrapping_add(done as u64);
            let size = ((PAGE - next % PAGE) as usize).min(length - done);
            if let Some(place) = self.place(next) {
                each(place, done, size);
            }
            done += size;
        }
    }

    /// Puts the code and the windows of `case` in their places.
    pub fn write(&mut self, case: &Case) {
        for window in case.windows() {
            self.copy_in(window, &case.memory);
        }
        if self.code_at != case.code_at || self.code != case.code {
            let old = std::mem::replace(&mut self.code_at, case.code_at);
            if old != 0 {
                // SAFETY: pieces are within mapped memory.
                self.pieces(old, CODE_ROOM, |to, _, size| unsafe { ptr::write_bytes(to, HLT, size) });
            }
            self.code = case.code;
        }
        // A window may lie in the page of the code; the code is what counts.
        let code = case.code();
        // SAFETY: pieces are within mapped memory, and no longer than the code.
        self.pieces(case.code_at, code.len(), |to, from, size| unsafe {
            if !is_equal(to, code.as_ptr().add(from), size) {
                ptr::copy_nonoverlapping(code.as_ptr().add(from), to, size);
            }
        });
    }

    fn copy_in(&self, window: Window, memory: &[u8; MEMORY_ROOM]) {
        let bytes = Case::bytes_of(window, memory);
        // SAFETY: pieces are within mapped memory, and no longer than the bytes.
        self.pieces(window.at, bytes.len(), |to, from, size| unsafe {
            ptr::copy_nonoverlapping(bytes.as_ptr().add(from), to, size);
        });
    }

    /// Takes what the windows of `case` hold, and puts the background back.
    pub fn read(&self, case: &Case, memory: &mut [u8; MEMORY_ROOM]) {
        for window in case.windows() {
            let (from, length) = (window.from as usize, window.length as usize);
            let Some(bytes) = memory.get_mut(from..from + length) else { continue };
            // SAFETY: pieces are within mapped memory, and no longer than the bytes.
            self.pieces(window.at, length, |at, to, size| unsafe {
                ptr::copy_nonoverlapping(at, bytes.as_mut_ptr().add(to), size);
            });
        }
        for window in case.windows() {
            let is_code = arena_page(window.at & !(PAGE - 1)).is_some_and(|n| self.access[n].is_executable());
            let fill = if is_code { HLT } else { BACKGROUND };
            // SAFETY: pieces are within mapped memory.
            self.pieces(window.at, window.length as usize, |at, _, size| unsafe { ptr::write_bytes(at, fill, size) });
        }
    }
}

/// # Safety
/// Both can be read for `size` bytes.
unsafe fn is_equal(a: *const u8, b: *const u8, size: usize) -> bool {
    // SAFETY: by this function's contract.
    unsafe { std::slice::from_raw_parts(a, size) == std::slice::from_raw_parts(b, size) }
}
