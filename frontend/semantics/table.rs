//! From an opcode to its meaning: the rows of every family, gathered into one table that is indexed by opcode.

use iced_x86::EncodingKind;

use super::{Handler, Machine, integer, system, vector, x87};
use crate::{
    decode::{Attributes, Code, Insn, Mnemonic, Opcode},
    fault::Fault,
    model::CpuModel,
};

/// What a row is about.
#[derive(Clone, Copy)]
enum Key {
    /// Every encoding of a mnemonic but EVEX ones.
    Name(Mnemonic),
    /// One encoding; it takes precedence over its mnemonic's row.
    Code(Code),
}

/// One line of a family's table.
pub(super) struct Row<M> {
    key: Key,
    handler: Handler<M>,
    attributes: Attributes,
}

/// All encodings of `name` mean `handler`.
pub(super) fn row<M>(name: Mnemonic, handler: Handler<M>, attributes: Attributes) -> Row<M> {
    Row { key: Key::Name(name), handler, attributes }
}

/// The one encoding `code` means `handler`.
pub(super) fn code<M>(code: Code, handler: Handler<M>, attributes: Attributes) -> Row<M> {
    Row { key: Key::Code(code), handler, attributes }
}

/// A handler that runs a helper; `M` is the machine of the function it stands in.
macro_rules! helper {
    ($helper:path) => {
        |m: &mut M, i: &Insn| m.call_helper($helper, i)
    };
}
pub(super) use helper;

/// The meaning of every opcode for one kind of machine and one model of processor.
pub struct Table<M> {
    handlers: Box<[Handler<M>]>,
    attributes: Box<[Attributes]>,
}

impl<M: Machine> Table<M> {
    /// The table for `model`: what the model lacks is #UD.
    pub fn new(model: &CpuModel) -> Self {
        let mut table = Self {
            handlers: vec![undefined::<M> as Handler<M>; Opcode::COUNT].into(),
            attributes: vec![Attributes::UNDEFINED; Opcode::COUNT].into(),
        };
        table.set(Opcode::NO_MATH, no_math, Attributes::empty());
        table.set(Opcode::PROTECTION, protection, Attributes::empty());
        let rows: Vec<Row<M>> =
            integer::rows().into_iter().chain(system::rows()).chain(vector::rows()).chain(x87::rows()).collect();
        let mut by_name = vec![None; Mnemonic::values().len()];
        for row in &rows {
            if let Key::Name(name) = row.key {
                by_name[name as usize] = Some(row);
            }
        }
        for code in Code::values().filter(|code| is_within_reach(*code) && model.has_code(*code)) {
            if let Some(row) = by_name[code.mnemonic() as usize] {
                table.set(Opcode::of(code), row.handler, row.attributes);
            }
        }
        for row in &rows {
            if let Key::Code(code) = row.key {
                if model.has_code(code) {
                    table.set(Opcode::of(code), row.handler, row.attributes);
                }
            }
        }
        table
    }

    fn set(&mut self, opcode: Opcode, handler: Handler<M>, attributes: Attributes) {
        self.handlers[opcode.index()] = handler;
        self.attributes[opcode.index()] = attributes;
    }

    /// What `opcode` means.
    #[inline]
    pub fn handler(&self, opcode: Opcode) -> Handler<M> {
        self.handlers[opcode.index()]
    }

    /// The attributes of all opcodes, for a decoder.
    pub fn attributes(&self) -> Box<[Attributes]> {
        self.attributes.clone()
    }

    /// Whether `opcode` is an instruction of this model that has a meaning here.
    pub fn has(&self, opcode: Opcode) -> bool {
        !self.attributes[opcode.index()].contains(Attributes::UNDEFINED)
    }
}

/// Encodings that rows by mnemonic speak of.
fn is_within_reach(code: Code) -> bool {
    matches!(code.encoding(), EncodingKind::Legacy | EncodingKind::VEX)
}

fn undefined<M: Machine>(_: &mut M, _: &Insn) -> Result<(), Fault> {
    Err(Fault::UD)
}

fn no_math<M: Machine>(_: &mut M, _: &Insn) -> Result<(), Fault> {
    Err(Fault::NM)
}

fn protection<M: Machine>(_: &mut M, _: &Insn) -> Result<(), Fault> {
    Err(Fault::GP0)
}
