# Ways from ring to ring in 64-bit mode: call gates of sixteen bytes, far calls and returns of each width, IRET of each width,
# a ring between the outer two, and system descriptors of sixteen bytes.
#
# SDM vol. 3 §5.8.3.1 (64-bit call gates), §5.8.5.1, §6.14.3 (IRET), §7.7 (64-bit TSS), §3.5.2 (system descriptors); vol. 2
# CALL, RET, IRET.

        .include "long.inc"

        .set BROKEN, 0x800000000000             # the first address that is not canonical

        descriptor RING1_CODE, 0, 0xfffff, 0xbb, 10
        .set RING1_CODE, RING1_CODE | 1
        descriptor BOTH_SIZES, 0, 0xfffff, 0x9b, 14
        descriptor ABSENT_CODE, 0, 0xfffff, 0x1b, 10
        descriptor GATE, 0, 0, 0
        descriptor GATE_UPPER, 0, 0, 0
        descriptor LOCAL, 0, 23, 0x82
        descriptor LOCAL_UPPER, 0, 0, 0
        descriptor TASK_16, 0, 0x2b, 0x81
        descriptor TASK_16_UPPER, 0, 0, 0

checks:
        begin   "64-bit mode: gates"
        call    call_gates
        call    call_gate_checks
        call    far_calls
        call    returns
        call    inner_ring
        call    system_descriptors
        finish

        .macro note n, register
        mov     \register, notes + 8 * \n
        .endm

# ---- call gates

        .macro call_gate label, selector, access
        gate    gdt+GATE, \label, \selector, \access
        .endm

call_gates:
        call_gate called, CODE, 0xec
        catch   1f
        enter_ring_3 2f
2:      lcall   *gate_pointer
after_lcall:
        note    8, %rsp
        int     $LEAVE
1:      expect_event LEAVE, 0, "a call gate to ring 0, and back"
        expect64 notes, interrupt_stack_top-32, "its frame is four quadwords"
        expect64 notes+8, after_lcall, "RIP"
        expect64 notes+16, USER_CODE, "CS"
        expect64 notes+24, user_stack_top, "RSP"
        expect64 notes+32, USER_DATA, "SS"
        expect16 notes+40, CODE, "the called code is in ring 0"
        expect16 notes+48, 0, "where SS is null"
        expect64 notes+64, user_stack_top, "RET takes up the outer stack"
        catch   1f
        enter_ring_3 user_32_calls, FIXED, USER_CODE_32
1:      expect_event LEAVE, 0, "a call gate from compatibility mode"
        expect64 notes+16, USER_CODE_32, "its frame holds that code segment"
        expect64 notes+8, user_32_called, "and EIP"
        expect64 caught_cs, USER_CODE_32, "to which RET goes back"
        call_gate called_within, CODE, 0x8c
        mov     %rsp, %rbx
        lcall   *gate_pointer
        sub     notes, %rbx
        expect64 %rbx, 16, "within ring 0 the frame is two quadwords"
        ret

called: note    0, %rsp
        mov     (%rsp), %rax
        note    1, %rax
        mov     8(%rsp), %rax
        note    2, %rax
        mov     16(%rsp), %rax
        note    3, %rax
        mov     24(%rsp), %rax
        note    4, %rax
        mov     %cs, %eax
        note    5, %rax
        mov     %ss, %eax
        note    6, %rax
        lretq
called_within:
        note    0, %rsp
        lretq
        .code32
user_32_calls:
        lcall   $GATE, $0
user_32_called:
        int     $LEAVE
        .code64

        .macro call_refused vector, error, name
        raises_in_ring_3 \vector, \error, "\name", lcall *gate_pointer
        .endm

