//! Which of TestFloat's functions are asked, and under which controls: all that x86 has, in every rounding and precision it
//! has.
//!
//! Rule of this file: the same list for the arithmetic and for the instructions.

use dragoman_float::{Environment, Precision, Rounding};

/// A function of TestFloat under one setting of the controls.
#[derive(Clone, Debug)]
pub struct Check {
    /// TestFloat's name of it.
    pub function: String,
    /// How it rounds.
    pub rounding: Rounding,
    /// The x87's precision control.
    pub precision: Precision,
    /// Rounding to an integer reports what is inexact.
    pub exact: bool,
}

const ROUNDINGS: [Rounding; 4] = [Rounding::Nearest, Rounding::Down, Rounding::Up, Rounding::Zero];
const PRECISIONS: [Precision; 3] = [Precision::Extended, Precision::Double, Precision::Single];
const FLOATS: [&str; 4] = ["f16", "f32", "f64", "extF80"];
const INTEGERS: [&str; 4] = ["i32", "i64", "ui32", "ui64"];

impl Check {
    /// As options of the generator.
    pub fn options(&self) -> [&'static str; 4] {
        let rounding = match self.rounding {
            Rounding::Nearest => "-rnear_even",
            Rounding::Down => "-rmin",
            Rounding::Up => "-rmax",
            Rounding::Zero => "-rminMag",
        };
        let precision = match self.precision {
            Precision::Single => "-precision32",
            Precision::Double => "-precision64",
            Precision::Extended => "-precision80",
        };
        [rounding, precision, if self.exact { "-exact" } else { "-notexact" }, "-tininessafter"]
    }

    /// As an environment in which every exception is masked and none is raised.
    pub fn environment(&self) -> Environment {
        Environment { rounding: self.rounding, precision: self.precision, ..Environment::default() }
    }

    /// How many operands the function takes.
    pub fn operands(&self) -> usize {
        match self.function.split_once('_').map_or("", |(_, operation)| operation) {
            "mulAdd" => 3,
            "sqrt" | "roundToInt" => 1,
            operation if operation.starts_with("to_") => 1,
            _ => 2,
        }
    }
}

/// All checks.
pub fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    let mut add = |function: String, roundings: &[Rounding], precisions: &[Precision], exact: bool| {
        for &rounding in roundings {
            for &precision in precisions {
                checks.push(Check { function: function.clone(), rounding, precision, exact });
            }
        }
    };
    let (all, one) = (&ROUNDINGS[..], &ROUNDINGS[..1]);
    let full = &PRECISIONS[..1];
    for kind in FLOATS {
        for other in FLOATS.iter().chain(&INTEGERS).filter(|other| **other != kind) {
            add(format!("{kind}_to_{other}"), all, full, true);
        }
        // Half precision is a format of memory: it is only converted.
        if kind == "f16" {
            continue;
        }
        let precisions = if kind == "extF80" { &PRECISIONS[..] } else { full };
        for operation in ["add", "sub", "mul", "div", "sqrt"] {
            add(format!("{kind}_{operation}"), all, precisions, true);
        }
        // Neither rounds, for the result is exact, or a Boolean.
        for operation in ["eq", "le", "lt", "eq_signaling", "le_quiet", "lt_quiet"] {
            add(format!("{kind}_{operation}"), one, full, true);
        }
        for exact in [true, false] {
            add(format!("{kind}_roundToInt"), all, full, exact);
        }
        let own = if kind == "extF80" { ("rem", one) } else { ("mulAdd", all) };
        add(format!("{kind}_{}", own.0), own.1, full, true);
    }
    for kind in INTEGERS {
        for float in FLOATS {
            add(format!("{kind}_to_{float}"), all, full, true);
        }
    }
    checks
}
