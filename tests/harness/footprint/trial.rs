//! One run of an instruction, and how others compare with it.

use dragoman_state::{Mxcsr, StatusWord, VcpuState};
use iced_x86::{CpuidFeature, Instruction, Mnemonic, OpKind};

use super::{
    bench::{Decoded, Run, Start},
    expected::{Expected, FLAGS, flag_word},
    place::{Bytes, Place, VECTOR},
};
use crate::{Mode, generate::uses_mmx};

/// One instruction under judgement.
pub struct Trial<'a> {
    /// The mode.
    pub mode: Mode,
    /// The instruction.
    pub insn: &'a Instruction,
    /// As engines have it.
    pub decoded: &'a Decoded,
    /// What it may touch.
    pub expected: &'a Expected,
    /// What it starts from.
    pub start: &'a Start,
    /// What became of it.
    pub base: &'a Run,
    /// Which units it is concerned with.
    pub class: Class,
}

/// Which parts of the processor without a name in the tables the instruction is concerned with.
#[derive(Clone, Copy)]
pub struct Class {
    /// The x87 unit.
    pub is_x87: bool,
    /// The x87 unit's registers as MMX registers.
    pub is_mmx: bool,
    /// MXCSR.
    pub is_sse: bool,
}

impl Class {
    fn of(insn: &Instruction) -> Self {
        use CpuidFeature as C;
        let features = insn.code().cpuid_features();
        let has = |wanted: &[CpuidFeature]| features.iter().any(|feature| wanted.contains(feature));
        Self {
            is_x87: has(&[C::FPU, C::FPU287, C::FPU387, C::FXSR]) || insn.mnemonic() == Mnemonic::Wait,
            is_mmx: uses_mmx(insn),
            is_sse: has(&[C::SSE, C::SSE2, C::SSE3, C::SSSE3, C::SSE4_1, C::SSE4_2, C::FXSR, C::AVX, C::AVX2, C::FMA, C::F16C]),
        }
    }

    fn has_unit(self) -> bool {
        self.is_x87 || self.is_mmx
    }
}

impl<'a> Trial<'a> {
    /// The run `base` of `insn` in `mode`.
    pub fn new(
        mode: Mode,
        insn: &'a Instruction,
        decoded: &'a Decoded,
        expected: &'a Expected,
        start: &'a Start,
        base: &'a Run,
    ) -> Self {
        Self { mode, insn, decoded, expected, start, base, class: Class::of(insn) }
    }

    /// The bytes of a place that can be given other values in this mode.
    pub fn whole(&self, place: Place) -> Bytes {
        match place {
            Place::Gpr(_) if self.mode == Mode::Long64 => 0xff,
            Place::Gpr(_) => 0x0f,
            Place::Vector(_) => VECTOR,
            Place::X87(_) => 0x3ff,
            Place::Segment(_) | Place::Control(_) | Place::Debug(_) => 1,
        }
    }

    /// The bytes of a place that both the log and the list speak of.
    pub fn seen(&self, place: Place) -> Bytes {
        match place {
            Place::X87(_) => 0xff,
            _ => self.whole(place),
        }
    }

    /// Listed bytes with those that come along.
    pub fn widened(&self, place: Place, bytes: Bytes) -> Bytes {
        match place {
            // The exponent above an MMX register.
            Place::X87(_) if bytes != 0 => 0x3ff,
            Place::Gpr(_) if self.mode != Mode::Long64 && bytes & 0x0f == 0x0f => 0xff,
            _ => bytes,
        }
    }

    /// What a place is to the instruction.
    pub fn role(&self, place: Place) -> String {
        let top = self.start.state.x87.top();
        let is_it = |register| Place::of(register, top).is_some_and(|(other, _)| other == place);
        let mut roles: Vec<String> = (0..self.insn.op_count())
            .filter(|n| self.insn.op_kind(*n) == OpKind::Register && is_it(self.insn.op_register(*n)))
            .map(|n| format!("op{n}"))
            .collect();
        if is_it(self.insn.memory_base()) || is_it(self.insn.memory_index()) {
            roles.push("address".into());
        }
        if is_it(self.insn.memory_segment()) && self.insn.op_kinds().any(has_segment) {
            roles.push("segment".into());
        }
        if roles.is_empty() {
            roles.push(match place {
                Place::X87(n) if self.class.is_x87 => format!("st{}", (n + 8 - top as u8) & 7),
                place => place.to_string(),
            });
        }
        roles.join("/")
    }

