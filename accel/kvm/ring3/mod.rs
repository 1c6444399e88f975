//! A machine of KVM's that only ever runs the guest's user mode.
//!
//! Rule of this folder: whatever ring 3 is left for, its instruction is executed again by the engine that asked, which finds out
//! for itself what becomes of it. So a page fault, a system call or an instruction that KVM does badly have one meaning, and it
//! is not written here. [`chamber`](self::chamber) says how ring 3 is left, `tables.rs` how KVM comes to see the guest's page
//! tables as they are, and `code.rs` how code that user mode overwrites is noticed.

mod chamber;
mod code;
mod tables;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use dragoman_devices::memory::PageTracker;
use dragoman_frontend::{
    model::Feature,
    semantics::{Cpu, Privilege},
};
use dragoman_state::{
    Activity, Cr4, Dr6, Efer, Gpr, GuestPhys, GuestVirt, PAGE_SIZE, RFlags, Segment, SegmentIndex, VcpuState, Width,
};
use kvm_bindings::{kvm_dtable, kvm_regs, kvm_segment, kvm_sregs2, kvm_vcpu_events};

use super::{
    KvmError,
    exit::Exit,
    faults::Faults,
    host_vcpu::{HostVcpu, io_error},
    machine::Machine,
    state::{
        Extent, Held, get_system,
        msrs::{FMASK, LSTAR},
        registers, system,
    },
    time::TimeStamp,
};
use crate::{
    hybrid::{Back, UserRunner},
    inbox::Caller,
    interpret::processor::Processor,
};
pub(super) use chamber::NOWHERE;
use chamber::{COPIES, Chamber, DESCRIPTORS, LARGEST, LARGEST_BY_2_MIB, LONGEST_LIST, PLACE, PORT, Pushed};
use code::CodePages;
use tables::{Memory, PageTables};

const STAR: u32 = 0xc000_0081;
const CSTAR: u32 = 0xc000_0083;
const PLATFORM_INFO: u32 = 0xce;
const CPUID_FAULTS: u64 = 1 << 31;
const MISC_FEATURES_ENABLES: u32 = 0x140;
const CPUID_FAULTING: u64 = 1;
/// How often an access that user mode was left in the middle of is brought to its end, at most.
const LONGEST_COMPLETION: usize = 64;

/// The guest's user mode in KVM, for one processor.
pub(crate) struct Ring3 {
    machine: Machine,
    vcpu: HostVcpu,
    extent: Extent,
    chamber: Chamber,
    tables: PageTables,
    code: CodePages,
    /// The top pages that there are copies of, the one used last at the end.
    roots: Vec<Root>,
    held: Held,
    time: TimeStamp,
    looks: u64,
    faults: Option<Faults>,
}

/// A copy of a top page.
#[derive(Clone, Copy, Debug)]
struct Root {
    page: GuestPhys,
    /// The copy's number.
    copy: usize,
    /// It holds what the page did when it was last looked at, and the page was not written since.
    is_copied: bool,
    /// How often KVM had looked again when it last did under this root.
    looks: u64,
}

/// What a page-table page is watched and read through.
struct Watched<'a>(&'a mut Processor);

impl Memory for Watched<'_> {
    fn watch(&mut self, page: GuestPhys) {
        self.0.watch_table(page);
    }

    fn read(&mut self, page: GuestPhys) -> Option<[u8; PAGE_SIZE as usize]> {
        let mut bytes = [0; PAGE_SIZE as usize];
        self.0.context.ram.read(page, &mut bytes).ok().map(|()| bytes)
    }
}

