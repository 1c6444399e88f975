//! From a row to what a processor starts with: state, memory, pages. The engines and the host's processor get the same.

use dragoman_frontend::model::CpuModel;
use dragoman_state::{Gpr, RFlags, SegmentIndex, VcpuState};

use crate::{
    case::{Access, Case, PageMap},
    engine,
    layout::{self, PAGE},
    row::{Assignment, Field, Place, Row, SegmentName, Target, segment_slot},
};

/// What the arithmetic flags hold that a row does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// All are clear.
    Zeros,
    /// All are set.
    Ones,
}

impl Fill {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Zeros, Self::Ones];
}

/// The start of a row.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The processor. CR3 is not set.
    pub state: VcpuState,
    /// Memory that the row names: where, and what is there.
    pub memory: Vec<(u64, Vec<u8>)>,
    /// Ports that the row names.
    pub ports: Vec<(u16, Vec<u8>)>,
    /// The pages that it needs, the processor's own apart.
    pub map: PageMap,
}

/// Sets what `assignments` say of the processor, in the order that their meaning asks for.
pub fn assign(
    state: &mut VcpuState,
    assignments: &[Assignment],
    hidden: impl Fn(SegmentName, u16) -> Option<dragoman_state::Segment>,
) {
    let mut places: Vec<_> = assignments
        .iter()
        .filter_map(|one| match one.target {
            Target::Place(place) => Some((place, one.value)),
            Target::Memory(..) | Target::Port(..) => None,
        })
        .collect();
    places.sort_by_key(|(place, _)| place.rank());
    for (place, value) in places {
        if let Place::Segment(name, Field::Selector) = place {
            if let Some(segment) = hidden(name, value.low() as u16) {
                *segment_slot(state, name) = segment;
            }
        }
        place.set(state, value);
    }
}

/// What a segment register that holds `selector` hides, by the tables as they are at the start.
fn hidden(row: &Row, name: SegmentName, selector: u16) -> Option<dragoman_state::Segment> {
    match name {
        SegmentName::Data(_) => Some(engine::segment(row.mode, selector)),
        SegmentName::Ldtr | SegmentName::Tr => None,
    }
}

impl Setup {
    /// The start of `row` with `fill` in the flags that it does not name.
    pub fn of(row: &Row, fill: Fill) -> Self {
        let mut state = engine::start(&row.model().unwrap_or_else(|_| CpuModel::most()), row.mode, row.cpl);
        state.rip = row.start();
        state.rflags.set(RFlags::ARITHMETIC, fill == Fill::Ones);
        assign(&mut state, &row.inputs, |name, selector| hidden(row, name, selector));
        for input in &row.inputs {
            // A register of the stack that has a value is not empty, unless the row says so.
            if let Target::Place(Place::St(n)) = input.target {
                let is_given = row.inputs.iter().any(|other| other.target == Target::Place(Place::Ftw));
                if !is_given {
                    state.x87.valid |= 1 << ((state.x87.top() + usize::from(n)) % 8);
                }
            }
        }
        let mut map = PageMap::new();
        map.add_range(row.code_at(), row.code.len() as u64, Access::Code);
        if row.tail.as_ref().is_some_and(|tail| !tail.is_empty()) {
            map.add(layout::CODE + PAGE, Access::Code);
        }
        if row.cpl == 0 && !row.mode.is_long() {
            // Exceptions are pushed onto the stack that is in use.
            map.add(state.segment(SegmentIndex::Ss).base + (state.gpr[Gpr::RSP] & 0xffff_ffff), Access::ReadWrite);
        }
        let mut setup = Self { state, memory: Vec::new(), ports: Vec::new(), map };
        for input in &row.inputs {
            match &input.target {
                Target::Place(_) => {}
                Target::Memory(bits, at) => {
                    let at = at.evaluate(&setup.state);
                    setup.add_memory(row, at, input.value.to_bytes(*bits as usize / 8));
                }
                Target::Port(bits, at) => {
                    let port = at.evaluate(&setup.state) as u16;
                    setup.ports.push((port, input.value.to_bytes(*bits as usize / 8)));
                }
            }
        }
        setup
    }

    fn add_memory(&mut self, row: &Row, at: u64, bytes: Vec<u8>) {
        for n in 0..bytes.len() as u64 {
            let at = at.wrapping_add(n) & if row.mode.is_long() { u64::MAX } else { 0xffff_ffff };
            let is_own = layout::SYSTEM.contains(&at) || row.mode == crate::Mode::Real16 && at < PAGE;
            if !is_own {
                self.map.add(at, Access::ReadWrite);
            }
        }
        self.memory.push((at, bytes));
    }

    /// As a case of user code, for the host's processor; otherwise why it is none.
    pub fn case(&self, row: &Row) -> Result<Case, String> {
        if row.cpl != 3 {
            return Err(format!("the host runs no row at privilege level {}", row.cpl));
        }
        for input in &row.inputs {
            match &input.target {
                Target::Place(place) if !place.is_user_visible() => return Err(format!("a program cannot set {place}")),
                Target::Place(Place::Segment(SegmentName::Data(index), Field::Base))
                    if !matches!(index, SegmentIndex::Fs | SegmentIndex::Gs) =>
                {
                    return Err(format!("a program cannot set the base of {index:?}"));
                }
                Target::Place(_) | Target::Memory(..) => {}
                Target::Port(..) => return Err("a program has no ports".into()),
            }
        }
        let mut case = Case::new(row.mode, row.code_at(), &row.bytes());
        case.registers = engine::user_view(&self.state);
        for (at, bytes) in &adjoining(&self.memory) {
            let (from, to) = (*at, at.wrapping_add(bytes.len() as u64));
            if !self.map.access(from).is_writable() || to < from {
                return Err(format!("a program cannot have memory at {at:#x}"));
            }
            case.add_window(*at, bytes).ok_or("it names more memory than a case has room for")?;
        }
        Ok(case)
    }
}

/// Memory, where what continues the piece before it is one with it.
fn adjoining(memory: &[(u64, Vec<u8>)]) -> Vec<(u64, Vec<u8>)> {
    let mut pieces: Vec<(u64, Vec<u8>)> = Vec::new();
    for (at, bytes) in memory {
        match pieces.last_mut() {
            Some((from, known)) if from.wrapping_add(known.len() as u64) == *at => known.extend(bytes),
            _ => pieces.push((*at, bytes.clone())),
        }
    }
    pieces
}
