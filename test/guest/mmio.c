/* SPDX-License-Identifier: MIT */
/*
 * If this fails: two VMs have one device, a VM gets at what is the hypervisor's own, a device is
 * lost when its holder unmaps it or ends, or a call that fails leaves something behind.
 */
#include "family.h"

#define FAR     (1ul << 40) /* a GPA where nothing else is */
#define GPA_END (1ul << 41)

/* QEMU's virt: what the hypervisor keeps to itself, or passes on to nobody. */
static const struct {
	const char *name;
	uint64_t at;
} kept[] = {
	{"the finisher", 0x100000},
	{"the CLINT", 0x2000000},
	{"the CLINT's timers", 0x2004000},
	{"the CLINT's mtime", 0x200b000},
	{"the PLIC", 0xc000000},
	{"the PLIC's enables", 0xc002000},
	{"the PLIC's contexts", 0xc200000},
	{"the UART", 0x10000000},
	{"fw_cfg", 0x10100000},
	{"the flash", 0x20000000},
	{"the boot ROM", 0x1000},
	{"the hypervisor", 0x80000000},
	{"RAM", 0x88000000},
	{"nowhere", 0x60000000000},
	{"the end of the addresses", ~0xffful},
};

/* The PCI host's windows: it is held until these are unmapped, too. */
static const uint64_t windows[][2] = {
	{0x3000000, 0x10000}, {0x40000000, 0x40000000}, {0x400000000, 0x400000000}};

static const struct device *disk, *other;

static struct sbiret map(uint64_t hpa, uint64_t size, uint64_t gpa)
{
	return dx(DX_FID_MMIO_MAP, hpa, size, gpa);
}

static struct sbiret unmap(uint64_t gpa, uint64_t size)
{
	return dx(DX_FID_MMIO_UNMAP, gpa, size, 0);
}

static void nothing_at(const char *name, uint64_t at)
{
	check_eq_at(name, at, outcome(try_load(at, 4)), TRAP(LOAD_ACCESS));
	check_eq_at(name, at, outcome(try_store(at, 4, 0)), TRAP(STORE_ACCESS));
}

static void device_at(const char *name, uint64_t at)
{
	uint64_t v = 0;

	check_eq_at(name, at, outcome(try_load_value(at, 4, &v)), NO_TRAP);
	check_eq_at(name, at, v, MAGIC);
}

/* --- errors --- */

static void test_params(void)
{
	uint64_t d = disk->base;

	check_err("map: HPA not aligned", map(d + 8, PAGE, FAR), SBI_INVALID_PARAM);
	check_err("map: size not aligned", map(d, PAGE / 2, FAR), SBI_INVALID_PARAM);
	check_err("map: GPA not aligned", map(d, PAGE, FAR + 1), SBI_INVALID_PARAM);
	check_err("map: no bytes", map(d, 0, FAR), SBI_INVALID_PARAM);
	check_err("map: above the GPAs", map(d, PAGE, GPA_END), SBI_INVALID_PARAM);
	check_err("map: out of the GPAs", map(d, 2 * PAGE, GPA_END - PAGE), SBI_INVALID_PARAM);
	check_err("map: GPA wraps", map(d, PAGE, -PAGE), SBI_INVALID_PARAM);
	check_err("map: all there is", map(d, -PAGE, PAGE), SBI_INVALID_PARAM);
	check_err("unmap: not aligned", unmap(FAR + 8, PAGE), SBI_INVALID_PARAM);
	check_err("unmap: size not aligned", unmap(FAR, 8), SBI_INVALID_PARAM);
	check_err("unmap: no bytes", unmap(FAR, 0), SBI_INVALID_PARAM);
	check_err("unmap: above the GPAs", unmap(GPA_END, PAGE), SBI_INVALID_PARAM);
	check_err("unmap: out of the GPAs", unmap(GPA_END - PAGE, 2 * PAGE), SBI_INVALID_PARAM);
	check_err("unmap: wraps", unmap(-PAGE, 2 * PAGE), SBI_INVALID_PARAM);
}

