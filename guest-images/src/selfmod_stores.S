# Every way to store into code with general registers, in 64-bit mode: moves, operations in memory, strings, stacks, tables and
# frames; and stores of which one half is in code.
#
# SDM vol. 2, what each instruction stores; vol. 3 §6.14.2 (frames).

        .include "long.inc"
        .include "selfmod.inc"
        .include "selfmod_stores.inc"

        .set SCRATCH, 0x3ff                     # of COM1: it reads what was written
        .set CODE_OF_CODE, 0xc390               # a selector that is NOP; RET
        .set CHANGED_LIMIT, 0xb848              # a limit that is the opcode of MOV RAX, imm64

checks:
        begin   "64-bit mode: stores into code"
        call    moves
        call    read_and_written
        call    strings
        call    stacks
        call    system_stores
        call    frames
        call    half_in_code
        finish

moves:
        stores  0x0807060504030211, "MOV of 8 bits", mov %al, (%rdi)
        stores  0x0807060504031211, "MOV of 16 bits", mov %ax, (%rdi)
        stores  0x0807060514131211, "MOV of 32 bits", mov %eax, (%rdi)
        stores  NEW, "MOV of 64 bits", mov %rax, (%rdi)
        stores  0x1807060504030201, "MOV of 8 bits, to the last byte", movb $0x18, 7(%rdi)
        stores  0x0807061211030201, "MOV of 16 bits, to the middle", movw $0x1211, 3(%rdi)
        stores  0xfffffffffffffffe, "MOV of an immediate", movq $-2, (%rdi)
        stores  0x0807060504030000 + DATA, "MOV of a segment register", mov %ds, (%rdi)
        stores  NEW, "MOVNTI", movnti %rax, (%rdi)
        routine
        xor     %eax, %eax
        setz    (%rdi)
        setz    1(%rdi)
        stored  0x0807060504030101, "SETZ"
        routine
        push    %rax
        popq    (%rdi)
        stored  NEW, "POP"
        ret

read_and_written:
        stores  NEW, "XCHG", xchg %rax, (%rdi)
        stores  0x0807060504030211, "XCHG of 8 bits", xchg %al, (%rdi)
        stores  OLD + NEW, "XADD", lock xadd %rax, (%rdi)
        stores  OLD + 1, "INC", incq (%rdi)
        stores  0x0807060504030301, "ADD of 8 bits", addb $1, 1(%rdi)
        stores  OLD + 2, "LOCK ADD", lock addq $2, (%rdi)
        stores  -OLD, "NEG", negq (%rdi)
        stores  ~OLD, "LOCK NOT", lock notq (%rdi)
        stores  0x0706050403020108, "ROL", rolq $8, (%rdi)
        stores  0x0706050403020118, "SHLD", shldq $8, %rax, (%rdi)
        stores  OLD + 2, "BTS", btsq $1, (%rdi)
        routine
        add     $256, %rdi
        mov     $1 - 2048, %rax
        lock btc %rax, (%rdi)
        stored  OLD + 2, "BTC with an offset of bits from far away"
        routine
        mov     (%rdi), %rax
        lock cmpxchg %rbx, (%rdi)
        stored  NEW, "CMPXCHG"
        stores  OLD, "CMPXCHG that finds another value", lock cmpxchg %rbx, (%rdi)
        routine
        mov     (%rdi), %eax
        mov     4(%rdi), %edx
        mov     $0x18171615, %ecx
        lock cmpxchg8b (%rdi)
        stored  NEW, "CMPXCHG8B"
        routine
        mov     (%rdi), %rax
        mov     8(%rdi), %rdx
        lock cmpxchg16b (%rdi)
        stored  NEW + 1, "CMPXCHG16B"
        ret

