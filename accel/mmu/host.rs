//! Guest memory through host pointers: the one place where a vCPU touches RAM.
//!
//! UNSAFETY: sound because a [`HostPtr`] is made only by this folder, from a page that [`GuestRam`] gave out, and never
//! outlives the MMU that holds the RAM; every access states its size and stays within the page. Other processors and
//! devices write the same memory, so no reference to it is ever made: aligned accesses are atomic ones, and unaligned
//! ones are atomic accesses to their parts, or on x86-64 hosts the plain instruction, which is what the guest asked for.
//!
//! Loads acquire and stores release, which is x86's own order and costs nothing on x86 hosts.
//!
//! [`GuestRam`]: dragoman_devices::memory::GuestRam
#![expect(unsafe_code, reason = "guest memory is raw memory of the host")]

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use dragoman_state::{PAGE_SIZE, Width};
use portable_atomic::AtomicU128;

/// A byte of guest memory in the host's address space. The rest of its page can be reached through it, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HostPtr(*mut u8);

impl HostPtr {
    /// The byte at `page + offset`, where `page` is the start of a page of guest memory.
    pub fn in_page(page: *mut u8, offset: usize) -> Self {
        debug_assert!(offset < PAGE_SIZE as usize);
        Self(page.wrapping_add(offset))
    }

    /// The byte at a host address computed from a translation's addend.
    #[inline(always)]
    pub fn at(address: u64) -> Self {
        Self(std::ptr::with_exposed_provenance_mut(address as usize))
    }

    /// The host address.
    #[inline]
    pub fn address(self) -> u64 {
        self.0.expose_provenance() as u64
    }

    /// In a build with debug assertions, refuses an access of `bytes` bytes that would leave the page: host pages are no
    /// smaller than the guest's, and so begin where these do.
    #[inline(always)]
    fn stay_in_page(self, bytes: u64) {
        debug_assert!(self.0.addr() as u64 % PAGE_SIZE + bytes <= PAGE_SIZE, "{bytes} bytes at {self:?} leave their page");
    }

    fn is_aligned(self, width: Width) -> bool {
        self.address() & (width.bytes() - 1) == 0
    }

    /// The byte `bytes` on, within the same page.
    pub fn plus(self, bytes: u64) -> Self {
        Self(self.0.wrapping_add(bytes as usize))
    }

    /// Reads `width` bits, which end within the page.
    #[inline(always)]
    pub fn load(self, width: Width) -> u64 {
        self.stay_in_page(width.bytes());
        if cfg!(target_arch = "x86_64") || self.is_aligned(width) { self.load_whole(width) } else { self.load_bytes(width) }
    }

