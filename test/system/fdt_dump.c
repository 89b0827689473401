/* SPDX-License-Identifier: MIT */
/* fdt_dump HOST.dtb GUEST.dtb: prints what the hypervisor reads in a machine's tree as JSON, and
 * writes the tree that a Root VM with all devices would get there. For test_fdt.py. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "guesttree.h"

#define TREE_MAX (2u << 20)

static struct machine m;
static _Alignas(8) unsigned char host[TREE_MAX], guest[TREE_MAX];

static void print_ranges(const char *name, const struct machine_range *r, unsigned n)
{
	printf("\"%s\": [", name);
	for (unsigned i = 0; i < n; i++)
		printf("%s[%llu, %llu]", i ? ", " : "", (unsigned long long)r[i].base.v,
			(unsigned long long)r[i].size);
	printf("]");
}

static void print_hart(const struct machine_hart *h)
{
	printf("{\"id\": %llu, \"usable\": %s, \"mmu\": %u, \"exts\": [",
		(unsigned long long)h->hartid, h->usable ? "true" : "false", h->isa.mmu_levels);
#define X(id, name, guest)                                                                         \
	if (isa_has(&h->isa, ISA_##id))                                                            \
		printf("\"" name "\", ");
	ISA_EXTENSIONS(X)
#undef X
	printf("\"\"], \"msip\": %llu, \"mtimecmp\": %llu, \"plic\": [%d, %d]}",
		(unsigned long long)h->msip.v, (unsigned long long)h->mtimecmp.v, h->plic_m_context,
		h->plic_s_context);
}

static void print_device(const struct machine_device *d)
{
	printf("{");
	print_ranges("regions", d->regions, d->nregions);
	printf(", \"irqs\": [");
	for (unsigned i = 0; i < d->nirqs; i++)
		printf("%s%u", i ? ", " : "", d->irqs[i]);
	printf("]}");
}

static void print_machine(void)
{
	printf("{\"model\": \"%s\", \"truncated\": %s, \"timebase\": %llu, \"mtime\": %llu, "
	       "\"finisher\": %llu, \"restart\": [%llu, %u], ",
		m.model, m.truncated ? "true" : "false", (unsigned long long)m.timebase_hz,
		(unsigned long long)m.mtime.v, (unsigned long long)m.finisher.v,
		(unsigned long long)m.gpio.v, m.restart_pin);
	printf("\"uart\": [%llu, %u, %s], \"plic\": [%llu, %u], \"seed\": %u, ",
		(unsigned long long)m.uart.base.v, m.uart.irq, m.uart.sifive ? "true" : "false",
		(unsigned long long)m.plic.base.v, m.plic.ndev, m.rng_seed_len);
	print_ranges("ram", m.ram, m.nram);
	printf(", ");
	print_ranges("own", m.own, m.nown);
	printf(", \"harts\": [");
	for (unsigned i = 0; i < m.nharts; i++) {
		printf("%s", i ? ", " : "");
		print_hart(&m.harts[i]);
	}
	printf("], \"devices\": [");
	for (unsigned i = 0; i < m.ndevices; i++) {
		printf("%s", i ? ", " : "");
		print_device(&m.devices[i]);
	}
	printf("]}\n");
}

static enum err make_guest(size_t *used)
{
	struct guest_tree t = {
		.vm = &vm,
		.isa = m.harts[m.nharts - 1].isa,
		.host_fdt = host,
		.machine = &m,
		.devices = UINT64_MAX,
		.bootargs = "panic=1",
	};

	make_vm(m.ram[0].base.v, m.ram[0].size, m.nharts);
	return build_guest(&t, guest, sizeof(guest), used);
}

int main(int argc, char **argv)
{
	FILE *f = argc == 3 ? fopen(argv[1], "rb") : NULL;
	size_t n, used;

	if (!f)
		return 2;
	n = fread(host, 1, sizeof(host), f);
	fclose(f);
	if (fdt_read_machine(host, n, &m) != OK || make_guest(&used) != OK)
		return 1;
	print_machine();
	f = fopen(argv[2], "wb");
	if (!f || fwrite(guest, 1, used, f) != used || fclose(f))
		return 2;
	return 0;
}
