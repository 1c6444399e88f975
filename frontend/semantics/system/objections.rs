//! Why the processor refuses: said where it is decided, kept for the report on a guest that dies of it.
//!
//! Rule of this file: an objection costs nothing until there is one, and nothing ever branches on it. The text goes on where
//! the subject's name ends: "IDT entry 14" ... "is not present".

use dragoman_state::{Segment, SegmentIndex};

use super::{
    super::Cpu,
    descriptors::{Descriptor, Selector},
};
use crate::fault::Fault;

/// What a check looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The instruction, or what it was asked to do.
    Instruction,
    /// The entry of a vector in the interrupt descriptor table; its bytes, where they were read.
    Gate {
        /// The vector.
        vector: u8,
        /// The first eight bytes, and in long mode the other eight.
        bytes: Option<[u64; 2]>,
    },
    /// The entry of the global or local descriptor table that a selector names; its bytes, where they were read.
    Entry {
        /// The selector.
        selector: u16,
        /// The first eight bytes.
        bytes: Option<u64>,
    },
    /// A field of the present task state segment.
    TaskState {
        /// Bytes from its beginning.
        offset: u64,
    },
    /// The stack that something is pushed on or popped from.
    Stack {
        /// Its segment.
        selector: u16,
        /// The offset in it.
        offset: u64,
    },
    /// The segment register that an access goes through.
    Segment {
        /// Which.
        index: SegmentIndex,
        /// The offset in it.
        offset: u64,
    },
}

/// A check that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Objection {
    /// What was looked at.
    pub subject: Subject,
    /// What is wrong with it.
    pub text: &'static str,
    /// What the processor raises for it.
    pub fault: Fault,
}

impl Subject {
    /// The descriptor that `selector` named.
    pub(super) fn entry(selector: Selector, descriptor: Descriptor) -> Self {
        Self::Entry { selector: selector.0, bytes: Some(descriptor.low) }
    }

    /// Whatever `selector` names, before it was read.
    pub(super) fn selector(selector: Selector) -> Self {
        Self::Entry { selector: selector.0, bytes: None }
    }

    /// The place `offset` of a stack.
    pub(super) fn stack(segment: &Segment, offset: u64) -> Self {
        Self::Stack { selector: segment.selector, offset }
    }
}

/// Notes why, and hands `fault` back.
#[cold]
pub(super) fn refuse(cpu: &mut dyn Cpu, fault: Fault, subject: Subject, text: &'static str) -> Fault {
    cpu.object(Objection { subject, text, fault });
    fault
}

/// `fault` where one of the objections holds: the first that does is the one that is noted.
#[inline]
pub(super) fn refuse_where(
    cpu: &mut dyn Cpu,
    fault: Fault,
    subject: Subject,
    objections: &[(bool, &'static str)],
) -> Result<(), Fault> {
    match objections.iter().find(|(holds, _)| *holds) {
        Some((_, text)) => Err(refuse(cpu, fault, subject, text)),
        None => Ok(()),
    }
}
