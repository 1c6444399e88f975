//! What a check looked at, in words.

use dragoman_state::{Attributes, SegmentIndex};

use super::Scene;
use crate::semantics::system::{Objection, Subject};

impl Scene<'_> {
    /// An objection as a sentence without its end.
    pub(super) fn objection(&self, objection: &Objection) -> String {
        format!("{} {}", self.subject(objection.subject), objection.text)
    }

    fn subject(&self, subject: Subject) -> String {
        match subject {
            Subject::Instruction => "the instruction".into(),
            Subject::Gate { vector, bytes } => self.gate(vector, bytes),
            Subject::Entry { selector, bytes } => entry(selector, bytes),
            Subject::TaskState { offset } => self.task_state(offset),
            Subject::Stack { selector, offset } => format!("the stack at {selector:04x}:{offset:x}"),
            Subject::Segment { index, offset } => {
                format!("{} ({:04x}), accessed at {offset:#x},", name(index), self.state.segment(index).selector)
            }
        }
    }

    fn gate(&self, vector: u8, bytes: Option<[u64; 2]>) -> String {
        let size = match (self.state.is_real_mode(), self.state.is_long_mode()) {
            (true, _) => 4,
            (false, false) => 8,
            (false, true) => 16,
        };
        let offset = u64::from(vector) * size;
        match bytes {
            None => format!("IDT entry {vector} (at offset {offset:#x}, limit {:#x})", self.state.idtr.limit),
            Some([low, _]) if size == 8 => format!("IDT entry {vector} ({low:016x})"),
            Some([low, high]) => format!("IDT entry {vector} ({high:016x} {low:016x})"),
        }
    }

    /// A field of the task state segment, by the name it has in the present mode.
    fn task_state(&self, offset: u64) -> String {
        let tr = &self.state.tr;
        let is_wide = tr.attributes.kind() & 8 != 0;
        let field = match (self.state.is_long_mode(), is_wide, offset) {
            (true, _, 0x04) => "RSP0".into(),
            (true, _, 0x0c) => "RSP1".into(),
            (true, _, 0x14) => "RSP2".into(),
            (true, _, 0x24..=0x54) => format!("IST{}", (offset - 0x1c) / 8),
            (false, true, 0x04) => "ESP0".into(),
            (false, true, 0x08) => "SS0".into(),
            (false, false, 0x02) => "SP0".into(),
            (false, false, 0x04) => "SS0".into(),
            _ => "a field".into(),
        };
        format!("{field} of the TSS (TR {:04x}, base {:#x}, limit {:#x})", tr.selector, tr.base, tr.limit)
    }
}

/// The entry of a descriptor table that a selector names.
fn entry(selector: u16, bytes: Option<u64>) -> String {
    let table = if selector & 4 == 0 { "GDT" } else { "LDT" };
    match bytes {
        _ if selector & !3 == 0 => format!("the selector {selector:#x}"),
        None => format!("{table} entry {} (selector {selector:#x})", selector >> 3),
        Some(bytes) => {
            let kind = kind(Attributes::from_descriptor((bytes >> 32) as u32));
            format!("{table} entry {} (selector {selector:#x}: {bytes:016x}, {kind})", selector >> 3)
        }
    }
}

/// The type of a descriptor. SDM: vol. 3 tables 3-1 and 3-2.
fn kind(rights: Attributes) -> String {
    let name = match (rights.is_code_or_data(), rights.kind()) {
        (true, _) if rights.is_code() && rights.is_long() => "64-bit code",
        (true, _) if rights.is_code() && rights.is_big() => "32-bit code",
        (true, _) if rights.is_code() => "16-bit code",
        (true, _) if rights.is_writable() => "writable data",
        (true, _) => "read-only data",
        (false, 1) => "an available 16-bit TSS",
        (false, 2) => "an LDT",
        (false, 3) => "a busy 16-bit TSS",
        (false, 4) => "a 16-bit call gate",
        (false, 5) => "a task gate",
        (false, 6 | 7) => "a 16-bit gate",
        (false, 9) => "an available TSS",
        (false, 11) => "a busy TSS",
        (false, 12) => "a call gate",
        (false, 14) => "an interrupt gate",
        (false, 15) => "a trap gate",
        (false, _) => "of a reserved type",
    };
    format!("{name}, DPL {}", rights.dpl())
}

/// The name of a segment register.
pub(super) fn name(index: SegmentIndex) -> &'static str {
    ["ES", "CS", "SS", "DS", "FS", "GS"][index as usize]
}
