//! Task state segments: the stacks and permissions they hold, and hardware task switches.
//! SDM: vol. 3 §7.2 (structures), §7.3 (task switching), §7.6 (16-bit TSS), §7.7 (64-bit TSS), vol. 1 §19.5.2 (I/O
//! permission bitmap), vol. 3 §20.3.3 (interrupt redirection bitmap).

use dragoman_state::{Cr0, Dr7, Gpr, GuestVirt, RFlags, Segment, SegmentIndex, Width};

use super::{
    super::{Cpu, Flush, Privilege},
    descriptors::{Descriptor, Selector, fetch, fetch_system, kind, mark_accessed, wrap, write_type},
    flags_image::DEFINED,
    objections::{Subject, refuse, refuse_where},
    segments::{NOT_PRESENT, data_segment, real_segment, stack_segment},
};
use crate::fault::Fault;

/// How a task switch came about, which decides what is marked busy and whether there is a way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Jump,
    Call,
    /// An interrupt or exception through a task gate.
    Interrupt,
    /// IRET with NT set.
    Return,
}

/// Reads `width` bits at `offset` into the present task state segment; #TS where it ends before.
fn read_tss(cpu: &mut dyn Cpu, offset: u64, width: Width) -> Result<u64, Fault> {
    let tr = cpu.state().tr;
    let field = Subject::TaskState { offset };
    let is_outside = offset + width.bytes() - 1 > u64::from(tr.limit);
    refuse_where(cpu, Fault::ts(tr.selector & !3), field, &[(is_outside, "lies beyond the limit of the task state segment")])?;
    let at = wrap(cpu.state(), tr.base.wrapping_add(offset));
    let read = cpu.read(GuestVirt(at), width, Privilege::System);
    read.map_err(|fault| refuse(cpu, fault, field, "cannot be read"))
}

/// Stack segment and pointer that the present 16- or 32-bit task has for privilege level `ring`.
pub(super) fn stack_of_ring(cpu: &mut dyn Cpu, ring: u8) -> Result<(Selector, u64), Fault> {
    let ring = u64::from(ring);
    let is_wide = cpu.state().tr.attributes.kind() & 8 != 0;
    let (pointer, selector, width) =
        if is_wide { (4 + 8 * ring, 8 + 8 * ring, Width::Dword) } else { (2 + 4 * ring, 4 + 4 * ring, Width::Word) };
    let selector = read_tss(cpu, selector, Width::Word)?;
    Ok((Selector(selector as u16), read_tss(cpu, pointer, width)?))
}

/// Stack pointer that the 64-bit task state segment has for privilege level `ring`.
pub(super) fn long_stack(cpu: &mut dyn Cpu, ring: u64) -> Result<u64, Fault> {
    read_tss(cpu, 4 + 8 * ring, Width::Qword)
}

/// Entry `n` (1 to 7) of the interrupt stack table.
pub(super) fn interrupt_stack(cpu: &mut dyn Cpu, n: u64) -> Result<u64, Fault> {
    read_tss(cpu, 0x1c + 8 * n, Width::Qword)
}

/// Where the I/O permission bitmap begins, where there is one.
fn permission_bitmap(cpu: &mut dyn Cpu) -> Result<Option<u64>, Fault> {
    const MAP_BASE: u64 = 0x66;
    let tr = cpu.state().tr;
    let has_map = tr.attributes.kind() & 8 != 0 && tr.limit >= 0x67;
    if has_map { Ok(Some(read_tss(cpu, MAP_BASE, Width::Word)?)) } else { Ok(None) }
}

/// #GP(0) unless the permission bitmap opens all of `width` bits at `port`.
pub(super) fn check_port(cpu: &mut dyn Cpu, port: u16, width: Width) -> Result<(), Fault> {
    let map = permission_bitmap(cpu)?.ok_or(Fault::GP0)?;
    let tr = cpu.state().tr;
    let byte = map + u64::from(port / 8);
    // Two bytes are always read, so that the map needs a byte of ones at its end.
    if byte + 1 > u64::from(tr.limit) {
        return Err(Fault::GP0);
    }
    let at = wrap(cpu.state(), tr.base.wrapping_add(byte));
    let bits = cpu.read(GuestVirt(at), Width::Word, Privilege::System)?;
    let mask = (1 << width.bytes()) - 1;
    if bits >> (port % 8) & mask == 0 { Ok(()) } else { Err(Fault::GP0) }
}