    /// Writes the low `width` bits of `value`, which end within the page.
    #[inline(always)]
    pub fn store(self, width: Width, value: u64) {
        self.stay_in_page(width.bytes());
        if cfg!(target_arch = "x86_64") || self.is_aligned(width) {
            self.store_whole(width, value);
        } else {
            self.store_bytes(width, value);
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn load_whole(self, width: Width) -> u64 {
        use std::arch::asm;
        let value: u64;
        // SAFETY: the bytes lie in a page of guest memory (the type's invariant). The instruction may be racing with
        // others on the same bytes, which assembly allows and Rust's plain loads do not.
        unsafe {
            match width {
                Width::Byte => {
                    asm!("movzx {v:e}, byte ptr [{p}]", v = out(reg) value, p = in(reg) self.0, options(nostack, preserves_flags))
                }
                Width::Word => {
                    asm!("movzx {v:e}, word ptr [{p}]", v = out(reg) value, p = in(reg) self.0, options(nostack, preserves_flags))
                }
                Width::Dword => {
                    asm!("mov {v:e}, dword ptr [{p}]", v = out(reg) value, p = in(reg) self.0, options(nostack, preserves_flags))
                }
                Width::Qword => {
                    asm!("mov {v}, qword ptr [{p}]", v = out(reg) value, p = in(reg) self.0, options(nostack, preserves_flags))
                }
            }
        }
        value
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn store_whole(self, width: Width, value: u64) {
        use std::arch::asm;
        // SAFETY: as in `load_whole`.
        unsafe {
            match width {
                Width::Byte => {
                    asm!("mov byte ptr [{p}], {v}", v = in(reg_byte) value as u8, p = in(reg) self.0, options(nostack, preserves_flags))
                }
                Width::Word => {
                    asm!("mov word ptr [{p}], {v:x}", v = in(reg) value, p = in(reg) self.0, options(nostack, preserves_flags))
                }
                Width::Dword => {
                    asm!("mov dword ptr [{p}], {v:e}", v = in(reg) value, p = in(reg) self.0, options(nostack, preserves_flags))
                }
                Width::Qword => {
                    asm!("mov qword ptr [{p}], {v}", v = in(reg) value, p = in(reg) self.0, options(nostack, preserves_flags))
                }
            }
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    #[inline(always)]
    fn load_whole(self, width: Width) -> u64 {
        // SAFETY: the bytes lie in a page of guest memory (the type's invariant), and the caller checked alignment.
        unsafe {
            match width {
                Width::Byte => AtomicU8::from_ptr(self.0).load(Ordering::Acquire).into(),
                Width::Word => u16::from_le(AtomicU16::from_ptr(self.0.cast()).load(Ordering::Acquire)).into(),
                Width::Dword => u32::from_le(AtomicU32::from_ptr(self.0.cast()).load(Ordering::Acquire)).into(),
                Width::Qword => u64::from_le(AtomicU64::from_ptr(self.0.cast()).load(Ordering::Acquire)),
            }
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    #[inline(always)]
    fn store_whole(self, width: Width, value: u64) {
        // SAFETY: the bytes lie in a page of guest memory (the type's invariant), and the caller checked alignment.
        unsafe {
            match width {
                Width::Byte => AtomicU8::from_ptr(self.0).store(value as u8, Ordering::Release),
                Width::Word => AtomicU16::from_ptr(self.0.cast()).store((value as u16).to_le(), Ordering::Release),
                Width::Dword => AtomicU32::from_ptr(self.0.cast()).store((value as u32).to_le(), Ordering::Release),
                Width::Qword => AtomicU64::from_ptr(self.0.cast()).store(value.to_le(), Ordering::Release),
            }
        }
    }

    #[cold]
    fn load_bytes(self, width: Width) -> u64 {
        (0..width.bytes()).fold(0, |value, n| value | self.plus(n).load_whole(Width::Byte) << (8 * n))
    }

    #[cold]
    fn store_bytes(self, width: Width, value: u64) {
        for n in 0..width.bytes() {
            self.plus(n).store_whole(Width::Byte, value >> (8 * n));
        }
    }

    /// Replaces `width` bits that equal `old` by `new` as one operation; returns what was there. `None` where the host
    /// cannot do it at this address: not aligned.
    pub fn compare_exchange(self, width: Width, old: u64, new: u64) -> Option<u64> {
        const ORDER: Ordering = Ordering::SeqCst;
        self.stay_in_page(width.bytes());
        if !self.is_aligned(width) {
            return None;
        }
        macro_rules! exchange {
            ($atomic:ty, $plain:ty) => {{
                // SAFETY: the bytes lie in a page of guest memory (the type's invariant), and alignment was checked.
                let cell = unsafe { <$atomic>::from_ptr(self.0.cast()) };
                let (Ok(was) | Err(was)) = cell.compare_exchange((old as $plain).to_le(), (new as $plain).to_le(), ORDER, ORDER);
                u64::from(<$plain>::from_le(was))
            }};
        }
        Some(match width {
            Width::Byte => exchange!(AtomicU8, u8),
            Width::Word => exchange!(AtomicU16, u16),
            Width::Dword => exchange!(AtomicU32, u32),
            Width::Qword => exchange!(AtomicU64, u64),
        })
    }

    /// The same for sixteen bytes, which are aligned. `None` where the host has no such operation.
    pub fn compare_exchange_16(self, old: u128, new: u128) -> Option<u128> {
        if !AtomicU128::is_lock_free() || self.address() % 16 != 0 {
            return None;
        }
        // SAFETY: the bytes lie in a page of guest memory (the type's invariant), and alignment was checked.
        let cell = unsafe { AtomicU128::from_ptr(self.0.cast()) };
        let (Ok(was) | Err(was)) = cell.compare_exchange(old.to_le(), new.to_le(), Ordering::SeqCst, Ordering::SeqCst);
        Some(u128::from_le(was))
    }

    /// So many bytes the host's own string instructions move faster.
    #[cfg(target_arch = "x86_64")]
    const LONG: u64 = 128;

    /// Copies `bytes` bytes from `from`, upwards. Both ranges end within their pages.
    pub fn copy_from(self, from: Self, bytes: u64) {
        self.stay_in_page(bytes);
        from.stay_in_page(bytes);
        #[cfg(target_arch = "x86_64")]
        if bytes >= Self::LONG {
            // SAFETY: both ranges lie in pages of guest memory (the type's invariant and the check above). What races with
            // the instruction it may race with, as in `load_whole`; the direction flag is clear between functions.
            unsafe {
                std::arch::asm!(
                    "rep movsb",
                    inout("rcx") bytes => _, inout("rdi") self.0 => _, inout("rsi") from.0 => _,
                    options(nostack, preserves_flags)
                );
            }
            return;
        }
        let mut done = 0;
        while bytes - done >= 8 {
            self.plus(done).store(Width::Qword, from.plus(done).load(Width::Qword));
            done += 8;
        }
        while done < bytes {
            self.plus(done).store(Width::Byte, from.plus(done).load(Width::Byte));
            done += 1;
        }
    }

    /// Writes `count` elements of `width`, which end within the page.
    pub fn fill(self, width: Width, value: u64, count: u64) {
        self.stay_in_page(width.bytes() * count);
        let eight = match width {
            Width::Byte => (value & 0xff) * 0x0101_0101_0101_0101,
            Width::Word => (value & 0xffff) * 0x0001_0001_0001_0001,
            Width::Dword => (value & 0xffff_ffff) * 0x0000_0001_0000_0001,
            Width::Qword => value,
        };
        let bytes = count * width.bytes();
        let whole = bytes & !7;
        #[cfg(target_arch = "x86_64")]
        if bytes >= Self::LONG {
            // SAFETY: as in `copy_from`; the first so many quadwords of the range.
            unsafe {
                std::arch::asm!(
                    "rep stosq",
                    inout("rcx") whole / 8 => _, inout("rdi") self.0 => _, in("rax") eight,
                    options(nostack, preserves_flags)
                );
            }
            for at in (whole..bytes).step_by(width.bytes() as usize) {
                self.plus(at).store(width, value);
            }
            return;
        }
        for at in (0..whole).step_by(8) {
            self.plus(at).store(Width::Qword, eight);
        }
        for at in (whole..bytes).step_by(width.bytes() as usize) {
            self.plus(at).store(width, value);
        }
    }

    /// Copies the bytes from here on into `bytes`, which end within the page.
    pub fn read_bytes(self, bytes: &mut [u8]) {
        self.stay_in_page(bytes.len() as u64);
        for (n, chunk) in bytes.chunks_mut(8).enumerate() {
            let at = self.plus(8 * n as u64);
            if let Ok(whole) = <&mut [u8; 8]>::try_from(&mut *chunk) {
                *whole = at.load(Width::Qword).to_le_bytes();
            } else {
                for (k, byte) in chunk.iter_mut().enumerate() {
                    *byte = at.plus(k as u64).load(Width::Byte) as u8;
                }
            }
        }
    }
}
