/* SPDX-License-Identifier: MIT */
/* tree_check(): the one place that takes nothing in a tree on trust. libfdt's fdt_check_full() does
 * the same in twenty times the time, and not every copy of libfdt has it. */
#include <string.h>
#include "fdt/tree.h"

/* The structure block, and what a property may name in the strings block. */
struct block {
	const char *at;
	size_t size;
	size_t names; /* bytes of the strings block up to its last NUL: a name that begins there
			 ends there */
};

/* Tags are read as aligned words, and a core may trap on others. */
static bool header_ok(const void *fdt, size_t max)
{
	if ((uintptr_t)fdt % 8 || max < sizeof(struct fdt_header) || fdt_check_header(fdt) != 0)
		return false;
	return fdt_version(fdt) >= 17 && fdt_totalsize(fdt) <= max &&
	       fdt_off_dt_struct(fdt) % 4 == 0 && fdt_off_mem_rsvmap(fdt) % 8 == 0 &&
	       fdt_num_mem_rsv(fdt) >= 0;
}

static struct block block_of(const void *fdt)
{
	const char *strings = (const char *)fdt + fdt_off_dt_strings(fdt);
	size_t names = fdt_size_dt_strings(fdt);

	while (names > 0 && strings[names - 1])
		names--;
	return (struct block){
		(const char *)fdt + fdt_off_dt_struct(fdt), fdt_size_dt_struct(fdt), names};
}

static bool node_ok(const struct block *b, size_t offset)
{
	size_t name = offset + FDT_TAGSIZE;

	return memchr(b->at + name, '\0', b->size - name) != NULL;
}

static bool property_ok(const struct block *b, size_t offset)
{
	const struct fdt_property *p = (const void *)(b->at + offset);

	return b->size - offset >= sizeof(*p) &&
	       fdt32_to_cpu(p->len) <= b->size - offset - sizeof(*p) &&
	       fdt32_to_cpu(p->nameoff) < b->names;
}

/* True when what is at `offset` ends within the block. */
static bool item_ok(const struct block *b, size_t offset)
{
	if (!range_within(offset, FDT_TAGSIZE, 0, b->size))
		return false;
	switch (fdt32_to_cpu(*(const fdt32_t *)(const void *)(b->at + offset))) {
	case FDT_BEGIN_NODE:
		return node_ok(b, offset);
	case FDT_PROP:
		return property_ok(b, offset);
	case FDT_END_NODE:
	case FDT_NOP:
	case FDT_END:
		return true;
	default:
		return false;
	}
}

enum err tree_check(const void *fdt, size_t max)
{
	unsigned depth = 0;
	int offset = 0;
	struct block b;
	uint32_t tag;

	if (!header_ok(fdt, max))
		return E_FORMAT;
	b = block_of(fdt);
	do {
		if (!item_ok(&b, (size_t)offset))
			return E_FORMAT;
		tag = tree_tag(fdt, offset, &offset);
		depth += tag == FDT_BEGIN_NODE;
		if (tag == FDT_END || depth == 0 || depth > TREE_MAX_DEPTH)
			return E_FORMAT;
		depth -= tag == FDT_END_NODE;
	} while (depth > 0);
	do {
		if (!item_ok(&b, (size_t)offset))
			return E_FORMAT;
		tag = tree_tag(fdt, offset, &offset);
	} while (tag == FDT_NOP);
	return tag == FDT_END ? OK : E_FORMAT;
}
