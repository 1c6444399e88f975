//! The arithmetic flags: which operation leaves which, evaluated in this one place, as late as possible.
//! SDM: vol. 1 §3.4.3.1 and each instruction's "Flags Affected". Flags that the manual leaves undefined follow what the
//! processors of the advertised vendor do.

use dragoman_state::{RFlags, Width};

use crate::decode::Condition;

/// How the flags follow from an operation's operands and result. `a` and `b` are the operands in order; each rule says
/// where it reads them otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FlagRule {
    /// `result` is the flags' image itself.
    Literal,
    /// a + b.
    Add,
    /// a + b + carry.
    Adc,
    /// a - b; also a comparison.
    Sub,
    /// a - b - carry.
    Sbb,
    /// a + b + carry; only carry is written.
    Adcx,
    /// a + b + overflow; only overflow is written, with the carry of the sum.
    Adox,
    /// AND, OR, XOR, TEST.
    Logic,
    /// a + 1; carry keeps its value. A lazy record holds the carry in `b`.
    Inc,
    /// a - 1; carry keeps its value. A lazy record holds the carry in `b`.
    Dec,
    /// `a` shifted left by `b`; nothing changes where `b` is zero. So in the others of the family.
    Shl,
    /// Shifted right.
    Shr,
    /// Shifted right arithmetically.
    Sar,
    /// Rotated left.
    Rol,
    /// Rotated right.
    Ror,
    /// Rotated left through carry.
    Rcl,
    /// Rotated right through carry.
    Rcr,
    /// Shifted left, bits coming from another operand.
    Shld,
    /// Shifted right, bits coming from another operand.
    Shrd,
    /// A product: carry and overflow are set where `b` is not zero; `result` is the low half.
    Mul,
    /// Carry is the low bit of `b`; the others keep their values.
    Bit,
    /// BSF, BSR: zero is set where the source `a` is zero.
    Scan,
    /// LZCNT, TZCNT: carry is set where the source `a` is zero, zero where the result is.
    Count,
    /// POPCNT, BEXTR: zero is set where the source `a` is zero, the others are cleared.
    Population,
    /// ANDN, BZHI and their kin: carry is bit 0 of `b`, zero and sign follow from the result, the others are cleared.
    Field,
    /// Zero is set where `result` is not zero; the others keep their values.
    Equal,
    /// Decimal and ASCII adjustments: as LOGIC for SF, ZF, PF; carry is bit 0 of `b`, adjust is bit 1.
    Adjust,
}

impl FlagRule {
    /// The flags that the rule writes; the others keep their values.
    pub const fn affected(self) -> RFlags {
        match self {
            Self::Inc | Self::Dec => RFlags::ARITHMETIC.difference(RFlags::CF),
            Self::Rol | Self::Ror | Self::Rcl | Self::Rcr => RFlags::CF.union(RFlags::OF),
            Self::Bit | Self::Adcx => RFlags::CF,
            Self::Adox => RFlags::OF,
            Self::Scan | Self::Equal => RFlags::ZF,
            _ => RFlags::ARITHMETIC,
        }
    }

    /// Whether a count of zero in `b` leaves all flags alone.
    pub const fn keeps_at_zero(self) -> bool {
        matches!(
            self,
            Self::Shl | Self::Shr | Self::Sar | Self::Rol | Self::Ror | Self::Rcl | Self::Rcr | Self::Shld | Self::Shrd
        )
    }
}

/// Whether a carry came out of the sum of `a`, `b` and a carry that came in.
#[inline(always)]
fn carry_of_sum(width: Width, a: u64, b: u64, result: u64) -> bool {
    (a & b | (a | b) & !result) & width.sign_bit() != 0
}

/// The flags of the latest operation, as what they follow from. All six arithmetic flags are determined by it: by the
/// rule, but for a carry or overflow that a later operation wrote alone.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct LazyFlags {
    a: u64,
    b: u64,
    result: u64,
    rule: FlagRule,
    width: Width,
    overlay: Overlay,
}

/// A carry and an overflow that take precedence over what the rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Overlay(u8);

impl Overlay {
    const NONE: Self = Self(0);
    const CARRY: u8 = 1;
    const OVERFLOW: u8 = 4;

    #[inline(always)]
    fn get(self, which: u8) -> Option<bool> {
        if self.0 & which != 0 { Some(self.0 & which << 1 != 0) } else { None }
    }

    #[inline(always)]
    fn with(self, which: u8, value: bool) -> Self {
        Self(self.0 & !(which * 3) | which | (u8::from(value) * which) << 1)
    }
}

