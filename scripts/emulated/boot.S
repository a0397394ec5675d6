# From an x86 processor's reset into 64-bit mode with AVX-512, and on to shim.c. In place of a BIOS: linked to run at 0xffff0000.
        .code16
start:  lgdtl   %cs:gdtr - start
        mov     $0x40620, %eax          # CR4: OSXSAVE, OSXMMEXCPT, OSFXSR, PAE
        mov     %eax, %cr4
        mov     $top, %eax
        mov     %eax, %cr3
        mov     $0xc0000080, %ecx       # EFER: LME, SCE
        mov     $0x101, %eax
        xor     %edx, %edx
        wrmsr
        mov     $0x80000023, %eax       # CR0: PG, NE, MP, PE
        mov     %eax, %cr0
        ljmpl   $8, $long

        .code64
long:   mov     $16, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        mov     $0xe7, %eax             # XCR0: x87, SSE, AVX, AVX-512
        xor     %edx, %edx
        xor     %ecx, %ecx
        xsetbv
        fninit
        mov     $0x100000, %eax         # where bochs loads the shim
        jmp     *%rax

        .balign 8
gdt:    .quad   0, 0x00af9b000000ffff, 0x00cf93000000ffff
gdtr:   .word   gdtr - gdt - 1
        .long   gdt
        .org    0x1000                  # the first four gigabytes, each where it is
top:    .quad   low + 0x27
        .org    0x2000
low:    .quad   0xe7, 0x400000e7, 0x800000e7, 0xc00000e7
        .org    0xfff0                  # where a processor starts
        .code16
        jmp     start
        .org    0x10000
