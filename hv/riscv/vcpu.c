/* SPDX-License-Identifier: MIT */
/* VCPU life and its registers' way in and out of a PCPU; see vcpu.h. */
#include <string.h>
#include "riscv/vcpu.h"
#include "riscv/guest_csr.h"
#include "riscv/fence.h"
#include "riscv/time.h"
#include "riscv/translate.h"
#include "core/tree.h"
#include "mmu/shadow.h"
#include "sbi/sbi.h"

#define ASSERT_OFFSET(symbol, type, field, offset)                                                 \
	static_assert(offsetof(struct type, field) == (offset), "offsets.h");
ASM_OFFSETS(ASSERT_OFFSET)
static_assert(sizeof(enum vcpu_action) == 4, "trap.S loads a word");
static_assert(offsetof(struct pcpu_area, pcpu) == PAGE_SIZE + STACK_SIZE, "entry.S");

void fp_save(uint64_t f[32]);
void fp_load(const uint64_t f[32]);
void vector_save(void *regs, uint64_t vlenb);
void vector_zero(void);
void vector_load(const void *regs, uint64_t vlenb, uint64_t vl, uint64_t vtype);

static void waiter_wake(struct quota_waiter *w)
{
	sched_wake(&container_of(w, struct vcpu, waiter)->sched, time_now());
}

enum err vcpu_create(struct vm *vm)
{
	/* The vector registers follow the structure in the same block, and the VM's group VCPU 0's.
	 */
	uint64_t vlenb = pcpus[0]->isa.vlenb, bytes = ALIGN_UP(sizeof(struct vcpu), 8) + 32 * vlenb;
	void *mem;

	if (vm->nvcpus == VM_MAX_VCPUS)
		return E_RANGE;
	enum err err = quota_charge(&vm->quota, RES_VCPUS, 1, NULL);

	if (err != OK)
		return err;
	err = vm_struct_alloc(vm, bytes + (vm->nvcpus ? 0 : sched_group_size()), &mem);
	if (err != OK) {
		quota_release(&vm->quota, RES_VCPUS, 1);
		return err;
	}
	struct vcpu *v = mem;

	v->vm = vm;
	v->id = vm->nvcpus;
	v->hsm = HSM_STOPPED;
	v->vregs = vlenb ? (uint8_t *)mem + ALIGN_UP(sizeof(*v), 8) : NULL;
	v->waiter.wake = waiter_wake;
	v->pcpu = pcpus[v->id % npcpus];
	if (v->id == 0) {
		vm->sched = (struct sched_group *)((uint8_t *)mem + bytes);
		sched_group_init(vm->sched, vm->parent ? vm->parent->sched : NULL);
	}
	sched_entity_init(&v->sched, vm->sched, v->id % npcpus,
		MIN(SCHED_DEFAULT_PRIO, quota_ceiling(&vm->quota, DX_LIMIT_PRIORITY)));
	vm->vcpus[vm->nvcpus++] = v;
	if (!has_h)
		err = shadow_create(vm, pcpus[0]->isa.mmu_levels, &v->shadow);
	if (err != OK)
		vcpu_destroy(vm);
	return err;
}

void vcpu_drop_buffer(struct vcpu *v)
{
	vm_struct_free(v->vm, v->buffer);
	v->buffer = NULL;
}

void vcpu_destroy(struct vm *vm)
{
	struct vcpu *v = vm->vcpus[--vm->nvcpus];

	vcpu_drop_buffer(v);
	if (v->shadow)
		shadow_destroy(v->shadow);
	if (v->id == 0)
		sched_group_remove(vm->sched);
	vm_struct_free(vm, v);
	quota_release(&vm->quota, RES_VCPUS, 1);
}

/* What is reset and copied as one. */
#define REGISTERS_SIZE (offsetof(struct vcpu, vm) - offsetof(struct vcpu, x))

void vcpu_copy(struct vcpu *to, const struct vcpu *from)
{
	memcpy(to->x, from->x, REGISTERS_SIZE);
	if (to->vregs)
		memcpy(to->vregs, from->vregs, 32 * pcpus[0]->isa.vlenb);
	to->hsm = from->hsm == HSM_STOP_PENDING ? HSM_STOPPED : from->hsm;
	/* What was told does not go back. */
	to->sta_since = to->sched.wait_ticks - (from->sched.wait_ticks - from->sta_since);
	to->pending = (from->pending & PEND_SSIP) | PEND_EIP | PEND_FENCE;
	to->fence_all = true;
}