impl LazyFlags {
    /// Flags with the values they have in `image`.
    #[inline]
    pub const fn literal(image: RFlags) -> Self {
        let result = image.bits();
        Self { a: 0, b: 0, result, rule: FlagRule::Literal, width: Width::Qword, overlay: Overlay::NONE }
    }

    /// The flags after an operation.
    #[inline(always)]
    pub fn set(&mut self, rule: FlagRule, width: Width, a: u64, b: u64, result: u64) {
        if rule.keeps_at_zero() && b == 0 {
            return;
        }
        let next = Self { a, b, result, rule, width, overlay: Overlay::NONE };
        match rule {
            FlagRule::Inc | FlagRule::Dec => *self = Self { b: u64::from(self.carry()), ..next },
            FlagRule::Adcx => self.overlay = self.overlay.with(Overlay::CARRY, carry_of_sum(width, a, b, result)),
            FlagRule::Adox => self.overlay = self.overlay.with(Overlay::OVERFLOW, carry_of_sum(width, a, b, result)),
            FlagRule::Bit => self.overlay = self.overlay.with(Overlay::CARRY, b & 1 != 0),
            FlagRule::Rol | FlagRule::Ror | FlagRule::Rcl | FlagRule::Rcr => self.set_rotated(&next),
            FlagRule::Scan | FlagRule::Equal => self.set_partly(next),
            _ => *self = next,
        }
    }

    /// Carry and overflow after a rotate.
    #[inline(always)]
    fn set_rotated(&mut self, next: &Self) {
        let Self { a, b, result, rule, width, .. } = *next;
        let bits = u64::from(width.bits());
        let top = result & width.sign_bit() != 0;
        let below_top = result & width.sign_bit() >> 1 != 0;
        let through = b % (bits + 1);
        if through == 0 && matches!(rule, FlagRule::Rcl | FlagRule::Rcr) {
            return;
        }
        let carry = match rule {
            FlagRule::Rol => result & 1 != 0,
            FlagRule::Ror => top,
            FlagRule::Rcl => a >> (bits - through) & 1 != 0,
            _ => a >> (through - 1) & 1 != 0,
        };
        let other = if matches!(rule, FlagRule::Rol | FlagRule::Rcl) { carry } else { below_top };
        self.overlay = self.overlay.with(Overlay::CARRY, carry).with(Overlay::OVERFLOW, top != other);
    }

    #[inline(never)]
    fn set_partly(&mut self, next: Self) {
        let affected = next.rule.affected();
        *self = Self::literal(self.image().difference(affected) | next.image() & affected);
    }

    /// The six arithmetic flags.
    #[inline]
    pub fn image(&self) -> RFlags {
        if self.rule == FlagRule::Literal && self.overlay == Overlay::NONE {
            return RFlags::from_bits_retain(self.result) & RFlags::ARITHMETIC;
        }
        let mut flags = self.evaluate();
        flags.set(RFlags::CF, self.carry());
        flags.set(RFlags::OF, self.overflow());
        flags
    }

    /// Carry.
    #[inline(always)]
    pub fn carry(&self) -> bool {
        if let Some(carry) = self.overlay.get(Overlay::CARRY) {
            return carry;
        }
        let Self { a, b, result, width, .. } = *self;
        match self.rule {
            FlagRule::Sub => a < b,
            FlagRule::Add => result < a,
            FlagRule::Logic => false,
            FlagRule::Inc | FlagRule::Dec => b != 0,
            FlagRule::Adc => carry_of_sum(width, a, b, result),
            FlagRule::Sbb => (!a & b | (!a | b) & result) & width.sign_bit() != 0,
            FlagRule::Literal => result & RFlags::CF.bits() != 0,
            _ => self.evaluate().contains(RFlags::CF),
        }
    }

    /// Zero.
    #[inline(always)]
    pub fn zero(&self) -> bool {
        match self.rule {
            FlagRule::Literal => self.result & RFlags::ZF.bits() != 0,
            FlagRule::Scan | FlagRule::Population => self.a == 0,
            _ => self.result == 0,
        }
    }

    /// Sign.
    #[inline(always)]
    pub fn sign(&self) -> bool {
        match self.rule {
            FlagRule::Literal => self.result & RFlags::SF.bits() != 0,
            FlagRule::Population | FlagRule::Count => false,
            _ => self.result & self.width.sign_bit() != 0,
        }
    }