strings:
        stores  0x0807060504030211, "STOSB", stosb
        stores  NEW, "STOSQ", stosq
        stores  NEW, "MOVSQ", movsq
        routine
        mov     $8, %ecx
        rep movsb
        stored  NEW, "REP MOVSB"
        routine
        mov     $2, %ecx
        rep movsq
        stored  NEW + 1, "REP MOVSQ"
        routine
        mov     $8, %ecx
        add     $7, %rdi
        add     $7, %rsi
        std
        rep movsb
        cld
        stored  NEW, "REP MOVSB downwards"
        routine
        mov     $2, %ecx
        add     $8, %rdi
        add     $8, %rsi
        std
        rep movsq
        cld
        stored  NEW + 1, "REP MOVSQ downwards"
        routine
        mov     $8, %ecx
        rep stosb
        stored  0x1111111111111111, "REP STOSB"
        routine
        mov     $SCRATCH, %edx
        mov     $0x5a, %al
        out     %al, %dx
        insb
        stored  0x080706050403025a, "INSB"
        routine
        mov     $SCRATCH, %edx
        mov     $0xa5, %al
        out     %al, %dx
        mov     $8, %ecx
        rep insb
        stored  0xa5a5a5a5a5a5a5a5, "REP INSB"
        ret

# The stack ends behind the constant.
        .macro on_stack value, name, instruction:vararg
        routine
        mov     %rsp, kept_rsp
        lea     8(%rdi), %rsp
        \instruction
        mov     kept_rsp, %rsp
        stored  \value, "\name"
        .endm

stacks: on_stack NEW, "PUSH", push %rax
        on_stack -3, "PUSH of an immediate", pushq $-3
        on_stack NEW, "PUSH from memory", pushq (%rsi)
        on_stack 0x1211060504030201, "PUSH of 16 bits", push %ax
        routine
        mov     %rsp, kept_rsp
        lea     8(%rdi), %rsp
        xor     %eax, %eax
        pushf
        mov     kept_rsp, %rsp
        stored  0x46, "PUSHF"                   # ZF, PF and what is always set
        routine
        mov     %rsp, kept_rsp
        lea     8(%rdi), %rsp
        call    behind_call
behind_call:
        mov     kept_rsp, %rsp
        stored  behind_call, "CALL"
        routine
        mov     %rsp, kept_rsp
        lea     8(%rdi), %rsp
        mov     $behind_indirect_call, %eax
        call    *%rax
behind_indirect_call:
        mov     kept_rsp, %rsp
        stored  behind_indirect_call, "CALL through a register"
        routine
        mov     %rsp, kept_rsp
        lea     8(%rdi), %rsp
        mov     %rbp, kept_rbp
        mov     %rax, %rbp
        enter   $0, $0
        mov     kept_rbp, %rbp
        mov     kept_rsp, %rsp
        stored  NEW, "ENTER"
        ret

# A task register, tables and a status word. The limit of the table is the opcode of MOV RAX, imm64, and its base the constant.
system_stores:
        stores  0x0807060504030000 + TASK, "STR", str (%rdi)
        stores  0x0807060504030000, "SLDT", sldt (%rdi)
        routine
        mov     %cr0, %rax
        smsw    (%rdi)
        sub     %ax, (%rdi)
        stored  0x0807060504030000, "SMSW"
        movw    $CHANGED_LIMIT, gdt_pointer
        lgdt    gdt_pointer
        stores  gdt, "SGDT", sgdt -2(%rdi)
        movw    $gdt_end - gdt - 1, gdt_pointer
        lgdt    gdt_pointer
        movw    $CHANGED_LIMIT, idt_pointer
        lidt    idt_pointer
        stores  idt, "SIDT", sidt -2(%rdi)
        movw    $256 * 16 - 1, idt_pointer
        lidt    idt_pointer
        ret

# ---- frames: MOV RAX, imm64 takes the instruction pointer as its constant, and the selector behind it is NOP; RET

frames: mov     $gdt, %esi
        mov     $large_gdt, %edi
        mov     $gdt_end-gdt, %ecx
        cld
        rep movsb
        mov     gdt + CODE, %rax
        mov     %rax, large_gdt + CODE_OF_CODE
        movw    $0xffff, gdt_pointer
        movq    $large_gdt, gdt_pointer + 2
        lgdt    gdt_pointer
        gate    idt+16*0x80, return_at_once, CODE, 0x8e
        cold_and_hot interrupt_frame, "an interrupt's frame"
        cold_and_hot far_call_frame, "a far call's frame"
        movw    $gdt_end - gdt - 1, gdt_pointer
        movq    $gdt, gdt_pointer + 2
        lgdt    gdt_pointer
        ret

return_at_once:
        iretq

# A round has the old constant, an interrupt with its frame over the function, and the new constant. Its
# constant is where a frame of five quadwords ends that begins at a multiple of 16.
interrupt_frame:
        pushq   $CODE_OF_CODE
        push    $1f
        lretq
