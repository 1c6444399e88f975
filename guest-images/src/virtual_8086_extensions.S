# The extensions of virtual-8086 mode: a virtual interrupt flag for programs with IOPL 0, and software interrupts that go to the
# program's own handlers where the redirection bitmap says so.
#
# SDM vol. 3 §20.3 (table 20-2, §20.3.3: methods of handling software interrupts). CR4.PVI is another guest's.

        .include "virtual_8086.inc"

checks:
        begin   "virtual-8086 mode extensions"
        prepare_8086
        call    extensions
        call    redirection
        finish

# ---- CR4.VME: SDM vol. 3 §20.3.3 and table 20-2

extensions:
        mov     $VME, %eax
        mov     %eax, %cr4
        catch   1f
        enter_8086 try_virtual_flags
1:      expect_event GP, 0, "with the extensions CLI and STI are done"
        expect32 caught_eip, try_virtual_flags_end-program, "as PUSHF and POPF"
        expect_note 0, 0x3202, "STI sets VIF, which PUSHF shows as IF, and IOPL as 3"
        expect_note 1, 0x3002, "CLI clears it"
        expect_note 2, 0x3202, "POPF sets it"
        mov     caught_flags, %eax
        and     $FL_VIF | FL_IF | IOPL_3, %eax
        expect32 %eax, FL_VIF, "in the frame IF and IOPL are as they were"
        catch   1f
        enter_8086 try_virtual_iret
1:      mov     caught_flags, %eax
        and     $FL_VIF | FL_IF, %eax
        expect32 caught_eip, try_virtual_iret_end-program, "IRET is done"
        expect32 %eax, FL_VIF, "and sets VIF"
        ends_in GP, 0, "STI with VIP is #GP(0)", try_sti, FL_VIP
        expect32 caught_eip, try_sti-program, "at its place"
        ends_in GP, 0, "POPF that sets IF with VIP is too", try_popf_if, FL_VIP
        expect32 caught_eip, try_popf_if_at-program, "at its place"
        ends_in GP, 0, "CLI with VIP is not", try_cli, FL_VIP
        expect32 caught_eip, try_cli-program+1, "but HLT after it"
        ends_in GP, 0, "POPF that sets TF is #GP(0)", try_popf_tf
        expect32 caught_eip, try_popf_tf_at-program, "at its place"
        ends_in GP, 0, "PUSHFD is #GP(0)", try_pushfd
        ends_in GP, 0, "POPFD is #GP(0)", try_popfd
        gets_through "with IOPL 3 STI sets IF", try_flags
        expect_note 0, 0x3202, "and not VIF"
        ret

# ---- INT n through the program's own table, by the redirection bitmap

redirection:
        movw    $own_handler - program, 0x21 * 4
        movw    $SEGMENT, 0x21 * 4 + 2
        ends_in GP, 0, "INT n whose bit is set is #GP(0) with IOPL 0", try_redirected
        expect32 caught_eip, try_redirected-program, "at its place"
        gate    idt+8*0x21, stubs+8*0x21, CODE, 0xee
        ends_in 0x21, 0, "with IOPL 3 it goes through the interrupt table", try_redirected, IOPL_3
        andb    $~2, task + REDIRECTION + 0x21 / 8
        ends_in GP, 0, "with its bit clear it goes to the program's handler", try_redirected, FL_VIF
        expect32 caught_eip, try_redirected_end-program, "which returns"
        expect_note 0, 0x3202, "the frame shows VIF as IF, and IOPL as 3"
        expect_note 1, try_redirected_after-program, "and IP"
        expect_note 2, SEGMENT, "and CS"
        expect_note 3, 0x3002, "the handler runs without VIF"
        mov     caught_flags, %eax
        and     $FL_VIF, %eax
        expect32 %eax, FL_VIF, "IRET brings it back"
        ends_in GP, 0, "with IOPL 3 it goes there too", try_redirected, IOPL_3|FL_IF
        expect_note 0, 0x3202, "the frame holds IF"
        expect_note 3, 0x3002, "which is what the handler runs without"
        movb    $0xee, idt + 8 * BP + 5
        ends_in BP, 0, "INT3 is never redirected", try_int3
        movw    $PERMISSION, task + 0x66
        orb     $2, task + REDIRECTION + 0x21 / 8
        xor     %eax, %eax
        mov     %eax, %cr4
        ret

# ---- the 8086 program

        .code16
        .balign 16
program:
try_cli:
        cli
        hlt
try_sti:
        sti
        hlt
try_int3:
        int3
        hlt
try_flags:
        xor     %ax, %ax
        sahf
        sti
        pushf
        pop     %ax
        note    0, %ax
        cli
        pushf
        pop     %ax
        note    1, %ax
        push    $0x4202
        popf
        pushf
        pop     %ax
        note    2, %ax
        push    $0x0002
        push    %cs
        push    $1f - program
        iret
1:      pushf
        pop     %ax
        note    3, %ax
        int     $LEAVE
try_virtual_flags:
        xor     %ax, %ax
        sahf
        sti
        pushf
        pop     %ax
        note    0, %ax
        cli
        pushf
        pop     %ax
        note    1, %ax
        push    $0x0202
        popf
        pushf
        pop     %ax
        note    2, %ax
try_virtual_flags_end:
        hlt
try_virtual_iret:
        push    $0x0202
        push    %cs
        push    $try_virtual_iret_end - program
        iret
try_virtual_iret_end:
        hlt
try_popf_if:
        push    $0x0202
try_popf_if_at:
        popf
        hlt
try_popf_tf:
        push    $0x0102
try_popf_tf_at:
        popf
        hlt
try_pushfd:
        pushfl
        hlt
try_popfd:
        popfl
        hlt
try_redirected:
        int     $0x21
try_redirected_after:
        nop
try_redirected_end:
        hlt
own_handler:
        mov     %sp, %bp
        mov     4(%bp), %ax
        note    0, %ax
        mov     (%bp), %ax
        note    1, %ax
        mov     2(%bp), %ax
        note    2, %ax
        pushf
        pop     %ax
        note    3, %ax
        iret
        .balign 4
scratch:
        .long   0, 0
notes:  .skip   16
program_end:
        .code32
