# A guest that takes a PC from flat 32-bit protected mode to 64-bit mode and checks what a kernel relies on there: paging
# with its faults, gates and stacks, both ways into the kernel and out, interrupts from each timer, code that is
# overwritten by the processor and by a device, locked operations, SSE2 and x87.
#
# Rule: every check prints one line and changes nothing that a later one needs. The status is 1 where all passed.

        .set MAGIC, 0x1badb002
        .section .multiboot, "a"
        .align 4
        .long MAGIC, 0, -MAGIC

        .set CODE32, 0x08
        .set DATA, 0x10
        .set CODE64, 0x18
        .set USER32, 0x20       # SYSRET finds its three segments from here
        .set USER_DATA, 0x28
        .set USER64, 0x30
        .set TASK, 0x38

        .set PRESENT, 1
        .set WRITABLE, 2
        .set USER, 4
        .set LARGE, 0x80

        .text
        .code32
        .globl start
start:
        cli
        cld
        lgdt    gdt_pointer
        ljmp    $CODE32, $1f
1:      mov     $DATA, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        mov     %eax, %fs
        mov     %eax, %gs
        mov     $stack_top, %esp

        # 1 GiB mapped to itself in pages of 2 MiB; the page at `scene` in small ones of its own.
        mov     $pdpt + PRESENT + WRITABLE + USER, %eax
        mov     %eax, pml4
        mov     $directory + PRESENT + WRITABLE + USER, %eax
        mov     %eax, pdpt
        xor     %ecx, %ecx
2:      mov     %ecx, %eax
        shl     $21, %eax
        or      $PRESENT + WRITABLE + USER + LARGE, %eax
        mov     %eax, directory(, %ecx, 8)
        movl    $0, directory + 4(, %ecx, 8)
        inc     %ecx
        cmp     $512, %ecx
        jne     2b
        mov     $table + PRESENT + WRITABLE + USER, %eax
        mov     %eax, directory + 511 * 8       # linear 0x3fe00000 and up: see SCENE

        mov     $pml4, %eax
        mov     %eax, %cr3
        mov     %cr4, %eax
        or      $0x620, %eax                    # PAE, OSFXSR, OSXMMEXCPT
        mov     %eax, %cr4
        mov     $0xc0000080, %ecx               # EFER: SCE, LME, NXE
        rdmsr
        or      $0x901, %eax
        wrmsr
        mov     %cr0, %eax
        or      $0x80010002, %eax               # PG, WP, MP
        and     $~4, %eax                       # EM
        mov     %eax, %cr0
        ljmp    $CODE64, $long_mode

        .set BITS, 64
        .include "report.inc"

long_mode:
        mov     $stack_top, %rsp
        mov     $DATA, %eax
        mov     %eax, %ss
        begin   "long mode"

        # Gates: all 256 vectors lead to stubs of eight bytes.
        mov     $idt, %rdi
        mov     $stubs, %rax
        mov     $256, %ecx
1:      mov     %ax, (%rdi)
        movw    $CODE64, 2(%rdi)
        movw    $0x8e00, 4(%rdi)
        mov     %rax, %rdx
        shr     $16, %rdx
        mov     %dx, 6(%rdi)
        movq    $0, 8(%rdi)
        add     $16, %rdi
        add     $8, %rax
        loop    1b
        movb    $1, idt + 8 * 16 + 4            # #DF and #SS have a stack of their own
        movb    $1, idt + 12 * 16 + 4
        movb    $0xee, idt + 0x80 * 16 + 5      # ring 3 may use INT 80h
        lidt    idt_pointer
        mov     $task, %rax
        mov     %ax, gdt + TASK + 2
        shr     $16, %rax
        mov     %al, gdt + TASK + 4
        mov     %ah, gdt + TASK + 7
        mov     $TASK, %eax
        ltr     %ax

        call    exceptions
        call    paging
        call    rings
        call    timers
        call    code_changes
        call    atomics
        call    vectors

        finish

# Runs what follows with `\vector` expected; the handler resumes at `\resume` with what was pushed in `caught`.
        .macro catch resume
        movq    $-1, caught_vector
        movq    $\resume, resume_at
        .endm

        .macro expect_fault vector, error, name
        cmpq    $\vector, caught_vector
        jne     .Lother\@
        cmpq    $\error, caught_error
.Lother\@:
        expect  e, "\name"
        .endm

# ---- exceptions

exceptions:
        catch   1f
        xor     %edx, %edx
        xor     %ecx, %ecx
        mov     $1, %eax
at_div: div     %ecx
1:      expect_fault 0, 0, "division by zero is #DE"
        cmpq    $at_div, caught_rip
        expect  e, "#DE leaves RIP at the instruction"
        catch   1f
        ud2
1:      expect_fault 6, 0, "UD2 is #UD"
        catch   1f
        mov     $0x123 * 8, %eax
        mov     %eax, %ds