/// Whether a virtual-8086 task's `INT vector` goes to the protected-mode monitor rather than to the task's own table.
pub(super) fn is_redirected_to_monitor(cpu: &mut dyn Cpu, vector: u8) -> Result<bool, Fault> {
    let Some(map) = permission_bitmap(cpu)? else { return Ok(true) };
    let Some(byte) = (map + u64::from(vector / 8)).checked_sub(32) else { return Ok(true) };
    let bits = read_tss(cpu, byte, Width::Byte)?;
    Ok(bits >> (vector % 8) & 1 != 0)
}

/// Switches to the task that a task gate names.
pub(super) fn switch_through_gate(cpu: &mut dyn Cpu, selector: Selector, gate: Descriptor, entry: Entry) -> Result<(), Fault> {
    let is_absent = !gate.attributes().is_present();
    refuse_where(cpu, Fault::np(selector.error()), Subject::entry(selector, gate), &[(is_absent, NOT_PRESENT)])?;
    switch(cpu, gate.gate_selector(), entry)
}

/// IRET with NT set: back to the task that the present one was called from.
pub(super) fn return_to_previous(cpu: &mut dyn Cpu) -> Result<(), Fault> {
    let link = read_tss(cpu, 0, Width::Word)?;
    switch(cpu, Selector(link as u16), Entry::Return)
}

/// The registers as a task state segment holds them.
#[derive(Default)]
struct Image {
    cr3: u64,
    rip: u64,
    flags: u64,
    gpr: [u64; 8],
    selectors: [u16; 6],
    ldt: u16,
    debug_trap: bool,
}

/// The 16- and the 32-bit layout: where the registers begin, and how wide they are.
struct Layout {
    is_wide: bool,
}

impl Layout {
    fn width(&self) -> Width {
        if self.is_wide { Width::Dword } else { Width::Word }
    }

    fn size(&self) -> u64 {
        if self.is_wide { 0x68 } else { 0x2c }
    }

    fn rip(&self) -> u64 {
        if self.is_wide { 0x20 } else { 0x0e }
    }

    fn gpr(&self, n: usize) -> u64 {
        self.rip() + (2 + n as u64) * self.width().bytes()
    }

    fn selector(&self, n: usize) -> u64 {
        self.gpr(8) + n as u64 * self.width().bytes()
    }

    fn selectors(&self) -> usize {
        if self.is_wide { 6 } else { 4 }
    }

    fn ldt(&self) -> u64 {
        if self.is_wide { 0x60 } else { 0x2a }
    }
}

/// Switches to the task whose state segment `selector` names. SDM: vol. 3 §7.3, the numbered steps.
pub(super) fn switch(cpu: &mut dyn Cpu, selector: Selector, entry: Entry) -> Result<(), Fault> {
    let (new, descriptor) = incoming(cpu, selector, entry)?;
    let layout = Layout { is_wide: new.attributes.kind() & 8 != 0 };
    check_presence(cpu, &new, &layout)?;
    save_outgoing(cpu, entry)?;
    let mut image = load_image(cpu, &new, &layout)?;
    if matches!(entry, Entry::Call | Entry::Interrupt) {
        let link = cpu.state().tr.selector;
        cpu.write(GuestVirt(new.base), Width::Word, link.into(), Privilege::System)?;
        image.flags |= RFlags::NT.bits();
    }
    if entry != Entry::Return {
        set_busy(cpu, selector, descriptor, true)?;
    }
    take_over(cpu, selector, new, &layout, &image)?;
    load_segments(cpu, &image)
}

/// The task state segment that is switched to, after the checks that leave the outgoing task in charge.
fn incoming(cpu: &mut dyn Cpu, selector: Selector, entry: Entry) -> Result<(Segment, Descriptor), Fault> {
    let is_back = entry == Entry::Return;
    let refused = if is_back { Fault::ts(selector.error()) } else { Fault::gp(selector.error()) };
    refuse_where(
        cpu,
        refused,
        Subject::selector(selector),
        &[(selector.is_null(), "is null, and no task"), (selector.0 & 4 != 0, "is in the local table, where no task can be")],
    )?;
    let descriptor = fetch_system(cpu, selector, refused)?;
    let rights = descriptor.attributes();
    let is_right_kind = match rights.kind() {
        kind::TSS | kind::TSS16 => !is_back,
        kind::TSS_BUSY | kind::TSS16_BUSY => is_back,
        _ => false,
    };
    let subject = Subject::entry(selector, descriptor);
    let is_other = rights.is_code_or_data() || !is_right_kind;
    let text = if is_back { "is no busy task to return to" } else { "is no available task: its type is another, or it is busy" };
    refuse_where(cpu, refused, subject, &[(is_other, text)])?;
    refuse_where(cpu, Fault::np(selector.error()), subject, &[(!rights.is_present(), NOT_PRESENT)])?;
    let mut segment = descriptor.segment(selector);
    segment.attributes.0 |= 2; // busy
    let smallest = if rights.kind() & 8 != 0 { 0x67 } else { 0x2b };
    let is_short = segment.limit < smallest;
    refuse_where(cpu, Fault::ts(selector.error()), subject, &[(is_short, "has a limit too small for a task state segment")])?;
    Ok((segment, descriptor))
}

