# Paging of 32 bits: translation, rights by directory and table entry, error codes and CR2, accessed and dirty flags, pages
# of 4 MiB, supervisor protection, faults in the middle of instructions, double faults, and a page directory for a task.
#
# SDM vol. 3 §4.3 (structures), §4.6 (rights), §4.7 (error codes), §4.8 (accessed, dirty), §4.10.4 (invalidation), §6.15.

        .include "protected.inc"

        .set P, 1
        .set W, 2
        .set U, 4
        .set A, 0x20
        .set D, 0x40
        .set PS, 0x80
        .set G, 0x100

        .set PG, 1 << 31
        .set WP, 1 << 16
        .set PSE, 1 << 4
        .set PGE, 1 << 7
        .set SMEP, 1 << 20
        .set SMAP, 1 << 21

        .set FRAME, 0x200000                    # two pages of memory, and in between
        .set SECOND, 0x201000
        .set SCENE, 0x40000000                  # where `table` maps
        .set BIG, 0x40400000                    # the next entry of the directory
        .set SCENE_ENTRY, directory + 4 * (SCENE >> 22)
        .set BIG_ENTRY, directory + 4 * (BIG >> 22)

        descriptor HANDLER, 0, 0x67, 0x89
        descriptor LOCAL, SCENE, 15, 0x82

checks:
        begin   "32-bit paging"
        mov     $low_table, %edi
        mov     $P | W | U, %eax
1:      stosl
        add     $0x1000, %eax
        cmp     $0x400000, %eax
        jb      1b
        movl    $low_table + P + W + U, directory
        movl    $table + P + W + U, SCENE_ENTRY
        mov     $directory, %eax
        mov     %eax, %cr3
        mov     %cr0, %eax
        or      $PG | WP, %eax
        mov     %eax, %cr0
        jmp     2f
2:      call    translation
        call    supervisor_rights
        call    user_rights
        call    flags
        call    invalidation
        call    big_pages
        call    across_pages
        call    fetches
        call    tables
        call    protection_of_supervisors
        call    double_faults
        finish

# Maps page `n` of the scene.
        .macro map n, entry
        movl    $\entry, table + 4 * \n
        invlpg  SCENE + 0x1000 * \n
        .endm

# Forgets all pages but global ones.
        .macro flush
        mov     %cr3, %eax
        mov     %eax, %cr3
        .endm

# Passes where the instruction is a page fault with `error` at `address`.
        .macro faults error, address, name, instruction:vararg
        catch   1f
        \instruction
1:      expect_event PF, \error, "\name"
        cmpl    $\address, caught_cr2
        expect  e, "\name: CR2"
        .endm

        .macro faults_in_ring_3 error, address, name, instruction:vararg
        catch   1f
        enter_ring_3 2f
2:      \instruction
        int     $LEAVE
1:      expect_event PF, \error, "\name"
        cmpl    $\address, caught_cr2
        expect  e, "\name: CR2"
        .endm

        .macro works name, instruction:vararg
        raises  NOTHING, 0, "\name", \instruction
        .endm

# ---- translation

translation:
        map     0, FRAME+P+W
        map     1, SECOND+P+W
        movl    $0x13572468, FRAME + 0x123
        expect32 SCENE+0x123, 0x13572468, "a page is read through its alias"
        movl    $0x24681357, SCENE + 0x1ffc
        expect32 SECOND+0xffc, 0x24681357, "and the next one written"
        map     1, FRAME+P+W
        expect32 SCENE+0x1123, 0x13572468, "two aliases show one page"
        map     1, FRAME+P+W+0xe00
        expect32 SCENE+0x1123, 0x13572468, "bits 9 to 11 are software's"
        mov     %cr0, %eax
        and     $~PG, %eax
        mov     %eax, %cr0
        expect32 FRAME+0x123, 0x13572468, "without paging addresses are physical"
        or      $PG, %eax
        mov     %eax, %cr0
        expect32 SCENE+0x123, 0x13572468, "and with it again linear"
        ret

