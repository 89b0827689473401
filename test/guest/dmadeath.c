/* SPDX-License-Identifier: MIT */
/*
 * If this fails: a device writes into memory whose owner has lost it. The disk holds reads back (a
 * page takes an hour); a VM with several under way is killed, ends, is rebooted, unmaps the disk or
 * drops its trust. From then on its pages are others', or its own for other things. Whoever resets
 * the disk next makes it finish what it has still: that must be nothing.
 */
#include "guest.h"

#define HELD   8ul /* pages that the disk is to write */
#define FAR    (1ul << 40)
#define FILLER 0x5a5a5a5a5a5a5a5aul

static const struct device *disk;
static uint8_t ring[PAGE] __attribute__((aligned(PAGE)));
static uint8_t pages[HELD][PAGE] __attribute__((aligned(PAGE)));

/* What a holder tells its parent. */
static struct report {
	uint64_t done; /* requests served */
	uint64_t hpas[HELD + 1];
} report __attribute__((aligned(256)));

enum way { KILL, EXIT, CRASH, PARENT, REBOOT, UNMAP, DROP, WAYS };

static void fill(uint64_t *page)
{
	for (unsigned i = 0; i < PAGE / 8; i++)
		page[i] = FILLER;
}

static uint64_t bad_words(const uint64_t *page)
{
	uint64_t bad = 0;

	for (unsigned i = 0; i < PAGE / 8; i++)
		bad += ((const volatile uint64_t *)page)[i] != FILLER;
	return bad;
}

/* --- the holder --- */

/* Requests that the emulator cannot make one of: not of neighbouring sectors. When the last, which
 * it does not hold back, is done, all have been taken. */
static void start_requests(void)
{
	static struct blk b;

	device_take(disk);
	blk_open(&b, disk->base, ring);
	for (unsigned i = 0; i < HELD; i++) {
		report.hpas[i] = dx_pin(pages[i]);
		blk_prepare(&b, 2 * i * PAGE, report.hpas[i], PAGE);
	}
	blk_prepare_id(&b);
	report.hpas[HELD] = b.ring_hpa;
	blk_start(&b);
	while (!blk_done(&b))
		dx_rest(0);
	report.done = blk_done(&b);
}

static void tell(void)
{
	say_bytes((const char *)&report, sizeof(report));
}

static void await_input(void)
{
	static char c;

	while (!sbi(EID_DBCN, 1, 1, (uintptr_t)&c, 0, 0, 0).value)
		dx_rest(0);
}

/* Its pages are its own for other things; when its parent has reset the disk, they are as they
 * were. */
static _Noreturn void use_again(void)
{
	uint64_t bad = 0;

	for (unsigned i = 0; i < HELD; i++)
		fill((uint64_t *)pages[i]);
	fill((uint64_t *)ring);
	tell();
	await_input();
	for (unsigned i = 0; i < HELD; i++)
		bad += bad_words((uint64_t *)pages[i]);
	dx_exit(bad + bad_words((uint64_t *)ring));
}

static void hold(uint64_t way)
{
	memset(pages, 0x77, sizeof(pages));
	start_requests();
	if (way == UNMAP)
		dx(DX_FID_MMIO_UNMAP, disk->base, PAGE, 0);
	if (way == DROP)
		dx(DX_FID_DROP_TRUST, 0, 0, 0);
	if (way == UNMAP || way == DROP)
		use_again();
	tell();
	await_input();
	if (way == CRASH)
		sbi(EID_SRST, 0, 0, 1, 0, 0, 0);
	if (way == EXIT)
		dx_exit(0);
	for (;;)
		__asm__ volatile("wfi");
}

/* Passes on what its child tells, and dies with it. */
static void hold_below(uint64_t way)
{
	(void)way;
	uint64_t child = dx_spawn(hold, KILL);

	while (!dx(DX_FID_CONSOLE_READ, child, (uintptr_t)&report, sizeof(report)).value)
		dx_rest(0);
	tell();
	for (;;)
		__asm__ volatile("wfi");
}

/* --- its parent --- */

static void await_report(uint64_t child)
{
	struct sbiret r;

	memset(&report, 0, sizeof(report));
	while (!(r = dx(DX_FID_CONSOLE_READ, child, (uintptr_t)&report, sizeof(report))).value)
		dx_rest(0);
	if (r.value != sizeof(report) || !report.done)
		broken("the holder's report: bytes, requests", r.value, report.done, 0);
	check_eq("the disk holds requests back", report.done, 1);
}

