# Real mode's frames, flags and stacks: what INT pushes and IRET takes, what POPF may change, how the stack wraps around,
# far calls; and what segments keep of protected mode ("unreal mode").
#
# SDM vol. 3 §20.1; vol. 2, the instructions' "real-address mode" parts.

        .include "real.inc"

        .set FAR, 0x1000                        # a segment that nothing else is in
        .set TOP, 0x7c00                        # of the stack
        .set ARITHMETIC, 0x8d5                  # OF SF ZF AF PF CF
        .set PE, 1

checks:
        begin   "real mode: flow"
        call    frames
        call    flags
        call    stack
        call    far_calls
        call    table_registers
        call    unreal
        call    address_line_20
        finish

# ---- INT n and IRET: SDM vol. 2 INT n ("REAL-ADDRESS-MODE"), IRET

frames: catch   1f
        pushl   $AC | ID | ARITHMETIC | IF | FIXED
        popfl
        int     $0x42
after_int:
1:      expect_event_at 0x42, after_int, "INT n goes through its vector"
        expect16 caught_flags, ARITHMETIC | IF | FIXED, "the frame holds sixteen flags"
        expect16 caught_cs, 0, "and CS"
        expect16 caught_sp, TOP-2, "and is six bytes long"
        expect32 handler_flags, ID | ARITHMETIC | FIXED, "the handler runs without IF, TF and AC"
        catch   1f
        mov     $FAR, %ax
        mov     %ax, %es
        movw    $0x80cd, %es:0x10               # INT 80h
        ljmp    $FAR, $0x10
1:      expect_event 0x80, "INT n in another segment"
        expect16 caught_cs, FAR, "the frame holds that segment"
        expect16 caught_ip, 0x12, "and the offset in it"
        # A stack in another segment.
        catch   1f
        mov     $FAR, %ax
        mov     %ax, %ss
        mov     $0x8000, %sp
        int     $0x43
1:      expect_event 0x43, "INT n on another stack"
        expect16 caught_ss, FAR, "its frame is in that segment"
        expect16 caught_sp, 0x8000, "and below its pointer"

        # IRET takes sixteen flags, IRETD those of 32 bits too; neither VM.
        pushl   $AC | ID | FIXED
        popfl
        pushw   $NT | IOPL | ARITHMETIC | FIXED
        push    %cs
        push    $1f
        iret
1:      pushfl
        pop     %ebx
        expect32 %ebx, AC | ID | NT | IOPL | ARITHMETIC | FIXED, "IRET loads sixteen flags and leaves the others"
        pushl   $1 << 17 | ID | FIXED
        pushl   $0
        pushl   $1f
        iretl
1:      pushfl
        pop     %ebx
        expect32 %ebx, ID | FIXED, "IRETD loads AC and ID, but not VM"
        pushw   $FIXED
        popf
        pushw   $0xffff - TF - IF
        push    $FAR
        push    $0x20
        movb    $0xea, %es:0x20                 # JMP FAR back
        movw    $1f, %es:0x21
        movw    $0, %es:0x23
        iret
1:      pushf
        pop     %bx
        expect16 %bx, 0x7cd7, "IRET to another segment, with every flag there is"
        pushl   $FIXED
        popfl
        ret

# ---- POPF and PUSHF: SDM vol. 2 POPF, table 4-21 (real mode)

flags:  pushw   $0xffff - TF - IF
        popf
        pushf
        pop     %bx
        expect16 %bx, 0x7cd7, "POPF changes IOPL and NT, but no reserved flag"
        pushl   $0xffffffff - TF - IF
        popfl
        pushfl
        pop     %ebx
        expect32 %ebx, 0x247cd7, "POPFD changes AC and ID, but not RF, VM, VIF and VIP"
        pushw   $FIXED
        popf
        pushfl
        pop     %ebx
        expect32 %ebx, 0x240002, "POPF leaves the upper flags"
        pushl   $0
        popfl
        pushfl
        pop     %ebx
        expect32 %ebx, FIXED, "bit 1 is always set"
        sti
        pushf
        pop     %bx
        cli
        pushf
        pop     %cx
        and     $IF, %bx
        and     $IF, %cx
        expect16 %bx, IF, "STI sets IF"
        expect16 %cx, 0, "CLI clears it"
        ret

