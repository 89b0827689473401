/* SPDX-License-Identifier: MIT */
/*
 * Any host tree ends in success or an error; what is accepted keeps the promises of fdt/machine.h.
 * What tree_check() accepts, libfdt's own check does too, and the accessors of fdt/tree.h, which
 * trust that check, find in it what libfdt finds.
 */
#include "unit.h"
#include "edit_tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "broken: %s\n", what);
	abort();
}

static void check_ranges(const struct machine_range *r, unsigned n, unsigned max, const char *what)
{
	check(n <= max, what);
	for (unsigned i = 0; i < n; i++) {
		check(r[i].size && range_within(r[i].base.v, r[i].size, 0, BIT(PHYS_BITS)), what);
		check(IS_ALIGNED(r[i].base.v | r[i].size, PAGE_SIZE), what);
	}
}

static void check_sorted(const struct machine_range *r, unsigned n, const char *what)
{
	for (unsigned i = 1; i < n; i++)
		check(r[i - 1].base.v + r[i - 1].size < r[i].base.v, what);
}

static void check_apart(const struct machine_range *r, const struct machine_range *list, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		check(!range_overlaps(r->base.v, r->size, list[i].base.v, list[i].size),
			"device overlaps");
}

static void check_device(const struct machine_device *d)
{
	check_ranges(d->regions, d->nregions, DEVICE_MAX_REGIONS, "device regions");
	check(d->nregs >= 1 && d->nregs <= d->nregions, "nregs");
	check(d->nirqs >= 1 && d->nirqs <= DEVICE_MAX_IRQS, "nirqs");
	for (unsigned i = 0; i < d->nirqs; i++)
		check(d->irqs[i] >= 1 && d->irqs[i] <= m.plic.ndev, "irq");
	for (unsigned i = 0; i < d->nregions; i++) {
		check_apart(&d->regions[i], m.ram, m.nram);
		check_apart(&d->regions[i], m.own, m.nown);
		check(range_within(d->exact[i].base.v, d->exact[i].size, d->regions[i].base.v,
			      d->regions[i].size),
			"exact");
	}
}

static void check_harts(void)
{
	check(m.nharts >= 1 && m.nharts <= MACHINE_MAX_HARTS, "nharts");
	for (unsigned i = 0; i < m.nharts; i++) {
		const struct machine_hart *h = &m.harts[i];

		check(!h->usable || (h->isa.mmu_levels && h->isa.xlen), "usable");
		check(IS_ALIGNED(h->msip.v, 4) && IS_ALIGNED(h->mtimecmp.v, 8), "ACLINT");
		for (unsigned k = 0; k < i; k++)
			check(m.harts[k].hartid != h->hartid, "two harts of one ID");
	}
}

static void check_machine(void)
{
	check(m.nram >= 1, "nram");
	check_ranges(m.ram, m.nram, MACHINE_MAX_RAM, "ram");
	check_sorted(m.ram, m.nram, "ram order");
	check_ranges(m.reserved, m.nreserved, MACHINE_MAX_RESERVED, "reserved");
	check_sorted(m.reserved, m.nreserved, "reserved order");
	check_ranges(m.own, m.nown, MACHINE_MAX_OWN, "own");
	check(m.ndevices <= MACHINE_MAX_DEVICES, "ndevices");
	for (unsigned i = 0; i < m.ndevices; i++)
		check_device(&m.devices[i]);
	check_harts();
	check(IS_ALIGNED(m.mtime.v, 8) && IS_ALIGNED(m.finisher.v, 4), "alignment");
	check(memchr(m.model, 0, sizeof(m.model)) && memchr(m.bootargs, 0, sizeof(m.bootargs)),
		"text");
	check(m.rng_seed_len <= sizeof(m.rng_seed), "seed");
	check(!m.uart.base.v || m.uart.irq <= m.plic.ndev, "UART");
}

static void check_properties(int node)
{
	for (unsigned i = 0; i < ARRAY_SIZE(edit_names); i++) {
		int len, want_len;
		const void *want = fdt_getprop(packed, node, edit_names[i], &want_len);

		check(tree_prop(packed, node, edit_names[i], &len) == want, "property");
		check(len == (want ? want_len : 0), "length of a property");
	}
	check(tree_phandle(packed, node) == fdt_get_phandle(packed, node), "phandle");
}

/* libfdt reads one byte too many of a list without its last NUL. */
static void check_compatible(int node)
{
	int len;
	const char *list = fdt_getprop(packed, node, "compatible", &len);

	for (unsigned i = 0; list && len && !list[len - 1] && i < ARRAY_SIZE(edit_texts); i++)
		check(tree_compatible(packed, node, edit_texts[i]) ==
				(fdt_node_check_compatible(packed, node, edit_texts[i]) == 0),
			"compatible");
}

static void check_children(int node)
{
	int want = fdt_first_subnode(packed, node), child = tree_first_child(packed, node);

	while (child >= 0 && child == want) {
		want = fdt_next_subnode(packed, want);
		child = tree_next_child(packed, child);
	}
	check(child < 0 && want < 0, "children");
	for (unsigned i = 0; i < ARRAY_SIZE(edit_nodes); i++) {
		want = fdt_subnode_offset(packed, node, edit_nodes[i]);
		child = tree_child(packed, node, edit_nodes[i]);
		check(child == want || (child < 0 && want < 0), "child by name");
	}
}

/* Every node and property as libfdt sees it. */
static void check_accessors(void)
{
	int node = 0, want = 0, depth = 0, want_depth = 0;

	while (node >= 0) {
		check(node == want && depth == want_depth, "next node");
		check(tree_name(packed, node) == fdt_get_name(packed, node, NULL), "name");
		check_properties(node);
		check_compatible(node);
		check_children(node);
		node = tree_next(packed, node, &depth);
		want = fdt_next_node(packed, want, &want_depth);
	}
	check(want < 0 || want_depth < 0, "last node");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	size_t n = make_tree(&in);

	if (fdt_read_machine(packed, n, &m) == OK)
		check_machine();
	if (tree_check(packed, n) == OK) {
		/* The root's name is nothing to us. */
		check(*tree_name(packed, 0) || fdt_check_full(packed, n) == 0,
			"accepted a tree that libfdt refuses");
		check_accessors();
	}
	return 0;
}
