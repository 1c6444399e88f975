//! A processor whose guest code is translated.

use std::sync::Arc;

use dragoman_frontend::{
    decode::{Block, Code as Encoding, DecodeError, MAX_BLOCK_INSNS, MAX_INSN_BYTES, Mode, Opcode},
    fault::Fault,
    model::Feature,
    post_mortem::Trace,
    semantics::LazyFlags,
};
use dragoman_jit::{
    Frame, GuestTime, JumpCache, SavedFlags,
    cache::{Key, Refused, Targets},
    rewrite::{FlagHome, HostInstructions, Original, Pointer, Recipe, Rewriter, Site, SiteKind, Source},
    run::{time, x87},
};
use dragoman_state::{Gpr, GuestPhys, GuestVirt, InterruptShadow, PAGE_SIZE, RFlags, StatusWord, VcpuId, VcpuState};

use super::{
    Settings,
    code::{Code, Place, Regions, Translated},
    exits::Exits,
    heat::Heat,
};
use crate::{
    AccelError, ExitReason, StopToken, Vcpu, VcpuContext, VcpuHandle,
    interpret::{BlockEnd, InterpretedVcpu, NO_LIMIT, Op, execute_last},
};

/// After it, and after nothing else that is translated, interrupts wait for an instruction.
const STI: Opcode = Opcode::of(Encoding::Sti);

/// How much code is looked at for a block.
const WINDOW: usize = 512;

/// Why translated code is not gone on with.
enum Next {
    /// It is: at this host address.
    Code(u64),
    /// The interpreter is to run the block at RIP first.
    Interpret,
    /// Something else is to be done first.
    Leave(BlockEnd),
}

/// Where translated code was left.
enum Arrival<'a> {
    /// At an instruction that the interpreter is to execute.
    Interpret(Place<'a>),
    /// At an x87 or MMX instruction, while the guest's unit is not in the host's.
    LoadX87(Place<'a>),
    /// At this RIP, because somebody wants attention.
    At(u64),
    /// At this RIP, at an instruction whose end may have become another.
    Tail(u64),
    /// At this RIP, to which the exit at the site with this number can lead straight; whether to a block with groups.
    Linkable(u64, u32, bool),
    /// At this RIP, by an indirect jump.
    Jump(u64),
}

/// A processor whose guest code is translated.
pub(super) struct TranslatedVcpu {
    inner: InterpretedVcpu,
    code: Arc<Code>,
    rewriter: Rewriter,
    heat: Heat,
    splits: Splits,
    /// For each view.
    jumps: [Box<JumpCache>; 3],
    /// The mode that they are for, but for the ring.
    jumps_mode: Mode,
    exits: Exits,
    /// As they were when the jump caches were last known to be right.
    regions: Regions,
    settings: Settings,
}

impl TranslatedVcpu {
    /// A processor in its power-on state.
    pub fn new(id: VcpuId, context: VcpuContext, code: Arc<Code>, settings: Settings) -> Self {
        // Others keep the address of every operand, of which the host says nothing that is the guest's.
        let has_x87 = context.model.has(Feature::FdpExceptionOnly);
        let mut inner = InterpretedVcpu::new(id, context);
        inner.overwritten = Some(Vec::new());
        let rewriter = Rewriter::new(code.layout.clone(), HostInstructions::detect(has_x87)).counting(settings.counts);
        code.gate.equip(&mut inner.cpu.frame);
        inner.cpu.frame.attention = inner.cpu.inbox.signals_address();
        if time::has_steady_ticks() {
            inner.cpu.frame.time = GuestTime::steady();
        }
        let mut jumps = [JumpCache::new(), JumpCache::new(), JumpCache::new()];
        inner.cpu.frame.all_jumps = jumps.each_mut().map(|jumps| jumps.address());
        let (regions, jumps_mode) = (code.cache.view(), Mode::default());
        let splits = Splits([GuestPhys(u64::MAX); Splits::SLOTS]);
        Self { inner, code, rewriter, heat: Heat::new(), splits, jumps, jumps_mode, exits: Exits::default(), regions, settings }
    }

    /// The interpreter's part, and what makes the translator's, with blocks of `limit` instructions.
    fn parts(&mut self, limit: usize) -> (&mut InterpretedVcpu, Parts<'_>) {
        let Self { inner, code, rewriter, heat, splits, jumps, jumps_mode, exits, regions, .. } = self;
        (inner, Parts { code, rewriter, heat, splits, jumps, jumps_mode, exits, regions, limit })
    }

    pub fn handle(&self) -> Arc<dyn VcpuHandle> {
        self.inner.cpu.inbox.clone()
    }
}

/// The translator's part of a processor, while it runs no code.
struct Parts<'a> {
    code: &'a Code,
    rewriter: &'a mut Rewriter,
    heat: &'a mut Heat,
    splits: &'a mut Splits,
    jumps: &'a mut [Box<JumpCache>; 3],
    jumps_mode: &'a mut Mode,
    exits: &'a mut Exits,
    regions: &'a mut Regions,
    limit: usize,
}

