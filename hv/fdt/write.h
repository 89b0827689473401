/* SPDX-License-Identifier: MIT */
/*
 * libfdt's sequential writer with an error that sticks: after the first failure the other calls do
 * nothing, so a tree is written straight through and checked once. Every call takes time linear in
 * what it writes (property names are not searched for an earlier copy). Internal to hv/fdt.
 */
#pragma once

#include <libfdt.h>
#include "core/addr.h"
#include "core/err.h"

struct writer {
	void *buf;
	enum err err; /* E_NOMEM the buffer is full; E_FORMAT set by a caller */
};

#define NODE_NAME_MAX 64 /* with unit address and NUL, of names made here */

void write_start(struct writer *w, void *buf, size_t size);
enum err must_check write_finish(struct writer *w, size_t *used);

void write_begin(struct writer *w, const char *name);
void write_begin_at(struct writer *w, const char *name, uint64_t unit); /* name@unit, hexadecimal */
void write_end(struct writer *w);

void write_bytes(struct writer *w, const char *name, const void *bytes, size_t n);
void write_empty(struct writer *w, const char *name);
void write_string(struct writer *w, const char *name, const char *s);
void write_u32(struct writer *w, const char *name, uint32_t v);
void write_u64(struct writer *w, const char *name, uint64_t v);
void write_reg(struct writer *w, uint64_t base, uint64_t size); /* two cells each */

/* A property of `n` cells to be filled in by put_cells(); NULL when there is an error. */
fdt32_t *write_cells(struct writer *w, const char *name, unsigned n);

/* Stores `v` in `n` cells, the highest first; returns what follows them. */
fdt32_t *put_cells(fdt32_t *cells, uint64_t v, unsigned n);

/* Copies a device's node from the host's tree, as it has to look under the guest's /soc. */
struct machine_device;
void copy_device(
	struct writer *w, const void *host, const struct machine_device *d, uint32_t plic_phandle);
