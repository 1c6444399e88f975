# Ways from ring to ring in protected mode: interrupt and trap gates of 32 and 16 bits, the stacks that a task has for its
# rings, far RET and IRET outwards, and what is refused on each way. Call gates are another guest's.
#
# SDM vol. 3 §5.8.5, §5.8.6 (stacks, returns), §6.12.1 (interrupt procedures); vol. 2 INT n, IRET, RET.

        .include "rings.inc"

checks:
        begin   "protected mode: gates"
        prepare_rings
        call    kinds
        call    gates_of_16_bits
        call    inner_rings
        call    bad_stacks
        call    returns
        call    returns_refused
        call    flags
        finish

# ---- interrupt and trap gates: SDM vol. 3 §6.12.1.3

kinds:  catch   1f
        pushl   $FL_IF | FL_NT | FL_AC | FL_ID | FIXED
        popf
        int     $0x40
1:      cli
        expect_event 0x40, 0, "an interrupt gate"
        expect32 caught_flags, FL_IF|FL_NT|FL_AC|FL_ID|FIXED, "its frame holds the flags"
        mov     handler_flags, %eax
        and     $~0xd5, %eax
        expect32 %eax, FL_AC|FL_ID|FIXED, "it clears IF and NT, and leaves AC and ID"
        gate    idt+8*0x40, stubs+8*0x40, CODE, 0x8f
        catch   1f
        pushl   $FL_IF | FL_NT | FL_AC | FL_ID | FIXED
        popf
        int     $0x40
1:      cli
        expect_event 0x40, 0, "a trap gate"
        mov     handler_flags, %eax
        and     $~0xd5, %eax
        expect32 %eax, FL_IF|FL_AC|FL_ID|FIXED, "leaves IF"
        mov     %esp, %ebx
        sub     caught_frame, %ebx
        expect32 %ebx, 12, "within a ring the frame is three doublewords"
        gate    idt+8*0x40, stubs+8*0x40, CODE, 0xee
        catch   1f
        enter_ring_3 2f, FL_IF|FIXED
2:      int     $0x40
1:      expect_event 0x40, 0, "from ring 3"
        expect32 caught_frame, interrupt_stack_top-20, "it is five"
        expect32 caught_esp, user_stack_top, "with the stack pointer"
        expect32 caught_ss, USER_DATA, "and the stack segment"
        expect32 caught_cs, USER_CODE, "of ring 3"
        ret

# ---- gates of 16 bits, as the 286 has them

gates_of_16_bits:
        gate    idt+8*0x41, interrupt_16-piece, PIECE, 0x86
        pushl   $FL_IF | FL_AC | FIXED
        popf
        mov     %esp, %ebx
        lcall   $PIECE, $interrupt_41-piece
        sub     notes, %ebx
        expect32 %ebx, 8+6, "the frame of a gate of 16 bits is three words"
        expect16 notes+4, after_int_16-piece, "with IP"
        expect16 notes+6, PIECE, "and CS"
        mov     notes+8, %ax
        and     $~0xd5, %ax
        expect16 %ax, FL_IF|FIXED, "and FLAGS"
        mov     notes+12, %eax
        and     $FL_IF, %eax
        expect32 %eax, 0, "it clears IF"
        and     $FL_AC|FL_IF, %edx
        expect32 %edx, FL_AC|FL_IF, "IRET of 16 bits leaves the upper flags"
        gate    idt+8*0x41, interrupt_16-piece, PIECE, 0x87
        pushl   $FL_IF | FIXED
        popf
        lcall   $PIECE, $interrupt_41-piece
        mov     notes+12, %eax
        and     $FL_IF, %eax
        expect32 %eax, FL_IF, "a trap gate of 16 bits leaves IF"
        # From ring 3 with the pointer of an outer stack that 16 bits hold.
        gate    idt+8*0x41, interrupt_16_inward-piece, PIECE, 0xe6
        catch   1f
        enter_ring_3 2f
2:      mov     $0x12348000, %esp
        int     $0x41
1:      expect32 notes, interrupt_stack_top-10, "from ring 3 it is five words"
        expect16 notes+10, 0x8000, "with SP"
        expect16 notes+12, USER_DATA, "and SS"
        mov     $stack_top-4, %esp
        ret

# ---- to ring 1, and within ring 3

inner_rings:
        gate    idt+8*0x42, in_ring_1, RING1_CODE, 0xee
        catch   1f
        enter_ring_3 2f
