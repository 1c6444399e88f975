# Hardware tasks: switches by JMP, CALL, INT, an exception and IRET, to state segments of 32 and 16 bits and through task gates;
# what is saved, loaded and marked busy.
#
# SDM vol. 3 §7.2-§7.4, §7.6; table 7-2 (busy, NT, link).

        .include "tasks.inc"

checks:
        begin   "protected mode: tasks"
        prepare_tasks
        call    jumps
        call    calls
        call    interrupts
        call    exceptions
        call    double_fault
        call    gates
        call    of_16_bits
        call    particulars
        finish

# ---- JMP: SDM vol. 3 table 7-2, "effect of JMP"

jumps:  call    settle
        movl    $by_jump, way
        movw    $0x5555, task_b + LINK
        pushl   $FL_CF | FL_AC | FIXED
        popf
        mov     $0x11111111, %eax
        mov     $0x77777777, %edi
        mov     %esp, %ebx
        ljmp    $TASK_B, $0
after_jump:
        pushf
        pop     %ecx
        mov     %esp, %edx
        expect32 notes, 0xa0, "JMP to a task loads EAX"
        expect32 notes+4, 0xa7, "and EDI"
        expect32 notes+8, stack_b_top, "and ESP"
        expect32 notes+12, FIXED, "and EFLAGS, without NT"
        expect16 notes+16, TASK_B, "and TR"
        mov     notes+20, %eax
        and     $CR0_TS, %eax
        expect32 %eax, CR0_TS, "and sets CR0.TS"
        expect8 notes+24, FREE, "the old task is free"
        expect8 notes+25, BUSY, "the new one is busy"
        expect16 task_b+LINK, 0x5555, "its link is left alone"
        expect32 task+EIP, after_jump, "the old one's EIP is saved"
        expect32 task+EAX, 0x11111111, "and EAX"
        expect32 task+EDI, 0x77777777, "and EDI"
        expect32 task+EFLAGS, FL_CF|FL_AC|FIXED, "and EFLAGS"
        expect16 task+CS, CODE, "and CS"
        sub     task+ESP, %ebx
        expect32 %ebx, 0, "and ESP"
        expect32 %ecx, FL_CF|FL_AC|FIXED, "back, EFLAGS are as they were"
        expect32 %edi, 0x77777777, "and EDI"
        expect8 gdt+TASK+5, BUSY, "and the first task is busy"
        expect8 gdt+TASK_B+5, FREE, "the second is free"
        call    settle
        ret

# ---- CALL and IRET

calls:  movl    $by_iret, way
        mov     $0x12121212, %edi
        lcall   $TASK_B, $0
after_call:
        pushf
        pop     %ecx
        expect32 notes+12, FL_NT|FIXED, "CALL sets NT"
        expect16 task_b+LINK, TASK, "and links back"
        expect8 notes+24, BUSY, "the caller stays busy"
        expect8 notes+25, BUSY, "the called task is busy"
        expect32 task+EIP, after_call, "the caller's EIP is saved"
        expect8 gdt+TASK_B+5, FREE, "IRET frees the task that it leaves"
        mov     task_b+EFLAGS, %eax
        and     $FL_NT, %eax
        expect32 %eax, 0, "and saves its flags without NT"
        and     $FL_NT, %ecx
        expect32 %ecx, 0, "the caller runs without NT"
        expect32 %edi, 0x12121212, "with its registers"
        movl    $0, visits
        lcall   $TASK_B, $0
        expect32 visits, 1, "a task goes on where it was left"
        call    settle
        ret

# ---- INT and its task gate

interrupts:
        gate    idt+8*0x43, 0, TASK_B, 0x85
        movl    $by_iret, way
        pushl   $FL_IF | FIXED
        popf
        int     $0x43
