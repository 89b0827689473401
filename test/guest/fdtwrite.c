/* SPDX-License-Identifier: MIT */
/*
 * If this fails: the device tree that FDT_WRITE writes cannot be read, does not tell what the VM
 * has, tells of a device of the machine, or has a seed that another tree has had; or it is written
 * where or when it must not be.
 */
#include "family.h"
#include "refuse.h"

#define ROOM   (32 * PAGE)
#define WINDOW 0x2000000000ul

static uint8_t one[ROOM] __attribute__((aligned(PAGE)));
static uint8_t two[ROOM] __attribute__((aligned(PAGE)));

static uint64_t write_tree(uint64_t handle, void *to, uint64_t room)
{
	return value_of("FDT_WRITE", dx(DX_FID_FDT_WRITE, handle, (uintptr_t)to, room));
}

/* --- is it a tree: Devicetree Specification 0.4, chapter 5 --- */

static uint32_t word(const uint8_t *fdt, uint32_t at)
{
	return (uint32_t)fdt_number(fdt + at, 1);
}

/* Nodes begin and end, and what lies between lies within; returns what it ends with. */
static uint32_t walk_structure(const uint8_t *fdt, uint32_t from, uint32_t size, uint32_t strings)
{
	uint32_t at = from, end = from + size;
	int depth = 0;

	while (at + 4 <= end) {
		uint32_t token = word(fdt, at);

		at += 4;
		if (token == 1) {
			at += ((uint32_t)strlen((const char *)fdt + at) + 4) & ~3u;
			depth++;
		} else if (token == 2) {
			depth--;
		} else if (token == 3) {
			if (word(fdt, at + 4) >= strings)
				return 0;
			at += 8 + ((word(fdt, at) + 3) & ~3u);
		} else if (token != 4) {
			return at == end && depth == 0 ? token : 0;
		}
	}
	return 0;
}

static void check_tree(const uint8_t *fdt, uint64_t length)
{
	uint32_t structure = word(fdt, 8), strings = word(fdt, 12);
	uint32_t structure_size = word(fdt, 36), strings_size = word(fdt, 32);

	check_eq("magic", word(fdt, 0), 0xd00dfeed);
	check_eq("total size is what the call says", word(fdt, 4), length);
	check_eq("version", word(fdt, 20), 17);
	check("its structure lies in it",
		structure % 4 == 0 && structure + structure_size <= length);
	check("its strings lie in it", strings + strings_size <= length);
	check_eq("it ends where it should",
		walk_structure(fdt, structure, structure_size, strings_size), 9);
}

/* --- what it says --- */

static struct {
	uint64_t seeds, seed_at, seed_len, vmgenid, vmgenid_irq, hypervisor, hypervisor_irq,
		version, devices, initrd, intcs;
	bool is_vmgenid, is_hypervisor;
} told;

static void visit(void *ctx, unsigned depth, const char *node, const char *parent, const char *prop,
	const uint8_t *data, uint32_t len)
{
	(void)depth;
	if (!strcmp(node, "chosen") && !strcmp(prop, "rng-seed")) {
		told.seeds++;
		told.seed_at = (uint64_t)(data - (const uint8_t *)ctx);
		told.seed_len = len;
	}
	told.initrd += !memcmp(prop, "linux,initrd", 12);
	if (!memcmp(node, "rng@", 4)) {
		told.is_vmgenid |= !strcmp(prop, "compatible") &&
				   !strcmp((const char *)data, "microsoft,vmgenid");
		told.vmgenid = !strcmp(prop, "reg") ? fdt_number(data, 2) : told.vmgenid;
		told.vmgenid_irq =
			!strcmp(prop, "interrupts") ? fdt_number(data, 1) : told.vmgenid_irq;
	} else if (!strcmp(node, "hypervisor")) {
		told.is_hypervisor |= !strcmp(prop, "compatible") &&
				      !strcmp((const char *)data, "diosix,hypervisor");
		told.version =
			!strcmp(prop, "diosix,abi-version") ? fdt_number(data, 1) : told.version;
		told.hypervisor_irq =
			!strcmp(prop, "interrupts") ? fdt_number(data, 1) : told.hypervisor_irq;
	} else if (!strcmp(parent, "soc") && !strcmp(prop, "reg")) {
		told.devices +=
			memcmp(node, "serial@", 7) && memcmp(node, "interrupt-controller@", 21);
	}
	if (!strcmp(node, "interrupt-controller") && !strcmp(prop, "compatible"))
		told.intcs += !strcmp((const char *)data, "riscv,cpu-intc");
}

/* What the tree at `fdt` says, against what INFO does. */
static void check_contents(const uint8_t *fdt, const struct dx_info *info)
{
	struct machine mine = m;

	m = (struct machine){0};
	fdt_init(fdt);
	memset(&told, 0, sizeof(told));
	fdt_walk(visit, (void *)fdt);
	struct machine its = m;

	m = mine;
	check_eq("its RAM begins", its.ram_base, info->ram_base);
	check_eq("its RAM's size", its.ram_size, info->ram_size);
	check_eq("its VCPUs", its.nharts, info->vcpus);
	check_eq("an interrupt controller each", told.intcs, info->vcpus);
	check_eq("timebase", its.hz, mine.hz);
	check_eq("PLIC", its.plic, mine.plic);
	check_eq("UART", its.uart, mine.uart);
	check_eq("extensions", its.isa_len, mine.isa_len);
	check("bootargs", !strcmp(its.bootargs, "console=hvc0 panic=1"));
	check("a generation ID", told.is_vmgenid && told.vmgenid && told.vmgenid_irq);
	check("a hypervisor node", told.is_hypervisor && told.hypervisor_irq);
	check_eq("the ABI's version", told.version, DX_ABI_VERSION);
	check_eq("one seed", told.seeds, 1);
	check_eq("a seed of 32 bytes", told.seed_len, 32);
	check_eq("no device of the machine", told.devices, 0);
	check_eq("no initrd", told.initrd, 0);
}

