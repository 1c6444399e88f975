//! Recipes: flags that are kept nowhere, because they follow from registers that still hold what they followed from.
//!
//! Rule of this file: a recipe is good as long as nobody writes its registers. What the flags are is
//! [`LazyFlags`]'s to say, or the host's, which executes the comparison again; never worked out here.

use dragoman_frontend::semantics::{FlagRule, LazyFlags};
use dragoman_state::{Gpr, GprFile, RFlags, Width};
use dynasm::dynasm;
use dynasmrt::DynasmApi;
use iced_x86::{Code, IcedError, Instruction, MemoryOperand, Mnemonic, OpKind, Register};

use super::{
    Work,
    registers::{Home, R11, as_wide, home, number},
};

/// How the flags follow from registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipe {
    rule: Rule,
    width: Width,
    a: u8,
    is_immediate: bool,
    /// The immediate, or the register's number.
    b: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// Those of a - b.
    Compared,
    /// Those of a AND b.
    Tested,
    /// Of a sum, which is in a; b was added.
    Added,
    /// Of a difference, which is in a; b was subtracted.
    Subtracted,
    /// Of 0 - x, which is in a.
    Negated,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operand {
    Register(u8),
    Immediate(i32),
}

impl Recipe {
    fn new(rule: Rule, width: Width, a: u8, b: Operand) -> Self {
        let (is_immediate, b) = match b {
            Operand::Register(n) => (false, n.into()),
            Operand::Immediate(value) => (true, value),
        };
        Self { rule, width, a, is_immediate, b }
    }

    fn b(&self) -> Operand {
        if self.is_immediate { Operand::Immediate(self.b) } else { Operand::Register(self.b as u8) }
    }

    /// How the flags follow from what the registers hold after `insn`, where they do.
    pub(super) fn after(insn: &Instruction) -> Option<Self> {
        if insn.op0_kind() != OpKind::Register {
            return None;
        }
        let (a, width) = (number(insn.op0_register())?, width_of(insn.op0_register())?);
        if insn.op_count() == 1 {
            let is_negation = insn.mnemonic() == Mnemonic::Neg;
            return is_negation.then_some(Self::new(Rule::Negated, width, a, Operand::Register(a)));
        }
        let b = match insn.op1_kind() {
            OpKind::Register => number(insn.op1_register()).map(Operand::Register),
            OpKind::Memory => None,
            _ => i32::try_from(insn.immediate(1) as i64)
                .or(u32::try_from(insn.immediate(1)).map(|low| low as i32))
                .ok()
                .map(Operand::Immediate),
        };
        let itself = Operand::Register(a);
        let is_result = |rule| Some(Self::new(rule, width, a, b?));
        match insn.mnemonic() {
            Mnemonic::Cmp => is_result(Rule::Compared),
            Mnemonic::Test => is_result(Rule::Tested),
            Mnemonic::And | Mnemonic::Or | Mnemonic::Xor => Some(Self::new(Rule::Tested, width, a, itself)),
            // Nothing less nothing: what a logical operation leaves.
            Mnemonic::Sub if b == Some(itself) => Some(Self::new(Rule::Tested, width, a, itself)),
            Mnemonic::Add if b != Some(itself) => is_result(Rule::Added),
            Mnemonic::Sub => is_result(Rule::Subtracted),
            _ => None,
        }
    }

    /// The recipe as a number that is not zero, for [`Frame::recipe`](crate::Frame::recipe); `None` where its immediate is too
    /// long for that.
    pub(super) fn number(&self) -> Option<u32> {
        let (is_immediate, b) = match self.b() {
            Operand::Register(n) => (0, u16::from(n)),
            Operand::Immediate(value) => (1, i16::try_from(value).ok()? as u16),
        };
        let fields = self.rule as u32 | (self.width as u32) << 3 | u32::from(self.a) << 5 | is_immediate << 9;
        Some(Self::IS_ONE | u32::from(b) << 10 | fields)
    }

