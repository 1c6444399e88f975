//! Bytes of code under construction.

use dynasmrt::{AssemblyOffset, DynasmApi};

/// Code that is being put together.
#[derive(Default)]
pub(super) struct Buffer(Vec<u8>);

impl Buffer {
    /// The finished code.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Takes back everything from byte `length` on.
    pub fn truncate(&mut self, length: usize) {
        self.0.truncate(length);
    }

    /// A jump whose target is yet to come; [`Buffer::land`] takes what this returns.
    pub fn jump_forward(&mut self) -> usize {
        self.push(0xe9);
        self.displacement()
    }

    /// A jump to `target`, a place that there already is.
    pub fn jump_back(&mut self, target: usize) {
        let jump = self.jump_forward();
        self.lead(jump, target);
    }

    /// The displacement of a jump whose opcode has just been written.
    pub fn displacement(&mut self) -> usize {
        self.push_u32(0);
        self.0.len() - 4
    }

    /// Has the jump whose displacement lies at `at` come here.
    pub fn land(&mut self, at: usize) {
        self.lead(at, self.0.len());
    }

    /// Has the jump whose displacement lies at `at` go to byte `target`.
    pub fn lead(&mut self, at: usize, target: usize) {
        let distance = target.wrapping_sub(at + 4) as u32;
        self.0[at..at + 4].copy_from_slice(&distance.to_le_bytes());
    }

    /// Fills up with instructions that do nothing until `bytes` more bytes end at a multiple of four.
    pub fn align_end(&mut self, bytes: usize) {
        const IDLE: [&[u8]; 4] = [&[], &[0x90], &[0x66, 0x90], &[0x0f, 0x1f, 0x00]];
        let missing = (self.0.len() + bytes).wrapping_neg() % 4;
        self.0.extend_from_slice(IDLE[missing]);
    }
}

impl Extend<u8> for Buffer {
    fn extend<T: IntoIterator<Item = u8>>(&mut self, bytes: T) {
        self.0.extend(bytes);
    }
}

impl<'a> Extend<&'a u8> for Buffer {
    fn extend<T: IntoIterator<Item = &'a u8>>(&mut self, bytes: T) {
        self.0.extend(bytes);
    }
}

impl DynasmApi for Buffer {
    fn offset(&self) -> AssemblyOffset {
        AssemblyOffset(self.0.len())
    }

    fn push(&mut self, byte: u8) {
        self.0.push(byte);
    }

    fn align(&mut self, alignment: usize, with: u8) {
        let missing = self.0.len().wrapping_neg() % alignment;
        self.0.resize(self.0.len() + missing, with);
    }
}
