/* SPDX-License-Identifier: Apache-2.0 */
/* What the emulated CPU finds at its reset vector instead of a BIOS: into protected mode, the guest from the 192 KiB below to
 * its place in memory, and there. 64 KiB that end at 4 GiB. */
    .set here, 0xffff0000
    .code16
    .text
    .globl rom
rom:
    cli
    inb $0x92, %al /* address line 20 on */
    orb $2, %al
    outb %al, $0x92
    lgdtl %cs:descriptors_at
    movl %cr0, %eax
    orl $1, %eax
    movl %eax, %cr0
    ljmpl $8, $here + protected - rom

    .code32
protected:
    movw $16, %ax
    movw %ax, %ds
    movw %ax, %es
    movl $here - 0x30000, %esi
    movl $0x100000, %edi
    movl $0x30000 / 4, %ecx
    cld
    rep movsl
    movl $0x100000, %eax
    jmp *%eax

    .balign 8
descriptors:
    .quad 0
    .quad 0x00cf9b000000ffff /* code, 32 bits */
    .quad 0x00cf93000000ffff /* data */
descriptors_at:
    .word 23
    .long here + descriptors - rom

    .org 0xfff0
    .byte 0xe9 /* jmp rom */
    .word rom - . - 2
    .org 0x10000
