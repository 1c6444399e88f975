# A guest that dies on its way to 64-bit mode or in it, in the way that the last letter of its command line says.

        .include "broken.inc"

        .text
        .globl start
start:  mov     $1f, %edi
        jmp     load_segments
1:
        # The first 2 MiB mapped to themselves by small pages.
        movl    $pdpt + PRESENT + WRITABLE, pml4
        movl    $directory + PRESENT + WRITABLE, pdpt
        movl    $table + PRESENT + WRITABLE, directory
        mov     $PRESENT + WRITABLE, %eax
        xor     %ecx, %ecx
1:      mov     %eax, table(, %ecx, 8)
        add     $4096, %eax
        inc     %ecx
        cmp     $512, %ecx
        jne     1b
        mov     $pml4, %eax
        mov     %eax, %cr3
        call    choose
        mov     %eax, %edi
        cmp     $cases_end_32, %eax
        jb      2f
        call    enable_pae
        call    enable_long_mode
        mov     %cr0, %eax
        or      $0x80010000, %eax       # with WP
        mov     %eax, %cr0
        ljmp    $CODE64, $enter
2:      forget_handlers
        jmp     *%edi

enable_pae:
        mov     %cr4, %eax
        or      $0x20, %eax
        mov     %eax, %cr4
        ret

enable_long_mode:
        mov     $0xc0000080, %ecx
        rdmsr
        or      $0x900, %eax            # LME, NXE
        wrmsr
        ret

        .section .rodata
        .align 4
cases:  .long no_pae, unknown_efer, unknown_cr4, gate_to_32_bits, far_stack, short_gate, not_executable, read_only
        .long overflow, far_address, no_stack, late_long_mode, unaligned, halted_late

        .text
# a
no_pae: call    enable_long_mode
        mov     %cr0, %eax
        or      $0x80000000, %eax
        mov     %eax, %cr0
# b
unknown_efer:
        mov     $0xc0000080, %ecx
        rdmsr
        or      $0x10000, %eax
        wrmsr
# c
unknown_cr4:
        mov     %cr4, %eax
        or      $0x8000000, %eax
        mov     %eax, %cr4
cases_end_32:

        .code64
enter:  mov     $DATA, %eax
        mov     %eax, %ss
        # Every gate leads to a handler that halts.
        mov     $halt, %eax
        mov     $(CODE64 << 16), %edx
        mov     %ax, %dx
        mov     $0x8e00, %ax
        shl     $32, %rax
        or      %rdx, %rax
        xor     %ecx, %ecx
1:      shl     $4, %ecx
        mov     %rax, idt(%ecx)
        movq    $0, idt + 8(%ecx)
        shr     $4, %ecx
        inc     %ecx
        cmp     $256, %ecx
        jne     1b
        lidt    idt_pointer
        jmp     *%rdi

halt:   cli
        hlt
        jmp     halt

# d
gate_to_32_bits:
        movw    $CODE32, idt + 16 * 6 + 2
        movw    $CODE32, idt + 16 * 13 + 2
        movw    $CODE32, idt + 16 * 8 + 2
        ud2
# e
far_stack:
        mov     $TASK, %eax
        ltr     %ax
        movabs  $0x8000000000000000, %rax
        mov     %rax, task + 0x24       # IST1
        movb    $1, idt + 16 * 6 + 4
        movb    $1, idt + 16 * 12 + 4
        movb    $1, idt + 16 * 8 + 4
        ud2
# f
short_gate:
        movb    $0x85, idt + 16 * 6 + 5 # a task gate
        movb    $0x85, idt + 16 * 13 + 5
        movb    $0x85, idt + 16 * 8 + 5
        ud2
# g
not_executable:
        movl    $0x80000000, table + 8 * 0x180 + 4
        forget_handlers
        mov     $0x180000, %eax
        jmp     *%rax
# h
read_only:
        andl    $~WRITABLE, table + 8 * 0x180
        forget_handlers
        movl    $1, 0x180010
# i
overflow:
        movl    $0, table + 8 * 0x180
        mov     $0x181040, %esp
2:      call    2b
# j
far_address:
        forget_handlers
        movabs  $0x1234567812345678, %rbx
        mov     8(%rbx), %eax
# k
no_stack:
        mov     $TASK, %eax
        ltr     %ax
        mov     $0x700000, %eax
        mov     %rax, task + 4
        mov     $0x800000, %esp
        ud2
# l
late_long_mode:
        forget_handlers
        mov     $0xc0000080, %ecx
        rdmsr
        and     $~0x100, %eax
        wrmsr
# m
unaligned:
        mov     %cr4, %rax
        or      $0x200, %eax            # OSFXSR
        mov     %rax, %cr4
        forget_handlers
        movaps  idt + 4, %xmm0
# n
halted_late:
        mov     0x300000, %eax