# ---- rings 0 to 2: error codes 0 to 3

supervisor_rights:
        map     0, 0
        faults  0, SCENE+0x10, "reading an absent page", mov SCENE+0x10, %eax
        faults  2, SCENE+0x14, "writing it", mov %eax, SCENE+0x14
        faults  2, SCENE+0x18, "reading to modify it", incl SCENE+0x18
        faults  2, SCENE+0x1c, "a locked exchange that would not write", lock cmpxchg %ecx, SCENE+0x1c
        map     0, FRAME+W+U
        faults  0, SCENE, "an absent page whose other bits are set", mov SCENE, %eax
        map     0, FRAME+P
        works   "reading a read-only page", mov SCENE, %eax
        faults  3, SCENE+0x20, "writing it is refused under WP", mov %eax, SCENE+0x20
        map     0, FRAME+P+U
        faults  3, SCENE+0x24, "a read-only page of users too", mov %eax, SCENE+0x24
        mov     %cr0, %ebx
        mov     %ebx, %eax
        and     $~WP, %eax
        mov     %eax, %cr0
        works   "without WP it is written", movl $0, SCENE
        map     0, FRAME+P
        works   "and a supervisor's page too", movl $0, SCENE
        mov     %ebx, %cr0
        map     0, FRAME+P+W
        movl    $table + P, SCENE_ENTRY
        flush
        faults  3, SCENE, "a directory entry without W", mov %eax, SCENE
        movl    $0, SCENE_ENTRY
        flush
        faults  0, SCENE, "an absent directory entry, reading", mov SCENE, %eax
        faults  2, SCENE, "and writing", mov %eax, SCENE
        movl    $table + P + W + U, SCENE_ENTRY
        flush
        works   "what was absent is seen when it is there", mov %eax, SCENE
        ret

# ---- ring 3: error codes 4 to 7

user_rights:
        map     0, 0
        faults_in_ring_3 4, SCENE, "ring 3 reading an absent page", mov SCENE, %eax
        faults_in_ring_3 6, SCENE, "writing it", mov %eax, SCENE
        map     0, FRAME+P+W
        faults_in_ring_3 5, SCENE+8, "ring 3 reading a supervisor's page", mov SCENE+8, %eax
        faults_in_ring_3 7, SCENE+8, "writing it", mov %eax, SCENE+8
        map     0, FRAME+P+U
        raises_in_ring_3 LEAVE, 0, "ring 3 reading its read-only page", mov SCENE, %eax
        faults_in_ring_3 7, SCENE+8, "writing it", mov %eax, SCENE+8
        map     0, FRAME+P+W+U
        raises_in_ring_3 LEAVE, 0, "ring 3 writing its page", mov %eax, SCENE
        movl    $table + P + W, SCENE_ENTRY
        flush
        faults_in_ring_3 5, SCENE, "a directory entry without U", mov SCENE, %eax
        movl    $table + P + U, SCENE_ENTRY
        flush
        faults_in_ring_3 7, SCENE, "a directory entry without W", mov %eax, SCENE
        movl    $table + P + W + U, SCENE_ENTRY
        flush
        mov     %cr0, %eax
        and     $~WP, %eax
        mov     %eax, %cr0
        map     0, FRAME+P+U
        faults_in_ring_3 7, SCENE, "WP is not for ring 3", mov %eax, SCENE
        mov     %cr0, %eax
        or      $WP, %eax
        mov     %eax, %cr0
        ret

# ---- accessed and dirty

        .macro expect_entry place, value, name
        mov     \place, %ebx
        and     $A | D, %ebx
        expect32 %ebx, \value, "\name"
        .endm

