/* SPDX-License-Identifier: MIT */
/* Decodes SBI calls; see sbi.h. */
#include "sbi/sbi.h"
#include "abi/diosix.h"
#include "mmu/gstage.h"
#include "riscv/csr.h"

#define LEGACY_LAST 8

bool sbi_probe(uint64_t eid)
{
	static const uint32_t known[] = {SBI_EID_BASE, SBI_EID_TIME, SBI_EID_IPI, SBI_EID_RFENCE,
		SBI_EID_HSM, SBI_EID_SRST, SBI_EID_DBCN, SBI_EID_SUSP, SBI_EID_STA, SBI_EID_FWFT,
		DX_EID};

	for (unsigned i = 0; i < ARRAY_SIZE(known); i++)
		if (eid == known[i])
			return true;
	return eid <= LEGACY_LAST;
}

/* Each handler is called last, so that this needs no frame: it is what every call costs. */
struct sbi_ret sbi_call(struct vcpu *v)
{
	const uint64_t *a = &v->x[10];
	uint64_t fid = v->x[16], eid = v->x[17];

	if (unlikely(eid <= LEGACY_LAST))
		return sbi_legacy(v, eid, a);
	switch (eid) {
	case SBI_EID_BASE:
		return sbi_base(v, fid, a);
	case SBI_EID_TIME:
		return sbi_time(v, fid, a);
	case SBI_EID_IPI:
		return sbi_ipi(v, fid, a);
	case SBI_EID_RFENCE:
		return sbi_rfence(v, fid, a);
	case SBI_EID_HSM:
		return sbi_hsm(v, fid, a);
	case SBI_EID_SRST:
		return sbi_srst(v, fid, a);
	case SBI_EID_DBCN:
		return sbi_dbcn(v, fid, a);
	case SBI_EID_SUSP:
		return sbi_susp(v, fid, a);
	case SBI_EID_STA:
		return sbi_sta(v, fid, a);
	case SBI_EID_FWFT:
		return sbi_fwft(v, fid, a);
	case DX_EID:
		return sbi_diosix(v, fid, a);
	default:
		return sbi_error(SBI_ERR_NOT_SUPPORTED);
	}
}

struct sbi_ret sbi_retry(struct vcpu *v)
{
	csr_write(CSR_MEPC, csr_read(CSR_MEPC) - 4);
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
		[-E_ALIGN] = SBI_ERR_INVALID_PARAM,
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
