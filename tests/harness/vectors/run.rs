//! Captured tests on an engine: the registers and the memory that a test names, one run until HLT is come to, and
//! everything compared.
//!
//! Rule of this file: memory that no test names holds zeros. A test puts back what it names, and whoever ran some asks
//! [`Bench::find_stray`] whether anything else was written. All memory of real mode must be memory, the video window too;
//! so it lies further up, at [`REAL_MODE`], and the bases of the segments and of the interrupt vectors with it.

use std::collections::BTreeMap;

use dragoman_accel::Accelerator;
use dragoman_frontend::model::CpuModel;
use dragoman_state::{Activity, Attributes, Gpr, GprFile, GuestPhys, RFlags, Segment, SegmentIndex, VcpuState};

use super::{
    incomparable::{compared_bits, is_repeated},
    moo::{CX, DI, FLAGS, IP, MEMORY_END, NAMES, REGISTERS, SI, SP, SS, Test},
};
use crate::{
    Mode,
    case::{End, PageMap},
    engine::{Memory, Rig, RigError},
    judge::Difference,
    layout::{HLT, REAL_MODE},
};

/// How many steps a test may take: the instruction, the exception that it raises, and some that it should not take. Of a
/// repeated instruction, every element is one more.
const STEPS: usize = 8;
/// The bits of FLAGS that a 286 has in real mode.
const FLAGS_OF_REAL_MODE: u16 = 0x0fff;

/// The general-purpose registers, by their numbers in a test.
const GENERAL: [(usize, Gpr); 8] =
    [(0, Gpr::RAX), (1, Gpr::RBX), (CX, Gpr::RCX), (3, Gpr::RDX), (SP, Gpr::RSP), (9, Gpr::RBP), (SI, Gpr::RSI), (DI, Gpr::RDI)];
/// The segment registers, by their numbers in a test.
const SEGMENTS: [(usize, SegmentIndex); 4] =
    [(4, SegmentIndex::Cs), (SS, SegmentIndex::Ss), (6, SegmentIndex::Ds), (7, SegmentIndex::Es)];

/// One engine with memory that tests are put into.
pub struct Bench {
    rig: Rig,
    /// What all tests start from.
    template: VcpuState,
}

impl Bench {
    /// A processor that `engine` runs.
    pub fn new(engine: &dyn Accelerator) -> Result<Self, RigError> {
        let mut rig = Rig::new(engine, CpuModel::newest())?;
        rig.prepare(Mode::Real16, &PageMap::new());
        let mut template = rig.start(Mode::Real16, 0);
        template.gpr = GprFile::default();
        template.idtr.base = REAL_MODE;
        Ok(Self { rig, template })
    }

    /// The address of a byte that was written though no test names it. Memory is clean afterwards.
    pub fn find_stray(&mut self) -> Result<Option<u32>, RigError> {
        let mut memory = vec![0; MEMORY_END as usize];
        self.rig.memory().ram().read(physical(0), &mut memory)?;
        let stray = memory.iter().position(|byte| *byte != 0);
        if stray.is_some() {
            memory.fill(0);
            self.rig.memory().ram().write(physical(0), &memory)?;
        }
        Ok(stray.map(|at| at as u32))
    }

    /// Runs `test`; what is not as it should be.
    pub fn run(&mut self, test: &Test) -> Result<Vec<Difference>, RigError> {
        self.rig.ports().clear();
        self.place(test.start.memory.iter().copied())?;
        let steps = STEPS + if is_repeated(test) { test.at_start(CX).into() } else { 0 };
        let mut finish = self.rig.run_until(&self.start(test), steps, is_end)?;
        if finish.state.events.activity == Activity::Running {
            // Past the HLT that was come to.
            finish.state.rip = (finish.state.rip + 1) & 0xffff;
        }
        let mut found = match finish.end {
            End::Done => registers(test, &finish.state),
            End::Fault { .. } | End::Hang => vec![Difference::new("end", "HLT", "it does not come to HLT")],
            End::Crash => vec![Difference::new("end", "HLT", "a triple fault")],
        };
        found.extend(self.memory(test)?);
        self.place(test.start.memory.iter().chain(&test.end.memory).map(|(at, _)| (*at, 0)))?;
        Ok(found)
    }

