# Task switches that are refused: before anything is done, in the old task, and after the registers were loaded, in the new one.
#
# SDM vol. 3 §7.3, table 7-1 (exceptions of a switch).

        .include "tasks.inc"

checks:
        begin   "protected mode: tasks refused"
        prepare_tasks
        call    settle
        call    refused_before
        call    refused_after
        finish

# ---- refused in the old task

refused_before:
        raises  GP, TASK, "JMP to the running task", ljmp $TASK, $0
        raises  NP, TASK_ABSENT, "JMP to an absent task", ljmp $TASK_ABSENT, $0
        raises  TS, TASK_SHORT, "JMP to a short one", ljmp $TASK_SHORT, $0
        expect8 gdt+TASK_SHORT+5, FREE, "which leaves it free"
        raises  GP, TASK_B, "JMP with an RPL that the task's privilege excludes", ljmp $TASK_B|3, $0
        gate    idt+8*0x43, 0, TASK, 0x85
        raises  GP, TASK, "INT to a busy task", int $0x43
        gate    idt+8*0x43, 0, TASK_ABSENT, 0x85
        raises  NP, TASK_ABSENT, "INT to an absent task", int $0x43
        .macro iret_refused link, vector, error, name
        movw    $\link, task + LINK
        pushl   $FL_NT | FIXED
        popf
        raises  \vector, \error, "\name", iret
        .endm
        iret_refused TASK_B, TS, TASK_B, "IRET to a task that is not busy"
        iret_refused 0, TS, 0, "IRET to null"
        iret_refused CODE, TS, CODE, "IRET to code"
        iret_refused 0xfff8, TS, 0xfff8, "IRET to what is behind the table"
        iret_refused TASK|4, TS, TASK|4, "IRET to the local table"
        str     %eax
        expect16 %ax, TASK, "the old task goes on"
        ret

# ---- refused in the new task: #TS goes to a task of its own, for there may be no stack

        .macro refused_in_task error, name, field, value
        call    settle
        movl    $\value, task_b + \field
        catch   1f
        ljmp    $TASK_B, $0
1:      expect_task \error, "\name"
        .endm

refused_after:
        by_task TS
        by_task NP
        by_task SS
        by_task GP
        refused_in_task 0, "#TS: no code segment", CS, 0
        expect16 notes+4, TASK_B, "it is the new task's fault"
        refused_in_task DATA, "#TS: code that is data", CS, DATA
        refused_in_task USER_CODE&~3, "#TS: code of another ring than its RPL", CS, USER_CODE&~3
        refused_in_task 0, "#TS: no stack", STACK, 0
        refused_in_task CODE, "#TS: a stack that is code", STACK, CODE
        refused_in_task USER_DATA&~3, "#TS: a stack of another ring", STACK, USER_DATA
        refused_in_task ABSENT, "#SS: an absent stack", STACK, ABSENT
        refused_in_task TASK, "#TS: data that is a task", ES, TASK
        refused_in_task ABSENT, "#NP: absent data", GS, ABSENT
        refused_in_task 0xfff8, "#TS: data behind the table", FS, 0xfff8
        refused_in_task DATA, "#TS: a local table that is data", LDT, DATA
        refused_in_task LOCAL|4, "#TS: a local table of the local table", LDT, LOCAL|4
        redescribe PIECE, 0, 0xf, 0x9b, 4
        rebase  PIECE, piece
        call    settle
        movl    $PIECE, task_b + CS
        movl    $0x10, task_b + EIP
        catch   1f
        ljmp    $TASK_B, $0
1:      expect_task 0, "#GP: EIP beyond the limit"
        call    settle
        by_gate TS
        by_gate NP
        by_gate SS
        by_gate GP
        ret
