# Code made at random, in 64-bit mode: 64 functions side by side, each a few operations on EAX, some of them under a condition,
# and then a return or a jump to a later function. Each round one of them is made anew, or one of its operations is changed, or
# none; then it is called, and what it returns compared with what a loop over the list of its operations makes of the same number.

        .include "long.inc"

        .set FUNCTIONS, 64
        .set STRIDE, 100                        # so lines and pages end anywhere in them
        .set OPERATIONS, 8                      # at most, of 5 bytes, or of 11 with a condition: 88 bytes, and JMP is 5
        .set ROUNDS, 60000

# A list: how many operations, which function follows or 0, and the operations.
        .set COUNT, 0
        .set NEXT, 4
        .set FIRST, 8
        .set LIST, 8 + 16 * OPERATIONS

# An operation: its number, the bit of EAX that is its condition or 32, its constant, and its address.
        .set KIND, 0
        .set CONDITION, 4
        .set CONSTANT, 8
        .set ADDRESS, 12

        .macro seed value, name
        mov     $\value, %r15
        call    run
        expect32 %ebx, 0, "\name each call returns what its list says"
        mov     calls, %eax
        cmp     $2 * ROUNDS, %eax
        expect  a, "\name there were calls"
        mov     changes, %eax
        cmp     $ROUNDS / 4, %eax
        expect  a, "\name there were changes"
        .endm

checks:
        begin   "64-bit mode: code made at random"
        seed    0x9e3779b97f4a7c15, "with a first seed"
        seed    0xd1b54a32d192ed03, "with a second seed"
        seed    0x2545f4914f6cdd1d, "with a third seed"
        finish

# The next number of xorshift, in RAX; R15 is its state.
random: mov     %r15, %rax
        shl     $13, %rax
        xor     %rax, %r15
        mov     %r15, %rax
        shr     $7, %rax
        xor     %rax, %r15
        mov     %r15, %rax
        shl     $17, %rax
        xor     %rax, %r15
        mov     %r15, %rax
        ret

# Leaves in EBX how many calls returned something else. R14 is the round's function, R13 its list, R12 its code.
run:    xor     %ebx, %ebx
        movl    $0, calls
        movl    $0, changes
        mov     $FUNCTIONS - 1, %r14d
1:      call    find
        call    make
        dec     %r14d
        jns     1b
        mov     $ROUNDS, %ebp
2:      call    random
        mov     %eax, %r14d
        and     $FUNCTIONS - 1, %r14d
        mov     %rax, %r11
        call    find
        shr     $8, %r11
        mov     %r11d, %eax
        and     $7, %eax
        jnz     3f
        call    make
        jmp     4f
3:      cmp     $3, %eax
        ja      4f
        call    change
4:      shr     $8, %r11
        mov     $1000, %r10d                    # of 256 rounds one is hot
        test    $0xff, %r11b
        jz      5f
        mov     %r11d, %r10d
        and     $3, %r10d
        inc     %r10d
5:      shr     $8, %r11                        # the number that the function begins with
        call    model
        add     %r10d, calls
6:      mov     %r11d, %eax
        call    *%r12
        cmp     %r9d, %eax
        je      7f
        inc     %ebx
7:      dec     %r10d
        jnz     6b
        dec     %ebp
        jnz     2b
        ret

# R13 and R12 for function R14. Changes RAX.
find:   imul    $LIST, %r14d, %eax
        lea     lists(%rax), %r13
        imul    $STRIDE, %r14d, %eax
        lea     code(%rax), %r12
        ret

# Makes the function and its list anew. Changes RAX, RCX, RDX, RSI, RDI, R8.
make:   incl    changes
        call    random
        and     $OPERATIONS - 1, %eax
        inc     %eax
        mov     %eax, COUNT(%r13)
        mov     %eax, %r8d
        lea     FIRST(%r13), %rsi
        mov     %r12, %rdi
1:      call    random
        movl    $32, CONDITION(%rsi)
        test    $0x300, %eax
        jnz     2f
        and     $31, %eax
        mov     %eax, CONDITION(%rsi)
        movl    $0x00e0ba0f, (%rdi)             # BT EAX, imm8; JNC over the operation
        mov     %al, 3(%rdi)
        movw    $0x0573, 4(%rdi)
        add     $6, %rdi
