/* SPDX-License-Identifier: MIT */
/*
 * A virtual machine: its quota, its memory, its VCPUs and its virtual devices. Portable.
 *
 * Invariant: every page a VM causes to be taken is charged to it before it is taken
 * (vm_page_alloc), this structure included; the payer in a frame's record is the frame number of
 * this structure.
 */
#pragma once

#include "core/addr.h"
#include "core/err.h"
#include "core/frame.h"
#include "core/lock.h"
#include "core/quota.h"

#define VM_MAX_VCPUS 64

struct vcpu;
struct vplic;
struct vuart;

struct vm {
	struct spinlock lock;
	struct quota quota;
	uint32_t id; /* frame number of this structure: the payer of its frames; never shown to a
			guest */
	/* set before the VM runs, constant after: */
	bool trusted;
	gpa_t ram_base;
	uint64_t ram_size;
	uint32_t nvcpus;
	struct vcpu *vcpus[VM_MAX_VCPUS];
	struct vplic *plic;
	struct vuart *uart;
	gpa_t plic_base, uart_base;
	bool dbcn_reads; /* the guest reads its console by SBI: the emulated UART gets no input
			    unless its driver asks */
	/* under lock: */
	hpa_t gstage_root; /* Sv39x4 root table, 16 KiB */
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

/* Creates the Root VM: its structure and an empty G-stage root table, with `limit` as its quota.
 * Boot only. Errors: E_NOMEM; E_QUOTA_OWN when the limits do not even hold these. */
enum err must_check vm_create_root(const uint64_t limit[RES_COUNT], struct vm **out);

/* Takes a zeroed block of 2^order frames for `vm`, charged to it first. Errors: E_QUOTA_OWN,
 * E_QUOTA_ABOVE, E_NOMEM; nothing is charged then. At most 2 MiB: a larger one would take too long
 * to zero in one go. */
enum err must_check vm_page_alloc(struct vm *vm, unsigned order, enum frame_kind kind, hpa_t *out);

/* Gives back what vm_page_alloc gave. */
void vm_page_free(struct vm *vm, hpa_t a);

/* Takes one zeroed, physically contiguous block of at least `bytes` for a structure. */
enum err must_check vm_struct_alloc(struct vm *vm, size_t bytes, void **out);
