/* SPDX-License-Identifier: MIT */
/* Who holds which device; see grant.h. */
#include <libfdt.h>
#include "vdev/grant.h"
#include "boot/boot.h"
#include "core/tree.h"
#include "drivers/mmio.h"
#include "mmu/gstage.h"
#include "riscv/irq.h"

#define VIRTIO_STATUS  0x70 /* virtio 1.2, 4.2.2 */
#define PCI_COMMAND    4
#define PCI_BUS_MASTER 4u
#define ECAM_FUNCTION  4096
#define PCI_BUS_SIZE   (256 * ECAM_FUNCTION)
#define UNMAP_STEP     512 /* entries looked at in one go */

static struct {
	struct vm *vm;
	uint64_t mapped; /* bytes */
} holders[MACHINE_MAX_DEVICES];

/* The number of the device that has [a, a + size); machine.ndevices when none has. */
static unsigned device_at(hpa_t a, uint64_t size)
{
	for (unsigned i = 0; i < machine.ndevices; i++) {
		const struct machine_device *d = &machine.devices[i];

		for (unsigned r = 0; r < d->nregions; r++)
			if (range_within(a.v, size, d->regions[r].base.v, d->regions[r].size))
				return i;
	}
	return machine.ndevices;
}

static void quiet_pci(hpa_t ecam, uint64_t size)
{
	for (uint64_t at = 0; at < PCI_BUS_SIZE && at + ECAM_FUNCTION <= size;
		at += ECAM_FUNCTION) {
		hpa_t command = hpa_add(ecam, at + PCI_COMMAND);

		/* The upper half is the status register, whose bits a 1 clears. */
		if (mmio_read32(hpa_add(ecam, at)) != UINT32_MAX)
			mmio_write32(command, mmio_read32(command) & 0xffff & ~PCI_BUS_MASTER);
	}
}

static void quiet(const struct machine_device *d)
{
	if (fdt_node_check_compatible(host_fdt, d->node, "virtio,mmio") == 0)
		mmio_write32(hpa_add(d->reg[0].base, VIRTIO_STATUS), 0);
	else if (fdt_node_check_compatible(host_fdt, d->node, "pci-host-ecam-generic") == 0)
		quiet_pci(d->reg[0].base, d->reg[0].size);
}

enum err grant_map(struct vm *vm, hpa_t from, uint64_t size, gpa_t at, uint64_t *done)
{
	unsigned i = device_at(from, size);
	enum err err = OK;

	*done = 0;
	spin_lock(&tree_lock);
	if (!vm->trusted)
		err = E_DENIED;
	else if (range_overlaps(at.v, size, vm->ram_base.v, vm->ram_size))
		err = E_RANGE;
	else if (i == machine.ndevices)
		err = E_NOENT;
	else if (holders[i].vm && holders[i].vm != vm)
		err = E_EXISTS;
	if (err == OK) {
		struct vm_locked l = vm_lock(vm);

		err = gstage_map(l, at, from, size, GSTAGE_R | GSTAGE_W | GSTAGE_DEVICE, done);
		vm_unlock(l);
	}
	if (*done) {
		holders[i].vm = vm;
		holders[i].mapped += *done;
		vm->holds_devices = true;
	}
	spin_unlock(&tree_lock);
	return err;
}

bool grant_unmap(struct vm *vm, gpa_t *at, uint64_t end)
{
	bool released[MACHINE_MAX_DEVICES] = {false}, any = false;
	unsigned budget = UNMAP_STEP;
	uint64_t size;
	hpa_t a;

	spin_lock(&tree_lock);
	while (gstage_take_device(vm, at, end, &budget, &a, &size)) {
		unsigned i = device_at(a, size);

		holders[i].mapped -= size;
		released[i] = holders[i].mapped == 0;
		any = true;
	}
	spin_unlock(&tree_lock);
	if (!any)
		return false;
	vm_fence(vm);
	spin_lock(&tree_lock);
	for (unsigned i = 0; i < machine.ndevices; i++) {
		/* Another VCPU of the holder may have mapped it again, or given it to others. */
		if (released[i] && holders[i].vm == vm && !holders[i].mapped) {
			quiet(&machine.devices[i]);
			holders[i].vm = NULL;
		}
	}
	spin_unlock(&tree_lock);
	return true;
}

bool grant_end(struct vm *vm, gpa_t *cursor)
{
	if (cursor->v == 0)
		irq_unroute_all(vm);
	grant_unmap(vm, cursor, GSTAGE_END);
	if (cursor->v < GSTAGE_END)
		return false;
	vm_fence(vm); /* another VCPU may be taking what this one did not find */
	vm->holds_devices = vm->routes = false;
	*cursor = gpa(0);
	return true;
}
