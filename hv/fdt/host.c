/* SPDX-License-Identifier: MIT */
/* fdt_read_machine(): the parts in their order, and what fits nowhere else. See machine.h. */
#include <string.h>
#include "fdt/tree.h"

/* The model goes to the console: no control characters. */
static void read_model(const void *fdt, struct machine *m)
{
	(void)tree_copy_string(fdt, 0, "model", m->model, sizeof(m->model));
	for (char *c = m->model; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
}

static void read_chosen(const void *fdt, struct machine *m)
{
	int node = tree_child(fdt, 0, "chosen"), len;
	const void *seed;

	if (node < 0)
		return;
	if (!tree_copy_string(fdt, node, "bootargs", m->bootargs, sizeof(m->bootargs)))
		m->truncated = true;
	seed = tree_prop(fdt, node, "rng-seed", &len);
	if (seed) {
		m->rng_seed_len = MIN((uint32_t)len, sizeof(m->rng_seed));
		memcpy(m->rng_seed, seed, m->rng_seed_len);
	}
}

void fdt_wipe_seed(void *fdt)
{
	int node = tree_child(fdt, 0, "chosen"), len;
	const char *seed = node < 0 ? NULL : tree_prop(fdt, node, "rng-seed", &len);

	if (seed)
		memset((char *)fdt + (seed - (const char *)fdt), 0, (size_t)len);
}

static uint32_t max_phandle(const void *fdt)
{
	uint32_t max = 0;
	int depth = 0;

	for (int node = 0; node >= 0; node = tree_next(fdt, node, &depth)) {
		uint32_t phandle = tree_phandle(fdt, node);

		max = MAX(max, phandle);
	}
	return max;
}

enum err fdt_read_machine(const void *fdt, size_t max, struct machine *m)
{
	enum err rc;

	memset(m, 0, sizeof(*m));
	rc = tree_check(fdt, max);
	if (rc == OK)
		rc = memory_read(fdt, m);
	if (rc == OK)
		rc = cpus_read(fdt, m);
	if (rc != OK)
		return rc;
	m->max_phandle = max_phandle(fdt);
	read_model(fdt, m);
	read_chosen(fdt, m);
	controllers_read(fdt, m); /* before the devices, whose interrupts refer to them */
	devices_read(fdt, m);
	return OK;
}
