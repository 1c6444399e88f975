/* The loop of a C library's memcpy: 64 bytes a turn, MOVDQU from where they are, MOVAPS to aligned places. */

#include "start.h"

enum { SIZE = 1 << 20, PIECE = 64 << 10 };

typedef i64 vector __attribute__((vector_size(16)));
typedef i64 anywhere __attribute__((vector_size(16), aligned(1)));

static NOINLINE void copy(u8 *to, const u8 *from, u64 count)
{
    for (; count; count -= 64, to += 64, from += 64) {
        const anywhere *source = (const anywhere *)from;
        vector a = source[0], b = source[1], c = source[2], d = source[3];
        vector *target = (vector *)to;
        target[0] = a, target[1] = b, target[2] = c, target[3] = d;
    }
}

static u64 run(u64 count)
{
    u8 *one = map(SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE), *two = map(SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    u64 seed = 0xda3e39cb94b95bdb, sum = 0;
    for (int i = 0; i < SIZE; i += 8)
        *(u64 *)(one + i) = next(&seed);
    while (count--) {
        u64 random = next(&seed);
        u64 from = random % (SIZE - PIECE), to = (random >> 32) % (SIZE - PIECE) & ~63ul;
        copy(two + to, one + from, PIECE);
        copy(one + (from & ~63ul), two + to + 17, PIECE - 64);
        sum = mix(sum, two[(random >> 20) % SIZE] + ((u64)one[(random >> 40) % SIZE] << 8));
    }
    return sum;
}
