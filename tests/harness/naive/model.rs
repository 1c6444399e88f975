//! What each instruction makes of its operands, from its entry in the manual.

use iced_x86::{Mnemonic as M, OpKind, Register};

use super::{
    Fate, Fates, Machine, adder,
    bit_fields::{self, Found},
    bit_strings::{self, Made},
    bits::Bits,
    decimal::{self, Adjusted},
    products,
    shifts::{self, Shift, Shifted},
};

/// The model has no such instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unmodelled;

/// Does to `machine` what its instruction does.
pub fn expected(machine: &mut Machine) -> Result<(), Unmodelled> {
    let name = machine.insn().mnemonic();
    match name {
        M::Add | M::Adc | M::Sub | M::Sbb | M::Cmp | M::And | M::Or | M::Xor | M::Test => arithmetic(machine, name),
        M::Inc | M::Dec | M::Neg | M::Not => one_operand(machine, name),
        M::Xadd => xadd(machine),
        M::Cmpxchg => cmpxchg(machine),
        M::Shl | M::Sal => shift(machine, Shift::Shl),
        M::Shr => shift(machine, Shift::Shr),
        M::Sar => shift(machine, Shift::Sar),
        M::Rol => shift(machine, Shift::Rol),
        M::Ror => shift(machine, Shift::Ror),
        M::Rcl => shift(machine, Shift::Rcl),
        M::Rcr => shift(machine, Shift::Rcr),
        M::Shld | M::Shrd => double_shift(machine, name == M::Shld),
        M::Mul => product(machine, products::unsigned),
        M::Imul if machine.insn().op_count() == 1 => product(machine, products::signed),
        M::Imul => truncated_product(machine),
        M::Daa | M::Das | M::Aaa | M::Aas | M::Aam | M::Aad => adjust(machine, name),
        M::Bsf | M::Bsr => find(machine, |source| bit_fields::scan(source, name == M::Bsf)),
        M::Tzcnt | M::Lzcnt => find(machine, |source| bit_fields::zeros(source, name == M::Tzcnt)),
        M::Popcnt => find(machine, bit_fields::population),
        M::Bt | M::Bts | M::Btr | M::Btc => bit_test(machine, name),
        M::Adcx | M::Adox => chain(machine, name),
        M::Movbe => reverse(machine),
        M::Andn => make(machine, bit_strings::and_not),
        M::Bextr => make(machine, bit_strings::field),
        M::Bzhi => make(machine, bit_strings::zero_high),
        M::Blsi => make(machine, |source, _| bit_strings::lowest_alone(source)),
        M::Blsr => make(machine, |source, _| bit_strings::with_one_less(source, |a, b| a & b)),
        M::Blsmsk => make(machine, |source, _| bit_strings::with_one_less(source, |a, b| a ^ b)),
        M::Pdep => rearrange(machine, bit_strings::deposit),
        M::Pext => rearrange(machine, bit_strings::extract),
        M::Rorx => shift_apart(machine, Shift::Ror),
        M::Sarx => shift_apart(machine, Shift::Sar),
        M::Shlx => shift_apart(machine, Shift::Shl),
        M::Shrx => shift_apart(machine, Shift::Shr),
        M::Mulx => product_apart(machine),
        M::Crc32 => checksum(machine),
        M::Sahf | M::Lahf => flags_in_ah(machine, name),
        M::Clc => machine.set_fates(Fates { cf: Fate::Is(false), ..Fates::KEPT }),
        M::Stc => machine.set_fates(Fates { cf: Fate::Is(true), ..Fates::KEPT }),
        M::Cmc => machine.set_fates(Fates { cf: Fate::Is(!machine.carry()), ..Fates::KEPT }),
        _ => return Err(Unmodelled),
    }
    Ok(())
}

fn arithmetic(machine: &mut Machine, name: M) {
    let width = machine.width(0);
    let (a, b, carry) = (machine.operand(0, width), machine.operand(1, width), machine.carry());
    let sum = match name {
        M::Add => adder::add(a, b, false),
        M::Adc => adder::add(a, b, carry),
        M::Sbb => adder::subtract(a, b, carry),
        M::And | M::Test => adder::logic(a, b, |a, b| a & b),
        M::Or => adder::logic(a, b, |a, b| a | b),
        M::Xor => adder::logic(a, b, |a, b| a ^ b),
        _ => adder::subtract(a, b, false),
    };
    if !matches!(name, M::Cmp | M::Test) {
        machine.set_operand(0, sum.result);
    }
    machine.set_fates(sum.fates);
}