impl Parts<'_> {
    /// What runs code until the processor leaves it for something else. What is known of code that is gone is forgotten.
    fn start(&mut self) -> Run<'_> {
        let Self { code, rewriter, heat, splits, jumps, jumps_mode, exits, regions, limit } = self;
        for gone in code.cache.refresh(regions) {
            jumps.iter_mut().for_each(|jumps| jumps.forget_code_in(&gone));
        }
        Run { code, rewriter, heat, splits, jumps, jumps_mode, exits, regions, limit: *limit }
    }
}

/// The translator's part of a processor while the interpreter's runs it.
struct Run<'a> {
    code: &'a Code,
    rewriter: &'a mut Rewriter,
    heat: &'a mut Heat,
    splits: &'a mut Splits,
    jumps: &'a mut [Box<JumpCache>; 3],
    jumps_mode: &'a mut Mode,
    exits: &'a mut Exits,
    regions: &'a Regions,
    /// How many instructions a block has at most.
    limit: usize,
}

/// Where instructions were found that lie in two pages, which only the interpreter runs. One that is forgotten, or gone, costs
/// no more than time.
struct Splits([GuestPhys; Self::SLOTS]);

impl Splits {
    const SLOTS: usize = 256;

    fn slot(at: GuestPhys) -> usize {
        at.page_number() as usize % Self::SLOTS
    }

    fn has(&self, at: GuestPhys) -> bool {
        self.0[Self::slot(at)] == at
    }

    fn add(&mut self, at: GuestPhys) {
        self.0[Self::slot(at)] = at;
    }
}

/// Whether the code that runs now may be translated.
fn can_translate(vcpu: &InterpretedVcpu) -> bool {
    vcpu.cpu.mode.is_64bit() && !vcpu.cpu.mmu.is_careful()
}

impl<'a> Run<'a> {
    /// Runs instructions until something other than running them is to be done.
    fn run(&mut self, vcpu: &mut InterpretedVcpu) -> BlockEnd {
        self.forget(vcpu);
        if !can_translate(vcpu) {
            return vcpu.run_block(NO_LIMIT);
        }
        let at = vcpu.cpu.state.rip;
        let block = match self.find(vcpu, at, true) {
            Ok(Some(block)) => block,
            Ok(None) => return vcpu.run_block(NO_LIMIT),
            Err(fault) => return BlockEnd::Fault(fault),
        };
        self.start(vcpu, at);
        let mut code = block.with_saved_flags;
        loop {
            self.enter(vcpu, code);
            let mut next = self.next(vcpu);
            code = loop {
                next = match next {
                    Next::Code(address) => break address,
                    Next::Interpret => self.interpret_block(vcpu),
                    Next::Leave(BlockEnd::Fault(fault)) => self.deliver(vcpu, fault),
                    Next::Leave(BlockEnd::Done) => {
                        self.unload_x87(vcpu);
                        vcpu.cpu.load_flags();
                        return BlockEnd::Done;
                    }
                };
            };
        }
    }

