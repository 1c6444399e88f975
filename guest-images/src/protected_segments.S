# Segments of protected mode: limits in both directions, types, privilege, presence, the accessed flag; what a stack
# segment and a code segment make of their size; local tables; and the instructions that ask about selectors.
#
# SDM vol. 3 §3.4.5 (descriptors), §5.3 (limits), §5.4-§5.7 (types, null, privilege), §5.10 (LAR, LSL, VERR, VERW, ARPL).

        .include "protected.inc"

        .set SCRATCH, 0x200000                  # 64 KiB and a page where nothing else is

        descriptor BYTES, SCRATCH, 0xff, 0x93, 4                # data of 256 bytes
        descriptor PAGE, SCRATCH, 0, 0x93, 12                   # of a page
        descriptor DOWN, SCRATCH, 0xfff, 0x97, 4                # from 1000h up
        descriptor DOWN_SMALL, SCRATCH, 0xfff, 0x97, 0          # to FFFFh
        descriptor DOWN_PAGES, SCRATCH-0x1000, 1, 0x97, 12      # from 2000h up
        descriptor READ_ONLY, 0, 0xfffff, 0x91, 12
        descriptor FRESH, 0, 0xfffff, 0x92, 12                  # never accessed
        descriptor FRESH_CODE, 0, 0xfffff, 0x9a, 12
        descriptor CODE_ONLY, 0, 0xfffff, 0x99, 12              # not readable
        descriptor CONFORMING, 0, 0xfffff, 0x9f, 12
        descriptor RING_1, 0, 0xfffff, 0xb3, 12
        descriptor ABSENT, 0, 0xfffff, 0x13, 12
        descriptor ABSENT_USER, 0, 0xfffff, 0x73, 12
        descriptor HIGH, 0xfff00000, 0xfffff, 0x93, 12
        descriptor CODE_16, 0, 0xffff, 0x9b, 0                  # its base is filled in
        descriptor SMALL_STACK, SCRATCH, 0xffff, 0x93, 0
        descriptor LOCAL, 0, 15, 0x82                           # its base is filled in
        descriptor LOCAL_ABSENT, 0, 15, 0x02
        descriptor GATE, 0, 0, 0x8c
        descriptor INTERRUPT_GATE, 0, 0, 0x8e
        descriptor SPARE_TASK, SCRATCH, 0x67, 0x89
        descriptor ABSENT_TASK, SCRATCH, 0x67, 0x09

checks:
        begin   "protected mode: segments"
        call    limits
        call    expansion
        call    types
        call    loads
        call    privilege
        call    accessed
        call    sizes
        call    code
        call    local_table
        call    task_register
        call    questions
        finish

        .macro set_segment register, selector
        mov     $\selector, %eax
        mov     %eax, %\register
        .endm

# Passes where accesses like this one are done.
        .macro works name, instruction:vararg
        raises  NOTHING, 0, "\name", \instruction
        .endm

# Passes where they are #GP(0).
        .macro refused name, instruction:vararg
        raises  GP, 0, "\name", \instruction
        .endm

# ---- limits: SDM vol. 3 §5.3

limits: set_segment fs, BYTES
        works   "a byte at the limit", mov %fs:0xff, %al
        refused "a byte behind it", mov %fs:0x100, %al
        works   "a doubleword up to the limit", mov %fs:0xfc, %eax
        refused "a doubleword across it", mov %fs:0xfd, %eax
        refused "a write across it", mov %eax, %fs:0xfd
        refused "an access far behind it", mov %fs:0x7fffffff, %eax
        refused "the highest address", mov %fs:0xffffffff, %al
        set_segment fs, PAGE
        works   "a byte at the end of a page", mov %fs:0xfff, %al
        refused "a word across it", mov %fs:0xfff, %ax
        set_segment fs, HIGH
        movl    $0x13572468, SCRATCH
        movl    %fs:0x300000, %ecx
        expect32 %ecx, 0x13572468, "base and offset wrap around at 4 GiB"
        refused "a jump beyond the limit", ljmp $CODE_16, $0x10000
        redescribe CODE_16, 0, 0x1fff, 0x9b, 4
        refused "a far jump beyond the limit of a small segment", ljmp $CODE_16, $0x2000
        redescribe CODE_16, 0, 0xffff, 0x9b, 0
        ret

