# The I/O APIC and what a PC wires to it: the interval timer, the clock, the keyboard, the serial port, the event timer by
# edges and by levels, the power-management timer; delivery as NMI, to logical destinations and by lowest priority; and the
# 8259 pair behind the local APIC's LINT0.
#
# Intel 82093AA datasheet (290566); IA-PC HPET specification 1.0a; ACPI 6.4 §4.8; SDM vol. 3 §10.5.1 (LINT0), §10.8.5 (EOI).

        .include "long.inc"
        .include "apic.inc"
        .include "pic.inc"

        .set IO_APIC, 0xfec00000                # R14
        .set WINDOW, 0x10
        .set HPET, 0xfed00000                   # R13
        .set LEVEL, 1 << 15
        .set REMOTE_IRR, 1 << 14
        .set LOWEST, 1 << 8
        .set OFF, 1 << 16

checks:
        begin   "I/O APIC"
        start_lapic
        movl    $MASKED | AS_EXTINT, LINT0(%r15)
        mov     $IO_APIC, %r14d
        mov     $HPET, %r13d
        start_pics 0x20, 0x28
        call    registers
        call    edges
        call    destinations
        call    as_nmi
        call    priorities
        call    event_timer
        call    event_timer_levels
        call    event_timer_legacy
        call    local_pin
        call    power_timer
        finish

# Reads register `index` into EAX.
        .macro read_io index
        movl    $\index, (%r14)
        mov     WINDOW(%r14), %eax
        .endm

# Writes the entry of input `pin`, to our own ID or to `high`.
        .macro route pin, low, high
        movl    $0x11 + 2 * \pin, (%r14)
        .ifb    \high
        mov     ID(%r15), %eax
        .else
        mov     $\high, %eax
        .endif
        mov     %eax, WINDOW(%r14)
        movl    $0x10 + 2 * \pin, (%r14)
        movl    $\low, WINDOW(%r14)
        .endm

        .macro unroute pin
        route   \pin, OFF
        .endm

registers:
        read_io 1
        mov     %eax, %ebx
        cmp     $0x11, %al
        expect  ae, "its version"
        shr     $16, %ebx
        expect8 %bl, 23, "the number of its last input"
        xor     %esi, %esi
1:      lea     0x10(%rsi, %rsi), %eax
        mov     %eax, (%r14)
        movl    $OFF, WINDOW(%r14)
        inc     %esi
        cmp     $24, %esi
        jne     1b
        movl    $0x10, (%r14)
        movl    $0xffffffff, WINDOW(%r14)
        read_io 0x10
        and     $0x1ffff, %eax
        expect32 %eax, 0x1afff, "an entry has read-only bits"
        movl    $OFF, WINDOW(%r14)
        read_io 0x10
        expect32 %eax, OFF, "and can be written"
        ret

# ---- edges: each source at its input

edges:  route   2, 0x32
        shoot_pit
        interrupts 0x32, "the interval timer, at input 2"
        end_of_interrupt
        interrupts NOTHING, "one edge is one interrupt"
        shoot_pit
        interrupts 0x32, "the next edge is another"
        shoot_pit 0x100
        interrupts NOTHING, "which waits for the end of the first"
        end_of_interrupt
        interrupts 0x32, "and comes then"
        end_of_interrupt
        route   2, 0x32|OFF
        shoot_pit
        interrupts NOTHING, "a masked input does not interrupt"
        unroute 2
        stop_pit
        route   8, 0x38
        rtc_put 0x0a, 0x26                      # 1024 Hz
        rtc_get 0x0c
        rtc_put 0x0b, 0x42
        interrupts 0x38, "the real-time clock, at input 8"
        rtc_get 0x0c
        end_of_interrupt
        interrupts 0x38, "again, after register C was read"
        rtc_put 0x0b, 0x02
        rtc_get 0x0c
        end_of_interrupt
        unroute 8
        start_keyboard
        route   1, 0x31
        put     I8042, 0xd2
        put     I8042_DATA, 0x5a
        interrupts 0x31, "the keyboard controller, at input 1"
        in      $I8042_DATA, %al
        end_of_interrupt
        unroute 1
        route   12, 0x3c
        put     I8042, 0xd3
        put     I8042_DATA, 0x5a
        interrupts 0x3c, "its auxiliary device, at input 12"
        in      $I8042_DATA, %al
        end_of_interrupt
        unroute 12
        route   4, 0x34
        put     MODEM_CONTROL, 0x0b
        put     UART_ENABLE, 2
        catch   1f
        await   1000000000
1:      put     UART_ENABLE, 0                  # before what is printed makes further edges
        expect_event 0x34, 0, "the serial port, at input 4"
        end_of_interrupt
        unroute 4
        ret

