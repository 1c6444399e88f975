//! Our own guests, each of which checks something and says so by its exit status.

use crate::guest::{guests, run};

#[test]
fn hello_is_printed_and_the_debug_exit_port_ends_the_run() {
    let Some(image) = guests("own/hello.elf") else { return };
    let output = run(&["run", &image.to_string_lossy(), "--accel", "interp", "--debug-exit", "--timeout", "60"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_boot_sector_is_refused_what_hardware_refuses() {
    let Some(image) = guests("own/faults.bin") else { return };
    let output = run(&["run", &image.to_string_lossy(), "--flat", "0x7c00", "--debug-exit", "--timeout", "60"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "#GP #AC ");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn an_x87_error_reaches_its_handler_as_interrupt_13() {
    let Some(image) = guests("own/coprocessor.bin") else { return };
    let output = run(&["run", &image.to_string_lossy(), "--flat", "0x7c00", "--debug-exit", "--timeout", "60"]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
}
