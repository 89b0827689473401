/* SPDX-License-Identifier: MIT */
/*
 * A template is killed, or the clone that is being made of it, at every moment of CLONE: it gives a
 * child, or an error and no trace of one. If this failed, a clone could run on what is not the
 * template's any more, or be left half made and never go away.
 *
 *   template ROUNDS    says "template: all is well", and how often it was made and was not
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <stdatomic.h>
#include <stdbool.h>
#include "check.h"

#define RAM     (8u << 20)
#define AHEAD   20000 /* loops that the killer has before CLONE, so that it can be too early */
#define FOREVER 0x0000006fu /* j . */

struct order {
	int round, template;
	unsigned delay; /* loops */
};

static int dx, orders[2], done[2]; /* pipes to the killer and back */
static atomic_bool awake;          /* the killer, which waits until this is taken back */

static void spin(unsigned n)
{
	for (; n > 0; n--)
		__asm__ volatile("");
}

static struct dx_info info_of(int handle)
{
	struct dxio_info i = {.handle = (unsigned)handle};

	CHECK(ioctl(dx, DXIO_INFO, &i) == 0);
	return i.info;
}

/* What stands at the start of each page; of the first, it is what the child executes. */
static uint32_t word_at(unsigned at)
{
	return at ? at | 1 : FOREVER;
}

/* A paused child. While there is a window its memory is copied by CLONE, page by page, and that
 * takes many steps.
 */
static int make_template(uint8_t **window)
{
	struct dxio_create c = {.create = {.vcpus = 1, .ram_size = RAM}, .name = "template"};
	int handle, fd;
	uint64_t base;
	uint8_t *w;

	keep_limits(c.create.limit);
	handle = ioctl(dx, DXIO_CREATE, &c);
	CHECK(handle > 0);
	fd = ioctl(dx, DXIO_OPEN, handle);
	base = info_of(handle).ram_base;
	w = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)base);
	CHECK(fd >= 0 && w != MAP_FAILED);
	for (unsigned at = 0; at < RAM; at += PAGE)
		*(volatile uint32_t *)(w + at) = word_at(at);
	*window = w;
	close(fd);
	struct dxio_start s = {.handle = (unsigned)handle, .entry = base};

	CHECK(ioctl(dx, DXIO_START, &s) == 0 && ioctl(dx, DXIO_PAUSE, handle) == 0);
	return handle;
}

/* The one who clones and the one who kills meet when each has a CPU. */
static void run_on(unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	CHECK(sched_setaffinity(0, sizeof(set), &set) == 0);
}

/* The child behind the template: only a clone that is being made can be that. */
static int other(int template)
{
	int h = ioctl(dx, DXIO_NEXT, 0);

	return h == template ? ioctl(dx, DXIO_NEXT, h) : h;
}

/* Kills the template in even rounds, the clone in odd ones, and in the first nobody. */
static void *killer(void *arg)
{
	struct order o;

	run_on(1);
	while (read(orders[0], &o, sizeof(o)) == sizeof(o)) {
		atomic_store(&awake, true);
		while (atomic_load(&awake))
			;
		spin(o.delay);
		int victim = o.round % 2 ? other(o.template) : o.template;

		if (o.round && victim > 0)
			ioctl(dx, DXIO_KILL, victim);
		CHECK(write(done[1], "", 1) == 1);
	}
	return arg;
}

/* One that lives has all that the template had. */
static void check_clone(int clone)
{
	int fd = ioctl(dx, DXIO_OPEN, clone);
	uint8_t *w = mmap(NULL, RAM, PROT_READ, MAP_SHARED, fd, (off_t)info_of(clone).ram_base);

	for (unsigned at = 0; w != MAP_FAILED && at < RAM; at += PAGE)
		CHECK(*(volatile uint32_t *)(w + at) == word_at(at) ||
			info_of(clone).state >= DX_DYING);
	CHECK(w != MAP_FAILED || info_of(clone).state >= DX_DYING);
	if (w != MAP_FAILED)
		munmap(w, RAM);
	close(fd);
}

static bool clone_in_round(int round, unsigned wait)
{
	uint8_t *window;
	struct order o = {round, make_template(&window), wait};
	struct dxio_clone c = {.handle = (unsigned)o.template, .name = "clone"};
	int clone;
	char any;

	keep_limits(c.fork.limit);
	CHECK(write(orders[1], &o, sizeof(o)) == sizeof(o));
	while (!atomic_load(&awake))
		;
	atomic_store(&awake, false);
	spin(AHEAD);
	clone = ioctl(dx, DXIO_CLONE, &c);
	CHECK(clone > 0 || errno == EBUSY || errno == ENOENT);
	CHECK(read(done[0], &any, 1) == 1);
	/* One that was killed when it was made already is a child that has ended. */
	if (clone > 0) {
		check_clone(clone);
		end_child(dx, clone);
	}
	CHECK(other(o.template) == 0);
	munmap(window, RAM);
	end_child(dx, o.template);
	return clone > 0;
}

static uint64_t pages_used(void)
{
	struct dxio_quota q = {.handle = DX_SELF};

	CHECK(ioctl(dx, DXIO_QUOTA, &q) == 0);
	return q.quota.used[DX_LIMIT_PAGES];
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 1, made = 0, in_vain = 0;
	pthread_t thread;
	unsigned wait = 0;
	uint64_t used;

	dx = open("/dev/diosix", O_RDWR);
	CHECK(dx >= 0 && pipe(orders) == 0 && pipe(done) == 0);
	CHECK(pthread_create(&thread, NULL, killer, NULL) == 0);
	run_on(0);
	CHECK(clone_in_round(0, 0));
	used = pages_used();
	for (int round = 1; round <= rounds; round++) {
		bool whole = clone_in_round(round, wait);

		/* So that both happen, again and again: later when it failed, earlier when not. */
		made += whole;
		in_vain += !whole;
		wait = whole ? wait - wait / 8 : wait + wait / 8 + 500;
	}
	close(orders[1]);
	pthread_join(thread, NULL);
	CHECK(pages_used() == used);
	printf("template: all is well: %d made, %d in vain\n", made, in_vain);
	return 0;
}
