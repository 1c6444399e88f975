# Interrupts in real mode: from each source that a PC wires to the 8259 pair, in the order that the pair gives them, put
# off by what holds interrupts back; and the non-maskable one.
#
# SDM vol. 3 §20.1.4, §6.7 (NMI), §6.8.1 and §6.8.3 (IF, STI, MOV SS), §10.6.1 (interrupt command register).
# Intel 8259A datasheet (231468).

        .include "real.inc"
        .include "pic.inc"

checks:
        begin   "real mode: interrupts"
        call    timer
        call    registers
        call    shadows
        call    clock
        call    keyboard
        call    serial_port
        call    priorities
        call    modes
        call    non_maskable
        finish

# Lets interrupts in, for a while.
        .macro await turns
        mov     $\turns, %ecx
        sti
.Lwait\@:
        dec     %ecx
        jnz     .Lwait\@
        cli
        .endm

# Passes where an interrupt comes in that while, and is `vector`.
        .macro interrupts vector, name
        catch   1f
        .if \vector == NOTHING
        await   300000
        .else
        await   1000000000
        .endif
1:      expect_event \vector, "\name"
        .endm

# ---- the timer, IRQ 0

timer:  start_pics 0x08, 0x70
        mask_pics 0xfe
        shoot_pit 0x400
        catch   1f
        sti
2:      hlt
after_hlt:
        jmp     2b
1:      expect_event_at 0x08, after_hlt, "the 8254 interrupts a halt, at the vector that a BIOS gives it"
        eoi
        start_pics 0x20, 0x28
        mask_pics 0xfe
        shoot_pit
        interrupts 0x20, "and at another"
        expect16 caught_cs, 0, "its frame is the code's"
        mov     caught_flags, %bx
        and     $IF, %bx
        expect16 %bx, IF, "with IF"
        mov     handler_flags, %ebx
        and     $IF, %bx
        expect16 %bx, 0, "its handler runs without"
        eoi
        # Square waves: one request after the other.
        put     PIT+3, 0x36
        put     PIT, 0
        put     PIT, 4
        interrupts 0x20, "a first wave"
        eoi
        interrupts 0x20, "and a second"
        eoi
        stop_pit
        ret

# ---- IRR, ISR, IMR

registers:
        mask_pics 0xff
        hold_pit
        interrupts NOTHING, "a masked request does not interrupt"
        requested MASTER
        and     $1, %al
        expect8 %al, 1, "it is in IRR"
        mask_pics 0xfe
        interrupts 0x20, "without the mask it does"
        requested MASTER
        and     $1, %al
        expect8 %al, 0, "it has left IRR"
        in_service MASTER
        expect8 %al, 1, "it is in ISR"
        hold_pit
        interrupts NOTHING, "a second one waits for the end of the first"
        eoi
        in_service MASTER
        expect8 %al, 0, "which empties ISR"
        interrupts 0x20, "and lets it in"
        put     MASTER, 0x60                    # specific end of interrupt 0
        in_service MASTER
        expect8 %al, 0, "an end may name its interrupt"
        in      $MASTER+1, %al
        expect8 %al, 0xfe, "IMR can be read"
        ret

# ---- what holds a request back for an instruction

shadows:
        hold_pit
        catch   1f
        sti
        nop
after_sti:
        nop
1:      expect_event_at 0x20, after_sti, "STI lets interrupts in after the next instruction"
        eoi
        hold_pit
        catch   1f
        sti
        cli
        nop
1:      cli
        expect_event NOTHING, "STI and CLI let none in"
        catch   1f
        pushw   $IF | FIXED
        popf
after_popf:
        nop
1:      cli
        expect_event_at 0x20, after_popf, "POPF lets them in at once"
        eoi
        hold_pit
        catch   1f
        pushw   $IF | FIXED
        push    %cs
        push    $after_iret
        iret
        nop
after_iret:
        nop
1:      cli
        expect_event_at 0x20, after_iret, "IRET lets them in at once"
        eoi
        hold_pit
        catch   1f
        mov     %ss, %ax
        sti
        mov     %ax, %ss
        nop
after_mov_ss:
        nop
1:      cli
        expect_event_at 0x20, after_mov_ss, "MOV SS puts them off by another instruction"
        eoi
        hold_pit
        catch   1f
        sti
        int     $0x50
