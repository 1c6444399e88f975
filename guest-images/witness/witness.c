/* A witness: it computes, forks, sleeps, is interrupted, writes files, and checks each time that everything comes to the same.
 *
 * Called with a number it does so many rounds and ends. Without one it goes on until it reads `q`, and answers `c` with the
 * time and `r` with how many rounds there were. It prints "witness: ready", "witness: clock MONOTONIC REALTIME" in nanoseconds,
 * "witness: rounds COUNT" and at the end "witness: end ROUNDS FAILURES CHECKSUM": what failed is a bit of FAILURES each, and
 * CHECKSUM is the same on every processor and every system. Files are written where it is started.
 *
 * Rule of this file: whoever finds itself wrong goes on, so that one look tells all that was wrong. */

#define OWN_BEGIN
#include "../bench/start.h"

enum {
    SYS_open = 2, SYS_rt_sigaction = 13, SYS_rt_sigreturn = 15, SYS_nanosleep = 35, SYS_setitimer = 38, SYS_unlink = 87,
    SYS_clock_gettime = 228,
    O_RDONLY = 0, O_WRONLY = 1, O_CREAT = 0x40, O_TRUNC = 0x200,
    SIGALRM = 14, SA_RESTORER = 0x4000000, SA_RESTART = 0x10000000,
    CLOCK_REALTIME = 0, CLOCK_MONOTONIC = 1,
    CHILDREN = 3, PIECE = 4096, PIECES = 12, NUMBERS = 512, SLEEP = 3000000,
};

/* After so many nanoseconds nothing comes any more. */
static const u64 LATE = 10000000000;

/* What can fail. */
enum {
    SORTING = 1, X87 = 2, PACKED = 4, WIDE = 8, CHILD = 16, FILES = 32, CLOCK = 64, COUNTER = 128, SLEEPING = 256, SIGNALS = 512,
    CHECKSUM = 1024,
};

struct time { i64 seconds, nanoseconds; };

/* Between the one who asks and the one who works, and between a parent and its children. */
static struct {
    volatile u64 stop, rounds, failures, checksum, latest_time, latest_counter;
} *shared;

static void check(int holds, u64 what)
{
    if (!holds)
        __atomic_fetch_or(&shared->failures, what, __ATOMIC_SEQ_CST);
}

static u64 now(int clock)
{
    struct time time;
    require(syscall3(SYS_clock_gettime, clock, (i64)&time, 0) == 0);
    return (u64)time.seconds * 1000000000 + (u64)time.nanoseconds;
}

static u64 counter(void)
{
    u32 low, high;
    __asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return (u64)high << 32 | low;
}