    /// Brings the guest's x87 unit into the host's, where every exception is masked: the interpreter alone reports them.
    fn load_x87(vcpu: &mut InterpretedVcpu) -> bool {
        const MASKS: u16 = 0x3f;
        let cpu = &mut vcpu.cpu;
        let is_masked = cpu.state.x87.control & MASKS == MASKS && !cpu.state.x87.status.contains(StatusWord::ES);
        if is_masked {
            x87::load(&cpu.state.x87);
            cpu.frame.x87_pointer = Frame::NO_POINTER;
            cpu.frame.has_x87 = 1;
        }
        is_masked
    }

    /// Takes the guest's x87 unit out of the host's, where it is there.
    fn unload_x87(&self, vcpu: &mut InterpretedVcpu) {
        let cpu = &mut vcpu.cpu;
        if std::mem::take(&mut cpu.frame.has_x87) == 0 {
            return;
        }
        let old = std::mem::replace(&mut cpu.state.x87, x87::unload());
        let now = &mut cpu.state.x87;
        // Without an exception to be reported neither is remembered.
        (now.opcode, now.data_pointer, now.data_selector) = (old.opcode, old.data_pointer, old.data_selector);
        now.instruction_pointer = cpu.frame.x87_pointer;
        if cpu.frame.x87_pointer == Frame::NO_POINTER {
            (now.instruction_pointer, now.instruction_selector) = (old.instruction_pointer, old.instruction_selector);
        }
    }

    /// Runs one instruction.
    fn one(&mut self, vcpu: &mut InterpretedVcpu) -> BlockEnd {
        self.forget(vcpu);
        // Whoever traps after branches wants to hear of each.
        if !can_translate(vcpu) || vcpu.cpu.state.rflags.contains(RFlags::TF) {
            return vcpu.run_block(1);
        }
        let at = vcpu.cpu.state.rip;
        let block = match self.key(vcpu, at) {
            Ok(key) => self.known(&key).or_else(|| self.translate(vcpu, key)),
            Err(fault) => return BlockEnd::Fault(fault),
        };
        let Some(block) = block else { return vcpu.run_block(1) };
        self.start(vcpu, at);
        self.enter(vcpu, block.with_saved_flags);
        let mut arrival = self.arrive(vcpu);
        if let Arrival::LoadX87(place) = &arrival {
            if let Some(code) = place.resume().filter(|_| Self::load_x87(vcpu)) {
                Self::count_again(vcpu, place);
                self.enter(vcpu, code);
                arrival = self.arrive(vcpu);
            }
        }
        let end = match arrival {
            Arrival::At(_) => BlockEnd::Done,
            Arrival::Tail(_) => {
                self.unload_x87(vcpu);
                vcpu.cpu.load_flags();
                return vcpu.run_block(1);
            }
            Arrival::Linkable(..) | Arrival::Jump(_) => BlockEnd::Done,
            Arrival::Interpret(place) | Arrival::LoadX87(place) => match self.interpret(vcpu, &place) {
                Next::Code(_) | Next::Interpret => BlockEnd::Done,
                Next::Leave(end) => end,
            },
        };
        self.unload_x87(vcpu);
        vcpu.cpu.load_flags();
        end
    }

    /// Prepares the processor for translated code at RIP `at`.
    fn start(&mut self, vcpu: &mut InterpretedVcpu, at: u64) {
        vcpu.cpu.store_flags();
        let (view, mode) = (vcpu.cpu.view as usize, vcpu.cpu.mode.but_for_ring());
        if *self.jumps_mode != mode {
            *self.jumps_mode = mode;
            self.jumps.iter_mut().for_each(|jumps| jumps.clear());
        }
        vcpu.cpu.frame.jumps = self.jumps[view].address();
        vcpu.cpu.frame.page = at & !(PAGE_SIZE - 1);
    }

    /// Runs translated code until it is left.
    fn enter(&mut self, vcpu: &mut InterpretedVcpu, code: u64) {
        let cpu = &mut vcpu.cpu;
        (cpu.frame.flags, cpu.frame.recipe) = (SavedFlags::of(cpu.state.rflags), 0);
        let halves = cpu.state.vectors.registers[..16].iter().fold(0, |all, register| all | register[2] | register[3]);
        cpu.frame.has_upper_halves = u32::from(halves != 0);
        // Translated code notes no branches.
        cpu.branches.forget();
        self.code.gate.enter(cpu, code);
    }

