/* SPDX-License-Identifier: MIT */
/* As much of a virtio-blk driver as the tests need: virtio 1.2, 2.7 (split queues), 4.2.2 (MMIO
 * registers), 5.2 (block device). */
#include "guest.h"

#define FEATURES_SEL   0x24
#define FEATURES       0x20
#define QUEUE_SEL      0x30
#define QUEUE_NUM      0x38
#define QUEUE_READY    0x44
#define QUEUE_DESC     0x80
#define QUEUE_DRIVER   0x90
#define QUEUE_DEVICE   0xa0
#define ID_BLK         2
#define VERSION_1      1u /* bit 32 of the features */
#define ACKNOWLEDGE    1
#define DRIVER         2
#define DRIVER_OK      4
#define FEATURES_OK    8
#define QUEUE_LENGTH   64
#define DESC_NEXT      1
#define DESC_WRITE     2
#define STATUS_PENDING 0xff
#define TYPE_READ      0
#define TYPE_GET_ID    8
#define ID_LENGTH      20

struct desc {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
};

struct request {
	uint32_t type, reserved;
	uint64_t sector;
};

/* All of a queue in one page. */
struct ring {
	struct desc desc[QUEUE_LENGTH];
	struct {
		uint16_t flags, index, list[QUEUE_LENGTH];
	} given __attribute__((aligned(4)));
	struct {
		uint16_t flags, index;
		struct {
			uint32_t id, length;
		} list[QUEUE_LENGTH];
	} used __attribute__((aligned(4)));
	struct request request[BLK_REQUESTS];
	uint8_t status[BLK_REQUESTS];
	uint8_t id[ID_LENGTH];
};
_Static_assert(sizeof(struct ring) <= PAGE, "one page");

static struct ring *ring_of(const struct blk *b)
{
	return (struct ring *)b->ring;
}

const struct device *blk_find(void)
{
	for (unsigned i = 0; i < m.nvirtio; i++)
		if (get32(m.virtio[i].base + VIRTIO_ID) == ID_BLK)
			return &m.virtio[i];
	broken("the machine has no virtio disk", m.nvirtio, 0, 0);
}

static void put_address(const struct blk *b, uint64_t reg, size_t offset)
{
	put32(b->regs + reg, (uint32_t)(b->ring_hpa + offset));
	put32(b->regs + reg + 4, (uint32_t)((b->ring_hpa + offset) >> 32));
}

void blk_open(struct blk *b, uint64_t regs, void *ring)
{
	memset(ring, 0, PAGE);
	*b = (struct blk){.regs = regs, .ring = ring, .ring_hpa = dx_pin(ring)};
	put32(regs + VIRTIO_STATUS, 0);
	put32(regs + VIRTIO_STATUS, ACKNOWLEDGE | DRIVER);
	put32(regs + FEATURES_SEL, 1);
	put32(regs + FEATURES, VERSION_1);
	put32(regs + VIRTIO_STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
	put32(regs + QUEUE_SEL, 0);
	put32(regs + QUEUE_NUM, QUEUE_LENGTH);
	put_address(b, QUEUE_DESC, offsetof(struct ring, desc));
	put_address(b, QUEUE_DRIVER, offsetof(struct ring, given));
	put_address(b, QUEUE_DEVICE, offsetof(struct ring, used));
	put32(regs + QUEUE_READY, 1);
	put32(regs + VIRTIO_STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
}

/* Each request has its own header, status and three descriptors, by its number. */
static void prepare(struct blk *b, struct request request, uint64_t hpa, uint32_t bytes)
{
	struct ring *r = ring_of(b);
	unsigned slot = b->given % BLK_REQUESTS, first = 3 * slot;
	uint64_t header = b->ring_hpa + offsetof(struct ring, request[slot]);

	if ((uint16_t)(b->given - b->taken) == BLK_REQUESTS)
		broken("too many requests", b->given, b->taken, 0);
	r->request[slot] = request;
	r->status[slot] = STATUS_PENDING;
	r->desc[first] =
		(struct desc){header, sizeof(struct request), DESC_NEXT, (uint16_t)(first + 1)};
	r->desc[first + 1] =
		(struct desc){hpa, bytes, DESC_NEXT | DESC_WRITE, (uint16_t)(first + 2)};
	r->desc[first + 2] =
		(struct desc){b->ring_hpa + offsetof(struct ring, status[slot]), 1, DESC_WRITE, 0};
	r->given.list[b->given % QUEUE_LENGTH] = (uint16_t)first;
	b->given++;
}

void blk_prepare(struct blk *b, uint64_t at, uint64_t hpa, uint32_t bytes)
{
	prepare(b, (struct request){.type = TYPE_READ, .sector = at / SECTOR}, hpa, bytes);
}

void blk_prepare_id(struct blk *b)
{
	prepare(b, (struct request){.type = TYPE_GET_ID}, b->ring_hpa + offsetof(struct ring, id),
		ID_LENGTH);
}

void blk_expose(struct blk *b)
{
	__atomic_store_n(&ring_of(b)->given.index, b->given, __ATOMIC_RELEASE);
	__asm__ volatile("fence w, o" ::: "memory");
}

void blk_start(struct blk *b)
{
	blk_expose(b);
	put32(b->regs + BLK_NOTIFY, 0);
}

unsigned blk_done(const struct blk *b)
{
	uint16_t used = __atomic_load_n(&ring_of(b)->used.index, __ATOMIC_ACQUIRE);

	return (uint16_t)(used - b->taken);
}

void blk_wait(struct blk *b)
{
	while (blk_done(b) != (uint16_t)(b->given - b->taken))
		dx_yield();
	for (; b->taken != b->given; b->taken++)
		if (ring_of(b)->status[b->taken % BLK_REQUESTS])
			broken("the disk refused: request, status", b->taken,
				ring_of(b)->status[b->taken % BLK_REQUESTS], 0);
}

void blk_read(struct blk *b, uint64_t at, uint64_t hpa, uint32_t bytes)
{
	blk_prepare(b, at, hpa, bytes);
	blk_start(b);
	blk_wait(b);
}

uint64_t disk_word(uint64_t at)
{
	return (at / 8 + 1) * 0x9e3779b97f4a7c15ul;
}

bool disk_page_good(const void *page, uint64_t at)
{
	const volatile uint64_t *p = page;

	for (unsigned i = 0; i < PAGE / 8; i++)
		if (p[i] != disk_word(at + 8 * i))
			return false;
	return true;
}
