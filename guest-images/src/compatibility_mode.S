# Code sizes in 64-bit mode: what segments mean there, and compatibility mode with code of 32 and 16 bits, in ring 3 and in
# ring 0.
#
# SDM vol. 3 §3.2.4, §3.4.2.1, §5.2.1 (segments in IA-32e mode), §6.14.3 (IRET); vol. 1 §3.2.1 (compatibility mode).

        .include "long.inc"

        descriptor CODE_16, 0, 0xffff, 0xfb, 0          # of ring 3; its base is filled in
        descriptor FAR_DATA, 0x12345000, 0xf, 0x93, 4
        descriptor READ_ONLY, 0, 0xfffff, 0x91, 12
        descriptor SMALL_USER, 0, 0xff, 0xf3, 4
        descriptor BOTH_SIZES, 0, 0xfffff, 0x9b, 14
        descriptor BASED_CODE, 0x10000, 0xf, 0x9b, 10   # base and limit mean nothing

checks:
        begin   "64-bit mode: code sizes"
        call    segments
        call    compatibility
        call    compatibility_in_ring_0
        call    of_16_bits
        finish

# ---- what 64-bit mode makes of segments

segments:
        mov     $FAR_DATA, %eax
        mov     %eax, %ds
        mov     %eax, %es
        movq    $0x1357, notes
        mov     notes, %rbx
        mov     $DATA, %eax
        mov     %eax, %es
        mov     %eax, %ds
        expect64 %rbx, 0x1357, "DS has no base and no limit"
        mov     $READ_ONLY, %eax
        mov     %eax, %ds
        raises  NOTHING, 0, "and may be read-only", incl notes
        xor     %eax, %eax
        mov     %eax, %ds
        raises  NOTHING, 0, "and may be null", incl notes
        mov     $FAR_DATA, %eax
        mov     %eax, %fs
        mov     $0xc0000100, %ecx
        rdmsr
        expect32 %eax, 0x12345000, "FS has the base of its descriptor"
        expect32 %edx, 0, "in 32 bits"
        mov     $notes-0x100, %eax
        wrmsr
        mov     %fs:0x100, %rbx
        expect64 %rbx, 0x1359, "and the base that is written to its register"
        set_msr 0xc0000101, 0xffffffff00000000
        mov     $notes, %ebx
        bts     $32, %rbx
        mov     %gs:(%rbx), %rcx
        expect64 %rcx, 0x1359, "of 64 bits"
        pushq   $BASED_CODE
        push    $1f
        lretq
1:      mov     %cs, %eax
        pushq   $CODE
        push    $1f
        lretq
1:      expect16 %ax, BASED_CODE, "CS has no base and no limit"
        pushq   $BOTH_SIZES
        push    $1f
        raises  GP, BOTH_SIZES, "code cannot be of 64 and of 32 bits", lretq
        add     $16, %rsp
        mov     $1f, %ecx
        mov     %ecx, notes
        movl    $CODE, notes + 4
        raises  NOTHING, 0, "JMP FAR by way of memory, to 32 bits of address", ljmpl *notes
1:      movq    $1f, notes
        movl    $CODE, notes + 8
        catch   2f
        .byte   0x48, 0xff, 0x2c, 0x25          # JMP FAR m16:64
        .long   notes
1:      nop
2:      expect_event NOTHING, 0, "to 64 bits of address"
        ret

# ---- compatibility mode in ring 3

compatibility:
        mov     $USER_DATA, %eax
        mov     %eax, %ds
        mov     %eax, %es
        catch   1f
        mov     $0x1111111122222222, %rax
        enter_ring_3 user_32, FIXED, USER_CODE_32
1:      expect_event LEAVE, 0, "compatibility mode, and INT back"
        expect64 caught_cs, USER_CODE_32, "the frame holds its code segment"
        expect64 caught_rsp, user_stack_top-4, "and its stack pointer"
        expect64 caught_frame, interrupt_stack_top-40, "of five quadwords"
        expect32 notes, 0x22222223, "registers are of 32 bits"
        expect32 notes+8, 0xfffffff0, "addresses wrap around at 4 GiB"
        mov     $SMALL_USER|3, %esi
        catch   1f
        enter_ring_3 user_32_limit, FIXED, USER_CODE_32
