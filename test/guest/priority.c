/* SPDX-License-Identifier: MIT */
/*
 * If this fails: a VM gives itself or a child a priority that is not theirs to have, or a weight
 * that is its parent's to say; a higher priority does not go first, a lower one goes before a
 * higher one; or weights do not share the CPU time.
 */
#include "family.h"

static uint64_t set(uint64_t handle, uint64_t priority, uint64_t weight)
{
	return (uint64_t)dx(DX_FID_PRIORITY, handle, priority, weight).error;
}

static void must_set(uint64_t handle, uint64_t priority, uint64_t weight)
{
	value_of("priority", dx(DX_FID_PRIORITY, handle, priority, weight));
}

static void set_ceiling(uint64_t handle, uint64_t to)
{
	value_of("ceiling", dx(DX_FID_QUOTA_SET, handle, DX_LIMIT_PRIORITY, to));
}

/* A fork may have the caller's priority at most, CREATE's child as much as the caller may. */
static uint64_t created_child(void)
{
	return value_of("create", dx(DX_FID_CREATE, (uintptr_t)dx_create_options(1, MIB(1)), 0, 0));
}

#define DENIED ((uint64_t)SBI_DENIED)

static void test_child(void)
{
	uint64_t child = created_child();

	check_eq("a new child's priority", dx_info(child)->priority, 3);
	check_eq("a new child's weight", dx_info(child)->weight, DX_WEIGHT_DEFAULT);
	for (uint64_t p = 0; p <= 7; p++) {
		check_eq_at("a child's priority", p, set(child, p, 10 + p), 0);
		check_eq_at("INFO tells it", p, dx_info(child)->priority, p);
		check_eq_at("INFO tells the weight", p, dx_info(child)->weight, 10 + p);
	}
	check_eq("the largest weight", set(child, 3, DX_WEIGHT_MAX), 0);
	check_eq("INFO tells the weight", dx_info(child)->weight, DX_WEIGHT_MAX);
	set_ceiling(child, 4);
	check_eq("up to its ceiling", set(child, 4, 100), 0);
	check_eq("above its ceiling", set(child, 5, 100), DENIED);
	set_ceiling(child, 2);
	check_eq("above the new ceiling", set(child, 3, 100), DENIED);
	check_eq("a refusal changes nothing", dx_info(child)->weight, 100);
	set_ceiling(child, 7);
	check_eq("the parent may raise it again", set(child, 7, 100), 0);
	kill_child(child);
}

static void set_own(uint64_t arg)
{
	(void)arg;
	checks_begin();
	uint64_t weight = dx_info(DX_SELF)->weight;

	check_eq("own weight: another", set(DX_SELF, 3, weight + 1), DENIED);
	check_eq("own weight: another, lower", set(DX_SELF, 3, weight - 1), DENIED);
	check_eq("own weight: the present one", set(DX_SELF, 3, weight), 0);
	check_eq("own priority: lower", set(DX_SELF, 1, weight), 0);
	check_eq("INFO tells it", dx_info(DX_SELF)->priority, 1);
	check_eq("own priority: up to the ceiling", set(DX_SELF, 3, weight), 0);
	check_eq("own priority: above it", set(DX_SELF, 4, weight), DENIED);
	uint64_t child = created_child();

	check_eq("a child's, above the parent's ceiling", set(child, 4, 100), DENIED);
	set_ceiling(DX_SELF, 2);
	check_eq("the ceiling binds at once", dx_info(DX_SELF)->priority, 2);
	check_eq("own priority: above the lower ceiling", set(DX_SELF, 3, weight), DENIED);
	check_eq("it binds a child too", set(child, 3, 100), DENIED);
	check_eq("up to it", set(child, 2, 100), 0);
	kill_child(child);
	dx_exit(checks_end());
}

static void test_self(void)
{
	uint64_t child = value_of("fork", dx_fork_try(dx_fork_options(DX_PAUSED)));

	if (child == 0) /* its ceiling is the priority of the hart that forked */
		set_own(0);
	must_set(child, 3, 150);
	value_of("resume", dx(DX_FID_RESUME, child, 0, 0));
	family_end("one that sets its own", child);
}

/* --- the effect: on one PCPU, and the caller's other harts asleep --- */

static void end_at_once(uint64_t arg)
{
	dx_exit(arg);
}

static uint64_t paused_with(void (*fn)(uint64_t), uint64_t arg, uint64_t priority)
{
	uint64_t child = value_of("fork", dx_fork_try(dx_fork_options(DX_PAUSED)));

	if (child == 0) {
		fn(arg);
		dx_exit(0);
	}
	set_ceiling(child, 7);
	must_set(child, priority, DX_WEIGHT_DEFAULT);
	return child;
}

/* Has the child come to its end before the caller's next instruction? */
static bool has_ended(uint64_t child)
{
	uint32_t state = dx_info(child)->state;

	return state == DX_DYING || state == DX_GONE;
}

