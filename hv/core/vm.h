/* SPDX-License-Identifier: MIT */
/*
 * A virtual machine: its quota, its memory, its VCPUs and its virtual devices. Portable.
 *
 * Invariant: every page a VM causes to be taken is charged to it before it is taken
 * (vm_page_alloc), this structure included; the payer in a frame's record is the frame number of
 * this structure. A frame's payer has a leaf that maps it, or is an ancestor of all that have.
 */
#pragma once

#include "core/frame.h"
#include "core/quota.h"
#include "core/sched.h"
#include "vdev/vplic.h"
#include "vdev/vuart.h"

#define VM_MAX_VCPUS 64

/* Why a VM's VCPUs may not enter the guest. */
#define HALT_STATE 1u /* it is not RUNNING */
#define HALT_FORK  2u /* one of its VCPUs forks it: all but that one */

#define CHILDREN_PER_PAGE 32
#define CHILDREN_PAGES    128

struct vcpu;
struct vconsole;
struct child;

/* What a VM has to tell: its parent, or itself. Under event_lock of who is told. */
struct event_source {
	struct heap_node node; /* in the queue of who is told, while there are any */
	uint32_t bits;         /* DX_EVENT_… */
	uint32_t handle;       /* who tells; 0: oneself */
};

struct vm {
	struct spinlock lock;
	struct quota quota;
	uint32_t id; /* frame number of this structure: the payer of its frames; never shown to a
			guest */
	/* set before the VM runs, constant after: */
	uint32_t nvcpus;
	gpa_t ram_base;
	uint64_t ram_size;
	struct vcpu *vcpus[VM_MAX_VCPUS];
	struct sched_group *sched; /* in VCPU 0's block */
	struct vconsole *console;  /* NULL: the machine's */
	gpa_t plic_base, uart_base, vmgenid;
	hpa_t vmgenid_page;
	uint32_t vmgenid_irq, event_irq, uart_irq;
	bool ghosts; /* devices of the VM it was forked from read as 0 */
	bool direct; /* without H: RAM is contiguous, GPA = HPA; set before it runs */
	bool forked; /* its RAM began as another's: holes are filled by the page */

	bool dbcn_reads;    /* the guest reads its console by SBI: the emulated UART gets no input
			       unless its driver asks */
	bool trusted;       /* atomic: changes once, to false */
	bool holds_devices; /* maps MMIO: its frames are never shared */
	bool routes;        /* has had an interrupt routed to it */
	uint32_t halt;      /* atomic: HALT_… */
	uint32_t pins;      /* atomic: VCPUs on their way out of a PCPU, who still look at the VM */
	uint64_t shared, copies; /* atomic: pages that a fork made shared, and how many of them are
				    its own since */
	uint64_t ram_pages;      /* atomic: of what it pays, RAM */

	/* under lock: */
	hpa_t gstage_root; /* Sv39x4 root table, 16 KiB */
	uint32_t moved;    /* atomic for readers: leaves that are mapped where GPA is not HPA */
	uint64_t gpa_end;  /* nothing is mapped from there on */
	struct refusal refused; /* of RAM or a table for it, the last one */
	struct {
		hpa_t block; /* 2 MiB that is being zeroed for `at`; 0 when none is */
		gpa_t at;
		uint64_t done; /* bytes */
		uint64_t rest; /* bytes from `block` on that come so */
	} fill;

	/* under tree_lock (core/tree.h): */
	struct vm *parent;
	uint32_t handle; /* the parent's name for it */
	enum dx_state state;
	enum dx_reason reason;
	uint64_t code;
	bool reset_asked, cloned;
	uint32_t template; /* handle of the sibling it was cloned from, 0 for none */
	uint32_t clones;   /* live VMs that were cloned from it */
	struct vcpu *forker;
	struct vm *source; /* while it is being forked: from what */
	gpa_t cursor;      /* how far that is, or its end, or its reboot */
	uint32_t nchildren, nslots, free_slot;
	uint32_t scan;  /* slot that tree_clear looks at next */
	bool scan_idle; /* it has had nothing to do since slot 0 */
	struct child *children[CHILDREN_PAGES];

