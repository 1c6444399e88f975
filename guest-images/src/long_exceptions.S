# Exceptions of 64-bit mode: frames and their alignment, interrupt stacks, error codes, exceptions within exceptions, and what
# 64-bit mode no longer decodes or allows. Addresses that are not canonical have a guest of their own.
#
# SDM vol. 3 §6.14 (64-bit exceptions: gates, frames, stacks), §6.15, table 6-5, §17.2.6.

        .include "long.inc"
        .include "pic.inc"

        .set BROKEN, 0x800000000000             # the first address that is not canonical

        descriptor ABSENT, 0, 0xfffff, 0x13, 12
        descriptor ABSENT_CODE, 0, 0xfffff, 0x1b, 10
        descriptor BOTH_SIZES, 0, 0xfffff, 0x9b, 14

checks:
        begin   "64-bit mode: exceptions"
        call    faults_and_traps
        call    removed
        call    frames
        call    interrupt_stacks
        call    selectors
        call    gates
        call    double_faults
        call    interrupts
        call    ring_3
        call    registers
        finish

        .set DR6_CLEAR, 0xffff0ff0

        .macro arm_dr0 address, condition
        mov     $\address, %eax
        mov     %rax, %dr0
        mov     $DR6_CLEAR, %eax
        mov     %rax, %dr6
        mov     $0x401 | \condition << 16, %eax
        mov     %rax, %dr7
        .endm

        .macro disarm
        mov     $0x400, %eax
        mov     %rax, %dr7
        .endm

# ---- faults and traps

faults_and_traps:
        catch   1f
        xor     %edx, %edx
        xor     %ecx, %ecx
at_div: div     %rcx
1:      expect_event_at DE, 0, at_div, "DIV by zero is #DE"
        mov     caught_flags, %rax
        and     $FL_RF, %eax
        expect32 %eax, FL_RF, "a fault's frame holds RF"
        mov     $1, %edx
        mov     $1, %ecx
        raises  DE, 0, "a quotient of more than 64 bits is #DE", div %rcx
        catch   1f
        pushq   $FL_TF | FIXED
        popfq
        nop
after_step:
        nop
1:      expect_event_at DB, 0, after_step, "TF traps after one instruction"
        arm_dr0 at_breakpoint, 0
        catch   1f
at_breakpoint:
        nop
1:      expect_event_at DB, 0, at_breakpoint, "an instruction breakpoint is a fault"
        mov     caught_flags, %rax
        and     $FL_RF, %eax
        expect32 %eax, 0, "without RF"
        arm_dr0 watched, 0b1001                 # writes of eight bytes
        catch   1f
        mov     watched+4, %eax
        movb    $1, watched+7
after_write:
        nop
1:      expect_event_at DB, 0, after_write, "a breakpoint of eight bytes is met in its last"
        disarm
        catch   1f
        int3
after_int3:
1:      expect_event_at BP, 0, after_int3, "INT3 is #BP"
        raises  DB, 0, "INT1 is #DB", .byte 0xf1
        raises  UD, 0, "UD2 is #UD", ud2
        catch   1f
        int     $0x40
after_int:
1:      expect_event_at 0x40, 0, after_int, "INT n goes through its gate"
        mov     %cr0, %rbx
        mov     %rbx, %rax
        or      $CR0_TS, %eax
        mov     %rax, %cr0
        raises  NM, 0, "x87 under TS is #NM", fnop
        raises  NM, 0, "SSE under TS is #NM", pxor %xmm0, %xmm0
        mov     %rbx, %cr0
        fninit
        fldcw   unmasked
        fld1
        fldz
        fdivrp
        raises  MF, 0, "an x87 exception is #MF", fwait
        fninit
        ldmxcsr unmasked_mxcsr
        pxor    %xmm0, %xmm0
        movsd   one, %xmm1
        raises  XM, 0, "an SSE exception is #XM", divsd %xmm0, %xmm1
        ldmxcsr masked_mxcsr
        ret

# ---- what 64-bit mode has no more: SDM vol. 2, "64-bit mode: invalid"

        .macro removed_opcode name, bytes:vararg
        raises  UD, 0, "\name is #UD", .byte \bytes
        .endm

