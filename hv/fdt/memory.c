/* SPDX-License-Identifier: MIT */
/*
 * RAM and what of it is reserved, as two sorted tables of ranges that neither overlap nor touch.
 * A full table of RAM forgets ranges; a full table of reservations must not, and its last one grows
 * over a gap instead. Source of the rules: Devicetree Specification 0.4, 3.4, 3.5 and 5.3.
 */
#include <string.h>
#include "fdt/tree.h"

static void ranges_add(struct machine_range *list, unsigned *n, struct machine_range r)
{
	unsigned i = (*n)++, last = 0;

	for (; i > 0 && list[i - 1].base.v > r.base.v; i--)
		list[i] = list[i - 1];
	list[i] = r;
	for (i = 1; i < *n; i++) /* makes one of those that overlap or touch */
		if (list[i].base.v <= range_end(&list[last]))
			list[last].size = MAX(range_end(&list[last]), range_end(&list[i])) -
					  list[last].base.v;
		else
			list[++last] = list[i];
	*n = last + 1;
}

/* RAM shrinks to whole pages, what is reserved grows. */
static enum err add_range(struct machine *m, bool ram, struct machine_range r)
{
	struct machine_range *list = ram ? m->ram : m->reserved;
	unsigned *n = ram ? &m->nram : &m->nreserved;
	unsigned max = ram ? MACHINE_MAX_RAM : MACHINE_MAX_RESERVED;
	uint64_t begin = ALIGN_DOWN(r.base.v + (ram ? PAGE_SIZE - 1 : 0), PAGE_SIZE);
	uint64_t end = ALIGN_DOWN(r.base.v + r.size + (ram ? 0 : PAGE_SIZE - 1), PAGE_SIZE);

	if (r.size && !range_is_physical(&r))
		return E_RANGE;
	if (!r.size || begin >= end)
		return OK;
	ranges_add(list, n, (struct machine_range){hpa(begin), end - begin});
	if (*n > max) {
		--*n;
		m->truncated = true;
		if (!ram)
			list[max - 1].size = range_end(&list[max]) - list[max - 1].base.v;
	}
	return OK;
}

static enum err read_memreserve(const void *fdt, struct machine *m)
{
	int n = fdt_num_mem_rsv(fdt);
	enum err rc = n < 0 ? E_FORMAT : OK;
	struct machine_range r;

	for (int i = 0; rc == OK && i < n; i++)
		rc = fdt_get_mem_rsv(fdt, i, &r.base.v, &r.size) == 0 ? add_range(m, false, r)
								      : E_FORMAT;
	return rc;
}

/* A child of /reserved-memory without `reg` asks an operating system to choose a place: nothing is
 * there yet. */
enum err memory_visit(const struct node *n, struct machine *m)
{
	bool ram = n->depth == 1 && node_says(n, "device_type", "memory");
	bool reserved = n->depth == 2 && strcmp(n->parent->name, "reserved-memory") == 0;
	struct machine_range r;
	enum err rc = OK;

	if (n->depth == 0)
		return read_memreserve(n->fdt, m);
	if ((!ram && !reserved) || !node_enabled(n))
		return OK;
	for (unsigned i = 0; rc == OK && (rc = node_reg(n, i, &r)) == OK; i++)
		rc = add_range(m, ram, r);
	return rc == E_NOENT ? OK : rc;
}
