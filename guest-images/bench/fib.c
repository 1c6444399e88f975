/* Calls and returns: the 22nd Fibonacci number by the recursion that defines it. */

#include "start.h"

static u64 (*volatile again)(u64);

/* Through a pointer that the compiler does not know, every call is one. */
static NOINLINE u64 fib(u64 n)
{
    return n < 2 ? n : fib(n - 1) + again(n - 2);
}

static u64 run(u64 count)
{
    u64 sum = 0;
    again = fib;
    while (count--) {
        u64 value = fib(22);
        require(value == 17711);
        sum = mix(sum, value);
    }
    return sum;
}