    /// Whether `run`, from `start`, came to something else than the base run did, where the difference between the starts
    /// is not simply still there. `flag` is one that is not looked at.
    pub fn unexplained(&self, start: &Start, run: &Run, flag: Option<u64>) -> bool {
        let base = self.base;
        if run.fault.is_some()
            || run.memory != base.memory
            || run.log.accesses != base.log.accesses
            || run.log.ports != base.log.ports
            || run.log.flushes != base.log.flushes
        {
            return true;
        }
        if run.state.rip != base.state.rip {
            return true;
        }
        let (a, b) = (&base.state, &run.state);
        for place in Place::all(16) {
            let differing = place.differing(a, b);
            if differing == 0 {
                continue;
            }
            let carried = place.differing(&self.start.state, &start.state) & !place.differing(&start.state, b);
            if differing & !(carried & !self.expected.use_of(place).writes) != 0 {
                return true;
            }
        }
        let undefined =
            FLAGS.iter().filter(|(_, bit, _)| self.expected.flags_undefined & bit != 0).fold(0, |all, (.., at)| all | 1 << at);
        let spoilt = flag_word(&self.start.state) ^ flag_word(&start.state);
        let carried = spoilt & !(flag_word(&start.state) ^ flag_word(b));
        if (flag_word(a) ^ flag_word(b)) & !carried & !undefined & !flag.unwrap_or(0) & known_flags() != 0 {
            return true;
        }
        self.has_other_units(&start.state, b) || !system_fields(a, b).is_empty()
    }

    /// Gives other values to what is in units that the instruction is not concerned with.
    pub fn spoil_units(&self, state: &mut VcpuState) {
        if !self.class.is_sse {
            state.vectors.mxcsr ^= Mxcsr::FLAGS | Mxcsr::RC;
        }
        if !self.class.has_unit() {
            let unit = &mut state.x87;
            unit.control ^= 0x0f00;
            unit.valid ^= 0xff;
            unit.status ^= StatusWord::TOP | StatusWord::ES | StatusWord::B | StatusWord::PE;
            (unit.instruction_pointer, unit.data_pointer, unit.opcode) = (!unit.instruction_pointer, !unit.data_pointer, 0x7ff);
        }
    }

    /// Whether the units are not in `state`, which came from `start`, what they were or what the base run made of them.
    fn has_other_units(&self, start: &VcpuState, state: &VcpuState) -> bool {
        let unit = |state: &VcpuState| {
            let conditions = StatusWord::C0 | StatusWord::C1 | StatusWord::C2 | StatusWord::C3;
            let (unit, status) = (&state.x87, state.x87.status.difference(conditions));
            (unit.control, status, unit.valid, unit.instruction_pointer, unit.data_pointer, unit.opcode)
        };
        let like_unit = if self.class.has_unit() { &self.base.state } else { start };
        let like_mxcsr = if self.class.is_sse { &self.base.state } else { start };
        unit(state) != unit(like_unit) || state.vectors.mxcsr != like_mxcsr.vectors.mxcsr
    }
}

/// Whether an operand of this kind is in the memory segment.
fn has_segment(kind: OpKind) -> bool {
    use OpKind as K;
    matches!(
        kind,
        K::Memory | K::MemorySegSI | K::MemorySegESI | K::MemorySegRSI | K::MemorySegDI | K::MemorySegEDI | K::MemorySegRDI
    )
}

fn known_flags() -> u64 {
    FLAGS.iter().fold(0, |all, (.., at)| all | 1 << at)
}

/// The fields in which two states differ and for which the tables have no name.
pub fn system_fields(a: &VcpuState, b: &VcpuState) -> Vec<&'static str> {
    let mut fields = Vec::new();
    let mut look = |name, differs: bool| {
        if differs {
            fields.push(name);
        }
    };
    const OTHERS: u64 = 0xffff_ffff & !0x0004_0ed5;
    look("other flags", (a.rflags.bits() ^ b.rflags.bits()) & OTHERS != 0);
    look("ldtr", a.ldtr != b.ldtr);
    look("tr", a.tr != b.tr);
    look("gdtr", a.gdtr != b.gdtr);
    look("idtr", a.idtr != b.idtr);
    look("efer", a.efer != b.efer);
    look("xcr0", a.xcr0 != b.xcr0);
    look("pkru", a.pkru != b.pkru);
    look("pdptes", a.pdptes != b.pdptes);
    look("time", a.tsc_offset != b.tsc_offset);
    look("activity", a.events.activity != b.events.activity);
    look("interrupt shadow", a.events.shadow != b.events.shadow);
    look("events", a.events != b.events && a.events.activity == b.events.activity && a.events.shadow == b.events.shadow);
    look("model-specific registers", a.msrs != b.msrs);
    look("opmasks", a.vectors.opmask != b.vectors.opmask);
    fields
}
