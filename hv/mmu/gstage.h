/* SPDX-License-Identifier: MIT */
/*
 * The `gstage` backend's tables: Sv39x4 (Privileged ISA 18.5.1), GPA -> HPA with 1 GiB, 2 MiB and 4
 * KiB leaves. Portable: plain memory operations; fencing is riscv/fence.h's, and the caller's duty
 * after anything that takes a right away.
 *
 * Invariants: leaves have U set (G-stage accesses are checked as U-mode) and A and D set ahead, so
 * that hardware never updates one; a leaf is the VM's own RAM (with W, or without: shared until the
 * first write), a device (GSTAGE_DEVICE), which the hypervisor itself never touches on a guest's
 * behalf, or something else that is not its RAM (GSTAGE_FOREIGN: a window, the generation ID);
 * every table is charged to the VM. RAM that has no leaf reads as zeros: it comes with the first
 * touch.
 *
 * A page of shared RAM is made the VM's own in three steps, so that no VCPU can still see the old
 * page when another writes the new one: the entry becomes busy (invalid), every PCPU that runs the
 * VM is fenced, the copy is put in. Who meets a busy entry tries again.
 */
#pragma once

#include "core/vm.h"

#define GSTAGE_R       BIT(1)
#define GSTAGE_W       BIT(2)
#define GSTAGE_X       BIT(3)
#define GSTAGE_DEVICE  BIT(8) /* software bit: MMIO, not RAM */
#define GSTAGE_FOREIGN BIT(9) /* software bit: neither its RAM nor a device: not inherited */
#define GSTAGE_RWX     (GSTAGE_R | GSTAGE_W | GSTAGE_X)

#define GSTAGE_GPA_BITS   41
#define GSTAGE_ROOT_ORDER 2 /* 16 KiB: the root indexes two bits more */

struct gstage_leaf {
	hpa_t hpa;      /* what `gpa` itself maps to, not the leaf's start */
	uint64_t size;  /* bytes of the leaf: 4 KiB, 2 MiB or 1 GiB */
	uint64_t flags; /* GSTAGE_… */
};

/*
 * Maps a part of page-aligned [at, at + size) to HPAs from `to` on: one leaf of 1 GiB or 2 MiB
 * where alignment allows, else 4 KiB leaves to the next multiple of 2 MiB. *done bytes are mapped
 * then, on an error too. Nothing may be mapped there yet. Errors: E_RANGE not aligned, beyond 2^41,
 * or HPAs beyond 2^56; E_EXISTS; E_QUOTA_…, E_NOMEM for a table: those made on the way stay.
 */
enum err must_check gstage_map(
	struct vm_locked vm, gpa_t at, hpa_t to, uint64_t size, uint64_t flags, uint64_t *done);

/* Makes RAM at `at` present, and with `write` the VM's own. OK: what wanted to access it tries
 * again, which may take it here again (long work is done in parts). E_EXISTS: it is so already; a
 * hart whose access faulted all the same has an older translation, and fences it. E_NOENT: nothing
 * is there, or it is not to be written; E_QUOTA_… (`*refused` tells whose), E_NOMEM. No lock may be
 * held. */
enum err must_check gstage_touch(struct vm *vm, gpa_t at, bool write, struct refusal *refused);

/* `size` bytes of RAM at `block`, whole 2 MiB that `vm` pays and does not map, will be zeroed and
 * mapped at `at`, a part with each touch of RAM that is missing. */
void gstage_fill(struct vm *vm, hpa_t block, gpa_t at, uint64_t size);

/*
 * Maps a part of `child`'s RAM at `at`, at most `size` bytes of it, into `vm` at `own`: one leaf,
 * of *mapped bytes. 0 for E_AGAIN-like success: call again, something had to be made first. Both
 * page aligned; `rights` is of GSTAGE_R and W. Errors: E_NOENT no RAM there; E_EXISTS; E_RANGE;
 * E_QUOTA_…, E_NOMEM. No lock may be held; `child` is pinned.
 */
enum err must_check gstage_open_window(struct vm *vm, gpa_t own, struct vm *child, gpa_t at,
	uint64_t size, uint64_t rights, uint64_t *mapped);

/* Takes windows in [at, at + size) away, some of them in one call: *done bytes are free of them.
 * E_INVAL: something else is mapped there, or a window begins or ends outside. No lock may be held.
 */
enum err must_check gstage_close_windows(struct vm *vm, gpa_t at, uint64_t size, uint64_t *done);

/* Pins the page of RAM at `at`: no fork shares it. E_FAULT: it is not there, or shared now. */
enum err must_check gstage_pin(struct vm *vm, gpa_t at, hpa_t *out);

/* Takes the first device leaf at or after `*at` away: `*hpa` and `*size` tell what it was, and
 * `*at` is behind it. False when there is none before `end`, or `*budget` entries have been looked
 * at: `*at` tells how far it came. The caller fences. */
bool gstage_take_device(
	struct vm *vm, gpa_t *at, uint64_t end, unsigned *budget, hpa_t *hpa, uint64_t *size);

/* One step of a fork: from `*cursor` on gives `to`, which has nothing there, what `from` has: RAM
 * shared, or copied if others write it or `from` holds devices; where devices are, ghosts. Does
 * about `budget` leaves; `*cursor` is GSTAGE_END when it is done. `from` is quiet, and fenced
 * before it runs again. Errors as vm_page_alloc: the cursor stays at what failed. */
enum err must_check gstage_share(struct vm *from, struct vm *to, gpa_t *cursor, unsigned budget);

/* One step of the end: gives back about `budget` leaves and tables from `*cursor` on. True when all
 * but the root table is gone. The VM never runs again. */
bool gstage_drop(struct vm *vm, gpa_t *cursor, unsigned budget);

/* Where the VM that this one was forked from had a device: loads give 0, stores do nothing. */
bool gstage_is_ghost(const struct vm *vm, gpa_t at);

#define GSTAGE_END BIT(GSTAGE_GPA_BITS)

/* Finds what `at` maps to. Needs no lock: entries are read atomically, tables are never freed while
 * the VM lives. E_NOENT. */
enum err must_check gstage_lookup(const struct vm *vm, gpa_t at, struct gstage_leaf *out);

/* The host address of `n` guest bytes that lie within one page, mapped as RAM with all of `rights`;
 * NULL otherwise. */
void *guest_ptr(const struct vm *vm, gpa_t at, size_t n, uint64_t rights);