static void test_wakes(void)
{
	uint64_t higher = paused_with(end_at_once, 1, 4), lower = paused_with(end_at_once, 2, 2);

	value_of("resume", dx(DX_FID_RESUME, higher, 0, 0));
	check("a higher one that wakes runs at once", has_ended(higher));
	/* Some microseconds are for finding that it is paused. */
	uint64_t time = dx_info(lower)->cpu_time;

	value_of("resume", dx(DX_FID_RESUME, lower, 0, 0));
	spin_for(m.hz / 10); /* twenty slices */
	check_eq("a lower one waits", dx_info(lower)->state, DX_RUNNING);
	check_eq("all the time", dx_info(lower)->cpu_time, time);
	must_set(lower, 4, DX_WEIGHT_DEFAULT);
	check("it runs at once when it is raised", has_ended(lower));
	dx_end_is("the higher one", higher, 1);
	dx_end_is("the lower one", lower, 2);
	lower = paused_with(end_at_once, 3, 2);
	value_of("resume", dx(DX_FID_RESUME, lower, 0, 0));
	must_set(DX_SELF, 1, dx_info(DX_SELF)->weight);
	check("it runs at once when the caller is lowered", has_ended(lower));
	must_set(DX_SELF, 3, dx_info(DX_SELF)->weight);
	dx_end_is("the lower one", lower, 3);
}

static void tick(uint64_t arg)
{
	(void)arg;
	csr_set(sie, BIT(IRQ_TIMER));
	for (;;) {
		sbi_set_timer(now() + m.hz / 1000);
		__asm__ volatile("wfi");
		sbi(EID_DBCN, 2, '\n', 0, 0, 0, 0); /* who reaps it passes on what is left */
	}
}

/* Ticks of a thousandth of a second each reach it though equals spin: none waits for a slice. */
static void test_timer(void)
{
	static char text[256];
	uint64_t child = paused_with(tick, 0, 5), n = 0, start;

	value_of("resume", dx(DX_FID_RESUME, child, 0, 0));
	start = now();
	while (now() < start + m.hz / 10) /* a hundred of them */
		n += dx(DX_FID_CONSOLE_READ, child, (uintptr_t)text, sizeof(text)).value;
	say("# of 100 ticks: %lu", n);
	check("a higher one's timer preempts", n >= 90 && n <= 101);
	kill_child(child);
}

static void spin(uint64_t arg)
{
	for (;;)
		arg++;
}

static void rest_for(uint64_t ticks)
{
	uint64_t start = now();

	while (now() < start + ticks)
		dx_rest(8);
}

/* How many times as much CPU time `a` has had as `b` while the caller slept, for fifty slices, in
 * tenths. Before that they wear off what one had waited longer than the other. */
static uint64_t ratio(uint64_t a, uint64_t b)
{
	rest_for(m.hz / 10);
	uint64_t a0 = dx_info(a)->cpu_time, b0 = dx_info(b)->cpu_time;

	rest_for(m.hz / 4);
	a0 = dx_info(a)->cpu_time - a0;
	b0 = dx_info(b)->cpu_time - b0;
	say("# CPU time in ms: %lu, %lu", a0 / 1000000, b0 / 1000000);
	return b0 ? 10 * a0 / b0 : ~0ul;
}

static void check_ratio(uint64_t a, uint64_t b, uint64_t wa, uint64_t wb)
{
	must_set(a, 3, wa);
	must_set(b, 3, wb);
	uint64_t r = ratio(a, b), expected = 10 * wa / wb;

	check_eq_at("the time is as the weights", wa * 10000 + wb,
		r >= expected - expected / 4 && r <= expected + expected / 4, true);
}

static void spin_with_child(uint64_t arg)
{
	dx_spawn(spin, arg);
	spin(arg);
}

static void test_weights(void)
{
	uint64_t a = dx_spawn(spin, 0), b = dx_spawn(spin, 0);

	check_ratio(a, b, 100, 100);
	check_ratio(a, b, 300, 100);
	check_ratio(a, b, 1000, 200);
	check_ratio(a, b, 100, 50);
	kill_child(b);
	/* A weight is the subtree's: what a child of it has is its own too. */
	b = dx_spawn(spin_with_child, 0);
	must_set(b, 3, 400);
	must_set(a, 3, 200);
	uint64_t r = ratio(a, b);

	check("a subtree shares its weight", r >= 8 && r <= 12);
	kill_child(a);
	kill_child(b);
}

/* Of a higher priority nothing is left, whatever the weights. */
static void test_strict(void)
{
	uint64_t a = dx_spawn(spin, 0), b = dx_spawn(spin, 0);

	must_set(a, 3, DX_WEIGHT_MIN);
	must_set(b, 2, DX_WEIGHT_MAX);
	check_eq("priority goes before weight", ratio(b, a), 0);
	must_set(b, 3, DX_WEIGHT_MAX);
	check("equal again", ratio(b, a) > 50);
	kill_child(a);
	kill_child(b);
}

static void test_all(void)
{
	must_set(DX_SELF, 3, DX_WEIGHT_DEFAULT);
	twice(test_child);
	twice(test_self);
	if (!bootarg("one-pcpu")) {
		skip("what priorities and weights do", "not exact here");
		return;
	}
	twice(test_wakes);
	twice(test_timer);
	twice(test_strict);
	twice(test_weights);
}

void guest_main(void)
{
	/* A fork's ceiling is its maker's priority; the Root VM sleeps meanwhile. */
	must_set(DX_SELF, 7, DX_WEIGHT_DEFAULT);
	dx_run(test_all);
}