impl Ring3 {
    /// User mode of the processor `cpu`.
    pub fn new(cpu: &Processor) -> Result<Self, KvmError> {
        let (ram, model) = (cpu.context.ram.clone(), &cpu.context.model);
        let end = ram.ranges().map(|(first, length)| first.0 + length).max().unwrap_or(0);
        let has_huge_pages = model.has(Feature::Pdpe1gb);
        if end > if has_huge_pages { LARGEST } else { LARGEST_BY_2_MIB } {
            return Err(KvmError::Lacks("room for so much memory beside it"));
        }
        let chamber = Chamber::new(end, has_huge_pages).map_err(ours)?;
        let machine = Machine::with_private(ram, PLACE, chamber.ram().clone())?;
        let (vcpu, extent) = machine.create_user_vcpu(cpu.id, model)?;
        vcpu.set_registers(&[(STAR, u64::from(Chamber::code()) << 32), (LSTAR, NOWHERE), (CSTAR, NOWHERE), (FMASK, 0)])?;
        // CPUID is refused to ring 3 where KVM can do that; where it cannot, its answers are those that it was given.
        let _ = vcpu.set_registers(&[(PLATFORM_INFO, CPUID_FAULTS), (MISC_FEATURES_ENABLES, CPUID_FAULTING)]);
        let faults = Faults::of(&vcpu.fd);
        Ok(Self {
            machine,
            vcpu,
            extent,
            chamber,
            tables: PageTables::default(),
            code: CodePages::default(),
            roots: Vec::new(),
            held: Held::default(),
            time: TimeStamp::default(),
            looks: 0,
            faults,
        })
    }

    /// Brings everything that KVM reads besides registers to where the guest has it. Returns the value for CR3.
    fn prepare(&mut self, cpu: &mut Processor) -> Result<u64, KvmError> {
        let tracker = cpu.context.ram.tracker().clone();
        let root = GuestPhys(cpu.state.top_table());
        let written = tracker.take_written_tables();
        for known in self.roots.iter_mut().filter(|known| written.contains(&known.page)) {
            known.is_copied = false;
        }
        let stale = self.tables.update(&mut Watched(cpu), root, &written);
        let mut stale = match stale {
            Some(stale) => stale,
            None => {
                self.machine.map_anew()?;
                Vec::new()
            }
        };
        let Root { copy, is_copied, looks, .. } = self.root(root);
        if !is_copied {
            // Where it is no RAM there is nothing.
            let entries = Watched(cpu).read(root).unwrap_or([0; PAGE_SIZE as usize]);
            if self.chamber.set_root(copy, &entries).map_err(ours)? {
                stale.push(Chamber::root(copy));
            }
        }
        // Translations are remembered by root, and forgotten for the one in force.
        if !stale.is_empty() || looks != self.looks {
            self.look_again(&cpu.state, &stale, Chamber::root(copy))?;
            if let Some(root) = self.roots.last_mut() {
                root.looks = self.looks;
            }
        }
        self.show_descriptors(cpu)?;
        self.code.take_off_log(&self.machine, &tracker)?;
        Ok(Chamber::root(copy))
    }

    /// The copy for the top page at `page`, as it was: its own, or the one that was not used for longest. It is taken to be one
    /// from now on.
    fn root(&mut self, page: GuestPhys) -> Root {
        let fresh = |copy| Root { page, copy, is_copied: false, looks: 0 };
        let root = match self.roots.iter().position(|known| known.page == page) {
            Some(n) => self.roots.remove(n),
            None if self.roots.len() < COPIES => fresh(self.roots.len()),
            None => fresh(self.roots.remove(0).copy),
        };
        self.roots.push(Root { is_copied: true, ..root });
        root
    }

