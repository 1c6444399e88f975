/* Packed integers in AVX2: the same kind of work in registers of 256 bits, with the permutations that only AVX2 has. */

#include "start.h"

enum { SIZE = 16 << 10 };

typedef char bytes __attribute__((vector_size(32)));
typedef short samples __attribute__((vector_size(32)));
typedef int words __attribute__((vector_size(32)));
typedef long long quads __attribute__((vector_size(32)));

static char one[SIZE] ALIGNED(32), two[SIZE] ALIGNED(32);

static NOINLINE quads pass(short weight)
{
    const bytes zero = { 0 };
    const samples weights = (samples){ 0 } + weight;
    const samples taps = { 3, -5, 7, -2, 3, -5, 7, -2, 1, 4, -6, 2, 1, 4, -6, 2 };
    const words order = { 7, 2, 5, 0, 3, 6, 1, 4 };
    const bytes turn = {
        3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14,
    };
    quads difference = { 0 };
    words filtered = { 0 };
    for (int i = 0; i < SIZE; i += 32) {
        bytes a = *(bytes *)(one + i), b = *(bytes *)(two + i);
        difference += (quads)__builtin_ia32_psadbw256(a, b);
        samples low = (samples)__builtin_ia32_punpcklbw256(a, zero), high = (samples)__builtin_ia32_punpckhbw256(b, zero);
        samples blend = low * weights - high;
        filtered += __builtin_ia32_pmaddwd256(blend, taps);
        words moved = __builtin_ia32_permvarsi256((words)blend, order);
        samples shifted = ((samples)moved >> 3) + (samples)((blend > low) & 31);
        bytes packed = __builtin_ia32_packuswb256(shifted, high);
        *(bytes *)(two + i) = __builtin_ia32_pshufb256(packed, turn) ^ (bytes)(a > b);
    }
    return difference + (quads)filtered;
}

static u64 run(u64 count)
{
    u64 seed = 0xc0ffee123456789, sum = 0;
    for (int i = 0; i < SIZE; i++) {
        one[i] = (char)next(&seed);
        two[i] = (char)next(&seed);
    }
    while (count--) {
        quads found = pass((short)(count % 29));
        for (int i = 0; i < 4; i++)
            sum = mix(sum, (u64)found[i]);
    }
    return sum;
}
