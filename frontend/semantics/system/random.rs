//! Chance: RDRAND RDSEED. SDM: vol. 2, the entries of the same names; vol. 1 §7.3.17.

use dragoman_state::{Gpr, RFlags};

use super::super::{
    Cpu, Machine,
    table::{Row, helper, row},
};
use crate::{
    decode::{Attributes, Insn, Mnemonic},
    fault::Fault,
};

pub(super) fn rows<M: Machine>() -> [Row<M>; 2] {
    [row(Mnemonic::Rdrand, helper!(random), Attributes::empty()), row(Mnemonic::Rdseed, helper!(random), Attributes::empty())]
}

/// `RDRAND dst`, `RDSEED dst`: CF says that there was something; else dst is zero. The other flags are cleared.
fn random(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let value = cpu.random();
    cpu.write_gpr(Gpr(i.operands[0].register), i.width, value.unwrap_or(0));
    let flags = &mut cpu.state_mut().rflags;
    flags.remove(RFlags::ARITHMETIC);
    flags.set(RFlags::CF, value.is_some());
    Ok(())
}
