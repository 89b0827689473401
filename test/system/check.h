/* SPDX-License-Identifier: MIT */
/* What programs that test the driver share: each ends at the first thing that is not so. */
#pragma once

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "guest/driver/diosix_ioctl.h"

#define PAGE 4096u

#define CHECK(what)                                                                                \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			printf("%s: line %d: not so: %s (%s)\n", __FILE__, __LINE__, #what,        \
				strerror(errno));                                                  \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

static inline void keep_limits(uint64_t limit[DX_LIMITS])
{
	for (unsigned i = 0; i < DX_LIMITS; i++)
		limit[i] = DX_KEEP;
}

/* Kills a child, unless it has ended, and forgets it. */
static inline void end_child(int dx, int handle)
{
	int fd = ioctl(dx, DXIO_OPEN, handle);
	struct pollfd p = {.fd = fd, .events = POLLPRI};
	struct dx_info info;

	CHECK(fd >= 0);
	CHECK(ioctl(dx, DXIO_KILL, handle) == 0 || errno == EBUSY || errno == ENOENT);
	for (;;) {
		ioctl(fd, DXIO_EVENTS);
		CHECK(ioctl(fd, DXIO_LAST, &info) == 0);
		if (info.state == DX_GONE)
			break;
		CHECK(poll(&p, 1, -1) == 1);
	}
	CHECK(ioctl(dx, DXIO_REAP, handle) == 0);
	close(fd);
}