    /// Forgets what others, or the guest itself, made stale.
    fn forget(&mut self, vcpu: &mut InterpretedVcpu) {
        let overwritten = vcpu.overwritten.as_mut().map(std::mem::take).unwrap_or_default();
        let gone = vcpu.cpu.mmu.take_forgotten();
        if !gone.is_nothing() {
            for jumps in self.jumps.iter_mut() {
                match (gone.is_all, gone.is_local) {
                    (true, _) => jumps.clear(),
                    (false, true) => jumps.forget_local(),
                    (false, false) => {}
                }
                gone.ranges.iter().for_each(|(start, last)| jumps.forget(*start, *last));
            }
        }
        if !overwritten.is_empty() {
            self.forget_code(vcpu, &overwritten);
        }
    }

    /// Forgets the blocks translated from what was overwritten.
    fn forget_code(&mut self, vcpu: &mut InterpretedVcpu, overwritten: &[(GuestPhys, u64)]) {
        let tracker = vcpu.cpu.context.ram.tracker();
        let is_only_user = vcpu.cpu.context.world.is_single();
        let mut stale = Vec::new();
        for (at, length) in overwritten.iter().copied() {
            let mut was_translated = false;
            let is_gone = self.code.cache.invalidate(at, length, |block| {
                self.heat.cool(&block.key);
                match block.targets() {
                    Targets::None => {}
                    Targets::One(rip) => self.jumps.iter_mut().for_each(|jumps| jumps.forget_one(rip, block.from_jump)),
                    Targets::Several => stale.push(block.from_jump),
                }
                was_translated = true;
            });
            if !was_translated {
                self.heat.overwritten(at, false);
            }
            if is_only_user && is_gone && !vcpu.blocks.has_any_of(at) {
                tracker.clear_code(at.page());
            }
        }
        if !is_only_user {
            // Another processor may have been the first to forget them.
            self.jumps.iter_mut().for_each(|jumps| jumps.clear());
        } else if !stale.is_empty() {
            stale.sort_unstable();
            self.jumps.iter_mut().for_each(|jumps| jumps.forget_code(&stale));
        }
    }

    /// What is to be done where translated code was left.
    fn next(&mut self, vcpu: &mut InterpretedVcpu) -> Next {
        match self.arrive(vcpu) {
            Arrival::Interpret(place) => self.interpret(vcpu, &place),
            Arrival::LoadX87(place) => match place.resume().filter(|_| Self::load_x87(vcpu)) {
                Some(code) => {
                    Self::count_again(vcpu, &place);
                    Next::Code(code)
                }
                None => match self.interpret(vcpu, &place) {
                    // What lies there is the instruction that was just executed.
                    Next::Code(_) => Next::Leave(BlockEnd::Done),
                    other @ (Next::Interpret | Next::Leave(_)) => other,
                },
            },
            Arrival::At(_) => Next::Leave(BlockEnd::Done),
            Arrival::Tail(_) => Next::Interpret,
            Arrival::Linkable(at, number, is_grouped) => self.follow(vcpu, at, is_grouped, |run, block, _| {
                run.code.cache.link(run.regions, number, &block.key);
                block.with_saved_flags
            }),
            Arrival::Jump(at) => {
                let view = vcpu.cpu.view as usize;
                vcpu.cpu.frame.page = at & !(PAGE_SIZE - 1);
                self.follow(vcpu, at, true, |run, block, is_global| {
                    run.jumps[view].learn(at, block.from_jump, is_global);
                    block.jumped_to(at);
                    block.with_saved_flags
                })
            }
        }
    }

