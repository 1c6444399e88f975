//! Every oracle that the matrix knows. The one list of them: a new one is a line here.

use super::{
    faults, footprint, kvm, naive, native, rows,
    run::{Engine, Run, RunError},
    vectors,
};
use crate::{Mode, kvm::KvmStand, native::Oracle as Host};

/// What judges instructions.
pub struct Oracle {
    /// Its name.
    pub name: &'static str,
    /// One line on where its expectations come from, and on what it counts as a case.
    pub about: &'static str,
    /// Judges, or why it cannot in this build.
    pub(super) run: Result<Judge, &'static str>,
    /// Whether it can judge what is not stepped: the host's own processor, and engines that only run.
    pub(super) judges_unstepped: bool,
    /// What of the host it cannot do without.
    pub(super) needs: Needs,
}

/// Judges engines.
type Judge = fn(&mut Run<'_>, &[Engine]) -> Result<(), RunError>;

/// What an oracle cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing: it judges on any host.
    Nothing,
    /// The host's processor.
    Processor,
    /// Files.
    Files,
    /// KVM.
    Kvm,
}

#[rustfmt::skip] // a table
/// The oracles, in the order in which they are asked.
pub const ORACLES: &[Oracle] = &[
    Oracle { name: "rows",      about: "what is written down of each instruction, by the manual or from a processor; a case is a row",
             run: Ok(rows::run),           judges_unstepped: true,  needs: Needs::Nothing },
    Oracle { name: "native",    about: "generated cases, executed by the host's own processor",
             run: Ok(native::run),         judges_unstepped: false, needs: Needs::Processor },
    Oracle { name: "vectors",   about: "tests captured from a 286 in real mode",
             run: Ok(vectors::run),        judges_unstepped: false, needs: Needs::Files },
    Oracle { name: "footprint", about: "registers, memory and flags touched, against the decoder's tables; a failure is a way of differing",
             run: Ok(footprint::run),      judges_unstepped: false, needs: Needs::Nothing },
    Oracle { name: "faults",    about: "memory operands where they cannot be reached, by the manual; a failure is a way of differing",
             run: Ok(faults::run),         judges_unstepped: false, needs: Needs::Nothing },
    Oracle { name: "naive",     about: "results and flags of a bit-serial model, written from the manual alone",
             run: Ok(naive::run),          judges_unstepped: false, needs: Needs::Nothing },
    Oracle { name: "kvm",       about: "rows that a program cannot run, in the host's KVM; it judges the engine host",
             run: Ok(kvm::run),            judges_unstepped: true,  needs: Needs::Kvm },
];

impl Oracle {
    /// The oracle of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        ORACLES.iter().find(|oracle| oracle.name == name)
    }

    /// What it can do on this host, in a sentence, or why it can do nothing.
    pub fn availability(&self) -> Result<String, String> {
        self.run?;
        match self.needs {
            Needs::Nothing => Ok("on any host".into()),
            Needs::Files => Ok("with files of vectors, on any host".into()),
            Needs::Processor => host_modes(),
            Needs::Kvm => match KvmStand::new() {
                Ok(_) => Ok("in this host's KVM".into()),
                Err(error) => Err(error.to_string()),
            },
        }
    }
}

/// The modes that the host's processor can be asked about, or why there are none.
pub fn host_modes() -> Result<String, String> {
    let host = Host::new().map_err(|error| error.to_string())?;
    let modes: Vec<_> = Mode::ALL.into_iter().filter(|mode| host.lacks(*mode).is_none()).map(Mode::name).collect();
    Ok(format!("on this host's processor, {}, in {}", host.host().name, modes.join(", ")))
}