removed:
        removed_opcode "INTO", 0xce
        removed_opcode "BOUND", 0x62, 0x07
        removed_opcode "PUSHA", 0x60
        removed_opcode "POPA", 0x61
        removed_opcode "DAA", 0x27
        removed_opcode "AAM", 0xd4, 0x0a
        removed_opcode "PUSH ES", 0x06
        removed_opcode "POP DS", 0x1f
        removed_opcode "LES", 0xc4, 0x07
        removed_opcode "JMP FAR with its pointer", 0xea, 0, 0, 0, 0, 0, 0
        removed_opcode "CALL FAR with its pointer", 0x9a, 0, 0, 0, 0, 0, 0
        removed_opcode "the second encoding of group 1", 0x82, 0xc0, 0
        removed_opcode "SALC", 0xd6
        removed_opcode "LOCK MOV", 0xf0, 0x89, 0xc0
        ret

# ---- frames: SS and RSP always, from a boundary of sixteen bytes: SDM vol. 3 §6.14.2

frames: mov     $stack_top-256, %ebx
        .macro frame_at offset, expected, name
        mov     %rsp, %rbp
        catch   1f
        lea     -\offset(%rbx), %rsp
        int     $0x40
1:      mov     %rbp, %rsp
        movl    $0, resume_at
        expect64 caught_rsp, stack_top-256-\offset, "\name: RSP is saved"
        expect64 caught_frame, stack_top-256-\expected, "\name: the frame is aligned"
        .endm
        frame_at 0, 40, "RSP at a multiple of sixteen"
        frame_at 8, 56, "RSP at a multiple of eight"
        frame_at 1, 56, "RSP at an odd address"
        mov     $BROKEN, %rcx
        catch   1f
        lea     -8(%rbx), %rsp
        mov     (%rcx), %al
1:      mov     %rbp, %rsp
        expect_event GP, 0, "with an error code"
        expect64 caught_frame, stack_top-256-56, "the frame is where it would be without"
        expect64 caught_cs, CODE, "it holds CS"
        expect64 caught_ss, DATA, "and SS"
        mov     $0, %eax
        mov     %eax, %ss
        catch   1f
        int     $0x40
1:      expect64 caught_ss, 0, "which may be null in ring 0"
        movl    $0, resume_at
        mov     $DATA, %eax
        mov     %eax, %ss
        ret

# ---- the interrupt stack table: SDM vol. 3 §6.14.5

        .set IST_1, task + 0x24
        .set IST_7, task + 0x54

interrupt_stacks:
        movq    $interrupt_stack_top-0x400, IST_1
        movq    $interrupt_stack_top-0x808, IST_7
        gate    idt+16*0x40, stubs+8*0x40, CODE, 0x8e, 1
        catch   1f
        int     $0x40
1:      expect_event 0x40, 0, "a gate with an interrupt stack"
        expect64 caught_frame, interrupt_stack_top-0x400-40, "switches to it within ring 0"
        mov     %rsp, %rbx
        sub     caught_rsp, %rbx
        expect64 %rbx, 0, "and saves RSP"
        expect32 handler_ss, DATA, "SS stays"
        gate    idt+16*0x40, stubs+8*0x40, CODE, 0x8e, 7
        catch   1f
        int     $0x40
1:      expect64 caught_frame, interrupt_stack_top-0x810-40, "the seventh, which is aligned"
        movl    $0, resume_at
        gate    idt+16*0x40, stubs+8*0x40, CODE, 0xee, 1
        catch   1f
        enter_ring_3 2f
2:      int     $0x40
1:      expect64 caught_frame, interrupt_stack_top-0x400-40, "from ring 3 it takes the place of the ring's"
        movl    $0, resume_at
        gate    idt+16*0x40, stubs+8*0x40, CODE, 0x8e, 1
        mov     $BROKEN + 0x100, %rax
        mov     %rax, IST_1
        raises  SS, 0, "an interrupt stack that is not canonical is #SS(0)", int $0x40
        gate    idt+16*0x40, stubs+8*0x40, CODE, 0x8e
        ret

# ---- selectors