    /// Brings the state up to date where translated code was left, and says where that is.
    fn arrive(&mut self, vcpu: &mut InterpretedVcpu) -> Arrival<'a> {
        let number = vcpu.cpu.frame.site as u32;
        let place = if number == Site::FAULTED {
            self.exits.count_refused();
            self.regions.faulted_at(vcpu.cpu.frame.faulted)
        } else {
            self.regions.left_at(number)
        };
        let Some(place) = place else { unreachable!("code is left at places that were put into the cache with it: {number:#x}") };
        if number != Site::FAULTED {
            self.exits.count(place.site.kind);
        }
        let executed = &mut vcpu.cpu.frame.executed;
        *executed = executed.wrapping_sub(place.counted_ahead());
        self.take_flags(vcpu, place.site.flags);
        Self::take_pointer(vcpu, &place);
        let shadow = &mut vcpu.cpu.state.events.shadow;
        if *shadow != InterruptShadow::None && place.block.payload[usize::from(place.site.insn)].insn.opcode != STI {
            *shadow = InterruptShadow::None;
        }
        let page = vcpu.cpu.frame.page;
        let arrival = match place.site.kind {
            SiteKind::Interpret | SiteKind::Repeat => return Arrival::Interpret(place),
            SiteKind::LoadX87 => return Arrival::LoadX87(place),
            SiteKind::Attend { target } => Arrival::At(page.wrapping_add(i64::from(target) as u64)),
            SiteKind::Tail { target } => Arrival::Tail(page.wrapping_add(i64::from(target) as u64)),
            SiteKind::Link { target, is_grouped, .. } => {
                Arrival::Linkable(page.wrapping_add(i64::from(target) as u64), number, is_grouped)
            }
            SiteKind::Return { .. } => {
                let at = vcpu.cpu.frame.target;
                vcpu.cpu.frame.page = at & !(PAGE_SIZE - 1);
                Arrival::Linkable(at, number, true)
            }
            SiteKind::Jump { moved } => {
                let at = vcpu.cpu.frame.target;
                if let Some(moved) = moved.filter(|_| !GuestVirt(at).is_canonical(vcpu.cpu.state.linear_bits())) {
                    let rsp = &mut vcpu.cpu.state.gpr[Gpr::RSP];
                    *rsp = rsp.wrapping_sub(i64::from(moved) as u64);
                    let executed = &mut vcpu.cpu.frame.executed;
                    *executed = executed.wrapping_sub(place.counts().into());
                    return Arrival::Interpret(place);
                }
                Arrival::Jump(at)
            }
        };
        let (Arrival::At(at) | Arrival::Tail(at) | Arrival::Linkable(at, ..) | Arrival::Jump(at)) = arrival else {
            return arrival;
        };
        vcpu.cpu.state.rip = at;
        arrival
    }

    /// Goes on at RIP `at`, where there is a block or should be one: at the address that `take` chooses, which is also told
    /// whether the block's page is global.
    fn follow(
        &mut self,
        vcpu: &mut InterpretedVcpu,
        at: u64,
        is_grouped: bool,
        take: impl FnOnce(&mut Self, &Translated, bool) -> u64,
    ) -> Next {
        if vcpu.cpu.inbox.has_any() {
            return Next::Leave(BlockEnd::Done);
        }
        let latest = vcpu.cpu.state.events.page_fault_address;
        match self.find(vcpu, at, is_grouped) {
            Ok(Some(block)) => {
                let is_global = vcpu.cpu.mmu.is_code_global(vcpu.cpu.view, at);
                Next::Code(take(self, block, is_global))
            }
            // Also where the fetch faults: the interpreter says so.
            Ok(None) | Err(_) => {
                vcpu.cpu.state.events.page_fault_address = latest;
                Next::Interpret
            }
        }
    }

    /// Notes the last x87 instruction where the code was left behind it.
    fn take_pointer(vcpu: &mut InterpretedVcpu, place: &Place) {
        let frame = &mut vcpu.cpu.frame;
        match place.site.pointer {
            Pointer::Known => {}
            Pointer::Nothing => frame.x87_pointer = 0,
            Pointer::Insn(n) => {
                let start = place.block.payload[usize::from(n)].insn.start;
                let offset = place.block.key.at.page_offset() as u64 + u64::from(start);
                frame.x87_pointer = frame.page.wrapping_add(offset);
            }
        }
    }

    /// The guest's flags into its state, from where the code had them.
    fn take_flags(&mut self, vcpu: &mut InterpretedVcpu, home: FlagHome) {
        let cpu = &mut vcpu.cpu;
        let flags = match home {
            FlagHome::Host => cpu.frame.host_flags.image(),
            FlagHome::Memory | FlagHome::Both => cpu.frame.flags.image(),
            FlagHome::Recipe(recipe) => recipe.flags(&cpu.state.gpr),
            FlagHome::Told => match Recipe::numbered(cpu.frame.recipe) {
                Some(recipe) => recipe.flags(&cpu.state.gpr),
                None => cpu.frame.flags.image(),
            },
        };
        cpu.state.rflags = cpu.state.rflags.difference(RFlags::ARITHMETIC) | flags;
    }

    /// Code goes on behind `place`: what it had counted of what is behind, and what was taken back, counts again.
    fn count_again(vcpu: &mut InterpretedVcpu, place: &Place) {
        let executed = &mut vcpu.cpu.frame.executed;
        *executed = executed.wrapping_add(place.counted_behind());
    }

    /// Executes the instruction at `place`.
    fn interpret(&mut self, vcpu: &mut InterpretedVcpu, place: &Place) -> Next {
        let cpu = &mut vcpu.cpu;
        cpu.flags = LazyFlags::literal(cpu.state.rflags);
        // Whatever STI came before, this is an instruction behind it.
        cpu.state.events.shadow = InterruptShadow::None;
        let start = cpu.frame.page.wrapping_add(place.block.key.at.page_offset() as u64);
        cpu.state.gpr[Gpr::BLOCK] = start;
        let ops = &place.block.payload;
        let n = usize::from(place.site.insn);
        let op = &ops[n];
        if place.site.kind == SiteKind::Repeat {
            return Self::repeat(vcpu, place, op, start);
        }
        if n + 1 == ops.len() {
            if place.site.touches_x87 {
                self.unload_x87(vcpu);
            }
            let cpu = &mut vcpu.cpu;
            let (end, is_done) = execute_last(cpu, op, start, start);
            cpu.store_flags();
            vcpu.instructions += u64::from(is_done);
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
        let result = (op.handler)(cpu, &op.insn);
        cpu.store_flags();
        let must_leave = std::mem::take(&mut cpu.must_leave);
        if let Err(fault) = result {
            cpu.state.rip = start.wrapping_add(op.insn.start.into());
            return Next::Leave(BlockEnd::Fault(fault));
        }
        vcpu.instructions += 1;
        cpu.state.rip = start.wrapping_add(op.insn.end());
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

    /// Has the interpreter run the block at RIP, and goes on behind it.
    fn interpret_block(&mut self, vcpu: &mut InterpretedVcpu) -> Next {
        self.unload_x87(vcpu);
        let cpu = &mut vcpu.cpu;
        cpu.load_flags();
        cpu.state.events.shadow = InterruptShadow::None;
        let end = vcpu.run_block(NO_LIMIT);
        vcpu.cpu.store_flags();
        match end {
            BlockEnd::Done => self.go_on(vcpu),
            BlockEnd::Fault(_) => Next::Leave(end),
        }
    }

    /// Delivers what an instruction was refused with, and goes on with its handler.
    fn deliver(&mut self, vcpu: &mut InterpretedVcpu, fault: Fault) -> Next {
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
    fn go_on(&mut self, vcpu: &mut InterpretedVcpu) -> Next {
        let at = vcpu.cpu.state.rip;
        let cpu = &mut vcpu.cpu;
        if cpu.has_changed {
            cpu.settle();
        }
        if cpu.must_attend || cpu.inbox.has_any() {
            return Next::Leave(BlockEnd::Done);
        }
        self.forget(vcpu);
        if !can_translate(vcpu) {
            return Next::Leave(BlockEnd::Done);
        }
        self.start(vcpu, at);
        let view = vcpu.cpu.view as usize;
        if let Some(code) = self.jumps[view].find(at) {
            vcpu.cpu.frame.target = at;
            return Next::Code(code);
        }
        self.follow(vcpu, at, true, |run, block, is_global| {
            run.jumps[view].learn(at, block.from_jump, is_global);
            block.jumped_to(at);
            block.with_saved_flags
        })
    }

    /// Executes a repeated string instruction until it is done, or something else is.
    fn repeat(vcpu: &mut InterpretedVcpu, place: &Place, op: &Op, start: u64) -> Next {
        let cpu = &mut vcpu.cpu;
        let (this, next) = (start.wrapping_add(op.insn.start.into()), start.wrapping_add(op.insn.end()));
        loop {
            cpu.state.rip = next;
            let result = (op.handler)(cpu, &op.insn);
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

    /// The translated block at RIP `at`; `None` where the interpreter is to run what is there.
    fn find(&mut self, vcpu: &mut InterpretedVcpu, at: u64, is_grouped: bool) -> Result<Option<&'a Translated>, Fault> {
        let key = Key { is_grouped, ..self.key(vcpu, at)? };
        if let Some(block) = self.known(&key) {
            return Ok(Some(block));
        }
        let is_wanted = !self.splits.has(key.at) && (!is_grouped || self.heat.is_hot(&key));
        if !is_wanted {
            return Ok(None);
        }
        if PAGE_SIZE as usize - key.at.page_offset() < MAX_INSN_BYTES {
            if let Some(block) = self.translate_split(vcpu, at, key) {
                return Ok(Some(block));
            }
        }
        Ok(self.translate(vcpu, key))
    }

    fn known(&self, key: &Key) -> Option<&'a Translated> {
        self.code.cache.find(self.regions, key)
    }

    /// What the block at RIP `at` is found by, or the fault of fetching it.
    fn key(&self, vcpu: &mut InterpretedVcpu, at: u64) -> Result<Key, Fault> {
        let code = match vcpu.cpu.mmu.fetch_fast(vcpu.cpu.view, at) {
            Some(code) => code,
            None => vcpu.fetch(at)?,
        };
        Ok(Key { at: code, mode: vcpu.cpu.mode, view: vcpu.cpu.view as u8, is_grouped: true })
    }

    /// Translates the block of `key`, where it lies in one page.
    fn translate(&mut self, vcpu: &mut InterpretedVcpu, key: Key) -> Option<&'a Translated> {
        let mut window = [0; WINDOW];
        let room = PAGE_SIZE as usize - key.at.page_offset();
        let bytes = &mut window[..room.min(WINDOW)];
        vcpu.cpu.watch_code(key.at);
        let overwrites = self.code.cache.overwrites();
        vcpu.cpu.mmu.read_code(key.at, bytes);
        match vcpu.decoder.decode_for_rewriting(key.at, bytes, key.mode, self.limit) {
            Ok(decoded) => self.put_in(vcpu, key, bytes, decoded, None, overwrites),
            Err(DecodeError::NeedsMoreBytes) => {
                self.splits.add(key.at);
                None
            }
        }
    }

    /// Translates the instruction at RIP `at`, where it ends in another page.
    fn translate_split(&mut self, vcpu: &mut InterpretedVcpu, at: u64, key: Key) -> Option<&'a Translated> {
        let mut window = [0; 2 * MAX_INSN_BYTES];
        let room = PAGE_SIZE as usize - key.at.page_offset();
        vcpu.cpu.mmu.read_code(key.at, &mut window[..room]);
        if vcpu.decoder.decode_for_rewriting(key.at, &window[..room], key.mode, 1).is_ok() {
            return None;
        }
        let tail = vcpu.fetch_tail(at).ok()?;
        vcpu.cpu.watch_code(key.at);
        vcpu.cpu.watch_code(tail);
        let overwrites = self.code.cache.overwrites();
        let (first, rest) = window.split_at_mut(room);
        vcpu.cpu.mmu.read_code(key.at, first);
        vcpu.cpu.mmu.read_code(tail, &mut rest[..MAX_INSN_BYTES]);
        let decoded = vcpu.decoder.decode_for_rewriting(key.at, &window[..room + MAX_INSN_BYTES], key.mode, 1).ok()?;
        // What was read just now may be another instruction than the one that did not fit.
        let is_split = usize::from(decoded.0.length) > room;
        if is_split { self.put_in(vcpu, key, &window, decoded, Some(tail), overwrites) } else { None }
    }

    /// Translates what was decoded from the start of `bytes`, read when the cache counted so many `overwrites`, and puts it in.
    fn put_in(
        &mut self,
        vcpu: &mut InterpretedVcpu,
        key: Key,
        bytes: &[u8],
        (block, originals): (Block, Vec<Original>),
        tail: Option<GuestPhys>,
        overwrites: u64,
    ) -> Option<&'a Translated> {
        let length = usize::from(block.length);
        let (first, rest) = bytes[..length].split_at(length.min(PAGE_SIZE as usize - key.at.page_offset()));
        for (at, bytes) in [(Some(key.at), first), (tail, rest)].into_iter().filter_map(|(at, bytes)| Some((at?, bytes))) {
            vcpu.cpu.context.ram.tracker().mark_code(at, bytes.len() as u64);
            // Others may have written while nobody told of this code; from here on they are told.
            if !vcpu.cpu.mmu.is_code(at, bytes) {
                return None;
            }
        }
        let source = Source {
            insns: &block.insns,
            originals: &originals,
            page_offset: key.at.page_offset() as u16,
            view: usize::from(key.view),
            cpl: key.mode.cpl(),
            is_grouped: key.is_grouped,
            tail,
        };
        let translation = self.rewriter.rewrite(source);
        let table = &vcpu.table;
        let ops: Box<[Op]> = block.insns.into_iter().map(|insn| Op { handler: table.handler(insn.opcode), insn }).collect();
        match self.code.cache.insert(self.regions, key, length as u64, translation, ops, overwrites) {
            Ok(block) => Some(block),
            Err(Refused::Full) => {
                self.make_room(vcpu);
                None
            }
            Err(Refused::Stale | Refused::TooLarge) => None,
        }
    }

    /// Has the blocks forgotten that were translated longest ago. Whoever is in code then leaves it first.
    fn make_room(&self, vcpu: &mut InterpretedVcpu) {
        let unused = vcpu.cpu.alone(|_| self.code.cache.reuse(self.regions));
        if vcpu.cpu.context.world.is_single() {
            for page in unused.into_iter().filter(|page| !vcpu.blocks.has_any_of(*page)) {
                vcpu.cpu.context.ram.tracker().clear_code(page);
            }
        }
    }
}