# ---- the stack: SDM vol. 2 PUSH, POP, PUSHA, ENTER; vol. 3 §20.1.1, §22.31.7 (wrapping around)

stack:  mov     %sp, %bx
        push    %sp
        pop     %cx
        expect16 %cx, TOP-2, "PUSH SP pushes what SP was"
        push    $0x1234
        pop     %sp                             # overwrites what it adds to
        mov     %sp, %cx
        mov     %bx, %sp
        expect16 %cx, 0x1234, "POP SP takes what was popped"
        pusha
        mov     %sp, %bp
        mov     6(%bp), %cx
        popa
        mov     %sp, %bp
        mov     -10(%bp), %cx
        expect16 %cx, TOP-2, "PUSHA pushes what SP was"
        mov     $-1, %ax
        push    %ax
        mov     %sp, %si
        addr32 popw 2(%esp)
        mov     %sp, %di
        sub     %si, %di
        expect16 %di, 2, "POP to memory moves SP first"
        mov     $0x5555, %bp
        mov     %sp, %bx
        enter   $6, $2
        mov     %bp, %cx
        mov     %sp, %dx
        leave
        sub     %cx, %bx
        sub     %dx, %cx
        expect16 %bx, 2, "ENTER leaves BP at the saved BP"
        expect16 %cx, 10, "and makes room below the display"
        expect16 %bp, 0x5555, "LEAVE restores BP"

        # In a segment of its own, the end of the stack.
        mov     $FAR, %ax
        mov     %ax, %ss
        xor     %sp, %sp
        push    $0x1357
        mov     %sp, %bx
        pop     %cx
        mov     %sp, %dx
        xor     %ax, %ax
        mov     %ax, %ss
        mov     $TOP-2, %sp
        expect16 %bx, 0xfffe, "PUSH with SP at 0 wraps around"
        expect16 %cx, 0x1357, "POP at FFFEh finds it"
        expect16 %dx, 0, "and wraps around"
        catch   1f
        mov     $FAR, %ax
        mov     %ax, %ss
        mov     $2, %sp
        pushl   $0
1:      expect_event SS, "PUSH of a doubleword across the end is #SS"
        expect16 caught_sp, 2, "which leaves SP"
        catch   1f
        mov     $FAR, %ax
        mov     %ax, %ss
        mov     $2, %sp
        int     $0x44                           # FLAGS at 0, CS and IP at the other end
1:      expect_event 0x44, "a frame wraps around"
        expect16 caught_flags, FIXED | 0x44, "with FLAGS at one end"
        expect16 caught_cs, 0, "and CS at the other"
        ret

# ---- far calls: SDM vol. 2 CALL, RET ("real-address mode")

far_calls:
        mov     $FAR, %ax
        mov     %ax, %es
        movl    $0x000004ca, %es:0x40           # RET FAR 4
        movw    $0xcb66, %es:0x44               # RET FAR of 32 bits
        mov     %sp, %bx
        pushl   $0
        lcall   $FAR, $0x40
        sub     %sp, %bx
        expect16 %bx, 0, "RET FAR n releases what the caller pushed"
        mov     %sp, %bx
        pushl   $0
        lcall   *far_pointer
        sub     %sp, %bx
        expect16 %bx, 0, "CALL FAR takes its pointer from memory"
        mov     %sp, %bx
        lcalll  $FAR, $0x44
after_wide_call:
        mov     %sp, %bp
        mov     -8(%bp), %eax
        sub     %sp, %bx
        expect16 %bx, 0, "CALL FAR and RET FAR of 32 bits"
        expect32 %eax, after_wide_call, "push and pop eight bytes"
        ret

