/* SPDX-License-Identifier: MIT */
/*
 * How the loaded guest's addresses become HPAs on harts without H. A VM that is `direct` has
 * contiguous RAM with GPA = HPA; while all that it maps is where it is, its VCPUs run with their
 * own satp, and PMP entries bound them (backend `pmp`). All others run on shadow tables of their
 * own (mmu/shadow.h). In both the VM's tables (mmu/gstage.h) tell what is mapped.
 *
 * All for the VCPU that is loaded here, on the slow path, but where another thing is said.
 */
#pragma once

#include "mmu/walk.h"
#include "riscv/csr.h"
#include "riscv/fence.h"

/* Sets all up for the VCPU that is being loaded. */
void translate_load(struct vcpu *v);

/* As if the guest wrote it. */
void translate_set_satp(struct vcpu *v, uint64_t satp);

/* The VM's map is not what it was: where it had HPAs in [a, a + size), or (size UINT64_MAX) all of
 * it. */
void translate_map_changed(struct vcpu *v, hpa_t a, uint64_t size);

/* Of a VCPU that is not direct: tells the hart what its shadow tables say it must know. */
void translate_obey(struct vcpu *v);

static inline bool is_page_fault(uint64_t cause)
{
	return cause == CAUSE_INSN_PAGE || cause == CAUSE_LOAD_PAGE || cause == CAUSE_STORE_PAGE;
}

/* Of page and access faults: what was tried, and the other kind that it may turn out to be. */
static const struct {
	uint8_t access, other;
} fault_causes[] = {
	[CAUSE_INSN_ACCESS] = {WALK_EXECUTE, CAUSE_INSN_PAGE},
	[CAUSE_LOAD_ACCESS] = {WALK_READ, CAUSE_LOAD_PAGE},
	[CAUSE_STORE_ACCESS] = {WALK_WRITE, CAUSE_STORE_PAGE},
	[CAUSE_INSN_PAGE] = {WALK_EXECUTE, CAUSE_INSN_ACCESS},
	[CAUSE_LOAD_PAGE] = {WALK_READ, CAUSE_LOAD_ACCESS},
	[CAUSE_STORE_PAGE] = {WALK_WRITE, CAUSE_STORE_ACCESS},
};

/* What the guest tried, of WALK_…, when it got a page fault, an access fault or a guest-page fault;
 * 0: another cause. */
static inline uint64_t access_of(uint64_t cause)
{
	if (cause >= CAUSE_INSN_GUEST_PAGE)
		cause -= CAUSE_INSN_GUEST_PAGE - CAUSE_INSN_PAGE;
	return cause < ARRAY_SIZE(fault_causes) ? fault_causes[cause].access : 0;
}

/*
 * A page fault or an access fault of the guest at `at`, in the state that v->pc and v->mstatus
 * tell. OK: it tries again. E_NOENT: no RAM is at `*out`, which the guest's tables let it access
 * so. E_FAULT: it gets the exception `*cause`. E_QUOTA_… (v->refused) and E_NOMEM: as gstage_touch.
 */
enum err must_check translate_fault(struct vcpu *v, uint64_t *cause, uint64_t at, gpa_t *out);

/* On the fast path: a page fault of a VCPU that is not direct. Most are dealt with, true; false:
 * for the slow path, which looks again. */
bool translate_fast(struct vcpu *v, uint64_t cause);

/* Does what `insn`, which the guest's kernel may execute, but not by itself, does: access to satp
 * and fences. False: it is another. */
bool translate_insn(struct vcpu *v, uint32_t insn);

/* Reads `n` bytes of guest virtual memory, as data or as instructions, with the rights that
 * `mstatus` says (MPP, SUM, MXR). E_FAULT: `*cause` is the exception that the guest's own access
 * would raise. Fast path as well. */
enum err must_check translate_read(const struct vcpu *v, uint64_t mstatus, uint64_t va, bool exec,
	void *out, size_t n, uint64_t *cause);
