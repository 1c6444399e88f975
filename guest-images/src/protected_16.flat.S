# Protected mode as the 286 has it: from real mode and back, segments, gates and frames of 16 bits with error codes, and a
# state segment of 16 bits with stacks for the inner rings.
#
# SDM vol. 3 §9.9 (switching modes), §6.12, §7.6, ch. 21 (mixing 16-bit and 32-bit code).

        .include "real.inc"

        .set PE, 1
        .set TS, 10
        .set NP, 11
        .set LEAVE, 0x81                        # the way out of ring 3

        .set CODE, 0x08
        .set DATA, 0x10
        .set USER_CODE, 0x18 | 3
        .set USER_DATA, 0x20 | 3
        .set TASK, 0x28
        .set ABSENT, 0x30
        .set SMALL, 0x38
        .set CALL_GATE, 0x40
        .set CODE_32, 0x48
        .set TASK_2, 0x50
        .set TASK_GATE, 0x58
        .set RING0_TOP, 0x7000                  # stacks below the image
        .set USER_TOP, 0x6800
        .set TASK_2_TOP, 0x6000
        .set IDT, 0x4000

checks:
        begin   "16-bit protected mode"
        call    prepare
        call    enter
        call    exceptions
        call    rings
        call    tasks
        call    wide_code
        call    leave
        finish

# Fills the interrupt table: interrupt gates of 16 bits to stubs; LEAVE is open to ring 3.
prepare:
        mov     $IDT, %di
        mov     $stubs_16, %ax
        mov     $0x82, %cx
1:      mov     %ax, (%di)
        movw    $CODE, 2(%di)
        movw    $0x8600, 4(%di)
        movw    $0, 6(%di)
        add     $8, %ax
        add     $8, %di
        loop    1b
        movb    $0xe6, IDT + 8 * LEAVE + 5
        movw    $RING0_TOP, task + 2
        movw    $DATA, task + 4
        movw    $task, gdt + TASK + 2
        movw    $task_2, gdt + TASK_2 + 2
        movw    $called, gdt + CALL_GATE
        ret

# Passes where the last event was `vector` with `error`.
        .macro expect_fault vector, error, name
        judge_against \vector, \error, "\name", judge_event
        .endm

        .macro faults vector, error, name, instruction:vararg
        catch   1f
        \instruction
1:      expect_fault \vector, \error, "\name"
        .endm

        .macro enter_ring_3 entry
        mov     $USER_DATA, %ax
        mov     %ax, %ds
        mov     %ax, %es
        push    %ax
        push    $USER_TOP
        push    $FIXED
        push    $USER_CODE
        push    $\entry
        iret
        .endm

# ---- in: SDM vol. 3 §9.9.1

enter:  lgdtl   gdt_pointer
        lidtl   idt_pointer
        mov     $PE, %ax
        lmsw    %ax
        ljmp    $CODE, $1f
1:      mov     $DATA, %ax
        mov     %ax, %ds
        mov     %ax, %es
        mov     %ax, %ss
        xor     %ax, %ax
        mov     %ax, %fs
        mov     %ax, %gs
        mov     $TASK, %ax
        ltr     %ax
        smsw    %ax
        and     $PE, %ax
        expect16 %ax, PE, "LMSW enters protected mode"
        mov     %cs, %ax
        expect16 %ax, CODE, "JMP FAR loads CS with a selector"
        str     %ax
        expect16 %ax, TASK, "LTR takes a state segment of 16 bits"
        expect8 gdt+TASK+5, 0x83, "which is busy then"
        ret

# ---- exceptions: error codes are words

exceptions:
        catch   1f
