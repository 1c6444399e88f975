//! What an instruction would touch, by the decoder's own account: for reports.

use dragoman_state::{Gpr, SegmentIndex, VcpuState};
use iced_x86::{Decoder, DecoderOptions, InstructionInfoFactory, OpAccess, Register};

use super::CodeSize;

/// Memory that an instruction accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touched {
    /// Through which segment.
    pub segment: SegmentIndex,
    /// The offset in it.
    pub offset: u64,
    /// In bytes, at least one.
    pub size: u64,
    /// It is written, perhaps after it was read.
    pub is_write: bool,
}

/// What there is to know of an instruction before it is executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// Its accesses to memory, with `state`'s registers.
    pub touched: Vec<Touched>,
    /// Not every privilege level may execute it.
    pub is_privileged: bool,
}

/// Looks at the first instruction in `bytes`, which lie at `ip`; `None` where there is none.
pub fn inspect(bytes: &[u8], size: CodeSize, ip: u64, state: &VcpuState) -> Option<Inspected> {
    let insn = Decoder::with_ip(size.bits(), bytes, ip, DecoderOptions::NONE).decode();
    if insn.is_invalid() {
        return None;
    }
    let mut factory = InstructionInfoFactory::new();
    let info = factory.info(&insn);
    let touched = info.used_memory().iter().filter_map(|memory| {
        let access = memory.access();
        let is_write = matches!(access, OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite);
        if matches!(access, OpAccess::None | OpAccess::NoMemAccess) {
            return None;
        }
        let offset = memory.virtual_address(0, |register, _, _| Some(value(register, state)))?;
        let size = (memory.memory_size().size() as u64).max(1);
        Some(Touched { segment: segment(memory.segment()), offset, size, is_write })
    });
    Some(Inspected { touched: touched.collect(), is_privileged: insn.is_privileged() })
}

/// The value of a register in an address; segments count as zero, so that the address is an offset.
fn value(register: Register, state: &VcpuState) -> u64 {
    if !register.is_gpr() {
        return 0;
    }
    let whole = state.gpr[Gpr(register.number() as u8)];
    match register.size() {
        8 => whole,
        4 => whole & 0xffff_ffff,
        2 => whole & 0xffff,
        _ => whole & 0xff,
    }
}

fn segment(register: Register) -> SegmentIndex {
    match register {
        Register::ES => SegmentIndex::Es,
        Register::CS => SegmentIndex::Cs,
        Register::SS => SegmentIndex::Ss,
        Register::FS => SegmentIndex::Fs,
        Register::GS => SegmentIndex::Gs,
        _ => SegmentIndex::Ds,
    }
}