after_int:
        cli
        expect32 notes+12, FL_NT|FIXED, "INT through a task gate sets NT, and loads IF"
        expect16 task_b+LINK, TASK, "it links back"
        expect32 task+EIP, after_int, "and saves where the next instruction is"
        mov     task+EFLAGS, %eax
        and     $FL_IF, %eax
        expect32 %eax, FL_IF, "with IF"
        raises_in_ring_3 GP, 0x43*8+2, "a task gate of ring 0 is closed to ring 3", int $0x43
        call    settle
        movl    $by_iret, way
        gate    idt+8*0x43, 0, TASK_B, 0xe5
        catch   1f
        enter_ring_3 2f
2:      int     $0x43
        mov     %cs, %eax
        int     $LEAVE
1:      expect_event LEAVE, 0, "ring 3 goes to a task of ring 0, and back"
        expect16 %ax, USER_CODE, "into ring 3"
        expect16 task+STACK, USER_DATA, "its stack was saved"
        call    settle
        ret

# ---- exceptions through task gates: the error code is on the new task's stack

exceptions:
        by_task GP
        catch   1f
        mov     $0x918, %eax
at_gp:  mov     %eax, %es
1:      expect_task 0x918, "#GP through a task gate has its error code"
        expect32 notes, stack_h_top, "on the new stack"
        expect16 notes+4, TASK, "the link names the task that faulted"
        expect32 notes+12, at_gp, "whose EIP is the fault's"
        mov     task+EFLAGS, %eax
        and     $FL_RF, %eax
        expect32 %eax, FL_RF, "and whose EFLAGS hold RF"
        call    settle
        by_gate GP
        by_task UD
        movl    $0x1234, stack_h_top
        catch   1f
at_ud:  ud2
1:      expect_task 0x1234, "#UD through a task gate pushes nothing"
        expect32 notes+12, at_ud, "and saves its EIP"
        call    settle
        by_gate UD
        ret

# ---- #DF through a task gate: what it is for

double_fault:
        by_task DF
        catch   1f
        mov     $TINY, %eax
        mov     %eax, %ss
        mov     $0x10000, %esp
at_push:
        push    %eax                            # #SS, for which there is no stack
1:      mov     $DATA, %eax
        mov     %eax, %ss
        expect_task 0, "#DF through a task gate, where there is no stack: error code 0"
        expect16 notes+4, TASK, "linked to the task that faulted"
        expect16 task+STACK, TINY, "whose stack was saved"
        expect32 task+ESP, 0x10000, "as it was"
        call    settle
        by_gate DF
        ret

# ---- task gates in the GDT

gates:  movl    $by_iret, way
        gate    gdt+GATE_B, 0, TASK_B, 0x85
        lcall   $GATE_B, $0
        expect16 notes+16, TASK_B, "CALL through a task gate"
        call    settle
        movl    $by_jump, way
        ljmp    $GATE_B, $0
        expect16 notes+16, TASK_B, "JMP through a task gate"
        call    settle
        raises_in_ring_3 GP, GATE_B, "a gate of ring 0 is closed to ring 3", lcall $GATE_B, $0
        raises_in_ring_3 GP, TASK_B, "and so is a task of ring 0", lcall $TASK_B, $0
        gate    gdt+GATE_B, 0, TASK_B, 0xe5
        movl    $by_iret, way
        catch   1f
        enter_ring_3 2f
2:      lcall   $GATE_B, $0
        int     $LEAVE
1:      expect_event LEAVE, 0, "a gate of ring 3 is open to it"
        expect16 notes+16, TASK_B, "though the task is of ring 0"
        call    settle
        gate    gdt+GATE_B, 0, TASK_B, 0x05
        raises  NP, GATE_B, "an absent gate", lcall $GATE_B, $0
        gate    gdt+GATE_B, 0, DATA, 0x85
        raises  GP, DATA, "a gate to data", lcall $GATE_B, $0
        gate    gdt+GATE_B, 0, TASK, 0x85
        raises  GP, TASK, "a gate to a busy task", lcall $GATE_B, $0
        gate    gdt+GATE_B, 0, 0, 0x85
        raises  GP, 0, "a gate to null", lcall $GATE_B, $0
        ret

