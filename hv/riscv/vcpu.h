/* SPDX-License-Identifier: MIT */
/*
 * A virtual hart: its registers while they are not in a PCPU's, and what is waiting to be done to
 * it.
 *
 * A VCPU is *loaded* on at most one PCPU: vcpu->running is true from before its fences are drained
 * until its registers are saved. Only that PCPU touches its registers; everybody else sets bits in
 * `pending` and pokes.
 */
#pragma once

#include "core/err.h"
#include "core/isa.h"
#include "core/lock.h"
#include "core/sched.h"
#include "core/vm.h"
#include "riscv/offsets.h"
#include "riscv/pcpu.h"

/* Bits of vcpu->pending: what the PCPU that has it loaded does before the guest's next instruction.
 */
#define PEND_SSIP  1u /* raise VSSIP */
#define PEND_EIP   2u /* the external-interrupt line changed: copy vcpu->eip_line to VSEIP */
#define PEND_FENCE 4u /* fences are queued */

/* SBI HSM states, with the specification's numbers (SBI 3.0, table 9.1). */
enum hsm_state {
	HSM_STARTED,
	HSM_STOPPED,
	HSM_START_PENDING,
	HSM_STOP_PENDING,
	HSM_SUSPENDED,
};

/* What a trap's handler wants done with the VCPU once its registers are saved. */
enum vcpu_action {
	ACTION_NONE,
	ACTION_WAIT,    /* until an interrupt is pending and enabled */
	ACTION_SUSPEND, /* the same, then start at resume_pc as after hart_start */
	ACTION_STOP,    /* HSM hart_stop */
	ACTION_YIELD,   /* let others run, then go on */
	ACTION_CALL,    /* go on with the SBI call in a0..a7: it takes several steps */
};

struct fence {
	enum fence_kind { FENCE_I, FENCE_VVMA, FENCE_VVMA_ASID, FENCE_GVMA } kind;
	uint64_t start, size; /* bytes, of guest virtual addresses, FENCE_GVMA of HPAs; size
				 UINT64_MAX is everything */
	uint64_t asid;
};

#define FENCE_QUEUE 8

/* The guest's CSRs that are live while it is loaded: how they are accessed (guest_csr: as its
 * S-mode's), name, and on which PCPUs `p`. Its satp and interrupts have a place of their own in
 * vcpu_load and vcpu_save. */
#define SWAPPED_CSRS(X)                                                                            \
	X(guest_csr, sie, true)                                                                    \
	X(guest_csr, stvec, true)                                                                  \
	X(guest_csr, sscratch, true)                                                               \
	X(guest_csr, sepc, true)                                                                   \
	X(guest_csr, scause, true)                                                                 \
	X(guest_csr, stval, true)                                                                  \
	X(guest_csr, stimecmp, isa_has(&p->isa, ISA_SSTC))                                         \
	X(guest_csr, siselect, isa_has(&p->isa, ISA_SSAIA))                                        \
	X(csr, vsstatus, has_h) /* without H it is a part of mstatus */                            \
	X(csr, scounteren, true)                                                                   \
	X(csr, senvcfg, p->has_envcfg)                                                             \
	X(csr, sstateen0, isa_has(&p->isa, ISA_SMSTATEEN))                                         \
	X(csr, fcsr, isa_has(&p->isa, ISA_D))                                                      \
	X(csr, vcsr, p->isa.vlenb)                                                                 \
	X(csr, vstart, p->isa.vlenb)

struct vcpu_csrs {
#define FIELD(access, name, when) uint64_t name;
	SWAPPED_CSRS(FIELD)
	uint64_t satp, hvip;
};

/* riscv/offsets.h knows the fields up to `action`. */
struct vcpu {
	struct pcpu *pcpu;        /* where it is loaded, or was last */
	uint64_t exits[DX_EXITS]; /* statistics, by its own PCPU */
	/* From here to `vm` is what hart_start makes anew and a fork copies: */
	uint64_t x[32];
	uint64_t pc, mstatus;
	enum vcpu_action action; /* its own PCPU only */
	uint32_t fwft_locked;    /* bits of features whose setting is locked */
	uint64_t f[32], vl, vtype;
	struct vcpu_csrs csr;
	uint64_t timer; /* without Sstc: time of the next timer interrupt, SCHED_NEVER for none */
	uint64_t resume_pc, resume_arg; /* of ACTION_SUSPEND and HSM start */
	gpa_t sta;                      /* steal-time structure, STA_OFF for none */
	uint64_t sta_since, sta_told;   /* of sched.wait_ticks: when STA was set, and reported */
	uint32_t sta_sequence;