/// ADCX and ADOX.
fn chain(machine: &mut Machine, name: M) {
    let width = machine.width(0);
    let carry = if name == M::Adcx { machine.carry() } else { machine.overflow() };
    let sum = adder::add(machine.operand(0, width), machine.operand(1, width), carry);
    machine.set_operand(0, sum.result);
    machine.set_fates(match name {
        M::Adcx => Fates { cf: sum.fates.cf, ..Fates::KEPT },
        _ => Fates { of: sum.fates.cf, ..Fates::KEPT },
    });
}

/// MOVBE.
fn reverse(machine: &mut Machine) {
    let width = machine.width(0);
    let source = machine.operand(1, width);
    let mut result = Bits::zero(width);
    for n in 0..width {
        result.set(n, source.bit(width - 8 - n / 8 * 8 + n % 8));
    }
    machine.set_operand(0, result);
}

/// What has a destination of its own, and no more than two sources.
fn make(machine: &mut Machine, of: impl Fn(Bits, Bits) -> Made) {
    let width = machine.width(0);
    let second = if machine.insn().op_count() > 2 { machine.operand(2, width) } else { Bits::zero(width) };
    let made = of(machine.operand(1, width), second);
    machine.set_operand(0, made.result);
    machine.set_fates(made.fates);
}

/// PDEP and PEXT.
fn rearrange(machine: &mut Machine, of: impl Fn(Bits, Bits) -> Bits) {
    let width = machine.width(0);
    let result = of(machine.operand(1, width), machine.operand(2, width));
    machine.set_operand(0, result);
}

/// Shifts with a destination of their own, which write no flags: by as many places as the width allows.
fn shift_apart(machine: &mut Machine, how: Shift) {
    let width = machine.width(0);
    let count = machine.operand(2, 8).value() as u8;
    let source = machine.operand(1, width);
    if let Some(result) = shifts::shift(how, source, count, false).result {
        machine.set_operand(0, result);
    }
}

/// MULX: of one destination, the high half stays.
fn product_apart(machine: &mut Machine) {
    let width = machine.width(0);
    let factor = machine.register(if width == 32 { Register::EDX } else { Register::RDX });
    let product = products::unsigned(factor, machine.operand(2, width));
    machine.set_operand(1, product.low);
    machine.set_operand(0, product.high);
}

/// CRC32: the sum has 32 bits, whatever its register has.
fn checksum(machine: &mut Machine) {
    let width = machine.width(1);
    let sum = bit_strings::checksum(machine.operand(0, 32).part(0, 32), machine.operand(1, width));
    machine.set_operand(0, sum.extend(machine.width(0), false));
}

fn one_operand(machine: &mut Machine, name: M) {
    let width = machine.width(0);
    let (operand, one) = (machine.operand(0, width), Bits::new(1, width));
    let (result, fates) = match name {
        M::Not => (operand.not(), Fates::KEPT),
        M::Neg => {
            let sum = adder::subtract(Bits::zero(width), operand, false);
            (sum.result, Fates { cf: Fate::Is(!operand.is_zero()), ..sum.fates })
        }
        _ => {
            let sum = if name == M::Inc { adder::add(operand, one, false) } else { adder::subtract(operand, one, false) };
            (sum.result, Fates { cf: Fate::Kept, ..sum.fates })
        }
    };
    machine.set_operand(0, result);
    machine.set_fates(fates);
}

/// The source first: where both are one register, the sum stays.
fn xadd(machine: &mut Machine) {
    let width = machine.width(0);
    let (destination, source) = (machine.operand(0, width), machine.operand(1, width));
    let sum = adder::add(source, destination, false);
    machine.set_operand(1, destination);
    machine.set_operand(0, sum.result);
    machine.set_fates(sum.fates);
}

fn cmpxchg(machine: &mut Machine) {
    let width = machine.width(0);
    let accumulator = match width {
        8 => Register::AL,
        16 => Register::AX,
        32 => Register::EAX,
        _ => Register::RAX,
    };
    let (destination, source) = (machine.operand(0, width), machine.operand(1, width));
    let comparison = adder::subtract(machine.register(accumulator), destination, false);
    if comparison.result.is_zero() {
        machine.set_operand(0, source);
    } else {
        // The destination is given its own value; whether that clears the upper half of a register is not said.
        machine.leave_upper_half_open(0);
        machine.set_register(accumulator, destination);
    }
    machine.set_fates(comparison.fates);
}

fn finish_shift(machine: &mut Machine, shifted: Shifted) {
    match shifted.result {
        Some(result) => machine.set_operand(0, result),
        None => machine.leave_operand_open(0),
    }
    machine.set_fates(shifted.fates);
}

