# Call gates of protected mode: of 32 and 16 bits, with parameters, to inner rings, within a ring and to conforming code; and
# what they refuse.
#
# SDM vol. 3 §5.8.3-§5.8.5 (call gates, privilege, stacks); vol. 2 CALL, RET.

        .include "rings.inc"

checks:
        begin   "protected mode: call gates"
        prepare_rings
        call    call_gates
        call    call_gates_of_16_bits
        call    call_gate_checks
        finish

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

# ---- code that a gate of 16 bits leads to: its offsets begin here

        .balign 16
piece:
called_16:
        mov     %esp, notes
        mov     4(%esp), %eax
        noted   2, %eax
        mov     8(%esp), %eax
        noted   3, %eax
        int     $LEAVE
