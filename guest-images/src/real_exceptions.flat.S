# Exceptions of real mode: every one that an instruction can raise there, with the place that its frame names.
#
# SDM vol. 3 §20.1.4 and table 20-1 (delivery through the vector table), §6.15 (which are faults and which traps).

        .include "real.inc"

        .set FAR, 0x1000                        # a segment that nothing else is in

        .set MP, 1 << 1
        .set EM, 1 << 2
        .set TS, 1 << 3
        .set NE, 1 << 5
        .set PG, 1 << 31
        .set DE_ENABLE, 1 << 3                  # CR4
        .set OSFXSR, 1 << 9
        .set OSXMMEXCPT, 1 << 10

checks:
        begin   "real mode: exceptions"
        call    arithmetic
        call    traps
        call    breakpoints
        call    opcodes
        call    units
        call    encodings
        call    tables
        finish

# ---- #DE, #OF, #BR: SDM vol. 3 §6.15, interrupts 0, 4, 5

arithmetic:
        catch   1f
        xor     %dx, %dx
        mov     $1, %ax
        xor     %cx, %cx
at_div: div     %cx
1:      expect_event_at DE, at_div, "DIV by zero is #DE"
        mov     $0x100, %ax
        mov     $1, %cl
        raises  DE, "a quotient that does not fit is #DE", div %cl
        mov     $0x8000, %ax
        cwd
        mov     $-1, %cx
        raises  DE, "the most negative number by -1 is #DE", idiv %cx
        expect16 %ax, 0x8000, "#DE leaves the dividend"
        raises  DE, "AAM 0 is #DE", .byte 0xd4, 0
        catch   1f
        mov     $0x7f, %al
        add     $1, %al
        into
after_into:
1:      expect_event_at OF, after_into, "INTO with OF is vector 4"
        xor     %al, %al
        raises  NOTHING, "INTO without OF is nothing", into
        catch   1f
        mov     $4, %bx
at_bound:
        bound   %bx, bounds
1:      expect_event_at BR, at_bound, "BOUND above is #BR"
        mov     $-4, %bx
        raises  BR, "BOUND below is #BR", bound %bx, bounds
        mov     $3, %bx
        raises  NOTHING, "BOUND at the upper bound is nothing", bound %bx, bounds
        mov     $-3, %bx
        raises  NOTHING, "BOUND at the lower bound is nothing", bound %bx, bounds
        ret

# ---- #DB and #BP as traps: SDM vol. 3 §17.3.1.4, §6.8.3 (no trap after MOV SS)

        .set DR6_CLEAR, 0xffff0ff0
        .set DR6_BD, 1 << 13
        .set DR6_BS, 1 << 14

        .macro clear_dr6
        mov     $DR6_CLEAR, %eax
        mov     %eax, %dr6
        .endm

traps:  catch   1f
        int3
after_int3:
1:      expect_event_at BP, after_int3, "INT3 is vector 3"
        catch   1f
        .byte   0xcd, 3
after_int_3:
1:      expect_event_at BP, after_int_3, "INT 3 of two bytes is too"
        catch   1f
        .byte   0xf1
after_int1:
1:      expect_event_at DB, after_int1, "INT1 is vector 1"
        clear_dr6
        catch   1f
        pushw   $TF | FIXED
        popf
        nop
after_step:
        nop
1:      expect_event_at DB, after_step, "TF traps after one instruction"
        expect16 caught_flags, TF | FIXED, "the frame of a single step holds TF"
        expect32 %dr6, DR6_CLEAR | DR6_BS, "DR6 says that it was a single step"
        expect16 handler_flags, FIXED, "the handler runs without TF"
        catch   1f
        mov     %ss, %ax
        pushw   $TF | FIXED
        popf
        mov     %ax, %ss
        nop
after_shadow:
        nop
1:      expect_event_at DB, after_shadow, "MOV SS puts a single step off by one"
        catch   1f
        push    %ss
        pushw   $TF | FIXED
        popf
        pop     %ss
        nop
after_pop_shadow:
        nop
1:      expect_event_at DB, after_pop_shadow, "POP SS puts a single step off by one"
        catch   1f
        pushw   $TF | FIXED
        popf
        int     $0x40
after_stepped_int:
1:      expect_event_at 0x40, after_stepped_int, "INT n under TF is not stepped"
        catch   1f
        mov     $FAR, %ax
        mov     %ax, %es
        mov     $4, %cx
        xor     %si, %si
        xor     %di, %di
        pushw   $TF | FIXED
        popf
at_stepped_rep:
        rep movsb
1:      expect_event_at DB, at_stepped_rep, "REP MOVS is stepped by elements"
        expect16 %cx, 3, "after one element of REP three are left"
        ret

# ---- breakpoints: SDM vol. 3 §17.2, §17.3.1.1 (instructions: faults), §17.3.1.2 (data and ports: traps), §17.2.4 (GD)

        .macro arm register, address, condition
        mov     $\address, %eax
        mov     %eax, %dr\register
        clear_dr6
        mov     $0x400 | 1 << (2 * \register) | \condition << (16 + 4 * \register), %eax
        mov     %eax, %dr7
        .endm

        .macro disarm
        mov     $0x400, %eax
        mov     %eax, %dr7
        .endm

        .set EXECUTE, 0
        .set WRITE, 0b1101                      # of four bytes
        .set PORT, 0b0010
        .set ACCESS, 0b0111                     # of two bytes

