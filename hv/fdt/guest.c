/* SPDX-License-Identifier: MIT */
/*
 * fdt_build_guest(): one function per node, in the order they appear. All of the guest's devices
 * lie under /soc, whose addresses are guest-physical. Source of the rules: Devicetree Specification
 * 0.4; Linux's bindings riscv/cpus.yaml, riscv/extensions.yaml,
 * interrupt-controller/sifive,plic-1.0.0.yaml, rng/microsoft,vmgenid.yaml.
 */
#include "fdt/guest.h"
#include "fdt/isa_text.h"
#include "fdt/write.h"
#include "lib/printf.h"

#define IRQ_S_EXT  9
#define NO_IRQ     UINT32_MAX /* in interrupts-extended: this context is not there */
#define UART_SIZE  8
#define PLIC_CELLS 4 /* of interrupts-extended, per VCPU */

struct build {
	struct writer w;
	const struct guest_tree *t;
	uint32_t plic;       /* phandles */
	uint32_t first_hart; /* of VCPU 0's interrupt controller; the others follow */
};

static void write_isa(struct writer *w, const struct isa *host_isa)
{
	static const char *const mmu[] = {
		NULL, NULL, "riscv,sv32", "riscv,sv39", "riscv,sv48", "riscv,sv57"};
	struct isa isa = *host_isa;
	char text[ISA_TEXT_SIZE];

	isa.exts &= isa_guest_exts;
	write_string(w, "riscv,isa-base", isa.xlen == 32 ? "rv32i" : "rv64i");
	write_bytes(w, "riscv,isa-extensions", text, isa_write_list(&isa, text));
	write_bytes(w, "riscv,isa", text, isa_write_string(&isa, text));
	if (isa.mmu_levels < ARRAY_SIZE(mmu) && mmu[isa.mmu_levels])
		write_string(w, "mmu-type", mmu[isa.mmu_levels]);
	if (isa_has(&isa, ISA_ZICBOM) && isa.cbom_block)
		write_u32(w, "riscv,cbom-block-size", isa.cbom_block);
	if (isa_has(&isa, ISA_ZICBOZ) && isa.cboz_block)
		write_u32(w, "riscv,cboz-block-size", isa.cboz_block);
	if (isa_has(&isa, ISA_ZICBOP) && isa.cbop_block)
		write_u32(w, "riscv,cbop-block-size", isa.cbop_block);
}

static void write_cpu(struct build *b, unsigned vcpu)
{
	struct writer *w = &b->w;

	write_begin_at(w, "cpu", vcpu);
	write_string(w, "device_type", "cpu");
	write_string(w, "compatible", "riscv");
	write_u32(w, "reg", vcpu);
	write_string(w, "status", "okay");
	write_isa(w, &b->t->isa);
	write_begin(w, "interrupt-controller");
	write_string(w, "compatible", "riscv,cpu-intc");
	write_u32(w, "#interrupt-cells", 1);
	write_u32(w, "#address-cells", 0);
	write_empty(w, "interrupt-controller");
	write_u32(w, "phandle", b->first_hart + vcpu);
	write_end(w);
	write_end(w);
}

static void write_cpus(struct build *b)
{
	struct writer *w = &b->w;

	write_begin(w, "cpus");
	write_u32(w, "#address-cells", 1);
	write_u32(w, "#size-cells", 0);
	write_u32(w, "timebase-frequency", (uint32_t)b->t->timebase_hz);
	for (unsigned i = 0; i < b->t->nvcpus; i++)
		write_cpu(b, i);
	write_end(w);
}

static void write_memory(struct build *b)
{
	write_begin_at(&b->w, "memory", b->t->ram_base.v);
	write_string(&b->w, "device_type", "memory");
	write_reg(&b->w, b->t->ram_base.v, b->t->ram_size);
	write_end(&b->w);
}

/* Linux takes only the contexts listed with cause 9, and counts the others. */
static void write_plic_contexts(struct build *b)
{
	fdt32_t *cells = write_cells(&b->w, "interrupts-extended", b->t->nvcpus * PLIC_CELLS);

	for (unsigned i = 0; cells && i < b->t->nvcpus; i++) {
		cells = put_cells(cells, b->first_hart + i, 1);
		cells = put_cells(cells, NO_IRQ, 1);
		cells = put_cells(cells, b->first_hart + i, 1);
		cells = put_cells(cells, IRQ_S_EXT, 1);
	}
}

static void write_plic(struct build *b)
{
	static const char compatible[] = "sifive,plic-1.0.0\0riscv,plic0";
	struct writer *w = &b->w;

	write_begin_at(w, "interrupt-controller", b->t->plic_base.v);
	write_bytes(w, "compatible", compatible, sizeof(compatible));
	write_reg(w, b->t->plic_base.v, b->t->plic_size);
	write_empty(w, "interrupt-controller");
	write_u32(w, "#interrupt-cells", 1);
	write_u32(w, "#address-cells", 0); /* interrupt-map needs to know */
	write_u32(w, "riscv,ndev", b->t->plic_ndev);
	write_plic_contexts(b);
	write_u32(w, "phandle", b->plic);
	write_end(w);
}

