/* The x87 unit: long double sums, products, quotients and roots, and numbers that go to memory and back as integers. */

#include "start.h"

enum { STEPS = 4096 };

static long double root(long double x)
{
    __asm__("fsqrt" : "+t"(x));
    return x;
}

static u64 run(u64 count)
{
    long double x = 1.5L, y = -0.25L;
    u64 sum = 0;
    while (count--) {
        long double series = 0;
        for (int i = 1; i <= STEPS; i++) {
            long double term = 1.0L / (x * i + 3);
            series += i & 1 ? term : -term;
            y = root(y * y + series * series) - 0.5L;
            x += y * 0.0625L;
            if (x > 8 || x < 0.5L)
                x = 1.5L;
        }
        i64 whole = (i64)(series * 0x1p60L);
        union { long double number; u64 bits; } bits = { .number = x };
        sum = mix(mix(sum, (u64)whole), bits.bits);
        x += (long double)(whole & 7) * 0.125L;
    }
    return sum;
}
