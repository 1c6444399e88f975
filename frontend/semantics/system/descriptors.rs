//! Descriptor tables as the processor reads them.
//! SDM: vol. 3 §3.4.2 (selectors), §3.4.5 (segment descriptors), §3.5 (system descriptors), §5.8.3 (gates).

use dragoman_state::{Attributes, GuestVirt, Segment, VcpuState, Width};

use super::{
    super::{Cpu, Privilege},
    objections::{Subject, refuse, refuse_where},
};
use crate::fault::Fault;

/// A segment selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Selector(pub u16);

impl Selector {
    /// Selects nothing: index 0 of the global table.
    pub fn is_null(self) -> bool {
        self.0 & !3 == 0
    }

    /// The requested privilege level.
    pub fn rpl(self) -> u8 {
        (self.0 & 3) as u8
    }

    /// The selector in the local table, not the global one.
    fn is_local(self) -> bool {
        self.0 & 4 != 0
    }

    /// The error code that names this selector.
    pub fn error(self) -> u16 {
        self.0 & !3
    }

    fn offset(self) -> u64 {
        u64::from(self.0 & !7)
    }

    /// This selector with another requested privilege level.
    pub fn with_rpl(self, rpl: u8) -> Self {
        Self(self.0 & !3 | u16::from(rpl))
    }
}

/// A descriptor: eight bytes, or sixteen of system descriptors in long mode.
#[derive(Clone, Copy, Debug)]
pub(super) struct Descriptor {
    /// The first eight bytes.
    pub low: u64,
    /// The other eight, where there are any.
    pub high: u64,
}

/// System descriptor types. SDM: vol. 3 table 3-2.
pub(super) mod kind {
    pub const TSS16: u8 = 1;
    pub const LDT: u8 = 2;
    pub const TSS16_BUSY: u8 = 3;
    pub const CALL_GATE16: u8 = 4;
    pub const TASK_GATE: u8 = 5;
    pub const INTERRUPT_GATE16: u8 = 6;
    pub const TRAP_GATE16: u8 = 7;
    pub const TSS: u8 = 9;
    pub const TSS_BUSY: u8 = 11;
    pub const CALL_GATE: u8 = 12;
    pub const INTERRUPT_GATE: u8 = 14;
    pub const TRAP_GATE: u8 = 15;
}

impl Descriptor {
    pub fn attributes(self) -> Attributes {
        Attributes::from_descriptor((self.low >> 32) as u32)
    }

    /// The code, data or system segment this describes, as a segment register holds it.
    pub fn segment(self, selector: Selector) -> Segment {
        let mut segment = Segment::from_descriptor(selector.0, self.low);
        if !segment.attributes.is_code_or_data() {
            segment.base |= self.high << 32;
        }
        segment
    }

    /// Of a gate: the selector it leads to.
    pub fn gate_selector(self) -> Selector {
        Selector((self.low >> 16) as u16)
    }

    /// Of a gate: the offset it leads to, 64 bits in long mode; 16-bit gates use the low half.
    pub fn gate_offset(self) -> u64 {
        self.low & 0xffff | self.low >> 32 & 0xffff_0000 | self.high << 32
    }

    /// Of a call gate: how many stack slots are copied.
    pub fn gate_parameters(self) -> u64 {
        self.low >> 32 & 31
    }

    /// Of an interrupt or trap gate in long mode: the interrupt-stack-table index.
    pub fn gate_ist(self) -> u64 {
        self.low >> 32 & 7
    }
}

/// Where the descriptor that `selector` names lies, where its `size` bytes are within the table's limit.
fn locate(state: &VcpuState, selector: Selector, size: u64) -> Option<GuestVirt> {
    let (base, limit) = if selector.is_local() {
        if state.ldtr.attributes.is_unusable() || !state.ldtr.attributes.is_present() {
            return None;
        }
        (state.ldtr.base, u64::from(state.ldtr.limit))
    } else {
        (state.gdtr.base, u64::from(state.gdtr.limit))
    };
    (selector.offset() + size - 1 <= limit).then(|| GuestVirt(wrap(state, base.wrapping_add(selector.offset()))))
}

