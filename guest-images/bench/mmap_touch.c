/* Maps 64 pages, writes to each, which is a page fault, and unmaps them. */

#include "start.h"

enum { PAGES = 64, PAGE = 4096 };

static u64 run(u64 count)
{
    u64 sum = 0;
    while (count--) {
        u8 *memory = map(PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
        u64 found = 0;
        for (int page = 0; page < PAGES; page++) {
            u8 *byte = memory + page * PAGE + page * 8;
            found += *byte;
            *byte = (u8)(page + 1);
            found += *byte;
        }
        require(syscall3(SYS_munmap, (word)memory, PAGES * PAGE, 0) == 0);
        sum = mix(sum, found);
    }
    return sum;
}