1:      expect_event GP, 0, "segments have limits"
        expect64 caught_rip, user_32_limit_at, "at the instruction that goes beyond"
        catch   1f
        enter_ring_3 user_32_into, FIXED, USER_CODE_32
1:      expect_event GP, 4*8+2, "INTO is decoded, and its gate is closed"
        catch   1f
        enter_ring_3 user_32_null, FIXED, USER_CODE_32
1:      expect_event GP, 0, "null cannot be accessed"
        catch   1f
        enter_ring_3 user_32_far, FIXED, USER_CODE_32
1:      expect_event LEAVE, 0, "a far jump to 64-bit code"
        expect64 caught_cs, USER_CODE, "which is in 64-bit mode"
        expect64 notes, 0x0123456789abcdef, "with registers of 64 bits"
        ret

        .code32
user_32:
        inc     %eax                            # REX in 64-bit mode
        mov     %eax, notes
        mov     $0xfffffff0, %ecx
        mov     %ecx, notes+8+0x10(%ecx)
        push    %ecx
        int     $LEAVE
user_32_limit:
        mov     %esi, %fs
        mov     %fs:0xff, %al
user_32_limit_at:
        mov     %fs:0x100, %al
        int     $LEAVE
user_32_into:
        mov     $0x7f, %al
        add     $1, %al
        into
user_32_null:
        xor     %eax, %eax
        mov     %eax, %fs
        mov     %fs:0, %eax
user_32_far:
        ljmp    $USER_CODE, $user_64
        .code64
user_64:
        mov     $0x0123456789abcdef, %rax
        mov     %rax, notes
        int     $LEAVE

# ---- compatibility mode in ring 0

compatibility_in_ring_0:
        pushq   $CODE_32
        push    $1f
        lretq
        .code32
1:      mov     $DATA, %eax
        mov     %eax, %ds
        push    $0x5a
        pop     notes
        mov     %esp, notes + 8
        lcall   $CODE, $2f
        mov     %esp, notes + 16
        ljmp    $CODE, $3f
        .code64
2:      mov     (%rsp), %rax
        mov     %rax, notes + 24
        mov     %esp, notes + 32
        lretl                                   # as it was called
3:      expect32 notes, 0x5a, "compatibility mode in ring 0 pushes doublewords"
        mov     notes+8, %eax
        sub     notes+32, %eax
        expect32 %eax, 8, "a far call from it to 64-bit code pushes two of them"
        expect32 notes+28, CODE_32, "CS among them"
        mov     notes+16, %eax
        sub     notes+8, %eax
        expect32 %eax, 0, "and a return takes them"
        catch   1f
        mov     %rsp, %rbx
        pushq   $CODE_32
        push    $2f
        lretq
        .code32
2:      ud2
        .code64
1:      expect_event UD, 0, "an exception in it"
        expect64 caught_cs, CODE_32, "returns to it"
        sub     caught_rsp, %rbx
        expect64 %rbx, 0, "with its stack"
        ret

of_16_bits:
        rebase  CODE_16, user_16
        catch   1f
        mov     $0x12345678, %eax
        enter_ring_3 0, FIXED, CODE_16|3
1:      expect_event LEAVE, 0, "compatibility mode of 16 bits"
        expect64 caught_rip, user_16_end-user_16, "runs from its base"
        expect32 notes, 0x1234ffff, "with operands of 16 bits"
        ret

        .code16
user_16:
        mov     $USER_DATA, %cx
        mov     %cx, %ds
        mov     $-1, %ax
        mov     $notes, %ebx
        mov     %eax, (%ebx)
        int     $LEAVE
user_16_end:
        .code64

        .data
        .align 8
notes:  .skip   64