/// Both task state segments must be in memory before anything is written.
fn check_presence(cpu: &mut dyn Cpu, new: &Segment, layout: &Layout) -> Result<(), Fault> {
    let old = cpu.state().tr;
    let old_size = Layout { is_wide: old.attributes.kind() & 8 != 0 }.size();
    cpu.check_write(GuestVirt(old.base), old_size, Privilege::System)?;
    cpu.check_write(GuestVirt(new.base), layout.size(), Privilege::System)
}

/// Writes the registers to the outgoing task's state segment.
fn save_outgoing(cpu: &mut dyn Cpu, entry: Entry) -> Result<(), Fault> {
    let old = cpu.state().tr;
    if matches!(entry, Entry::Jump | Entry::Return) {
        let selector = Selector(old.selector);
        let descriptor = fetch(cpu, selector, Fault::ts(selector.error()))?;
        set_busy(cpu, selector, descriptor, false)?;
    }
    let layout = Layout { is_wide: old.attributes.kind() & 8 != 0 };
    let state = cpu.state();
    let mut flags = state.rflags;
    if entry == Entry::Return {
        flags.remove(RFlags::NT);
    }
    let mut fields = vec![(layout.rip(), state.rip), (layout.rip() + layout.width().bytes(), flags.bits())];
    fields.extend((0..8).map(|n| (layout.gpr(n), state.gpr[Gpr(n as u8)])));
    let width = layout.width();
    let selectors: Vec<_> =
        (0..layout.selectors()).map(|n| (layout.selector(n), u64::from(state.segments[n].selector))).collect();
    for (offset, value) in fields {
        cpu.write(GuestVirt(old.base.wrapping_add(offset)), width, width.truncate(value), Privilege::System)?;
    }
    for (offset, value) in selectors {
        cpu.write(GuestVirt(old.base.wrapping_add(offset)), Width::Word, value, Privilege::System)?;
    }
    Ok(())
}

fn load_image(cpu: &mut dyn Cpu, new: &Segment, layout: &Layout) -> Result<Image, Fault> {
    let mut field = |offset: u64, width| cpu.read(GuestVirt(new.base.wrapping_add(offset)), width, Privilege::System);
    let width = layout.width();
    let mut image = Image {
        rip: field(layout.rip(), width)?,
        flags: field(layout.rip() + width.bytes(), width)?,
        ldt: field(layout.ldt(), Width::Word)? as u16,
        ..Image::default()
    };
    for n in 0..8 {
        image.gpr[n] = field(layout.gpr(n), width)?;
    }
    for n in 0..layout.selectors() {
        image.selectors[n] = field(layout.selector(n), Width::Word)? as u16;
    }
    if layout.is_wide {
        image.cr3 = field(0x1c, Width::Dword)?;
        image.debug_trap = field(0x64, Width::Word)? & 1 != 0;
    }
    Ok(image)
}

fn set_busy(cpu: &mut dyn Cpu, selector: Selector, mut descriptor: Descriptor, is_busy: bool) -> Result<(), Fault> {
    const BUSY: u64 = 1 << 41;
    descriptor.low = if is_busy { descriptor.low | BUSY } else { descriptor.low & !BUSY };
    write_type(cpu, selector, descriptor)
}

/// From here on the new task is in charge: what faults, faults in it.
fn take_over(cpu: &mut dyn Cpu, selector: Selector, new: Segment, layout: &Layout, image: &Image) -> Result<(), Fault> {
    let has_paging = cpu.state().cr0.contains(Cr0::PG);
    let state = cpu.state_mut();
    state.tr = Segment { selector: selector.0, ..new };
    state.cr0 |= Cr0::TS;
    state.dr7.remove(Dr7::LOCAL_ENABLES | Dr7::LE);
    state.rip = image.rip;
    state.rflags = RFlags::from_bits_retain(image.flags) & DEFINED | RFlags::FIXED;
    for n in 0..8u8 {
        let value = image.gpr[usize::from(n)];
        state.gpr[Gpr(n)] = if layout.is_wide { value } else { value | 0xffff_0000 };
    }
    // Selectors are loaded before descriptors: a fault from here on sees the new ones.
    for (segment, selector) in state.segments.iter_mut().zip(image.selectors) {
        *segment = Segment::null(selector);
    }
    state.ldtr = Segment::null(image.ldt);
    state.segment_mut(SegmentIndex::Ss).attributes = Segment::null(0).attributes.with_dpl(image.selectors[1] as u8 & 3);
    if image.debug_trap {
        state.events.pending_debug |= dragoman_state::Dr6::BT;
    }
    if layout.is_wide && has_paging && state.cr3 != image.cr3 {
        state.cr3 = image.cr3;
        super::control_registers::load_pdptes(cpu, image.cr3)?;
        cpu.flush(Flush::NotGlobal);
    }
    Ok(())
}

