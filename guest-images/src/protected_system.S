# What a system keeps to itself in protected mode: instructions of ring 0, ports and flags by IOPL and the permission bitmap,
# virtual interrupts, the time-stamp counter, table registers; control and debug registers; SYSENTER and SYSEXIT.
#
# SDM vol. 3 §5.9 (privileged instructions), §2.5 (control registers), §17.2 (debug registers), §20.4 (CR4.PVI), §5.8.7
# (fast system calls); vol. 1 §19.5 (ports).

        .include "protected.inc"

        .set PVI, 1 << 1
        .set TSD, 1 << 2
        .set UMIP, 1 << 11
        .set PERMISSION, 0x88                   # where the map is in the state segment
        .set PORTS, 0x400                       # how many ports it speaks of
        .set OPEN, 0x80                         # a port at which nothing is

checks:
        begin   "protected mode: system"
        redescribe TASK, 0, PERMISSION+PORTS/8, 0x89
        rebase  TASK, task
        mov     $TASK, %eax
        ltr     %ax
        movw    $0xffff, task + 0x66            # no map yet
        mov     $task + PERMISSION, %edi
        mov     $PORTS / 8 + 1, %ecx
        mov     $0xff, %al
        rep stosb
        call    privileged
        call    iopl
        call    permission
        call    virtual_interrupts
        call    time_and_tables
        call    control_registers
        call    debug_registers
        call    fast_system_calls
        finish

        .macro closed name, instruction:vararg
        raises_in_ring_3 GP, 0, "\name is for ring 0", \instruction
        .endm

# ---- instructions of ring 0

privileged:
        closed  "LGDT", lgdt gdt_pointer
        closed  "LIDT", lidt idt_pointer
        closed  "LLDT", lldt %cx
        closed  "LTR", ltr %cx
        closed  "LMSW", lmsw %cx
        closed  "CLTS", clts
        closed  "MOV from CR0", mov %cr0, %ecx
        closed  "MOV to CR3", mov %ecx, %cr3
        closed  "MOV from DR7", mov %dr7, %ecx
        closed  "MOV to DR0", mov %ecx, %dr0
        mov     $0x10, %ecx
        closed  "RDMSR", rdmsr
        closed  "WRMSR", wrmsr
        closed  "INVD", invd
        closed  "WBINVD", wbinvd
        closed  "INVLPG", invlpg (%ecx)
        closed  "SYSEXIT", sysexit
        raises_in_ring_3 UD, 0, "MOV from CR1 is #UD before that", .byte 0x0f, 0x20, 0xc8
        passes_in_ring_3 "CPUID is for everyone", cpuid
        ret

# ---- IOPL: SDM vol. 1 §19.5.1

        .macro with_iopl_3 vector, name, instruction:vararg
        catch   1f
        enter_ring_3 2f, IOPL_3|FIXED
2:      \instruction
        int     $LEAVE
1:      expect_event \vector, 0, "\name"
        .endm

iopl:   closed  "CLI with IOPL 0", cli
        closed  "STI with IOPL 0", sti
        closed  "IN with IOPL 0", in $OPEN, %al
        closed  "OUT with IOPL 0", out %al, $OPEN
        mov     $OPEN, %edx
        mov     $task, %edi
        closed  "INS with IOPL 0", insb
        mov     $task, %esi
        closed  "OUTS with IOPL 0", outsl
        with_iopl_3 LEAVE, "CLI with IOPL 3 is for everyone", cli
        with_iopl_3 LEAVE, "IN with IOPL 3 is for everyone", in $OPEN, %al
        with_iopl_3 LEAVE, "OUT with IOPL 3 is for everyone", out %eax, $OPEN
        with_iopl_3 GP, "HLT with IOPL 3 is not", hlt
        catch   1f
        enter_ring_3 2f, IOPL_3|FIXED
2:      sti
        pushf
        pop     %ecx
        int     $LEAVE
1:      and     $FL_IF, %ecx
        expect32 %ecx, FL_IF, "STI with IOPL 3 sets IF"
        ret

# ---- the permission bitmap: SDM vol. 1 §19.5.2

