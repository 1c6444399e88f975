//! Which host register stands for which of the guest's.

use iced_x86::Register;

/// Registers that hold nothing from one guest instruction to the next.
pub(super) const R10: u8 = 10;
pub(super) const R11: u8 = 11;
pub(super) const R14: u8 = 14;

/// Where a guest's general-purpose register is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Home {
    /// In this host register.
    Host(u8),
    /// In the processor's state.
    Memory,
}

/// Where general-purpose register `n` of the guest is.
pub(super) const fn home(n: u8) -> Home {
    match n {
        4 => Home::Host(15),
        10 | 11 | 14 | 15 => Home::Memory,
        _ => Home::Host(n),
    }
}

/// The number of a general-purpose register; `None` of AH, CH, DH and BH, and of what is none.
pub(super) fn number(register: Register) -> Option<u8> {
    let is_high = matches!(register, Register::AH | Register::CH | Register::DH | Register::BH);
    (register.is_gpr() && !is_high).then(|| register.full_register().number() as u8)
}

/// Register `n` as wide as `like`.
pub(super) fn as_wide(n: u8, like: Register) -> Register {
    let first = match like.size() {
        8 => Register::RAX,
        4 => Register::EAX,
        2 => Register::AX,
        // After BL come AH to BH, which need no place here.
        _ if n < 4 => Register::AL,
        _ => return Register::SPL + u32::from(n - 4),
    };
    first + u32::from(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_keep_their_width() {
        assert_eq!(as_wide(15, Register::RSP), Register::R15);
        assert_eq!(as_wide(15, Register::ESP), Register::R15D);
        assert_eq!(as_wide(15, Register::SP), Register::R15W);
        assert_eq!(as_wide(15, Register::SPL), Register::R15L);
        assert_eq!(as_wide(6, Register::AL), Register::SIL);
        assert_eq!(as_wide(3, Register::R8L), Register::BL);
        assert_eq!((number(Register::AH), number(Register::R9W), number(Register::XMM1)), (None, Some(9), None));
    }
}
