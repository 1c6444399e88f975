//! What a row gives to a place: an unsigned number of up to 512 bits.

/// A number of up to 512 bits, lowest quadword first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Value(pub [u64; 8]);

impl From<u64> for Value {
    fn from(low: u64) -> Self {
        let mut value = Self::default();
        value.0[0] = low;
        value
    }
}

impl Value {
    /// The lowest quadword.
    pub const fn low(self) -> u64 {
        self.0[0]
    }

    /// The number that `bytes` are, least significant first; at most 64 of them.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut value = Self::default();
        for (n, byte) in bytes.iter().enumerate().take(64) {
            value.0[n / 8] |= u64::from(*byte) << (8 * (n % 8));
        }
        value
    }

    /// The lowest `count` bytes, least significant first.
    pub fn to_bytes(self, count: usize) -> Vec<u8> {
        (0..count).map(|n| (self.0[n / 8] >> (8 * (n % 8))) as u8).collect()
    }

    /// The number without the bits from `bits` on.
    #[must_use]
    pub fn truncated(mut self, bits: u32) -> Self {
        for (n, word) in self.0.iter_mut().enumerate() {
            let from = 64 * n as u32;
            *word &= match bits.checked_sub(from) {
                None | Some(0) => 0,
                Some(left) if left < 64 => (1 << left) - 1,
                Some(_) => u64::MAX,
            };
        }
        self
    }

    /// Reads a decimal number, negative perhaps, or a hexadecimal one after 0x; underscores separate digits. It must fit
    /// `bits` bits.
    pub fn parse_number(text: &str, bits: u32) -> Result<Self, String> {
        let plain = text.replace('_', "");
        if let Some(hex) = plain.strip_prefix("0x") {
            return Self::parse_hex(hex, bits).map_err(|error| format!("`{text}` {error}"));
        }
        let (is_negative, digits) = plain.strip_prefix('-').map_or((false, plain.as_str()), |rest| (true, rest));
        let number: u64 = digits.parse().map_err(|_| format!("`{text}` is no number; write 12, -12 or 0x0c"))?;
        if !is_negative {
            let value = Self::from(number);
            return if value.truncated(bits) == value { Ok(value) } else { Err(format!("`{text}` has more than {bits} bits")) };
        }
        if number > 1 << 63 || bits < 64 && number > 1 << (bits - 1) {
            return Err(format!("`{text}` has more than {bits} bits"));
        }
        let mut value = Self([u64::MAX; 8]);
        value.0[0] = number.wrapping_neg();
        if number == 0 {
            value = Self::default();
        }
        Ok(value.truncated(bits))
    }

    /// Reads hexadecimal digits, most significant first, that fit `bits` bits.
    pub fn parse_hex(digits: &str, bits: u32) -> Result<Self, String> {
        let plain = digits.replace('_', "");
        if plain.is_empty() {
            return Err("has no digits".into());
        }
        let mut value = Self::default();
        for (n, digit) in plain.chars().rev().enumerate() {
            let digit = digit.to_digit(16).ok_or_else(|| "is no hexadecimal number".to_string())?;
            let word = value.0.get_mut(n / 16).filter(|_| digit == 0 || 4 * n as u32 + (32 - digit.leading_zeros()) <= bits);
            match word {
                Some(word) => *word |= u64::from(digit) << (4 * (n % 16)),
                None if digit == 0 => {}
                None => return Err(format!("has more than {bits} bits")),
            }
        }
        Ok(value)
    }

    /// As hexadecimal digits, exactly as many as `bits` bits take, in groups of sixteen.
    pub fn to_hex(self, bits: u32) -> String {
        let digits: String = (0..bits.div_ceil(4)).rev().map(|n| self.digit(n)).collect();
        let first = digits.len() % 16;
        let (head, rest) = digits.split_at(first);
        let mut groups: Vec<&str> = if head.is_empty() { Vec::new() } else { vec![head] };
        groups.extend((0..rest.len()).step_by(16).map(|at| &rest[at..at + 16]));
        groups.join("_")
    }

    fn digit(self, n: u32) -> char {
        let digit = self.0[n as usize / 16] >> (4 * (n % 16)) & 0xf;
        char::from_digit(digit as u32, 16).unwrap_or('?')
    }
}

/// As rows show it: small numbers in decimal, large ones in hexadecimal.
impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0[1..].iter().all(|word| *word == 0) {
            return if self.0[0] < 10 { write!(f, "{}", self.0[0]) } else { write!(f, "{:#x}", self.0[0]) };
        }
        let digits: String = (0..128).rev().map(|n| self.digit(n)).collect();
        write!(f, "0x{}", digits.trim_start_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decimal_negative_or_hexadecimal() {
        assert_eq!(Value::parse_number("-1", 16), Ok(Value::from(0xffff)));
        assert_eq!(Value::parse_number("-1", 128), Ok(Value([u64::MAX, u64::MAX, 0, 0, 0, 0, 0, 0])));
        assert_eq!(Value::parse_number("0x1_0000", 64), Ok(Value::from(0x10000)));
        assert_eq!(Value::parse_number("10", 8), Ok(Value::from(10)));
        assert_eq!(Value::parse_number("0", 8), Ok(Value::from(0)));
        assert_eq!(Value::parse_number("-128", 8), Ok(Value::from(0x80)));
        for bad in ["256", "-129", "0x100", "abc", "", "0x"] {
            assert!(Value::parse_number(bad, 8).is_err(), "{bad}");
        }
    }

    #[test]
    fn wide_hexadecimal_numbers_survive_printing() {
        let text = "3fff_8000000000000001";
        let value = Value::parse_hex(text, 80).expect("80 bits");
        assert_eq!(value.to_hex(80), text);
        assert_eq!(Value::parse_hex(&value.to_hex(512), 512), Ok(value));
        assert!(Value::parse_hex("1_0000_0000_0000_0000", 64).is_err());
        assert_eq!(value.to_string(), "0x3fff8000000000000001");
    }

    #[test]
    fn bytes_are_least_significant_first() {
        let value = Value::from_bytes(&[1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(value.0[..2], [0x0807_0605_0403_0201, 9]);
        assert_eq!(value.to_bytes(9), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }
}
