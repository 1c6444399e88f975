# Fast ways into a 64-bit kernel and out: SYSCALL and SYSRET, SYSENTER and SYSEXIT, in 64-bit and in compatibility mode;
# SWAPGS; and the instructions that reach the bases of FS and GS.
#
# SDM vol. 2 SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS, RDFSBASE, WRGSBASE; vol. 3 §5.8.7, §5.8.8.

        .include "long.inc"

        .set STAR, 0xc0000081
        .set LSTAR, 0xc0000082
        .set FMASK, 0xc0000084
        .set FS_BASE, 0xc0000100
        .set GS_BASE, 0xc0000101
        .set KERNEL_GS_BASE, 0xc0000102
        .set TSC_AUX, 0xc0000103
        .set SYSENTER_CS, 0x174
        .set SYSENTER_ESP, 0x175
        .set SYSENTER_EIP, 0x176
        .set TSD, 1 << 2
        .set FSGSBASE, 1 << 16
        .set BROKEN, 0x800000000000             # the first address that is not canonical
        .set BROKEN_HIGH, 0x8000

checks:
        begin   "64-bit mode: calls"
        mov     $USER_DATA, %eax
        mov     %eax, %ds
        mov     %eax, %es
        set_msr STAR, (USER_CODE_32<<48)|(CODE<<32)
        set_msr FMASK, FL_IF|FL_DF|FL_AC
        mov     $LSTAR, %ecx
        mov     $from_syscall, %eax
        xor     %edx, %edx
        wrmsr
        mov     $SYSENTER_EIP, %ecx
        mov     $from_sysenter, %eax
        wrmsr
        mov     $SYSENTER_ESP, %ecx
        mov     $interrupt_stack_top-64, %eax
        wrmsr
        call    syscalls
        call    sysrets
        call    syscalls_refused
        call    sysenters
        call    sysexits
        call    swapgs_and_bases
        finish

        .macro note n, register
        mov     \register, notes + 8 * \n
        .endm

# Where SYSCALL and SYSENTER lead: notes what they did, and goes on at `return_at` with the stack of `catch`.
from_syscall:
        note    0, %rsp
        note    1, %rcx
        note    2, %r11
noted:  pushfq
        pop     %rax
        note    3, %rax
        mov     %cs, %eax
        note    4, %rax
        mov     %ss, %eax
        note    5, %rax
        mov     resume_rsp, %rsp
        jmp     *return_at
from_sysenter:
        note    0, %rsp
        mov     resume_rsp, %rsp
        jmp     noted

# Ring 3, or the code of `code`, goes to `entry`, and by a fast call back to `back`.
        .macro call_from entry, back, flags=FIXED, code=USER_CODE
        mov     %rsp, resume_rsp
        movq    $\back, return_at
        enter_ring_3 \entry, \flags, \code
        .endm

syscalls:
        call_from 2f, 1f, FL_IF|FL_DF|FL_CF|FL_ID|FIXED
2:      syscall
after_syscall:
1:      cld
        expect64 notes, user_stack_top, "SYSCALL leaves RSP"
        expect64 notes+8, after_syscall, "RCX is where it returns to"
        expect64 notes+16, FL_IF|FL_DF|FL_CF|FL_ID|FIXED, "R11 holds the flags"
        expect64 notes+24, FL_CF|FL_ID|FIXED, "of which those of FMASK are cleared"
        expect16 notes+32, CODE, "CS is of ring 0"
        expect16 notes+40, DATA, "SS is"
        mov     %rsp, resume_rsp
        movq    $1f, return_at
        mov     %rsp, %rbx
        syscall
1:      sub     notes, %rbx
        expect64 %rbx, 0, "SYSCALL in ring 0"
        ret

# ---- SYSRET

sysrets:
        catch   1f
        mov     $2f, %ecx
        mov     $FL_RF | FL_VM | FL_CF | FL_ID | FL_IF | FIXED, %r11d
        mov     %rsp, %rbx
        sysretq
2:      mov     %rsp, %r12
        int     $LEAVE
1:      expect_event LEAVE, 0, "SYSRET to 64-bit mode"
        expect64 caught_cs, USER_CODE, "CS is of ring 3"
        expect64 caught_ss, USER_DATA, "SS is"
        expect64 caught_flags, FL_CF|FL_ID|FL_IF|FIXED, "the flags are those of R11, without VM and RF"
        sub     %r12, %rbx
        expect64 %rbx, 0, "RSP is left"
        catch   1f
        mov     $2f, %ecx
        bts     $40, %rcx
        mov     $FIXED, %r11d
        sysretl
        .code32
2:      dec     %eax                            # REX in 64-bit mode
        nop
        int     $LEAVE
        .code64
1:      expect_event LEAVE, 0, "SYSRET to compatibility mode"
        expect64 caught_cs, USER_CODE_32, "CS is of 32 bits"
        expect64 caught_ss, USER_DATA, "SS is the same"
        ret

syscalls_refused:
        raises_in_ring_3 GP, 0, "SYSRET in ring 3 is #GP(0)", sysretq
        mov     $BROKEN, %rcx
        mov     $FIXED, %r11d
        catch   1f
        mov     %rsp, %rbx
at_sysret:
        sysretq
1:      expect_event_at GP, 0, at_sysret, "SYSRET to what is not canonical is #GP(0)"
        expect64 caught_cs, CODE, "still in ring 0"
        catch   1f
        enter_ring_3 user_32_syscall, FIXED, USER_CODE_32
