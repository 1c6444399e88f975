/* Compresses 128 KiB of words in the manner of LZ77, with a hash table of three-byte beginnings, expands them and compares. */

#include "start.h"

enum { SIZE = 128 << 10, WINDOW = 32 << 10, HASHES = 1 << 14, LONGEST = 3 + 127 };

static u8 text[SIZE], packed[2 * SIZE], again[SIZE];
static i32 heads[HASHES], before[WINDOW];

/* Words of 2 to 9 letters out of a vocabulary of 1024, the first of them more often. */
static void fill(u64 *seed)
{
    static u8 vocabulary[1024][10];
    for (int word = 0; word < 1024; word++) {
        int length = 2 + (int)(next(seed) & 7);
        for (int i = 0; i < length; i++)
            vocabulary[word][i] = (u8)('a' + next(seed) % 26);
        vocabulary[word][length] = 0;
    }
    for (int at = 0; at < SIZE;) {
        u64 random = next(seed);
        u64 word = random % 1024 & random >> 32 % 1024;
        for (const u8 *from = vocabulary[word]; *from && at < SIZE; from++)
            text[at++] = *from;
        if (at < SIZE)
            text[at++] = ' ';
    }
}

static u32 hash(const u8 *at)
{
    return (at[0] | (u32)at[1] << 8 | (u32)at[2] << 16) * 2654435761u >> 18;
}

/* A byte below 128 is that many bytes and one, which follow; another is a length, and two bytes of distance follow. */
static i32 squeeze(void)
{
    i32 out = 0, literals = 0;
    for (int i = 0; i < HASHES; i++)
        heads[i] = -1;
    for (i32 at = 0; at < SIZE;) {
        i32 best = 0, distance = 0;
        if (at + LONGEST < SIZE) {
            i32 candidate = heads[hash(text + at)];
            for (int tries = 16; tries && candidate >= 0 && at - candidate < WINDOW; tries--) {
                i32 length = 0;
                while (length < LONGEST && text[candidate + length] == text[at + length])
                    length++;
                if (length > best) {
                    best = length;
                    distance = at - candidate;
                }
                candidate = before[candidate % WINDOW];
            }
        }
        i32 step = best >= 4 ? best : 1;
        if (best >= 4) {
            packed[out++] = (u8)(128 + best - 3);
            packed[out++] = (u8)distance;
            packed[out++] = (u8)(distance >> 8);
            literals = 0;
        } else {
            if (literals == 0 || literals == 128) {
                packed[out++] = 0;
                literals = 0;
            }
            packed[out - literals - 1] = (u8)literals;
            literals++;
            packed[out++] = text[at];
        }
        for (; step; step--, at++)
            if (at + 3 <= SIZE) {
                u32 slot = hash(text + at);
                before[at % WINDOW] = heads[slot];
                heads[slot] = at;
            }
    }
    return out;
}

static void expand(i32 size)
{
    i32 out = 0;
    for (i32 at = 0; at < size;) {
        i32 control = packed[at++];
        if (control < 128) {
            for (i32 left = control + 1; left; left--)
                again[out++] = packed[at++];
            continue;
        }
        i32 distance = packed[at] | packed[at + 1] << 8;
        at += 2;
        for (i32 left = control - 128 + 3; left; left--, out++)
            again[out] = again[out - distance];
    }
    require(out == SIZE);
}

static u64 run(u64 count)
{
    u64 seed = 1181783497276652981, sum = 0;
    while (count--) {
        fill(&seed);
        i32 size = squeeze();
        expand(size);
        for (int i = 0; i < SIZE; i++)
            require(again[i] == text[i]);
        for (i32 i = 0; i < size; i++)
            sum = mix(sum, packed[i]);
    }
    return sum;
}
