/* SPDX-License-Identifier: MIT */
/*
 * fdt_guest_part(): first all but the CPUs, which may be many, then these, some in each part. All
 * of the guest's devices lie under /soc, whose addresses are guest-physical. Source of the rules:
 * Devicetree Specification 0.4; Linux's bindings riscv/cpus.yaml, riscv/extensions.yaml,
 * interrupt-controller/sifive,plic-1.0.0.yaml, rng/microsoft,vmgenid.yaml.
 */
#include <libfdt.h>
#include <stdio.h>
#include <string.h>
#include "core/rng.h"
#include "fdt/guest.h"
#include "fdt/isa_text.h"

#define IRQ_S_EXT     9
#define NO_IRQ        UINT32_MAX /* in interrupts-extended: this context is not there */
#define UART_SIZE     8
#define UART_CLOCK    3686400 /* an emulated UART has no rate, but Linux wants one */
#define NODE_NAME_MAX 64      /* of our own nodes, with unit address and NUL */
#define CPUS_IN_PART  2

static_assert(MACHINE_MAX_DEVICES <= 64, "guest_tree.devices has a bit for each");

struct build {
	const struct guest_tree *t;
	void *fdt;
	int rc;        /* libfdt's first error: it sticks, and is looked at once, at the end */
	uint32_t plic; /* phandle; those of the VCPUs' interrupt controllers follow it */
};

/* What put() writes, one after the other: a node's begin, its properties, its end. */
struct item {
	enum { NOTHING, BEGIN, PROPERTY, END } what;
	const char *name; /* of a node: a format for its unit address */
	uint64_t unit;
	const void *bytes;
	size_t n;
};
#define NODE(name, unit)      ((struct item){BEGIN, name, unit, NULL, 0})
#define BYTES(name, bytes, n) ((struct item){PROPERTY, name, 0, bytes, n})
#define TEXT(name, text)      BYTES(name, text, strlen(text) + 1)
#define FLAG(name)            BYTES(name, "", 0)
#define CELL(name, value)     BYTES(name, (const fdt32_t[]){cpu_to_fdt32(value)}, sizeof(fdt32_t))
#define PAIR(name, value)     BYTES(name, (const fdt64_t[]){cpu_to_fdt64(value)}, sizeof(fdt64_t))
#define REG(base, size)                                                                            \
	BYTES("reg", ((const fdt64_t[]){cpu_to_fdt64(base), cpu_to_fdt64(size)}),                  \
		2 * sizeof(fdt64_t))
#define IF(condition, i) ((condition) ? (i) : (struct item){.what = NOTHING})
#define END_NODE         ((struct item){.what = END})

static int put_item(void *fdt, const struct item *i)
{
	char node[NODE_NAME_MAX];

	if (i->what == PROPERTY)
		return fdt_property(fdt, i->name, i->bytes, (int)i->n);
	if (i->what == END)
		return fdt_end_node(fdt);
	snprintf(node, sizeof(node), i->name, i->unit);
	return fdt_begin_node(fdt, node);
}

static void put_items(struct build *b, const struct item *items, size_t n)
{
	for (const struct item *i = items; i < items + n && b->rc == 0; i++)
		if (i->what != NOTHING)
			b->rc = put_item(b->fdt, i);
}
#define put(b, ...)                                                                                \
	put_items(b, (const struct item[]){__VA_ARGS__},                                           \
		sizeof((const struct item[]){__VA_ARGS__}) / sizeof(struct item))

