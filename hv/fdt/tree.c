/* SPDX-License-Identifier: MIT */
/*
 * The walk over a tree, and what nodes have in common: properties, and addresses. That a property
 * lies in the tree, and that something follows it, has been checked when a node is handed out.
 */
#include <string.h>
#include "fdt/tree.h"

/* A property whose value or name lies outside makes the tree unusable. */
static enum err read_node(const void *fdt, int offset, int depth, struct node *n)
{
	struct node_prop *p;
	int property, len;

	*n = (struct node){fdt, offset, depth, .name = fdt_get_name(fdt, offset, NULL)};
	n->parent = depth ? n - 1 : NULL;
	fdt_for_each_property_offset(property, fdt, offset)
	{
		p = &n->props[MIN(n->nprops, NODE_MAX_PROPS)];
		p->value = fdt_getprop_by_offset(fdt, property, &p->name, &p->len);
		if (!p->value)
			return E_FORMAT;
		n->nprops = MIN(n->nprops + 1, NODE_MAX_PROPS);
	}
	n->addr_cells = node_u32(n, "#address-cells", 2);
	n->size_cells = node_u32(n, "#size-cells", 1);
	n->cells_ok = n->addr_cells >= 1 && n->addr_cells <= 2 && n->size_cells >= 1 &&
		      n->size_cells <= 2;
	/* Empty, `ranges` says that the children's addresses are those of up here. */
	n->bus = n->cells_ok &&
		 (depth == 0 || (node_is(n, "simple-bus\0") && node_prop(n, "ranges", &len) &&
					len == 0 && node_reachable(n)));
	return OK;
}

enum err tree_walk(const void *fdt, tree_visit visit, struct machine *m)
{
	static struct node path[TREE_MAX_DEPTH];
	int next, depth = -1, offset = fdt_next_node(fdt, -1, &depth);
	enum err rc = OK;

	for (; rc == OK && offset >= 0 && depth >= 0; offset = fdt_next_node(fdt, offset, &depth)) {
		if (depth >= TREE_MAX_DEPTH)
			continue;
		rc = read_node(fdt, offset, depth, &path[depth]);
		if (rc == OK)
			rc = visit(&path[depth], m);
	}
	if (rc != OK)
		return rc;
	/* Behind the root there is nothing. */
	return offset >= 0 && fdt_next_tag(fdt, offset, &next) == FDT_END && next >= 0 ? OK
										       : E_FORMAT;
}

const void *node_prop(const struct node *n, const char *name, int *len)
{
	const struct node_prop *p = n->props, *end = p + n->nprops;

	while (p < end && strcmp(p->name, name) != 0)
		p++;
	*len = p < end ? p->len : 0;
	return p < end ? p->value : NULL;
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
	return node_prop(n, name, &(int){0}) != NULL;
}

bool node_says(const struct node *n, const char *name, const char *want)
{
	int len;
	const char *list = node_prop(n, name, &len);

	return fdt_stringlist_contains(list, len, want);
}

bool node_is(const struct node *n, const char *list)
{
	while (*list && !node_says(n, "compatible", list))
		list += strlen(list) + 1;
	return *list;
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

bool range_is_physical(const struct machine_range *r)
{
	return r->size && range_within(r->base.v, r->size, 0, BIT(PHYS_BITS));
}

enum err node_region(const struct node *n, unsigned index, struct machine_range *out)
{
	enum err rc = node_reg(n, index, out);

	return rc == OK && !range_is_physical(out) ? E_RANGE : rc;
}

struct machine_range range_pages(struct machine_range r)
{
	uint64_t base = ALIGN_DOWN(r.base.v, PAGE_SIZE);

	return (struct machine_range){hpa(base), ALIGN_UP(r.base.v + r.size, PAGE_SIZE) - base};
}
