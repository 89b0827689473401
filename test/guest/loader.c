/* SPDX-License-Identifier: MIT */
/*
 * If this fails: the loader's way does not work. A trusted VM forks; the child maps the disk, reads
 * a guest image into its own memory by DMA, drops its trust and becomes that image, an ordinary VM
 * that reaches no device; its parent outlives it.
 */
#include "guest.h"

/* From the start of RAM, far from the loader itself: the file, the image, its device tree. */
#define FILE_AT  MIB(24)
#define BASE     MIB(28)
#define TREE_AT  MIB(40)
#define TREE_MAX (MIB(1) / 8)

/* ELF64, gABI: what of the header and of the one segment a loader needs. */
struct elf {
	uint8_t ident[16];
	uint16_t type, machine;
	uint32_t version;
	uint64_t entry, phoff, shoff;
};
struct segment {
	uint32_t type, flags;
	uint64_t offset, vaddr, paddr, filesz, memsz;
};
#define PT_LOAD 1

static uint8_t ring[PAGE] __attribute__((aligned(PAGE)));
static uint8_t sector[PAGE] __attribute__((aligned(PAGE)));
static const struct device *disk;

static uint64_t image_length(struct blk *b)
{
	blk_read(b, DISK_LENGTH, dx_pin(sector), SECTOR);
	return *(const uint64_t *)sector;
}

/* Page by page: those of a child lie anywhere. */
static void read_file(struct blk *b, uint8_t *to, uint64_t length)
{
	for (uint64_t done = 0; done < length; done += PAGE) {
		blk_prepare(b, DISK_IMAGE + done, dx_pin(to + done), PAGE);
		blk_start(b);
		if (done / PAGE % BLK_REQUESTS == BLK_REQUESTS - 1)
			blk_wait(b);
	}
	blk_wait(b);
}

/* Puts the image where it is to run: it is good at any address. Returns its entry. */
static uint64_t place(const uint8_t *file)
{
	const struct elf *e = (const struct elf *)file;
	const struct segment *s = (const struct segment *)(file + e->phoff);

	if (memcmp(e->ident, "\177ELF", 4) || s->type != PT_LOAD)
		broken("the image is no ELF file with one segment", e->phoff, s->type, 0);
	uint64_t base = m.ram_base + BASE;

	memcpy((void *)(base + s->vaddr), file + s->offset, s->filesz);
	memset((void *)(base + s->vaddr + s->filesz), 0, s->memsz - s->filesz);
	fence_i();
	return base + e->entry;
}

static void load(uint64_t arg)
{
	uint8_t *file = (uint8_t *)m.ram_base + FILE_AT;
	struct blk b;

	device_take(disk);
	blk_open(&b, disk->base, ring);
	read_file(&b, file, image_length(&b));
	uint64_t entry = place(file), tree = m.ram_base + TREE_AT;

	dx(DX_FID_DROP_TRUST, 0, 0, 0);
	dx(DX_FID_FDT_WRITE, DX_SELF, tree, TREE_MAX);
	(void)arg;
	struct sbiret r = dx(DX_FID_EXEC, entry, tree, 0);

	broken("EXEC returned", (uint64_t)r.error, 0, 0);
}

/* The disk is the parent's again. */
static void test_disk(void)
{
	struct blk b;

	device_take(disk);
	check_eq("the disk was left quiet", get32(disk->base + VIRTIO_STATUS), 0);
	blk_open(&b, disk->base, ring);
	memset(sector, 0, PAGE);
	blk_read(&b, PAGE, dx_pin(sector), PAGE);
	check("the parent reads the disk", disk_page_good(sector, PAGE));
	device_release(disk);
}

static void test_loader(void)
{
	struct dx_end e = dx_end(dx_spawn(load, 0));

	check_eq("the image came to its end", e.reason, DX_REASON_EXIT);
	check("the image made checks", e.reason == DX_REASON_EXIT && e.code >> 32);
	if (e.reason == DX_REASON_EXIT)
		checks_add(e.code);
	test_disk();
}

void guest_main(void)
{
	disk = blk_find();
	device_release(disk);
	test_loader();       /* the Root VM's child: all was copied */
	dx_run(test_loader); /* a child's: its pages are shared until written */
	uint64_t before = dx_pages();

	test_loader();
	dx_run(test_loader);
	check_eq("not one page lost", dx_pages(), before);
}
