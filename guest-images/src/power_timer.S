# The power-management timer, whose upper bit changes every 2.3 seconds, and the system control interrupt: a level at input 9.
#
# ACPI 6.4 §4.8.3.1 (PM1 events), §4.8.3.3 (timer); Intel 82371AB (PIIX4) datasheet (290562) §7.1.

        .include "long.inc"
        .include "apic.inc"

checks:
        begin   "power-management timer"
        start_lapic
        start_io_apic
        call    power_timer
        finish

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
        catch   1f
        await   1000                            # long before it overflows again
1:      expect_event NOTHING, 0, "until that is cleared"
        lea     PM1_ENABLE(%rbx), %edx
        xor     %eax, %eax
        out     %ax, %dx
        unroute 9
        ret
