//! Sets of interrupt vectors, as IRR, ISR and TMR hold them: 256 bits in eight registers.
//!
//! Rule of this file: every `u8` is a vector, so nothing is out of range.
//! Reference: SDM vol. 3 §11.8.4.

/// A register of 256 bits.
pub(super) trait Vectors {
    /// Whether `vector` is in the set.
    fn has(&self, vector: u8) -> bool;
    /// Puts `vector` in or takes it out.
    fn put(&mut self, vector: u8, is_in: bool);
    /// The greatest vector in the set: the one of the highest priority.
    fn highest(&self) -> Option<u8>;
}

impl Vectors for [u32; 8] {
    fn has(&self, vector: u8) -> bool {
        self[usize::from(vector >> 5)] >> (vector & 31) & 1 != 0
    }

    fn put(&mut self, vector: u8, is_in: bool) {
        let (word, bit) = (&mut self[usize::from(vector >> 5)], 1 << (vector & 31));
        *word = if is_in { *word | bit } else { *word & !bit };
    }

    fn highest(&self) -> Option<u8> {
        let word = self.iter().rposition(|word| *word != 0)?;
        Some(32 * word as u8 + self[word].ilog2() as u8)
    }
}
