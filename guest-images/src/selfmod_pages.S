# Code that changes by way of pages, in 64-bit mode.

        .include "long.inc"

        .set ENTRY, 8
        .set FETCH, 0x10                        # error codes say so where there are pages without code
        .set scene_entry, low_directories + 4096

        .include "selfmod.inc"
        .include "selfmod_pages.inc"

checks:
        begin   "64-bit mode: code in pages that change"
        movl    $table+P+W+U, scene_entry
        flush
        call    pages
        finish

# The tables from the root on, all but one entry the same.
other_space:
        cld
        mov     $root, %esi
        mov     $other_root, %edi
        mov     $6 * 4096 / 8, %ecx
        rep movsq
        movl    $other_root + 4096 + P + W + U, other_root
        movl    $other_root + 0x3000 + P + W + U, other_root + 4096 + 8
        movl    $other_table + P + W + U, other_root + 0x3000
        mov     $other_root, %eax
        ret

        .bss
        .align 4096
other_root:
        .skip   6 * 4096                        # root, pointers, directories
        .text
