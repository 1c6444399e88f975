//! Dates as the real-time clock's registers hold them.
//!
//! Rule of this file: any register contents are a date; what is out of range counts as the nearest date there is. The
//! day of the week is a counter of its own, as in the chip, and need not fit the date.
//! Reference: Motorola MC146818A datasheet, "Time, calendar and alarm locations"; proleptic Gregorian calendar.

/// Seconds in a day.
pub(super) const DAY: u64 = 86_400;

/// How the registers write numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Notation {
    /// Plain numbers rather than two decimal digits.
    pub is_binary: bool,
    /// Hours from 0 to 23 rather than from 1 to 12 with a mark for the afternoon.
    pub is_24_hour: bool,
}

/// The bit of the hour register that marks the afternoon.
const PM: u8 = 0x80;

impl Notation {
    /// The number in `byte`.
    pub(super) fn decode(self, byte: u8) -> u8 {
        if self.is_binary { byte } else { (byte >> 4).wrapping_mul(10).wrapping_add(byte & 0xf) }
    }

    /// `value`, 0 to 99, as a register holds it.
    pub(super) fn encode(self, value: u8) -> u8 {
        if self.is_binary { value } else { ((value / 10 % 10) << 4) | (value % 10) }
    }

    /// The hour, 0 to 23, in `byte`.
    pub(super) fn decode_hour(self, byte: u8) -> u8 {
        if self.is_24_hour {
            return self.decode(byte);
        }
        self.decode(byte & !PM) % 12 + if byte & PM != 0 { 12 } else { 0 }
    }

    /// The hour `hour`, 0 to 23, as a register holds it.
    pub(super) fn encode_hour(self, hour: u8) -> u8 {
        if self.is_24_hour {
            return self.encode(hour);
        }
        self.encode((hour + 11) % 12 + 1) | if hour >= 12 { PM } else { 0 }
    }
}

/// A moment by the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Date {
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 1 to 7, Sunday first.
    pub weekday: u8,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
}

impl Date {
    /// The date `seconds` after the beginning of 1970.
    pub(super) fn from_unix(seconds: u64) -> Self {
        let epoch = Self { year: 1970, month: 1, day: 1, weekday: 5, hour: 0, minute: 0, second: 0 };
        epoch.after(seconds)
    }

    /// Seconds since midnight, below [`DAY`].
    pub(super) fn time_of_day(self) -> u64 {
        u64::from(self.hour.min(23)) * 3600 + u64::from(self.minute.min(59)) * 60 + u64::from(self.second.min(59))
    }

    /// The date `seconds` later.
    pub(super) fn after(self, seconds: u64) -> Self {
        let total = self.time_of_day() + seconds % DAY;
        let passed = seconds / DAY + total / DAY;
        let (year, month, day) = civil(days(self.year, self.month, self.day) + passed);
        let time = total % DAY;
        Self {
            year,
            month,
            day,
            weekday: ((u64::from(self.weekday.max(1)) - 1 + passed) % 7) as u8 + 1,
            hour: (time / 3600) as u8,
            minute: (time / 60 % 60) as u8,
            second: (time % 60) as u8,
        }
    }
}

/// Days from the first of March of year 0 to a date; years here begin in March, so that a leap day is the last.
fn days(year: u16, month: u8, day: u8) -> u64 {
    let (month, day) = (u64::from(month.clamp(1, 12)), u64::from(day.clamp(1, 31)));
    // A whole cycle of 400 years is added, so that January and February of year 0 have a year to belong to.
    let year = u64::from(year) + CYCLE_YEARS - u64::from(month < 3);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year
}

const CYCLE_YEARS: u64 = 400;
const CYCLE_DAYS: u64 = 146_097;

/// Year, month and day of a number of days as [`days`] counts them.
fn civil(days: u64) -> (u16, u8, u8) {
    let (cycle, day) = (days / CYCLE_DAYS, days % CYCLE_DAYS);
    let year = (day - day / 1460 + day / 36_524 - day / (CYCLE_DAYS - 1)) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = (cycle * CYCLE_YEARS + year + u64::from(month >= 10) - CYCLE_YEARS) % 10_000;
    (year as u16, ((month + 2) % 12 + 1) as u8, day as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_that_history_knows() {
        let date = |seconds| {
            let date = Date::from_unix(seconds);
            (date.year, date.month, date.day, date.weekday, date.hour, date.minute, date.second)
        };
        assert_eq!(date(0), (1970, 1, 1, 5, 0, 0, 0), "a Thursday");
        assert_eq!(date(951_782_399), (2000, 2, 28, 2, 23, 59, 59));
        assert_eq!(date(951_782_400), (2000, 2, 29, 3, 0, 0, 0));
        assert_eq!(date(951_868_800), (2000, 3, 1, 4, 0, 0, 0));
        assert_eq!(date(1_234_567_890), (2009, 2, 13, 6, 23, 31, 30));
        assert_eq!(date(4_107_542_400), (2100, 3, 1, 2, 0, 0, 0), "2100 has no leap day");
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let mut date = Date::from_unix(0);
        for _ in 0..CYCLE_DAYS {
            let next = date.after(DAY);
            let is_next = match (next.month == date.month, next.year == date.year) {
                (true, true) => next.day == date.day + 1,
                (false, true) => next.day == 1 && next.month == date.month + 1,
                _ => (next.day, next.month, next.year) == (1, 1, date.year + 1),
            };
            assert!(is_next, "{date:?} {next:?}");
            date = next;
        }
        assert_eq!((date.year, date.month, date.day, date.weekday), (2370, 1, 1, 5));
    }

    #[test]
    fn midnight_and_noon_in_twelve_hours() {
        let notation = Notation { is_binary: false, is_24_hour: false };
        for (hour, byte) in [(0, 0x12), (1, 0x01), (11, 0x11), (12, 0x92), (13, 0x81), (23, 0x91)] {
            assert_eq!(notation.encode_hour(hour), byte);
            assert_eq!(notation.decode_hour(byte), hour);
        }
    }

    #[test]
    fn nonsense_is_some_date() {
        for byte in 0..=255 {
            let date = Date { year: 9999, month: byte, day: byte, weekday: byte, hour: byte, minute: byte, second: byte };
            let later = date.after(u64::MAX);
            assert!((1..=12).contains(&later.month) && (1..=31).contains(&later.day));
        }
    }
}
