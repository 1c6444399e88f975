//! Judging rows by the host's own processor: what a program can start from, and can see afterwards, is compared with what
//! the row says. The rows judge the host, and so it judges them.

use dragoman_frontend::{fault::vector, model::Features};
use dragoman_state::{RFlags, StatusWord, VcpuState};
use iced_x86::{Code, Instruction};

use super::{Difference, Fill, LOCK, Setup, Verdict, setup::assign};
use crate::{
    Mode,
    case::{Case, End, Outcome},
    engine::segment,
    generate::{Tolerance, exempt, tolerance},
    layout,
    native::{NativeError, Oracle},
    record::{is_recorded, state},
    row::{ExpectedFault, Part, Place, Row, SegmentName, Target, Undefined},
    vendors,
};

/// The flags of programs.
const FLAGS: [RFlags; 11] = [
    RFlags::CF,
    RFlags::PF,
    RFlags::AF,
    RFlags::ZF,
    RFlags::SF,
    RFlags::OF,
    RFlags::DF,
    RFlags::TF,
    RFlags::NT,
    RFlags::AC,
    RFlags::ID,
];

/// The host's processor, asked about rows.
pub struct HostJudge<'a> {
    oracle: &'a mut Oracle,
}

impl<'a> HostJudge<'a> {
    /// Asks `oracle`.
    pub fn new(oracle: &'a mut Oracle) -> Self {
        Self { oracle }
    }

    /// Runs `row` in all its variants, as far as a program can.
    pub fn judge(&mut self, row: &Row) -> Result<Verdict, NativeError> {
        if let Some(reason) = self.objection(row) {
            return Ok(Verdict::Skipped(reason));
        }
        for fill in Fill::ALL {
            for (what, variant) in variants(row) {
                match self.run(&variant, fill)? {
                    Verdict::Agrees => {}
                    Verdict::Differs(mut found) => {
                        let flags = if fill == Fill::Zeros { "flags 0" } else { "flags 1" };
                        found.iter_mut().for_each(|one| one.what = format!("{flags}{what}: {}", one.what));
                        return Ok(Verdict::Differs(found));
                    }
                    skipped @ Verdict::Skipped(_) => return Ok(skipped),
                }
            }
        }
        Ok(Verdict::Agrees)
    }

    /// Why the host cannot be asked about `row`.
    fn objection(&self, row: &Row) -> Option<String> {
        let has: Features = self.oracle.host().features;
        for (name, is_in) in &row.features {
            let feature = dragoman_frontend::model::Feature::from_name(name)?;
            match (is_in, has.has(feature)) {
                (true, false) => return Some(format!("the host's processor has no {name}")),
                (false, true) => return Some(format!("the host's processor has {name}")),
                _ => {}
            }
        }
        row.mode.instructions(&row.bytes()).iter().find_map(|insn| {
            let lack = has.lacks(insn.code()).filter(|_| insn.code() != Code::INVALID && !is_absent_by_name(row));
            exempt(insn.code()).map(str::to_owned).or(lack.map(|feature| format!("the host's processor has no {feature}")))
        })
    }

    fn run(&mut self, row: &Row, fill: Fill) -> Result<Verdict, NativeError> {
        let setup = Setup::of(row, fill);
        let case = match setup.case(row) {
            Ok(case) => case,
            Err(reason) => return Ok(Verdict::Skipped(reason)),
        };
        let outcome = match self.oracle.run(std::slice::from_ref(&setup.map), std::slice::from_ref(&case)) {
            Ok(outcomes) => outcomes.into_iter().next(),
            // Not what a program can be in.
            Err(NativeError::Refused(reason)) => return Ok(Verdict::Skipped(reason)),
            Err(error) => return Err(error),
        };
        match outcome {
            Some(outcome) if outcome.end != End::Hang && outcome.end != End::Crash => {
                Ok(compare(row, &setup, &case, &outcome, &self.oracle.host().vendor))
            }
            _ => Ok(Verdict::Skipped("it does not come to an end on the host".into())),
        }
    }
}

/// Whether the row says itself which feature is not there.
fn is_absent_by_name(row: &Row) -> bool {
    row.features.iter().any(|(_, is_in)| !is_in)
}

/// The row, and what it is with LOCK, each with words for it.
fn variants(row: &Row) -> Vec<(&'static str, Row)> {
    let mut list = vec![("", Row { lock: None, ..row.clone() })];
    if let Some(is_allowed) = row.lock {
        let code = std::iter::once(LOCK).chain(row.code.iter().copied()).collect();
        let mut locked = Row { code, lock: None, ..row.clone() };
        if !is_allowed {
            locked.outputs.clear();
            locked.undefined.clear();
            locked.fault = Some(ExpectedFault { vector: vector::UD, error: None });
        }
        list.push((", LOCK", locked));
    }
    list
}

