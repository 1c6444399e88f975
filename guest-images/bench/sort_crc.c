/* Sorts 16384 random words by quicksort and takes a CRC-32, byte by byte from a table, of the result. */

#include "start.h"

enum { WORDS = 16384 };

static u32 words[WORDS], table[256];

static void sort(i64 low, i64 high)
{
    while (high - low > 12) {
        u32 pivot = words[low + (high - low) / 2];
        i64 i = low, j = high;
        while (i <= j) {
            while (words[i] < pivot)
                i++;
            while (words[j] > pivot)
                j--;
            if (i <= j) {
                u32 word = words[i];
                words[i++] = words[j];
                words[j--] = word;
            }
        }
        if (j - low < high - i) {
            sort(low, j);
            low = i;
        } else {
            sort(i, high);
            high = j;
        }
    }
    for (i64 i = low + 1; i <= high; i++) {
        u32 word = words[i];
        i64 j = i;
        for (; j > low && words[j - 1] > word; j--)
            words[j] = words[j - 1];
        words[j] = word;
    }
}

static u32 crc(const u8 *bytes, u64 count)
{
    u32 sum = ~0u;
    while (count--)
        sum = table[(sum ^ *bytes++) & 255] ^ sum >> 8;
    return ~sum;
}

static u64 run(u64 count)
{
    for (u32 byte = 0; byte < 256; byte++) {
        u32 sum = byte;
        for (int bit = 0; bit < 8; bit++)
            sum = sum >> 1 ^ (sum & 1 ? 0xedb88320 : 0);
        table[byte] = sum;
    }
    u64 seed = 88172645463325252, sum = 0;
    while (count--) {
        for (int i = 0; i < WORDS; i++)
            words[i] = (u32)next(&seed);
        sort(0, WORDS - 1);
        sum = mix(sum, crc((u8 *)words, sizeof words));
    }
    return sum;
}