/* Neither the time nor the time-stamp counter ever runs backwards, whoever looks. */
static void look_at_clocks(void)
{
    u64 before = shared->latest_counter, ticks = counter();
    check(ticks >= before, COUNTER);
    while (ticks > before && !__atomic_compare_exchange_n(&shared->latest_counter, &before, ticks, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        ;
    before = shared->latest_time;
    u64 time = now(CLOCK_MONOTONIC);
    check(time >= before, CLOCK);
    while (time > before && !__atomic_compare_exchange_n(&shared->latest_time, &before, time, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        ;
}

static NOINLINE u64 sorting(u64 seed)
{
    static u64 numbers[NUMBERS];
    u64 sum = 0, whole = 0;
    for (int i = 0; i < NUMBERS; i++)
        sum += numbers[i] = next(&seed);
    for (int i = 1; i < NUMBERS; i++)
        for (int k = i; k > 0 && numbers[k - 1] > numbers[k]; k--) {
            u64 other = numbers[k];
            numbers[k] = numbers[k - 1];
            numbers[k - 1] = other;
        }
    for (int i = 0; i < NUMBERS; i++) {
        check(i == 0 || numbers[i - 1] <= numbers[i], SORTING);
        whole += numbers[i];
        seed = mix(seed, numbers[i] / (numbers[NUMBERS - 1 - i] >> 40 | 1));
    }
    check(sum == whole, SORTING);
    return seed;
}

/* Takes a number through every register of the stack and back, so often that most interrupts find all eight full. */
static NOINLINE void through_the_stack(long double *number)
{
    u64 times = 60;
    __asm__ volatile("1: fldt (%1)\n"
                     "fld1; fldpi; fldl2e; fldl2t; fldlg2; fldln2; fld %%st(6)\n"
                     "fmulp; faddp; fmulp; faddp; fmulp; faddp; faddp\n"
                     "fabs; fsqrt; fstpt (%1)\n"
                     "decq %0; jnz 1b"
                     : "+r"(times) : "r"(number)
                     : "memory", "cc", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)");
}

static NOINLINE u64 x87(u64 seed)
{
    union { long double number; struct { u64 low; unsigned short high; } bits; } all = { .number = 0 };
    long double x = 1.5L + (long double)(seed & 1023) / 4096, y = 0.25L, series = 0;
    for (int i = 1; i < 400; i++) {
        long double term = 1.0L / (x * i + 3);
        series += i & 1 ? term * y : -term;
        y = y * 0.5L + series * 0.25L + term;
        x += y * 0.03125L;
        if (x > 8 || x < 0.5L)
            x = 1.5L;
    }
    check(series * series < 100 && y * y < 100, X87);
    all.number = series + y;
    through_the_stack(&all.number);
    return mix(mix(seed, all.bits.low), all.bits.high);
}

typedef double doubles __attribute__((vector_size(16)));
typedef u32 words __attribute__((vector_size(16)));

static NOINLINE u64 packed(u64 seed)
{
    doubles a = { 1.0 + (double)(seed & 255), 2.5 }, b = { 0.125, 0.75 };
    words m = { (u32)seed, 3, 5, 7 }, n = { 11, 13, 17, (u32)(seed >> 32) };
    for (int i = 0; i < 600; i++) {
        a = a * b + 0.5;
        b = (a + b) / (a + 3.0);
        m = m * 1664525 + n;
        n ^= m >> 7;
    }
    check(a[0] == a[0] && b[1] < 1e9, PACKED);
    union { double number; u64 bits; } one = { a[0] }, other = { b[1] };
    return mix(mix(mix(seed, one.bits), other.bits), (u64)m[0] << 32 | n[2]);
}

typedef double four __attribute__((vector_size(32)));
typedef u64 lanes __attribute__((vector_size(32)));

/* The same in registers of 256 bits and, where there are none, in halves. */
#define WIDE_WORK                                                                            \
    four a = { 1.0 + (double)(seed & 255), 2.5, 3.25, 4.125 }, b = { 0.125, 0.75, 0.5, 0.375 };  \
    lanes m = { seed, 3, 5, 7 }, n = { 11, 13, 17, ~seed };                                  \
    for (int i = 0; i < 600; i++) {                                                          \
        a = a * b + 0.5;                                                                     \
        b = (a + b) / (a + 3.0);                                                             \
        m = (m << 5) + n;                                                                    \
        n ^= m >> 7;                                                                         \
    }                                                                                        \
    union { double number; u64 bits; } one = { a[3] }, other = { b[2] };                     \
    return mix(mix(mix(seed, one.bits), other.bits), m[3] ^ n[1] ^ m[0])

__attribute__((target("avx2"))) static NOINLINE u64 wide_whole(u64 seed)
{
    WIDE_WORK;
}

static NOINLINE u64 wide_halves(u64 seed)
{
    WIDE_WORK;
}

static int has_avx2(void)
{
    u32 a = 1, b, c = 0, d;
    __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    if (!(c >> 27 & 1))
        return 0;
    u32 enabled, none;
    __asm__("xgetbv" : "=a"(enabled), "=d"(none) : "c"(0));
    a = 7, c = 0;
    __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return (enabled & 6) == 6 && (b >> 5 & 1);
}

static u64 wide(u64 seed)
{
    u64 halves = wide_halves(seed);
    if (has_avx2())
        check(wide_whole(seed) == halves, WIDE);
    return halves;
}

static u64 compute(u64 seed)
{
    return wide(packed(x87(sorting(seed))));
}

static char *name(int child)
{
    static char text[] = "witness.0";
    text[sizeof text - 2] = (char)('0' + child);
    return text;
}

static void fill(u8 *piece, u64 *seed)
{
    for (int i = 0; i < PIECE; i += 8)
        *(u64 *)(piece + i) = next(seed);
}

/* Writes a file, sleeps, reads it back. */
static u64 child(int number)
{
    static u8 wanted[PIECE] ALIGNED(8), found[PIECE] ALIGNED(8);
    u64 seed = (u64)number + 77, sum = compute(seed);
    i64 file = syscall3(SYS_open, (i64)name(number), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    for (int i = 0; i < PIECES; i++) {
        fill(wanted, &seed);
        check(syscall3(SYS_write, file, (i64)wanted, PIECE) == PIECE, FILES);
    }
    syscall3(SYS_close, file, 0, 0);
    struct time span = { 0, SLEEP };
    u64 before = now(CLOCK_MONOTONIC);
    check(syscall3(SYS_nanosleep, (i64)&span, 0, 0) == 0, SLEEPING);
    check(now(CLOCK_MONOTONIC) - before >= SLEEP, SLEEPING);
    look_at_clocks();
    seed = (u64)number + 77;
    file = syscall3(SYS_open, (i64)name(number), O_RDONLY, 0);
    for (int i = 0; i < PIECES; i++) {
        fill(wanted, &seed);
        check(syscall3(SYS_read, file, (i64)found, PIECE) == PIECE, FILES);
        for (int k = 0; k < PIECE; k++)
            check(wanted[k] == found[k], FILES);
    }
    syscall3(SYS_close, file, 0, 0);
    return sum;
}

static volatile u64 alarms;

/* Leaves nothing as it was that the kernel has to put back. */
static void on_alarm(int signal)
{
    (void)signal;
    alarms++;
    __asm__ volatile("fninit; fldz; fldpi; pcmpeqd %%xmm0, %%xmm0; pcmpeqd %%xmm1, %%xmm1; pxor %%xmm2, %%xmm2; pxor %%xmm7, %%xmm7; "
                     "pcmpeqd %%xmm13, %%xmm13; fninit"
                     : : : "xmm0", "xmm1", "xmm2", "xmm7", "xmm13", "memory");
}

__asm__("come_back: movl $15, %eax\n"
        "syscall\n");
extern void come_back(void);

static void ring(u64 microseconds)
{
    struct { i64 every[2], next[2]; } timer = { { 0, (i64)microseconds }, { 0, (i64)microseconds } };
    require(syscall3(SYS_setitimer, 0, (i64)&timer, 0) == 0);
}

static u64 round_of_work(void)
{
    i64 children[CHILDREN];
    for (int i = 0; i < CHILDREN; i++) {
        children[i] = syscall0(SYS_fork);
        require(children[i] >= 0);
        if (children[i] == 0)
            leave((int)(child(i) & 127));
    }
    u64 before = alarms, sum = 0x1234;
    ring(1500);
    for (int i = 0; i < 4; i++) {
        sum = compute(sum);
        look_at_clocks();
    }
    for (int i = 0; i < CHILDREN; i++)
        sum = mix(sum, (u64)reap(children[i]));
    /* Who was kept waiting for long enough has not had time to be interrupted yet. */
    for (u64 start = now(CLOCK_MONOTONIC); alarms == before && now(CLOCK_MONOTONIC) - start < LATE;)
        ;
    ring(0);
    check(alarms > before, SIGNALS);
    for (int i = 0; i < CHILDREN; i++)
        check(syscall3(SYS_unlink, (i64)name(i), 0, 0) == 0, FILES);
    return sum;
}

static void work(u64 count)
{
    struct { void (*handler)(int); u64 flags; void (*restorer)(void); u64 mask; } action = {
        on_alarm, SA_RESTORER | SA_RESTART, come_back, 0,
    };
    require(syscall4(SYS_rt_sigaction, SIGALRM, (i64)&action, 0, 8) == 0);
    while (!shared->stop && shared->rounds != count) {
        u64 sum = round_of_work();
        check(shared->rounds == 0 || sum == shared->checksum, CHECKSUM);
        shared->checksum = sum;
        shared->rounds++;
    }
    leave(0);
}

static char *decimal(char *to, u64 value)
{
    char digits[24];
    int count = 0;
    do
        digits[count++] = (char)('0' + value % 10);
    while (value /= 10);
    while (count)
        *to++ = digits[--count];
    return to;
}

static void say(const char *what, u64 one, u64 two, const u64 *last)
{
    char line[160], *end = put(put(line, "witness: "), what);
    *end++ = ' ';
    end = decimal(end, one);
    *end++ = ' ';
    end = decimal(end, two);
    *end++ = ' ';
    for (int digit = 60; last && digit >= 0; digit -= 4)
        *end++ = "0123456789abcdef"[*last >> digit & 15];
    *end++ = '\n';
    syscall3(SYS_write, 1, (i64)line, end - line);
}

static void end(i64 worker)
{
    check(reap(worker) == 0, CHILD);
    u64 checksum = shared->checksum;
    say("end", shared->rounds, shared->failures, &checksum);
    leave(shared->failures != 0);
}

__attribute__((used)) static void begin(i64 *stack)
{
    arguments = (char **)(stack + 1);
    shared = map(4096, PROT_READ | PROT_WRITE, MAP_SHARED);
    u64 count = stack[0] >= 2 ? number(arguments[1]) : ~0ul;
    i64 worker = syscall0(SYS_fork);
    require(worker >= 0);
    if (worker == 0)
        work(count);
    if (stack[0] >= 2)
        end(worker);
    say("ready", 0, 0, 0);
    char asked;
    while (syscall3(SYS_read, 0, (i64)&asked, 1) == 1) {
        if (asked == 'c')
            say("clock", now(CLOCK_MONOTONIC), now(CLOCK_REALTIME), 0);
        if (asked == 'r')
            say("rounds", shared->rounds, shared->failures, 0);
        if (asked == 'q') {
            /* What is left of the line would be the shell's. */
            while (asked != '\n' && syscall3(SYS_read, 0, (i64)&asked, 1) == 1)
                ;
            break;
        }
    }
    shared->stop = 1;
    end(worker);
}