/* Room has been made at the quota that refused, or the refusal is news to the tree. */
void vcpu_stall(struct vcpu *v)
{
	struct vm *at = container_of(v->refused.at, struct vm, quota);

	if (at != v->vm)
		event_to_self(at, DX_EVENT_LOW_MEMORY);
	if (v->vm->parent)
		event_to_parent(v->vm, DX_EVENT_STALLED);
	if (at == v->vm)
		tree_sacrifice(at);
}

bool vm_quiet(const struct vm *vm, const struct vcpu *but)
{
	for (uint32_t i = 0; i < vm->nvcpus; i++)
		if (vm->vcpus[i] != but &&
			__atomic_load_n(&vm->vcpus[i]->running, __ATOMIC_SEQ_CST))
			return false;
	return true;
}

/* Pairs with vcpu_load: either it sees `halt`, or this sees it running. */
void vm_halt(struct vm *vm, uint32_t why)
{
	__atomic_fetch_or(&vm->halt, why, __ATOMIC_SEQ_CST);
	for (uint32_t i = 0; i < vm->nvcpus; i++)
		if (__atomic_load_n(&vm->vcpus[i]->running, __ATOMIC_SEQ_CST))
			pcpu_kick(vm->vcpus[i]->pcpu->id);
}

void vm_unhalt(struct vm *vm, uint32_t why)
{
	/* Of one that is being forked only the forker goes on, if it waits for this. */
	if (__atomic_and_fetch(&vm->halt, ~why, __ATOMIC_SEQ_CST) & HALT_STATE)
		return;
	for (uint32_t i = 0; i < vm->nvcpus; i++)
		sched_wake(&vm->vcpus[i]->sched, time_now());
}

void vm_fence_of(struct vm *vm, hpa_t a, uint64_t size)
{
	const struct fence f = {.kind = FENCE_GVMA, .start = a.v, .size = size};

	fence_vcpus(vm, UINT64_MAX, &f);
}

