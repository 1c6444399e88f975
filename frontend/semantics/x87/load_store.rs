//! Loads and stores: FLD FST FSTP FILD FIST FISTP FISTTP FBLD FBSTP, and the constants.

use dragoman_float::{
    Exceptions, F32, F64, F80, Rounding, convert, to_integer,
    x87::{Constant, constant, fbld, fbstp},
};
use dragoman_state::{GuestVirt, StatusWord, Width};

use super::{
    super::{
        Cpu, Machine, Privilege,
        table::{Row, helper, row},
    },
    X87,
    unit::{INDEFINITE, Source, Unit, read_memory, registers},
};
use crate::{
    decode::{Insn, Mnemonic},
    fault::Fault,
};

#[rustfmt::skip]
pub(super) fn rows<M: Machine>() -> Vec<Row<M>> {
    use Mnemonic as N;
    vec![
        row(N::Fld,    helper!(fld),    X87),
        row(N::Fild,   helper!(fild),   X87),
        row(N::Fbld,   helper!(fbld_),  X87),
        row(N::Fst,    helper!(fst),    X87),
        row(N::Fstp,   helper!(fstp),   X87),
        row(N::Fstpnce, helper!(fstpnce), X87),
        row(N::Fist,   helper!(fist),   X87),
        row(N::Fistp,  helper!(fistp),  X87),
        row(N::Fisttp, helper!(fisttp), X87),
        row(N::Fbstp,  helper!(fbstp_), X87),
        row(N::Fld1,   helper!(fld1),   X87),
        row(N::Fldl2t, helper!(fldl2t), X87),
        row(N::Fldl2e, helper!(fldl2e), X87),
        row(N::Fldpi,  helper!(fldpi),  X87),
        row(N::Fldlg2, helper!(fldlg2), X87),
        row(N::Fldln2, helper!(fldln2), X87),
        row(N::Fldz,   helper!(fldz),   X87),
    ]
}

/// Pushes what `load` makes, or the indefinite value where there is no room.
fn push(cpu: &mut dyn Cpu, i: &Insn, mut unit: Unit, load: impl FnOnce(&mut Unit) -> F80) -> Result<(), Fault> {
    if !unit.has_room() {
        if unit.overflow() {
            unit.push(INDEFINITE);
        }
    } else {
        let value = load(&mut unit);
        // A denormal is loaded even where it is to be reported.
        if !unit.retire().contains(Exceptions::INVALID) {
            unit.x87.status.remove(StatusWord::C1);
            unit.push(value);
        }
    }
    unit.commit(cpu, i);
    Ok(())
}

/// Ten bytes of memory.
fn read_ten(cpu: &mut dyn Cpu, i: &Insn) -> Result<[u8; 10], Fault> {
    let low = cpu.read_operand(i, 0, Width::Qword)?;
    let high = cpu.read_operand(i, 8, Width::Word)?;
    Ok(F80 { significand: low, sign_exponent: high as u16 }.to_le_bytes())
}

/// `FLD`: from a register, or from memory in one of three formats. Ten bytes are taken as they are.
fn fld(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let unit = Unit::begin(cpu)?;
    if i.is_memory(0) && i.memory_size == 10 {
        let value = F80::from_le_bytes(read_ten(cpu, i)?);
        return push(cpu, i, unit, |_| value);
    }
    if i.is_memory(0) {
        let source = read_memory(cpu, i, false)?;
        return push(cpu, i, unit, |unit| match source {
            Source::Single(value) => convert(value, &mut unit.env),
            Source::Double(value) => convert(value, &mut unit.env),
            Source::Register(_) | Source::Integer(_) => source.exact(),
        });
    }
    fld_register(cpu, i, unit)
}

fn fld_register(cpu: &mut dyn Cpu, i: &Insn, mut unit: Unit) -> Result<(), Fault> {
    let Some(value) = unit.st(registers(i).0) else {
        if unit.underflow() {
            unit.push(INDEFINITE);
        }
        unit.commit(cpu, i);
        return Ok(());
    };
    push(cpu, i, unit, |_| value)
}

/// `FILD`.
fn fild(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let unit = Unit::begin(cpu)?;
    let source = read_memory(cpu, i, true)?;
    push(cpu, i, unit, |_| source.exact())
}

/// `FBLD`: eighteen decimal digits.
fn fbld_(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let unit = Unit::begin(cpu)?;
    let digits = read_ten(cpu, i)?;
    push(cpu, i, unit, |unit| fbld(digits, &mut unit.env))
}

fn push_constant(cpu: &mut dyn Cpu, i: &Insn, which: Constant) -> Result<(), Fault> {
    let unit = Unit::begin(cpu)?;
    push(cpu, i, unit, |unit| constant(which, unit.env.rounding))
}

/// `FLD1`.
fn fld1(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    push_constant(cpu, i, Constant::One)
}

/// `FLDL2T`.
fn fldl2t(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    push_constant(cpu, i, Constant::Log2Ten)
}

/// `FLDL2E`.
fn fldl2e(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    push_constant(cpu, i, Constant::Log2E)
}

/// `FLDPI`.
fn fldpi(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    push_constant(cpu, i, Constant::Pi)
}

/// `FLDLG2`.
fn fldlg2(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    push_constant(cpu, i, Constant::Log10Two)
}

/// `FLDLN2`.
fn fldln2(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    push_constant(cpu, i, Constant::LnTwo)
}

/// `FLDZ`.
fn fldz(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    push_constant(cpu, i, Constant::Zero)
}

/// What a store writes: so many bytes, lowest first.
struct Stored {
    bytes: [u8; 10],
    size: u64,
}