1:      expect_fault 13, 0x918, "a selector beyond the table is #GP with its index"
        mov     $DATA, %eax
        mov     %eax, %ds
        catch   1f
        mov     $0x800000000000, %rax
        mov     (%rax), %rax
1:      expect_fault 13, 0, "a load that is not canonical is #GP(0)"
        catch   1f
        mov     %rsp, %rbx
        mov     $0x800000001000, %rsp
        push    %rax
1:      mov     %rbx, %rsp
        expect_fault 12, 0, "a push that is not canonical is #SS(0)"
        catch   1f
        int3
1:      expect_fault 3, 0, "INT3 is #BP"
        catch   1f
        pushfq
        orq     $0x100, (%rsp)
        popfq
        nop
at_trap: nop
1:      expect_fault 1, 0, "TF traps after one instruction"
        cmpq    $at_trap, caught_rip
        expect  e, "the single-step trap is at the next instruction"
        ret

# ---- paging

        .set SCENE, 0x3fe00000          # the linear address that `table` maps

paging:
        movq    $page + PRESENT, table                          # read-only, supervisor
        invlpg  SCENE
        movl    $0x1234, page
        expect32 SCENE, 0x1234, "a page is seen through its alias"
        catch   1f
        movl    $1, SCENE
1:      expect_fault 14, 3, "a write to a read-only page is #PF(3)"
        mov     %cr2, %rax
        cmp     $SCENE, %rax
        expect  e, "CR2 is the address"
        mov     %cr0, %rax
        and     $~0x10000, %rax
        mov     %rax, %cr0
        movl    $5, SCENE
        expect32 page, 5, "without WP the supervisor may write"
        or      $0x10000, %rax
        mov     %rax, %cr0
        movq    $0, table
        invlpg  SCENE
        catch   1f
        mov     SCENE + 8, %eax
1:      expect_fault 14, 0, "an absent page is #PF(0)"
        mov     $page + PRESENT + WRITABLE, %rax
        bts     $63, %rax
        mov     %rax, table
        movb    $0xc3, page                                     # RET
        catch   1f
        mov     $SCENE, %rax
        call    *%rax
1:      expect_fault 14, 0x11, "a fetch from a page with NX is #PF(11h)"
        mov     $stack_top - 8, %rsp
        btrq    $63, table
        invlpg  SCENE
        andq    $~0x60, table
        invlpg  SCENE
        mov     SCENE, %eax
        testb   $0x20, table
        expect  nz, "a read sets the accessed flag"
        testb   $0x40, table
        expect  z, "a read does not set the dirty flag"
        mov     %eax, SCENE
        testb   $0x40, table
        expect  nz, "a write sets the dirty flag"
        mov     table, %rax
        bts     $51, %rax
        mov     %rax, table
        invlpg  SCENE
        catch   1f
        mov     SCENE, %eax
1:      expect_fault 14, 9, "a reserved bit is #PF(9)"
        movq    $0, table
        # A store across the end of a mapped page leaves no trace on the mapped one.
        movq    $page + PRESENT + WRITABLE, table
        movq    $0, table + 8
        mov     %cr3, %rax
        mov     %rax, %cr3
        movl    $0, page + 0xffc
        catch   1f
        movq    $-1, SCENE + 0xffc
1:      expect_fault 14, 2, "a store that runs into an absent page is #PF(2)"
        expect32 page + 0xffc, 0, "and leaves no trace before it"
        # Double fault: the handler of #PF cannot be reached.
        movb    $0x0e, idt + 14 * 16 + 5                        # not present
        catch   1f
        mov     SCENE + 0x5000, %eax
1:      expect_fault 8, 0, "a fault in delivering #PF is #DF on its own stack"
        movb    $0x8e, idt + 14 * 16 + 5
        ret

# ---- rings

rings:
        mov     $0xc0000081, %ecx               # STAR
        xor     %eax, %eax
        mov     $(USER32 | 3) << 16 | CODE64, %edx
        wrmsr
        mov     $0xc0000082, %ecx               # LSTAR
        mov     $from_syscall, %eax
        xor     %edx, %edx
        wrmsr
        mov     $0xc0000084, %ecx               # FMASK: IF, DF
        mov     $0x600, %eax
        wrmsr
        mov     %rsp, kernel_stack
        mov     %rsp, task + 4                  # RSP0

        # To ring 3 by IRETQ, back by SYSCALL.
        movq    $1f, resume_at
        pushq   $USER_DATA | 3
        pushq   $user_stack_top
        pushq   $2
        pushq   $USER64 | 3
        pushq   $user_syscall
        iretq
