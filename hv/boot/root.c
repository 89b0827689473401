/* SPDX-License-Identifier: MIT */
/* The Root VM: the first VM, direct-mapped, with hardware trust, built from the payload. */
#include <string.h>
#include "abi/diosix.h"
#include "boot/boot.h"
#include "core/bug.h"
#include "core/fork.h"
#include "core/log.h"
#include "core/rng.h"
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
	uint64_t ram = 0;

	for (unsigned i = 0; i < machine.nram; i++)
		ram += machine.ram[i].size;
	uint64_t size = p->ram_size ? p->ram_size : MIN(ram / 4, ROOT_RAM_MAX);

	size = ALIGN_DOWN(size, MIB(2));
	if (size < ROOT_RAM_MIN)
		halt("the Root VM needs at least %lu MiB of RAM, and would get %lu",
			ROOT_RAM_MIN >> 20, size >> 20);
	return size;
}

/* A kernel that is linked to an address may also have its first stack below it (U-Boot has). */
static void map_ram(struct vm *vm, const struct dx_payload *p)
{
	hpa_t at = hpa(p->kernel_base ? p->kernel_base - ROOM_BELOW_KERNEL : 0), base;
	uint64_t size = ram_size_for(p);

	if (quota_charge(&vm->quota, RES_PAGES, size >> PAGE_SHIFT) != OK ||
		frame_alloc_run(at, size, vm->id, &base) != OK)
		halt("no %lu MiB of contiguous RAM for the Root VM%s", size >> 20,
			at.v ? " where its kernel wants it" : "");
	vm->ram_base = gpa(base.v);
	vm->ram_size = size;
	vm->ram_pages = size >> PAGE_SHIFT;
	struct vm_locked l = vm_lock(vm);

	for (uint64_t done = 0, part; done < size; done += part)
		if (gstage_map(l, gpa_add(vm->ram_base, done), hpa_add(base, done), size - done,
			    GSTAGE_RWX, &part) != OK)
			halt("not enough memory for the Root VM's tables");
	vm_unlock(l);
}

static enum err map_region(struct vm *vm, hpa_t base, uint64_t size, uint64_t *done)
{
	enum err err = OK;
	uint64_t part;

	for (*done = 0; err == OK && *done < size; *done += part)
		err = grant_map(vm, hpa_add(base, *done), size - *done, gpa(base.v + *done), &part);
	return err;
}

static void unmap_region(struct vm *vm, hpa_t base, uint64_t size)
{
	gpa_t at = gpa(base.v);

	while (at.v < base.v + size)
		grant_unmap(vm, &at, base.v + size);
}

/* All regions or none: what another device has in one of them stays. */
static enum err map_regions(struct vm *vm, const struct machine_device *d)
{
	enum err err = OK;
	unsigned n = 0;
	uint64_t done;

	while (n < d->nregions && err == OK) {
		err = map_region(vm, d->regions[n].base, d->regions[n].size, &done);
		n++;
	}
	if (err == OK)
		return OK;
	unmap_region(vm, d->regions[--n].base, done);
	while (n-- > 0)
		unmap_region(vm, d->regions[n].base, d->regions[n].size);
	return err;
}

/* The Root VM holds trust: every device that the host tree lists as one to pass on. Ones whose
 * pages overlap another's, or whose interrupts cannot be routed, are left out, with a message. */
static bool grant(struct vm *vm, const struct machine_device *d)
{
	enum err err = OK;

	for (unsigned i = 0; i < d->nirqs && err == OK; i++)
		err = irq_route(vm, d->irqs[i]);
	if (err == OK)
		err = map_regions(vm, d);
	if (err != OK)
		klog("device at 0x%lx cannot be passed to the Root VM (error %d)",
			d->regions[0].base.v, err);
	return err == OK;
}

