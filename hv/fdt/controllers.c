/* SPDX-License-Identifier: MIT */
/*
 * What the hypervisor keeps for itself, but for the console: interrupt controllers, timers, the
 * power switch. Which registers belong to which hart follows from the order of
 * `interrupts-extended`. Source of the rules: RISC-V PLIC specification 1.0.0, chapter 3; ACLINT
 * specification 1.0-rc4, chapters 2 to 4; Linux's bindings sifive,plic-1.0.0.yaml and
 * sifive,clint.yaml.
 */
#include "fdt/tree.h"

#define IRQ_M_SOFT  3 /* interrupt causes of `mip`, as the harts' own controllers number them */
#define IRQ_M_TIMER 7
#define IRQ_S_EXT   9
#define IRQ_M_EXT   11
#define IRQ_HIDDEN  UINT32_MAX

#define PLIC_CONTEXTS     0x200000 /* threshold and claim of context n: 4 KiB each */
#define PLIC_CONTEXT_SIZE 0x1000
#define PLIC_MAX_SOURCES  1023

#define GPIO_ACTIVE_LOW 1

#define CLINT_MTIMECMP 0x4000
#define CLINT_MTIME    0xbff8

/* Which of the first `max` entries of `interrupts-extended` is the hart's interrupt `cause`; -1:
 * none. */
static int32_t entry_of(
	const struct node *n, const struct machine_hart *h, uint32_t cause, uint64_t max)
{
	unsigned ncells;
	const fdt32_t *cells = node_cells(n, "interrupts-extended", &ncells);

	for (unsigned i = 0; h->intc_phandle && i < MIN(ncells / 2, max); i++)
		if (fdt32_to_cpu(cells[2 * i]) == h->intc_phandle &&
			fdt32_to_cpu(cells[2 * i + 1]) == cause)
			return (int32_t)i;
	return -1;
}

static void read_plic(const struct node *n, struct machine *m)
{
	uint32_t ndev = node_u32(n, "riscv,ndev", 0), phandle = node_u32(n, "phandle", 0);
	struct machine_range r;
	uint64_t contexts;

	m->truncated |= m->plic.base.v != 0; /* we drive one PLIC */
	/* Another number of cells means a variant with a different programming model. In a guest's
	 * tree, phandles of VCPUs follow the PLIC's. */
	if (m->plic.base.v || node_u32(n, "#interrupt-cells", 0) != 1 ||
		node_u32(n, "#address-cells", 0) != 0 || ndev < 1 || ndev > PLIC_MAX_SOURCES ||
		node_region(n, 0, &r) != OK || !IS_ALIGNED(r.base.v, PAGE_SIZE) ||
		r.size <= PLIC_CONTEXTS || phandle >= UINT32_MAX - MACHINE_MAX_HARTS)
		return;
	m->plic = (struct machine_plic){r.base, ndev, phandle};
	contexts = (r.size - PLIC_CONTEXTS) / PLIC_CONTEXT_SIZE;
	for (struct machine_hart *h = m->harts; h < m->harts + m->nharts; h++) {
		h->plic_m_context = entry_of(n, h, IRQ_M_EXT, contexts);
		/* Trees written for Linux (U-Boot's of the HiFive Unleashed) hide what is M-mode's.
		 */
		if (h->plic_m_context < 0)
			h->plic_m_context = entry_of(n, h, IRQ_HIDDEN, contexts);
		h->plic_s_context = entry_of(n, h, IRQ_S_EXT, contexts);
	}
}

/* In `size` bytes lie registers for the interrupt `cause`, one for each `step` entries: MSIP of 32
 * bits, or MTIMECMP of 64. A hart without such an entry keeps what it has. */
static void find_registers(const struct node *n, struct machine *m, uint32_t cause, unsigned step,
	hpa_t base, uint64_t size)
{
	unsigned width = cause == IRQ_M_TIMER ? 8 : 4;

	for (struct machine_hart *h = m->harts; h < m->harts + m->nharts; h++) {
		int32_t i = entry_of(n, h, cause, size / width * step);

		if (i >= 0 && IS_ALIGNED(base.v, width))
			*(cause == IRQ_M_TIMER ? &h->mtimecmp : &h->msip) =
				hpa_add(base, (uint32_t)i / step * width);
	}
}