/// A linear address as wide as the mode makes it.
pub(super) fn wrap(state: &VcpuState, at: u64) -> u64 {
    if state.is_long_mode() { at } else { at & 0xffff_ffff }
}

/// Reads eight bytes of the descriptor that `selector` names; `outside` where the table ends before their end.
fn read_entry(cpu: &mut dyn Cpu, selector: Selector, delta: u64, outside: Fault) -> Result<u64, Fault> {
    let Some(at) = locate(cpu.state(), selector, delta + 8) else {
        return Err(refuse(cpu, outside, Subject::selector(selector), "lies beyond its table's limit"));
    };
    let read = cpu.read(GuestVirt(at.0.wrapping_add(delta)), Width::Qword, Privilege::System);
    read.map_err(|fault| refuse(cpu, fault, Subject::selector(selector), "cannot be read"))
}

/// Reads the descriptor that `selector` names; `outside` where the table ends before it.
pub(super) fn fetch(cpu: &mut dyn Cpu, selector: Selector, outside: Fault) -> Result<Descriptor, Fault> {
    let low = read_entry(cpu, selector, 0, outside)?;
    Ok(Descriptor { low, high: 0 })
}

/// Reads a descriptor that is sixteen bytes long in long mode when it is a system descriptor; `outside` where the table
/// ends before it, or where its upper half could be taken for a descriptor.
pub(super) fn fetch_system(cpu: &mut dyn Cpu, selector: Selector, outside: Fault) -> Result<Descriptor, Fault> {
    const UPPER_TYPE: u64 = 0x1f << 40;
    let mut descriptor = fetch(cpu, selector, outside)?;
    if cpu.state().is_long_mode() && !descriptor.attributes().is_code_or_data() {
        descriptor.high = read_entry(cpu, selector, 8, outside)?;
        // The type of the upper half is none, so that it is no descriptor of its own.
        let is_another = descriptor.high & UPPER_TYPE != 0;
        let entry = Subject::entry(selector, descriptor);
        refuse_where(cpu, outside, entry, &[(is_another, "has another descriptor in place of its upper half")])?;
    }
    Ok(descriptor)
}

/// Sets the accessed bit of a code or data descriptor, in memory and in the copy at hand.
pub(super) fn mark_accessed(cpu: &mut dyn Cpu, selector: Selector, descriptor: &mut Descriptor) -> Result<(), Fault> {
    const ACCESSED: u64 = 1 << 40;
    if descriptor.low & ACCESSED == 0 {
        descriptor.low |= ACCESSED;
        write_type(cpu, selector, *descriptor)?;
    }
    Ok(())
}

/// Writes the byte of a descriptor that holds its type back to the table.
pub(super) fn write_type(cpu: &mut dyn Cpu, selector: Selector, descriptor: Descriptor) -> Result<(), Fault> {
    let at = locate(cpu.state(), selector, 8).ok_or(Fault::gp(selector.error()))?;
    let written = cpu.write(GuestVirt(at.0.wrapping_add(5)), Width::Byte, descriptor.low >> 40 & 0xff, Privilege::System);
    written.map_err(|fault| refuse(cpu, fault, Subject::entry(selector, descriptor), "cannot be marked: its table is read-only"))
}

/// Whether a 64-bit address is canonical under the present paging mode.
pub(super) fn is_canonical(state: &VcpuState, at: u64) -> bool {
    GuestVirt(at).is_canonical(state.linear_bits())
}

/// #GP(0) where `at` is not canonical.
pub(super) fn require_canonical(state: &VcpuState, at: u64) -> Result<(), Fault> {
    if is_canonical(state, at) { Ok(()) } else { Err(Fault::GP0) }
}