void vm_start_burial(struct vm *vm)
{
	uint32_t stopped = HSM_STOPPED;
	struct vcpu *first = vm->vcpus[0];
	uint8_t priority = MIN(first->sched.priority, quota_ceiling(&vm->quota, DX_LIMIT_PRIORITY));

	/* Its own hart_stop, or a hart_start that is just being done, sees the VM dying afterwards.
	 */
	if (__atomic_compare_exchange_n(&first->hsm, &stopped, HSM_START_PENDING, false,
		    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		sched_start(&first->sched, time_now());
	/* All at one priority: VCPU 0 waits, READY, for the others. */
	for (uint32_t i = 0; i < vm->nvcpus; i++) {
		if (vm->vcpus[i]->sched.priority != priority)
			sched_set_priority(&vm->vcpus[i]->sched, priority, time_now());
		sched_wake(&vm->vcpus[i]->sched, time_now());
	}
	/* Descendants run no more from now on. */
	if (vm->nchildren)
		pcpus_kick();
}

/* All but VCPU 0 have ended, and nobody looks at the VM any more. */
static bool alone(const struct vm *vm)
{
	return sbi_all_stopped(vm, vm->vcpus[0]) &&
	       __atomic_load_n(&vm->pins, __ATOMIC_ACQUIRE) == 0;
}

static void bury_rest(struct vm *vm)
{
	while (vm->nvcpus)
		vcpu_destroy(vm);
	vm_page_free(vm, vm->vmgenid_page);
	vm_page_free(vm, vm->gstage_root);
	tree_forget(vm);
}

void vcpu_bury(struct pcpu *p, struct vcpu *v)
{
	struct vm *vm = v->vm;
	bool idle = false, done = v->id != 0 || (alone(vm) && tree_bury(vm, &idle));
	enum sched_state to = done ? SCHED_OFF : idle ? SCHED_BLOCKED : SCHED_READY;

	sched_put(p->id, &v->sched, to, SCHED_NEVER, time_now());
	if (v->id != 0)
		__atomic_store_n(&v->hsm, HSM_STOPPED, __ATOMIC_RELEASE);
	else if (done)
		bury_rest(vm);
}

void vcpu_reset(struct vcpu *v, uint64_t pc, uint64_t arg)
{
	memset(v->x, 0, REGISTERS_SIZE);
	if (v->vregs)
		memset(v->vregs, 0, 32 * pcpus[0]->isa.vlenb);
	v->vtype = BIT(63); /* vill */
	v->x[10] = v->id;
	v->x[11] = arg;
	v->pc = pc;
	v->mstatus = MSTATUS_MPV | MSTATUS_MPP_S | MSTATUS_XL_64;
	/* Without H these are the guest's own, which begins with them off. */
	if (has_h)
		v->mstatus |= (isa_has(&pcpus[0]->isa, ISA_D) ? MSTATUS_FS_CLEAN : 0) |
			      (v->vregs ? MSTATUS_VS_CLEAN : 0);
	/* Nobody could fence the harts where it ran before it stopped: its first fetch must not be
	 * stale. And the line is a wire, not state of the VCPU: a stopped VCPU's enabled source may
	 * be pending. */
	v->fence_all = true;
	__atomic_store_n(&v->pending, PEND_FENCE | PEND_EIP, __ATOMIC_RELAXED);
	/* Kernels rely on their user mode being able to read the time from the start, as firmware
	 * leaves it; hcounteren has the last word. */
	v->csr.scounteren = COUNTEREN_CY | COUNTEREN_TM | COUNTEREN_IR;
	v->csr.vsstatus = UINT64_C(2) << 32; /* UXL 64 */
	v->timer = v->csr.stimecmp = SCHED_NEVER;
	v->sta = gpa(STA_OFF);
	v->stage = 0;
	v->polls = false;
}

/* The control registers are among SWAPPED_CSRS. */
static void load_fp_vector(const struct vcpu *v, const struct pcpu *p)
{
	if (isa_has(&p->isa, ISA_D))
		fp_load(v->f);
	if (v->vregs)
		vector_load(v->vregs, p->isa.vlenb, v->vl, v->vtype);
	else if (p->has_v && !has_h)
		vector_zero(); /* nothing keeps a guest from using what it was not told of */
}

/* Registers only if the guest changed them since it was loaded; afterwards they count as clean, as
 * those that are not dirty did before: the lower bit of both tells.
 * Without H what is dirty is the guest's own account, which says nothing of our copy. The control
 * registers always: QEMU 10 marks a guest's change of them dirty in vsstatus alone, or, of the
 * flags that comparisons raise, nowhere. */
static void save_fp_vector(struct vcpu *v, const struct pcpu *p)
{
	uint64_t clean = has_h ? ~v->mstatus : 0;

	if (isa_has(&p->isa, ISA_D) && !(clean & MSTATUS_FS))
		fp_save(v->f);
	if (v->vregs) {
		v->vl = csr_read(vl);
		v->vtype = csr_read(vtype);
		if (!(clean & MSTATUS_VS))
			vector_save(v->vregs, p->isa.vlenb);
	}
	if (has_h)
		v->mstatus &= ~(MSTATUS_FS | MSTATUS_VS) | MSTATUS_FS_CLEAN | MSTATUS_VS_CLEAN;
}

static void load_csrs(const struct vcpu_csrs *c, const struct pcpu *p)
{
#define LOAD(access, name, when)                                                                   \
	if (when)                                                                                  \
		access##_write(name, c->name);
	SWAPPED_CSRS(LOAD)
	guest_irq_clear(VS_INTERRUPTS);
	guest_irq_set(c->hvip);
}

static void save_csrs(struct vcpu_csrs *c, const struct pcpu *p)
{
#define SAVE(access, name, when)                                                                   \
	if (when)                                                                                  \
		c->name = access##_read(name);
	SWAPPED_CSRS(SAVE)
	c->hvip = guest_irq_read();
	/* What it left pending must not keep an idle PCPU from sleeping. */
	guest_csr_write(sie, 0);
}

void vcpu_load(struct vcpu *v)
{
	struct pcpu *p = this_pcpu();
	bool moved = v->pcpu != p;
	uint64_t failed;

	/* The hart may hold instructions of another VM's from frames that are this one's by now;
	 * and what the parent wrote through a window nobody else can fence. */
	__asm__ volatile("fence.i" ::: "memory");
	p->current = v;
	v->pcpu = p;
	/* Pairs with fence_vcpus. */
	__atomic_store_n(&v->running, true, __ATOMIC_SEQ_CST);
	csr_set(mstatus, MSTATUS_FS | MSTATUS_VS);
	load_fp_vector(v, p);
	load_csrs(&v->csr, p); /* vstart after the vector registers, which take it */
	if (has_h)
		vmid_activate(v, p, moved);
	else
		translate_load(v);
	vcpu_set_traps(v);
	/* The VCPU that ran before may have left a reservation, with which an SC of this one could
	 * succeed that must not. */
	__asm__ volatile("sc.d %0, zero, (%1)" : "=r"(failed) : "r"(p->scratch) : "memory");
	sbi_sta_update(v);
	vcpu_sync(v);
}

void vcpu_save(struct vcpu *v)
{
	struct pcpu *p = this_pcpu();

	csr_set(mstatus, MSTATUS_FS | MSTATUS_VS);
	save_csrs(&v->csr, p);
	save_fp_vector(v, p);
	v->csr.satp = vcpu_satp(v);
	p->current = NULL;
	__atomic_store_n(&v->running, false, __ATOMIC_SEQ_CST);
}

void vcpu_sync(struct vcpu *v)
{
	uint32_t bits = __atomic_exchange_n(&v->pending, 0, __ATOMIC_SEQ_CST);

	if (bits & PEND_FENCE)
		fence_drain(v);
	if (bits & PEND_SSIP)
		guest_irq_set(BIT(IRQ_VSSI));
	if (bits & PEND_EIP) {
		if (__atomic_load_n(&v->eip_line, __ATOMIC_ACQUIRE))
			guest_irq_set(BIT(IRQ_VSEI));
		else
			guest_irq_clear(BIT(IRQ_VSEI));
	}
}

void vcpu_post(struct vcpu *v, uint32_t bits)
{
	__atomic_fetch_or(&v->pending, bits, __ATOMIC_SEQ_CST);
	/* A VM that is halted has its VCPUs woken when that ends. */
	if (!__atomic_load_n(&v->running, __ATOMIC_SEQ_CST)) {
		if (!__atomic_load_n(&v->vm->halt, __ATOMIC_SEQ_CST))
			sched_wake(&v->sched, time_now());
	} else if (v->pcpu != this_pcpu()) {
		pcpu_poke(v->pcpu);
	}
}

bool vcpu_interrupt_due(const struct vcpu *v)
{
	return __atomic_load_n(&v->pending, __ATOMIC_ACQUIRE) ||
	       (guest_csr_read(sie) << has_h & csr_read(mip) &
		       (VS_INTERRUPTS | VS_INTERRUPTS >> 1));
}

uint64_t vcpu_wake_time(const struct vcpu *v)
{
	if (!(guest_csr_read(sie) & BIT(5)))
		return SCHED_NEVER;
	return isa_has(&this_pcpu()->isa, ISA_SSTC) ? guest_csr_read(stimecmp) : v->timer;
}

void vcpu_inject(struct vcpu *v, uint64_t cause, uint64_t tval)
{
	/* The fields have the same places in mstatus. */
	uint64_t s = has_h ? csr_read(vsstatus) : v->mstatus;

	guest_csr_write(scause, cause);
	guest_csr_write(stval, tval);
	guest_csr_write(sepc, v->pc);
	s = (s & ~(MSTATUS_SPP | MSTATUS_SPIE | MSTATUS_SIE)) |
	    (v->mstatus & MSTATUS_MPP_S ? MSTATUS_SPP : 0) | (s & MSTATUS_SIE ? MSTATUS_SPIE : 0);
	if (has_h)
		csr_write(vsstatus, s);
	else
		v->mstatus = s;
	v->mstatus |= MSTATUS_MPP_S | MSTATUS_MPV;
	v->pc = guest_csr_read(stvec) & ~UINT64_C(3);
}

uint64_t vcpu_satp(const struct vcpu *v)
{
	return has_h || v->direct ? guest_csr_read(satp) : v->csr.satp;
}
