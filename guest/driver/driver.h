/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of the driver want of each other. */
#ifndef DIOSIX_DRIVER_H
#define DIOSIX_DRIVER_H

#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mm_types.h>
#include <linux/mutex.h>
#include <linux/pm.h>
#include <linux/types.h>
#include <linux/wait.h>
#include "diosix_ioctl.h"

#define DX_EVENT_KINDS 5
#define DX_SCROLLBACK  (64 << 10) /* bytes kept of a child's console; a power of two */

/* --- call.c: hypercalls; the one place where their errors become errno --- */

long dx_call(unsigned long fid, unsigned long a0, unsigned long a1, unsigned long a2,
	     unsigned long a3, unsigned long a4);
/* A call with (handle, GPA of a struct); the struct is copied back. */
long dx_call_struct(unsigned long fid, u32 handle, void *s, size_t size);

/* --- child.c: what the driver knows of each child --- */

/* Guards the list of children and all that is in them. A leaf: nothing that sleeps on user space
 * is done with it held, for mmap_lock may be held around it.
 */
extern struct mutex dx_lock;
/* Counts the VM's forks into this child: what was made before belongs to the parent. Written when
 * no other CPU runs.
 */
extern unsigned int dx_generation;

struct dx_child {
	struct kref ref;
	unsigned int generation;
	/* under dx_lock */
	struct list_head link;
	u32 handle; /* 0: not born yet, only its name is taken */
	bool gone;   /* reaped, or the parent's */
	bool reaped; /* by this VM: `last` is how it was then */
	bool full;   /* its console takes no more input until DX_EVENT_ROOM */
	bool more;   /* its console may hold more output */
	char name[DX_NAME_MAX];
	u64 seq[DX_EVENT_KINDS]; /* when each kind of event was last seen; 0: never */
	u8 *ring;                /* DX_SCROLLBACK bytes; NULL until it first writes */
	u64 head;                /* bytes written to the ring so far */
	struct dx_info last;
	wait_queue_head_t wait;
};

extern wait_queue_head_t dx_events_wait;

struct dx_child *child_get(u32 handle);
void child_put(struct dx_child *c);
struct dx_child *child_reserve(const char *name);
void child_born(struct dx_child *c, u32 handle);
long child_reap(u32 handle);
long child_last(struct dx_child *c, struct dx_info *info);
void child_changed(u32 handle);
int child_rename(struct dx_child *c, const char *name);
void children_purge(bool all);
bool child_alive(const struct dx_child *c);

u64 event_last(void);
bool event_next(u64 *seen, struct dxio_event *e);
u32 child_events(const struct dx_child *c, u64 *seen);

int events_init(void);
void events_exit(void);
void events_handle(void);

/* drivers/tty/hvc/hvc_console.h, which modules cannot include: reads the console's input now. */
void hvc_kick(void);

/* --- console.c: a child's fd --- */

int child_open(u32 handle);

/* --- window.c --- */

int window_mmap(struct dx_child *c, struct vm_area_struct *vma);

/* --- fork.c --- */

long fork_vm(const struct dx_fork *args);
long drop_trust(void);

/* --- gone.c: devices of the machine, which a forked child has not --- */

struct gone; /* the devices, from before the fork until they are removed */

int gone_prepare(struct gone **g);
bool gone_any(const struct gone *g);
void gone_skip_resume(struct gone *g);
void gone_remove(struct gone *g, bool dead);
void gone_free(struct gone *g);

/* --- net.c: network cards send nothing while devices are frozen --- */

extern const struct dev_pm_ops net_pm_ops;

#endif
