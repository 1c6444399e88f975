//! Memory for code, mapped twice: where it is written it cannot be executed, and where it is executed it cannot be written.
//!
//! UNSAFETY: sound because both maps are of one private memory file of fixed length that nobody else has, live as long as
//! the [`CodeMemory`], and are only ever written through raw pointers that were checked against the length. Nobody holds
//! a reference into either.
#![expect(unsafe_code, reason = "memory that is written and executed")]

use std::{
    fs::File,
    io,
    sync::atomic::{AtomicU32, Ordering},
};

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{MemfdFlags, memfd_create};

/// Memory for code.
pub struct CodeMemory {
    writable: MmapRaw,
    executable: MmapRaw,
}

impl CodeMemory {
    /// `size` bytes of it, a multiple of the host's page size.
    pub fn new(size: usize) -> io::Result<Self> {
        let file = File::from(memfd_create("dragoman-code", MemfdFlags::CLOEXEC)?);
        file.set_len(size as u64)?;
        let mut options = MmapOptions::new();
        options.len(size);
        let writable = options.map_raw(&file)?;
        // SAFETY: nobody but this process has the file, and its length does not change.
        let executable = unsafe { options.map_exec(&file)? };
        Ok(Self { writable, executable: executable.into() })
    }

    /// How many bytes there are.
    pub fn size(&self) -> usize {
        self.writable.len()
    }

    /// Where the first byte is executed.
    pub fn base(&self) -> u64 {
        self.executable.as_ptr().expose_provenance() as u64
    }

    /// Puts `code` at `offset`. Panics where that is not inside.
    pub fn write(&self, offset: usize, code: &[u8]) {
        assert!(offset <= self.size() && code.len() <= self.size() - offset, "code outside its memory");
        // SAFETY: the range was checked; the source is a slice elsewhere; no reference into the target exists.
        unsafe { self.writable.as_mut_ptr().add(offset).copy_from_nonoverlapping(code.as_ptr(), code.len()) };
    }

    /// What lies at `offset`. Panics where that is not inside.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) {
        assert!(offset <= self.size() && bytes.len() <= self.size() - offset, "code outside its memory");
        // SAFETY: as in `write`.
        unsafe { bytes.as_mut_ptr().copy_from_nonoverlapping(self.writable.as_ptr().add(offset), bytes.len()) };
    }

    /// Replaces the four bytes at `offset`, a multiple of four, as one: a processor that runs there sees the old ones or
    /// the new ones.
    pub fn patch(&self, offset: usize, value: u32) {
        assert!(offset % 4 == 0 && offset + 4 <= self.size(), "a patch outside its memory");
        // SAFETY: the place was checked, and is aligned because the map is.
        let place = unsafe { AtomicU32::from_ptr(self.writable.as_mut_ptr().add(offset).cast()) };
        place.store(value.to_le(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_in_one_place_is_executed_in_the_other() {
        let memory = CodeMemory::new(8192).expect("the host has memory files");
        memory.write(4096, &[0xb8, 0, 0, 0, 0, 0x90, 0x90, 0xc3]); // mov eax, 0; nop; nop; ret
        memory.write(4095, &[0x90, 0xb8, 42]);
        let address = std::ptr::with_exposed_provenance::<()>(memory.base() as usize + 4096);
        // SAFETY: the code was just written; it keeps to the calling convention.
        let function: extern "sysv64" fn() -> u32 = unsafe { std::mem::transmute(address) };
        assert_eq!(function(), 42);
        memory.patch(4096, 7 << 8 | 0xb8);
        assert_eq!(function(), 7);
    }
}
