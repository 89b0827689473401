/* SPDX-License-Identifier: MIT */
/*
 * Reading a host tree that nobody vouches for: what the files of this folder share and nobody else
 * needs. tree_check() comes first and once; after it the other functions (and libfdt's) are safe on
 * the tree, and a loop over it is bounded by its size. Buses are walked with an explicit stack.
 *
 * libfdt checks the tree again at each step and finds a node's parent or children from the root:
 * 90% of the time to the first guest instruction. So the tree is read with the functions below,
 * which trust what has been checked; libfdt is left to write trees. A node is the offset of its
 * FDT_BEGIN_NODE in the structure block, as in libfdt.
 */
#pragma once

#include <libfdt.h>
#include "fdt/machine.h"

#define TREE_MAX_DEPTH 32 /* nesting of nodes */
#define BUS_MAX_DEPTH  4  /* nesting of simple-bus nodes, the root being the first */
#define BUS_MAX_RANGES 32 /* entries of one bus's `ranges` */

#define PHYS_BITS 56 /* of an RV64 physical address: Privileged Architecture, 12.4 */

/* A node whose children have addresses we can translate: the root, or a simple-bus below it. */
struct tree_bus {
	uint32_t addr_cells, size_cells; /* of its children's `reg` */
	const fdt32_t *ranges;           /* to the parent's addresses; NULL: the same addresses */
	unsigned nranges;
	uint32_t irq_parent; /* phandle inherited by children; 0 when none */
	bool dma_noncoherent;
	bool dma_offset; /* DMA addresses on this bus are not physical ones */
};

/* Where a walk is: bus[depth - 1] is the parent of the node being visited, bus[0] the root. */
struct tree_path {
	const void *fdt;
	unsigned depth;
	struct tree_bus bus[BUS_MAX_DEPTH];
};

/* Header, alignment, nesting, property names. E_FORMAT when anything does not hold. */
enum err must_check tree_check(const void *fdt, size_t max);

/* The tag at `offset`, and the offset of the next one. */
uint32_t tree_tag(const void *fdt, int offset, int *next);

/* The node that begins after `node`, itself at `*depth`, which follows; negative when the node at
 * depth 0 ends. So with 0 in `*depth` it goes through all nodes below `node`. */
int tree_next(const void *fdt, int node, int *depth);

/* The first child of `parent`, the one after `node`, the one of that name, with any unit address
 * when `name` has none. Negative: there is none. */
int tree_first_child(const void *fdt, int parent);
int tree_next_child(const void *fdt, int node);
int tree_child(const void *fdt, int parent, const char *name);

#define tree_for_each_child(node, fdt, parent)                                                     \
	for (node = tree_first_child(fdt, parent); node >= 0; node = tree_next_child(fdt, node))

int tree_path(const void *fdt, const char *path); /* "/soc/uart"; negative: there is none */
const char *tree_name(const void *fdt, int node);
uint32_t tree_phandle(const void *fdt, int node); /* 0 when it has none */

/* The property's value, and its length in bytes; NULL when it is absent. */
const void *tree_prop(const void *fdt, int node, const char *name, int *len);

/* The property whose FDT_PROP is at `offset`. */
const void *tree_prop_at(const void *fdt, int offset, const char **name, int *len);

/* The property as 32-bit cells; NULL when it is absent, empty or not a whole number of them. */
const fdt32_t *tree_cells(const void *fdt, int node, const char *name, unsigned *ncells);

/* The first `n` cells as one number; 0 for n = 0, the low 64 bits for n > 2. */
uint64_t tree_number(const fdt32_t *cells, unsigned n);

/* A property of one cell; `otherwise` when there is none. */
uint32_t tree_u32(const void *fdt, int node, const char *name, uint32_t otherwise);

bool tree_enabled(const void *fdt, int node); /* no `status`, or "okay" */
bool tree_has(const void *fdt, int node, const char *name);
bool tree_string_is(const void *fdt, int node, const char *name, const char *want);

/* True when the value is that string; false for `s` NULL. */
bool tree_text_is(const char *s, int len, const char *want);

/* True when `want` is one of the NUL-terminated strings, `len` bytes in all. */
bool tree_list_has(const char *list, int len, const char *want);

/* One of the node's `compatible` strings. */
bool tree_compatible(const void *fdt, int node, const char *want);

/* Copies the string property into `buf`, cut to fit; false when it was cut. "" when absent. */
bool tree_copy_string(const void *fdt, int node, const char *name, char *buf, size_t size);

/* Calls `visit` for each enabled child of the root and of the enabled simple-buses below it. */
typedef void (*tree_visit)(const struct tree_path *path, int node, void *ctx);
void tree_walk(const void *fdt, tree_visit visit, void *ctx);

/* Entry `index` of the node's `reg` as host physical addresses. E_NOENT there is none; E_RANGE it
 * is empty, wraps or the buses above do not map it. */
enum err must_check tree_reg(
	const struct tree_path *path, int node, unsigned index, struct machine_range *out);

/* Translates an address of the bus bus[depth - 1] in place. */
enum err must_check tree_translate(const struct tree_path *path, struct machine_range *range);

/* The range in whole pages, grown outwards. E_RANGE when it is empty or ends above PHYS_BITS. */
enum err must_check tree_pages(struct machine_range in, struct machine_range *out);

/* The parts of fdt_read_machine(), in this order. */
enum err must_check memory_read(const void *fdt, struct machine *m);
enum err must_check cpus_read(const void *fdt, struct machine *m);
void controllers_read(const void *fdt, struct machine *m);
void devices_read(const void *fdt, struct machine *m);

/* UART and finisher: node by node, from devices_read(). */
struct syscon {
	uint32_t regmap; /* phandle of the node with the register; 0 when none */
	uint32_t offset, value;
};
struct own_scan {
	struct machine *m;
	int stdout_node; /* negative when /chosen names none */
	struct syscon poweroff, reboot;
};
void own_scan_init(struct own_scan *s, const void *fdt, struct machine *m);
void own_visit(struct own_scan *s, const struct tree_path *path, int node);

/* Adds the node's `reg` to the ranges that belong to the hypervisor. */
void own_claim(struct machine *m, const struct tree_path *path, int node);

/*
 * The PLIC sources of the node's interrupts, without repetition. `*count` is added to.
 * E_FORMAT: one goes elsewhere than to the PLIC, or there is none; E_NOMEM: more than `max`.
 */
enum err must_check irqs_read(const struct tree_path *path, int node, const struct machine *m,
	uint32_t *irqs, unsigned max, unsigned *count);

#define IRQ_MAP_MAX   256 /* entries of an interrupt-map */
#define IRQ_MAP_CELLS 6   /* PCI: child address 3, pin 1; PLIC: phandle 1, source 1 */
