/* SPDX-License-Identifier: MIT */
/*
 * The interrupt controllers and timers that the hypervisor keeps: PLIC, ACLINT and its ancestor,
 * the CLINT. Which registers belong to which hart follows from the order of `interrupts-extended`.
 * Source of the rules: RISC-V PLIC specification 1.0.0, chapter 3; ACLINT specification 1.0-rc4,
 * chapters 2 to 4; Linux's bindings sifive,plic-1.0.0.yaml and sifive,clint.yaml.
 */
#include "fdt/tree.h"

#define IRQ_M_SOFT  3 /* interrupt causes of `mip`, as the harts' own controllers number them */
#define IRQ_M_TIMER 7
#define IRQ_S_EXT   9
#define IRQ_M_EXT   11

#define PLIC_CONTEXTS     0x200000 /* threshold and claim of context n: 4 KiB each */
#define PLIC_CONTEXT_SIZE 0x1000
#define PLIC_MAX_CONTEXTS 15872
#define PLIC_MAX_SOURCES  1023

#define CLINT_MTIMECMP 0x4000
#define CLINT_MTIME    0xbff8
#define MTIMER_MTIME   0x7ff8 /* when one region holds both, as in a CLINT */

static struct machine_hart *hart_by_intc(struct machine *m, uint32_t phandle)
{
	for (unsigned i = 0; phandle && i < m->nharts; i++)
		if (m->harts[i].intc_phandle == phandle)
			return &m->harts[i];
	return NULL;
}

/* Entry `i` of `interrupts-extended`: the hart, or NULL, and the cause at that hart. */
static struct machine_hart *entry_hart(
	struct machine *m, const fdt32_t *cells, unsigned i, uint32_t *cause)
{
	*cause = fdt32_to_cpu(cells[2 * i + 1]);
	return hart_by_intc(m, fdt32_to_cpu(cells[2 * i]));
}

static const fdt32_t *entries(const struct tree_path *path, int node, unsigned max, unsigned *n)
{
	const fdt32_t *cells = tree_cells(path->fdt, node, "interrupts-extended", n);

	*n = MIN(*n / 2, max);
	return cells;
}

static void read_contexts(const struct tree_path *path, int node, uint64_t size, struct machine *m)
{
	unsigned n, max = MIN((size - PLIC_CONTEXTS) / PLIC_CONTEXT_SIZE, PLIC_MAX_CONTEXTS);
	const fdt32_t *cells = entries(path, node, max, &n);

	for (unsigned i = 0; i < n; i++) {
		uint32_t cause;
		struct machine_hart *h = entry_hart(m, cells, i, &cause);

		if (h && cause == IRQ_M_EXT)
			h->plic_m_context = (int32_t)i;
		if (h && cause == IRQ_S_EXT)
			h->plic_s_context = (int32_t)i;
	}
}

static void read_plic(const struct tree_path *path, int node, struct machine *m)
{
	uint32_t ndev = tree_u32(path->fdt, node, "riscv,ndev", 0);
	struct machine_range r;

	if (m->plic.base.v) {
		m->truncated = true; /* we drive one PLIC */
		return;
	}
	/* Another number of cells means a variant with a different programming model. */
	if (tree_u32(path->fdt, node, "#interrupt-cells", 0) != 1 ||
		tree_u32(path->fdt, node, "#address-cells", 0) != 0 || ndev < 1 ||
		ndev > PLIC_MAX_SOURCES)
		return;
	if (tree_reg(path, node, 0, &r) != OK || !IS_ALIGNED(r.base.v, PAGE_SIZE) ||
		r.size <= PLIC_CONTEXTS)
		return;
	m->plic = (struct machine_plic){r.base, r.size, ndev, tree_phandle(path->fdt, node)};
	read_contexts(path, node, r.size, m);
}

/* `r` holds one 32-bit MSIP register for each hart that `cells` lists; every `step`-th entry
 * counts. */
static void assign_msip(
	struct machine *m, const fdt32_t *cells, unsigned n, unsigned step, struct machine_range r)
{
	for (unsigned i = 0; i < n && (i / step + 1) * 4 <= r.size; i++) {
		uint32_t cause;
		struct machine_hart *h = entry_hart(m, cells, i, &cause);

		if (h && cause == IRQ_M_SOFT)
			h->msip = hpa_add(r.base, i / step * 4);
	}
}

