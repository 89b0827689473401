/* SPDX-License-Identifier: MIT */
/*
 * fdt_guest_part(): one function per node, in the order they appear. All of the guest's devices
 * lie under /soc, whose addresses are guest-physical. Source of the rules: Devicetree Specification
 * 0.4; Linux's bindings riscv/cpus.yaml, riscv/extensions.yaml,
 * interrupt-controller/sifive,plic-1.0.0.yaml, rng/microsoft,vmgenid.yaml.
 */
#include <libfdt.h>
#include <stdio.h>
#include <string.h>
#include "core/rng.h"
#include "fdt/guest.h"
#include "fdt/isa_text.h"
#include "vdev/devices.h"

#define IRQ_S_EXT     9
#define NO_IRQ        UINT32_MAX /* in interrupts-extended: this context is not there */
#define UART_SIZE     8
#define UART_CLOCK    3686400 /* an emulated UART has no rate, but Linux wants one */
#define NO_UNIT       UINT64_MAX
#define NODE_NAME_MAX 64 /* of our own nodes, with unit address and NUL */
#define CPUS_IN_PART  2

static_assert(MACHINE_MAX_DEVICES <= 64, "guest_tree.devices has a bit for each");

struct build {
	const struct guest_tree *t;
	void *fdt;
	int rc;        /* libfdt's first error: it sticks, and is looked at once, at the end */
	uint32_t plic; /* phandle; those of the VCPUs' interrupt controllers follow it */
};

struct prop {
	const char *name;
	const void *bytes;
	size_t n;
};
#define BYTES(name, bytes, n) ((struct prop){name, bytes, n})
#define TEXT(name, text)      BYTES(name, text, strlen(text) + 1)
#define FLAG(name)            BYTES(name, "", 0)
#define CELL(name, value)     BYTES(name, (const fdt32_t[]){cpu_to_fdt32(value)}, sizeof(fdt32_t))
#define PAIR(name, value)     BYTES(name, (const fdt64_t[]){cpu_to_fdt64(value)}, sizeof(fdt64_t))
#define REG(base, size)                                                                            \
	BYTES("reg", ((const fdt64_t[]){cpu_to_fdt64(base), cpu_to_fdt64(size)}),                  \
		2 * sizeof(fdt64_t))

/* As the last arguments of put_all() and node_begin(). */
#define PROPS(...)                                                                                 \
	(const struct prop[]){__VA_ARGS__}, ARRAY_SIZE(((const struct prop[]){__VA_ARGS__}))

static void note(struct build *b, int rc)
{
	if (b->rc == 0)
		b->rc = rc;
}

static void put_all(struct build *b, const struct prop *p, size_t n)
{
	for (; n > 0; n--, p++)
		note(b, fdt_property(b->fdt, p->name, p->bytes, (int)p->n));
}

/* The name is name@unit, hexadecimal, unless there is NO_UNIT. A host's has no unit here. */
static void node_begin(
	struct build *b, const char *name, uint64_t unit, const struct prop *p, size_t n)
{
	char full[NODE_NAME_MAX];

	if (unit != NO_UNIT)
		snprintf(full, sizeof(full), "%s@%lx", name, unit);
	note(b, fdt_begin_node(b->fdt, unit == NO_UNIT ? name : full));
	put_all(b, p, n);
}

static void node_end(struct build *b)
{
	note(b, fdt_end_node(b->fdt));
}

static void put_isa(struct build *b, struct isa isa)
{
	char list[ISA_TEXT_SIZE], string[ISA_TEXT_SIZE];

	isa.exts &= isa_guest_exts;
	put_all(b, PROPS(TEXT("riscv,isa-base", "rv64i"),
			   BYTES("riscv,isa-extensions", list, isa_write(&isa, true, list)),
			   BYTES("riscv,isa", string, isa_write(&isa, false, string))));
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
	const struct vm *vm = b->t->vm;
	fdt32_t contexts[VM_MAX_VCPUS][4];

	for (unsigned i = 0; i < vm->nvcpus; i++) {
		contexts[i][0] = contexts[i][2] = cpu_to_fdt32(b->plic + 1 + i);
		contexts[i][1] = cpu_to_fdt32(NO_IRQ);
		contexts[i][3] = cpu_to_fdt32(IRQ_S_EXT);
	}
	node_begin(b, "interrupt-controller", vm->plic_base.v,
		PROPS(REG(vm->plic_base.v, VPLIC_SIZE), FLAG("interrupt-controller"),
			CELL("#interrupt-cells", 1), CELL("#address-cells", 0),
			CELL("riscv,ndev", vm->plic.ndev), CELL("phandle", b->plic),
			BYTES("compatible", compatible, sizeof(compatible)),
			BYTES("interrupts-extended", contexts, vm->nvcpus * sizeof(contexts[0]))));
	node_end(b);
}

