//! Decoded instructions in, host code out, for a host of the same instruction set.
//!
//! Rule of this folder: an instruction that is translated is the guest's own, encoded again with other registers and with
//! its memory operand where a probe found it; what only this crate knows the meaning of are jumps, calls and the stack. What
//! cannot be translated is left to the interpreter, and the block goes on behind it. Code holds no address of the guest's: it
//! knows where in its page it lies, and [`Frame::page`](crate::Frame::page) says where the page is.
//!
//! The host's registers while translated code runs:
//!
//! | host | holds |
//! |---|---|
//! | RAX to RDI, R8, R9, R12, R13 | the guest's register of the same name; RSP apart |
//! | R15 | the guest's RSP |
//! | R10, R11, R14 | nothing from one instruction to the next; the guest's, and its R15, are in its state |
//! | XMM or YMM 0 to 15, MXCSR | the guest's |
//! | RSP | the host's stack, with the calls that the guest may return from (`returns.rs`) |
//! | flags | the guest's, or nothing: each place of the code knows ([`FlagHome`]) |

mod buffer;
mod control;
mod flags;
mod groups;
mod handled;
mod kept;
mod memory;
mod narrow;
mod native;
mod plan;
mod recipe;
mod registers;
mod returns;
mod rflags;
mod segments;
mod stack;
mod strings;
mod system;
mod tail;
mod translation;
mod turns;

use std::num::NonZero;

use dynasm::dynasm;
use dynasmrt::DynasmApi;
use iced_x86::{Encoder, InstructionInfoFactory};

pub use flags::FlagHome;
pub(crate) use groups::LONGEST as LONGEST_GROUP;
pub use plan::HostInstructions;
pub use recipe::Recipe;
pub use translation::{Exit, Original, Pointer, Row, Site, SiteKind, Source, Translation, Way};

use crate::{Layout, Tables};
use buffer::Buffer;
use flags::{Effect, Flags};
use groups::Groups;
use kept::Kept;
use plan::{Plan, Step};
use turns::Turns;

/// Translates blocks for one kind of processor.
pub struct Rewriter {
    layout: Layout,
    host: HostInstructions,
    infos: InstructionInfoFactory,
    encoder: Encoder,
    counts: bool,
}

impl Rewriter {
    /// A rewriter for processors of `layout` on a host that executes `host`.
    pub fn new(layout: Layout, host: HostInstructions) -> Self {
        Self { layout, host, infos: InstructionInfoFactory::new(), encoder: Encoder::new(64), counts: false }
    }

    /// Has the code count the instructions that it executes in [`Frame::executed`](crate::Frame::executed), or not.
    #[must_use]
    pub fn counting(self, counts: bool) -> Self {
        Self { counts, ..self }
    }

    /// Translates a block of 64-bit code, or of 32-bit code whose CS is flat.
    pub fn rewrite(&mut self, source: Source) -> Translation {
        let both = source.originals.iter().zip(source.insns);
        let mut steps: Vec<Step> =
            both.map(|(original, insn)| plan::of(&mut self.infos, &self.host, original, insn, source.mode)).collect();
        if let (Some(last), Some(original)) = (steps.last_mut(), source.originals.last()) {
            // It may be the last because of what it changes.
            last.plan = last.plan.of_last(original, source.mode);
        }
        let turns = Turns::of(&steps, &source);
        let (insns, originals);
        let source = if turns.are_several() {
            (insns, originals) = (turns.unroll(source.insns), turns.unroll(source.originals));
            steps = turns.unroll(&steps);
            Source { insns: &insns, originals: &originals, ..source }
        } else {
            source
        };
        let groups = if source.is_grouped {
            Groups::of(&steps, source.originals, source.mode, source.page_offset)
        } else {
            Groups::default()
        };
        let kept = Kept::choose(&steps, source.originals, &groups);
        let mut seen = flags::seen(&steps);
        seen[0] |= source.tail.is_some();
        let mut work = Work {
            layout: &self.layout,
            tables: self.layout.tables[source.view],
            encoder: &mut self.encoder,
            has_bmi2: self.host.has_bmi2(),
            source,
            turns,
            code: Buffer::default(),
            out: Translation { tail: source.tail, ..Translation::default() },
            flags: if source.tail.is_some() { Flags::MEMORY } else { flags::at_start(&steps) },
            forbidden: if source.tail.is_some() { None } else { flags::may_be_told(&steps, &seen) },
            seen,
            groups,
            kept,
            range_at_hand: None,
            resumes: Vec::new(),
            stubs: Vec::new(),
            detours: Vec::new(),
            refills: Vec::new(),
            number: 0,
            touches_x87: false,
            has_x87: false,
            pointer: Pointer::Known,
        };
        work.ways_in();
        for (n, step) in steps.iter().enumerate() {
            let is_stretch = n == 0 || steps[n - 1].plan == Plan::Branch || turns.begin_at(n);
            if self.counts && is_stretch {
                let end = (n..steps.len()).find(|n| steps[*n].plan == Plan::Branch || turns.begin_at(*n + 1));
                work.count(n, end.map_or(steps.len(), |end| end + 1) - n);
            }
            (work.number, work.touches_x87) = (n, step.touches_x87);
            if let Some(tail) = source.tail {
                work.require_tail(tail);
            }
            work.insn(step);
        }
        if !steps.last().is_some_and(|step| step.ends_block()) {
            work.note_pointer();
            work.fall_out();
        }
        work.finish()
    }
}