# ---- segments that expand down: SDM vol. 3 §5.3, "the effective limit"

expansion:
        set_segment fs, DOWN
        refused "expand-down: a byte at the limit", mov %fs:0xfff, %al
        works   "a byte behind it", mov %fs:0x1000, %al
        refused "a word across it", mov %fs:0xfff, %ax
        works   "a byte beyond 64 KiB, where B is set", mov %fs:0x10000, %al
        set_segment fs, DOWN_SMALL
        works   "a byte at FFFFh", mov %fs:0xffff, %al
        refused "a byte beyond it, where B is clear", mov %fs:0x10000, %al
        refused "a word across it", mov %fs:0xffff, %ax
        set_segment fs, DOWN_PAGES
        refused "a byte at a limit in pages", mov %fs:0x1fff, %al
        works   "a byte behind it", mov %fs:0x2000, %al
        redescribe DOWN, 0, 0xff, 0x97, 12      # of 1 MiB, where this program begins
        mov     %esp, %ebx
        set_segment ss, DOWN
        push    %eax
        pop     %eax
        raises  SS, 0, "an access below the limit of an expand-down stack is #SS(0)", mov %ss:0xfffff, %al
        redescribe DOWN, SCRATCH, 0xfff, 0x97, 4
        set_segment ss, DATA
        ret

# ---- types: SDM vol. 3 §5.5

types:  set_segment fs, READ_ONLY
        works   "read-only data is read", mov %fs:SCRATCH, %eax
        refused "and not written", mov %eax, %fs:SCRATCH
        refused "and not tested for writing by a read and a write", lock incl %fs:SCRATCH
        set_segment fs, CODE
        works   "readable code is read", mov %fs:SCRATCH, %eax
        refused "code is not written", mov %eax, %fs:SCRATCH
        works   "CS is read", mov %cs:SCRATCH, %eax
        refused "CS is not written", mov %eax, %cs:SCRATCH
        ljmp    $CODE_ONLY, $1f
1:      refused "execute-only code is not read", mov %cs:SCRATCH, %eax
        ljmp    $CODE, $1f
1:      set_segment fs, 0
        refused "null is not read", mov %fs:0, %eax
        refused "null is not written", mov %eax, %fs:0
        set_segment fs, 3
        refused "null with an RPL neither", mov %fs:0, %eax
        mov     %fs, %ecx
        expect32 %ecx, 3, "but it keeps the RPL"
        ret

# ---- what a segment register takes: SDM vol. 2 MOV, "protected mode exceptions"

        .macro refuses register, selector, vector, error, name
        mov     $\selector, %eax
        raises  \vector, \error, "\name", mov %eax, %\register
        .endm

loads:  set_segment fs, DATA
        refuses fs, CODE_ONLY, GP, CODE_ONLY, "FS refuses code that is not readable"
        refuses fs, TASK, GP, TASK, "FS refuses a system segment"
        refuses fs, GATE, GP, GATE, "FS refuses a gate"
        refuses fs, ABSENT, NP, ABSENT, "FS refuses what is absent"
        refuses fs, gdt_end-gdt, GP, gdt_end-gdt, "FS refuses what is behind the table"
        refuses fs, (gdt_end-gdt-8)|4, GP, (gdt_end-gdt-8)|4, "FS refuses what is in no local table"
        mov     %fs, %ecx
        expect32 %ecx, DATA, "and keeps what it had"
        refuses ss, 0, GP, 0, "SS refuses null"
        refuses ss, READ_ONLY, GP, READ_ONLY, "SS refuses read-only data"
        refuses ss, CODE, GP, CODE, "SS refuses code"
        refuses ss, RING_1, GP, RING_1, "SS refuses another ring's data"
        refuses ss, DATA|1, GP, DATA, "SS refuses another RPL"
        refuses ss, ABSENT, SS, ABSENT, "SS refuses what is absent, with #SS"
        movl    $0x12345678, far_pointer
        movw    $ABSENT, far_pointer + 4
        mov     $0x5a5a5a5a, %ebx
        raises  NP, ABSENT, "LFS refuses what is absent", lfs far_pointer, %ebx
        expect32 %ebx, 0x5a5a5a5a, "and leaves the register"
        movw    $DATA, far_pointer + 4
        lgs     far_pointer, %ebx
        expect32 %ebx, 0x12345678, "LGS loads offset"
        mov     %gs, %ecx
        expect32 %ecx, DATA, "and selector"
        push    %esp
        pop     far_pointer
        movw    $DATA, far_pointer + 4
        works   "LSS loads a stack", lss far_pointer, %esp
        movl    $0, far_pointer
        movw    $0, far_pointer + 4
        refused "LSS refuses null", lss far_pointer, %esp
        push    $DATA | 0x7fff0000
        raises  NOTHING, 0, "POP of a segment register looks at sixteen bits", pop %gs
        mov     $-1, %ecx
        mov     %gs, %ecx
        expect32 %ecx, DATA, "MOV from a segment register fills the register with zeros"
        push    $-1
        pop     %ecx
        push    %gs
        pop     %ecx
        and     $0xffff, %ecx
        expect32 %ecx, DATA, "PUSH of a segment register"
        ret

