//! Instructions that their handler executes while the translated code that they are in waits for it.
//!
//! Rule of this file: the same is done as where code is left for an instruction, and the same is asked before code goes on. Only
//! the way there and back is shorter.

use dragoman_frontend::semantics::LazyFlags;
use dragoman_jit::{
    SavedFlags,
    rewrite::FlagHome,
    run::{Onward, Owner},
};
use dragoman_state::{Gpr, InterruptShadow};

use super::{
    code::Place,
    run::{Run, can_translate},
};
use crate::{
    interpret::{BlockEnd, InterpretedVcpu, execute_last, processor::Processor},
    mmu::ViewIndex,
};

/// The translator's part of a processor and the interpreter's, while translated code runs.
pub(super) struct Entered<'r, 'a> {
    pub run: &'r mut Run<'a>,
    pub vcpu: &'r mut InterpretedVcpu,
}

impl Owner<Processor> for Entered<'_, '_> {
    fn processor(&mut self) -> &mut Processor {
        &mut self.vcpu.cpu
    }

    fn execute(&mut self, number: u32) -> Onward {
        let Self { run, vcpu } = self;
        run.exits.count_handled();
        let regions = run.regions;
        let Some(place) = regions.left_at(number) else { return Onward::Nowhere };
        let executed = &mut vcpu.cpu.frame.executed;
        *executed = executed.wrapping_sub(place.counted_ahead());
        run.take_flags(vcpu, FlagHome::Memory);
        Run::take_pointer(vcpu, &place);
        let cpu = &mut vcpu.cpu;
        let (mode, view, paging) = (cpu.mode, cpu.view, cpu.paging_registers());
        let end = Run::execute_last(vcpu, &place);
        let onward = match end {
            BlockEnd::Done => {
                let cpu = &mut vcpu.cpu;
                if cpu.has_changed && cpu.paging_registers() == paging {
                    cpu.settle_by(Processor::derive_from_segments);
                }
                run.onward(vcpu)
            }
            BlockEnd::Fault(_) => Onward::Nowhere,
        };
        let cpu = &mut vcpu.cpu;
        if onward == Onward::Nowhere {
            run.executed = Some(end);
            return Onward::Nowhere;
        }
        (cpu.frame.flags, cpu.frame.recipe) = (SavedFlags::of(cpu.state.rflags), 0);
        // Translated code notes no branches.
        cpu.branches.forget();
        let last = place.block.payload.last().map_or(0, |insn| insn.end());
        let next = cpu.wrap_ip(cpu.state.gpr[Gpr::BLOCK].wrapping_add(last));
        let at = cpu.state.rip;
        let is_same = at == next && cpu.mode == mode && cpu.view == view;
        // Also there: an instruction that jumps, to what is behind it, goes on through the cache.
        cpu.frame.target = at;
        if onward == Onward::Behind && is_same {
            return Onward::Behind;
        }
        run.start(vcpu, at);
        Onward::Target
    }
}

impl Run<'_> {
    /// Has the last instruction of a block, which is at `place`, executed by its handler.
    pub(super) fn execute_last(vcpu: &mut InterpretedVcpu, place: &Place) -> BlockEnd {
        let cpu = &mut vcpu.cpu;
        cpu.flags = LazyFlags::literal(cpu.state.rflags);
        // Whatever STI came before, this is an instruction behind it.
        cpu.state.events.shadow = InterruptShadow::None;
        let start = cpu.frame.page.wrapping_add(place.block.key.at.page_offset() as u64);
        cpu.state.gpr[Gpr::BLOCK] = start;
        let insn = &place.block.payload[usize::from(place.site.insn)];
        let handler = vcpu.table.handler(insn.opcode);
        let (end, is_done) = execute_last(cpu, handler, insn, start, start);
        cpu.store_flags();
        vcpu.instructions += u64::from(is_done);
        end
    }

    /// Whether code goes on at RIP at once: behind the instruction where that changed nothing that code depends on but the mode and
    /// the view, which are looked at by the caller.
    fn onward(&mut self, vcpu: &mut InterpretedVcpu) -> Onward {
        if !self.may_go_on(vcpu) {
            return Onward::Nowhere;
        }
        if self.forget(vcpu) { Onward::Target } else { Onward::Behind }
    }

    /// Whether nothing is to be done before the next instruction, after one that may have changed how code runs.
    pub(super) fn may_go_on(&mut self, vcpu: &mut InterpretedVcpu) -> bool {
        let cpu = &mut vcpu.cpu;
        if cpu.has_changed {
            cpu.settle();
        }
        // What is known of code is about code that is gone, where room was made meanwhile.
        if cpu.must_attend || cpu.inbox.has_any() || !self.code.cache.is_current(self.regions) {
            return false;
        }
        let is_elsewhere = cpu.frame.user_elsewhere != 0 && cpu.view == ViewIndex::User;
        !is_elsewhere && can_translate(vcpu)
    }
}
