/* SPDX-License-Identifier: MIT */
/*
 * If this fails: a call of the Diosix extension takes a handle, an address or a number that it must
 * refuse, refuses it with another error than docs/abi.md says, or changes something though it
 * refuses. What each call says of its own arguments: calls_makers.c, calls_states.c,
 * calls_windows.c, calls_trust.c.
 */
#include "family.h"
#include "refuse.h"

#define WINDOW 0x2000000000ul

static uint8_t page[2][PAGE] __attribute__((aligned(PAGE)));
#define BUFFER    ((uintptr_t)page[0])
#define BUFFER_AT ~0ul /* in a table: where BUFFER comes */

/* --- handles --- */

/* A call that names a child, with all else as it should be; what it says to DX_SELF, 0 when that is
 * allowed. */
static const struct {
	uint64_t fid, a[4];
	int64_t self;
} by_handle[] = {
	{DX_FID_QUOTA_READ, {BUFFER_AT}, 0},
	{DX_FID_QUOTA_SET, {DX_LIMIT_PAGES, 1 << 20}, 0},
	{DX_FID_START, {0x80000000, 0}, DX_ERR_NOENT},
	{DX_FID_PAUSE, {0}, DX_ERR_NOENT},
	{DX_FID_RESUME, {0}, DX_ERR_NOENT},
	{DX_FID_KILL, {0}, DX_ERR_NOENT},
	{DX_FID_REBOOT, {0}, DX_ERR_NOENT},
	{DX_FID_CLONE, {0}, DX_ERR_NOENT},
	{DX_FID_INFO, {BUFFER_AT}, 0},
	{DX_FID_REAP, {0}, DX_ERR_NOENT},
	{DX_FID_WINDOW_MAP, {0x80000000, WINDOW, PAGE, DX_READ}, SBI_INVALID_PARAM},
	{DX_FID_CONSOLE_READ, {BUFFER_AT, 8}, DX_ERR_NOENT},
	{DX_FID_CONSOLE_WRITE, {BUFFER_AT, 8}, DX_ERR_NOENT},
	{DX_FID_FDT_WRITE, {BUFFER_AT, PAGE}, 0},
	{DX_FID_PRIORITY, {3, DX_WEIGHT_DEFAULT}, 0},
};

static void refuse_handle(const char *name, uint64_t handle)
{
	page[0][0] = 1; /* what a call makes present stays, though it is refused */
	for (unsigned i = 0; i < ARRAY_SIZE(by_handle); i++) {
		uint64_t a[5] = {handle};

		for (unsigned k = 0; k < 4; k++)
			a[k + 1] = by_handle[i].a[k] == BUFFER_AT ? BUFFER : by_handle[i].a[k];
		if (handle != DX_SELF)
			refuse_call(name, DX_ERR_NOENT, by_handle[i].fid, a);
		else if (by_handle[i].self)
			refuse_call(name, by_handle[i].self, by_handle[i].fid, a);
	}
}

/* Numbers that are not those of the one child there is, whose own child is `grandchild`. */
static void test_numbers(void)
{
	uint64_t child = paused_child();

	refuse_watch(child);
	refuse_handle("oneself", DX_SELF);
	refuse_handle("nobody", NOBODY);
	refuse_handle("the last slot", 1ul << 13);
	for (unsigned bit = 0; bit < 64; bit++)
		refuse_handle("a bit is wrong", child ^ 1ul << bit);
	refuse_handle("-1", -1ul);
	refuse_handle("-2^31", -1ul << 31);
	refuse_handle("-2^63", 1ul << 63);
	refuse_handle("minus the child", -child);
	uint64_t seed = 0x1234567;

	for (unsigned i = 0; i < 20; i++)
		refuse_handle("64 bits of anything", random_next(&seed) | 1ul << 40);
	kill_child(child);
	refuse_watch(0);
	refuse_handle("one that was reaped", child);
	uint64_t other = paused_child();

	refuse_watch(other);
	refuse_handle("one that was reaped, whose place another has", child);
	kill_child(other);
}

