/* SPDX-License-Identifier: MIT */
/*
 * If this fails: a clone is not what its template is, or writes into it; a template runs while what
 * it shares could change; or pages are lost, or paid by the wrong VM, when template and clones end
 * in any order.
 */
#include "guest.h"

#define PAGES 32
#define MANY  24

static uint64_t memory[PAGES][PAGE / 8] __attribute__((aligned(PAGE)));

static void fill(uint64_t with)
{
	for (uint64_t p = 0; p < PAGES; p++)
		memory[p][p] = with * (p + 1);
}

static bool is_filled(uint64_t with)
{
	for (uint64_t p = 0; p < PAGES; p++)
		if (memory[p][p] != with * (p + 1))
			return false;
	return true;
}

/* What goes on where the template was made. */
static void body(uint64_t arg)
{
	bool good = is_filled(arg);

	fill(arg + 1);
	dx_exit(good && is_filled(arg + 1) ? 0x600 : 0x601);
}

static uint64_t make_template(uint64_t with)
{
	fill(with);
	struct sbiret r = dx_fork_try(dx_fork_options(DX_PAUSED));

	if (r.error)
		broken("template: error", (uint64_t)r.error, 0, 0);
	if (r.value == 0)
		body(with);
	return r.value;
}

static uint64_t clone(uint64_t template, const struct dx_fork *options)
{
	struct sbiret r = dx(DX_FID_CLONE, template, (uintptr_t)options, 0);

	check_err("clone", r, SBI_SUCCESS);
	check("a handle", r.value > 0 && r.value != template);
	return r.value;
}

static void kill(uint64_t handle)
{
	check_err("kill", dx(DX_FID_KILL, handle, 0, 0), SBI_SUCCESS);
	check_eq("killed", dx_end(handle).reason, DX_REASON_KILLED);
}

static void test_many(void)
{
	uint64_t template = make_template(10), handles[MANY];

	for (unsigned i = 0; i < MANY; i++)
		handles[i] = clone(template, NULL);
	for (unsigned i = 0; i < MANY; i++)
		dx_end_is("a clone begins as its template is", handles[i], 0x600);
	check("the parent's memory stays", is_filled(10));
	check_err("resume the template", dx(DX_FID_RESUME, template, 0, 0), SBI_SUCCESS);
	dx_end_is("no clone wrote into the template", template, 0x600);
}

static void test_template_stays(void)
{
	uint64_t template = make_template(20);
	uint64_t paused = clone(template, dx_fork_options(DX_PAUSED));

	check_eq("the clone is paused", dx_info(paused)->state, DX_PAUSED_STATE);
	check_err("a template with a clone does not run", dx(DX_FID_RESUME, template, 0, 0),
		SBI_INVALID_STATE);
	check_err("nor does it start", dx(DX_FID_START, template, 0, 0), SBI_INVALID_STATE);
	check_err("its clone does", dx(DX_FID_RESUME, paused, 0, 0), SBI_SUCCESS);
	dx_end_is("the clone", paused, 0x600);
	check_err("now it runs", dx(DX_FID_RESUME, template, 0, 0), SBI_SUCCESS);
	dx_end_is("the template", template, 0x600);
}

/* The template ends first: the clones go on with what it paid for. */
static void test_template_dies(void)
{
	uint64_t template = make_template(30), handles[4];

	for (unsigned i = 0; i < 4; i++)
		handles[i] = clone(template, dx_fork_options(DX_PAUSED));
	kill(template);
	for (unsigned i = 0; i < 4; i++) {
		check_err("resume", dx(DX_FID_RESUME, handles[i], 0, 0), SBI_SUCCESS);
		dx_end_is("a clone outlives its template", handles[i], 0x600);
	}
}

static void test_clones_of_clones(void)
{
	uint64_t template = make_template(40), middle, last;

	middle = clone(template, dx_fork_options(DX_PAUSED));
	last = clone(middle, dx_fork_options(DX_PAUSED));
	check_err("the middle one has a clone", dx(DX_FID_RESUME, middle, 0, 0), SBI_INVALID_STATE);
	kill(middle);
	check_err("the first has none", dx(DX_FID_RESUME, template, 0, 0), SBI_SUCCESS);
	dx_end_is("the template, whose clone's clone lives", template, 0x600);
	check_err("resume", dx(DX_FID_RESUME, last, 0, 0), SBI_SUCCESS);
	dx_end_is("the clone of a clone", last, 0x600);
}

/* A clone forks: its children share with it and with the template. */
static void fork_below(uint64_t arg)
{
	bool good = is_filled(arg);
	uint64_t child = dx_spawn(body, arg);

	fill(arg + 5);
	good = good && dx_end(child).code == 0x600 && is_filled(arg + 5);
	dx_exit(good ? 0x602 : 0x603);
}

static void test_clones_fork(void)
{
	fill(50);
	struct sbiret r = dx_fork_try(dx_fork_options(DX_PAUSED));

	if (r.value == 0)
		fork_below(50);
	uint64_t a = clone(r.value, NULL), b = clone(r.value, NULL);

	dx_end_is("a clone that forks", a, 0x602);
	dx_end_is("another", b, 0x602);
	kill(r.value);
}

/* Each in its own way through the template's call: a clone of a VM that is in a call. */
static void test_options(void)
{
	uint64_t template = make_template(60);
	struct dx_fork *f;

	for (unsigned b = 3; b < 32; b++)
		check_err("unknown flag",
			dx(DX_FID_CLONE, template, (uintptr_t)dx_fork_options(1u << b), 0),
			SBI_INVALID_PARAM);
	f = dx_fork_options(0);
	f->limit[DX_LIMIT_PAGES] = 1;
	check_err("a limit of one page", dx(DX_FID_CLONE, template, (uintptr_t)f, 0),
		DX_ERR_OWN_LIMIT);
	check_eq("a clone has no trust", dx_info(clone(template, NULL))->trusted, 0);
	uint64_t at = dx(DX_FID_NEXT, template, 0, 0).value;

	if (at == 0 || at == template)
		at = dx(DX_FID_NEXT, 0, 0, 0).value;
	dx_end_is("the clone", at, 0x600);
	kill(template);
}

/* All orders in which a template and two clones can end. */
static void test_ends(void)
{
	static const uint8_t orders[6][3] = {
		{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};

	for (unsigned i = 0; i < ARRAY_SIZE(orders); i++) {
		uint64_t all[3];

		all[0] = make_template(70 + i);
		all[1] = clone(all[0], NULL);
		all[2] = clone(all[0], dx_fork_options(DX_PAUSED));
		for (unsigned k = 0; k < 3; k++) {
			dx(DX_FID_KILL, all[orders[i][k]], 0, 0);
			dx_end(all[orders[i][k]]);
		}
	}
}

static void twice(void (*test)(void))
{
	test();
	uint64_t before = dx_pages(), own = dx_info(DX_SELF)->pages;

	test();
	check_eq("every page is back", dx_pages(), before);
	check_eq("and every page is paid by its owner", dx_info(DX_SELF)->pages, own);
}

static void test_all(void)
{
	static void (*const tests[])(void) = {test_many, test_template_stays, test_template_dies,
		test_clones_of_clones, test_clones_fork, test_options, test_ends};

	for (unsigned i = 0; i < ARRAY_SIZE(tests); i++)
		twice(tests[i]);
}

void guest_main(void)
{
	test_all();
	dx_run(test_all);
}