static void put_cpu(struct build *b, unsigned vcpu)
{
	char list[ISA_TEXT_SIZE], string[ISA_TEXT_SIZE];
	struct isa isa = b->t->isa;
	const char *mmu = isa.mmu_levels < ISA_MMU_TYPES ? isa_mmu_types[isa.mmu_levels] : NULL;

	isa.exts &= isa_guest_exts;
	put(b, NODE("cpu@%lx", vcpu), TEXT("device_type", "cpu"), TEXT("compatible", "riscv"),
		CELL("reg", vcpu), TEXT("status", "okay"), TEXT("riscv,isa-base", "rv64i"),
		BYTES("riscv,isa-extensions", list, isa_write(&isa, true, list)),
		BYTES("riscv,isa", string, isa_write(&isa, false, string)),
		IF(mmu, TEXT("mmu-type", mmu)),
		IF(isa_has(&isa, ISA_ZICBOM) && isa.cbom_block,
			CELL("riscv,cbom-block-size", isa.cbom_block)),
		IF(isa_has(&isa, ISA_ZICBOZ) && isa.cboz_block,
			CELL("riscv,cboz-block-size", isa.cboz_block)),
		IF(isa_has(&isa, ISA_ZICBOP) && isa.cbop_block,
			CELL("riscv,cbop-block-size", isa.cbop_block)),
		NODE("interrupt-controller", 0), TEXT("compatible", "riscv,cpu-intc"),
		CELL("#interrupt-cells", 1), CELL("#address-cells", 0),
		FLAG("interrupt-controller"), CELL("phandle", b->plic + 1 + vcpu), END_NODE,
		END_NODE);
}

/* Linux takes only the contexts listed with cause 9, and counts the others. Its interrupt-map needs
 * to know #address-cells. */
static void put_plic(struct build *b)
{
	static const char compatible[] = "sifive,plic-1.0.0\0riscv,plic0";
	const struct vm *vm = b->t->vm;
	fdt32_t contexts[VM_MAX_VCPUS][4];

	for (unsigned i = 0; i < vm->nvcpus; i++) {
		contexts[i][0] = contexts[i][2] = cpu_to_fdt32(b->plic + 1 + i);
		contexts[i][1] = cpu_to_fdt32(NO_IRQ);
		contexts[i][3] = cpu_to_fdt32(IRQ_S_EXT);
	}
	put(b, NODE("interrupt-controller@%lx", vm->plic_base.v), REG(vm->plic_base.v, VPLIC_SIZE),
		FLAG("interrupt-controller"), CELL("#interrupt-cells", 1),
		CELL("#address-cells", 0), CELL("riscv,ndev", vm->plic.ndev),
		CELL("phandle", b->plic), BYTES("compatible", compatible, sizeof(compatible)),
		BYTES("interrupts-extended", contexts, vm->nvcpus * sizeof(contexts[0])), END_NODE);
}

/* Copied is only what holds no phandle but the PLIC's: what else a node refers to (clocks, IOMMU,
 * MSI controller ...), the guest does not have. PCI falls back on its INTx lines. `reg` is written
 * anew, for the host's bus may have other cells. */
static void put_device(struct build *b, const struct machine_device *d)
{
	static const char copied[] =
		"compatible\0device_type\0bus-range\0linux,pci-domain\0#address-cells\0"
		"#size-cells\0#interrupt-cells\0ranges\0interrupts\0interrupts-extended\0"
		"interrupt-map\0interrupt-map-mask\0dma-coherent";
	const void *host = b->t->host_fdt;
	fdt64_t reg[DEVICE_MAX_REGIONS][2];
	int property, len;

	for (unsigned i = 0; i < d->nregs; i++) {
		reg[i][0] = cpu_to_fdt64(d->reg[i].base.v);
		reg[i][1] = cpu_to_fdt64(d->reg[i].size);
	}
	if (b->rc == 0)
		b->rc = fdt_begin_node(b->fdt, fdt_get_name(host, d->node, NULL));
	put(b, BYTES("reg", reg, d->nregs * sizeof(reg[0])));
	fdt_for_each_property_offset(property, host, d->node)
	{
		const char *name;
		const void *value = fdt_getprop_by_offset(host, property, &name, &len);

		if (value && fdt_stringlist_contains(copied, sizeof(copied) - 1, name))
			put(b, BYTES(name, value, (size_t)len));
	}
	put(b, END_NODE);
}

/* The generation ID's interrupt is a pulse, and the PLIC's one cell says nothing of that: a pulse
 * is pending until claimed. */
