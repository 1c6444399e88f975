# Paging of five levels: entered by way of compatibility mode without paging, and left the same way; addresses of 57 bits,
# what is canonical then, and the rights of the fifth table. Where the processor has no such paging, a line says so.
#
# SDM vol. 3 §4.1.1 and figure 4-1 (changing modes), §4.5 (structures, table 4-14), §9.8.5.4 (leaving IA-32e mode).

        .include "long.inc"

        .set NX, 1 << 63
        .set LA57, 1 << 12
        .set FRAME, 0x200000                    # a page of memory
        .set SCENE, 0x800000000000              # bit 47: canonical only with five levels
        .set FAR, 0x2000000000000               # bit 49: the third entry of the fifth table
        .set BROKEN, 0x100000000000000          # bit 56
        .set UPPER, -0x100000000000000          # the first address of the upper half

checks:
        begin   "5-level paging"
        mov     $7, %eax
        xor     %ecx, %ecx
        cpuid
        bt      $16, %ecx
        jc      1f
        say     "not on this processor\n"
        finish
1:      call    without
        call    build
        call    enter
        call    translation
        call    canonical
        call    fifth_table
        call    leave
        finish

# Passes where the instruction is a page fault with `error` at `address`. RBX is the address.
        .macro faults error, address, name, instruction:vararg
        movabs  $\address, %rbx
        catch   1f
        \instruction
1:      expect_event PF, \error, "\name"
        expect64 caught_cr2, \address, "\name: CR2"
        .endm

        .macro flush
        mov     %cr3, %rax
        mov     %rax, %cr3
        .endm

without:
        mov     $SCENE, %rbx
        raises  GP, 0, "with four levels bit 47 is not canonical", mov (%rbx), %eax
        mov     $SCENE >> 32, %edx
        xor     %eax, %eax
        mov     $0xc0000100, %ecx
        raises  GP, 0, "nor in a base", wrmsr
        mov     %cr4, %rax
        or      $LA57, %eax
        raises  GP, 0, "five levels are not entered in 64-bit mode", mov %rax, %cr4
        ret

# The fifth table leads to the present root, and with bit 49 to another; the scene shows one page.
build:  mov     $root + P + W + U, %eax
        mov     %rax, fifth
        mov     %rax, fifth + 8 * 511
        mov     $other_root + P + W + U, %eax
        mov     %rax, fifth + 8 * 2
        mov     $pointers + P + W + U, %eax
        mov     %rax, root + 8 * 256
        mov     %rax, other_root
        movq    $directory + P + W + U, pointers
        movq    $table + P + W + U, directory
        movq    $FRAME + P + W + U, table
        movl    $0x13572468, FRAME + 0x123
        movb    $0xc3, FRAME + 0x800            # RET
        ret

# Sets CR4.LA57 as ESI says and CR3 to EDI, for which paging and 64-bit mode are left meanwhile.
switch: pushq   $CODE_32
        push    $1f
        lretq
        .code32
1:      mov     $DATA, %eax
        mov     %eax, %ds
        mov     %cr0, %eax
        and     $~PG, %eax
        mov     %eax, %cr0
        mov     $EFER, %ecx
        rdmsr
        mov     %eax, efer_between
        mov     %cr4, %eax
        and     $~LA57, %eax
        or      %esi, %eax
        mov     %eax, %cr4
        mov     %edi, %cr3
        mov     %cr0, %eax
        or      $PG, %eax
        mov     %eax, %cr0
        ljmp    $CODE, $1f
        .code64
1:      ret

enter:  mov     $LA57, %esi
        mov     $fifth, %edi
        call    switch
        mov     efer_between, %eax
        and     $0x500, %eax
        expect32 %eax, 0x100, "without paging EFER.LMA is clear, and LME stays"
        mov     $EFER, %ecx
        rdmsr
        and     $0x500, %eax
        expect32 %eax, 0x500, "with it LMA is set"
        mov     %cr4, %rax
        and     $LA57, %eax
        expect32 %eax, LA57, "five levels are entered"
        mov     %cr4, %rax
        and     $~LA57, %eax
        raises  GP, 0, "and not left in 64-bit mode", mov %rax, %cr4
        mov     $0x80000008, %eax
        cpuid
        expect8 %ah, 57, "CPUID gives 57 bits of linear address"
        ret

