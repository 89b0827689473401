/* SPDX-License-Identifier: MIT */
/*
 * The devices that a trusted VM may be given. A device is listed only if all of it can be: every
 * register range reached by the CPU and not the hypervisor's, every interrupt a PLIC source.
 * Source of the rules: Linux's bindings virtio/mmio.yaml, rtc/google,goldfish-rtc.yaml and
 * pci/host-generic-pci.yaml; IEEE 1275 PCI Bus Binding 2.1, section 2.2.1.1 (phys.hi).
 */
#include <string.h>
#include "fdt/tree.h"

#define PCI_ADDR_CELLS     3
#define PCI_SIZE_CELLS     2
#define PCI_SPACE(phys_hi) ((phys_hi) >> 24 & 3) /* 0 configuration, 1 I/O, 2 and 3 memory */

struct scan {
	struct own_scan own;
	struct machine *m;
};

static bool assignable(const void *fdt, int node, bool *pci)
{
	int len;
	const char *list = tree_prop(fdt, node, "compatible", &len);

	*pci = tree_list_has(list, len, "pci-host-ecam-generic");
	return *pci || tree_list_has(list, len, "virtio,mmio") ||
	       tree_list_has(list, len, "google,goldfish-rtc");
}

static enum err add_region(struct machine_device *d, struct machine_range r)
{
	if (d->nregions == DEVICE_MAX_REGIONS)
		return E_NOMEM;
	d->exact[d->nregions] = r;
	return tree_pages(r, &d->regions[d->nregions++]);
}

static enum err read_regs(const struct tree_path *path, int node, struct machine_device *d)
{
	struct machine_range r;
	enum err rc;

	for (unsigned i = 0; (rc = tree_reg(path, node, i, &r)) == OK; i++) {
		rc = add_region(d, r);
		if (rc != OK)
			return rc;
	}
	d->nregs = d->nregions;
	return rc == E_NOENT && d->nregs ? OK : E_RANGE;
}

/* The windows through which the CPU reaches the devices on a PCI bus. */
static enum err read_windows(const struct tree_path *path, int node, struct machine_device *d)
{
	unsigned ac = d->bus_addr_cells, entry = PCI_ADDR_CELLS + ac + PCI_SIZE_CELLS, n;
	const fdt32_t *ranges = tree_cells(path->fdt, node, "ranges", &n);
	enum err rc = OK;

	if (!ranges || n % entry ||
		tree_u32(path->fdt, node, "#address-cells", 2) != PCI_ADDR_CELLS ||
		tree_u32(path->fdt, node, "#size-cells", 1) != PCI_SIZE_CELLS)
		return E_FORMAT;
	for (unsigned i = 0; rc == OK && i < n; i += entry) {
		struct machine_range r = {
			hpa(tree_number(ranges + i + PCI_ADDR_CELLS, ac)),
			tree_number(ranges + i + PCI_ADDR_CELLS + ac, PCI_SIZE_CELLS),
		};

		if (PCI_SPACE(fdt32_to_cpu(ranges[i])) == 0)
			return E_FORMAT;
		rc = tree_translate(path, &r);
		if (rc == OK)
			rc = add_region(d, r);
	}
	return rc;
}

static bool overlaps_any(
	const struct machine_range *r, const struct machine_range *list, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (range_overlaps(r->base.v, r->size, list[i].base.v, list[i].size))
			return true;
	return false;
}

/* Nothing of a device may be the hypervisor's, nor be RAM. */
static bool is_apart(const struct machine *m, const struct machine_device *d)
{
	for (unsigned i = 0; i < d->nregions; i++)
		if (overlaps_any(&d->regions[i], m->own, m->nown) ||
			overlaps_any(&d->regions[i], m->ram, m->nram))
			return false;
	return true;
}

static enum err read_device(const struct tree_path *path, int node, bool pci,
	const struct machine *m, struct machine_device *d)
{
	const struct tree_bus *bus = &path->bus[path->depth - 1];
	enum err rc;
	unsigned n;

	*d = (struct machine_device){.node = node, .bus_addr_cells = bus->addr_cells};
	d->dma_noncoherent =
		(bus->dma_noncoherent || tree_has(path->fdt, node, "dma-noncoherent")) &&
		!tree_has(path->fdt, node, "dma-coherent");
	/* A VM's bus has no DMA offset, and addresses of two cells. */
	if (bus->dma_offset ||
		(bus->addr_cells != 2 && tree_cells(path->fdt, node, "dma-ranges", &n)))
		return E_UNSUPPORTED;
	rc = read_regs(path, node, d);
	if (rc == OK && pci)
		rc = read_windows(path, node, d);
	if (rc == OK)
		rc = irqs_read(path, node, m, d->irqs, DEVICE_MAX_IRQS, &d->nirqs);
	return rc == OK && !d->nirqs ? E_UNSUPPORTED : rc;
}

static void visit(const struct tree_path *path, int node, void *ctx)
{
	struct scan *s = ctx;
	struct machine *m = s->m;
	enum err rc;
	bool pci;

	own_visit(&s->own, path, node);
	if (!assignable(path->fdt, node, &pci))
		return;
	rc = m->ndevices < MACHINE_MAX_DEVICES
		     ? read_device(path, node, pci, m, &m->devices[m->ndevices])
		     : E_NOMEM;
	if (rc == OK)
		m->ndevices++;
	else if (rc == E_NOMEM)
		m->truncated = true;
}

void devices_read(const void *fdt, struct machine *m)
{
	struct scan s = {.m = m};
	unsigned kept = 0;

	own_scan_init(&s.own, fdt, m);
	tree_walk(fdt, visit, &s);
	/* Only now is it known what all is the hypervisor's. */
	for (unsigned i = 0; i < m->ndevices; i++)
		if (is_apart(m, &m->devices[i]))
			m->devices[kept++] = m->devices[i];
	m->ndevices = kept;
}
