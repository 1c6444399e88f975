# Addresses that are not canonical: #SS(0) by way of the stack, else #GP(0), and what does not look at them.
#
# SDM vol. 1 §3.3.7.1 (canonical addressing); vol. 2, "64-bit mode exceptions" of each instruction.

        .include "long.inc"

        .set BROKEN, 0x800000000000             # the first address that is not canonical

checks:
        begin   "addresses that are not canonical"
        movq    $interrupt_stack_top-0x800, task + 0x54         # the seventh interrupt stack
        call    not_canonical
        finish

not_canonical:
        mov     $BROKEN, %rbx
        raises  GP, 0, "a load from one", mov (%rbx), %eax
        raises  GP, 0, "a store to one", mov %eax, (%rbx)
        mov     $-0x800000000001, %rcx
        raises  GP, 0, "a load from the last one", mov (%rcx), %al
        mov     $0x7ffffffffffd, %rcx
        raises  GP, 0, "a load across the first", mov (%rcx), %eax
        mov     $-0x800000000002, %rcx
        raises  GP, 0, "a load across the last", mov (%rcx), %eax
        mov     %rbx, %rbp
        raises  SS, 0, "a load by way of RBP is #SS(0)", mov (%rbp), %eax
        mov     %rsp, %r8
        .macro on_broken_stack name, instruction:vararg
        catch   1f
        mov     %rbx, %rsp
        \instruction
1:      mov     %r8, %rsp
        expect_event SS, 0, "\name"
        mov     $BROKEN, %rax
        cmp     %rax, caught_rsp
        expect  e, "\name leaves RSP"
        .endm
        gate    idt+16*SS, stubs+8*SS, CODE, 0x8e, 7
        add     $8, %rbx
        .set    BROKEN, BROKEN + 8
        on_broken_stack "PUSH", push %rax
        on_broken_stack "POP", pop %rax
        on_broken_stack "CALL", call at_target
        on_broken_stack "RET", ret
        on_broken_stack "a load by way of RSP", mov (%rsp), %rax
        .set    BROKEN, BROKEN - 8
        gate    idt+16*SS, stubs+8*SS, CODE, 0x8e
        catch   1f
at_jump:
        jmp     *%rbx
1:      expect_event_at GP, 0, at_jump, "a jump there is #GP(0)"
        catch   1f
at_call:
        call    *%rbx
1:      expect_event_at GP, 0, at_call, "a call there is"
        push    %rbx
        catch   1f
at_ret: ret
1:      expect_event_at GP, 0, at_ret, "a return there is"
        add     $8, %rsp
        catch   1f
        pushq   $DATA
        push    %rsp
        pushq   $FIXED
        pushq   $CODE
        push    %rbx
at_iret:
        iretq
1:      expect_event_at GP, 0, at_iret, "IRETQ there is"
        mov     $0xc0000100, %ecx               # FS.base
        mov     %rbx, %rdx
        shr     $32, %rdx
        mov     %ebx, %eax
        raises  GP, 0, "a base that is not canonical is", wrmsr
        raises  GP, 0, "a load through FS is", mov %fs:(%rbx), %eax
        raises  GP, 0, "CLFLUSH is", clflush (%rbx)
        raises  NOTHING, 0, "INVLPG there is nothing", invlpg (%rbx)
        raises  NOTHING, 0, "nor is a prefetch", prefetcht0 (%rbx)
        raises  NOTHING, 0, "nor LEA", lea (%rbx), %rax
at_target:
        ret
