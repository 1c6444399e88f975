# The end of a segment in real mode, which is after 64 KiB: for data, the stack, strings, and code.
#
# SDM vol. 3 §20.1.1, table 20-1 (vectors 12 and 13); vol. 2 JMP, CALL, RET: "#GP(0) if the target is beyond the limit".

        .include "real.inc"

        .set FAR, 0x1000                        # a segment that nothing else is in

checks:
        begin   "real mode: limits"
        call    limits
        call    code_limits
        finish

limits: catch   1f
at_word:
        mov     0xffff, %ax
1:      expect_event_at GP, at_word, "a word at FFFFh is #GP"
        raises  NOTHING, "a byte at FFFFh is there", mov 0xffff, %al
        raises  NOTHING, "a word at FFFEh is there", mov 0xfffe, %ax
        raises  GP, "a doubleword at FFFDh is #GP", mov 0xfffd, %eax
        raises  GP, "a quadword at FFF9h is #GP", fildll 0xfff9
        mov     $FAR, %ax
        mov     %ax, %es
        movb    $0x55, %es:0xffff
        raises  GP, "a word written to FFFFh is #GP", movw $0, %es:0xffff
        expect8 %es:0xffff, 0x55, "and writes nothing"
        mov     $0x10000, %ebx
        raises  GP, "an address of 32 bits beyond 64 KiB is #GP", mov (%ebx), %al
        mov     $-1, %ebx
        raises  GP, "an address of -1 is #GP", mov (%ebx), %al
        mov     $0x10000, %ecx
        raises  GP, "an index that leaves the segment is #GP", mov 1(%ebx, %ecx), %ax
        catch   1f
        mov     $0xffff, %bp
at_stack:
        mov     (%bp), %ax
1:      expect_event_at SS, at_stack, "a word of the stack at FFFFh is #SS"
        mov     $0x10000, %ebp
        raises  SS, "a byte of the stack beyond 64 KiB is #SS", mov (%ebp), %al
        raises  GP, "a segment prefix makes it #GP", mov %ds:(%ebp), %al
        catch   1f
        mov     $0xffff, %sp
        pop     %ax
1:      expect_event SS, "POP at FFFFh is #SS"
        expect16 caught_sp, 0xffff, "which leaves SP"
        mov     $0xffff, %si
        raises  GP, "LODSW at FFFFh is #GP", lodsw
        expect16 %si, 0xffff, "which leaves SI"
        # Three words from FFFAh on, and the fourth is not there.
        catch   1f
        mov     $0xfff9, %si
        xor     %di, %di
        mov     $9, %cx
        rep movsw
1:      expect_event GP, "REP MOVSW faults at the end of the segment"
        expect16 %cx, 6, "with three words moved"
        expect16 %si, 0xffff, "and SI at the fourth"
        expect16 %di, 6, "and DI behind the third"
        ret

# ---- the end of the code segment

code_limits:
        mov     $FAR, %ax
        mov     %ax, %es
        movb    $0xb0, %es:0xffff               # MOV AL, ..., of two bytes
        catch   1f
        ljmp    $FAR, $0xffff
1:      expect_event GP, "an instruction that runs out of its segment is #GP"
        expect16 caught_ip, 0xffff, "and the frame names its first byte"
        expect16 caught_cs, FAR, "in its segment"
        raises  GP, "JMP of 32 bits beyond the limit is #GP", .byte 0x66, 0xe9, 0, 0, 1, 0
        mov     $0x10000, %eax
        raises  GP, "JMP to a register beyond the limit is #GP", .byte 0x66, 0xff, 0xe0
        raises  GP, "CALL of 32 bits beyond the limit is #GP", .byte 0x66, 0xff, 0xd0
        raises  GP, "JMP FAR of 32 bits beyond the limit is #GP", .byte 0x66, 0xea, 0, 0, 1, 0, 0, 0
        pushl   $FIXED
        pushl   $0
        push    %eax
        raises  GP, "RET of 32 bits beyond the limit is #GP", retl
        raises  GP, "RET FAR of 32 bits beyond the limit is #GP", lretl
        raises  GP, "IRETD beyond the limit is #GP", iretl
        add     $12, %sp
        # A jump of 16 bits wraps around instead.
        movb    $0xe9, %es:0xfff0               # JMP +20h
        movw    $0x20, %es:0xfff1
        movl    $0x000000ea, %es:0x13           # JMP FAR back
        movw    $wrapped, %es:0x14
        movw    $0, %es:0x16
        catch   1f
        ljmp    $FAR, $0xfff0
wrapped:
1:      expect_event NOTHING, "JMP of 16 bits wraps around"
        ret