impl Stored {
    fn integer(value: u64, width: Width) -> Self {
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&value.to_le_bytes());
        Self { bytes, size: width.bytes() }
    }

    fn ten(bytes: [u8; 10]) -> Self {
        Self { bytes, size: 10 }
    }
}

/// Writes ST(0) to memory as `make` forms it, or `indefinite` where it is empty; then pops `pops` times. Nothing is
/// written where an exception that is not masked forbids it.
fn store(
    cpu: &mut dyn Cpu,
    i: &Insn,
    pops: bool,
    indefinite: Stored,
    make: impl FnOnce(F80, &mut Unit) -> Stored,
) -> Result<(), Fault> {
    let mut unit = Unit::begin(cpu)?;
    let stored = match unit.st(0) {
        Some(value) => {
            let stored = make(value, &mut unit);
            unit.retire_may_store().then_some(stored)
        }
        None => unit.underflow().then_some(indefinite),
    };
    if let Some(Stored { bytes, size }) = stored {
        let at = cpu.operand_address(i, size, true)?;
        cpu.check_write(at, size, Privilege::Current)?;
        write_bytes(cpu, at, &bytes[..size as usize])?;
        if pops {
            unit.pop();
        }
    }
    unit.commit(cpu, i);
    Ok(())
}

/// Writes 2, 4, 8 or 10 bytes.
fn write_bytes(cpu: &mut dyn Cpu, at: GuestVirt, bytes: &[u8]) -> Result<(), Fault> {
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let (first, rest) = bytes.split_at(bytes.len().min(8));
    let width = Width::from_bytes(first.len()).unwrap_or(Width::Qword);
    cpu.write(at, width, number(first), Privilege::Current)?;
    if !rest.is_empty() {
        cpu.write(GuestVirt(at.0.wrapping_add(8)), Width::Word, number(rest), Privilege::Current)?;
    }
    Ok(())
}

fn store_float(cpu: &mut dyn Cpu, i: &Insn, pops: bool) -> Result<(), Fault> {
    match i.memory_size {
        4 => store(cpu, i, pops, Stored::integer(0xffc0_0000, Width::Dword), |value, unit| {
            let single: F32 = convert(value, &mut unit.env);
            Stored::integer(single.0.into(), Width::Dword)
        }),
        8 => store(cpu, i, pops, Stored::integer(0xfff8_0000_0000_0000, Width::Qword), |value, unit| {
            let double: F64 = convert(value, &mut unit.env);
            Stored::integer(double.0, Width::Qword)
        }),
        _ => store(cpu, i, pops, Stored::ten(INDEFINITE.to_le_bytes()), |value, _| Stored::ten(value.to_le_bytes())),
    }
}

/// `FST`, `FSTP` to a register.
fn store_register(cpu: &mut dyn Cpu, i: &Insn, pops: bool) -> Result<(), Fault> {
    let mut unit = Unit::begin(cpu)?;
    let value = unit.st(0);
    if value.is_some() || unit.underflow() {
        unit.set(registers(i).0, value.unwrap_or(INDEFINITE));
        if pops {
            unit.pop();
        }
    }
    if value.is_some() {
        unit.x87.status.remove(StatusWord::C1);
    }
    unit.commit(cpu, i);
    Ok(())
}

/// `FSTPNCE`, an encoding that no manual has: FSTP to a register that is silent about an empty one, and stores nothing then.
fn fstpnce(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    let mut unit = Unit::begin(cpu)?;
    if let Some(value) = unit.st(0) {
        unit.set(registers(i).0, value);
    }
    unit.pop();
    unit.x87.status.remove(StatusWord::C1);
    unit.commit(cpu, i);
    Ok(())
}

/// `FST`.
fn fst(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    if i.is_memory(0) { store_float(cpu, i, false) } else { store_register(cpu, i, false) }
}

/// `FSTP`.
fn fstp(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    if i.is_memory(0) { store_float(cpu, i, true) } else { store_register(cpu, i, true) }
}

/// How a store to an integer rounds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum IntegerRounding {
    AsControlled,
    TowardsZero,
}

fn store_integer(cpu: &mut dyn Cpu, i: &Insn, pops: bool, how: IntegerRounding) -> Result<(), Fault> {
    let width = Width::from_bytes(i.memory_size.into()).unwrap_or(Width::Qword);
    store(cpu, i, pops, Stored::integer(width.sign_bit(), width), |value, unit| {
        let env = &mut unit.env;
        let rounding = if how == IntegerRounding::TowardsZero { Rounding::Zero } else { env.rounding };
        let integer = match width {
            Width::Word => i64::from(to_integer::<i16>(value, rounding, env)),
            Width::Dword => i64::from(to_integer::<i32>(value, rounding, env)),
            Width::Byte | Width::Qword => to_integer::<i64>(value, rounding, env),
        };
        Stored::integer(integer as u64, width)
    })
}

/// `FIST`.
fn fist(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    store_integer(cpu, i, false, IntegerRounding::AsControlled)
}

/// `FISTP`.
fn fistp(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    store_integer(cpu, i, true, IntegerRounding::AsControlled)
}

/// `FISTTP`.
fn fisttp(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    store_integer(cpu, i, true, IntegerRounding::TowardsZero)
}

/// `FBSTP`: eighteen decimal digits.
fn fbstp_(cpu: &mut dyn Cpu, i: &Insn) -> Result<(), Fault> {
    const DECIMAL_INDEFINITE: [u8; 10] = [0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff];
    store(cpu, i, true, Stored::ten(DECIMAL_INDEFINITE), |value, unit| Stored::ten(fbstp(value, &mut unit.env)))
}
