# Paging of four levels: pages of 4 KiB, 2 MiB and 1 GiB, rights and NX at each level, reserved bits, accessed and dirty
# flags, and supervisor protection. What forgets translations is another guest's.
#
# SDM vol. 3 §4.5 (structures, tables 4-14 to 4-20), §4.6 (rights), §4.7 (error codes), §4.8 (accessed, dirty).

        .include "long.inc"

        .set NX, 1 << 63
        .set SMEP, 1 << 20
        .set SMAP, 1 << 21

        .set FRAME, 0x200000                    # two pages of memory
        .set SECOND, 0x201000
        .set SCENE, 0x8000000000                # the second entry of the root: one of each table
        .set LARGE, SCENE + 0x200000            # the second entry of the directory
        .set HUGE, SCENE + 0x40000000           # the second entry of the pointers
        .set UPPER, -0x800000000000             # the first address of the upper half

checks:
        begin   "4-level paging"
        mov     $pointers + P + W + U, %eax
        mov     %rax, root + 8
        mov     %rax, root + 8 * 256
        movq    $directory + P + W + U, pointers
        movq    $table + P + W + U, directory
        movb    $0xc3, FRAME + 0x800            # RET
        call    translation
        call    rights
        call    levels
        call    no_execute
        call    reserved
        call    flags
        call    large_pages
        call    protection_of_supervisors
        finish

        .macro flush
        mov     %cr3, %rax
        mov     %rax, %cr3
        .endm

# Writes an entry, and forgets what was there.
        .macro entry place, value
        movabs  $\value, %rax
        mov     %rax, \place
        flush
        .endm

        .macro map n, value
        entry   table+8*\n, \value
        .endm

# Passes where the instruction is a page fault with `error` at `address`. RBX is SCENE, RCX LARGE, RDX HUGE.
        .macro faults error, address, name, instruction:vararg
        mov     $SCENE, %rbx
        mov     $LARGE, %rcx
        mov     $HUGE, %rdx
        catch   1f
        \instruction
1:      expect_event PF, \error, "\name"
        expect64 caught_cr2, \address, "\name: CR2"
        .endm

        .macro faults_in_ring_3 error, address, name, instruction:vararg
        mov     $SCENE, %rbx
        mov     $LARGE, %rcx
        mov     $HUGE, %rdx
        catch   1f
        enter_ring_3 2f
2:      \instruction
        int     $LEAVE
1:      expect_event PF, \error, "\name"
        expect64 caught_cr2, \address, "\name: CR2"
        .endm

        .macro works name, instruction:vararg
        mov     $SCENE, %rbx
        mov     $LARGE, %rcx
        mov     $HUGE, %rdx
        raises  NOTHING, 0, "\name", \instruction
        .endm

translation:
        map     0, FRAME+P+W
        map     1, SECOND+P+W
        movl    $0x13572468, FRAME + 0x123
        movl    $0x24681357, SECOND + 0x123
        mov     $SCENE, %rbx
        expect32 0x123(%rbx), 0x13572468, "a page beyond 512 GiB"
        expect32 0x1123(%rbx), 0x24681357, "and the next"
        mov     $UPPER, %rbx
        expect32 0x123(%rbx), 0x13572468, "a page of the upper half"
        movw    $0x5555, 0x1ffe(%rbx)
        expect16 SECOND+0xffe, 0x5555, "is written"
        map     0, FRAME+P+W+0xe00+(0x7ff<<52)
        mov     $SCENE, %rbx
        expect32 0x123(%rbx), 0x13572468, "bits 9 to 11 and 52 to 62 are software's"
        ret

