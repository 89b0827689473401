/* SPDX-License-Identifier: MIT */
/*
 * fdt_build_guest(): one function per node, in the order they appear. All of the guest's devices
 * lie under /soc, whose addresses are guest-physical. Source of the rules: Devicetree Specification
 * 0.4; Linux's bindings riscv/cpus.yaml, riscv/extensions.yaml,
 * interrupt-controller/sifive,plic-1.0.0.yaml, rng/microsoft,vmgenid.yaml.
 */
#include <libfdt.h>
#include <stdio.h>
#include <string.h>
#include "fdt/guest.h"
#include "fdt/isa_text.h"

#define IRQ_S_EXT     9
#define NO_IRQ        UINT32_MAX /* in interrupts-extended: this context is not there */
#define UART_SIZE     8
#define UART_CLOCK    3686400 /* an emulated UART has no rate, but Linux wants one */
#define NO_UNIT       UINT64_MAX
#define NODE_NAME_MAX 64 /* of a node, with unit address and NUL */
#define CPUS_IN_PART  2

struct build {
	const struct guest_tree *t;
	void *fdt;
	int rc;        /* libfdt's first error: it sticks, and is looked at once, at the end */
	uint32_t plic; /* phandle; those of the VCPUs' interrupt controllers follow it */
};

struct prop {
	const char *name, *text; /* text NULL: `ncells` cells (0, 1, 2 or 4) */
	unsigned ncells;
	uint64_t value, size;
};
#define TEXT(name, text)  ((struct prop){name, text, 0, 0, 0})
#define FLAG(name)        ((struct prop){name, NULL, 0, 0, 0})
#define CELL(name, value) ((struct prop){name, NULL, 1, value, 0})
#define PAIR(name, value) ((struct prop){name, NULL, 2, value, 0})
#define REG(base, size)   ((struct prop){"reg", NULL, 4, base, size})

/* As the last arguments of put_all() and node_begin(). */
#define PROPS(...)                                                                                 \
	(const struct prop[]){__VA_ARGS__}, ARRAY_SIZE(((const struct prop[]){__VA_ARGS__}))

static void note(struct build *b, int rc)
{
	if (b->rc == 0)
		b->rc = rc;
}

static void put(struct build *b, const char *name, const void *bytes, size_t n)
{
	note(b, fdt_property(b->fdt, name, bytes, (int)n));
}

static void put_all(struct build *b, const struct prop *p, size_t n)
{
	for (; n > 0; n--, p++) {
		fdt64_t cells[2] = {cpu_to_fdt64(p->ncells == 1 ? p->value << 32 : p->value),
			cpu_to_fdt64(p->size)};

		if (p->text)
			put(b, p->name, p->text, strlen(p->text) + 1);
		else
			put(b, p->name, cells, p->ncells * sizeof(fdt32_t));
	}
}

/* The name is name@unit, hexadecimal, unless there is NO_UNIT. */
static void node_begin(
	struct build *b, const char *name, uint64_t unit, const struct prop *p, size_t n)
{
	char full[NODE_NAME_MAX];

	if (unit != NO_UNIT && snprintf(full, sizeof(full), "%s@%lx", name, unit) >= NODE_NAME_MAX)
		note(b, -FDT_ERR_BADVALUE);
	note(b, fdt_begin_node(b->fdt, unit == NO_UNIT ? name : full));
	put_all(b, p, n);
}

static void node_end(struct build *b)
{
	note(b, fdt_end_node(b->fdt));
}

static void put_isa(struct build *b, struct isa isa)
{
	char text[ISA_TEXT_SIZE];

	isa.exts &= isa_guest_exts;
	put_all(b, PROPS(TEXT("riscv,isa-base", "rv64i")));
	put(b, "riscv,isa-extensions", text, isa_write(&isa, true, text));
	put(b, "riscv,isa", text, isa_write(&isa, false, text));
	if (isa.mmu_levels < ISA_MMU_TYPES && isa_mmu_types[isa.mmu_levels])
		put_all(b, PROPS(TEXT("mmu-type", isa_mmu_types[isa.mmu_levels])));
	if (isa_has(&isa, ISA_ZICBOM) && isa.cbom_block)
		put_all(b, PROPS(CELL("riscv,cbom-block-size", isa.cbom_block)));
	if (isa_has(&isa, ISA_ZICBOZ) && isa.cboz_block)
		put_all(b, PROPS(CELL("riscv,cboz-block-size", isa.cboz_block)));
	if (isa_has(&isa, ISA_ZICBOP) && isa.cbop_block)
		put_all(b, PROPS(CELL("riscv,cbop-block-size", isa.cbop_block)));
}

