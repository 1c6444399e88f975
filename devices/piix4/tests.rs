//! What the 82371AB datasheet promises of interrupt routing, one claim a test.

use super::*;
use crate::testing::loose_line;

fn piix4() -> Piix4 {
    Piix4::new([5, 9, 10, 11].map(|irq| (irq, loose_line())).into(), [(); 4].map(|()| loose_line()))
}

fn isa(chip: &Piix4) -> Vec<u8> {
    chip.isa.iter().filter(|(_, line)| line.is_high()).map(|(irq, _)| *irq).collect()
}

fn apic(chip: &Piix4) -> Vec<usize> {
    (0..4).filter(|n| chip.apic[*n].is_high()).collect()
}

fn route(chip: &mut Piix4, pirq: u8, value: u8) {
    chip.write_config(PIRQRC + pirq, Width::Byte, value.into());
}

#[test]
fn pins_turn_by_one_from_device_to_device() {
    for (device, pin, pirq) in [(1, 0, 0), (1, 3, 3), (2, 0, 1), (3, 0, 2), (4, 0, 3), (5, 0, 0), (4, 1, 0), (31, 2, 0)] {
        let mut chip = piix4();
        chip.set_input(pin_input(device, pin), true);
        assert_eq!(apic(&chip), [pirq], "device {device}, pin {pin}");
        assert_eq!(isa(&chip), [], "nothing is routed after reset");
    }
}

#[test]
fn a_routed_pirq_asserts_its_isa_interrupt_until_the_last_sharer_lets_go() {
    let mut chip = piix4();
    route(&mut chip, 0, 10);
    route(&mut chip, 1, 10);
    chip.set_input(pin_input(1, 0), true);
    chip.set_input(pin_input(2, 0), true);
    chip.set_input(pin_input(5, 0), true);
    assert_eq!((isa(&chip), apic(&chip)), (vec![10], vec![0, 1]));
    chip.set_input(pin_input(1, 0), false);
    chip.set_input(pin_input(5, 0), false);
    assert_eq!((isa(&chip), apic(&chip)), (vec![10], vec![1]));
    route(&mut chip, 1, 0x80 | 10);
    assert_eq!(isa(&chip), []);
    route(&mut chip, 1, 11);
    assert_eq!(isa(&chip), [11]);
}

#[test]
fn the_system_control_interrupt_joins_interrupt_9() {
    let mut chip = piix4();
    route(&mut chip, 0, 9);
    chip.set_input(SCI_INPUT, true);
    chip.set_input(pin_input(1, 0), true);
    chip.set_input(SCI_INPUT, false);
    assert_eq!(isa(&chip), [9]);
    chip.set_input(pin_input(1, 0), false);
    assert_eq!(isa(&chip), []);
}

#[test]
fn reserved_routes_lead_nowhere() {
    let mut chip = Piix4::new((0..16).map(|irq| (irq, loose_line())).collect(), [(); 4].map(|()| loose_line()));
    chip.set_input(pin_input(1, 0), true);
    let reached: Vec<u8> = (0..16)
        .filter(|irq| {
            route(&mut chip, 0, *irq);
            !isa(&chip).is_empty()
        })
        .collect();
    assert_eq!(reached, [3, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15]);
}

#[test]
fn reset_unroutes_and_keeps_the_wires_levels() {
    let mut chip = piix4();
    route(&mut chip, 0, 5);
    chip.set_input(pin_input(1, 0), true);
    assert_eq!(isa(&chip), [5]);
    Device::reset(&mut chip);
    assert_eq!((isa(&chip), apic(&chip)), (vec![], vec![0]));
    assert_eq!(chip.read_config(PIRQRC, Width::Dword), 0x8080_8080);
    route(&mut chip, 0, 5);
    assert_eq!(isa(&chip), [5]);
}

#[test]
fn odd_sizes_reach_the_routing_registers_too_and_unknown_inputs_nothing() {
    let mut chip = piix4();
    chip.write_config(PIRQRC + 1, Width::Word, 0x0b0a);
    assert_eq!(chip.read_config(PIRQRC, Width::Dword), 0x800b_0a80);
    assert_eq!(chip.read_config(0, Width::Dword), 0x7110_8086);
    assert_eq!(chip.read_config(0x0c, Width::Dword), 0x0080_0000, "one function of several");
    chip.set_input(SCI_INPUT + 1, true);
    chip.set_input(u32::MAX, true);
    assert_eq!((isa(&chip), apic(&chip)), (vec![], vec![]));
}
