/* SPDX-License-Identifier: MIT */
/*
 * Random calls to the driver from several threads, with fds of /dev/diosix and of children that all
 * of them use and close: numbers of calls that are and are not, handles that live, lived and never
 * did, structs of random bytes, addresses where nothing is. If this failed, a program could crash
 * the kernel, hang, or lose memory for good. What cannot be undone is left out: this VM's limits
 * and its trust. FORK gets wrong arguments only.
 *
 *   fuzz_driver SEED CALLS    says "fuzz: all is well" when nothing is left
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/mman.h>
#include "check.h"

#define THREADS 4
#define FDS     32
#define VMS     8           /* children at most: each costs memory */
#define FOREVER 0x0000006fu /* j . */

struct thread {
	pthread_t id;
	uint64_t random, calls;
};

/* fds[0] is the device's; the others are whatever was opened there last, also when it is closed by
 * another thread meanwhile.
 */
static int fds[FDS];
static uint8_t *nowhere; /* a page, with nothing behind it */

static uint64_t rnd(struct thread *t)
{
	t->random ^= t->random << 13;
	t->random ^= t->random >> 7;
	t->random ^= t->random << 17;
	return t->random;
}

static uint64_t below(struct thread *t, uint64_t n)
{
	return rnd(t) % n;
}

static const unsigned long structs[] = {DXIO_FORK, DXIO_CLONE, DXIO_CREATE, DXIO_START, DXIO_INFO,
	DXIO_QUOTA, DXIO_LIMIT, DXIO_PRIORITY, DXIO_FDT, DXIO_NAME_GET, DXIO_NAME_SET, DXIO_LAST};
static const unsigned long handles[] = {DXIO_VERSION, DXIO_NEXT, DXIO_PAUSE, DXIO_RESUME, DXIO_KILL,
	DXIO_REBOOT, DXIO_REAP, DXIO_OPEN, DXIO_EVENTS};

/* Mostly a child that is there. Never this VM where that would be for good. */
static uint32_t any_handle(struct thread *t)
{
	int h = 0;

	if (below(t, 8) == 0)
		return (uint32_t)rnd(t) | 1;
	for (uint64_t n = below(t, VMS) + 1; n > 0; n--) {
		int next = ioctl(fds[0], DXIO_NEXT, h);

		if (next <= 0)
			break;
		h = next;
	}
	return h > 0 ? (uint32_t)h : 1;
}

static void noise(struct thread *t, void *at, size_t n)
{
	for (uint8_t *p = at; n > 0; n--, p++)
		*p = (uint8_t)rnd(t);
}

static void any_name(struct thread *t, char name[DX_NAME_MAX])
{
	if (below(t, 4) == 0)
		noise(t, name, DX_NAME_MAX);
	else
		snprintf(name, DX_NAME_MAX, "f%u", (unsigned)below(t, 2 * VMS));
}

/* Numbers as they could be meant, or on an edge. */
static uint64_t any_number(struct thread *t)
{
	static const uint64_t edges[] = {0, 1, PAGE, 2u << 20, 64u << 20, INT32_MAX, UINT32_MAX,
		1ull << 40, 1ull << 63, UINT64_MAX - PAGE + 1, UINT64_MAX};

	return below(t, 4) ? edges[below(t, sizeof(edges) / sizeof(edges[0]))] : rnd(t);
}

/* Where a child's RAM begins, mostly. */
static uint64_t any_ram(struct thread *t)
{
	struct dxio_info i = {.handle = any_handle(t)};

	ioctl(fds[0], DXIO_INFO, &i);
	return below(t, 4) ? i.info.ram_base : any_number(t);
}

static bool any_room(void)
{
	unsigned n = 0;

	for (int h = 0; (h = ioctl(fds[0], DXIO_NEXT, h)) > 0;)
		n++;
	return n < VMS;
}

static void fill_create(struct thread *t, struct dxio_create *c)
{
	*c = (struct dxio_create){
		.create = {.vcpus = (unsigned)below(t, 4), .ram_size = (below(t, 4) << 20)}};
	keep_limits(c->create.limit);
	any_name(t, c->name);
	if (below(t, 4) == 0)
		c->create.limit[below(t, DX_LIMITS)] = any_number(t);
	if (below(t, 8) == 0)
		c->create.ram_size = any_number(t);
	if (below(t, 8) == 0 || !any_room())
		c->create.reserved = 1;
	c->create.flags = below(t, 8) ? 0 : (uint32_t)rnd(t);
}

static void fill_clone(struct thread *t, struct dxio_clone *c)
{
	*c = (struct dxio_clone){.handle = any_handle(t), .fork.flags = (uint32_t)below(t, 16)};
	keep_limits(c->fork.limit);
	any_name(t, c->name);
	if (below(t, 4) == 0)
		c->fork.limit[below(t, DX_LIMITS)] = any_number(t);
	c->fork.reserved = below(t, 8) == 0 || !any_room();
}