# ---- privilege: SDM vol. 3 §5.6 (data), §5.8.1 (code)

privilege:
        refuses fs, DATA|3, GP, DATA, "data of ring 0 refuses an RPL of 3"
        set_segment fs, RING_1|1
        refuses fs, RING_1|2, GP, RING_1, "data of ring 1 refuses an RPL of 2"
        set_segment fs, CONFORMING|3
        works   "conforming code is read with any RPL", mov %fs:SCRATCH, %eax
        mov     $RING_1, %ecx
        raises_in_ring_3 GP, RING_1, "ring 3 does not load data of ring 1", mov %ecx, %fs
        mov     $CONFORMING, %ecx
        passes_in_ring_3 "ring 3 loads conforming code of ring 0", mov %ecx, %fs
        mov     $ABSENT, %ecx
        raises_in_ring_3 GP, ABSENT, "privilege is checked before presence", mov %ecx, %fs
        mov     $ABSENT_USER|3, %ecx
        raises_in_ring_3 NP, ABSENT_USER, "presence after it", mov %ecx, %fs
        raises_in_ring_3 GP, CODE, "ring 3 does not jump to ring 0", ljmp $CODE, $0
        raises  GP, USER_CODE&~3, "ring 0 does not jump to ring 3", ljmp $USER_CODE&~3, $0
        raises  GP, CODE, "nor with an RPL of 3 to itself", ljmp $CODE|3, $0
        catch   1f
        enter_ring_3 2f
2:      ljmp    $CONFORMING, $3f
3:      int     $LEAVE
1:      expect_event LEAVE, 0, "ring 3 jumps to conforming code of ring 0"
        expect32 caught_cs, CONFORMING|3, "and stays in ring 3"
        raises  GP, DATA, "a jump to data", ljmp $DATA, $0
        raises  GP, 0, "a jump to null", ljmp $0, $0
        raises  GP, INTERRUPT_GATE, "a jump to an interrupt gate", ljmp $INTERRUPT_GATE, $0
        ret

# ---- the accessed flag: SDM vol. 3 §3.4.5.1

accessed:
        expect8 gdt+FRESH+5, 0x92, "a descriptor that nothing was loaded from"
        set_segment fs, FRESH
        expect8 gdt+FRESH+5, 0x93, "is accessed once it was"
        redescribe FRESH, 0, 0xfffff, 0x92, 12
        mov     $FRESH, %eax
        lar     %eax, %eax
        mov     $FRESH, %eax
        verr    %ax
        expect8 gdt+FRESH+5, 0x92, "LAR and VERR do not count"
        ljmp    $FRESH_CODE, $1f
1:      ljmp    $CODE, $1f
1:      expect8 gdt+FRESH_CODE+5, 0x9b, "a code segment is accessed by going there"
        redescribe FRESH, 0, 0xfffff, 0x12, 12
        refuses fs, FRESH, NP, FRESH, "what is absent"
        expect8 gdt+FRESH+5, 0x12, "does not become accessed"
        ret