permission:
        closed  "without a map a port", in $OPEN, %al
        movw    $PERMISSION, task + 0x66
        closed  "a port whose bit is set", in $OPEN, %al
        andb    $~1, task + PERMISSION + OPEN / 8
        passes_in_ring_3 "a port whose bit is clear is open", in $OPEN, %al
        closed  "its neighbour", in $OPEN+1, %al
        closed  "two ports of which one is closed", in $OPEN, %ax
        andb    $~2, task + PERMISSION + OPEN / 8
        passes_in_ring_3 "two open ones are open", in $OPEN, %ax
        closed  "four of which two are closed", in $OPEN, %eax
        movb    $0, task + PERMISSION + OPEN / 8
        passes_in_ring_3 "four open ones are open", in $OPEN, %eax
        closed  "four across two bytes of the map", in $OPEN+6, %eax
        movb    $0xfc, task + PERMISSION + OPEN / 8 + 1
        passes_in_ring_3 "open ones across two bytes", in $OPEN+6, %eax
        movb    $0, task + PERMISSION + PORTS / 8 - 1
        mov     $PORTS-1, %edx
        passes_in_ring_3 "the last port of the map, behind which a byte must be", in %dx, %al
        mov     $PORTS, %edx
        movb    $0, task + PERMISSION + PORTS / 8
        closed  "a port behind the map", in %dx, %al
        movw    $PERMISSION+PORTS/8, task + 0x66
        closed  "a map that begins in the last byte", in $0, %al
        movw    $0xffff, task + 0x66
        closed  "a map that begins outside", in $OPEN, %al
        ret

# ---- CR4.PVI: CLI and STI of ring 3 change a virtual flag

        .macro with_pvi vector, name, flags, label
        catch   1f
        enter_ring_3 \label, \flags|FIXED
1:      expect_event \vector, 0, "\name"
        mov     caught_flags, %ebx
        .endm

virtual_interrupts:
        mov     $PVI, %eax
        mov     %eax, %cr4
        with_pvi LEAVE, "STI sets the virtual flag", 0, do_sti
        and     $FL_VIF | FL_IF, %ebx
        expect32 %ebx, FL_VIF, "and leaves IF"
        with_pvi LEAVE, "CLI clears it", FL_VIF|FL_IF, do_cli
        cli
        and     $FL_VIF | FL_IF, %ebx
        expect32 %ebx, FL_IF, "and leaves IF"
        with_pvi GP, "STI where an interrupt is pending is #GP(0)", FL_VIP, do_sti
        with_pvi LEAVE, "CLI is not", FL_VIP, do_cli
        with_pvi LEAVE, "POPF changes neither", FL_VIF|FL_IF, do_popf
        and     $FL_VIF | FL_IF, %ebx
        expect32 %ebx, FL_VIF|FL_IF, "of the two flags"
        with_pvi LEAVE, "with IOPL 3", IOPL_3, do_sti
        and     $FL_VIF | FL_IF, %ebx
        expect32 %ebx, FL_IF, "STI sets IF"
        xor     %eax, %eax
        mov     %eax, %cr4
        closed  "without it STI", sti
        ret

do_sti: sti
        int     $LEAVE
do_cli: cli
        int     $LEAVE
do_popf:
        pushl   $FIXED
        popf
        int     $LEAVE

# ---- CR4.TSD and CR4.UMIP

time_and_tables:
        passes_in_ring_3 "RDTSC is for everyone", rdtsc
        mov     $TSD, %eax
        mov     %eax, %cr4
        closed  "with CR4.TSD RDTSC", rdtsc
        raises  NOTHING, 0, "which may still", rdtsc
        xor     %eax, %eax
        mov     %eax, %cr4
        closed  "without CR4.PCE RDPMC", rdpmc
        passes_in_ring_3 "SGDT is for everyone", sgdt stored
        passes_in_ring_3 "SMSW is for everyone", smsw %cx
        mov     $UMIP, %eax
        mov     %eax, %cr4
        closed  "with CR4.UMIP SGDT", sgdt stored
        closed  "with CR4.UMIP SIDT", sidt stored
        closed  "with CR4.UMIP SLDT", sldt %cx
        closed  "with CR4.UMIP STR", str %cx
        closed  "with CR4.UMIP SMSW", smsw %cx
        raises  NOTHING, 0, "which may still store them", sgdt stored
        xor     %eax, %eax
        mov     %eax, %cr4
        ret

# ---- control registers: SDM vol. 2 MOV to and from control registers; vol. 3 §2.5

        .macro refuses value, register, name
        mov     $\value, %eax
        raises  GP, 0, "\name", mov %eax, %\register
        .endm

