/* SPDX-License-Identifier: MIT */
/*
 * If this fails: the console loses or repeats text, or prints, or overwrites, memory that is not
 * the guest's.
 */
#include "family.h"

#define WRITE 0
#define READ  1
#define BYTE  2

static struct sbiret dbcn(uint64_t fid, uint64_t n, uint64_t lo, uint64_t hi)
{
	return sbi(EID_DBCN, fid, n, lo, hi, 0, 0);
}

/* What is no memory of the guest's, for writing and for reading. */
static void test_addresses(uint64_t fid)
{
	/* Readable, should it be printed after all. */
	const uint64_t end = m.ram_base + m.ram_size,
		       own = (uintptr_t)memset(page_alloc(1), '#', PAGE);
	const struct {
		const char *name;
		uint64_t n, lo, hi;
	} bad[] = {
		{"address 0", 1, 0, 0},
		{"boot ROM", 1, 0x1000, 0},
		{"test finisher", 4, 0x100000, 0},
		{"CLINT", 8, 0x2000000, 0},
		{"PLIC", 4, m.plic, 0},
		{"UART", 1, m.uart, 0},
		{"hypervisor", 16, 0x80000000, 0},
		{"before RAM", 1, m.ram_base - 1, 0},
		{"across the start of RAM", 16, m.ram_base - 8, 0},
		{"behind RAM", 1, end, 0},
		{"across the end of RAM", 16, end - 8, 0},
		{"far across the end of RAM", 1ul << 40, end - 8, 0},
		{"from RAM far across its end", m.ram_size, own, 0},
		{"2^41", 1, 1ul << 41 | own, 0},
		{"2^56", 1, 1ul << 56 | own, 0},
		{"2^63", 1, 1ul << 63 | own, 0},
		{"upper half 1", 1, own, 1},
		{"upper half -1", 1, own, ~0ul},
		{"wraps", 16, -8ul, 0},
		{"wraps by length", ~0ul, own, 0},
		{"last byte", 1, ~0ul, 0},
	};

	say("# %s", fid == WRITE ? "write" : "read");
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		check_err(
			bad[i].name, dbcn(fid, bad[i].n, bad[i].lo, bad[i].hi), SBI_INVALID_PARAM);
}

static void test_write(void)
{
	static const char text[] = "# a line by SBI\n";
	char *pages = page_alloc(2), *across = pages + PAGE - 4;
	struct sbiret r = dbcn(WRITE, 0, (uintptr_t)text, 0);

	check_eq("write of nothing", (uint64_t)r.error | r.value, 0);
	r = dbcn(WRITE, sizeof(text) - 1, (uintptr_t)text, 0);
	check_eq("write: all taken", r.value, sizeof(text) - 1);
	memcpy(across, text, sizeof(text) - 1);
	r = dbcn(WRITE, sizeof(text) - 1, (uintptr_t)across, 0);
	check_eq("write across pages", r.value, sizeof(text) - 1);
	memset(pages, '#', 2 * PAGE);
	pages[2 * PAGE - 1] = '\n';
	for (uint64_t done = 0; done < 2 * PAGE; done += r.value) {
		r = dbcn(WRITE, 2 * PAGE - done, (uintptr_t)pages + done, 0);
		if (r.error || r.value > 2 * PAGE - done) {
			check_err("long write", r, SBI_SUCCESS);
			break;
		}
	}
	check("long write, in parts", true);
}

static void test_bytes(void)
{
	static const char text[] = "# byte by byte\n";
	uint64_t bad = 0;

	for (const char *c = text; *c; c++) {
		struct sbiret r = dbcn(BYTE, 0xabcdef00 | (uint8_t)*c, 0, 0);

		bad += r.error || r.value;
	}
	check_eq("write byte: no error, value 0, only 8 bits count", bad, 0);
}

/* Nothing is typed. */
static void test_read(void)
{
	uint8_t buffer[64];
	struct sbiret r;

	memset(buffer, 0x5a, sizeof(buffer));
	r = dbcn(READ, sizeof(buffer), (uintptr_t)buffer, 0);
	check_eq("read: nothing typed", (uint64_t)r.error | r.value, 0);
	check("read: the buffer is left alone", buffer[0] == 0x5a && buffer[63] == 0x5a);
	r = dbcn(READ, 0, (uintptr_t)buffer, 0);
	check_eq("read of nothing", (uint64_t)r.error | r.value, 0);
	check_eq("legacy getchar: nothing typed", (uint64_t)sbi_legacy(2, 0, 0, 0, 0), ~0ul);
	/* The generation ID's page may be read only. */
	check_err("read into a read-only page", dbcn(READ, 16, vmgenid_place(), 0),
		SBI_INVALID_PARAM);
}

void guest_main(void)
{
	test_write();
	test_bytes();
	test_read();
	test_addresses(WRITE);
	test_addresses(READ);
}
