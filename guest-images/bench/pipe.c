/* Two processes that pass eight bytes to and fro through two pipes: the other one changes them. */

#include "start.h"

enum { TURNS = 64 };

static u64 run(u64 count)
{
    int there[2], back[2];
    require(syscall3(SYS_pipe, (word)there, 0, 0) == 0 && syscall3(SYS_pipe, (word)back, 0, 0) == 0);
    u64 value = 1, turns = count * TURNS;
    i64 child = syscall0(SYS_fork);
    require(child >= 0);
    if (child == 0) {
        for (u64 turn = 0; turn < turns; turn++) {
            require(syscall3(SYS_read, there[0], (word)&value, 8) == 8);
            value = mix(value, turn);
            require(syscall3(SYS_write, back[1], (word)&value, 8) == 8);
        }
        leave(0);
    }
    for (u64 turn = 0; turn < turns; turn++) {
        require(syscall3(SYS_write, there[1], (word)&value, 8) == 8);
        require(syscall3(SYS_read, back[0], (word)&value, 8) == 8);
    }
    require(reap(child) == 0);
    return value;
}