1:      mov     %rsp, kept_rsp
        xor     %ebx, %ebx
        mov     heat, %edx
2:      install old_function, arena+22
        call    arena+22
        sub     old_function+2, %rax
        or      %rax, %rbx
        mov     $arena+24+40, %esp
        int     $0x80
3:      mov     kept_rsp, %rsp
        call    arena+22
        sub     $3b, %rax
        or      %rax, %rbx
        dec     %edx
        jnz     2b
        pushq   $CODE
        push    $4f
        lretq
4:      mov     %rbx, %rax
        shr     $32, %rax
        or      %ebx, %eax
        ret

far_call_frame:
        pushq   $CODE_OF_CODE
        push    $1f
        lretq
1:      mov     %rsp, kept_rsp
        xor     %ebx, %ebx
        mov     heat, %edx
2:      install old_function, arena+14
        call    arena+14
        sub     old_function+2, %rax
        or      %rax, %rbx
        mov     $arena+16+16, %esp
        rex.w lcall *far_pointer
3:      mov     kept_rsp, %rsp
        call    arena+14
        sub     $3b, %rax
        or      %rax, %rbx
        dec     %edx
        jnz     2b
        pushq   $CODE
        push    $4f
        lretq
4:      mov     %rbx, %rax
        shr     $32, %rax
        or      %ebx, %eax
        ret
far_return:
        rex.w lret

old_function:
        mov     $OLD, %rax
        nop
        ret
old_function_end:

# ---- stores across the end of a page, half of them in code

half_in_code:
        cold_and_hot upper_half, "the upper half of a store is in code, in the next page"
        cold_and_hot lower_half, "the lower half of a store is in code, in the page before"
        ret

        .macro one_half value
        call    arena+4096
        sub     $\value, %eax
        or      %eax, %ebx
        .endm
        .macro other_half value
        call    arena+4096-6
        sub     $\value, %eax
        or      %eax, %ebx
        .endm

# MOV EAX, imm32; RET at the beginning of the second page; nothing has run in the first.
upper_half:
        xor     %ebx, %ebx
        mov     heat, %ecx
        movb    $0xb8, arena+4096
        movb    $0xc3, arena+4096+5
1:      movl    $0x01010101, arena+4096+1
        one_half 0x01010101
        movw    $0xb822, arena+4096-1
        one_half 0x01010101
        movl    $0x02b81111, arena+4096-2
        one_half 0x01010102
        mov     $0x020303b811111111, %rax
        mov     %rax, arena+4096-4
        one_half 0x01020303
        movups  upper_image, %xmm0
        movups  %xmm0, arena+4096-8
        one_half 0x04040404
        push    %rcx
        mov     $2, %ecx
        mov     $upper_image+4, %esi
        mov     $arena+4096-4, %edi
        rep movsl
        movb    $5, arena+4096+1
        pop     %rcx
        one_half 0x04040405
        dec     %ecx
        jnz     1b
        mov     %ebx, %eax
        ret

# The same at the end of the first page.
lower_half:
        xor     %ebx, %ebx
        mov     heat, %ecx
        movb    $0xb8, arena+4096-6
        movb    $0xc3, arena+4096-1
1:      movl    $0x01010101, arena+4096-5
        other_half 0x01010101
        movw    $0x22c3, arena+4096-1
        other_half 0x01010101
        movl    $0x2222c302, arena+4096-2
        other_half 0x02010101
        mov     $0x22222222c3030302, %rax
        mov     %rax, arena+4096-4
        other_half 0x03030201
        movups  lower_image, %xmm0
        movups  %xmm0, arena+4096-8
        other_half 0x04040404
        dec     %ecx
        jnz     1b
        mov     %ebx, %eax
        ret

        .bss
        .align 4096
large_gdt:
        .skip   0x10000
        .data
        .align 16
upper_image:
        .quad   0x1111111111111111
        .byte   0xb8, 4, 4, 4, 4, 0xc3, 0x90, 0x90
lower_image:
        .byte   0x90, 0x90, 0xb8, 4, 4, 4, 4, 0xc3
        .quad   0x2222222222222222
far_pointer:
        .quad   far_return
        .word   CODE_OF_CODE
        .align 8
kept_rsp:
        .quad   0
kept_rbp:
        .quad   0
        .text
