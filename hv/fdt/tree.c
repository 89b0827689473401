/* SPDX-License-Identifier: MIT */
/*
 * The accessors of tree.h, for trees that tree_check() has passed. Knows the format, and nothing of
 * what the nodes mean. A step looks at one item of the structure block, a look-up at the properties
 * of one node, which come before its children (Devicetree Specification 0.4, 5.4).
 */
#include <string.h>
#include "fdt/tree.h"

static const char *structure(const void *fdt)
{
	return (const char *)fdt + fdt_off_dt_struct(fdt);
}

static const struct fdt_property *property(const char *at)
{
	return (const void *)at;
}

static uint32_t tag_at(const char *at)
{
	return fdt32_to_cpu(*(const fdt32_t *)(const void *)at);
}

/* What the FDT_BEGIN_NODE at `at` takes, with the name that follows it. */
static size_t node_size(const char *at)
{
	return ALIGN_UP(FDT_TAGSIZE + strlen(at + FDT_TAGSIZE) + 1, FDT_TAGSIZE);
}

static size_t property_size(const struct fdt_property *p)
{
	return ALIGN_UP(sizeof(*p) + fdt32_to_cpu(p->len), FDT_TAGSIZE);
}

static size_t item_size(const char *at, uint32_t tag)
{
	if (tag == FDT_PROP)
		return property_size(property(at));
	return tag == FDT_BEGIN_NODE ? node_size(at) : FDT_TAGSIZE;
}

uint32_t tree_tag(const void *fdt, int offset, int *next)
{
	const char *at = structure(fdt) + offset;
	uint32_t tag = tag_at(at);

	*next = offset + (int)item_size(at, tag);
	return tag;
}

int tree_next(const void *fdt, int node, int *depth)
{
	const char *begin = structure(fdt), *at = begin + node;
	uint32_t tag;

	for (at += node_size(at); *depth >= 0; at += item_size(at, tag)) {
		tag = tag_at(at);
		if (tag == FDT_BEGIN_NODE) {
			++*depth;
			return (int)(at - begin);
		}
		if (tag == FDT_END_NODE)
			--*depth;
	}
	return -1;
}

int tree_first_child(const void *fdt, int parent)
{
	int depth = 0;

	return tree_next(fdt, parent, &depth);
}

int tree_next_child(const void *fdt, int node)
{
	int depth = 1;

	do
		node = tree_next(fdt, node, &depth);
	while (node >= 0 && depth > 1);
	return node;
}

const char *tree_name(const void *fdt, int node)
{
	return structure(fdt) + node + FDT_TAGSIZE;
}

/* The name's first `len` characters count. */
static int find_child(const void *fdt, int parent, const char *name, size_t len)
{
	bool any_unit = !memchr(name, '@', len);
	int node;

	tree_for_each_child(node, fdt, parent)
	{
		const char *s = tree_name(fdt, node);

		if (strncmp(s, name, len) == 0 && (!s[len] || (any_unit && s[len] == '@')))
			break;
	}
	return node;
}

int tree_child(const void *fdt, int parent, const char *name)
{
	return find_child(fdt, parent, name, strlen(name));
}

int tree_path(const void *fdt, const char *path)
{
	int node = 0;

	while (node >= 0 && *path) {
		size_t len = 0;

		while (path[len] && path[len] != '/')
			len++;
		if (len)
			node = find_child(fdt, node, path, len);
		path += MAX(len, 1);
	}
	return node;
}

const void *tree_prop_at(const void *fdt, int offset, const char **name, int *len)
{
	const struct fdt_property *p = property(structure(fdt) + offset);

	*name = (const char *)fdt + fdt_off_dt_strings(fdt) + fdt32_to_cpu(p->nameoff);
	*len = (int)fdt32_to_cpu(p->len);
	return p->data;
}

/* The property at `at`, or after what a loader took out there; NULL: all have been seen. */
static const struct fdt_property *property_from(const char *at)
{
	while (tag_at(at) == FDT_NOP)
		at += FDT_TAGSIZE;
	return tag_at(at) == FDT_PROP ? property(at) : NULL;
}

const void *tree_prop(const void *fdt, int node, const char *name, int *len)
{
	const char *strings = (const char *)fdt + fdt_off_dt_strings(fdt);
	const char *at = structure(fdt) + node;
	const struct fdt_property *p = property_from(at + node_size(at));

	for (; p; p = property_from((const char *)p + property_size(p))) {
		const char *s = strings + fdt32_to_cpu(p->nameoff);

		if (*s == *name && strcmp(s, name) == 0)
			break;
	}
	*len = p ? (int)fdt32_to_cpu(p->len) : 0;
	return p ? p->data : NULL;
}

uint32_t tree_phandle(const void *fdt, int node)
{
	unsigned n;
	const fdt32_t *cell = tree_cells(fdt, node, "phandle", &n);

	if (n != 1)
		cell = tree_cells(fdt, node, "linux,phandle", &n); /* before 2007 */
	return n == 1 ? fdt32_to_cpu(*cell) : 0;
}

const fdt32_t *tree_cells(const void *fdt, int node, const char *name, unsigned *ncells)
{
	int len;
	const fdt32_t *cells = tree_prop(fdt, node, name, &len);

	*ncells = 0;
	if (!cells || len <= 0 || len % 4)
		return NULL;
	*ncells = (unsigned)len / 4;
	return cells;
}

uint64_t tree_number(const fdt32_t *cells, unsigned n)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < n; i++)
		v = v << 32 | fdt32_to_cpu(cells[i]);
	return v;
}

uint32_t tree_u32(const void *fdt, int node, const char *name, uint32_t otherwise)
{
	unsigned n;
	const fdt32_t *cells = tree_cells(fdt, node, name, &n);

	return n == 1 ? fdt32_to_cpu(*cells) : otherwise;
}

bool tree_has(const void *fdt, int node, const char *name)
{
	int len;

	return tree_prop(fdt, node, name, &len) != NULL;
}

bool tree_text_is(const char *s, int len, const char *want)
{
	return s && (size_t)len == strlen(want) + 1 && memcmp(s, want, (size_t)len) == 0;
}

bool tree_string_is(const void *fdt, int node, const char *name, const char *want)
{
	int len;
	const char *s = tree_prop(fdt, node, name, &len);

	return tree_text_is(s, len, want);
}

bool tree_enabled(const void *fdt, int node)
{
	int len;
	const char *s = tree_prop(fdt, node, "status", &len);

	return !s || tree_text_is(s, len, "okay") || tree_text_is(s, len, "ok");
}

bool tree_list_has(const char *list, int len, const char *want)
{
	int size = (int)strlen(want) + 1;

	while (len >= size) {
		int step;

		if (*list == *want && memcmp(list, want, (size_t)size) == 0)
			return true;
		step = (int)strnlen(list, (size_t)len) + 1;
		list += step;
		len -= step;
	}
	return false;
}

bool tree_compatible(const void *fdt, int node, const char *want)
{
	int len;
	const char *list = tree_prop(fdt, node, "compatible", &len);

	return tree_list_has(list, len, want);
}

bool tree_copy_string(const void *fdt, int node, const char *name, char *buf, size_t size)
{
	int len;
	const char *s = tree_prop(fdt, node, name, &len);
	size_t n = s ? strnlen(s, (size_t)len) : 0;
	size_t kept = MIN(n, size - 1);

	if (kept)
		memcpy(buf, s, kept);
	buf[kept] = '\0';
	return kept == n;
}
