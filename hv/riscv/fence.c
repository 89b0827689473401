/* SPDX-License-Identifier: MIT */
/* See fence.h. Source: Privileged ISA 18.3.2 (HFENCE), SBI 3.0 chapter 8. */
#include "riscv/fence.h"
#include "riscv/guest_csr.h"
#include "mmu/shadow.h"
#include "riscv/translate.h"

#define ASID_MASK       0xffff /* of an operand the rest is ignored */
#define FENCES_SHADOW   2      /* to be queued: beyond, forgetting all is cheaper */
#define RANGE_PAGES_MAX 64     /* beyond this a full flush is cheaper */

#define HFENCE(insn, ...)                                                                          \
	({                                                                                         \
		__asm__ volatile(".option push\n.option arch, +h\nhfence." insn                    \
				 "\n.option pop" ::__VA_ARGS__                                     \
				 : "memory");                                                      \
	})

/* Of the guest's own translations: HFENCE.VVMA, or SFENCE.VMA where it has no others. */
#define GUEST_FENCE(operands, ...)                                                                 \
	(has_h ? HFENCE("vvma " operands, ##__VA_ARGS__) : sfence_vma(operands, ##__VA_ARGS__))

static bool shadowed(const struct vcpu *v)
{
	return !has_h && !v->direct;
}

/* Of the page at `va`, or of all; of one ASID, or of SHADOW_ALL_ASIDS. */
static void fence_one(struct vcpu *v, bool page, uint64_t va, uint64_t asid)
{
	bool all_asids = asid == SHADOW_ALL_ASIDS;

	if (shadowed(v) && page)
		shadow_fence_page(v->shadow, gva(va), asid);
	else if (shadowed(v))
		shadow_fence(v->shadow, asid);
	else if (page && all_asids)
		GUEST_FENCE("%0, zero", "r"(va));
	else if (page)
		GUEST_FENCE("%0, %1", "r"(va), "r"(asid));
	else if (all_asids)
		GUEST_FENCE("zero, zero");
	else
		GUEST_FENCE("zero, %0", "r"(asid));
}

static void fence_vvma(struct vcpu *v, const struct fence *f)
{
	uint64_t asid = f->kind == FENCE_VVMA ? SHADOW_ALL_ASIDS : f->asid & ASID_MASK;
	uint64_t at = ALIGN_DOWN(f->start, PAGE_SIZE), first = f->start - at;

	/* Counted: the last page of all may be one of them. */
	if (f->size > RANGE_PAGES_MAX << PAGE_SHIFT)
		fence_one(v, false, 0, asid);
	else
		for (uint64_t n = (first + f->size + PAGE_SIZE - 1) >> PAGE_SHIFT; n;
			n--, at += PAGE_SIZE)
			fence_one(v, true, at, asid);
	if (shadowed(v))
		translate_obey(v);
}

void fence_local(const struct fence *f)
{
	struct vcpu *v = this_pcpu()->current;

	if (f->kind == FENCE_I)
		__asm__ volatile("fence.i" ::: "memory");
	else if (f->kind != FENCE_GVMA)
		fence_vvma(v, f);
	else if (has_h) /* of instructions too: they may lie in frames that held others before */
		HFENCE("gvma zero, %0\nfence.i",
			"r"(csr_read(hgatp) >> HGATP_VMID_SHIFT & HGATP_VMID_MASK));
	else
		translate_map_changed(v, hpa(f->start), f->size);
}

static void fence_everything(void)
{
	fence_local(&(const struct fence){.kind = FENCE_GVMA, .size = UINT64_MAX});
	fence_local(&(const struct fence){.kind = FENCE_VVMA, .size = UINT64_MAX});
}

void fence_drain(struct vcpu *v)
{
	spin_lock(&v->fence_lock);
	if (v->fence_all)
		fence_everything();
	else
		for (uint32_t i = 0; i < v->nfences; i++)
			fence_local(&v->fences[i]);
	v->nfences = 0;
	v->fence_all = false;
	__atomic_store_n(&v->fences_done, v->fences_asked, __ATOMIC_RELEASE);
	spin_unlock(&v->fence_lock);
}

static uint64_t queue(struct vcpu *v, const struct fence *f)
{
	spin_lock(&v->fence_lock);
	if (v->nfences < (has_h ? FENCE_QUEUE : FENCES_SHADOW))
		v->fences[v->nfences++] = *f;
	else
		v->fence_all = true;
	uint64_t ticket = ++v->fences_asked;

	spin_unlock(&v->fence_lock);
	return ticket;
}

/* At once if `v` is `self`; before its next instruction if it is loaded nowhere; else its PCPU is
 * interrupted. Returns a ticket for await, 0 when there is nothing to wait for. */
static uint64_t send(struct vcpu *self, struct vcpu *v, const struct fence *f)
{
	if (v == self) {
		fence_local(f);
		return 0;
	}
	uint64_t ticket = queue(v, f);

	/* Pairs with vcpu_load: either it sees PEND_FENCE, or this sees it running. */
	__atomic_fetch_or(&v->pending, PEND_FENCE, __ATOMIC_SEQ_CST);
	if (!__atomic_load_n(&v->running, __ATOMIC_SEQ_CST))
		return 0;
	pcpu_poke(v->pcpu);
	return ticket;
}

/* Executes `self`'s own fences meanwhile, so that two PCPUs may wait for each other. */
static void await(struct vcpu *self, struct vcpu *v, uint64_t ticket)
{
	while (__atomic_load_n(&v->fences_done, __ATOMIC_ACQUIRE) < ticket &&
		__atomic_load_n(&v->running, __ATOMIC_ACQUIRE)) {
		if (__atomic_load_n(&self->pending, __ATOMIC_RELAXED))
			vcpu_sync(self);
		pcpu_obey(__atomic_load_n(&this_pcpu()->requests, __ATOMIC_RELAXED));
		cpu_relax();
	}
}

void fence_vcpus(struct vm *vm, uint64_t set, const struct fence *f)
{
	struct vcpu *self = this_pcpu()->current;
	uint64_t tickets[VM_MAX_VCPUS];

	for (uint32_t i = 0; i < vm->nvcpus; i++)
		tickets[i] = set >> i & 1 ? send(self, vm->vcpus[i], f) : 0;
	for (uint32_t i = 0; i < vm->nvcpus; i++)
		if (tickets[i])
			await(self, vm->vcpus[i], tickets[i]);
}

/*
 * Each PCPU hands out VMIDs of its own, in order, to VCPUs that are new to it. `vmid` counts on
 * above the bits of `vmid_mask`, which the harts have: when they run out, which the bits above
 * show, every VCPU is new. What was cached under a number that is handed out again is flushed, and
 * so is what the VCPU fenced on another PCPU meanwhile, by a FENCE.I as well.
 */
void vmid_activate(struct vcpu *v, struct pcpu *p, bool moved)
{
	bool known = !moved && (v->vmid | p->vmid_mask) == (p->vmid | p->vmid_mask);

	if (!known)
		v->vmid = ++p->vmid;
	/* The next tables must not meet the last hgatp: vsatp is live even here. */
	csr_write(vsatp, 0);
	csr_write(hgatp, HGATP_SV39X4 | v->vm->gstage_root.v >> PAGE_SHIFT |
				 (v->vmid & p->vmid_mask) << HGATP_VMID_SHIFT);
	if (!known)
		fence_everything();
	csr_write(vsatp, v->csr.satp);
}
