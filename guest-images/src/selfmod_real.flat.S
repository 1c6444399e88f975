# Code that changes in real mode: in the block that runs, where jumps go, beside data, and by handlers of interrupts.

        .include "real.inc"
        .include "selfmod.inc"
        .include "selfmod_block.inc"
        .include "selfmod_targets.inc"
        .include "selfmod_mixed.inc"
        .include "selfmod_interrupts.inc"

checks:
        begin   "real mode: code that changes"
        call    point_debug_vectors
        call    within_a_block
        call    targets
        call    mixed
        cmpl    $1000, steps
        expect  a, "there were single steps"
        call    interrupts
        cold_and_hot two_segments, "code in two segments tells where it is"
        finish

# CALL to the next instruction, and POP: the same bytes in two segments.
        .set SEGMENT, 0x700
two_segments:
        xor     %ebx, %ebx
        mov     heat, %ecx
1:      lcall   $0, $where_am_i
        sub     $where_am_i_at, %ax
        or      %ax, %bx
        lcall   $SEGMENT, $where_am_i-16*SEGMENT
        sub     $where_am_i_at-16*SEGMENT, %ax
        or      %ax, %bx
        dec     %ecx
        jnz     1b
        mov     %ebx, %eax
        ret
where_am_i:
        call    where_am_i_at
where_am_i_at:
        pop     %ax
        lret