control_registers:
        refuses 0x80000000, cr0, "CR0: paging without protection"
        refuses 0x20000001, cr0, "CR0: not write-through, with the cache on"
        refuses 0x00002000, cr4, "CR4: VMX is not there"
        refuses 0x80000000, cr4, "CR4: a reserved bit"
        refuses 0x00020000, cr4, "CR4: PCIDs outside 64-bit mode"
        mov     %cr0, %ecx
        and     $0x10, %ecx
        expect32 %ecx, 0x10, "CR0.ET is always set"
        mov     %cr0, %ebx
        mov     %ebx, %eax
        and     $~0x10, %eax
        mov     %eax, %cr0
        mov     %cr0, %ecx
        and     $0x10, %ecx
        expect32 %ecx, 0x10, "and cannot be cleared"
        mov     %ebx, %cr0
        mov     $8, %eax
        lmsw    %ax
        mov     %cr0, %ecx
        and     $9, %ecx
        expect32 %ecx, 9, "LMSW sets TS, and cannot clear PE"
        clts
        mov     %cr0, %ecx
        and     $8, %ecx
        expect32 %ecx, 0, "CLTS clears it"
        mov     $0x12345018, %eax
        mov     %eax, %cr3
        expect32 %cr3, 0x12345018, "CR3 holds a table's address and its cache bits"
        xor     %eax, %eax
        mov     %eax, %cr3
        mov     $0xc0000080, %ecx
        xor     %edx, %edx
        mov     $2, %eax
        raises  GP, 0, "EFER: a reserved bit", wrmsr
        raises  UD, 0, "SWAPGS is of 64-bit mode", .byte 0x0f, 0x01, 0xf8
        ret

# ---- debug registers: SDM vol. 3 §17.2

debug_registers:
        xor     %eax, %eax
        mov     %eax, %dr6
        expect32 %dr6, 0xffff0ff0, "DR6 has fixed bits"
        mov     $0x400f, %eax
        mov     %eax, %dr6
        mov     %dr6, %ecx
        expect32 %ecx, 0xffff4fff, "and sixteen that can be written"
        xor     %eax, %eax
        mov     %eax, %dr7
        expect32 %dr7, 0x400, "DR7 has a fixed bit"
        expect32 %dr5, 0x400, "DR5 is DR7"
        mov     $0x12345678, %eax
        mov     %eax, %dr3
        expect32 %dr3, 0x12345678, "DR3 holds an address"
        mov     $0xffff0ff0, %eax
        mov     %eax, %dr6
        ret

# ---- SYSENTER and SYSEXIT

        .set SYSENTER_CS, 0x174
        .set SYSENTER_ESP, 0x175
        .set SYSENTER_EIP, 0x176

        .macro set_msr msr, value
        mov     $\msr, %ecx
        mov     $\value, %eax
        xor     %edx, %edx
        wrmsr
        .endm

fast_system_calls:
        raises  GP, 0, "SYSENTER without a code segment is #GP(0)", sysenter
        raises  GP, 0, "SYSEXIT without one too", sysexit
        set_msr SYSENTER_CS, CODE|3
        set_msr SYSENTER_ESP, interrupt_stack_top-16
        set_msr SYSENTER_EIP, entered
        mov     $SYSENTER_ESP, %ecx
        rdmsr
        expect32 %eax, interrupt_stack_top-16, "the registers hold what was written"
        movl    $1f, return_at
        mov     %esp, resume_esp
        enter_ring_3 2f, FL_IF|FL_CF|FIXED
2:      mov     $0x1357, %esi
        sysenter
1:      expect32 %ebx, CODE, "SYSENTER goes to ring 0"
        expect32 %ecx, DATA, "with the stack segment that follows"
        expect32 %edx, interrupt_stack_top-16, "and the stack pointer"
        expect32 %edi, FL_CF|FIXED, "without IF, other flags are left"
        expect32 %esi, 0x1357, "registers are left"
        catch   1f
        mov     $2f, %edx
        mov     $user_stack_top-32, %ecx
        sysexit
2:      int     $LEAVE
1:      expect_event LEAVE, 0, "SYSEXIT goes to ring 3"
        expect32 caught_eip, 2b+2, "to where EDX says"
        expect32 caught_esp, user_stack_top-32, "with the stack of ECX"
        expect32 caught_cs, USER_CODE, "in the code segment that follows two later"
        expect32 caught_ss, USER_DATA, "and the stack segment that follows three later"
        ret

entered:
        mov     %esp, %edx
        pushf
        pop     %edi
        mov     %cs, %ebx
        mov     %ss, %ecx
        mov     resume_esp, %esp
        jmp     *return_at

        .data
        .align 8
stored: .quad   0
return_at:
        .long   0
