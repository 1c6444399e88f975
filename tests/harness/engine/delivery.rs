//! What an exception left behind: from the frame that the processor pushed, back to what it was raised with.
//! SDM: vol. 3 §6.12.1, §6.14.2, §20.3.1 (the frames of protected, 64-bit and virtual-8086 mode), §20.1.4 (real mode).

use dragoman_frontend::fault::vector;
use dragoman_state::{Gpr, RFlags, Segment, SegmentIndex, VcpuState};

use super::{memory::Memory, template};
use crate::{
    Mode,
    layout::{HANDLER_SIZE, HANDLERS, KERNEL_STACK, PAGE},
};

/// An exception, an interrupt or a trap that was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Its vector.
    pub vector: u8,
    /// The error code, where one was pushed.
    pub error: Option<u32>,
    /// RF in the pushed image of the flags: set for faults, clear for traps.
    pub has_resume_flag: bool,
}

/// Whether the processor pushes an error code with the exception `vector`.
pub const fn has_error_code(vector: u8) -> bool {
    matches!(vector, vector::DF | vector::TS | vector::NP | vector::SS | vector::GP | vector::PF | vector::AC)
}

/// What lies below the stack pointer where exceptions are pushed onto the running stack, to be put back.
pub fn below_stack(memory: &Memory, mode: Mode, start: &VcpuState) -> Vec<(u64, Vec<u8>)> {
    const FRAME: u64 = 16;
    if mode.is_long() || start.cpl() != 0 {
        return Vec::new();
    }
    let stack = start.segment(SegmentIndex::Ss);
    let mask = if stack.attributes.is_big() { 0xffff_ffff } else { 0xffff };
    let at = stack.base + (start.gpr[Gpr::RSP].wrapping_sub(FRAME) & mask);
    let mut bytes = vec![0; FRAME as usize];
    memory.read(at, &mut bytes);
    vec![(at, bytes)]
}

/// The vector whose handler `state` is at, if it is at one.
fn handler(mode: Mode, state: &VcpuState) -> Option<u8> {
    let at = if mode == Mode::Real16 { state.segment(SegmentIndex::Cs).base + state.rip } else { state.rip };
    let is_there = (HANDLERS..HANDLERS + PAGE).contains(&at) && (mode == Mode::Real16 || state.cpl() == 0);
    is_there.then(|| ((at - HANDLERS) / HANDLER_SIZE) as u8)
}

/// What was delivered, where `state` is at a handler; it then becomes the state that the exception was raised in. `start`
/// is the state that the instruction started in: what delivery loses without pushing it is taken from there.
pub fn take_back(mode: Mode, memory: &Memory, start: &VcpuState, state: &mut VcpuState) -> Option<Delivered> {
    let vector = handler(mode, state)?;
    let width = match mode {
        Mode::Real16 => 2,
        Mode::Vm86 | Mode::Prot16 | Mode::Prot32 => 4,
        Mode::Comp16 | Mode::Comp32 | Mode::Long64 => 8,
    };
    let is_same_stack = !mode.is_long() && start.cpl() == 0;
    let stack = state.segment(SegmentIndex::Ss).base;
    let pointer_mask = if state.segment(SegmentIndex::Ss).attributes.is_big() || mode.is_long() { u64::MAX } else { 0xffff };
    let mut at = state.gpr[Gpr::RSP];
    let mut pop = || {
        let mut bytes = [0; 8];
        memory.read(stack.wrapping_add(at & pointer_mask), &mut bytes[..width]);
        at = at.wrapping_add(width as u64);
        u64::from_le_bytes(bytes)
    };
    let error = (has_error_code(vector) && mode != Mode::Real16).then(|| pop() as u32);
    let (rip, cs, flags) = (pop(), pop() as u16, pop());
    let (rsp, ss) = if is_same_stack { (None, None) } else { (Some(pop()), Some(pop() as u16)) };
    let data = (mode == Mode::Vm86).then(|| [pop() as u16, pop() as u16, pop() as u16, pop() as u16]);
    if is_same_stack {
        // The pointer went down within the stack's width only.
        let mask = if mode == Mode::Real16 { 0xffff } else { pointer_mask };
        state.gpr[Gpr::RSP] = state.gpr[Gpr::RSP] & !mask | at & mask;
    } else if at != KERNEL_STACK.end {
        // A frame of another size than the manual says is no frame that can be taken back.
        return None;
    }
    state.rip = rip;
    // Real mode pushes only the lower half.
    let above = if mode == Mode::Real16 { state.rflags.bits() & !0xffff } else { 0 };
    let flags = RFlags::from_bits_retain(flags | above);
    state.rflags = flags.difference(RFlags::RF);
    restore(mode, start, state, SegmentIndex::Cs, cs);
    if let (Some(rsp), Some(ss)) = (rsp, ss) {
        state.gpr[Gpr::RSP] = rsp;
        restore(mode, start, state, SegmentIndex::Ss, ss);
    }
    if let Some([es, ds, fs, gs]) = data {
        restore(mode, start, state, SegmentIndex::Es, es);
        restore(mode, start, state, SegmentIndex::Ds, ds);
        restore(mode, start, state, SegmentIndex::Fs, fs);
        restore(mode, start, state, SegmentIndex::Gs, gs);
    }
    Some(Delivered { vector, error, has_resume_flag: flags.contains(RFlags::RF) })
}

/// Segment register `index` with `selector`, which was popped, in it.
fn restore(mode: Mode, start: &VcpuState, state: &mut VcpuState, index: SegmentIndex, selector: u16) {
    let before = start.segment(index);
    let segment: Segment = if before.selector == selector { *before } else { template::segment(mode, selector) };
    *state.segment_mut(index) = segment;
}
