/* Follows pointers through 8 MiB, one in each line of 64 bytes, in a random order that visits them all. */

#include "start.h"

enum { NODES = (8 << 20) / 64, STEPS = 16384 };

struct node {
    struct node *next;
    u64 value;
    u8 rest[48];
};

static u64 run(u64 count)
{
    struct node *nodes = map(NODES * sizeof(struct node), PROT_READ | PROT_WRITE, MAP_PRIVATE);
    u64 seed = 0x2545f4914f6cdd1d, sum = 0;
    for (u32 i = 0; i < NODES; i++) {
        nodes[i].next = &nodes[i];
        nodes[i].value = i;
    }
    /* Sattolo's shuffle leaves one cycle. */
    for (u32 i = NODES - 1; i > 0; i--) {
        u32 other = (u32)(next(&seed) % i);
        struct node *swap = nodes[i].next;
        nodes[i].next = nodes[other].next;
        nodes[other].next = swap;
    }
    struct node *at = nodes;
    while (count--) {
        for (int step = 0; step < STEPS; step++)
            at = at->next;
        sum = mix(sum, at->value);
    }
    return sum;
}
