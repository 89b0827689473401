/* SPDX-License-Identifier: MIT */
/*
 * The runtime of the bare-metal guest tests: small S-mode programs that run as the Root VM, one for
 * each promise of the hypervisor's. See README.md in the folder above.
 *
 * A guest defines guest_main(), which runs on the boot hart without translation, with interrupts
 * off, and returns when all is checked. Results go out as lines: `ok NAME`, `not ok NAME: got X
 * expected Y`, `skip NAME: REASON`, and at the end `guest: N checks, N failed`. `broken: REASON`
 * means that the test itself could not go on.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "abi/diosix.h"

#define MAX_HARTS     16
#define PAGE          4096ul
#define MIB(n)        ((uint64_t)(n) << 20)
#define BIT(n)        (1ul << (n))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

void guest_main(void);

/* --- results (check.c): any hart may report --- */

void check(const char *name, bool good);
void check_eq(const char *name, uint64_t got, uint64_t expected);
/* The same with a number appended to the name, for checks in a loop. */
void check_eq_at(const char *name, uint64_t at, uint64_t got, uint64_t expected);
void skip(const char *name, const char *reason);
_Noreturn void broken(const char *reason, uint64_t a, uint64_t b, uint64_t c);
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void say_bytes(const char *text, uint64_t n);

/* A child counts its own checks from checks_begin on; what checks_end gives its parent adds. */
void checks_begin(void);
uint64_t checks_end(void);
void checks_add(uint64_t counts);

/* --- SBI (sbi.c) --- */

struct sbiret {
	int64_t error;
	uint64_t value;
};

enum {
	SBI_SUCCESS = 0,
	SBI_FAILED = -1,
	SBI_NOT_SUPPORTED = -2,
	SBI_INVALID_PARAM = -3,
	SBI_DENIED = -4,
	SBI_INVALID_ADDRESS = -5,
	SBI_ALREADY_AVAILABLE = -6,
	SBI_INVALID_STATE = -10,
	SBI_DENIED_LOCKED = -14,
};

#define EID_BASE   0x10ul
#define EID_TIME   0x54494d45ul
#define EID_IPI    0x735049ul
#define EID_RFENCE 0x52464e43ul
#define EID_HSM    0x48534dul
#define EID_SRST   0x53525354ul
#define EID_DBCN   0x4442434eul
#define EID_SUSP   0x53555350ul
#define EID_STA    0x535441ul
#define EID_FWFT   0x46574654ul
#define EID_DIOSIX 0x0a000005ul

enum hsm { HSM_STARTED, HSM_STOPPED, HSM_START_PENDING, HSM_STOP_PENDING, HSM_SUSPENDED };

struct sbiret sbi(uint64_t eid, uint64_t fid, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3,
	uint64_t a4);
int64_t sbi_legacy(uint64_t eid, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3);
/* check_eq of the error alone. */
void check_err(const char *name, struct sbiret r, int64_t expected);
void sbi_set_timer(uint64_t when);
struct sbiret sbi_send_ipi(uint64_t mask, uint64_t base);
uint64_t sbi_hart_status(uint64_t id);
_Noreturn void shutdown(void);

/* --- the Diosix extension (dx.c); any hart may call --- */

struct sbiret dx(uint64_t fid, uint64_t a0, uint64_t a1, uint64_t a2);

/* What INFO says; valid until this hart asks again. The first also when there is no such VM. */
struct sbiret dx_info_try(uint64_t handle, struct dx_info **info);
const struct dx_info *dx_info(uint64_t handle);
uint64_t dx_pages(void); /* of this VM and its subtree */
uint64_t dx_event(void);
void dx_yield(void);
void dx_rest(unsigned turn); /* sleeps, the longer the more turns; takes the hart's timer */
_Noreturn void dx_exit(uint64_t code);

/* Options to change and give to a call: everything as the parent's, CREATE without trust. This
 * hart's, so good until it asks again. */
