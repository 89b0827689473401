/* SPDX-License-Identifier: MIT */
/*
 * If this fails: kill, fork, clone, fault, pause and exit at the same time on several PCPUs corrupt
 * the tree, hang, or lose pages.
 */
#include "guest.h"

#define STEPS 30
#define PAGES 40

static uint8_t memory[PAGES][PAGE] __attribute__((aligned(PAGE)));
static volatile uint64_t template;
static volatile bool is_child; /* of the arena: its other harts, which were racing there, stop */

static void write_some(uint64_t *seed)
{
	for (unsigned i = 0; i < 10; i++) {
		uint64_t r = random_next(seed);

		memory[r % PAGES][r >> 32 & 0xfff] = (uint8_t)r;
	}
}

/* A child that forks, writes, and ends in some way, or does not end. */
static void live(uint64_t seed)
{
	is_child = true;
	for (;;) {
		write_some(&seed);
		switch (random_next(&seed) % 8) {
		case 0: {
			/* Grandchildren are not awaited. */
			struct sbiret r = dx_fork_try(NULL);

			if (r.error == 0 && r.value == 0)
				seed ^= now();
			break;
		}
		case 1:
			dx_exit(0);
			break;
		case 2:
			dx_yield();
			break;
		case 3:
			sbi(EID_SRST, 0, 0, 0, 0, 0, 0);
			break;
		case 4:
			sbi_set_timer(now() + 100);
			csr_set(sie, BIT(IRQ_TIMER));
			__asm__ volatile("wfi");
			break;
		}
	}
}

static uint64_t some_child(uint64_t *seed)
{
	uint64_t at = 0, next;

	for (unsigned n = random_next(seed) % 6 + 1; n; n--) {
		next = dx(DX_FID_NEXT, at, 0, 0).value;
		if (!next)
			break;
		at = next;
	}
	return at == template ? 0 : at;
}

static void make_child(uint64_t *seed)
{
	struct sbiret r = {0, 0};

	if (dx_info(DX_SELF)->children > 12)
		return;
	if (random_next(seed) & 1) {
		r = dx(DX_FID_CLONE, template, 0, 0);
	} else {
		struct dx_fork *f = dx_fork_options(0);

		f->limit[DX_LIMIT_DEPTH] = 2;
		r = dx_fork_try(f);
		if (r.error == 0 && r.value == 0)
			live(*seed);
	}
}

/* One hart of several that do anything to any child. Which errors there are is not known; that all
 * ends is what counts. */
static void race(struct hart *h)
{
	uint64_t seed = h->arg;

	for (unsigned i = 0; i < STEPS && !is_child; i++) {
		uint64_t child = some_child(&seed);

		write_some(&seed);
		switch (random_next(&seed) % 8) {
		case 0:
		case 1:
		case 2:
			make_child(&seed);
			break;
		case 3:
			dx(DX_FID_PAUSE, child, 0, 0);
			break;
		case 4:
			dx(DX_FID_RESUME, child, 0, 0);
			break;
		case 5:
			dx(DX_FID_KILL, child, 0, 0);
			break;
		default:
			dx(DX_FID_REAP, child, 0, 0);
		}
	}
}

/* The number of children that are left when all were told to go. */
static void end_all(void)
{
	uint64_t at = 0;

	while ((at = dx(DX_FID_NEXT, 0, 0, 0).value)) {
		dx(DX_FID_KILL, at, 0, 0);
		while (dx(DX_FID_REAP, at, 0, 0).error)
			dx_yield();
	}
}

/* What the clones begin with: VCPU 0 alone. */
static void make_template(void)
{
	struct sbiret r = dx_fork_try(dx_fork_options(DX_PAUSED));

	if (r.error)
		broken("template: error", (uint64_t)r.error, 0, 0);
	if (r.value == 0)
		live(now());
	template = r.value;
}

/* The whole arena is one child, so that forks of it share: its harts race. */
static void arena(uint64_t seed)
{
	write_some(&seed);
	make_template();
	for (unsigned i = 1; i < m.nharts; i++) {
		harts[i].arg = seed + i;
		hart_start(i, race);
	}
	this_hart()->arg = seed;
	race(this_hart());
	for (unsigned i = 1; i < m.nharts; i++)
		while (sbi_hart_status(i) != HSM_STOPPED)
			dx_yield();
	end_all();
	dx_exit(dx_info(DX_SELF)->children);
}

/* A template and its clones, which share all of its pages, end together. */
static void end_together(uint64_t seed)
{
	uint64_t handles[4];

	make_template();
	for (unsigned i = 0; i < ARRAY_SIZE(handles); i++) {
		handles[i] = dx(DX_FID_CLONE, template, 0, 0).value;
		write_some(&seed);
	}
	dx(DX_FID_KILL, template, 0, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(handles); i++)
		dx(DX_FID_KILL, handles[i], 0, 0);
	end_all();
	dx_exit(0);
}

static void dirty_all(void)
{
	for (unsigned i = 0; i < PAGES; i++)
		memory[i][0] = (uint8_t)(i + 1);
}

void guest_main(void)
{
	dirty_all();
	dx_end_is("the arena is empty", dx_spawn(arena, 1), 0);
	uint64_t before = dx_pages();

	for (uint64_t i = 2; i < 6; i++)
		dx_end_is("the arena is empty", dx_spawn(arena, i * 1000), 0);
	for (uint64_t i = 0; i < 6; i++)
		dx_end_is("a template and its clones end together", dx_spawn(end_together, i), 0);
	/* Killed in the midst of it. */
	for (uint64_t i = 0; i < 4; i++) {
		uint64_t child = dx_spawn(arena, i * 500), seed = i;

		spin_for(m.hz / 2000 * (random_next(&seed) % 20));
		dx(DX_FID_KILL, child, 0, 0);
		check("the arena ends", dx_end(child).reason != DX_REASON_CRASH);
	}
	check_eq("not one page lost", dx_pages(), before);
}