static void put_cpu(struct build *b, unsigned vcpu)
{
	node_begin(b, "cpu", vcpu,
		PROPS(TEXT("device_type", "cpu"), TEXT("compatible", "riscv"), CELL("reg", vcpu),
			TEXT("status", "okay")));
	put_isa(b, b->t->isa);
	node_begin(b, "interrupt-controller", NO_UNIT,
		PROPS(TEXT("compatible", "riscv,cpu-intc"), CELL("#interrupt-cells", 1),
			CELL("#address-cells", 0), FLAG("interrupt-controller"),
			CELL("phandle", b->plic + 1 + vcpu)));
	node_end(b);
	node_end(b);
}

/* Linux takes only the contexts listed with cause 9, and counts the others. Its interrupt-map needs
 * to know #address-cells. */
static void put_plic(struct build *b)
{
	static const char compatible[] = "sifive,plic-1.0.0\0riscv,plic0";
	fdt32_t contexts[MACHINE_MAX_HARTS][4];

	for (unsigned i = 0; i < b->t->nvcpus; i++) {
		contexts[i][0] = contexts[i][2] = cpu_to_fdt32(b->plic + 1 + i);
		contexts[i][1] = cpu_to_fdt32(NO_IRQ);
		contexts[i][3] = cpu_to_fdt32(IRQ_S_EXT);
	}
	node_begin(b, "interrupt-controller", b->t->plic_base.v,
		PROPS(REG(b->t->plic_base.v, b->t->plic_size), FLAG("interrupt-controller"),
			CELL("#interrupt-cells", 1), CELL("#address-cells", 0),
			CELL("riscv,ndev", b->t->plic_ndev), CELL("phandle", b->plic)));
	put(b, "compatible", compatible, sizeof(compatible));
	put(b, "interrupts-extended", contexts, b->t->nvcpus * sizeof(contexts[0]));
	node_end(b);
}

/* UART, and generation ID: its interrupt is a pulse, and the PLIC's one cell says nothing of that:
 * a pulse is pending until claimed. */
static void put_own_devices(struct build *b)
{
	const struct guest_tree *t = b->t;

	if (t->uart_base.v) {
		node_begin(b, "serial", t->uart_base.v,
			PROPS(TEXT("compatible", "ns16550a"), REG(t->uart_base.v, UART_SIZE),
				CELL("clock-frequency", UART_CLOCK)));
		if (t->uart_irq)
			put_all(b, PROPS(CELL("interrupts", t->uart_irq)));
		node_end(b);
	}
	if (t->vmgenid_page.v) {
		node_begin(b, "rng", t->vmgenid_page.v,
			PROPS(TEXT("compatible", "microsoft,vmgenid"),
				REG(t->vmgenid_page.v, PAGE_SIZE),
				CELL("interrupts", t->vmgenid_irq)));
		node_end(b);
	}
}

/* The host's name with the physical address for its unit address; and `reg` anew, for the host's
 * bus may have other cells or map elsewhere. */
static void begin_device(struct build *b, const struct machine_device *d)
{
	char name[NODE_NAME_MAX], *unit;
	fdt64_t reg[DEVICE_MAX_REGIONS][2];

	snprintf(name, sizeof(name), "%s", fdt_get_name(b->t->host_fdt, d->node, NULL));
	unit = strchr(name, '@');
	if (unit)
		*unit = '\0';
	node_begin(b, name, d->reg[0].base.v, NULL, 0);
	for (unsigned i = 0; i < d->nregs; i++) {
		reg[i][0] = cpu_to_fdt64(d->reg[i].base.v);
		reg[i][1] = cpu_to_fdt64(d->reg[i].size);
	}
	put(b, "reg", reg, d->nregs * sizeof(reg[0]));
}

/* Copied is only what holds no phandle but the PLIC's: what else a node refers to (clocks, IOMMU,
 * MSI controller ...), the guest does not have. PCI falls back on its INTx lines. */
static void put_device(struct build *b, const struct machine_device *d)
{
	static const char copied[] =
		"compatible\0device_type\0bus-range\0linux,pci-domain\0#address-cells\0"
		"#size-cells\0#interrupt-cells\0ranges\0interrupts\0interrupts-extended\0"
		"interrupt-map\0interrupt-map-mask\0dma-coherent";
	const void *host = b->t->host_fdt;
	int property, len;

	begin_device(b, d);
	fdt_for_each_property_offset(property, host, d->node)
	{
		const char *name;
		const void *value = fdt_getprop_by_offset(host, property, &name, &len);

		if (value && fdt_stringlist_contains(copied, sizeof(copied) - 1, name))
			put(b, name, value, (size_t)len);
	}
	node_end(b);
}

