# Exceptions of 32-bit protected mode: each with its error code, the place and the flags in its frame; what comes of an
# exception within an exception; and which of two comes first.
#
# SDM vol. 3 §6.13 (error codes), §6.15 (each exception), table 6-5 (double faults), table 6-2 (priority), §17.3.1.1 (RF).

        .include "protected.inc"
        .include "pic.inc"

        .set MP, 1 << 1
        .set EM, 1 << 2
        .set CR0_TS, 1 << 3
        .set NE, 1 << 5
        .set AM, 1 << 18
        .set OSFXSR, 1 << 9
        .set OSXMMEXCPT, 1 << 10

        descriptor ABSENT, 0, 0xfffff, 0x13, 12
        descriptor ABSENT_CODE, 0, 0xfffff, 0x1b, 12
        descriptor SMALL, 0, 0xff, 0x93, 4
        descriptor BELOW_2M, 0, 0x1ff, 0x93, 12
        descriptor OUTSIDE, 0, 0xfffff, 0xf3, 12        # of ring 3, and the last one

checks:
        begin   "protected mode: exceptions"
        call    faults_and_traps
        call    units
        call    segments
        call    gates
        call    double_faults
        call    interrupts
        call    ring_3
        call    alignment
        call    priority
        finish

# ---- where a frame points, and its RF: faults set it, traps and breakpoints on instructions do not

        .macro expect_rf value, name
        mov     caught_flags, %eax
        and     $FL_RF, %eax
        expect32 %eax, \value, "\name"
        .endm

        .set DR6_CLEAR, 0xffff0ff0

        .macro arm_dr0 address, condition
        mov     $\address, %eax
        mov     %eax, %dr0
        mov     $DR6_CLEAR, %eax
        mov     %eax, %dr6
        mov     $0x401 | \condition << 16, %eax
        mov     %eax, %dr7
        .endm

        .macro disarm
        mov     $0x400, %eax
        mov     %eax, %dr7
        .endm

faults_and_traps:
        catch   1f
        xor     %edx, %edx
        xor     %ecx, %ecx
at_div: div     %ecx
1:      expect_event_at DE, 0, at_div, "DIV by zero is #DE"
        expect_rf FL_RF, "a fault's frame holds RF"
        expect32 handler_flags, 0x46, "an interrupt gate's handler runs without it, and without IF"
        catch   1f
        pushl   $FL_TF | FIXED
        popf
        nop
after_step:
        nop
1:      expect_event_at DB, 0, after_step, "TF traps after one instruction"
        expect32 caught_flags, FL_TF | FIXED, "a single step's frame holds TF, not RF"
        arm_dr0 at_breakpoint, 0
        catch   1f
at_breakpoint:
        nop
1:      expect_event_at DB, 0, at_breakpoint, "an instruction breakpoint is a fault"
        expect_rf 0, "whose frame does not hold RF"
        arm_dr0 at_resumed, 0
        catch   1f
        pushl   $FL_RF | FIXED
        push    %cs
        pushl   $at_resumed
        iret
at_resumed:
        nop
1:      expect_event NOTHING, 0, "IRET with RF passes it"
        arm_dr0 watched, 0b1101
        catch   1f
        movl    $0, watched
after_write:
        nop
1:      expect_event_at DB, 0, after_write, "a data breakpoint is a trap"
        expect_rf 0, "whose frame does not hold RF either"
        disarm
        catch   1f
        .byte   0xf1
after_int1:
1:      expect_event_at DB, 0, after_int1, "INT1 is #DB"
        catch   1f
        int3
after_int3:
1:      expect_event_at BP, 0, after_int3, "INT3 is #BP"
        expect_rf 0, "which is a trap without RF"
        catch   1f
        mov     $0x7f, %al
        add     $1, %al
        into
after_into:
1:      expect_event_at OF, 0, after_into, "INTO with OF is #OF"
        catch   1f
        mov     $10, %eax
at_bound:
        bound   %eax, bounds
1:      expect_event_at BR, 0, at_bound, "BOUND outside is #BR"
        expect_rf FL_RF, "whose frame holds RF"
        catch   1f