rights: map     0, 0
        faults  0, SCENE+0x10, "reading an absent page", mov 0x10(%rbx), %eax
        faults  2, SCENE+0x10, "writing it", mov %eax, 0x10(%rbx)
        faults_in_ring_3 4, SCENE, "ring 3 reading it", mov (%rbx), %eax
        faults_in_ring_3 6, SCENE, "ring 3 writing it", mov %eax, (%rbx)
        map     0, FRAME+P
        works   "reading a read-only page", mov (%rbx), %eax
        faults  3, SCENE, "writing it", mov %eax, (%rbx)
        faults_in_ring_3 5, SCENE, "ring 3 reading a supervisor's page", mov (%rbx), %eax
        map     0, FRAME+P+U
        faults_in_ring_3 7, SCENE, "ring 3 writing a read-only page", mov %eax, (%rbx)
        mov     %cr0, %rsi
        mov     %rsi, %rax
        and     $~WP, %rax
        mov     %rax, %cr0
        works   "without WP the supervisor writes it", mov %eax, (%rbx)
        mov     %rsi, %cr0
        map     0, FRAME+P+W+U
        map     1, 0
        movl    $0, FRAME + 0xffc
        faults  2, SCENE+0x1000, "a write across the end of a page", movq $-1, 0xffc(%rbx)
        expect32 FRAME+0xffc, 0, "leaves the first alone"
        mov     $UPPER, %rsi
        map     0, 0
        faults  0, UPPER+8, "CR2 has 64 bits", mov 8(%rsi), %eax
        ret

# ---- each level can take a right away, and can be absent

        .macro level name, place, value
        entry   \place, \value+W+U
        faults  0, SCENE, "absent \name", mov (%rbx), %eax
        entry   \place, \value+P+U
        faults  3, SCENE, "\name without W", mov %eax, (%rbx)
        entry   \place, \value+P+W
        faults_in_ring_3 5, SCENE, "\name without U", mov (%rbx), %eax
        entry   \place, \value+P+W+U+NX
        faults  0x11, SCENE+0x800, "\name with NX", call at_800
        entry   \place, \value+P+W+U
        works   "\name with all rights", call at_800
        .endm

levels: map     0, FRAME+P+W+U
        level   "an entry of the root", root+8, pointers
        level   "a pointer entry", pointers, directory
        level   "a directory entry", directory, table
        level   "a table entry", table, FRAME
        ret

at_large_800:
        mov     %rcx, %rbx
at_800: add     $0x800, %rbx
        jmp     *%rbx

# ---- fetches

no_execute:
        map     0, 0
        faults  0x10, SCENE+0x800, "fetching from an absent page", call at_800
        expect64 caught_rip, SCENE+0x800, "the fault is the target's"
        map     0, FRAME+P+W+U+NX
        faults_in_ring_3 0x15, SCENE+0x800, "ring 3 fetching where it may not", jmp at_800
        map     0, FRAME+P+W
        faults_in_ring_3 0x15, SCENE+0x800, "ring 3 fetching from a supervisor's page", jmp at_800
        mov     $EFER, %ecx
        rdmsr
        and     $~0x800, %eax
        wrmsr
        map     0, FRAME+P+W+NX
        faults  9, SCENE, "without EFER.NXE NX is reserved", mov (%rbx), %eax
        map     0, 0
        faults  0, SCENE+0x800, "and fetches are reads", call at_800
        mov     $EFER, %ecx
        rdmsr
        or      $0x800, %eax
        wrmsr
        ret

# ---- reserved bits

reserved:
        map     0, FRAME+P+W+U
        mov     $0x80000008, %eax
        cpuid
        movzbl  %al, %esi
        entry   root+8, pointers+P+W+U+PS
        faults  9, SCENE, "the size bit in the root is reserved", mov (%rbx), %eax
        entry   root+8, pointers+P+W+U
        .macro beyond name, place
        bts     %rsi, \place
        flush
        faults  9, SCENE, "an address that is too long in \name", mov (%rbx), %eax
        btr     %rsi, \place
        flush
        .endm
        beyond  "the root", root+8
        beyond  "the pointers", pointers
        beyond  "the directory", directory
        beyond  "the table", table
        map     0, FRAME+P+W+U+(1<<51)
        faults  0xb, SCENE, "bit 51, writing", mov %eax, (%rbx)
        faults_in_ring_3 0xd, SCENE, "bit 51, in ring 3", mov (%rbx), %eax
        faults  0x19, SCENE+0x800, "bit 51, fetching", call at_800
        map     0, FRAME+W+U+(1<<51)
        faults  0, SCENE, "in an absent entry nothing is reserved", mov (%rbx), %eax
        ret

# ---- accessed and dirty

        .macro expect_flags place, value, name
        mov     \place, %edi
        and     $A | D, %edi
        expect32 %edi, \value, "\name"
        .endm

