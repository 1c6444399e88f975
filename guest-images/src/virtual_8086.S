# Virtual-8086 mode: entry by IRET and by a task switch, exit by interrupts and exceptions with their long frame, and what
# IOPL and the permission bitmap allow. The extensions are another guest's.
#
# SDM vol. 3 §20.2 (entry, exit, sensitive instructions), §20.3 (interrupts); vol. 1 §19.5.2 (permission bitmap).

        .include "virtual_8086.inc"
        .include "pic.inc"

        descriptor OTHER_TASK, 0, 0x67, 0x89
        descriptor CONFORMING, 0, 0xfffff, 0x9f, 12

checks:
        begin   "virtual-8086 mode"
        prepare_8086
        call    entry_and_exit
        call    sensitive
        call    with_iopl_3
        call    gates
        call    limits
        call    others
        call    ports
        call    interrupts
        call    by_task_switch
        finish

# ---- in and out

entry_and_exit:
        ends_in GP, 0, "HLT ends it with #GP(0)", stop
        expect32 caught_eip, stop-program, "the frame holds IP"
        expect32 caught_cs, SEGMENT, "and CS"
        expect32 caught_esp, STACK_TOP, "and SP"
        expect32 caught_ss, SEGMENT, "and SS"
        mov     caught_flags, %eax
        and     $FL_VM | IOPL_3, %eax
        expect32 %eax, FL_VM, "and the flags with VM"
        mov     caught_frame, %ebx
        expect32 20(%ebx), 0x3003, "ES"
        expect32 24(%ebx), SEGMENT, "DS"
        expect32 28(%ebx), 0x4004, "FS"
        expect32 32(%ebx), 0x5005, "GS"
        expect32 %ebx, interrupt_stack_top-36, "on the stack of ring 0"
        expect16 caught_ds, 0, "DS is null in the handler"
        expect16 caught_es, 0, "and ES"
        mov     %gs, %eax
        expect16 %ax, 0, "and GS"
        mov     handler_flags, %eax
        and     $FL_VM, %eax
        expect32 %eax, 0, "which runs without VM"
        gets_through "a program of 16 bits", addressing
        expect_note 0, 0x1357, "has segments of sixteen times their selectors"
        expect_note 1, SEGMENT, "and reads them"
        expect_note 2, 0x0000, "and operands of 16 bits"
        catch   1f
        pushl   $0
        pushl   $0
        pushl   $0
        pushl   $0
        pushl   $SEGMENT
        pushl   $STACK_TOP
        pushl   $FL_VM | FIXED
        pushl   $SEGMENT
        pushl   $0x10000
        iret
1:      expect_event GP, 0, "an entry beyond 64 KiB is #GP(0)"
        ret

# ---- what IOPL decides: SDM vol. 3 §20.2.7

sensitive:
        ends_in GP, 0, "with IOPL 0 CLI is #GP(0)", try_cli
        ends_in GP, 0, "STI", try_sti
        ends_in GP, 0, "PUSHF", try_pushf
        ends_in GP, 0, "POPF", try_popf
        ends_in GP, 0, "INT n", try_int
        ends_in GP, 0, "IRET", try_iret
        movb    $0xee, idt + 8 * BP + 5
        movb    $0xee, idt + 8 * OF + 5
        ends_in BP, 0, "but INT3 is not", try_int3
        ends_in OF, 0, "nor INTO", try_into
        ends_in DB, 0, "nor INT1", try_int1
        ret

with_iopl_3:
        gets_through "with IOPL 3 they are done", try_flags
        expect_note 0, 0x3202, "STI and PUSHF"
        expect_note 1, 0x3002, "CLI and PUSHF"
        expect_note 2, 0x7202, "POPF changes NT and IF, not IOPL"
        expect_note 3, 0x3002, "IRET too"
        gets_through "PUSHFD and POPFD", try_wide_flags
        expect_note 0, 0x3002, "PUSHFD stores the lower half"
        expect_note 1, 0x0004, "and an upper one with AC, without VM"
        ret

# ---- INT n through the interrupt table: SDM vol. 3 §20.3.1

gates:  movb    $0x8e, idt + 8 * BP + 5
        ends_in GP, BP*8+2, "INT3 regards the gate's privilege", try_int3, IOPL_3
        movb    $0xee, idt + 8 * BP + 5
        ends_in GP, 0x40*8+2, "and so does INT n", try_int, IOPL_3
        gate    idt+8*0x40, stubs, USER_CODE&~3, 0xee
        ends_in GP, USER_CODE&~3, "a gate must lead to ring 0", try_int, IOPL_3
        gate    idt+8*0x40, stubs, CONFORMING, 0xee
        ends_in GP, CONFORMING, "and not to conforming code", try_int, IOPL_3
        gate    idt+8*0x40, stubs+8*0x40, CODE, 0xef
        ends_in 0x40, 0, "a trap gate to ring 0", try_int, IOPL_3|FL_IF
        expect32 caught_eip, try_int_end-program, "the frame holds where the program goes on"
        ret

# ---- segments end at 64 KiB; some things are of protected mode only

limits: ends_in GP, 0, "a word at FFFFh is #GP(0)", try_limit
        ends_in SS, 0, "on the stack #SS(0)", try_stack_limit
        ends_in GP, 0, "an address of 32 bits beyond 64 KiB is #GP(0)", try_wide_address
        ends_in GP, 0, "a jump beyond 64 KiB is #GP(0)", try_wide_jump
        ret

