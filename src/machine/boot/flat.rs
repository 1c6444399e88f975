//! A flat image, as a PC's firmware starts a boot sector: in real mode, where it was loaded.

use dragoman_state::{Gpr, GuestPhys, Segment, SegmentIndex, VcpuState};

use super::{BootError, Target};

/// Where conventional memory ends.
const CONVENTIONAL_END: u64 = 0xa_0000;
/// The number of the first hard disk, which firmware says it started from.
const FIRST_DISK: u64 = 0x80;

/// Puts `bytes` at `at`; all segments are zero, the stack grows down from the image.
pub fn place(bytes: &[u8], at: u16, target: &Target, mut state: VcpuState) -> Result<VcpuState, BootError> {
    if bytes.is_empty() {
        return Err(BootError::Truncated("it is empty"));
    }
    if u64::from(at) + bytes.len() as u64 > CONVENTIONAL_END {
        return Err(BootError::TooLong { at, end: CONVENTIONAL_END });
    }
    target.write(GuestPhys(at.into()), bytes)?;
    for index in SegmentIndex::ALL {
        let attributes = state.segment(index).attributes;
        *state.segment_mut(index) = Segment::real_mode(0, attributes);
    }
    state.rip = at.into();
    state.gpr[Gpr::RSP] = at.into();
    state.gpr[Gpr::RDX] = FIRST_DISK;
    Ok(state)
}
