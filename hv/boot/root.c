/* SPDX-License-Identifier: MIT */
/* The Root VM: the first VM, direct-mapped, with hardware trust, built from the payload. */
#include "abi/diosix.h"
#include "boot/boot.h"
#include "core/bug.h"
#include "core/fork.h"
#include "core/log.h"
#include "core/tree.h"
#include "fdt/guest.h"
#include "mmu/gstage.h"
#include "payload/payload.h"
#include "riscv/feature.h"
#include "riscv/irq.h"
#include "riscv/panic.h"
#include "riscv/time.h"
#include "riscv/vcpu.h"
#include "vdev/devices.h"
#include "vdev/grant.h"

#define ROOT_RAM_MAX      MIB(512)
#define ROOT_RAM_MIN      MIB(16)
#define ROOM_BELOW_KERNEL MIB(1)

#define VIRTUAL_SOURCES 2 /* after the host's: generation ID, events */

struct vm *root_vm;

/* A quarter of RAM, at most 512 MiB, unless the payload says otherwise. */
static uint64_t ram_size_for(const struct dx_payload *p)
{
	uint64_t size = p->ram_size ? p->ram_size : MIN(machine.ram_size / 4, ROOT_RAM_MAX);

	size = ALIGN_DOWN(size, MIB(2));
	if (size < ROOT_RAM_MIN)
		halt("the Root VM needs at least %lu MiB of RAM, and would get %lu",
			ROOT_RAM_MIN >> 20, size >> 20);
	return size;
}

/* A kernel that is linked to an address may also have its first stack below it (U-Boot has). */
static void map_ram(struct vm *vm, const struct dx_payload *p)
{
	hpa_t base = hpa(p->kernel_base ? p->kernel_base - ROOM_BELOW_KERNEL : 0);
	uint64_t size = ram_size_for(p);

	while (!p->kernel_base && !frame_find_run(&base, size))
		;
	if (!base.v || vm_take_run(vm, base, size) != OK)
		halt("no %lu MiB of contiguous RAM for the Root VM%s", size >> 20,
			p->kernel_base ? " where its kernel wants it" : "");
	/* Blocks are as leaves are. */
	for (hpa_t a = base; a.v < base.v + size; a = hpa_add(a, PAGE_SIZE << frame_order(a)))
		frame_split(a, frame_order(a) < ORDER_2M ? ORDER_4K : ORDER_2M);
	struct vm_locked l = vm_lock(vm);

	for (uint64_t done = 0, part; done < size; done += part)
		if (gstage_map(l, gpa_add(vm->ram_base, done), hpa_add(base, done), size - done,
			    GSTAGE_RWX, &part) != OK)
			halt("not enough memory for the Root VM's tables");
	vm_unlock(l);
}

static enum err map_region(struct vm *vm, const struct machine_range *r)
{
	enum err err = OK;

	for (uint64_t done = 0, part; err == OK && done < r->size; done += part)
		err = grant_map(
			vm, hpa_add(r->base, done), r->size - done, gpa(r->base.v + done), &part);
	return err;
}

/* The Root VM holds trust: every device that the host tree lists as one to pass on. Ones whose
 * pages overlap another's, or whose interrupts cannot be routed, are left out of its tree, with a
 * message. What was mapped by then stays: it may map it anyway. */
static bool grant(struct vm *vm, const struct machine_device *d)
{
	enum err err = OK;

	for (unsigned i = 0; i < d->nirqs && err == OK; i++)
		err = irq_route(vm, d->irqs[i]);
	for (unsigned i = 0; i < d->nregions && err == OK; i++)
		err = map_region(vm, &d->regions[i]);
	if (err != OK)
		klog("device at 0x%lx cannot be passed to the Root VM (error %d)",
			d->regions[0].base.v, err);
	return err == OK;
}

/* As bits of machine.devices. */
static uint64_t grant_all(struct vm *vm)
{
	uint64_t granted = 0;

	for (unsigned i = 0; i < machine.ndevices; i++)
		if (grant(vm, &machine.devices[i]))
			granted |= BIT(i);
	return granted;
}

