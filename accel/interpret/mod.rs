//! The interpreter: any guest, any host, one instruction at a time. The first to run new code, and the one that the
//! other engines fall back on.

mod apic;
mod blocks;
mod cpu;
mod debug;
mod events;
mod memory;
pub(crate) mod processor;
#[cfg(test)]
pub(crate) mod tests;
mod vectors;

use std::sync::Arc;

pub(crate) use blocks::BlockCache;
use blocks::{BlockId, Decoded};
use dragoman_frontend::{
    decode::{DecodeError, Decoder, Insn, MAX_BLOCK_INSNS, MAX_INSN_BYTES},
    fault::Fault,
    post_mortem::Trace,
    semantics::{Handler, Table, segmentation::segment_fault, system::TripleFault},
};
use dragoman_state::{Gpr, GuestPhys, GuestVirt, PAGE_SIZE, SegmentIndex, VcpuId, VcpuState};
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) use events::NO_LIMIT;
use processor::Processor;

use crate::{AccelError, Accelerator, Capabilities, ExitReason, StopToken, Vcpu, VcpuContext, VcpuHandle, mmu::MemoryFault};

/// The interpreter as an engine.
#[derive(Debug, Default, Clone, Copy)]
pub struct Interpreter;

impl Accelerator for Interpreter {
    fn name(&self) -> &'static str {
        "interp"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { single_step: true, dirty_log: true }
    }

    fn create_vcpu(&self, id: VcpuId, context: VcpuContext) -> Result<(Box<dyn Vcpu>, Arc<dyn VcpuHandle>), AccelError> {
        let vcpu = InterpretedVcpu::new(id, context);
        let handle = vcpu.cpu.inbox.clone();
        Ok((Box::new(vcpu), handle))
    }
}

/// A processor run by the interpreter.
pub(crate) struct InterpretedVcpu {
    /// Not here itself: its tables are large.
    pub cpu: Box<Processor>,
    pub table: Table<Processor>,
    pub decoder: Decoder,
    pub blocks: BlockCache,
    /// Where code was overwritten that another engine too may have taken up: it empties this.
    pub overwritten: Option<Vec<(GuestPhys, u64)>>,
    /// Another engine could not deliver a fault that it tried to.
    pub shutdown: Option<TripleFault>,
    pub instructions: u64,
}

/// How a run of instructions ended.
pub(crate) enum BlockEnd {
    /// At an instruction boundary; RIP says where.
    Done,
    /// At an instruction that raised a fault; RIP is its own.
    Fault(Fault),
}

impl InterpretedVcpu {
    pub fn new(id: VcpuId, context: VcpuContext) -> Self {
        let table = Table::new(&context.model);
        let decoder = Decoder::new(&context.model, table.attributes());
        let cpu = Box::new(Processor::new(id, context));
        Self { decoder, table, cpu, blocks: BlockCache::new(), overwritten: None, shutdown: None, instructions: 0 }
    }

    /// Runs instructions until something other than running them is to be done, at most `limit` where that is given.
    #[inline]
    pub fn run_block(&mut self, limit: usize) -> BlockEnd {
        let at = self.cpu.code_address(self.cpu.state.rip);
        let code = match self.cpu.mmu.fetch_fast(self.cpu.view, at) {
            Some(code) => code,
            None => match self.fetch(at) {
                Ok(code) => code,
                Err(fault) => return BlockEnd::Fault(fault),
            },
        };
        let block = match self.blocks.find_recent(code, self.cpu.mode) {
            Some(block) => block,
            None => match self.find_block(at, code) {
                Ok(id) => match self.blocks.get(id) {
                    Some(block) => block,
                    None => return BlockEnd::Done,
                },
                Err(fault) => return BlockEnd::Fault(fault),
            },
        };
        let mut limit = limit;
        if self.cpu.has_code_limit {
            // Whatever jumps is checked; but the end of a segment can also be run into.
            limit = limit.min(block.instructions_within(self.cpu.room_in_code()));
            if limit == 0 {
                return BlockEnd::Fault(Fault::GP0);
            }
        }
        let (end, executed) = execute(&mut self.cpu, block, at, limit);
        self.instructions += executed;
        end
    }

    /// The physical address of the code at the linear address `at`, or the fault of fetching it.
    #[cold]
    pub fn fetch(&mut self, at: u64) -> Result<GuestPhys, Fault> {
        if self.cpu.room_in_code() == 0 {
            return Err(Fault::GP0);
        }
        self.cpu.mmu.fetch(self.cpu.view, GuestVirt(at)).map_err(|fault| match fault {
            MemoryFault::NotCanonical => segment_fault(SegmentIndex::Cs),
            MemoryFault::Page(error, at) => {
                self.cpu.state.events.page_fault_address = at;
                Fault::pf(error.0)
            }
        })
    }

    /// The physical address of the page after the one that `at` is in, into which the instruction at `at` runs.
    pub fn fetch_tail(&mut self, at: u64) -> Result<GuestPhys, Fault> {
        let next = (at | (PAGE_SIZE - 1)).wrapping_add(1);
        if self.cpu.room_in_code() <= next.wrapping_sub(at) {
            return Err(Fault::GP0);
        }
        let next = self.cpu.wrap_linear(next);
        match self.cpu.mmu.fetch_fast(self.cpu.view, next) {
            Some(tail) => Ok(tail),
            None => self.fetch(next),
        }
    }

    /// The block at linear address `at`, physical address `code`; decoded now where it was not yet.
    #[cold]
    fn find_block(&mut self, at: u64, code: GuestPhys) -> Result<BlockId, Fault> {
        match self.blocks.find(code, self.cpu.mode) {
            Some((id, None)) => return Ok(id),
            // The second page may be mapped to other memory than when the block was decoded.
            Some((id, Some(tail))) if self.fetch_tail(at)?.page() == tail => return Ok(id),
            Some(_) | None => {}
        }
        self.decode(at, code)
    }

