/* SPDX-License-Identifier: MIT */
/*
 * If this fails: RAM that is mapped by superpages is not shared, or not copied, page by page when
 * it is written; a created child's RAM is not zeros at first; or a window is not its memory.
 */
#include "guest.h"

#define CHILD_RAM 0x80000000ul /* where the RAM of a created VM begins */
#define WINDOW    0x1000000000ul
#define SIZE      MIB(8)

/*
 * The program of a created child, at the start of its RAM: fills the third 2 MiB with each word's
 * address, forks, and lets the child write one page. Both look at that page and its neighbours.
 * Exit code: 0x10 from the grandchild if all is well there, and 0x700 added here.
 */
__asm__(".balign 4\n"
	"program:\n"
	"	li s0, 0x80400000\n	li s1, 0x80600000\n	li s4, 0\n"
	"1:	ld t0, 0(s0)\n	or s4, s4, t0\n" /* fresh: zeros */
	"	sd s0, 0(s0)\n	addi s0, s0, 8\n	bne s0, s1, 1b\n"
	"	li a0, 0\n	li a6, 3\n	li a7, 0x0a000005\n	ecall\n"
	"	li s0, 0x80450000\n	li t4, 4096\n	add s1, s0, t4\n	addi s3, s0, -8\n"
	"	bnez a0, 9f\n	bnez a1, 3f\n"
	/* the grandchild */
	"	ld t0, 0(s0)\n	bne t0, s0, 9f\n	sd zero, 0(s0)\n	ld t0, 0(s0)\n	"
	"bnez t0, 9f\n"
	"	ld t0, 0(s1)\n	bne t0, s1, 9f\n	ld t0, 0(s3)\n	bne t0, s3, 9f\n"
	"	sd zero, 0(s1)\n	ld t0, 8(s0)\n	addi t1, s0, 8\n	bne t0, t1, 9f\n"
	"	li a0, 0x10\n	li a6, 2\n	ecall\n"
	/* the child: waits for it */
	"3:	mv s2, a1\n"
	"4:	mv a0, s2\n	li a1, 0x80100000\n	li a6, 16\n	ecall\n	bnez a0, 9f\n"
	"	li t0, 0x80100000\n	lw t1, 0(t0)\n	li t2, 5\n	bne t1, t2, 4b\n"
	"	lw t1, 4(t0)\n	li t2, 1\n	bne t1, t2, 9f\n	ld s5, 8(t0)\n"
	"	ld t0, 0(s0)\n	bne t0, s0, 9f\n	ld t0, 0(s1)\n	bne t0, s1, 9f\n"
	"	sd s4, 0(s0)\n	ld t0, 0(s0)\n	bne t0, s4, 9f\n	bnez s4, 9f\n"
	"	addi a0, s5, 0x700\n	li a6, 2\n	ecall\n"
	"9:	li a0, 0xbad\n	li a6, 2\n	ecall\n"
	"program_end:\n");
extern char program[], program_end[];

static volatile uint64_t *window(uint64_t offset)
{
	return (volatile uint64_t *)(WINDOW + offset);
}

static uint64_t create(void)
{
	struct sbiret r = dx(DX_FID_CREATE, (uintptr_t)dx_create_options(1, SIZE), 0, 0);

	check_err("create", r, SBI_SUCCESS);
	struct sbiret w = sbi(EID_DIOSIX, DX_FID_WINDOW_MAP, r.value, CHILD_RAM, WINDOW, MIB(2),
		DX_READ | DX_WRITE);

	check_err("window", w, SBI_SUCCESS);
	check_eq("all of it", w.value, MIB(2));
	return r.value;
}

static void test_superpage(void)
{
	uint64_t child = create(), bad = 0;

	for (uint64_t i = 0; i < MIB(2) / 8; i += 511)
		bad |= *window(8 * i);
	check_eq("its RAM is zeros", bad, 0);
	for (char *p = program; p < program_end; p += 4)
		*(volatile uint32_t *)(WINDOW + (uint64_t)(p - program)) = *(uint32_t *)p;
	check_err("start", dx(DX_FID_START, child, CHILD_RAM, 0), SBI_SUCCESS);
	dx_end_is("a page of a shared superpage is written", child, 0x710);
	/* The window outlives the child. */
	check_eq("the window stays", *(volatile uint32_t *)WINDOW, *(uint32_t *)program);
	*window(8) = 1;
	check_err("unmap", dx(DX_FID_WINDOW_UNMAP, WINDOW, MIB(2), 0), SBI_SUCCESS);
	check_eq("no window", outcome(try_load(WINDOW, 8)), TRAP(LOAD_ACCESS));
}

static void test_all(void)
{
	test_superpage();
	uint64_t before = dx_pages();

	test_superpage();
	check_eq("every page is back", dx_pages(), before);
}

void guest_main(void)
{
	test_all();
	dx_run(test_all);
}
