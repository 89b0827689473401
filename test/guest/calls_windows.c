/* SPDX-License-Identifier: MIT */
/*
 * If this fails: WINDOW_MAP or WINDOW_UNMAP refuses for another reason, or in another
 * order, than docs/abi.md says, takes what it must refuse, or changes something though it refuses.
 * Row by row, in the order of the document; handles and addresses: calls.c.
 */
#include "family.h"
#include "refuse.h"

#define WINDOW 0x2000000000ul
#define END    (1ul << 41)
#define AT     ((uintptr_t)page)

static uint8_t page[PAGE] __attribute__((aligned(PAGE)));
static uint64_t paused, created, gone;

static void leave(uint64_t arg)
{
	dx_exit(arg);
}

/* --- windows --- */

static void test_window_map(void)
{
	static const uint64_t rights[] = {0, DX_WRITE, 4, 5, 7, 1 | 1ul << 32, 1ul << 63, ~0ul};
	uint64_t base = m.ram_base, size = m.ram_size;
	const struct {
		uint64_t at, own, bytes;
	} bad[] = {
		{base + 8, WINDOW, PAGE},
		{base, WINDOW + 8, PAGE},
		{base, WINDOW, PAGE - 8},
		{base, WINDOW, 0},
		{base, WINDOW, 1},
		{base - PAGE, WINDOW, PAGE},
		{base - PAGE, WINDOW, 2 * PAGE},
		{base + size, WINDOW, PAGE},
		{base + size - PAGE, WINDOW, 2 * PAGE},
		{base, WINDOW, size + PAGE},
		{base, WINDOW, END},
		{base, WINDOW, -PAGE},
		{-PAGE, WINDOW, PAGE},
		{-PAGE, WINDOW, 2 * PAGE},
		{m.plic, WINDOW, PAGE},
		{0, WINDOW, PAGE},
		{base | 1ul << 63, WINDOW, PAGE},
		{base, base, PAGE},
		{base, base + size - PAGE, PAGE},
		{base, base - PAGE, 2 * PAGE},
		{base, base + size - PAGE, 2 * PAGE},
		{base, END, PAGE},
		{base, END - PAGE, 2 * PAGE},
		{base, 1ul << 63, PAGE},
		{base, -PAGE, PAGE},
		{base, -PAGE, 2 * PAGE},
	};

	refuse_watch(paused);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		REFUSE("WINDOW_MAP: range", SBI_INVALID_PARAM, DX_FID_WINDOW_MAP, paused, bad[i].at,
			bad[i].own, bad[i].bytes, DX_READ);
	for (unsigned i = 0; i < ARRAY_SIZE(rights); i++) {
		REFUSE("WINDOW_MAP: rights", SBI_INVALID_PARAM, DX_FID_WINDOW_MAP, paused, base,
			WINDOW, PAGE, rights[i]);
		REFUSE("WINDOW_MAP: rights, nobody", SBI_INVALID_PARAM, DX_FID_WINDOW_MAP, NOBODY,
			base, WINDOW, PAGE, rights[i]);
	}
	REFUSE("WINDOW_MAP: nobody, no RAM", DX_ERR_NOENT, DX_FID_WINDOW_MAP, NOBODY, 0, WINDOW,
		PAGE, DX_READ);
	REFUSE("WINDOW_MAP: gone, no RAM", SBI_INVALID_STATE, DX_FID_WINDOW_MAP, gone, 0, WINDOW,
		PAGE, DX_READ);
}

static void test_window_place(void)
{
	static const uint64_t places[][2] = {{8, PAGE}, {WINDOW + 8, PAGE}, {WINDOW, 8},
		{END, PAGE}, {END - PAGE, 2 * PAGE}, {WINDOW, -PAGE}, {-PAGE, PAGE},
		{-PAGE, 2 * PAGE}, {0, ~0ul}};

	value_of("window", sbi(EID_DIOSIX, DX_FID_WINDOW_MAP, paused, AT, WINDOW, PAGE, DX_READ));
	value_of("again", sbi(EID_DIOSIX, DX_FID_WINDOW_MAP, created, 0x80000000, WINDOW + PAGE,
				  PAGE, DX_READ));
	refuse_watch(paused);
	REFUSE("WINDOW_MAP: a window is there", DX_ERR_EXISTS, DX_FID_WINDOW_MAP, paused, AT,
		WINDOW, PAGE, DX_READ);
	REFUSE("WINDOW_MAP: the generation ID is there", DX_ERR_EXISTS, DX_FID_WINDOW_MAP, paused,
		AT, vmgenid_place(), PAGE, DX_READ);
	for (unsigned i = 0; i < ARRAY_SIZE(places); i++)
		REFUSE("WINDOW_UNMAP: range", SBI_INVALID_PARAM, DX_FID_WINDOW_UNMAP, places[i][0],
			places[i][1]);
	REFUSE("WINDOW_UNMAP: RAM", SBI_INVALID_PARAM, DX_FID_WINDOW_UNMAP, AT, PAGE);
	REFUSE("WINDOW_UNMAP: the generation ID", SBI_INVALID_PARAM, DX_FID_WINDOW_UNMAP,
		vmgenid_place(), PAGE);
	check_eq("the windows stay", outcome(try_load(WINDOW, 8)), NO_TRAP);
	check_eq("the windows stay", outcome(try_load(WINDOW + PAGE, 8)), NO_TRAP);
	value_of("unmap", dx(DX_FID_WINDOW_UNMAP, WINDOW, 2 * PAGE, 0));
}

static void test_all(void)
{
	paused = paused_child();
	page[0] = 1;
	gone = dx_spawn(leave, 7);
	dx_await(gone, DX_GONE);
	created = value_of(
		"create", dx(DX_FID_CREATE, (uintptr_t)dx_create_options(1, MIB(1)), 0, 0));
	twice(test_window_map);
	twice(test_window_place);
}

void guest_main(void)
{
	dx_run(test_all);
}