at_ud2: ud2
1:      expect_fault UD, 0, "#UD"
        expect16 caught_ip, at_ud2, "its frame holds IP"
        expect16 caught_cs, CODE, "and CS"
        faults  GP, 0, "a word at FFFFh is #GP(0)", mov 0xffff, %ax
        expect16 caught_cs, CODE, "its frame is above the error code"
        mov     $0xfff9, %cx
        faults  GP, 0xfff8, "a selector behind the table is #GP with it", mov %cx, %fs
        mov     $ABSENT, %cx
        faults  NP, ABSENT, "an absent segment is #NP", mov %cx, %fs
        faults  SS, ABSENT, "an absent stack is #SS", mov %cx, %ss
        mov     $SMALL, %cx
        mov     %cx, %fs
        faults  GP, 0, "a byte behind a limit is #GP(0)", mov %fs:0x100, %al
        faults  GP, 0xff*8+2, "INT behind the interrupt table is #GP with its vector", int $0xff
        catch   1f
        int     $0x40
after_int:
1:      expect_fault 0x40, 0, "INT n"
        expect16 caught_ip, after_int, "comes back behind itself"
        expect16 caught_flags, FIXED|0x44, "with FLAGS"
        catch   1f
        pushw   $TF | FIXED
        popf
        nop
after_step:
        nop
1:      expect_fault DB, 0, "TF traps"
        expect16 caught_ip, after_step, "after an instruction"
        ret

# ---- rings

rings:  catch   1f
        enter_ring_3 2f
2:      int     $LEAVE
1:      expect_fault LEAVE, 0, "IRET to ring 3, and INT back"
        expect16 caught_cs, USER_CODE, "the frame holds CS"
        expect16 caught_sp, USER_TOP, "and SP"
        expect16 caught_ss, USER_DATA, "and SS"
        catch   1f
        enter_ring_3 2f
2:      hlt
1:      expect_fault GP, 0, "HLT in ring 3 is #GP(0)"
        catch   1f
        enter_ring_3 2f
2:      int     $0x40
1:      expect_fault GP, 0x202, "a gate of ring 0 is closed to it"
        movl    $0, notes
        movl    $0, notes + 4
        catch   1f
        enter_ring_3 2f
2:      push    $0x1111
        push    $0x2222
        lcall   $CALL_GATE, $0
        mov     %sp, notes + 6
        int     $LEAVE
1:      expect_fault LEAVE, 0, "a call gate of 16 bits"
        expect16 notes, RING0_TOP-12, "has a frame of six words with two parameters"
        expect16 notes+2, 0x2222, "the last one"
        expect16 notes+4, 0x1111, "and the first"
        expect16 notes+6, USER_TOP, "RET n releases them on both stacks"
        catch   1f
        push    $USER_DATA
        push    $USER_TOP
        push    $USER_CODE
        push    $2f
        lret
2:      int     $LEAVE
1:      expect_fault LEAVE, 0, "far RET to ring 3"
        expect16 caught_sp, USER_TOP, "takes up its stack"
        ret

called: mov     %sp, %bp
        mov     %bp, notes
        mov     4(%bp), %ax
        mov     %ax, notes + 2
        mov     6(%bp), %ax
        mov     %ax, notes + 4
        lret    $4

# ---- tasks: SDM vol. 3 §7.6

tasks:  movw    $in_task_2, task_2 + 0x0e
        movw    $FIXED, task_2 + 0x10
        movw    $0xa0, task_2 + 0x12
        movw    $TASK_2_TOP, task_2 + 0x1a
        movw    $DATA, task_2 + 0x22
        movw    $CODE, task_2 + 0x24
        movw    $DATA, task_2 + 0x26
        movw    $DATA, task_2 + 0x28
        mov     $0x5a5a, %di
        lcall   $TASK_2, $0
        expect16 notes, 0xa0, "CALL to a task loads its registers"
        expect16 notes+2, TASK_2_TOP, "and its stack"
        expect16 notes+4, NT|FIXED, "and sets NT"
        expect16 task_2, TASK, "and links it"
        expect16 %di, 0x5a5a, "IRET comes back to the caller's registers"
        lcall   $TASK_GATE, $0
        expect16 notes+4, NT|FIXED, "a task gate leads there too"
        smsw    %ax
        and     $8, %ax
        expect16 %ax, 8, "a switch sets TS"
        clts
        ret

