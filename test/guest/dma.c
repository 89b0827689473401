/* SPDX-License-Identifier: MIT */
/*
 * If this fails: DMA_PIN tells the wrong place, a pinned page moves or becomes shared, or a device
 * writes anywhere but where its driver meant.
 */
#include "family.h"

#define PAGES 16
#define FAR   (1ul << 40)

static const struct device *disk;
static uint8_t ring[PAGE] __attribute__((aligned(PAGE)));
static uint8_t pages[PAGES][PAGE] __attribute__((aligned(PAGE)));

static struct sbiret pin(uint64_t at)
{
	return dx(DX_FID_DMA_PIN, at, 0, 0);
}

/* --- errors --- */

static void test_errors(void)
{
	uint64_t end = m.ram_base + m.ram_size;

	check_err("pin: not aligned", pin((uintptr_t)pages + 8), SBI_INVALID_PARAM);
	check_err("pin: not aligned, nowhere", pin(~0ul), SBI_INVALID_PARAM);
	check_err("pin: below RAM", pin(m.ram_base - PAGE), SBI_INVALID_ADDRESS);
	check_err("pin: behind RAM", pin(end), SBI_INVALID_ADDRESS);
	check_err("pin: nowhere", pin(FAR), SBI_INVALID_ADDRESS);
	check_err("pin: beyond the addresses", pin(1ul << 41), SBI_INVALID_ADDRESS);
	check_err("pin: the last page there is", pin(-PAGE), SBI_INVALID_ADDRESS);
	check_err("pin: the PLIC", pin(m.plic), SBI_INVALID_ADDRESS);
	check_err("pin: the UART", pin(m.uart & -PAGE), SBI_INVALID_ADDRESS);
	check_err("pin: the generation ID", pin(vmgenid_place()), SBI_INVALID_ADDRESS);
	device_take(disk);
	check_err("pin: a device", pin(disk->base), SBI_INVALID_ADDRESS);
	device_release(disk);
	check_err("pin: the last page of RAM", pin(end - PAGE), SBI_SUCCESS);
}

static void idle(uint64_t arg)
{
	(void)arg;
	for (;;)
		__asm__ volatile("wfi");
}

static void test_window(void)
{
	uint64_t child = dx_spawn(idle, 0);
	struct sbiret r = sbi(EID_DIOSIX, DX_FID_WINDOW_MAP, child, (uintptr_t)pages, FAR, PAGE,
		DX_READ | DX_WRITE);

	check_err("a window", r, SBI_SUCCESS);
	check_err("pin: a window", pin(FAR), SBI_INVALID_ADDRESS);
	dx(DX_FID_WINDOW_UNMAP, FAR, PAGE, 0);
	dx(DX_FID_KILL, child, 0, 0);
	dx_end(child);
}

static void without_trust(uint64_t arg)
{
	(void)arg;
	dx(DX_FID_DROP_TRUST, 0, 0, 0);
	checks_begin();
	check_err("pin: no trust", pin((uintptr_t)pages), SBI_DENIED);
	check_err("pin: no trust, no RAM", pin(FAR), SBI_DENIED);
	check_err("pin: no trust, not aligned", pin(1), SBI_INVALID_PARAM);
	dx_exit(checks_end());
}

/* A page of a limit's own memory that nobody has touched. */
static void pin_fresh(uint64_t arg)
{
	uint64_t at = m.ram_base + m.ram_size / 2, before = dx_pages();

	(void)arg;
	checks_begin();
	check_err("pin: a page not touched yet", pin(at), SBI_SUCCESS);
	check("it is charged", dx_pages() > before);
	check_eq("it is zeros", *(volatile uint64_t *)at, 0);
	check_eq("it stays where it is", pin(at).value, pin(at).value);
	dx_exit(checks_end());
}

/* --- forks --- */

static void fill(uint8_t value)
{
	for (unsigned i = 0; i < PAGES; i++)
		memset(pages[i], value + (int)i, PAGE);
}

static bool filled(uint8_t value)
{
	for (unsigned i = 0; i < PAGES; i++)
		for (unsigned j = 0; j < PAGE; j++)
			if (pages[i][j] != (uint8_t)(value + i))
				return false;
	return true;
}

static uint64_t hpas[PAGES];

static void pin_all(void)
{
	for (unsigned i = 0; i < PAGES; i++)
		hpas[i] = dx_pin(pages[i]);
}

static unsigned moved(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < PAGES; i++)
		n += dx_pin(pages[i]) != hpas[i];
	return n;
}

/* What its parent has pinned is elsewhere in the child. */
static void forked_anyhow(uint64_t arg)
{
	checks_begin();
	check("the child has what was there", filled((uint8_t)arg));
	fill((uint8_t)(arg + 50));
	check_eq("its pages are elsewhere", moved(), PAGES);
	dx_exit(checks_end());
}

