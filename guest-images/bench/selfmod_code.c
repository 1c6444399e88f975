/* What a compiler at run time does: writes another number into a small function, and calls it. */

#include "start.h"

enum { CALLS = 256 };

static u64 run(u64 count)
{
    /* movl $NUMBER, %eax; xorl %edi, %eax; ret */
    static const u8 function[] = { 0xb8, 0, 0, 0, 0, 0x31, 0xf8, 0xc3 };
    u8 *code = map(4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE);
    u32 (*call)(u32) = (u32 (*)(u32))code;
    u64 sum = 0;
    for (u64 i = 0; i < sizeof function; i++)
        code[i] = function[i];
    while (count--)
        for (u32 i = 0; i < CALLS; i++) {
            *(volatile u32 *)(code + 1) = i * 0x01010101u;
            sum = mix(sum, call((u32)count));
        }
    return sum;
}