flags:  andl    $~(A | D), SCENE_ENTRY
        flush
        map     0, FRAME+P+W
        mov     SCENE, %eax
        expect_entry table, A, "a read sets the accessed flag of the page"
        expect_entry SCENE_ENTRY, A, "and of the table"
        mov     %eax, SCENE
        expect_entry table, A+D, "a write sets the dirty flag of the page"
        expect_entry SCENE_ENTRY, A, "and not of the table"
        map     0, FRAME+P+W
        mov     %eax, SCENE
        expect_entry table, A+D, "a write alone sets both"
        map     0, FRAME+P
        faults  3, SCENE, "a write that is refused", mov %eax, SCENE
        mov     table, %ebx
        and     $D, %ebx
        expect32 %ebx, 0, "does not make the page dirty"
        map     0, FRAME+P+W
        mov     $1, %eax
        mov     $2, %ecx
        cmpxchg %ecx, SCENE
        mov     table, %ebx
        and     $A, %ebx
        expect32 %ebx, A, "CMPXCHG uses the page"
        map     0, FRAME+P+W
        prefetcht0 SCENE
        mov     $SCENE, %esi
        xor     %ecx, %ecx
        rep lodsb
        expect_entry table, 0, "REP with a count of 0 does not"
        ret

# ---- INVLPG, CR3, CR4.PGE

invalidation:
        movl    $1, FRAME
        movl    $2, SECOND
        map     0, FRAME+P+W
        expect32 SCENE, 1, "before"
        movl    $SECOND + P + W, table
        invlpg  SCENE + 0x777
        expect32 SCENE, 2, "INVLPG forgets the page of any address in it"
        movl    $FRAME + P + W, table
        flush
        expect32 SCENE, 1, "a write of CR3 forgets it"
        mov     %cr4, %eax
        or      $PGE, %eax
        mov     %eax, %cr4
        map     0, FRAME+P+W+G
        expect32 SCENE, 1, "a global page"
        movl    $SECOND + P + W + G, table
        invlpg  SCENE
        expect32 SCENE, 2, "is forgotten by INVLPG"
        movl    $FRAME + P + W + G, table
        mov     %cr4, %eax
        and     $~PGE, %eax
        mov     %eax, %cr4
        expect32 SCENE, 1, "and when CR4.PGE changes"
        ret

# ---- pages of 4 MiB: SDM vol. 3 table 4-4

big_pages:
        # Without CR4.PSE the bit means nothing, and the entry names a table.
        movl    $table + P + W + PS, BIG_ENTRY
        map     0, FRAME+P+W
        movl    $0x77, FRAME + 4
        expect32 BIG+4, 0x77, "without CR4.PSE there are no pages of 4 MiB"
        mov     %cr4, %eax
        or      $PSE, %eax
        mov     %eax, %cr4
        movl    $0x000000 + P + W + PS, BIG_ENTRY
        invlpg  BIG
        mov     FRAME+4, %eax
        expect32 BIG+FRAME+4, 0x77, "a page of 4 MiB"
        expect_entry BIG_ENTRY, A, "is accessed in its directory entry"
        movl    $0x78, BIG + FRAME + 4
        expect_entry BIG_ENTRY, A+D, "and dirty there"
        expect32 FRAME+4, 0x78, "it shows what the small page shows"
        movl    $0x000000 + P + PS, BIG_ENTRY
        invlpg  BIG
        faults  3, BIG+0x3ffffc, "a read-only one is refused", mov %eax, BIG+0x3ffffc
        faults_in_ring_3 5, BIG+8, "a supervisor's one too", mov BIG+8, %eax
        movl    $0x200000 + P + W + PS, BIG_ENTRY
        invlpg  BIG
        faults  9, BIG+8, "bit 21 of such an entry is reserved", mov BIG+8, %eax
        faults  0xb, BIG+8, "for writing too", mov %eax, BIG+8
        faults_in_ring_3 0xd, BIG+8, "and for ring 3", mov BIG+8, %eax
        # PSE-36: bits 13 to 20 are address bits 32 to 39, where this machine has nothing.
        movl    $0x002000 + P + W + PS, BIG_ENTRY
        invlpg  BIG
        catch   1f
        mov     BIG+FRAME+4, %eax