static unsigned grant_all(struct vm *vm, uint8_t granted[MACHINE_MAX_DEVICES])
{
	unsigned n = 0;

	for (unsigned i = 0; i < machine.ndevices; i++)
		if (grant(vm, &machine.devices[i]))
			granted[n++] = (uint8_t)i;
	return n;
}

static void create_vcpus(struct vm *vm, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (vcpu_create(vm) != OK)
			halt("the Root VM cannot have %u VCPUs", n);
}

/* Sources that the virtual PLIC takes over from the host's; devices on others cannot be passed. */
static uint32_t host_sources(void)
{
	return MIN(machine.plic.ndev, HOST_SOURCES_MAX);
}

static uint32_t uart_source(void)
{
	return machine.uart.irq <= host_sources() ? machine.uart.irq : 0;
}

/* What the trees of all VMs have in common. */
static struct guest_tree tree_of(const struct vm *vm)
{
	struct guest_tree t = {
		.ram_base = vm->ram_base,
		.ram_size = vm->ram_size,
		.nvcpus = vm->nvcpus,
		.isa = features_for_guests(),
		.machine = &machine,
		.plic_base = vm->plic_base,
		.plic_size = VPLIC_SIZE,
		.plic_ndev = host_sources() + VIRTUAL_SOURCES,
		.uart_base = vm->uart_base,
		.uart_irq = uart_source(),
		.vmgenid_page = vm->vmgenid,
		.vmgenid_irq = vm->vmgenid_irq,
		.event_irq = vm->event_irq,
		.abi_version = DX_ABI_VERSION,
	};

	rng_bytes(t.rng_seed, sizeof(t.rng_seed));
	return t;
}

enum err vm_tree(const struct vm *vm, void *buf, size_t size, unsigned *part, size_t *used)
{
	struct guest_tree t = tree_of(vm);

	t.bootargs = "console=hvc0 panic=1";
	return fdt_guest_part(&t, buf, size, part, used);
}

static void build_tree(struct vm *vm, const struct dx_payload *p, const struct loaded *at)
{
	static uint8_t granted[MACHINE_MAX_DEVICES];
	struct guest_tree t = tree_of(vm);
	size_t used;

	t.ndevices = grant_all(vm, granted);
	t.devices = granted;
	t.host_fdt = host_fdt;
	t.bootargs = p->bootargs;
	t.initrd = at->initrd;
	t.initrd_size = p->initrd.size;
	void *buf = guest_ptr(vm, at->fdt, PAGE_SIZE, GSTAGE_W);
	enum err err = fdt_build_guest(&t, buf, PAYLOAD_FDT_ROOM, &used);

	if (err != OK)
		halt("the Root VM's device tree cannot be made (error %d)", err);
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
	enum err err = quota_set_limit(q, RES_PAGES, pages);

	BUG_ON(err != OK);
	quota_set_reserve(q, pages / QUOTA_RESERVE_PART);
}

void root_create(void)
{
	const struct dx_payload *p = payload;
	const uint64_t limit[RES_COUNT] = {
		[RES_PAGES] = UINT64_MAX >> 1, [RES_VCPUS] = UINT32_MAX, [RES_VMS] = UINT32_MAX};
	struct loaded at;

	if (vm_create(NULL, limit, SCHED_MAX_PRIORITY, TREE_DEPTH_MAX, &root_vm) != OK)
		halt("not enough memory for the Root VM");
	root_vm->trusted = root_vm->holds_devices = true;
	root_vm->direct = direct_vms;
	root_vm->vmgenid_irq = host_sources() + 1;
	root_vm->event_irq = host_sources() + 2;
	map_ram(root_vm, p);
	load(root_vm, p, &at);
	create_vcpus(root_vm, p->vcpus ? p->vcpus : npcpus);
	if (devices_create(root_vm, gpa(machine.plic.base.v), host_sources() + VIRTUAL_SOURCES,
		    gpa(machine.uart.base.v), uart_source()) != OK)
		halt("not enough memory for the Root VM's devices");
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
