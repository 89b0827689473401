// SPDX-License-Identifier: GPL-2.0
/*
 * The machine's devices that this VM holds, and how Linux parts with them.
 *
 * In a forked child they do not answer: reads give 0, writes are ignored. At that moment they are
 * frozen, and a virtio driver that is frozen can only be removed after it was restored: until
 * then it has no virtqueues. So each virtio device of the child gets another transport, whose
 * device is there and whose virtqueues are broken. With it the driver is restored, fails each
 * request with an error at once, and can be removed like any other.
 *
 * A driver that cannot be frozen (9p) would not go on after a thaw, so its device is left out of
 * the freezing. Nothing is in flight there either, because all programs are frozen.
 *
 * Two drivers would wait for ever when they are removed: 9p until its last user goes, the balloon
 * until its device gives back what it took. They stay, and the bus of their device with them.
 */
#include <linux/of.h>
#include <linux/of_platform.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include "driver.h"

#define CONFIG_BYTES 64 /* of a virtio device, kept for its driver's restoring */
#define QUEUE_SIZE   64 /* of broken virtqueues */

struct gone_virtio {
	struct list_head link;
	struct virtio_device *vdev;
	struct virtio_config_ops ops; /* the other transport: vdev->config, found back from it */
	u8 status;
	u8 config[CONFIG_BYTES];
};

struct gone_device {
	struct list_head link;
	struct platform_device *pdev;
	bool stays; /* a driver below cannot be removed */
};

struct gone {
	struct list_head devices, virtio;
};

/* --- a transport without a device --- */

static struct gone_virtio *of_vdev(struct virtio_device *vdev)
{
	return container_of(vdev->config, struct gone_virtio, ops);
}

static void gone_get(struct virtio_device *vdev, unsigned int offset, void *buf, unsigned int len)
{
	memset(buf, 0, len);
	if (offset < CONFIG_BYTES)
		memcpy(buf, of_vdev(vdev)->config + offset, min(len, CONFIG_BYTES - offset));
}

static void gone_set(struct virtio_device *vdev, unsigned int offset, const void *buf,
		     unsigned int len)
{
}

static u8 gone_get_status(struct virtio_device *vdev)
{
	return of_vdev(vdev)->status;
}

static void gone_set_status(struct virtio_device *vdev, u8 status)
{
	of_vdev(vdev)->status = status;
}

static void gone_reset(struct virtio_device *vdev)
{
	of_vdev(vdev)->status = 0;
}

static void gone_del_vqs(struct virtio_device *vdev)
{
	struct virtqueue *vq, *next;

	list_for_each_entry_safe(vq, next, &vdev->vqs, list)
		vring_del_virtqueue(vq);
}

static bool gone_notify(struct virtqueue *vq)
{
	return false;
}

static int gone_find_vqs(struct virtio_device *vdev, unsigned int n, struct virtqueue *vqs[],
			 struct virtqueue_info info[], struct irq_affinity *desc)
{
	unsigned int i, index = 0;

	for (i = 0; i < n; i++) {
		vqs[i] = NULL;
		if (!info[i].name)
			continue;
		vqs[i] = vring_create_virtqueue(index++, QUEUE_SIZE, PAGE_SIZE, vdev, true, true,
						info[i].ctx, gone_notify, info[i].callback,
						info[i].name);
		if (!vqs[i]) {
			gone_del_vqs(vdev);
			return -ENOMEM;
		}
	}
	virtio_break_device(vdev);
	return 0;
}

static u64 gone_get_features(struct virtio_device *vdev)
{
	return vdev->features;
}

static int gone_finalize_features(struct virtio_device *vdev)
{
	return 0;
}

static const char *gone_bus_name(struct virtio_device *vdev)
{
	return "gone";
}

static const struct virtio_config_ops gone_ops = {
	.get = gone_get,
	.set = gone_set,
	.get_status = gone_get_status,
	.set_status = gone_set_status,
	.reset = gone_reset,
	.find_vqs = gone_find_vqs,
	.del_vqs = gone_del_vqs,
	.get_features = gone_get_features,
	.finalize_features = gone_finalize_features,
	.bus_name = gone_bus_name,
};

/* --- which devices --- */

static bool is_virtio(struct device *dev)
{
	return dev->bus && !strcmp(dev->bus->name, "virtio");
}

static struct virtio_driver *driver_of(struct virtio_device *vdev)
{
	return vdev->dev.driver ? drv_to_virtio(vdev->dev.driver) : NULL;
}

static bool is_restorable(struct virtio_device *vdev)
{
	struct virtio_driver *drv = driver_of(vdev);

	return drv && drv->freeze && drv->restore;
}

static bool is_removable(struct virtio_device *vdev)
{
	return vdev->id.device != VIRTIO_ID_9P && vdev->id.device != VIRTIO_ID_BALLOON;
}

