//! Remembered pages: the formats that the software MMU fills and translated code reads.
//!
//! Rule of this file: whatever assembly and the MMU must agree on is here, and nothing of what it is filled with.

use dragoman_state::PAGE_SIZE;

/// An entry of the first level, which a probe reads.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Entry {
    /// The page's linear address; where the fast path may not be taken, that of a page which belongs in another slot, and
    /// so matches nothing.
    pub tag: u64,
    /// The page's host address; in a table for fetches, its physical address.
    pub page: u64,
}

impl Entry {
    /// How many a table has. An unoptimised build moves processors, tables and all, from one place on its stack to the next.
    pub const COUNT: usize = if cfg!(debug_assertions) { 1024 } else { 4096 };
    /// A linear address, moved right by so many bits and under [`Entry::MASK`], is the offset of the slot that its page
    /// belongs in.
    pub const SHIFT: u32 = PAGE_SIZE.trailing_zeros() - size_of::<Self>().trailing_zeros();
    /// Which bits of an offset count.
    pub const MASK: u32 = ((Self::COUNT - 1) * size_of::<Self>()) as u32;

    /// The number of the slot that the page of `at` belongs in.
    #[inline(always)]
    pub const fn number(at: u64) -> usize {
        (at / PAGE_SIZE) as usize % Self::COUNT
    }
}

/// A line of the second level: a translation of one 4 KiB page, whatever the size of the page it is part of.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(32))]
pub struct Line {
    /// The page's linear address; [`Line::NOWHERE`] where nothing is remembered.
    pub page: u64,
    /// Its host address, where it is memory.
    pub host: u64,
    /// Its physical address.
    pub at: u64,
    /// The address space that it belongs to. No number comes back once what it stood for was forgotten.
    pub space: u32,
    /// What paging lets be done ([`Line::may`]), and whether that may be done to memory directly.
    pub rights: u16,
    /// Binary logarithm of the size of the page it is part of.
    pub page_bits: u8,
    /// Whether it belongs to every address space of its time.
    pub is_global: u8,
}

impl Line {
    /// How many there are.
    pub const COUNT: usize = 8192;
    /// In [`Line::page`]: the address of no page.
    pub const NOWHERE: u64 = 1;
    /// Of [`Line::rights`]: the page is memory.
    pub const IS_MEMORY: u16 = 1 << 14;
    /// Of [`Line::rights`]: it is memory that can be written.
    pub const IS_WRITABLE_MEMORY: u16 = 1 << 15;

    /// The right to an access of kind `kind` (0 for reads, 1 for writes that need not mark the page, 2 for fetches) through
    /// view `view`.
    pub const fn may(view: usize, kind: usize) -> u16 {
        1 << (3 * view + kind)
    }

    /// The number of the line that the page of `at` belongs in. User and kernel addresses that differ in high bits alone do
    /// not meet in one.
    #[inline]
    pub const fn number(at: u64) -> usize {
        let n = at / PAGE_SIZE;
        (n ^ n >> Self::FOLD ^ n >> (2 * Self::FOLD)) as usize % Self::COUNT
    }

    pub(crate) const FOLD: i8 = 12;
}

/// Where the second level is, as offsets in the sense of [`Layout`](crate::Layout).
#[derive(Clone, Copy, Debug)]
pub struct SecondLevel {
    /// The address of the [`Line`]s.
    pub lines: i32,
    /// The number of the address space in force, four bytes.
    pub space: i32,
    /// The number that global pages have, four bytes.
    pub global_space: i32,
    /// The address of one word for each physical page: not zero where writes to it must be reported.
    pub code: i32,
    /// The address of a byte that is not zero while the first write to each page must be reported.
    pub logging: i32,
}
