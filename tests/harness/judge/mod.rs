//! Judging an engine by rows: each row is run with the flags that it does not name all clear and all set, and everything
//! is compared: registers, flags, system state, memory, ports, the exception.

mod difference;
mod host;
mod running;
mod setup;

use std::collections::BTreeMap;

use dragoman_accel::Accelerator;
use dragoman_frontend::{
    fault::vector,
    model::{CpuModel, ModelError},
};
use dragoman_state::{Segment, VcpuState};

pub use difference::Difference;
pub(crate) use difference::between;
pub use host::HostJudge;
pub use running::RunningJudge;
pub use setup::{Fill, Setup};

use crate::{
    Mode,
    case::End,
    engine::{self, Finish, Rig, RigError, Stand},
    layout::{self, KERNEL_STACK, PAGE},
    row::{Place, Row, Target},
};

/// The LOCK prefix.
const LOCK: u8 = 0xf0;

/// What became of a row on an engine.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// All is as the row says.
    Agrees,
    /// The row does not apply, for this reason.
    Skipped(String),
    /// It is not.
    Differs(Vec<Difference>),
}

/// Makes a processor of a model.
type Maker<'a> = Box<dyn Fn(CpuModel) -> Result<Box<dyn Stand + 'a>, RigError> + 'a>;

/// One engine, or something else that can run them, judged by rows.
pub struct Judge<'a> {
    make: Maker<'a>,
    /// A processor for each set of features that rows ask for.
    stands: BTreeMap<String, Box<dyn Stand + 'a>>,
}

/// A variation of a row, and what it must lead to.
struct Variant {
    code: Vec<u8>,
    fill: Fill,
    is_undefined: bool,
    what: &'static str,
}

impl<'a> Judge<'a> {
    /// A judge of `engine`.
    pub fn new(engine: &'a dyn Accelerator) -> Self {
        Self::of(move |model| Ok(Box::new(Rig::new(engine, model)?)))
    }

    /// A judge of what `make` makes.
    pub fn of(make: impl Fn(CpuModel) -> Result<Box<dyn Stand + 'a>, RigError> + 'a) -> Self {
        Self { make: Box::new(make), stands: BTreeMap::new() }
    }

    /// Runs `row` in all its variants.
    pub fn judge(&mut self, row: &Row) -> Result<Verdict, RigError> {
        let key = row.features();
        if !self.stands.contains_key(&key) {
            let model = match row.model() {
                Ok(model) => model,
                Err(error @ ModelError::NotImplemented(_)) => return Ok(Verdict::Skipped(error.to_string())),
                Err(error) => return Ok(Verdict::Differs(vec![Difference::new("cpu=", "a feature", error)])),
            };
            self.stands.insert(key.clone(), (self.make)(model)?);
        }
        let Some(stand) = self.stands.get_mut(&key) else { return Ok(Verdict::Skipped("there is no such processor".into())) };
        for variant in variants(row) {
            let mut found = run(&mut **stand, row, &variant)?;
            if !found.is_empty() {
                for difference in &mut found {
                    difference.what = format!("{}{}", variant.what, difference.what);
                }
                return Ok(Verdict::Differs(found));
            }
        }
        Ok(Verdict::Agrees)
    }
}

fn variants(row: &Row) -> Vec<Variant> {
    let mut variants = Vec::new();
    for (fill, plain, locked) in [(Fill::Zeros, "flags 0: ", "flags 0, LOCK: "), (Fill::Ones, "flags 1: ", "flags 1, LOCK: ")] {
        variants.push(Variant { code: row.code.clone(), fill, is_undefined: false, what: plain });
        if let Some(is_allowed) = row.lock {
            let code = std::iter::once(LOCK).chain(row.code.iter().copied()).collect();
            variants.push(Variant { code, fill, is_undefined: !is_allowed, what: locked });
        }
    }
    variants
}

/// Runs one variant; what is not as it should be.
fn run(rig: &mut dyn Stand, row: &Row, variant: &Variant) -> Result<Vec<Difference>, RigError> {
    let mut setup = Setup::of(row, variant.fill);
    rig.memory_mut().forget();
    rig.prepare(row.mode, &setup.map);
    if setup.state.cr3 == 0 {
        setup.state.cr3 = rig.memory().root();
    }
    let memory = rig.memory();
    let code_at = if row.tail.is_some() { row.code_at() } else { layout::CODE };
    for (at, bytes) in &setup.memory {
        memory.write(*at, bytes);
    }
    memory.write(code_at, &variant.code);
    if let Some(tail) = &row.tail {
        memory.write(layout::CODE + PAGE, tail);
    }
    rig.ports().clear();
    for (port, bytes) in &setup.ports {
        rig.ports().set(*port, bytes);
    }
    let mut code = variant.code.clone();
    code.extend(row.tail.iter().flatten());
    let mut expected = Expected::of(row, variant, &setup, rig, &code);
    let finish = rig.run(row.mode, &setup.state, &code)?;
    Ok(expected.compare(row, variant, &finish, rig))
}

/// What a variant must leave behind.
struct Expected {
    state: VcpuState,
    image: Image,
    ports: Vec<(u16, u8)>,
}

