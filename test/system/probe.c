/* SPDX-License-Identifier: MIT */
/*
 * A program that uses /dev/diosix itself, as dx never does: it forks the VM that it runs in and
 * meets its own copy through a window into the child's memory, through its console, and by its
 * events. If this failed, an fd of a child would not be what guest/driver/diosix_ioctl.h says.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "guest/driver/diosix_ioctl.h"

#define PAGE   4096u
#define BEFORE 0x0123456789abcdefu /* in memory when the VM is forked */
#define MINE   0x1111111111111111u /* what the parent then has */
#define ANSWER 0x2222222222222222u /* what it writes into the child */
#define ALONE  0x3333333333333333u /* what the child has in the end */

#define CHECK(what)                                                                                \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			printf("probe: line %d: not so: %s (%s)\n", __LINE__, #what,               \
				strerror(errno));                                                  \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

static volatile uint64_t *word; /* in a page of its own that stays where it is */
static int dx;

/* The GPA of a page of this process; see the kernel's Documentation/admin-guide/mm/pagemap.rst. */
static uint64_t gpa_of(volatile void *p)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entry = 0;

	CHECK(pread(fd, &entry, 8, (off_t)((uintptr_t)p / PAGE * 8)) == 8);
	CHECK(entry >> 63 && (entry & ((1ULL << 55) - 1)));
	close(fd);
	return (entry & ((1ULL << 55) - 1)) * PAGE;
}

/* In the child. Its console says what it found, and then it is quiet. */
static void be_child(void)
{
	while (*word != ANSWER)
		usleep(1000);
	*word = ALONE;
	printf("child: answered\n");
	fflush(stdout);
	for (;;)
		pause();
}

static short ready(int fd, short events, int timeout)
{
	struct pollfd p = {.fd = fd, .events = events};

	CHECK(poll(&p, 1, timeout) >= 0);
	return p.revents;
}

static void read_until(int fd, const char *wanted)
{
	static char seen[1 << 17];
	size_t n = 0;

	while (!strstr(seen, wanted)) {
		ssize_t got;

		CHECK(ready(fd, POLLIN, -1) & POLLIN);
		got = read(fd, seen + n, sizeof(seen) - 1 - n);
		CHECK(got > 0);
		for (ssize_t i = 0; i < got; i++)
			if (!seen[n + i])
				seen[n + i] = ' ';
		n += (size_t)got;
	}
}

static void windows(int fd, uint64_t gpa)
{
	volatile uint64_t *w, *r;

	errno = 0;
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, (off_t)gpa) == MAP_FAILED &&
		errno == EINVAL);
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED);
	r = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, (off_t)gpa);
	w = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)gpa);
	CHECK(r != MAP_FAILED && w != MAP_FAILED);
	CHECK(mprotect((void *)r, PAGE, PROT_READ | PROT_WRITE) < 0 && errno == EACCES);
	CHECK(*r == BEFORE && *w == BEFORE && *word == MINE);
	*w = ANSWER;
	read_until(fd, "child: answered");
	CHECK(*r == ALONE && *w == ALONE && *word == MINE);
}

static void events(int fd, uint32_t handle)
{
	ioctl(fd, DXIO_EVENTS);
	CHECK(ready(fd, POLLPRI, 0) == 0);
	CHECK(ioctl(dx, DXIO_PAUSE, handle) == 0);
	CHECK(ready(fd, POLLPRI, -1) == POLLPRI);
	CHECK(ioctl(fd, DXIO_EVENTS) & DX_EVENT_STATE);
	CHECK(ready(fd, POLLPRI, 0) == 0);
	CHECK(ioctl(dx, DXIO_RESUME, handle) == 0);
}

/* The record of the end is for everybody who holds the child, though one has reaped it. */
static void the_end(int fd, uint32_t handle)
{
	struct dx_info info = {0};
	volatile uint64_t *w;
	char c;

	w = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, (off_t)gpa_of(word));
	CHECK(w != MAP_FAILED);
	CHECK(ioctl(dx, DXIO_REAP, handle) < 0 && errno == EBUSY);
	CHECK(ioctl(dx, DXIO_KILL, handle) == 0);
	do {
		CHECK(ready(fd, POLLPRI, -1) & POLLPRI);
		ioctl(fd, DXIO_EVENTS);
		CHECK(ioctl(fd, DXIO_LAST, &info) == 0);
	} while (info.state != DX_GONE);
	CHECK(ioctl(dx, DXIO_REAP, handle) == 0);
	memset(&info, 0, sizeof(info));
	CHECK(ioctl(fd, DXIO_LAST, &info) == 0 && info.reason == DX_REASON_KILLED);
	CHECK(ready(fd, POLLIN, -1) & POLLHUP);
	while (read(fd, &c, 1) == 1)
		;
	CHECK(read(fd, &c, 1) == 0);
	CHECK(write(fd, "x", 1) < 0 && errno == ENODEV);
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, (off_t)gpa_of(word)) == MAP_FAILED &&
		errno == ENODEV);
	CHECK(*w == ALONE);
}

int main(void)
{
	struct dxio_fork f = {.name = "probe"};
	uint64_t gpa;
	int handle, fd;

	for (unsigned i = 0; i < DX_LIMITS; i++)
		f.fork.limit[i] = DX_KEEP;
	dx = open("/dev/diosix", O_RDWR);
	CHECK(dx >= 0);
	word = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(word != MAP_FAILED && mlock((void *)word, PAGE) == 0);
	*word = BEFORE;
	gpa = gpa_of(word);
	handle = ioctl(dx, DXIO_FORK, &f);
	CHECK(handle >= 0);
	if (handle == 0)
		be_child();
	*word = MINE;
	fd = ioctl(dx, DXIO_OPEN, handle);
	CHECK(fd >= 0);
	windows(fd, gpa);
	CHECK(system("rmmod diosix 2>/dev/null; test -e /sys/module/diosix") == 0);
	events(fd, (uint32_t)handle);
	the_end(fd, (uint32_t)handle);
	printf("probe: all is well\n");
	return 0;
}
