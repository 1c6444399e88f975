//! What an engine's instructions answer to TestFloat's functions.
//!
//! Rule of this file: each row is an instruction as a compiler would use it for the function; what it takes and leaves is
//! written down here, what it computes is not.

use dragoman_accel::Accelerator;
use dragoman_float::{Exceptions, F80, Rounding};
use dragoman_frontend::model::CpuModel;
use dragoman_state::{RFlags, StatusWord};
use harness::{
    Mode, Registers,
    case::{Access, Case, End, Outcome, PageMap},
    engine::{Rig, RigError},
    layout,
};

use crate::{numbers::Encoded, plan::Check, verdict::Answer};

/// Where the operands are put.
#[derive(Clone, Copy, Debug)]
enum Input {
    /// Into these XMM registers, the rest of which is zero.
    Vector(&'static [usize]),
    /// Into ST(0) and ST(1).
    Stack,
    /// To where RDI points, so many bytes of it.
    Memory(usize),
    /// Into RAX.
    General,
}

/// Where the result is found.
#[derive(Clone, Copy, Debug)]
enum Output {
    /// In the low bits of XMM0.
    Vector(u32),
    /// In ST(0).
    Stack,
    /// Where RDI points, so many bytes of it.
    Memory(usize),
    /// In the low bits of RAX.
    General(u32),
    /// In the low bits of XMM0: all ones or none.
    Mask(u32),
    /// In the flags.
    Flags(fn(RFlags) -> bool),
    /// In the condition codes.
    Codes(fn(StatusWord) -> bool),
}

/// An instruction that computes a function.
#[derive(Clone, Debug)]
pub struct Form {
    /// Its name and bytes.
    pub name: String,
    code: Vec<u8>,
    input: Input,
    output: Output,
    /// It rounds so whatever the controls say, which then say something else.
    own_rounding: bool,
}

/// The instructions that compute what `check` asks.
pub fn forms(check: &Check) -> Vec<Form> {
    let Some((kind, operation)) = check.function.split_once('_') else { return Vec::new() };
    let mut forms = Vec::new();
    let mut add = |name: &str, code: &[u8], input: Input, output: Output| {
        forms.push(Form { name: name.to_string(), code: code.to_vec(), input, output, own_rounding: false });
    };
    match kind {
        "f32" => scalar(&Scalar { prefix: 0xf3, packed: &[], bits: 32, w: 0 }, operation, check.exact, &mut add),
        "f64" => scalar(&Scalar { prefix: 0xf2, packed: &[0x66], bits: 64, w: 0x80 }, operation, check.exact, &mut add),
        "extF80" => stack(operation, check.exact, &mut add),
        _ => {}
    }
    conversions(&check.function, &mut add);
    if check.rounding == Rounding::Zero {
        forms.extend(truncations(&check.function));
    }
    forms
}

/// What distinguishes the encodings of SS and SD.
struct Scalar {
    prefix: u8,
    packed: &'static [u8],
    bits: u32,
    /// VEX.W, in its byte.
    w: u8,
}

type Add<'a> = &'a mut dyn FnMut(&str, &[u8], Input, Output);

fn scalar(kind: &Scalar, operation: &str, exact: bool, add: Add) {
    let result = Output::Vector(kind.bits);
    let two = Input::Vector(&[0, 1]);
    let mut arithmetic = |name: &str, opcode: u8, input: Input| add(name, &[kind.prefix, 0x0f, opcode, 0xc1], input, result);
    match operation {
        "add" => arithmetic("ADD", 0x58, two),
        "mul" => arithmetic("MUL", 0x59, two),
        "sub" => arithmetic("SUB", 0x5c, two),
        "div" => arithmetic("DIV", 0x5e, two),
        "sqrt" => arithmetic("SQRT", 0x51, Input::Vector(&[1])),
        "roundToInt" => {
            let opcode = if kind.bits == 32 { 0x0a } else { 0x0b };
            // By MXCSR's rounding control.
            let immediate = if exact { 4 } else { 12 };
            add("ROUND", &[0x66, 0x0f, 0x3a, opcode, 0xc1, immediate], Input::Vector(&[1]), result);
        }
        // XMM0 = XMM1 * XMM0 + XMM2
        "mulAdd" => add("VFMADD213", &[0xc4, 0xe2, 0x71 | kind.w, 0xa9, 0xc2], Input::Vector(&[1, 0, 2]), result),
        _ => {}
    }
    let mut compare = |name: &str, opcode: u8, is: fn(RFlags) -> bool| {
        add(name, &[kind.packed, &[0x0f, opcode, 0xc1]].concat(), two, Output::Flags(is));
    };
    match operation {
        "eq" => compare("UCOMI", 0x2e, is_equal),
        "lt_quiet" => compare("UCOMI", 0x2e, is_less),
        "le_quiet" => compare("UCOMI", 0x2e, |flags| is_less(flags) || is_equal(flags)),
        "eq_signaling" => compare("COMI", 0x2f, is_equal),
        "lt" => compare("COMI", 0x2f, is_less),
        "le" => compare("COMI", 0x2f, |flags| is_less(flags) || is_equal(flags)),
        _ => {}
    }
    let mask = Output::Mask(kind.bits);
    match operation {
        "eq" => add("CMP", &[kind.prefix, 0x0f, 0xc2, 0xc1, 0], two, mask),
        "lt" => add("CMP", &[kind.prefix, 0x0f, 0xc2, 0xc1, 1], two, mask),
        "le" => add("CMP", &[kind.prefix, 0x0f, 0xc2, 0xc1, 2], two, mask),
        "eq_signaling" | "le_quiet" | "lt_quiet" => {
            let predicate = match operation {
                "eq_signaling" => 0x10,
                "lt_quiet" => 0x11,
                _ => 0x12,
            };
            let second = if kind.bits == 32 { 0xfa } else { 0xfb };
            add("VCMP", &[0xc5, second, 0xc2, 0xc1, predicate], two, mask);
        }
        _ => {}
    }
}

fn is_equal(flags: RFlags) -> bool {
    flags.contains(RFlags::ZF) && !flags.contains(RFlags::PF)
}

fn is_less(flags: RFlags) -> bool {
    flags.contains(RFlags::CF) && !flags.contains(RFlags::PF)
}

fn stack(operation: &str, exact: bool, add: Add) {
    let mut arithmetic = |name: &str, code: [u8; 2]| add(name, &code, Input::Stack, Output::Stack);
    match operation {
        "add" => arithmetic("FADD", [0xd8, 0xc1]),
        "mul" => arithmetic("FMUL", [0xd8, 0xc9]),
        "sub" => arithmetic("FSUB", [0xd8, 0xe1]),
        "div" => arithmetic("FDIV", [0xd8, 0xf1]),
        "sqrt" => arithmetic("FSQRT", [0xd9, 0xfa]),
        "roundToInt" if exact => arithmetic("FRNDINT", [0xd9, 0xfc]),
        "rem" => arithmetic("FPREM1", [0xd9, 0xf5]),
        _ => {}
    }
    let mut compare = |is: fn(RFlags) -> bool, codes: fn(StatusWord) -> bool| {
        let quiet = operation == "eq" || operation.ends_with("_quiet");
        let (to_flags, to_codes) = if quiet { (0xe9, [0xdd, 0xe1]) } else { (0xf1, [0xd8, 0xd1]) };
        add(if quiet { "FUCOMI" } else { "FCOMI" }, &[0xdb, to_flags], Input::Stack, Output::Flags(is));
        add(if quiet { "FUCOM" } else { "FCOM" }, &to_codes, Input::Stack, Output::Codes(codes));
    };
    match operation {
        "eq" | "eq_signaling" => compare(is_equal, |codes| condition(codes) == StatusWord::C3),
        "lt" | "lt_quiet" => compare(is_less, |codes| condition(codes) == StatusWord::C0),
        "le" | "le_quiet" => {
            let less_or_equal = |codes| condition(codes) == StatusWord::C0 || condition(codes) == StatusWord::C3;
            compare(|flags| is_less(flags) || is_equal(flags), less_or_equal);
        }
        _ => {}
    }
}

fn condition(status: StatusWord) -> StatusWord {
    status & (StatusWord::C3 | StatusWord::C2 | StatusWord::C0)
}

fn conversions(function: &str, add: Add) {
    let one = Input::Vector(&[1]);
    match function {
        "f16_to_f32" => add("VCVTPH2PS", &[0xc4, 0xe2, 0x79, 0x13, 0xc1], one, Output::Vector(32)),
        // By MXCSR's rounding control.
        "f32_to_f16" => add("VCVTPS2PH", &[0xc4, 0xe3, 0x79, 0x1d, 0xc8, 4], one, Output::Vector(16)),
        "f32_to_f64" => add("CVTSS2SD", &[0xf3, 0x0f, 0x5a, 0xc1], one, Output::Vector(64)),
        "f64_to_f32" => add("CVTSD2SS", &[0xf2, 0x0f, 0x5a, 0xc1], one, Output::Vector(32)),
        "f32_to_i32" => add("CVTSS2SI", &[0xf3, 0x0f, 0x2d, 0xc1], one, Output::General(32)),
        "f32_to_i64" => add("CVTSS2SI", &[0xf3, 0x48, 0x0f, 0x2d, 0xc1], one, Output::General(64)),
        "f64_to_i32" => add("CVTSD2SI", &[0xf2, 0x0f, 0x2d, 0xc1], one, Output::General(32)),
        "f64_to_i64" => add("CVTSD2SI", &[0xf2, 0x48, 0x0f, 0x2d, 0xc1], one, Output::General(64)),
        "i32_to_f32" => add("CVTSI2SS", &[0xf3, 0x0f, 0x2a, 0xc0], Input::General, Output::Vector(32)),
        "i64_to_f32" => add("CVTSI2SS", &[0xf3, 0x48, 0x0f, 0x2a, 0xc0], Input::General, Output::Vector(32)),
        "i32_to_f64" => add("CVTSI2SD", &[0xf2, 0x0f, 0x2a, 0xc0], Input::General, Output::Vector(64)),
        "i64_to_f64" => add("CVTSI2SD", &[0xf2, 0x48, 0x0f, 0x2a, 0xc0], Input::General, Output::Vector(64)),
        "f32_to_extF80" => add("FLD", &[0xd9, 0x07], Input::Memory(4), Output::Stack),
        "f64_to_extF80" => add("FLD", &[0xdd, 0x07], Input::Memory(8), Output::Stack),
        "i32_to_extF80" => add("FILD", &[0xdb, 0x07], Input::Memory(4), Output::Stack),
        "i64_to_extF80" => add("FILD", &[0xdf, 0x2f], Input::Memory(8), Output::Stack),
        "extF80_to_f32" => add("FST", &[0xd9, 0x17], Input::Stack, Output::Memory(4)),
        "extF80_to_f64" => add("FST", &[0xdd, 0x17], Input::Stack, Output::Memory(8)),
        "extF80_to_i32" => add("FIST", &[0xdb, 0x17], Input::Stack, Output::Memory(4)),
        "extF80_to_i64" => add("FISTP", &[0xdf, 0x3f], Input::Stack, Output::Memory(8)),
        _ => {}
    }
}

/// What cuts whatever the controls say.
fn truncations(function: &str) -> Option<Form> {
    let one = Input::Vector(&[1]);
    let (name, code, input, output): (&str, &[u8], _, _) = match function {
        "f32_to_i32" => ("CVTTSS2SI", &[0xf3, 0x0f, 0x2c, 0xc1], one, Output::General(32)),
        "f32_to_i64" => ("CVTTSS2SI", &[0xf3, 0x48, 0x0f, 0x2c, 0xc1], one, Output::General(64)),
        "f64_to_i32" => ("CVTTSD2SI", &[0xf2, 0x0f, 0x2c, 0xc1], one, Output::General(32)),
        "f64_to_i64" => ("CVTTSD2SI", &[0xf2, 0x48, 0x0f, 0x2c, 0xc1], one, Output::General(64)),
        "extF80_to_i32" => ("FISTTP", &[0xdb, 0x0f], Input::Stack, Output::Memory(4)),
        "extF80_to_i64" => ("FISTTP", &[0xdd, 0x0f], Input::Stack, Output::Memory(8)),
        _ => return None,
    };
    Some(Form { name: name.to_string(), code: code.to_vec(), input, output, own_rounding: true })
}

/// An instruction on the test stand.
pub struct Stand {
    rig: Rig,
    form: Form,
    /// What every case starts from, the operands apart.
    start: Case,
}

impl Stand {
    /// Puts `form` on a processor that `engine` runs, under the controls of `check`.
    pub fn new(engine: &dyn Accelerator, form: Form, check: &Check) -> Result<Self, RigError> {
        let mut rig = Rig::new(engine, CpuModel::most())?;
        let mut map = PageMap::new();
        map.add(layout::CODE, Access::Code);
        map.add(layout::DATA, Access::ReadWrite);
        rig.prepare(Mode::Long64, &map);
        let mut start = Case::new(Mode::Long64, layout::CODE, &form.code);
        let rounding = if form.own_rounding { Rounding::Up } else { check.rounding } as u32;
        let precision = match check.precision as u32 {
            24 => 0,
            53 => 2,
            _ => 3,
        };
        let registers = &mut start.registers;
        registers.mxcsr = 0x1f80 | rounding << 13;
        registers.x87.control = (0x7f | precision << 8 | rounding << 10) as u16;
        registers.gpr[RDI] = layout::DATA;
        registers.vectors[..3].fill([0; 4]);
        Ok(Self { rig, form, start })
    }

