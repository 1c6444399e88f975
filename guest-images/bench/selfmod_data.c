/* Code and the data it writes in one page, as hand-written programs of old have them. The code itself stays as it is. */

#include "start.h"

enum { CALLS = 1024, DATA = 2048 };

static u64 run(u64 count)
{
    /* addq %rsi, DATA(%rip); movq DATA(%rip), %rax; ret: each displacement is counted from the instruction's end. */
    static const u8 function[] = {
        0x48, 0x01, 0x35, (DATA - 7) & 255, (DATA - 7) >> 8, 0, 0,
        0x48, 0x8b, 0x05, (DATA - 14) & 255, (DATA - 14) >> 8, 0, 0,
        0xc3,
    };
    u8 *code = map(4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE);
    u64 (*call)(u64, u64) = (u64 (*)(u64, u64))code;
    u64 sum = 0;
    for (u64 i = 0; i < sizeof function; i++)
        code[i] = function[i];
    while (count--)
        for (u64 i = 0; i < CALLS; i++)
            sum = mix(sum, call(0, i));
    return sum;
}
