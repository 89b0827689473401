/* SPDX-License-Identifier: MIT */
/* fdt_read_machine(): the walks in their order, and what fits nowhere else. See machine.h. */
#include <string.h>
#include "fdt/tree.h"

/* Copies a string, cut to fit, into zeroed memory: false when it was cut. It may go to the console:
 * no control characters. */
static bool copy_string(const struct node *n, const char *name, char *buf, int size)
{
	int len, i;
	const char *s = node_prop(n, name, &len);

	for (i = 0; i < len && s[i] && i < size - 1; i++)
		buf[i] = s[i] < ' ' || s[i] > '~' ? '?' : s[i];
	return i == len || !s[i];
}

static void read_chosen(const struct node *n, struct machine *m)
{
	int len, path_len, i;
	const void *seed = node_prop(n, "rng-seed", &len);
	const char *path = node_prop(n, "stdout-path", &path_len);

	m->rng_seed_len = MIN((uint32_t)len, sizeof(m->rng_seed));
	if (seed)
		memcpy(m->rng_seed, seed, m->rng_seed_len);
	m->truncated |= !copy_string(n, "bootargs", m->bootargs, sizeof(m->bootargs));
	for (i = 0; i < path_len && path[i] && path[i] != ':';)
		i++;
	if (path)
		m->uart.node = fdt_path_offset_namelen(n->fdt, path, i);
}

void fdt_wipe_seed(void *fdt)
{
	int len;
	void *seed = fdt_getprop_w(fdt, fdt_path_offset(fdt, "/chosen"), "rng-seed", &len);

	if (seed)
		memset(seed, 0, (size_t)len);
}

/* libfdt reads what is in it as aligned words, and a core may trap on others. */
static bool header_ok(const void *fdt, size_t max)
{
	return (uintptr_t)fdt % 8 == 0 && max >= sizeof(struct fdt_header) &&
	       fdt_check_header(fdt) == 0 && fdt_version(fdt) >= 17 &&
	       fdt_last_comp_version(fdt) <= 17 && fdt_totalsize(fdt) <= max &&
	       fdt_off_dt_struct(fdt) % 4 == 0 && fdt_off_mem_rsvmap(fdt) % 8 == 0;
}

/* What needs nothing else. */
static enum err survey(const struct node *n, struct machine *m)
{
	if (n->depth == 0)
		(void)copy_string(n, "model", m->model, sizeof(m->model));
	if (n->depth == 1 && strcmp(n->name, "chosen") == 0)
		read_chosen(n, m);
	cpus_visit(n, m);
	return memory_visit(n, m);
}

enum err fdt_read_machine(const void *fdt, size_t max, struct machine *m)
{
	static const tree_visit visits[] = {
		survey, controllers_visit, console_visit, devices_visit};
	enum err rc = header_ok(fdt, max) ? OK : E_FORMAT;

	memset(m, 0, sizeof(*m));
	m->uart.node = -1;
	for (unsigned i = 0; rc == OK && i < ARRAY_SIZE(visits); i++)
		rc = tree_walk(fdt, visits[i], m);
	for (unsigned i = 0; i < m->nram; i++)
		m->ram_size += m->ram[i].size;
	return rc == OK && (!m->nram || !m->nharts || !m->timebase_hz) ? E_FORMAT : rc;
}
