/* SPDX-License-Identifier: MIT */
/* The harts, as /cpus describes them. Source of the rules: Linux's bindings riscv/cpus.yaml. */
#include <string.h>
#include "fdt/isa_text.h"
#include "fdt/tree.h"

static uint32_t mmu_levels(const void *fdt, int node)
{
	static const char *const types[] = {
		[2] = "riscv,sv32", [3] = "riscv,sv39", [4] = "riscv,sv48", [5] = "riscv,sv57"};

	int len;
	const char *type = tree_prop(fdt, node, "mmu-type", &len);

	for (uint32_t levels = 2; levels < ARRAY_SIZE(types); levels++)
		if (tree_text_is(type, len, types[levels]))
			return levels;
	return 0;
}

/* What a hart's extensions are read from: base and list, or without them one string. */
struct isa_text {
	const char *base, *exts; /* base NULL: `exts` is the string; exts NULL: there is nothing */
	int base_len, exts_len;
};

static struct isa_text find_isa(const void *fdt, int node)
{
	struct isa_text t;

	t.base = tree_prop(fdt, node, "riscv,isa-base", &t.base_len);
	t.exts = tree_prop(fdt, node, "riscv,isa-extensions", &t.exts_len);
	if (!t.base || !t.exts) {
		t.base = NULL;
		t.exts = tree_prop(fdt, node, "riscv,isa", &t.exts_len);
	}
	return t;
}

static bool same_isa(const struct isa_text *a, const struct isa_text *b)
{
	if (!a->exts || !b->exts || !a->base != !b->base || a->exts_len != b->exts_len ||
		memcmp(a->exts, b->exts, (size_t)a->exts_len) != 0)
		return false;
	return !a->base ||
	       (a->base_len == b->base_len && memcmp(a->base, b->base, (size_t)a->base_len) == 0);
}

static void parse_isa(const struct isa_text *t, struct isa *isa)
{
	if (t->base) {
		isa_parse_base(t->base, (size_t)t->base_len, isa);
		isa_parse_list(t->exts, (size_t)t->exts_len, isa);
	} else if (t->exts) {
		isa_parse_string(t->exts, (size_t)t->exts_len, isa);
	}
}

/* Parsing is slow, and most machines have harts of one kind: the hart before, whose text is `*last`
 * (nothing for the first), may have the same set. */
static void read_isa(const void *fdt, int node, struct isa_text *last, struct machine_hart *h)
{
	struct isa_text text = find_isa(fdt, node);
	struct isa *isa = &h->isa;

	if (same_isa(&text, last))
		*isa = (struct isa){.exts = h[-1].isa.exts, .xlen = h[-1].isa.xlen};
	else
		parse_isa(&text, isa);
	*last = text;
	isa->mmu_levels = mmu_levels(fdt, node);
	if (isa_has(isa, ISA_ZICBOM))
		isa->cbom_block = tree_u32(fdt, node, "riscv,cbom-block-size", 0);
	if (isa_has(isa, ISA_ZICBOZ))
		isa->cboz_block = tree_u32(fdt, node, "riscv,cboz-block-size", 0);
	if (isa_has(isa, ISA_ZICBOP))
		isa->cbop_block = tree_u32(fdt, node, "riscv,cbop-block-size", 0);
}

/* The phandle by which interrupt controllers name this hart. */
static uint32_t intc_phandle(const void *fdt, int cpu)
{
	int node;

	tree_for_each_child(node, fdt, cpu)
	{
		if (tree_has(fdt, node, "interrupt-controller"))
			return tree_phandle(fdt, node);
	}
	return 0;
}

static bool hart_known(const struct machine *m, uint64_t hartid)
{
	for (unsigned i = 0; i < m->nharts; i++)
		if (m->harts[i].hartid == hartid)
			return true;
	return false;
}

static void read_hart(
	const void *fdt, int node, uint32_t addr_cells, struct isa_text *last, struct machine *m)
{
	struct machine_hart *h = &m->harts[m->nharts];
	unsigned n;
	const fdt32_t *reg = tree_cells(fdt, node, "reg", &n);

	if (n != addr_cells || hart_known(m, tree_number(reg, n)))
		return;
	if (m->nharts == MACHINE_MAX_HARTS) {
		m->truncated = true;
		return;
	}
	m->nharts++;
	h->hartid = tree_number(reg, n);
	read_isa(fdt, node, last, h);
	h->usable = tree_enabled(fdt, node) && h->isa.mmu_levels && h->isa.xlen &&
		    isa_has(&h->isa, ISA_I);
	h->intc_phandle = intc_phandle(fdt, node);
	h->plic_m_context = h->plic_s_context = -1;
}

static void read_timebase(const void *fdt, int node, struct machine *m)
{
	unsigned n;
	const fdt32_t *cells = tree_cells(fdt, node, "timebase-frequency", &n);

	if (!m->timebase_hz && n <= 2)
		m->timebase_hz = tree_number(cells, n);
}

enum err cpus_read(const void *fdt, struct machine *m)
{
	int cpus = tree_child(fdt, 0, "cpus"), node;
	struct isa_text last = {0};
	uint32_t addr_cells;

	if (cpus < 0)
		return E_FORMAT;
	addr_cells = tree_u32(fdt, cpus, "#address-cells", 2);
	if (addr_cells < 1 || addr_cells > 2)
		return E_FORMAT;
	read_timebase(fdt, cpus, m);
	tree_for_each_child(node, fdt, cpus)
	{
		if (!tree_string_is(fdt, node, "device_type", "cpu"))
			continue;
		read_timebase(fdt, node, m); /* where older trees have it */
		read_hart(fdt, node, addr_cells, &last, m);
	}
	return m->nharts ? OK : E_FORMAT;
}