at_ud2: ud2
1:      expect_event_at UD, 0, at_ud2, "UD2 is #UD"
        raises  UD, 0, "RSM outside system-management mode is #UD", .byte 0x0f, 0xaa
        raises  UD, 0, "IRET's opcode after LOCK is #UD", .byte 0xf0, 0xcf
        catch   1f
        int     $0x40
after_int:
1:      expect_event_at 0x40, 0, after_int, "INT n goes through its gate"
        expect32 caught_cs, CODE, "its frame holds CS"
        ret

# ---- #NM, #MF, #XM

units:  mov     $CR0_TS | NE | 1, %eax
        mov     %eax, %cr0
        catch   1f
at_nm:  fnop
1:      expect_event_at NM, 0, at_nm, "x87 under TS is #NM"
        raises  UD, 0, "SSE under TS without OSFXSR is #UD", xorps %xmm0, %xmm0
        mov     $OSFXSR, %eax
        mov     %eax, %cr4
        raises  NM, 0, "SSE under TS is #NM", xorps %xmm0, %xmm0
        clts
        fninit
        fldcw   unmasked
        fld1
        fldz
        fdivrp
        catch   1f
at_mf:  fwait
1:      expect_event_at MF, 0, at_mf, "an x87 exception is #MF at the next x87 instruction"
        raises  NOTHING, 0, "FNSTSW does not look at it", fnstsw %ax
        raises  MF, 0, "MMX does", movd %eax, %mm0
        fninit
        ldmxcsr unmasked_mxcsr
        xorps   %xmm0, %xmm0
        movss   one, %xmm1
        raises  UD, 0, "an SSE exception without OSXMMEXCPT is #UD", divss %xmm0, %xmm1
        mov     $OSFXSR | OSXMMEXCPT, %eax
        mov     %eax, %cr4
        raises  XM, 0, "with it, #XM", divss %xmm0, %xmm1
        ldmxcsr masked_mxcsr
        xor     %eax, %eax
        mov     %eax, %cr4
        ret

# ---- selectors: the error code is the selector without its RPL

segments:
        mov     $0x918 | 3, %eax
        raises  GP, 0x918, "a selector beyond the table is #GP with its index", mov %eax, %es
        mov     $0xc, %eax
        raises  GP, 0xc, "one of a local table that is not there is #GP with TI", mov %eax, %es
        mov     $CODE, %eax
        raises  GP, CODE, "code in SS is #GP", mov %eax, %ss
        xor     %eax, %eax
        raises  GP, 0, "null in SS is #GP(0)", mov %eax, %ss
        mov     $USER_DATA, %eax
        raises  GP, USER_DATA&~3, "data of ring 3 in SS is #GP", mov %eax, %ss
        mov     $ABSENT, %eax
        raises  NP, ABSENT, "a segment that is not present is #NP", mov %eax, %es
        raises  SS, ABSENT, "in SS it is #SS", mov %eax, %ss
        raises  NP, ABSENT_CODE, "and in CS #NP", ljmp $ABSENT_CODE, $0
        mov     $SMALL, %eax
        mov     %eax, %fs
        raises  GP, 0, "a read beyond a limit is #GP(0)", mov %fs:0xfd, %eax
        mov     $BELOW_2M, %eax
        mov     %eax, %ss
        raises  SS, 0, "in the stack segment it is #SS(0)", mov %ss:0x1ffffd, %eax
        # TSS: the link that IRET follows under NT.
        movw    $DATA, task
        pushl   $FL_NT | FIXED
        popf
        catch   1f
at_iret:
        iret
1:      expect_event_at TS, DATA, at_iret, "IRET to what is no task is #TS with its selector"
        ret

# ---- the interrupt table: the error code is eight times the vector, and 2

        .macro spoil_gate vector, access
        movb    $\access, idt + 8 * \vector + 5
        .endm

        .macro mend_gate vector
        spoil_gate \vector, 0x8e
        .endm

