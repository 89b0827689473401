/* SPDX-License-Identifier: MIT */
/* Decodes SBI calls; see sbi.h. */
#include "sbi/sbi.h"
#include "abi/diosix.h"
#include "mmu/gstage.h"
#include "riscv/csr.h"

#define LEGACY_LAST 8

/* Each extension has a place of its own: two in one would not compile. */
#define SLOTS     16
#define SLOT(eid) (((eid) ^ (eid) >> 5) % SLOTS)

static const struct extension {
	uint32_t eid, functions; /* 0 .. functions - 1 */
	sbi_handler *call;
} extensions[SLOTS] = {
	[SLOT(SBI_EID_BASE)] = {SBI_EID_BASE, 7, sbi_base},
	[SLOT(SBI_EID_TIME)] = {SBI_EID_TIME, 1, sbi_time},
	[SLOT(SBI_EID_IPI)] = {SBI_EID_IPI, 1, sbi_ipi},
	[SLOT(SBI_EID_RFENCE)] = {SBI_EID_RFENCE, 3, sbi_rfence},
	[SLOT(SBI_EID_HSM)] = {SBI_EID_HSM, 4, sbi_hsm},
	[SLOT(SBI_EID_SRST)] = {SBI_EID_SRST, 1, sbi_srst},
	[SLOT(SBI_EID_DBCN)] = {SBI_EID_DBCN, 3, sbi_dbcn},
	[SLOT(SBI_EID_SUSP)] = {SBI_EID_SUSP, 1, sbi_susp},
	[SLOT(SBI_EID_STA)] = {SBI_EID_STA, 1, sbi_sta},
	[SLOT(SBI_EID_FWFT)] = {SBI_EID_FWFT, 2, sbi_fwft},
	[SLOT(DX_EID)] = {DX_EID, UINT32_MAX, sbi_diosix},
};

bool sbi_probe(uint64_t eid)
{
	return eid <= LEGACY_LAST || extensions[SLOT(eid)].eid == eid;
}

/* The handler is called last, so that this needs no frame: it is what every call costs. */
struct sbi_ret sbi_call(struct vcpu *v)
{
	const uint64_t *a = &v->x[10];
	uint64_t fid = v->x[16], eid = v->x[17];
	const struct extension *e = &extensions[SLOT(eid)];

	if (likely(e->eid == eid && fid < e->functions))
		return e->call(v, fid, a);
	return eid <= LEGACY_LAST ? sbi_legacy(v, eid, a) : sbi_error(SBI_ERR_NOT_SUPPORTED);
}

struct sbi_ret sbi_retry(struct vcpu *v)
{
	csr_write(mepc, csr_read(mepc) - 4);
	v->action = ACTION_YIELD;
	return (struct sbi_ret){(int64_t)v->x[10], v->x[11]};
}

struct sbi_ret sbi_again(struct vcpu *v)
{
	v->action = ACTION_CALL;
	return (struct sbi_ret){(int64_t)v->x[10], v->x[11]};
}

struct sbi_ret sbi_wait(struct vcpu *v)
{
	v->polls = true;
	return sbi_again(v);
}

struct sbi_ret sbi_result(enum err err)
{
	static const int64_t codes[] = {
		[OK] = SBI_SUCCESS,
		[-E_INVAL] = SBI_ERR_INVALID_PARAM,
		[-E_RANGE] = SBI_ERR_INVALID_PARAM,
		[-E_NOMEM] = DX_ERR_ABOVE,
		[-E_QUOTA_OWN] = DX_ERR_OWN_LIMIT,
		[-E_QUOTA_ABOVE] = DX_ERR_ABOVE,
		[-E_DENIED] = SBI_ERR_DENIED,
		[-E_EXISTS] = DX_ERR_EXISTS,
		[-E_NOENT] = DX_ERR_NOENT,
		[-E_STATE] = SBI_ERR_INVALID_STATE,
		[-E_UNSUPPORTED] = SBI_ERR_NOT_SUPPORTED,
		[-E_FAULT] = SBI_ERR_INVALID_ADDRESS,
	};

	return sbi_error(codes[-err]);
}

struct sbi_ret sbi_need(struct vcpu *v, gpa_t at, bool write, int64_t error)
{
	if (!v->in_call)
		return sbi_again(v);
	enum err err = gstage_touch(v->vm, at, write, &v->refused);

	if (err == E_NOENT)
		return sbi_error(error);
	if (err == E_QUOTA_OWN || err == E_QUOTA_ABOVE)
		vcpu_stall(v);
	return err == E_NOMEM ? sbi_error(SBI_ERR_FAILED) : sbi_again(v);
}