1:      expect_event UD, 0, "SYSCALL in compatibility mode is #UD"
        mov     $EFER, %ecx
        rdmsr
        and     $~1, %eax
        wrmsr
        raises  UD, 0, "SYSCALL without EFER.SCE is #UD", syscall
        raises  UD, 0, "SYSRET without it is #UD", sysretq
        mov     $EFER, %ecx
        rdmsr
        or      $1, %eax
        wrmsr
        mov     $LSTAR, %ecx
        xor     %eax, %eax
        mov     $BROKEN_HIGH, %edx
        raises  GP, 0, "LSTAR refuses what is not canonical", wrmsr
        mov     $SYSENTER_EIP, %ecx
        raises  GP, 0, "SYSENTER_EIP too", wrmsr
        mov     $KERNEL_GS_BASE, %ecx
        raises  GP, 0, "KERNEL_GS_BASE too", wrmsr
        ret

        .code32
user_32_syscall:
        syscall
        int     $LEAVE
user_32_sysenter:
        sysenter
        int     $LEAVE
        .code64

# ---- SYSENTER and SYSEXIT

sysenters:
        raises  GP, 0, "SYSENTER without a code segment is #GP(0)", sysenter
        set_msr SYSENTER_CS, CODE
        call_from 2f, 1f, FL_IF|FL_CF|FIXED
2:      sysenter
1:      expect64 notes, interrupt_stack_top-64, "SYSENTER loads RSP"
        expect64 notes+24, FL_CF|FIXED, "and clears IF alone"
        expect16 notes+32, CODE, "CS is of ring 0"
        expect16 notes+40, DATA, "SS follows it"
        call_from user_32_sysenter, 1f, FIXED, USER_CODE_32
1:      expect64 notes, interrupt_stack_top-64, "SYSENTER in compatibility mode does the same"
        expect16 notes+32, CODE, "and goes to 64-bit mode"
        ret

sysexits:
        catch   1f
        mov     $2f, %edx
        mov     $user_stack_top-32, %ecx
        sysexitq
2:      int     $LEAVE
1:      expect_event LEAVE, 0, "SYSEXIT to 64-bit mode"
        expect64 caught_rsp, user_stack_top-32, "takes its stack from RCX"
        expect64 caught_cs, USER_CODE, "CS is four later"
        expect64 caught_ss, USER_DATA_64, "SS is five later"
        catch   1f
        mov     $2f, %edx
        mov     $user_stack_top-32, %ecx
        bts     $40, %rcx
        sysexitl
        .code32
2:      dec     %eax                            # REX in 64-bit mode
        nop
        int     $LEAVE
        .code64
1:      expect_event LEAVE, 0, "SYSEXIT to compatibility mode"
        expect64 caught_rsp, user_stack_top-32, "takes 32 bits of its stack"
        expect64 caught_cs, USER_CODE_32, "CS is two later"
        expect64 caught_ss, USER_DATA, "SS is three later"
        mov     $BROKEN, %rdx
        raises  GP, 0, "SYSEXIT to what is not canonical is #GP(0)", sysexitq
        mov     %rdx, %rcx
        mov     $2f, %edx
        raises  GP, 0, "with such a stack too", sysexitq
        raises_in_ring_3 GP, 0, "SYSEXIT in ring 3 is #GP(0)", sysexitq
2:      ret

# ---- SWAPGS and the bases

        .macro expect_base msr, value, name
        mov     $\msr, %ecx
        rdmsr
        shl     $32, %rdx
        or      %rdx, %rax
        expect64 %rax, \value, "\name"
        .endm

swapgs_and_bases:
        set_msr GS_BASE, 0x111122220000
        set_msr KERNEL_GS_BASE, 0x333344440000
        swapgs
        expect_base GS_BASE, 0x333344440000, "SWAPGS takes the kernel's base"
        expect_base KERNEL_GS_BASE, 0x111122220000, "and keeps the user's"
        swapgs
        expect_base GS_BASE, 0x111122220000, "and back"
        raises_in_ring_3 GP, 0, "SWAPGS in ring 3 is #GP(0)", swapgs
        raises  UD, 0, "RDFSBASE without CR4.FSGSBASE is #UD", rdfsbase %rax
        mov     %cr4, %rax
        or      $FSGSBASE, %eax
        mov     %rax, %cr4
        set_msr FS_BASE, 0x555566667777
        catch   1f
        enter_ring_3 2f
2:      rdfsbase %rbx
        rdgsbase %r12d
        mov     $notes, %eax
        wrgsbase %rax
        movq    $0x2468, notes
        mov     %gs:0, %r13
        mov     $-1, %rax
        wrfsbase %eax
        rdfsbase %r14
        int     $LEAVE
1:      expect_event LEAVE, 0, "with it ring 3 reaches the bases"
        expect64 %rbx, 0x555566667777, "RDFSBASE reads FS's"
        expect64 %r12, 0x22220000, "of 32 bits it reads the lower half"
        expect64 %r13, 0x2468, "WRGSBASE writes GS's"
        expect64 %r14, 0xffffffff, "WRFSBASE of 32 bits clears the upper half"
        mov     $BROKEN, %rbx
        raises_in_ring_3 GP, 0, "WRFSBASE of what is not canonical is #GP(0)", wrfsbase %rbx
        mov     %cr4, %rax
        and     $~FSGSBASE, %eax
        mov     %rax, %cr4
        set_msr TSC_AUX, 0x1234
        catch   1f
        enter_ring_3 2f
2:      rdtscp
        int     $LEAVE
1:      expect64 %rcx, 0x1234, "RDTSCP reads TSC_AUX"
        movl    $0, resume_at
        mov     %cr4, %rax
        or      $TSD, %eax
        mov     %rax, %cr4
        raises_in_ring_3 GP, 0, "with CR4.TSD it is for ring 0", rdtscp
        mov     %cr4, %rax
        and     $~TSD, %eax
        mov     %rax, %cr4
        ret

        .data
        .align 8
notes:  .skip   64
return_at:
        .quad   0
