# A boot sector that does two things which processors refuse and which emulators like to let pass: it reads past the limit
# of a data segment, and in ring 3 with alignment checks on it reads from an odd address. "#GP #AC" on COM1 and a 0 at
# the debug-exit port say that both were refused; "-" stands for one that was let through, and makes it a 1.
#
# Rule: 512 bytes with the signature of a boot sector, so that every PC can start it.

        .set COM1, 0x3f8
        .set DEBUG_EXIT, 0xf4

        .set CODE, 0x08
        .set DATA, 0x10
        .set SMALL, 0x18
        .set USER_CODE, 0x20 | 3
        .set USER_DATA, 0x28 | 3
        .set TASK, 0x30

        .set GP, 13
        .set AC, 17
        .set ALIGNMENT_MASK, 1 << 18            # CR0.AM, and RFLAGS.AC
        .set PRIVILEGE_3, 3 << 12               # RFLAGS.IOPL: ring 3 may use ports

        .text
        .code16
        .globl start
start:
        cli
        xor     %ax, %ax
        mov     %ax, %ds
        # The assembler's addresses are linear, and the segment's base is zero.
        lgdtl   descriptor_table
        mov     %cr0, %eax
        or      $(ALIGNMENT_MASK | 1), %eax
        mov     %eax, %cr0
        ljmpl   $CODE, $protected

        .code32
protected:
        mov     $DATA, %ax
        mov     %ax, %ds
        mov     %ax, %ss
        mov     $0x7000, %esp
        # Gates for the two faults.
        mov     $interrupt_table, %edi
        mov     $refused, %eax
        mov     $(CODE << 16), %ebx
        mov     %ax, %bx
        mov     %ebx, 8 * GP(%edi)
        mov     %ebx, 8 * AC(%edi)
        movl    $0x8e00, 8 * GP + 4(%edi)
        movl    $0x8e00, 8 * AC + 4(%edi)
        lidt    interrupt_descriptor
        # Where ring 3's faults find a stack.
        movl    $0x7000, task_state + 4
        movl    $DATA, task_state + 8
        mov     $TASK, %ax
        ltr     %ax

        mov     $SMALL, %ax
        mov     %ax, %es
        mov     $after_limit, %esi
        mov     $'G', %bl
        mov     $'P', %bh
        mov     %es:0x100, %al                  # one byte past the limit
        call    let_through
after_limit:
        pushl   $USER_DATA
        pushl   $0x6000
        pushl   $(ALIGNMENT_MASK | PRIVILEGE_3 | 2)
        pushl   $USER_CODE
        pushl   $ring_3
        iret

ring_3:
        mov     $USER_DATA, %ax
        mov     %ax, %ds
        mov     $finish, %esi
        mov     $'A', %bl
        mov     $'C', %bh
        mov     0x7001, %eax                    # four bytes from an odd address
        call    let_through
finish:
        mov     failures, %eax
        mov     $DEBUG_EXIT, %edx
        out     %eax, %dx
hang:
        jmp     hang

# A fault arrived: its letters are in BL and BH, and it goes on at ESI.
refused:
        mov     $'#', %al
        call    print
        mov     %bl, %al
        call    print
        mov     %bh, %al
        call    print
        mov     $' ', %al
        call    print
        add     $4, %esp                        # the error code
        mov     %esi, (%esp)
        iret

let_through:
        mov     $'-', %al
        call    print
        incl    failures
        ret

print:
        mov     $COM1, %edx
        out     %al, %dx
        ret

        .align 8
failures:
        .long   0

        # code, data, data of 256 bytes, code and data of ring 3, task state
        .align 8
descriptors:
        .quad   0
        .quad   0x00cf9b000000ffff
        .quad   0x00cf93000000ffff
        .quad   0x00409300000000ff
        .quad   0x00cffb000000ffff
        .quad   0x00cff3000000ffff
        .quad   0x0000890050000067
descriptor_table:
        .word   descriptor_table - descriptors - 1
        .long   descriptors
interrupt_descriptor:
        .word   8 * 32 - 1
        .long   interrupt_table

        .set interrupt_table, 0x4000
        .set task_state, 0x5000                 # as its descriptor says

        .org 510
        .word   0xaa55
