/* SPDX-License-Identifier: MIT */
/*
 * If this fails: a translation outlives what it was made for. VMs that share a hart, and use the
 * same ASIDs, roots and addresses for different memory, see each other's; or what was unmapped, a
 * device, a window or all that trust gave, can be reached still, at a virtual address that was in
 * use before.
 */
#include "access.h"
#include "family.h"
#include "look.h"

#define VA      (100ul << 30) /* PAGES pages */
#define DEVICES (101ul << 30) /* a page for each device */
#define SHOWN   (102ul << 30) /* a window */
#define GONE    (103ul << 30) /* a page that only the parent has */
#define TABLE   (104ul << 30) /* by a table in a window */
#define WINDOW  (1ul << 40)   /* its GPA */
#define FAR     (1ul << 39)   /* a GPA for a device */
#define PAGES   8
#define ROUNDS  60
#define ASID    1

static uint64_t *root;
static volatile uint64_t memory[PAGES][PAGE / 8] __attribute__((aligned(PAGE)));

static volatile uint64_t *word(unsigned page)
{
	return (volatile uint64_t *)(VA + page * PAGE);
}

static void make_tables(void)
{
	root = pt_new();
	for (unsigned i = 0; i < PAGES; i++)
		pt_map(root, VA + i * PAGE, (uintptr_t)memory[i], RW | (i & 1 ? PTE_G : 0));
	for (unsigned i = 0; i < m.nvirtio; i++)
		pt_map(root, DEVICES + i * PAGE, m.virtio[i].base, RW);
	pt_map(root, SHOWN, WINDOW, RW);
	pt_map(root, GONE, frame_of(1), RW | PTE_G);
	pt_map(root, ACCESS_CODE, access_code(), PTE_V | PTE_U | PTE_X | PTE_A);
	csr_write(satp, satp_for(root, ASID));
	sfence();
}

static void translation_off(void)
{
	csr_write(satp, 0);
	sfence();
}

/* --- VMs in turn on one hart --- */

/* Every page shows what this VM wrote last, by both its addresses; and is written anew. */
static uint64_t turn(uint64_t tag, uint64_t round)
{
	uint64_t wrong = 0;

	for (unsigned i = 0; i < PAGES; i++) {
		uint64_t before = tag + round;

		wrong += *word(i) != before || memory[i][0] != before;
		*(i & 2 ? word(i) : &memory[i][0]) = before + 1;
	}
	dx_yield();
	return wrong;
}

static void write_all(uint64_t value)
{
	for (unsigned i = 0; i < PAGES; i++)
		memory[i][0] = value;
}

/* Its own frame behind the same address, one address that only its parent has, and now and then
 * no translation at all. */
static void differ(uint64_t n)
{
	uint64_t wrong = 0, tag = n << 32;

	*pt_entry(root, GONE, 0) = 0;
	pt_map(root, VA, (uintptr_t)page_alloc(1), RW);
	sfence();
	write_all(tag);
	*word(0) = tag;
	for (uint64_t round = 0; round < ROUNDS; round++) {
		memory[0][0] = *word(0);
		wrong += turn(tag, round);
		*word(0) = tag + round + 1;
		wrong += look(GONE) != FAULT;
		if (round % 8 == n) {
			csr_write(satp, 0);
			dx_yield();
			wrong += outcome(try_load(VA, 8)) != TRAP(LOAD_ACCESS);
			csr_write(satp, satp_for(root, ASID));
		}
	}
	dx_exit(wrong);
}

static void test_turns(void)
{
	uint64_t children[3], wrong = 0;

	write_all(0);
	for (unsigned i = 0; i < ARRAY_SIZE(children); i++)
		children[i] = dx_spawn(differ, i + 1);
	for (uint64_t round = 0; round < ROUNDS; round++) {
		wrong += turn(0, round);
		wrong += look(GONE) != 1;
	}
	check_eq("the parent sees its own", wrong, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(children); i++)
		dx_end_is("a child sees its own", children[i], 0);
}

/* --- windows --- */

static void open_window(uint64_t child)
{
	value_of("window", sbi(EID_DIOSIX, DX_FID_WINDOW_MAP, child, (uintptr_t)memory[1], WINDOW,
				   PAGE, DX_READ | DX_WRITE));
}

static void close_window(void)
{
	check_err("unmap", dx(DX_FID_WINDOW_UNMAP, WINDOW, PAGE, 0), SBI_SUCCESS);
	check_eq("a window that is closed", outcome(try_load(SHOWN, 8)), TRAP(LOAD_ACCESS));
	check_eq("a window that is closed", outcome(try_store(SHOWN, 8, 0)), TRAP(STORE_ACCESS));
}

/* One child after the other behind the same address; the parent's own is as ever. */
static void test_windows(void)
{
	uint64_t children[2];

	for (unsigned i = 0; i < 2; i++) {
		write_all(70 + i);
		children[i] = paused_child();
	}
	write_all(80);
	check_eq("no window yet", outcome(try_load(SHOWN, 8)), TRAP(LOAD_ACCESS));
	for (unsigned i = 0; i < 4; i++) {
		uint64_t expected = 70 + i % 2 + (i > 1 ? 100 : 0), v = 0;

		open_window(children[i % 2]);
		check_eq("a window", outcome(try_load_value(SHOWN, 8, &v)), NO_TRAP);
		check_eq("a window shows", v, expected);
		*(volatile uint64_t *)SHOWN = 170 + i % 2;
		check_eq("beside it the parent's own", *word(1), 80);
		close_window();
		check_eq("behind it the parent's own", *word(1), 80);
	}
	kill_child(children[0]);
	kill_child(children[1]);
}