static void test_places(void)
{
	uint64_t ram = m.ram_base, end = ram + m.ram_size, genid = vmgenid_place();

	check_err("map: over RAM", map(disk->base, PAGE, ram), SBI_INVALID_PARAM);
	check_err("map: over the end of RAM", map(disk->base, PAGE, end - PAGE), SBI_INVALID_PARAM);
	check_err("map: from below into RAM", map(m.pci, MIB(4), ram - MIB(2)), SBI_INVALID_PARAM);
	check_err("map: over the generation ID", map(disk->base, PAGE, genid), DX_ERR_EXISTS);
	nothing_at("after refused maps", FAR);
	check_err("unmap: nothing there", unmap(FAR, PAGE), DX_ERR_NOENT);
	check_err("unmap: RAM", unmap(ram, PAGE), DX_ERR_NOENT);
	check_err("unmap: the generation ID", unmap(genid, PAGE), DX_ERR_NOENT);
	check_eq("the generation ID stays", outcome(try_load(genid, 8)), NO_TRAP);
	check_err("unmap: the PLIC", unmap(m.plic, PAGE), DX_ERR_NOENT);
	check_err("unmap: the UART", unmap(m.uart & -PAGE, PAGE), DX_ERR_NOENT);
}

static void test_kept(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(kept); i++)
		check_err(kept[i].name, map(kept[i].at, PAGE, FAR), DX_ERR_NOENT);
	check_err("two devices at a time", map(disk->base - PAGE, 2 * PAGE, FAR), DX_ERR_NOENT);
	check_err(
		"a device and what is behind it", map(m.pci, m.pci_size + PAGE, FAR), DX_ERR_NOENT);
	check_err("a size that wraps", map(m.pci, GPA_END - PAGE, PAGE), SBI_INVALID_PARAM);
	nothing_at("after refused maps", FAR);
}

/* --- mapping --- */

static void test_map(void)
{
	uint64_t before = dx_pages();

	check_err("map", map(disk->base, PAGE, FAR), SBI_SUCCESS);
	device_at("the device", FAR);
	check("its tables are charged", dx_pages() > before);
	nothing_at("before it", FAR - PAGE);
	nothing_at("behind it", FAR + PAGE);
	check_eq("it is not executed", outcome(try_exec(FAR)), TRAP(INSN_ACCESS));
	check_err("map: a device is there", map(disk->base, PAGE, FAR), DX_ERR_EXISTS);
	check_err("map: another is there", map(other->base, PAGE, FAR), DX_ERR_EXISTS);
	check_err("map: a second place", map(disk->base, PAGE, FAR + MIB(2)), SBI_SUCCESS);
	put32(FAR + VIRTIO_STATUS, 1);
	check_eq("both are the device", get32(FAR + MIB(2) + VIRTIO_STATUS), 1);
	check_err("unmap one", unmap(FAR, PAGE), SBI_SUCCESS);
	nothing_at("unmapped", FAR);
	check_eq("it is held, so not reset", get32(FAR + MIB(2) + VIRTIO_STATUS), 1);
	check_err("unmap: again", unmap(FAR, PAGE), DX_ERR_NOENT);
	check_err("unmap the rest", unmap(FAR - MIB(2), MIB(8)), SBI_SUCCESS);
	nothing_at("unmapped", FAR + MIB(2));
	check_err("map", map(disk->base, PAGE, FAR), SBI_SUCCESS);
	check_eq("it was reset", get32(FAR + VIRTIO_STATUS), 0);
	check_err("unmap", unmap(FAR, PAGE), SBI_SUCCESS);
}

