/* REP MOVSB: 64 KiB at a time, to and from places that are not aligned, through two buffers of 1 MiB. */

#include "start.h"

enum { SIZE = 1 << 20, PIECE = 64 << 10 };

static void copy(u8 *to, const u8 *from, unsigned long count)
{
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}

static u64 run(u64 count)
{
    u8 *one = map(SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE), *two = map(SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    u64 seed = 0x853c49e6748fea9b, sum = 0;
    for (int i = 0; i < SIZE; i += 8)
        *(u64 *)(one + i) = next(&seed);
    while (count--) {
        u64 random = next(&seed);
        u64 from = random % (SIZE - PIECE), to = (random >> 32) % (SIZE - PIECE);
        copy(two + to, one + from, PIECE);
        copy(one + from, two + to + 1, PIECE - 1);
        sum = mix(sum, two[(random >> 20) % SIZE] + ((u64)one[(random >> 40) % SIZE] << 8));
    }
    return sum;
}
