# The timer of the local APIC in its three modes: once, periodically, and at a value of the time-stamp counter.
#
# SDM vol. 3 §10.5.4 (timer), §10.5.4.1 (TSC deadline).

        .include "long.inc"
        .include "apic.inc"

        .set TSC_DEADLINE, 0x6e0

checks:
        begin   "local APIC timer"
        start_lapic
        call    one_shot
        call    periodic
        call    deadline
        finish

one_shot:
        movl    $0x0b, DIVIDE(%r15)             # by 1
        movl    $0xc1, TIMER(%r15)
        movl    $0x10000, INITIAL_COUNT(%r15)
        interrupts 0xc1, "the timer interrupts once"
        expect32 CURRENT_COUNT(%r15), 0, "it has come to 0"
        expect32 INITIAL_COUNT(%r15), 0x10000, "its initial count stays"
        end_of_interrupt
        interrupts NOTHING, "it does not again"
        movl    $0xc2 | MASKED, TIMER(%r15)
        movl    $0x800, INITIAL_COUNT(%r15)
        interrupts NOTHING, "masked it does not interrupt"
        expect32 CURRENT_COUNT(%r15), 0, "but counts"
        movl    $0xc2, TIMER(%r15)
        movl    $-1, INITIAL_COUNT(%r15)
        mov     CURRENT_COUNT(%r15), %ebx
1:      mov     CURRENT_COUNT(%r15), %edx
        cmp     %ebx, %edx
        je      1b
        expect  b, "it counts down"
        movl    $0, INITIAL_COUNT(%r15)
        expect32 CURRENT_COUNT(%r15), 0, "an initial count of 0 stops it"
        interrupts NOTHING, "and it does not interrupt"

        movl    $0x0a, DIVIDE(%r15)             # by 128
        movl    $0x100, INITIAL_COUNT(%r15)
        interrupts 0xc2, "its clock can be divided"
        end_of_interrupt
        movl    $0x0b, DIVIDE(%r15)
        catch   1f
        movl    $0x20000, INITIAL_COUNT(%r15)
        sti
2:      hlt
        jmp     2b
1:      cli
        expect_event 0xc2, 0, "it ends a halt"
        end_of_interrupt
        ret

periodic:
        movl    $0xc3 | PERIODIC, TIMER(%r15)
        movl    $0x40000, INITIAL_COUNT(%r15)
        interrupts 0xc3, "periodic, it interrupts"
        end_of_interrupt
        interrupts 0xc3, "and again"
        end_of_interrupt
        mov     CURRENT_COUNT(%r15), %eax
        test    %eax, %eax
        expect  nz, "and goes on counting"
        movl    $0, INITIAL_COUNT(%r15)
        drain
        interrupts NOTHING, "until it is stopped"
        ret

# ---- the deadline of the time-stamp counter

        .macro expect_deadline condition, name
        mov     $TSC_DEADLINE, %ecx
        rdmsr
        or      %edx, %eax
        expect  \condition, "\name"
        .endm

# Sets the deadline `ticks` from now.
        .macro set_deadline ticks
        rdtsc
        add     $\ticks, %eax
        adc     $0, %edx
        mov     $TSC_DEADLINE, %ecx
        wrmsr
        .endm

deadline:
        movl    $0xc4 | DEADLINE, TIMER(%r15)
        mfence
        set_deadline 0x7fffffff
        expect_deadline nz, "a deadline can be read"
        set_deadline 1000000
        interrupts 0xc4, "it interrupts"
        end_of_interrupt
        expect_deadline z, "and is 0 afterwards"
        interrupts NOTHING, "once"
        mov     $1, %eax
        xor     %edx, %edx
        mov     $TSC_DEADLINE, %ecx
        wrmsr
        interrupts 0xc4, "one that has passed interrupts at once"
        end_of_interrupt
        set_deadline 100000000
        mov     %eax, %ebx
        xor     %eax, %eax
        xor     %edx, %edx
        wrmsr
        catch   1f
        sti
2:      rdtsc
        sub     %ebx, %eax
        js      2b                              # until the deadline has passed
1:      cli
        expect_event NOTHING, 0, "a deadline of 0 is none"
        movl    $0x1000, INITIAL_COUNT(%r15)
        interrupts NOTHING, "the initial count means nothing then"
        set_deadline 0x7fffffff
        movl    $0xc4 | MASKED, TIMER(%r15)
        expect_deadline z, "another mode has no deadline"
        ret
