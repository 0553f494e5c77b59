/* SPDX-License-Identifier: Apache-2.0 */
/* From protected mode to 64 bits with all vector state switched on, and the ways in and out of guest.c. Everything runs in
 * ring 0 on addresses that are those of memory. */
    .section .entry, "ax"
    .code32
    .globl entry
entry:
    movw $16, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl $stack_end, %esp

    movl $directories + 0x003, pointers /* 2 GiB in pages of 2 MiB */
    movl $directories + 0x1003, pointers + 8
    movl $pointers + 3, table
    movl $directories, %edi
    movl $0x83, %eax
1:  movl %eax, (%edi)
    addl $8, %edi
    addl $0x200000, %eax
    jnc 2f
    hlt
2:  cmpl $directories + 0x2000, %edi
    jne 1b

    movl $table, %eax
    movl %eax, %cr3
    movl %cr4, %eax
    orl $0x40620, %eax /* PAE, OSFXSR, OSXMMEXCPT, OSXSAVE */
    movl %eax, %cr4
    movl $0xc0000080, %ecx
    rdmsr
    orl $0x101, %eax /* long mode, syscall */
    wrmsr
    movl %cr0, %eax
    andl $0x9fffffff, %eax /* caches on */
    andl $0xfffffff3, %eax
    orl $0x80000022, %eax
    movl %eax, %cr0
    lgdt descriptors_at
    ljmpl $8, $long_mode

    .code64
long_mode:
    movw $16, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    xorl %eax, %eax
    movw %ax, %fs
    movw %ax, %gs
    movl $13, %eax
    xorl %ecx, %ecx
    cpuid
    andl $0x600e7, %eax /* x87, SSE, AVX, AVX-512's three, AMX's two */
    xorl %edx, %edx
    xorl %ecx, %ecx
    xsetbv
    fninit
    movq $stack_end, %rsp
    call guest_main
0:  hlt
    jmp 0b

/* To the program's start with this stack. */
    .globl guest_enter
guest_enter:
    movq %rsi, %rsp
    xorl %edx, %edx
    jmp *%rdi

/* struct registers, from below: r9 r8 r10 rdx rsi rdi rax. */
    .globl guest_syscall_entry
guest_syscall_entry:
    movq %rsp, user_stack
    movq $stack_end, %rsp
    pushq %r11
    pushq %rcx
    pushq %rbx
    pushq %rax
    pushq %rdi
    pushq %rsi
    pushq %rdx
    pushq %r10
    pushq %r8
    pushq %r9
    movq %rsp, %rdi
    cld
    call guest_syscall
    popq %r9
    popq %r8
    popq %r10
    popq %rdx
    popq %rsi
    popq %rdi
    popq %rax
    popq %rbx
    popq %rcx
    popfq
    movq user_stack, %rsp
    jmp *%rcx

/* Exceptions end the run. Those with an error code: 8, 10 to 14, 17, 21. */
    .altmacro
    .macro one number
fault_\number:
    .if (\number != 8) && (\number < 10 || \number > 14) && (\number != 17) && (\number != 21)
    pushq $0
    .endif
    pushq $\number
    jmp fault
    .endm
    .set i, 0
    .rept 32
    one %i
    .set i, i + 1
    .endr
fault:
    movq (%rsp), %rdi
    movq 8(%rsp), %rsi
    movq 16(%rsp), %rdx
    movq %cr2, %rcx
    movq $stack_end, %rsp
    call guest_fault
0:  hlt
    jmp 0b

    .data
    .macro address number
    .quad fault_\number
    .endm
    .balign 16
    .globl guest_faults
guest_faults:
    .set i, 0
    .rept 32
    address %i
    .set i, i + 1
    .endr

    .balign 8
descriptors:
    .quad 0
    .quad 0x00af9b000000ffff
    .quad 0x00cf93000000ffff
descriptors_at:
    .word 23
    .quad descriptors
user_stack:
    .quad 0

    .balign 4096
table:
    .fill 4096
pointers:
    .fill 4096
directories:
    .fill 8192
    .fill 65536
stack_end:
