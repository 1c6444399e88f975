/* Two processes that wake each other and sleep in turn: context switches, and nothing is carried from one to the other. */

#include "start.h"

enum { TURNS = 64, FUTEX_WAIT = 0, FUTEX_WAKE = 1 };

static u64 run(u64 count)
{
    /* Whose turn it is follows from the number: even, the parent's. */
    volatile u32 *turn = map(4096, PROT_READ | PROT_WRITE, MAP_SHARED);
    u64 turns = count * TURNS, sum = 0;
    i64 child = syscall0(SYS_fork);
    require(child >= 0);
    u32 mine = child == 0;
    for (u64 i = 0; i < turns; i++) {
        u32 now;
        while (((now = *turn) & 1) != mine)
            syscall4(SYS_futex, (word)turn, FUTEX_WAIT, now, 0);
        sum = mix(sum, now);
        *turn = now + 1;
        syscall4(SYS_futex, (word)turn, FUTEX_WAKE, 1, 0);
    }
    if (child == 0)
        leave(0);
    require(reap(child) == 0);
    return sum;
}
