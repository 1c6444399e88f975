# The local APIC: interrupts that a processor sends itself, priorities and nesting, errors, software disable, and NMI.
#
# SDM vol. 3 §10.4 (local APIC, APIC_BASE), §10.5 (local vector table, errors), §10.6 (interrupt command), §10.8 (priorities,
# acceptance, EOI, CR8); §6.7.1 (NMI).

        .include "long.inc"
        .include "apic.inc"

checks:
        begin   "local APIC"
        start_lapic
        call    identity
        call    to_ourselves
        call    destinations
        call    priorities
        call    nesting
        call    control_register_8
        call    errors
        call    software_enable
        call    non_maskable
        finish

# Passes where CF is as `value` says after `test_vector`.
        .macro expect_vector register, vector, value, name
        test_vector \register, \vector
        expect  \value, "\name"
        .endm

identity:
        mov     $APIC_BASE, %ecx
        rdmsr
        and     $~0x400, %eax
        expect32 %eax, LAPIC|0x900, "it is at FEE00000h, on, and the bootstrap processor's"
        mov     VERSION(%r15), %eax
        cmp     $0x14, %al
        expect  ae, "its version is that of integrated ones"
        shr     $16, %eax
        cmp     $5, %al
        expect  ae, "with at least six local vectors"
        mov     $1, %eax
        cpuid
        shr     $24, %ebx
        mov     ID(%r15), %eax
        shr     $24, %eax
        cmp     %eax, %ebx
        expect  e, "CPUID and the ID register agree"
        ret

# ---- self interrupts, IRR, ISR, EOI

to_ourselves:
        send    TO_SELF|ASSERT|0x50
        expect_vector REQUESTED, 0x50, c, "an interrupt to ourselves is requested"
        expect_vector IN_SERVICE, 0x50, nc, "and not in service"
        interrupts 0x50, "it comes with IF"
        expect_vector REQUESTED, 0x50, nc, "then it is not requested"
        expect_vector IN_SERVICE, 0x50, c, "but in service"
        expect_vector TRIGGER_MODE, 0x50, nc, "by an edge"
        send    TO_SELF|ASSERT|0x50
        interrupts NOTHING, "the same again waits"
        end_of_interrupt
        interrupts 0x50, "for its end"
        end_of_interrupt
        expect_vector IN_SERVICE, 0x50, nc, "after which nothing is in service"
        send    TO_SELF|ASSERT|0x51
        send    TO_SELF|ASSERT|0x51
        interrupts 0x51, "two of one vector"
        end_of_interrupt
        interrupts NOTHING, "are one"
        send    TO_SELF|ASSERT|0x52
        catch   1f
        sti
        hlt
after_hlt:
        nop
1:      cli
        expect_event_at 0x52, 0, after_hlt, "one that is pending ends a halt at once"
        end_of_interrupt
        ret

destinations:
        mov     ID(%r15), %eax
        mov     %eax, COMMAND_HIGH(%r15)
        send    ASSERT|0x53
        interrupts 0x53, "a physical destination that is ours"
        end_of_interrupt
        xorl    $0x0f000000, COMMAND_HIGH(%r15)
        send    ASSERT|0x53
        interrupts NOTHING, "one that is nobody's"
        movl    $-1, DESTINATION_FORMAT(%r15)
        movl    $0x40000000, LOGICAL_DESTINATION(%r15)
        movl    $0x60000000, COMMAND_HIGH(%r15)
        send    LOGICAL|ASSERT|0x54
        interrupts 0x54, "a logical destination that has our bit"
        end_of_interrupt
        movl    $0xbf000000, COMMAND_HIGH(%r15)
        send    LOGICAL|ASSERT|0x54
        interrupts NOTHING, "one that has not"
        movl    $0x0fffffff, DESTINATION_FORMAT(%r15)
        movl    $0x23000000, LOGICAL_DESTINATION(%r15)
        movl    $0x21000000, COMMAND_HIGH(%r15)
        send    LOGICAL|ASSERT|0x55
        interrupts 0x55, "a member of our cluster"
        end_of_interrupt
        movl    $0x33000000, COMMAND_HIGH(%r15)
        send    LOGICAL|ASSERT|0x55
        interrupts NOTHING, "one of another cluster"
        movl    $-1, DESTINATION_FORMAT(%r15)
        send    TO_ALL|ASSERT|0x56
        interrupts 0x56, "everyone"
        end_of_interrupt
        send    TO_OTHERS|ASSERT|0x57
        interrupts NOTHING, "everyone else"
        ret

# ---- priorities: SDM vol. 3 §10.8.3

priorities:
        send    TO_SELF|ASSERT|0x41
        send    TO_SELF|ASSERT|0x92
        send    TO_SELF|ASSERT|0x63
        interrupts 0x92, "of three the highest vector comes first"
        expect32 PROCESSOR_PRIORITY(%r15), 0x90, "the processor's priority is its class"
        interrupts NOTHING, "the others wait"
        send    TO_SELF|ASSERT|0x9f
        interrupts NOTHING, "and so does a higher one of its class"
        send    TO_SELF|ASSERT|0xa0
        interrupts 0xa0, "one of a higher class does not"
        expect_vector IN_SERVICE, 0x92, c, "both are in service"
        end_of_interrupt
        expect_vector IN_SERVICE, 0xa0, nc, "the end is the higher one's"
        expect_vector IN_SERVICE, 0x92, c, "and not the lower one's"
        end_of_interrupt
        interrupts 0x9f, "then the next of the class"
        end_of_interrupt
        interrupts 0x63, "then the second"
        end_of_interrupt
        movl    $0x4f, TASK_PRIORITY(%r15)
        interrupts NOTHING, "the task's priority holds back its class"
        expect32 PROCESSOR_PRIORITY(%r15), 0x4f, "it is the processor's"
        send    TO_SELF|ASSERT|0x50
        interrupts 0x50, "and not the next"
        expect32 PROCESSOR_PRIORITY(%r15), 0x50, "whose class is the processor's then"
        end_of_interrupt
        movl    $0x3f, TASK_PRIORITY(%r15)
        interrupts 0x41, "lowering it lets the last one in"
        end_of_interrupt
        movl    $0, TASK_PRIORITY(%r15)
        ret