    /// The recipe that has this number; `None` for zero.
    pub fn numbered(number: u32) -> Option<Self> {
        const RULES: [Rule; 5] = [Rule::Compared, Rule::Tested, Rule::Added, Rule::Subtracted, Rule::Negated];
        const WIDTHS: [Width; 4] = [Width::Byte, Width::Word, Width::Dword, Width::Qword];
        if number & Self::IS_ONE == 0 {
            return None;
        }
        let b = (number >> 10) as u16;
        let b = if number & 1 << 9 != 0 { Operand::Immediate(i32::from(b as i16)) } else { Operand::Register(b as u8 & 15) };
        let width = WIDTHS[number as usize >> 3 & 3];
        Some(Self::new(*RULES.get(number as usize & 7)?, width, (number >> 5) as u8 & 15, b))
    }

    const IS_ONE: u32 = 1 << 31;

    /// The guest's registers that it needs, a bit for each.
    pub(super) fn registers(&self) -> u16 {
        let b = match self.b() {
            Operand::Register(n) => 1 << n,
            Operand::Immediate(_) => 0,
        };
        1 << self.a | b
    }

    /// The arithmetic flags, while the guest's registers are `gpr`.
    pub fn flags(&self, gpr: &GprFile) -> RFlags {
        let Self { rule, width, .. } = *self;
        let a = width.truncate(gpr[Gpr(self.a)]);
        let b = width.truncate(match self.b() {
            Operand::Register(n) => gpr[Gpr(n)],
            Operand::Immediate(value) => i64::from(value) as u64,
        });
        let mut flags = LazyFlags::literal(RFlags::empty());
        match rule {
            Rule::Compared => flags.set(FlagRule::Sub, width, a, b, width.truncate(a.wrapping_sub(b))),
            Rule::Tested => flags.set(FlagRule::Logic, width, a, b, a & b),
            Rule::Added => flags.set(FlagRule::Add, width, width.truncate(a.wrapping_sub(b)), b, a),
            Rule::Subtracted => flags.set(FlagRule::Sub, width, width.truncate(a.wrapping_add(b)), b, a),
            Rule::Negated => flags.set(FlagRule::Sub, width, 0, width.truncate(a.wrapping_neg()), a),
        }
        flags.image() & RFlags::ARITHMETIC
    }
}

fn width_of(register: Register) -> Option<Width> {
    Some(match register.size() {
        1 => Width::Byte,
        2 => Width::Word,
        4 => Width::Dword,
        8 => Width::Qword,
        _ => return None,
    })
}

/// The forms of an operation of two operands, for each width: with a register or memory for the second, and with an
/// immediate.
struct Forms {
    plain: [Code; 4],
    immediate: [Code; 4],
}

const COMPARE: Forms = Forms {
    plain: [Code::Cmp_r8_rm8, Code::Cmp_r16_rm16, Code::Cmp_r32_rm32, Code::Cmp_r64_rm64],
    immediate: [Code::Cmp_rm8_imm8, Code::Cmp_rm16_imm16, Code::Cmp_rm32_imm32, Code::Cmp_rm64_imm32],
};
const ADD: Forms = Forms {
    plain: [Code::Add_r8_rm8, Code::Add_r16_rm16, Code::Add_r32_rm32, Code::Add_r64_rm64],
    immediate: [Code::Add_rm8_imm8, Code::Add_rm16_imm16, Code::Add_rm32_imm32, Code::Add_rm64_imm32],
};
const SUBTRACT: Forms = Forms {
    plain: [Code::Sub_r8_rm8, Code::Sub_r16_rm16, Code::Sub_r32_rm32, Code::Sub_r64_rm64],
    immediate: [Code::Sub_rm8_imm8, Code::Sub_rm16_imm16, Code::Sub_rm32_imm32, Code::Sub_rm64_imm32],
};
/// Its second operand is the register.
const TEST: Forms = Forms {
    plain: [Code::Test_rm8_r8, Code::Test_rm16_r16, Code::Test_rm32_r32, Code::Test_rm64_r64],
    immediate: [Code::Test_rm8_imm8, Code::Test_rm16_imm16, Code::Test_rm32_imm32, Code::Test_rm64_imm32],
};
const NEGATE: [Code; 4] = [Code::Neg_rm8, Code::Neg_rm16, Code::Neg_rm32, Code::Neg_rm64];