breakpoints:
        arm     0, at_breakpoint, EXECUTE
        catch   1f
at_breakpoint:
        nop
1:      expect_event_at DB, at_breakpoint, "an instruction breakpoint is a fault"
        expect32 %dr6, DR6_CLEAR | 1, "DR6 names breakpoint 0"
        arm     0, at_resumed, EXECUTE
        catch   1f
        pushl   $RF | FIXED
        pushl   $0
        pushl   $at_resumed
        iretl
at_resumed:
        nop
1:      expect_event NOTHING, "RF lets an instruction pass its breakpoint"
        arm     1, watched, WRITE
        catch   1f
        mov     watched, %ax
        movb    $1, watched + 3
after_write:
        nop
1:      expect_event_at DB, after_write, "a breakpoint on writes is a trap after the write"
        expect8 watched + 3, 1, "and the write is done"
        expect32 %dr6, DR6_CLEAR | 2, "DR6 names breakpoint 1"
        arm     2, watched, ACCESS
        catch   1f
        mov     watched + 2, %ax
        mov     watched - 1, %ax
after_read:
        nop
1:      expect_event_at DB, after_read, "a breakpoint on accesses is met by a read that overlaps it"
        mov     %cr4, %eax
        or      $DE_ENABLE, %eax
        mov     %eax, %cr4
        arm     3, 0x80, PORT
        catch   1f
        out     %al, $0x81
        out     %al, $0x80
after_out:
        nop
1:      expect_event_at DB, after_out, "a breakpoint on a port is a trap"
        disarm
        raises  UD, "DR4 with CR4.DE is #UD", mov %dr4, %eax
        mov     %cr4, %eax
        and     $~DE_ENABLE, %eax
        mov     %eax, %cr4
        clear_dr6
        expect32 %dr4, DR6_CLEAR, "DR4 without CR4.DE is DR6"
        mov     $0x2400, %eax                   # GD
        mov     %eax, %dr7
        catch   1f
at_dr:  mov     %dr0, %eax
1:      expect_event_at DB, at_dr, "an access to a debug register under GD is a fault"
        expect32 %dr7, 0x400, "which clears GD"
        expect32 %dr6, DR6_CLEAR | DR6_BD, "and sets BD"
        clear_dr6
        ret

# ---- #UD: SDM vol. 2, "real-address mode exceptions" of each; vol. 3 table 20-1

opcodes:
        catch   1f
at_ud2: ud2
1:      expect_event_at UD, at_ud2, "UD2 is #UD"
        raises  UD, "UD1 is #UD", .byte 0x0f, 0xb9, 0xc0
        raises  UD, "SLDT is #UD", sldt %ax
        raises  UD, "STR is #UD", str %ax
        raises  UD, "LLDT is #UD", lldt %ax
        raises  UD, "LTR is #UD", ltr %ax
        raises  UD, "VERR is #UD", verr %ax
        raises  UD, "VERW is #UD", verw %ax
        raises  UD, "LAR is #UD", lar %ax, %ax
        raises  UD, "LSL is #UD", lsl %ax, %ax
        raises  UD, "ARPL is #UD", .byte 0x63, 0xc0
        raises  UD, "SYSCALL without EFER.SCE is #UD", syscall
        raises  GP, "SYSENTER in real mode is #GP", sysenter
        raises  GP, "SYSEXIT in real mode is #GP", sysexit
        raises  UD, "LEA of a register is #UD", .byte 0x8d, 0xc0
        raises  UD, "LES of a register is #UD", .byte 0xc4, 0xc0
        raises  UD, "MOV to CS is #UD", .byte 0x8e, 0xc8
        raises  UD, "a sixth segment register is #UD", .byte 0x8c, 0xf0
        raises  UD, "MOV from CR1 is #UD", .byte 0x0f, 0x20, 0xc8
        raises  UD, "CALL FAR of a register is #UD", .byte 0xff, 0xd8
        raises  UD, "the eighth opcode of group 5 is #UD", .byte 0xff, 0xf8
        mov     $0x3fff, %ecx
        raises  GP, "RDMSR of a register that is not there is #GP", rdmsr
        mov     $PG | 0x10, %eax
        raises  GP, "paging without protection is #GP", mov %eax, %cr0
        mov     $1 << 31, %eax
        raises  GP, "a reserved bit of CR4 is #GP", mov %eax, %cr4
        ret

# ---- #NM, #MF, #XM and their #UD: SDM vol. 3 §2.5, table 9-3; vol. 1 §11.5

        .macro set_cr0 bits
        mov     %cr0, %eax
        and     $~(MP | EM | TS), %eax
        or      $\bits, %eax
        mov     %eax, %cr0
        .endm

        .macro set_cr4 bits
        mov     $\bits, %eax
        mov     %eax, %cr4
        .endm