/// A block under translation.
struct Work<'a> {
    layout: &'a Layout,
    tables: Tables,
    encoder: &'a mut Encoder,
    has_bmi2: bool,
    source: Source<'a>,
    /// Which of the source's instructions are turns of a loop.
    turns: Turns,
    code: Buffer,
    out: Translation,
    /// Where the flags are at this place of the code.
    flags: Flags,
    /// Where the block can be entered with flags that follow from registers: from which they must not.
    forbidden: Option<u16>,
    /// For each instruction, and for the end: whether anybody can see the flags as they are before it.
    seen: Vec<bool>,
    groups: Groups,
    kept: Kept,
    /// Whose range's address R10 holds, of the groups that have theirs in a slot: the slot's number.
    range_at_hand: Option<u8>,
    /// Where code goes on with a register in R14: the site, the register, and the place.
    resumes: Vec<(u8, u8, u32)>,
    /// Code to be put behind the block's own, before that of `stubs`.
    detours: Vec<Detour>,
    /// Code to be put behind the block's own: at this site's stub come the jumps with displacements here.
    stubs: Vec<Stub>,
    /// Probes whose way to the page that they did not find is yet to be placed.
    refills: Vec<memory::Refill>,
    /// The number of the instruction.
    number: usize,
    /// Whether it reads or changes the x87 unit.
    touches_x87: bool,
    /// Whether the guest's x87 unit is known to be in the host's.
    has_x87: bool,
    /// What the unit remembers of the block so far.
    pointer: Pointer,
}

/// A way on that is taken rarely, whose code is yet to be placed.
struct Detour {
    /// The 32-bit displacement that leads to it.
    jump: usize,
    /// The number of the instruction.
    number: usize,
    /// Where the flags are there.
    flags: Flags,
    /// What the x87 unit remembers there.
    pointer: Pointer,
    kind: DetourKind,
}

enum DetourKind {
    /// A branch to this offset from the page's first byte.
    Branch(i32),
    /// A branch that is not taken, at the end of the block.
    FallOut,
    /// The instruction leads a group whose range was not found.
    Ungrouped(memory::Miss),
    /// The stack of returns has no room: it is emptied, and the code goes on at this place.
    FullStack(usize),
    /// A return to where no call came from lately.
    UnknownReturn,
    /// A jump to another page, of which it is not known that the exit leads there.
    Far { site: u8, exit: usize, offset: i32 },
}

/// A site whose code is yet to be placed.
struct Stub {
    site: u8,
    /// The 32-bit displacements that lead to it.
    jumps: Vec<usize>,
    /// The exit that it belongs to.
    exit: Option<usize>,
}

