/* SPDX-License-Identifier: MIT */
/*
 * Types at a child's console, a key every five minutes, and tells how many microseconds of this
 * VM's time the slowest echo took: echo HANDLE KEYS.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include "guest/driver/diosix_ioctl.h"

#define REST_S 300 /* in which all that looks by the clock has become as slow as it will */

static long now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void swallow(int fd)
{
	char buf[4096];

	fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK);
	while (read(fd, buf, sizeof(buf)) > 0)
		;
	fcntl(fd, F_SETFL, O_RDWR);
}

/* How long it takes until the key comes back; -1 if something else does. */
static long echo_us(int fd, char key)
{
	long start = now_us();
	char got = 0;

	if (write(fd, &key, 1) != 1 || read(fd, &got, 1) != 1 || got != key)
		return -1;
	return now_us() - start;
}

int main(int argc, char **argv)
{
	int dx = open("/dev/diosix", O_RDWR),
	    fd = argc == 3 ? ioctl(dx, DXIO_OPEN, atoi(argv[1])) : -1;
	long worst = 0;

	for (int i = 0; fd >= 0 && i < atoi(argv[2]); i++) {
		long us;

		sleep(REST_S);
		swallow(fd);
		us = echo_us(fd, (char)('a' + i));
		if (us < 0)
			return 1;
		worst = us > worst ? us : worst;
	}
	printf("%ld\n", worst);
	return fd < 0;
}