# ---- handlers that are interrupted themselves

        .macro log digit
        shlq    $4, order
        orq     $\digit, order
        .endm

nesting:
        gate    idt+16*0x33, lowest, CODE, 0x8e
        gate    idt+16*0x44, lower, CODE, 0x8e
        gate    idt+16*0x94, higher, CODE, 0x8e
        send    TO_SELF|ASSERT|0x44
        mov     $1000, %ecx
        sti
1:      dec     %ecx
        jnz     1b
        cli
        expect64 order, 0x13524, "a handler is interrupted by a higher class, and a lower one waits for both"
        gate    idt+16*0x33, stubs+8*0x33, CODE, 0x8e
        gate    idt+16*0x44, stubs+8*0x44, CODE, 0x8e
        gate    idt+16*0x94, stubs+8*0x94, CODE, 0x8e
        ret

lower:  log     1
        send    TO_SELF|ASSERT|0x33
        send    TO_SELF|ASSERT|0x94
        sti
        nop
        nop
        cli
        log     2
        end_of_interrupt
        iretq
higher: log     3
        end_of_interrupt
        sti                                     # the lowest is still held back by the lower
        nop
        nop
        log     5
        iretq
lowest: log     4
        end_of_interrupt
        iretq

control_register_8:
        mov     $5, %eax
        mov     %rax, %cr8
        expect32 TASK_PRIORITY(%r15), 0x50, "CR8 is the class of the task's priority"
        movl    $0x7c, TASK_PRIORITY(%r15)
        expect64 %cr8, 7, "and shows it"
        send    TO_SELF|ASSERT|0x7f
        interrupts NOTHING, "CR8 holds interrupts back"
        catch   1f
        xor     %eax, %eax
        sti
        nop
        mov     %rax, %cr8
after_cr8:
        nop
1:      cli
        expect_event_at 0x7f, 0, after_cr8, "a write of CR8 lets them in at once"
        end_of_interrupt
        ret

# ---- errors: SDM vol. 3 §10.5.3

errors: movl    $0, ERROR_STATUS(%r15)
        movl    $0, ERROR_STATUS(%r15)
        movl    $0xd1, ERROR(%r15)
        send    TO_SELF|ASSERT|0x05
        interrupts 0xd1, "an illegal vector is an error, which interrupts"
        end_of_interrupt
        movl    $0, ERROR_STATUS(%r15)
        mov     ERROR_STATUS(%r15), %eax
        and     $0x20, %eax
        expect32 %eax, 0x20, "of sending"
        movl    $0, ERROR_STATUS(%r15)
        expect32 ERROR_STATUS(%r15), 0, "which a second write forgets"
        movl    $MASKED, ERROR(%r15)
        ret

# ---- software disable: SDM vol. 3 §10.4.7.2

software_enable:
        movl    $0xd1, ERROR(%r15)
        movl    $0xff, SPURIOUS(%r15)
        mov     ERROR(%r15), %eax
        and     $MASKED, %eax
        expect32 %eax, MASKED, "disabled, its local vectors are masked"
        movl    $0xd1, ERROR(%r15)
        mov     ERROR(%r15), %eax
        and     $MASKED, %eax
        expect32 %eax, MASKED, "and stay so"
        send    TO_SELF|ASSERT|0x58
        interrupts NOTHING, "it takes no interrupts"
        movl    $ENABLED, SPURIOUS(%r15)
        movl    $0xd1, ERROR(%r15)
        expect32 ERROR(%r15), 0xd1, "enabled, they are not"
        movl    $MASKED, ERROR(%r15)
        send    TO_SELF|ASSERT|0x59
        interrupts 0x59, "and it takes interrupts"
        end_of_interrupt
        ret

# ---- NMI

non_maskable:
        mov     ID(%r15), %eax
        mov     %eax, COMMAND_HIGH(%r15)
        mov     $15, %eax
        mov     %rax, %cr8
        catch   1f
        send    AS_NMI|ASSERT
        mov     $100000, %ecx
2:      dec     %ecx
        jnz     2b
1:      expect_event NMI, 0, "NMI comes whatever IF and CR8 say"
        xor     %eax, %eax
        mov     %rax, %cr8
        gate    idt+16*NMI, nested, CODE, 0x8e
        send    AS_NMI|ASSERT
        mov     $100000, %ecx
2:      dec     %ecx
        jnz     2b
        expect32 nmis, 2, "a second NMI comes too"
        expect32 nmis_within, 1, "but not before IRET"
        gate    idt+16*NMI, stubs+8*NMI, CODE, 0x8e
        ret

nested: incl    nmis
        cmpl    $1, nmis
        jne     1f
        push    %rcx
        send    AS_NMI|ASSERT
        mov     $100000, %ecx
2:      dec     %ecx
        jnz     2b
        mov     nmis, %ecx
        mov     %ecx, nmis_within
        pop     %rcx
1:      iretq

        .data
        .align 8
order:  .quad   0
nmis:   .long   0
nmis_within:
        .long   0