/* A table that lies in a child's memory: while the window is open it leads on, afterwards nowhere.
 */
static void test_table_in_window(void)
{
	uint64_t child = paused_child(), *way = pt_entry(root, TABLE, 1);
	volatile uint64_t *table = (volatile uint64_t *)SHOWN;

	*way = pte_for(WINDOW, PTE_V);
	for (unsigned i = 0; i < 2; i++) {
		open_window(child);
		table[0] = pte_for(frame_of(2), RW);
		sfence();
		check_eq("a table in a window", look(TABLE), 2);
		table[0] = pte_for(frame_of(3), RW);
		__asm__ volatile("sfence.vma %0" ::"r"(TABLE) : "memory");
		check_eq("is changed", look(TABLE), 3);
		close_window();
		sfence();
		check_eq("and is gone", outcome(try_load(TABLE, 8)), TRAP(LOAD_ACCESS));
	}
	*way = 0;
	kill_child(child);
}

/* --- devices --- */

static bool shows_magic(uint64_t va)
{
	uint64_t v = 0;

	return !try_load_value(va, 4, &v).taken && v == MAGIC;
}

/* From either mode; users may not anyhow, so theirs is a page that the tables give to them. */
static bool faults(uint64_t va, uint64_t gpa)
{
	struct access user = {ACCESS_LOAD, true, false, false, GONE + PAGE};

	pt_map(root, GONE + PAGE, gpa, RW | PTE_U);
	sfence();
	return outcome(try_load(va, 4)) == TRAP(LOAD_ACCESS) &&
	       outcome(try_store(va, 4, 0)) == TRAP(STORE_ACCESS) &&
	       outcome(try_load(gpa, 4)) ==
		       TRAP(LOAD_ACCESS) && /* by the identity map, if it is there */
	       access_try(&user).cause == LOAD_ACCESS;
}

/* More devices than there may be entries for, again and again, and RAM in between. */
static void test_all_devices(void)
{
	uint64_t wrong = 0;

	for (unsigned round = 0; round < 5; round++)
		for (unsigned i = 0; i < m.nvirtio; i++) {
			wrong += !shows_magic(DEVICES + i * PAGE);
			wrong += !shows_magic(m.virtio[(i * 3 + 1) % m.nvirtio].base);
			*word(i % PAGES) = i;
			wrong += *word(i % PAGES) != i;
		}
	check_eq("each device in turn", wrong, 0);
}

static void test_unmap(void)
{
	for (unsigned i = 0; i < m.nvirtio; i++) {
		const struct device *d = &m.virtio[i];
		uint64_t next = (i + 1) % m.nvirtio;

		check("a device", shows_magic(DEVICES + i * PAGE) && shows_magic(d->base));
		device_release(d);
		check("a device that is unmapped", faults(DEVICES + i * PAGE, d->base));
		check("its neighbour", shows_magic(DEVICES + next * PAGE));
		device_take(d);
		check("it is back", shows_magic(DEVICES + i * PAGE));
	}
}

/* Elsewhere than it is, and back. */
static void test_moved(void)
{
	const struct device *d = &m.virtio[0];

	device_release(d);
	pt_map(root, SHOWN + PAGE, FAR, RW);
	sfence();
	check_err("map", dx(DX_FID_MMIO_MAP, d->base, PAGE, FAR), SBI_SUCCESS);
	check("a device elsewhere", shows_magic(SHOWN + PAGE));
	check("not where it was", outcome(try_load(DEVICES, 4)) == TRAP(LOAD_ACCESS));
	check("the others", shows_magic(DEVICES + PAGE));
	check_err("unmap", dx(DX_FID_MMIO_UNMAP, FAR, PAGE, 0), SBI_SUCCESS);
	check("not there any more", outcome(try_load(SHOWN + PAGE, 4)) == TRAP(LOAD_ACCESS));
	device_take(d);
	check("where it was", shows_magic(DEVICES));
}

/* A fork holds no devices: they read 0 there, whatever its parent has just read. */
static void look_at_devices(uint64_t arg)
{
	uint64_t v = 1, wrong = arg;

	for (unsigned i = 0; i < m.nvirtio; i++) {
		try_load_value(DEVICES + i * PAGE, 4, &v);
		wrong += v != 0;
	}
	dx_exit(wrong);
}

static void test_drop(void)
{
	check("a device", shows_magic(DEVICES));
	check_err("drop trust", dx(DX_FID_DROP_TRUST, 0, 0, 0), SBI_SUCCESS);
	for (unsigned i = 0; i < m.nvirtio; i++)
		check("no device without trust", faults(DEVICES + i * PAGE, m.virtio[i].base));
	write_all(5);
	check_eq("RAM stays", *word(3), 5);
}

static void test_family(void)
{
	make_tables();
	test_turns();
	test_windows();
	test_table_in_window();
	translation_off();
}

void guest_main(void)
{
	make_tables();
	test_all_devices();
	test_unmap();
	test_moved();
	dx_end_is("no devices in a fork", dx_spawn(look_at_devices, 0), 0);
	test_turns();
	test_windows();
	test_table_in_window();
	test_all_devices();
	translation_off();
	dx_run(test_family);
	make_tables();
	test_drop();
	test_turns();
	translation_off();
}
