//! Integer operations as pure functions: what engines that compute use, and what those that translate must equal.
//!
//! Operands are zero above their width, and so are results.

use dragoman_state::Width;

use super::bit_fields;
use crate::fault::Fault;

/// An operation on two integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the operations' usual names say all there is to say")]
pub enum BinaryOp {
    Add,
    Sub,
    And,
    Or,
    Xor,
    /// The field of `a` that begins at the bit and has the length that the two low bytes of `b` say.
    Field,
    /// The bits of `a` below the one that the low byte of `b` numbers.
    Below,
    /// The low bits of `a`, in order, where `b` has ones.
    Deposit,
    /// The bits of `a` where `b` has ones, in order.
    Extract,
    /// The CRC-32C `a`, of 32 bits, with `b` of the width taken in.
    Checksum,
}

/// An operation on one integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnaryOp {
    /// Every bit inverted.
    Not,
    /// Zero less the operand.
    Neg,
    /// Bytes in opposite order.
    ByteSwap,
    /// Number of the lowest bit that is set; the width in bits where none is.
    TrailingZeros,
    /// Number of zeros above the highest bit that is set; the width in bits where none is.
    LeadingZeros,
    /// How many bits are set.
    Population,
}

/// A shift or rotate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the manual's own names say all there is to say")]
pub enum ShiftOp {
    Shl,
    Shr,
    Sar,
    Rol,
    Ror,
    Rcl,
    Rcr,
    Shld,
    Shrd,
}

/// `a op b` at `width`.
#[inline(always)]
pub fn binary(op: BinaryOp, width: Width, a: u64, b: u64) -> u64 {
    match op {
        BinaryOp::Add => width.truncate(a.wrapping_add(b)),
        BinaryOp::Sub => width.truncate(a.wrapping_sub(b)),
        BinaryOp::And => a & b,
        BinaryOp::Or => a | b,
        BinaryOp::Xor => a ^ b,
        BinaryOp::Field => bit_fields::field(width, a, b),
        BinaryOp::Below => bit_fields::below(width, a, b),
        BinaryOp::Deposit => bit_fields::deposit(a, b),
        BinaryOp::Extract => bit_fields::extract(a, b),
        BinaryOp::Checksum => bit_fields::checksum(width, a, b),
    }
}

/// `op a` at `width`.
#[inline(always)]
pub fn unary(op: UnaryOp, width: Width, a: u64) -> u64 {
    match op {
        UnaryOp::Not => width.truncate(!a),
        UnaryOp::Neg => width.truncate(a.wrapping_neg()),
        UnaryOp::ByteSwap => a.swap_bytes() >> (64 - width.bits()),
        UnaryOp::TrailingZeros => u64::from(a.trailing_zeros().min(width.bits())),
        UnaryOp::LeadingZeros => u64::from(a.leading_zeros() + width.bits() - 64),
        UnaryOp::Population => u64::from(a.count_ones()),
    }
}

/// `value` shifted or rotated by `count`, which is below 32, or below 64 at 64 bits. `extra` is the carry flag (0 or 1)
/// for rotates through carry, and the operand that bits come from for double shifts.
///
/// A double shift of 16 bits by more than 16 is undefined; here the operands rotate as one, as they do in hardware.
#[inline(always)]
pub fn shift(op: ShiftOp, width: Width, value: u64, count: u64, extra: u64) -> u64 {
    let bits = u64::from(width.bits());
    match op {
        ShiftOp::Shl => width.truncate(value << count),
        ShiftOp::Shr => value >> count,
        ShiftOp::Sar => width.truncate((width.sign_extend(value) as i64 >> count) as u64),
        ShiftOp::Rol => rotate_left(width, value, count & (bits - 1)),
        ShiftOp::Ror => rotate_left(width, value, (bits - (count & (bits - 1))) & (bits - 1)),
        ShiftOp::Rcl => rotate_carry_left(width, value, count % (bits + 1), extra),
        ShiftOp::Rcr => rotate_carry_left(width, value, (bits + 1 - count % (bits + 1)) % (bits + 1), extra),
        ShiftOp::Shld if count == 0 => value,
        ShiftOp::Shrd if count == 0 => value,
        ShiftOp::Shld if count > bits => width.truncate(double(width, value, extra) >> (2 * bits - count)),
        ShiftOp::Shrd if count > bits => width.truncate(double(width, value, extra) >> (count - bits)),
        ShiftOp::Shld => width.truncate((((u128::from(value) << bits | u128::from(extra)) << count) >> bits) as u64),
        ShiftOp::Shrd => width.truncate(((u128::from(extra) << bits | u128::from(value)) >> count) as u64),
    }
}