/* By leaves: of one that is cut nothing is unmapped by halves. */
static void test_large(void)
{
	uint64_t size = m.pci_size, id;

	check_err("map: large leaves", map(m.pci, size, FAR), SBI_SUCCESS);
	id = get32(FAR);
	check("it answers", id != 0 && id != ~0u);
	check_eq("its end", outcome(try_load(FAR + size - 4, 4)), NO_TRAP);
	nothing_at("behind it", FAR + size);
	check_err("map: into it", map(disk->base, PAGE, FAR + size / 2), DX_ERR_EXISTS);
	struct sbiret r = map(m.pci, MIB(4), FAR - MIB(2));

	check_err("map: ends in it", r, SBI_SUCCESS);
	check_eq("map: as far as it can", r.value, MIB(2));
	check_eq("what was mapped", get32(FAR - MIB(2)), id);
	check_err("unmap", unmap(FAR - MIB(2), MIB(2)), SBI_SUCCESS);
	check_err("unmap", unmap(FAR, size), SBI_SUCCESS);
	nothing_at("unmapped", FAR);
	nothing_at("unmapped", FAR + size - PAGE);
	check_err("map: small leaves", map(m.pci, MIB(4), FAR + PAGE), SBI_SUCCESS);
	check_eq("its begin", get32(FAR + PAGE), id);
	check_err("unmap its middle", unmap(FAR + MIB(1), MIB(1)), SBI_SUCCESS);
	nothing_at("the middle", FAR + MIB(1));
	nothing_at("the middle's end", FAR + MIB(2) - PAGE);
	check_eq("what is left", get32(FAR + PAGE), id);
	check_eq("what is left", outcome(try_load(FAR + MIB(2), 4)), NO_TRAP);
	check_err("unmap", unmap(FAR, MIB(8)), SBI_SUCCESS);
}

/* --- limits --- */

static struct sbiret set_limit(uint64_t vm, uint64_t pages)
{
	return dx(DX_FID_QUOTA_SET, vm, DX_LIMIT_PAGES, pages);
}

/* A VM that may have `arg` pages more than it has. Says what it came to: tables, at most three for
 * the first page, then one for each 2 MiB. */
static void map_with(uint64_t arg)
{
	struct sbiret r = map(disk->base, PAGE, FAR);

	if (r.error)
		dx_exit((uint64_t)-r.error);
	unmap(FAR, PAGE);
	set_limit(DX_SELF, dx_pages() + arg);
	r = map(m.pci, MIB(64), FAR + PAGE);
	/* What it tells is there, and no more. */
	if (r.error || try_load(FAR + r.value, 4).taken || !try_load(FAR + PAGE + r.value, 4).taken)
		dx_exit(0);
	dx_exit(r.value);
}

static void map_limited(uint64_t arg)
{
	(void)arg;
	set_limit(DX_SELF, dx_pages());
	map_with(0);
}

static void test_limits(void)
{
	dx_end_is("map: its own limit", dx_spawn(map_limited, 0), (uint64_t)-DX_ERR_OWN_LIMIT);
	dx_end_is("map: its own limit, half-way", dx_spawn(map_with, 2), MIB(6) - PAGE);
	check_err("what was not mapped is free", map(disk->base, PAGE, FAR), SBI_SUCCESS);
	check_err("what was not mapped is free", map(m.pci, MIB(2), FAR + MIB(2)), SBI_SUCCESS);
	check_err("unmap", unmap(FAR, MIB(4)), SBI_SUCCESS);
}

/* The limit is the caller's, that of the child is none. */
static void map_above(uint64_t arg)
{
	(void)arg;
	dx_exit((uint64_t)-map(disk->base, PAGE, FAR + (1ul << 39)).error);
}

static void limit_child(uint64_t arg)
{
	struct dx_fork *f = dx_fork_options(DX_PAUSED);

	f->limit[DX_LIMIT_GUARANTEE] = 0;
	struct sbiret r = dx_fork_try(f);

	if (r.error == 0 && r.value == 0)
		map_above(arg);
	dx(DX_FID_QUOTA_SET, DX_SELF, DX_LIMIT_RESERVE, 0);
	set_limit(DX_SELF, dx_pages());
	dx(DX_FID_RESUME, r.value, 0, 0);
	dx_await(r.value, DX_GONE);
	dx_exit(dx_info(r.value)->code);
}

static void test_above(void)
{
	dx_end_is("map: a limit above", dx_spawn(limit_child, 0), (uint64_t)-DX_ERR_ABOVE);
}

/* --- one at a time --- */

static void try_held(uint64_t arg)
{
	(void)arg;
	checks_begin();
	check_err("another VM has it", map(disk->base, PAGE, FAR), DX_ERR_EXISTS);
	check_err("another VM has it, at its place", map(disk->base, PAGE, disk->base),
		DX_ERR_EXISTS);
	check_err("another VM has a part of it", map(m.pci + MIB(2), PAGE, FAR), DX_ERR_EXISTS);
	check_err("this one is free", map(other->base, PAGE, FAR), SBI_SUCCESS);
	dx_exit(checks_end());
}