# ---- state segments of the 286: SDM vol. 3 §7.6

of_16_bits:
        mov     $task_16, %edi
        movw    $in_16 - piece, 0x0e(%edi)
        movw    $FIXED, 0x10(%edi)
        movw    $0xa0, 0x12(%edi)
        movw    $0xa7, 0x20(%edi)
        movw    $0xfffe, 0x1a(%edi)             # SP
        movw    $DATA, 0x22(%edi)               # ES, CS, SS, DS
        movw    $PIECE, 0x24(%edi)
        movw    $STACK_16, 0x26(%edi)
        movw    $DATA, 0x28(%edi)
        movw    $0, 0x2a(%edi)
        mov     $DATA, %eax
        mov     %eax, %fs
        mov     $0x31313131, %edi
        mov     $0x1234abcd, %ebp
        lcall   $TASK_16, $0
        expect16 notes, 0xa0, "CALL to a task of 16 bits loads AX"
        expect16 notes+4, 0xa7, "and DI"
        expect16 notes+8, 0xfffe, "and SP"
        expect16 notes+12, FL_NT|FIXED, "NT is set"
        expect16 notes+16, TASK_16, "TR is the task's"
        expect16 task_16, TASK, "it is linked back"
        expect16 notes+20, 0, "FS is null"
        expect32 %edi, 0x31313131, "back, registers of 32 bits are as they were"
        expect32 %ebp, 0x1234abcd, "all of them"
        expect8 gdt+TASK_16+5, 0x81, "and the task is free"
        call    settle
        ret

# ---- LDT, DR7, the T flag, ring 3

particulars:
        movl    $by_iret, way
        movw    $LOCAL, task_b + LDT
        movl    $8|4, task_b + FS
        lcall   $TASK_B, $0
        mov     task_b+FS, %ax
        expect16 %ax, 8|4, "a task has a local table of its own"
        sldt    %eax
        expect16 %ax, 0, "which leaves with it"
        call    settle
        mov     $0x7ff, %eax                    # local and global breakpoints, on nothing
        mov     $notes + 60, %ebx
        mov     %ebx, %dr0
        mov     %ebx, %dr1
        mov     %ebx, %dr2
        mov     %ebx, %dr3
        mov     %eax, %dr7
        lcall   $TASK_B, $0
        mov     %dr7, %eax
        and     $0x1ff, %eax
        expect32 %eax, 0xaa, "a switch clears the local breakpoints, not the global ones"
        mov     $0x400, %eax
        mov     %eax, %dr7
        call    settle
        movw    $1, task_b + DEBUG_TRAP
        mov     $0xffff0ff0, %eax
        mov     %eax, %dr6
        catch   1f
        lcall   $TASK_B, $0
1:      expect_event_at DB, 0, in_b, "the T flag traps before the new task's first instruction"
        mov     %dr6, %eax
        and     $0x8000, %eax
        expect32 %eax, 0x8000, "DR6 has BT"
        call    settle
        movl    $USER_CODE, task_b + CS
        movl    $USER_DATA, task_b + STACK
        movl    $USER_DATA, task_b + DS
        movl    $USER_DATA, task_b + ES
        movl    $0, task_b + FS
        movl    $0, task_b + GS
        movl    $user_stack_top, task_b + ESP
        movl    $2f, task_b + EIP
        catch   1f
        ljmp    $TASK_B, $0
2:      int     $LEAVE
1:      expect_event LEAVE, 0, "a switch goes to ring 3"
        expect32 caught_esp, user_stack_top, "to its stack"
        expect32 caught_frame, interrupt_stack_top-20, "an interrupt there finds the new task's ring 0"
        call    settle
        movl    $FL_TF | FIXED, task_b + EFLAGS
        catch   1f
        ljmp    $TASK_B, $0
1:      expect_event DB, 0, "TF of the new task steps it"
        call    settle
        ret