# ---- LGDT, LIDT and MSW: SDM vol. 2 LGDT, SGDT, LMSW

table_registers:
        lgdt    odd_table                       # 24 bits of base
        sgdtl   stored
        expect16 stored, 0x1234, "LGDT of 16 bits loads the limit"
        expect32 stored + 2, 0x654321, "and 24 bits of the base"
        lgdtl   odd_table
        sgdtl   stored
        expect32 stored + 2, 0x87654321, "LGDT of 32 bits loads all of it"
        sidtl   stored
        expect32 stored + 2, 0, "SIDT stores the base of the vectors"
        smsw    %ax
        and     $1, %ax
        expect16 %ax, 0, "SMSW shows real mode"
        ret

# ---- segments keep their limits through real mode: SDM vol. 3 §20.1.1, §9.9.2

        .set BIG, 0x08                          # 4 GiB of data
        .set PLAIN, 0x10                        # 64 KiB

        .macro load_in_protected_mode selector
        mov     %cr0, %eax
        or      $PE, %eax
        mov     %eax, %cr0
        mov     $\selector, %bx
        mov     %bx, %es
        and     $~PE, %eax
        mov     %eax, %cr0
        .endm

unreal: lgdtl   descriptor_table
        load_in_protected_mode BIG
        mov     $0x200000, %ebx
        raises  NOTHING, "a segment of 4 GiB keeps its limit in real mode", movl $0x13572468, %es:(%ebx)
        xor     %ax, %ax
        mov     %ax, %es
        catch   1f
        movl    %es:(%ebx), %ecx
1:      expect_event NOTHING, "and when its selector is loaded"
        expect32 %ecx, 0x13572468, "beyond the first megabyte"
        mov     $FAR, %ax
        mov     %ax, %es
        mov     $0x200000 - (FAR << 4), %ebx
        catch   1f
        movl    %es:(%ebx), %ecx
1:      expect_event NOTHING, "the selector gives the base"
        expect32 %ecx, 0x13572468, "to which 32 bits are added"
        load_in_protected_mode PLAIN
        xor     %ax, %ax
        mov     %ax, %es
        raises  GP, "a limit of 64 KiB comes back the same way", mov %es:(%ebx), %ecx
        mov     %cr0, %eax
        lmsw    %ax
        smsw    %ax
        and     $1, %ax
        expect16 %ax, 0, "LMSW leaves real mode as it is"
        # LMSW enters protected mode, and cannot leave it.
        mov     $PE, %ax
        lmsw    %ax
        xor     %bx, %bx
        lmsw    %bx
        mov     %cr0, %ecx
        mov     %ecx, %eax
        and     $~PE, %eax
        mov     %eax, %cr0
        and     $PE, %ecx
        expect32 %ecx, PE, "LMSW cannot leave protected mode"
        ret

# ---- the 21st address line, which is open: the firmware's part is done before a guest begins

address_line_20:
        in      $0x92, %al
        or      $2, %al
        and     $~1, %al
        out     %al, $0x92
        mov     $0xffff, %ax
        mov     %ax, %es
        movw    $0x1111, 0x600
        movw    $0x2222, %es:0x610
        expect16 0x600, 0x1111, "FFFF:0610 is not 0000:0600"
        expect16 %es:0x610, 0x2222, "but above the first megabyte"
        in      $0x92, %al
        and     $2, %al
        expect8 %al, 2, "port 92h shows the gate open"
        ret

        .data
        .align 8
far_pointer:
        .word   0x40, FAR
odd_table:
        .word   0x1234
        .long   0x87654321
stored: .word   0
        .long   0
descriptors:
        .quad   0
        .quad   0x00cf93000000ffff              # BIG
        .quad   0x000093000000ffff              # PLAIN
descriptor_table:
        .word   . - descriptors - 1
        .long   descriptors
