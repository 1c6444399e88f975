//! Instructions that the host executes itself.

use dynasm::dynasm;
use dynasmrt::DynasmApi;
use iced_x86::{Code, IcedError, Instruction, Mnemonic, OpAccess, OpKind, Register};

use super::{
    Pointer, SiteKind, Work,
    control::LENGTH_OF_BRANCH,
    groups::{Base, Member},
    memory::displacement_size,
    narrow::host_form,
    plan::{self, Step},
    registers::{Home, R10, R11, R14, as_wide, home, number},
};

const BYTE_BITS: i8 = 8;

/// A guest register that is in memory, while an instruction uses it.
#[derive(Clone, Copy)]
struct Borrowed {
    guest: u8,
    host: u8,
    is_read: bool,
    is_written: bool,
}

impl Work<'_> {
    /// The instruction itself, with other registers and its memory operand where the probe found it.
    pub(super) fn native(&mut self, step: &Step) {
        let (bytes, flags) = (self.here() as usize, self.flags);
        let x87 = (self.has_x87, self.pointer);
        let (sites, numbers, rows) = (self.out.sites.len(), self.out.site_numbers.len(), self.out.rows.len());
        let (detours, resumes, kept) = (self.detours.len(), self.resumes.len(), self.kept.now);
        if self.try_native(step).is_err() {
            // The host cannot be given it in this form.
            self.code.truncate(bytes);
            self.out.sites.truncate(sites);
            self.out.site_numbers.truncate(numbers);
            self.out.rows.truncate(rows);
            self.detours.truncate(detours);
            self.resumes.truncate(resumes);
            self.kept.now = kept;
            self.stubs.retain(|stub| usize::from(stub.site) < sites);
            self.refills.retain(|probe| usize::from(probe.site) < sites);
            self.flags = flags;
            (self.has_x87, self.pointer) = x87;
            self.interpret();
        }
    }

    fn try_native(&mut self, step: &Step) -> Result<(), IcedError> {
        if step.touches_x87 && !self.has_x87 {
            self.want_x87();
        }
        let original = *self.original();
        let mut insn = original;
        insn.set_code(host_form(original.code()));
        let mut borrowed: Vec<Borrowed> = Vec::new();
        for n in 0..insn.op_count() {
            borrow(&mut borrowed, &insn, n, step.access[n as usize]);
        }
        let mut site = None;
        let spare: &[u8] = match step.memory {
            None => {
                self.before(step.effect);
                &[R10, R11, R14]
            }
            Some(memory) => match self.join_group()? {
                Some(member) if matches!(member.group.base, Base::Sum { .. }) => {
                    self.before(step.effect);
                    let range = self.range(&member);
                    insn.set_memory_base(as_wide(range, Register::RAX));
                    insn.set_memory_index(Register::None);
                    insn.set_memory_index_scale(1);
                    insn.set_memory_displacement64(i64::from(member.offset) as u64);
                    insn.set_memory_displ_size(displacement_size(member.offset.into()));
                    insn.set_segment_prefix(Register::None);
                    if range == R14 { &[R10, R11] } else { &[R11] }
                }
                Some(Member { group, .. }) => {
                    self.before(step.effect);
                    let distance = self.distance(&group);
                    if self.is_narrow() {
                        self.effective_address(Code::Lea_r32_m, Register::R10D, 0)?;
                        insn.set_memory_base(Register::R10);
                        insn.set_memory_displacement64(0);
                    } else {
                        insn.set_memory_base(host_register(insn.memory_base(), &[]));
                    }
                    insn.set_memory_index(as_wide(distance, Register::RAX));
                    insn.set_memory_displ_size(displacement_size(insn.memory_displacement64() as i64));
                    insn.set_memory_index_scale(1);
                    insn.set_segment_prefix(Register::None);
                    if distance == R14 { &[R10, R11] } else { &[R10] }
                }
                None => {
                    self.give_up_host_flags();
                    let miss = *site.insert(self.miss());
                    self.address(memory, miss)?;
                    self.probe(memory, miss);
                    let has_r14 = !self.needs_r14();
                    let others = borrowed.iter().filter(|one| !self.is_kept(one.guest)).count();
                    let is_folded = others > usize::from(has_r14) || self.loses_r11_before(step.effect);
                    if is_folded {
                        dynasm!(self.code ; .arch x64 ; lea r10, [r10 + r11]);
                    }
                    insn.set_memory_base(Register::R10);
                    insn.set_memory_index(if is_folded { Register::None } else { Register::R11 });
                    insn.set_memory_index_scale(1);
                    insn.set_memory_displacement64(0);
                    insn.set_memory_displ_size(0);
                    insn.set_segment_prefix(Register::None);
                    if insn.mnemonic() == Mnemonic::Fldcw {
                        self.only_masked(site);
                    }
                    self.before(step.effect);
                    if is_folded { &[R11, R14] } else { &[R14] }
                }
            },
        };
        let mut spare = spare.iter();
        for one in &mut borrowed {
            one.host = if self.is_kept(one.guest) { R14 } else { spare.next().copied().unwrap_or(R14) };
            if one.is_read {
                self.borrow_register(one.guest, one.host);
            }
        }
        for n in 0..insn.op_count() {
            if insn.op_kind(n) == OpKind::Register {
                insn.set_op_register(n, host_register(insn.op_register(n), &borrowed));
            }
        }
        let turned = step.memory.and_then(|_| plan::turned(&original));
        if let Some(n) = turned {
            let low = as_wide(n, Register::AL);
            let place = u32::from(insn.op0_kind() == OpKind::Memory);
            insn.set_op_register(place, low);
            dynasm!(self.code ; .arch x64 ; rorx Rq(n), Rq(n), BYTE_BITS);
        }
        let bytes = self.encoded(&insn)?;
        if turned.is_none() && self.is_before_link() {
            // A comparison and the jump behind it are one operation where nothing is between them.
            self.code.align_end(bytes.len() + LENGTH_OF_BRANCH);
        }
        self.row();
        self.code.extend(&bytes);
        self.give_back(bytes);
        if let Some(n) = turned {
            dynasm!(self.code ; .arch x64 ; rorx Rq(n), Rq(n), 64 - BYTE_BITS);
        }
        for one in borrowed.iter().filter(|one| one.is_written) {
            self.return_register(one.guest, one.host);
        }
        self.after(step.effect);
        if let Some(site) = site {
            self.resume_here(site);
        }
        // Not before it: where it faults, the unit remembers another.
        match original.mnemonic() {
            Mnemonic::Fninit => self.pointer = Pointer::Nothing,
            _ if step.touches_x87 && plan::is_remembered(&original) => self.pointer = Pointer::Insn(self.number_in_block()),
            _ => {}
        }
        Ok(())
    }

    /// Leaves a control word that unmasks an exception to the interpreter: it alone reports them.
    fn only_masked(&mut self, site: Option<u8>) {
        const MASKS: i32 = 0x3f;
        dynasm!(self.code ; .arch x64
            ; movzx r14d, WORD [r10 + r11]
            ; not r14d
            ; test r14d, MASKS
            ; .bytes [0x0fu8, 0x85] // JNE
        );
        let unmasked = self.code.displacement();
        if let Some(site) = site {
            self.stub(site, unmasked);
        }
    }

    /// Notes the last x87 instruction of the block where the next block finds it. R11 is lost, and no flag.
    pub(super) fn note_pointer(&mut self) {
        let pointer = self.layout.x87_pointer();
        match std::mem::take(&mut self.pointer) {
            Pointer::Known => {}
            Pointer::Nothing => dynasm!(self.code ; .arch x64 ; gs mov QWORD [pointer], 0),
            Pointer::Insn(n) => {
                let page = self.layout.page();
                let offset = i32::from(self.source.page_offset) + i32::from(self.source.insns[usize::from(n)].start);
                dynasm!(self.code ; .arch x64 ; gs mov r11, [page] ; lea r11, [r11 + offset] ; gs mov [pointer], r11);
            }
        }
    }

    /// Sees to it that the guest's x87 unit is in the host's.
    fn want_x87(&mut self) {
        self.give_up_host_flags();
        let site = self.site(SiteKind::LoadX87);
        let has_x87 = self.layout.has_x87();
        dynasm!(self.code ; .arch x64 ; gs cmp DWORD [has_x87], 0 ; .bytes [0x0fu8, 0x84]); // JE
        let absent = self.code.displacement();
        self.stub(site, absent);
        self.resume_here(site);
        self.has_x87 = true;
    }

    /// LEA: an address that nothing is looked for at.
    pub(super) fn load_address(&mut self) {
        if self.try_load_address().is_err() {
            self.interpret();
        }
    }

    fn try_load_address(&mut self) -> Result<(), IcedError> {
        let original = *self.original();
        let Some(n) = number(original.op0_register()) else { return self.never() };
        let is_short =
            self.is_narrow() || [original.memory_base(), original.memory_index()].iter().any(|register| register.is_gpr32());
        let held = home(n);
        let direct = match held {
            Home::Host(held) if !is_short || original.op0_register().size() >= 4 => held,
            _ => R10,
        };
        let (code, like) = if is_short { (Code::Lea_r32_m, Register::EAX) } else { (original.code(), original.op0_register()) };
        self.effective_address(code, as_wide(direct, like), 0)?;
        if held != Home::Host(direct) {
            self.write_guest(original.op0_register());
        }
        Ok(())
    }

    fn never(&mut self) -> Result<(), IcedError> {
        self.interpret();
        Ok(())
    }

    /// Puts a host instruction into the code.
    pub(super) fn encode(&mut self, insn: &Instruction) -> Result<(), IcedError> {
        let bytes = self.encoded(insn)?;
        self.code.extend(&bytes);
        self.give_back(bytes);
        Ok(())
    }

    /// The bytes of a host instruction, in the encoder's buffer, which wants it back.
    fn encoded(&mut self, insn: &Instruction) -> Result<Vec<u8>, IcedError> {
        let encoded = self.encoder.encode(insn, 0);
        let bytes = self.encoder.take_buffer();
        if let Err(error) = encoded {
            self.give_back(bytes);
            return Err(error);
        }
        Ok(bytes)
    }

    fn give_back(&mut self, mut bytes: Vec<u8>) {
        bytes.clear();
        self.encoder.set_buffer(bytes);
    }
}

/// Notes what operand `n` does with a register that is in memory.
fn borrow(borrowed: &mut Vec<Borrowed>, insn: &Instruction, n: u32, access: OpAccess) {
    if insn.op_kind(n) != OpKind::Register {
        return;
    }
    let register = insn.op_register(n);
    let Some(guest) = number(register).filter(|guest| home(*guest) == Home::Memory) else { return };
    let is_written = matches!(access, OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite);
    // What an instruction writes in part it keeps in part.
    let is_read = access != OpAccess::Write || register.size() < 4;
    match borrowed.iter_mut().find(|one| one.guest == guest) {
        Some(one) => {
            one.is_read |= is_read;
            one.is_written |= is_written;
        }
        None => borrowed.push(Borrowed { guest, host: 0, is_read, is_written }),
    }
}

/// The host's register for one that the guest names.
fn host_register(register: Register, borrowed: &[Borrowed]) -> Register {
    let Some(guest) = number(register) else { return register };
    let held = match home(guest) {
        Home::Host(held) => Some(held),
        Home::Memory => borrowed.iter().find(|one| one.guest == guest).map(|one| one.host),
    };
    held.map_or(register, |held| as_wide(held, register))
}
