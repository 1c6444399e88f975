//! Memory operands: the linear address, and the probe that finds it in the host.

use dragoman_state::SegmentIndex;
use dynasm::dynasm;
use dynasmrt::DynasmApi;
use iced_x86::{Code, IcedError, Instruction, MemoryOperand, OpKind, Register};

use super::{
    DetourKind, SiteKind, Work,
    groups::{Base, Distance, Group, Member},
    plan::{MemoryUse, Plan, Step},
    registers::{Home, R10, R11, R14, as_wide, home, number},
};
use crate::{RefillKind, pages::Entry};

const PAGE: u32 = 4096;

/// How long the encoder is to make a displacement beside a base register.
pub(super) const fn displacement_size(displacement: i64) -> u32 {
    match displacement {
        0 => 0,
        -128..=127 => 1,
        _ => 8,
    }
}

/// The displacement of a memory operand, whose addresses have 32 bits where it `is_short`.
pub(super) fn displacement(insn: &Instruction, is_short: bool) -> i64 {
    let displacement = insn.memory_displacement64() as i64;
    if is_short { i64::from(displacement as i32) } else { displacement }
}

/// Whether an address has 32 bits because a register in it has.
fn has_short_registers(insn: &Instruction) -> bool {
    insn.memory_base().is_gpr32() || insn.memory_index().is_gpr32()
}

