/* One access a page, in 2048 pages one after the other, at a place in the page that moves on: more pages than a TLB holds. */

#include "start.h"

enum { PAGES = 2048, PAGE = 4096 };

static u64 run(u64 count)
{
    u8 *memory = map(PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    u64 sum = 0;
    for (u64 turn = 0; turn < count; turn++) {
        u64 offset = turn * 72 % PAGE & ~7ul, value = turn;
        for (u64 page = 0; page < PAGES; page++) {
            u64 *word = (u64 *)(memory + page * PAGE + offset);
            value += *word;
            *word = value ^ page;
        }
        sum = mix(sum, value);
    }
    return sum;
}