static void build_tree(struct vm *vm, const struct dx_payload *p, const struct loaded *at)
{
	const struct guest_tree t = {
		.vm = vm,
		.machine = &machine,
		.isa = features_for_guests(),
		.devices = grant_all(vm),
		.host_fdt = host_fdt,
		.bootargs = p->bootargs,
		.initrd = at->initrd,
		.initrd_size = p->initrd.size,
	};
	void *buf = guest_ptr(vm, at->fdt, PAGE_SIZE, GSTAGE_W);
	uint64_t part = 0;
	size_t used = 0;

	while (used == 0)
		if (fdt_guest_part(&t, buf, PAYLOAD_FDT_ROOM, &part, &used) != OK)
			halt("the Root VM's device tree does not fit");
}

static void load(const struct vm *vm, const struct dx_payload *p, struct loaded *at)
{
	gpa_t start = p->kernel_base ? gpa(p->kernel_base) : vm->ram_base;
	uint64_t room = vm->ram_base.v + vm->ram_size - start.v;

	if (payload_load(p, start, room, hpa_ptr(hpa(start.v)), at) != OK)
		halt("the Root VM's kernel cannot be loaded: it and the initrd do not fit into "
		     "RAM");
}

/* The Root VM and its tree can have all there is. */
static void limit_to_machine(struct quota *q)
{
	uint64_t pages = q->used[RES_PAGES] + frames_free();
	enum err err = quota_set(q, DX_LIMIT_PAGES, pages);

	if (err == OK)
		err = quota_set(q, DX_LIMIT_RESERVE, pages / QUOTA_RESERVE_PART);
	BUG_ON(err != OK);
}

void root_create(void)
{
	const struct dx_payload *p = payload;
	const uint64_t limit[DX_LIMITS] = {[DX_LIMIT_PAGES] = UINT64_MAX >> 1,
		[DX_LIMIT_VCPUS] = UINT32_MAX,
		[DX_LIMIT_VMS] = UINT32_MAX,
		[DX_LIMIT_PRIORITY] = SCHED_MAX_PRIORITY,
		[DX_LIMIT_DEPTH] = TREE_DEPTH_MAX};
	/* What the virtual PLIC takes over from the host's; devices on others cannot be passed. */
	uint32_t sources = MIN(machine.plic.ndev, HOST_SOURCES_MAX);
	uint32_t uart_irq = machine.uart.irq <= sources ? machine.uart.irq : 0;
	struct loaded at;

	if (vm_create(NULL, limit, &root_vm) != OK)
		halt("not enough memory for the Root VM");
	root_vm->trusted = root_vm->holds_devices = true;
	root_vm->direct = direct_vms;
	root_vm->vmgenid_irq = sources + 1;
	root_vm->event_irq = sources + 2;
	map_ram(root_vm, p);
	load(root_vm, p, &at);
	for (uint32_t n = p->vcpus ? p->vcpus : npcpus; root_vm->nvcpus < n;)
		if (vcpu_create(root_vm) != OK)
			halt("the Root VM cannot have %u VCPUs", n);
	devices_init(root_vm, gpa(machine.plic.base.v), sources + VIRTUAL_SOURCES,
		gpa(machine.uart.base.v), uart_irq);
	root_vm->vmgenid = gpa(machine.plic.base.v - PAGE_SIZE); /* right below it */
	if (vm_make_vmgenid(root_vm) != OK)
		halt("no room for the generation ID at 0x%lx", root_vm->vmgenid.v);
	build_tree(root_vm, p, &at);
	memory_reclaim_payload();
	limit_to_machine(&root_vm->quota);
	klog("Root VM: %u VCPU%s, %lu MiB at 0x%lx", root_vm->nvcpus,
		root_vm->nvcpus == 1 ? "" : "s", root_vm->ram_size >> 20, root_vm->ram_base.v);
	vcpu_reset(root_vm->vcpus[0], at.entry.v, at.fdt.v);
	root_vm->vcpus[0]->hsm = HSM_STARTED;
	spin_lock(&tree_lock);
	vm_set_state(root_vm, DX_RUNNING);
	spin_unlock(&tree_lock);
	sched_start(&root_vm->vcpus[0]->sched, time_now());
}