impl Work<'_> {
    /// A site for the instruction under way to be executed by the interpreter.
    pub(super) fn miss(&mut self) -> u8 {
        self.site(SiteKind::Interpret)
    }

    /// The linear address of the memory operand, which is accessed so, into R10. R11 and the host's flags are lost. The code
    /// is left at `site` where the segment may refuse the access.
    pub(super) fn address(&mut self, memory: MemoryUse, site: u8) -> Result<(), IcedError> {
        if !self.is_narrow() {
            return self.wide_address(0);
        }
        self.effective_address(Code::Lea_r32_m, Register::R10D, 0)?;
        if let Some(segment) = self.based_segment() {
            let base = self.layout.segment_bases[segment as usize];
            self.require_no_bounds(segment, memory, site);
            dynasm!(self.code ; .arch x64 ; gs add r10d, [base]);
        }
        Ok(())
    }

    /// The same in 64-bit code, where no segment refuses an access, and `further` on. Where an address has 32 bits, that is zero.
    fn wide_address(&mut self, further: i64) -> Result<(), IcedError> {
        let is_short = has_short_registers(self.original());
        let (code, into) = if is_short { (Code::Lea_r32_m, Register::R10D) } else { (Code::Lea_r64_m, Register::R10) };
        self.effective_address(code, into, further)?;
        if let Some(segment) = self.based_segment() {
            let base = self.layout.segment_bases[segment as usize];
            dynasm!(self.code ; .arch x64 ; gs add r10, [base]);
        }
        Ok(())
    }

    /// The segment of the memory operand, where its base need not be zero.
    fn based_segment(&self) -> Option<SegmentIndex> {
        match self.original().memory_segment() {
            Register::FS => Some(SegmentIndex::Fs),
            Register::GS => Some(SegmentIndex::Gs),
            _ => None,
        }
    }

    /// The effective address of the memory operand, and `further` on, by an LEA of the form `code`, into the host register
    /// `into`. R10 and R11 are lost, and no flag.
    pub(super) fn effective_address(&mut self, code: Code, into: Register, further: i64) -> Result<(), IcedError> {
        let original = *self.original();
        if original.memory_base() == Register::RIP {
            let page = self.layout.page();
            dynasm!(self.code ; .arch x64 ; gs mov r10, [page]);
            let distance = original.memory_displacement64() as i64 + i64::from(self.source.page_offset) + further;
            return self.lea(code, into, Register::R10, Register::None, 1, distance);
        }
        let base = self.part_of_address(original.memory_base(), R10);
        let index = self.part_of_address(original.memory_index(), R11);
        let is_short = self.is_narrow() || has_short_registers(&original);
        let displacement = displacement(&original, is_short) + further;
        if is_short && base == Register::None && index == Register::None {
            dynasm!(self.code ; .arch x64 ; mov r10d, DWORD displacement as i32);
            if into == Register::R10D {
                return Ok(());
            }
            return self.lea(code, into, Register::R10, Register::None, 1, 0);
        }
        if base == Register::None && index == Register::None {
            // Only this form of MOV, of which there is no LEA, has more than 32 bits.
            let value = if original.memory_displ_size() == 4 { displacement & 0xffff_ffff } else { displacement };
            if i32::try_from(displacement).is_err() || original.memory_displ_size() == 4 {
                dynasm!(self.code ; .arch x64 ; mov r10, QWORD value);
                return self.lea(code, into, Register::R10, Register::None, 1, 0);
            }
        }
        self.lea(code, into, base, index, original.memory_index_scale(), displacement)
    }

    /// A base or an index as the host has it, all 64 bits of it; brought to register `spare` where it is in memory.
    fn part_of_address(&mut self, register: Register, spare: u8) -> Register {
        let Some(n) = number(register) else { return Register::None };
        match home(n) {
            Home::Host(held) => as_wide(held, Register::RAX),
            Home::Memory => as_wide(self.borrow_register(n, spare), Register::RAX),
        }
    }

    fn lea(
        &mut self,
        code: Code,
        into: Register,
        base: Register,
        index: Register,
        scale: u32,
        displacement: i64,
    ) -> Result<(), IcedError> {
        let size = if base == Register::None { 8 } else { displacement_size(displacement) };
        let memory = MemoryOperand::new(base, index, scale, displacement, size, false, Register::None);
        let insn = Instruction::with2(code, into, memory)?;
        self.encode(&insn)
    }

    /// Finds the bytes at the linear address in R10: afterwards they are at the sum of R10 and R11. Where neither the table
    /// nor what is behind it knows them the code is left at `site`. The host's flags are lost.
    pub(super) fn probe(&mut self, memory: MemoryUse, site: u8) {
        self.probe_for(memory, site, true);
    }

    /// The same for code that goes on from there: the bytes are never found in two pages.
    pub(super) fn probe_page(&mut self, memory: MemoryUse, site: u8) {
        self.probe_for(memory, site, false);
    }

    fn probe_for(&mut self, memory: MemoryUse, site: u8, may_be_joint: bool) {
        let miss = self.look_up(memory);
        let table = miss.table;
        self.refills.push(Refill { site, miss, may_be_joint });
        dynasm!(self.code ; .arch x64 ; gs mov r11, [r11 + table + 8]);
    }

    /// Looks for the bytes at the linear address in R10 in the table for such accesses. Where it knows them, R10 becomes
    /// their offset in the page, and R11 that of the page's entry in the table.
    fn look_up(&mut self, memory: MemoryUse) -> Miss {
        let (table, kind) = match memory.is_write {
            true => (self.tables.write, RefillKind::Write),
            false => (self.tables.read, RefillKind::Read),
        };
        let last = (PAGE - memory.size) as i32;
        self.find_slot();
        dynasm!(self.code ; .arch x64
            ; gs sub r10, [r11 + table]
        );
        let again = self.here();
        dynasm!(self.code ; .arch x64
            ; cmp r10, last
            ; .bytes [0x0fu8, 0x87] // JA
        );
        Miss { jump: self.code.displacement(), table, kind, again }
    }

    /// R11 becomes the offset of the slot that the page of the linear address in R10 belongs in.
    pub(super) fn find_slot(&mut self) {
        const MASK: i32 = Entry::MASK as i32;
        const SHIFT: i8 = Entry::SHIFT as i8;
        if self.has_bmi2 {
            dynasm!(self.code ; .arch x64 ; rorx r11d, r10d, SHIFT);
        } else {
            dynasm!(self.code ; .arch x64 ; mov r11d, r10d ; shr r11d, SHIFT);
        }
        dynasm!(self.code ; .arch x64 ; and r11d, MASK);
    }

    /// Where the instruction under way is in a group: its part, with the group's range found where it leads it. The host's flags
    /// are lost then; R10 and R11 are.
    pub(super) fn join_group(&mut self) -> Result<Option<Member>, IcedError> {
        let Some(member) = self.groups.member(self.number) else { return Ok(None) };
        if member.is_leader {
            self.lead(&member)?;
        }
        Ok(Some(member))
    }

    fn lead(&mut self, member: &Member) -> Result<(), IcedError> {
        let group = &member.group;
        self.give_up_host_flags();
        match (group.base, group.low, -member.offset) {
            (Base::Register(base), low, _) => {
                let Home::Host(base) = home(base) else { unreachable!("bases of groups are in the host's") };
                self.sum(R10, base, low);
            }
            (Base::Sum { .. }, _, back) => self.wide_address(back.into())?,
        }
        let miss = self.look_up(MemoryUse { size: group.length, is_write: group.is_write });
        let (jump, table) = (miss.jump, miss.table);
        self.detour(jump, DetourKind::Ungrouped(miss));
        match (group.base, group.distance) {
            (Base::Register(_), Distance::Register) => {
                dynasm!(self.code ; .arch x64 ; gs mov r14, [r11 + table + 8] ; gs sub r14, [r11 + table]);
            }
            (Base::Register(_), Distance::Slot(n)) => {
                let slot = self.layout.distance(n);
                dynasm!(self.code ; .arch x64
                    ; gs mov r10, [r11 + table + 8]
                    ; gs sub r10, [r11 + table]
                    ; gs mov [slot], r10
                );
            }
            (Base::Sum { .. }, Distance::Register) => {
                dynasm!(self.code ; .arch x64 ; gs mov r14, [r11 + table + 8] ; add r14, r10);
            }
            (Base::Sum { .. }, Distance::Slot(n)) => {
                let slot = self.layout.distance(n);
                dynasm!(self.code ; .arch x64 ; gs add r10, [r11 + table + 8] ; gs mov [slot], r10);
            }
        }
        Ok(())
    }

    /// The register that holds the host address of the range of a group whose base is a sum: R10 where it is not there yet.
    pub(super) fn range(&mut self, member: &Member) -> u8 {
        match member.group.distance {
            Distance::Register => R14,
            Distance::Slot(n) => {
                if !member.is_leader && self.range_at_hand != Some(n) {
                    let slot = self.layout.distance(n);
                    dynasm!(self.code ; .arch x64 ; gs mov r10, [slot]);
                }
                self.range_at_hand = Some(n);
                R10
            }
        }
    }

    /// Before an instruction: where it may need R10 for something else, that no longer holds the address of a group's range.
    pub(super) fn before_losing_range(&mut self, step: &Step) {
        let keeps = match (step.plan, step.memory) {
            (Plan::Nothing, _) => true,
            (Plan::Native, _) if step.touches_x87 => false,
            (Plan::Native, None) => self.borrows_none(),
            (Plan::Native, Some(_)) => self.groups.member(self.number).is_some_and(|member| {
                matches!((member.group.base, member.group.distance), (Base::Sum { .. }, Distance::Slot(_)))
            }),
            _ => false,
        };
        if !keeps {
            self.range_at_hand = None;
        }
    }

    /// Whether all operands of the instruction under way are in registers of the host's already.
    fn borrows_none(&self) -> bool {
        let insn = self.original();
        let mut registers = (0..insn.op_count()).filter(|n| insn.op_kind(*n) == OpKind::Register).map(|n| insn.op_register(n));
        registers.all(|register| number(register).is_none_or(|n| home(n) != Home::Memory || self.is_kept(n)))
    }

    /// The register that holds a group's distance from guest to host address; R11 is lost where it is not there yet.
    pub(super) fn distance(&mut self, group: &Group) -> u8 {
        match group.distance {
            Distance::Register => R14,
            Distance::Slot(n) => {
                let slot = self.layout.distance(n);
                dynasm!(self.code ; .arch x64 ; gs mov r11, [slot]);
                R11
            }
        }
    }

    /// The way from a leader's probe that found nothing: where the page cannot be had, or the range runs into the next one,
    /// the code goes on at the instruction under way in a block without groups.
    pub(super) fn refill_group(&mut self, miss: &Miss) {
        let own = i32::from(self.source.page_offset) + i32::from(self.source.insns[self.number].start);
        let exit = self.out.exits.len() as u8;
        let site = self.site(SiteKind::Link { target: own, exit, is_grouped: false });
        let beyond = self.jump_beyond();
        self.find_page(site, miss);
        self.code.land(beyond);
        self.note_pointer();
        if !self.flags.is_told {
            self.leave_flags_in_memory();
        }
        self.link_to(own, false);
    }

    /// The way from a probe that found nothing.
    pub(super) fn refill(&mut self, probe: &Refill) {
        self.code.land(probe.miss.jump);
        if !probe.may_be_joint {
            let beyond = self.jump_beyond();
            self.stub(probe.site, beyond);
        }
        self.find_page(probe.site, &probe.miss);
    }

    /// A jump for where the page is known, and the bytes run into the next one.
    fn jump_beyond(&mut self) -> usize {
        const LAST: i32 = PAGE as i32 - 1;
        dynasm!(self.code ; .arch x64 ; cmp r10, LAST ; .bytes [0x0fu8, 0x86]); // JBE
        self.code.displacement()
    }

    /// Has the page brought into the table, or the code left at `site`. What was found is looked at again, because the access
    /// may run into the next page.
    fn find_page(&mut self, site: u8, miss: &Miss) {
        const PUSH: u8 = 0x68;
        let find = self.layout.refill(self.source.view, miss.kind);
        self.code.push(PUSH);
        self.code.push_u32(site.into());
        self.out.site_numbers.push(self.here() - 4);
        dynasm!(self.code ; .arch x64 ; gs call QWORD [find] ; lea rsp, [rsp + 8]);
        self.code.jump_back(miss.again as usize);
    }
}

/// What is needed where a probe found nothing.
pub(super) struct Miss {
    /// The displacement of the jump that is taken then.
    pub jump: usize,
    table: i32,
    kind: RefillKind,
    /// Where the distance from the start of the page, in R10, is compared.
    again: u32,
}

/// A probe whose page may be found without leaving the code.
pub(super) struct Refill {
    /// Where the code is left otherwise.
    pub site: u8,
    miss: Miss,
    /// Whether the bytes may be found in a copy where they lie in two pages.
    may_be_joint: bool,
}