1:      expect_event NOTHING, 0, "bit 13 is an address bit"
        cmp     $0x78, %eax
        expect  ne, "and leads elsewhere"
        movl    $0, BIG_ENTRY
        invlpg  BIG
        ret

# ---- accesses that cross into an absent page leave no trace

across_pages:
        map     0, FRAME+P+W
        map     1, 0
        movl    $0, FRAME + 0xffc
        faults  2, SCENE+0x1000, "a write across the end of a page", movl $-1, SCENE+0xffe
        expect32 FRAME+0xffc, 0, "leaves the first alone"
        faults  0, SCENE+0x1000, "a read across it", mov SCENE+0xffd, %eax
        faults  2, SCENE+0x1000, "reading to modify across it", notl SCENE+0xffe
        map     2, 0
        mov     $SCENE, %esi
        mov     $SCENE+0xff8, %edi
        mov     $8, %ecx
        faults  2, SCENE+0x1000, "REP MOVS into an absent page", rep movsl
        expect32 %ecx, 6, "has done what was before it"
        expect32 %edi, SCENE+0x1000, "and stands at it"
        expect32 %esi, SCENE+8, "with its source"
        ret

# ---- fetches: their error code has no bit of its own without NX and SMEP

fetches:
        map     0, FRAME+P+W
        map     1, 0
        movb    $0xb8, FRAME + 0xffe            # MOV EAX, ..., whose end is in the next page
        movb    $0xc3, FRAME + 0x800            # RET
        mov     $SCENE+0xffe, %ecx
        faults  0, SCENE+0x1000, "an instruction that goes on in an absent page", jmp *%ecx
        expect32 caught_eip, SCENE+0xffe, "it is the instruction that faults"
        mov     $SCENE+0x1000, %ecx
        faults  0, SCENE+0x1000, "a jump into an absent page", jmp *%ecx
        expect32 caught_eip, SCENE+0x1000, "it is the target that faults"
        mov     $SCENE+0x800, %ecx
        works   "code in the page", call *%ecx
        faults_in_ring_3 5, SCENE+0x800, "ring 3 does not run a supervisor's code", jmp *%ecx
        ret

# ---- tables are read by the system, in whatever ring the program is

tables: map     0, FRAME+P+W
        movl    $0, FRAME
        movl    $0, FRAME + 4
        movl    $0xffff, FRAME + 8
        movl    $0xcff200, FRAME + 12           # data of ring 3, never accessed
        mov     $LOCAL, %eax
        lldt    %ax
        mov     $8|4|3, %ecx
        raises_in_ring_3 LEAVE, 0, "ring 3 loads from a table in a supervisor's page", mov %ecx, %fs
        expect8 FRAME+13, 0xf3, "and marks the descriptor accessed"
        map     0, 0
        faults_in_ring_3 0, SCENE+8, "in an absent page it is a supervisor's read", mov %ecx, %fs
        map     0, FRAME+P
        raises_in_ring_3 LEAVE, 0, "a descriptor that is accessed is not written", mov %ecx, %fs
        movb    $0xf2, FRAME + 13
        raises_in_ring_3 PF, 3, "in a read-only page marking it is a supervisor's write", mov %ecx, %fs
        xor     %eax, %eax
        lldt    %ax
        ret

# ---- SMEP and SMAP: SDM vol. 3 §4.6.1; low memory is a supervisor's meanwhile

