/* SPDX-License-Identifier: MIT */
/*
 * Which PLIC sources a node's interrupts are. Only the PLIC counts: a device whose interrupts go
 * anywhere else cannot be given to a VM. Source of the rules: Devicetree Specification 0.4, 2.4.
 */
#include "fdt/tree.h"

static enum err add_irq(
	const struct machine *m, uint32_t irq, uint32_t *irqs, unsigned max, unsigned *count)
{
	if (irq < 1 || irq > m->plic.ndev)
		return E_FORMAT;
	for (unsigned i = 0; i < *count; i++)
		if (irqs[i] == irq)
			return OK;
	if (*count == max)
		return E_NOMEM;
	irqs[(*count)++] = irq;
	return OK;
}

/* Sources that lie `step` cells apart, each after its PLIC's phandle when `named`. */
static enum err add_irqs(const fdt32_t *cells, unsigned n, unsigned step, bool named,
	const struct machine *m, uint32_t *irqs, unsigned max, unsigned *count)
{
	enum err rc = n % step || n / step > IRQ_MAP_MAX ? E_FORMAT : OK;

	for (unsigned i = step - 1; rc == OK && i < n; i += step) {
		if (named && fdt32_to_cpu(cells[i - 1]) != m->plic.phandle)
			return E_FORMAT;
		rc = add_irq(m, fdt32_to_cpu(cells[i]), irqs, max, count);
	}
	return rc;
}

/* The map of a PCI host: its children's pins to sources. */
static enum err add_map(const void *fdt, int node, const fdt32_t *map, unsigned n,
	const struct machine *m, uint32_t *irqs, unsigned max, unsigned *count)
{
	if (tree_u32(fdt, node, "#address-cells", 2) != 3 ||
		tree_u32(fdt, node, "#interrupt-cells", 0) != 1)
		return E_FORMAT;
	return add_irqs(map, n, IRQ_MAP_CELLS, true, m, irqs, max, count);
}

enum err irqs_read(const struct tree_path *path, int node, const struct machine *m, uint32_t *irqs,
	unsigned max, unsigned *count)
{
	const void *fdt = path->fdt;
	unsigned nplain, nextended, nmap;
	const fdt32_t *plain = tree_cells(fdt, node, "interrupts", &nplain);
	const fdt32_t *extended = tree_cells(fdt, node, "interrupts-extended", &nextended);
	const fdt32_t *map = tree_cells(fdt, node, "interrupt-map", &nmap);
	uint32_t parent =
		tree_u32(fdt, node, "interrupt-parent", path->bus[path->depth - 1].irq_parent);
	enum err rc = OK;

	if (!m->plic.base.v || !m->plic.phandle)
		return E_FORMAT;
	if (extended)
		rc = add_irqs(extended, nextended, 2, true, m, irqs, max, count);
	else if (plain)
		rc = parent == m->plic.phandle
			     ? add_irqs(plain, nplain, 1, false, m, irqs, max, count)
			     : E_FORMAT;
	if (rc == OK && map)
		rc = add_map(fdt, node, map, nmap, m, irqs, max, count);
	return rc;
}
