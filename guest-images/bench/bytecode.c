/* An interpreter with a jump of its own at the end of each operation (labels as values), which counts primes with a sieve. */

#include "start.h"

enum { SET, ADD, MULTIPLY, LESS, LOAD, STORE, JUMP_IF, JUMP_UNLESS, JUMP, STOP };
enum { LIMIT = 8192 };

/* Registers: 0 i, 1 j, 2 the number of primes, 3 LIMIT, 4 one, 5 and 6 for the moment, 7 zero. */
static const u8 program[][4] = {
    { SET, 0, 2, 0 },
    /* 1: for i below LIMIT */
    { LESS, 5, 0, 3 }, { JUMP_UNLESS, 5, 14, 0 },
    { LOAD, 6, 0, 0 }, { JUMP_IF, 6, 12, 0 },
    { ADD, 2, 2, 4 }, { MULTIPLY, 1, 0, 0 },
    /* 7: for j from i squared by i */
    { LESS, 5, 1, 3 }, { JUMP_UNLESS, 5, 12, 0 },
    { STORE, 4, 1, 0 }, { ADD, 1, 1, 0 }, { JUMP, 7, 0, 0 },
    /* 12 */
    { ADD, 0, 0, 4 }, { JUMP, 1, 0, 0 },
    { STOP, 0, 0, 0 },
};

static u8 sieve[LIMIT];

static u64 interpret(u64 *steps)
{
    static const void *const labels[] = {
        &&set, &&add, &&multiply, &&less, &&load, &&store, &&jump_if, &&jump_unless, &&jump, &&stop,
    };
    u64 r[8] = { [3] = LIMIT, [4] = 1 };
    const u8 *at = program[0];
#define NEXT(where) do { at = (where); ++*steps; goto *labels[at[0]]; } while (0)
    NEXT(at);
set:
    r[at[1]] = at[2];
    NEXT(at + 4);
add:
    r[at[1]] = r[at[2]] + r[at[3]];
    NEXT(at + 4);
multiply:
    r[at[1]] = r[at[2]] * r[at[3]];
    NEXT(at + 4);
less:
    r[at[1]] = r[at[2]] < r[at[3]];
    NEXT(at + 4);
load:
    r[at[1]] = sieve[r[at[2]]];
    NEXT(at + 4);
store:
    sieve[r[at[2]]] = (u8)r[at[1]];
    NEXT(at + 4);
jump_if:
    NEXT(r[at[1]] ? program[at[2]] : at + 4);
jump_unless:
    NEXT(r[at[1]] ? at + 4 : program[at[2]]);
jump:
    NEXT(program[at[1]]);
stop:
    return r[2];
}

static u64 run(u64 count)
{
    u64 sum = 0, steps = 0;
    while (count--) {
        memset(sieve, 0, sizeof sieve);
        u64 primes = interpret(&steps);
        /* There are 1028 primes below 8192. */
        require(primes == 1028);
        sum = mix(sum, primes + steps);
    }
    return sum;
}
