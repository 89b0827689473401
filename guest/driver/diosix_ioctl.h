/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/diosix, as programs see it. Most calls hand a hypercall through, and their structs and
 * numbers are those of abi/diosix.h; a handle of 0 (DX_SELF) is the caller's own VM where that is
 * said there. What the driver adds is names, an fd for each child, and events as a stream.
 *
 * Errors, beside those usual for ioctl(2): ENOENT no such child; EDQUOT a limit of this VM; ENOSPC
 * a limit of an ancestor, or the machine's; EBUSY the VM's state does not allow it; EPERM not
 * trusted, or sealed; EEXIST the name is taken; EOPNOTSUPP the hypervisor does not have the call.
 *
 * read(2) on /dev/diosix gives struct dxio_event records, oldest first; poll(2) says POLLIN when
 * there are some. Each open file sees what happens after its open(2); of several events of one kind
 * and child the last only, if it did not read in between.
 */
#ifndef DIOSIX_IOCTL_H
#define DIOSIX_IOCTL_H

#include <linux/ioctl.h>
#include <linux/types.h>
#include "abi/diosix.h"

#define DX_NAME_MAX 32 /* bytes of a child's name, its NUL included */

struct dxio_event {
	__u32 handle; /* DX_SELF: the VM itself */
	__u32 event;  /* one of DX_EVENT_... */
};

/* A name may be empty. It may not be another child's, begin with a digit or '-', have a '=' in it,
 * or be "self".
 */
struct dxio_fork {
	struct dx_fork fork;
	char name[DX_NAME_MAX];
};

struct dxio_clone {
	__u32 handle;
	__u32 reserved;
	struct dx_fork fork;
	char name[DX_NAME_MAX];
};

struct dxio_create {
	struct dx_create create;
	char name[DX_NAME_MAX];
};

struct dxio_start {
	__u32 handle;
	__u32 reserved;
	__u64 entry;
	__u64 argument; /* a1: GPA of the device tree */
};

struct dxio_info {
	__u32 handle;
	__u32 reserved;
	struct dx_info info;
};

struct dxio_quota {
	__u32 handle;
	__u32 reserved;
	struct dx_quota quota;
};

struct dxio_limit {
	__u32 handle;
	__u32 limit; /* enum dx_limit */
	__u64 amount;
};

struct dxio_priority {
	__u32 handle;
	__u32 priority;
	__u32 weight;
	__u32 reserved;
};

struct dxio_fdt {
	__u32 handle;
	__u32 bytes;  /* at most DXIO_FDT_MAX */
	__u64 buffer; /* address of a buffer of so many bytes */
};

#define DXIO_FDT_MAX (128 << 10) /* the hypervisor writes no longer ones */

struct dxio_name {
	char name[DX_NAME_MAX];
};

#define DXIO_MAGIC 0xdb

/* On /dev/diosix. Those that make a child return its handle, FORK 0 in the child. */
#define DXIO_VERSION    _IO(DXIO_MAGIC, 0) /* returns the hypervisor's ABI version */
#define DXIO_FORK       _IOW(DXIO_MAGIC, 1, struct dxio_fork)
#define DXIO_CLONE      _IOW(DXIO_MAGIC, 2, struct dxio_clone)
#define DXIO_CREATE     _IOW(DXIO_MAGIC, 3, struct dxio_create)
#define DXIO_START      _IOW(DXIO_MAGIC, 4, struct dxio_start)
#define DXIO_INFO       _IOWR(DXIO_MAGIC, 5, struct dxio_info)
#define DXIO_QUOTA      _IOWR(DXIO_MAGIC, 6, struct dxio_quota)
#define DXIO_LIMIT      _IOW(DXIO_MAGIC, 7, struct dxio_limit)
#define DXIO_PRIORITY   _IOW(DXIO_MAGIC, 8, struct dxio_priority)
#define DXIO_FDT        _IOW(DXIO_MAGIC, 9, struct dxio_fdt) /* returns the tree's length */
#define DXIO_DROP_TRUST _IO(DXIO_MAGIC, 10) /* the machine's devices are removed first */
/* The argument is a child's handle. */
#define DXIO_NEXT   _IO(DXIO_MAGIC, 11) /* or 0; returns the next child's, 0 after the last */
#define DXIO_PAUSE  _IO(DXIO_MAGIC, 12)
#define DXIO_RESUME _IO(DXIO_MAGIC, 13)
#define DXIO_KILL   _IO(DXIO_MAGIC, 14)
#define DXIO_REBOOT _IO(DXIO_MAGIC, 15)
#define DXIO_REAP   _IO(DXIO_MAGIC, 16)
#define DXIO_OPEN   _IO(DXIO_MAGIC, 17) /* returns an fd */

/*
 * On a child's fd. read(2): its console, from the oldest output kept (64 KiB) on; 0 when it has
 * been reaped. write(2): typing. mmap(2), shared: its memory, the offset being its GPA. poll(2):
 * POLLIN console output, POLLOUT room for input, POLLPRI events, POLLHUP it has been reaped.
 */
#define DXIO_NAME_GET _IOR(DXIO_MAGIC, 32, struct dxio_name)
#define DXIO_NAME_SET _IOW(DXIO_MAGIC, 33, struct dxio_name)
#define DXIO_EVENTS   _IO(DXIO_MAGIC, 34) /* returns DX_EVENT_... bits, and they count as read */
#define DXIO_LAST     _IOR(DXIO_MAGIC, 35, struct dx_info) /* INFO; of a reaped one, its end's */

#endif