/// `extra:value`, twice as wide; only asked for at 16 bits, where a count can exceed the width.
fn double(width: Width, value: u64, extra: u64) -> u64 {
    extra | value << width.bits()
}

#[inline(always)]
fn rotate_left(width: Width, value: u64, count: u64) -> u64 {
    if count == 0 { value } else { width.truncate(value << count) | value >> (u64::from(width.bits()) - count) }
}

/// Rotates `carry:value`, one bit wider than `width`, and returns its low bits.
#[inline(always)]
fn rotate_carry_left(width: Width, value: u64, count: u64, carry: u64) -> u64 {
    let bits = width.bits() + 1;
    let whole = u128::from(carry) << width.bits() | u128::from(value);
    let turned = whole << count | whole >> (u64::from(bits) - count);
    width.truncate(turned as u64)
}

/// The low and high halves of the product.
#[inline(always)]
pub fn multiply(is_signed: bool, width: Width, a: u64, b: u64) -> (u64, u64) {
    let product = if is_signed {
        (i128::from(width.sign_extend(a) as i64) * i128::from(width.sign_extend(b) as i64)) as u128
    } else {
        u128::from(a) * u128::from(b)
    };
    (width.truncate(product as u64), width.truncate((product >> width.bits()) as u64))
}

/// Quotient and remainder of `high:low` by `divisor`.
#[inline(always)]
pub fn divide(is_signed: bool, width: Width, high: u64, low: u64, divisor: u64) -> Result<(u64, u64), Fault> {
    if divisor == 0 {
        return Err(Fault::DE);
    }
    if is_signed { divide_signed(width, high, low, divisor) } else { divide_unsigned(width, high, low, divisor) }
}

fn divide_unsigned(width: Width, high: u64, low: u64, divisor: u64) -> Result<(u64, u64), Fault> {
    if high >= divisor {
        return Err(Fault::DE);
    }
    if width == Width::Qword && high != 0 {
        let dividend = u128::from(high) << 64 | u128::from(low);
        return Ok(((dividend / u128::from(divisor)) as u64, (dividend % u128::from(divisor)) as u64));
    }
    let dividend = if width == Width::Qword { low } else { high << width.bits() | low };
    Ok((dividend / divisor, dividend % divisor))
}

fn divide_signed(width: Width, high: u64, low: u64, divisor: u64) -> Result<(u64, u64), Fault> {
    let dividend = (u128::from(width.sign_extend(high)) << width.bits() | u128::from(low)) as i128;
    let dividend =
        if width == Width::Qword { (u128::from(high) << 64 | u128::from(low)) as i128 } else { i128::from(dividend as i64) };
    let divisor = i128::from(width.sign_extend(divisor) as i64);
    let quotient = dividend.checked_div(divisor).ok_or(Fault::DE)?;
    let remainder = dividend - quotient * divisor;
    let (lowest, highest) = (-i128::from(width.sign_bit()), i128::from(width.sign_bit()) - 1);
    if !(lowest..=highest).contains(&quotient) {
        return Err(Fault::DE);
    }
    Ok((width.truncate(quotient as u64), width.truncate(remainder as u64)))
}
