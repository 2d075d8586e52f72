/* SPDX-License-Identifier: MIT */
#ifndef NOE_CLOCK_H
#define NOE_CLOCK_H

#include <stdint.h>

/* Microseconds on the monotonic clock: for deadlines and durations. It does
 * not move when somebody sets the wall clock. */
int64_t noe_clock_us(void);

/* Microseconds since 1970 on the wall clock, which may jump. */
int64_t noe_clock_wall_us(void);

#endif
