/* SPDX-License-Identifier: MIT */
/*
 * RAM and what of it is reserved, as two sorted tables of ranges that neither overlap nor touch.
 * A full table of RAM forgets ranges; a full table of reservations must not, and grows one over the
 * gap instead. Source of the rules: Devicetree Specification 0.4, 3.4, 3.5 and 5.3.
 */
#include <string.h>
#include "fdt/tree.h"

static uint64_t range_end(const struct machine_range *r)
{
	return r->base.v + r->size;
}

/* Makes one of list[i] and list[i + 1], with all that lies between. */
static void ranges_join(struct machine_range *list, unsigned *n, unsigned i)
{
	uint64_t end = MAX(range_end(&list[i]), range_end(&list[i + 1]));

	list[i].size = end - list[i].base.v;
	memmove(&list[i + 1], &list[i + 2], (*n - i - 2) * sizeof(*list));
	(*n)--;
}

/* `list` has room for one more than is in it. */
static void ranges_insert(struct machine_range *list, unsigned *n, struct machine_range r)
{
	unsigned i = *n;

	while (i > 0 && list[i - 1].base.v > r.base.v)
		i--;
	memmove(&list[i + 1], &list[i], (*n - i) * sizeof(*list));
	list[i] = r;
	(*n)++;
	if (i > 0 && range_end(&list[i - 1]) >= r.base.v)
		ranges_join(list, n, --i);
	while (i + 1 < *n && range_end(&list[i]) >= list[i + 1].base.v)
		ranges_join(list, n, i);
}

static unsigned ranges_smallest_gap(const struct machine_range *list, unsigned n)
{
	unsigned best = 0;

	for (unsigned i = 1; i + 1 < n; i++)
		if (list[i + 1].base.v - range_end(&list[i]) <
			list[best + 1].base.v - range_end(&list[best]))
			best = i;
	return best;
}

static enum err add_reserved(struct machine *m, uint64_t base, uint64_t size)
{
	struct machine_range list[MACHINE_MAX_RESERVED + 1], r;
	enum err rc;

	if (!size)
		return OK;
	rc = tree_pages((struct machine_range){hpa(base), size}, &r);
	if (rc != OK)
		return rc;
	memcpy(list, m->reserved, sizeof(m->reserved));
	ranges_insert(list, &m->nreserved, r);
	if (m->nreserved > MACHINE_MAX_RESERVED) {
		ranges_join(list, &m->nreserved, ranges_smallest_gap(list, m->nreserved));
		m->truncated = true;
	}
	memcpy(m->reserved, list, sizeof(m->reserved));
	return OK;
}

static enum err add_ram(struct machine *m, uint64_t base, uint64_t size)
{
	struct machine_range list[MACHINE_MAX_RAM + 1];

	if (!size)
		return OK;
	if (!range_within(base, size, 0, BIT(PHYS_BITS)))
		return E_RANGE;
	memcpy(list, m->ram, sizeof(m->ram));
	ranges_insert(list, &m->nram, (struct machine_range){hpa(base), size});
	if (m->nram > MACHINE_MAX_RAM) {
		m->nram = MACHINE_MAX_RAM;
		m->truncated = true;
	}
	memcpy(m->ram, list, sizeof(m->ram));
	return OK;
}

/* Each (base, size) of the node's `reg`, with the cell counts of its parent. */
static enum err add_regs(const void *fdt, int parent, int node, struct machine *m,
	enum err (*add)(struct machine *m, uint64_t base, uint64_t size))
{
	uint32_t ac = tree_u32(fdt, parent, "#address-cells", 2);
	uint32_t sc = tree_u32(fdt, parent, "#size-cells", 1);
	unsigned n;
	const fdt32_t *reg = tree_cells(fdt, node, "reg", &n);
	enum err rc = OK;

	if (ac < 1 || ac > 2 || sc < 1 || sc > 2 || n % (ac + sc))
		return E_FORMAT;
	for (unsigned i = 0; rc == OK && i + ac + sc <= n; i += ac + sc)
		rc = add(m, tree_number(reg + i, ac), tree_number(reg + i + ac, sc));
	return rc;
}

/* Only whole pages are RAM to us; what shrinks to nothing goes. */
static void align_ram(struct machine *m)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < m->nram; i++) {
		uint64_t base = ALIGN_UP(m->ram[i].base.v, PAGE_SIZE);
		uint64_t end = ALIGN_DOWN(range_end(&m->ram[i]), PAGE_SIZE);

		if (base < end)
			m->ram[kept++] = (struct machine_range){hpa(base), end - base};
	}
	m->nram = kept;
}

static enum err read_ram(const void *fdt, struct machine *m)
{
	enum err rc = OK;
	int node;

	tree_for_each_child(node, fdt, 0)
	{
		if (rc == OK && tree_string_is(fdt, node, "device_type", "memory") &&
			tree_enabled(fdt, node))
			rc = add_regs(fdt, 0, node, m, add_ram);
	}
	align_ram(m);
	return rc == OK && m->nram == 0 ? E_FORMAT : rc;
}

static enum err read_reserved(const void *fdt, struct machine *m)
{
	int n = fdt_num_mem_rsv(fdt), node, parent = tree_child(fdt, 0, "reserved-memory");
	enum err rc = OK;

	for (int i = 0; rc == OK && i < n; i++) {
		uint64_t base, size;

		if (fdt_get_mem_rsv(fdt, i, &base, &size) != 0)
			return E_FORMAT;
		rc = add_reserved(m, base, size);
	}
	if (parent < 0)
		return rc;
	/* A child without `reg` asks an operating system to choose a place: nothing is there yet.
	 */
	tree_for_each_child(node, fdt, parent)
	{
		if (rc == OK && tree_enabled(fdt, node))
			rc = add_regs(fdt, parent, node, m, add_reserved);
	}
	return rc;
}

enum err memory_read(const void *fdt, struct machine *m)
{
	enum err rc = read_ram(fdt, m);

	return rc == OK ? read_reserved(fdt, m) : rc;
}