impl Work<'_> {
    /// Has the host work the flags out again. R11 is lost.
    pub(super) fn recompute(&mut self, recipe: Recipe) {
        // Every one of these can be encoded; where one could not, the comparison with the interpreter would say so.
        let done = self.try_recompute(recipe);
        debug_assert!(done.is_ok(), "{recipe:?}: {done:?}");
    }

    fn try_recompute(&mut self, recipe: Recipe) -> Result<(), IcedError> {
        let (Recipe { rule, width, a, .. }, b) = (recipe, recipe.b());
        match rule {
            Rule::Compared => {
                let a = self.value_in(a);
                self.operate(&COMPARE, width, a, b)
            }
            Rule::Tested => {
                let b = if b == Operand::Register(recipe.a) { None } else { Some(b) };
                let a = self.value_in(a);
                match b {
                    None => {
                        let both = wide(a, width);
                        self.encode(&Instruction::with2(TEST.plain[width as usize], both, both)?)
                    }
                    Some(b) => self.operate(&TEST, width, a, b),
                }
            }
            Rule::Added => {
                self.copy_of(a);
                self.operate(&SUBTRACT, width, R11, b)?;
                self.operate(&ADD, width, R11, b)
            }
            Rule::Subtracted => {
                self.copy_of(a);
                self.operate(&ADD, width, R11, b)?;
                self.operate(&SUBTRACT, width, R11, b)
            }
            Rule::Negated => {
                self.copy_of(a);
                for _ in 0..2 {
                    self.encode(&Instruction::with1(NEGATE[width as usize], wide(R11, width))?)?;
                }
                Ok(())
            }
        }
    }

    /// The host register that holds guest register `n`: R11 where it is in memory.
    fn value_in(&mut self, n: u8) -> u8 {
        match home(n) {
            Home::Host(held) => held,
            Home::Memory => {
                self.copy_of(n);
                R11
            }
        }
    }

    fn copy_of(&mut self, n: u8) {
        match home(n) {
            Home::Host(held) => dynasm!(self.code ; .arch x64 ; mov r11, Rq(held)),
            Home::Memory => {
                let at = self.layout.gpr(n);
                dynasm!(self.code ; .arch x64 ; gs mov r11, [at]);
            }
        }
    }

    fn operate(&mut self, forms: &Forms, width: Width, a: u8, b: Operand) -> Result<(), IcedError> {
        let (a, plain) = (wide(a, width), forms.plain[width as usize]);
        let is_test = matches!(plain, Code::Test_rm8_r8 | Code::Test_rm16_r16 | Code::Test_rm32_r32 | Code::Test_rm64_r64);
        let insn = match b {
            Operand::Immediate(value) => Instruction::with2(forms.immediate[width as usize], a, value)?,
            Operand::Register(n) => match home(n) {
                Home::Host(held) if is_test => Instruction::with2(plain, wide(held, width), a)?,
                Home::Host(held) => Instruction::with2(plain, a, wide(held, width))?,
                Home::Memory => {
                    let at = i64::from(self.layout.gpr(n));
                    let memory = MemoryOperand::new(Register::None, Register::None, 1, at, 8, false, Register::GS);
                    if is_test { Instruction::with2(plain, memory, a)? } else { Instruction::with2(plain, a, memory)? }
                }
            },
        };
        self.encode(&insn)
    }
}

/// Host register `n` in `width`.
fn wide(n: u8, width: Width) -> Register {
    let like = match width {
        Width::Byte => Register::AL,
        Width::Word => Register::AX,
        Width::Dword => Register::EAX,
        Width::Qword => Register::RAX,
    };
    as_wide(n, like)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_is_found_by_its_number() {
        for rule in [Rule::Compared, Rule::Tested, Rule::Added, Rule::Subtracted, Rule::Negated] {
            for (width, b) in [
                (Width::Byte, Operand::Register(15)),
                (Width::Word, Operand::Immediate(-1)),
                (Width::Dword, Operand::Immediate(0x7fff)),
                (Width::Qword, Operand::Register(0)),
            ] {
                let recipe = Recipe::new(rule, width, 11, b);
                assert_eq!(recipe.number().and_then(Recipe::numbered), Some(recipe));
            }
        }
        let long = Recipe::new(Rule::Compared, Width::Dword, 0, Operand::Immediate(0x8000));
        assert_eq!((long.number(), Recipe::numbered(0)), (None, None));
    }
}
