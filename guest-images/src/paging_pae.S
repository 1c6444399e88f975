# Paging with physical address extension: the four entries that CR3 loads, pages of 4 KiB and 2 MiB, reserved bits, pages
# that hold no code, and supervisor protection.
#
# SDM vol. 3 §4.4 (PAE paging, §4.4.1: the PDPTE registers), §4.6 (rights), §4.7 (error codes), tables 4-8 to 4-11.

        .include "protected.inc"

        .set P, 1
        .set W, 2
        .set U, 4
        .set A, 0x20
        .set D, 0x40
        .set PS, 0x80
        .set NX, 1 << 31                        # of the upper half

        .set PG, 1 << 31
        .set WP, 1 << 16
        .set PAE, 1 << 5
        .set SMEP, 1 << 20
        .set SMAP, 1 << 21
        .set EFER, 0xc0000080
        .set NXE, 1 << 11

        .set FRAME, 0x200000                    # two pages of memory
        .set SECOND, 0x201000
        .set SCENE, 0x40000000                  # the second GiB: one table, then large pages
        .set BIG, 0x40200000

checks:
        begin   "PAE paging"
        mov     $low_directory, %edi
        mov     $P | W | U | PS, %eax
1:      stosl
        movl    $0, (%edi)
        add     $4, %edi
        add     $0x200000, %eax
        cmp     $0x1000000, %eax
        jb      1b
        movl    $low_directory + P, pointers
        movl    $directory + P, pointers + 8
        movl    $table + P + W + U, directory
        mov     $PAE, %eax
        mov     %eax, %cr4
        mov     $pointers, %eax
        mov     %eax, %cr3
        mov     %cr0, %eax
        or      $PG | WP, %eax
        mov     %eax, %cr0
        jmp     2f
2:      call    translation
        call    pointer_registers
        call    rights
        call    reserved
        call    no_execute
        call    large_pages
        call    protection_of_supervisors
        call    the_way_out
        finish

# Maps page `n` of the scene; `high` is the upper half of its entry.
        .macro map n, entry, high=0
        movl    $\entry, table + 8 * \n
        movl    $\high, table + 8 * \n + 4
        invlpg  SCENE + 0x1000 * \n
        .endm

# The same for the page of 2 MiB at BIG.
        .macro map_large entry, high=0
        movl    $\entry, directory + 8
        movl    $\high, directory + 12
        invlpg  BIG
        .endm

        .macro flush
        mov     %cr3, %eax
        mov     %eax, %cr3
        .endm

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

translation:
        map     0, FRAME+P+W
        movl    $0x13572468, FRAME + 0x123
        expect32 SCENE+0x123, 0x13572468, "a page is read through its alias"
        map     0, FRAME+P+W, 1
        catch   1f
        mov     SCENE+0x123, %eax
1:      expect_event NOTHING, 0, "an entry has more than 32 bits of address"
        cmp     $0x13572468, %eax
        expect  ne, "which lead elsewhere"
        ret

# ---- the PDPTE registers

# Passes where CR3 is refused with `value` in its second entry, or with `high` in its upper half.
        .macro refuses_pointer name, value, high=0
        movl    $\value, pointers + 8
        movl    $\high, pointers + 12
        mov     $pointers, %eax
        raises  GP, 0, "\name", mov %eax, %cr3
        movl    $0, pointers + 12
        .endm

pointer_registers:
        map     0, FRAME+P+W
        movl    $0, pointers + 8
        invlpg  SCENE
        works   "an entry that CR3 loaded stays, whatever memory says", mov SCENE, %eax
        flush
        faults  0, SCENE, "until CR3 is loaded again", mov SCENE, %eax
        faults  2, SCENE, "for writing too", mov %eax, SCENE
        movl    $directory + P, pointers + 8
        faults  0, SCENE, "and then that stays", mov SCENE, %eax
        flush
        works   "until CR3 is loaded again", mov SCENE, %eax
        refuses_pointer "W is reserved in such an entry: #GP(0)", directory+P+W
        refuses_pointer "U is reserved in such an entry", directory+P+U
        refuses_pointer "bit 7 is reserved in such an entry", directory+P+PS
        refuses_pointer "bit 63 is reserved in such an entry", directory+P, NX
        movl    $directory + W + U, pointers + 8
        mov     $pointers, %eax
        works   "in an absent entry nothing is", mov %eax, %cr3
        movl    $directory + P, pointers + 8
        flush
        movl    $directory + P + W, pointers + 8
        mov     %cr4, %eax
        or      $0x80, %eax                     # PGE
        raises  GP, 0, "a change of CR4.PGE loads them too", mov %eax, %cr4
        movl    $directory + P, pointers + 8
        works   "the registers were left alone", mov SCENE, %eax
        ret

