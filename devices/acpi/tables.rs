//! The static tables: FADT, MADT, HPET.
//!
//! Rule of this file: a field that is not set is zero, and zero is what it means.
//! Reference: ACPI specification 6.4, §5.2.9, §5.2.12; IA-PC HPET specification 1.0a, §3.2.4.

use acpi_tables::{
    fadt::{FADTBuilder, Flags, PmProfile},
    gas::{AccessSize, AddressSpace, GAS},
    sdt::Sdt,
};
use dragoman_state::GuestPhys;

use super::{MOST_CPUS, OEM, OEM_REVISION, OEM_TABLE, Platform, SCI, sealed, to_bytes};
use crate::{
    acpi_pm::{ACPI_DISABLE, ACPI_ENABLE, SMI_COMMAND, offset},
    hpet, pci,
};

/// FADT: there are devices at legacy addresses, and an 8042 among them.
const LEGACY_DEVICES: u16 = 1 << 0;
const HAS_8042: u16 = 1 << 1;
const NO_VGA: u16 = 1 << 2;
/// FADT: longer than any C2 or C3 that software would use.
const NO_C_STATE: u16 = 0xfff;
/// Where the century is in the real-time clock's RAM.
const CENTURY: u8 = 0x32;

/// The FADT: the fixed hardware, and where FACS and DSDT are.
pub(super) fn fadt(platform: &Platform, facs: GuestPhys, dsdt: GuestPhys) -> Vec<u8> {
    let base = platform.pm_base.0;
    let block = |at: u8| u32::from(base) + u32::from(at);
    let register = |at: u8, bits: u8, size: AccessSize| GAS::new(AddressSpace::SystemIo, bits, 0, size, block(at).into());
    let mut table = FADTBuilder::new(OEM, OEM_TABLE, OEM_REVISION)
        .preferred_pm_profile(PmProfile::Desktop)
        .flag(Flags::Wbinvd)
        .flag(Flags::ProcC1)
        .flag(Flags::SlpButton)
        .flag(Flags::FixRtc)
        .flag(Flags::ResetRegSup);
    table.firmware_ctrl = (facs.0 as u32).into();
    table.dsdt = (dsdt.0 as u32).into();
    table.x_dsdt = dsdt.0.into();
    table.sci_int = u16::from(SCI).into();
    table.smi_cmd = u32::from(SMI_COMMAND.0).into();
    table.acpi_enable = ACPI_ENABLE;
    table.acpi_disable = ACPI_DISABLE;
    table.pm1a_evt_blk = block(offset::PM1_STS).into();
    table.pm1a_cnt_blk = block(offset::PM1_CNT).into();
    table.pm_tmr_blk = block(offset::PM_TMR).into();
    table.gpe0_blk = block(offset::GPE0_STS).into();
    table.pm1_evt_len = 4;
    table.pm1_cnt_len = 2;
    table.pm_tmr_len = 4;
    table.gpe0_blk_len = 4;
    table.x_pm1a_evt_blk = register(offset::PM1_STS, 32, AccessSize::WordAccess);
    table.x_pm1a_cnt_blk = register(offset::PM1_CNT, 16, AccessSize::WordAccess);
    table.x_pm_tmr_blk = register(offset::PM_TMR, 32, AccessSize::DwordAccess);
    table.x_gpe0_blk = register(offset::GPE0_STS, 32, AccessSize::ByteAccess);
    table.p_lvl2_lat = NO_C_STATE.into();
    table.p_lvl3_lat = NO_C_STATE.into();
    table.century = CENTURY;
    table.iapc_boot_arch = (LEGACY_DEVICES | HAS_8042 | if platform.has_vga { 0 } else { NO_VGA }).into();
    table.reset_reg = GAS::new(AddressSpace::SystemIo, 8, 0, AccessSize::ByteAccess, pci::RESET_CONTROL.0.into());
    table.reset_value = pci::RESET_VALUE;
    table.hypervisor_vendor_identity = u64::from_le_bytes(OEM_TABLE).into();
    to_bytes(&table.finalize())
}

/// Flags of an interrupt source: active high, level-triggered.
const LEVEL_HIGH: u16 = 0b1101;
/// An APIC ID that a byte can hold and that does not mean everyone.
const BYTE_IDS: u32 = 0xff;

/// The MADT: processors, I/O APIC, and how its inputs differ from the ISA interrupts.
pub(super) fn madt(platform: &Platform) -> Vec<u8> {
    const PCAT_COMPAT: u32 = 1;
    const ENABLED: u32 = 1;
    let mut table = Sdt::new(*b"APIC", 36, 5, OEM, OEM_TABLE, OEM_REVISION);
    table.append_slice(&platform.lapic_base.to_le_bytes());
    table.append_slice(&PCAT_COMPAT.to_le_bytes());
    let cpus = platform.cpus.min(MOST_CPUS);
    for id in 0..cpus {
        let flags = ENABLED.to_le_bytes();
        if id < BYTE_IDS {
            // Processor local APIC.
            table.append_slice(&[&[0, 8, id as u8, id as u8][..], &flags].concat());
        } else {
            // Processor local x2APIC.
            table.append_slice(&[&[9, 16, 0, 0][..], &id.to_le_bytes(), &flags, &id.to_le_bytes()].concat());
        }
    }
    // I/O APIC, whose inputs are the system's interrupts from 0 on.
    table.append_slice(&[&[1, 12, platform.ioapic_id, 0][..], &platform.ioapic_base.to_le_bytes(), &[0; 4]].concat());
    for (isa, gsi, flags) in [(0, 2, 0), (SCI, SCI.into(), LEVEL_HIGH)] {
        // Interrupt source override.
        table.append_slice(&[&[2, 10, 0, isa][..], &u32::to_le_bytes(gsi), &u16::to_le_bytes(flags)].concat());
    }
    // Local APIC NMI: LINT1 of every processor.
    table.append_slice(&[4, 6, 0xff, 0, 0, 1]);
    if cpus > BYTE_IDS {
        // Local x2APIC NMI, likewise.
        table.append_slice(&[0x0a, 12, 0, 0, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0]);
    }
    sealed(&table)
}

/// The HPET's table.
pub(super) fn hpet(platform: &Platform) -> Vec<u8> {
    const NUMBER: u8 = 0;
    /// The shortest period, in ticks, with which a periodic comparator loses no interrupt.
    const SHORTEST: u16 = 100;
    let mut table = Sdt::new(*b"HPET", 36, 1, OEM, OEM_TABLE, OEM_REVISION);
    table.append_slice(&hpet::EVENT_TIMER_BLOCK_ID.to_le_bytes());
    table.append_slice(&to_bytes(&GAS::new(AddressSpace::SystemMemory, 64, 0, AccessSize::Undefined, platform.hpet_base.into())));
    table.append_slice(&[NUMBER]);
    table.append_slice(&SHORTEST.to_le_bytes());
    table.append_slice(&[0]); // no page protection
    sealed(&table)
}