    /// Its answer, or what it raised instead.
    pub fn answer(&mut self, operands: &[u128; 3]) -> Result<Result<Answer, End>, RigError> {
        let mut case = self.start;
        self.put(&mut case, operands);
        loop {
            let outcome = self.rig.run_case(&case)?;
            if outcome.end != End::Done {
                return Ok(Err(outcome.end));
            }
            let registers = &outcome.registers;
            // FPREM1 says that it has not come to the end.
            let is_partial = self.form.code == FPREM1 && registers.x87.status.contains(StatusWord::C2);
            if !is_partial {
                return Ok(Ok(Answer { result: self.take(&outcome), raised: self.raised(registers) }));
            }
            case.registers.x87 = registers.x87;
        }
    }

    fn put(&self, case: &mut Case, operands: &[u128; 3]) {
        let registers = &mut case.registers;
        match self.form.input {
            Input::Vector(numbers) => {
                for (number, operand) in numbers.iter().zip(operands) {
                    registers.vectors[*number][0] = *operand as u64;
                }
            }
            Input::Stack => {
                let x87 = &mut registers.x87;
                x87.set_top(6);
                x87.valid = 0xc0;
                x87.registers[6] = F80::decoded(operands[0]);
                x87.registers[7] = F80::decoded(operands[1]);
            }
            Input::General => registers.gpr[0] = operands[0] as u64,
            Input::Memory(_) => {}
        }
        let bytes = match (self.form.input, self.form.output) {
            (Input::Memory(size), _) => &operands[0].to_le_bytes()[..size],
            (_, Output::Memory(size)) => &[0; 16][..size],
            _ => return,
        };
        // The first window always has room for a number.
        case.add_window(layout::DATA, bytes);
    }

