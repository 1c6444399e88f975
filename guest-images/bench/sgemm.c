/* Packed singles: the product of two matrices of 64 by 64, four columns at a time (MULPS, ADDPS, SHUFPS). */

#include "start.h"

enum { N = 64 };

typedef float vector __attribute__((vector_size(16)));

static float a[N][N] ALIGNED(16), b[N][N] ALIGNED(16), c[N][N] ALIGNED(16);

static NOINLINE void multiply(void)
{
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j += 8) {
            vector left = { 0 }, right = { 0 };
            for (int k = 0; k < N; k++) {
                float x = a[i][k];
                vector all = { x, x, x, x };
                left += all * *(vector *)&b[k][j];
                right += all * *(vector *)&b[k][j + 4];
            }
            *(vector *)&c[i][j] = left;
            *(vector *)&c[i][j + 4] = right;
        }
}

static u64 run(u64 count)
{
    u64 seed = 0x9e3779b97f4a7c15, sum = 0;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            u64 random = next(&seed);
            a[i][j] = (float)(i32)(random & 0xffff) / 65536 - 0.5f;
            b[i][j] = (float)(i32)(random >> 16 & 0xffff) / 65536 - 0.5f;
        }
    while (count--) {
        multiply();
        for (int i = 0; i < N; i++) {
            union { float number; u32 bits; } x = { .number = c[i][i * 7 % N] };
            sum = mix(sum, x.bits);
        }
        a[sum % N][sum >> 8 & (N - 1)] += 0.125f;
    }
    return sum;
}