units:  set_cr0 NE | TS
        catch   1f
at_nm:  fnop
1:      expect_event_at NM, at_nm, "x87 under TS is #NM"
        raises  NOTHING, "WAIT under TS alone is nothing", fwait
        raises  NM, "MMX under TS is #NM", movd %eax, %mm0
        set_cr0 NE | TS | MP
        raises  NM, "WAIT under TS and MP is #NM", fwait
        set_cr0 NE | EM
        raises  NM, "x87 under EM is #NM", fnop
        raises  UD, "MMX under EM is #UD", movd %eax, %mm0
        set_cr4 OSFXSR
        raises  UD, "SSE under EM is #UD", xorps %xmm0, %xmm0
        set_cr0 NE | MP
        set_cr4 0
        raises  UD, "SSE without OSFXSR is #UD", xorps %xmm0, %xmm0
        set_cr4 OSFXSR
        set_cr0 NE | MP | TS
        raises  NM, "SSE under TS is #NM", xorps %xmm0, %xmm0
        set_cr0 NE | MP
        fninit
        fldcw   unmasked
        fld1
        fldz
        catch   1f
        fdivrp                                  # divides by zero: reported by the next instruction
at_mf:  fwait
1:      expect_event_at MF, at_mf, "an unmasked x87 exception is #MF at the next instruction"
        fnclex
        fninit
        ldmxcsr unmasked_mxcsr
        xorps   %xmm0, %xmm0
        movss   one, %xmm1
        catch   1f
at_divss:
        divss   %xmm0, %xmm1
1:      expect_event_at UD, at_divss, "an unmasked SSE exception without OSXMMEXCPT is #UD"
        set_cr4 OSFXSR | OSXMMEXCPT
        raises  19, "an unmasked SSE exception is #XM", divss %xmm0, %xmm1
        ldmxcsr masked_mxcsr
        set_cr4 0
        ret

# ---- what no instruction may be: SDM vol. 2 §2.3.11 (15 bytes), LOCK

encodings:
        raises  NOTHING, "an instruction of 15 bytes is executed", .byte 0x26, 0x26, 0x26, 0x26, 0x26, 0x26, 0x26, 0x26, 0x26, 0x26, 0x26, 0x26, 0x26, 0x26, 0x90
        catch   1f
at_long:
        .fill   15, 1, 0x26
        nop
1:      expect_event_at GP, at_long, "one of 16 bytes is #GP"
        raises  UD, "LOCK NOP is #UD", .byte 0xf0, 0x90
        raises  UD, "LOCK MOV is #UD", .byte 0xf0, 0x88, 0x07
        raises  UD, "LOCK CMP is #UD", .byte 0xf0, 0x38, 0x07
        raises  UD, "LOCK TEST is #UD", .byte 0xf0, 0x84, 0x07
        raises  UD, "LOCK BT is #UD", .byte 0xf0, 0x0f, 0xa3, 0x07
        raises  UD, "LOCK with a register is #UD", .byte 0xf0, 0x01, 0xc0
        raises  UD, "LOCK ADD from memory is #UD", .byte 0xf0, 0x02, 0x07
        mov     $watched, %bx
        raises  NOTHING, "LOCK ADD to memory is executed", lock addb $1, (%bx)
        raises  NOTHING, "LOCK XCHG is executed", lock xchg %al, (%bx)
        raises  NOTHING, "LOCK BTS is executed", lock btsw $3, (%bx)
        ret

# ---- LIDT: SDM vol. 3 §20.1.4, table 6-5 (double faults)

tables: lidt    table_to_df
        raises  DF, "a vector beyond the table is #GP, which is beyond it too: #DF", int $0x21
        lidt    table_to_gp
        catch   1f
at_beyond:
        int     $0x21
1:      expect_event_at GP, at_beyond, "a vector beyond the table is #GP"
        lidt    table_in_part
        raises  GP, "a vector half in the table is #GP", int $0x21
        # Elsewhere: a table in which vector 21h leads to the handler of 77h.
        mov     $FAR, %ax
        mov     %ax, %es
        mov     $stubs + 0x77 * 8, %ax
        mov     %ax, %es:0x21 * 4
        movw    $0, %es:0x21 * 4 + 2
        lidt    table_elsewhere
        raises  0x77, "LIDT moves the table", int $0x21
        lidt    vector_table
        raises  0x21, "and back", int $0x21
        ret

        .data
        .align 16
bounds: .word   -3, 3
unmasked:
        .word   0x37b                           # zero divide
unmasked_mxcsr:
        .long   0x1d80
masked_mxcsr:
        .long   0x1f80
one:    .float  1.0
        .byte   0
        .align 4
        .long   0
watched:
        .long   0, 0
table_to_df:
        .word   DF * 4 + 3
        .long   0
table_to_gp:
        .word   GP * 4 + 3
        .long   0
table_in_part:
        .word   0x21 * 4 + 2
        .long   0
table_elsewhere:
        .word   0x21 * 4 + 3
        .long   FAR << 4
