/* SPDX-License-Identifier: MIT */
/*
 * The walk over a tree, and what nodes have in common: properties, and the way from a `reg` through
 * the buses to a physical address. libfdt has checked that a property lies in the tree, and that
 * something follows it, when a node is handed out.
 */
#include <string.h>
#include "fdt/tree.h"

static bool is_bus(const struct node *n)
{
	unsigned entry = n->addr_cells + n->size_cells;
	int len;

	if (!n->cells_ok || !n->parent)
		return n->cells_ok;
	/* Without `ranges` the children have no address up here; empty, it is the same one. */
	return node_reachable(n) && node_says(n, "compatible", "simple-bus") &&
	       node_prop(n, "ranges", &len) && len % ((entry + n->parent->addr_cells) * 4) == 0;
}

static enum err begin_node(const void *fdt, int offset, int depth, struct node *n)
{
	n->fdt = fdt;
	n->offset = offset;
	n->depth = depth;
	n->name = fdt_offset_ptr(fdt, offset + FDT_TAGSIZE, 1);
	n->parent = depth ? n - 1 : NULL;
	n->nprops = 0;
	return depth == 0 && offset != 0 ? E_FORMAT : OK; /* a second root */
}

/* `n` is NULL for a property that comes after its node's children. */
static enum err add_property(struct node *n, const void *fdt, int offset)
{
	struct node_prop p;

	p.data = fdt_getprop_by_offset(fdt, offset, &p.name, &p.len);
	if (n && p.data && n->nprops < NODE_MAX_PROPS)
		n->props[n->nprops++] = p;
	return n && p.data ? OK : E_FORMAT;
}

/* All properties of `n` are known; NULL when that was so already. */
static enum err visit_node(struct node *n, tree_visit visit, struct machine *m)
{
	if (!n || n->depth >= TREE_MAX_DEPTH)
		return OK;
	n->addr_cells = node_u32(n, "#address-cells", 2);
	n->size_cells = node_u32(n, "#size-cells", 1);
	n->cells_ok = n->addr_cells >= 1 && n->addr_cells <= 2 && n->size_cells >= 1 &&
		      n->size_cells <= 2;
	n->bus = is_bus(n);
	return visit(n, m);
}

enum err tree_walk(const void *fdt, tree_visit visit, struct machine *m)
{
	static struct node path[TREE_MAX_DEPTH + 1]; /* the last is for all that are too deep */
	struct node *open = NULL;                    /* its properties are being read */
	int offset = 0, next, depth = 0;
	enum err rc = OK;
	uint32_t tag;

	for (; rc == OK && (tag = fdt_next_tag(fdt, offset, &next)) != FDT_END; offset = next) {
		if (tag == FDT_PROP)
			rc = add_property(open, fdt, offset);
		if (tag != FDT_BEGIN_NODE && tag != FDT_END_NODE)
			continue;
		rc = visit_node(open, visit, m);
		open = tag == FDT_BEGIN_NODE ? &path[MIN(depth, TREE_MAX_DEPTH)] : NULL;
		if (rc == OK && open)
			rc = begin_node(fdt, offset, depth++, open);
		else if (rc == OK && depth-- == 0)
			rc = E_FORMAT;
	}
	return rc == OK && (next < 0 || depth != 0) ? E_FORMAT : rc;
}

const void *node_prop(const struct node *n, const char *name, int *len)
{
	for (unsigned i = 0; i < n->nprops; i++)
		if (strcmp(n->props[i].name, name) == 0) {
			*len = n->props[i].len;
			return n->props[i].data;
		}
	*len = 0;
	return NULL;
}

const fdt32_t *node_cells(const struct node *n, const char *name, unsigned *ncells)
{
	int len;
	const fdt32_t *cells = node_prop(n, name, &len);

	*ncells = len % 4 ? 0 : (unsigned)len / 4;
	return *ncells ? cells : NULL;
}

uint32_t node_u32(const struct node *n, const char *name, uint32_t otherwise)
{
	unsigned ncells;
	const fdt32_t *cells = node_cells(n, name, &ncells);

	return ncells == 1 ? fdt32_to_cpu(*cells) : otherwise;
}

bool node_has(const struct node *n, const char *name)
{
	int len;

	return node_prop(n, name, &len) != NULL;
}

bool node_says(const struct node *n, const char *name, const char *want)
{
	int len;
	const char *list = node_prop(n, name, &len);

	return fdt_stringlist_contains(list, len, want);
}

bool node_enabled(const struct node *n)
{
	return !node_has(n, "status") || node_says(n, "status", "okay") ||
	       node_says(n, "status", "ok");
}

bool node_reachable(const struct node *n)
{
	return n->parent && n->parent->bus && node_enabled(n);
}

uint64_t cells_number(const fdt32_t *cells, unsigned n)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < n; i++)
		v = v << 32 | fdt32_to_cpu(cells[i]);
	return v;
}

enum err node_reg(const struct node *n, unsigned index, struct machine_range *out)
{
	uint32_t ac = n->parent->addr_cells, sc = n->parent->size_cells;
	unsigned ncells;
	const fdt32_t *reg = node_cells(n, "reg", &ncells);

	if (reg && (!n->parent->cells_ok || ncells % (ac + sc)))
		return E_FORMAT;
	if (!reg || index >= ncells / (ac + sc))
		return E_NOENT;
	reg += index * (ac + sc);
	*out = (struct machine_range){hpa(cells_number(reg, ac)), cells_number(reg + ac, sc)};
	return OK;
}

/* One level up, through the `ranges` of `bus`. */
static bool translate_up(const struct node *bus, struct machine_range *r)
{
	unsigned child = bus->addr_cells, up = bus->parent->addr_cells, n;
	unsigned entry = child + up + bus->size_cells;
	const fdt32_t *ranges = node_cells(bus, "ranges", &n);

	for (unsigned i = 0; i < n; i += entry) {
		uint64_t from = cells_number(ranges + i, child);
		uint64_t to = cells_number(ranges + i + child, up);
		uint64_t size = cells_number(ranges + i + child + up, bus->size_cells);

		if (range_within(r->base.v, r->size, from, size) &&
			range_within(to, size, 0, BIT(PHYS_BITS))) {
			r->base.v = to + (r->base.v - from);
			return true;
		}
	}
	return n == 0;
}

enum err bus_translate(const struct node *bus, struct machine_range *r)
{
	for (; bus->parent; bus = bus->parent)
		if (!translate_up(bus, r))
			return E_RANGE;
	return r->size && range_within(r->base.v, r->size, 0, BIT(PHYS_BITS)) ? OK : E_RANGE;
}

enum err node_region(const struct node *n, unsigned index, struct machine_range *out)
{
	enum err rc = node_reg(n, index, out);

	return rc == OK ? bus_translate(n->parent, out) : rc;
}

struct machine_range range_pages(struct machine_range r)
{
	uint64_t base = ALIGN_DOWN(r.base.v, PAGE_SIZE);

	return (struct machine_range){hpa(base), ALIGN_UP(r.base.v + r.size, PAGE_SIZE) - base};
}