call_gate_checks:
        call_gate called, CODE, 0x8c
        call_refused GP, GATE, "a gate of ring 0 is closed to ring 3"
        call_gate called, CODE, 0x6c
        call_refused NP, GATE, "an absent gate is #NP"
        call_gate called, CODE, 0xe4
        call_refused GP, GATE, "a gate of 16 bits is #GP"
        call_gate called, 0, 0xec
        call_refused GP, 0, "a gate to null is #GP(0)"
        call_gate called, CODE_32, 0xec
        call_refused GP, CODE_32, "a gate to code of 32 bits is #GP"
        call_gate called, BOTH_SIZES, 0xec
        call_refused GP, BOTH_SIZES, "a gate to code of both sizes is #GP"
        call_gate called, ABSENT_CODE, 0xec
        call_refused NP, ABSENT_CODE, "a gate to absent code is #NP"
        call_gate called, CODE, 0xec
        raises_in_ring_3 GP, CODE, "a jump through a gate to ring 0 is #GP", ljmp *gate_pointer
        movl    $0x8000, gdt + GATE + 8
        call_refused GP, 0, "a gate to what is not canonical is #GP(0)"
        movl    $0, gdt + GATE + 8
        movl    $0x100, gdt + GATE + 12
        call_refused GP, GATE, "a type in the upper half of a gate is #GP"
        movl    $0, gdt + GATE + 12
        mov     $BROKEN+0x100, %rax
        mov     %rax, task + 4
        catch   1f
        gate    idt+16*SS, stubs+8*SS, CODE, 0x8e, 1
        movq    $interrupt_stack_top, task + 0x24
        enter_ring_3 2f
2:      lcall   *gate_pointer
1:      expect_event SS, 0, "a stack that is not canonical is #SS(0)"
        gate    idt+16*SS, stubs+8*SS, CODE, 0x8e
        movq    $interrupt_stack_top, task + 4
        movw    $TASK, gate_pointer + 4
        raises  GP, TASK, "a call of a task is #GP", lcall *gate_pointer
        raises  GP, TASK, "a jump to a task is #GP", ljmp *gate_pointer
        movw    $GATE, gate_pointer + 4
        ret

# ---- far CALL and RET of each width

far_calls:
        movq    $far_routine, notes
        movl    $CODE, notes + 4
        mov     %rsp, %rbx
        lcalll  *notes
        sub     notes+32, %rbx
        expect64 %rbx, 8, "CALL FAR of 32 bits pushes two doublewords"
        movq    $far_routine_64, notes
        movl    $CODE, notes + 8
        mov     %rsp, %rbx
        .byte   0x48, 0xff, 0x1c, 0x25          # CALL FAR m16:64
        .long   notes
        sub     notes+32, %rbx
        expect64 %rbx, 16, "of 64 bits two quadwords"
        ret

far_routine:
        note    4, %rsp
        lretl
far_routine_64:
        note    4, %rsp
        lretq

# ---- IRET and far RET outwards

returns:
        catch   1f
        pushq   $USER_DATA
        pushq   $user_stack_top
        pushq   $USER_CODE
        pushq   $2f
        lretq
2:      int     $LEAVE
1:      expect_event LEAVE, 0, "RET FAR to ring 3"
        expect64 caught_rsp, user_stack_top, "takes up its stack"
        catch   1f
        sub     $20, %rsp
        movl    $2f, (%rsp)
        movl    $USER_CODE, 4(%rsp)
        movl    $FIXED, 8(%rsp)
        movl    $user_stack_top, 12(%rsp)
        movl    $USER_DATA, 16(%rsp)
        iretl
2:      int     $LEAVE
1:      expect_event LEAVE, 0, "IRET of 32 bits takes five doublewords"
        expect64 caught_rsp, user_stack_top, "RSP among them"
        catch   1f
        pushq   $0
        pushq   $user_stack_top
        pushq   $FIXED
        pushq   $USER_CODE
        pushq   $2f
        iretq
2:      int     $LEAVE
1:      expect_event GP, 0, "IRETQ to ring 3 with a null stack is #GP(0)"
        catch   1f
        pushq   $0
        pushq   $user_stack_top
        pushq   $FIXED
        pushq   $CODE
        pushq   $2f
        iretq
2:      mov     %rsp, %rbx
        mov     %ss, %ecx
        int     $LEAVE
