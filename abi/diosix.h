/* SPDX-License-Identifier: MIT */
/*
 * The Diosix SBI extension, as guests, the Linux driver, the command dx and the tests see it.
 * Specified call by call in docs/abi.md. Numbers are never reused.
 *
 * Structs lie in the caller's RAM, 8-byte aligned, and must not cross a page; fields named
 * `reserved` must be zero. All fields are little-endian. A VM names a direct child by a handle,
 * itself by DX_SELF; a handle is positive, fits 31 bits and is not used again for another child
 * before 2^15 have had its place, nor while a long call goes by it.
 */
#ifndef ABI_DIOSIX_H
#define ABI_DIOSIX_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdint.h>
#endif

#define DX_SBI_IMPL_ID 5 /* SBI BASE get_impl_id: registered for Diosix */
#define DX_EID         0x0a000005

#define DX_ABI_VERSION 4

#define DX_SELF 0

/* --- calls: arguments -> value; 6, 22 to 24 and 34 to 36 have been promised (docs/abi.md) --- */

#define DX_FID_VERSION       0 /* -> DX_ABI_VERSION */
#define DX_FID_YIELD         1 /* let others run first */
#define DX_FID_EXIT          2 /* code: ends the caller's VM and its subtree; does not return */
#define DX_FID_FORK          3 /* GPA of dx_fork, or 0 -> handle; 0 in the child */
#define DX_FID_EXEC          4 /* entry, a1: every VCPU starts anew; does not return */
#define DX_FID_DROP_TRUST    5
#define DX_FID_QUOTA_READ    7  /* handle, GPA of dx_quota */
#define DX_FID_QUOTA_SET     8  /* handle, enum dx_limit, amount */
#define DX_FID_CREATE        9  /* GPA of dx_create -> handle */
#define DX_FID_START         10 /* handle, entry, a1 */
#define DX_FID_PAUSE         11 /* handle */
#define DX_FID_RESUME        12 /* handle */
#define DX_FID_KILL          13 /* handle */
#define DX_FID_REBOOT        14 /* handle */
#define DX_FID_CLONE         15 /* handle, GPA of dx_fork or 0 -> handle */
#define DX_FID_INFO          16 /* handle, GPA of dx_info */
#define DX_FID_NEXT          17 /* handle or 0 -> the next child's handle, 0 after the last */
#define DX_FID_REAP          18 /* handle of a gone child: it is forgotten */
#define DX_FID_WINDOW_MAP    19 /* handle, child's GPA, own GPA, bytes, DX_READ | DX_WRITE */
#define DX_FID_WINDOW_UNMAP  20 /* own GPA, bytes */
#define DX_FID_EVENT_NEXT    21 /* -> handle | DX_EVENT_... << 32, 0 when there is none */
#define DX_FID_CONSOLE_READ  25 /* handle, GPA, bytes -> bytes read */
#define DX_FID_CONSOLE_WRITE 26 /* handle, GPA, bytes -> bytes taken */
#define DX_FID_MMIO_MAP      27 /* HPA, bytes, GPA */
#define DX_FID_MMIO_UNMAP    28 /* GPA, bytes */
#define DX_FID_IRQ_ROUTE     29 /* source of the host's PLIC */
#define DX_FID_IRQ_UNROUTE   30 /* source */
#define DX_FID_DMA_PIN       31 /* GPA of a page -> HPA */
#define DX_FID_FDT_WRITE     32 /* handle, GPA, bytes -> length of the tree */
#define DX_FID_PRIORITY      33 /* handle or DX_SELF, priority, weight (DX_WEIGHT_...) */

/* --- errors: beside those of the SBI specification --- */

#define DX_ERR_NOENT     (-1000) /* no such child, or nothing mapped there */
#define DX_ERR_OWN_LIMIT (-1001) /* a limit of the VM itself */
#define DX_ERR_ABOVE     (-1002) /* a limit of an ancestor, or the machine's */
#define DX_ERR_EXISTS    (-1003) /* already mapped, already there */

/* --- flags and numbers --- */

/* Of a subtree among its siblings: its share of the CPU time. */
#define DX_WEIGHT_MIN     10
#define DX_WEIGHT_DEFAULT 100
#define DX_WEIGHT_MAX     1000

#define DX_READ  1
#define DX_WRITE 2

/* dx_fork.flags, dx_create.flags */
#define DX_NO_TRUST 1 /* FORK: the child has no hardware trust, though the caller has */
#define DX_TRUST    2 /* CREATE, CLONE: the child has the caller's trust */
#define DX_PAUSED   4 /* FORK, CLONE: the child begins paused */
#define DX_DIRECT   8 /* CREATE: DX_BACKEND_PMP is wished for */