static void put_soc(struct build *b)
{
	const struct guest_tree *t = b->t;
	uint64_t uart = t->vm->uart_base.v, vmgenid = t->vm->vmgenid.v;

	put(b, NODE("soc", 0), TEXT("compatible", "simple-bus"), CELL("#address-cells", 2),
		CELL("#size-cells", 2), CELL("interrupt-parent", b->plic), FLAG("ranges"));
	put_plic(b);
	if (uart)
		put(b, NODE("serial@%lx", uart), TEXT("compatible", "ns16550a"),
			REG(uart, UART_SIZE), CELL("clock-frequency", UART_CLOCK),
			IF(t->vm->uart_irq, CELL("interrupts", t->vm->uart_irq)), END_NODE);
	put(b, NODE("rng@%lx", vmgenid), TEXT("compatible", "microsoft,vmgenid"),
		REG(vmgenid, PAGE_SIZE), CELL("interrupts", t->vm->vmgenid_irq), END_NODE);
	for (unsigned i = 0; i < t->machine->ndevices; i++)
		if (t->devices & BIT(i))
			put_device(b, &t->machine->devices[i]);
	put(b, END_NODE);
}

/* All but the CPUs, and what ends with them. */
static void put_head(struct build *b)
{
	const struct guest_tree *t = b->t;
	const struct vm *vm = t->vm;
	uint64_t uart = vm->uart_base.v, initrd = t->initrd.v;
	char console[NODE_NAME_MAX];
	uint8_t seed[32];

	snprintf(console, sizeof(console), "/soc/serial@%lx", uart);
	rng_bytes(seed, sizeof(seed));
	b->rc = fdt_finish_reservemap(b->fdt);
	put(b, NODE("", 0), CELL("#address-cells", 2), CELL("#size-cells", 2),
		TEXT("compatible", "diosix,vm"), TEXT("model", "Diosix virtual machine"));
	if (uart)
		put(b, NODE("aliases", 0), TEXT("serial0", console), END_NODE);
	put(b, NODE("chosen", 0), TEXT("bootargs", t->bootargs),
		BYTES("rng-seed", seed, sizeof(seed)), IF(uart, TEXT("stdout-path", console)),
		IF(t->initrd_size, PAIR("linux,initrd-start", initrd)),
		IF(t->initrd_size, PAIR("linux,initrd-end", initrd + t->initrd_size)), END_NODE);
	put(b, NODE("memory@%lx", vm->ram_base.v), TEXT("device_type", "memory"),
		REG(vm->ram_base.v, vm->ram_size), END_NODE);
	put_soc(b);
	put(b, NODE("hypervisor", 0), TEXT("compatible", "diosix,hypervisor"),
		CELL("diosix,abi-version", DX_ABI_VERSION), CELL("interrupt-parent", b->plic),
		CELL("interrupts", vm->event_irq), END_NODE);
	put(b, NODE("cpus", 0), CELL("#address-cells", 1), CELL("#size-cells", 0),
		CELL("timebase-frequency", t->machine->timebase_hz));
}

enum err fdt_guest_part(
	const struct guest_tree *t, void *buf, size_t size, uint64_t *part, size_t *used)
{
	struct build b = {.t = t, .fdt = buf, .plic = MAX(t->machine->plic.phandle, 1u)};
	unsigned cpu = (unsigned)*part * CPUS_IN_PART, end = MIN(cpu + CPUS_IN_PART, t->vm->nvcpus);
	bool last = cpu >= t->vm->nvcpus;

	*used = 0;
	/* With deduplication each name would be searched for among all the earlier ones. */
	if (cpu == 0 && fdt_create_with_flags(buf, (int)MIN(size, (size_t)INT32_MAX),
				FDT_CREATE_FLAG_NO_NAME_DEDUP) != 0)
		return E_NOMEM;
	if (cpu == 0)
		put_head(&b);
	for (; cpu < end; cpu++)
		put_cpu(&b, cpu);
	if (last)
		put(&b, END_NODE, END_NODE);
	if (b.rc != 0 || (last && fdt_finish(buf) != 0))
		return E_NOMEM;
	*used = last ? fdt_totalsize(buf) : 0;
	*part += 1;
	return OK;
}