struct dx_fork *dx_fork_options(uint32_t flags);
struct dx_create *dx_create_options(uint32_t vcpus, uint64_t ram);

struct sbiret dx_fork_try(const struct dx_fork *options);  /* NULL: none */
uint64_t dx_fork(void);                                    /* 0 in the child */
uint64_t dx_spawn(void (*fn)(uint64_t arg), uint64_t arg); /* a child that runs fn, then exits 0 */
void dx_await(uint64_t handle, uint32_t state);

/* Waits until a child is gone, passes its console on meanwhile, and reaps it. */
struct dx_end {
	uint32_t reason;
	uint64_t code;
};
struct dx_end dx_end(uint64_t handle);
/* The same for one that must exit with this code. */
void dx_end_is(const char *name, uint64_t handle, uint64_t code);

/* Runs `fn` in a child and adds its checks. The Root VM, which holds devices, is forked by full
 * copy; a child shares its memory with its own children until somebody writes. */
void dx_run(void (*fn)(void));

/* Here, and then in a child, if this is Diosix; for tests that run on plain hardware as well. */
void everywhere(void (*fn)(void));

/* --- traps (trap.c, trap.S) --- */

enum {
	INSN_MISALIGNED,
	INSN_ACCESS,
	ILLEGAL,
	BREAKPOINT,
	LOAD_MISALIGNED,
	LOAD_ACCESS,
	STORE_MISALIGNED,
	STORE_ACCESS,
	ECALL_U,
	ECALL_S,
	INSN_PAGE = 12,
	LOAD_PAGE,
	STORE_PAGE = 15,
};
enum { IRQ_SOFT = 1, IRQ_TIMER = 5, IRQ_EXT = 9 };

struct trap {
	bool taken;
	uint64_t cause, tval, pc;
};

struct hart {
	/* known to assembly (trap.S): */
	uint64_t x[32]; /* of what a trap interrupted, or of run_code; x[0] is pc */
	uint64_t trap_stack;
	uint64_t stack;
	uint64_t resume[16]; /* callee-saved registers of run_code's caller */

	uint64_t id;
	void (*fn)(struct hart *h);
	volatile bool done; /* fn has returned */
	volatile uint64_t arg;
	bool in_trap, running_code, expecting;
	struct trap trap;
	/* Called with SIE = 0; must make the interrupt go away, or disable it. */
	void (*on_irq)(struct hart *h, uint64_t irq);
	volatile uint64_t irqs[16]; /* how many of each kind were taken */
};

extern struct hart harts[MAX_HARTS];

static inline struct hart *this_hart(void)
{
	struct hart *h;

	__asm__("mv %0, tp" : "=r"(h));
	return h;
}

/* Between the two an exception is recorded and its instruction skipped (after a failed fetch: as if
 * the call had returned). */
static inline void expect_begin(void)
{
	this_hart()->trap.taken = false;
	__asm__ volatile("" ::: "memory");
	this_hart()->expecting = true;
	__asm__ volatile("" ::: "memory");
}

static inline struct trap expect_end(void)
{
	__asm__ volatile("" ::: "memory");
	this_hart()->expecting = false;
	return this_hart()->trap;
}

/* Single accesses that may trap. Sizes 1, 2, 4, 8. */
struct trap try_load(uint64_t va, unsigned size);
struct trap try_load_value(uint64_t va, unsigned size, uint64_t *value);
struct trap try_store(uint64_t va, unsigned size, uint64_t value);
struct trap try_amo(uint64_t va);
struct trap try_lr(uint64_t va);
struct trap try_sc(uint64_t va);
struct trap try_exec(uint64_t va);
/* Executes one instruction, with a0 and a1 as given; *result gets a0 afterwards, unless it is NULL.
 */
struct trap try_insn(uint32_t insn, uint64_t a0, uint64_t a1, uint64_t *result);
/* cause 1000 + cause when a trap was taken, 0 when none was: what checks compare. */
#define NO_TRAP 0
static inline uint64_t outcome(struct trap t)
{
	return t.taken ? 1000 + t.cause : NO_TRAP;
}
#define TRAP(cause) (1000ul + (cause))