/* What a VM learns of a child, or with DX_SELF of itself. Bits of one child add up until read. */
#define DX_EVENT_STATE      1  /* its state changed: see INFO */
#define DX_EVENT_CONSOLE    2  /* it wrote to its console; DX_SELF: there is input */
#define DX_EVENT_STALLED    4  /* it cannot pay */
#define DX_EVENT_LOW_MEMORY 8  /* DX_SELF: descendants can charge no more */
#define DX_EVENT_ROOM       16 /* its console input has room again */

enum dx_state {
	DX_CREATED = 1, /* never started */
	DX_RUNNING,
	DX_PAUSED_STATE,
	DX_DYING, /* its pages are on their way back */
	DX_GONE,  /* `reason` and `code` stay until REAP */
};

/* How the VM's GPAs become HPAs. */
enum dx_backend {
	DX_BACKEND_GSTAGE = 1, /* by the hardware: there is H */
	DX_BACKEND_PMP,        /* not at all: its RAM is one run, where its GPAs say */
	DX_BACKEND_SHADOW,     /* by shadow page tables */
};

/* What made a VCPU leave the guest: dx_info.exits. */
enum dx_exit {
	DX_EXIT_CALL,      /* SBI calls */
	DX_EXIT_INTERRUPT, /* timer, another hart's, a device's */
	DX_EXIT_MEMORY,    /* RAM that was missing or shared */
	DX_EXIT_DEVICE,    /* registers of emulated devices; addresses where nothing is */
	DX_EXIT_OTHER,     /* WFI while somebody waits, instructions that a guest does not have */
	DX_EXITS
};

enum dx_reason {
	DX_REASON_NONE,
	DX_REASON_EXIT,    /* EXIT, or SBI shutdown; `code` is EXIT's */
	DX_REASON_STOPPED, /* all its harts have stopped */
	DX_REASON_CRASH,   /* SBI reset with a failure reason, or a trap that could not be delivered
			    */
	DX_REASON_KILLED,  /* by its parent, or because its parent ended */
	DX_REASON_MEMORY,  /* out of memory: an ancestor needed it */
};

/* Counted for a VM and its subtree, or (PRIORITY, DEPTH) a ceiling for it. RESERVE is what its
 * descendants cannot charge of its PAGES; GUARANTEE what its parent keeps for it. */
enum dx_limit {
	DX_LIMIT_PAGES,
	DX_LIMIT_VCPUS,
	DX_LIMIT_VMS,
	DX_LIMIT_PRIORITY,
	DX_LIMIT_DEPTH,
	DX_LIMIT_RESERVE,
	DX_LIMIT_GUARANTEE,
	DX_LIMITS
};

#define DX_KEEP (~UINT64_C(0)) /* in dx_fork.limit and dx_create.limit: as the parent's own */

struct dx_fork {
	uint32_t flags;
	uint32_t reserved;
	uint64_t limit[DX_LIMITS];
};

struct dx_create {
	uint32_t flags;
	uint32_t vcpus;    /* 1 .. 64 */
	uint64_t ram_size; /* bytes, a multiple of 4096 */
	uint64_t reserved;
	uint64_t limit[DX_LIMITS];
};

struct dx_quota {
	uint64_t limit[DX_LIMITS];
	uint64_t used[DX_LIMITS]; /* by the subtree; DEPTH, PRIORITY, RESERVE, GUARANTEE: 0 */
	uint64_t own[DX_LIMITS];  /* by the VM alone */
};

struct dx_info {
	uint32_t state;  /* enum dx_state */
	uint32_t reason; /* enum dx_reason */
	uint64_t code;
	uint32_t vcpus;
	uint32_t children; /* direct ones, gone ones included */
	uint32_t trusted, sealed;
	uint32_t stalled;     /* 1: it waits until it can pay */
	uint32_t reset_asked; /* 1: paused because it asked for a reset */
	uint32_t priority, weight;
	uint64_t ram_base, ram_size; /* bytes */
	uint64_t pages;              /* charged to it alone */
	uint64_t pages_private;      /* of these, RAM: what it has written since it was forked, or
					never shared, or shares with those it forked itself */
	uint64_t pages_subtree;      /* charged to it and its subtree */
	uint64_t cpu_time;           /* nanoseconds its VCPUs ran, hypervisor included */
	uint64_t faults;             /* memory faults that the hypervisor served */
	uint64_t copies;             /* pages copied because they were shared */
	uint64_t pages_shared;       /* of RAM, since a fork: it has not written them */
	uint64_t pages_reserved;     /* of its guarantee, what it does not use */
	uint64_t exits[DX_EXITS];
	uint32_t backend; /* enum dx_backend */
	uint32_t reserved;
};

#endif