selectors:
        mov     $0x918|3, %eax
        raises  GP, 0x918, "a selector behind the table is #GP", mov %eax, %es
        mov     $ABSENT, %eax
        raises  NP, ABSENT, "an absent one #NP", mov %eax, %fs
        raises  SS, ABSENT, "in SS #SS", mov %eax, %ss
        mov     $CODE, %eax
        raises  GP, CODE, "code in SS is #GP", mov %eax, %ss
        xor     %eax, %eax
        raises  NOTHING, 0, "null in SS is nothing", mov %eax, %ss
        mov     $3, %eax
        raises  GP, 0, "but with another RPL it is #GP(0)", mov %eax, %ss
        mov     $DATA, %eax
        mov     %eax, %ss
        xor     %ecx, %ecx
        raises_in_ring_3 GP, 0, "in ring 3 null in SS is #GP(0)", mov %ecx, %ss
        pushq   $FL_NT | FIXED
        popfq
        raises  GP, 0, "IRET under NT is #GP(0)", iretq
        ret

# ---- gates: SDM vol. 3 §6.14.1

        .macro spoil_gate vector, access
        movb    $\access, idt + 16 * \vector + 5
        .endm

        .macro mend_gate vector
        spoil_gate \vector, 0x8e
        .endm

gates:  lidt    short_table
        raises  GP, 0x83*8+2, "INT n behind the table is #GP with its vector", int $0x83
        raises  GP, 0x82*8+2, "one that is half in it too", int $0x82
        lidt    idt_pointer
        spoil_gate 0x40, 0x0e
        raises  NP, 0x202, "an absent gate is #NP", int $0x40
        spoil_gate 0x40, 0x85
        raises  GP, 0x202, "a task gate is #GP", int $0x40
        spoil_gate 0x40, 0x86
        raises  GP, 0x202, "a gate of 16 bits is #GP", int $0x40
        spoil_gate 0x40, 0x8c
        raises  GP, 0x202, "a call gate is #GP", int $0x40
        mend_gate 0x40
        gate    idt+16*0x40, 0, 0, 0x8e
        raises  GP, 0, "a gate to null is #GP(0)", int $0x40
        gate    idt+16*0x40, 0, DATA, 0x8e
        raises  GP, DATA, "a gate to data is #GP", int $0x40
        gate    idt+16*0x40, 0, CODE_32, 0x8e
        raises  GP, CODE_32, "a gate to code of 32 bits is #GP", int $0x40
        gate    idt+16*0x40, 0, BOTH_SIZES, 0x8e
        raises  GP, BOTH_SIZES, "a gate to code of both sizes is #GP", int $0x40
        gate    idt+16*0x40, 0, ABSENT_CODE, 0x8e
        raises  NP, ABSENT_CODE, "a gate to absent code is #NP", int $0x40
        gate    idt+16*0x40, stubs+8*0x40, CODE, 0x8e
        movl    $0x8000, idt + 16 * 0x40 + 8
        raises  GP, 0, "a gate to what is not canonical is #GP(0)", int $0x40
        gate    idt+16*0x40, stubs+8*0x40, CODE, 0x8f
        catch   1f
        pushq   $FL_IF | FIXED
        popfq
        int     $0x40
1:      cli
        expect_event 0x40, 0, "a trap gate"
        mov     handler_flags, %rax
        and     $FL_IF, %eax
        expect32 %eax, FL_IF, "leaves IF"
        gate    idt+16*0x40, stubs+8*0x40, CODE, 0x8e
        ret

double_faults:
        spoil_gate UD, 0x0e
        raises  NP, UD*8+3, "in delivering #UD, #NP is delivered, marked as external", ud2
        mend_gate UD
        spoil_gate DE, 0x0e
        xor     %ecx, %ecx
        raises  DF, 0, "in delivering #DE it is #DF(0)", div %ecx
        mend_gate DE
        spoil_gate GP, 0x0e
        mov     $BROKEN, %rbx
        raises  DF, 0, "in delivering #GP too", mov (%rbx), %eax
        mend_gate GP
        # Without a stack: #SS, and #DF has one of its own.
        movq    $interrupt_stack_top, IST_1
        gate    idt+16*DF, stubs+8*DF, CODE, 0x8e, 1
        catch   1f
        mov     %rsp, %r8
        mov     %rbx, %rsp
        push    %rax
1:      expect_event DF, 0, "without a stack #SS is #DF(0)"
        expect64 caught_frame, interrupt_stack_top-40, "on its own"
        gate    idt+16*DF, stubs+8*DF, CODE, 0x8e
        ret

