# What forgets translations: INVLPG, writes of CR3 and CR4, process-context identifiers and INVPCID.
#
# SDM vol. 3 §4.10 (caching: §4.10.1 PCIDs, §4.10.4 invalidation); vol. 2 INVPCID, MOV to control registers.

        .include "long.inc"

        .set PCIDE, 1 << 17
        .set PGE, 1 << 7
        .set FRAME, 0x200000                    # two pages of memory
        .set SECOND, 0x201000
        .set SCENE, 0x8000000000                # the second entry of the root: one of each table
        .set LARGE, SCENE + 0x200000            # the second entry of the directory

checks:
        begin   "forgetting translations"
        mov     $pointers + P + W + U, %eax
        mov     %rax, root + 8
        movq    $directory + P + W + U, pointers
        movq    $table + P + W + U, directory
        call    invalidation
        call    contexts
        call    invpcid_checks
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

# Passes where the instruction is a page fault with `error` at `address`. RCX is LARGE.
        .macro faults error, address, name, instruction:vararg
        mov     $LARGE, %rcx
        catch   1f
        \instruction
1:      expect_event PF, \error, "\name"
        expect64 caught_cr2, \address, "\name: CR2"
        .endm

# ---- INVLPG, CR3, CR4.PGE

        .macro expect_scene value, name
        mov     $SCENE, %rbx
        expect32 (%rbx), \value, "\name"
        .endm

# Writes the first entry of the table, and forgets nothing.
        .macro remap value
        movq    $\value, table
        .endm

invalidation:
        movl    $1, FRAME
        movl    $2, SECOND
        map     0, FRAME+P+W
        expect_scene 1, "before"
        remap   SECOND+P+W
        invlpg  0x777(%rbx)
        expect_scene 2, "INVLPG forgets the page of any address in it"
        remap   FRAME+P+W
        flush
        expect_scene 1, "a write of CR3 does"
        mov     %cr4, %rax
        or      $PGE, %rax
        mov     %rax, %cr4
        map     0, FRAME+P+W+G
        expect_scene 1, "a global page"
        remap   SECOND+P+W+G
        invlpg  (%rbx)
        expect_scene 2, "is forgotten by INVLPG"
        remap   FRAME+P+W+G
        mov     %cr4, %rax
        and     $~PGE, %rax
        mov     %rax, %cr4
        expect_scene 1, "and when CR4.PGE changes"
        movl    $FRAME + PS + P + W, directory + 8
        mov     $LARGE, %rcx
        expect32 (%rcx), 1, "a large page"
        movl    $0, directory + 8
        invlpg  0x1ff000(%rcx)
        faults  0, LARGE, "is forgotten by INVLPG anywhere in it", mov (%rcx), %eax
        ret

# ---- process contexts: SDM vol. 3 §4.10.1, §4.10.4

        .macro invalidate kind, context, address=0
        movq    $\context, descriptor_of
        mov     $\address, %rax
        mov     %rax, descriptor_of + 8
        mov     $\kind, %eax
        invpcid descriptor_of, %rax
        .endm

        .macro go_to context, root, keep=1
        mov     $(\root) + \context, %eax
        .if \keep
        bts     $63, %rax
        .endif
        mov     %rax, %cr3
        .endm

contexts:
        mov     %cr3, %rax
        bts     $63, %rax
        raises  GP, 0, "without CR4.PCIDE CR3 has no bit 63", mov %rax, %cr3
        mov     $root + 1, %eax
        mov     %rax, %cr3
        mov     %cr4, %rax
        or      $PCIDE, %rax
        raises  GP, 0, "PCIDE is not entered with a context in CR3", mov %rax, %cr4
        mov     $root, %ecx
        mov     %rcx, %cr3
        raises  NOTHING, 0, "it is entered with context 0", mov %rax, %cr4
        # A second root, in which the scene shows the second frame.
        mov     root, %rax
        mov     %rax, other_root
        movq    $other_pointers + P + W + U, other_root + 8
        movq    $other_directory + P + W + U, other_pointers
        movq    $other_table + P + W + U, other_directory
        movq    $SECOND + P + W, other_table
        map     0, FRAME+P+W
        expect_scene 1, "context 0"
        go_to   5, other_root, 0
        expect_scene 2, "context 5, with a root of its own"
        go_to   0, root
        expect_scene 1, "back in context 0, nothing forgotten"
        go_to   5, other_root
        expect_scene 2, "and in context 5"
        expect64 %cr3, other_root+5, "CR3 shows the context, not bit 63"
        # From context 5 the entry of context 0 changes.
        remap   SECOND+P+W
        invalidate 0, 0, SCENE
        go_to   0, root
        expect_scene 2, "INVPCID forgets an address in another context"
        remap   FRAME+P+W
        go_to   5, other_root
        invalidate 1, 0
        go_to   0, root
        expect_scene 1, "and a whole context"
        remap   SECOND+P+W+G
        go_to   5, other_root
        invalidate 3, 0
        go_to   0, root
        expect_scene 2, "and all contexts"
        mov     %cr4, %rax
        or      $PGE, %rax
        mov     %rax, %cr4
        expect_scene 2, "a global page"
        remap   FRAME+P+W+G
        invalidate 2, 0
        expect_scene 1, "is forgotten with all of them"
        remap   SECOND+P+W
        go_to   0, root, 0
        invlpg  (%rbx)
        expect_scene 2, "without bit 63 a write of CR3 forgets"
        mov     %cr4, %rax
        and     $~PGE, %rax
        mov     %rax, %cr4
        ret

invpcid_checks:
        movq    $0, descriptor_of
        movq    $0, descriptor_of + 8
        mov     $4, %eax
        raises  GP, 0, "a fifth kind of INVPCID is #GP(0)", invpcid descriptor_of, %rax
        movq    $0x1000, descriptor_of
        mov     $1, %eax
        raises  GP, 0, "a context of more than twelve bits is", invpcid descriptor_of, %rax
        movq    $1, descriptor_of
        mov     $0x800000000000, %rcx
        mov     %rcx, descriptor_of + 8
        xor     %eax, %eax
        raises  GP, 0, "an address that is not canonical is", invpcid descriptor_of, %rax
        raises_in_ring_3 GP, 0, "INVPCID in ring 3 is", invpcid descriptor_of, %rax
        mov     %cr4, %rax
        and     $~PCIDE, %rax
        mov     %rax, %cr4
        movq    $1, descriptor_of
        movq    $0, descriptor_of + 8
        mov     $1, %eax
        raises  GP, 0, "without PCIDE there is only context 0", invpcid descriptor_of, %rax
        movq    $0, descriptor_of
        raises  NOTHING, 0, "which can be forgotten", invpcid descriptor_of, %rax
        ret

        .bss
        .align 4096
pointers:
        .skip   4096
directory:
        .skip   4096
table:  .skip   4096
other_root:
        .skip   4096
other_pointers:
        .skip   4096
other_directory:
        .skip   4096
other_table:
        .skip   4096
descriptor_of:
        .skip   16