/* Runs code at `pc` with the 31 registers in h->x[1..], in U- or S-mode, until an exception:
 * returned, with the registers in h->x. */
struct trap run_code(struct hart *h, uint64_t pc, bool user);

void irqs_on(void);
void irqs_off(void);

/* --- harts (harts.c) --- */

extern char hart_entry[]; /* start address for hart_start, opaque = &harts[id] */
void hart_start(unsigned id, void (*fn)(struct hart *h));
void hart_wait(unsigned id); /* until fn has returned and the hart is stopped */

/* What a hart finds when it resumes. */
struct resumed {
	struct hart *hart;
	uint64_t a0, satp, sstatus, sip, a1;
};
extern char resume_entry[];

/* Suspends this hart by function `fid` of HSM or SUSP until it resumes at resume_entry; returns the
 * call's error, or RETURNED when the call came back as if it had been retentive. */
#define RETURNED 1
int64_t suspend_to(uint64_t eid, uint64_t fid, uint64_t type, struct resumed *r);

/* --- machine, from the device tree (fdt.c) --- */

#define MAX_VIRTIO 8

/* A device that the Root VM was given, with its page and interrupt. */
struct device {
	uint64_t base;
	uint32_t irq;
};

struct machine {
	unsigned nharts;
	uint64_t ram_base, ram_size, hz;
	uint64_t plic, plic_ndev, uart, uart_irq;
	const char *isa; /* list of strings */
	uint32_t isa_len;
	const char *bootargs;
	const char *mmu;
	uint32_t cboz, cbom;
	struct device virtio[MAX_VIRTIO];
	unsigned nvirtio;
	uint64_t pci, pci_size; /* configuration space of the PCI host */
};
extern struct machine m;

typedef void fdt_visit(void *ctx, unsigned depth, const char *node, const char *parent,
	const char *prop, const uint8_t *data, uint32_t len);
void fdt_walk(fdt_visit *visit, void *ctx);
uint64_t fdt_number(const uint8_t *data, uint32_t cells);
void fdt_init(const void *fdt);
bool isa_listed(const char *name);
bool bootarg(const char *word);
/* The decimal number behind `prefix`, a word's beginning, or `otherwise`. */
uint64_t bootarg_number(const char *prefix, uint64_t otherwise);

/* --- devices of the machine (device.c, blk.c) --- */

/* One word of a device's register. */
uint32_t get32(uint64_t a);
void put32(uint64_t a, uint32_t v);

/* What of its errors a test has no use for ends it. */
void device_take(const struct device *d);    /* maps the page where the machine has it */
void device_release(const struct device *d); /* unmaps it, and unroutes its interrupt */
uint64_t dx_pin(const void *page);           /* HPA */

/* This VM's PLIC, S-mode of a hart. Priority 1. */
void plic_enable(unsigned hart, uint32_t irq, bool on);
uint32_t plic_claim(unsigned hart);
void plic_complete(unsigned hart, uint32_t irq);
bool plic_pending(uint32_t irq);

#define VIRTIO_MAGIC   0x00
#define VIRTIO_ID      0x08
#define VIRTIO_IRQ     0x60 /* what the device interrupts for */
#define VIRTIO_IRQ_ACK 0x64
#define VIRTIO_STATUS  0x70
#define MAGIC          0x74726976u

/* A virtio-blk device, mapped at `regs`, with one queue in a page of its own, which is pinned. The
 * harness made its disk: the word at byte offset n is disk_word(n), but for the image at
 * DISK_IMAGE, whose length DISK_LENGTH holds. */
