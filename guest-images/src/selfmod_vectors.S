# Every way to store into code with registers of x87, MMX, SSE and AVX, in 64-bit mode, and with images of all of them.
#
# SDM vol. 1 §8.1.10, §10.5, §13.4 (images); vol. 2, what each instruction stores.

        .include "long.inc"
        .include "selfmod.inc"
        .include "selfmod_stores.inc"

        .set AS_BCD, 901122334455667711         # NOP, and the first byte of ADD AL, AL
        .set OSXSAVE, 1 << 18

checks:
        begin   "64-bit mode: stores of vectors into code"
        mov     %cr0, %rax
        and     $~4, %eax                       # x87
        mov     %rax, %cr0
        fninit
        mov     %cr4, %rax
        or      $OSXSAVE, %eax
        mov     %rax, %cr4
        xor     %ecx, %ecx
        xor     %edx, %edx
        mov     $7, %eax                        # x87, SSE, AVX
        xsetbv
        call    of_sse
        call    of_avx
        call    of_x87
        finish

of_sse: stores  0x0807060514131211, "MOVSS", movss %xmm0, (%rdi)
        stores  NEW, "MOVSD", movsd %xmm0, (%rdi)
        stores  NEW, "MOVLPS", movlps %xmm0, (%rdi)
        stores  NEW_CODE, "MOVHPS", movhps %xmm0, (%rdi)
        stores  0x0807060514131211, "MOVD", movd %xmm0, (%rdi)
        stores  NEW, "MOVQ", movq %xmm0, (%rdi)
        stores  NEW + 1, "MOVUPS", movups %xmm0, (%rdi)
        stores  NEW + 1, "MOVAPS", movaps %xmm0, (%rdi)
        stores  NEW + 1, "MOVDQU", movdqu %xmm0, (%rdi)
        stores  NEW + 1, "MOVDQA", movdqa %xmm0, (%rdi)
        stores  NEW + 1, "MOVNTDQ", movntdq %xmm0, (%rdi)
        stores  NEW + 1, "MOVNTPS", movntps %xmm0, (%rdi)
        routine
        pcmpeqb %xmm1, %xmm1
        maskmovdqu %xmm1, %xmm0
        stored  NEW + 1, "MASKMOVDQU"
        routine
        movaps  mask, %xmm1
        maskmovdqu %xmm1, %xmm0
        stored  0x1807160514031201, "MASKMOVDQU of every other byte"
        routine
        movq    new, %mm0
        movntq  %mm0, (%rdi)
        emms
        stored  NEW, "MOVNTQ"
        routine
        movq    new, %mm0
        movq    mask, %mm1
        maskmovq %mm1, %mm0
        emms
        stored  0x1807160514031201, "MASKMOVQ"
        stores  0x0807060500001f80, "STMXCSR", stmxcsr (%rdi)
        ret

# Stores of 32 bytes bring MOV RAX, imm64; INC RAX twice.
        .macro stores_ymm value, name, instruction:vararg
        routine
        vmovups new_32, %ymm0
        \instruction
        vzeroupper
        stored  \value, "\name"
        .endm

of_avx: stores  0x0807060504030212, "PEXTRB", pextrb $1, %xmm0, (%rdi)
        stores  0x0807060504031413, "PEXTRW", pextrw $1, %xmm0, (%rdi)
        stores  0x0807060518171615, "PEXTRD", pextrd $1, %xmm0, (%rdi)
        stores  NEW_CODE, "PEXTRQ", pextrq $1, %xmm0, (%rdi)
        stores  0x0807060518171615, "EXTRACTPS", extractps $1, %xmm0, (%rdi)
        stores  0x1112131415161718, "MOVBE", movbe %rax, (%rdi)
        stores  NEW + 1, "VMOVUPS of 16 bytes", vmovups %xmm0, (%rdi)
        stores_ymm NEW + 2, "VMOVUPS", vmovups %ymm0, (%rdi)
        stores_ymm NEW + 2, "VMOVAPS", vmovaps %ymm0, (%rdi)
        stores_ymm NEW + 2, "VMOVDQU", vmovdqu %ymm0, (%rdi)
        stores_ymm NEW + 2, "VMOVNTDQ", vmovntdq %ymm0, (%rdi)
        stores_ymm NEW + 2, "VMOVNTPS", vmovntps %ymm0, (%rdi)
        stores_ymm NEW, "VMOVLPS", vmovlps %xmm0, (%rdi)
        stores_ymm 0x0807060514131211, "VMOVSS", vmovss %xmm0, (%rdi)
        routine
        vmovups new_32, %ymm0
        vinsertf128 $1, new, %ymm0, %ymm0
        vextractf128 $1, %ymm0, (%rdi)
        vzeroupper
        stored  NEW + 1, "VEXTRACTF128"
        routine
        vmovups new_32, %ymm0
        vmovups odd_doublewords, %ymm1
        vmaskmovps %ymm0, %ymm1, (%rdi)
        vzeroupper
        stored  0x1817161504030201, "VMASKMOVPS of every other element"
        routine
        vmovups new_32, %ymm0
        vmovups odd_doublewords, %ymm1
        vmaskmovpd %ymm0, %ymm1, (%rdi)
        vzeroupper
        stored  NEW + 2, "VMASKMOVPD"
        routine
        movups  odd_doublewords, %xmm1
        vpmaskmovd %xmm0, %xmm1, (%rdi)
        stored  0x1817161504030201, "VPMASKMOVD of every other element"
        routine
        pxor    %xmm1, %xmm1
        vpmaskmovq %xmm0, %xmm1, (%rdi)
        stored  OLD, "VPMASKMOVQ of none"
        routine
        movups  ones, %xmm0
        vcvtps2ph $0, %xmm0, (%rdi)
        stored  0x3c003c003c003c00, "VCVTPS2PH"
        ret