/// What the host left, beside what the row says.
fn compare(row: &Row, setup: &Setup, case: &Case, outcome: &Outcome, vendor: &str) -> Verdict {
    const PRESENT: u32 = 1;
    let mut found = Vec::new();
    let mut expected = row.fault.map(|fault| (fault.vector, fault.error.unwrap_or(0)));
    let got = match outcome.end {
        End::Fault { vector: vector::PF, error, address } if address >> 47 != 0 || layout::SYSTEM.contains(&address) => {
            // There is the host's kernel, and the test stand has pages of its own.
            expected = expected.map(|(vector, error)| (vector, error & !PRESENT));
            Some((vector::PF, error & !PRESENT))
        }
        End::Fault { vector, error, .. } => Some((vector, error)),
        _ => None,
    };
    if expected != got {
        let name = |fault: Option<(u8, u32)>| {
            fault.map_or("none".into(), |(vector, error)| ExpectedFault { vector, error: Some(error) }.to_string())
        };
        return Verdict::Differs(vec![Difference::new("fault", name(expected), name(got))]);
    }
    if let End::Fault { vector: vector::PF, address, .. } = outcome.end {
        let cr2 = row.outputs.iter().find(|output| output.target == Target::Place(Place::Cr2));
        if let Some(wanted) = cr2.map(|output| output.value.low()).filter(|wanted| *wanted != address) {
            found.push(Difference::new("cr2", format!("{wanted:#x}"), format!("{address:#x}")));
        }
    }
    let instructions = row.mode.instructions(&row.bytes());
    let mut wanted = expected_state(row, setup, &instructions);
    let after = state(row, setup, outcome);
    for Undefined { place, .. } in &row.undefined {
        let value = place.get(&after);
        place.set(&mut wanted, value);
    }
    let is_loose = instructions.iter().any(|insn| tolerance(insn.mnemonic()) != Tolerance::None);
    let places = Place::all().filter(|place| is_compared(row, *place, is_loose));
    for place in places.chain([Place::Rip]).chain(FLAGS.map(Place::Flag)) {
        let (a, b) = (place.get(&wanted), place.get(&after));
        if a != b {
            found.push(Difference::of_place(place, a, b));
        }
    }
    for (name, bits) in [("fsw", !(StatusWord::C1 | StatusWord::TOP)), ("c1", StatusWord::C1), ("top", StatusWord::TOP)] {
        let [a, b] = [&wanted, &after].map(|state| (state.x87.status & bits).bits());
        if a != b {
            found.push(Difference::new(name, format!("{a:#x}"), format!("{b:#x}")));
        }
    }
    found.extend(memory(row, setup, case, outcome));
    let is_open =
        |what: &str| instructions.iter().any(|insn| vendors::is_open(insn, row.mode, vendor, row.fault.is_some(), what));
    found.retain(|one| !is_open(&one.what));
    if found.is_empty() { Verdict::Agrees } else { Verdict::Differs(found) }
}

/// The state that the row says must be left.
fn expected_state(row: &Row, setup: &Setup, instructions: &[Instruction]) -> VcpuState {
    let mut wanted = setup.state.clone();
    let (last, end) = instructions.last().map_or((0, 0), |insn| (insn.ip(), insn.next_ip()));
    let is_fault = row.fault.is_some_and(|fault| !fault.is_trap());
    wanted.rip = (row.start() + if is_fault { last } else { end }) & row.mode.register_mask();
    assign(&mut wanted, &row.outputs, |name, selector| match name {
        SegmentName::Data(_) => Some(segment(row.mode, selector)),
        SegmentName::Ldtr | SegmentName::Tr => None,
    });
    wanted
}

/// Whether a program sees `place`, each part of the processor once; `is_loose` where the manual grants the results more than
/// one value.
fn is_compared(row: &Row, place: Place, is_loose: bool) -> bool {
    let is_whole = match place {
        Place::Gpr(n, part) => part == Part::Qword && (row.mode == Mode::Long64 || n < 8),
        Place::Xmm(_) | Place::Mm(_) => false,
        Place::Ymm(n) => !is_loose && (row.mode == Mode::Long64 || n < 8),
        Place::St(_) => !is_loose,
        // Bit by bit, below.
        Place::Fsw(_) => false,
        _ => true,
    };
    is_whole && is_recorded(place)
}

/// Memory that is not as the row says.
fn memory(row: &Row, setup: &Setup, case: &Case, outcome: &Outcome) -> Vec<Difference> {
    let mut wanted = case.memory;
    for output in &row.outputs {
        let Target::Memory(bits, at) = &output.target else { continue };
        let at = at.evaluate(&setup.state);
        for (n, byte) in output.value.to_bytes(*bits as usize / 8).into_iter().enumerate() {
            let at = at.wrapping_add(n as u64);
            if let Some(window) = case.windows().find(|window| at.wrapping_sub(window.at) < u64::from(window.length)) {
                wanted[window.from as usize + (at - window.at) as usize] = byte;
            }
        }
    }
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    let mut found = Vec::new();
    for window in case.windows() {
        let (a, b) = (Case::bytes_of(window, &wanted), Case::bytes_of(window, &outcome.memory));
        let differs = |n: &usize| a[*n] != b[*n];
        if let (Some(first), Some(last)) = ((0..a.len()).find(differs), (0..a.len()).rfind(differs)) {
            let at = format!("memory at {:#x}", window.at + first as u64);
            found.push(Difference::new(at, hex(&a[first..=last]), hex(&b[first..=last])));
        }
    }
    found
}