# ---- B and D: SDM vol. 3 §3.4.5, §6.12.1

sizes:  mov     %esp, %ebx
        set_segment ss, SMALL_STACK
        mov     $0x12340100, %esp
        push    $0x11223344
        mov     %esp, %ecx
        pop     %edx
        mov     $0x56780000, %esp
        push    $0x55667788
        mov     %esp, %esi
        set_segment ss, DATA
        mov     %ebx, %esp
        expect32 %ecx, 0x123400fc, "a stack of 16 bits moves SP and leaves the rest of ESP"
        expect32 %edx, 0x11223344, "and is addressed by SP"
        expect32 %esi, 0x5678fffc, "SP wraps around"
        expect32 SCRATCH+0xfffc, 0x55667788, "to the end of its 64 KiB"
        rebase  CODE_16, code_16
        lcall   $CODE_16, $0
        expect32 %eax, 0x55550001, "code of 16 bits has operands of 16 bits"
        expect32 %ecx, 0x00010000, "and of 32 bits with a prefix"
        ret

        .code16
code_16:
        mov     $0x55550000, %eax
        mov     $1, %ax
        mov     $0xffff, %ecx
        inc     %ecx
        lretl
        .code32

# ---- code segments and their limit: SDM vol. 2 JMP, CALL, RET; vol. 3 §5.3

        .set PIECE, 0x40                        # bytes of code that are within

code:   redescribe CODE_16, 0, PIECE-1, 0x9b, 4
        rebase  CODE_16, piece
        refused "CALL beyond the limit", lcall $CODE_16, $piece_call-piece
        refused "JMP beyond the limit", lcall $CODE_16, $piece_jump-piece
        refused "RET beyond the limit", lcall $CODE_16, $piece_ret-piece
        refused "the instruction behind the limit", lcall $CODE_16, $PIECE-2
        expect32 caught_eip, PIECE, "is not executed"
        redescribe CODE_16, 0, PIECE+2, 0x9b, 4
        rebase  CODE_16, piece
        refused "nor one across it", lcall $CODE_16, $PIECE-2
        expect32 caught_eip, PIECE, "at its place"
        redescribe CODE_16, 0, PIECE+7, 0x9b, 4
        rebase  CODE_16, piece
        works   "one up to it is", lcall $CODE_16, $PIECE-2
        ret

        .code32
        .balign 16
piece:
piece_call:
        call    piece+PIECE
piece_jump:
        xor     %eax, %eax
        jz      piece+PIECE
piece_ret:
        pushl   $PIECE
        ret
        .org    piece+PIECE-2
        nop
        nop
        mov     $0, %eax
        .byte   0x90, 0x90
        lret

# ---- LLDT: SDM vol. 2 LLDT, SLDT; vol. 3 §2.4.2

local_table:
        rebase  LOCAL, local
        mov     $LOCAL, %eax
        lldt    %ax
        sldt    %ecx
        and     $0xffff, %ecx
        expect32 %ecx, LOCAL, "SLDT stores what LLDT loaded"
        set_segment fs, 8|4
        works   "a segment of the local table", mov %fs:0, %eax
        refuses fs, 16|4, GP, 16|4, "one behind its end"
        refuses fs, 4, GP, 4, "its first entry is like any other, and absent data here"
        mov     $DATA, %eax
        raises  GP, DATA, "LLDT refuses data", lldt %ax
        mov     $LOCAL_ABSENT, %eax
        raises  NP, LOCAL_ABSENT, "LLDT refuses what is absent", lldt %ax
        mov     $LOCAL|4, %eax
        raises  GP, LOCAL|4, "LLDT refuses the local table", lldt %ax
        raises_in_ring_3 GP, 0, "LLDT is for ring 0", lldt %ax
        xor     %eax, %eax
        works   "LLDT takes null", lldt %ax
        refuses fs, 8|4, GP, 8|4, "then there is no local table"
        ret

# ---- LTR: SDM vol. 2 LTR, STR

