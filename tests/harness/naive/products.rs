//! Products from shifted sums. SDM: vol. 2 MUL, IMUL.

use super::{
    Fate, Fates,
    adder::{add, subtract},
    bits::Bits,
};

/// A product twice as wide as its factors, with the flags.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    /// The low half.
    pub low: Bits,
    /// The high half.
    pub high: Bits,
    /// The flags.
    pub fates: Fates,
}

/// MUL.
pub fn unsigned(a: Bits, b: Bits) -> Product {
    let width = a.width();
    let whole = magnitude(a, b);
    let high = whole.part(width, width);
    finish(whole, !high.is_zero())
}

/// IMUL: carry and overflow say that the low half alone is another number.
pub fn signed(a: Bits, b: Bits) -> Product {
    let width = a.width();
    let is_negative = a.highest() != b.highest();
    let whole = magnitude(absolute(a), absolute(b));
    let whole = if is_negative { negate(whole) } else { whole };
    finish(whole, whole.part(0, width).extend_sign(2 * width) != whole)
}

fn finish(whole: Bits, is_wide: bool) -> Product {
    let width = whole.width() / 2;
    let fates = Fates { cf: Fate::Is(is_wide), of: Fate::Is(is_wide), ..Fates::UNDEFINED };
    Product { low: whole.part(0, width), high: whole.part(width, width), fates }
}

/// The product of two numbers without signs: for each bit of one, the other, shifted, is added.
fn magnitude(a: Bits, b: Bits) -> Bits {
    let width = a.width();
    let mut shifted = a.extend(2 * width, false);
    let mut sum = Bits::zero(2 * width);
    for n in 0..width {
        if b.bit(n) {
            sum = add(sum, shifted, false).result;
        }
        shifted.push_up(false);
    }
    sum
}

fn negate(a: Bits) -> Bits {
    subtract(Bits::zero(a.width()), a, false).result
}

fn absolute(a: Bits) -> Bits {
    if a.highest() { negate(a) } else { a }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_bytes_are_what_numbers_make() {
        for a in 0..=u8::MAX {
            for b in 0..=u8::MAX {
                let (x, y) = (Bits::new(a.into(), 8), Bits::new(b.into(), 8));
                let whole = |product: Product| (product.high.value() << 8 | product.low.value()) as u16;
                assert_eq!(whole(unsigned(x, y)), u16::from(a) * u16::from(b));
                let (i, j) = (i16::from(a as i8), i16::from(b as i8));
                let product = signed(x, y);
                assert_eq!(whole(product), (i * j) as u16);
                assert_eq!(product.fates.of, Fate::Is(i8::try_from(i * j).is_err()));
            }
        }
    }
}