1:      expect_event LEAVE, 0, "in ring 0 it may be null"
        expect16 %cx, 0, "SS is"
        expect64 %rbx, user_stack_top, "RSP is loaded even so"
        mov     $DATA, %eax
        mov     %eax, %ss
        catch   1f
        pushq   $DATA
        pushq   $user_stack_top
        pushq   $FIXED
        pushq   $USER_CODE
        pushq   $2f
        iretq
2:      int     $LEAVE
1:      expect_event GP, DATA, "IRETQ to ring 3 with a stack of ring 0 is #GP"
        catch   1f
        enter_ring_3 2f, FL_VM|FL_RF|FIXED
2:      pushfq
        pop     %rbx
        int     $LEAVE
1:      expect_event LEAVE, 0, "IRETQ with VM set"
        expect64 %rbx, FIXED, "leaves it clear"
        catch   1f
        enter_ring_3 2f
2:      pushq   $USER_DATA
        push    %rsp
        pushq   $FL_IF | IOPL_3 | FL_ID | FIXED
        pushq   $USER_CODE
        pushq   $3f
        iretq
3:      pushfq
        pop     %rbx
        int     $LEAVE
1:      expect_event LEAVE, 0, "IRETQ within ring 3"
        expect64 %rbx, FL_ID|FIXED, "leaves IOPL and IF"
        catch   1f
        enter_ring_3 2f
2:      pushq   $DATA
        push    %rsp
        pushq   $FIXED
        pushq   $CODE
        pushq   $3f
        iretq
3:      int     $LEAVE
1:      expect_event GP, CODE, "IRETQ inwards is #GP"
        ret

# ---- ring 1

inner_ring:
        movq    $ring1_stack_top, task + 12
        gate    idt+16*0x42, in_ring_1, RING1_CODE, 0xee
        catch   1f
        enter_ring_3 2f
2:      int     $0x42
1:      expect_event LEAVE, 0, "an interrupt to ring 1"
        expect64 caught_cs, RING1_CODE, "runs there"
        expect64 notes, ring1_stack_top-40, "on its stack"
        expect64 caught_ss, 1, "which is null with an RPL of 1"
        ret

in_ring_1:
        note    0, %rsp
        int     $LEAVE

# ---- LDT and TSS descriptors of sixteen bytes; what LAR and LSL know

system_descriptors:
        rebase  LOCAL, local
        mov     $LOCAL, %eax
        lldt    %ax
        mov     $8|4, %eax
        raises  NOTHING, 0, "a segment of a local table", mov %eax, %fs
        mov     $24|4, %eax
        raises  GP, 24|4, "one behind its end is #GP", mov %eax, %fs
        movl    $0x100, gdt + LOCAL_UPPER + 4
        mov     $LOCAL, %eax
        raises  GP, LOCAL, "a type in the upper half of a descriptor is #GP", lldt %ax
        movl    $0, gdt + LOCAL_UPPER + 4
        movl    $0x8000, gdt + LOCAL_UPPER
        raises  GP, LOCAL, "a base that is not canonical is #GP", lldt %ax
        movl    $0, gdt + LOCAL_UPPER
        xor     %eax, %eax
        lldt    %ax
        mov     $TASK_16, %eax
        raises  GP, TASK_16, "a task of 16 bits is #GP in LTR", ltr %ax
        mov     $TASK_16, %ebx
        lar     %ebx, %ecx
        expect  nz, "LAR does not answer for it"
        mov     $TASK, %ebx
        lsl     %ebx, %ecx
        expect  z, "LSL answers for a task of 64 bits"
        call_gate called, CODE, 0xec
        mov     $GATE, %ebx
        lar     %ebx, %ecx
        expect  z, "LAR answers for a call gate of 64 bits"
        expect8 gdt+TASK+5, 0x8b, "LTR made the task busy"
        ret

        .data
        .align 8
gate_pointer:
        .long   0
        .word   GATE
        .align 8
local:  .quad   0
        .quad   0x00cf93000000ffff
        .quad   0
notes:  .skip   128
        .bss
        .skip   4096
ring1_stack_top:
        .text
