/* The way into the kernel and back, and hardly anything between. */

#include "start.h"

enum { CALLS = 1024 };

static u64 run(u64 count)
{
    i64 first = syscall0(SYS_getppid);
    u64 sum = 0;
    while (count--)
        for (int i = 0; i < CALLS; i++)
            sum += (u64)(syscall0(SYS_getppid) == first);
    return mix(0, sum);
}