impl Vcpu for TranslatedVcpu {
    fn run(&mut self, stop: &StopToken) -> Result<ExitReason, AccelError> {
        self.inner.cpu.frame.is_alone = self.inner.cpu.context.world.is_single().into();
        let (inner, mut parts) = self.parts(MAX_BLOCK_INSNS);
        inner.in_world(|vcpu| vcpu.run_by(stop, |vcpu| parts.start().run(vcpu)))
    }

    fn step(&mut self) -> Result<ExitReason, AccelError> {
        if !self.settings.steps {
            return self.inner.step();
        }
        let (inner, mut parts) = self.parts(1);
        inner.in_world(|vcpu| vcpu.step_by(|vcpu| parts.start().one(vcpu)))
    }

    fn save(&mut self) -> Result<VcpuState, AccelError> {
        self.inner.save()
    }

    fn load(&mut self, state: &VcpuState) -> Result<(), AccelError> {
        self.inner.load(state)
    }

    fn instructions(&self) -> u64 {
        self.inner.instructions().wrapping_add(self.inner.cpu.frame.executed)
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        let counts = self.code.cache.counts();
        let cache = [
            ("blocks", counts.blocks),
            ("bytes", counts.bytes),
            ("invalidated", counts.invalidated),
            ("evicted", counts.evicted),
        ];
        let frame = &self.inner.cpu.frame;
        let probes = [("missed", frame.missed), ("refilled", frame.refilled), ("walked", frame.walked)];
        cache.into_iter().chain(self.exits.named()).chain(probes).collect()
    }

    fn trace(&self) -> Trace {
        let instructions = self.settings.counts.then(|| self.instructions());
        Trace { instructions, ..self.inner.trace() }
    }
}