    fn take(&self, outcome: &Outcome) -> u128 {
        let registers = &outcome.registers;
        let low = |value: u64, bits: u32| u128::from(value & u64::MAX >> (64 - bits));
        match self.form.output {
            Output::Vector(bits) => low(registers.vectors[0][0], bits),
            Output::General(bits) => low(registers.gpr[0], bits),
            Output::Stack => registers.x87.registers[registers.x87.top()].encoded(),
            Output::Memory(size) => outcome.memory[..size].iter().rev().fold(0, |value, byte| value << 8 | u128::from(*byte)),
            Output::Mask(bits) => match low(registers.vectors[0][0], bits) {
                0 => 0,
                mask if mask == low(u64::MAX, bits) => 1,
                neither => neither,
            },
            Output::Flags(is) => is(RFlags::from_bits_retain(registers.rflags)).into(),
            Output::Codes(is) => is(registers.x87.status).into(),
        }
    }

    /// What was raised: in MXCSR or in the status word, both of which were clear.
    fn raised(&self, registers: &Registers) -> Exceptions {
        Exceptions::from_bits_truncate(registers.mxcsr as u8 | registers.x87.status.bits() as u8)
    }
}

const RDI: usize = 7;
const FPREM1: [u8; 2] = [0xd9, 0xf5];
