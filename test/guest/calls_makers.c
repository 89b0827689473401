/* SPDX-License-Identifier: MIT */
/*
 * If this fails: a call that makes a VM, EXEC or one that sets an amount refuses for another
 * reason, or in another order, than docs/abi.md says, takes what it must refuse, or changes
 * something though it refuses. Row by row, in the order of the document; handles and addresses:
 * calls.c.
 */
#include "family.h"
#include "refuse.h"

#define WINDOW 0x2000000000ul
#define END    (1ul << 41)
#define AT     ((uintptr_t)page)

static uint8_t page[PAGE] __attribute__((aligned(PAGE)));
static uint64_t paused;

/* --- FORK, CREATE: what they ask of their struct; quotas at their edge: quota.c --- */

static void fork_rows(void)
{
	struct dx_fork *f = dx_fork_options(0);

	for (unsigned b = 3; b < 32; b++) {
		f->flags = 1u << b;
		REFUSE("FORK: unknown flag", SBI_INVALID_PARAM, DX_FID_FORK, (uintptr_t)f);
		REFUSE("CLONE: unknown flag", SBI_INVALID_PARAM, DX_FID_CLONE, paused,
			(uintptr_t)f);
	}
	for (unsigned b = 0; b < 32; b++) {
		f->flags = DX_PAUSED;
		f->reserved = 1u << b;
		f->limit[DX_LIMIT_PRIORITY] = 8; /* comes later */
		REFUSE("FORK: reserved", SBI_INVALID_PARAM, DX_FID_FORK, (uintptr_t)f);
		REFUSE("CLONE: reserved", SBI_INVALID_PARAM, DX_FID_CLONE, paused, (uintptr_t)f);
	}
}

static const uint64_t above_any[] = {8, 9, 255, 256, 1ul << 32, 1ul << 63, ~1ul};

static void ceiling_rows(void)
{
	uint64_t depth;
	struct dx_quota *q = (struct dx_quota *)page;

	value_of("quota", dx(DX_FID_QUOTA_READ, DX_SELF, AT, 0));
	depth = q->limit[DX_LIMIT_DEPTH];
	for (unsigned i = 0; i < ARRAY_SIZE(above_any); i++)
		for (unsigned l = DX_LIMIT_PRIORITY; l <= DX_LIMIT_DEPTH; l++) {
			struct dx_fork *f = dx_fork_options(0);
			struct dx_create *c = dx_create_options(1, MIB(1));

			uint64_t to = above_any[i];

			if (l == DX_LIMIT_DEPTH && to < 16)
				to += depth - 8;
			f->limit[l] = c->limit[l] = to;
			REFUSE("FORK: a ceiling", SBI_DENIED, DX_FID_FORK, (uintptr_t)f);
			REFUSE("CLONE: a ceiling", SBI_DENIED, DX_FID_CLONE, paused, (uintptr_t)f);
			REFUSE("CREATE: a ceiling", SBI_DENIED, DX_FID_CREATE, (uintptr_t)c);
		}
	/* FORK's bound is the priority of the calling VCPU, CREATE's the ceiling. */
	struct dx_fork *f = dx_fork_options(0);

	f->limit[DX_LIMIT_PRIORITY] = dx_info(DX_SELF)->priority + 1;
	REFUSE("FORK: above the caller", SBI_DENIED, DX_FID_FORK, (uintptr_t)f);
}

static void guarantee_rows(void)
{
	struct dx_fork *f = dx_fork_options(0);
	struct dx_create *c = dx_create_options(1, MIB(1));

	f->limit[DX_LIMIT_PAGES] = c->limit[DX_LIMIT_PAGES] = 1000;
	f->limit[DX_LIMIT_GUARANTEE] = c->limit[DX_LIMIT_GUARANTEE] = 1001;
	REFUSE("FORK: guarantee above its pages", SBI_INVALID_PARAM, DX_FID_FORK, (uintptr_t)f);
	REFUSE("CLONE: guarantee above its pages", SBI_INVALID_PARAM, DX_FID_CLONE, paused,
		(uintptr_t)f);
	REFUSE("CREATE: guarantee above its pages", SBI_INVALID_PARAM, DX_FID_CREATE, (uintptr_t)c);
	/* All that the caller may have, and it uses some of that itself. */
	value_of("quota", dx(DX_FID_QUOTA_READ, DX_SELF, AT, 0));
	uint64_t all = ((struct dx_quota *)page)->limit[DX_LIMIT_PAGES];

	f->limit[DX_LIMIT_PAGES] = c->limit[DX_LIMIT_PAGES] = DX_KEEP;
	f->limit[DX_LIMIT_GUARANTEE] = c->limit[DX_LIMIT_GUARANTEE] = all;
	REFUSE("FORK: more than there is", DX_ERR_OWN_LIMIT, DX_FID_FORK, (uintptr_t)f);
	REFUSE("CLONE: more than there is", DX_ERR_OWN_LIMIT, DX_FID_CLONE, paused, (uintptr_t)f);
	REFUSE("CREATE: more than there is", DX_ERR_OWN_LIMIT, DX_FID_CREATE, (uintptr_t)c);
	REFUSE("QUOTA_SET: more than there is", DX_ERR_OWN_LIMIT, DX_FID_QUOTA_SET, paused,
		DX_LIMIT_GUARANTEE, all);
}

