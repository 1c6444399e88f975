//! Running translated code: into it, out of it, and on to the next.

use dragoman_frontend::decode::{Code as Encoding, CodeSize, Opcode};
use dragoman_jit::{
    SavedFlags,
    rewrite::{FlagHome, Recipe, Rewriter, Site, SiteKind},
};
use dragoman_state::{Gpr, GuestVirt, InterruptShadow, PAGE_SIZE, RFlags, SegmentIndex};

use super::{
    code::{Code, Place, Regions, Translated},
    exits::Exits,
    handled::Entered,
    heat::Heat,
    jumps::Jumps,
    make::Splits,
};
use crate::interpret::{BlockEnd, InterpretedVcpu, NO_LIMIT};

/// After it, and after nothing else that is translated, interrupts wait for an instruction.
const STI: Opcode = Opcode::of(Encoding::Sti);

/// Why translated code is not gone on with.
pub(super) enum Next {
    /// It is: at this host address.
    Code(u64),
    /// The interpreter is to run the block at RIP first.
    Interpret,
    /// Something else is to be done first.
    Leave(BlockEnd),
}

/// Where translated code was left.
pub(super) enum Arrival<'a> {
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
    /// At this RIP in another page, to which the exit at the site with this number can lead straight.
    Far(u64, u32),
    /// At this RIP, by an indirect jump.
    Jump(u64),
    /// Behind an instruction that its handler executed, which ended so.
    Executed(BlockEnd),
}

/// The translator's part of a processor while the interpreter's runs it.
pub(super) struct Run<'a> {
    pub code: &'a Code,
    pub rewriter: &'a mut Rewriter,
    pub heat: &'a mut Heat,
    pub splits: &'a mut Splits,
    pub jumps: &'a mut Jumps,
    pub exits: &'a mut Exits,
    pub regions: &'a Regions,
    /// Of how many blocks that are gone the jump caches have heard.
    pub heard: &'a mut u64,
    /// How many instructions a block has at most.
    pub limit: usize,
    /// How the instruction ended that its handler executed last, where code was left because of it.
    pub executed: Option<BlockEnd>,
}

/// Whether the code that runs now may be translated: RIP is its linear address.
pub(super) fn can_translate(vcpu: &InterpretedVcpu) -> bool {
    let mode = vcpu.cpu.mode;
    let is_known = match mode.code_size() {
        CodeSize::Bits64 => true,
        CodeSize::Bits32 => mode.is_flat(SegmentIndex::Cs),
        CodeSize::Bits16 => false,
    };
    is_known && !vcpu.cpu.mmu.is_careful()
}

