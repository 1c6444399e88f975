//! Instructions for the sweep: such as come to an end where nothing is in the way of their operands.

use dragoman_state::VcpuState;
use iced_x86::{Code, Instruction, Mnemonic as M, Register};

use super::{
    Sweep,
    scene::{Scene, code_offset},
    trouble::Trouble,
};
use crate::{
    Mode,
    case::End,
    engine::RigError,
    generate::{Form, Random, is_bit_test},
};

/// How often an instruction is made until one comes to an end where nothing is in the way.
const ATTEMPTS: u64 = 40;
/// The operands of ENTER: a few bytes, and two frames within one another.
const ENTER: [u8; 3] = [0x10, 0, 2];

/// An instruction that comes to an end where nothing is in the way.
#[derive(Clone, Debug)]
pub struct Instance {
    /// The encoding.
    pub code: Code,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What [`Scene::prepare`] is to be given.
    pub seed: u64,
    /// What kind of operand it has.
    pub wanted: Wanted,
}

/// What kind of operand an instruction is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A memory operand that is not on the stack.
    Elsewhere,
    /// A memory operand in the stack segment.
    OnStack,
    /// None but what it implies.
    Implied,
}

impl Wanted {
    const ALL: [Self; 3] = [Self::Elsewhere, Self::OnStack, Self::Implied];

    /// Whether an instruction of `form` can have it.
    fn exists(self, form: &Form) -> bool {
        if self == Self::Implied { !form.must_have_memory() } else { form.can_have_memory() }
    }

    /// Whether it makes a difference to `trouble`: only refusals by segments tell the stack from elsewhere.
    pub fn matters_to(self, trouble: Trouble) -> bool {
        self != Self::OnStack || matches!(trouble, Trouble::Limit | Trouble::NotCanonical)
    }
}

impl Sweep {
    /// Instructions of `codes` that come to an end in `mode` at `cpl`.
    pub(super) fn instances(&mut self, codes: &[Code], mode: Mode, cpl: u8) -> Result<Vec<Instance>, RigError> {
        let map = Trouble::None.map();
        self.rig.prepare(mode, &map);
        let template = self.rig.start(mode, cpl);
        let mut list = Vec::new();
        for code in codes {
            let form = Form::of(*code);
            if !form.exists_in(mode) || !is_tried(*code, mode, cpl) {
                continue;
            }
            let lock = code.op_code().can_use_lock_prefix().then_some(Some(0xf0));
            let extras = std::iter::once(None).chain(lock).chain(form.repeats().map(Some));
            for extra in extras {
                for wanted in Wanted::ALL.into_iter().filter(|wanted| wanted.exists(&form)) {
                    if let Some(instance) = self.instance(&form, mode, &template, wanted, extra)? {
                        list.push(instance);
                    }
                }
            }
        }
        Ok(list)
    }

    fn instance(
        &mut self,
        form: &Form,
        mode: Mode,
        template: &VcpuState,
        wanted: Wanted,
        extra: Option<u8>,
    ) -> Result<Option<Instance>, RigError> {
        let code = form.code();
        let mut random = Random::new(code as u64);
        let (ip, has_memory) = (code_offset(mode), wanted != Wanted::Implied);
        for seed in 0..ATTEMPTS {
            let Some((mut bytes, insn)) = form.make_plain(&mut random, mode, ip, has_memory, extra) else { break };
            if self.factory.info(&insn).used_memory().is_empty() {
                break;
            }
            if is_unwieldy(&insn) || has_memory && (insn.memory_segment() == Register::SS) != (wanted == Wanted::OnStack) {
                continue;
            }
            if insn.mnemonic() == M::Enter {
                let from = bytes.len() - ENTER.len();
                bytes[from..].copy_from_slice(&ENTER);
            }
            self.ended.entry(code).or_insert(false);
            let Some(mut scene) = Scene::new(&mut self.factory, mode, &bytes, template.clone()) else { continue };
            scene.prepare(seed);
            let finish = self.run_scene(&scene)?;
            self.clean(&scene);
            if finish.end == End::Done {
                self.ended.insert(code, true);
                return Ok(Some(Instance { code, bytes, seed, wanted }));
            }
        }
        Ok(None)
    }
}

/// Whether `code` is tried at `cpl`.
fn is_tried(code: Code, mode: Mode, cpl: u8) -> bool {
    let is_port = matches!(code.mnemonic(), M::Insb | M::Insw | M::Insd | M::Outsb | M::Outsw | M::Outsd);
    let is_privileged = code.op_code().is_privileged() && !is_port;
    match (mode, cpl) {
        (Mode::Long64, 0) => true,
        // There, what is pushed after a fault goes where the instruction's operands may be.
        (_, 0) => is_privileged,
        _ => !is_privileged,
    }
}

/// Whether a register decides where an operand is, and something else besides.
fn is_unwieldy(insn: &Instruction) -> bool {
    let address = [insn.memory_base(), insn.memory_index()].map(Register::full_register);
    match insn.mnemonic() {
        M::Call => insn.op0_register().full_register() == Register::RSP,
        M::Bound => address.contains(&insn.op0_register().full_register()),
        name => (is_bit_test(insn) || name == M::Arpl) && address.contains(&insn.op1_register().full_register()),
    }
}
