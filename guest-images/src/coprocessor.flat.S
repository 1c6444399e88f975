# A real-mode program whose division by zero in the x87 unit reaches it as interrupt 13, as on every PC that leaves CR0.NE
# clear: the processor stands still before the next instruction that waits, the handler tells the latch at port F0h, uses the
# unit in spite of the error, and clears it. A 0 at the debug-exit port says that all went so.
# SDM: vol. 1 §8.7.2 and appendix D.2.

        .set DEBUG_EXIT, 0xf4
        .set COPROCESSOR_ERROR, 0xf0
        .set MASTER, 0x20
        .set SLAVE, 0xa0
        .set FIRST_OF_SLAVE, 0x70
        .set END_OF_INTERRUPT, 0x20
        .set ERROR_SUMMARY, 1 << 7

        .macro port_write port, value
        mov     $\value, %al
        out     %al, $\port
        .endm

        .text
        .code16
        .globl start
start:  cli
        xor     %ax, %ax
        mov     %ax, %ds
        mov     %ax, %ss
        mov     $0x7000, %sp
        # Both controllers, with interrupt 13 let through.
        port_write MASTER, 0x11
        port_write MASTER + 1, 0x08
        port_write MASTER + 1, 0x04
        port_write MASTER + 1, 0x01
        port_write SLAVE, 0x11
        port_write SLAVE + 1, FIRST_OF_SLAVE
        port_write SLAVE + 1, 0x02
        port_write SLAVE + 1, 0x01
        port_write MASTER + 1, 0xfb
        port_write SLAVE + 1, 0xdf
        movw    $handler, 4 * (FIRST_OF_SLAVE + 5)
        movw    $0, 4 * (FIRST_OF_SLAVE + 5) + 2

        fninit
        fldcw   control
        fld1
        fldz
        fdivrp  %st, %st(1)
        # Nothing is reported before an instruction waits for it.
        sti
        nop
        cmpb    $0, count
        jne     failed
waits:  fwait
        cmpb    $1, count
        jne     failed
        # The error is gone: this one waits for nothing.
        fld1
        fwait
        cmpb    $1, count
        jne     failed
        # The next error is reported again.
        fldz
        fdivrp  %st, %st(1)
        movw    $again, expected
again:  fld1
        cmpb    $2, count
        jne     failed
        xor     %al, %al
        jmp     end
failed: mov     $1, %al
end:    out     %al, $DEBUG_EXIT
        hlt

handler:
        push    %ax
        push    %bp
        mov     %sp, %bp
        mov     4(%bp), %ax             # the instruction that waits, not the one after it
        cmp     expected, %ax
        jne     failed
        out     %al, $COPROCESSOR_ERROR
        fnstsw  %ax
        test    $ERROR_SUMMARY, %al
        jz      failed
        fld1                            # waits, and is not held up
        fstp    %st(0)
        fnclex
        incb    count
        port_write SLAVE, END_OF_INTERRUPT
        port_write MASTER, END_OF_INTERRUPT
        pop     %bp
        pop     %ax
        iret

        .align 2
control:
        .word   0x37b                   # division by zero is not masked
expected:
        .word   waits
count:  .byte   0
