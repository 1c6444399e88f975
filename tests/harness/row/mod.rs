//! Rows: one instruction a line, with what it starts from and what it must leave behind.

mod expression;
mod faults;
mod file;
mod names;
mod parse;
mod place;
mod print;
mod value;

pub use expression::Expression;
pub use faults::ExpectedFault;
pub use file::{Line, RowFile};
pub use parse::RowError;
pub use place::{Field, Model, Part, Place, SegmentName, segment_of, segment_slot};
pub use print::shown;
pub use value::Value;

use dragoman_frontend::model::{CpuModel, ModelError};

use crate::{Mode, layout};

/// What a row gives a value to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A part of the processor's state.
    Place(Place),
    /// So many bits of memory.
    Memory(u32, Expression),
    /// So many bits at an I/O port.
    Port(u32, Expression),
}

impl Target {
    /// How many bits it has.
    pub fn bits(&self) -> u32 {
        match self {
            Self::Place(place) => place.bits(),
            Self::Memory(bits, _) | Self::Port(bits, _) => *bits,
        }
    }
}

/// `name=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// What.
    pub target: Target,
    /// The value.
    pub value: Value,
}

/// What a place is, that the manual leaves undefined, on the host that the row was recorded on. Never compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undefined {
    /// What is undefined.
    pub place: Place,
    /// What the host made of it; nothing where it left it as it was.
    pub value: Option<Value>,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The mode.
    pub mode: Mode,
    /// The privilege level.
    pub cpl: u8,
    /// Features that the processor must have, or must not where the flag is clear, beyond those of the model that has everything.
    pub features: Vec<(String, bool)>,
    /// The code, up to the page end where there is one.
    pub code: Vec<u8>,
    /// The code after the page end; empty where that page is not mapped.
    pub tail: Option<Vec<u8>>,
    /// The code as text; several instructions are separated by ` / `.
    pub text: String,
    /// What holds before.
    pub inputs: Vec<Assignment>,
    /// What holds after, where it differs.
    pub outputs: Vec<Assignment>,
    /// The fault or trap that ends it.
    pub fault: Option<ExpectedFault>,
    /// What is undefined.
    pub undefined: Vec<Undefined>,
    /// Whether LOCK is allowed, where the row says.
    pub lock: Option<bool>,
    /// Where the expectation comes from.
    pub source: String,
}

impl Row {
    /// The features that it asks for, as flags after a model's name.
    pub fn features(&self) -> String {
        self.features.iter().map(|(name, is_in)| format!(",{}{name}", if *is_in { '+' } else { '-' })).collect()
    }

    /// The model of processor that it is about.
    pub fn model(&self) -> Result<CpuModel, ModelError> {
        CpuModel::parse(&format!("{}{}", CpuModel::most().name(), self.features()))
    }

    /// Linear address of the first byte of code.
    pub fn code_at(&self) -> u64 {
        match &self.tail {
            None => layout::CODE,
            Some(_) => layout::CODE + layout::PAGE - self.code.len() as u64,
        }
    }

    /// All bytes of code.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.code.clone();
        bytes.extend(self.tail.iter().flatten());
        bytes
    }

    /// The offset in the code segment of the first byte.
    pub fn start(&self) -> u64 {
        self.code_at() - if self.mode.is_segmented() { layout::CODE } else { 0 }
    }

    /// Whether the expectation comes from a host's processor.
    pub fn is_recorded(&self) -> bool {
        self.source.starts_with("host")
    }

    /// The part of the code that its text shows: up to the page end alone where nothing follows it.
    pub fn disassembly(&self) -> String {
        let bytes = self.bytes();
        let texts = self.mode.instructions(&bytes).into_iter().map(|insn| {
            let at = insn.ip();
            dragoman_frontend::decode::disassemble(&bytes[at as usize..], self.mode.code_size(), self.start() + at)
        });
        texts.collect::<Vec<_>>().join(" / ")
    }
}