# A function in an image of registers, at `offset`: the register holds MOV EAX, 2; RET, and memory MOV EAX, 1; RET.
        .macro routine_of_image
        movl    $1f, store
        jmp     2f
1:
        .endm
        .macro stored_image offset, name
        ret
2:      mov     $\offset, %esi
        movl    $10, heat
        call    run_image
        expect32 %eax, 0, "\name"
        movl    $HOT, heat
        call    run_image
        expect32 %eax, 0, "\name, when hot"
        .endm
        .macro image offset, name, instruction:vararg
        routine_of_image
        fldt    returns_2
        movaps  returns_2, %xmm0
        \instruction
        fninit
        stored_image \offset, "\name"
        .endm

# Stores the image between two calls, so often as `heat` says; leaves what the calls returned beside 1 and 2.
run_image:
        xor     %ebx, %ebx
        mov     heat, %ecx
1:      mov     returns_1, %rax
        mov     %rax, arena(%rsi)
        lea     arena(%rsi), %rdi
        call    *%rdi
        add     %rax, %rbx
        call    *store
        call    *%rdi
        add     %rax, %rbx
        sub     $3, %rbx
        dec     %ecx
        jnz     1b
        mov     %rbx, %rax
        ret

of_x87: routine
        fildl   four
        fstps   (%rdi)
        stored  0x0807060540800000, "FSTP of 32 bits"
        routine
        fildl   four
        fstpl   (%rdi)
        stored  0x4010000000000000, "FSTP of 64 bits"
        routine
        fldt    extended
        fstpt   (%rdi)
        stored  NEW, "FSTP of 80 bits"
        routine
        fildl   four
        fistps  (%rdi)
        stored  0x0807060504030004, "FISTP of 16 bits"
        routine
        fildl   four
        fistpll (%rdi)
        stored  4, "FISTP of 64 bits"
        routine
        fildll  decimal
        fbstp   (%rdi)
        stored  0x1122334455667722, "FBSTP"
        stores  0x080706050403037f, "FNSTCW", fnstcw (%rdi)
        stores  0x0807060504030000, "FNSTSW", fnstsw (%rdi)
        # The function is in a register, and the image of all registers brings it to where it is called.
        image   28, "FNSAVE", fnsave arena
        image   160, "FXSAVE", fxsave arena
        routine_of_image
        vmovups returns_2_twice, %ymm0
        mov     $-1, %eax
        mov     $-1, %edx
        xsave   arena
        vzeroupper
        stored_image 160, "XSAVE"
        routine_of_image
        vmovups returns_2_twice, %ymm0
        mov     $-1, %eax
        mov     $-1, %edx
        xsave   arena
        vzeroupper
        stored_image 576, "XSAVE, the upper half of a register of AVX"
        fninit
        ret

        .data
        .align 32
new_32: .quad   NEW, 0x9090909090909090, 0x90c3c0ff48c0ff48, 0x9090909090909090
odd_doublewords:
        .quad   0x8000000000000000, 0x8000000000000000, 0x8000000000000000, 0x8000000000000000
mask:   .quad   0x8000800080008000, 0
ones:   .float  1.0, 1.0, 1.0, 1.0
extended:
        .quad   NEW
        .word   0x90c3
        .align 16
returns_2_twice:
returns_2:
        .byte   0xb8, 2, 0, 0, 0, 0xc3, 0x90, 0x90, 0x90, 0x90, 0, 0, 0, 0, 0, 0
        .byte   0xb8, 2, 0, 0, 0, 0xc3, 0x90, 0x90, 0x90, 0x90, 0, 0, 0, 0, 0, 0
returns_1:
        .byte   0xb8, 1, 0, 0, 0, 0xc3, 0x90, 0x90
decimal:
        .quad   AS_BCD
four:   .long   4
        .text
