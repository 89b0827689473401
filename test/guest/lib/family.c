/* SPDX-License-Identifier: MIT */
/* See family.h. */
#include "family.h"

uint64_t value_of(const char *what, struct sbiret r)
{
	if (r.error)
		broken(what, (uint64_t)r.error, r.value, 0);
	return r.value;
}

void sleep_for_ever(uint64_t arg)
{
	(void)arg;
	for (;;)
		__asm__ volatile("wfi");
}

uint64_t paused_child(void)
{
	uint64_t handle = value_of("fork: error", dx_fork_try(dx_fork_options(DX_PAUSED)));

	if (handle == 0)
		sleep_for_ever(0);
	return handle;
}

void kill_child(uint64_t handle)
{
	dx(DX_FID_KILL, handle, 0, 0);
	dx_end(handle);
}

void family_end(const char *name, uint64_t handle)
{
	struct dx_end e = dx_end(handle);

	check_eq(name, e.reason, DX_REASON_EXIT);
	if (e.reason == DX_REASON_EXIT)
		checks_add(e.code);
}

void twice(void (*test)(void))
{
	test();
	uint64_t before = dx_pages();

	test();
	check_eq("every page is back", dx_pages(), before);
}

static void find_vmgenid(void *ctx, unsigned depth, const char *node, const char *parent,
	const char *prop, const uint8_t *data, uint32_t len)
{
	(void)depth, (void)parent, (void)len;
	if (!memcmp(node, "rng@", 4) && !strcmp(prop, "reg"))
		*(uint64_t *)ctx = fdt_number(data, 2);
}

uint64_t vmgenid_place(void)
{
	uint64_t at = 0;

	fdt_walk(find_vmgenid, &at);
	return at;
}
