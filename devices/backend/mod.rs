//! The host side of what chips talk to.
//!
//! Rule of this folder: nothing here may wait. A chip calls its backend while it is locked by a vCPU.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

/// Where a chip's output bytes go: a terminal, a file, a socket.
pub trait ByteSink: Send {
    /// Takes as many of `bytes` as it can at once, first ones first, and returns how many; never waits. A sink holds
    /// a bounded number of bytes: what it does not take, the chip keeps and offers again. A sink that will never take
    /// another byte (its reader is gone) takes all of them and forgets them.
    fn write(&mut self, bytes: &[u8]) -> usize;
}

/// Keeps the last bytes written to it in memory. Clones share the bytes: one goes to the chip, one stays with the reader.
#[derive(Clone)]
pub struct MemorySink {
    bytes: Arc<Mutex<VecDeque<u8>>>,
    capacity: usize,
}

impl MemorySink {
    /// An empty sink that takes no more than `capacity` bytes before they are read.
    pub fn new(capacity: usize) -> Self {
        Self { bytes: Arc::default(), capacity }
    }

    /// Takes out what was written so far.
    pub fn take(&self) -> Vec<u8> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }
}

impl ByteSink for MemorySink {
    fn write(&mut self, bytes: &[u8]) -> usize {
        let mut held = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = bytes.len().min(self.capacity.saturating_sub(held.len()));
        held.extend(&bytes[..taken]);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_sink_takes_what_fits_and_more_after_it_was_read() {
        let mut sink = MemorySink::new(4);
        let reader = sink.clone();
        assert_eq!(sink.write(b"abcdef"), 4);
        assert_eq!(sink.write(b"ef"), 0);
        assert_eq!(reader.take(), b"abcd");
        assert_eq!(sink.write(b"ef"), 2);
        assert_eq!(reader.take(), b"ef");
    }
}
