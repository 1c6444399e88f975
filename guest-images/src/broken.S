# A guest in 32-bit protected mode that dies, in the way that the last letter of its command line says.

        .include "broken.inc"

        .text
        .globl start
start:  mov     $1f, %edi
        jmp     load_segments
1:
        # Every gate leads to a handler that halts.
        mov     $halt, %eax
        mov     $(CODE32 << 16), %edx
        mov     %ax, %dx
        mov     $0x8e00, %ax
        xor     %ecx, %ecx
1:      mov     %edx, idt(, %ecx, 8)
        mov     %eax, idt + 4(, %ecx, 8)
        inc     %ecx
        cmp     $256, %ecx
        jne     1b
        lidt    idt_pointer
        # The first 4 MiB mapped to themselves by small pages.
        movl    $table + PRESENT + WRITABLE, directory
        mov     $PRESENT + WRITABLE, %eax
        xor     %ecx, %ecx
2:      mov     %eax, table(, %ecx, 4)
        add     $4096, %eax
        inc     %ecx
        cmp     $1024, %ecx
        jne     2b
        call    choose
        jmp     *%eax

halt:   cli
        hlt
        jmp     halt

# CR3 = directory, CR0.PG.
enable_paging:
        mov     $directory, %eax
set_paging:
        mov     %eax, %cr3
        mov     %cr0, %eax
        or      $0x80010000, %eax       # with WP
        mov     %eax, %cr0
        ret

        .section .rodata
        .align 4
cases:  .long no_handlers, absent_gate, data_gate, short_gdt, unmapped_gdt, unmapped_stack, small_stack, no_task
        .long code_stack, empty_directory, distant_directory, reserved_bits, jump_to_data, null_stack, handled, divided
        .long empty_gate, read_only_page, busy_task, handled_fault

        .text
# a
no_handlers:
        forget_handlers
        ud2
# b
absent_gate:
        andb    $0x7f, idt + 8 * 6 + 5
        andb    $0x7f, idt + 8 * 11 + 5
        andb    $0x7f, idt + 8 * 8 + 5
        ud2
# c
data_gate:
        movw    $DATA, idt + 8 * 6 + 2
        movw    $DATA, idt + 8 * 13 + 2
        movw    $DATA, idt + 8 * 8 + 2
        ud2
# d
short_gdt:
        movw    $7, gdt_pointer
        lgdt    gdt_pointer
        ud2
# e
unmapped_gdt:
        call    enable_paging
        movl    $0x500000, gdt_pointer + 2
        lgdt    gdt_pointer
        ud2
# f
unmapped_stack:
        call    enable_paging
        mov     $0x600010, %esp
        mov     0x700000, %eax
# g
small_stack:
        mov     $SMALL, %eax
        mov     %eax, %ss
        mov     $0x4002, %esp
        push    %eax
# h
no_task:
        movw    $3, task_entry
        mov     $TASK, %eax
        ltr     %ax
        jmp     to_ring_3
# i
code_stack:
        movl    $stack_top, task + 4
        movl    $CODE32, task + 8
        mov     $TASK, %eax
        ltr     %ax
        jmp     to_ring_3
# j
empty_directory:
        mov     $zeros, %eax
        jmp     set_paging
# k
distant_directory:
        mov     $0xb0000000, %eax
        jmp     set_paging
# l
reserved_bits:
        mov     %cr4, %eax
        or      $0x10, %eax             # PSE
        mov     %eax, %cr4
        movl    $(1 << 21) + LARGE + PRESENT, directory + 4
        call    enable_paging
        forget_handlers
        mov     0x400123, %eax
# m
jump_to_data:
        forget_handlers
        ljmp    $DATA, $halt
# n
null_stack:
        forget_handlers
        xor     %eax, %eax
        mov     %eax, %ss
# o
handled:
        jmp     halt
# p
divided:
        forget_handlers
        xor     %edx, %edx
        xor     %ecx, %ecx
        div     %ecx
# q
empty_gate:
        movl    $0, idt + 8 * 6 + 4
        movl    $0, idt + 8 * 13 + 4
        movl    $0, idt + 8 * 8 + 4
        ud2
# r
read_only_page:
        andl    $~WRITABLE, table + 4 * 0x200
        call    enable_paging
        forget_handlers
        movl    $1, 0x200010
# s
busy_task:
        mov     $TASK, %eax
        ltr     %ax
        forget_handlers
        ltr     %ax
# t
handled_fault:
        mov     $0x1000, %eax
        mov     %eax, %ds

to_ring_3:
        push    $USER_DATA
        push    $stack_top - 4096
        push    $2
        push    $USER_CODE
        push    $1f
        iret
1:      ud2