translation:
        mov     $SCENE, %rbx
        expect32 0x123(%rbx), 0x13572468, "bit 47 is an address bit"
        mov     $FAR, %rbx
        expect32 0x123(%rbx), 0x13572468, "bit 49 selects in the fifth table"
        movl    $0x24681357, 0x123(%rbx)
        expect32 FRAME+0x123, 0x24681357, "a write goes through it"
        mov     $-0x1000000000000 + SCENE, %rbx
        expect32 0x123(%rbx), 0x24681357, "its last entry is the top of the upper half"
        mov     $FAR + 0x800, %rbx
        raises  NOTHING, 0, "code runs there", call *%rbx
        ret

canonical:
        faults  0, BROKEN-8, "the last address of the lower half", mov (%rbx), %eax
        faults  0, UPPER, "the first of the upper half", mov (%rbx), %eax
        mov     $BROKEN, %rbx
        raises  GP, 0, "bit 56 alone is not canonical", mov (%rbx), %eax
        mov     $BROKEN - 2, %rbx
        raises  GP, 0, "nor is an access across", mov (%rbx), %eax
        mov     $BROKEN, %rbx
        raises  GP, 0, "nor a jump there", jmp *%rbx
        mov     $SCENE >> 32, %edx
        xor     %eax, %eax
        mov     $0xc0000100, %ecx
        raises  NOTHING, 0, "a base may have bit 47", wrmsr
        expect32 %fs:0x123, 0x24681357, "and is used"
        mov     $BROKEN >> 32, %edx
        raises  GP, 0, "but not bit 56", wrmsr
        faults  0x10, FAR+0x1000, "a fetch beyond 48 bits", jmp *%rbx
        expect64 caught_rip, FAR+0x1000, "the fault is the target's"
        ret

# ---- entries of the fifth table

        .macro entry value
        movabs  $\value, %rax
        mov     %rax, fifth + 8 * 2
        flush
        .endm

fifth_table:
        entry   other_root+W+U
        faults  0, FAR, "an absent entry", mov (%rbx), %eax
        entry   other_root+P+U
        faults  3, FAR, "an entry without W", mov %eax, (%rbx)
        entry   other_root+P+W
        catch   1f
        mov     $FAR, %rbx
        enter_ring_3 2f
2:      mov     (%rbx), %eax
1:      expect_event PF, 5, "an entry without U"
        entry   other_root+P+W+U+NX
        faults  0x11, FAR+0x800, "an entry with NX", jmp *%rbx
        entry   other_root+P+W+U+PS
        faults  9, FAR, "the size bit is reserved", mov (%rbx), %eax
        entry   other_root+P+W+U+(1<<51)
        faults  9, FAR, "an address that is too long is reserved", mov (%rbx), %eax
        entry   other_root+P+W+U
        mov     $FAR, %rbx
        mov     %eax, (%rbx)
        mov     fifth+8*2, %eax
        and     $A | D, %eax
        expect32 %eax, A, "a write makes the entry accessed"
        ret

leave:  xor     %esi, %esi
        mov     $root, %edi
        call    switch
        mov     $SCENE, %rbx
        raises  GP, 0, "back with four levels bit 47 is not canonical", mov (%rbx), %eax
        mov     $-0x1000000000000 + SCENE, %rbx
        expect32 0x123(%rbx), 0x24681357, "and the upper half begins there"
        ret

        .data
        .align 8
efer_between:
        .long   0
        .bss
        .align 4096
fifth:  .skip   4096
other_root:
        .skip   4096
pointers:
        .skip   4096
directory:
        .skip   4096
table:  .skip   4096
        .text
