# Code that a device writes, in 64-bit mode: transfers of fw_cfg over functions that ran until they were hot.
#
# QEMU, docs/specs/fw_cfg.rst: a transfer is described at an address that is written to ports 514h and 518h; when it is done, the
# description's first word is 0. SDM vol. 3 §8.1.3, §11.6: a jump makes the processor see code that is new in memory.

        .include "long.inc"
        .include "selfmod.inc"

        .set SIGNATURE, 0x554d4551              # item 0: "QEMU"; as code PUSH RCX; PUSH R13
        .set READ_SIGNATURE, 0x0000000a         # select item 0, read
        .set SKIP_SIGNATURE, 0x0000000c
        .set READ, 0x00000002
        .set DMA_HIGH, 0x514
        .set DMA_LOW, 0x518
        .set ALIAS, 0x40000000                  # where the first 2 MiB of memory are again
        .set alias_entry, low_directories + 4096

checks:
        begin   "64-bit mode: code written by a device"
        movl    $P+W+PS, alias_entry
        mov     %cr3, %rax
        mov     %rax, %cr3
        mov     $DMA_HIGH, %edx
        in      %dx, %eax
        expect32 %eax, 0x554d4551, "fw_cfg transfers"
        cold_and_hot constant_written, "a constant"
        cold_and_hot written_in_turn, "a constant, written by the device and by the processor in turn"
        cold_and_hot opcodes_written, "opcodes"
        cold_and_hot alias_runs, "code that runs at another address"
        cold_and_hot across_written, "the second half of an instruction across two pages"
        cold_and_hot pages_cleared, "zeros over three pages of functions"
        cold_and_hot nothing_written, "a transfer that skips and writes nothing"
        cold_and_hot answer_in_line, "the device's answer in the line of the code"
        cold_and_hot answer_is_code, "the device's answer in the code"
        cold_and_hot own_block, "a loop that waits for it, over what follows the loop"
        cold_and_hot cleared_in_block, "zeros over the rest of the function that asked for them"
        finish

# Asks for `length` bytes from item 0 to `address`, with the description at `description`, and waits for the end. Changes EAX
# and EDX.
        .macro transfer control, length, address, description=request
        movl    $(\control) << 24, \description
        movl    $((\length) & 255) << 24 | ((\length) & 0xff00) << 8, \description+4
        movl    $0, \description+8
        mov     $\address, %eax
        bswap   %eax
        mov     %eax, \description+12
        mov     $\description, %eax
        call    start_and_wait
        .endm

# Starts what is described at EAX.
start_and_wait:
        push    %rax
        mov     $DMA_HIGH, %edx
        xor     %eax, %eax
        out     %eax, %dx
        mov     (%rsp), %rax
        bswap   %eax
        mov     $DMA_LOW, %edx
        out     %eax, %dx
        pop     %rdx
1:      testl   $0xfeffffff, (%rdx)             # all bits but the error
        jnz     1b
        ret

# Calls the code at `place` as often as `heat` says, and adds up in EBX what it returns beside `value`.
        .macro call_hot place, value
        mov     heat, %ecx
7:      call_once \place, \value
        dec     %ecx
        jnz     7b
        .endm
        .macro call_once place, value
        mov     $\place, %edi
        call    *%rdi
        sub     $\value, %eax
        or      %eax, %ebx
        .endm

# MOV EAX, `value`; RET at `at`.
        .macro function at, value
        movb    $0xb8, \at
        movl    $\value, \at+1
        movb    $0xc3, \at+5
        .endm

constant_written:
        xor     %ebx, %ebx
        function arena, 1
        call_hot arena, 1
        transfer READ_SIGNATURE, 4, arena+1
        call_once arena, SIGNATURE
        call_hot arena, SIGNATURE
        mov     %ebx, %eax
        ret

written_in_turn:
        xor     %ebx, %ebx
        function arena, 1
        mov     heat, %ebp
1:      movl    $1, arena+1
        call_once arena, 1
        transfer READ_SIGNATURE, 4, arena+1
        call_once arena, SIGNATURE
        transfer READ_SIGNATURE, 2, arena+3
        call_once arena, 0x45514551
        dec     %ebp
        jnz     1b
        mov     %ebx, %eax
        ret

# PUSH RCX; NOP; PUSH R12 become PUSH RCX; PUSH R13.
opcodes_written:
        xor     %ebx, %ebx
        install pushes, arena
        mov     $12, %r12d
        mov     $13, %r13d
        call_hot arena, 12
        transfer READ_SIGNATURE, 4, arena
        call_once arena, 13
        call_hot arena, 13
        mov     %ebx, %eax
        ret
pushes: push    %rcx
        nop
        push    %r12
        pop     %rax
        pop     %rdx
        ret
pushes_end:

alias_runs:
        xor     %ebx, %ebx
        function arena, 1
        call_hot ALIAS+arena, 1
        call_hot arena, 1
        transfer READ_SIGNATURE, 4, arena+1
        call_once ALIAS+arena, SIGNATURE
        call_once arena, SIGNATURE
        mov     %ebx, %eax
        ret

across_written:
        xor     %ebx, %ebx
        function arena+4096-3, 0x01010101
        call_hot arena+4096-3, 0x01010101
        transfer READ_SIGNATURE, 2, arena+4096
        call_once arena+4096-3, 0x45510101
        transfer READ_SIGNATURE, 2, arena+4096-2
        call_once arena+4096-3, 0x45514551
        mov     %ebx, %eax
        ret

# Functions in three pages return 1. A transfer beyond an item's end writes zeros, ADD [RAX], AL: up to the RET behind them RAX is
# what it was.
pages_cleared:
        xor     %ebx, %ebx
        function pages+0x100, 1
        function pages+0x1100, 1
        function pages+0x2040, 1
        movb    $0xc3, pages+0x2080
        call_hot pages+0x100, 1
        call_hot pages+0x1100, 1
        call_hot pages+0x2040, 1
        transfer READ_SIGNATURE, 0x2000, pages+0x80
        mov     $nowhere, %eax
        call_once pages+0x2040, nowhere
        mov     $nowhere, %eax
        call_once pages+0x1100, nowhere
        mov     $nowhere, %eax
        call_once pages+0x100, nowhere
        mov     %ebx, %eax
        ret

nothing_written:
        xor     %ebx, %ebx
        function arena, 1
        mov     heat, %ebp
1:      transfer SKIP_SIGNATURE, 4, arena+1
        call_once arena, 1
        dec     %ebp
        jnz     1b
        mov     %ebx, %eax
        ret

# The description is right behind the function, in its line.
answer_in_line:
        xor     %ebx, %ebx
        function arena+16, 1
        mov     heat, %ebp
1:      transfer SKIP_SIGNATURE, 4, arena, arena+32
        call_once arena+16, 1
        dec     %ebp
        jnz     1b
        mov     %ebx, %eax
        ret

# The description begins in the function's constant: while it is asked for, the function returns the request, then 0.
answer_is_code:
        xor     %ebx, %ebx
        movb    $0xb8, arena+15
        mov     heat, %ebp
1:      movl    $SKIP_SIGNATURE<<24, arena+16
        movl    $0x000000c3, arena+20           # RET, and a length in its last byte
        call_once arena+15, SKIP_SIGNATURE<<24
        movl    $0, arena+24
        movl    $0, arena+28
        mov     $arena+16, %eax
        call    start_and_wait
        call_once arena+15, 0
        dec     %ebp
        jnz     1b
        mov     %ebx, %eax
        ret

# The description goes to the constant behind the loop in the last round only.
own_block:
        xor     %ebx, %ebx
        mov     heat, %ecx
        movl    $1, 3f-4
        mov     $nowhere, %edi
1:      movl    $READ_SIGNATURE<<24, request
        movl    $4<<24, request+4
        movl    $0, request+8
        mov     %edi, %eax
        bswap   %eax
        mov     %eax, request+12
        mov     $DMA_LOW, %edx
        mov     $request, %eax
        bswap   %eax
        out     %eax, %dx
2:      testl   $0xfeffffff, request
        jnz     2b
        mov     $1, %eax
3:      add     %eax, %ebx
        then_at 3b-4, 1b
        sub     $SIGNATURE, %ebx
        mov     %ebx, %eax
        sub     heat, %eax
        ret

# Nothing is asked for, and six times INC EBX run; then twelve bytes, which become ADD [RAX], AL.
cleared_in_block:
        xor     %ebx, %ebx
        transfer READ_SIGNATURE, 4, nowhere     # past the item's end there are zeros
        mov     heat, %ebp
1:      install asks, arena
        movl    $READ<<24, request
        movl    $0, request+4
        call    arena
        movl    $READ<<24, request
        movl    $12<<24, request+4
        call    arena
        dec     %ebp
        jnz     1b
        imul    $6, heat, %eax
        sub     %ebx, %eax
        ret
asks:   movl    $0, request+8
        mov     $arena+(asks_cleared-asks), %eax
        bswap   %eax
        mov     %eax, request+12
        mov     $DMA_LOW, %edx
        mov     $request, %eax
        bswap   %eax
        out     %eax, %dx
1:      testl   $0xfeffffff, request
        jnz     1b
        mov     $nowhere, %eax
        jmp     asks_cleared
asks_cleared:
        .rept   6
        inc     %ebx
        .endr
        ret
asks_end:

        .bss
        .align 4096
pages:  .skip   4 * 4096
        .data
        .align 64
request:
        .skip   16
        .text
