# Ways from ring to ring in protected mode: interrupt and trap gates of 32 and 16 bits, call gates with their parameters,
# far RET and IRET outwards, the stacks that a task has for its rings, and what is refused on each way.
#
# SDM vol. 3 §5.8.2-§5.8.6 (gates, stacks, returns), §6.12.1 (interrupt procedures); vol. 2 INT n, IRET, CALL, RET.

        .include "protected.inc"

        descriptor RING1_CODE, 0, 0xfffff, 0xbb, 12
        descriptor RING1_DATA, 0, 0xfffff, 0xb3, 12
        .set RING1_CODE, RING1_CODE | 1
        .set RING1_DATA, RING1_DATA | 1
        descriptor CONFORMING, 0, 0xfffff, 0x9f, 12
        descriptor PIECE, 0, 0xffff, 0x9b, 4            # 64 KiB of code from `piece`, for offsets of 16 bits
        descriptor ABSENT, 0, 0xfffff, 0x13, 12
        descriptor ABSENT_RING1, 0, 0xfffff, 0x33, 12
        descriptor ABSENT_USER, 0, 0xfffff, 0x73, 12
        descriptor ABSENT_CODE, 0, 0xfffff, 0x7b, 12
        descriptor TINY_RING1, 0, 0xf, 0xb3, 4          # a stack of sixteen bytes
        descriptor CALL_0, 0, 0, 0                      # filled in before use
        descriptor CALL_1, 0, 0, 0
        .set ESP0, task + 4
        .set SS0, task + 8
        .set ESP1, task + 12
        .set SS1, task + 16

checks:
        begin   "protected mode: gates"
        rebase  PIECE, piece
        movl    $ring1_stack_top, ESP1
        movl    $RING1_DATA, SS1
        call    kinds
        call    gates_of_16_bits
        call    inner_rings
        call    bad_stacks
        call    call_gates
        call    call_gates_of_16_bits
        call    call_gate_checks
        call    returns
        call    returns_refused
        call    flags
        finish

        .macro noted n, register
        mov     \register, notes + 4 * \n
        .endm

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

in_ring_1:
        noted   0, %esp
        mov     4(%esp), %eax
        noted   1, %eax
        int     $LEAVE
in_conforming:
        noted   0, %esp
        int     $LEAVE

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

# ---- call gates: SDM vol. 3 §5.8.3-§5.8.5

call_gates:
        gate    gdt+CALL_0, called, CODE, 0xec, 3
        catch   1f
        enter_ring_3 2f
2:      pushl   $0x1111
        pushl   $0x2222
        pushl   $0x3333
        lcall   $CALL_0, $0xdeadbeef            # the offset means nothing
after_lcall:
        noted   9, %esp
        int     $LEAVE
1:      expect_event LEAVE, 0, "a call gate to ring 0, and back"
        expect32 notes, interrupt_stack_top-28, "the frame is seven doublewords"
        expect32 notes+4, after_lcall, "EIP"
        expect32 notes+8, USER_CODE, "CS"
        expect32 notes+12, 0x3333, "the parameters"
        expect32 notes+16, 0x2222, "in their order"
        expect32 notes+20, 0x1111, "all three"
        expect32 notes+24, user_stack_top-12, "ESP"
        expect32 notes+28, USER_DATA, "SS"
        expect32 notes+32, CODE, "the called code is in ring 0"
        expect32 notes+36, user_stack_top, "RET n releases the parameters on both stacks"
        # To ring 1.
        gate    gdt+CALL_1, in_ring_1, RING1_CODE, 0xec
        catch   1f
        enter_ring_3 2f
2:      lcall   $CALL_1|3, $0
1:      expect_event LEAVE, 0, "a call gate to ring 1"
        expect32 notes, ring1_stack_top-16, "has a frame of four doublewords without parameters"
        expect32 caught_cs, RING1_CODE, "and runs there"
        # Within ring 0 nothing is copied.
        gate    gdt+CALL_0, called_within, CODE, 0x8c, 3
        mov     %esp, %ebx
        lcall   $CALL_0, $0
        sub     notes, %ebx
        expect32 %ebx, 8, "within a ring the frame is two doublewords"
        # To conforming code.
        gate    gdt+CALL_0, in_conforming, CONFORMING, 0xec, 3
        catch   1f
        enter_ring_3 2f