/* No more than the caller's own, nor a reserve above its pages. */
static void counted_rows(void)
{
	value_of("quota", dx(DX_FID_QUOTA_READ, DX_SELF, AT, 0));
	for (unsigned l = DX_LIMIT_PAGES; l <= DX_LIMIT_VMS; l++)
		for (unsigned i = 0; i < 2; i++) {
			struct dx_fork *f = dx_fork_options(0);
			struct dx_create *c = dx_create_options(1, MIB(1));
			uint64_t own = ((struct dx_quota *)page)->limit[l];

			f->limit[l] = c->limit[l] = i ? ~1ul : own + 1;
			REFUSE("FORK: above the caller", SBI_DENIED, DX_FID_FORK, (uintptr_t)f);
			REFUSE("CLONE: above the caller", SBI_DENIED, DX_FID_CLONE, paused,
				(uintptr_t)f);
			REFUSE("CREATE: above the caller", SBI_DENIED, DX_FID_CREATE, (uintptr_t)c);
		}
	struct dx_fork *f = dx_fork_options(0);
	struct dx_create *c = dx_create_options(1, MIB(1));

	f->limit[DX_LIMIT_PAGES] = c->limit[DX_LIMIT_PAGES] = 1000;
	f->limit[DX_LIMIT_RESERVE] = c->limit[DX_LIMIT_RESERVE] = 1001;
	REFUSE("FORK: reserve above its pages", SBI_INVALID_PARAM, DX_FID_FORK, (uintptr_t)f);
	REFUSE("CLONE: reserve above its pages", SBI_INVALID_PARAM, DX_FID_CLONE, paused,
		(uintptr_t)f);
	REFUSE("CREATE: reserve above its pages", SBI_INVALID_PARAM, DX_FID_CREATE, (uintptr_t)c);
}

static void create_is(
	const char *name, uint32_t flags, uint32_t vcpus, uint64_t ram, uint64_t reserved)
{
	struct dx_create *c = dx_create_options(vcpus, ram);

	c->flags = flags;
	c->reserved = reserved;
	c->limit[DX_LIMIT_PRIORITY] = 8; /* comes later */
	REFUSE(name, SBI_INVALID_PARAM, DX_FID_CREATE, (uintptr_t)c);
}

static void create_rows(void)
{
	static const uint64_t sizes[] = {0, 1, PAGE - 1, PAGE + 8, MIB(1) | 0x800,
		(1ul << 40) + PAGE, 1ul << 41, 1ul << 52, 1ul << 63, -PAGE, ~0ul};
	static const uint32_t vcpus[] = {0, 65, 1u << 8, 1u << 16, 1u << 31, ~0u};

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		create_is("CREATE: size", 0, 1, sizes[i], 0);
	for (unsigned i = 0; i < ARRAY_SIZE(vcpus); i++)
		create_is("CREATE: VCPUs", 0, vcpus[i], MIB(1), 0);
	for (unsigned b = 0; b < 64; b += 7)
		create_is("CREATE: reserved", 0, 1, MIB(1), 1ul << b);
	for (unsigned b = 0; b < 32; b++)
		if (1u << b != DX_TRUST && 1u << b != DX_DIRECT)
			create_is("CREATE: flag", 1u << b, 1, MIB(1), 0);
}

static void test_makers(void)
{
	refuse_watch(paused);
	fork_rows();
	ceiling_rows();
	counted_rows();
	guarantee_rows();
	create_rows();
}

