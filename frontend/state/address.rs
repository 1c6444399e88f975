//! Addresses and identities as types, so that a linear address never passes for a physical one.

use std::fmt;

/// Bytes in the smallest page the architecture knows.
pub const PAGE_SIZE: u64 = 4096;

/// A guest linear ("virtual") address: segment base already added, not yet translated by paging.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct GuestVirt(pub u64);

/// A guest physical address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct GuestPhys(pub u64);

/// An I/O port number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct Port(pub u16);

/// The index of a virtual processor on its board; also its initial local APIC identifier.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct VcpuId(pub u32);

impl GuestVirt {
    /// The address of the first byte of the page that holds this byte.
    #[inline]
    pub const fn page(self) -> Self {
        Self(self.0 & !(PAGE_SIZE - 1))
    }

    /// The offset within its page, 0 to 4095.
    #[inline]
    pub const fn page_offset(self) -> usize {
        (self.0 & (PAGE_SIZE - 1)) as usize
    }

    /// Whether the address is canonical for `bits` implemented linear-address bits (48 or 57).
    #[inline]
    pub const fn is_canonical(self, bits: u32) -> bool {
        let shift = 64 - bits;
        ((self.0 << shift) as i64 >> shift) as u64 == self.0
    }
}

impl GuestPhys {
    /// The address of the first byte of the page that holds this byte.
    #[inline]
    pub const fn page(self) -> Self {
        Self(self.0 & !(PAGE_SIZE - 1))
    }

    /// The offset within its page, 0 to 4095.
    #[inline]
    pub const fn page_offset(self) -> usize {
        (self.0 & (PAGE_SIZE - 1)) as usize
    }

    /// The page's number: the address divided by the page size.
    #[inline]
    pub const fn page_number(self) -> u64 {
        self.0 / PAGE_SIZE
    }
}

macro_rules! hex_format {
    ($($name:ident)*) => { $(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
    )* };
}
hex_format!(GuestVirt GuestPhys Port);

impl fmt::Debug for VcpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vCPU {}", self.0)
    }
}