/* Two trees are the same but for their seeds. */
static void check_seeds(uint64_t length)
{
	uint64_t at = told.seed_at, zeros = 0;

	check("another seed in each tree", memcmp(one + at, two + at, 32) != 0);
	for (unsigned i = 0; i < 32; i++)
		zeros += one[at + i] == 0;
	check("a seed is not zeros", zeros < 16);
	check("the rest is the same",
		!memcmp(one, two, at) && !memcmp(one + at + 32, two + at + 32, length - at - 32));
}

static void check_trees_of(uint64_t handle)
{
	struct dx_info info;
	uint64_t length = write_tree(handle, one, ROOM);

	check_eq("the same length again", write_tree(handle, two, ROOM), length);
	info = *dx_info(handle);
	check_tree(one, length);
	check_contents(one, &info);
	check_seeds(length);
	/* To the byte, anywhere, and nothing beyond it. */
	memset(two, 0xa5, ROOM);
	check_eq("room for it and no more", write_tree(handle, two + 3, length), length);
	check("the same again", !memcmp(one, two + 3, told.seed_at));
	check("nothing around it", two[2] == 0xa5 && two[3 + length] == 0xa5);
}

static void test_trees(void)
{
	static const uint32_t vcpus[] = {1, 2, 16};

	check_trees_of(DX_SELF);
	for (unsigned i = 0; i < ARRAY_SIZE(vcpus); i++) {
		uint64_t ram = MIB(3) + PAGE * (i + 1);
		uint64_t child = value_of("create",
			dx(DX_FID_CREATE, (uintptr_t)dx_create_options(vcpus[i], ram), 0, 0));

		check_trees_of(child);
		kill_child(child);
	}
	uint64_t child = paused_child();

	check_trees_of(child);
	kill_child(child);
}

/* --- where and when --- */

static uint64_t changed(const uint8_t *at, uint64_t n)
{
	uint64_t count = 0;

	while (n--)
		count += at[n] != 0xa5;
	return count;
}

static void test_room(void)
{
	uint64_t child = paused_child(), length = write_tree(child, one, ROOM);
	const uint64_t rooms[] = {0, 1, 40, 4095, 4096, length - 1};

	uint64_t last = m.ram_base + m.ram_size - PAGE;

	*(volatile uint8_t *)last = 1;
	memset(two, 0xa5, ROOM);
	refuse_watch(child);
	for (unsigned i = 0; i < ARRAY_SIZE(rooms); i++)
		if (rooms[i] < length)
			REFUSE("no room", SBI_INVALID_PARAM, DX_FID_FDT_WRITE, child,
				(uintptr_t)two, rooms[i]);
	REFUSE("beyond RAM", SBI_INVALID_ADDRESS, DX_FID_FDT_WRITE, child, last, 2 * PAGE);
	REFUSE("beyond RAM, nobody", SBI_INVALID_ADDRESS, DX_FID_FDT_WRITE, NOBODY, last, 2 * PAGE);
	REFUSE("beyond RAM", SBI_INVALID_ADDRESS, DX_FID_FDT_WRITE, child, last, ~0ul);
	check_eq("a refused call writes nothing", changed(two, ROOM), 0);
	/* More room than any tree needs. */
	check_eq("all of memory", write_tree(child, one, ~0ul), length);
	kill_child(child);
}

/* Through a window: into a child's own memory, as its parent does before it starts it. */
static void test_window(void)
{
	uint64_t child = value_of(
		"create", dx(DX_FID_CREATE, (uintptr_t)dx_create_options(1, MIB(1)), 0, 0));
	uint64_t size = value_of("window", sbi(EID_DIOSIX, DX_FID_WINDOW_MAP, child, 0x80000000,
						   WINDOW, 8 * PAGE, DX_READ | DX_WRITE));

	check_eq("window", size, 8 * PAGE);
	uint64_t length = write_tree(child, (void *)WINDOW, 8 * PAGE);

	check_tree((const uint8_t *)WINDOW, length);
	value_of("unmap", dx(DX_FID_WINDOW_UNMAP, WINDOW, 8 * PAGE, 0));
	kill_child(child);
}

/* The buffer is charged while it is needed: who has no page left is refused. */
static void have_little(void)
{
	checks_begin();
	memset(one, 0xa5, ROOM);
	refuse_watch(0);
	uint64_t used = dx_pages();

	value_of("limit", dx(DX_FID_QUOTA_SET, DX_SELF, DX_LIMIT_PAGES, used + 31));
	REFUSE("32 pages, and 31 are left", DX_ERR_OWN_LIMIT, DX_FID_FDT_WRITE, DX_SELF,
		(uintptr_t)one, ROOM);
	REFUSE("32 pages, nobody's", DX_ERR_OWN_LIMIT, DX_FID_FDT_WRITE, NOBODY, (uintptr_t)one,
		ROOM);
	check_eq("nothing is written", changed(one, ROOM), 0);
	check_err("16 pages", dx(DX_FID_FDT_WRITE, DX_SELF, (uintptr_t)one, ROOM / 2), SBI_SUCCESS);
	check_eq("they are given back", dx_pages(), used);
	dx_exit(checks_end());
}

static void test_charge(void)
{
	uint64_t child = dx_fork();

	if (child == 0)
		have_little();
	family_end("one that has little", child);
}

static void test_all(void)
{
	twice(test_trees);
	twice(test_room);
	twice(test_window);
	twice(test_charge);
}

void guest_main(void)
{
	test_trees(); /* the Root VM, too, is told of no device */
	dx_run(test_all);
}