/* No level below: that comes before the limits. */
static void at_the_bottom(uint64_t arg)
{
	(void)arg;
	checks_begin();
	refuse_watch(0);
	struct dx_fork *f = dx_fork_options(0);
	struct dx_create *c = dx_create_options(1, MIB(1));

	REFUSE("FORK: no level", DX_ERR_OWN_LIMIT, DX_FID_FORK, 0);
	REFUSE("FORK: no level", DX_ERR_OWN_LIMIT, DX_FID_FORK, (uintptr_t)f);
	f->limit[DX_LIMIT_PRIORITY] = c->limit[DX_LIMIT_PRIORITY] = 9;
	REFUSE("FORK: no level, too high", DX_ERR_OWN_LIMIT, DX_FID_FORK, (uintptr_t)f);
	REFUSE("CREATE: no level, too high", DX_ERR_OWN_LIMIT, DX_FID_CREATE, (uintptr_t)c);
	f->reserved = 1;
	REFUSE("FORK: no level, reserved", SBI_INVALID_PARAM, DX_FID_FORK, (uintptr_t)f);
	dx_exit(checks_end());
}

static void test_bottom(void)
{
	struct dx_fork *f = dx_fork_options(0);

	f->limit[DX_LIMIT_DEPTH] = 0;
	uint64_t child = value_of("fork", dx_fork_try(f));

	if (child == 0)
		at_the_bottom(0);
	family_end("the lowest one came to its end", child);
}

/* --- EXEC --- */

static void test_exec(void)
{
	uint64_t w = value_of("window",
		sbi(EID_DIOSIX, DX_FID_WINDOW_MAP, paused, AT, WINDOW, PAGE, DX_READ | DX_WRITE));
	const uint64_t entries[] = {1, 3, m.ram_base + 1, m.ram_base - 2, m.ram_base + m.ram_size,
		0, 2, m.plic, m.uart, WINDOW, END, m.ram_base | END, m.ram_base | 1ul << 63, -2ul,
		~0ul};

	check_eq("window", w, PAGE);
	refuse_watch(paused);
	for (unsigned i = 0; i < ARRAY_SIZE(entries); i++)
		REFUSE("EXEC: entry", SBI_INVALID_ADDRESS, DX_FID_EXEC, entries[i], AT);
	value_of("unmap", dx(DX_FID_WINDOW_UNMAP, WINDOW, PAGE, 0));
}

/* --- QUOTA_SET, PRIORITY, NEXT: amounts --- */

static void test_amounts(void)
{
	static const uint64_t weights[] = {0, 9, 1001, 1ul << 16, 1ul << 32 | 100, ~0ul};
	static const uint64_t limits[] = {DX_LIMITS, 8, 255, 256, 1ul << 32, 1ul << 63, ~0ul};

	refuse_watch(paused);
	for (unsigned i = 0; i < ARRAY_SIZE(limits); i++) {
		REFUSE("QUOTA_SET: limit", SBI_INVALID_PARAM, DX_FID_QUOTA_SET, DX_SELF, limits[i],
			1);
		REFUSE("QUOTA_SET: limit", SBI_INVALID_PARAM, DX_FID_QUOTA_SET, paused, limits[i],
			1);
		REFUSE("QUOTA_SET: nobody's", DX_ERR_NOENT, DX_FID_QUOTA_SET, NOBODY, limits[i], 1);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(above_any); i++) {
		REFUSE("PRIORITY: range", SBI_INVALID_PARAM, DX_FID_PRIORITY, paused, above_any[i],
			100);
		REFUSE("PRIORITY: range", SBI_INVALID_PARAM, DX_FID_PRIORITY, NOBODY, above_any[i],
			100);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(weights); i++) {
		REFUSE("PRIORITY: weight", SBI_INVALID_PARAM, DX_FID_PRIORITY, paused, 3,
			weights[i]);
		REFUSE("PRIORITY: weight", SBI_INVALID_PARAM, DX_FID_PRIORITY, DX_SELF, 3,
			weights[i]);
		REFUSE("NEXT: above 32 bits", SBI_INVALID_PARAM, DX_FID_NEXT, (1ul << 32) << i);
	}
	for (uint64_t r = 0; r < 2; r++) {
		uint64_t which = DX_LIMIT_RESERVE + r;

		REFUSE("QUOTA_SET: above its pages", SBI_INVALID_PARAM, DX_FID_QUOTA_SET, paused,
			which, ~0ul);
	}
	REFUSE("QUOTA_SET: reserve", SBI_INVALID_PARAM, DX_FID_QUOTA_SET, DX_SELF, DX_LIMIT_RESERVE,
		~0ul);
	REFUSE("QUOTA_SET: guarantee", SBI_DENIED, DX_FID_QUOTA_SET, DX_SELF, DX_LIMIT_GUARANTEE,
		0);
}

static void test_all(void)
{
	paused = paused_child();
	page[0] = 1;
	twice(test_makers);
	twice(test_bottom);
	twice(test_exec);
	twice(test_amounts);
}

void guest_main(void)
{
	dx_run(test_all);
}