others: ends_in DE, 0, "#DE", try_div
        expect32 caught_eip, try_div_at-program, "at its place"
        ends_in UD, 0, "SLDT is #UD", try_sldt
        ends_in UD, 0, "LAR is #UD", try_lar
        ends_in UD, 0, "VERR is #UD", try_verr
        ends_in UD, 0, "ARPL is #UD", try_arpl
        ends_in UD, 0, "LLDT is #UD", try_lldt
        ends_in GP, 0, "LGDT is #GP(0)", try_lgdt
        ends_in GP, 0, "MOV from CR0 is #GP(0)", try_mov_cr
        ends_in GP, 0, "CLTS is #GP(0)", try_clts
        ends_in GP, 0, "RDMSR is #GP(0)", try_rdmsr
        gets_through "SMSW is allowed", try_smsw
        ends_in DB, 0, "TF traps", addressing, FL_TF
        expect32 caught_eip, addressing_second-program, "after an instruction"
        ret

# ---- the permission bitmap, whatever IOPL says

        .set OPEN, 0x80                         # a port at which nothing is

ports:  ends_in GP, 0, "a closed port is #GP(0), also with IOPL 3", try_port, IOPL_3
        andb    $~1, task + PERMISSION + OPEN / 8
        gets_through "an open port", try_port
        ends_in GP, 0, "two ports of which one is closed", try_wide_port, IOPL_3
        andb    $~2, task + PERMISSION + OPEN / 8
        gets_through "two open ports", try_wide_port
        ends_in GP, 0, "a port behind the map", try_far_port, IOPL_3
        ret

# ---- an interrupt from outside

interrupts:
        start_pics 0x20, 0x28
        mask_pics 0xfe
        hold_pit
        ends_in 0x20, 0, "a maskable interrupt", loop_forever, FL_IF
        mov     caught_flags, %eax
        and     $FL_VM|FL_IF, %eax
        expect32 %eax, FL_VM|FL_IF, "its frame holds VM and IF"
        eoi
        hold_pit
        ends_in 0x20, 0, "one that STI lets in with IOPL 3", try_sti_loop, IOPL_3
        expect32 caught_eip, try_sti_loop_at-program, "comes after the next instruction"
        eoi
        stop_pit
        mask_pics 0xff
        ret

# ---- a task whose flags hold VM: SDM vol. 3 §20.2.5

by_task_switch:
        rebase  OTHER_TASK, other_task
        mov     $other_task, %edi
        movl    $interrupt_stack_top, 4(%edi)
        movl    $DATA, 8(%edi)
        movl    $addressing - program, 0x20(%edi)
        movl    $FL_VM | IOPL_3 | FIXED, 0x24(%edi)
        movl    $STACK_TOP, 0x38(%edi)
        movl    $0x3003, 0x48(%edi)
        movl    $SEGMENT, 0x4c(%edi)
        movl    $SEGMENT, 0x50(%edi)
        movl    $SEGMENT, 0x54(%edi)
        movl    $0x680000, 0x64(%edi)
        movl    $0, BASE + notes - program
        catch   1f
        ljmp    $OTHER_TASK, $0
1:      expect_event LEAVE, 0, "a task switch goes to virtual-8086 mode"
        expect_note 0, 0x1357, "with the segments of the task"
        expect32 caught_cs, SEGMENT, "and its CS"
        mov     caught_frame, %ebx
        expect32 20(%ebx), 0x3003, "and ES"
        ret

# ---- the 8086 program

        .code16
        .balign 16
program:
stop:   hlt
addressing:
        movw    $0x1357, scratch - program
addressing_second:
        mov     %cs, %ax
        mov     %ax, %es
        mov     %es:scratch - program, %bx
        note    0, %bx
        mov     %ds, %ax
        note    1, %ax
        mov     $0xffff, %ax
        inc     %ax
        note    2, %ax
        mov     $0x3003, %ax
        mov     %ax, %es
        int     $LEAVE
try_cli:
        cli
        hlt
try_sti:
        sti
        hlt
try_pushf:
        pushf
        hlt
try_popf:
        popf
        hlt
try_int:
        int     $0x40
try_int_end:
        hlt
try_iret:
        iret
try_int3:
        int3
        hlt
try_int1:
        .byte   0xf1
        hlt
try_into:
        mov     $0x7f, %al
        add     $1, %al
        into
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
try_wide_flags:
        pushl   $FL_AC | FL_VM | FIXED
        popfl
        pushfl
        pop     %ax
        note    0, %ax
        pop     %ax
        note    1, %ax
        int     $LEAVE
try_limit:
        mov     0xffff, %ax
        hlt
try_stack_limit:
        mov     $0xffff, %bp
        mov     (%bp), %ax
        hlt
try_wide_address:
        mov     $0x10000, %ebx
        mov     (%ebx), %al
        hlt
try_wide_jump:
        .byte   0x66, 0xe9, 0, 0, 1, 0
        hlt
try_div:
        xor     %cx, %cx
try_div_at:
        div     %cx
try_sldt:
        sldt    %ax
try_lar:
        lar     %ax, %ax
try_verr:
        verr    %ax
try_arpl:
        .byte   0x63, 0xc0
try_lldt:
        lldt    %ax
try_lgdt:
        lgdt    scratch - program
try_mov_cr:
        mov     %cr0, %eax
try_clts:
        clts
try_rdmsr:
        rdmsr
try_smsw:
        smsw    %ax
        int     $LEAVE
try_port:
        out     %al, $OPEN
        int     $LEAVE
try_wide_port:
        in      $OPEN, %ax
        int     $LEAVE
try_far_port:
        mov     $PORTS, %dx
        in      %dx, %al
        int     $LEAVE
loop_forever:
        jmp     loop_forever
try_sti_loop:
        sti
        nop
try_sti_loop_at:
        jmp     try_sti_loop_at
        .balign 4
scratch:
        .long   0, 0
notes:  .skip   16
program_end:
        .code32

        .bss
        .align 256
other_task:
        .skip   0x80
        .text
