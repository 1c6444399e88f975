//! FBLD and FBSTP: integers of eighteen decimal digits.
//!
//! SDM: vol. 1 §4.7 (format); vol. 2 FBLD, FBSTP.

use dragoman_state::F80;

use crate::environment::{Environment, Exceptions};
use crate::format::{Operand, zero};
use crate::integer::{from_integer, to_integer};

/// The decimal indefinite.
const INDEFINITE: [u8; 10] = [0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff];

/// The number that ten bytes in memory order hold: two digits a byte, the sign in the last one's highest bit. A digit
/// above nine counts as its value.
pub fn fbld(decimal: [u8; 10], env: &mut Environment) -> F80 {
    let magnitude = decimal[..9].iter().rev().fold(0i64, |sum, byte| sum * 100 + i64::from((byte >> 4) * 10 + (byte & 0xf)));
    match decimal[9] & 0x80 != 0 {
        true if magnitude == 0 => zero(true),
        true => from_integer(-magnitude, env),
        false => from_integer(magnitude, env),
    }
}

/// The ten bytes that FBSTP writes.
pub fn fbstp(st0: F80, env: &mut Environment) -> [u8; 10] {
    let mut outcome = *env;
    let mut rest = to_integer::<i64>(st0, env.rounding, &mut outcome).unsigned_abs();
    if rest >= 10u64.pow(18) {
        env.raise(Exceptions::INVALID);
        return INDEFINITE;
    }
    *env = outcome;
    let mut decimal = [0; 10];
    for byte in &mut decimal[..9] {
        *byte = (rest / 10 % 10 * 16 + rest % 10) as u8;
        rest /= 100;
    }
    decimal[9] = u8::from(Operand::new(st0).sign) << 7;
    decimal
}