/* The hypervisor's own, which each VM has: all else below /soc is the machine's. */
static bool is_ours(struct device_node *np)
{
	static const char *const ours[] = {"sifive,plic-1.0.0", "riscv,plic0", "ns16550a",
					   "microsoft,vmgenid", NULL};

	return of_device_compatible_match(np, ours);
}

static int set_skipped(struct device *dev, void *skip)
{
	dev_pm_syscore_device(dev, skip);
	return device_for_each_child(dev, skip, set_skipped);
}

static int add_virtio(struct gone *g, struct virtio_device *vdev)
{
	struct gone_virtio *v = kzalloc(sizeof(*v), GFP_KERNEL);
	unsigned int i;

	if (!v)
		return -ENOMEM;
	v->vdev = vdev;
	v->ops = gone_ops;
	/* In words: a transport need not know other sizes than 1, 2, 4 and 8. */
	for (i = 0; i < CONFIG_BYTES; i += 4)
		vdev->config->get(vdev, i, v->config + i, 4);
	get_device(&vdev->dev);
	list_add_tail(&v->link, &g->virtio);
	return 0;
}

struct search {
	struct gone *g;
	struct gone_device *d;
};

/* No recursion without end: a device tree is a few levels deep. */
static int search_below(struct device *dev, void *data)
{
	struct search *s = data;
	struct virtio_device *vdev;

	if (!is_virtio(dev))
		return device_for_each_child(dev, data, search_below);
	vdev = dev_to_virtio(dev);
	if (driver_of(vdev) && !is_removable(vdev))
		s->d->stays = true;
	/* It is the transport's device that freezes the virtio device below it. */
	if (driver_of(vdev) && !is_restorable(vdev))
		dev_pm_syscore_device(dev->parent, true);
	return add_virtio(s->g, vdev);
}

static int add_device(struct gone *g, struct platform_device *pdev)
{
	struct gone_device *d = kzalloc(sizeof(*d), GFP_KERNEL);
	struct search s = {g, d};

	if (!d) {
		put_device(&pdev->dev);
		return -ENOMEM;
	}
	d->pdev = pdev;
	list_add_tail(&d->link, &g->devices);
	return search_below(&pdev->dev, &s);
}

static int add_devices(struct gone *g)
{
	struct device_node *soc = of_find_node_by_path("/soc"), *np;
	struct platform_device *pdev;
	int ret = 0;

	for_each_available_child_of_node(soc, np) {
		pdev = is_ours(np) ? NULL : of_find_device_by_node(np);
		if (pdev)
			ret = add_device(g, pdev);
		if (ret) {
			of_node_put(np);
			break;
		}
	}
	of_node_put(soc);
	return ret;
}

/* Before the fork, while the devices answer. */
int gone_prepare(struct gone **out)
{
	struct gone *g = kzalloc(sizeof(*g), GFP_KERNEL);
	int ret;

	*out = NULL;
	if (!g)
		return -ENOMEM;
	INIT_LIST_HEAD(&g->devices);
	INIT_LIST_HEAD(&g->virtio);
	ret = add_devices(g);
	if (ret) {
		gone_free(g);
		return ret;
	}
	*out = g;
	return 0;
}

bool gone_any(const struct gone *g)
{
	return !list_empty(&g->devices);
}

/* --- parting with them --- */

/* In the child, with all devices frozen: those that are gone are not asked to go on. */
void gone_skip_resume(struct gone *g)
{
	struct gone_device *d;

	list_for_each_entry(d, &g->devices, link)
		set_skipped(&d->pdev->dev, g);
}

static void restore_broken(struct gone_virtio *v)
{
	if (!is_restorable(v->vdev)) {
		virtio_break_device(v->vdev);
		return;
	}
	v->vdev->config = &v->ops;
	if (virtio_device_restore(v->vdev))
		dev_info(&v->vdev->dev, "the device is gone\n");
}

/* `dead`: they are frozen, and do not answer any more. */
void gone_remove(struct gone *g, bool dead)
{
	struct gone_device *d;
	struct gone_virtio *v;

	list_for_each_entry(v, &g->virtio, link) {
		if (dead)
			restore_broken(v);
		if (is_removable(v->vdev))
			device_release_driver(&v->vdev->dev);
		else
			virtio_break_device(v->vdev);
	}
	list_for_each_entry(d, &g->devices, link)
		if (!d->stays)
			of_platform_device_destroy(&d->pdev->dev, NULL);
}

/* A transport stays for ever with a device that stays. */
void gone_free(struct gone *g)
{
	struct gone_device *d, *next_d;
	struct gone_virtio *v, *next_v;
	bool in_use;

	list_for_each_entry_safe(v, next_v, &g->virtio, link) {
		in_use = v->vdev->config == &v->ops && device_is_registered(&v->vdev->dev);
		put_device(&v->vdev->dev);
		if (!in_use)
			kfree(v);
	}
	list_for_each_entry_safe(d, next_d, &g->devices, link) {
		set_skipped(&d->pdev->dev, NULL);
		put_device(&d->pdev->dev);
		kfree(d);
	}
	kfree(g);
}