# ---- rights are those of directory and table, as in 32-bit paging

rights: map     0, 0
        faults  0, SCENE, "reading an absent page", mov SCENE, %eax
        faults  2, SCENE, "writing it", mov %eax, SCENE
        faults_in_ring_3 4, SCENE, "ring 3 reading it", mov SCENE, %eax
        map     0, FRAME+P
        faults  3, SCENE, "writing a read-only page", mov %eax, SCENE
        faults_in_ring_3 5, SCENE, "ring 3 reading a supervisor's page", mov SCENE, %eax
        map     0, FRAME+P+U
        faults_in_ring_3 7, SCENE, "ring 3 writing a read-only page", mov %eax, SCENE
        map     0, FRAME+P+W+U
        raises_in_ring_3 LEAVE, 0, "ring 3 writing its own", mov %eax, SCENE
        movl    $table + P + U, directory
        flush
        faults  3, SCENE, "a directory entry without W", mov %eax, SCENE
        movl    $table + P + W, directory
        flush
        faults_in_ring_3 5, SCENE, "a directory entry without U", mov SCENE, %eax
        movl    $table + P + W + U, directory
        flush
        andl    $~A, directory
        map     0, FRAME+P+W
        mov     SCENE, %eax
        mov     table, %ebx
        and     $A|D, %ebx
        expect32 %ebx, A, "a read sets the accessed flag"
        mov     %eax, SCENE
        mov     table, %ebx
        and     $A|D, %ebx
        expect32 %ebx, A|D, "a write sets the dirty flag"
        mov     directory, %ebx
        and     $A|D, %ebx
        expect32 %ebx, A, "the table is accessed"
        ret

# ---- reserved bits: error codes 9 to 0dh

reserved:
        map     0, FRAME+P+W, 1<<20
        faults  9, SCENE, "bit 52 of an entry is reserved", mov SCENE, %eax
        faults  0xb, SCENE, "for writing", mov %eax, SCENE
        faults_in_ring_3 0xd, SCENE, "for ring 3", mov SCENE, %eax
        map     0, FRAME+P+W, 1<<30
        faults  9, SCENE, "bit 62 is", mov SCENE, %eax
        map     0, FRAME+P+W, NX
        faults  9, SCENE, "bit 63 is, without EFER.NXE", mov SCENE, %eax
        mov     $0x80000008, %eax
        cpuid
        movzbl  %al, %ecx
        sub     $32, %ecx
        mov     $1, %eax
        shl     %cl, %eax
        map     0, FRAME+P+W
        mov     %eax, table + 4
        invlpg  SCENE
        faults  9, SCENE, "the first bit that is no address bit is", mov SCENE, %eax
        map     0, FRAME+W, 1<<20
        faults  0, SCENE, "in an absent entry nothing is", mov SCENE, %eax
        map     0, FRAME+P+W
        movl    $1 << 20, directory + 4
        flush
        faults  9, SCENE, "bit 52 of a directory entry is reserved", mov SCENE, %eax
        movl    $0, directory + 4
        flush
        ret

# ---- EFER.NXE: fetches have a bit of the error code

