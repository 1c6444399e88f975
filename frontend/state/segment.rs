//! Segment registers with their hidden part, and the descriptor-table registers.
//! SDM: vol. 3 §3.4.3 (segment registers), §3.4.5 (descriptors), §24.4.1 (the format of the access rights).

/// The six segment registers, numbered as instructions encode them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "the manual's own names say all there is to say")]
pub enum SegmentIndex {
    Es = 0,
    Cs = 1,
    Ss = 2,
    Ds = 3,
    Fs = 4,
    Gs = 5,
}

impl SegmentIndex {
    /// All six, in encoding order.
    pub const ALL: [Self; 6] = [Self::Es, Self::Cs, Self::Ss, Self::Ds, Self::Fs, Self::Gs];
}

/// A segment's access rights in the format of the processor's own virtual-machine structures: bits 0 to 7 and 12
/// to 15 are those of the descriptor's second doubleword shifted right by eight; bit 16 says that the register
/// holds nothing usable.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct Attributes(pub u32);

impl std::fmt::Debug for Attributes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Attributes({:#x})", self.0)
    }
}

impl Attributes {
    /// The register holds a null selector, or nothing.
    pub const UNUSABLE: Self = Self(1 << 16);
    /// Present, writable, accessed data of ring 0: what reset leaves in the data segments.
    pub const DATA: Self = Self(0x93);
    /// Present, readable, accessed code of ring 0: what reset leaves in CS.
    pub const CODE: Self = Self(0x9b);
    /// A present, empty local descriptor table.
    pub const LDT: Self = Self(0x82);
    /// A present, busy 16-bit task state segment, which reset leaves in TR.
    pub const TSS16_BUSY: Self = Self(0x83);

    /// The attributes held in the second doubleword of a descriptor.
    #[inline]
    pub const fn from_descriptor(high: u32) -> Self {
        Self(high >> 8 & 0xf0ff)
    }

    /// The four type bits.
    #[inline]
    pub const fn kind(self) -> u8 {
        (self.0 & 0xf) as u8
    }

    /// Code or data, not a system descriptor (the S bit).
    #[inline]
    pub const fn is_code_or_data(self) -> bool {
        self.0 & 0x10 != 0
    }

    /// A code segment.
    #[inline]
    pub const fn is_code(self) -> bool {
        self.0 & 0x18 == 0x18
    }

    /// A conforming code segment.
    #[inline]
    pub const fn is_conforming(self) -> bool {
        self.0 & 0x1c == 0x1c
    }

    /// Data, or code that may be read.
    #[inline]
    pub const fn is_readable(self) -> bool {
        self.0 & 0x18 == 0x10 || self.0 & 0x1a == 0x1a
    }

    /// Data that may be written.
    #[inline]
    pub const fn is_writable(self) -> bool {
        self.0 & 0x1a == 0x12
    }

    /// Data whose limit is its lower bound.
    #[inline]
    pub const fn is_expand_down(self) -> bool {
        self.0 & 0x1c == 0x14
    }

    /// The descriptor privilege level.
    #[inline]
    pub const fn dpl(self) -> u8 {
        (self.0 >> 5 & 3) as u8
    }

    /// These attributes with another privilege level.
    #[inline]
    pub const fn with_dpl(self, dpl: u8) -> Self {
        Self(self.0 & !0x60 | (dpl as u32 & 3) << 5)
    }

    /// The segment is in memory (the P bit).
    #[inline]
    pub const fn is_present(self) -> bool {
        self.0 & 0x80 != 0
    }

    /// 64-bit code (the L bit).
    #[inline]
    pub const fn is_long(self) -> bool {
        self.0 & 0x2000 != 0
    }

    /// 32-bit default size of code, or 32-bit stack pointer (the D/B bit).
    #[inline]
    pub const fn is_big(self) -> bool {
        self.0 & 0x4000 != 0
    }

    /// The limit counts pages (the G bit).
    #[inline]
    pub const fn is_granular(self) -> bool {
        self.0 & 0x8000 != 0
    }

    /// The register holds nothing usable: a null selector was loaded.
    #[inline]
    pub const fn is_unusable(self) -> bool {
        self.0 & 0x1_0000 != 0
    }
}

/// A segment register: the selector that programs see and the descriptor that the processor remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Segment {
    /// Linear address of the segment's first byte.
    pub base: u64,
    /// Offset of the last byte, already multiplied by the granularity.
    pub limit: u32,
    /// Access rights.
    pub attributes: Attributes,
    /// The visible selector.
    pub selector: u16,
}

impl Segment {
    /// The segment that real mode gives to `selector`, with the limit and rights of reset.
    #[inline]
    pub const fn real_mode(selector: u16, attributes: Attributes) -> Self {
        Self { base: (selector as u64) << 4, limit: 0xffff, attributes, selector }
    }

    /// What loading a null selector leaves in the register.
    #[inline]
    pub const fn null(selector: u16) -> Self {
        Self { base: 0, limit: 0, attributes: Attributes::UNUSABLE, selector }
    }

    /// The segment that an 8-byte code or data descriptor describes, loaded through `selector`.
    #[inline]
    pub const fn from_descriptor(selector: u16, descriptor: u64) -> Self {
        let high = (descriptor >> 32) as u32;
        let attributes = Attributes::from_descriptor(high);
        let raw = (high & 0xf_0000) | descriptor as u32 & 0xffff;
        let limit = if attributes.is_granular() { raw << 12 | 0xfff } else { raw };
        let base = descriptor >> 16 & 0xff_ffff | (high as u64 & 0xff00_0000);
        Self { base, limit, attributes, selector }
    }

    /// Whether every offset of 32 bits may be read and written and the base is zero, so that a check at run time
    /// could never fail.
    #[inline]
    pub const fn is_flat_data(&self) -> bool {
        self.base == 0 && self.is_unbounded_data()
    }

    /// Whether every offset of 32 bits may be read and written, wherever the base is.
    #[inline]
    pub const fn is_unbounded_data(&self) -> bool {
        self.limit == u32::MAX
            && self.attributes.is_writable()
            && !self.attributes.is_expand_down()
            && self.attributes.is_present()
            && !self.attributes.is_unusable()
    }

    /// Whether every offset of 32 bits may be read and executed and the base is zero.
    #[inline]
    pub const fn is_flat_code(&self) -> bool {
        self.base == 0 && self.limit == u32::MAX && self.attributes.is_code() && self.attributes.is_readable()
    }
}

/// GDTR or IDTR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct TableRegister {
    /// Linear address of the table.
    pub base: u64,
    /// Offset of the table's last byte.
    pub limit: u16,
}
