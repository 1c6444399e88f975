//! Our own guests that check the processor and the interrupts of the board, a line for each check: what each prints is
//! compared as a whole with the names of its checks, which are in `checks/`.

use crate::guest::{guests, is_emulated_host, run};

/// Where flat images are loaded and start.
const BOOT_SECTOR: &str = "0x7c00";

/// Runs the guest `image` and expects its `title`, then that each of `checks` passed, in this order, then its end.
fn passes(image: &str, title: &str, checks: &str) {
    passes_with(&[], image, title, checks);
}

/// The same for guests that run hundreds of millions of instructions.
fn passes_on_fast_hosts(image: &str, title: &str, checks: &str) {
    if !is_emulated_host() {
        passes(image, title, checks);
    }
}

/// The engines that guests are run by.
const ENGINES: &[&str] = if cfg!(all(target_arch = "x86_64", target_os = "linux")) { &["interp", "jit"] } else { &["interp"] };

/// The same with further options.
fn passes_with(options: &[&str], image: &str, title: &str, checks: &str) {
    for engine in ENGINES {
        passes_on(engine, options, image, title, checks);
    }
}

fn passes_on(engine: &str, options: &[&str], image: &str, title: &str, checks: &str) {
    let Some(path) = guests(&format!("own/{image}")) else { return };
    let path = path.to_string_lossy();
    let mut arguments = vec!["run", &path, "--accel", engine, "--debug-exit", "--timeout", "120"];
    arguments.extend(options);
    if image.ends_with(".bin") {
        arguments.extend(["--flat", BOOT_SECTOR]);
    }
    let output = run(&arguments);
    let printed = String::from_utf8_lossy(&output.stdout);
    let passed: Vec<&str> = printed.lines().filter_map(|line| line.strip_prefix("ok   ")).collect();
    let others: Vec<&str> = printed.lines().filter(|line| !line.starts_with("ok   ")).collect();
    let missing: Vec<&str> = checks.lines().filter(|check| !passed.contains(check)).collect();
    let messages = String::from_utf8_lossy(&output.stderr);
    assert_eq!((others, missing, messages.as_ref()), (vec![title, "end"], vec![], ""), "{engine}: {printed}");
    assert_eq!(passed, checks.lines().collect::<Vec<_>>(), "{image}: other checks than `checks/` lists");
    assert_eq!(output.status.code(), Some(1), "{image} on {engine}");
}

#[test]
fn real_mode_raises_each_exception_where_it_belongs() {
    passes("real_exceptions.bin", "real mode: exceptions", include_str!("checks/real_exceptions.txt"));
}

#[test]
fn real_mode_ends_its_segments_at_64_kib() {
    passes("real_limits.bin", "real mode: limits", include_str!("checks/real_limits.txt"));
}

#[test]
fn real_mode_has_its_frames_flags_and_stacks() {
    passes("real_flow.bin", "real mode: flow", include_str!("checks/real_flow.txt"));
}

#[test]
fn real_mode_is_interrupted_by_each_source_of_the_8259_pair() {
    passes("real_interrupts.bin", "real mode: interrupts", include_str!("checks/real_interrupts.txt"));
}

#[test]
fn protected_mode_of_16_bits_is_entered_and_left() {
    passes("protected_16.bin", "16-bit protected mode", include_str!("checks/protected_16.txt"));
}

#[test]
fn protected_mode_raises_each_exception_with_its_error_code() {
    passes("protected_exceptions.elf", "protected mode: exceptions", include_str!("checks/protected_exceptions.txt"));
}

#[test]
fn protected_mode_checks_its_segments() {
    passes("protected_segments.elf", "protected mode: segments", include_str!("checks/protected_segments.txt"));
}

#[test]
fn protected_mode_is_interrupted_from_ring_to_ring() {
    passes("protected_gates.elf", "protected mode: gates", include_str!("checks/protected_gates.txt"));
}

#[test]
fn protected_mode_calls_through_gates() {
    passes("protected_call_gates.elf", "protected mode: call gates", include_str!("checks/protected_call_gates.txt"));
}

#[test]
fn protected_mode_switches_tasks() {
    passes("protected_tasks.elf", "protected mode: tasks", include_str!("checks/protected_tasks.txt"));
}

#[test]
fn protected_mode_refuses_tasks_on_either_side_of_the_switch() {
    passes("protected_tasks_refused.elf", "protected mode: tasks refused", include_str!("checks/protected_tasks_refused.txt"));
}

#[test]
fn protected_mode_keeps_to_ring_0_what_is_a_systems() {
    passes("protected_system.elf", "protected mode: system", include_str!("checks/protected_system.txt"));
}

#[test]
fn virtual_8086_mode_is_entered_left_and_virtualised() {
    passes("virtual_8086.elf", "virtual-8086 mode", include_str!("checks/virtual_8086.txt"));
}

#[test]
fn virtual_8086_mode_has_its_extensions() {
    passes("virtual_8086_extensions.elf", "virtual-8086 mode extensions", include_str!("checks/virtual_8086_extensions.txt"));
}

#[test]
fn paging_of_32_bits_translates_and_refuses() {
    passes("paging_32.elf", "32-bit paging", include_str!("checks/paging_32.txt"));
}

#[test]
fn paging_with_pae_translates_and_refuses() {
    passes("paging_pae.elf", "PAE paging", include_str!("checks/paging_pae.txt"));
}

