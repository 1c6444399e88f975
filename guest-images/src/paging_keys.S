# Protection keys of user pages: what PKRU forbids to ring 3 and to the supervisor, in small pages and in large ones, and the
# instructions that read and write it. Where the processor has no such keys, a line says so.
#
# SDM vol. 3 §4.6.2 (protection keys), §4.7 (bit 5 of the error code); vol. 2 RDPKRU, WRPKRU, CPUID (OSPKE).

        .include "long.inc"

        .set PKE, 1 << 22
        .set FRAME, 0x200000                    # a page of memory
        .set SCENE, 0x8000000000                # the second entry of the root: one of each table
        .set LARGE, SCENE + 0x200000            # the second entry of the directory
        .set HUGE, SCENE + 0x40000000           # the second entry of the pointers
        .set KEY, 5
        .set IN_ENTRY, KEY << 59
        .set NO_ACCESS, 1 << (2 * KEY)
        .set NO_WRITE, 2 << (2 * KEY)
        .set OTHERS, 0xffffffff & ~(3 << (2 * KEY)) & ~3        # not those of key 0, which we run with

checks:
        begin   "protection keys"
        mov     $7, %eax
        xor     %ecx, %ecx
        cpuid
        bt      $3, %ecx
        jc      1f
        say     "not on this processor\n"
        finish
1:      mov     $pointers + P + W + U, %eax
        mov     %rax, root + 8
        movq    $directory + P + W + U, pointers
        movq    $table + P + W + U, directory
        movabs  $FRAME + P + W + U + IN_ENTRY, %rax
        mov     %rax, table
        movabs  $FRAME + P + W + U + PS + IN_ENTRY, %rax
        mov     %rax, directory + 8
        movabs  $P + W + U + PS + IN_ENTRY, %rax
        mov     %rax, pointers + 8
        movb    $0xc3, FRAME + 0x800            # RET
        call    instructions
        call    user_rights
        call    supervisor_rights
        call    others
        call    without
        finish

        .macro set_rights value
        mov     $\value, %eax
        xor     %ecx, %ecx
        xor     %edx, %edx
        wrpkru
        mov     $SCENE, %rbx
        mov     $LARGE, %rcx
        mov     $HUGE, %rdx
        .endm

        .macro faults error, address, name, instruction:vararg
        catch   1f
        \instruction
1:      expect_event PF, \error, "\name"
        expect64 caught_cr2, \address, "\name: CR2"
        .endm

        .macro works name, instruction:vararg
        raises  NOTHING, 0, "\name", \instruction
        .endm

instructions:
        xor     %ecx, %ecx
        raises  UD, 0, "RDPKRU without CR4.PKE is #UD", rdpkru
        raises  UD, 0, "WRPKRU without it is #UD", wrpkru
        mov     %cr4, %rax
        or      $PKE, %eax
        mov     %rax, %cr4
        mov     $7, %eax
        xor     %ecx, %ecx
        cpuid
        bt      $4, %ecx
        expect  c, "CPUID shows that CR4.PKE is set"
        set_rights 0xfffffffc & ~(3 << (2 * KEY))
        mov     $-1, %rdx
        xor     %ecx, %ecx
        rdpkru
        expect64 %rax, 0xfffffffc&~(3<<(2*KEY)), "RDPKRU reads what WRPKRU wrote"
        expect64 %rdx, 0, "and clears RDX"
        mov     $1, %ecx
        raises  GP, 0, "RDPKRU of another register is #GP(0)", rdpkru
        raises  GP, 0, "WRPKRU of another register is", wrpkru
        xor     %ecx, %ecx
        mov     $1, %edx
        raises  GP, 0, "WRPKRU with an upper half is", wrpkru
        ret

user_rights:
        set_rights OTHERS
        raises_in_ring_3 LEAVE, 0, "a key that forbids nothing", mov %eax, (%rbx)
        set_rights OTHERS|NO_ACCESS
        catch   1f
        enter_ring_3 2f
2:      mov     8(%rbx), %eax
1:      expect_event PF, 0x25, "ring 3 reading where it may not"
        expect64 caught_cr2, SCENE+8, "at the address"
        raises_in_ring_3 PF, 0x27, "ring 3 writing", mov %eax, 8(%rbx)
        raises_in_ring_3 PF, 0x25, "in a page of 2 MiB", mov (%rcx), %eax
        raises_in_ring_3 PF, 0x25, "in a page of 1 GiB", mov FRAME(%rdx), %eax
        lea     0x800(%rbx), %rsi
        works   "code is run all the same", call *%rsi
        catch   1f
        enter_ring_3 2f
2:      push    $3f
        jmp     *%rsi
3:      int     $LEAVE
1:      expect_event LEAVE, 0, "in ring 3 too"
        set_rights OTHERS|NO_WRITE
        raises_in_ring_3 LEAVE, 0, "ring 3 reading where it may not write", mov (%rbx), %eax
        raises_in_ring_3 PF, 0x27, "ring 3 writing there", mov %eax, (%rbx)
        raises_in_ring_3 PF, 0x27, "reading to modify", incl (%rbx)
        catch   1f
        enter_ring_3 2f
2:      xor     %ecx, %ecx
        xor     %edx, %edx
        mov     $OTHERS, %eax
        wrpkru
        mov     %eax, (%rbx)
        int     $LEAVE
1:      expect_event LEAVE, 0, "ring 3 may give itself the right"
        ret

supervisor_rights:
        set_rights OTHERS|NO_ACCESS
        faults  0x21, SCENE, "the supervisor reading a user's page", mov (%rbx), %eax
        faults  0x23, LARGE, "writing one of 2 MiB", mov %eax, (%rcx)
        set_rights OTHERS|NO_WRITE
        works   "reading where it may not write", mov (%rbx), %eax
        faults  0x23, SCENE, "writing there", mov %eax, (%rbx)
        mov     %cr0, %rsi
        mov     %rsi, %rax
        and     $~WP, %rax
        mov     %rax, %cr0
        works   "without CR0.WP it may", mov %eax, (%rbx)
        set_rights OTHERS|NO_ACCESS
        faults  0x21, SCENE, "but not access where it may not", mov (%rbx), %eax
        mov     %rsi, %cr0
        andl    $~U, table
        mov     %cr3, %rax
        mov     %rax, %cr3
        works   "a supervisor's page has no key", mov %eax, (%rbx)
        orl     $U, table
        mov     %cr3, %rax
        mov     %rax, %cr3
        ret

others: set_rights OTHERS
        works   "other keys do not matter", mov %eax, (%rbx)
        andl    $~W, table
        mov     %cr3, %rax
        mov     %rax, %cr3
        set_rights OTHERS|NO_WRITE
        faults  0x23, SCENE, "what the tables forbid too is told of by both bits", mov %eax, (%rbx)
        set_rights OTHERS
        faults  3, SCENE, "what they alone forbid by one", mov %eax, (%rbx)
        orl     $W, table
        mov     %cr3, %rax
        mov     %rax, %cr3
        ret

without:
        set_rights OTHERS|NO_ACCESS
        mov     %cr4, %rax
        and     $~PKE, %eax
        mov     %rax, %cr4
        works   "without CR4.PKE keys mean nothing", mov (%rbx), %eax
        ret

        .bss
        .align 4096
pointers:
        .skip   4096
directory:
        .skip   4096
table:  .skip   4096
        .text