no_execute:
        movb    $0xc3, FRAME + 0x800            # RET
        mov     $SCENE+0x800, %ebx
        map     0, 0
        faults  0, SCENE+0x800, "without NXE a fetch is a read", call *%ebx
        mov     $EFER, %ecx
        rdmsr
        or      $NXE, %eax
        wrmsr
        faults  0x10, SCENE+0x800, "with NXE it is told apart", call *%ebx
        map     0, FRAME+P+W
        works   "code in a page that may hold it", call *%ebx
        map     0, FRAME+P+W, NX
        faults  0x11, SCENE+0x800, "code in a page that may not", call *%ebx
        expect32 caught_eip, SCENE+0x800, "the fault is the target's"
        works   "data in it", mov SCENE, %eax
        map     0, FRAME+P+W+U, NX
        faults_in_ring_3 0x15, SCENE+0x800, "ring 3 running it", jmp *%ebx
        map     0, FRAME+P+W+U
        movl    $NX, directory + 4
        flush
        faults  0x11, SCENE+0x800, "NX of a directory entry", call *%ebx
        movl    $0, directory + 4
        flush
        map     0, FRAME+P+W, 1<<20
        faults  0x19, SCENE+0x800, "a reserved bit, fetching", call *%ebx
        map     0, FRAME+P
        faults  3, SCENE, "other faults are as they were", mov %eax, SCENE
        ret

# ---- pages of 2 MiB

large_pages:
        movl    $0x88, FRAME + 4
        map_large FRAME+P+W+PS
        expect32 BIG+4, 0x88, "a page of 2 MiB"
        mov     directory + 8, %ebx
        and     $A|D, %ebx
        expect32 %ebx, A, "is accessed"
        movl    $0x89, BIG + 0x1ffffc
        mov     directory + 8, %ebx
        and     $A|D, %ebx
        expect32 %ebx, A|D, "and dirty"
        expect32 FRAME+0x1ffffc, 0x89, "to its end"
        map_large FRAME+P+PS
        faults  3, BIG+8, "a read-only one", mov %eax, BIG+8
        faults_in_ring_3 5, BIG+8, "a supervisor's one", mov BIG+8, %eax
        map_large FRAME+0x2000+P+W+PS
        faults  9, BIG+8, "bit 13 of such an entry is reserved", mov BIG+8, %eax
        map_large FRAME+0x100000+P+W+PS
        faults  9, BIG+8, "and bit 20", mov BIG+8, %eax
        mov     $BIG+0x800, %ebx
        map_large FRAME+P+W+PS, NX
        faults  0x11, BIG+0x800, "one without code", call *%ebx
        map_large FRAME+P+W+PS
        works   "one with", call *%ebx
        ret

# ---- SMEP and SMAP; low memory is a supervisor's meanwhile

        .macro for_low_pages operation, mask
        mov     $low_directory, %edi
        mov     $8, %ecx
.Llow\@:
        \operation $\mask, (%edi)
        add     $8, %edi
        loop    .Llow\@
        flush
        .endm

protection_of_supervisors:
        for_low_pages andl, ~U
        map     0, FRAME+P+W+U
        mov     $SCENE+0x800, %ebx
        works   "a supervisor runs a user's code", call *%ebx
        mov     %cr4, %eax
        or      $SMEP, %eax
        mov     %eax, %cr4
        faults  0x11, SCENE+0x800, "SMEP: not with it", call *%ebx
        map_large FRAME+P+W+U+PS
        mov     $BIG+0x800, %ebx
        faults  0x11, BIG+0x800, "SMEP: nor in a large page", call *%ebx
        mov     %cr4, %eax
        and     $~SMEP, %eax
        or      $SMAP, %eax
        mov     %eax, %cr4
        faults  1, SCENE, "SMAP: it does not read a user's page", mov SCENE, %eax
        faults  3, BIG, "SMAP: nor write a large one", mov %eax, BIG
        stac
        works   "SMAP: but with AC it does", mov %eax, BIG
        clac
        mov     %cr4, %eax
        and     $~SMAP, %eax
        mov     %eax, %cr4
        for_low_pages orl, U
        ret

# ---- paging off, and on again with entries that are wrong

the_way_out:
        mov     %cr0, %ebx
        mov     %ebx, %eax
        and     $~PG, %eax
        mov     %eax, %cr0
        expect32 FRAME+0x1ffffc, 0x89, "without paging addresses are physical"
        movl    $directory + P + W, pointers + 8
        raises  GP, 0, "paging is not entered with a wrong entry", mov %ebx, %cr0
        movl    $directory + P, pointers + 8
        works   "but with a right one", mov %ebx, %cr0
        ret

        .bss
        .align 4096
directory:
        .skip   4096
table:  .skip   4096
low_directory:
        .skip   4096
pointers:
        .skip   32
        .text