interrupts:
        start_pics 0x20, 0x28
        mask_pics 0xfe
        hold_pit
        catch   1f
        sti
        nop
after_shadow:
        nop
1:      expect_event_at 0x20, 0, after_shadow, "an interrupt arrives after the instruction that follows STI"
        eoi
        hold_pit
        spoil_gate 0x20, 0x0e
        catch   1f
        sti
        nop
        nop
1:      expect_event NP, 0x103, "without its gate it is #NP, marked as external"
        mend_gate 0x20
        eoi
        stop_pit
        mask_pics 0xff
        ret

# ---- ring 3

ring_3: catch   1f
        enter_ring_3 at_user_ud
at_user_ud:
        ud2
1:      expect_event_at UD, 0, at_user_ud, "ring 3 raises #UD"
        expect64 caught_cs, USER_CODE, "the frame holds its code segment"
        expect64 caught_ss, USER_DATA, "and its stack segment"
        expect64 caught_rsp, user_stack_top, "and its stack pointer"
        expect64 caught_frame, interrupt_stack_top-40, "on the stack of ring 0"
        expect32 handler_ss, 0, "where SS is null"
        raises_in_ring_3 GP, 0, "HLT in ring 3 is #GP(0)", hlt
        raises_in_ring_3 GP, 0x202, "a gate of ring 0 is closed to it", int $0x40
        mov     $DATA, %ecx
        raises_in_ring_3 GP, DATA, "data of ring 0 too", mov %ecx, %fs
        mov     %cr0, %rax
        or      $AM, %rax
        mov     %rax, %cr0
        .macro unaligned name, instruction:vararg
        catch   1f
        enter_ring_3 2f, FL_AC|FIXED
2:      \instruction
        int     $LEAVE
1:      expect_event AC, 0, "\name"
        .endm
        unaligned "a quadword at 4 modulo 8 is #AC(0)", mov watched+4, %rax
        unaligned "a doubleword at 2 modulo 4 is", mov watched+2, %eax
        unaligned "a quadword of the stack at 4 modulo 8 is", mov -4(%rsp), %rax
        mov     %cr0, %rax
        and     $~AM, %rax
        mov     %rax, %cr0
        raises_in_ring_3 LEAVE, 0, "without CR0.AM nothing is", mov watched+4, %rax
        ret

# ---- control and debug registers refuse what their upper halves cannot hold: SDM vol. 2 MOV

        .macro refuses register, value, name
        mov     $\value, %rax
        raises  GP, 0, "\name", mov %rax, %\register
        .endm

registers:
        mov     %cr0, %rbx
        mov     %rbx, %rax
        bts     $32, %rax
        raises  GP, 0, "CR0 has 32 bits", mov %rax, %cr0
        mov     %rbx, %rax
        btr     $31, %rax
        raises  GP, 0, "paging cannot be left in 64-bit mode", mov %rax, %cr0
        mov     %cr4, %rbx
        mov     %rbx, %rax
        and     $~PAE, %eax
        raises  GP, 0, "nor can PAE", mov %rax, %cr4
        mov     %rbx, %rax
        bts     $12, %rax
        raises  GP, 0, "paging of five levels is not there, or not changed now", mov %rax, %cr4
        mov     %rbx, %rax
        bts     $32, %rax
        raises  GP, 0, "CR4 has 32 bits", mov %rax, %cr4
        mov     %cr3, %rax
        bts     $52, %rax
        raises  GP, 0, "CR3 has no bit beyond physical addresses", mov %rax, %cr3
        refuses cr8, 0x10, "CR8 has four bits"
        refuses dr7, 0x100000400, "DR7 has 32 bits"
        refuses dr6, 0x1ffff0ff0, "DR6 has 32 bits"
        mov     $EFER, %ecx
        rdmsr
        and     $~0x100, %eax
        raises  GP, 0, "EFER.LME is fixed under paging", wrmsr
        ret

        .data
        .align 16
watched:
        .quad   0
one:    .double 1.0
unmasked:
        .word   0x37b                           # zero divide
        .align 4
unmasked_mxcsr:
        .long   0x1d80
masked_mxcsr:
        .long   0x1f80
short_table:
        .word   0x83 * 16 - 2
        .quad   idt
