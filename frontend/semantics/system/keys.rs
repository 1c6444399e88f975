//! Protection keys of user pages: RDPKRU WRPKRU. Where the keys apply is paging's to say.
//! SDM: vol. 2, the entries of the same names; vol. 3 §4.6.2.

use dragoman_state::{Cr4, Gpr};

use super::{
    super::{
        Cpu, Flush, Machine,
        table::{Row, helper, row},
    },
    identification::set_pair,
};
use crate::{
    decode::{Attributes, Insn, Mnemonic},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> [Row<M>; 2] {
    [
        row(Mnemonic::Rdpkru, helper!(rdpkru), Attributes::empty()),
        row(Mnemonic::Wrpkru, helper!(wrpkru), Attributes::ENDS_BLOCK),
    ]
}

/// Both need the system's leave, and ECX to be zero.
fn check(cpu: &dyn Cpu) -> Result<(), Fault> {
    let state = cpu.state();
    if !state.cr4.contains(Cr4::PKE) {
        return Err(Fault::UD);
    }
    if state.gpr[Gpr::RCX] as u32 != 0 { Err(Fault::GP0) } else { Ok(()) }
}

/// `RDPKRU`: EAX ← PKRU, EDX ← 0.
fn rdpkru(cpu: &mut dyn Cpu, _: &Insn) -> Result<(), Fault> {
    check(cpu)?;
    let rights = cpu.state().pkru;
    set_pair(cpu, rights.into());
    Ok(())
}

/// `WRPKRU`: PKRU ← EAX; EDX must be zero.
fn wrpkru(cpu: &mut dyn Cpu, _: &Insn) -> Result<(), Fault> {
    check(cpu)?;
    if cpu.state().gpr[Gpr::RDX] as u32 != 0 {
        return Err(Fault::GP0);
    }
    let state = cpu.state_mut();
    state.pkru = state.gpr[Gpr::RAX] as u32;
    // What is remembered of pages was allowed by the rights as they were.
    cpu.flush(Flush::All);
    Ok(())
}
