# x2APIC mode: registers as model-specific ones, the command in one write, what is refused, and the ways between the modes.
#
# SDM vol. 3 §10.12 (x2APIC; §10.12.5: changing modes).

        .include "long.inc"
        .include "apic.inc"

checks:
        begin   "x2APIC"
        start_lapic
        call    x2apic
        call    x2apic_refused
        call    modes
        finish

        .set X_ID, 0x802
        .set X_TASK_PRIORITY, 0x808
        .set X_PROCESSOR_PRIORITY, 0x80a
        .set X_END_OF_INTERRUPT, 0x80b
        .set X_LOGICAL_DESTINATION, 0x80d
        .set X_SPURIOUS, 0x80f
        .set X_COMMAND, 0x830
        .set X_TIMER, 0x832
        .set X_INITIAL_COUNT, 0x838
        .set X_DIVIDE, 0x83e
        .set X_SELF, 0x83f

        .macro write_msr msr, low, high=0
        mov     $\msr, %ecx
        mov     $\low, %eax
        mov     $\high, %edx
        wrmsr
        .endm

        .macro read_msr msr
        mov     $\msr, %ecx
        rdmsr
        .endm

x2apic: read_msr APIC_BASE
        or      $0x400, %eax
        wrmsr
        read_msr APIC_BASE
        and     $0xc00, %eax
        expect32 %eax, 0xc00, "x2APIC mode is entered"
        read_msr X_ID
        mov     %eax, %esi
        mov     $0xb, %eax
        xor     %ecx, %ecx
        cpuid
        cmp     %edx, %esi
        expect  e, "its ID is that of CPUID leaf 0Bh"
        read_msr X_LOGICAL_DESTINATION
        mov     %eax, %ebx
        mov     %esi, %ecx
        and     $15, %ecx
        mov     $1, %eax
        shl     %cl, %eax
        mov     %esi, %ecx
        shr     $4, %ecx
        shl     $16, %ecx
        or      %ecx, %eax
        cmp     %eax, %ebx
        expect  e, "its logical ID follows from that"
        write_msr X_SELF, 0x71
        interrupts 0x71, "the register for interrupts to ourselves"
        write_msr X_END_OF_INTERRUPT, 0
        mov     $X_COMMAND, %ecx
        mov     $ASSERT|0x72, %eax
        mov     %esi, %edx
        wrmsr
        interrupts 0x72, "the command register, in one write"
        write_msr X_END_OF_INTERRUPT, 0
        read_msr X_COMMAND
        cmp     %esi, %edx
        expect  e, "its upper half is the destination"
        expect32 %eax, ASSERT|0x72, "its lower half the command"
        write_msr X_TASK_PRIORITY, 0x70
        expect64 %cr8, 7, "the task's priority is CR8's too"
        write_msr X_SELF, 0x7a
        interrupts NOTHING, "it holds back its class"
        write_msr X_TASK_PRIORITY, 0
        interrupts 0x7a, "and lets it in"
        read_msr X_PROCESSOR_PRIORITY
        expect32 %eax, 0x70, "the processor's priority"
        write_msr X_END_OF_INTERRUPT, 0
        write_msr X_TIMER, 0xc5
        write_msr X_DIVIDE, 0x0b
        write_msr X_INITIAL_COUNT, 0x10000
        interrupts 0xc5, "the timer"
        write_msr X_END_OF_INTERRUPT, 0
        ret

        .macro refused name, instruction:vararg
        raises  GP, 0, "\name is #GP(0)", \instruction
        .endm

x2apic_refused:
        mov     $0x80e, %ecx
        refused "reading the destination format", rdmsr
        mov     $0x831, %ecx
        refused "reading a second command register", rdmsr
        mov     $X_SELF, %ecx
        refused "reading what is for writing", rdmsr
        mov     $0x800, %ecx
        refused "reading what is reserved", rdmsr
        mov     $X_ID, %ecx
        xor     %eax, %eax
        xor     %edx, %edx
        refused "writing what is for reading", wrmsr
        mov     $X_END_OF_INTERRUPT, %ecx
        mov     $1, %eax
        refused "an end of interrupt that is not 0", wrmsr
        mov     $X_TASK_PRIORITY, %ecx
        mov     $0x100, %eax
        refused "a reserved bit of the task's priority", wrmsr
        read_msr APIC_BASE
        and     $~0x400, %eax
        refused "leaving x2APIC mode for xAPIC mode", wrmsr
        ret

# ---- off, and on again

modes:  read_msr APIC_BASE
        and     $~0xc00, %eax
        wrmsr
        mov     $1, %eax
        cpuid
        bt      $9, %edx
        expect  nc, "switched off, CPUID does not tell of it"
        read_msr APIC_BASE
        or      $0xc00, %eax
        refused "x2APIC mode straight from off", wrmsr
        read_msr APIC_BASE
        or      $0x800, %eax
        wrmsr
        mov     SPURIOUS(%r15), %eax
        expect32 %eax, 0xff, "on again, it is as after reset: disabled"
        mov     TIMER(%r15), %eax
        and     $MASKED, %eax
        expect32 %eax, MASKED, "its vectors masked"
        start_lapic
        send    TO_SELF|ASSERT|0x5a
        interrupts 0x5a, "and works"
        end_of_interrupt
        ret