static void send_input(uint64_t child)
{
	static const char c = 'x';

	dx(DX_FID_CONSOLE_WRITE, child, (uintptr_t)&c, 1);
}

/* Whatever the disk has still to do, it does now. */
static void reset_disk(uint64_t way)
{
	struct sbiret r;

	while ((r = dx(DX_FID_MMIO_MAP, disk->base, PAGE, FAR)).error == DX_ERR_EXISTS)
		dx_rest(0);
	check_eq_at("the disk is free, by way", way, (uint64_t)r.error, SBI_SUCCESS);
	check_eq_at("its status, by way", way, get32(FAR + VIRTIO_STATUS), 0);
	put32(FAR + VIRTIO_STATUS, 0);
	dx(DX_FID_MMIO_UNMAP, FAR, PAGE, 0);
}

static bool was_held(uint64_t hpa)
{
	for (unsigned i = 0; i <= HELD; i++)
		if (report.hpas[i] == hpa)
			return true;
	return false;
}

/* The first page of memory that this VM has never touched, and what it has taken of it. */
static uint64_t fresh, fresh_end;

/* Fills new pages until all that the holder had are among them. */
static unsigned take_frames(void)
{
	unsigned found = 0;

	fresh = fresh_end = m.ram_base + MIB(16);
	for (; found <= HELD && fresh_end < m.ram_base + MIB(48); fresh_end += PAGE) {
		fill((uint64_t *)fresh_end);
		found += was_held(dx_pin((void *)fresh_end));
	}
	return found;
}

static void end_holder(uint64_t child, uint64_t way)
{
	if (way == KILL || way == PARENT)
		dx(DX_FID_KILL, child, 0, 0);
	else
		send_input(child);
	dx_await(child, DX_GONE);
}

/* The holder dies, and its parent has its frames. */
static void inherit(uint64_t way)
{
	uint64_t child = dx_spawn(way == PARENT ? hold_below : hold, way), bad = 0;

	checks_begin();
	await_report(child);
	end_holder(child, way);
	check_eq("the frames are used again", take_frames(), HELD + 1);
	reset_disk(way);
	for (uint64_t a = fresh; a < fresh_end; a += PAGE)
		bad += bad_words((const uint64_t *)a);
	check_eq_at("nothing writes into them, by way", way, bad, 0);
	dx_end(child);
	dx_exit(checks_end());
}

/* The holder lives on, with its frames, but without the disk. */
static void outlive(uint64_t way)
{
	uint64_t child = dx_spawn(hold, way);

	checks_begin();
	await_report(child);
	reset_disk(way);
	send_input(child);
	dx_end_is("nothing writes into them", child, 0);
	dx_exit(checks_end());
}

/* A rebooted child's memory is its parent's to load. */
static void reload(uint64_t way)
{
	uint64_t child = dx_spawn(hold, way), bad = 0, at = FAR + MIB(2);
	struct sbiret r;

	checks_begin();
	await_report(child);
	check_err("reboot", dx(DX_FID_REBOOT, child, 0, 0), SBI_SUCCESS);
	r = sbi(EID_DIOSIX, DX_FID_WINDOW_MAP, child, (uintptr_t)pages, at, HELD * PAGE,
		DX_READ | DX_WRITE);
	check_eq("a window", r.value, HELD * PAGE);
	for (unsigned i = 0; i < HELD; i++)
		fill((uint64_t *)(at + i * PAGE));
	reset_disk(way);
	for (unsigned i = 0; i < HELD; i++)
		bad += bad_words((const uint64_t *)(at + i * PAGE));
	check_eq("nothing writes into them", bad, 0);
	dx_exit(checks_end());
}

/* Each in a VM of its own, whose memory nobody has touched. */
static void run(void (*fn)(uint64_t), uint64_t way)
{
	struct dx_end e = dx_end(dx_spawn(fn, way));

	check_eq_at("an arena comes to its end, by way", way, e.reason, DX_REASON_EXIT);
	checks_add(e.code);
}

static void test_all(void)
{
	static void (*const fns[WAYS])(uint64_t) = {
		inherit, inherit, inherit, inherit, reload, outlive, outlive};

	for (uint64_t way = 0; way < WAYS; way++)
		run(fns[way], way);
}

void guest_main(void)
{
	disk = blk_find();
	device_release(disk);
	test_all();
	uint64_t before = dx_pages();

	test_all();
	check_eq("not one page lost", dx_pages(), before);
}
