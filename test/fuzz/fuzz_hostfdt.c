/* SPDX-License-Identifier: MIT */
/*
 * Any host tree ends in success or an error; what is accepted keeps the promises of fdt/machine.h.
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
	}
	for (unsigned i = 0; i < d->nregs; i++)
		check(range_within(d->reg[i].base.v, d->reg[i].size, d->regions[i].base.v,
			      d->regions[i].size),
			"reg");
}

static void check_harts(void)
{
	check(m.nharts >= 1 && m.nharts <= MACHINE_MAX_HARTS, "nharts");
	for (unsigned i = 0; i < m.nharts; i++) {
		const struct machine_hart *h = &m.harts[i];

		check(!h->usable || (h->isa.mmu_levels && isa_has(&h->isa, ISA_I)), "usable");
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
	check(IS_ALIGNED(m.mtime.v, 8) && IS_ALIGNED(m.finisher.v | m.gpio.v, 4), "alignment");
	check(memchr(m.model, 0, sizeof(m.model)) && memchr(m.bootargs, 0, sizeof(m.bootargs)),
		"text");
	check(m.rng_seed_len <= sizeof(m.rng_seed), "seed");
	check(!m.uart.base.v || m.uart.irq <= m.plic.ndev, "UART");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	size_t n = make_tree(&in);

	if (fdt_read_machine(packed, n, &m) == OK)
		check_machine();
	return 0;
}
