# The smallest guest: a multiboot program that prints "hello" to COM1 and writes 0 to the debug-exit port, for status 1.
#
# Rule: it polls the line status before each byte and uses no stack, so that it runs on a board with nothing but a UART.

        .set MAGIC, 0x1badb002
        .set FLAGS, 0
        .set COM1, 0x3f8
        .set LINE_STATUS, COM1 + 5
        .set TRANSMITTER_EMPTY, 0x20
        .set DEBUG_EXIT, 0xf4

        .section .multiboot, "a"
        .align 4
        .long MAGIC, FLAGS, -(MAGIC + FLAGS)

        .text
        .code32
        .globl start
start:
        mov     $text, %esi
next:
        movzbl  (%esi), %ebx
        test    %bl, %bl
        jz      done
wait:
        mov     $LINE_STATUS, %edx
        in      %dx, %al
        test    $TRANSMITTER_EMPTY, %al
        jz      wait
        mov     $COM1, %edx
        mov     %bl, %al
        out     %al, %dx
        inc     %esi
        jmp     next
done:
        xor     %eax, %eax
        mov     $DEBUG_EXIT, %edx
        out     %eax, %dx
        # Reached only where there is no debug-exit port.
        cli
        hlt
        jmp     done

        .section .rodata
text:   .asciz "hello\n"
