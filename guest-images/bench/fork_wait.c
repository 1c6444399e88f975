/* A child that writes to memory it shares by copy-on-write and ends, and its parent, which waits for it. */

#include "start.h"

enum { PAGES = 16, PAGE = 4096 };

static u64 run(u64 count)
{
    u8 *memory = map(PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    u64 sum = 0;
    while (count--) {
        for (int page = 0; page < PAGES; page++)
            memory[page * PAGE]++;
        i64 child = syscall0(SYS_fork);
        require(child >= 0);
        if (child == 0) {
            u8 seen = 0;
            for (int page = 0; page < PAGES; page++)
                seen = (u8)(seen + memory[page * PAGE]++);
            leave(seen & 127);
        }
        sum = mix(sum, (u64)reap(child));
    }
    return sum;
}
