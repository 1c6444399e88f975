//! Instructions on the recording machine, from a state and memory that a case gives.

use std::{collections::BTreeMap, sync::Arc};

use dragoman_frontend::{
    decode::{Decoder, Insn, Mode as DecodeMode},
    fault::Fault,
    model::{CpuModel, Feature},
    semantics::{Handler, Table},
};
use dragoman_state::{Cr4, Gpr, GuestPhys, Mxcsr, RFlags, SegmentIndex, VcpuState};

use super::{
    memory::{Contents, Memory},
    recorder::{Log, Recorder},
};
use crate::{
    Mode,
    case::Case,
    engine::start,
    layout::{CODE, KERNEL_STACK, selector},
};

/// What an instruction starts from.
#[derive(Clone)]
pub struct Start {
    /// The complete state; RIP is the instruction's own.
    pub state: VcpuState,
    /// Memory.
    pub contents: Contents,
}

/// What became of it.
pub struct Run {
    /// The complete state.
    pub state: VcpuState,
    /// The bytes of memory that were written, the processor's own among them.
    pub memory: BTreeMap<u64, u8>,
    /// What was touched.
    pub log: Log,
    /// The fault that it raised.
    pub fault: Option<Fault>,
}

/// The meaning of every instruction for the recording machine.
pub struct Bench {
    table: Table<Recorder>,
    decoder: Decoder,
    model: Arc<CpuModel>,
    templates: Vec<(Mode, [VcpuState; 2], Contents)>,
}

/// An instruction, decoded as engines do.
pub struct Decoded {
    insn: Insn,
    handler: Handler<Recorder>,
}

impl Bench {
    /// The instructions of `model`, to be run in `modes`.
    pub fn new(model: &CpuModel, modes: &[Mode]) -> Self {
        let table = Table::new(model);
        let decoder = Decoder::new(model, table.attributes());
        let templates =
            modes.iter().map(|mode| (*mode, [3, 0].map(|cpl| template(model, *mode, cpl)), Contents::of_mode(*mode))).collect();
        Self { table, decoder, model: Arc::new(model.clone()), templates }
    }

    /// The states that cases in `mode` start from, but for their registers: in ring 3, then in ring 0.
    pub fn templates(&self, mode: Mode) -> &[VcpuState] {
        self.templates.iter().find(|(known, ..)| *known == mode).map_or(&[], |(_, states, _)| states)
    }

    /// What `case` starts from, on `template`.
    pub fn start(&self, case: &Case, template: &VcpuState) -> Start {
        let contents = self.templates.iter().find(|(known, ..)| *known == case.mode).map(|(.., contents)| contents);
        let contents = contents.cloned().unwrap_or_else(|| Contents::of_mode(case.mode));
        let (mut state, registers) = (template.clone(), &case.registers);
        for (n, value) in registers.gpr.iter().enumerate() {
            state.gpr[Gpr(n as u8)] = *value;
        }
        state.gpr[Gpr::BLOCK] = registers.rip;
        state.rip = registers.rip;
        state.rflags = RFlags::from_bits_retain(registers.rflags) | RFlags::IOPL;
        state.x87 = registers.x87;
        state.vectors.mxcsr = Mxcsr::from_bits_retain(registers.mxcsr);
        for (to, from) in state.vectors.registers.iter_mut().zip(&registers.vectors) {
            to[..4].copy_from_slice(from);
        }
        Start { state, contents: contents.with(case) }
    }

    /// The first instruction of `code`, as `state` has it decoded.
    pub fn decode(&self, state: &VcpuState, code: &[u8]) -> Option<Decoded> {
        let mut bytes = [0xf4; 32];
        bytes.get_mut(..code.len())?.copy_from_slice(code);
        let block = self.decoder.decode(GuestPhys(0), &bytes, DecodeMode::of(state), 1).ok()?;
        let insn = block.insns.into_iter().next()?;
        Some(Decoded { handler: self.table.handler(insn.opcode), insn })
    }

    /// Runs it once.
    pub fn run(&self, decoded: &Decoded, start: &Start) -> Run {
        let mut recorder = Recorder::new(start.state.clone(), Memory::new(start.contents.clone()), self.model.clone());
        recorder.state.rip = start.state.rip.wrapping_add(decoded.insn.length.into());
        let result = (decoded.handler)(&mut recorder, &decoded.insn);
        let (state, memory, log) = recorder.finish();
        Run { state, memory, log, fault: result.err().filter(|fault| !fault.is_trap()) }
    }
}

/// The processor in `mode` at `cpl`, set up so that little is refused. Where segments exist, none is so large that its
/// register need not be asked.
fn template(model: &CpuModel, mode: Mode, cpl: u8) -> VcpuState {
    const NEARLY_ALL: u32 = 0xffff_fffe;
    /// In IA32_MISC_ENABLE.
    const MONITOR: u64 = 1 << 18;
    let mut state = start(model, mode, cpl);
    if mode == Mode::Prot32 {
        let data = *state.segment(SegmentIndex::Ds);
        for index in SegmentIndex::ALL {
            let register = state.segment_mut(index);
            *register = if index == SegmentIndex::Cs { *register } else { data };
            register.limit = NEARLY_ALL;
        }
    }
    if model.has(Feature::Pku) && mode != Mode::Real16 {
        state.cr4 |= Cr4::PKE;
    }
    state.msrs.misc_enable |= MONITOR;
    state.msrs.fmask = RFlags::all().bits();
    state.msrs.lstar = CODE;
    state.msrs.sysenter_cs = selector::KERNEL_CODE.into();
    (state.msrs.sysenter_eip, state.msrs.sysenter_esp) = (CODE, KERNEL_STACK.end);
    state
}
