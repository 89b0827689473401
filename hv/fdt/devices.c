/* SPDX-License-Identifier: MIT */
/*
 * The devices that a trusted VM may be given. A device is listed only if all of it can be: every
 * register range reached by the CPU and not the hypervisor's, every interrupt a PLIC source.
 * Source of the rules: Linux's bindings virtio/mmio.yaml, rtc/google,goldfish-rtc.yaml and
 * pci/host-generic-pci.yaml; IEEE 1275 PCI Bus Binding 2.1, section 2.2.1.1 (phys.hi); Devicetree
 * Specification 0.4, 2.3.9, 2.3.10 and 2.4.
 */
#include "fdt/tree.h"

#define PCI_WINDOW_CELLS   7 /* of `ranges`: PCI address 3, host address 2, size 2 */
#define IRQ_MAP_CELLS      6 /* of `interrupt-map`: PCI address 3, pin 1, PLIC 1, source 1 */
#define PCI_SPACE(phys_hi) ((phys_hi) >> 24 & 3) /* 0 configuration, 1 I/O, 2 and 3 memory */

/* Sources that lie `step` cells apart; with more than one, each after its PLIC's phandle. */
static enum err add_irqs(const struct node *n, const char *name, unsigned step,
	const struct machine *m, struct machine_device *d)
{
	unsigned ncells, at;
	const fdt32_t *cells = node_cells(n, name, &ncells);

	if (ncells % step)
		return E_FORMAT;
	for (unsigned i = step - 1; i < ncells; i += step) {
		uint32_t irq = fdt32_to_cpu(cells[i]);

		if (irq < 1 || irq > m->plic.ndev ||
			(step > 1 && fdt32_to_cpu(cells[i - 1]) != m->plic.phandle))
			return E_FORMAT;
		for (at = 0; at < d->nirqs && d->irqs[at] != irq;)
			at++;
		if (at == DEVICE_MAX_IRQS)
			return E_NOMEM;
		d->irqs[at] = irq;
		d->nirqs = MAX(d->nirqs, at + 1);
	}
	return OK;
}

/* The node or the nearest ancestor that has the property; NULL: none has. */
static const struct node *holder(const struct node *n, const char *name)
{
	while (n && !node_has(n, name))
		n = n->parent;
	return n;
}

enum err irqs_read(const struct node *n, const struct machine *m, struct machine_device *d)
{
	const struct node *parent = holder(n, "interrupt-parent");

	if (!m->plic.phandle)
		return E_FORMAT;
	if (node_has(n, "interrupts-extended"))
		return add_irqs(n, "interrupts-extended", 2, m, d);
	if (!parent || node_u32(parent, "interrupt-parent", 0) != m->plic.phandle)
		return node_has(n, "interrupts") ? E_FORMAT : OK;
	return add_irqs(n, "interrupts", 1, m, d);
}

static enum err add_region(struct machine_device *d, struct machine_range r)
{
	if (d->nregions == DEVICE_MAX_REGIONS)
		return E_NOMEM;
	d->regions[d->nregions++] = range_pages(r);
	return OK;
}

static enum err read_regs(const struct node *n, struct machine_device *d)
{
	struct machine_range r;
	enum err rc = OK;

	while (rc == OK && (rc = node_region(n, d->nregs, &r)) == OK) {
		rc = add_region(d, r);
		if (rc == OK)
			d->reg[d->nregs++] = r;
	}
	return rc == E_NOENT && d->nregs ? OK : rc;
}

/* The windows through which the CPU reaches the devices on a PCI bus, and these devices' pins,
 * which `interrupt-map` leads to sources. */
static enum err read_pci(const struct node *n, const struct machine *m, struct machine_device *d)
{
	unsigned ncells;
	const fdt32_t *ranges = node_cells(n, "ranges", &ncells);

	if (n->addr_cells != 3 || n->size_cells != 2 || n->parent->addr_cells != 2 ||
		(node_has(n, "interrupt-map") && node_u32(n, "#interrupt-cells", 0) != 1) ||
		!ncells || ncells % PCI_WINDOW_CELLS)
		return E_FORMAT;
	for (unsigned i = 0; i < ncells; i += PCI_WINDOW_CELLS) {
		struct machine_range r = {
			hpa(cells_number(ranges + i + 3, 2)), cells_number(ranges + i + 5, 2)};

		if (PCI_SPACE(fdt32_to_cpu(ranges[i])) == 0 || !range_is_physical(&r))
			return E_FORMAT;
		if (add_region(d, r) != OK)
			return E_NOMEM;
	}
	return add_irqs(n, "interrupt-map", IRQ_MAP_CELLS, m, d);
}

/* A VM's bus is coherent, and has no DMA addresses of its own. */
static enum err read_device(
	const struct node *n, bool pci, const struct machine *m, struct machine_device *d)
{
	enum err rc;

	*d = (struct machine_device){.node = n->offset};
	if (holder(n, "dma-noncoherent") || holder(n, "dma-ranges") ||
		(!pci && node_has(n, "interrupt-map")))
		return E_UNSUPPORTED;
	rc = read_regs(n, d);
	if (rc == OK)
		rc = irqs_read(n, m, d);
	if (rc == OK && pci)
		rc = read_pci(n, m, d);
	return rc == OK && !d->nirqs ? E_UNSUPPORTED : rc;
}

static bool is_apart(const struct machine_device *d, const struct machine_range *list, unsigned n)
{
	for (unsigned i = 0; i < d->nregions * n; i++) {
		const struct machine_range *a = &d->regions[i / n], *b = &list[i % n];

		if (range_overlaps(a->base.v, a->size, b->base.v, b->size))
			return false;
	}
	return true;
}

enum err devices_visit(const struct node *n, struct machine *m)
{
	struct machine_device *d = &m->devices[m->ndevices];
	bool pci = node_says(n, "compatible", "pci-host-ecam-generic");
	enum err rc = E_NOMEM;

	if ((!pci && !node_is(n, "virtio,mmio\0google,goldfish-rtc\0")) || !node_reachable(n))
		return OK;
	if (m->ndevices < MACHINE_MAX_DEVICES)
		rc = read_device(n, pci, m, d);
	/* Nothing of a device may be the hypervisor's, nor be RAM. */
	if (rc == OK && is_apart(d, m->own, m->nown) && is_apart(d, m->ram, m->nram))
		m->ndevices++;
	if (rc == E_NOMEM)
		m->truncated = true;
	return OK;
}
