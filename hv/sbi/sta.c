/* SPDX-License-Identifier: MIT */
/* STA (SBI 3.0, chapter 16): time a VCPU was ready but another one ran. */
#include <string.h>
#include "sbi/sbi.h"
#include "mmu/gstage.h"
#include "riscv/time.h"

#define SHMEM_SIZE 64

struct sta_shmem {
	uint32_t sequence, flags;
	uint64_t steal; /* ns */
	uint8_t preempted, pad[47];
};
static_assert(sizeof(struct sta_shmem) == SHMEM_SIZE, "SBI 3.0, table 16.1");

void sbi_sta_update(struct vcpu *v)
{
	uint64_t stolen = v->sched.wait_ticks - v->sta_since;

	if (v->sta.v == STA_OFF || v->sta_told == stolen)
		return;
	struct sta_shmem *m = guest_ptr(v->vm, v->sta, SHMEM_SIZE, GSTAGE_W);

	/* Its memory was unmapped since: no report, which is the guest's own doing. */
	if (!m)
		return;
	v->sta_told = stolen;
	__atomic_store_n(&m->sequence, v->sta_sequence + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	__atomic_store_n(&m->steal, time_to_ns(stolen), __ATOMIC_RELAXED);
	v->sta_sequence += 2;
	__atomic_store_n(&m->sequence, v->sta_sequence, __ATOMIC_RELEASE);
}

struct sbi_ret sbi_sta(struct vcpu *v, uint64_t fid, const uint64_t *a)
{
	uint64_t lo = a[0], hi = a[1], flags = a[2];

	if (flags != 0)
		return sbi_error(SBI_ERR_INVALID_PARAM);
	if (lo == UINT64_MAX && hi == UINT64_MAX) {
		v->sta = gpa(STA_OFF);
		return sbi_value(0);
	}
	if (!IS_ALIGNED(lo, SHMEM_SIZE))
		return sbi_error(SBI_ERR_INVALID_PARAM);
	if (hi != 0)
		return sbi_error(SBI_ERR_INVALID_ADDRESS);
	void *m = guest_ptr(v->vm, gpa(lo), SHMEM_SIZE, GSTAGE_R | GSTAGE_W);

	if (!m)
		return sbi_need(v, gpa(lo), true, SBI_ERR_INVALID_ADDRESS);
	memset(m, 0, SHMEM_SIZE);
	v->sta = gpa(lo);
	v->sta_sequence = 0;
	v->sta_since = v->sched.wait_ticks;
	v->sta_told = 0;
	return sbi_value(0);
}