    fn place(&self, bytes: impl Iterator<Item = (u32, u8)>) -> Result<(), RigError> {
        for (at, byte) in bytes {
            self.rig.memory().ram().write(physical(at), &[byte])?;
        }
        Ok(())
    }

    fn start(&self, test: &Test) -> VcpuState {
        let mut state = self.template.clone();
        for (n, register) in GENERAL {
            state.gpr[register] = test.at_start(n).into();
        }
        for (n, index) in SEGMENTS {
            let segment = state.segment_mut(index);
            *segment = Segment::real_mode(test.at_start(n), Attributes::DATA);
            segment.base += REAL_MODE;
        }
        state.rip = test.at_start(IP).into();
        state.rflags = RFlags::from_bits_retain((test.at_start(FLAGS) & FLAGS_OF_REAL_MODE).into()) | RFlags::FIXED;
        state
    }

    /// The bytes that are not as `test` says.
    fn memory(&self, test: &Test) -> Result<Vec<Difference>, RigError> {
        let mut expected: BTreeMap<u32, u8> = test.start.memory.iter().copied().collect();
        expected.extend(test.end.memory.iter().copied());
        let ignored_flags = !compared_bits(test, FLAGS);
        let pushed = |n: u16| u32::from(test.at_end(SS)) * 16 + u32::from(test.at_end(SP).wrapping_add(n));
        let mut found = Vec::new();
        for (at, byte) in expected {
            let mut got = [0];
            self.rig.memory().ram().read(physical(at), &mut got)?;
            let ignored = match test.exception {
                // IP, CS and the flags were pushed.
                Some(_) if at == pushed(4) => ignored_flags as u8,
                Some(_) if at == pushed(5) => (ignored_flags >> 8) as u8,
                Some(_) | None => 0,
            };
            if (got[0] ^ byte) & !ignored != 0 {
                found.push(Difference::new(format!("memory at {at:#x}"), format!("{byte:#04x}"), format!("{:#04x}", got[0])));
            }
        }
        Ok(found)
    }
}

/// Where the memory lies that a test has at `at`.
fn physical(at: u32) -> GuestPhys {
    GuestPhys(REAL_MODE + u64::from(at))
}

/// Whether the next instruction of `state` is the HLT behind the one tested, or the tested one was HLT. The HLT is looked
/// for where its test has it, and not executed: a code segment that was loaded meanwhile has its base where real mode has.
fn is_end(memory: &Memory, state: &VcpuState) -> bool {
    if state.events.activity == Activity::Halted {
        return true;
    }
    let Ok(offset) = u16::try_from(state.rip) else { return false };
    let at = u32::from(state.segment(SegmentIndex::Cs).selector) * 16 + u32::from(offset);
    let mut next = [0];
    memory.ram().read(physical(at), &mut next).is_ok() && next == [HLT]
}

/// The registers that are not as `test` says.
fn registers(test: &Test, state: &VcpuState) -> Vec<Difference> {
    let mut got = [0; REGISTERS];
    let mut found = Vec::new();
    for (n, register) in GENERAL {
        got[n] = state.gpr[register];
    }
    for (n, index) in SEGMENTS {
        let segment = state.segment(index);
        got[n] = segment.selector.into();
        // One that was loaded has lost the distance by which memory is moved.
        let (base, is_moved) = (got[n] * 16, segment.base >= REAL_MODE);
        if segment.base != base + if is_moved { REAL_MODE } else { 0 } {
            found.push(Difference::new(format!("{}.base", NAMES[n]), format!("{base:#x}"), format!("{:#x}", segment.base)));
        }
    }
    got[IP] = state.rip;
    got[FLAGS] = state.rflags.bits();
    for (n, got) in got.into_iter().enumerate() {
        let expected = test.at_end(n) & if n == FLAGS { FLAGS_OF_REAL_MODE } else { u16::MAX };
        if (got ^ u64::from(expected)) & compared_bits(test, n) != 0 {
            found.push(Difference::new(NAMES[n], format!("{expected:#x}"), format!("{got:#x}")));
        }
    }
    found
}