impl Expected {
    fn of(row: &Row, variant: &Variant, setup: &Setup, rig: &dyn Stand, code: &[u8]) -> Self {
        let mut state = setup.state.clone();
        let instructions = row.mode.instructions(code);
        let (last, end) = instructions.last().map_or((0, 0), |insn| (insn.ip(), insn.next_ip()));
        let is_fault = variant.is_undefined || row.fault.is_some_and(|fault| !fault.is_trap());
        state.rip = row.start() + if is_fault { last } else { end };
        let mask = if row.mode == Mode::Long64 { u64::MAX } else { 0xffff_ffff };
        state.rip &= mask;
        let mut ports = rig.ports().known();
        let mut image = rig.memory().image();
        if !variant.is_undefined {
            setup::assign(&mut state, &row.outputs, |_, selector| Some(hidden(rig, row.mode, selector)));
            for output in &row.outputs {
                match &output.target {
                    Target::Place(_) => {}
                    Target::Memory(bits, at) => {
                        overwrite(&mut image, at.evaluate(&setup.state), &output.value.to_bytes(*bits as usize / 8));
                    }
                    Target::Port(bits, at) => {
                        let port = at.evaluate(&setup.state) as u16;
                        for (n, byte) in output.value.to_bytes(*bits as usize / 8).into_iter().enumerate() {
                            let port = port.wrapping_add(n as u16);
                            ports.retain(|(known, _)| *known != port);
                            ports.push((port, byte));
                        }
                        ports.sort_unstable();
                    }
                }
            }
        }
        Self { state, image, ports }
    }

    fn compare(&mut self, row: &Row, variant: &Variant, finish: &Finish, rig: &dyn Stand) -> Vec<Difference> {
        let mut found = Vec::new();
        let expected = if variant.is_undefined { Some((6, None)) } else { row.fault.map(|fault| (fault.vector, fault.error)) };
        let got = match finish.end {
            End::Done => None,
            End::Fault { vector, .. } => Some((vector, finish.delivered.and_then(|delivered| delivered.error))),
            End::Hang => return vec![Difference::new("end", "one", "it does not come to an end")],
            End::Crash => return vec![Difference::new("end", "one", "a triple fault")],
        };
        let name = |fault: Option<(u8, Option<u32>)>| {
            fault.map_or("none".into(), |(vector, error)| crate::row::ExpectedFault { vector, error }.to_string())
        };
        // Rows may leave an error code of zero away, and real mode has none.
        let plain = |fault: Option<(u8, Option<u32>)>| fault.map(|(vector, error)| (vector, error.unwrap_or(0)));
        if plain(expected) != plain(got) {
            found.push(Difference::new("fault", name(expected), name(got)));
        }
        for undefined in &row.undefined {
            let value = undefined.place.get(&finish.state);
            undefined.place.set(&mut self.state, value);
        }
        let mut state = finish.state.clone();
        if let Some(delivered) = finish.delivered {
            // The flags of real mode are pushed without the upper half.
            let is_fault = !crate::row::ExpectedFault { vector: delivered.vector, error: None }.is_trap();
            // #DB is either, and rows say which by where it leaves RIP.
            let is_either =
                delivered.vector == vector::DB && row.outputs.iter().any(|one| one.target == Target::Place(Place::Rip));
            if row.mode != Mode::Real16 && !is_either && delivered.has_resume_flag != is_fault {
                found.push(Difference::new("RF that was pushed", is_fault, delivered.has_resume_flag));
            }
            // Delivery ends what was pending.
            state.events = self.state.events.clone();
        }
        found.extend(difference::between(&self.state, &state));
        let mut image = rig.memory().image();
        if finish.delivered.is_some() {
            for list in [&mut self.image, &mut image] {
                list.retain(|(at, _)| !KERNEL_STACK.contains(at));
            }
        }
        found.extend(difference::between_images(&self.image, &image));
        let ports = rig.ports().known();
        if self.ports != ports {
            found.push(Difference::new("ports", format!("{:x?}", self.ports), format!("{ports:x?}")));
        }
        found
    }
}

/// Pages of memory: the linear address of each, and what it holds.
type Image = Vec<(u64, Vec<u8>)>;

/// Puts `bytes` at linear address `at` of `image`.
fn overwrite(image: &mut Image, at: u64, bytes: &[u8]) {
    for (n, byte) in bytes.iter().enumerate() {
        let at = at.wrapping_add(n as u64);
        if let Some((_, page)) = image.iter_mut().find(|(page, _)| *page == at & !(PAGE - 1)) {
            page[(at % PAGE) as usize] = *byte;
        }
    }
}

/// What a segment register that holds `selector` hides, by the tables in memory.
fn hidden(rig: &dyn Stand, mode: Mode, selector: u16) -> Segment {
    let plain = engine::segment(mode, selector);
    if mode == Mode::Real16 || mode == Mode::Vm86 || selector & !3 == 0 {
        return plain;
    }
    let base = if selector & 4 != 0 { layout::LDT } else { layout::GDT };
    let mut bytes = [0; 8];
    rig.memory().read(base + u64::from(selector & !7), &mut bytes);
    Segment::from_descriptor(selector, u64::from_le_bytes(bytes))
}