static void test_exclusive(void)
{
	check_err("map", map(disk->base, PAGE, FAR), SBI_SUCCESS);
	check_err("map a part", map(m.pci, PAGE, FAR + PAGE), SBI_SUCCESS);
	checks_add(dx_end(dx_spawn(try_held, 0)).code);
	check_err("what a child had is free", map(other->base, PAGE, FAR + 2 * PAGE), SBI_SUCCESS);
	device_at("the device stays", FAR);
	check_err("unmap all", unmap(FAR, 3 * PAGE), SBI_SUCCESS);
}

/* Maps, tells, and goes on in the way that `arg` says. */
enum way { EXIT, KILL, REBOOT, UNMAP, DROP, LAST_HART, WAYS };

static void hold(uint64_t way)
{
	device_take(disk);
	put32(disk->base + VIRTIO_STATUS, 1);
	say("%s", "held");
	if (way == EXIT)
		dx_exit(0);
	if (way == UNMAP)
		unmap(disk->base, PAGE);
	if (way == DROP)
		dx(DX_FID_DROP_TRUST, 0, 0, 0);
	if (way == LAST_HART)
		sbi(EID_HSM, 1, 0, 0, 0, 0, 0);
	for (;;)
		__asm__ volatile("wfi");
}

static void await_word(uint64_t child)
{
	static char word[16] __attribute__((aligned(16)));

	while (!dx(DX_FID_CONSOLE_READ, child, (uintptr_t)word, sizeof(word)).value)
		dx_rest(0);
}

/* Until the device is free: for what the child does itself, when it does it. */
static void take_from(uint64_t way)
{
	uint64_t child = dx_spawn(hold, way);
	struct sbiret r;

	await_word(child);
	if (way == KILL)
		check_err("kill", dx(DX_FID_KILL, child, 0, 0), SBI_SUCCESS);
	else if (way == REBOOT)
		check_err("reboot", dx(DX_FID_REBOOT, child, 0, 0), SBI_SUCCESS);
	while ((r = map(disk->base, PAGE, FAR)).error == DX_ERR_EXISTS && way != REBOOT)
		dx_rest(0);
	check_eq_at("free after its holder's end, by way", way, (uint64_t)r.error, SBI_SUCCESS);
	device_at("the device", FAR);
	check_eq_at("its status, by way", way, get32(FAR + VIRTIO_STATUS), 0);
	unmap(FAR, PAGE);
	dx(DX_FID_KILL, child, 0, 0);
	dx_end(child);
}

/* --- all --- */

static void test_all(void)
{
	test_params();
	test_places();
	test_kept();
	test_map();
	test_large();
	test_limits();
	test_above();
	test_exclusive();
	for (uint64_t way = 0; way < WAYS; way++)
		take_from(way);
}

/* The Root VM had all from the start, where the machine has them. */
static void test_root(void)
{
	for (unsigned i = 0; i < m.nvirtio; i++) {
		device_at("the Root VM's device", m.virtio[i].base);
		check_err("is where it is", map(m.virtio[i].base, PAGE, m.virtio[i].base),
			DX_ERR_EXISTS);
	}
	device_release(disk);
	device_release(other);
	check_err("the PCI host", unmap(m.pci, m.pci_size), SBI_SUCCESS);
	for (unsigned i = 0; i < ARRAY_SIZE(windows); i++)
		check_err("a PCI window", unmap(windows[i][0], windows[i][1]), SBI_SUCCESS);
	nothing_at("a released device", disk->base);
	nothing_at("the released PCI host", m.pci);
	device_at("the other devices stay", m.virtio[m.nvirtio - 1 - (disk > other)].base);
}

void guest_main(void)
{
	disk = blk_find();
	other = &m.virtio[disk == &m.virtio[0]];
	test_root();
	dx_run(test_all);
	uint64_t before = dx_pages();

	dx_run(test_all);
	check_eq("not one page lost", dx_pages(), before);
}