gates:  lidt    short_table
        raises  GP, 0x83*8+2, "INT n beyond the table is #GP with its vector", int $0x83
        lidt    idt_pointer
        spoil_gate 0x40, 0x0e
        raises  NP, 0x202, "a gate that is not present is #NP", int $0x40
        spoil_gate 0x40, 0x82
        raises  GP, 0x202, "what is no gate is #GP", int $0x40
        spoil_gate 0x40, 0x9e
        raises  GP, 0x202, "a code segment's type is no gate", int $0x40
        mend_gate 0x40
        gate    idt+8*0x40, 0, 0, 0x8e
        raises  GP, 0, "a gate to the null selector is #GP(0)", int $0x40
        gate    idt+8*0x40, 0, DATA, 0x8e
        raises  GP, DATA, "a gate to data is #GP with that selector", int $0x40
        gate    idt+8*0x40, 0, ABSENT_CODE, 0x8e
        raises  NP, ABSENT_CODE, "a gate to absent code is #NP with it", int $0x40
        gate    idt+8*0x40, 0, USER_CODE&~3, 0x8e
        raises  GP, USER_CODE&~3, "a gate to an outer ring is #GP", int $0x40
        gate    idt+8*0x40, stubs+8*0x40, CODE, 0x8e
        ret

# ---- an exception in delivering another: SDM vol. 3 table 6-5

double_faults:
        spoil_gate UD, 0x0e
        raises  NP, UD*8+3, "in delivering #UD, #NP is delivered, marked as external", ud2
        mend_gate UD
        spoil_gate BP, 0x0e
        raises  NP, BP*8+2, "in delivering INT3 it is not", int3
        mend_gate BP
        spoil_gate BR, 0x0e
        mov     $10, %eax
        raises  NP, BR*8+3, "in delivering #BR it is", bound %eax, bounds
        mend_gate BR
        spoil_gate DE, 0x0e
        xor     %ecx, %ecx
        raises  DF, 0, "in delivering #DE it is #DF(0)", div %ecx
        mend_gate DE
        spoil_gate GP, 0x0e
        mov     $0x918, %eax
        raises  DF, 0, "in delivering #GP too", mov %eax, %es
        mend_gate GP
        spoil_gate NP, 0x0e
        mov     $ABSENT, %eax
        raises  DF, 0, "in delivering #NP too", mov %eax, %es
        spoil_gate UD, 0x0e
        raises  DF, 0, "#UD, then #NP, then #NP is #DF", ud2
        mend_gate UD
        mend_gate NP
        gate    idt+8*UD, 0, DATA, 0x8e
        raises  GP, DATA+1, "in delivering #UD a selector is marked as external", ud2
        gate    idt+8*UD, stubs+8*UD, CODE, 0x8e
        ret

# ---- maskable interrupts: what goes wrong with them is marked as external

interrupts:
        start_pics 0x20, 0x28
        mask_pics 0xfe
        hold_pit
        catch   1f
        sti
        nop
after_shadow:
        nop
1:      expect_event_at 0x20, 0, after_shadow, "an interrupt arrives after the instruction that follows STI"
        expect_rf 0, "its frame does not hold RF"
        eoi
        hold_pit
        spoil_gate 0x20, 0x0e
        catch   1f
        sti
        nop
        nop
1:      expect_event NP, 0x103, "without its gate it is #NP, marked as external"
        mend_gate 0x20
        eoi
        stop_pit
        mask_pics 0xff
        ret

# ---- from ring 3: the frame holds its stack

ring_3: catch   1f
        enter_ring_3 at_user_ud
at_user_ud:
        ud2
1:      expect_event_at UD, 0, at_user_ud, "ring 3 raises #UD"
        expect32 caught_cs, USER_CODE, "the frame holds its code segment"
        expect32 caught_ss, USER_DATA, "and its stack segment"
        expect32 caught_esp, user_stack_top, "and its stack pointer"
        expect32 caught_frame, interrupt_stack_top-20, "and is on the stack that the task has for ring 0"
        raises_in_ring_3 GP, 0, "HLT in ring 3 is #GP(0)", hlt
        raises_in_ring_3 GP, 0x202, "INT n through a gate of ring 0 is #GP with its vector", int $0x40
        raises_in_ring_3 GP, BP*8+2, "and so is INT3", int3
        spoil_gate BP, 0xee
        raises_in_ring_3 BP, 0, "INT3 through a gate of ring 3 is #BP", int3
        mend_gate BP
        raises_in_ring_3 DB, 0, "INT1 needs no such gate", .byte 0xf1
        mov     $DATA, %ecx
        raises_in_ring_3 GP, DATA, "data of ring 0 is #GP", mov %ecx, %fs
        mov     $USER_DATA, %ecx
        passes_in_ring_3 "data of ring 3 is not", mov %ecx, %fs
        ret