impl<'a> Run<'a> {
    /// Runs instructions until something other than running them is to be done.
    pub(super) fn run(&mut self, vcpu: &mut InterpretedVcpu) -> BlockEnd {
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

    /// Runs one instruction.
    pub(super) fn one(&mut self, vcpu: &mut InterpretedVcpu) -> BlockEnd {
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
            Arrival::Linkable(..) | Arrival::Far(..) | Arrival::Jump(_) => BlockEnd::Done,
            Arrival::Executed(end) => end,
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
    pub(super) fn start(&mut self, vcpu: &mut InterpretedVcpu, at: u64) {
        vcpu.cpu.store_flags();
        let (view, mode) = (vcpu.cpu.view as usize, vcpu.cpu.mode.but_for_ring());
        self.jumps.select(mode, &mut vcpu.cpu.frame);
        vcpu.cpu.frame.jumps = vcpu.cpu.frame.all_jumps[view];
        vcpu.cpu.frame.page = at & !(PAGE_SIZE - 1);
    }

    /// Runs translated code until it is left.
    pub(super) fn enter(&mut self, vcpu: &mut InterpretedVcpu, code: u64) {
        let cpu = &mut vcpu.cpu;
        (cpu.frame.flags, cpu.frame.recipe) = (SavedFlags::of(cpu.state.rflags), 0);
        let halves = cpu.state.vectors.registers[..16].iter().fold(0, |all, register| all | register[2] | register[3]);
        cpu.frame.has_upper_halves = u32::from(halves != 0);
        // Translated code notes no branches.
        cpu.branches.forget();
        let gate = &self.code.gate;
        gate.enter(&mut Entered { run: self, vcpu }, code);
    }

    /// What is to be done where translated code was left.
    pub(super) fn next(&mut self, vcpu: &mut InterpretedVcpu) -> Next {
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
            Arrival::Executed(BlockEnd::Done) => self.go_on(vcpu),
            Arrival::Executed(end @ BlockEnd::Fault(_)) => Next::Leave(end),
            Arrival::Linkable(at, number, is_grouped) => self.follow(vcpu, at, is_grouped, |run, block, _| {
                run.code.cache.link(run.regions, number, &block.key, true);
                block.with_saved_flags
            }),
            Arrival::Far(at, number) => {
                let (view, is_alone) = (vcpu.cpu.view as usize, vcpu.cpu.frame.is_alone != 0);
                vcpu.cpu.frame.page = at & !(PAGE_SIZE - 1);
                self.follow(vcpu, at, true, |run, block, is_global| {
                    run.learn(view, at, block, is_global);
                    if run.jumps.of(view).has_home(block.key.at) {
                        run.code.cache.link(run.regions, number, &block.key, is_alone);
                    }
                    block.with_saved_flags
                })
            }
            Arrival::Jump(at) => {
                let view = vcpu.cpu.view as usize;
                vcpu.cpu.frame.page = at & !(PAGE_SIZE - 1);
                self.follow(vcpu, at, true, |run, block, is_global| {
                    run.learn(view, at, block, is_global);
                    block.with_saved_flags
                })
            }
        }
    }

    /// Remembers that `block` is at RIP `at`, in a page that is global or not, for jumps through `view`.
    pub(super) fn learn(&mut self, view: usize, at: u64, block: &Translated, is_global: bool) {
        self.jumps.of(view).learn(at, block.from_jump, block.key.at, is_global);
        block.jumped_to(at);
    }

    /// Brings the state up to date where translated code was left, and says where that is.
    pub(super) fn arrive(&mut self, vcpu: &mut InterpretedVcpu) -> Arrival<'a> {
        let number = vcpu.cpu.frame.site as u32;
        if number == Site::EXECUTED {
            return Arrival::Executed(self.executed.take().unwrap_or(BlockEnd::Done));
        }
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
        if *shadow != InterruptShadow::None && place.block.payload[usize::from(place.site.insn)].opcode != STI {
            *shadow = InterruptShadow::None;
        }
        let page = vcpu.cpu.frame.page;
        let at_offset = |offset: i32| vcpu.cpu.wrap_ip(page.wrapping_add(i64::from(offset) as u64));
        let arrival = match place.site.kind {
            SiteKind::Interpret | SiteKind::Repeat => return Arrival::Interpret(place),
            SiteKind::LoadX87 => return Arrival::LoadX87(place),
            SiteKind::Attend { target } => Arrival::At(at_offset(target)),
            SiteKind::Tail { target } => Arrival::Tail(at_offset(target)),
            SiteKind::Link { target, is_grouped, .. } => Arrival::Linkable(at_offset(target), number, is_grouped),
            SiteKind::Return { .. } => {
                let at = vcpu.cpu.frame.target;
                vcpu.cpu.frame.page = at & !(PAGE_SIZE - 1);
                Arrival::Linkable(at, number, true)
            }
            SiteKind::Far { .. } | SiteKind::Jump { .. } | SiteKind::RunOn => {
                let at = vcpu.cpu.frame.target;
                let moved = place.site.kind.moved();
                if let Some(moved) = moved.filter(|_| !GuestVirt(at).is_canonical(vcpu.cpu.state.linear_bits())) {
                    let rsp = &mut vcpu.cpu.state.gpr[Gpr::RSP];
                    *rsp = rsp.wrapping_sub(i64::from(moved) as u64);
                    let executed = &mut vcpu.cpu.frame.executed;
                    *executed = executed.wrapping_sub(place.counts().into());
                    return Arrival::Interpret(place);
                }
                if matches!(place.site.kind, SiteKind::Far { .. }) { Arrival::Far(at, number) } else { Arrival::Jump(at) }
            }
        };
        let (Arrival::At(at) | Arrival::Tail(at) | Arrival::Linkable(at, ..) | Arrival::Far(at, _) | Arrival::Jump(at)) = arrival
        else {
            return arrival;
        };
        vcpu.cpu.state.rip = at;
        arrival
    }

    /// Goes on at RIP `at`, where there is a block or should be one: at the address that `take` chooses, which is also told
    /// whether the block's page is global.
    pub(super) fn follow(
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

    /// The guest's flags into its state, from where the code had them.
    pub(super) fn take_flags(&mut self, vcpu: &mut InterpretedVcpu, home: FlagHome) {
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
    pub(super) fn count_again(vcpu: &mut InterpretedVcpu, place: &Place) {
        let executed = &mut vcpu.cpu.frame.executed;
        *executed = executed.wrapping_add(place.counted_behind());
    }

    /// Has the interpreter run the block at RIP, and goes on behind it.
    pub(super) fn interpret_block(&mut self, vcpu: &mut InterpretedVcpu) -> Next {
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
}