static void write_uart(struct build *b)
{
	struct writer *w = &b->w;

	write_begin_at(w, "serial", b->t->uart_base.v);
	write_string(w, "compatible", "ns16550a");
	write_reg(w, b->t->uart_base.v, UART_SIZE);
	write_u32(w, "clock-frequency", b->t->uart_clock_hz);
	if (b->t->uart_irq)
		write_u32(w, "interrupts", b->t->uart_irq);
	write_end(w);
}

/* Its interrupt is a pulse, and the PLIC's one cell says nothing of that: a pulse is pending until
 * claimed. */
static void write_vmgenid(struct build *b)
{
	struct writer *w = &b->w;

	write_begin_at(w, "rng", b->t->vmgenid_page.v);
	write_string(w, "compatible", "microsoft,vmgenid");
	write_reg(w, b->t->vmgenid_page.v, PAGE_SIZE);
	write_u32(w, "interrupts", b->t->vmgenid_irq);
	write_end(w);
}

static void write_soc(struct build *b)
{
	const struct guest_tree *t = b->t;
	struct writer *w = &b->w;

	write_begin(w, "soc");
	write_string(w, "compatible", "simple-bus");
	write_u32(w, "#address-cells", 2);
	write_u32(w, "#size-cells", 2);
	write_u32(w, "interrupt-parent", b->plic);
	write_empty(w, "ranges");
	write_plic(b);
	if (t->uart_base.v)
		write_uart(b);
	if (t->vmgenid_page.v)
		write_vmgenid(b);
	for (unsigned i = 0; i < t->ndevices && w->err == OK; i++)
		copy_device(w, t->host_fdt, &t->machine->devices[t->devices[i]], b->plic);
	write_end(w);
}

/* The console: named by /chosen, and numbered 0 by /aliases. */
static void write_console(struct build *b, const char *property)
{
	char path[NODE_NAME_MAX];

	fmt_snprintf(path, sizeof(path), "/soc/serial@%llx", (unsigned long long)b->t->uart_base.v);
	write_string(&b->w, property, path);
}

static void write_chosen(struct build *b)
{
	const struct guest_tree *t = b->t;
	struct writer *w = &b->w;

	if (t->uart_base.v) {
		write_begin(w, "aliases");
		write_console(b, "serial0");
		write_end(w);
	}
	write_begin(w, "chosen");
	write_string(w, "bootargs", t->bootargs);
	if (t->uart_base.v)
		write_console(b, "stdout-path");
	write_bytes(w, "rng-seed", t->rng_seed, sizeof(t->rng_seed));
	if (t->initrd_size) {
		write_u64(w, "linux,initrd-start", t->initrd.v);
		write_u64(w, "linux,initrd-end", t->initrd.v + t->initrd_size);
	}
	write_end(w);
}

static void write_root(struct build *b)
{
	struct writer *w = &b->w;

	write_begin(w, "");
	write_u32(w, "#address-cells", 2);
	write_u32(w, "#size-cells", 2);
	write_string(w, "compatible", "diosix,vm");
	write_string(w, "model", "Diosix virtual machine");
	write_chosen(b);
	write_cpus(b);
	write_memory(b);
	write_soc(b);
	write_begin(w, "hypervisor");
	write_string(w, "compatible", "diosix,hypervisor");
	write_u32(w, "diosix,abi-version", b->t->abi_version);
	write_end(w);
	write_end(w);
}

static bool request_ok(const struct guest_tree *t)
{
	if (t->nvcpus < 1 || t->nvcpus > MACHINE_MAX_HARTS || !t->timebase_hz ||
		t->timebase_hz > UINT32_MAX || t->plic_phandle == UINT32_MAX)
		return false;
	if (t->ndevices && (!t->host_fdt || !t->machine))
		return false;
	for (unsigned i = 0; i < t->ndevices; i++)
		if (t->devices[i] >= t->machine->ndevices)
			return false;
	return true;
}

enum err fdt_build_guest(const struct guest_tree *t, void *buf, size_t size, size_t *used)
{
	struct build b = {.t = t};
	uint64_t next;

	*used = 0;
	if (!request_ok(t) || (uintptr_t)buf % 8)
		return E_INVAL;
	next = MAX(t->machine ? t->machine->max_phandle : 0, t->plic_phandle) + UINT64_C(1);
	b.plic = t->plic_phandle ? t->plic_phandle : (uint32_t)next++;
	if (next + t->nvcpus > UINT32_MAX) /* all ones is no phandle */
		return E_FORMAT;
	b.first_hart = (uint32_t)next;
	write_start(&b.w, buf, size);
	write_root(&b);
	return write_finish(&b.w, used);
}