#[test]
fn paging_of_four_levels_translates_and_refuses() {
    passes("paging_long.elf", "4-level paging", include_str!("checks/paging_long.txt"));
}

#[test]
fn paging_of_five_levels_translates_and_refuses() {
    passes_with(&["--cpu", "x86-64-v1,+la57"], "paging_57.elf", "5-level paging", include_str!("checks/paging_57.txt"));
}

#[test]
fn translations_are_forgotten_when_they_must_be() {
    passes("paging_contexts.elf", "forgetting translations", include_str!("checks/paging_contexts.txt"));
}

#[test]
fn keys_protect_pages_from_ring_3_and_from_the_supervisor() {
    passes_with(&["--cpu", "x86-64-v1,+pku"], "paging_keys.elf", "protection keys", include_str!("checks/paging_keys.txt"));
}

#[test]
fn long_mode_raises_each_exception_on_the_right_stack() {
    passes("long_exceptions.elf", "64-bit mode: exceptions", include_str!("checks/long_exceptions.txt"));
}

#[test]
fn addresses_that_are_not_canonical_are_refused() {
    passes("not_canonical.elf", "addresses that are not canonical", include_str!("checks/not_canonical.txt"));
}

#[test]
fn long_mode_runs_code_of_each_size() {
    passes("compatibility_mode.elf", "64-bit mode: code sizes", include_str!("checks/compatibility_mode.txt"));
}

#[test]
fn long_mode_goes_through_gates_from_ring_to_ring() {
    passes("long_gates.elf", "64-bit mode: gates", include_str!("checks/long_gates.txt"));
}

#[test]
fn long_mode_is_called_fast_and_returns_fast() {
    passes("long_calls.elf", "64-bit mode: calls", include_str!("checks/long_calls.txt"));
}

#[test]
fn long_mode_does_what_kernels_rely_on() {
    passes("long.elf", "long mode", include_str!("checks/long.txt"));
}

#[test]
fn the_local_apic_orders_sends_and_times_interrupts() {
    passes("local_apic.elf", "local APIC", include_str!("checks/local_apic.txt"));
}

#[test]
fn the_local_apic_timer_has_three_modes() {
    passes("local_apic_timer.elf", "local APIC timer", include_str!("checks/local_apic_timer.txt"));
}

#[test]
fn x2apic_mode_is_entered_used_and_left() {
    passes("x2apic.elf", "x2APIC", include_str!("checks/x2apic.txt"));
}

#[test]
fn the_io_apic_delivers_each_source_of_the_board() {
    passes("io_apic.elf", "I/O APIC", include_str!("checks/io_apic.txt"));
}

#[test]
fn the_event_timer_interrupts_by_edges_and_by_levels() {
    passes("event_timer.elf", "event timer", include_str!("checks/event_timer.txt"));
}

#[test]
fn the_power_management_timer_is_a_system_control_interrupt() {
    passes("power_timer.elf", "power-management timer", include_str!("checks/power_timer.txt"));
}

#[test]
fn code_that_changes_runs_as_it_is_now_in_64_bit_mode() {
    passes_on_fast_hosts("selfmod_64.elf", "64-bit mode: code that changes", include_str!("checks/selfmod_64.txt"));
}

#[test]
fn code_that_changes_runs_as_it_is_now_in_32_bit_mode() {
    passes_on_fast_hosts("selfmod_32.elf", "32-bit mode: code that changes", include_str!("checks/selfmod_32.txt"));
}

#[test]
fn code_that_changes_runs_as_it_is_now_in_real_mode() {
    passes_on_fast_hosts("selfmod_real.bin", "real mode: code that changes", include_str!("checks/selfmod_real.txt"));
}

#[test]
fn code_in_pages_that_change_runs_as_it_is_now_in_32_bit_mode() {
    passes_on_fast_hosts("selfmod_paged.elf", "32-bit mode: code in pages that change", include_str!("checks/selfmod_paged.txt"));
}

#[test]
fn code_in_pages_that_change_runs_as_it_is_now_in_64_bit_mode() {
    passes_on_fast_hosts("selfmod_pages.elf", "64-bit mode: code in pages that change", include_str!("checks/selfmod_pages.txt"));
}

#[test]
fn code_means_what_its_mode_its_ring_and_the_state_say() {
    passes("selfmod_modes.elf", "64-bit mode: code whose meaning changes", include_str!("checks/selfmod_modes.txt"));
}

#[test]
fn code_is_seen_changed_by_every_kind_of_store() {
    passes("selfmod_stores.elf", "64-bit mode: stores into code", include_str!("checks/selfmod_stores.txt"));
}

#[test]
fn code_is_seen_changed_by_every_kind_of_store_of_vectors() {
    passes("selfmod_vectors.elf", "64-bit mode: stores of vectors into code", include_str!("checks/selfmod_vectors.txt"));
}

#[test]
fn code_is_seen_changed_by_a_device() {
    passes("selfmod_dma.elf", "64-bit mode: code written by a device", include_str!("checks/selfmod_dma.txt"));
}

#[test]
fn code_made_at_random_does_what_a_model_does() {
    passes_on_fast_hosts("selfmod_random.elf", "64-bit mode: code made at random", include_str!("checks/selfmod_random.txt"));
}
