/* Scalar doubles: five bodies that attract each other, in steps of a hundredth of a day. */

#include "start.h"

enum { BODIES = 5, STEPS = 256 };

struct body {
    double place[3], speed[3], mass;
};

static double root(double x)
{
    __asm__("sqrtsd %0, %0" : "+x"(x));
    return x;
}

static void step(struct body *bodies, double time)
{
    for (int i = 0; i < BODIES; i++) {
        struct body *a = &bodies[i];
        for (int j = i + 1; j < BODIES; j++) {
            struct body *b = &bodies[j];
            double d[3], square = 0;
            for (int k = 0; k < 3; k++) {
                d[k] = a->place[k] - b->place[k];
                square += d[k] * d[k];
            }
            double pull = time / (square * root(square));
            for (int k = 0; k < 3; k++) {
                a->speed[k] -= d[k] * b->mass * pull;
                b->speed[k] += d[k] * a->mass * pull;
            }
        }
    }
    for (int i = 0; i < BODIES; i++)
        for (int k = 0; k < 3; k++)
            bodies[i].place[k] += time * bodies[i].speed[k];
}

static u64 run(u64 count)
{
    struct body bodies[BODIES] = {
        { { 0, 0, 0 }, { 0, 0, 0 }, 39.5 },
        { { 4.84, -1.16, -0.104 }, { 0.606, 2.81, -0.025 }, 0.0377 },
        { { 8.34, 4.12, -0.404 }, { -1.01, 1.82, 0.0084 }, 0.0113 },
        { { 12.9, -15.1, -0.223 }, { 1.08, 0.868, -0.0108 }, 0.0017 },
        { { 15.4, -25.9, 0.179 }, { 0.979, 0.594, -0.0347 }, 0.002 },
    };
    u64 sum = 0;
    while (count--) {
        for (int i = 0; i < STEPS; i++)
            step(bodies, 0.01);
        for (int i = 0; i < BODIES; i++) {
            union { double number; u64 bits; } x = { .number = bodies[i].place[i % 3] };
            sum = mix(sum, x.bits);
        }
    }
    return sum;
}