2:      mov     %edi, ADDRESS(%rsi)
        call    draw
        add     $5, %rdi
        add     $16, %rsi
        dec     %r8d
        jnz     1b
        movl    $0, NEXT(%r13)
        call    random
        and     $2 * FUNCTIONS - 1, %eax
        cmp     $FUNCTIONS - 1, %eax
        ja      3f
        cmp     %r14d, %eax
        jbe     3f
        mov     %eax, NEXT(%r13)                # JMP
        imul    $STRIDE, %eax, %eax
        add     $code-5, %eax
        sub     %edi, %eax
        movb    $0xe9, (%rdi)
        mov     %eax, 1(%rdi)
        ret
3:      movb    $0xc3, (%rdi)
        ret

# Changes one operation of the function. Changes RAX, RCX, RDX, RSI, RDI.
change: incl    changes
        call    random
        xor     %edx, %edx
        mov     %eax, %eax
        divl    COUNT(%r13)
        shl     $4, %edx
        lea     FIRST(%r13, %rdx), %rsi
        mov     ADDRESS(%rsi), %edi

# Draws the operation of RSI, and stores its five bytes at RDI. Changes RAX, RCX, RDX.
draw:   call    random
        mov     %eax, %ecx
        shr     $32, %rax
        mov     %eax, CONSTANT(%rsi)
        mov     %ecx, %edx
        and     $7, %edx
        mov     %edx, KIND(%rsi)
        cmp     $6, %edx
        jb      2f
        ja      1f
        movzbl  %al, %eax                       # ROL EAX, imm8; XCHG AX, AX
        shl     $16, %eax
        mov     $0x906600c0c1, %rdx
        or      %rdx, %rax
        jmp     3f
1:      mov     $0x001f0fd0f7, %rax             # NOT EAX; NOP
        jmp     3f
2:      shl     $8, %rax
        mov     opcodes(%rdx), %al
3:      shr     $4, %ecx                        # bytes, five in one, or opcode and constant
        and     $3, %ecx
        jz      4f
        dec     %ecx
        jz      5f
        mov     %al, (%rdi)
        shr     $8, %rax
        mov     %eax, 1(%rdi)
        ret
4:      mov     %al, (%rdi)
        shr     $8, %rax
        mov     %al, 1(%rdi)
        mov     %ah, 2(%rdi)
        shr     $16, %rax
        mov     %al, 3(%rdi)
        mov     %ah, 4(%rdi)
        ret
5:      mov     (%rdi), %rdx
        shr     $40, %rdx
        shl     $40, %rdx
        or      %rax, %rdx
        mov     %rdx, (%rdi)
        ret

# What the function is to make of R11D, in R9D. Changes RAX, RCX, RDX, RSI, R8.
model:  mov     %r11d, %r9d
        mov     %r13, %rsi
1:      mov     COUNT(%rsi), %r8d
        push    %rsi
        add     $FIRST, %rsi
2:      mov     CONDITION(%rsi), %ecx
        mov     $1, %eax
        shl     %cl, %rax
        bts     $32, %r9                        # the bit of no condition is set
        test    %rax, %r9
        jz      3f
        mov     CONSTANT(%rsi), %edx
        mov     KIND(%rsi), %eax
        jmp     *meanings(, %rax, 8)
3:      add     $16, %rsi
        dec     %r8d
        jnz     2b
        pop     %rsi
        mov     NEXT(%rsi), %eax
        test    %eax, %eax
        jz      4f
        imul    $LIST, %eax, %eax
        lea     lists(%rax), %rsi
        jmp     1b
4:      mov     %r9d, %r9d
        ret
mean_mov:
        mov     %edx, %r9d
        jmp     3b
mean_add:
        add     %edx, %r9d
        jmp     3b
mean_sub:
        sub     %edx, %r9d
        jmp     3b
mean_xor:
        xor     %edx, %r9d
        jmp     3b
mean_and:
        and     %edx, %r9d
        jmp     3b
mean_or:
        or      %edx, %r9d
        jmp     3b
mean_rol:
        mov     %edx, %ecx
        rol     %cl, %r9d
        mov     %r9d, %r9d                      # a count of 0 leaves the upper half
        jmp     3b
mean_not:
        not     %r9d
        jmp     3b

        .data
opcodes:
        .byte   0xb8, 0x05, 0x2d, 0x35, 0x25, 0x0d
        .align 8
meanings:
        .quad   mean_mov, mean_add, mean_sub, mean_xor, mean_and, mean_or, mean_rol, mean_not
calls:  .long   0
changes:
        .long   0
        .bss
        .align 4096
code:   .skip   FUNCTIONS * STRIDE + 8
        .align 4096
lists:  .skip   FUNCTIONS * LIST
        .text
