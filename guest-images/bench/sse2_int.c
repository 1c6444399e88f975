/* Packed integers in SSE2: what a video codec does, sums of absolute differences, filters of 16-bit samples, saturation. */

#include "start.h"

enum { SIZE = 16 << 10 };

typedef char bytes __attribute__((vector_size(16)));
typedef short samples __attribute__((vector_size(16)));
typedef int words __attribute__((vector_size(16)));
typedef long long pair __attribute__((vector_size(16)));

static char one[SIZE] ALIGNED(16), two[SIZE] ALIGNED(16);

static NOINLINE pair pass(short weight)
{
    const bytes zero = { 0 };
    const samples weights = (samples){ 0 } + weight, taps = { 3, -5, 7, -2, 3, -5, 7, -2 };
    pair difference = { 0 };
    words filtered = { 0 };
    for (int i = 0; i < SIZE; i += 16) {
        bytes a = *(bytes *)(one + i), b = *(bytes *)(two + i);
        difference += (pair)__builtin_ia32_psadbw128(a, b);
        samples low = (samples)__builtin_ia32_punpcklbw128(a, zero), high = (samples)__builtin_ia32_punpckhbw128(b, zero);
        samples blend = low * weights - high;
        filtered += __builtin_ia32_pmaddwd128(blend, taps);
        samples shifted = (blend >> 3) + (samples)((blend > low) & 31);
        *(bytes *)(two + i) = __builtin_ia32_packuswb128(shifted, high) ^ (bytes)(a > b);
    }
    return difference + (pair)filtered;
}

static u64 run(u64 count)
{
    u64 seed = 0xc0ffee123456789, sum = 0;
    for (int i = 0; i < SIZE; i++) {
        one[i] = (char)next(&seed);
        two[i] = (char)next(&seed);
    }
    while (count--) {
        pair found = pass((short)(count % 29));
        sum = mix(mix(sum, (u64)found[0]), (u64)found[1]);
    }
    return sum;
}
