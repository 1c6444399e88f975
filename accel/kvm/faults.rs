//! How often KVM was held up by a page that it knew nothing of, by its own count.
//!
//! UNSAFETY: the descriptor of the counters is taken over from the call that makes it, and belongs to nobody else.
#![expect(unsafe_code, reason = "a call of the kernel")]

use std::{
    fs::File,
    io,
    os::{
        fd::{AsRawFd, FromRawFd},
        unix::fs::FileExt,
    },
};

use kvm_ioctls::VcpuFd;

use super::host_vcpu::number;

/// The call that hands out a processor's counters.
const GET_STATS_FD: u64 = number(0, 0, 0xce);
/// The name of the counter.
const NAME: &[u8] = b"pf_taken\0";
/// Six numbers of four bytes, of which these are the length of names, how many there are, and where they are and their values.
const HEADER: usize = 24;
const NAME_LENGTH: usize = 4;
const COUNT: usize = 8;
const DESCRIPTORS: usize = 16;
const DATA: usize = 20;
/// A counter's descriptor, without its name, and where in it the place of its value is.
const DESCRIPTOR: usize = 16;
const OFFSET: usize = 8;
/// No KVM has more counters, or longer names.
const MOST: u32 = 1 << 10;

/// The counter.
pub(super) struct Faults {
    counters: File,
    at: u64,
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.iter().skip(at).take(4).rev().fold(0, |all, byte| all << 8 | u32::from(*byte))
}

impl Faults {
    /// That of the processor `fd`; `None` where KVM does not count.
    pub fn of(fd: &VcpuFd) -> Option<Self> {
        // SAFETY: the call takes nothing.
        let counters = unsafe { libc::ioctl(fd.as_raw_fd(), GET_STATS_FD as libc::c_ulong as _) };
        if counters < 0 {
            return None;
        }
        // SAFETY: it was just made, for us.
        Self::find(unsafe { File::from_raw_fd(counters) }).ok()?
    }

    fn find(counters: File) -> io::Result<Option<Self>> {
        let mut header = [0; HEADER];
        counters.read_exact_at(&mut header, 0)?;
        let [name, count, first, data] = [NAME_LENGTH, COUNT, DESCRIPTORS, DATA].map(|at| word(&header, at));
        if name > MOST || count > MOST {
            return Ok(None);
        }
        let length = DESCRIPTOR + name as usize;
        let mut descriptor = vec![0; length];
        for n in 0..u64::from(count) {
            counters.read_exact_at(&mut descriptor, u64::from(first) + n * length as u64)?;
            if descriptor[DESCRIPTOR..].starts_with(NAME) {
                let at = u64::from(data) + u64::from(word(&descriptor, OFFSET));
                return Ok(Some(Self { counters, at }));
            }
        }
        Ok(None)
    }

    /// The count; zero where it cannot be had.
    pub fn count(&self) -> u64 {
        let mut bytes = [0; 8];
        self.counters.read_exact_at(&mut bytes, self.at).map_or(0, |()| u64::from_le_bytes(bytes))
    }
}
