# A guest that checks what a 64-bit kernel relies on beside exceptions, paging and interrupts, which have guests of their own:
# clocks that run, code that is overwritten by the processor and by a device, locked operations, SSE2 and x87.

        .include "long.inc"

checks:
        begin   "long mode"
        call    clocks
        call    code_changes
        call    atomics
        call    vectors
        finish

# ---- clocks

        .set HPET, 0xfed00000
        .set CONFIGURATION, 0x10
        .set COUNTER, 0xf0

clocks: mov     $HPET, %r13d
        movq    $1, CONFIGURATION(%r13)
        mov     COUNTER(%r13), %rbx
        rdtsc
        shl     $32, %rdx
        or      %rax, %rdx
        mov     %rdx, %rsi
2:      mov     COUNTER(%r13), %rax
        sub     %rbx, %rax
        cmp     $1000, %rax
        jb      2b
        rdtsc
        shl     $32, %rdx
        or      %rax, %rdx
        cmp     %rsi, %rdx
        expect  a, "the HPET and the time-stamp counter run"
        ret

# ---- code that changes

code_changes:
        # Written by the processor: the next call runs what was written, and so does the next instruction.
        movb    $0xb8, patched                  # MOV EAX, 1; RET
        movl    $1, patched + 1
        movb    $0xc3, patched + 5
        call    patched
        cmp     $1, %eax
        expect  e, "code written before it runs"
        movl    $2, patched + 1
        call    patched
        cmp     $2, %eax
        expect  e, "code overwritten after it ran"
        mov     $100, %ecx
        xor     %ebx, %ebx
1:      mov     %ecx, patched + 1
        call    patched
        add     %eax, %ebx
        loop    1b
        cmp     $5050, %ebx
        expect  e, "code overwritten a hundred times"
        xor     %r8d, %r8d
        movb    $0xc8, same_block + 2           # makes it DEC R8D
same_block:
        .byte   0x41, 0xff, 0xc0                # INC R8D
        cmp     $-1, %r8d
        expect  e, "the next instruction overwritten in its own block"

        # Written by a device: fw_cfg's DMA copies its signature over the constant.
        movl    $0x2a, patched + 1
        call    patched
        movl    $0x0a000000, dma_control        # big-endian: select item 0 and read
        movl    $0x04000000, dma_control + 4    # four bytes
        mov     $patched + 1, %eax
        bswap   %eax
        movl    $0, dma_control + 8
        mov     %eax, dma_control + 12
        mov     $0x514, %edx
        xor     %eax, %eax
        out     %eax, %dx
        mov     $0x518, %edx
        mov     $dma_control, %eax
        bswap   %eax
        out     %eax, %dx
        call    patched
        cmp     $0x554d4551, %eax               # "QEMU"
        expect  e, "code overwritten by DMA"
        ret

# ---- atomics

atomics:
        movl    $5, page
        mov     $7, %eax
        lock xaddl %eax, page
        cmp     $5, %eax
        expect  e, "LOCK XADD returns the old value"
        expect32 page, 12, "LOCK XADD adds"
        mov     $12, %eax
        mov     $99, %ecx
        lock cmpxchgl %ecx, page
        expect  e, "LOCK CMPXCHG finds its value"
        expect32 page, 99, "LOCK CMPXCHG stores"
        movq    $1, page + 16
        movq    $2, page + 24
        mov     $1, %eax
        mov     $2, %edx
        mov     $3, %ebx
        mov     $4, %ecx
        lock cmpxchg16b page + 16
        expect  e, "LOCK CMPXCHG16B finds its value"
        cmpq    $4, page + 24
        expect  e, "LOCK CMPXCHG16B stores"
        movl    $0, page + 61
        lock incl page + 61
        expect32 page + 61, 1, "LOCK across a cache line"
        catch   1f
        .byte   0xf0, 0x89, 0xc0                # LOCK MOV EAX, EAX
1:      expect_event UD, 0, "LOCK where it is not allowed is #UD"
        ret

# ---- SSE2 and x87

vectors:
        movq    $0x4008000000000000, %rax       # 3.0
        movq    %rax, %xmm0
        sqrtsd  %xmm0, %xmm0
        mulsd   %xmm0, %xmm0
        movq    %xmm0, %rbx
        mov     $0x4007ffffffffffff, %rcx       # 2.9999999999999996
        cmp     %rcx, %rbx
        expect  e, "double precision rounds as IEEE 754 says"
        pxor    %xmm1, %xmm1
        pcmpeqb %xmm2, %xmm2
        psubb   %xmm2, %xmm1
        pmovmskb %xmm2, %eax
        cmp     $0xffff, %eax
        expect  e, "PCMPEQB and PMOVMSKB"
        fninit
        fld1
        fld1
        fpatan
        fadd    %st(0), %st(0)
        fadd    %st(0), %st(0)
        fldpi
        fcomip  %st(1), %st(0)
        fstp    %st(0)
        expect  e, "four times the arctangent of one is pi"
        catch   1f
        mov     %cr0, %rax
        or      $8, %rax                        # TS
        mov     %rax, %cr0
        movaps  %xmm0, %xmm1
1:      clts
        expect_event NM, 0, "SSE under CR0.TS is #NM"
        ret

        .data
        .align 64
patched:
        .skip   64
        .bss
        .align 64
page:   .skip   128
dma_control:
        .skip   16