/* The struct of a call, at `s`. */
static void fill(struct thread *t, unsigned long call, void *s)
{
	noise(t, s, _IOC_SIZE(call));
	if (call == DXIO_CREATE)
		fill_create(t, s);
	else if (call == DXIO_CLONE)
		fill_clone(t, s);
	else if (call == DXIO_FORK)
		((struct dxio_fork *)s)->fork.reserved |= 1;
	else if (call == DXIO_FDT)
		*(struct dxio_fdt *)s = (struct dxio_fdt){
			any_handle(t), (uint32_t)any_number(t), (uintptr_t)nowhere};
	else if (call == DXIO_NAME_SET)
		any_name(t, s);
	else
		*(uint32_t *)s = any_handle(t);
	if (call == DXIO_LIMIT)
		((struct dxio_limit *)s)->limit %= DX_LIMITS + 1;
	if (call == DXIO_LIMIT)
		((struct dxio_limit *)s)->amount = any_number(t);
	if (call == DXIO_START)
		((struct dxio_start *)s)->entry = any_ram(t);
}

static void call_struct(struct thread *t, int fd)
{
	unsigned long call = structs[below(t, sizeof(structs) / sizeof(structs[0]))];
	uint64_t room[64];
	uint8_t *at = (uint8_t *)room;

	if (call == DXIO_FORK && below(t, 32))
		return; /* the whole VM stands still for it */
	switch (below(t, 16)) {
	case 0:
		at = NULL;
		break;
	case 1:
		at = nowhere + PAGE - 8; /* it ends where nothing is */
		break;
	case 2:
		at = (uint8_t *)(uintptr_t)(0xffffffd600000000ull + (rnd(t) & 0xffffff8));
		break;
	default:
		fill(t, call, at);
	}
	ioctl(fd, call, at);
}

static void call_handle(struct thread *t, int fd)
{
	unsigned long call = handles[below(t, sizeof(handles) / sizeof(handles[0]))];
	int got = ioctl(fd, call, (unsigned long)any_handle(t));

	if (call == DXIO_OPEN && got >= 0) {
		unsigned i = 1 + (unsigned)below(t, FDS - 1);

		fcntl(got, F_SETFL, O_RDWR | O_NONBLOCK);
		close(__atomic_exchange_n(&fds[i], got, __ATOMIC_SEQ_CST));
	}
}

/* Numbers behind the last; DXIO_DROP_TRUST is among those before. */
static void call_unknown(struct thread *t, int fd)
{
	ioctl(fd, below(t, 2) ? _IO(DXIO_MAGIC, 18 + below(t, 200)) : rnd(t) | 0xff, NULL);
}

static void transfer(struct thread *t, int fd)
{
	size_t n = (size_t)(below(t, 4) ? below(t, 2 * PAGE) : any_number(t));
	uint8_t *at = below(t, 4) ? nowhere : NULL;

	if (below(t, 2))
		(void)!read(fd, at, n);
	else
		(void)!write(fd, at, n);
}

static void map(struct thread *t, int fd)
{
	uint64_t at = any_ram(t) & ~(uint64_t)(PAGE - 1),
		 size = below(t, 4) ? (1 + below(t, 600)) * PAGE
				    : any_number(t) & ~(uint64_t)(PAGE - 1);
	bool write = below(t, 2);
	uint8_t *w;

	w = mmap(NULL, size, write ? PROT_READ | PROT_WRITE : PROT_READ,
		below(t, 8) ? MAP_SHARED : MAP_PRIVATE, fd, (off_t)at);
	if (w == MAP_FAILED)
		return;
	if (write)
		*(volatile uint32_t *)w = FOREVER;
	if (below(t, 2))
		munmap(w + size / PAGE / 2 * PAGE, PAGE); /* a hole: two areas */
	munmap(w, size);
}

static void look(struct thread *t, int fd)
{
	struct pollfd p[2] = {
		{.fd = fd, .events = (short)rnd(t)}, {.fd = fds[below(t, FDS)], .events = POLLIN}};

	poll(p, 2, 0);
}

static void *run(void *arg)
{
	struct thread *t = arg;

	for (; t->calls > 0; t->calls--) {
		int fd = fds[below(t, 2) ? 0 : below(t, FDS)];
		uint64_t what = below(t, 16);

		if (what < 6)
			call_struct(t, fd);
		else if (what < 11)
			call_handle(t, fd);
		else if (what < 12)
			call_unknown(t, fd);
		else if (what < 13)
			look(t, fd);
		else if (what < 15)
			transfer(t, fd);
		else
			map(t, fd);
	}
	return NULL;
}

/* All children are ended, all fds closed. */
static void clean_up(void)
{
	for (int h; (h = ioctl(fds[0], DXIO_NEXT, 0)) != 0;) {
		CHECK(h > 0);
		end_child(fds[0], h);
	}
	for (unsigned i = 1; i < FDS; i++)
		close(fds[i]);
}

int main(int argc, char **argv)
{
	static struct thread threads[THREADS];

	CHECK(argc == 3);
	for (unsigned i = 0; i < FDS; i++) {
		fds[i] = open("/dev/diosix", O_RDWR | O_NONBLOCK);
		CHECK(fds[i] >= 0);
	}
	nowhere = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(nowhere != MAP_FAILED && munmap(nowhere + PAGE, PAGE) == 0);
	for (unsigned i = 0; i < THREADS; i++) {
		threads[i] = (struct thread){.random = (uint64_t)atoi(argv[1]) * THREADS + i + 1,
			.calls = (uint64_t)atoi(argv[2])};
		CHECK(pthread_create(&threads[i].id, NULL, run, &threads[i]) == 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i].id, NULL);
	clean_up();
	printf("fuzz: all is well\n");
	return 0;
}