2:      lcall   $CALL_0, $0
1:      expect_event LEAVE, 0, "a call gate to conforming code"
        expect32 caught_cs, CONFORMING|3, "stays in ring 3"
        expect32 notes, user_stack_top-8, "and on its stack"
        catch   1f
        enter_ring_3 2f
2:      ljmp    $CALL_0, $0
1:      expect_event LEAVE, 0, "a jump through that gate"
        expect32 notes, user_stack_top, "pushes nothing"
        ret

called: noted   0, %esp
        mov     (%esp), %eax
        noted   1, %eax
        mov     4(%esp), %eax
        noted   2, %eax
        mov     8(%esp), %eax
        noted   3, %eax
        mov     12(%esp), %eax
        noted   4, %eax
        mov     16(%esp), %eax
        noted   5, %eax
        mov     20(%esp), %eax
        noted   6, %eax
        mov     24(%esp), %eax
        noted   7, %eax
        mov     %cs, %eax
        noted   8, %eax
        lret    $12
called_within:
        noted   0, %esp
        lret

call_gates_of_16_bits:
        gate    gdt+CALL_0, called_16-piece, PIECE, 0xe4, 2
        catch   1f
        enter_ring_3 2f
2:      pushw   $0x1111
        pushw   $0x2222
        lcall   $CALL_0, $0
1:      expect32 notes, interrupt_stack_top-12, "the frame of a gate of 16 bits is six words"
        expect16 notes+8, 0x2222, "the parameters are words"
        expect16 notes+10, 0x1111, "both of them"
        expect16 notes+14, USER_DATA, "and SS"
        mov     $stack_top-4, %esp
        ret

# ---- what a call gate refuses: SDM vol. 2 CALL, "CALL-GATE"

        .macro call_refused vector, error, name
        raises_in_ring_3 \vector, \error, "\name", lcall $CALL_0, $0
        .endm

call_gate_checks:
        gate    gdt+CALL_0, called, CODE, 0x8c
        call_refused GP, CALL_0, "a gate of ring 0 is closed to ring 3"
        gate    gdt+CALL_0, called, CODE, 0xcc
        raises  GP, CALL_0, "a gate of ring 2 is closed to an RPL of 3", lcall $CALL_0|3, $0
        gate    gdt+CALL_0, called, CODE, 0x6c
        call_refused NP, CALL_0, "a gate that is absent"
        gate    gdt+CALL_0, called, 0, 0xec
        call_refused GP, 0, "a gate to null"
        gate    gdt+CALL_0, called, DATA, 0xec
        call_refused GP, DATA, "a gate to data"
        gate    gdt+CALL_0, called, ABSENT_CODE, 0xec
        call_refused NP, ABSENT_CODE, "a gate to absent code"
        gate    gdt+CALL_0, called, 0xfff8, 0xec
        call_refused GP, 0xfff8, "a gate to what is behind the table"
        gate    gdt+CALL_0, 0x10000, PIECE, 0xec
        call_refused GP, 0, "a gate to beyond the limit"
        gate    gdt+CALL_0, called, CODE, 0xec
        raises_in_ring_3 GP, CODE, "a jump through a gate to ring 0", ljmp $CALL_0, $0
        gate    gdt+CALL_0, called, USER_CODE, 0xec
        raises  GP, USER_CODE&~3, "a gate outwards", lcall $CALL_0, $0
        gate    gdt+CALL_0, in_ring_1, RING1_CODE, 0xec
        movl    $0, SS1
        call_refused TS, 0, "a call gate without a stack: #TS(0)"
        movl    $ABSENT_RING1|1, SS1
        call_refused SS, ABSENT_RING1, "a call gate with an absent one: #SS"
        movl    $TINY_RING1|1, SS1
        movl    $12, ESP1
        call_refused SS, TINY_RING1, "a call gate without room: #SS"
        movl    $ring1_stack_top, ESP1
        movl    $RING1_DATA, SS1
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
called_16:
        mov     %esp, notes
        mov     4(%esp), %eax
        noted   2, %eax
        mov     8(%esp), %eax
        noted   3, %eax
        int     $LEAVE

        .data
        .align 4
notes:  .skip   64
        .bss
        .skip   4096
ring1_stack_top:
        .text