/* The same for the 64-bit MTIMECMP registers. */
static void assign_mtimecmp(
	struct machine *m, const fdt32_t *cells, unsigned n, unsigned step, struct machine_range r)
{
	for (unsigned i = 0; i < n && (i / step + 1) * 8 <= r.size; i++) {
		uint32_t cause;
		struct machine_hart *h = entry_hart(m, cells, i, &cause);

		if (h && cause == IRQ_M_TIMER)
			h->mtimecmp = hpa_add(r.base, i / step * 8);
	}
}

static void set_mtime(struct machine *m, hpa_t mtime)
{
	if (!m->mtime.v && IS_ALIGNED(mtime.v, 8))
		m->mtime = mtime;
}

/* One region, two entries (software, timer) for each hart. */
static void read_clint(const struct tree_path *path, int node, struct machine *m)
{
	struct machine_range r;
	unsigned n;
	const fdt32_t *cells = entries(path, node, 2 * (CLINT_MTIMECMP / 4), &n);

	if (tree_reg(path, node, 0, &r) != OK || !IS_ALIGNED(r.base.v, 8) ||
		r.size < CLINT_MTIME + 8)
		return;
	assign_msip(m, cells, n, 2, (struct machine_range){r.base, CLINT_MTIMECMP});
	assign_mtimecmp(m, cells, n, 2,
		(struct machine_range){
			hpa_add(r.base, CLINT_MTIMECMP), CLINT_MTIME - CLINT_MTIMECMP});
	set_mtime(m, hpa_add(r.base, CLINT_MTIME));
}

static void read_mswi(const struct tree_path *path, int node, struct machine *m)
{
	struct machine_range r;
	unsigned n;
	const fdt32_t *cells = entries(path, node, CLINT_MTIMECMP / 4, &n);

	if (tree_reg(path, node, 0, &r) == OK && IS_ALIGNED(r.base.v, 4))
		assign_msip(m, cells, n, 1, r);
}

/* Two regions are MTIME and MTIMECMP; one is MTIMECMP, with MTIME where a CLINT has it if it is big
 * enough. */
static void read_mtimer(const struct tree_path *path, int node, struct machine *m)
{
	struct machine_range first, cmp;
	unsigned n;
	const fdt32_t *cells = entries(path, node, MTIMER_MTIME / 8, &n);

	if (tree_reg(path, node, 0, &first) != OK)
		return;
	if (tree_reg(path, node, 1, &cmp) == OK) {
		if (first.size >= 8)
			set_mtime(m, first.base);
	} else {
		cmp = first;
		if (first.size >= MTIMER_MTIME + 8)
			set_mtime(m, hpa_add(first.base, MTIMER_MTIME));
	}
	if (IS_ALIGNED(cmp.base.v, 8))
		assign_mtimecmp(m, cells, n, 1, cmp);
}

/* What each node we keep is; NULL where keeping it away from VMs is all we do. */
static const struct controller {
	const char *compatible;
	void (*read)(const struct tree_path *path, int node, struct machine *m);
} controllers[] = {
	{"sifive,plic-1.0.0", read_plic},
	{"riscv,plic0", read_plic},
	{"sifive,clint0", read_clint},
	{"riscv,clint0", read_clint},
	{"riscv,aclint-mswi", read_mswi},
	{"riscv,aclint-mtimer", read_mtimer},
	{"riscv,aclint-sswi", NULL},
	{"riscv,aplic", NULL},
	{"riscv,imsics", NULL},
	{"riscv,iommu", NULL},
};

static void visit(const struct tree_path *path, int node, void *ctx)
{
	struct machine *m = ctx;
	int len;
	const char *list = tree_prop(path->fdt, node, "compatible", &len);

	for (unsigned i = 0; i < ARRAY_SIZE(controllers); i++)
		if (tree_list_has(list, len, controllers[i].compatible)) {
			own_claim(m, path, node);
			if (controllers[i].read)
				controllers[i].read(path, node, m);
			return;
		}
}

void controllers_read(const void *fdt, struct machine *m)
{
	tree_walk(fdt, visit, m);
}
