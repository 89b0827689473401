/* SPDX-License-Identifier: MIT */
/*
 * A device's node, carried over from the host's tree into a guest's /soc. Addresses are written
 * anew, since the host's bus may have other cells or map elsewhere. The only phandle a copy may
 * hold is the PLIC's: what else a node refers to, the guest does not have. Interrupts that go
 * elsewhere are an error; helpers (clocks, IOMMU, MSI controller ...) are left out, and PCI falls
 * back on its INTx lines. dma-ranges stays: device_read() has seen to it that its parent addresses
 * are physical, in two cells.
 */
#include <string.h>
#include "fdt/tree.h"
#include "fdt/write.h"

#define PROP_NAME_MAX 255 /* libfdt's writer misjudges a name longer than all it has written */

#define PCI_CHILD_CELLS 3
#define PCI_SIZE_CELLS  2

static const char *const left_out[] = {
	"clocks", "clock-names", "resets", "reset-names", "power-domains", "power-domain-names",
	"iommus", "iommu-map", "iommu-map-mask", "msi-parent", "msi-map", "msi-map-mask",
	"memory-region", "memory-region-names", "interconnects", "interconnect-names", "phys",
	"phy-names", "phy-handle", "dmas", "dma-names", "mboxes", "mbox-names", "nvmem-cells",
	"nvmem-cell-names", "interrupt-affinity", "numa-node-id", "gpios", "hwlocks",
	"thermal-sensors", "dma-coherent",
	"dma-noncoherent", /* of the node itself: written by begin_device() */
};
static const char *const left_out_prefixes[] = {"pinctrl-", "assigned-clock"};
static const char *const left_out_suffixes[] = {"-supply", "-gpio", "-gpios"};

static bool is_left_out(const char *name, size_t len)
{
	for (unsigned i = 0; i < ARRAY_SIZE(left_out); i++)
		if (strcmp(name, left_out[i]) == 0)
			return true;
	for (unsigned i = 0; i < ARRAY_SIZE(left_out_prefixes); i++)
		if (strncmp(name, left_out_prefixes[i], strlen(left_out_prefixes[i])) == 0)
			return true;
	for (unsigned i = 0; i < ARRAY_SIZE(left_out_suffixes); i++) {
		size_t n = strlen(left_out_suffixes[i]);

		if (len >= n && strcmp(name + len - n, left_out_suffixes[i]) == 0)
			return true;
	}
	return false;
}

/* Every `step`-th cell, from `first` on, is the PLIC's phandle. */
static bool refers_to_plic(
	const fdt32_t *cells, unsigned n, unsigned first, unsigned step, uint32_t plic_phandle)
{
	if (n == 0 || n % step)
		return false;
	for (unsigned i = first; i < n; i += step)
		if (fdt32_to_cpu(cells[i]) != plic_phandle)
			return false;
	return true;
}

/* True when the property names interrupt controllers and not only the PLIC. */
static bool is_foreign(
	const char *name, const fdt32_t *cells, unsigned n, int depth, uint32_t plic_phandle)
{
	if (strcmp(name, "interrupt-parent") == 0)
		return !refers_to_plic(cells, n, 0, 1, plic_phandle);
	if (strcmp(name, "interrupts-extended") == 0)
		return !refers_to_plic(cells, n, 0, 2, plic_phandle);
	if (strcmp(name, "interrupt-map") == 0)
		return depth > 1 ||
		       !refers_to_plic(cells, n, IRQ_MAP_CELLS - 2, IRQ_MAP_CELLS, plic_phandle);
	return false;
}

static void write_regs(struct writer *w, const struct machine_device *d)
{
	fdt32_t *cells = write_cells(w, "reg", d->nregs * 4);

	for (unsigned i = 0; cells && i < d->nregs; i++) {
		cells = put_cells(cells, d->exact[i].base.v, 2);
		cells = put_cells(cells, d->exact[i].size, 2);
	}
}

/* A PCI host's windows, each with its physical address in two cells. */
static void write_windows(
	struct writer *w, const struct machine_device *d, const fdt32_t *from, unsigned n)
{
	unsigned windows = d->nregions - d->nregs;
	unsigned entry = PCI_CHILD_CELLS + d->bus_addr_cells + PCI_SIZE_CELLS;
	fdt32_t *to;

	if (n != windows * entry) {
		w->err = E_FORMAT;
		return;
	}
	to = write_cells(w, "ranges", windows * (PCI_CHILD_CELLS + 2 + PCI_SIZE_CELLS));
	for (unsigned i = 0; to && i < windows; i++, from += entry) {
		memcpy(to, from, PCI_CHILD_CELLS * sizeof(*to));
		to = put_cells(to + PCI_CHILD_CELLS, d->exact[d->nregs + i].base.v, 2);
		to = put_cells(to, d->exact[d->nregs + i].size, PCI_SIZE_CELLS);
	}
}

/* `depth` 1 is the device's own node. */
static void copy_property(struct writer *w, const void *host, int offset, int depth,
	const struct machine_device *d, uint32_t plic_phandle)
{
	const char *name;
	int len;
	const void *value = tree_prop_at(host, offset, &name, &len);
	unsigned ncells = len % 4 == 0 ? (unsigned)len / 4 : 0;
	size_t name_len = strnlen(name, PROP_NAME_MAX + 1);

	if (name_len > PROP_NAME_MAX || is_foreign(name, value, ncells, depth, plic_phandle))
		w->err = E_FORMAT;
	else if (depth == 1 && strcmp(name, "reg") == 0)
		write_regs(w, d);
	else if (depth == 1 && strcmp(name, "ranges") == 0)
		write_windows(w, d, value, ncells);
	else if (!is_left_out(name, name_len))
		write_bytes(w, name, value, (size_t)len);
}

/* The host's name with the physical address for its unit address. */
static void begin_device(struct writer *w, const void *host, const struct machine_device *d)
{
	char base[NODE_NAME_MAX];
	const char *name = tree_name(host, d->node), *at = strchr(name, '@');
	size_t n = at ? (size_t)(at - name) : strlen(name);

	if (n >= sizeof(base)) {
		w->err = E_FORMAT;
		return;
	}
	memcpy(base, name, n);
	base[n] = '\0';
	write_begin_at(w, base, d->exact[0].base.v);
	if (d->dma_noncoherent)
		write_empty(w, "dma-noncoherent");
	else if (tree_has(host, d->node, "dma-coherent"))
		write_empty(w, "dma-coherent");
}

void copy_device(
	struct writer *w, const void *host, const struct machine_device *d, uint32_t plic_phandle)
{
	int offset = d->node, next, depth = 0;

	do {
		switch (tree_tag(host, offset, &next)) {
		case FDT_BEGIN_NODE:
			if (++depth == 1)
				begin_device(w, host, d);
			else
				write_begin(w, tree_name(host, offset));
			break;
		case FDT_PROP:
			copy_property(w, host, offset, depth, d, plic_phandle);
			break;
		case FDT_END_NODE:
			write_end(w);
			depth--;
			break;
		case FDT_END:
			w->err = E_FORMAT;
			break;
		}
		offset = next;
	} while (w->err == OK && depth > 0);
}