1:      cmp     $user_syscall_end, %rcx
        expect  e, "SYSCALL leaves the return address in RCX"
        cmp     $0x1357, %rax
        expect  e, "IRETQ to ring 3 and SYSCALL back"

        # To ring 3 by SYSRET, back by INT 80h.
        catch   1f
        mov     $user_interrupt, %rcx
        mov     $2, %r11
        mov     $user_stack_top, %rsp
        sysretq
1:      mov     kernel_stack, %rsp
        expect_fault 0x80, 0, "SYSRET to ring 3 and INT 80h back"
        cmpq    $USER64 | 3, caught_cs
        expect  e, "the frame holds the code segment of ring 3"
        cmpq    $user_stack_top, caught_rsp
        expect  e, "the frame holds the stack of ring 3"

        # What ring 3 must not do.
        catch   1f
        mov     $user_privileged, %rcx
        mov     $2, %r11
        sysretq
1:      mov     kernel_stack, %rsp
        expect_fault 13, 0, "HLT in ring 3 is #GP(0)"
        movq    $page + PRESENT + WRITABLE, table
        invlpg  SCENE
        catch   1f
        mov     $user_reads, %rcx
        mov     $2, %r11
        sysretq
1:      mov     kernel_stack, %rsp
        expect_fault 14, 5, "ring 3 reading a supervisor page is #PF(5)"

        # Compatibility mode: 32-bit code, SYSCALL not being for it.
        catch   1f
        pushq   $USER_DATA | 3
        pushq   $user_stack_top
        pushq   $2
        pushq   $USER32 | 3
        pushq   $user_compatibility
        iretq
1:      mov     kernel_stack, %rsp
        expect_fault 0x80, 0, "compatibility mode and INT 80h back"
        cmp     $0x12345678, %rax
        expect  e, "32-bit arithmetic in compatibility mode"

        # SWAPGS and the base registers.
        mov     $0xc0000101, %ecx
        mov     $0x1111, %eax
        xor     %edx, %edx
        wrmsr
        inc     %ecx
        mov     $0x2222, %eax
        wrmsr
        swapgs
        dec     %ecx
        rdmsr
        cmp     $0x2222, %eax
        expect  e, "SWAPGS exchanges the bases"
        ret

from_syscall:
        mov     kernel_stack, %rsp
        jmp     *resume_at

user_syscall:
        mov     $0x1357, %eax
        syscall
user_syscall_end:
        ud2
user_interrupt:
        int     $0x80
        ud2
user_privileged:
        hlt
        ud2
user_reads:
        mov     SCENE, %eax
        ud2
        .code32
user_compatibility:
        mov     $0x12340000, %eax
        add     $0x5678, %ax
        int     $0x80
        ud2
        .code64

# ---- timers

        .set LAPIC, 0xfee00000

timers:
        # High memory-mapped registers are not in the first GiB: a page of their own at linear 0x3fe02000.
        movabs  $LAPIC + PRESENT + WRITABLE + 0x10, %rax
        mov     %rax, table + 2 * 8
        movabs  $0xfed00000 + PRESENT + WRITABLE + 0x10, %rax
        mov     %rax, table + 3 * 8
        mov     %cr3, %rax
        mov     %rax, %cr3

        # The 8254 through the 8259 pair: vectors 20h and up.
        mov     $0x11, %al
        out     %al, $0x20
        out     %al, $0xa0
        mov     $0x20, %al
        out     %al, $0x21
        mov     $0x28, %al
        out     %al, $0xa1
        mov     $4, %al
        out     %al, $0x21
        mov     $2, %al
        out     %al, $0xa1
        mov     $1, %al
        out     %al, $0x21
        out     %al, $0xa1
        mov     $0xfe, %al
        out     %al, $0x21
        mov     $0xff, %al
        out     %al, $0xa1
        catch   1f
        mov     $0x30, %al                      # channel 0, mode 0
        out     %al, $0x43
        mov     $0xff, %al
        out     %al, $0x40
        mov     $0x04, %al
        out     %al, $0x40
        sti
2:      hlt
        jmp     2b
1:      cli
        expect_fault 0x20, 0, "the 8254 interrupts through the 8259"
        mov     $0x20, %al
        out     %al, $0x20
        mov     $0xff, %al
        out     %al, $0x21

        # The local APIC's timer, one shot.
        movl    $0x1ff, SCENE + 0x20f0          # spurious vector FFh, enabled
        movl    $0x0b, SCENE + 0x23e0           # divide by 1
        movl    $0x40, SCENE + 0x2320           # vector 40h
        catch   1f
        movl    $100000, SCENE + 0x2380
        sti
2:      hlt
        jmp     2b
