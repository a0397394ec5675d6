// Enough of Linux for one static test program on a processor of its own: one thread, no signals, files out of a tar.
// Everything runs in ring 0, and what the program does wrong ends the emulator.
//
// Memory: this at 1 MB, the program where it was linked (4 MB), the tar at 128 MB, brk at 256 MB, mmap from 512 MB up to
// a stack below 1 GB. Nothing that was mapped is given back.
typedef unsigned long u64;
typedef unsigned char u8;

long serve(u64 call, u64 *a);
void begin(void);
extern void entered(void);

// First of all, where the processor comes in; then what `syscall` jumps to.
__asm__(".text\n"
        "lea shim_stack(%rip), %rsp\n call begin\n"
        "entered: mov %rsp, program_stack(%rip)\n lea shim_stack(%rip), %rsp\n"
        "push %rcx\n push %r11\n push %r9\n push %r8\n push %r10\n push %rdx\n push %rsi\n push %rdi\n"
        "mov %rax, %rdi\n mov %rsp, %rsi\n call serve\n"
        "pop %rdi\n pop %rsi\n pop %rdx\n pop %r10\n pop %r8\n pop %r9\n popfq\n pop %rcx\n"
        "mov program_stack(%rip), %rsp\n jmp *%rcx\n"
        ".bss\n .balign 64\n .skip 65536\n shim_stack: .quad 0\n program_stack: .quad 0\n"
        ".text\n");

#define TAR ((u8 *)0x08000000)
#define TAR_END ((u8 *)0x10000000)
#define HEAP_END 0x20000000ul
#define MAPS_END 0x3f000000ul
#define STACK 0x3ff00000ul
#define FILES 64

static u64 heap = (u64)TAR_END, maps = HEAP_END;
static struct { u8 *data; u64 size, at; } files[FILES];

// Port 0xe9 is bochs's standard output.
static void out(u8 c) { __asm__ volatile("outb %0, $0xe9" ::"a"(c)); }
static void say(const char *s) { for (; *s; s++) out(*s); }
static void number(u64 n) { if (n > 9) number(n / 10); out('0' + n % 10); }
static void wrmsr(unsigned at, u64 v) { __asm__ volatile("wrmsr" ::"c"(at), "a"((unsigned)v), "d"(v >> 32)); }
static u64 tsc(void) { unsigned a, d; __asm__ volatile("rdtsc" : "=a"(a), "=d"(d)); return (u64)d << 32 | a; }
static u64 length(const char *s) { u64 n = 0; while (s[n]) n++; return n; }
static void copy(void *to, const void *from, u64 n) {
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n)::"memory");
}

static __attribute__((noreturn)) void end(u64 code) {
  say("\nexit code "), number(code), out('\n');
  // What ends bochs.
  for (const char *s = "Shutdown"; *s; s++) __asm__ volatile("outb %b0, %1" ::"a"(*s), "d"((short)0x8900));
  for (;;) __asm__ volatile("hlt");
}

// The file of the tar whose name ends the path.
static u8 *find(const char *path, u64 *size) {
  for (u8 *head = TAR; *head; head += 512 + ((*size + 511) & ~511ul)) {
    *size = 0;
    for (int i = 124; i < 135; i++) *size = *size * 8 + head[i] - '0';
    u64 n = length((char *)head), m = length(path), same = 0;
    while (same < n && n <= m && path[m - 1 - same] == (char)head[n - 1 - same]) same++;
    if (same == n) return head + 512;
  }
  return 0;
}

static long mapped(u64 bytes) {
  bytes = (bytes + 4095) & ~4095ul;
  if (bytes > MAPS_END - maps) return -12;
  return (maps += bytes) - bytes;
}

static long opened(const char *path) {
  for (int fd = 3; fd < FILES; fd++)
    if (!files[fd].data) {
      files[fd].at = 0;
      return (files[fd].data = find(path, &files[fd].size)) ? fd : -2;
    }
  return -24;
}

static u64 written(u8 *bytes, u64 n) {
  for (u64 i = 0; i < n; i++) out(bytes[i]);
  return n;
}

static long read(u64 fd, u8 *to, u64 n) {
  u64 left = files[fd].size - files[fd].at;
  if (n > left) n = left;
  copy(to, files[fd].data + files[fd].at, n);
  files[fd].at += n;
  return n;
}