    /// Has KVM look again at `stale`, and forget translations, under the root at `cr3`.
    fn look_again(&mut self, state: &VcpuState, stale: &[u64], cr3: u64) -> Result<(), KvmError> {
        let lists = stale.chunks(LONGEST_LIST).chain(stale.is_empty().then_some(&[][..]));
        self.looks += u64::from(!stale.is_empty());
        for list in lists {
            let (rip, rsp, rsi) = self.chamber.look_again(list).map_err(ours)?;
            // All else as user mode has it: there are KVMs that keep apart what they know by control registers.
            let mut sregs = self.system(state, cr3);
            let code = Segment::from_descriptor(Chamber::code(), 0x00af_9b00_0000_ffff);
            (sregs.cs, sregs.ss) = (system::segment_to_kvm(&code), kvm_segment { unusable: 1, ..Default::default() });
            self.held.put_system(&self.vcpu, &self.extent, &sregs)?;
            self.put_registers(&kvm_regs { rip, rsp, rsi, rflags: RFlags::FIXED.bits(), ..Default::default() })?;
            let left = |why: String| Err(KvmError::RejectedState { what: "page tables", why });
            loop {
                match self.vcpu.enter(|| false).map_err(|source| KvmError::NoEntry { source, entry: self.looks })? {
                    Exit::Port(access) if access.port.0 == u16::from(PORT) => break,
                    Exit::Called => {}
                    other => return left(format!("it left code of ours with {other:?}")),
                }
            }
            let rip = self.vcpu.fd.get_regs().map_err(|error| KvmError::of("it has no registers", io_error(error)))?.rip;
            if let Some(pushed) = self.chamber.pushed(rip) {
                return left(format!("code of ours met an exception: {pushed:x?}"));
            }
        }
        Ok(())
    }

    fn show_descriptors(&mut self, cpu: &mut Processor) -> Result<(), KvmError> {
        let count = (usize::from(cpu.state.gdtr.limit) + 1).min(DESCRIPTORS) / 8;
        let base = cpu.state.gdtr.base;
        let mut bytes = Vec::with_capacity(8 * count);
        for n in 0..count as u64 {
            // What cannot be read there is not there.
            let word = cpu.read(GuestVirt(base.wrapping_add(8 * n)), Width::Qword, Privilege::System).unwrap_or(0);
            bytes.extend(word.to_le_bytes());
        }
        self.chamber.show_descriptors(&bytes).map_err(ours)
    }

    /// System registers for `state` under our page tables.
    fn system(&self, state: &VcpuState, cr3: u64) -> kvm_sregs2 {
        const KEPT: Cr4 =
            Cr4::PAE.union(Cr4::OSFXSR).union(Cr4::OSXMMEXCPT).union(Cr4::OSXSAVE).union(Cr4::FSGSBASE).union(Cr4::PKE);
        let mut sregs = system::to_kvm(state);
        let tables = self.chamber.tables();
        let table = |(base, limit): (u64, u16)| kvm_dtable { base, limit, padding: [0; 3] };
        (sregs.gdt, sregs.idt) = (table(tables.gdt), table(tables.idt));
        let (selector, base, limit) = tables.task;
        sregs.tr = kvm_segment { base, limit, selector, type_: 11, present: 1, ..Default::default() };
        sregs.ldt = kvm_segment { unusable: 1, ..Default::default() };
        sregs.cr3 = cr3;
        sregs.cr4 = (state.cr4 & KEPT | Cr4::TSD | Cr4::UMIP).bits();
        sregs.efer = (state.efer & Efer::NXE | Efer::LME | Efer::LMA).bits();
        sregs
    }

    fn put(&mut self, state: &VcpuState, cr3: u64) -> Result<(), KvmError> {
        let sregs = self.system(state, cr3);
        self.held.put_system(&self.vcpu, &self.extent, &sregs)?;
        self.put_registers(&registers::to_kvm(state))?;
        self.held.put_components(&self.vcpu, &self.extent, state)?;
        self.held.put_image(&self.vcpu, &self.extent, state)
    }

    fn put_registers(&self, regs: &kvm_regs) -> Result<(), KvmError> {
        self.vcpu.fd.set_regs(regs).map_err(|error| KvmError::of("it takes no registers", io_error(error)))
    }

    /// The state of ring 3, into `state`; whether its instruction is to be executed elsewhere.
    fn take(&mut self, state: &mut VcpuState) -> Result<bool, KvmError> {
        let failed = |error| KvmError::of("the processor's state cannot be had back", error);
        let mut regs = self.vcpu.fd.get_regs().map_err(io_error).map_err(failed)?;
        let sregs = get_system(&self.vcpu, &self.extent).map_err(failed)?;
        self.held.take_image(&self.vcpu, &self.extent, state).map_err(failed)?;
        let left = if sregs.cs.dpl == 3 { None } else { self.chamber.pushed(regs.rip) };
        if let Some(pushed) = left {
            (regs.rip, regs.rflags, regs.rsp) = (pushed.rip, pushed.rflags, pushed.rsp);
        } else if sregs.cs.dpl != 3 {
            let why = format!("ring 3 was left for {:#x}:{:#x}", sregs.cs.selector, regs.rip);
            return Err(KvmError::RejectedState { what: "user mode", why });
        }
        let before = (state.segments, state.rflags);
        registers::from_kvm(&regs, state);
        let parts = [
            (SegmentIndex::Es, &sregs.es),
            (SegmentIndex::Ds, &sregs.ds),
            (SegmentIndex::Fs, &sregs.fs),
            (SegmentIndex::Gs, &sregs.gs),
        ];
        for (index, part) in parts {
            state.segments[index as usize] = system::segment_from_kvm(part, false);
        }
        match left {
            None => {
                state.segments[SegmentIndex::Cs as usize] = system::segment_from_kvm(&sregs.cs, false);
                state.segments[SegmentIndex::Ss as usize] = system::segment_from_kvm(&sregs.ss, true);
            }
            Some(pushed) => self.take_pushed(state, &before.0, &pushed)?,
        }
        // RF says that the instruction was about to be executed again; it is.
        state.rflags = state.rflags & !(RFlags::RF | RFlags::IF) | before.1 & RFlags::IF;
        Ok(left.is_some())
    }

    /// CS and SS as ring 3 had them, and what its last instruction was.
    fn take_pushed(&mut self, state: &mut VcpuState, before: &[Segment; 6], pushed: &Pushed) -> Result<(), KvmError> {
        const DB: u8 = 1;
        for (index, selector) in [(SegmentIndex::Cs, pushed.cs), (SegmentIndex::Ss, pushed.ss)] {
            let segment = &mut state.segments[index as usize];
            *segment = before[index as usize];
            if segment.selector != selector {
                *segment = self.chamber.descriptor(selector).map_err(ours)?;
            }
        }
        if pushed.vector == DB {
            let debug =
                self.vcpu.fd.get_debug_regs().map_err(|error| KvmError::of("it has no debug registers", io_error(error)))?;
            match Dr6::from_bits_retain(debug.dr6).contains(Dr6::BS) {
                true => state.events.pending_debug |= Dr6::BS,
                // INT1, behind it.
                false => state.rip = state.rip.wrapping_sub(1),
            }
        }
        Ok(())
    }

    fn run_with(&mut self, cpu: &mut Processor) -> Result<Back, KvmError> {
        let tracker = cpu.context.ram.tracker().clone();
        cpu.store_flags();
        if !self.machine.device.scales_tsc {
            // There are KVMs that let ring 3 read the host's counter whatever CR4 says: it has to be the guest's.
            self.time.follow(&self.vcpu, cpu).map_err(|error| KvmError::of("its time-stamp counter cannot be set", error))?;
        }
        let cr3 = self.prepare(cpu)?;
        if self.tables.is_replaced() {
            return Ok(Back::NewSpace);
        }
        self.put(&cpu.state, cr3)?;
        cpu.publish_deadline();
        let inbox = cpu.inbox.clone();
        let exit = self.vcpu.enter(|| inbox.has_any());
        let must_execute = self.finish(exit, cpu, &tracker)?;
        take_back_system_call(cpu);
        cpu.load_flags();
        cpu.derive();
        cpu.must_attend |= !cpu.state.events.pending_debug.is_empty();
        Ok(if must_execute { Back::Instruction } else { Back::Called })
    }