destinations:
        movl    $-1, DESTINATION_FORMAT(%r15)
        movl    $0x02000000, LOGICAL_DESTINATION(%r15)
        route   2, 0x41|LOGICAL, 0x02000000
        shoot_pit
        interrupts 0x41, "a logical destination"
        end_of_interrupt
        route   2, 0x42|LOGICAL|LOWEST, 0x03000000
        shoot_pit
        interrupts 0x42, "by lowest priority"
        end_of_interrupt
        route   2, 0x43, 0xff000000
        shoot_pit
        interrupts 0x43, "everyone"
        end_of_interrupt
        route   2, 0x44|LOGICAL, 0x0d000000
        shoot_pit
        interrupts NOTHING, "a set that we are not in"
        unroute 2
        stop_pit
        ret

# ---- NMI: it wakes a halt that nothing else can wake

as_nmi: catch   1f
        route   2, AS_NMI
        shoot_pit 0x400
        cli
        hlt
        nop
after_hlt:
1:      expect_event NMI, 0, "delivered as NMI, the timer ends a halt without IF"
        unroute 2
        stop_pit
        ret

# ---- priorities are those of vectors, not of inputs

priorities:
        route   2, 0x45
        route   1, 0x75
        put     I8042, 0xd2
        put     I8042_DATA, 0x5a
        shoot_pit
1:      test_vector REQUESTED, 0x45
        jnc     1b
1:      test_vector REQUESTED, 0x75
        jnc     1b
        interrupts 0x75, "the higher vector comes first, whatever its input"
        interrupts NOTHING, "the lower one waits"
        end_of_interrupt
        interrupts 0x45, "for its end"
        in      $I8042_DATA, %al
        put     I8042, 0xd2
        put     I8042_DATA, 0x5a
        interrupts 0x75, "and is interrupted by it"
        end_of_interrupt
        end_of_interrupt
        in      $I8042_DATA, %al
        unroute 1
        unroute 2
        stop_pit
        ret

# ---- the event timer (HPET), by edges

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
        mov     COUNTER(%r13), %rax
        add     $1000, %rax
        mov     %rax, COMPARATOR_0(%r13)
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

# ---- the 8259 pair's output, which is the local APIC's LINT0

local_pin:
        mask_pics 0xfe
        hold_pit
        interrupts NOTHING, "LINT0 masked, the 8259 pair does not interrupt"
        movl    $AS_EXTINT, LINT0(%r15)
        interrupts 0x20, "as ExtINT it gives its own vector"
        test_vector IN_SERVICE, 0x20
        expect  nc, "which is not in service in the local APIC"
        eoi
        stop_pit
        movl    $0x60, LINT0(%r15)
        hold_pit
        interrupts 0x60, "as a fixed interrupt LINT0 has a vector of its own"
        test_vector IN_SERVICE, 0x60
        expect  c, "which is in service"
        end_of_interrupt
        put     MASTER, 0x0c                    # a poll, so that the pair's output falls
        in      $MASTER, %al
        eoi
        stop_pit
        movl    $AS_NMI, LINT0(%r15)
        catch   1f
        hold_pit
        mov     $1000000, %ecx
2:      dec     %ecx
        jnz     2b
1:      expect_event NMI, 0, "as NMI it is one"
        movl    $MASKED | AS_EXTINT, LINT0(%r15)
        put     MASTER, 0x0c
        in      $MASTER, %al
        eoi
        stop_pit
        mask_pics 0xff
        ret

# ---- the power-management timer, whose upper bit changes every 2.3 s, and the system control interrupt, at input 9

        .set PM1_STATUS, 0                      # offsets from EBX
        .set PM1_ENABLE, 2
        .set PM1_CONTROL, 4
        .set PM_TIMER, 8

power_timer:
        mov     $0x80000b40, %eax               # PMBASE of device 1, function 3
        mov     $0xcf8, %edx
        out     %eax, %dx
        mov     $0xcfc, %edx
        in      %dx, %eax
        mov     %eax, %ebx
        and     $0xffc0, %ebx
        lea     PM_TIMER(%rbx), %edx
        in      %dx, %eax
        mov     %eax, %esi
1:      in      %dx, %eax
        cmp     %eax, %esi
        je      1b
        sub     %esi, %eax
        and     $0xffffff, %eax
        cmp     $0x800000, %eax
        expect  b, "the power-management timer counts up"
        lea     PM1_CONTROL(%rbx), %edx
        in      %dx, %ax
        or      $1, %eax                        # SCI_EN
        out     %ax, %dx
        lea     PM1_STATUS(%rbx), %edx
        mov     $1, %eax
        out     %ax, %dx                        # clears TMR_STS
        lea     PM1_ENABLE(%rbx), %edx
        out     %ax, %dx
        route   9, 0x59|LEVEL
        catch   1f
        sti
2:      hlt
        jmp     2b
1:      cli
        expect_event 0x59, 0, "its overflow is a system control interrupt, at input 9"
        end_of_interrupt
        interrupts 0x59, "a level, which stays"
        lea     PM1_STATUS(%rbx), %edx
        in      %dx, %ax
        and     $1, %eax
        expect32 %eax, 1, "its status says so"
        mov     $1, %eax
        out     %ax, %dx
        end_of_interrupt
        interrupts NOTHING, "until that is cleared"
        lea     PM1_ENABLE(%rbx), %edx
        xor     %eax, %eax
        out     %ax, %dx
        unroute 9
        ret
