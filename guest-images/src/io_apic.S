# The I/O APIC and what a PC wires to it: the interval timer, the clock, the keyboard, the serial port; delivery as NMI, to
# logical destinations and by lowest priority; and the 8259 pair behind the local APIC's LINT0. The timers whose interrupts
# are levels have guests of their own.
#
# Intel 82093AA datasheet (290566); SDM vol. 3 §10.5.1 (LINT0), §10.8.5 (EOI).

        .include "long.inc"
        .include "apic.inc"
        .include "pic.inc"

checks:
        begin   "I/O APIC"
        start_lapic
        start_io_apic
        start_pics 0x20, 0x28
        call    registers
        call    edges
        call    destinations
        call    as_nmi
        call    priorities
        call    local_pin
        finish

registers:
        read_io 1
        mov     %eax, %ebx
        cmp     $0x11, %al
        expect  ae, "its version"
        shr     $16, %ebx
        expect8 %bl, 23, "the number of its last input"
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
