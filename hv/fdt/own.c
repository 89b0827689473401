/* SPDX-License-Identifier: MIT */
/*
 * The hypervisor's own console and power switch, and the list of address ranges that are its own.
 * Source of the rules: Devicetree Specification 0.4, 3.6 (stdout-path) and 4.2.1 (serial); Linux's
 * bindings power/reset/syscon-poweroff.yaml and syscon-reboot.yaml.
 */
#include <string.h>
#include "fdt/tree.h"

#define PATH_MAX_LENGTH 256 /* of stdout-path */

#define TEST_POWEROFF 0x5555 /* SiFive test finisher, for trees that only name the device */
#define TEST_REBOOT   0x7777

/* A range that finds no place makes everything ours: then no device is given to anybody. */
static void add_own(struct machine *m, struct machine_range r)
{
	if (m->nown < MACHINE_MAX_OWN) {
		m->own[m->nown++] = r;
		return;
	}
	m->own[MACHINE_MAX_OWN - 1] = (struct machine_range){hpa(0), BIT(PHYS_BITS)};
	m->truncated = true;
}

void own_claim(struct machine *m, const struct tree_path *path, int node)
{
	struct machine_range r;
	enum err rc = OK;

	for (unsigned i = 0; rc != E_NOENT && i <= MACHINE_MAX_OWN; i++) {
		rc = tree_reg(path, node, i, &r);
		if (rc == OK && tree_pages(r, &r) == OK)
			add_own(m, r);
	}
}

/* The node that /chosen's stdout-path names, by path or by alias; negative when none. */
static int find_stdout(const void *fdt)
{
	int chosen = tree_child(fdt, 0, "chosen"), aliases;
	char name[PATH_MAX_LENGTH], path[PATH_MAX_LENGTH];
	char *options;

	if (chosen < 0 || !tree_copy_string(fdt, chosen, "stdout-path", name, sizeof(name)))
		return -1;
	options = strchr(name, ':');
	if (options)
		*options = '\0';
	if (name[0] == '/')
		return tree_path(fdt, name);
	aliases = tree_child(fdt, 0, "aliases");
	if (aliases < 0 || !tree_copy_string(fdt, aliases, name, path, sizeof(path)) ||
		path[0] != '/')
		return -1;
	return tree_path(fdt, path);
}

static void find_syscon(const void *fdt, const char *compatible, struct syscon *s)
{
	int node = 0, depth = 0;

	do
		node = tree_next(fdt, node, &depth);
	while (node >= 0 && !tree_compatible(fdt, node, compatible));
	if (node < 0)
		return;
	s->regmap = tree_u32(fdt, node, "regmap", 0);
	s->offset = tree_u32(fdt, node, "offset", 0);
	s->value = tree_u32(fdt, node, "value", 0);
}

void own_scan_init(struct own_scan *s, const void *fdt, struct machine *m)
{
	*s = (struct own_scan){.m = m, .stdout_node = find_stdout(fdt)};
	find_syscon(fdt, "syscon-poweroff", &s->poweroff);
	find_syscon(fdt, "syscon-reboot", &s->reboot);
}

/* One register does both on the machines there are; of two, we use the one seen first. */
static void set_finisher(
	struct machine *m, struct machine_range r, const struct syscon *s, uint32_t *value)
{
	uint64_t address = r.base.v + s->offset;

	if (!range_within(s->offset, 4, 0, r.size) || !IS_ALIGNED(address, 4) ||
		(m->finisher.v && m->finisher.v != address))
		return;
	m->finisher = hpa(address);
	*value = s->value;
}

static void visit_finisher(struct own_scan *s, const struct tree_path *path, int node)
{
	static const struct syscon test_off = {.value = TEST_POWEROFF},
				   test_reset = {.value = TEST_REBOOT};
	uint32_t phandle = tree_phandle(path->fdt, node);
	bool off = phandle && phandle == s->poweroff.regmap;
	bool reset = phandle && phandle == s->reboot.regmap;
	bool test = !off && !reset && !s->m->finisher.v &&
		    tree_compatible(path->fdt, node, "sifive,test0");
	struct machine_range r;

	if (!(off || reset || test) || tree_reg(path, node, 0, &r) != OK)
		return;
	own_claim(s->m, path, node);
	if (off || test)
		set_finisher(s->m, r, test ? &test_off : &s->poweroff, &s->m->poweroff_value);
	if (reset || test)
		set_finisher(s->m, r, test ? &test_reset : &s->reboot, &s->m->reboot_value);
}

/* Registers 0..7 (a SiFive UART has seven) lie inside, apart and aligned. */
static bool uart_reachable(const struct machine_uart *u)
{
	unsigned last = u->sifive ? 6 : 7;

	return u->reg_shift <= 4 && (u->io_width == 1 || u->io_width == 4) &&
	       BIT(u->reg_shift) >= u->io_width && IS_ALIGNED(u->base.v, u->io_width) &&
	       u->size >= ((uint64_t)last << u->reg_shift) + u->io_width;
}

/* E_UNSUPPORTED: not a UART that drivers/uart.c knows, or one it cannot reach. */
static enum err read_uart(const struct tree_path *path, int node, struct machine_uart *u)
{
	const void *fdt = path->fdt;
	uint32_t offset = tree_u32(fdt, node, "reg-offset", 0);
	struct machine_range r;

	u->sifive = tree_compatible(fdt, node, "sifive,uart0");
	if (!u->sifive && !tree_compatible(fdt, node, "ns16550a") &&
		!tree_compatible(fdt, node, "ns16550") &&
		!tree_compatible(fdt, node, "snps,dw-apb-uart"))
		return E_UNSUPPORTED;
	if (tree_reg(path, node, 0, &r) != OK || offset >= r.size)
		return E_UNSUPPORTED;
	u->base = hpa_add(r.base, offset);
	u->size = r.size - offset;
	u->reg_shift = u->sifive ? 2 : tree_u32(fdt, node, "reg-shift", 0);
	u->io_width = u->sifive ? 4 : tree_u32(fdt, node, "reg-io-width", 1);
	u->clock_hz = tree_u32(fdt, node, "clock-frequency", 0);
	return uart_reachable(u) ? OK : E_UNSUPPORTED;
}

/* The UART that stdout-path names, and only that; without a stdout-path the first. */
static void visit_uart(struct own_scan *s, const struct tree_path *path, int node)
{
	struct machine_uart u = {0};
	uint32_t irqs[DEVICE_MAX_IRQS] = {0};
	unsigned n = 0;

	if (s->m->uart.base.v || (s->stdout_node >= 0 && s->stdout_node != node) ||
		read_uart(path, node, &u) != OK)
		return;
	if (irqs_read(path, node, s->m, irqs, DEVICE_MAX_IRQS, &n) == OK)
		u.irq = irqs[0];
	s->m->uart = u;
	own_claim(s->m, path, node);
}

void own_visit(struct own_scan *s, const struct tree_path *path, int node)
{
	visit_finisher(s, path, node);
	visit_uart(s, path, node);
}
