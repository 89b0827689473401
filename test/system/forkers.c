/* SPDX-License-Identifier: MIT */
/*
 * Several programs fork the VM that they run in at the same time. One is first, and in its child
 * the others are about to fork, too: n programs make 2^n VMs. In each of these all of them go on,
 * and the children there have the names that they gave. If this failed, the driver would take what
 * was begun in one VM for something of the other's.
 *
 *   forkers N    up to four programs, where there are no children; says how many VMs they made
 */
#include <fcntl.h>
#include <sys/wait.h>
#include "check.h"

#define MOST 4

static int dx;

static void name_of(char name[DX_NAME_MAX], unsigned who)
{
	memset(name, 0, DX_NAME_MAX);
	snprintf(name, DX_NAME_MAX, "forker%u", who);
}

/* Nobody sends these programs a signal, so none of their calls is interrupted. */
static _Noreturn void fork_once(unsigned who, int start)
{
	struct dxio_fork f = {0};
	char c;

	keep_limits(f.fork.limit);
	name_of(f.name, who);
	CHECK(read(start, &c, 1) == 0);
	CHECK(ioctl(dx, DXIO_FORK, &f) >= 0);
	exit(0);
}

/* They begin when the pipe is closed, and have ended when this returns, in whichever VM. */
static void fork_all(unsigned n)
{
	int start[2], status;

	CHECK(pipe(start) == 0);
	for (unsigned i = 0; i < n; i++) {
		if (fork() == 0) {
			close(start[1]);
			fork_once(i, start[0]);
		}
	}
	close(start[1]);
	for (unsigned i = 0; i < n; i++)
		CHECK(wait(&status) > 0 && status == 0);
}

/* A bit for the child's name. */
static unsigned who_is(int fd)
{
	char expected[DX_NAME_MAX];
	struct dxio_name n;

	CHECK(ioctl(fd, DXIO_NAME_GET, &n) == 0);
	for (unsigned i = 0; i < MOST; i++) {
		name_of(expected, i);
		if (memcmp(n.name, expected, DX_NAME_MAX) == 0)
			return 1u << i;
	}
	printf("%s: a child's name is not so: %s\n", __FILE__, n.name);
	exit(1);
}

/* What this program's copy in the child says in the end. */
static unsigned result(int fd)
{
	static char seen[1 << 16];
	size_t n = 0;
	char *at;

	memset(seen, 0, sizeof(seen));
	while (!(at = strstr(seen, "forkers: ")) || !strstr(at, "VMs")) {
		ssize_t got = read(fd, seen + n, sizeof(seen) - 1 - n);

		CHECK(got > 0);
		for (ssize_t i = 0; i < got; i++)
			if (!seen[n + (size_t)i])
				seen[n + (size_t)i] = ' ';
		n += (size_t)got;
		CHECK(!strstr(seen, "not so"));
	}
	return (unsigned)atoi(at + strlen("forkers: "));
}

/* Looks at the children and ends them: how many VMs there are from here on. */
static unsigned count(void)
{
	unsigned vms = 1, seen = 0;

	for (int h = 0; (h = ioctl(dx, DXIO_NEXT, h)) != 0;) {
		int fd = h > 0 ? ioctl(dx, DXIO_OPEN, h) : -1;
		unsigned who;

		CHECK(fd >= 0);
		who = who_is(fd);
		CHECK(!(seen & who));
		seen |= who;
		vms += result(fd);
		close(fd);
		end_child(dx, h);
	}
	return vms;
}

int main(int argc, char **argv)
{
	unsigned n = argc > 1 ? (unsigned)atoi(argv[1]) : 0;

	CHECK(n > 0 && n <= MOST);
	dx = open("/dev/diosix", O_RDWR);
	CHECK(dx >= 0);
	CHECK(ioctl(dx, DXIO_NEXT, 0) == 0);
	fork_all(n);
	printf("forkers: %u VMs\n", count());
	return 0;
}