2:      int     $0x42
1:      expect_event LEAVE, 0, "an interrupt to ring 1"
        expect32 caught_cs, RING1_CODE, "runs there"
        expect32 caught_ss, RING1_DATA, "on its stack"
        expect32 notes, ring1_stack_top-20, "with a frame of five doublewords"
        expect32 notes+4, USER_CODE, "of ring 3"
        gate    idt+8*0x42, in_conforming, CONFORMING, 0xee
        catch   1f
        enter_ring_3 2f
2:      int     $0x42
1:      expect_event LEAVE, 0, "an interrupt to conforming code"
        expect32 caught_cs, CONFORMING|3, "stays in ring 3"
        expect32 notes, user_stack_top-12, "on its stack"
        gate    idt+8*0x42, in_conforming, CONFORMING, 0x8e
        catch   1f
        int     $0x42
1:      expect_event LEAVE, 0, "in ring 0"
        expect32 caught_cs, CONFORMING, "it stays in ring 0"
        ret

# ---- stacks that cannot be taken up: SDM vol. 2 INT n, "INTER-PRIVILEGE-LEVEL-INTERRUPT"

# Passes where an interrupt from ring 3 to ring 1 is refused.
        .macro refuses_stack vector, error, name
        catch   1f
        enter_ring_3 2f
2:      int     $0x42
1:      expect_event \vector, \error, "\name"
        .endm

bad_stacks:
        gate    idt+8*0x42, in_ring_1, RING1_CODE, 0xee
        movl    $0, SS1
        refuses_stack TS, 0, "a task without a stack for ring 1: #TS(0)"
        movl    $0xfff9, SS1
        refuses_stack TS, 0xfff8, "one behind the table"
        movl    $DATA|1, SS1
        refuses_stack TS, DATA, "one of ring 0"
        movl    $RING1_DATA&~3, SS1
        refuses_stack TS, RING1_DATA&~3, "one with an RPL of 0"
        movl    $RING1_CODE, SS1
        refuses_stack TS, RING1_CODE&~3, "one that is code"
        movl    $ABSENT_RING1|1, SS1
        refuses_stack SS, ABSENT_RING1, "one that is absent: #SS"
        movl    $TINY_RING1|1, SS1
        movl    $16, ESP1
        refuses_stack SS, TINY_RING1, "one without room for the frame: #SS"
        movl    $ring1_stack_top, ESP1
        movl    $RING1_DATA, SS1
        refuses_stack LEAVE, 0, "and one that is right"
        ret

# ---- far RET and IRET outwards: SDM vol. 3 §5.8.6

# Goes to `entry` in ring 3 by a far RET.
        .macro return_to_ring_3 entry, code=USER_CODE, stack=USER_DATA, released=0
        pushl   $\stack
        pushl   $user_stack_top
        .if \released
        sub     $\released, %esp
        .endif
        pushl   $\code
        pushl   $\entry
        lret    $\released
        .endm

returns:
        catch   1f
        mov     $DATA, %eax
        mov     %eax, %gs
        mov     $CONFORMING, %eax
        mov     %eax, %fs
        mov     $USER_DATA, %eax
        mov     %eax, %es
        return_to_ring_3 2f, released=8
2:      noted   0, %esp
1:      expect_event GP, 0, "far RET to ring 3 takes data of ring 0 away"     # DS is null
        expect32 caught_esp, user_stack_top+8, "releases on the outer stack too"
        expect32 caught_cs, USER_CODE, "and runs in ring 3"
        expect16 caught_ds, 0, "DS is null"
        expect16 caught_es, USER_DATA, "ES of ring 3 stays"
        mov     %gs, %eax
        expect16 %ax, 0, "GS is null"
        mov     %fs, %eax
        expect16 %ax, CONFORMING, "FS of conforming code stays"
        catch   1f
        mov     $DATA, %eax
        mov     %eax, %gs
        enter_ring_3 2f
2:      int     $LEAVE
1:      mov     %gs, %eax
        expect16 %ax, 0, "IRET to ring 3 takes data of ring 0 away"
        expect16 caught_ds, USER_DATA, "and leaves data of ring 3"
        # To ring 1, and from there to ring 3.
        catch   1f
        pushl   $RING1_DATA
        pushl   $ring1_stack_top
        pushl   $RING1_CODE
        pushl   $2f
        lret