impl Work<'_> {
    /// The block's ways in. Flags that are not where the block wants them are brought there.
    fn ways_in(&mut self) {
        let wanted = std::mem::replace(&mut self.flags, Flags::MEMORY);
        let own = i32::from(self.source.page_offset);
        self.out.from_jump = self.here();
        let page = self.layout.page();
        dynasm!(self.code ; .arch x64 ; lea r10, [r10 - own] ; gs mov [page], r10);
        self.out.with_saved_flags = self.here();
        let is_cared_for = self.seen[0];
        if is_cared_for && wanted == Flags::HOST {
            self.want_host_flags();
        }
        let over = (is_cared_for && wanted == Flags::MEMORY).then(|| self.code.jump_forward());
        self.out.with_host_flags = self.here();
        self.flags = wanted;
        let Some(over) = over else { return };
        self.flags = Flags::HOST;
        self.save_flags();
        self.code.land(over);
        self.flags = Flags::MEMORY;
        if let Some(forbidden) = self.forbidden {
            let recipe = self.layout.recipe();
            dynasm!(self.code ; .arch x64 ; gs mov DWORD [recipe], 0);
            self.out.with_recipe = Some((self.here(), forbidden));
            self.flags = Flags::TOLD;
        }
    }

    /// Counts `length` instructions from number `start` as executed. The flags stay where they are.
    fn count(&mut self, start: usize, length: usize) {
        let executed = self.layout.executed();
        let more = length as i32;
        dynasm!(self.code ; .arch x64 ; gs mov r11, [executed] ; lea r11, [r11 + more] ; gs mov [executed], r11);
        // Further turns are counted as the first.
        let end = self.turns.in_block(start) + length;
        if self.out.counted.last().is_none_or(|last| usize::from(*last) < end) {
            self.out.counted.push(end as u8);
        }
    }

    fn insn(&mut self, step: &Step) {
        self.begin_kept();
        self.before_losing_range(step);
        if step.may_leave() {
            self.note_pointer();
        }
        self.before_writing(step);
        self.emit(step);
        if matches!(step.effect, Effect::None | Effect::Reads) {
            self.after_writing(step.written);
        }
    }

    fn emit(&mut self, step: &Step) {
        match step.plan {
            Plan::Nothing => {}
            Plan::Native => self.native(step),
            Plan::Address => self.load_address(),
            Plan::Push => self.push(),
            Plan::PushSelector => self.push_selector(),
            Plan::Pop => self.pop(),
            Plan::Leave => self.leave(),
            Plan::Call => self.call(),
            Plan::CallIndirect => self.call_indirect(),
            Plan::Return => self.ret(),
            Plan::Jump => self.jump(),
            Plan::JumpIndirect => self.jump_indirect(),
            Plan::Branch => self.branch(),
            Plan::CountBranch => self.count_branch(step),
            Plan::Interpret => self.interpret(),
            Plan::PushFlags => self.push_flags(),
            Plan::PopFlags => self.pop_flags(),
            Plan::ClearInterrupts => self.clear_interrupts(),
            Plan::SetInterrupts => self.set_interrupts(),
            Plan::SwapGs => self.swap_gs(),
            Plan::Serialize => self.serialize(),
            Plan::SystemCall => self.system_call(),
            Plan::SystemReturn => self.system_return(),
            Plan::SetAccess => self.set_access(),
            Plan::ClearAccess => self.clear_access(),
            Plan::SetDirection(is_down) => self.set_direction(is_down),
            Plan::ReadControl => self.read_control(),
            Plan::ReadSelector => self.read_selector(),
            Plan::ReadBase => self.read_base(),
            Plan::WriteBase => self.write_base(),
            Plan::BitString => self.bit_string(step),
            Plan::ReadTime => self.read_time(),
            Plan::Pause => self.pause(),
            Plan::Move | Plan::Store => self.repeated(),
            Plan::Compare => self.compared(),
            Plan::Repeat => self.repeat(),
            Plan::InterpretLast => self.interpret_last(),
            Plan::Handled => self.call_handler(),
            Plan::LoadSegment => self.load_segment(),
        }
    }

    fn original(&self) -> &Original {
        &self.source.originals[self.number]
    }

    /// The number of the instruction under way in its block.
    fn number_in_block(&self) -> u8 {
        self.turns.in_block(self.number) as u8
    }

    /// Whether what comes next is another turn.
    fn is_between_turns(&self) -> bool {
        self.turns.begin_at(self.number + 1)
    }

    /// How far from the page's first byte the next instruction lies.
    fn next_offset(&self) -> i32 {
        i32::from(self.source.page_offset) + self.source.insns[self.number].end() as i32
    }

    fn here(&self) -> u32 {
        self.code.offset().0 as u32
    }

    /// A new site at the instruction under way.
    fn site(&mut self, kind: SiteKind) -> u8 {
        self.out.sites.push(Site {
            kind,
            insn: self.number_in_block(),
            flags: self.flags.home(),
            touches_x87: self.touches_x87,
            pointer: self.pointer,
            resume: None,
        });
        debug_assert!(self.out.sites.len() <= 1 << Site::BITS, "more sites than their numbers can tell apart");
        (self.out.sites.len() - 1) as u8
    }

    /// Leaves the instruction to the interpreter, and goes on behind it.
    fn interpret(&mut self) {
        let site = self.site(SiteKind::Interpret);
        self.leave_code(site);
        (self.kept.now, self.range_at_hand) = (None, None);
        self.resume_here(site);
        // Whoever comes back brings the flags to both places.
        self.flags = Flags::BOTH;
    }

    /// Leaves a repeated instruction to the interpreter until it is done, and goes on behind it.
    fn repeat(&mut self) {
        let site = self.site(SiteKind::Repeat);
        self.leave_code(site);
        self.resume_here(site);
        self.flags = Flags::BOTH;
        self.fall_out();
    }

    fn interpret_last(&mut self) {
        let site = self.site(SiteKind::Interpret);
        self.leave_code(site);
    }

    /// Where the code goes on once `site` is done with. What a group's leader found is no longer known then.
    fn resume_here(&mut self, site: u8) {
        if self.groups.is_open_after(self.number) {
            return;
        }
        let here = self.here();
        self.out.sites[usize::from(site)].resume = NonZero::new(here);
        if let Some(n) = self.kept.now {
            self.resumes.push((site, n, here));
        }
    }

    /// A row for the host instruction that comes next.
    fn row(&mut self) {
        let row = Row::new(self.here(), self.number_in_block(), self.flags.home(), self.pointer);
        debug_assert!(row.is_some(), "{} instructions are more than {} bytes", self.number, self.here());
        self.out.rows.extend(row);
    }

    /// A way on that is taken rarely, from the displacement at `jump`.
    fn detour(&mut self, jump: usize, kind: DetourKind) {
        self.detours.push(Detour { jump, number: self.number, flags: self.flags, pointer: self.pointer, kind });
    }

    fn leave_code(&mut self, site: u8) {
        self.site_number(site, 11);
        let exit = self.layout.exit();
        dynasm!(self.code ; .arch x64 ; gs jmp QWORD [exit]);
    }

    /// Puts the number of a site into a register.
    fn site_number(&mut self, site: u8, register: u8) {
        dynasm!(self.code ; .arch x64 ; mov Rd(register), DWORD i32::from(site));
        self.out.site_numbers.push(self.here() - 4);
    }

    /// Has the jump whose displacement lies at `jump` go to `site`'s stub.
    fn stub(&mut self, site: u8, jump: usize) {
        match self.stubs.iter_mut().find(|stub| stub.site == site) {
            Some(stub) => stub.jumps.push(jump),
            None => self.stubs.push(Stub { site, jumps: vec![jump], exit: None }),
        }
    }

    fn take_detour(&mut self, detour: Detour) {
        self.code.land(detour.jump);
        (self.number, self.flags, self.pointer) = (detour.number, detour.flags, detour.pointer);
        match detour.kind {
            DetourKind::Branch(target) => self.go_on_at(target, 0),
            DetourKind::FallOut => self.fall_out(),
            DetourKind::Ungrouped(miss) => self.refill_group(&miss),
            DetourKind::FullStack(back) => self.empty_returns(back),
            DetourKind::UnknownReturn => self.return_elsewhere(),
            DetourKind::Far { site, exit, offset } => self.look_elsewhere(site, exit, offset),
        }
    }

    fn finish(mut self) -> Translation {
        // Some have detours of their own.
        while !self.detours.is_empty() {
            std::mem::take(&mut self.detours).into_iter().for_each(|detour| self.take_detour(detour));
        }
        for (site, n, place) in std::mem::take(&mut self.resumes) {
            let (here, at) = (self.here(), self.layout.gpr(n));
            self.out.sites[usize::from(site)].resume = NonZero::new(here);
            dynasm!(self.code ; .arch x64 ; gs mov r14, [at]);
            self.code.jump_back(place as usize);
        }
        for probe in std::mem::take(&mut self.refills) {
            self.refill(&probe);
        }
        for stub in std::mem::take(&mut self.stubs) {
            let here = self.here();
            for jump in &stub.jumps {
                self.code.land(*jump);
            }
            if let Some(exit) = stub.exit {
                self.out.exits[exit].stub = here;
            }
            if matches!(
                self.out.sites[usize::from(stub.site)].kind,
                SiteKind::Return { .. } | SiteKind::Jump { .. } | SiteKind::RunOn
            ) {
                let target = self.layout.target();
                dynasm!(self.code ; .arch x64 ; gs mov [target], r10);
            }
            self.leave_code(stub.site);
        }
        self.out.code = self.code.into_bytes();
        self.out
    }
}