after_shadowed_int:
1:      cli
        expect_event_at 0x50, after_shadowed_int, "INT n comes before the interrupt that STI let in"
        interrupts 0x20, "which comes afterwards"
        eoi
        # In a repeated instruction they come between two elements.
        hold_pit
        catch   1f
        mov     $0x1000, %ax
        mov     %ax, %es
        xor     %di, %di
        mov     $0x4000, %cx
        sti
at_rep: rep stosb
1:      cli
        expect_event_at 0x20, at_rep, "REP STOSB is interrupted"
        add     %cx, %di
        expect16 %di, 0x4000, "between two elements"
        eoi
        stop_pit
        ret

# ---- the real-time clock, IRQ 8

clock:  mask_pics 0xfb, 0xfe
        rtc_put 0x0a, 0x26                      # 1024 Hz
        rtc_get 0x0c
        rtc_put 0x0b, 0x42                      # periodic
        interrupts 0x28, "the real-time clock interrupts through the slave"
        in_service SLAVE
        expect8 %al, 1, "it is in the slave's ISR"
        in_service MASTER
        expect8 %al, 4, "and its cascade in the master's"
        rtc_get 0x0c
        and     $0xc0, %al
        expect8 %al, 0xc0, "register C says that it was the periodic one"
        eoi_both
        interrupts 0x28, "reading C lets the next one come"
        rtc_put 0x0b, 0x02
        rtc_get 0x0c
        eoi_both
        ret

# ---- the keyboard controller, IRQ 1 and 12

keyboard:
        mask_pics 0xfd
        start_keyboard
        put     I8042, 0xd2                     # as if the keyboard had sent it
        put     I8042_DATA, 0x5a
        interrupts 0x21, "a byte from the keyboard"
        in      $I8042_DATA, %al
        expect8 %al, 0x5a, "is in the data port"
        eoi
        put     I8042_DATA, 0xee                # echo
        interrupts 0x21, "the keyboard answers an echo"
        in      $I8042_DATA, %al
        eoi
        mask_pics 0xfb, 0xef
        put     I8042, 0xd3                     # as if the mouse had sent it
        put     I8042_DATA, 0xa5
        interrupts 0x2c, "a byte from the auxiliary device"
        in      $I8042, %al
        and     $0x21, %al
        expect8 %al, 0x21, "the status says whose it is"
        in      $I8042_DATA, %al
        eoi_both
        ret

# ---- the serial port, IRQ 4

        .macro arm_serial_port
        put     MODEM_CONTROL, 0x0b             # OUT2 lets its interrupts out
        put     UART_ENABLE, 2                  # when the transmitter is empty, as it is
        .endm

        .macro disarm_serial_port
        put     UART_ENABLE, 0
        .endm

serial_port:
        mask_pics 0xef
        arm_serial_port
        interrupts 0x24, "the empty transmitter of COM1"
        disarm_serial_port
        eoi
        ret

# ---- who comes first

# Requests of the keyboard (1) and the serial port (4).
        .macro two_requests
        put     I8042, 0xd2
        put     I8042_DATA, 0x5a
        arm_serial_port
.Lboth\@:
        requested MASTER
        and     $0x12, %al
        cmp     $0x12, %al
        jne     .Lboth\@
        .endm

priorities:
        mask_pics 0xed
        two_requests
        interrupts 0x21, "of two requests the lower number comes first"
        interrupts NOTHING, "the other waits"
        in      $I8042_DATA, %al
        eoi
        interrupts 0x24, "for its end"
        disarm_serial_port
        # In service is 4; 1 comes in between.
        put     I8042, 0xd2
        put     I8042_DATA, 0x5a
        interrupts 0x21, "a higher one interrupts the service of a lower one"
        in_service MASTER
        expect8 %al, 0x12, "both are in service"
        in      $I8042_DATA, %al
        eoi
        in_service MASTER
        expect8 %al, 0x10, "an end that names nothing is the higher one's"
        eoi
        # The clock, at the slave, is between 1 and 4.
        mask_pics 0xe9, 0xfe
        rtc_get 0x0c
        rtc_put 0x0b, 0x42
