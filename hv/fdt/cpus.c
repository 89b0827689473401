/* SPDX-License-Identifier: MIT */
/* The harts, as /cpus describes them. Source of the rules: Linux's bindings riscv/cpus.yaml. */
#include <string.h>
#include "fdt/isa_text.h"
#include "fdt/tree.h"

static void read_isa(const struct node *n, struct isa *isa)
{
	int len, list_len;
	const char *string = node_prop(n, "riscv,isa", &len);
	const char *list = node_prop(n, "riscv,isa-extensions", &list_len);

	if (list && node_says(n, "riscv,isa-base", "rv64i"))
		isa_parse_list(list, (size_t)list_len, isa);
	else if (string)
		isa_parse_string(string, (size_t)len, isa);
	for (uint32_t levels = 3; levels < ISA_MMU_TYPES; levels++)
		if (node_says(n, "mmu-type", isa_mmu_types[levels]))
			isa->mmu_levels = levels;
	if (isa_has(isa, ISA_ZICBOM))
		isa->cbom_block = node_u32(n, "riscv,cbom-block-size", 0);
	if (isa_has(isa, ISA_ZICBOZ))
		isa->cboz_block = node_u32(n, "riscv,cboz-block-size", 0);
	if (isa_has(isa, ISA_ZICBOP))
		isa->cbop_block = node_u32(n, "riscv,cbop-block-size", 0);
}

static void read_hart(const struct node *n, struct machine *m)
{
	struct machine_hart *h = &m->harts[m->nharts];
	int intc = fdt_subnode_offset(n->fdt, n->offset, "interrupt-controller");
	unsigned ncells;
	const fdt32_t *reg = node_cells(n, "reg", &ncells);
	uint64_t id = cells_number(reg, ncells);

	if (ncells < 1 || ncells > 2 || ncells != n->parent->addr_cells)
		return;
	for (unsigned i = 0; i < m->nharts; i++)
		if (m->harts[i].hartid == id)
			return;
	if (m->nharts == MACHINE_MAX_HARTS) {
		m->truncated = true;
		return;
	}
	m->nharts++;
	*h = (struct machine_hart){.hartid = id, .plic_m_context = -1, .plic_s_context = -1};
	h->intc_phandle = intc < 0 ? 0 : fdt_get_phandle(n->fdt, intc);
	read_isa(n, &h->isa);
	h->usable = node_enabled(n) && h->isa.mmu_levels && isa_has(&h->isa, ISA_I);
}

void cpus_visit(const struct node *n, struct machine *m)
{
	if (n->depth == 1 && strcmp(n->name, "cpus") == 0)
		m->timebase_hz = node_u32(n, "timebase-frequency", 0);
	if (n->depth == 2 && strcmp(n->parent->name, "cpus") == 0 &&
		node_says(n, "device_type", "cpu"))
		read_hart(n, m);
}
