/* AES-128 in counter mode with AESENC, four blocks at a time, over 16 KiB. */

#include "start.h"

enum { BLOCKS = 1024, ROUNDS = 10 };

typedef long long block __attribute__((vector_size(16)));
typedef int words __attribute__((vector_size(16)));

static block keys[ROUNDS + 1], data[BLOCKS];

/* FIPS 197, section 5.2: what AESKEYGENASSIST gives for the last word goes to all four, and each word to those after it. */
static block following(block key, block assist)
{
    block spread = key ^ __builtin_ia32_pslldqi128(key, 32);
    spread ^= __builtin_ia32_pslldqi128(spread, 64);
    return spread ^ (block)__builtin_ia32_pshufd((words)assist, 0xff);
}

static void expand(block key)
{
    keys[0] = key;
#define ROUND(number, constant) \
    keys[number] = following(keys[number - 1], __builtin_ia32_aeskeygenassist128(keys[number - 1], constant))
    ROUND(1, 0x01);
    ROUND(2, 0x02);
    ROUND(3, 0x04);
    ROUND(4, 0x08);
    ROUND(5, 0x10);
    ROUND(6, 0x20);
    ROUND(7, 0x40);
    ROUND(8, 0x80);
    ROUND(9, 0x1b);
    ROUND(10, 0x36);
}

static void encrypt(block *four)
{
    for (int i = 0; i < 4; i++)
        four[i] ^= keys[0];
    for (int round = 1; round < ROUNDS; round++)
        for (int i = 0; i < 4; i++)
            four[i] = __builtin_ia32_aesenc128(four[i], keys[round]);
    for (int i = 0; i < 4; i++)
        four[i] = __builtin_ia32_aesenclast128(four[i], keys[ROUNDS]);
}

static u64 run(u64 count)
{
    /* FIPS 197, appendix C.1. */
    expand((block){ 0x0706050403020100, 0x0f0e0d0c0b0a0908 });
    block example[4] = { { 0x7766554433221100, (i64)0xffeeddccbbaa9988 } };
    encrypt(example);
    require(example[0][0] == 0x30047b6ad8e0c469 && example[0][1] == 0x5ac5b47080b7cdd8);

    u64 seed = 0xfeedface12345678, sum = 0;
    for (int i = 0; i < BLOCKS; i++)
        data[i] = (block){ (i64)next(&seed), (i64)next(&seed) };
    block counter = { 0, 1 }, one = { 1, 0 };
    while (count--) {
        for (int i = 0; i < BLOCKS; i += 4) {
            block four[4];
            for (int j = 0; j < 4; j++)
                four[j] = counter += one;
            encrypt(four);
            for (int j = 0; j < 4; j++)
                data[i + j] ^= four[j];
        }
        block last = data[count % BLOCKS];
        sum = mix(mix(sum, (u64)last[0]), (u64)last[1]);
    }
    return sum;
}