    fn finish(&mut self, exit: std::io::Result<Exit>, cpu: &mut Processor, tracker: &PageTracker) -> Result<bool, KvmError> {
        let exit = exit.map_err(|source| KvmError::NoEntry { source, entry: self.looks })?;
        let is_at_stub = self.take(&mut cpu.state)?;
        self.code.tell(&self.machine, tracker)?;
        match exit {
            Exit::Port(_) if is_at_stub => return Ok(true),
            Exit::Called => {}
            Exit::Memory { .. } => self.abandon_access()?,
            Exit::NoEntry(why) => {
                return Err(KvmError::RejectedState { what: "user mode", why: format!("the processor refused it: {why:#x}") });
            }
            // Whatever it was, it is the instruction's.
            _ => {}
        }
        // What KVM was about to deliver happens again.
        let events = self.vcpu.fd.get_vcpu_events().map_err(|error| KvmError::of("it has no events", io_error(error)))?;
        if events.exception.injected != 0 || events.exception.pending != 0 {
            let none = kvm_vcpu_events::default();
            self.vcpu.fd.set_vcpu_events(&none).map_err(|error| KvmError::of("it takes no events", io_error(error)))?;
        }
        Ok(is_at_stub || exit != Exit::Called)
    }

    /// Lets KVM end an access to what is no memory, and forgets what came of it.
    fn abandon_access(&mut self) -> Result<(), KvmError> {
        for _ in 0..LONGEST_COMPLETION {
            match self.vcpu.complete().map_err(|source| KvmError::NoEntry { source, entry: self.looks })? {
                Exit::Memory { .. } | Exit::Port(_) => {}
                _ => return Ok(()),
            }
        }
        Ok(())
    }
}

/// Ring 3 is at [`NOWHERE`], where a SYSCALL led that is not to be: it is about to make it. There are KVMs that go where it leads
/// though it is off, and are in ring 3 there.
pub(super) fn take_back_system_call(cpu: &mut Processor) {
    const SYSCALL: u64 = 0x050f;
    let at = cpu.state.gpr[Gpr::RCX].wrapping_sub(2);
    if cpu.state.rip == NOWHERE && cpu.read(GuestVirt(at), Width::Word, Privilege::User) == Ok(SYSCALL) {
        cpu.state.rip = at;
    }
}

/// A failure of memory of our own.
fn ours(error: dragoman_devices::memory::MemoryError) -> KvmError {
    KvmError::RejectedState { what: "own memory", why: error.to_string() }
}

impl UserRunner for Ring3 {
    fn can_run(&self, cpu: &Processor) -> bool {
        let state = &cpu.state;
        let events = &state.events;
        state.cpl() == 3
            && state.efer.contains(Efer::LMA | Efer::SCE)
            && state.segment(SegmentIndex::Cs).attributes.is_long()
            && !state.cr4.contains(Cr4::LA57)
            && state.rflags.contains(RFlags::IF)
            && !state.rflags.intersects(RFlags::TF | RFlags::IOPL | RFlags::RF | RFlags::VM)
            && state.ldtr.selector & !3 == 0
            && !state.dr7.has_any()
            && usize::from(state.gdtr.limit) < DESCRIPTORS
            && events.pending_debug.is_empty()
            && events.shadow == dragoman_state::InterruptShadow::None
            && events.activity == Activity::Running
    }

    fn caller(&self) -> Arc<dyn Caller> {
        self.vcpu.kick().clone()
    }

    fn run(&mut self, cpu: &mut Processor) -> Result<Back, KvmError> {
        self.run_with(cpu)
    }

    fn page_faults(&self) -> u64 {
        self.faults.as_ref().map_or(0, Faults::count)
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        vec![("looks", self.looks), ("page faults in kvm", self.page_faults())]
    }
}