	struct spinlock event_lock;
	/* under event_lock: */
	struct heap events; /* who has something to tell: itself first, children by turn */
	struct event_source own_events;
	uint64_t event_turn;

	/* With locks of their own. Last: what comes behind them is far from the start. */
	struct vuart uart;
	struct vplic plic;
};

/* Proof that vm->lock is held. */
struct vm_locked {
	struct vm *vm;
};

static inline struct vm_locked vm_lock(struct vm *vm)
{
	spin_lock(&vm->lock);
	return (struct vm_locked){vm};
}

static inline void vm_unlock(struct vm_locked vm)
{
	spin_unlock(&vm.vm->lock);
}

/* Creates a VM below `parent` (NULL: the Root VM): its structure and an empty G-stage root table,
 * with these limits. Not in the tree yet. Errors: E_NOMEM; E_QUOTA_… as the parent sees it. */
enum err must_check vm_create(struct vm *parent, const uint64_t limit[DX_LIMITS], struct vm **out);

/* Gives back the structure of a VM, not the Root VM, that has nothing else any more. */
void vm_free(struct vm *vm);

/* Takes a zeroed block of 2^order frames for `vm`, charged to it first. Errors: E_QUOTA_OWN,
 * E_QUOTA_ABOVE (of RAM and tables vm->refused tells whose), E_NOMEM; nothing is charged then. At
 * most 256 KiB: a larger one would take too long to zero in one go. */
enum err must_check vm_page_alloc(struct vm *vm, unsigned order, enum frame_kind kind, hpa_t *out);

/* The same, not zeroed, of any order. */
enum err must_check vm_page_take(struct vm *vm, unsigned order, enum frame_kind kind, hpa_t *out);

/* Takes the run of `size` bytes at `at` as the RAM of `vm`, GPA = HPA, charged to it first. Not
 * zeroed, nor mapped, nor split for that. Errors as vm_page_take; E_NOMEM: it is not free. */
enum err must_check vm_take_run(struct vm *vm, hpa_t at, uint64_t size);

/* Gives back what these gave. */
void vm_page_free(struct vm *vm, hpa_t a);

/* `vm` maps 2^order frames of RAM at `a` no longer: they are freed if nobody else does, and paid by
 * the parent if `vm` paid, others map them, and it is dying or has clones. Returns how many blocks
 * they are. */
unsigned vm_ram_put(struct vm *vm, hpa_t a, unsigned order);

/* The block at `a`, which only `vm` maps, is its to pay. Errors as quota_charge. */
enum err must_check vm_ram_pay(struct vm *vm, hpa_t a);

/* Takes one zeroed, physically contiguous block of at least `bytes` for a structure. */
enum err must_check vm_struct_alloc(struct vm *vm, size_t bytes, void **out);
void vm_struct_free(struct vm *vm, void *p); /* NULL: nothing */

/* All VCPUs of `vm` but `but` (NULL: all) are outside the guest, and will stay so while it is
 * halted. */
bool vm_quiet(const struct vm *vm, const struct vcpu *but);

/* No PCPU uses an older translation of the VM's GPAs to [a, a + size), page aligned, when this
 * returns, or before it runs the VM again. May not be called with vm->lock held: it waits for other
 * PCPUs. */
void vm_fence_of(struct vm *vm, hpa_t a, uint64_t size);

static inline void vm_fence(struct vm *vm)
{
	vm_fence_of(vm, hpa(0), UINT64_MAX);
}

/* It may have devices, or still has some: the flag goes first. */
static inline bool vm_has_trust(const struct vm *vm)
{
	return vm->trusted || vm->holds_devices;
}

/* Sets a reason to halt, and makes the VCPUs leave the guest: vm_quiet tells when they have. */
void vm_halt(struct vm *vm, uint32_t why);

/* Takes reasons away; when none is left the VCPUs go on. */
void vm_unhalt(struct vm *vm, uint32_t why);

/* `vm` is DYING: VCPU 0 is made to run tree_bury, whatever it is doing. Under tree_lock. */
void vm_start_burial(struct vm *vm);
