# The event timer of a PC (HPET) at the I/O APIC: once and periodically, by edges and by levels, and in the places of the interval
# timer and the clock.
#
# IA-PC HPET specification 1.0a §2.3; SDM vol. 3 §10.8.5 (EOI of levels).

        .include "long.inc"
        .include "apic.inc"
        .include "pic.inc"

        .set HPET, 0xfed00000                   # R13

checks:
        begin   "event timer"
        start_lapic
        start_io_apic
        mov     $HPET, %r13d
        start_pics 0x20, 0x28
        call    event_timer
        call    event_timer_levels
        call    event_timer_legacy
        finish

        .set CONFIGURATION, 0x10
        .set STATUS, 0x20
        .set COUNTER, 0xf0
        .set TIMER_0, 0x100
        .set COMPARATOR_0, 0x108
        .set TIMER_1, 0x120
        .set COMPARATOR_1, 0x128
        .set INT_TYPE, 1 << 1                   # level
        .set INT_ENABLE, 1 << 2
        .set TYPE_PERIODIC, 1 << 3
        .set VALUE_SET, 1 << 6

# Stops the counter at 0, routes timer 0 with `flags` to an input that it can be routed to, and that input to `low`.
        .macro start_timer flags, low
        movq    $0, CONFIGURATION(%r13)
        movq    $0, TIMER_0(%r13)
        movq    $7, STATUS(%r13)
        movq    $0, COUNTER(%r13)
        mov     TIMER_0+4(%r13), %eax
        bsr     %eax, %ebx                      # the input
        mov     %ebx, %eax
        shl     $9, %eax
        or      $\flags | INT_ENABLE, %eax
        mov     %rax, TIMER_0(%r13)
        lea     0x11(%rbx, %rbx), %edx
        mov     %edx, (%r14)
        mov     ID(%r15), %eax
        mov     %eax, WINDOW(%r14)
        dec     %edx
        mov     %edx, (%r14)
        movl    $\low, WINDOW(%r14)
        .endm

        .macro run_timer
        movq    $1, CONFIGURATION(%r13)
        .endm

        .macro end_timer
        movq    $0, TIMER_0(%r13)
        movq    $0, CONFIGURATION(%r13)
        movq    $7, STATUS(%r13)
        mov     %edx, (%r14)
        movl    $OFF, WINDOW(%r14)
        .endm

event_timer:
        start_timer 0, 0x50
        movq    $10000, COMPARATOR_0(%r13)
        interrupts NOTHING, "the event timer, stopped"
        run_timer
        interrupts 0x50, "running, interrupts when it comes to the comparator"
        mov     COUNTER(%r13), %rax
        cmp     $10000, %rax
        expect  ae, "which it has then"
        end_of_interrupt
        interrupts NOTHING, "once"
        end_timer
        start_timer TYPE_PERIODIC|VALUE_SET, 0x51
        movq    $20000, COMPARATOR_0(%r13)
        movq    $20000, COMPARATOR_0(%r13)
        run_timer
        interrupts 0x51, "periodic, it interrupts"
        end_of_interrupt
        interrupts 0x51, "and again"
        end_timer
        end_of_interrupt
        drain
        ret

# ---- by levels: an interrupt until its cause is gone

event_timer_levels:
        start_timer INT_TYPE, 0x52|LEVEL
        movq    $10000, COMPARATOR_0(%r13)
        run_timer
        interrupts 0x52, "a level interrupts"
        mov     %edx, (%r14)
        mov     WINDOW(%r14), %eax
        and     $REMOTE_IRR, %eax
        expect32 %eax, REMOTE_IRR, "remote IRR says that it was taken"
        test_vector TRIGGER_MODE, 0x52
        expect  c, "and the trigger mode that it is a level"
        mov     STATUS(%r13), %eax
        and     $1, %eax
        expect32 %eax, 1, "the timer's status names it"
        interrupts NOTHING, "in service it does not interrupt again"
        end_of_interrupt
        interrupts 0x52, "but at its end, for the level is still there"
        movq    $1, STATUS(%r13)
        end_of_interrupt
        mov     %edx, (%r14)
        mov     WINDOW(%r14), %eax
        and     $REMOTE_IRR, %eax
        expect32 %eax, 0, "when the level is gone, the end clears remote IRR"
        interrupts NOTHING, "and nothing comes"
        # A level that rises while it is masked is there when the mask goes.
        mov     %edx, (%r14)
        movl    $0x52 | LEVEL | OFF, WINDOW(%r14)
        movq    $0, CONFIGURATION(%r13)
        mov     COUNTER(%r13), %rax
        add     $1000, %rax
        mov     %rax, COMPARATOR_0(%r13)
        run_timer
1:      mov     STATUS(%r13), %eax
        test    $1, %al
        jz      1b
        interrupts NOTHING, "masked, a level does not interrupt"
        mov     %edx, (%r14)
        movl    $0x52 | LEVEL, WINDOW(%r14)
        interrupts 0x52, "without the mask it does"
        movq    $1, STATUS(%r13)
        end_of_interrupt
        end_timer
        ret

# ---- in place of the interval timer and the clock

event_timer_legacy:
        route   2, 0x53
        movq    $0, CONFIGURATION(%r13)
        movq    $0, COUNTER(%r13)
        movq    $INT_ENABLE, TIMER_0(%r13)
        movq    $10000, COMPARATOR_0(%r13)
        movq    $3, CONFIGURATION(%r13)
        interrupts 0x53, "in the interval timer's place it is at input 2"
        end_of_interrupt
        shoot_pit
        interrupts NOTHING, "where the interval timer is not then"
        movq    $0, TIMER_0(%r13)
        unroute 2
        route   8, 0x54
        movq    $0, CONFIGURATION(%r13)
        movq    $INT_ENABLE, TIMER_1(%r13)
        mov     COUNTER(%r13), %rax
        add     $10000, %rax
        mov     %rax, COMPARATOR_1(%r13)
        movq    $3, CONFIGURATION(%r13)
        interrupts 0x54, "its second timer is in the clock's place, at input 8"
        end_of_interrupt
        movq    $0, TIMER_1(%r13)
        movq    $0, CONFIGURATION(%r13)
        unroute 8
        stop_pit
        ret