/* And a copy of the child's own. */
static void forked(uint64_t arg)
{
	uint64_t copies = dx_info(DX_SELF)->copies;
	bool good = filled((uint8_t)arg);

	fill((uint8_t)arg);
	if (!good || dx_info(DX_SELF)->copies - copies >= PAGES)
		dx_exit(1ul << 32 | 1); /* one check, failed */
	forked_anyhow(arg);
}

/* The parent's first writes after a fork copy nothing. */
static void test_fork(void)
{
	fill(10);
	pin_all();
	check_eq("no two are the same", hpas[0] != hpas[1], 1);
	for (unsigned i = 0; i < 3; i++) {
		uint64_t child = dx_spawn(forked, 10 + i), copies = dx_info(DX_SELF)->copies;

		fill((uint8_t)(11 + i));
		check("pinned pages are not shared", dx_info(DX_SELF)->copies - copies < PAGES);
		check_eq("nor do they move", moved(), 0);
		checks_add(dx_end(child).code);
		check("nor does a child write there", filled((uint8_t)(11 + i)));
	}
}

/* Shared with its parent when it is pinned: then it is the child's own first. */
static void pin_shared(uint64_t arg)
{
	checks_begin();
	check_eq("a shared page is copied to be pinned", moved(), PAGES);
	pin_all();
	check("what is in it", filled((uint8_t)arg));
	test_fork();
	dx_exit(checks_end());
}

/* Trusted, and nothing pinned: all is shared. What the pages' places were is not known. */
static void share(uint64_t arg)
{
	(void)arg;
	fill(30);
	struct dx_end e = dx_end(dx_spawn(pin_shared, 30));

	dx_exit(e.reason == DX_REASON_EXIT ? e.code : 1ul << 32 | 1);
}

static void test_template(void)
{
	fill(70);
	pin_all();
	uint64_t t = dx_fork_try(dx_fork_options(DX_PAUSED)).value;

	if (t == 0)
		forked_anyhow(70);
	for (unsigned i = 0; i < 2; i++) {
		struct dx_fork *f = dx_fork_options(DX_TRUST);
		struct sbiret r = dx(DX_FID_CLONE, t, (uintptr_t)f, 0);

		checks_add(dx_end(r.value).code);
	}
	dx(DX_FID_KILL, t, 0, 0);
	dx_end(t);
	check_eq("a template and its clones are elsewhere", moved(), 0);
}

/* --- the device --- */

static void test_disk(void)
{
	struct blk b;

	device_take(disk);
	blk_open(&b, disk->base, ring);
	memset(pages, 0xee, sizeof(pages));
	pin_all();
	for (unsigned i = 0; i < PAGES; i += 2)
		blk_read(&b, i * PAGE, hpas[i], PAGE);
	for (unsigned i = 0; i < PAGES; i++)
		if (i % 2 == 0)
			check("the device writes there", disk_page_good(pages[i], i * PAGE));
		else
			check("and there alone", pages[i][0] == 0xee && pages[i][PAGE - 1] == 0xee);
	device_release(disk);
}

/* The device goes on writing to the parent's page while children come and go, who have what was
 * there when they were forked. */
static void compare(uint64_t at)
{
	dx_exit(disk_page_good(pages[0], at) && disk_page_good(pages[1], at + PAGE));
}

static void test_disk_and_forks(void)
{
	struct blk b;

	device_take(disk);
	blk_open(&b, disk->base, ring);
	pin_all();
	for (uint64_t at = 0; at < 32 * PAGE; at += 2 * PAGE) {
		uint64_t child;

		for (unsigned i = 0; i < 2; i++)
			blk_prepare(&b, at + i * PAGE, hpas[i], PAGE);
		blk_start(&b);
		blk_wait(&b);
		child = dx_spawn(compare, at);
		for (unsigned i = 0; i < 2; i++)
			blk_read(&b, at + (i + 2) * PAGE, hpas[i], PAGE);
		dx_end_is("a child has what was read before it", child, 1);
		check("the parent has what was read since",
			disk_page_good(pages[0], at + 2 * PAGE));
	}
	device_release(disk);
}

/* --- all --- */

static void run(void (*fn)(uint64_t), uint64_t arg)
{
	struct dx_end e = dx_end(dx_spawn(fn, arg));

	check_eq("a child comes to its end", e.reason, DX_REASON_EXIT);
	checks_add(e.code);
}

static void test_all(void)
{
	run(without_trust, 0);
	run(pin_fresh, 0);
	test_template();
	test_fork();
	test_errors();
	test_window();
	test_disk();
	test_disk_and_forks();
}

/* The Root VM's addresses are the machine's. */
static void test_root(void)
{
	for (unsigned i = 0; i < PAGES; i++)
		check_eq("GPA = HPA", pin((uintptr_t)pages[i]).value, (uintptr_t)pages[i]);
	test_disk();
	test_disk_and_forks();
}

void guest_main(void)
{
	disk = blk_find();
	device_release(disk);
	dx_run(test_all);
	uint64_t before = dx_pages();

	dx_run(test_all);
	run(share, 0);
	check_eq("not one page lost", dx_pages(), before);
	test_root();
}