fn shift(machine: &mut Machine, how: Shift) {
    let width = machine.width(0);
    let count = machine.operand(1, 8).value() as u8;
    finish_shift(machine, shifts::shift(how, machine.operand(0, width), count, machine.carry()));
}

fn double_shift(machine: &mut Machine, is_left: bool) {
    let width = machine.width(0);
    let count = machine.operand(2, 8).value() as u8;
    finish_shift(machine, shifts::double(is_left, machine.operand(0, width), machine.operand(1, width), count));
}

/// MUL and IMUL with one operand.
fn product(machine: &mut Machine, multiply: fn(Bits, Bits) -> products::Product) {
    let width = machine.width(0);
    let (low, high) = match width {
        8 => (Register::AL, Register::AH),
        16 => (Register::AX, Register::DX),
        32 => (Register::EAX, Register::EDX),
        _ => (Register::RAX, Register::RDX),
    };
    let product = multiply(machine.register(low), machine.operand(0, width));
    machine.set_register(low, product.low);
    machine.set_register(high, product.high);
    machine.set_fates(product.fates);
}

/// IMUL with two operands or three.
fn truncated_product(machine: &mut Machine) {
    let (width, last) = (machine.width(0), machine.insn().op_count() - 1);
    let product = products::signed(machine.operand(last - 1, width), machine.operand(last, width));
    machine.set_operand(0, product.low);
    machine.set_fates(product.fates);
}

fn adjust(machine: &mut Machine, name: M) {
    let (ax, cf, af) = (machine.register(Register::AX).value() as u16, machine.carry(), machine.adjust());
    let factor = || machine.insn().immediate8();
    let adjusted = match name {
        M::Daa => Some(decimal::daa(ax, cf, af)),
        M::Das => Some(decimal::das(ax, cf, af)),
        M::Aaa => Some(decimal::aaa(ax, af)),
        M::Aas => Some(decimal::aas(ax, af)),
        M::Aam => decimal::aam(ax, factor()),
        _ => Some(decimal::aad(ax, factor())),
    };
    match adjusted {
        Some(Adjusted { ax, fates }) => {
            machine.set_register(Register::AX, Bits::new(ax.into(), 16));
            machine.set_fates(fates);
        }
        None => machine.raise(0),
    }
}

fn find(machine: &mut Machine, look: impl Fn(Bits) -> Found) {
    let width = machine.width(0);
    let found = look(machine.operand(1, width));
    match found.result {
        Some(place) => machine.set_operand(0, Bits::new(place.into(), width)),
        None => machine.leave_operand_open(0),
    }
    machine.set_fates(found.fates);
}

/// BT and its kin. A register's offset into memory has a sign and reaches beyond the operand; every other one is taken
/// modulo the operand's width.
fn bit_test(machine: &mut Machine, name: M) {
    let width = machine.width(0);
    let offset = machine.operand(1, if machine.insn().op_kind(1) == OpKind::Register { width } else { 8 });
    let is_string = machine.insn().op_kind(0) == OpKind::Memory && machine.insn().op_kind(1) == OpKind::Register;
    let (delta, bit, unit) = if is_string {
        let offset = offset.extend_sign(64).value() as i64;
        (offset.div_euclid(8), offset.rem_euclid(8) as u32, 8)
    } else {
        (0, offset.value() as u32 % width, width)
    };
    let mut value = if is_string { machine.memory(delta, unit) } else { machine.operand(0, width) };
    let was = value.bit(bit);
    value.set(
        bit,
        match name {
            M::Bts => true,
            M::Btr => false,
            M::Btc => !was,
            _ => was,
        },
    );
    if is_string {
        machine.set_memory(delta, value);
    } else if name != M::Bt {
        machine.set_operand(0, value);
    }
    machine.set_fates(Fates { cf: Fate::Is(was), zf: Fate::Kept, ..Fates::UNDEFINED });
}

fn flags_in_ah(machine: &mut Machine, name: M) {
    if name == M::Lahf {
        // Bit 1 is always one, bits 3 and 5 always zero; so they are in RFLAGS.
        machine.set_register(Register::AH, Bits::new(machine.flags_byte(), 8));
        return;
    }
    let ah = machine.register(Register::AH);
    machine.set_fates(Fates {
        cf: Fate::Is(ah.bit(0)),
        pf: Fate::Is(ah.bit(2)),
        af: Fate::Is(ah.bit(4)),
        zf: Fate::Is(ah.bit(6)),
        sf: Fate::Is(ah.bit(7)),
        of: Fate::Kept,
    });
}