	struct vm *vm;
	uint32_t id;           /* hart id in its VM */
	uint32_t pending;      /* atomic: PEND_… */
	uint32_t hsm;          /* atomic: enum hsm_state */
	bool eip_line;         /* atomic: level of the vPLIC's line */
	bool running;          /* atomic: loaded on `pcpu` */
	void *vregs;           /* 32 vector registers, where the harts have V */
	struct shadow *shadow; /* without H */
	bool direct;           /* without H: runs with its own satp, bounded by PMP */
	struct sched_entity sched;

	bool polls;             /* the next step of its call can wait a moment */
	bool in_call;           /* the SBI call is being gone on with, on the slow path */
	uint64_t stage;         /* how far it is, 0 at its beginning: bytes, or what it likes */
	uint32_t handle;        /* whom it makes */
	struct dx_fork options; /* of the call that makes a VM */
	void *buffer;           /* of the call, charged to the VM; NULL for none */
	enum err error;         /* what it will say when it has undone what it did */
	struct refusal refused; /* .at not NULL: it cannot pay, and waits for a release there, or
				   did until it was woken */
	struct quota_waiter waiter;

	uint64_t vmid; /* on `pcpu`, see vmid_activate */
	struct spinlock fence_lock;
	/* under fence_lock: */
	struct fence fences[FENCE_QUEUE];
	uint32_t nfences;
	bool fence_all;                     /* the queue overflowed: flush everything */
	uint64_t fences_asked, fences_done; /* tickets; `done` is read without the lock */
};

#define STA_OFF UINT64_MAX

/* Creates VCPU number vm->nvcpus of `vm`: stopped, charged to it. Errors: E_RANGE too many;
 * E_QUOTA_…, E_NOMEM. Before the VM runs. All PCPUs have told their features. */
enum err must_check vcpu_create(struct vm *vm);

/* Gives it back: the last one of `vm`, which no scheduler and no PCPU knows any more. */
void vcpu_destroy(struct vm *vm);

/* The call that it is in is over. */
void vcpu_drop_buffer(struct vcpu *v);

/* `to`, new, gets the registers and the state of `from`, which is loaded nowhere, and goes on as it
 * would when it is started. The call that `from` is in the midst of gives 0 there. */
void vcpu_copy(struct vcpu *to, const struct vcpu *from);

/* The VCPU cannot pay: it waits, and then executes its instruction or call again. */
void vcpu_stall(struct vcpu *v);

/* The VCPU belongs to a dying VM: it ends, or, VCPU 0, does a step of the burial. It was picked,
 * and is not loaded. */
void vcpu_bury(struct pcpu *p, struct vcpu *v);

/* Register state as SBI HSM hart_start defines it (SBI 3.0, 9.1): S-mode, satp 0, SIE 0, a0 = hart
 * id, a1 = arg. For a VCPU that is loaded nowhere. */
void vcpu_reset(struct vcpu *v, uint64_t pc, uint64_t arg);

/* Moves the registers into this PCPU, or out of it. */
void vcpu_load(struct vcpu *v);
void vcpu_save(struct vcpu *v);

/* Does what `pending` asks of the VCPU loaded here. */
void vcpu_sync(struct vcpu *v);

/* Sets PEND_ bits and makes sure that they are seen soon: pokes the PCPU where it runs, or wakes
 * it. For the VCPU loaded here only on the slow path, which looks at them at its end. Any lock
 * above sched.rq[] may be held. */
void vcpu_post(struct vcpu *v, uint32_t bits);

/* An interrupt is pending and enabled in vsie, or pending work will make it so: WFI must not wait.
 * For the loaded VCPU. */
bool vcpu_interrupt_due(const struct vcpu *v);

/* The time at which the loaded VCPU's own timer wakes it from WFI; SCHED_NEVER when it does not. */
uint64_t vcpu_wake_time(const struct vcpu *v);

/* The loaded guest's satp, as it wrote it. */
uint64_t vcpu_satp(const struct vcpu *v);

/* Sets what of the loaded guest's instructions trap: WFI, when somebody waits for the PCPU, and
 * without H what its backend has to see. */
void vcpu_set_traps(struct vcpu *v);

/* Raises an exception in the loaded VCPU as hardware would: S-mode CSRs set, pc at its vector. */
void vcpu_inject(struct vcpu *v, uint64_t cause, uint64_t tval);