task_register:
        str     %ecx
        and     $0xffff, %ecx
        expect32 %ecx, TASK, "STR stores what LTR loaded"
        expect8 gdt+TASK+5, 0x8b, "LTR makes a task busy"
        mov     $TASK, %eax
        raises  GP, TASK, "LTR refuses a busy one", ltr %ax
        mov     $DATA, %eax
        raises  GP, DATA, "LTR refuses data", ltr %ax
        mov     $ABSENT_TASK, %eax
        raises  NP, ABSENT_TASK, "LTR refuses what is absent", ltr %ax
        mov     $SPARE_TASK|4, %eax
        raises  GP, SPARE_TASK|4, "LTR refuses the local table", ltr %ax
        xor     %eax, %eax
        raises  GP, 0, "LTR refuses null", ltr %ax
        mov     $SPARE_TASK, %eax
        works   "LTR takes another one", ltr %ax
        expect8 gdt+TASK+5, 0x8b, "which leaves the first busy"
        movb    $0x89, gdt + TASK + 5
        mov     $TASK, %eax
        works   "LTR goes back", ltr %ax
        ret

# ---- LAR, LSL, VERR, VERW, ARPL: SDM vol. 3 §5.10

# Passes where ZF is as the instruction makes it for what can be looked at.
        .macro answers yes, name, instruction:vararg
        \instruction
        expect  \yes, "\name"
        .endm

questions:
        mov     $BYTES, %ebx
        answers z, "LAR answers for data", lar %ebx, %ecx
        expect32 %ecx, 0x409300, "with its attributes"
        answers z, "LSL answers for data", lsl %ebx, %ecx
        expect32 %ecx, 0xff, "with its limit"
        mov     $DOWN_PAGES, %ebx
        lsl     %ebx, %ecx
        expect32 %ecx, 0x1fff, "in bytes"
        mov     $GATE, %ebx
        answers z, "LAR answers for a call gate", lar %ebx, %ecx
        answers nz, "LSL does not", lsl %ebx, %ecx
        mov     $INTERRUPT_GATE, %ebx
        answers nz, "LAR does not answer for an interrupt gate", lar %ebx, %ecx
        mov     $TASK, %ebx
        answers z, "LSL answers for a task", lsl %ebx, %ecx
        mov     $LOCAL, %ebx
        answers z, "LSL answers for a local table", lsl %ebx, %ecx
        mov     $0x5a5a5a5a, %ecx
        xor     %ebx, %ebx
        answers nz, "LAR does not answer for null", lar %ebx, %ecx
        expect32 %ecx, 0x5a5a5a5a, "and leaves the register"
        mov     $0xfff8, %ebx
        answers nz, "nor for what is behind the table", lar %ebx, %ecx
        mov     $ABSENT, %ebx
        answers z, "LAR answers for what is absent", lar %ebx, %ecx
        mov     $DATA|3, %ebx
        answers nz, "LAR regards the RPL", lar %ebx, %ecx
        answers nz, "VERR regards the RPL", verr %bx
        mov     $CONFORMING|3, %ebx
        answers z, "but not of conforming code", verr %bx
        mov     $CODE_ONLY, %ebx
        answers nz, "VERR: code that is not readable", verr %bx
        mov     $CODE, %ebx
        answers z, "VERR: readable code", verr %bx
        answers nz, "VERW: code", verw %bx
        mov     $READ_ONLY, %ebx
        answers nz, "VERW: read-only data", verw %bx
        mov     $DATA, %ebx
        answers z, "VERW: data", verw %bx
        mov     $TASK, %ebx
        answers nz, "VERR: a task", verr %bx
        mov     $0x1231, %ebx
        mov     $0x4563, %ecx
        answers z, "ARPL raises an RPL", arpl %cx, %bx
        expect32 %ebx, 0x1233, "to the other's"
        mov     $0x4562, %ecx
        answers nz, "ARPL does not lower it", arpl %cx, %bx
        expect32 %ebx, 0x1233, "but leaves it"
        ret

        .data
        .align 8
local:  .quad   0
        encode  SCRATCH, 0xffff, 0x93, 4
        .long   low_half, high_half
far_pointer:
        .long   0
        .word   0
