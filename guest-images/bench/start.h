/* The beginning and the end of a benchmark program, without a C library: system calls, arguments, one line of output.
 *
 * Rule: a program is one file that includes this one and defines `run`, which does the work COUNT times over and gives a
 * checksum of all that it computed: the same number for the same count, on every processor and every system. */

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef int i32;
#ifdef __x86_64__
typedef unsigned long u64;
typedef long i64;
#else
typedef unsigned long long u64;
typedef long long i64;
#endif
/* As wide as a pointer. */
typedef long word;

#define NOINLINE __attribute__((noinline))
#define ALIGNED(bytes) __attribute__((aligned(bytes)))

#ifdef __x86_64__
enum {
    SYS_read = 0, SYS_write = 1, SYS_close = 3, SYS_mmap = 9, SYS_munmap = 11, SYS_ioctl = 16, SYS_pipe = 22, SYS_dup2 = 33,
    SYS_fork = 57, SYS_execve = 59, SYS_exit = 60, SYS_wait4 = 61, SYS_syslog = 103, SYS_getppid = 110, SYS_reboot = 169,
    SYS_futex = 202,
};
#else
enum {
    SYS_exit = 1, SYS_fork = 2, SYS_read = 3, SYS_write = 4, SYS_close = 6, SYS_execve = 11, SYS_pipe = 42, SYS_ioctl = 54,
    SYS_dup2 = 63, SYS_getppid = 64, SYS_reboot = 88, SYS_munmap = 91, SYS_syslog = 103, SYS_wait4 = 114, SYS_mmap = 192,
    SYS_futex = 240,
};
#endif

enum { PROT_READ = 1, PROT_WRITE = 2, PROT_EXEC = 4, MAP_SHARED = 1, MAP_PRIVATE = 2, MAP_ANONYMOUS = 32 };

static inline i64 syscall6(word number, word a, word b, word c, word d, word e, word f)
{
#ifdef __x86_64__
    register word r10 __asm__("r10") = d;
    register word r8 __asm__("r8") = e;
    register word r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "+a"(number)
                     : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return number;
#else
    /* All registers are taken: the last of them is a word of the stack until it is EBP. */
    __asm__ volatile("pushl %[last]; pushl %%ebp; movl 4(%%esp), %%ebp; int $0x80; popl %%ebp; leal 4(%%esp), %%esp"
                     : "+a"(number)
                     : "b"(a), "c"(b), "d"(c), "S"(d), "D"(e), [last] "g"(f)
                     : "memory");
    /* An address may be above half of all; an error is one of the last. */
    return number < -4095 || number >= 0 ? (i64)(unsigned long)number : number;
#endif
}

static inline i64 syscall4(word number, word a, word b, word c, word d)
{
    return syscall6(number, a, b, c, d, 0, 0);
}

static inline i64 syscall3(word number, word a, word b, word c)
{
    return syscall6(number, a, b, c, 0, 0, 0);
}

static inline i64 syscall0(word number)
{
    return syscall6(number, 0, 0, 0, 0, 0, 0);
}

static inline __attribute__((noreturn)) void leave(int status)
{
    for (;;)
        syscall3(SYS_exit, status, 0, 0);
}

/* What a program does that cannot go on: its checksum is never printed. */
static inline void require(int holds)
{
    if (!holds)
        leave(99);
}

static inline void *map(u64 bytes, int rights, int sharing)
{
    i64 address = syscall6(SYS_mmap, 0, (word)bytes, rights, sharing | MAP_ANONYMOUS, -1, 0);
    require(address > 0);
    return (void *)(word)address;
}

/* Waits for a child and gives its status as wait4 does. */
static inline int reap(i64 child)
{
    int status = 0;
    require(syscall4(SYS_wait4, child, (word)&status, 0, 0) == child);
    return status;
}

/* The compiler may call these. */
void *memset(void *to, int byte, unsigned long count)
{
    void *end = to;
    __asm__ volatile("rep stosb" : "+D"(end), "+c"(count) : "a"(byte) : "memory");
    return to;
}

void *memcpy(void *to, const void *from, unsigned long count)
{
    void *end = to;
    __asm__ volatile("rep movsb" : "+D"(end), "+S"(from), "+c"(count) : : "memory");
    return to;
}

#ifndef __x86_64__
/* What the compiler calls where 64 bits are divided by as many; its library for 32-bit code need not be there. */
u64 __umoddi3(u64 value, u64 by)
{
    u64 rest = 0;
    for (int bit = 63; bit >= 0; bit--) {
        rest = rest << 1 | (value >> bit & 1);
        if (rest >= by)
            rest -= by;
    }
    return rest;
}
#endif

/* Marsaglia's xorshift64: the source of all test data. */
static inline u64 next(u64 *state)
{
    u64 x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

/* One step of a checksum over 64-bit values. */
static inline u64 mix(u64 sum, u64 value)
{
    sum = (sum ^ value) * 0x9e3779b97f4a7c15;
    return sum ^ sum >> 32;
}

static inline char *put(char *to, const char *text)
{
    while (*text)
        *to++ = *text++;
    return to;
}

static inline u64 number(const char *text)
{
    u64 value = 0;
    while (*text >= '0' && *text <= '9')
        value = value * 10 + (u64)(*text++ - '0');
    return value;
}

/* How the program was called: its path, its count, and nothing more that it must have. */
static char **arguments;

#ifndef OWN_BEGIN
static u64 run(u64 count);

__attribute__((used)) static void begin(word *stack)
{
    arguments = (char **)(stack + 1);
    require(stack[0] >= 2);
    u64 checksum = run(number(arguments[1]));
    const char *name = arguments[0];
    for (const char *at = name; *at; at++)
        if (*at == '/')
            name = at + 1;
    char line[128];
    char *end = put(put(line, name), " ");
    for (int digit = 60; digit >= 0; digit -= 4)
        *end++ = "0123456789abcdef"[checksum >> digit & 15];
    *end++ = '\n';
    i64 length = end - line;
    require(syscall3(SYS_write, 1, (word)line, length) == length);
    leave(0);
}
#endif

#ifdef __x86_64__
__asm__(".globl _start\n"
        "_start: xorl %ebp, %ebp\n"
        "movq %rsp, %rdi\n"
        "andq $-16, %rsp\n"
        "call begin\n");
#else
__asm__(".globl _start\n"
        "_start: xorl %ebp, %ebp\n"
        "movl %esp, %eax\n"
        "andl $-16, %esp\n"
        "subl $12, %esp\n"
        "pushl %eax\n"
        "call begin\n");
#endif
