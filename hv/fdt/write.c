/* SPDX-License-Identifier: MIT */
/* The writer of write.h. */
#include <string.h>
#include "fdt/write.h"
#include "lib/printf.h"

static void note(struct writer *w, int rc)
{
	if (rc != 0 && w->err == OK)
		w->err = rc == -FDT_ERR_NOSPACE ? E_NOMEM : E_FORMAT;
}

void write_start(struct writer *w, void *buf, size_t size)
{
	*w = (struct writer){buf, OK};
	note(w, fdt_create_with_flags(
			buf, (int)MIN(size, (size_t)INT32_MAX), FDT_CREATE_FLAG_NO_NAME_DEDUP));
	if (w->err == OK)
		note(w, fdt_finish_reservemap(buf));
}

enum err write_finish(struct writer *w, size_t *used)
{
	if (w->err == OK)
		note(w, fdt_finish(w->buf));
	*used = w->err == OK ? fdt_totalsize(w->buf) : 0;
	return w->err;
}

void write_begin(struct writer *w, const char *name)
{
	if (w->err == OK)
		note(w, fdt_begin_node(w->buf, name));
}

void write_begin_at(struct writer *w, const char *name, uint64_t unit)
{
	char text[NODE_NAME_MAX];

	if (fmt_snprintf(text, sizeof(text), "%s@%llx", name, (unsigned long long)unit) >=
		NODE_NAME_MAX)
		w->err = E_FORMAT;
	write_begin(w, text);
}

void write_end(struct writer *w)
{
	if (w->err == OK)
		note(w, fdt_end_node(w->buf));
}

static void *reserve(struct writer *w, const char *name, size_t n)
{
	void *value = NULL;

	if (w->err == OK)
		note(w, fdt_property_placeholder(w->buf, name, (int)n, &value));
	return w->err == OK ? value : NULL;
}

void write_bytes(struct writer *w, const char *name, const void *bytes, size_t n)
{
	void *value = reserve(w, name, n);

	if (value && n)
		memcpy(value, bytes, n);
}

void write_empty(struct writer *w, const char *name)
{
	write_bytes(w, name, NULL, 0);
}

void write_string(struct writer *w, const char *name, const char *s)
{
	write_bytes(w, name, s, strlen(s) + 1);
}

fdt32_t *write_cells(struct writer *w, const char *name, unsigned n)
{
	return reserve(w, name, (size_t)n * sizeof(fdt32_t));
}

fdt32_t *put_cells(fdt32_t *cells, uint64_t v, unsigned n)
{
	for (unsigned i = n; i > 0; i--, v >>= 32)
		cells[i - 1] = cpu_to_fdt32((uint32_t)v);
	return cells + n;
}

void write_u32(struct writer *w, const char *name, uint32_t v)
{
	fdt32_t *cells = write_cells(w, name, 1);

	if (cells)
		put_cells(cells, v, 1);
}

void write_u64(struct writer *w, const char *name, uint64_t v)
{
	fdt32_t *cells = write_cells(w, name, 2);

	if (cells)
		put_cells(cells, v, 2);
}

void write_reg(struct writer *w, uint64_t base, uint64_t size)
{
	fdt32_t *cells = write_cells(w, "reg", 4);

	if (cells)
		put_cells(put_cells(cells, base, 2), size, 2);
}
