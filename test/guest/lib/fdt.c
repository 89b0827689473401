/* SPDX-License-Identifier: MIT */
/* As much of the device tree as the tests need. Nothing is checked: what the tree looks like is
 * tested elsewhere. */
#include "guest.h"

#define BEGIN_NODE 1
#define END_NODE   2
#define PROP       3
#define END        9
#define MAX_DEPTH  16

struct machine m;
static const uint8_t *tree;

uint64_t fdt_number(const uint8_t *data, uint32_t cells)
{
	uint64_t v = 0;

	for (uint32_t i = 0; i < 4 * cells; i++)
		v = v << 8 | data[i];
	return v;
}

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)fdt_number(p, 1);
}

static const uint8_t *after(const uint8_t *p, uint32_t len)
{
	return p + ((len + 3) & ~3u);
}

/* Calls visit for each property, in order. */
void fdt_walk(fdt_visit *visit, void *ctx)
{
	const uint8_t *p = tree + be32(tree + 8);
	const char *names = (const char *)tree + be32(tree + 12), *path[MAX_DEPTH] = {""};
	unsigned depth = 0;

	for (;;) {
		uint32_t token = be32(p);

		p += 4;
		if (token == BEGIN_NODE) {
			if (++depth == MAX_DEPTH)
				broken("device tree too deep", 0, 0, 0);
			path[depth] = (const char *)p;
			p = after(p, (uint32_t)strlen((const char *)p) + 1);
		} else if (token == END_NODE) {
			depth--;
		} else if (token == PROP) {
			uint32_t len = be32(p);

			visit(ctx, depth, path[depth], path[depth - 1], names + be32(p + 4), p + 8,
				len);
			p = after(p + 8, len);
		} else if (token == END) {
			return;
		}
	}
}

static bool starts(const char *s, const char *with)
{
	while (*with)
		if (*s++ != *with++)
			return false;
	return true;
}

static void visit_cpu(const char *prop, const uint8_t *data, uint32_t len)
{
	if (!strcmp(prop, "reg"))
		m.nharts++;
	if (!strcmp(prop, "riscv,isa-extensions")) {
		m.isa = (const char *)data;
		m.isa_len = len;
	}
	if (!strcmp(prop, "mmu-type"))
		m.mmu = (const char *)data;
	if (!strcmp(prop, "riscv,cboz-block-size"))
		m.cboz = be32(data);
	if (!strcmp(prop, "riscv,cbom-block-size"))
		m.cbom = be32(data);
}

/* The properties of a node come in any order, one after another. */
static void visit_virtio(const char *node, const char *prop, const uint8_t *data)
{
	static const char *last;

	if (node != last && m.nvirtio++ == MAX_VIRTIO)
		broken("too many virtio devices", m.nvirtio, 0, 0);
	last = node;
	if (!strcmp(prop, "reg"))
		m.virtio[m.nvirtio - 1].base = fdt_number(data, 2);
	if (!strcmp(prop, "interrupts"))
		m.virtio[m.nvirtio - 1].irq = be32(data);
}

static void visit_soc(const char *node, const char *prop, const uint8_t *data)
{
	if (starts(node, "interrupt-controller@") && !strcmp(prop, "reg"))
		m.plic = fdt_number(data, 2);
	if (starts(node, "interrupt-controller@") && !strcmp(prop, "riscv,ndev"))
		m.plic_ndev = be32(data);
	if (starts(node, "serial@") && !strcmp(prop, "reg"))
		m.uart = fdt_number(data, 2);
	if (starts(node, "serial@") && !strcmp(prop, "interrupts"))
		m.uart_irq = be32(data);
	if (starts(node, "virtio_mmio@"))
		visit_virtio(node, prop, data);
	if (starts(node, "pci@") && !strcmp(prop, "reg")) {
		m.pci = fdt_number(data, 2);
		m.pci_size = fdt_number(data + 8, 2);
	}
}

static void visit_machine(void *ctx, unsigned depth, const char *node, const char *parent,
	const char *prop, const uint8_t *data, uint32_t len)
{
	(void)ctx;
	(void)depth;
	if (!strcmp(parent, "cpus"))
		visit_cpu(prop, data, len);
	if (!strcmp(parent, "soc"))
		visit_soc(node, prop, data);
	if (starts(node, "memory@") && !strcmp(prop, "reg")) {
		m.ram_base = fdt_number(data, 2);
		m.ram_size = fdt_number(data + 8, 2);
	}
	if (!strcmp(prop, "timebase-frequency"))
		m.hz = be32(data);
	if (!strcmp(prop, "bootargs"))
		m.bootargs = (const char *)data;
}

void fdt_init(const void *fdt)
{
	tree = fdt;
	m.bootargs = "";
	fdt_walk(visit_machine, NULL);
	if (!m.nharts || m.nharts > MAX_HARTS || !m.ram_size || !m.hz)
		broken("the device tree lacks something: harts, RAM, timebase", m.nharts,
			m.ram_size, m.hz);
}

bool isa_listed(const char *name)
{
	for (uint32_t i = 0; i < m.isa_len; i += (uint32_t)strlen(m.isa + i) + 1)
		if (!strcmp(m.isa + i, name))
			return true;
	return false;
}

/* What follows the first word of the command line, from p on, that starts with `prefix`; or NULL.
 */
static const char *after_prefix(const char *p, const char *prefix)
{
	for (; *p; p++)
		if ((p == m.bootargs || p[-1] == ' ') && starts(p, prefix))
			return p + strlen(prefix);
	return NULL;
}

bool bootarg(const char *word)
{
	const char *p = m.bootargs;

	while ((p = after_prefix(p, word)))
		if (*p == ' ' || !*p)
			return true;
	return false;
}

uint64_t bootarg_number(const char *prefix, uint64_t otherwise)
{
	const char *p = after_prefix(m.bootargs, prefix);
	uint64_t n = 0;

	for (; p && *p >= '0' && *p <= '9'; p++)
		n = n * 10 + (uint64_t)(*p - '0');
	return p ? n : otherwise;
}