/// Loads the new task's descriptors, in the order the manual gives: LDT, CS, SS, then the data segments.
fn load_segments(cpu: &mut dyn Cpu, image: &Image) -> Result<(), Fault> {
    load_ldt(cpu, Selector(image.ldt))?;
    let [es, cs, ss, ds, fs, gs] = image.selectors.map(Selector);
    let data = [(SegmentIndex::Ds, ds), (SegmentIndex::Es, es), (SegmentIndex::Fs, fs), (SegmentIndex::Gs, gs)];
    if RFlags::from_bits_retain(image.flags).contains(RFlags::VM) {
        for (index, selector) in data.into_iter().chain([(SegmentIndex::Cs, cs), (SegmentIndex::Ss, ss)]) {
            let segment = real_segment(cpu, index, selector.0);
            *cpu.state_mut().segment_mut(index) = segment;
        }
        return Ok(());
    }
    load_code(cpu, cs)?;
    let cpl = cs.rpl();
    let segment = stack_segment(cpu, ss, cpl, Fault::ts)?;
    *cpu.state_mut().segment_mut(SegmentIndex::Ss) = segment;
    let is_outside = cpu.state().rip > u64::from(cpu.state().segment(SegmentIndex::Cs).limit);
    refuse_where(cpu, Fault::GP0, Subject::selector(cs), &[(is_outside, "ends before the new task's EIP")])?;
    for (index, selector) in data {
        let segment = data_segment(cpu, index, selector).map_err(as_task_fault)?;
        *cpu.state_mut().segment_mut(index) = segment;
    }
    Ok(())
}

/// A selector that cannot be loaded is #TS during a task switch, where it would be #GP otherwise.
fn as_task_fault(fault: Fault) -> Fault {
    match (fault.vector(), fault.error()) {
        (crate::fault::vector::GP, Some(error)) => Fault::ts(error as u16),
        _ => fault,
    }
}

fn load_ldt(cpu: &mut dyn Cpu, selector: Selector) -> Result<(), Fault> {
    if selector.is_null() {
        return Ok(());
    }
    let refused = Fault::ts(selector.error());
    let is_local = selector.0 & 4 != 0;
    refuse_where(cpu, refused, Subject::selector(selector), &[(is_local, "is in the local table, where no LDT can be")])?;
    let descriptor = fetch(cpu, selector, refused)?;
    let rights = descriptor.attributes();
    refuse_where(
        cpu,
        refused,
        Subject::entry(selector, descriptor),
        &[
            (rights.is_code_or_data() || rights.kind() != kind::LDT, "is no LDT, and the new task names it as its own"),
            (!rights.is_present(), NOT_PRESENT),
        ],
    )?;
    cpu.state_mut().ldtr = descriptor.segment(selector);
    Ok(())
}

fn load_code(cpu: &mut dyn Cpu, selector: Selector) -> Result<(), Fault> {
    let refused = Fault::ts(selector.error());
    refuse_where(cpu, refused, Subject::selector(selector), &[(selector.is_null(), "is null, and the new task's code")])?;
    let mut descriptor = fetch(cpu, selector, refused)?;
    let rights = descriptor.attributes();
    let cpl = selector.rpl();
    let is_allowed = if rights.is_conforming() { rights.dpl() <= cpl } else { rights.dpl() == cpl };
    let entry = Subject::entry(selector, descriptor);
    refuse_where(
        cpu,
        refused,
        entry,
        &[
            (!rights.is_code(), "is no code segment, and the new task's CS"),
            (!is_allowed, "has a DPL that the new task's RPL may not go to"),
        ],
    )?;
    refuse_where(cpu, Fault::np(selector.error()), entry, &[(!rights.is_present(), NOT_PRESENT)])?;
    mark_accessed(cpu, selector, &mut descriptor)?;
    *cpu.state_mut().segment_mut(SegmentIndex::Cs) = descriptor.segment(selector);
    Ok(())
}
