//! What may be run on the host's processor, and running it.

use dragoman_frontend::decode::CodeSize;
use dragoman_state::RFlags;
use iced_x86::{Code, Decoder, DecoderOptions};

use super::{
    Host, NativeError,
    process::{Process, StartError},
    segments,
    shared::{BATCH, MAPS, RawMap},
};
use crate::{
    Mode,
    case::{Case, End, Outcome, PageMap},
    layout::{self, LDT_ENTRIES, selector},
};

/// The flags that the kernel lets a program have when a signal handler returns.
const SETTABLE: u64 = RFlags::ARITHMETIC.union(RFlags::TF).union(RFlags::DF).union(RFlags::AC).bits();
/// How a program's other flags are.
const GIVEN: u64 = RFlags::FIXED.union(RFlags::IF).bits();

/// The host's processor as a judge. Holds a child process; cases run there, one after another.
pub struct Oracle {
    process: Process,
    host: Host,
    has_ldt: bool,
    lacks: Vec<(Mode, String)>,
    maps: Vec<PageMap>,
}

impl From<StartError> for NativeError {
    fn from(error: StartError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl Oracle {
    /// Starts the child process and tries which modes it can enter.
    pub fn new() -> Result<Self, NativeError> {
        let (process, has_ldt) = Process::start()?;
        let mut oracle = Self { process, host: Host::identify(), has_ldt, lacks: Vec::new(), maps: Vec::new() };
        for mode in Mode::ALL {
            if let Err(reason) = oracle.try_mode(mode) {
                oracle.lacks.push((mode, reason));
            }
        }
        match oracle.lacks(Mode::Long64) {
            Some(reason) => Err(NativeError::Unavailable(reason.to_string())),
            None => Ok(oracle),
        }
    }

    fn try_mode(&mut self, mode: Mode) -> Result<(), String> {
        match mode {
            Mode::Real16 | Mode::Vm86 | Mode::Prot16 | Mode::Prot32 => {
                return Err(format!("a 64-bit kernel runs no program in {mode}"));
            }
            Mode::Comp16 if !self.has_ldt => {
                return Err("this kernel gives programs no local descriptor table (CONFIG_MODIFY_LDT_SYSCALL)".into());
            }
            Mode::Comp16 | Mode::Comp32 | Mode::Long64 => {}
        }
        const INC_AX: [u8; 3] = [0x66, 0xff, 0xc0];
        let code = if mode == Mode::Comp16 { &INC_AX[1..] } else { &INC_AX };
        let mut map = PageMap::new();
        map.add(layout::CODE, crate::case::Access::Code);
        let mut case = Case::new(mode, layout::CODE, code);
        case.registers.gpr[0] = 0x1_ffff & mode.register_mask();
        let outcome = self.run(&[map], &[case]).map_err(|error| error.to_string())?;
        match outcome.first() {
            Some(outcome) if outcome.end == End::Done && outcome.registers.gpr[0] == 0x1_0000 => Ok(()),
            other => Err(format!("an INC there ended with {:?}", other.map(|outcome| outcome.end))),
        }
    }

    /// What the host's processor is.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Why `mode` cannot be entered here; nothing where it can.
    pub fn lacks(&self, mode: Mode) -> Option<&str> {
        self.lacks.iter().find(|(lacking, _)| *lacking == mode).map(|(_, reason)| reason.as_str())
    }

    /// Runs `cases`, each under the map of its number. Fails before anything is run where a case cannot be.
    pub fn run(&mut self, maps: &[PageMap], cases: &[Case]) -> Result<Vec<Outcome>, NativeError> {
        for case in cases {
            if let Some(reason) = self.lacks(case.mode).map(str::to_string).or_else(|| self.objection(case)) {
                return Err(NativeError::Refused(reason));
            }
        }
        if maps.len() > MAPS || cases.iter().any(|case| case.map as usize >= maps.len()) {
            return Err(NativeError::Refused(format!("a batch has at most {MAPS} page maps, and each case one of them")));
        }
        self.set_maps(maps)?;
        let mut outcomes = Vec::with_capacity(cases.len());
        for batch in cases.chunks(BATCH) {
            self.process.shared().cases[..batch.len()].copy_from_slice(batch);
            self.process.run(batch.len())?;
            let shared = self.process.shared();
            outcomes.extend(batch.iter().zip(&shared.outcomes).map(|(case, outcome)| outcome.read(case)));
        }
        Ok(outcomes)
    }

    fn set_maps(&mut self, maps: &[PageMap]) -> Result<(), NativeError> {
        if self.maps == maps {
            return Ok(());
        }
        let shared = self.process.shared();
        for (to, map) in shared.maps.iter_mut().zip(maps) {
            *to = RawMap::of(map).ok_or_else(|| NativeError::Refused("its page map has too many pages".into()))?;
        }
        shared.generation = shared.generation.wrapping_add(1);
        self.maps = maps.to_vec();
        Ok(())
    }

    /// Why `case` must not be tried.
    fn objection(&self, case: &Case) -> Option<String> {
        let registers = &case.registers;
        if let Some(insn) = forbidden(case) {
            return Some(format!("{insn:?} would enter the host's kernel"));
        }
        if registers.rflags & !SETTABLE != GIVEN {
            return Some(format!("a program cannot have the flags {:#x}", registers.rflags));
        }
        if registers.mxcsr & !0xffff != 0 {
            return Some("MXCSR has reserved bits".into());
        }
        let [es, cs, ss, ds, fs, gs] = registers.selectors;
        if let Some(bad) = [es, ds, fs, gs].into_iter().find(|selector| !segments::is_loadable(*selector, self.has_ldt)) {
            return Some(format!("the host has no data segment {bad:#x}"));
        }
        let code = match case.mode.code_size() {
            CodeSize::Bits64 => selector::USER_CODE64,
            CodeSize::Bits32 => selector::USER_CODE32,
            CodeSize::Bits16 => selector::CODE16,
        };
        if cs != code {
            return Some(format!("code of {} runs in the segment {code:#x}", case.mode));
        }
        let is_stack = ss == selector::USER_DATA
            || self.has_ldt
                && ss & 7 == 7
                && LDT_ENTRIES
                    .get(usize::from(ss >> 3))
                    .is_some_and(|entry| entry.kind != layout::Kind::Code && !entry.is_restricted && !entry.is_absent);
        if !is_stack {
            return Some(format!("the host has no stack segment {ss:#x}"));
        }
        let is_canonical = |at: u64| at as i64 >> 47 == 0 || at as i64 >> 47 == -1;
        if !is_canonical(registers.fs_base) || !is_canonical(registers.gs_base) {
            return Some("a segment base is not canonical".into());
        }
        None
    }
}

/// An instruction in `case` that calls the host's kernel.
fn forbidden(case: &Case) -> Option<Code> {
    let mut decoder = Decoder::new(case.mode.bitness(), case.code(), DecoderOptions::NONE);
    while decoder.can_decode() {
        let insn = decoder.decode();
        if insn.is_invalid() {
            // It goes no further.
            return None;
        }
        if matches!(insn.code(), Code::Syscall | Code::Sysenter) || insn.code() == Code::Int_imm8 && insn.immediate8() == 0x80 {
            return Some(insn.code());
        }
    }
    None
}