2:      mov     $RING1_DATA, %eax
        mov     %eax, %ds
        return_to_ring_3 3f
3:      int     $LEAVE
1:      expect_event LEAVE, 0, "by way of ring 1"
        expect16 caught_ds, 0, "its data is taken away in ring 3"
        ret

        .macro return_refused vector, error, name, code=USER_CODE, stack=USER_DATA
        catch   1f
        return_to_ring_3 2f, \code, \stack
2:      int     $LEAVE
1:      expect_event \vector, \error, "\name"
        .endm

returns_refused:
        return_refused GP, 0, "RET to null", code=0
        return_refused GP, DATA, "RET to data", code=DATA|3
        return_refused GP, CODE, "RET to ring 3 in code of ring 0", code=CODE|3
        return_refused NP, ABSENT_CODE, "RET to absent code", code=ABSENT_CODE|3
        return_refused GP, 0, "RET to a null stack", stack=0
        return_refused GP, DATA, "RET to a stack of ring 0", stack=DATA|3
        return_refused GP, USER_DATA&~3, "RET to a stack of another RPL", stack=USER_DATA&~3
        return_refused GP, USER_CODE&~3, "RET to a stack that is code", stack=USER_CODE
        return_refused SS, ABSENT_USER, "RET to an absent stack: #SS", stack=ABSENT_USER|3
        catch   1f
        enter_ring_3 2f
2:      pushl   $CODE
        pushl   $3f
        lret
3:      int     $LEAVE
1:      expect_event GP, CODE, "RET inwards"
        catch   1f
        enter_ring_3 2f
2:      pushl   $FIXED
        pushl   $CODE
        pushl   $3f
        iret
3:      int     $LEAVE
1:      expect_event GP, CODE, "IRET inwards"
        catch   1f
        pushl   $ABSENT_USER|3
        pushl   $user_stack_top
        pushl   $FIXED
        pushl   $USER_CODE
        pushl   $2f
        iret
2:      int     $LEAVE
1:      expect_event SS, ABSENT_USER, "IRET to an absent stack: #SS"
        ret

# ---- what IRET and POPF may change of the flags: SDM vol. 2 IRET, POPF, table 4-21

flags:  catch   1f
        enter_ring_3 2f
2:      pushl   $FL_IF | IOPL_3 | FL_NT | FL_AC | FIXED
        popf
        pushf
        pop     %ecx
        pushl   $FL_AC | FIXED
        popf
        pushl   $FL_IF | IOPL_3 | FL_AC | FL_ID | FIXED
        pushl   $USER_CODE
        pushl   $3f
        iret
3:      pushf
        pop     %edx
        int     $LEAVE
1:      expect_event LEAVE, 0, "POPF and IRET in ring 3"
        expect32 %ecx, FL_NT|FL_AC|FIXED, "POPF leaves IOPL and IF"
        expect32 %edx, FL_AC|FL_ID|FIXED, "and so does IRET"
        catch   1f
        enter_ring_3 2f, IOPL_3|FIXED
2:      pushl   $FL_IF | FIXED
        popf
        pushf
        pop     %ecx
        int     $LEAVE
1:      expect32 %ecx, FL_IF|IOPL_3|FIXED, "with IOPL 3 POPF changes IF, not IOPL"
        pushl   $IOPL_3 | FIXED
        popf
        pushf
        pop     %ecx
        pushl   $FIXED
        popf
        expect32 %ecx, IOPL_3|FIXED, "in ring 0 it changes IOPL"
        catch   1f
        pushl   $FL_RF | FL_VIF | FL_VIP | FIXED
        popf
        pushf
        pop     %ecx
1:      expect_event NOTHING, 0, "POPF in ring 0"
        expect32 %ecx, FIXED, "cannot set RF, VIF and VIP"
        ret

# ---- code that gates of 16 bits lead to: its offsets begin here

        .balign 16
piece:
interrupt_41:
        int     $0x41
after_int_16:
        pushf
        pop     %edx
        cli
        lret
interrupt_16:
        mov     %esp, notes
        mov     (%esp), %eax
        noted   1, %eax
        mov     4(%esp), %ax
        noted   2, %eax
        pushf
        popl    notes+12
        iretw
interrupt_16_inward:
        mov     %esp, notes
        mov     6(%esp), %eax
        mov     %eax, notes+10
        int     $LEAVE