static void put_soc(struct build *b)
{
	const struct guest_tree *t = b->t;

	node_begin(b, "soc", NO_UNIT,
		PROPS(TEXT("compatible", "simple-bus"), CELL("#address-cells", 2),
			CELL("#size-cells", 2), CELL("interrupt-parent", b->plic), FLAG("ranges")));
	put_plic(b);
	put_own_devices(b);
	for (unsigned i = 0; i < t->ndevices; i++)
		put_device(b, &t->machine->devices[t->devices[i]]);
	node_end(b);
}

static void put_chosen(struct build *b)
{
	const struct guest_tree *t = b->t;
	char console[NODE_NAME_MAX];

	snprintf(console, sizeof(console), "/soc/serial@%lx", t->uart_base.v);
	if (t->uart_base.v) {
		node_begin(b, "aliases", NO_UNIT, PROPS(TEXT("serial0", console)));
		node_end(b);
	}
	node_begin(b, "chosen", NO_UNIT, PROPS(TEXT("bootargs", t->bootargs)));
	put(b, "rng-seed", t->rng_seed, sizeof(t->rng_seed));
	if (t->uart_base.v)
		put_all(b, PROPS(TEXT("stdout-path", console)));
	if (t->initrd_size)
		put_all(b, PROPS(PAIR("linux,initrd-start", t->initrd.v),
				   PAIR("linux,initrd-end", t->initrd.v + t->initrd_size)));
	node_end(b);
}

/* Up to the first CPU. */
static void put_head(struct build *b)
{
	note(b, fdt_finish_reservemap(b->fdt));
	node_begin(b, "", NO_UNIT,
		PROPS(CELL("#address-cells", 2), CELL("#size-cells", 2),
			TEXT("compatible", "diosix,vm"), TEXT("model", "Diosix virtual machine")));
	put_chosen(b);
	node_begin(b, "cpus", NO_UNIT,
		PROPS(CELL("#address-cells", 1), CELL("#size-cells", 0),
			CELL("timebase-frequency", b->t->machine->timebase_hz)));
}

/* From the last CPU on. */
static void put_rest(struct build *b)
{
	const struct guest_tree *t = b->t;

	node_end(b);
	node_begin(b, "memory", t->ram_base.v,
		PROPS(TEXT("device_type", "memory"), REG(t->ram_base.v, t->ram_size)));
	node_end(b);
	put_soc(b);
	node_begin(b, "hypervisor", NO_UNIT,
		PROPS(TEXT("compatible", "diosix,hypervisor"),
			CELL("diosix,abi-version", t->abi_version),
			CELL("interrupt-parent", b->plic), CELL("interrupts", t->event_irq)));
	node_end(b);
	node_end(b);
	note(b, fdt_finish(b->fdt));
}

static bool is_good(const struct guest_tree *t)
{
	const struct machine *m = t->machine;

	return t->nvcpus >= 1 && t->nvcpus <= MACHINE_MAX_HARTS && m->timebase_hz &&
	       m->timebase_hz <= UINT32_MAX && m->plic.phandle < UINT32_MAX - t->nvcpus;
}

enum err fdt_guest_part(
	const struct guest_tree *t, void *buf, size_t size, unsigned *part, size_t *used)
{
	uint32_t plic = t->machine->plic.phandle;
	struct build b = {.t = t, .fdt = buf, .plic = plic ? plic : 1};
	unsigned cpu = *part * CPUS_IN_PART, n = MIN(cpu + CPUS_IN_PART, t->nvcpus);

	*used = 0;
	if (!is_good(t))
		return E_INVAL;
	if (cpu == 0) {
		/* Otherwise each name is searched for among all the earlier ones. */
		if (fdt_create_with_flags(buf, (int)MIN(size, (size_t)INT32_MAX),
			    FDT_CREATE_FLAG_NO_NAME_DEDUP) != 0)
			return E_NOMEM;
		put_head(&b);
	}
	for (; cpu < n; cpu++)
		put_cpu(&b, cpu);
	if (*part * CPUS_IN_PART >= t->nvcpus)
		put_rest(&b);
	if (b.rc != 0)
		return b.rc == -FDT_ERR_NOSPACE ? E_NOMEM : E_FORMAT;
	if (*part * CPUS_IN_PART >= t->nvcpus)
		*used = fdt_totalsize(buf);
	*part += 1;
	return OK;
}

enum err fdt_build_guest(const struct guest_tree *t, void *buf, size_t size, size_t *used)
{
	unsigned part = 0;
	enum err err;

	do
		err = fdt_guest_part(t, buf, size, &part, used);
	while (err == OK && *used == 0);
	return err;
}
