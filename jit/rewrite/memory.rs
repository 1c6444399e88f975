//! Memory operands: the linear address, and the probe that finds it in the host.

use dynasm::dynasm;
use dynasmrt::DynasmApi;
use iced_x86::{Code, IcedError, Instruction, MemoryOperand, Register};

use super::{
    SiteKind, Work,
    plan::MemoryUse,
    registers::{Home, R10, R11, as_wide, home, number},
};
use crate::{RefillKind, pages::Entry};

const PAGE: u32 = 4096;

impl Work<'_> {
    /// A site for the instruction under way to be executed by the interpreter.
    pub(super) fn miss(&mut self) -> u8 {
        self.site(SiteKind::Interpret)
    }

    /// The linear address of the memory operand into R10. R11 and the host's flags are lost.
    pub(super) fn address(&mut self) -> Result<(), IcedError> {
        let original = *self.original();
        let is_short = [original.memory_base(), original.memory_index()].iter().any(|register| register.is_gpr32());
        let (code, into) = if is_short { (Code::Lea_r32_m, Register::R10D) } else { (Code::Lea_r64_m, Register::R10) };
        self.effective_address(code, into)?;
        let segment = match original.memory_segment() {
            Register::FS => self.layout.segment_bases[4],
            Register::GS => self.layout.segment_bases[5],
            _ => return Ok(()),
        };
        dynasm!(self.code ; .arch x64 ; gs add r10, [segment]);
        Ok(())
    }

    /// The effective address of the memory operand, by an LEA of the form `code`, into the host register `into`. R10 and R11
    /// are lost, and no flag.
    pub(super) fn effective_address(&mut self, code: Code, into: Register) -> Result<(), IcedError> {
        let original = *self.original();
        if original.memory_base() == Register::RIP {
            let page = self.layout.page();
            dynasm!(self.code ; .arch x64 ; gs mov r10, [page]);
            let distance = original.memory_displacement64() as i64 + i64::from(self.source.page_offset);
            return self.lea(code, into, Register::R10, Register::None, 1, distance);
        }
        let base = self.part_of_address(original.memory_base(), R10);
        let index = self.part_of_address(original.memory_index(), R11);
        let displacement = original.memory_displacement64() as i64;
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
            Home::Memory => {
                let at = self.layout.gpr(n);
                dynasm!(self.code ; .arch x64 ; gs mov Rq(spare), [at]);
                as_wide(spare, Register::RAX)
            }
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
        let size = match displacement {
            0 => 0,
            -128..=127 => 1,
            _ => 8,
        };
        let size = if base == Register::None { 8 } else { size };
        let memory = MemoryOperand::new(base, index, scale, displacement, size, false, Register::None);
        let insn = Instruction::with2(code, into, memory)?;
        self.encode(&insn)
    }

    /// Finds the bytes at the linear address in R10: afterwards they are at the sum of R10 and R11. Where neither the table
    /// nor what is behind it knows them the code is left at `site`. The host's flags are lost.
    pub(super) fn probe(&mut self, memory: MemoryUse, site: u8) {
        const MASK: i32 = Entry::MASK as i32;
        const SHIFT: i8 = Entry::SHIFT as i8;
        let (table, kind) = match memory.is_write {
            true => (self.tables.write, RefillKind::Write),
            false => (self.tables.read, RefillKind::Read),
        };
        let last = (PAGE - memory.size) as i32;
        dynasm!(self.code ; .arch x64
            ; mov r11d, r10d
            ; shr r11d, SHIFT
            ; and r11d, MASK
            ; gs sub r10, [r11 + table]
        );
        let again = self.here();
        dynasm!(self.code ; .arch x64
            ; cmp r10, last
            ; .bytes [0x0fu8, 0x87] // JA
        );
        let jump = self.code.displacement();
        self.refills.push(Refill { site, jump, kind, again });
        dynasm!(self.code ; .arch x64 ; gs mov r11, [r11 + table + 8]);
    }

    /// The way from a probe that found nothing. Whoever is called brings the page into the table, or leaves the code at the
    /// probe's site; what was found is looked at again, because the access may run into the next page.
    pub(super) fn refill(&mut self, probe: &Refill) {
        const PUSH: u8 = 0x68;
        const JMP: u8 = 0xe9;
        let find = self.layout.refill(self.source.view, probe.kind);
        self.code.land(probe.jump);
        self.code.push(PUSH);
        self.code.push_u32(probe.site.into());
        self.out.site_numbers.push(self.here() - 4);
        dynasm!(self.code ; .arch x64 ; gs call QWORD [find] ; lea rsp, [rsp + 8]);
        self.code.push(JMP);
        let back = self.code.displacement();
        self.code.lead(back, probe.again as usize);
    }
}

/// A probe whose page may be found without leaving the code.
pub(super) struct Refill {
    /// Where the code is left otherwise.
    pub site: u8,
    /// The displacement of the jump that is taken where the table does not know the page.
    jump: usize,
    kind: RefillKind,
    /// Where the distance from the start of the page, in R10, is compared.
    again: u32,
}
