# Code that changes in 32-bit protected mode without paging: in the block that runs, where jumps go, beside data; and code whose
# meaning changes with its size, its segment, its ring and the state.

        .include "protected.inc"

        descriptor CODE_32_OF, 0, 0xffff, 0x9b, 4
        descriptor CODE_16_OF, 0, 0xffff, 0x9b, 0

        descriptor SHIFTED, 64, 0xfffff, 0x93, 12
        descriptor BELOW_64_KIB, 0, 0xffff, 0x93, 4

        .include "selfmod.inc"
        .include "selfmod_block.inc"
        .include "selfmod_targets.inc"
        .include "selfmod_mixed.inc"
        .include "selfmod_interrupts.inc"
        .include "selfmod_modes.inc"

checks:
        begin   "32-bit mode: code that changes"
        call    point_debug_vectors
        call    within_a_block
        call    targets
        call    mixed
        cmpl    $1000, steps
        expect  a, "there were single steps"
        call    interrupts
        gate    idt+8*DB, stubs+8*DB, CODE, 0x8e
        call    modes
        call    states
        call    registers
        finish
