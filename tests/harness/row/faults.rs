//! Faults as rows name them: `#GP(0)`, `#UD`, `#PF(6)`, `#INT(0x80)`.

use dragoman_frontend::fault::{Fault, vector};

/// An exception that a row expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpectedFault {
    /// Its vector.
    pub vector: u8,
    /// Its error code, where the processor pushes one.
    pub error: Option<u32>,
}

const NAMED: [u8; 18] = [
    vector::DE,
    vector::DB,
    vector::NMI,
    vector::BP,
    vector::OF,
    vector::BR,
    vector::UD,
    vector::NM,
    vector::DF,
    vector::TS,
    vector::NP,
    vector::SS,
    vector::GP,
    vector::PF,
    vector::MF,
    vector::AC,
    vector::MC,
    vector::XM,
];

impl ExpectedFault {
    /// Reads what follows the number sign.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, inside) = match text.split_once('(') {
            None => (text, None),
            Some((name, rest)) => {
                let number = rest.strip_suffix(')').ok_or_else(|| format!("`#{text}` lacks its closing parenthesis"))?;
                (name, Some(super::Value::parse_number(number, 32)?.low() as u32))
            }
        };
        if name == "INT" {
            return match inside {
                Some(vector @ 0..=255) => Ok(Self { vector: vector as u8, error: None }),
                _ => Err(format!("`#{text}` needs a vector, as #INT(0x80)")),
            };
        }
        let vector = NAMED.into_iter().find(|vector| Fault::plain(*vector).mnemonic() == name);
        let vector = vector.ok_or_else(|| format!("`#{name}` is no exception"))?;
        Ok(Self { vector, error: inside })
    }

    /// Whether the saved instruction pointer is the next instruction's.
    pub const fn is_trap(self) -> bool {
        !matches!(
            self.vector,
            vector::DE
                | vector::BR
                | vector::UD
                | vector::NM
                | vector::DF
                | vector::TS
                | vector::NP
                | vector::SS
                | vector::GP
                | vector::PF
                | vector::MF
                | vector::AC
                | vector::XM
        )
    }
}

impl std::fmt::Display for ExpectedFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !NAMED.contains(&self.vector) {
            return write!(f, "#INT({:#x})", self.vector);
        }
        let name = Fault::plain(self.vector).mnemonic();
        match self.error {
            None => write!(f, "#{name}"),
            Some(error) => write!(f, "#{name}({})", super::Value::from(u64::from(error))),
        }
    }
}
