//! What translated code leaves to the interpreter: one instruction, a repeated one, the delivery of a fault.

use dragoman_frontend::{decode::Insn, fault::Fault, semantics::LazyFlags};
use dragoman_jit::rewrite::SiteKind;
use dragoman_state::{Gpr, InterruptShadow, RFlags};

use super::{
    code::Place,
    run::{Next, Run},
};
use crate::interpret::{BlockEnd, InterpretedVcpu};

impl Run<'_> {
    /// Executes the instruction at `place`.
    pub(super) fn interpret(&mut self, vcpu: &mut InterpretedVcpu, place: &Place) -> Next {
        let cpu = &mut vcpu.cpu;
        cpu.flags = LazyFlags::literal(cpu.state.rflags);
        // Whatever STI came before, this is an instruction behind it.
        cpu.state.events.shadow = InterruptShadow::None;
        let start = cpu.frame.page.wrapping_add(place.block.key.at.page_offset() as u64);
        cpu.state.gpr[Gpr::BLOCK] = start;
        let insns = &place.block.payload;
        let n = usize::from(place.site.insn);
        let (insn, handler) = (&insns[n], vcpu.table.handler(insns[n].opcode));
        if place.site.kind == SiteKind::Repeat {
            return Self::repeat(vcpu, place, insn, start);
        }
        if n + 1 == insns.len() {
            if place.site.touches_x87 {
                self.unload_x87(vcpu);
            }
            let end = Self::execute_last(vcpu, place);
            return match end {
                BlockEnd::Done => self.go_on(vcpu),
                BlockEnd::Fault(_) => Next::Leave(end),
            };
        }
        let had_x87 = place.site.touches_x87 && vcpu.cpu.frame.has_x87 != 0;
        if had_x87 {
            self.unload_x87(vcpu);
        }
        let cpu = &mut vcpu.cpu;
        let result = handler(cpu, insn);
        cpu.store_flags();
        let must_leave = std::mem::take(&mut cpu.must_leave);
        if let Err(fault) = result {
            cpu.state.rip = start.wrapping_add(insn.start.into());
            return Next::Leave(BlockEnd::Fault(fault));
        }
        vcpu.instructions += 1;
        cpu.state.rip = cpu.wrap_ip(start.wrapping_add(insn.end()));
        // Nor where there is something to be heard: also that the code is gone, which is said to those out of the world.
        let goes_on = !must_leave && !cpu.must_attend && !cpu.inbox.has_any() && (!had_x87 || Self::load_x87(vcpu));
        match place.resume() {
            Some(address) if goes_on => {
                Self::count_again(vcpu, place);
                Next::Code(address)
            }
            None if goes_on => self.go_on(vcpu),
            _ => Next::Leave(BlockEnd::Done),
        }
    }

    /// Delivers what an instruction was refused with, and goes on with its handler.
    pub(super) fn deliver(&mut self, vcpu: &mut InterpretedVcpu, fault: Fault) -> Next {
        // Whatever was to be done before the next instruction comes first there.
        let must_attend = vcpu.cpu.must_attend;
        if let Err(end) = vcpu.finish(BlockEnd::Fault(fault)) {
            vcpu.shutdown = Some(end);
            return Next::Leave(BlockEnd::Done);
        }
        vcpu.cpu.must_attend = must_attend;
        vcpu.cpu.has_changed = true;
        self.go_on(vcpu)
    }

    /// Goes on at RIP after something that may have changed how: at once, where nothing else is to be done first.
    pub(super) fn go_on(&mut self, vcpu: &mut InterpretedVcpu) -> Next {
        let at = vcpu.cpu.state.rip;
        if !self.may_go_on(vcpu) {
            return Next::Leave(BlockEnd::Done);
        }
        self.forget(vcpu);
        self.start(vcpu, at);
        let view = vcpu.cpu.view as usize;
        if let Some(code) = self.jumps.of(view).find(at) {
            vcpu.cpu.frame.target = at;
            return Next::Code(code);
        }
        self.follow(vcpu, at, true, |run, block, is_global| {
            run.learn(view, at, block, is_global);
            block.with_saved_flags
        })
    }

    /// Executes a repeated string instruction until it is done, or something else is.
    pub(super) fn repeat(vcpu: &mut InterpretedVcpu, place: &Place, insn: &Insn, start: u64) -> Next {
        let handler = vcpu.table.handler(insn.opcode);
        let cpu = &mut vcpu.cpu;
        let (this, next) = (start.wrapping_add(insn.start.into()), cpu.wrap_ip(start.wrapping_add(insn.end())));
        loop {
            cpu.state.rip = next;
            let result = handler(cpu, insn);
            let must_leave = std::mem::take(&mut cpu.must_leave);
            let is_done = cpu.state.rip == next;
            if result.is_err() || is_done || must_leave || cpu.must_attend || cpu.inbox.has_any() {
                cpu.store_flags();
                // RF is set while the instruction is under way, for one instruction.
                cpu.must_attend |= result.is_ok() && !is_done;
                vcpu.instructions += u64::from(result.is_ok());
                return match (result, place.resume()) {
                    (Err(fault), _) => {
                        cpu.state.rip = this;
                        Next::Leave(BlockEnd::Fault(fault))
                    }
                    (Ok(()), Some(address)) if is_done && !must_leave && !cpu.must_attend => {
                        Self::count_again(vcpu, place);
                        Next::Code(address)
                    }
                    (Ok(()), _) => Next::Leave(BlockEnd::Done),
                };
            }
            cpu.state.rflags.remove(RFlags::RF);
        }
    }
}
