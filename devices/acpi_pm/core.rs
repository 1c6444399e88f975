//! ACPI fixed hardware as the PIIX4 has it: events, sleep control, timer, and the general-purpose event block.
//!
//! Rule of this file: there is no system management mode. What firmware would do when the guest writes the SMI command
//! port has been done when the write returns.
//! Reference: Intel 82371AB (PIIX4) datasheet (290562), §7.2; ACPI specification 6.4, §4.8.

use bitflags::bitflags;
use dragoman_state::Width;

/// The frequency of the timer, in hertz.
pub const FREQUENCY: u64 = 3_579_545;
/// The timer has 24 bits; TMR_STS is set when the highest of them changes.
const TIMER_MASK: u64 = 0xff_ffff;
const TIMER_HALF: u64 = 1 << 23;

/// Written to the SMI command port: ACPI takes over.
pub const ACPI_ENABLE: u8 = 0xf1;
/// Written to the SMI command port: ACPI gives back.
pub const ACPI_DISABLE: u8 = 0xf0;
/// The sleep type that means soft-off.
pub const SLP_TYP_S5: u8 = 0;

bitflags! {
    /// PM1 status and, at the same places, PM1 enable.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Event: u16 {
        /// The timer's highest bit changed.
        const TMR = 1 << 0;
        /// The global lock was released.
        const GBL = 1 << 5;
        /// The power button was pressed.
        const PWRBTN = 1 << 8;
        /// The real-time clock's alarm.
        const RTC = 1 << 10;
    }

    /// PM1 control.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Control: u16 {
        /// Events raise the system control interrupt.
        const SCI_EN = 1 << 0;
        /// Bus masters wake the processor.
        const BM_RLD = 1 << 1;
        /// Which sleep state.
        const SLP_TYP = 7 << 10;
        /// Sleep now. Write-only.
        const SLP_EN = 1 << 13;
    }
}

/// Where the registers are in the block.
pub mod offset {
    /// PM1 status.
    pub const PM1_STS: u8 = 0x00;
    /// PM1 enable.
    pub const PM1_EN: u8 = 0x02;
    /// PM1 control.
    pub const PM1_CNT: u8 = 0x04;
    /// The timer.
    pub const PM_TMR: u8 = 0x08;
    /// General-purpose event status.
    pub const GPE0_STS: u8 = 0x0c;
    /// General-purpose event enable.
    pub const GPE0_EN: u8 = 0x0e;
}

/// Bytes in the block.
pub const BLOCK: u16 = 0x40;

/// The registers of the block, and the two SMI ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registers {
    // Guest-visible state
    status: Event,
    enable: Event,
    control: Control,
    gpe_status: u16,
    gpe_enable: u16,
    smi_command: u8,
    smi_status: u8,
    // Bookkeeping
    ticks: u64,
}

impl Default for Registers {
    fn default() -> Self {
        Self::new()
    }
}

impl Registers {
    /// The state after power-on: ACPI is off.
    pub fn new() -> Self {
        Self {
            status: Event::empty(),
            enable: Event::empty(),
            control: Control::empty(),
            gpe_status: 0,
            gpe_enable: 0,
            smi_command: 0,
            smi_status: 0,
            ticks: 0,
        }
    }

    /// Back to the state after power-on, at the present moment; the timer runs on.
    pub fn reset(&mut self) {
        *self = Self { ticks: self.ticks, ..Self::new() };
    }

    /// Brings the timer to tick number `ticks` since power-on.
    pub fn advance(&mut self, ticks: u64) {
        if ticks / TIMER_HALF > self.ticks / TIMER_HALF {
            self.status |= Event::TMR;
        }
        self.ticks = self.ticks.max(ticks);
    }

    /// The tick at which the output next changes by itself.
    pub fn next_change(&self) -> Option<u64> {
        let is_due = self.enable.contains(Event::TMR) && self.control.contains(Control::SCI_EN) && !self.output();
        is_due.then(|| (self.ticks / TIMER_HALF).saturating_add(1).saturating_mul(TIMER_HALF))
    }

    /// The level of the system control interrupt.
    pub fn output(&self) -> bool {
        let has_event = self.status.intersects(self.enable) || self.gpe_status & self.gpe_enable != 0;
        has_event && self.control.contains(Control::SCI_EN)
    }

    /// The power button is pressed.
    pub fn press_power_button(&mut self) {
        self.status |= Event::PWRBTN;
    }

    /// General-purpose event `bit`, 0 to 15, happens.
    pub fn raise_gpe(&mut self, bit: u8) {
        self.gpe_status |= 1u16.checked_shl(bit.into()).unwrap_or(0);
    }

    /// Reads `width` bits at `offset` into the block; what has no register reads zero.
    pub fn read(&self, offset: u8, width: Width) -> u32 {
        (0..width.bytes() as u8).take(4).fold(0, |value, n| value | u32::from(self.byte(offset.saturating_add(n))) << (8 * n))
    }

    fn byte(&self, at: u8) -> u8 {
        let (word, half) = (at & !1, usize::from(at & 1));
        let timer = (self.ticks & TIMER_MASK) as u32;
        let value = match word {
            offset::PM1_STS => self.status.bits(),
            offset::PM1_EN => self.enable.bits(),
            offset::PM1_CNT => self.control.bits(),
            offset::PM_TMR => timer as u16,
            0x0a => (timer >> 16) as u16,
            offset::GPE0_STS => self.gpe_status,
            offset::GPE0_EN => self.gpe_enable,
            _ => 0,
        };
        value.to_le_bytes()[half]
    }

    /// Writes `width` bits at `offset` into the block. Returns whether the guest switched the machine off.
    pub fn write(&mut self, offset: u8, width: Width, value: u32) -> bool {
        let bytes = value.to_le_bytes();
        let count = (width.bytes() as usize).min(bytes.len());
        bytes[..count].iter().zip(0..).fold(false, |is_off, (byte, n)| self.write_byte(offset.saturating_add(n), *byte) || is_off)
    }

    fn write_byte(&mut self, at: u8, byte: u8) -> bool {
        let shift = 8 * u32::from(at & 1);
        let (value, kept) = (u16::from(byte) << shift, !(0xff << shift));
        match at & !1 {
            offset::PM1_STS => self.status &= !Event::from_bits_retain(value),
            offset::PM1_EN => self.enable = Event::from_bits_truncate(self.enable.bits() & kept | value),
            offset::PM1_CNT => return self.write_control(value, kept),
            offset::GPE0_STS => self.gpe_status &= !value,
            offset::GPE0_EN => self.gpe_enable = self.gpe_enable & kept | value,
            _ => {}
        }
        false
    }

    fn write_control(&mut self, value: u16, kept: u16) -> bool {
        let written = Control::from_bits_truncate(self.control.bits() & kept | value);
        self.control = written - Control::SLP_EN;
        let sleep_type = ((written & Control::SLP_TYP).bits() >> 10) as u8;
        written.contains(Control::SLP_EN) && sleep_type == SLP_TYP_S5
    }

    /// Reads the SMI command port, or the status port beside it.
    pub fn read_smi(&self, is_status: bool) -> u8 {
        if is_status { self.smi_status } else { self.smi_command }
    }

    /// Writes the SMI command port, or the status port beside it, which only holds a byte.
    pub fn write_smi(&mut self, is_status: bool, value: u8) {
        if is_status {
            self.smi_status = value;
            return;
        }
        self.smi_command = value;
        match value {
            ACPI_ENABLE => self.control |= Control::SCI_EN,
            ACPI_DISABLE => self.control -= Control::SCI_EN,
            _ => {}
        }
    }
}
