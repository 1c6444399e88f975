# Code that changes its meaning: with its size, its segment and its ring, in 64-bit and compatibility mode, and with the state.

        .include "long.inc"

        descriptor CODE_32_OF, 0, 0xffff, 0x9b, 4
        descriptor CODE_16_OF, 0, 0xffff, 0x9b, 0

        .include "selfmod.inc"
        .include "selfmod_modes.inc"

checks:
        begin   "64-bit mode: code whose meaning changes"
        call    modes
        call    states
        call    registers
        finish
