/* SPDX-License-Identifier: MIT */
/*
 * Reading a host tree that nobody vouches for: what the files of this folder share and nobody else
 * needs. libfdt is the parser. Its look-ups by parent and path search the tree from its beginning
 * each time, so a walk hands out each node with its ancestors. Source of the rules: Devicetree
 * Specification 0.4, 2.3 and 2.4.
 */
#pragma once

#include <libfdt.h>
#include "fdt/machine.h"

#define TREE_MAX_DEPTH 5  /* nodes from the root to a leaf; deeper ones are stepped over */
#define NODE_MAX_PROPS 64 /* what a node has more is not seen */
#define PHYS_BITS      56 /* of an RV64 physical address: Privileged Architecture, 12.4 */

struct node {
	const void *fdt;
	int offset; /* libfdt's */
	int depth;  /* 0: the root */
	const char *name;
	const struct node *parent; /* NULL: this is the root */
	uint32_t addr_cells, size_cells;
	bool cells_ok; /* both 1 or 2: addresses and sizes of its children can be read */
	bool bus;      /* an enabled one, whose children's addresses are physical */
	unsigned nprops;
	struct node_prop {
		const char *name;
		const void *value;
		int len;
	} props[NODE_MAX_PROPS + 1]; /* the last is for those that are too many */
};

/* Calls `visit` for each node after its parent; stops at the first error. E_FORMAT also when the
 * tree is not well-formed. */
typedef enum err (*tree_visit)(const struct node *n, struct machine *m);
enum err must_check tree_walk(const void *fdt, tree_visit visit, struct machine *m);

/* fdt_read_machine() is these visits, the first two in one walk, then one each in this order: what
 * a node means may depend on what the earlier ones have read. */
enum err must_check memory_visit(const struct node *n, struct machine *m);
void cpus_visit(const struct node *n, struct machine *m);
enum err must_check controllers_visit(const struct node *n, struct machine *m);
enum err must_check console_visit(const struct node *n, struct machine *m);
enum err must_check devices_visit(const struct node *n, struct machine *m);

/* The property's value, and its length in bytes; NULL and 0 when it is absent. */
const void *node_prop(const struct node *n, const char *name, int *len);

/* The same as 32-bit cells; NULL and 0 when it is absent, empty or not a whole number of them. */
const fdt32_t *node_cells(const struct node *n, const char *name, unsigned *ncells);

uint32_t node_u32(const struct node *n, const char *name, uint32_t otherwise);
bool node_has(const struct node *n, const char *name);
bool node_says(const struct node *n, const char *name, const char *want); /* one of its strings */

/* One of its compatible strings is in `list`: some strings, the last one empty. */
bool node_is(const struct node *n, const char *list);

bool node_enabled(const struct node *n);   /* its own `status` */
bool node_reachable(const struct node *n); /* enabled, and on a bus */

/* The first `n` cells as one number; the low 64 bits for n > 2. */
uint64_t cells_number(const fdt32_t *cells, unsigned n);

/* Entry `index` of `reg`, as it stands there. E_NOENT: there is none; E_FORMAT: no whole entries.
 */
enum err must_check node_reg(const struct node *n, unsigned index, struct machine_range *out);

/* The same of a node that is reachable, as host physical addresses. Also E_RANGE: none. */
enum err must_check node_region(const struct node *n, unsigned index, struct machine_range *out);

/* Not empty, and below 2^PHYS_BITS. */
bool range_is_physical(const struct machine_range *r);

/* In whole pages, grown outwards. The range ends below 2^PHYS_BITS. */
struct machine_range range_pages(struct machine_range r);

/* Adds the node's registers to the ranges that are the hypervisor's own. */
void claim(const struct node *n, struct machine *m);

/* The PLIC sources of the node's interrupts, without repetition, into d->irqs. E_FORMAT: one goes
 * elsewhere than to the PLIC; E_NOMEM: more than DEVICE_MAX_IRQS. */
enum err must_check irqs_read(
	const struct node *n, const struct machine *m, struct machine_device *d);