in_task_2:
        mov     %ax, notes
        mov     %sp, notes + 2
        pushf
        popw    notes + 4
        iret
        mov     $0xa0, %ax
        jmp     in_task_2

# ---- code of 32 bits, called from here: SDM vol. 3 §21.4

wide_code:
        lcalll  $CODE_32, $in_32
        expect32 %eax, 0x12345678, "a call to code of 32 bits, and back"
        expect32 %ebx, CODE, "its frame is of 32 bits"
        ret

        .code32
in_32:  mov     $0x12345678, %eax
        movzwl  %sp, %ecx
        mov     4(%ecx), %ebx
        lret
        .code16

# ---- out: SDM vol. 3 §9.9.2

leave:  mov     %cr0, %eax
        and     $~PE, %eax
        mov     %eax, %cr0
        ljmp    $0, $1f
1:      xor     %ax, %ax
        mov     %ax, %ds
        mov     %ax, %es
        mov     %ax, %ss
        mov     %ax, %fs
        mov     %ax, %gs
        lidt    vector_table
        mov     %cs, %ax
        expect16 %ax, 0, "back in real mode"
        raises  0x77, "INT n goes through the vectors again", int $0x77
        raises  UD, "and STR is #UD", str %ax
        ret

        .align 8
stubs_16:
        .set vector, 0
        .rept 0x82
        .align 8
        push    $vector - 128
        jmp     handler_16
        .set vector, vector + 1
        .endr

# SS:SP -> vector, error code where there is one, IP, CS, FLAGS; then SP and SS where a ring was left.
handler_16:
        push    %bp
        mov     %sp, %bp
        push    %ax
        mov     $DATA, %ax
        mov     %ax, %ds
        mov     %ax, %es
        popw    kept_eax
        mov     2(%bp), %ax
        add     $128, %ax
        movzwl  %ax, %eax
        mov     %eax, caught + 4
        movl    $0, caught
        cmp     $31, %ax
        ja      1f
        bt      %eax, with_error_code
        jnc     1f
        mov     4(%bp), %ax
        mov     %ax, caught
        add     $2, %bp
1:      mov     4(%bp), %ax
        mov     %ax, caught_ip
        mov     6(%bp), %ax
        mov     %ax, caught_cs
        mov     8(%bp), %ax
        mov     %ax, caught_flags
        lea     10(%bp), %ax
        mov     %ax, caught_sp
        mov     %ss, caught_ss
        testw   $3, caught_cs
        jz      2f
        mov     10(%bp), %ax
        mov     %ax, caught_sp
        mov     12(%bp), %ax
        mov     %ax, caught_ss
2:      mov     $DATA, %ax
        mov     %ax, %ss
        mov     resume_sp, %sp
        cmpw    $0, resume_at
        je      unexpected
        push    $FIXED
        push    $CODE
        pushw   resume_at
        movw    $0, resume_at
        mov     kept_eax, %ax
        iret

        .data
        .align 8
gdt:    .quad   0
        .quad   0x00009b000000ffff              # CODE
        .quad   0x000093000000ffff              # DATA
        .quad   0x0000fb000000ffff              # USER_CODE
        .quad   0x0000f3000000ffff              # USER_DATA
        .quad   0x000081000000002b              # TASK
        .quad   0x000013000000ffff              # ABSENT
        .quad   0x00009300000000ff              # SMALL
        .quad   0x0000e40200080000              # CALL_GATE, two parameters
        .quad   0x00409b000000ffff              # CODE_32
        .quad   0x000081000000002b              # TASK_2
        .quad   0x0000850000500000              # TASK_GATE
gdt_pointer:
        .word   . - gdt - 1
        .long   gdt
idt_pointer:
        .word   0x82 * 8 - 1
        .long   IDT
with_error_code:
        .long   0x227d00                        # 8, 10 to 14, 17 and 21
task:   .skip   0x2c
task_2: .skip   0x2c
notes:  .skip   16