    /// Overflow.
    #[inline(always)]
    pub fn overflow(&self) -> bool {
        if let Some(overflow) = self.overlay.get(Overlay::OVERFLOW) {
            return overflow;
        }
        let Self { a, b, result, width, .. } = *self;
        match self.rule {
            FlagRule::Sub | FlagRule::Sbb => (a ^ b) & (a ^ result) & width.sign_bit() != 0,
            FlagRule::Add | FlagRule::Adc => (a ^ result) & (b ^ result) & width.sign_bit() != 0,
            FlagRule::Logic => false,
            FlagRule::Literal => result & RFlags::OF.bits() != 0,
            _ => self.evaluate().contains(RFlags::OF),
        }
    }

    /// Parity of the low byte.
    pub fn parity(&self) -> bool {
        match self.rule {
            FlagRule::Literal => self.result & RFlags::PF.bits() != 0,
            FlagRule::Population | FlagRule::Count | FlagRule::Field => false,
            _ => (self.result as u8).count_ones() % 2 == 0,
        }
    }

    /// Whether `condition` holds.
    #[inline(always)]
    pub fn condition(&self, condition: Condition) -> bool {
        let number = condition as u8;
        let Self { a, b, rule, width, .. } = *self;
        let is_plain_sub = rule == FlagRule::Sub && self.overlay == Overlay::NONE;
        let holds = match number >> 1 {
            0 => self.overflow(),
            1 => self.carry(),
            2 => self.zero(),
            3 if is_plain_sub => a <= b,
            3 => self.carry() || self.zero(),
            4 => self.sign(),
            5 => self.parity(),
            6 if is_plain_sub => (width.sign_extend(a) as i64) < width.sign_extend(b) as i64,
            6 => self.sign() != self.overflow(),
            _ if is_plain_sub => width.sign_extend(a) as i64 <= width.sign_extend(b) as i64,
            _ => self.zero() || self.sign() != self.overflow(),
        };
        holds != (number & 1 != 0)
    }

    /// The flags by the formulas of the manual, carries and overflows of their own left out.
    fn evaluate(&self) -> RFlags {
        let Self { a, b, result, rule, width, .. } = *self;
        if rule == FlagRule::Literal {
            return RFlags::from_bits_retain(result) & RFlags::ARITHMETIC;
        }
        let sign = width.sign_bit();
        let bits = u64::from(width.bits());
        let top = |v: u64| v & sign != 0;
        let odd = |v: u64| v & 1 != 0;
        let (carry, adjust, overflow) = match rule {
            // Those that `carry` and `overflow` know by themselves.
            FlagRule::Add | FlagRule::Adc | FlagRule::Sub | FlagRule::Sbb => (false, (a ^ b ^ result) & 0x10 != 0, false),
            FlagRule::Inc => (false, result & 0xf == 0, result == sign),
            FlagRule::Dec => (false, result & 0xf == 0xf, result == sign - 1),
            FlagRule::Shl => {
                let carry = b <= bits && odd(a >> (bits - b));
                (carry, false, top(result) != carry)
            }
            FlagRule::Shr => (odd(a >> (b - 1)), false, top(a) && b == 1),
            FlagRule::Sar => (odd((width.sign_extend(a) as i64 >> (b - 1)) as u64), false, false),
            FlagRule::Shld => (b <= bits && odd(a >> (bits - b)), false, top(a) != top(result)),
            FlagRule::Shrd => (b <= bits && odd(a >> (b - 1)), false, top(a) != top(result)),
            FlagRule::Mul => (b != 0, false, b != 0),
            FlagRule::Count => (a == 0, false, false),
            FlagRule::Adjust => (odd(b), odd(b >> 1), false),
            FlagRule::Field => (odd(b), false, false),
            FlagRule::Literal
            | FlagRule::Logic
            | FlagRule::Rol
            | FlagRule::Ror
            | FlagRule::Rcl
            | FlagRule::Rcr
            | FlagRule::Bit
            | FlagRule::Adcx
            | FlagRule::Adox
            | FlagRule::Scan
            | FlagRule::Population
            | FlagRule::Equal => (false, false, false),
        };
        let mut flags = RFlags::empty();
        flags.set(RFlags::CF, carry);
        flags.set(RFlags::AF, adjust);
        flags.set(RFlags::OF, overflow);
        flags.set(RFlags::PF, self.parity());
        flags.set(RFlags::ZF, if rule == FlagRule::Equal { result != 0 } else { self.zero() });
        flags.set(RFlags::SF, self.sign());
        flags
    }
}