/* A child's child is no child; nor is a sibling: both have numbers that mean something elsewhere.
 */
static void in_the_middle(uint64_t siblings)
{
	checks_begin();
	refuse_watch(0);
	for (uint64_t h = 0; h < 8; h++)
		refuse_handle("nobody's parent", siblings + h);
	dx_exit(checks_end());
}

static void test_others(void)
{
	uint64_t a = paused_child(), b = paused_child();

	family_end("the one between came to its end", dx_spawn(in_the_middle, a));
	kill_child(a);
	kill_child(b);
}

/* --- addresses --- */

/* Calls with a struct: argument `at` of them is its address, `fills` the call writes there. */
static const struct {
	uint64_t fid, at, size;
	bool fills;
} by_struct[] = {
	{DX_FID_FORK, 0, sizeof(struct dx_fork), false},
	{DX_FID_QUOTA_READ, 1, sizeof(struct dx_quota), true},
	{DX_FID_CREATE, 0, sizeof(struct dx_create), false},
	{DX_FID_CLONE, 1, sizeof(struct dx_fork), false},
	{DX_FID_INFO, 1, sizeof(struct dx_info), true},
};

static void refuse_struct(const char *name, unsigned call, uint64_t handle, uint64_t at)
{
	uint64_t a[5] = {handle};

	a[by_struct[call].at] = at;
	refuse_call(name, SBI_INVALID_ADDRESS, by_struct[call].fid, a);
}

/* Where nobody can read: below and above RAM, emulated devices, and far away. */
static uint64_t nowhere(unsigned i)
{
	const uint64_t at[] = {8, m.ram_base - PAGE, m.ram_base - 8, m.ram_base + m.ram_size,
		m.plic, m.plic + 0x200000, m.uart, WINDOW, 1ul << 40, (1ul << 41) - PAGE, 1ul << 41,
		m.ram_base | 1ul << 41, m.ram_base | 1ul << 56, m.ram_base | 1ul << 63, -PAGE,
		-8ul};

	return i < ARRAY_SIZE(at) ? at[i] : 0;
}

static void refuse_addresses(unsigned call, uint64_t handle)
{
	uint64_t size = by_struct[call].size;

	for (unsigned k = 1; k < 8; k++)
		refuse_struct("unaligned", call, handle, BUFFER + k);
	for (uint64_t k = 8; k < size; k += 8)
		refuse_struct("across a page", call, handle, BUFFER + PAGE - k);
	for (unsigned i = 0; nowhere(i); i++)
		refuse_struct("not readable", call, handle, nowhere(i));
}

/* What may be read only: the generation ID's page, and a window without DX_WRITE. */
static void test_read_only(uint64_t child)
{
	struct sbiret r = sbi(EID_DIOSIX, DX_FID_WINDOW_MAP, child, BUFFER, WINDOW, PAGE, DX_READ);

	check_eq("window", r.value, PAGE);
	refuse_watch(child);
	for (unsigned i = 0; i < ARRAY_SIZE(by_struct); i++)
		if (by_struct[i].fills) {
			refuse_struct("the generation ID", i, child, vmgenid_place());
			refuse_struct("a window to read", i, child, WINDOW);
		}
	REFUSE("a window to read", SBI_INVALID_ADDRESS, DX_FID_CONSOLE_READ, child, WINDOW, 8);
	REFUSE("a window to read", SBI_INVALID_ADDRESS, DX_FID_FDT_WRITE, child, WINDOW, PAGE);
	check_err("unmap", dx(DX_FID_WINDOW_UNMAP, WINDOW, PAGE, 0), SBI_SUCCESS);
}

