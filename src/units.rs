//! Numbers as people write them on a command line.

/// A size: a number with K, M, G or T (powers of 1024), in mebibytes without.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.chars().last() {
        Some('k' | 'K') => (&text[..text.len() - 1], 10),
        Some('m' | 'M') => (&text[..text.len() - 1], 20),
        Some('g' | 'G') => (&text[..text.len() - 1], 30),
        Some('t' | 'T') => (&text[..text.len() - 1], 40),
        _ => (text, 20),
    };
    let number: u64 = digits.parse().map_err(|_| format!("`{text}` is no size; write a number with K, M or G, such as 512M"))?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("`{text}` is more memory than an address can name"))
}

fn parse_u16(text: &str) -> Option<u16> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u16::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// A port number, decimal or with 0x.
pub fn parse_port(text: &str) -> Result<u16, String> {
    parse_u16(text).ok_or_else(|| format!("`{text}` is no port; write a number from 0 to 0xffff"))
}

/// An offset in real mode's first segment, decimal or with 0x.
pub fn parse_offset(text: &str) -> Result<u16, String> {
    parse_u16(text).ok_or_else(|| format!("`{text}` is no address that real mode can start at; write a number from 0 to 0xffff"))
}

/// A time in seconds, fractions allowed.
pub fn parse_seconds(text: &str) -> Result<std::time::Duration, String> {
    let refused = || format!("`{text}` is no time; write a number of seconds above zero, such as 60");
    let seconds: f64 = text.parse().map_err(|_| refused())?;
    match std::time::Duration::try_from_secs_f64(seconds) {
        Ok(time) if !time.is_zero() => Ok(time),
        _ => Err(refused()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_mebibytes_without_a_suffix() {
        assert_eq!(parse_size("512"), Ok(512 << 20));
        assert_eq!(parse_size("2G"), Ok(2 << 30));
        assert_eq!(parse_size("640k"), Ok(640 << 10));
        for bad in ["", "G", "1.5G", "-1", "99999999999G"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ports_may_be_hexadecimal() {
        assert_eq!(parse_port("0xF4"), Ok(0xf4));
        assert_eq!(parse_port("244"), Ok(0xf4));
        assert!(parse_port("65536").is_err());
    }

    #[test]
    fn a_time_is_above_zero() {
        assert_eq!(parse_seconds("1.5"), Ok(std::time::Duration::from_millis(1500)));
        for bad in ["0", "-3", "nan", "soon"] {
            assert!(parse_seconds(bad).is_err(), "{bad}");
        }
    }
}