# ---- #AC: SDM vol. 3 §6.15, table 6-7 (alignment by type)

alignment:
        catch   1f
        mov     $AM | NE | 1, %eax
        mov     %eax, %cr0
        pushl   $FL_AC | FIXED
        popf
        mov     aligned + 1, %eax
1:      expect_event NOTHING, 0, "ring 0 is not checked"

        .macro unaligned name, instruction:vararg
        catch   1f
        enter_ring_3 2f, FL_AC|FIXED
2:      \instruction
        int     $LEAVE
1:      expect_event AC, 0, "\name"
        .endm
        .macro aligned name, instruction:vararg
        catch   1f
        enter_ring_3 2f, FL_AC|FIXED
2:      \instruction
        int     $LEAVE
1:      expect_event LEAVE, 0, "\name"
        .endm

        unaligned "a word at an odd address is #AC(0)", mov aligned+1, %ax
        unaligned "a doubleword at 2 modulo 4", mov aligned+2, %eax
        unaligned "a write", mov %eax, aligned+2
        unaligned "a quadword of x87 at 4 modulo 8", fildll aligned+4
        unaligned "ten bytes of x87 at 4 modulo 8", fldt aligned+4
        unaligned "a far pointer at an odd address", les aligned+1, %eax
        aligned "a byte is never", mov aligned+1, %al
        aligned "a doubleword at 4 modulo 8 is aligned", mov aligned+4, %eax
        aligned "ten bytes at 0 modulo 8 are aligned", fldt aligned
        mov     $aligned+1, %esi
        unaligned "a string", lodsl
        catch   1f
        enter_ring_3 2f, FL_AC|FIXED
2:      mov     $user_stack_top-6, %esp
        push    %eax
        int     $LEAVE
1:      expect_event AC, 0, "a push to an unaligned stack"
        raises_in_ring_3 LEAVE, 0, "without AC nothing is checked", mov aligned+1, %eax
        mov     $NE | 1, %eax
        mov     %eax, %cr0
        aligned "without AM neither", mov aligned+1, %eax
        fninit
        ret

# ---- which of two: SDM vol. 3 table 6-2

priority:
        arm_dr0 at_both, 0
        catch   1f
at_both:
        ud2
1:      expect_event_at DB, 0, at_both, "an instruction breakpoint comes before #UD"
        disarm
        mov     $SMALL, %eax
        mov     %eax, %fs
        mov     $CR0_TS | NE | 1, %eax
        mov     %eax, %cr0
        raises  NM, 0, "#NM comes before #GP of the operand", fldl %fs:0x1000
        raises  UD, 0, "#UD of LOCK comes before #GP of the operand", .byte 0xf0, 0x64, 0xa1, 0, 0x10, 0, 0
        clts
        xor     %ecx, %ecx
        raises  GP, 0, "#GP of the operand comes before #DE", divl %fs:0x1000(%ecx)
        raises_in_ring_3 UD, 0, "#UD of LOCK comes before #GP of a privileged instruction", .byte 0xf0, 0xf4
        arm_dr0 watched, 0b1101
        raises  GP, 0, "a fault comes instead of a data breakpoint", movl %fs:0x1000, %eax
        disarm
        # A step ends with the trap before the next instruction's fault is seen.
        catch   1f
        pushl   $FL_TF | FIXED
        popf
        nop
at_after_step:
        ud2
1:      expect_event_at DB, 0, at_after_step, "a single step's trap comes before the next instruction's fault"
        catch   1f
        pushl   $FL_TF | FIXED
        popf
at_stepped:
        ud2
1:      expect_event_at UD, 0, at_stepped, "a fault comes instead of the step"
        ret

        .data
        .align 16
aligned:
        .quad   0, 0
bounds: .long   0, 9
watched:
        .long   0
unmasked:
        .word   0x37b                           # zero divide
        .align 4
unmasked_mxcsr:
        .long   0x1d80
masked_mxcsr:
        .long   0x1f80
one:    .float  1.0
short_table:
        .word   0x83 * 8 - 1
        .long   idt