2:      requested SLAVE
        test    $1, %al
        jz      2b
        two_requests
        interrupts 0x21, "before the slave come 0 and 1"
        in      $I8042_DATA, %al
        eoi
        interrupts 0x28, "then the slave's"
        rtc_put 0x0b, 0x02
        rtc_get 0x0c
        eoi_both
        interrupts 0x24, "then 3 to 7"
        disarm_serial_port
        eoi
        ret

# ---- the modes of the 8259

modes:  mask_pics 0xed
        put     MASTER, 0xc1                    # 1 is the lowest: 2 to 7, 0, 1
        two_requests
        interrupts 0x24, "priorities can be turned"
        disarm_serial_port
        put     MASTER, 0xa0                    # end, and 4 is the lowest: 5 to 7, 0 to 4
        interrupts 0x21, "the other one follows"
        arm_serial_port
        interrupts NOTHING, "an end can turn them"
        in      $I8042_DATA, %al
        eoi
        interrupts 0x24, "so that the served one is the last"
        disarm_serial_port
        eoi
        put     MASTER, 0xc7                    # as they were
        # Special mask mode: what is in service and masked blocks nothing.
        two_requests
        interrupts 0x21, "in service is 1"
        put     MASTER, 0x68
        mask_pics 0xef
        interrupts 0x24, "special mask mode lets a lower one in"
        disarm_serial_port
        put     MASTER, 0x64                    # end of 4
        put     MASTER, 0x61                    # end of 1
        put     MASTER, 0x48
        in      $I8042_DATA, %al
        # A poll takes the place of an acknowledge cycle.
        mask_pics 0xed
        two_requests
        put     MASTER, 0x0c
        in      $MASTER, %al
        expect8 %al, 0x81, "a poll names the highest request"
        in_service MASTER
        expect8 %al, 0x02, "and puts it in service"
        disarm_serial_port
        in      $I8042_DATA, %al
        eoi
        put     MASTER, 0x0c
        in      $MASTER, %al
        and     $0x80, %al
        expect8 %al, 0, "a poll without a request says so"
        # Automatic end of interrupt.
        start_pics 0x20, 0x28, 3
        mask_pics 0xfe
        shoot_pit
        interrupts 0x20, "an interrupt that ends automatically"
        in_service MASTER
        expect8 %al, 0, "is not in service"
        stop_pit
        start_pics 0x20, 0x28
        ret

# ---- NMI, which this processor's local APIC sends to itself

        .set LAPIC_ID, 0xfee00020
        .set COMMAND, 0xfee00300
        .set COMMAND_HIGH, 0xfee00310
        .set SEND_NMI, 0x4400                   # NMI, assert
        .set PE, 1

non_maskable:
        # The local APIC is beyond the reach of a segment of 64 KiB.
        lgdtl   descriptor_table
        mov     %cr0, %eax
        or      $PE, %eax
        mov     %eax, %cr0
        mov     $8, %bx
        mov     %bx, %es
        and     $~PE, %eax
        mov     %eax, %cr0
        xor     %bx, %bx
        mov     %bx, %es
        mov     $LAPIC_ID, %ebx
        mov     %es:(%ebx), %eax
        mov     $COMMAND_HIGH, %ebx
        mov     %eax, %es:(%ebx)                # to ourselves
        mov     $COMMAND, %ebx
        catch   1f
        movl    $SEND_NMI, %es:(%ebx)
        mov     $1000, %ecx
2:      loop    2b
1:      expect_event NMI, "NMI comes though IF is clear"
        # One within another: it waits for IRET.
        movw    $nested, NMI * 4
        movl    $SEND_NMI, %es:(%ebx)
        mov     $1000, %ecx
2:      loop    2b
        expect16 count, 2, "a second one comes too"
        expect16 count_within, 1, "but not before IRET"
        call    point_vectors
        ret

nested: incw    count
        cmpw    $1, count
        jne     1f
        push    %cx
        movl    $SEND_NMI, %es:(%ebx)
        mov     $1000, %cx
2:      loop    2b
        mov     count, %cx
        mov     %cx, count_within
        pop     %cx
1:      iret

        .data
        .align 8
descriptors:
        .quad   0
        .quad   0x00cf93000000ffff
descriptor_table:
        .word   . - descriptors - 1
        .long   descriptors
count:  .word   0
count_within:
        .word   0