protection_of_supervisors:
        movl    $low_table + P + W, directory
        flush
        map     0, FRAME+P+W+U
        map     1, 0
        mov     %cr4, %eax
        or      $SMEP, %eax
        mov     %eax, %cr4
        mov     $SCENE+0x800, %ecx
        faults  0x11, SCENE+0x800, "SMEP: the supervisor does not run a user's code", call *%ecx
        mov     $SCENE+0x1000, %ecx
        faults  0x10, SCENE+0x1000, "SMEP: fetches are told by their error code", call *%ecx
        works   "SMEP: it reads a user's data", mov SCENE, %eax
        mov     %cr4, %eax
        and     $~SMEP, %eax
        or      $SMAP, %eax
        mov     %eax, %cr4
        mov     $SCENE+0x800, %ecx
        works   "SMAP: it runs a user's code", call *%ecx
        faults  1, SCENE, "SMAP: it does not read a user's data", mov SCENE, %eax
        faults  3, SCENE, "SMAP: nor write it", mov %eax, SCENE
        stac
        works   "SMAP: but with AC it does", mov %eax, SCENE
        mov     $LOCAL, %eax
        lldt    %ax
        stac
        mov     $8|4|3, %ecx
        faults  1, SCENE+8, "SMAP: AC does not help the system's own reads", mov %ecx, %fs
        clac
        xor     %eax, %eax
        lldt    %ax
        mov     %cr4, %eax
        and     $~SMAP, %eax
        mov     %eax, %cr4
        works   "without SMAP it reads it", mov SCENE, %eax
        movl    $low_table + P + W + U, directory
        flush
        ret

# ---- #PF in delivering #PF, taken by a task with a page directory of its own: SDM vol. 3 table 6-5, §7.3

double_faults:
        movb    $0x0e, idt + 8 * PF + 5
        map     0, 0
        catch   1f
        mov     SCENE, %eax
1:      expect_event DF, 0, "without its gate a page fault is #DF(0)"
        movb    $0x8e, idt + 8 * PF + 5
        rebase  HANDLER, handler_task
        mov     $handler_task, %edi
        movl    $other_directory, 0x1c(%edi)
        movl    $in_handler, 0x20(%edi)
        movl    $FIXED, 0x24(%edi)
        movl    $handler_stack_top, 0x38(%edi)
        movl    $DATA, 0x48(%edi)
        movl    $CODE, 0x4c(%edi)
        movl    $DATA, 0x50(%edi)
        movl    $DATA, 0x54(%edi)
        gate    idt+8*DF, 0, HANDLER, 0x85
        movl    $low_table + P + W + U, other_directory
        movl    $other_table + P + W + U, other_directory + 4 * (SCENE >> 22)
        movl    $SECOND + P + W, other_table
        movl    $0x4242, SECOND
        movl    $1f, resume_at
        mov     %esp, resume_esp
        mov     $SCENE+0x800, %esp
        push    %eax                            # and the frame of its fault goes there too
1:      expect32 notes, 0, "without a stack a page fault is #DF, by a task: error code 0"
        expect32 notes+4, 0x4242, "which has its own page directory"
        expect32 notes+8, SCENE+0x7fc, "CR2 is of the second fault"
        expect32 notes+12, SCENE+0x800, "the faulting task's stack pointer was saved"
        expect32 %cr3, directory, "and a switch back brings its directory"
        ret

in_handler:
        pop     notes
        mov     SCENE, %eax
        mov     %eax, notes + 4
        mov     %cr2, %eax
        mov     %eax, notes + 8
        # The faulting task goes on elsewhere.
        mov     resume_at, %eax
        mov     %eax, task + 0x20
        mov     task+0x38, %eax
        mov     %eax, notes + 12
        mov     resume_esp, %eax
        mov     %eax, task + 0x38
        movl    $directory, task + 0x1c
        iret

        .bss
        .align 4096
directory:
        .skip   4096
table:  .skip   4096
low_table:
        .skip   4096
other_directory:
        .skip   4096
other_table:
        .skip   4096
        .skip   2048
handler_stack_top:
handler_task:
        .skip   0x68
notes:  .skip   16
        .text
