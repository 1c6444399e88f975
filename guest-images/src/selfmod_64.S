# Code that changes in 64-bit mode: in the block that runs, where jumps go, beside data, and by handlers of interrupts.

        .include "long.inc"
        .include "selfmod.inc"
        .include "selfmod_block.inc"
        .include "selfmod_targets.inc"
        .include "selfmod_mixed.inc"
        .include "selfmod_interrupts.inc"

checks:
        begin   "64-bit mode: code that changes"
        call    point_debug_vectors
        call    within_a_block
        call    targets
        call    mixed
        cmpl    $1000, steps
        expect  a, "there were single steps"
        call    interrupts
        finish