flags:  mov     $SCENE, %rbx
        entry   root+8, pointers+P+W+U
        entry   pointers, directory+P+W+U
        entry   directory, table+P+W+U
        map     0, FRAME+P+W+U
        mov     (%rbx), %eax
        expect_flags table, A, "a read makes a page accessed"
        mov     %eax, (%rbx)
        expect_flags table, A|D, "a write makes it dirty"
        expect_flags directory, A, "the table is accessed"
        expect_flags pointers, A, "the directory is"
        expect_flags root+8, A, "the pointers are"
        map     0, FRAME+P
        faults  3, SCENE, "a write that is refused", mov %eax, (%rbx)
        mov     table, %edi
        and     $D, %edi
        expect32 %edi, 0, "does not make the page dirty"
        map     0, FRAME+P+W+U
        ret

# ---- 2 MiB and 1 GiB

large_pages:
        movl    $0x88, FRAME + 0x123
        entry   directory+8, FRAME+P+W+PS
        mov     $LARGE, %rcx
        expect32 0x123(%rcx), 0x88, "a page of 2 MiB"
        movl    $0x99, 0x1ffffc(%rcx)
        expect32 FRAME+0x1ffffc, 0x99, "to its end"
        expect_flags directory+8, A|D, "is accessed and dirty in its entry"
        entry   directory+8, FRAME+P+PS
        faults  3, LARGE+8, "a read-only one", mov %eax, 8(%rcx)
        faults_in_ring_3 5, LARGE+8, "a supervisor's one", mov 8(%rcx), %eax
        entry   directory+8, FRAME+0x2000+P+W+PS
        faults  9, LARGE, "bit 13 of it is reserved", mov (%rcx), %eax
        entry   directory+8, FRAME+0x100000+P+W+PS
        faults  9, LARGE, "bit 20 too", mov (%rcx), %eax
        entry   directory+8, FRAME+P+W+PS+NX
        faults  0x11, LARGE+0x800, "one without code", call at_large_800
        entry   directory+8, 0
        mov     $0x80000001, %eax
        cpuid
        bt      $26, %edx
        expect  c, "there are pages of 1 GiB"
        entry   pointers+8, P+W+PS
        mov     $HUGE, %rdx
        expect32 FRAME+0x123(%rdx), 0x88, "a page of 1 GiB"
        movl    $0x77, FRAME+0x123(%rdx)
        expect32 FRAME+0x123, 0x77, "is written"
        expect_flags pointers+8, A|D, "is accessed and dirty in its entry"
        entry   pointers+8, P+PS
        faults  3, HUGE+8, "a read-only one", mov %eax, 8(%rdx)
        faults_in_ring_3 5, HUGE+8, "a supervisor's one", mov 8(%rdx), %eax
        entry   pointers+8, 0x2000+P+W+PS
        faults  9, HUGE, "bit 13 of it is reserved", mov (%rdx), %eax
        entry   pointers+8, 0x20000000+P+W+PS
        faults  9, HUGE, "bit 29 too", mov (%rdx), %eax
        entry   pointers+8, 0
        ret

# ---- SMEP and SMAP: what we run is a supervisor's meanwhile

protection_of_supervisors:
        andl    $~U, root
        map     0, FRAME+P+W+U
        works   "a supervisor runs a user's code", call at_800
        mov     %cr4, %rax
        or      $SMEP, %rax
        mov     %rax, %cr4
        faults  0x11, SCENE+0x800, "SMEP: not with it", call at_800
        works   "SMEP: it reads a user's data", mov (%rbx), %eax
        mov     %cr4, %rax
        and     $~SMEP, %rax
        or      $SMAP, %rax
        mov     %rax, %cr4
        faults  1, SCENE, "SMAP: it does not read a user's data", mov (%rbx), %eax
        faults  3, SCENE, "SMAP: nor write it", mov %eax, (%rbx)
        works   "SMAP: it runs a user's code", call at_800
        stac
        works   "SMAP: with AC it reads it", mov (%rbx), %eax
        clac
        mov     %cr4, %rax
        and     $~SMAP, %rax
        mov     %rax, %cr4
        orl     $U, root
        flush
        ret

        .bss
        .align 4096
pointers:
        .skip   4096
directory:
        .skip   4096
table:  .skip   4096
