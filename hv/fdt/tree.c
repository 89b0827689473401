/* SPDX-License-Identifier: MIT */
/* The checks and accessors of tree.h. Knows the format, and nothing of what the nodes mean. */
#include <string.h>
#include "fdt/tree.h"

/* libfdt reads tags as aligned words, and a core may trap on others. */
static bool header_ok(const void *fdt, size_t max)
{
	if ((uintptr_t)fdt % 8 || max < sizeof(struct fdt_header) || fdt_check_header(fdt) != 0)
		return false;
	return fdt_version(fdt) >= 17 && fdt_totalsize(fdt) <= max &&
	       fdt_off_dt_struct(fdt) % 4 == 0 && fdt_off_mem_rsvmap(fdt) % 8 == 0;
}

static bool property_ok(const void *fdt, int offset)
{
	const char *name;
	int len;

	return fdt_getprop_by_offset(fdt, offset, &name, &len) && name;
}

/* libfdt's own fdt_check_full() does the same, but not every copy of libfdt has it. */
enum err tree_check(const void *fdt, size_t max)
{
	int offset = 0, next, depth = 0;
	bool closed = false; /* the root node has ended: nothing but padding may follow */
	uint32_t tag;

	if (!header_ok(fdt, max) || fdt_num_mem_rsv(fdt) < 0)
		return E_FORMAT;
	do {
		tag = fdt_next_tag(fdt, offset, &next);
		if (next < 0)
			return E_FORMAT;
		if (tag == FDT_BEGIN_NODE && (closed || ++depth > TREE_MAX_DEPTH))
			return E_FORMAT;
		if (tag == FDT_PROP && (depth == 0 || !property_ok(fdt, offset)))
			return E_FORMAT;
		if (tag == FDT_END_NODE && --depth < 0)
			return E_FORMAT;
		closed = tag == FDT_END_NODE ? depth == 0 : closed;
		offset = next;
	} while (tag != FDT_END);
	return closed ? OK : E_FORMAT;
}

const fdt32_t *tree_cells(const void *fdt, int node, const char *name, unsigned *ncells)
{
	int len;
	const fdt32_t *cells = fdt_getprop(fdt, node, name, &len);

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
	return fdt_getprop(fdt, node, name, NULL) != NULL;
}

bool tree_string_is(const void *fdt, int node, const char *name, const char *want)
{
	int len;
	const char *s = fdt_getprop(fdt, node, name, &len);

	return s && (size_t)len == strlen(want) + 1 && memcmp(s, want, (size_t)len) == 0;
}

bool tree_enabled(const void *fdt, int node)
{
	return !tree_has(fdt, node, "status") || tree_string_is(fdt, node, "status", "okay") ||
	       tree_string_is(fdt, node, "status", "ok");
}

bool tree_copy_string(const void *fdt, int node, const char *name, char *buf, size_t size)
{
	int len;
	const char *s = fdt_getprop(fdt, node, name, &len);
	size_t n = s ? strnlen(s, (size_t)len) : 0;
	size_t kept = MIN(n, size - 1);

	if (kept)
		memcpy(buf, s, kept);
	buf[kept] = '\0';
	return kept == n;
}