long serve(u64 call, u64 *a) {
  long n = 0;
  int is_of_file = call == 0 || call == 3 || call == 8 || call == 262;
  if (is_of_file && (a[0] >= FILES || !files[a[0]].data)) return call == 262 ? -2 : -9;
  switch (call) {
  case 0: return read(a[0], (u8 *)a[1], a[2]);
  case 1: return written((u8 *)a[1], a[2]);
  case 3: files[a[0]].data = 0; return 0;
  case 8: return files[a[0]].at = a[1] + (a[2] == 1 ? files[a[0]].at : a[2] == 2 ? files[a[0]].size : 0); // lseek
  case 9: return mapped(a[1]);
  case 12: if (a[0] >= (u64)TAR_END && a[0] < HEAP_END) heap = a[0]; return heap; // brk
  case 20: for (u64 *v = (u64 *)a[1], i = 0; i < a[2]; i++) n += written((u8 *)v[2 * i], v[2 * i + 1]); return n; // writev
  case 60: case 231: end(a[0]); // exit, exit_group
  case 158: if (a[0] != 0x1002) return -22; wrmsr(0xc0000100, a[1]); return 0; // arch_prctl: the thread's memory
  case 204: *(u64 *)a[2] = 1; return 8; // sched_getaffinity
  case 228: ((u64 *)a[1])[0] = tsc() / 1000000000, ((u64 *)a[1])[1] = tsc() % 1000000000; return 0; // clock_gettime
  case 257: return opened((char *)a[1]); // openat
  case 262: // newfstatat
    for (int i = 0; i < 18; i++) ((u64 *)a[2])[i] = 0;
    ((u64 *)a[2])[3] = 0100644, ((u64 *)a[2])[6] = files[a[0]].size;
    return 0;
  case 318: // getrandom
    for (u64 r, i = 0; i < a[1]; i++) { __asm__ volatile("rdrand %0" : "=r"(r)); ((u8 *)a[0])[i] = r; }
    return a[1];
  case 39: case 186: case 218: return 1; // getpid, gettid, set_tid_address
  case 7: return a[1]; // poll: whatever it is, it is ready
  // mprotect, munmap, rt_sigaction, rt_sigprocmask, sched_yield, madvise, fcntl, sigaltstack, futex, set_robust_list
  case 10: case 11: case 13: case 14: case 24: case 28: case 72: case 131: case 202: case 273: return 0;
  case 21: case 79: case 89: case 267: return -2; // access, getcwd, readlink, readlinkat
  case 16: return -25; // ioctl: no terminal
  case 25: return -12; // mremap: glibc copies instead
  case 56: return -11; // clone: a test runs in the thread that there is
  case 302: case 332: case 334: case 435: return -38; // prlimit64, statx, rseq, clone3
  default: say("[system call "), number(call), say("]\n"); return -38;
  }
}

void begin(void) {
  // bochs reads the tar into blocks of its own that follow each other, and gives the machine the next one at a first touch.
  for (volatile u8 *at = TAR; at < TAR_END; at += 4096) (void)*at;
  wrmsr(0xc0000081, 8ul << 32), wrmsr(0xc0000082, (u64)entered), wrmsr(0xc0000084, 0x400); // STAR, LSTAR, FMASK
  u64 size, *stack = (u64 *)STACK;
  u8 *elf = find("program", &size), *words = find("words", &size), *words_end = words + size;
  u8 *headers = elf + *(u64 *)(elf + 32);
  u64 entry = *(u64 *)(elf + 24), count = *(unsigned short *)(elf + 56), first = 0;
  for (u64 i = 0; i < count; i++) {
    u64 *h = (u64 *)(headers + 56 * i);
    if ((unsigned)h[0] != 1) continue; // loaded is what is to be; the rest of memory is zero
    if (!h[1]) first = h[2];
    copy((void *)h[2], elf + h[1], h[4]);
  }
  // The words are arguments, one a line, an empty line, and the environment.
  u64 *arguments = stack++;
  int are_arguments = 1;
  *arguments = 0;
  for (u8 *word = words, *at = words; at < words_end; at++) {
    if (*at != '\n') continue;
    *at = 0;
    if (*word) *arguments += are_arguments, *stack++ = (u64)word;
    else *stack++ = 0, are_arguments = 0;
    word = at + 1;
  }
  *stack++ = 0;
  // AT_PHDR, AT_PHENT, AT_PHNUM, AT_PAGESZ, AT_ENTRY, AT_SECURE, AT_RANDOM
  u64 auxiliary[] = {3, first + *(u64 *)(elf + 32), 4, 56, 5, count, 6, 4096, 9, entry, 23, 0, 25, (u64)elf, 0, 0};
  copy(stack, auxiliary, sizeof auxiliary);
  __asm__ volatile("mov %0, %%rsp\n xor %%edx, %%edx\n jmp *%1" ::"a"(STACK), "c"(entry));
  __builtin_unreachable();
}
