/* SPDX-License-Identifier: MIT */
/* What the files of the Diosix extension share. Handlers run on the slow path, in a call;
 * which of them with tree_lock held, the table in diosix.c says. */
#pragma once

#include "core/tree.h"
#include "sbi/sbi.h"

typedef struct sbi_ret dx_handler(struct vcpu *v, const uint64_t *a);

dx_handler dx_fork, dx_clone, dx_create, dx_exec;
dx_handler dx_quota_read, dx_quota_set, dx_priority, dx_window_map, dx_window_unmap, dx_fdt_write;
dx_handler dx_drop_trust, dx_mmio_map, dx_mmio_unmap, dx_irq, dx_dma_pin;

/* Finds memory of the caller for a whole struct: NULL, and `*r` is what the call returns. */
void *dx_caller_struct(struct vcpu *v, uint64_t at, size_t size, bool write, struct sbi_ret *r);

/* Finds a child that lives: NULL when there is none. With tree_lock held. */
struct vm *dx_live_child(const struct vcpu *v, uint64_t handle);

/* Pins the caller itself or a live child whose memory the caller may use, so that it is not taken
 * apart meanwhile. E_NOENT; E_STATE: it is dying, or being made; E_DENIED: it has trust that the
 * caller has not. */
enum err must_check dx_pin(struct vcpu *v, uint64_t handle, struct vm **out);

static inline void dx_hold(struct vm *vm)
{
	__atomic_fetch_add(&vm->pins, 1, __ATOMIC_RELAXED);
}

static inline void dx_unpin(struct vm *vm)
{
	__atomic_fetch_sub(&vm->pins, 1, __ATOMIC_RELEASE);
}

/* All harts of a quiet, halted VM but `self` are made to stop; true when they have. With tree_lock
 * held. */
bool dx_stop_harts(struct vm *vm, const struct vcpu *self);

/* The end of a step of a call that maps a range in parts: `part` bytes more than v->stage are done.
 * An error after some are done is the end of the call, not a failure: the value tells how far it
 * came. */
static inline struct sbi_ret dx_part(struct vcpu *v, uint64_t part, uint64_t all, enum err err)
{
	v->stage += part;
	if (err == OK && v->stage < all)
		return sbi_again(v);
	return err == OK || v->stage ? sbi_value(v->stage) : sbi_result(err);
}
