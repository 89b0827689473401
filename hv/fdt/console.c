/* SPDX-License-Identifier: MIT */
/*
 * The UART that is the hypervisor's console. Source of the rules: Devicetree Specification 0.4, 3.6
 * (stdout-path) and 4.2.1 (serial).
 */
#include "fdt/tree.h"

/* Registers 0..7 (a SiFive UART has seven) lie inside `size` bytes, apart and aligned. */
static bool is_drivable(const struct machine_uart *u, uint64_t size)
{
	unsigned last = u->sifive ? 6 : 7;

	return u->reg_shift <= 4 && (u->io_width == 1 || u->io_width == 4) &&
	       BIT(u->reg_shift) >= u->io_width && IS_ALIGNED(u->base.v, u->io_width) &&
	       size >= ((uint64_t)last << u->reg_shift) + u->io_width;
}

enum err console_visit(const struct node *n, struct machine *m)
{
	bool sifive = node_says(n, "compatible", "sifive,uart0");
	struct machine_uart u = {.node = n->offset, .sifive = sifive};
	struct machine_device d = {0};
	struct machine_range r;

	if (m->uart.base.v || (m->uart.node >= 0 && m->uart.node != n->offset) ||
		!node_is(n, "ns16550a\0ns16550\0snps,dw-apb-uart\0sifive,uart0\0") ||
		!node_reachable(n) || node_region(n, 0, &r) != OK)
		return OK;
	u.base = r.base;
	u.reg_shift = sifive ? 2 : node_u32(n, "reg-shift", 0);
	u.io_width = sifive ? 4 : node_u32(n, "reg-io-width", 1);
	u.irq = irqs_read(n, m, &d) == OK ? d.irqs[0] : 0;
	if (is_drivable(&u, r.size)) {
		m->uart = u;
		claim(n, m);
	}
	return OK;
}
