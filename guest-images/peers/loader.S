# A boot sector that stands in for Dragoman's own loaders on other machines: it reads the guest from the sectors that follow, and
# starts it as `--flat 0x7c00` or as a multiboot loader would.
#
# Rule: it runs at 600h, for a flat guest comes to lie where firmware put it. `run.sh` fills in the fields at the end.

        .set HERE, 0x600
        .set BUFFER, 0x10000
        .set SECTORS_A_TRACK, 18

        .text
        .code16
        .globl start
start:  cli
        xor     %ax, %ax
        mov     %ax, %ds
        mov     %ax, %es
        mov     %ax, %ss
        mov     $HERE, %sp
        mov     $0x7c00, %si
        mov     $HERE, %di
        mov     $256, %cx
        rep movsw
        ljmp    $0, $moved
moved:  sti
        mov     %dl, drive
        mov     $BUFFER >> 4, %ax
        mov     %ax, %es

# One sector after the other, two heads to a cylinder.
next:   cmpw    $0, sectors
        je      loaded
        decw    sectors
        incw    sector
        mov     sector, %ax
        mov     $SECTORS_A_TRACK, %bx
        xor     %dx, %dx
        div     %bx
        mov     %dl, %cl
        inc     %cl
        mov     %al, %dh
        and     $1, %dh
        shr     $1, %ax
        mov     %al, %ch
        mov     drive, %dl
        xor     %bx, %bx
        mov     $0x0201, %ax
        int     $0x13
        jc      failed
        mov     %es, %ax
        add     $512 >> 4, %ax
        mov     %ax, %es
        jmp     next
failed: hlt
        jmp     failed

loaded: cli
        cmpl    $0, entry
        jne     program
        mov     $BUFFER >> 4, %ax
        mov     %ax, %ds
        xor     %ax, %ax
        mov     %ax, %es
        xor     %si, %si
        mov     $0x7c00, %di
        mov     $0x8000 / 2, %cx
        rep movsw
        mov     %ax, %ds
        mov     $0x7c00, %sp
        mov     $0x80, %dx
        ljmp    $0, $0x7c00

program:
        lgdtl   table
        mov     %cr0, %eax
        or      $1, %eax
        mov     %eax, %cr0
        ljmpl   $0x10, $protected
        .code32
protected:
        mov     $0x18, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        mov     %eax, %fs
        mov     %eax, %gs
        mov     $BUFFER, %esi
        mov     $0x100000, %edi
        mov     length, %ecx
        rep movsb
        mov     $0x2badb002, %eax
        jmp     *entry

        .align 8
descriptors:
        .quad   0, 0
        .quad   0x00cf9b000000ffff
        .quad   0x00cf93000000ffff
table:  .word   table - descriptors - 1
        .long   descriptors
drive:  .byte   0

        .org    496
sectors:
        .word   0
sector: .word   0
entry:  .long   0                               # 0 for a flat guest
length: .long   0
        .org    510
        .word   0xaa55
