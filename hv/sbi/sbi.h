/* SPDX-License-Identifier: MIT */
/*
 * The SBI towards guests (SBI 3.0). sbi.c decodes the extension id; one file per extension does the
 * rest. Handlers run on the fast path: only the caller's registers a0-a7 (v->x[10..17]) are valid,
 * they may not switch VCPUs, and what needs the slow path they ask for by v->action.
 */
#pragma once

#include "core/err.h"
#include "riscv/vcpu.h"

#define SBI_SUCCESS               0
#define SBI_ERR_FAILED            (-1)
#define SBI_ERR_NOT_SUPPORTED     (-2)
#define SBI_ERR_INVALID_PARAM     (-3)
#define SBI_ERR_DENIED            (-4)
#define SBI_ERR_INVALID_ADDRESS   (-5)
#define SBI_ERR_ALREADY_AVAILABLE (-6)
#define SBI_ERR_INVALID_STATE     (-10)
#define SBI_ERR_DENIED_LOCKED     (-14)

#define SBI_EID_BASE   0x10
#define SBI_EID_TIME   0x54494d45
#define SBI_EID_IPI    0x735049
#define SBI_EID_RFENCE 0x52464e43
#define SBI_EID_HSM    0x48534d
#define SBI_EID_SRST   0x53525354
#define SBI_EID_DBCN   0x4442434e
#define SBI_EID_SUSP   0x53555350
#define SBI_EID_STA    0x535441
#define SBI_EID_FWFT   0x46574654

struct sbi_ret {
	int64_t error;
	uint64_t value;
};

static inline struct sbi_ret sbi_value(uint64_t value)
{
	return (struct sbi_ret){SBI_SUCCESS, value};
}

static inline struct sbi_ret sbi_error(int64_t error)
{
	return (struct sbi_ret){error, 0};
}

/* The call is executed again when the VCPU runs next: pc goes back to the ecall, a0 and a1 stay. */
struct sbi_ret sbi_retry(struct vcpu *v);

/* The call is gone on with on the slow path: at once there, or in its next step. */
struct sbi_ret sbi_again(struct vcpu *v);

/* The same after a moment, in which others run, whatever their priority: the call waits for VCPUs
 * of theirs. */
struct sbi_ret sbi_wait(struct vcpu *v);

/* The call needs RAM at `at`, which guest_ptr did not give: makes it so in the call's next steps,
 * or ends the call with `error` when there is none. */
struct sbi_ret sbi_need(struct vcpu *v, gpa_t at, bool write, int64_t error);

/* SBI's number for an error, or the Diosix extension's; success for OK. */
struct sbi_ret sbi_result(enum err err);

/* `fid` is one of the extension's functions; `a` is a0..a5 of the call. */
typedef struct sbi_ret sbi_handler(struct vcpu *v, uint64_t fid, const uint64_t *a);

sbi_handler sbi_base, sbi_time, sbi_ipi, sbi_rfence, sbi_hsm, sbi_srst, sbi_dbcn, sbi_susp, sbi_sta,
	sbi_fwft, sbi_diosix;

/* Legacy extensions 0..8 return in a0 alone: the value is the caller's a1. */
struct sbi_ret sbi_legacy(struct vcpu *v, uint64_t eid, const uint64_t *a);

/* Deals with the ecall of the loaded VCPU `v` (pc already stepped over it): returns its a0 and a1.
 * v->action asks for the slow path. Called by trap.S. */
struct sbi_ret sbi_call(struct vcpu *v);

/* True when extension `eid` is implemented, whole. */
bool sbi_probe(uint64_t eid);

/* What more than one extension does. A VM's parent reads `code`. */
struct sbi_ret sbi_system_reset(struct vcpu *v, bool reboot, bool failure, uint64_t code);

/* A hart may start at `a`: RAM of the guest, which comes with the first fetch if it must. */
static inline bool sbi_can_start(const struct vm *vm, uint64_t a)
{
	return IS_ALIGNED(a, 2) && range_within(a, 2, vm->ram_base.v, vm->ram_size);
}

/* `v`, which asked for it, has stopped and is loaded nowhere. A VM whose harts have all stopped has
 * exited. */
void sbi_hart_stopped(struct vcpu *v);

/* All harts of `vm` are in the HSM STOPPED state, `but` one (or NULL). */
bool sbi_all_stopped(const struct vm *vm, const struct vcpu *but);

/* Steal time so far is written to where STA wants it, when the VCPU is loaded. */
void sbi_sta_update(struct vcpu *v);

/* Ends ACTION_SUSPEND: the loaded VCPU starts at its resume address with the registers that HSM and
 * SUSP prescribe. */
void vcpu_resume(struct vcpu *v);