static void test_addresses(void)
{
	uint64_t child = paused_child();

	page[0][0] = page[1][0] = 1;
	test_read_only(child);
	refuse_watch(child);
	for (unsigned i = 0; i < ARRAY_SIZE(by_struct); i++) {
		refuse_addresses(i, child);
		/* The address is looked at first. */
		if (by_struct[i].at)
			refuse_struct("nobody, nowhere", i, NOBODY, m.plic);
	}
	for (unsigned i = 0; nowhere(i); i++) {
		REFUSE("no buffer", SBI_INVALID_ADDRESS, DX_FID_CONSOLE_READ, child, nowhere(i), 8);
		REFUSE("no buffer", SBI_INVALID_ADDRESS, DX_FID_CONSOLE_WRITE, child, nowhere(i),
			8);
		REFUSE("no buffer", SBI_INVALID_ADDRESS, DX_FID_FDT_WRITE, child, nowhere(i), PAGE);
		REFUSE("nobody, no buffer", SBI_INVALID_ADDRESS, DX_FID_CONSOLE_READ, NOBODY,
			nowhere(i), 8);
	}
	kill_child(child);
}

/* Memory that nobody has touched yet is memory all the same. */
static void test_missing(void)
{
	uint64_t child = paused_child(), fresh = m.ram_base + m.ram_size / 2;

	check_err("INFO to fresh memory", dx(DX_FID_INFO, child, fresh, 0), SBI_SUCCESS);
	check_eq("it is there", ((struct dx_info *)fresh)->state, DX_PAUSED_STATE);
	check_err("at the end of a page",
		dx(DX_FID_INFO, child, fresh + 2 * PAGE - sizeof(struct dx_info), 0), SBI_SUCCESS);
	check_err("the last of RAM",
		dx(DX_FID_QUOTA_READ, child, m.ram_base + m.ram_size - sizeof(struct dx_quota), 0),
		SBI_SUCCESS);
	check_err(
		"a struct of zeros", dx(DX_FID_CREATE, fresh + 8 * PAGE, 0, 0), SBI_INVALID_PARAM);
	kill_child(child);
}

/* --- numbers of calls --- */

static void test_no_such_call(void)
{
	static const uint64_t reserved[] = {6, 22, 23, 24, 34, 35, 36};
	uint64_t child = paused_child(), seed = 0x7654321;

	refuse_watch(child);
	for (unsigned i = 0; i < ARRAY_SIZE(reserved); i++) {
		REFUSE("reserved", SBI_NOT_SUPPORTED, reserved[i], 0);
		REFUSE("reserved", SBI_NOT_SUPPORTED, reserved[i], child, BUFFER, PAGE, 1, ~0ul);
	}
	for (uint64_t fid = DX_FID_PRIORITY + 1; fid < 300; fid++)
		REFUSE("beyond", SBI_NOT_SUPPORTED, fid, child, BUFFER, PAGE);
	for (uint64_t fid = 0; fid <= DX_FID_PRIORITY; fid++)
		for (unsigned bit = 8; bit < 64; bit += 8)
			REFUSE("beyond", SBI_NOT_SUPPORTED, fid | 1ul << bit, child, BUFFER, PAGE);
	for (unsigned i = 0; i < 50; i++)
		REFUSE("beyond", SBI_NOT_SUPPORTED, random_next(&seed) | 1ul << 32, child);
	kill_child(child);
	check_eq("version, whatever the arguments",
		sbi(EID_DIOSIX, DX_FID_VERSION, ~0ul, m.plic, ~0ul, 1, 1).value, DX_ABI_VERSION);
	check_err("yield, whatever the arguments",
		sbi(EID_DIOSIX, DX_FID_YIELD, ~0ul, m.plic, ~0ul, 1, 1), SBI_SUCCESS);
}

static void test_all(void)
{
	static void (*const tests[])(void) = {
		test_numbers, test_others, test_addresses, test_missing, test_no_such_call};

	for (unsigned i = 0; i < ARRAY_SIZE(tests); i++)
		twice(tests[i]);
}

void guest_main(void)
{
	dx_run(test_all);
}
