# Code that changes in 32-bit protected mode with paging: all that is asked without it, and code by way of pages.

        .include "protected.inc"

        .set P, 1
        .set W, 2
        .set U, 4
        .set PS, 0x80
        .set PG, 1 << 31
        .set WP, 1 << 16
        .set PSE, 1 << 4
        .set ENTRY, 4
        .set FETCH, 0                           # error codes do not say so where all pages may be code
        .set scene_entry, directory + 4 * (0x40000000 >> 22)

        .include "selfmod.inc"
        .include "selfmod_block.inc"
        .include "selfmod_targets.inc"
        .include "selfmod_mixed.inc"
        .include "selfmod_interrupts.inc"
        .include "selfmod_pages.inc"

checks:
        begin   "32-bit mode: code in pages that change"
        mov     $low_tables, %edi
        mov     $P | W | U, %eax
1:      stosl
        add     $0x1000, %eax
        cmp     $0x1000000, %eax
        jb      1b
        mov     $low_tables + P + W + U, %eax
        mov     $directory, %edi
        mov     $4, %ecx
2:      stosl
        add     $0x1000, %eax
        loop    2b
        movl    $table+P+W+U, scene_entry
        mov     %cr4, %eax
        or      $PSE, %eax
        mov     %eax, %cr4
        mov     $directory, %eax
        mov     %eax, %cr3
        mov     %cr0, %eax
        or      $PG | WP, %eax
        mov     %eax, %cr0
        jmp     3f
3:      call    point_debug_vectors
        call    within_a_block
        call    targets
        call    mixed
        call    interrupts
        call    pages
        cold_and_hot paging_off, "an address with paging and without"
        finish

# The first frame's own address shows the second frame.
        .macro without_paging
        mov     %cr0, %eax
        and     $~PG, %eax
        mov     %eax, %cr0
        .endm
        .macro with_paging
        mov     %cr0, %eax
        or      $PG, %eax
        mov     %eax, %cr0
        .endm
paging_off:
        call    two_functions
        mov     $first, %esi
        shr     $12, %esi
        mov     low_tables(, %esi, 4), %ebp
        movl    $second+P+W, low_tables(, %esi, 4)
        flush
        alternates first+OFFSET, "without_paging", "with_paging"
        with_paging
        mov     $first, %esi
        shr     $12, %esi
        mov     %ebp, low_tables(, %esi, 4)
        imul    $4, heat, %eax
        sub     %ebx, %eax
        add     $5, %eax
        ret

# The same directory but for one entry.
other_space:
        cld
        mov     $directory, %esi
        mov     $other_directory, %edi
        mov     $1024, %ecx
        rep movsl
        movl    $other_table + P + W + U, other_directory + 4 * (SCENE >> 22)
        mov     $other_directory, %eax
        ret

        .bss
        .align 4096
directory:
        .skip   4096
other_directory:
        .skip   4096
low_tables:
        .skip   4 * 4096                        # 16 MiB at their own addresses
        .text
