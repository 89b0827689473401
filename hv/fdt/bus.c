/* SPDX-License-Identifier: MIT */
/*
 * Buses: the walk over the nodes that have a physical address, and the way from a `reg` to that
 * address. Source of the rules: Devicetree Specification 0.4, 2.3.5 to 2.3.9 and 4.5.
 */
#include "fdt/tree.h"

static const fdt32_t *bus_ranges(
	const void *fdt, int node, unsigned entry, unsigned *n, bool *mapped)
{
	unsigned cells;
	int len;
	const fdt32_t *ranges = tree_cells(fdt, node, "ranges", &cells);

	/* Without the property the children have no address up here; empty, it is the same one. */
	*mapped =
		tree_prop(fdt, node, "ranges", &len) && (len == 0 || ranges) && cells % entry == 0;
	*n = MIN(cells / entry, BUS_MAX_RANGES);
	return ranges;
}

/* Fills in what `node` is as a bus under `parent` (NULL for the root); false when it is not one. */
static bool bus_enter(
	const void *fdt, int node, const struct tree_bus *parent, struct tree_bus *bus)
{
	bool mapped = true;

	if (parent && !tree_compatible(fdt, node, "simple-bus"))
		return false;
	*bus = (struct tree_bus){
		.addr_cells = tree_u32(fdt, node, "#address-cells", 2),
		.size_cells = tree_u32(fdt, node, "#size-cells", 1),
		.irq_parent =
			tree_u32(fdt, node, "interrupt-parent", parent ? parent->irq_parent : 0),
		.dma_noncoherent = tree_has(fdt, node, "dma-noncoherent") ||
				   (parent && parent->dma_noncoherent),
	};
	if (bus->addr_cells < 1 || bus->addr_cells > 2 || bus->size_cells < 1 ||
		bus->size_cells > 2)
		return false;
	if (parent) {
		unsigned n;

		bus->ranges = bus_ranges(fdt, node,
			bus->addr_cells + parent->addr_cells + bus->size_cells, &bus->nranges,
			&mapped);
		bus->dma_offset = parent->dma_offset || tree_cells(fdt, node, "dma-ranges", &n);
	}
	return mapped;
}

void tree_walk(const void *fdt, tree_visit visit, void *ctx)
{
	struct tree_path path = {.fdt = fdt};
	unsigned open = 1; /* bus[0 .. open-1] are the ancestors of the next node, as far as they
			      are buses */
	int depth = 0, node = 0;

	if (!bus_enter(fdt, 0, NULL, &path.bus[0]))
		return;
	while ((node = tree_next(fdt, node, &depth)) >= 0) {
		if ((unsigned)depth > open)
			continue;
		open = (unsigned)depth;
		if (!tree_enabled(fdt, node))
			continue;
		path.depth = open;
		visit(&path, node, ctx);
		if (open < BUS_MAX_DEPTH &&
			bus_enter(fdt, node, &path.bus[open - 1], &path.bus[open]))
			open++;
	}
}

/* One level up, through bus[level]'s ranges. */
static bool translate_up(const struct tree_path *path, unsigned level, struct machine_range *r)
{
	const struct tree_bus *bus = &path->bus[level];
	unsigned child = bus->addr_cells, parent = path->bus[level - 1].addr_cells;
	const fdt32_t *entry = bus->ranges;

	if (!entry)
		return true;
	for (unsigned i = 0; i < bus->nranges; i++, entry += child + parent + bus->size_cells) {
		uint64_t from = tree_number(entry, child);
		uint64_t to = tree_number(entry + child, parent);
		uint64_t size = tree_number(entry + child + parent, bus->size_cells);

		if (range_within(r->base.v, r->size, from, size) &&
			range_within(to, size, 0, BIT(PHYS_BITS))) {
			r->base.v = to + (r->base.v - from);
			return true;
		}
	}
	return false;
}

enum err tree_translate(const struct tree_path *path, struct machine_range *r)
{
	for (unsigned level = path->depth - 1; level > 0; level--)
		if (!translate_up(path, level, r))
			return E_RANGE;
	return r->size && range_within(r->base.v, r->size, 0, BIT(PHYS_BITS)) ? OK : E_RANGE;
}

enum err tree_reg(const struct tree_path *path, int node, unsigned index, struct machine_range *out)
{
	const struct tree_bus *bus = &path->bus[path->depth - 1];
	unsigned entry = bus->addr_cells + bus->size_cells, n;
	const fdt32_t *reg = tree_cells(path->fdt, node, "reg", &n);

	if (!reg || n % entry || index >= n / entry)
		return E_NOENT;
	reg += index * entry;
	out->base = hpa(tree_number(reg, bus->addr_cells));
	out->size = tree_number(reg + bus->addr_cells, bus->size_cells);
	return tree_translate(path, out);
}

enum err tree_pages(struct machine_range in, struct machine_range *out)
{
	if (!in.size || !range_within(in.base.v, in.size, 0, BIT(PHYS_BITS)))
		return E_RANGE;
	out->base = hpa(ALIGN_DOWN(in.base.v, PAGE_SIZE));
	out->size = ALIGN_UP(in.base.v + in.size, PAGE_SIZE) - out->base.v;
	return OK;
}