static void put_uart(struct build *b)
{
	gpa_t base = b->t->vm->uart_base;
	uint32_t irq = b->t->vm->uart_irq;

	if (!base.v)
		return;
	node_begin(b, "serial", base.v,
		PROPS(TEXT("compatible", "ns16550a"), REG(base.v, UART_SIZE),
			CELL("clock-frequency", UART_CLOCK)));
	if (irq)
		put_all(b, PROPS(CELL("interrupts", irq)));
	node_end(b);
}

/* Its interrupt is a pulse, and the PLIC's one cell says nothing of that: a pulse is pending until
 * claimed. */
static void put_vmgenid(struct build *b)
{
	const struct vm *vm = b->t->vm;

	node_begin(b, "rng", vm->vmgenid.v,
		PROPS(TEXT("compatible", "microsoft,vmgenid"), REG(vm->vmgenid.v, PAGE_SIZE),
			CELL("interrupts", vm->vmgenid_irq)));
	node_end(b);
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
	node_begin(b, fdt_get_name(host, d->node, NULL), NO_UNIT,
		PROPS(BYTES("reg", reg, d->nregs * sizeof(reg[0]))));
	fdt_for_each_property_offset(property, host, d->node)
	{
		const char *name;
		const void *value = fdt_getprop_by_offset(host, property, &name, &len);

		if (value && fdt_stringlist_contains(copied, sizeof(copied) - 1, name))
			put_all(b, PROPS(BYTES(name, value, (size_t)len)));
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
	put_uart(b);
	put_vmgenid(b);
	for (unsigned i = 0; i < t->machine->ndevices; i++)
		if (t->devices & BIT(i))
			put_device(b, &t->machine->devices[i]);
	node_end(b);
}

static void put_chosen(struct build *b)
{
	const struct guest_tree *t = b->t;
	char console[NODE_NAME_MAX];
	uint8_t seed[32];

	snprintf(console, sizeof(console), "/soc/serial@%lx", t->vm->uart_base.v);
	if (t->vm->uart_base.v) {
		node_begin(b, "aliases", NO_UNIT, PROPS(TEXT("serial0", console)));
		node_end(b);
	}
	rng_bytes(seed, sizeof(seed));
	node_begin(b, "chosen", NO_UNIT,
		PROPS(TEXT("bootargs", t->bootargs), BYTES("rng-seed", seed, sizeof(seed))));
	if (t->vm->uart_base.v)
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
	const struct vm *vm = b->t->vm;

	node_end(b);
	node_begin(b, "memory", vm->ram_base.v,
		PROPS(TEXT("device_type", "memory"), REG(vm->ram_base.v, vm->ram_size)));
	node_end(b);
	put_soc(b);
	node_begin(b, "hypervisor", NO_UNIT,
		PROPS(TEXT("compatible", "diosix,hypervisor"),
			CELL("diosix,abi-version", DX_ABI_VERSION),
			CELL("interrupt-parent", b->plic), CELL("interrupts", vm->event_irq)));
	node_end(b);
	node_end(b);
	note(b, fdt_finish(b->fdt));
}

enum err fdt_guest_part(
	const struct guest_tree *t, void *buf, size_t size, uint64_t *part, size_t *used)
{
	struct build b = {.t = t, .fdt = buf, .plic = MAX(t->machine->plic.phandle, 1u)};
	unsigned cpu = (unsigned)*part * CPUS_IN_PART, end = MIN(cpu + CPUS_IN_PART, t->vm->nvcpus);
	bool last = cpu >= t->vm->nvcpus;

	*used = 0;
	if (cpu == 0) {
		/* Otherwise each name is searched for among all the earlier ones. */
		if (fdt_create_with_flags(buf, (int)MIN(size, (size_t)INT32_MAX),
			    FDT_CREATE_FLAG_NO_NAME_DEDUP) != 0)
			return E_NOMEM;
		put_head(&b);
	}
	for (; cpu < end; cpu++)
		put_cpu(&b, cpu);
	if (last)
		put_rest(&b);
	if (b.rc != 0)
		return E_NOMEM;
	*used = last ? fdt_totalsize(buf) : 0;
	*part += 1;
	return OK;
}
