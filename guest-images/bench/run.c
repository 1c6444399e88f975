/* What the guest runs in place of its first program when it is measured: one program after the other, each between two lines.
 *
 * Called with `NAME:COUNT,NAME:COUNT`. It prints "bench: ready", for each "bench: begin NAME" and then "bench: end NAME CHECKSUM"
 * or "bench: failed NAME STATUS", and at the end "bench: done"; then it powers off. A line has left the serial port when
 * the next thing happens. */

#define OWN_BEGIN
#include "start.h"

enum { CONSOLE_LEVEL = 8, TCSBRK = 0x5409, POWER_OFF = 0x4321fedc, LINE = 256 };

static void say(const char *first, const char *second, const char *third)
{
    static char line[3 * LINE];
    char *end = put(put(put(put(line, "bench: "), first), second), third);
    *end++ = '\n';
    syscall3(SYS_write, 1, (word)line, end - line);
    syscall3(SYS_ioctl, 1, TCSBRK, 1);
}

static void decimal(char *to, u64 value)
{
    char digits[24];
    int count = 0;
    do
        digits[count++] = (char)('0' + value % 10);
    while (value /= 10);
    while (count)
        *to++ = digits[--count];
    *to = 0;
}

/* Starts a program with its output in a pipe, and waits for it. Its line, without its end, goes to `line`. */
static int start(char *path, char *count, char *line)
{
    int ends[2];
    require(syscall3(SYS_pipe, (word)ends, 0, 0) == 0);
    i64 child = syscall0(SYS_fork);
    if (child == 0) {
        char *words[] = { path, count, 0 }, *none[] = { 0 };
        syscall3(SYS_dup2, ends[1], 1, 0);
        syscall3(SYS_execve, (word)path, (word)words, (word)none);
        leave(127);
    }
    syscall3(SYS_close, ends[1], 0, 0);
    i64 length = 0, got;
    while (length < LINE - 1 && (got = syscall3(SYS_read, ends[0], (word)(line + length), LINE - 1 - length)) > 0)
        length += got;
    syscall3(SYS_close, ends[0], 0, 0);
    while (length > 0 && line[length - 1] == '\n')
        length--;
    line[length] = 0;
    return reap(child);
}

static void measure(char *name, char *count)
{
    static char path[LINE], line[LINE], status_text[24];
    *put(put(path, "/bench/"), name) = 0;
    say("begin ", name, "");
    int status = start(path, count, line);
    if (status == 0) {
        say("end ", line, "");
        return;
    }
    decimal(status_text, (u64)status);
    *put(put(line, name), " ") = 0;
    say("failed ", line, status_text);
}

__attribute__((used)) static void begin(word *stack)
{
    arguments = (char **)(stack + 1);
    /* The kernel's own messages would come between our lines. */
    syscall3(SYS_syslog, CONSOLE_LEVEL, 0, 1);
    say("ready", "", "");
    char *at = stack[0] >= 2 ? arguments[1] : "";
    while (*at) {
        char *name = at, *count = "0";
        for (; *at && *at != ','; at++)
            if (*at == ':') {
                *at = 0;
                count = at + 1;
            }
        if (*at)
            *at++ = 0;
        measure(name, count);
    }
    say("done", "", "");
    syscall4(SYS_reboot, 0xfee1dead, 0x28121969, POWER_OFF, 0);
    leave(0);
}
