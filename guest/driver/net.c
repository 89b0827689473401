// SPDX-License-Identifier: GPL-2.0
/*
 * Network cards while all devices are frozen: a fork, or a suspend.
 *
 * virtio_net before Linux 6.17 detaches the card first, which stops its transmit queues, and stops
 * its polling then. A poll in between starts the queues again, and what TCP's timers send while
 * the card is frozen goes through virtqueues that were freed (mended by 45d8ef6322b8).
 * So the cards are deactivated before: what is sent then is dropped above the driver, as it is
 * without a carrier, and nobody starts the queues of that.
 */
#include <linux/ethtool.h>
#include <linux/netdevice.h>
#include <linux/pm.h>
#include <linux/rtnetlink.h>
#include <net/net_namespace.h>
#include <net/sch_generic.h>
#include "driver.h"

static bool is_virtio_card(const struct net_device *dev)
{
	const struct device *parent = dev->dev.parent;

	return parent && parent->bus && !strcmp(parent->bus->name, "virtio");
}

static void cards_do(void (*act)(struct net_device *dev))
{
	struct net_device *dev;
	struct net *net;

	rtnl_lock();
	for_each_net(net)
		for_each_netdev(net, dev)
			if (is_virtio_card(dev) && (dev->flags & IFF_UP))
				act(dev);
	rtnl_unlock();
}

/* A change of the carrier that waits for its handling would activate the card again: now. */
static void deactivate(struct net_device *dev)
{
	ethtool_op_get_link(dev);
	dev_deactivate(dev);
}

/* In the child the card was not thawed and has no virtqueues. It is removed next. */
static void activate(struct net_device *dev)
{
	if (netif_device_present(dev))
		dev_activate(dev);
}

/* Before the first device is frozen, and with all programs frozen: none takes a card up again. */
static int net_prepare(struct device *dev)
{
	cards_do(deactivate);
	return 0;
}

/* After the last device was thawed; or when one could not be frozen. */
static void net_complete(struct device *dev)
{
	cards_do(activate);
}

const struct dev_pm_ops net_pm_ops = {
	.prepare = net_prepare,
	.complete = net_complete,
};