static void set_mtime(struct machine *m, hpa_t mtime)
{
	if (!m->mtime.v && IS_ALIGNED(mtime.v, 8))
		m->mtime = mtime;
}

/* One region, two entries (software, timer) for each hart. */
static void read_clint(const struct node *n, struct machine *m)
{
	struct machine_range r;

	if (node_region(n, 0, &r) != OK || r.size < CLINT_MTIME + 8)
		return;
	set_mtime(m, hpa_add(r.base, CLINT_MTIME));
	find_registers(n, m, IRQ_M_SOFT, 2, r.base, CLINT_MTIMECMP);
	find_registers(n, m, IRQ_M_TIMER, 2, hpa_add(r.base, CLINT_MTIMECMP),
		CLINT_MTIME - CLINT_MTIMECMP);
}

static void read_mswi(const struct node *n, struct machine *m)
{
	struct machine_range msip;

	if (node_region(n, 0, &msip) == OK)
		find_registers(n, m, IRQ_M_SOFT, 1, msip.base, msip.size);
}

/* Two regions: MTIME and the MTIMECMPs. */
static void read_mtimer(const struct node *n, struct machine *m)
{
	struct machine_range time, mtimecmp;

	if (node_region(n, 0, &time) != OK || node_region(n, 1, &mtimecmp) != OK)
		return;
	if (time.size >= 8)
		set_mtime(m, time.base);
	find_registers(n, m, IRQ_M_TIMER, 1, mtimecmp.base, mtimecmp.size);
}

static void read_finisher(const struct node *n, struct machine *m)
{
	struct machine_range r;

	if (!m->finisher.v && node_region(n, 0, &r) == OK && r.size >= 4 && IS_ALIGNED(r.base.v, 4))
		m->finisher = r.base;
}

/* SiFive's GPIO, if a pin of it, driven low, restarts the machine. Source: Linux's binding
 * gpio-restart.yaml. */
static void read_gpio(const struct node *n, struct machine *m)
{
	int len, node = fdt_node_offset_by_compatible(n->fdt, -1, "gpio-restart");
	const fdt32_t *cells = fdt_getprop(n->fdt, node, "gpios", &len);
	struct machine_range r;

	if (!cells || len != 12 || fdt32_to_cpu(cells[0]) != node_u32(n, "phandle", 0) ||
		fdt32_to_cpu(cells[2]) != GPIO_ACTIVE_LOW || node_region(n, 0, &r) != OK ||
		r.size < 16 || !IS_ALIGNED(r.base.v, 4))
		return;
	m->gpio = r.base;
	m->restart_pin = UINT32_C(1) << fdt32_to_cpu(cells[1]) % 32;
}

/* NULL where keeping it away from VMs is all we do. */
static const struct {
	const char *compatible; /* for node_is() */
	void (*read)(const struct node *n, struct machine *m);
} controllers[] = {
	{"sifive,plic-1.0.0\0riscv,plic0\0", read_plic},
	{"sifive,clint0\0riscv,clint0\0", read_clint},
	{"riscv,aclint-mswi\0", read_mswi},
	{"riscv,aclint-mtimer\0", read_mtimer},
	{"riscv,aclint-sswi\0riscv,aplic\0riscv,imsics\0riscv,iommu\0", NULL},
	{"sifive,test0\0", read_finisher},
	{"sifive,gpio0\0", read_gpio},
};

enum err controllers_visit(const struct node *n, struct machine *m)
{
	for (unsigned i = 0; i < ARRAY_SIZE(controllers); i++)
		if (node_is(n, controllers[i].compatible) && node_reachable(n)) {
			claim(n, m);
			if (controllers[i].read)
				controllers[i].read(n, m);
			break;
		}
	return OK;
}

/* A range that finds no place makes everything ours: then no device is given to anybody. */
void claim(const struct node *n, struct machine *m)
{
	struct machine_range r;
	enum err rc;

	for (unsigned i = 0; (rc = node_region(n, i, &r)) == OK || rc == E_RANGE; i++) {
		if (rc == OK && m->nown < MACHINE_MAX_OWN) {
			m->own[m->nown++] = range_pages(r);
		} else if (rc == OK) {
			m->own[m->nown - 1] = (struct machine_range){hpa(0), BIT(PHYS_BITS)};
			m->truncated = true;
		}
	}
}