1:      cli
        expect_fault 0x40, 0, "the local APIC's timer interrupts"
        testl   $1, SCENE + 0x2120              # in service: vector 40h is bit 0 of the third word
        expect  nz, "the vector is in service"
        movl    $0, SCENE + 0x20b0
        testl   $1, SCENE + 0x2120
        expect  z, "and ends with EOI"

        # TSC deadline.
        movl    $0x40041, SCENE + 0x2320
        mfence
        catch   1f
        rdtsc
        add     $200000, %eax
        adc     $0, %edx
        mov     $0x6e0, %ecx
        wrmsr
        sti
2:      hlt
        jmp     2b
1:      cli
        expect_fault 0x41, 0, "the TSC deadline interrupts"
        movl    $0, SCENE + 0x20b0

        # A self interrupt, masked by priority until the task's priority falls.
        mov     $0xf, %eax
        mov     %rax, %cr8
        movl    $0x40050, SCENE + 0x2300
        catch   1f
        sti
        nop
        nop
        cmpq    $-1, caught_vector
        expect  e, "CR8 holds an interrupt back"
        xor     %eax, %eax
        mov     %rax, %cr8
        nop
        nop
1:      cli
        expect_fault 0x50, 0, "and lets it through"
        movl    $0, SCENE + 0x20b0

        # The HPET counts, and the time-stamp counter with it.
        movl    $1, SCENE + 0x3010
        mov     SCENE + 0x30f0, %rbx
        rdtsc
        shl     $32, %rdx
        or      %rax, %rdx
        mov     %rdx, %rsi
2:      mov     SCENE + 0x30f0, %rax
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
1:      expect_fault 6, 0, "LOCK where it is not allowed is #UD"
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
        expect_fault 7, 0, "SSE under CR0.TS is #NM"
        ret

# ---- handlers

# Each vector's stub pushes its number, as a signed byte to be eight bytes long.
        .align 8
stubs:
        .set number, 0
        .rept 256
        .align 8
        push    $number - 128
        jmp     handler
        .set number, number + 1
        .endr

# Notes what happened, and returns to `resume_at` in ring 0 with all registers as they were, on the interrupted stack or,
# from ring 3, on `kernel_stack`.
        .align 8
handler:
        push    %rax
        push    %rbx
        mov     16(%rsp), %rax
        add     $128, %rax
        mov     %rax, caught_vector
        movq    $0, caught_error
        lea     24(%rsp), %rbx                  # the frame, or an error code below it
        cmp     $31, %rax
        ja      1f
        bt      %eax, with_error_code
        jnc     1f
        mov     (%rbx), %rax
        mov     %rax, caught_error
        add     $8, %rbx
1:      mov     (%rbx), %rax
        mov     %rax, caught_rip
        mov     24(%rbx), %rax
        mov     %rax, caught_rsp
        mov     8(%rbx), %rax
        mov     %rax, caught_cs
        test    $3, %al
        jz      2f
        mov     kernel_stack, %rax
        mov     %rax, 24(%rbx)
2:      mov     resume_at, %rax
        mov     %rax, (%rbx)
        movq    $CODE64, 8(%rbx)
        movq    $2, 16(%rbx)
        movq    $DATA, 32(%rbx)
        mov     (%rsp), %rax
        mov     %rax, saved_rbx
        mov     8(%rsp), %rax
        mov     %rbx, %rsp
        mov     saved_rbx, %rbx
        iretq

        .data
        .align 16
gdt:    .quad   0
        .quad   0x00cf9b000000ffff              # CODE32
        .quad   0x00cf93000000ffff              # DATA
        .quad   0x00af9b000000ffff              # CODE64
        .quad   0x00cffb000000ffff              # USER32
        .quad   0x00cff3000000ffff              # USER_DATA
        .quad   0x00affb000000ffff              # USER64
        .quad   0x0000890000000067, 0           # TASK; its base is filled in
gdt_end:
gdt_pointer:
        .word   gdt_end - gdt - 1
        .quad   gdt
idt_pointer:
        .word   256 * 16 - 1
        .quad   idt
        .align 16
task:   .long   0
        .quad   0, 0, 0                         # RSP0 to RSP2
        .quad   0
        .quad   interrupt_stack_top             # IST1
        .quad   0, 0, 0, 0, 0, 0
        .quad   0
        .word   0, 0x68
with_error_code:
        .long   0x27d00                         # 8, 10 to 14 and 17
        .align 64
patched:
        .skip   64

        .bss
        .align 4096
pml4:   .skip   4096
pdpt:   .skip   4096
directory:
        .skip   4096
table:  .skip   4096
page:   .skip   4096
idt:    .skip   4096
        .skip   4096
stack_top:
        .skip   4096
interrupt_stack_top:
        .skip   4096
user_stack_top:
        .align 16
dma_control:
        .skip   16
caught_vector:
        .skip   8
caught_error:
        .skip   8
caught_rip:
        .skip   8
caught_cs:
        .skip   8
caught_rsp:
        .skip   8
resume_at:
        .skip   8
kernel_stack:
        .skip   8
saved_rbx:
        .skip   8