#define SECTOR       512ul
#define DISK_IMAGE   MIB(1)
#define DISK_LENGTH  (MIB(1) - SECTOR)
#define BLK_NOTIFY   0x50
#define BLK_REQUESTS 16 /* at a time */
struct blk {
	uint64_t regs, ring_hpa;
	uint8_t *ring;
	uint16_t given, taken; /* requests, modulo 2^16 */
};
const struct device *blk_find(void); /* the machine's; the caller has it mapped where that has it */
void blk_open(struct blk *b, uint64_t regs, void *ring);
/* A read of `bytes` at byte offset `at` to `hpa`; several may be prepared, then started. */
void blk_prepare(struct blk *b, uint64_t at, uint64_t hpa, uint32_t bytes);
/* A request that the device serves at once, whatever holds the others back. */
void blk_prepare_id(struct blk *b);
void blk_start(struct blk *b);
void blk_expose(struct blk *b); /* the part of it that is not the device's register BLK_NOTIFY */
unsigned blk_done(const struct blk *b); /* how many of those not yet taken are */
void blk_wait(struct blk *b);           /* until all are, and were good */
void blk_read(struct blk *b, uint64_t at, uint64_t hpa, uint32_t bytes);
uint64_t disk_word(uint64_t at);
bool disk_page_good(const void *page, uint64_t at);

/* --- memory and Sv39 (paging.c) --- */

#define PTE_V   BIT(0)
#define PTE_R   BIT(1)
#define PTE_W   BIT(2)
#define PTE_X   BIT(3)
#define PTE_U   BIT(4)
#define PTE_G   BIT(5)
#define PTE_A   BIT(6)
#define PTE_D   BIT(7)
#define PTE_RWX (PTE_R | PTE_W | PTE_X | PTE_A | PTE_D | PTE_V)

void *page_alloc(unsigned n); /* zeroed, page-aligned */
uint64_t free_start(void);    /* first address not yet given out */
uint64_t *pt_new(void);       /* root with an identity map of the first 64 GiB in 1 GiB leaves */
uint64_t *pt_entry(uint64_t *root, uint64_t va, unsigned level); /* tables are made on the way */
void pt_map(uint64_t *root, uint64_t va, uint64_t pa, uint64_t flags); /* one page */
uint64_t satp_for(const uint64_t *root, uint64_t asid);
static inline uint64_t pte_for(uint64_t pa, uint64_t flags)
{
	return (pa >> 12) << 10 | flags;
}

/* --- small things --- */

#define csr_read(csr)                                                                              \
	({                                                                                         \
		uint64_t v_;                                                                       \
		__asm__ volatile("csrr %0, " #csr : "=r"(v_)::"memory");                           \
		v_;                                                                                \
	})
#define csr_write(csr, v) __asm__ volatile("csrw " #csr ", %0" ::"r"((uint64_t)(v)) : "memory")
#define csr_set(csr, v)   __asm__ volatile("csrs " #csr ", %0" ::"r"((uint64_t)(v)) : "memory")
#define csr_clear(csr, v) __asm__ volatile("csrc " #csr ", %0" ::"r"((uint64_t)(v)) : "memory")

#define SSTATUS_SIE  BIT(1)
#define SSTATUS_SPIE BIT(5)
#define SSTATUS_SPP  BIT(8)
#define SSTATUS_VS   (3ul << 9)
#define SSTATUS_FS   (3ul << 13)
#define SSTATUS_SUM  BIT(18)
#define SSTATUS_MXR  BIT(19)

static inline uint64_t now(void)
{
	return csr_read(time);
}

static inline void relax(void)
{
	__asm__ volatile(".insn i 0x0f, 0, x0, x0, 0x010" ::: "memory");
}

/* For a hart that waits for another: one that shares its PCPU runs now, not when the slice ends. */
void give_way(void);

static inline void fence_i(void)
{
	__asm__ volatile("fence.i" ::: "memory");
}

static inline void sfence(void)
{
	__asm__ volatile("sfence.vma" ::: "memory");
}

/* Spins for `ticks` of the time CSR. */
void spin_for(uint64_t ticks);
uint64_t random_next(uint64_t *seed);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
void *memset(void *p, int c, size_t n);
void *memcpy(void *to, const void *from, size_t n);
int memcmp(const void *a, const void *b, size_t n);