    fn decode(&mut self, at: u64, code: GuestPhys) -> Result<BlockId, Fault> {
        const WINDOW: usize = 512;
        let room = PAGE_SIZE as usize - code.page_offset();
        let size = room.min(WINDOW);
        let mode = self.cpu.mode;
        self.cpu.watch_code(code);
        loop {
            let mut window = [0; WINDOW + MAX_INSN_BYTES];
            self.cpu.mmu.read_code(code, &mut window[..size]);
            let (block, tail) = match self.decoder.decode(code, &window[..size], mode, MAX_BLOCK_INSNS) {
                Ok(block) => (block, None),
                Err(DecodeError::NeedsMoreBytes) => {
                    let tail = self.fetch_tail(at)?.page();
                    self.cpu.watch_code(tail);
                    self.cpu.mmu.read_code(tail, &mut window[size..size + MAX_INSN_BYTES]);
                    let bytes = &window[..size + MAX_INSN_BYTES];
                    match self.decoder.decode(code, bytes, mode, 1) {
                        Ok(block) => (block, Some(tail)),
                        Err(DecodeError::NeedsMoreBytes) => return Err(Fault::GP0),
                    }
                }
            };
            let length = usize::from(block.length);
            let id = self.blocks.insert(block, tail, &self.table, self.cpu.context.ram.tracker());
            // Others may have written while nobody told of this code; from here on they are told.
            let is_same = |at, bytes: &[u8]| self.cpu.mmu.is_code(at, bytes);
            let (first, rest) = window[..length].split_at(length.min(size));
            if is_same(code, first) && tail.is_none_or(|tail| is_same(tail, rest)) {
                return Ok(id);
            }
        }
    }
}

/// Executes at most `limit` instructions of `block`, which begins at linear address `at`, at least one. Returns how many,
/// with how it ended.
#[inline(always)]
fn execute(cpu: &mut Processor, block: &Decoded, at: u64, limit: usize) -> (BlockEnd, u64) {
    let start = cpu.state.rip;
    cpu.state.gpr[Gpr::BLOCK] = start;
    let ops = &block.ops[..];
    let Some((last, body)) = ops.split_last() else { return (BlockEnd::Done, 0) };
    let body = if limit < ops.len() { &ops[..limit] } else { body };
    for (n, op) in body.iter().enumerate() {
        if let Err(fault) = (op.handler)(cpu, &op.insn) {
            cpu.state.rip = cpu.wrap_ip(start.wrapping_add(op.insn.start.into()));
            return (BlockEnd::Fault(fault), n as u64);
        }
        if cpu.must_leave {
            cpu.must_leave = false;
            cpu.state.rip = cpu.wrap_ip(start.wrapping_add(op.insn.end()));
            return (BlockEnd::Done, n as u64 + 1);
        }
    }
    if limit < ops.len() {
        let end = body.last().map_or(0, |op| op.insn.end());
        cpu.state.rip = cpu.wrap_ip(start.wrapping_add(end));
        return (BlockEnd::Done, limit as u64);
    }
    let (end, is_done) = execute_last(cpu, last.handler, &last.insn, start, at);
    (end, ops.len() as u64 - u64::from(!is_done))
}

/// Executes the last instruction of a block that begins at RIP `start`, linear address `at`. Returns how it ended, and
/// whether it counts as executed.
#[inline(always)]
pub(crate) fn execute_last(
    cpu: &mut Processor,
    handler: Handler<Processor>,
    last: &Insn,
    start: u64,
    at: u64,
) -> (BlockEnd, bool) {
    let next = cpu.wrap_ip(start.wrapping_add(last.end()));
    cpu.state.rip = next;
    cpu.is_block_end = true;
    let result = handler(cpu, last);
    cpu.is_block_end = false;
    cpu.must_leave = false;
    match result {
        Ok(()) => {
            if cpu.state.rip != next {
                let from = at.wrapping_add(last.start.into());
                cpu.branches.push(from, cpu.code_address(cpu.state.rip));
            }
            (BlockEnd::Done, true)
        }
        Err(fault) if fault.is_trap() => (BlockEnd::Fault(fault), true),
        Err(fault) => {
            cpu.state.rip = cpu.wrap_ip(start.wrapping_add(last.start.into()));
            (BlockEnd::Fault(fault), false)
        }
    }
}

impl Vcpu for InterpretedVcpu {
    fn run(&mut self, stop: &StopToken) -> Result<ExitReason, AccelError> {
        self.in_world(|vcpu| vcpu.run_until_stopped(stop))
    }

    fn step(&mut self) -> Result<ExitReason, AccelError> {
        self.in_world(Self::step_once)
    }

    fn save(&mut self) -> Result<VcpuState, AccelError> {
        self.cpu.store_flags();
        Ok(self.cpu.state.clone())
    }

    fn load(&mut self, state: &VcpuState) -> Result<(), AccelError> {
        self.cpu.state = state.clone();
        self.cpu.load_flags();
        self.cpu.derive();
        self.cpu.mmu.flush(dragoman_frontend::semantics::Flush::All);
        self.cpu.rearm_timer();
        self.cpu.must_attend = true;
        Ok(())
    }

    fn instructions(&self) -> u64 {
        self.instructions
    }

    fn trace(&self) -> Trace {
        Trace {
            branches: self.cpu.branches.recent(),
            exception: self.cpu.last_exception,
            notes_exceptions: true,
            instructions: Some(self.instructions),
        }
    }
}
