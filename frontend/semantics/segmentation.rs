//! Logical to linear addresses: the checks that segment registers ask of every access.
//! SDM: vol. 3 §5.3 (limits), §5.4 (types), §3.4.4 (64-bit mode), vol. 1 §3.3.7.1 (canonical addresses).

use dragoman_state::{GuestVirt, Segment, SegmentIndex, VcpuState};

use crate::{decode::SegmentUse, fault::Fault};

/// The linear address of `offset` through `segment`, for an access of `size` bytes (at least one). Outside 64-bit mode it
/// wraps at 4 GiB. Whether a 64-bit address is canonical is not checked here: memory does that when it is touched.
#[inline]
pub fn linear(state: &VcpuState, segment: SegmentUse, offset: u64, size: u64, is_write: bool) -> Result<GuestVirt, Fault> {
    if segment.is_flat() {
        return Ok(GuestVirt(offset));
    }
    let register = state.segment(segment.index());
    if !segment.is_checked() {
        return Ok(GuestVirt(register.base.wrapping_add(offset)));
    }
    linear_in(register, offset, size, is_write, segment_fault(segment.index()))
}

/// As [`linear`], for code that reaches memory without saying through which segment: in 64-bit mode, all of the access must
/// be canonical too.
pub fn canonical(state: &VcpuState, segment: SegmentUse, offset: u64, size: u64, is_write: bool) -> Result<GuestVirt, Fault> {
    let at = linear(state, segment, offset, size, is_write)?;
    let is_canonical = |at: GuestVirt| at.is_canonical(state.linear_bits());
    if state.is_64bit() && !(is_canonical(at) && is_canonical(GuestVirt(at.0.wrapping_add(size - 1)))) {
        return Err(segment_fault(segment.index()));
    }
    Ok(at)
}

/// As [`linear`], through a segment that need not be in a register; `refused` where it forbids the access.
pub fn linear_in(segment: &Segment, offset: u64, size: u64, is_write: bool, refused: Fault) -> Result<GuestVirt, Fault> {
    let rights = segment.attributes;
    let is_allowed = if is_write { rights.is_writable() } else { rights.is_readable() };
    let (last, limit) = (offset.wrapping_add(size - 1), u64::from(segment.limit));
    let is_inside = if rights.is_expand_down() {
        offset > limit && last <= if rights.is_big() { 0xffff_ffff } else { 0xffff }
    } else {
        last <= limit
    };
    if rights.is_unusable() || !rights.is_present() || !is_allowed || !is_inside {
        return Err(refused);
    }
    Ok(GuestVirt(segment.base.wrapping_add(offset) & 0xffff_ffff))
}

/// What [`linear_in`] objects to in an access that it refuses.
pub fn objection(segment: &Segment, offset: u64, size: u64, is_write: bool) -> &'static str {
    let rights = segment.attributes;
    if rights.is_unusable() {
        "is null: its selector was never loaded, or names nothing"
    } else if !rights.is_present() {
        "is not present"
    } else if is_write && !rights.is_writable() {
        if rights.is_code() { "is code, and cannot be written" } else { "cannot be written" }
    } else if !is_write && !rights.is_readable() {
        "is code that cannot be read"
    } else if rights.is_expand_down() {
        "grows down, and the access ends below its limit or above its top"
    } else if offset > u64::from(segment.limit) || offset.wrapping_add(size - 1) > u64::from(segment.limit) {
        "ends before the access does"
    } else {
        "cannot be accessed so"
    }
}

/// #SS(0) for the stack segment, #GP(0) for the others: what an access that the segment forbids raises, and one whose
/// address is not canonical.
pub fn segment_fault(index: SegmentIndex) -> Fault {
    if index == SegmentIndex::Ss { Fault::ss(0) } else { Fault::GP0 }
}
